/*
 * cases.h: kernels with inputs and expected results, as files, for a machine
 * that has a GPU but no compiler.
 *
 * A folder of cases has cubins, `cases.txt` and `cases.data`.  The text is a
 * list of records, one word and its numbers a line; `at` counts bytes of the
 * data:
 *
 *     module FILE                          kernels below are in this cubin
 *     kernel SYMBOL BLOCKS THREADS SHARED  a case begins
 *     map ARG DTYPE RANK SWIZZLE OFFSET    a tensor map; then for each of the
 *         SIZE STRIDE BOX ...              dimensions, innermost first
 *     arg BYTES from AT                    an argument with these bytes
 *     arg BYTES fill BYTE                  ... or all bytes alike
 *     arg same ARG                         the same place as another
 *     want ARG DTYPE EXACT AT NAXES        a result: in the data floats (f64:
 *         SIZE STRIDE ...                  doubles, others 64-bit integers);
 *                                          outermost axis first
 *     run                                  a case ends
 */
#ifndef TITAN_TESTS_GPU_CASES_H
#define TITAN_TESTS_GPU_CASES_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "codegen/kernel.h"

typedef struct Cases {
    const char *folder;
    FILE *text, *data;
    uint64_t at;
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
    *c = (Cases){.folder = folder};
    c->text = cases_file(folder, "cases.txt");
    c->data = cases_file(folder, "cases.data");
}

static inline void cases_close(Cases *c)
{
    fclose(c->text);
    fclose(c->data);
}

static inline uint64_t cases_bytes(Cases *c, const void *at, size_t n)
{
    uint64_t from = c->at;
    fwrite(at, 1, n, c->data);
    c->at += n;
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

static inline void cases_want(Cases *c, uint32_t arg, const TypeInfo *t,
                              const int64_t *stride, bool exact,
                              const Tensor *want)
{
    uint64_t from = c->at;
    for (int64_t i = 0; i < want->n; i++) {
        float f = (float)want->at[i].f;
        if (dtype_class(t->dtype) == DC_float && t->dtype != DT_f64)
            cases_bytes(c, &f, 4);
        else
            cases_bytes(c, &want->at[i], 8);
    }
    fprintf(c->text, "want %" PRIu32 " %d %d %" PRIu64 " %" PRIu32, arg,
            (int)t->dtype, exact, from, t->naxes);
    for (uint32_t i = 0; i < t->naxes; i++)
        fprintf(c->text, "  %" PRId64 " %" PRId64, t->axes[i].size, stride[i]);
    fputc('\n', c->text);
}

#endif
