/* What the kernels of delay and sum agree upon. */
#ifndef SONOD_PLANES_H
#define SONOD_PLANES_H

/* Elements on the edge of the aperture take part, whichever way rounding falls. */
#define APERTURE_EDGE 1.00001f

/* Zeros before and behind every row of a plane: a block may begin this much outside. */
#define PLANE_MARGIN 40
/* Signal, slope and curvature; in some planes also the third order. */
#define LEAST_ROWS 3
#define MOST_ROWS 4

#endif
