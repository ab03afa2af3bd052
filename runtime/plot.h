/*
 * plot.h: a curve in the terminal.
 */
#ifndef TITAN_PLOT_H
#define TITAN_PLOT_H

#include <stdint.h>
#include <stdio.h>

/* Draws y[0 .. n) from left to right in braille dots, 60 x 10 characters with
 * a scale at the left; values that are not finite are left out. */
void plot_curve(const float *y, int64_t n, FILE *out);

#endif
