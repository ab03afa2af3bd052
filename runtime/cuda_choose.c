/*
 * cuda_choose.c: how a gemm is done: one of the ways that cuBLASLt offers.
 *
 * In this order: the choice that the table has, where it holds for this GPU
 * and this version of the library; the fastest of several that are timed, if
 * asked for; what is built in, by the same key (tune/); the first that the
 * library's own model names.  Where there is a
 * table, what it lacks is said and goes into it, so that another version of the
 * library, or another GPU, is chosen for once.  Splits of K whose
 * parts are added in no fixed order are never allowed, so that bits do not
 * depend on the run; but another choice may add in another order, and a timed
 * one may differ from run to run where no table keeps it.
 *
 * Timing happens before the first step, on the operands' own places among the
 * temporaries, which are filled with numbers of ordinary size: a GPU is faster
 * on zeros.
 */
#include "cuda_gemm.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WAYS = 64, MOST_TURNS = 1000, NOISE = 4 << 20, KEY = 1024 };
/* Of work in one measurement: a card comes to its power limit, where what takes
 * less energy is faster. */
#define LEAST_MS 40.0

static uint64_t low_bit(uint64_t bits)
{
    return bits & -bits;
}

/* Of operand K in every turn of the loops around. */
static uint32_t least_align(const CudaGemm *x, int k)
{
    uint64_t bits = x->align[k];
    for (uint32_t i = 0; i < x->nloops; i++)
        bits |= (uint64_t)x->step[k][i];
    return (uint32_t)low_bit(bits);
}

static TitanStatus prefer(Cuda *c, const CudaGemm *x, LtPreference p)
{
    uint64_t room = CUDA_GEMM_WORKSPACE;
    uint32_t reductions = LT_reduction_compute_type;
    uint32_t a = least_align(x, x->swapped ? 1 : 0);
    uint32_t b = least_align(x, x->swapped ? 0 : 1);
    uint32_t d = least_align(x, 2), added = least_align(x, 3);
    LT_TRY(c, preference_set(p, LT_want_workspace, &room, sizeof room));
    LT_TRY(c, preference_set(p, LT_want_reductions, &reductions,
                             sizeof reductions));
    LT_TRY(c, preference_set(p, LT_want_align_a, &a, sizeof a));
    LT_TRY(c, preference_set(p, LT_want_align_b, &b, sizeof b));
    LT_TRY(c, preference_set(p, LT_want_align_c, &added, sizeof added));
    LT_TRY(c, preference_set(p, LT_want_align_d, &d, sizeof d));
    return TITAN_OK;
}

/* At most MOST ways to do it, best first by the library's own model. */
static TitanStatus ask(Cuda *c, const CudaGemm *x, LtHeuristic *out, int most,
                       int *n)
{
    LtPreference p = NULL;
    *n = 0;
    LT_TRY(c, preference_create(&p));
    TitanStatus st = prefer(c, x, p);
    if (st == TITAN_OK) {
        LtStatus lt = c->lt.heuristic(c->handle, x->desc, x->a, x->b, x->d,
                                      x->d, p, most, out, n);
        if (lt != 0 && lt != LT_not_supported)
            st = lt_fail(c->story, &c->lt, "heuristic", lt);
    }
    c->lt.preference_destroy(p);
    return st;
}

/* ----------------------------------------------------------------- table -- */

typedef struct Text {
    char at[KEY];
    size_t n;
} Text;

__attribute__((format(printf, 2, 3))) static void add(Text *t, const char *fmt,
                                                      ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(t->at + t->n, KEY - t->n, fmt, args);
    va_end(args);
    t->n += n > 0 ? (size_t)n : 0;
    if (t->n >= KEY) t->n = KEY - 1;
}

