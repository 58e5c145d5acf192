/* Lines to pixels by a precomputed bilinear table. */

static void scan_convert(const sonod_scan_convert *plan, size_t begin, size_t end) {
    const int32_t *restrict base = plan->base;
    const float *restrict across = plan->line_share, *restrict along = plan->sample_share;
    const float *restrict lines = plan->lines;
    float *restrict out = plan->out;
    const size_t line = plan->line_step, sample = plan->sample_step;
    for (size_t i = begin; i < end; i++) {
        const int32_t at = base[i] >= 0 ? base[i] : 0;
        const float *own = lines + at;
        const float near_line = own[0] + along[i] * (own[sample] - own[0]);
        const float far_line = own[line] + along[i] * (own[line + sample] - own[line]);
        const float value = near_line + across[i] * (far_line - near_line);
        out[i] = base[i] >= 0 ? value : 0.0f;
    }
}
