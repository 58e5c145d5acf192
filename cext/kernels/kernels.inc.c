/* Compiled once per instruction set with -DSONOD_ISA=<name>. Each family of kernels is a file of its own. */
#include "kernels.h"
#include "planes.h"
#include "threads.h"
#include "vector.h"
#include "vector16.h"

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define TEXT2(a) #a
#define TEXT(a) TEXT2(a)

#include "bytes.inc.c"
#include "scanconvert.inc.c"
#include "compress.inc.c"
#include "das_exact.inc.c"
#include "detect.inc.c"

#include "das_receive.inc.c"
#include "das_resample.inc.c"
#include "prepare.inc.c"
#include "das_blocks.inc.c"
#include "das_points.inc.c"
#include "das_adaptive.inc.c"
#include "das_times.inc.c"

extern const sonod_simulate_kernels JOIN(sonod_simulate_, SONOD_ISA);
extern const sonod_block_kernels JOIN(sonod_long_blocks_, SONOD_ISA);

const sonod_kernels JOIN(sonod_kernels_, SONOD_ISA) = {
    .name = TEXT(SONOD_ISA),
    .filter = filter,
    .baseband = baseband,
    .das_exact = das_exact,
    .das_peak = das_peak,
    .das_resample = das_resample,
    .blocks_16 = {das_receive, das_times, das_blocks},
    .blocks_32 = &JOIN(sonod_long_blocks_, SONOD_ISA),
    .das_points_resample = das_points_resample,
    .das_points = das_points,
    .adaptive_resample = adaptive_resample,
    .adaptive = adaptive,
    .envelope = envelope,
    .compress = compress,
    .scan_convert = scan_convert,
    .bytes = {crc32c, unpack, deinterleave_2, deinterleave_4},
    .simulate = &JOIN(sonod_simulate_, SONOD_ISA),
};
