/*
 * plot.h: a curve in the terminal.
 */
#ifndef TITAN_PLOT_H
#define TITAN_PLOT_H

#include <stdint.h>
#include <stdio.h>

/* Draws y[0 .. n) from left to right in braille dots, 60 x 10 characters with
 * a scale at the left, and below it the steps FIRST and LAST, of which the ends
 * are; values that are not finite are left out. */
void plot_curve(const float *y, int64_t n, int64_t first, int64_t last,
                FILE *out);

#endif
