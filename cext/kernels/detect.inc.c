/* Envelope of baseband signals. */

static void envelope(const float *restrict iq, float *restrict out, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const float re = iq[2 * i], im = iq[2 * i + 1];
        out[i] = sqrtf(re * re + im * im);
    }
}
