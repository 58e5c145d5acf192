/* The kernels of blocks of 32 points. Compiled once per instruction set with -DSONOD_ISA=<name>, as kernels.inc.c is. */
#include "kernels.h"
#include "planes.h"
#include "threads.h"
#include "vector.h"
#include "vector16.h"

#define BLOCK 32
#include "das_receive.inc.c"
#include "das_blocks.inc.c"
#include "das_times.inc.c"

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)

const sonod_block_kernels JOIN(sonod_long_blocks_, SONOD_ISA) = {das_receive, das_times, das_blocks};