/* Everything that the choice depends on, in the words of the image. */
static void key_of(const Cuda *c, const CudaGemm *x, Text *out)
{
    const TitanGemm *g = &x->of;
    *out = (Text){.n = 0};
    add(out, "%s lt=%zu ", c->name, c->lt.version());
    for (size_t i = 0; i < strlen(c->name); i++)
        if (out->at[i] == ' ') out->at[i] = '_';
    add(out, "%s*%s->%s/%s", titan_dtype_name(g->dtype_a),
        titan_dtype_name(g->dtype_b), titan_dtype_name(g->dtype_d),
        titan_dtype_name(g->acc));
    add(out, " m=%" PRId64 " n=%" PRId64 " k=%" PRId64, g->m, g->n, g->k);
    add(out,
        " a=%" PRId64 ",%" PRId64 " b=%" PRId64 ",%" PRId64 " d=%" PRId64
        ",%" PRId64 " add=%" PRIu32,
        g->a_row, g->a_col, g->b_row, g->b_col, g->d_row, g->d_col,
        g->accumulate);
    if (g->scale_a)
        add(out, " scales=%" PRIu32 ",%" PRIu32, g->scale_a, g->scale_b);
    if (g->fast) add(out, " fast");
    if (g->processors) add(out, " processors=%" PRIu64, g->processors);
    for (uint32_t i = 0; i < g->nbatch; i++)
        add(out, " x%" PRId64 "=%" PRId64 ",%" PRId64 ",%" PRId64, g->batch[i],
            g->a_batch[i], g->b_batch[i], g->d_batch[i]);
    add(out, " align=%u,%u,%u,%u", least_align(x, 0), least_align(x, 1),
        least_align(x, 2), least_align(x, 3));
}

/* An entry of the table may be of a library that named its ways otherwise. */
static bool still_holds(Cuda *c, const CudaGemm *x, const LtAlgo *algo)
{
    LtHeuristic r;
    return c->lt.algo_check(c->handle, x->desc, x->a, x->b, x->d, x->d, algo,
                            &r) == 0 &&
           r.workspace <= CUDA_GEMM_WORKSPACE;
}

/* ---------------------------------------------------------------- timing -- */

/* Numbers of size 1/2 to 2, with either sign, as bf16, f32 and f64 alike; all
 * bytes are numbers of eight bits. */
static void make_noise(uint16_t *to, size_t n)
{
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        to[i] = (uint16_t)((x & 0x80bf) | 0x3f00);
    }
}

/* Puts numbers of ordinary size where temporaries go, for timing. */
static TitanStatus fill_temporaries(Cuda *c)
{
    uint64_t frame =
        stage_of(c->im, c->rank.rank)->base_bytes[TITAN_BASE_frame];
    size_t first = frame < NOISE ? (size_t)frame : NOISE;
    uint16_t *noise = malloc(NOISE);
    if (!noise) return titan_no_memory(c->story);
    make_noise(noise, NOISE / sizeof *noise);
    TitanStatus st = cuda_write(&c->device, TITAN_BASE_frame, 0, noise, first);
    free(noise);
    TRY(st);
    CuPtr at = c->base[TITAN_BASE_frame];
    for (uint64_t done = first; done < frame;) {
        uint64_t n = frame - done < done ? frame - done : done;
        CU_TRY(c, cuMemcpyAsync(at + done, at, n, c->stream));
        done += n;
    }
    return TITAN_OK;
}

/* Clears them. */
static TitanStatus clear_temporaries(Cuda *c)
{
    uint64_t frame =
        stage_of(c->im, c->rank.rank)->base_bytes[TITAN_BASE_frame];
    CU_TRY(c, cuMemsetD8Async(c->base[TITAN_BASE_frame], 0, frame, c->stream));
    return TITAN_OK;
}

/* The result must lie among the temporaries: the others hold what counts. */
static bool may_time(const Cuda *c, CuPtr d)
{
    CuPtr frame = c->base[TITAN_BASE_frame];
    return c->timing && c->options.gemm_algos > 0 && d >= frame &&
           d < frame +
                   stage_of(c->im, c->rank.rank)->base_bytes[TITAN_BASE_frame];
}

typedef struct Clock {
    CuEvent from, to;
} Clock;

static TitanStatus time_turns(Cuda *c, const CudaGemm *x,
                              const CuPtr at[TITAN_GEMM_PLACES],
                              const LtAlgo *algo, int turns, const Clock *k,
                              double *us)
{
    float ms;
    CU_TRY(c, cuEventRecord(k->from, c->stream));
    for (int i = 0; i < turns; i++)
        TRY(cuda_gemm_call(c, x, at, algo, 0));
    CU_TRY(c, cuEventRecord(k->to, c->stream));
    CU_TRY(c, cuEventSynchronize(k->to));
    CU_TRY(c, cuEventElapsedTime(&ms, k->from, k->to));
    *us = ms * 1e3 / turns;
    return TITAN_OK;
}

static int turns_for(double us)
{
    double n = LEAST_MS * 1e3 / (us > 1 ? us : 1);
    return n < 2 ? 2 : n > MOST_TURNS ? MOST_TURNS : (int)n;
}

