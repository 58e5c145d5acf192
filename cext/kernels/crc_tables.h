/* Tables of CRC-32C, for all instruction sets. */
#ifndef SONOD_CRC_TABLES_H
#define SONOD_CRC_TABLES_H

#include <stdint.h>

/* Bytes of one of three interleaved streams. */
#define SONOD_CRC_STREAM 1024

/* `slices`: of a byte, and of a byte with up to seven behind it; `ahead`: of each byte of a remainder with a stream behind it. */
typedef struct {
    uint32_t slices[8][256], ahead[4][256];
} sonod_crc;

extern sonod_crc sonod_crc_tables;

#endif
