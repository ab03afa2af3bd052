/*
 * cuda_cut.c: the kernels of a PTX text.
 */
#include "cuda_cut.h"

#include <stdlib.h>
#include <string.h>

/* Up to the image, which a step.ptx ends with. */
static size_t code_bytes(const TitanCode *code)
{
    static const char image[] =
        "\n.visible .global .align 8 .b64 " TITAN_SYMBOL_IMAGE "[";
    const char *end =
        memmem(code->ptx, code->ptx_size, image, sizeof image - 1);
    return end ? (size_t)(end - code->ptx) : code->ptx_size;
}

static bool begins(const char *line, const char *end, const char *with)
{
    size_t n = strlen(with);
    return (size_t)(end - line) >= n && memcmp(line, with, n) == 0;
}

/* A line that says something of several kernels. */
static bool is_shared(const char *line, const char *end)
{
    static const char *const kinds[] = {".global",        ".visible .global",
                                        ".func",          ".weak",
                                        ".visible .func", "\t.file"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (begins(line, end, kinds[i])) return true;
    return false;
}

/* Where kernels begin; false: they cannot be parted.  KERNELS NULL: only how
 * many there are. */
static bool find_kernels(PtxText *t)
{
    const char *end = t->at + t->n, *next;
    t->nkernels = 0;
    for (const char *line = t->at; line < end; line = next) {
        next = memchr(line, '\n', (size_t)(end - line));
        next = next ? next + 1 : end;
        if (is_shared(line, end)) return false;
        if (!begins(line, end, ".visible .entry")) continue;
        if (t->nkernels == 0) t->front = (size_t)(line - t->at);
        if (t->kernels) t->kernels[t->nkernels].at = line;
        t->nkernels++;
    }
    for (unsigned i = 0; t->kernels && i < t->nkernels; i++) {
        PtxKernel *k = &t->kernels[i];
        k->n = (size_t)((i + 1 < t->nkernels ? k[1].at : end) - k->at);
    }
    return t->nkernels > 1;
}

bool cuda_cut_open(const TitanCode *code, PtxText *out)
{
    *out = (PtxText){.at = code->ptx, .n = code_bytes(code)};
    if (!find_kernels(out)) {
        out->front = out->n;
        out->nkernels = 0;
        return true;
    }
    out->kernels = calloc(out->nkernels, sizeof *out->kernels);
    return out->kernels && find_kernels(out);
}

void cuda_cut_close(PtxText *t)
{
    free(t->kernels);
    *t = (PtxText){0};
}

char *cuda_cut_part(const PtxText *t, unsigned part)
{
    size_t n = t->front;
    for (unsigned i = 0; i < t->nkernels; i++)
        if (t->kernels[i].part == part) n += t->kernels[i].n;
    char *text = malloc(n + 1), *at = text;
    if (!text) return NULL;
    memcpy(at, t->at, t->front);
    at += t->front;
    for (unsigned i = 0; i < t->nkernels; i++) {
        const PtxKernel *k = &t->kernels[i];
        if (k->part != part) continue;
        memcpy(at, k->at, k->n);
        at += k->n;
    }
    *at = 0;
    return text;
}
