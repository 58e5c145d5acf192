/* Which kernel table is in use: the widest that this build carries and this processor runs. */
#include <string.h>
#include "kernels.h"

extern const sonod_kernels sonod_kernels_base;
#ifdef SONOD_HAVE_AVX2
extern const sonod_kernels sonod_kernels_avx2;
#endif
#ifdef SONOD_HAVE_AVX512
extern const sonod_kernels sonod_kernels_avx512;
#endif

static const sonod_kernels *current;

static int collect(const sonod_kernels **tables) {
    int count = 0;
    tables[count++] = &sonod_kernels_base;
#ifdef SONOD_HAVE_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        tables[count++] = &sonod_kernels_avx2;
#endif
#ifdef SONOD_HAVE_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"))
        tables[count++] = &sonod_kernels_avx512;
#endif
    return count;
}

const sonod_kernels *sonod_kernels_current(void) {
    if (!current) {
        const sonod_kernels *tables[8];
        current = tables[collect(tables) - 1];
    }
    return current;
}

int sonod_kernels_available(const char **names, int capacity) {
    const sonod_kernels *tables[8];
    const int count = collect(tables);
    for (int i = 0; i < count && i < capacity; i++)
        names[i] = tables[i]->name;
    return count;
}

int sonod_kernels_select(const char *name) {
    const sonod_kernels *tables[8];
    const int count = collect(tables);
    for (int i = 0; i < count; i++)
        if (strcmp(tables[i]->name, name) == 0) {
            current = tables[i];
            return 0;
        }
    return -1;
}
