/* Plan: how a wave passes the blocks of a line. */

typedef double v4d __attribute__((vector_size(32)));

/* Mean of the squares of the points of a block, counted from its middle. */
#define BOWL_MIDDLE ((BLOCK * BLOCK - 1) / 12.0)

/* Delays of one transmission along one line, for every block: its second-order form, or that the points must be taken one
   by one (SONOD_POINTS), or that none is seen. Points not seen go on from those that are. */
static void das_times(const sonod_das_times *plan, size_t index) {
    const size_t transmit = index / plan->lines, line = index % plan->lines, count = plan->count, blocks = (count + BLOCK - 1) / BLOCK;
    const double start = plan->t0[transmit] + plan->start_s - plan->time_offset;
    const double carrier = plan->demodulation, late = plan->time_offset;
    for (size_t block = 0; block < blocks; block++) {
        const size_t own = (transmit * blocks + block) * plan->lines + line, at = index * plan->row + block * BLOCK;
        double time[BLOCK];
        int seen[BLOCK], first = -1, full = count - block * BLOCK >= BLOCK;
        if (full) {
            int bad = 0;
            for (size_t k = 0; k < BLOCK; k++) {
                time[k] = plan->time_is_double ? ((const double *)plan->time)[at + k]
                                               : (double)((const float *)plan->time)[at + k];
                bad |= !(time[k] > -1e9) | !(time[k] < 1e9);
            }
            if (plan->weight)
                for (size_t k = 0; k < BLOCK; k++)
                    bad |= !(plan->weight[at + k] >= 1.0f) | !(plan->weight[at + k] <= 1.0f);
            full = !bad;
        }
        for (size_t k = 0; k < BLOCK && full; k++)
            seen[k] = 1;
        if (full)
            first = 0;
        for (size_t k = 0; k < BLOCK && !full; k++) {
            const size_t j = block * BLOCK + k, from = index * plan->row + (j < count ? j : count - 1);
            const double own_time = plan->time_is_double ? ((const double *)plan->time)[from]
                                                         : (double)((const float *)plan->time)[from];
            const float weight = plan->weight ? plan->weight[from] : 1.0f;
            seen[k] = j < count && own_time > -1e9 && own_time < 1e9 && (weight < 0.0f || weight > 0.0f);
            time[k] = seen[k] ? own_time : 0;
            if (seen[k] && first < 0)
                first = (int)k;
        }
        /* Points beyond the end of a line are cut off anyway. */
        int whole = 1;
        for (size_t k = 0; k < BLOCK && !full; k++)
            whole &= block * BLOCK + k >= count || (seen[k] && (!plan->weight || plan->weight[at + k] == 1.0f));
        plan->whole[own] = (uint8_t)(full | whole);
        float *quadratic = plan->quadratic + 3 * own;
        quadratic[0] = quadratic[1] = quadratic[2] = plan->phases[own] = 0;
        plan->ways[own] = 0;
        if (first < 0) {
            plan->kind[own] = SONOD_UNSEEN;
            continue;
        }
        /* Points not seen: straight on from those that are, or at the pace of a wave along the line. */
        const double pace = 0.5 * (double)plan->step / plan->fine_rate;
        for (int k = first + 1; k < BLOCK; k++)
            if (!seen[k])
                time[k] = time[k - 1] + (k - first > 1 ? time[k - 1] - time[k - 2] : pace);
        for (int k = first - 1; k >= 0; k--)
            time[k] = time[k + 1] + time[k + 1] - time[k + 2 < BLOCK ? k + 2 : k + 1] - (k + 2 < BLOCK ? 0 : pace);
        /* Least squares with the orthogonal polynomials 1, k, k^2 - BOWL_MIDDLE of the points of a block. */
        const v4d rate = {plan->fine_rate, plan->fine_rate, plan->fine_rate, plan->fine_rate};
        const v4d begin = {start, start, start, start};
        v4d fine[BLOCK / 4], ramp[BLOCK / 4], bowl[BLOCK / 4], level4 = {0}, rise4 = {0}, curve4 = {0};
        for (int q = 0; q < BLOCK / 4; q++) {
            const v4d own_time = {time[4 * q], time[4 * q + 1], time[4 * q + 2], time[4 * q + 3]};
            ramp[q] = (v4d){RAMP[4 * q], RAMP[4 * q + 1], RAMP[4 * q + 2], RAMP[4 * q + 3]};
            bowl[q] = ramp[q] * ramp[q] - BOWL_MIDDLE;
            fine[q] = (own_time - begin) * rate;
            level4 += fine[q];
            rise4 += ramp[q] * fine[q];
            curve4 += bowl[q] * fine[q];
        }
        const double level = ((level4[0] + level4[1]) + (level4[2] + level4[3])) / (double)BLOCK;
        const double rise = ((rise4[0] + rise4[1]) + (rise4[2] + rise4[3])) / (BLOCK * BOWL_MIDDLE);
        const double curve = ((curve4[0] + curve4[1]) + (curve4[2] + curve4[3])) / (BLOCK * (BLOCK * BLOCK - 1.0) * (BLOCK * BLOCK - 4.0) / 180.0);
        double worst = 0;
        for (int q = 0; q < BLOCK / 4; q++) {
            const v4d error = level + rise * ramp[q] + curve * bowl[q] - fine[q];
            for (int k = 0; k < 4; k++) {
                const double size = fabs(error[k]);
                worst = seen[4 * q + k] && size > worst ? size : worst;
            }
        }
        const double middle = level - BOWL_MIDDLE * curve;
        const double whole_way = (middle - (double)LAST_POINT * (double)plan->step) * 32768.0 + 16384.0;
        const double cycles = (middle / plan->fine_rate + start + late) * carrier;
        quadratic[0] = (float)middle;
        quadratic[1] = (float)rise;
        quadratic[2] = (float)curve;
        plan->ways[own] = (int32_t)(whole_way > 1e9 ? 1e9 : whole_way < -1e9 ? -1e9 : whole_way);
        plan->phases[own] = (float)(cycles - floor(cycles));
        plan->kind[own] = worst > plan->tolerance ? SONOD_POINTS : SONOD_QUADRATIC;
        if (plan->points && plan->point_at[own] >= 0)
            for (int k = 0; k < BLOCK; k++)
                plan->points[(size_t)plan->point_at[own] * BLOCK + (size_t)k] = (float)fine[k / 4][k % 4];
    }
}
