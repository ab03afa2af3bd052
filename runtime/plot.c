/*
 * plot.c: curves in braille: each character is 2 x 4 dots.
 */
#include "plot.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { COLUMNS = 60, ROWS = 10, DOTS_X = COLUMNS * 2, DOTS_Y = ROWS * 4 };

typedef struct Canvas {
    unsigned char dots[ROWS][COLUMNS];
} Canvas;

static void put_dot(Canvas *c, int x, int y)
{
    static const unsigned char bit[4][2] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    if (x < 0 || x >= DOTS_X || y < 0 || y >= DOTS_Y) return;
    c->dots[y / 4][x / 2] |= bit[y % 4][x % 2];
}

static void range_of(const float *y, int64_t n, double *low, double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(y[i])) continue;
        *low = fmin(*low, y[i]);
        *high = fmax(*high, y[i]);
    }
}

/* Of as many columns as there are values or fewer each has the mean of those
 * that fall into it; of more of them, what lies between its neighbours. */
static double column_value(const float *y, int64_t n, int x)
{
    if (n < DOTS_X) {
        double at = (double)x * (double)(n - 1) / (DOTS_X - 1);
        int64_t i = (int64_t)at;
        int64_t k = i + 1 < n ? i + 1 : i;
        return y[i] + (at - (double)i) * (y[k] - y[i]);
    }
    double sum = 0;
    int64_t count = 0;
    for (int64_t i = n * x / DOTS_X; i < n * (x + 1) / DOTS_X; i++) {
        if (!isfinite(y[i])) continue;
        sum += y[i];
        count++;
    }
    return count ? sum / (double)count : NAN;
}

static void draw(Canvas *c, const float *y, int64_t n, double low, double high)
{
    int before = -1;
    for (int x = 0; x < DOTS_X; x++) {
        double v = column_value(y, n, x);
        if (!isfinite(v)) {
            before = -1;
            continue;
        }
        int at = (int)lround((high - v) / (high - low) * (DOTS_Y - 1));
        int from = before < 0 ? at : before, step = at < from ? -1 : 1;
        for (int k = from; k != at; k += step)
            put_dot(c, x, k);
        put_dot(c, x, at);
        before = at;
    }
}

/* U+2800 + dots, as UTF-8. */
static void put_braille(unsigned char dots, FILE *out)
{
    if (dots == 0) {
        fputc(' ', out);
        return;
    }
    fputc(0xe2, out);
    fputc(0xa0 | dots >> 6, out);
    fputc(0x80 | (dots & 0x3f), out);
}

static void put_steps(int64_t first, int64_t last, FILE *out)
{
    int n = fprintf(out, "%9s +%" PRId64 " ", "step", first) - 11;
    fprintf(out, "%*" PRId64 "\n", COLUMNS - n, last);
}

void plot_curve(const float *y, int64_t n, int64_t first, int64_t last,
                FILE *out)
{
    double low, high;
    Canvas c;
    memset(&c, 0, sizeof c);
    range_of(y, n, &low, &high);
    if (!(low <= high) || n < 1) return;
    if (high == low) high = low + 1;
    draw(&c, y, n, low, high);
    for (int r = 0; r < ROWS; r++) {
        double at = high - (high - low) * r / (ROWS - 1);
        fprintf(out, "%9.4f |", at);
        int end = COLUMNS;
        while (end > 0 && c.dots[r][end - 1] == 0)
            end--;
        for (int x = 0; x < end; x++)
            put_braille(c.dots[r][x], out);
        fputc('\n', out);
    }
    put_steps(first, last, out);
}
