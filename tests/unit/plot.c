/* links: titan_runtime */
/*
 * plot.c: a curve that falls has no dot above where it has been, however many
 * values it is of, and each of the two ends of a scale has its step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/plot.h"

enum { ROWS = 10, WIDTH = 60, SCALE = 11 };

static char *drawn(const float *y, int64_t n)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    plot_curve(y, n, 1, 4000, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* The dots of each character: a blank, or three bytes of UTF-8. */
static void read_dots(const char *text, unsigned dots[ROWS][WIDTH])
{
    memset(dots, 0, sizeof(unsigned[ROWS][WIDTH]));
    for (int r = 0; r < ROWS; r++) {
        const char *end = strchr(text, '\n');
        const unsigned char *p = (const unsigned char *)text + SCALE;
        assert_non_null(end);
        for (int x = 0; p < (const unsigned char *)end; x++) {
            assert_true(x < WIDTH);
            if (*p == ' ') {
                p++;
                continue;
            }
            dots[r][x] = (p[1] & 3u) << 6 | (p[2] & 63u);
            p += 3;
        }
        text = end + 1;
    }
}

/* The first row of dots that column X of dots has, from the top. */
static int top_dot(unsigned dots[ROWS][WIDTH], int x)
{
    static const unsigned bit[4][2] = {
        {0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    for (int y = 0; y < 4 * ROWS; y++)
        if (dots[y / 4][x / 2] & bit[y % 4][x % 2]) return y;
    return -1;
}

static void falls(void **state)
{
    (void)state;
    static const int64_t sizes[] = {2, 3, 5, 40, 119, 120, 121, 200, 5000};
    float *y = malloc(5000 * sizeof *y);
    assert_non_null(y);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        unsigned dots[ROWS][WIDTH];
        int64_t n = sizes[k];
        for (int64_t i = 0; i < n; i++)
            y[i] = (float)(n - i);
        char *text = drawn(y, n);
        read_dots(text, dots);
        for (int x = 0, before = 0; x < 2 * WIDTH; x++) {
            int at = top_dot(dots, x);
            assert_true(at >= before);
            before = at;
        }
        free(text);
    }
    free(y);
}

static void leaves_out(void **state)
{
    (void)state;
    float y[40];
    for (int i = 0; i < 40; i++)
        y[i] = i % 2 ? NAN : 1;
    char *text = drawn(y, 40);
    assert_non_null(strstr(text, "2.0000"));
    free(text);
}

static void steps(void **state)
{
    (void)state;
    const float y[] = {2, 1};
    char *text = drawn(y, 2);
    const char *last = text;
    for (const char *p = text; p; p = strchr(p, '\n')) {
        if (*p == '\n') p++;
        if (*p == 0) break;
        last = p;
    }
    assert_string_equal(last, "     step +1                             "
                              "                          4000\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(falls),
        cmocka_unit_test(leaves_out),
        cmocka_unit_test(steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
