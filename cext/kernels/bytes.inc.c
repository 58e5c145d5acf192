/* What arrives over a wire: checksum, packed samples, interleaved channels. */
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

/* -- CRC-32C ------------------------------------------------------------------------------------------------------- */
/* Castagnoli's polynomial, reflected (RFC 3720, appendix B.4). Software: slicing by eight (Kounavis and Berry, ISCC 2005).
   With the processor's own instruction: three interleaved streams, because its latency is three cycles, joined by
   tables that move a remainder over the bytes of one stream. */
#define CASTAGNOLI 0x82F63B78u
#define STREAM 1024

static uint32_t crc_slices[8][256];
#ifdef __SSE4_2__
static uint32_t crc_ahead[4][256];
#endif

static int crc_ready;

/* At the first use, and not as a constructor: this file is compiled for instruction sets that the processor may not
   have, and a constructor runs whichever table is chosen. Two threads may both fill in the same values. */
static void crc_make_tables(void) {
    for (uint32_t value = 0; value < 256; value++) {
        uint32_t rest = value;
        for (int bit = 0; bit < 8; bit++)
            rest = rest & 1 ? rest >> 1 ^ CASTAGNOLI : rest >> 1;
        crc_slices[0][value] = rest;
    }
    for (int slice = 1; slice < 8; slice++)
        for (int value = 0; value < 256; value++) {
            const uint32_t before = crc_slices[slice - 1][value];
            crc_slices[slice][value] = before >> 8 ^ crc_slices[0][before & 255];
        }
#ifdef __SSE4_2__
    uint32_t moved[32];
    for (int bit = 0; bit < 32; bit++) {
        uint32_t rest = (uint32_t)1 << bit;
        for (int byte = 0; byte < STREAM; byte++)
            rest = rest >> 8 ^ crc_slices[0][rest & 255];
        moved[bit] = rest;
    }
    for (int place = 0; place < 4; place++)
        for (int value = 0; value < 256; value++) {
            uint32_t rest = 0;
            for (int bit = 0; bit < 8; bit++)
                if (value >> bit & 1)
                    rest ^= moved[8 * place + bit];
            crc_ahead[place][value] = rest;
        }
#endif
    __atomic_store_n(&crc_ready, 1, __ATOMIC_RELEASE);
}

static inline uint64_t load64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t crc32c(const uint8_t *data, size_t length, uint32_t crc) {
    if (!__atomic_load_n(&crc_ready, __ATOMIC_ACQUIRE))
        crc_make_tables();
    crc = ~crc;
#ifdef __SSE4_2__
    while (length >= 3 * STREAM) {
        uint64_t first = crc, second = 0, third = 0;
        for (size_t i = 0; i < STREAM; i += 8) {
            first = __builtin_ia32_crc32di(first, load64(data + i));
            second = __builtin_ia32_crc32di(second, load64(data + STREAM + i));
            third = __builtin_ia32_crc32di(third, load64(data + 2 * STREAM + i));
        }
        crc = (uint32_t)first;
        crc = crc_ahead[0][crc & 255] ^ crc_ahead[1][crc >> 8 & 255] ^ crc_ahead[2][crc >> 16 & 255]
              ^ crc_ahead[3][crc >> 24] ^ (uint32_t)second;
        crc = crc_ahead[0][crc & 255] ^ crc_ahead[1][crc >> 8 & 255] ^ crc_ahead[2][crc >> 16 & 255]
              ^ crc_ahead[3][crc >> 24] ^ (uint32_t)third;
        data += 3 * STREAM;
        length -= 3 * STREAM;
    }
    for (; length >= 8; data += 8, length -= 8)
        crc = (uint32_t)__builtin_ia32_crc32di(crc, load64(data));
#elif __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; length >= 8; data += 8, length -= 8) {
        const uint64_t mixed = load64(data) ^ crc;
        crc = crc_slices[7][mixed & 255] ^ crc_slices[6][mixed >> 8 & 255] ^ crc_slices[5][mixed >> 16 & 255]
              ^ crc_slices[4][mixed >> 24 & 255] ^ crc_slices[3][mixed >> 32 & 255]
              ^ crc_slices[2][mixed >> 40 & 255] ^ crc_slices[1][mixed >> 48 & 255] ^ crc_slices[0][mixed >> 56];
    }
