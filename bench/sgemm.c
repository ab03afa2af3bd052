/*
 * sgemm.c: the rate of OpenBLAS's own threaded sgemm, as a measuring stick.
 *
 *     sgemm THREADS [N]     prints GFLOP/s of the best of five N x N x N
 *
 * Uses the same library and core type as the runtime.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../runtime/blas.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    int n = argc > 2 ? atoi(argv[2]) : 2048;
    TitanStory story = {0};
    Blas blas;
    if (blas_open(&story, &blas) != TITAN_OK) {
        titan_story_print(&story, "sgemm");
        return 1;
    }
    blas.set_threads(threads);
    size_t elements = (size_t)n * (size_t)n;
    float *a = malloc(3 * elements * sizeof *a), best = 0;
    if (!a) return 1;
    for (size_t i = 0; i < 3 * elements; i++)
        a[i] = (float)(i * 2654435761u % 1000) / 1000.0f - 0.5f;
    for (int i = 0; i < 6; i++) {
        double t = now();
        blas.sgemm(101, 111, 111, n, n, n, 1.0f, a, n, a + elements, n, 0.0f,
                   a + 2 * elements, n);
        float rate = (float)(2.0 * n * n * n / (now() - t) / 1e9);
        if (i > 0 && rate > best) best = rate;
    }
    printf("%.1f %s\n", (double)best, blas.core_name ? blas.core_name() : "?");
    free(a);
    blas_close(&blas);
    return 0;
}
