/* Envelope to greys. */

/* Base-2 logarithm of a positive, finite, normal float; error below 1e-5. The mantissa is taken round 1 and the
   series log((1 + s) / (1 - s)) = 2 (s + s^3 / 3 + ...) cut after s^7. */
INLINE float log2_approximate(float x) {
    int32_t bits, exponent;
    memcpy(&bits, &x, sizeof bits);
    exponent = (bits - 0x3f3504f3) >> 23;
    bits -= exponent * (1 << 23);
    float mantissa;
    memcpy(&mantissa, &bits, sizeof mantissa);
    const float s = (mantissa - 1.0f) / (mantissa + 1.0f), y = s * s;
    return (float)exponent + s * (2.88539008f + y * (9.61796694e-1f + y * (5.77078016e-1f + y * 4.12198583e-1f)));
}

/* Compresses one row. */
static void compress(const sonod_compress *plan, size_t row) {
    const size_t columns = plan->columns;
    const float *restrict envelope = plan->envelope + row * columns;
    uint8_t *restrict out = plan->out + row * columns;
    const float slope = plan->slope, offset = plan->row_offset[row];
    uint8_t grey[256];
    for (size_t begin = 0; begin < columns; begin += 256) {
        const size_t count = columns - begin < 256 ? columns - begin : 256;
        float level[256];
        for (size_t i = 0; i < count; i++) {
            /* NaN and everything below the smallest normal number fall to the dark side, infinity to the white. */
            const float x = envelope[begin + i];
            const float positive = x >= 1.2e-38f ? x : 1.2e-38f, bounded = positive <= 3e38f ? positive : 3e38f;
            float value = slope * log2_approximate(bounded) + offset;
            value = value > 0.0f ? value : 0.0f;
            value = value < 255.0f ? value : 255.0f;
            value = x >= 1.2e-38f ? value : 0.0f;
            level[i] = x > 3e38f ? 255.0f : value;
        }
        if (plan->level) {
            float *restrict old = plan->level + row * columns + begin;
            const float share = plan->first ? 0.0f : plan->persistence;
            for (size_t i = 0; i < count; i++)
                old[i] = level[i] = level[i] + share * (old[i] - level[i]);
        }
        for (size_t i = 0; i < count; i++)
            grey[i] = (uint8_t)(int32_t)(level[i] + 0.5f);
        for (size_t i = 0; i < count; i++)
            out[begin + i] = plan->table[grey[i]];
    }
}