#endif
    for (; length; data++, length--)
        crc = crc >> 8 ^ crc_slices[0][(crc ^ *data) & 255];
    return ~crc;
}

/* -- packed samples ------------------------------------------------------------------------------------------------ */
/* Four samples of `bits` two's-complement bits, the first in the lowest bits of the first byte, are spread over four 16-bit
   lanes of one word and extended in sign there: no sample needs a step of its own. */
static inline uint64_t spread(uint64_t packed, int bits) {
    const uint64_t mask = ((uint64_t)1 << bits) - 1, lanes = 0x0001000100010001u;
    uint64_t wide = (packed & mask) | (packed & mask << bits) << (16 - bits)
                    | (packed & mask << 2 * bits) << 2 * (16 - bits) | (packed & mask << 3 * bits) << 3 * (16 - bits);
    /* A set sign bit, one place up, times 2^(16-bits) - 1: the bits above it; no lane carries into the next. */
    const uint64_t sign = (wide >> (bits - 1) & lanes) << bits;
    return wide | sign * (((uint64_t)1 << (16 - bits)) - 1);
}

#ifdef __AVX2__
/* Sixteen at a time, eight in each half. Every lane fetches the two bytes in which its sample begins, at bit `shift` of
   them; multiplications by powers of two bring its sign bit to the top of the lane, from where an arithmetic shift takes
   it down. Samples of 14 bits may reach into a third byte. 18 GB/s instead of 3 with the words above (both in cache). */
static inline size_t unpack_wide(const uint8_t *packed, size_t count, int bits, int16_t *out) {
    const size_t bytes = (count * (size_t)bits + 7) / 8, half = (size_t)bits;
    int8_t begin[32], third[32];
    int16_t up[16], down[16];
    for (int lane = 0; lane < 16; lane++) {
        const int bit = lane % 8 * bits, shift = bit % 8, left = 16 - bits - shift;
        begin[2 * lane] = (int8_t)(bit / 8);
        begin[2 * lane + 1] = (int8_t)(bit / 8 + 1);
        third[2 * lane] = left < 0 ? (int8_t)(bit / 8 + 2) : -1;
        third[2 * lane + 1] = -1;
        up[lane] = left < 0 ? 0 : (int16_t)(1 << left);
        down[lane] = left < 0 ? (int16_t)(1 << (16 + left)) : 0;
    }
    const __m256i at = _mm256_loadu_si256((const __m256i *)begin), at_third = _mm256_loadu_si256((const __m256i *)third);
    const __m256i by_up = _mm256_loadu_si256((const __m256i *)up), by_down = _mm256_loadu_si256((const __m256i *)down);
    size_t done = 0;
    for (const uint8_t *from = packed; done + 16 <= count && (size_t)(from - packed) + half + 16 <= bytes;
         done += 16, from += 2 * half) {
        const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)from)),
                                                     _mm_loadu_si128((const __m128i *)(from + half)), 1);
        const __m256i two = _mm256_shuffle_epi8(both, at);
        __m256i top = _mm256_mullo_epi16(two, by_up);
        if (bits == 14) {
            top = _mm256_or_si256(top, _mm256_mulhi_epu16(two, by_down));
            top = _mm256_or_si256(top, _mm256_mullo_epi16(_mm256_shuffle_epi8(both, at_third), by_down));
        }
        _mm256_storeu_si256((__m256i *)(out + done), _mm256_srai_epi16(top, 16 - bits));
    }
    return done;
}
#endif

