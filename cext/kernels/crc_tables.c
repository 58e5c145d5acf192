/* Tables of CRC-32C, made when the library is loaded: by code that every processor runs, so not with the kernels. */
#include "crc_tables.h"

/* Castagnoli's polynomial, reflected. */
#define CASTAGNOLI 0x82F63B78u

sonod_crc sonod_crc_tables;

__attribute__((constructor)) static void make_tables(void) {
    uint32_t(*slices)[256] = sonod_crc_tables.slices;
    for (uint32_t value = 0; value < 256; value++) {
        uint32_t rest = value;
        for (int bit = 0; bit < 8; bit++)
            rest = rest & 1 ? rest >> 1 ^ CASTAGNOLI : rest >> 1;
        slices[0][value] = rest;
    }
    for (int slice = 1; slice < 8; slice++)
        for (int value = 0; value < 256; value++) {
            const uint32_t before = slices[slice - 1][value];
            slices[slice][value] = before >> 8 ^ slices[0][before & 255];
        }
    uint32_t moved[32];
    for (int bit = 0; bit < 32; bit++) {
        uint32_t rest = (uint32_t)1 << bit;
        for (int byte = 0; byte < SONOD_CRC_STREAM; byte++)
            rest = rest >> 8 ^ slices[0][rest & 255];
        moved[bit] = rest;
    }
    for (int place = 0; place < 4; place++)
        for (int value = 0; value < 256; value++) {
            uint32_t rest = 0;
            for (int bit = 0; bit < 8; bit++)
                if (value >> bit & 1)
                    rest ^= moved[8 * place + bit];
            sonod_crc_tables.ahead[place][value] = rest;
        }
}
