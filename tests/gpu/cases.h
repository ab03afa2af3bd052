/*
 * cases.h: kernels with inputs and expected results, as files, for a machine
 * that has a GPU but no compiler.
 *
 * A folder of cases has cubins, or texts of PTX, `cases.txt` and `cases.data`.
 * The text is a list of records, one word and its numbers a line; `at` counts
 * bytes of the data:
 *
 *     module FILE                          kernels below are in this file
 *     kernel SYMBOL BLOCKS THREADS SHARED  a case begins
 *     map ARG DTYPE RANK SWIZZLE OFFSET    a tensor map; then for each of the
 *         SIZE STRIDE BOX ...              dimensions, innermost first
 *     arg BYTES draw WAY STATE DTYPE NAXES an argument whose elements are drawn
 *         SIZE STRIDE ...                  (draw.h), outermost axis first
 *     arg BYTES points TO DTYPE NAXES      ... or what a cast to TO is tried at
 *         SIZE STRIDE ...                  (points.h)
 *     arg BYTES fill BYTE                  ... or with all bytes alike
 *     arg same ARG                         the same place as another
 *     want ARG DTYPE NEAR AT NAXES         a result: in the data floats (f64:
 *         SIZE STRIDE ...                  doubles, others 64-bit integers);
 *                                          outermost axis first; how near
 *                                          it is: agree.h
 *     cast ARG FROM POWER DTYPE NAXES      a result: argument FROM, times 2 to
 *         SIZE STRIDE ...                  the POWER, as a cast makes it
 *     any ARG                              a result of which nothing is said
 *     pads BYTES                           behind each line of the last result
 *                                          so many bytes may be any
 *     run                                  a case ends
 */
#ifndef TITAN_TESTS_GPU_CASES_H
#define TITAN_TESTS_GPU_CASES_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "codegen/kernel.h"
#include "tests/gpu/agree.h"
#include "tests/gpu/draw.h"

enum { MOST_WRITTEN = 1 << 14 /* results */ };

typedef struct Cases {
    const char *folder;
    FILE *text, *data;
    uint64_t at;
    uint64_t hash[MOST_WRITTEN], from[MOST_WRITTEN]; /* of results */
    unsigned written;
} Cases;

static inline FILE *cases_file(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f) {
        perror(path);
        exit(1);
    }
    return f;
}

static inline void cases_open(Cases *c, const char *folder)
{
    c->folder = folder;
    c->at = c->written = 0;
    c->text = cases_file(folder, "cases.txt");
    c->data = cases_file(folder, "cases.data");
}

static inline void cases_close(Cases *c)
{
    fclose(c->text);
    fclose(c->data);
}

/* Kernels of cases that follow are in this text. */
static inline void cases_ptx(Cases *c, const char *name, const char *text,
                             size_t size)
{
    FILE *f = cases_file(c->folder, name);
    fwrite(text, 1, size, f);
    fclose(f);
    fprintf(c->text, "module %s\n", name);
}

static inline uint64_t cases_hash(const void *at, size_t n)
{
    uint64_t h = 0xCBF29CE484222325ull;
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const unsigned char *)at)[i]) * 0x100000001B3ull;
    return h;
}

/* TITAN_CASES_PTX=N: modules are texts, not what ptxas makes of them, and of N
 * cases there is about one, which TITAN_SEED draws. */
static inline unsigned long cases_ptx_of(void)
{
    const char *said = getenv("TITAN_CASES_PTX");
    return said ? strtoul(said, NULL, 10) : 0;
}

static inline bool cases_take(const char *name, unsigned which)
{
    unsigned long of = cases_ptx_of();
    const char *seed = getenv("TITAN_SEED");
    Draws d = {cases_hash(name, strlen(name)) ^ which * 0x9E3779B97F4A7C15ull};
    if (of < 2) return true;
    d.state ^= seed ? strtoull(seed, NULL, 10) * 0xD1B54A32D192ED03ull : 0;
    d.state |= 1;
    for (int i = 0; i < 4; i++)
        draw(&d);
    return draw(&d) % of == 0;
}