/* The first call of a way loads its code. */
static TitanStatus time_way(Cuda *c, const CudaGemm *x,
                            const CuPtr at[TITAN_GEMM_PLACES],
                            const LtAlgo *algo, const Clock *k, double *us)
{
    TRY(time_turns(c, x, at, algo, 1, k, us));
    TRY(time_turns(c, x, at, algo, 1, k, us));
    return time_turns(c, x, at, algo, turns_for(*us), k, us);
}

static TitanStatus open_clock(Cuda *c, Clock *k)
{
    CU_TRY(c, cuEventCreate(&k->from, CU_event_default));
    CU_TRY(c, cuEventCreate(&k->to, CU_event_default));
    return TITAN_OK;
}

static void close_clock(Cuda *c, Clock *k)
{
    if (k->from) c->cu.cuEventDestroy(k->from);
    if (k->to) c->cu.cuEventDestroy(k->to);
}

static TitanStatus time_ways(Cuda *c, const CudaGemm *x,
                             const CuPtr at[TITAN_GEMM_PLACES],
                             const LtHeuristic *ways, int n, int *best,
                             double *best_us)
{
    Clock k = {0};
    TitanStatus st = open_clock(c, &k);
    *best = 0;
    for (int i = 0; i < n && st == TITAN_OK; i++) {
        double us = 0;
        if (ways[i].state != 0) continue;
        st = time_way(c, x, at, &ways[i].algo, &k, &us);
        if (i > 0 && us >= *best_us) continue;
        *best = i;
        *best_us = us;
    }
    close_clock(c, &k);
    return st;
}

/* ---------------------------------------------------------------- choice -- */

static TitanStatus none_fits(Cuda *c, const TitanGemm *g)
{
    return titan_fail(c->story, TITAN_UNAVAILABLE,
                      "this cuBLASLt has no matrix product %s x %s -> %s of "
                      "%" PRId64 " x %" PRId64 " x %" PRId64,
                      titan_dtype_name(g->dtype_a),
                      titan_dtype_name(g->dtype_b),
                      titan_dtype_name(g->dtype_d), g->m, g->n, g->k);
}

static TitanStatus write_table(Cuda *c)
{
    return cuda_table_write(c->story, c->table, c->options.gemm_table);
}

/* The fastest of those that are timed, or the first. */
static TitanStatus choose_way(Cuda *c, CudaGemm *x,
                              const CuPtr at[TITAN_GEMM_PLACES],
                              const char *key, double *us)
{
    LtHeuristic ways[MOST_WAYS];
    bool timed = may_time(c, at[2]);
    int64_t asked = timed ? c->options.gemm_algos : 1;
    int n, best = 0, most = asked < MOST_WAYS ? (int)asked : MOST_WAYS;
    TRY(ask(c, x, ways, most, &n));
    if (n == 0 || ways[0].state != 0) return none_fits(c, &x->of);
    if (timed) TRY(time_ways(c, x, at, ways, n, &best, us));
    if (c->options.verbose)
        fprintf(stderr, "%s: way %d of %d, %.1f us\n", key, best + 1, n, *us);
    x->algo = ways[best].algo;
    return TITAN_OK;
}

TitanStatus cuda_choose(Cuda *c, CudaGemm *x, const CuPtr at[TITAN_GEMM_PLACES])
{
    bool timed = may_time(c, at[2]);
    double us = 0;
    Text key;
    key_of(c, x, &key);
    if (c->table && cuda_table_find(c->table, key.at, timed, &x->algo) &&
        still_holds(c, x, &x->algo))
        return TITAN_OK;
    if (timed || !cuda_text_find(cuda_texts, key.at, &x->algo) ||
        !still_holds(c, x, &x->algo))
        TRY(choose_way(c, x, at, key.at, &us));
    if (!c->table) return TITAN_OK;
    if (!timed) fprintf(stderr, "note: not in the table: %s\n", key.at);
    TRY(cuda_table_put(c->story, c->table, key.at, &x->algo, us));
    return timed ? TITAN_OK : write_table(c);
}

static TitanStatus tune(Cuda *c, const TitanEntry *e)
{
    CudaWatch watch = {.choose = true};
    TRY(fill_temporaries(c));
    c->timing = true;
    TitanStatus st = cuda_walk(c, e, &watch);
    c->timing = false;
    TRY(st);
    TRY(clear_temporaries(c));
    return c->table ? write_table(c) : TITAN_OK;
}

TitanStatus cuda_gemm_tune(Cuda *c, const TitanEntry *e)
{
    if (c->im->ngemms == 0 || c->options.gemm_algos <= 0) return TITAN_OK;
    return titan_while(c->story, tune(c, e), "timing matrix products");
}
