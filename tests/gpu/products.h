/*
 * products.h: matrix products that make-matmul made: their records, operands of
 * normal numbers, and kernels ready to launch.  matmuls.txt in their folder is
 *
 *     product NAME BODY M N K
 *     key WORDS                                          as tables name it
 *     arg DTYPE WRITTEN SAME SIZE STRIDE SIZE STRIDE     same: an argument; -1
 *     kernel SYMBOL BLOCKS THREADS SHARED
 *     map ARG DTYPE RANK SWIZZLE SIZE STRIDE BOX ...     for each dimension
 *
 * The body says what the results are (tests/gpu/make/matmul.c).
 */
#ifndef TITAN_TESTS_GPU_PRODUCTS_H
#define TITAN_TESTS_GPU_PRODUCTS_H

#include <inttypes.h>
#include <math.h>

#include "tests/gpu/library.h"

enum { MOST_KERNELS = 32, MOST_ARGS = 12 };
enum { GUARD = 4096 };
enum { PATTERN = 1 << 24 }; /* numbers that operands are made of */

typedef struct Candidate {
    char name[128];
    Shot shot;
    TitanMap maps[MOST_MAPS];
} Candidate;

typedef struct Arg {
    bool wide, written; /* f32, else bf16 */
    int same;
    int64_t size[2], stride[2];
    size_t bytes;
    uint64_t at;
    uint8_t *before; /* what it holds at first; poison where it is written */
} Arg;

typedef struct Product {
    char name[64], body[32], key[256];
    Gemm3 g;
    Arg args[MOST_ARGS];
    uint32_t nargs;
    Candidate at[MOST_KERNELS];
    uint32_t n;
} Product;

typedef struct World {
    Driver d;
    const char *folder;
    void *stream, *module;
    uint16_t *pattern; /* normal numbers in bf16 */
    uint64_t random;
} World;

static inline uint64_t draw(World *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random * 0x2545F4914F6CDD1Dull;
}