/* TITAN_CASES_TARGET: the GPU that cases are for. */
static inline TargetId cases_target(void)
{
    const char *said = getenv("TITAN_CASES_TARGET");
    TargetId target = TARGET_sm_90a;
    if (said && (!target_find(said, &target) || !target_is_gpu(target))) {
        fprintf(stderr, "TITAN_CASES_TARGET: there is no GPU '%s'\n", said);
        exit(1);
    }
    return target;
}

/* Where these bytes are in the data: as another result, or behind all. */
static inline uint64_t cases_bytes(Cases *c, const void *at, size_t n)
{
    uint64_t h = cases_hash(at, n) ^ n;
    for (unsigned i = 0; i < c->written; i++)
        if (c->hash[i] == h) return c->from[i];
    uint64_t from = c->at;
    fwrite(at, 1, n, c->data);
    c->at += n;
    if (c->written < MOST_WRITTEN) {
        c->hash[c->written] = h;
        c->from[c->written++] = from;
    }
    return from;
}

static inline void cases_kernel(Cases *c, const Kernel *k)
{
    fprintf(c->text, "kernel %s %" PRId64 " %" PRIu32 " %" PRIu32 "\n", k->name,
            k->items, k->threads, k->shared);
    for (uint32_t i = 0; i < k->nmaps; i++) {
        const TitanMap *m = &k->maps[i];
        fprintf(c->text,
                "map %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRId64,
                m->arg, m->dtype, m->rank, m->swizzle, m->offset);
        for (uint32_t j = 0; j < m->rank; j++)
            fprintf(c->text, "  %" PRId64 " %" PRId64 " %" PRIu32, m->size[j],
                    m->stride[j], m->box[j]);
        fputc('\n', c->text);
    }
}

static inline void cases_shape(Cases *c, const DrawShape *s)
{
    fprintf(c->text, " %" PRIu32, s->naxes);
    for (uint32_t i = 0; i < s->naxes; i++)
        fprintf(c->text, "  %" PRId64 " %" PRId64, s->size[i], s->stride[i]);
    fputc('\n', c->text);
}

static inline void cases_drawn(Cases *c, size_t bytes, DrawWay way,
                               const Draws *from, DType d, const DrawShape *s)
{
    fprintf(c->text, "arg %zu draw %d %" PRIu64 " %d", bytes, (int)way,
            from->state, (int)d);
    cases_shape(c, s);
}

/* What a result of few bits is near to: bits that it cannot tell would only be
 * carried. */
static inline float cases_near(DType d, Near near, double x)
{
    float f = (float)x;
    uint32_t bits;
    bool few = dtype_bytes(d) <= 2 || near == NEAR_flips;
    if (near == NEAR_exact || !few || !isfinite(f)) return f;
    memcpy(&bits, &f, sizeof bits);
    bits &= ~UINT32_C(0xff); /* 2^-15 of it; the nearest bf16 is 2^-9 */
    memcpy(&f, &bits, sizeof bits);
    return f;
}

static inline void cases_want(Cases *c, uint32_t arg, DType d,
                              const DrawShape *s, Near near, const Tensor *want)
{
    bool narrow = dtype_class(d) == DC_float && d != DT_f64;
    size_t each = narrow ? 4 : 8;
    char *bytes = malloc((size_t)want->n * each + 1);
    for (int64_t i = 0; i < want->n; i++) {
        float f = cases_near(d, near, want->at[i].f);
        memcpy(bytes + (size_t)i * each,
               narrow ? (const void *)&f : (const void *)&want->at[i], each);
    }
    fprintf(c->text, "want %" PRIu32 " %d %d %" PRIu64, arg, (int)d, (int)near,
            cases_bytes(c, bytes, (size_t)want->n * each));
    cases_shape(c, s);
    free(bytes);
}

#endif