static inline void unpack_bits(const uint8_t *packed, size_t count, int bits, int16_t *out) {
    const size_t step = (size_t)bits / 2, bytes = (count * (size_t)bits + 7) / 8;
    size_t done = 0;
#ifdef __AVX2__
    done = unpack_wide(packed, count, bits, out);
#endif
    for (; done + 4 <= count && done / 4 * step + 8 <= bytes; done += 4) {
        const uint64_t wide = spread(load64(packed + done / 4 * step), bits);
        memcpy(out + done, &wide, sizeof wide);
    }
    if (done < count) {
        uint8_t last[32] = {0};
        int16_t rest[16];
        const size_t at = done / 4 * step;
        memcpy(last, packed + at, bytes - at);
        for (size_t i = 0; i < (count - done + 3) / 4; i++) {
            const uint64_t wide = spread(load64(last + i * step), bits);
            memcpy(rest + 4 * i, &wide, sizeof wide);
        }
        memcpy(out + done, rest, (count - done) * sizeof *out);
    }
}

static void unpack(const uint8_t *packed, size_t count, int format, int offset, int16_t *out) {
    switch (format) {
    case SONOD_PACKED_10:
        unpack_bits(packed, count, 10, out);
        break;
    case SONOD_PACKED_12:
        unpack_bits(packed, count, 12, out);
        break;
    case SONOD_PACKED_14:
        unpack_bits(packed, count, 14, out);
        break;
    default: {
        const uint16_t *wide = (const uint16_t *)packed;
        for (size_t i = 0; i < count; i++) {
            uint16_t sample;
            memcpy(&sample, wide + i, sizeof sample);
            out[i] = (int16_t)(uint16_t)(sample - (unsigned)offset);
        }
    }
    }
}

/* -- interleaved channels -------------------------------------------------------------------------------------------- */
/* (samples, channels) to (channels, samples) in tiles of 8 x 8 items, turned in registers; `ALONG` samples of every
   channel in turn, so that a cache line is written whole. An item has 2 or 4 bytes. */
#define ALONG ((size_t)32)
typedef uint16_t eight_items_2 __attribute__((vector_size(16)));
typedef uint16_t eight_loose_2 __attribute__((vector_size(16), aligned(2), may_alias));

INLINE void turn_tile_2(const uint16_t *in, size_t from_row, uint16_t *out, size_t to_row) {
    eight_items_2 v[8], t[8];
    for (size_t i = 0; i < 8; i++)
        v[i] = *(const eight_loose_2 *)(in + i * from_row);
    for (int stage = 0; stage < 3; stage++) {
        for (int i = 0; i < 4; i++) {
            t[2 * i] = __builtin_shuffle(v[i], v[i + 4], (eight_items_2){0, 8, 1, 9, 2, 10, 3, 11});
            t[2 * i + 1] = __builtin_shuffle(v[i], v[i + 4], (eight_items_2){4, 12, 5, 13, 6, 14, 7, 15});
        }
        for (int i = 0; i < 8; i++)
            v[i] = t[i];
    }
    for (size_t i = 0; i < 8; i++)
        *(eight_loose_2 *)(out + i * to_row) = v[i];
}

INLINE void turn_tile_4(const uint32_t *in, size_t from_row, uint32_t *out, size_t to_row) {
    v8f v[8];
    for (size_t i = 0; i < 8; i++)
        v[i] = load8((const float *)(in + i * from_row));
    transpose8(v);
    for (size_t i = 0; i < 8; i++)
        store8((float *)(out + i * to_row), v[i]);
}

#define DEINTERLEAVE(bytes, item)                                                                                      \
    static void deinterleave_##bytes(const item *in, size_t samples, size_t channels, item *out) {                     \
        const size_t whole_samples = samples / 8 * 8, whole_channels = channels / 8 * 8;                               \
        for (size_t s0 = 0; s0 < whole_samples; s0 += ALONG)                                                           \
            for (size_t c = 0; c < whole_channels; c += 8)                                                             \
                for (size_t s = s0; s < whole_samples && s < s0 + ALONG; s += 8)                                       \
                    turn_tile_##bytes(in + s * channels + c, channels, out + c * samples + s, samples);                \
        for (size_t s = 0; s < samples; s++)                                                                           \
            for (size_t c = s < whole_samples ? whole_channels : 0; c < channels; c++)                                 \
                out[c * samples + s] = in[s * channels + c];                                                           \
    }
DEINTERLEAVE(2, uint16_t)
DEINTERLEAVE(4, uint32_t)