static inline float from_bf16(uint16_t x)
{
    uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint16_t to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static inline double uniform(World *w)
{
    return ((double)(draw(w) >> 11) + 0.5) * 0x1p-53;
}

static inline void make_pattern(World *w)
{
    w->pattern = malloc(PATTERN * sizeof *w->pattern);
    uint16_t normal[1 << 14];
    for (size_t i = 0; i < sizeof normal / sizeof *normal; i++)
        normal[i] = to_bf16((float)(sqrt(-2 * log(uniform(w))) *
                                    cos(6.283185307179586 * uniform(w))));
    for (size_t i = 0; i < PATTERN; i += 4) {
        uint64_t r = draw(w);
        for (int j = 0; j < 4; j++)
            w->pattern[i + (size_t)j] = normal[r >> (16 * j) & 0x3fff];
    }
}

/* The pattern from another place on, again and again. */
static inline void fill(World *w, Arg *x)
{
    size_t n = x->bytes / (x->wide ? 4 : 2), from = draw(w) % PATTERN;
    for (size_t i = 0, most; i < n; i += most, from = (from + 977) % PATTERN) {
        most = PATTERN - from < n - i ? PATTERN - from : n - i;
        if (!x->wide) memcpy(x->before + 2 * i, w->pattern + from, 2 * most);
        for (size_t k = 0; k < most && x->wide; k++) {
            uint32_t word = (uint32_t)w->pattern[from + k] << 16;
            memcpy(x->before + 4 * (i + k), &word, 4);
        }
    }
}

/* Places for the arguments, here and there. */
static inline void make_args(World *w, Product *p)
{
    for (uint32_t i = 0; i < p->nargs; i++) {
        Arg *x = &p->args[i];
        x->bytes = (size_t)((x->size[0] - 1) * x->stride[0] +
                            (x->size[1] - 1) * x->stride[1] + 1) *
                   (x->wide ? 4 : 2);
        if (x->same >= 0) {
            x->at = p->args[x->same].at;
            x->before = p->args[x->same].before;
            continue;
        }
        x->before = malloc(x->bytes + GUARD);
        memset(x->before, 0xff, x->bytes + GUARD);
        if (!x->written) fill(w, x);
        MUST(&w->d, alloc, (&x->at, x->bytes + GUARD));
        MUST(&w->d, to, (x->at, x->before, x->bytes + GUARD));
    }
}

static inline void free_args(World *w, Product *p)
{
    for (uint32_t i = 0; i < p->nargs; i++) {
        if (p->args[i].same >= 0) continue;
        MUST(&w->d, release, (p->args[i].at));
        free(p->args[i].before);
    }
}

/* ------------------------------------------------------------------ index */

static inline void read_map(const char *line, TitanMap *m)
{
    int used = 0;
    sscanf(line, "map %u %u %u %u%n", &m->arg, &m->dtype, &m->rank, &m->swizzle,
           &used);
    for (uint32_t i = 0; i < m->rank && i < TITAN_MAP_DIMS; i++) {
        int more = 0;
        sscanf(line + used, "%" SCNd64 " %" SCNd64 " %u%n", &m->size[i],
               &m->stride[i], &m->box[i], &more);
        used += more;
    }
}

static inline void read_product(const char *line, Product *p)
{
    Gemm3 *g = &p->g;
    *p = (Product){0};
    sscanf(line, "product %63s %31s %" SCNd64 " %" SCNd64 " %" SCNd64, p->name,
           p->body, &g->m, &g->n, &g->k);
}

static inline void read_arg(const char *line, Product *p)
{
    char dtype[8];
    int written;
    Arg *x = &p->args[p->nargs];
    if (p->nargs == MOST_ARGS) return;
    sscanf(line, "arg %7s %d %d %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64,
           dtype, &written, &x->same, &x->size[0], &x->stride[0], &x->size[1],
           &x->stride[1]);
    x->wide = strcmp(dtype, "f32") == 0;
    x->written = written;
    if (written && p->g.d_row == 0) {
        p->g.d_row = x->stride[0];
        p->g.wide = x->wide;
        p->g.add = p->nargs == 3; /* of a plain product */
    }
    if (p->nargs == 0) p->g.a_row = x->stride[0], p->g.a_col = x->stride[1];
    if (p->nargs == 1) p->g.b_col = x->stride[0], p->g.b_row = x->stride[1];
    p->nargs++;
}

static inline void load_product(World *w, const Product *p)
{
    char path[512];
    size_t size;
    snprintf(path, sizeof path, "%s/%s.cubin", w->folder, p->name);
    char *bytes = whole_file(path, &size);
    MUST(&w->d, load, (&w->module, bytes));
    free(bytes);
}

static inline void prepare(World *w, Product *p, Candidate *k)
{
    MUST(&w->d, function, (&k->shot.fn, w->module, k->name));
    shot_prepare(&w->d, &k->shot);
    k->shot.nargs = p->nargs;
    for (uint32_t i = 0; i < p->nargs; i++)
        k->shot.words[i] = p->args[i].at;
    for (uint32_t i = 0; i < k->shot.nmaps; i++)
        map_encode(&w->d, &k->maps[i], p->args[k->maps[i].arg].at,
                   k->shot.maps[i]);
}

static inline void read_line(Product *p, const char *line)
{
    Candidate *k = p->n ? &p->at[p->n - 1] : NULL;
    if (strncmp(line, "arg ", 4) == 0) {
        read_arg(line, p);
    } else if (strncmp(line, "key ", 4) == 0) {
        sscanf(line, "key %255[^\n]", p->key);
    } else if (strncmp(line, "kernel ", 7) == 0 && p->n < MOST_KERNELS) {
        k = &p->at[p->n++];
        sscanf(line, "kernel %127s %u %u %u", k->name, &k->shot.blocks,
               &k->shot.threads, &k->shot.shared);
    } else if (strncmp(line, "map ", 4) == 0 && k) {
        read_map(line, &k->maps[shot_map(&k->shot)]);
    }
}

/* A driver, a stream, numbers.  False: there is no GPU. */
static inline bool world_open(World *w, const char *folder)
{
    w->random = 88172645463325252ull;
    w->folder = folder;
    setvbuf(stdout, NULL, _IOLBF, 1 << 12);
    if (!driver_open(&w->d)) return false;
    MUST(&w->d, stream_new, (&w->stream, 0));
    make_pattern(w);
    return true;
}

typedef void Visit(World *w, Product *p, void *context);

static inline void visit_one(World *w, Product *p, Visit *visit, void *context)
{
    if (!p->n) return;
    load_product(w, p);
    make_args(w, p);
    for (uint32_t i = 0; i < p->n; i++)
        prepare(w, p, &p->at[i]);
    visit(w, p, context);
    free_args(w, p);
    MUST(&w->d, unload, (w->module));
}

/* Every product of the folder, loaded and with its operands. */
static inline bool visit_products(World *w, Product *p, Visit *visit,
                                  void *context)
{
    char path[512], line[1024];
    snprintf(path, sizeof path, "%s/matmuls.txt", w->folder);
    FILE *in = fopen(path, "r");
    if (!in) return perror(path), false;
    while (fgets(line, sizeof line, in)) {
        if (strncmp(line, "product ", 8) == 0) {
            visit_one(w, p, visit, context);
            read_product(line, p);
        } else {
            read_line(p, line);
        }
    }
    visit_one(w, p, visit, context);
    fclose(in);
    return true;
}

#endif
