/*
 * host.c: executes the entries of an image on the host.
 *
 * One arena (persistent | io | frame | lanes), and what a plan has moved to the
 * memory of the host behind it, is mapped at once and zeroed.  A
 * run list is walked by recursion over its loops.  Outside parallel loops,
 * the work items of a kernel and the tiles of a gemm are shared by the
 * threads of the pool; the turns of a parallel loop are shared as wholes,
 * each worker in a lane of its own, and everything inside runs on that worker
 * alone.  Collectives run where they stand in the list, so all ranks come to
 * them in one order.  All choices were made by the compiler.
 */
#include "titan.h"

#include "blas.h"
#include "pool.h"
#include "transport.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MAX_THREADS = 256 };

struct TitanHost {
    const TitanImage *image;
    const TitanHostKernel *kernels;
    Pool *pool;
    Blas blas;
    TitanRank rank;
    Collectives collectives;
    uint64_t *coordinates; /* the rank's, of each group */
    char *arena;
    size_t arena_bytes;
    char *base[TITAN_BASE_COUNT];
    size_t lane_bytes;
    _Atomic uint32_t *command; /* of titan_host_follow, or NULL */
    uint64_t *args; /* of each thread, for kernels with many arguments */
    uint32_t most_args;
};

/* Where one thread is in a list. */
typedef struct Walk {
    TitanHost *host;
    Pool *pool; /* NULL inside a parallel loop */
    unsigned lane;
    TitanMoment at;
    TitanWatch *watch;  /* or NULL */
    TitanStatus status; /* of the watch, and of collectives */
} Walk;

static size_t round_up(uint64_t n)
{
    return (size_t)((n + 255) & ~UINT64_C(255));
}

static char *operand_at(const Walk *w, const TitanOperand *o)
{
    const TitanImage *im = w->host->image;
    char *at = w->host->base[o->base] + o->offset;
    if (o->base == TITAN_BASE_lane) at += w->lane * w->host->lane_bytes;
    for (uint32_t i = 0; i < o->turns.n; i++) {
        const TitanTurn *t = &im->turns[o->turns.first + i];
        at += titan_turn_bytes(t, w->at.counter[w->at.depth - 1 - t->depth]);
    }
    return at;
}

static uint64_t argument(const Walk *w, const TitanOperand *o)
{
    if (o->kind == TITAN_OPERAND_counter)
        return (uint64_t)w->at.counter[w->at.depth - 1 - o->offset];
    if (o->kind == TITAN_OPERAND_coordinate)
        return w->host->coordinates[o->offset];
    return (uint64_t)(uintptr_t)operand_at(w, o);
}

typedef struct KernelWork {
    TitanHostKernel kernel;
    const uint64_t *args;
} KernelWork;

static void run_items(void *user, int64_t begin, int64_t end, unsigned worker)
{
    const KernelWork *k = user;
    (void)worker;
    k->kernel(k->args, begin, end);
}

static void run_kernel(Walk *w, const TitanCommand *c)
{
    TitanHost *h = w->host;
    uint64_t *args = h->args + (size_t)w->lane * h->most_args;
    for (uint32_t i = 0; i < c->operands.n; i++)
        args[i] = argument(w, &h->image->operands[c->operands.first + i]);
    KernelWork k = {h->kernels[c->index], args};
    if (!w->pool) {
        k.kernel(args, 0, c->items);
        return;
    }
    /* Eight chunks a thread level out uneven rows. */
    int64_t chunk = c->items / (8 * (int64_t)pool_threads(w->pool));
    pool_run(w->pool, run_items, &k, c->items, chunk < 1 ? 1 : chunk);
}

static void run_gemm(Walk *w, const TitanCommand *c)
{
    const TitanImage *im = w->host->image;
    const TitanOperand *o = &im->operands[c->operands.first];
    const TitanGemm *g = &im->gemms[c->index];
    GemmBuffers at = {.a = operand_at(w, &o[0]),
                      .b = operand_at(w, &o[1]),
                      .d = operand_at(w, &o[2])};
    uint32_t n = 3;
    if (g->accumulate == TITAN_GEMM_scaled)
        at.scale = (const float *)(const void *)operand_at(w, &o[n++]);
    else if (g->accumulate == TITAN_GEMM_add_c)
        at.c = operand_at(w, &o[n++]);
    if (n < c->operands.n) at.workspace = operand_at(w, &o[n]);
    blas_gemm(&w->host->blas, w->pool, g, &at);
}

/* Destination and source, of which a send and a receive have one. */
static void run_collective(Walk *w, const TitanCommand *c)
{
    const TitanImage *im = w->host->image;
    const TitanCollective *x = &im->collectives[c->index];
    const TitanOperand *o = &im->operands[c->operands.first];
    bool sends = x->kind == TITAN_COLLECTIVE_send;
    char *dst = sends ? NULL : operand_at(w, &o[0]);
    char *src = c->operands.n == 2 ? operand_at(w, &o[1])
                : sends            ? operand_at(w, &o[0])
                                   : NULL;
    w->status = collective_run(&w->host->collectives, x, dst, src);
}

static void run_command(Walk *w, const TitanCommand *c)
{
    const TitanImage *im = w->host->image;
    const TitanOperand *o = &im->operands[c->operands.first];
    if (w->host->command)
        atomic_store_explicit(w->host->command,
                              (uint32_t)(c - im->commands) + 1,
                              memory_order_relaxed);
    switch ((TitanCommandKind)c->kind) {
    case TITAN_COMMAND_kernel:
        run_kernel(w, c);
        return;
    case TITAN_COMMAND_gemm:
        run_gemm(w, c);
        return;
    case TITAN_COMMAND_copy:
        memmove(operand_at(w, &o[0]), operand_at(w, &o[1]), (size_t)c->items);
        return;
    case TITAN_COMMAND_zero:
        memset(operand_at(w, &o[0]), 0, (size_t)c->items);
        return;
    case TITAN_COMMAND_collective:
        run_collective(w, c);
        return;
    case TITAN_COMMAND_signal:
    case TITAN_COMMAND_wait: /* the order of the list is kept */
        return;
    }
}

/* The command and, where somebody looks on, what they make of it. */
static void step_command(Walk *w, const TitanCommand *c)
{
    run_command(w, c);
    if (!w->watch || w->status != TITAN_OK) return;
    w->at.command = c;
    w->status = w->watch->after(w->watch, &w->at);
}

static bool is_over(const Walk *w)
{
    return w->status != TITAN_OK || (w->watch && w->watch->stop);
}

static void run_list(Walk *w, uint32_t from, uint32_t to);

static void run_turn(Walk *w, const TitanRun *loop, uint32_t body, int64_t i)
{
    bool reverse = loop->flags & TITAN_LOOP_reverse;
    TitanMoment *at = &w->at;
    at->loop[at->depth] = loop;
    at->counter[at->depth++] = reverse ? loop->count - 1 - i : i;
    run_list(w, body, loop->program);
    at->depth--;
}

typedef struct TurnWork {
    const Walk *walk;
    const TitanRun *loop;
    uint32_t body;
} TurnWork;

static void run_turns(void *user, int64_t begin, int64_t end, unsigned worker)
{
    const TurnWork *t = user;
    Walk w = *t->walk;
    w.pool = NULL;
    w.lane = worker;
    for (int64_t i = begin; i < end; i++)
        run_turn(&w, t->loop, t->body, i);
}

static void run_parallel(Walk *w, const TitanRun *loop, uint32_t body)
{
    TurnWork t = {w, loop, body};
    Pool *pool = w->pool;
    if (pool && !w->watch) {
        pool_run(pool, run_turns, &t, loop->count, 1);
        return;
    }
    w->pool = NULL;
    for (int64_t i = 0; i < loop->count && !is_over(w); i++)
        run_turn(w, loop, body, i);
    w->pool = pool;
}

static void run_loop(Walk *w, uint32_t at)
{
    const TitanImage *im = w->host->image;
    const TitanRun *loop = &im->runs[at];
    if (loop->flags & TITAN_LOOP_parallel) {
        run_parallel(w, loop, at + 1);
        return;
    }
    for (int64_t i = 0; i < loop->count && !is_over(w); i++) {
        if (loop->flags & TITAN_LOOP_while &&
            !*operand_at(w, &im->operands[loop->operand]))
            return;
        run_turn(w, loop, at + 1, i);
    }
}

static void run_list(Walk *w, uint32_t from, uint32_t to)
{
    const TitanImage *im = w->host->image;
    for (uint32_t i = from; i < to && !is_over(w); i++) {
        const TitanRun *r = &im->runs[i];
        if (r->kind == TITAN_RUN_loop) {
            run_loop(w, i);
            i = r->program;
        } else if (r->kind == TITAN_RUN_program) {
            w->at.program = &im->programs[r->program];
            TitanRange c = w->at.program->commands;
            for (uint32_t k = 0; k < c.n && !is_over(w); k++)
                step_command(w, &im->commands[c.first + k]);
        }
    }
}

TitanStatus titan_host_run(TitanHost *h, const TitanEntry *e)
{
    Walk w = {.host = h, .pool = h->pool};
    run_list(&w, e->runs.first, e->runs.first + e->runs.n);
    if (h->command && w.status == TITAN_OK) atomic_store(h->command, 0);
    return w.status;
}

TitanStatus titan_host_watch(TitanHost *h, const TitanEntry *e, uint32_t runs,
                             TitanWatch *watch)
{
    Walk w = {.host = h, .pool = h->pool, .watch = watch};
    run_list(&w, e->runs.first, e->runs.first + runs);
    return w.status;
}

size_t titan_host_bytes(const TitanImage *im, uint32_t rank)
{
    const TitanStage *s = stage_of(im, rank);
    size_t bytes =
        (size_t)s->arena_bytes + round_up(s->base_bytes[TITAN_BASE_host]);
    return bytes ? bytes : 256;
}

static void place_bases(TitanHost *h, char *at)
{
    const TitanStage *s = stage_of(h->image, h->rank.rank);
    for (int b = 0; b < TITAN_BASE_COUNT; b++)
        h->base[b] = at + stage_base_at(s, (TitanBase)b);
    h->lane_bytes = round_up(s->base_bytes[TITAN_BASE_lane]);
}

static TitanStatus map_arena(TitanStory *s, TitanHost *h)
{
    if (h->rank.arena) {
        place_bases(h, h->rank.arena);
        return TITAN_OK;
    }
    h->arena_bytes = titan_host_bytes(h->image, h->rank.rank);
    h->arena = mmap(NULL, h->arena_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (h->arena == MAP_FAILED) {
        h->arena = NULL;
        return titan_fail(s, TITAN_UNAVAILABLE,
                          "could not allocate the arena of %zu bytes: %s",
                          h->arena_bytes, strerror(errno));
    }
    madvise(h->arena, h->arena_bytes, MADV_HUGEPAGE);
    place_bases(h, h->arena);
    return TITAN_OK;
}

/* Of one rank, all coordinates are 0 and nobody else is there. */
static TitanStatus join_ranks(TitanStory *s, TitanHost *h)
{
    const TitanImage *im = h->image;
    h->coordinates = calloc((size_t)im->ngroups + 1, sizeof *h->coordinates);
    if (!h->coordinates) return titan_no_memory(s);
    if (im->header->ranks == 1) return TITAN_OK;
    for (uint32_t g = 0; g < im->ngroups; g++)
        h->coordinates[g] = rank_member(im, g, h->rank.rank);
    return collectives_open(&h->collectives, h->rank.transport, h->pool);
}

static unsigned choose_threads(const TitanImage *im, unsigned asked)
{
    unsigned n = pool_share(asked, 1);
    if (n > im->header->lanes) n = im->header->lanes;
    return n > MAX_THREADS ? MAX_THREADS : n;
}

/* The highest of the x86-64 levels that kernels are compiled for: 4 has
 * AVX-512, 3 AVX2 and FMA. */
static int cpu_level(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi2"))
        return 2;
    if (__builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return 4;
    return 3;
#else
    return 0;
#endif
}

static TitanStatus check_cpu(TitanStory *s, const TitanImage *im)
{
    int need = (int)titan_fact(im, "cpu_level", 3), have = cpu_level();
    if (have >= need) return TITAN_OK;
    return titan_fail(s, TITAN_UNAVAILABLE,
                      "compiled for x86-64-v%d processors, this one is "
                      "x86-64-v%d; compile with -mcpu x86-64-v3",
                      need, have);
}

static TitanStatus prepare(TitanStory *s, TitanHost *h, unsigned threads)
{
    TRY(check_cpu(s, h->image));
    TRY(map_arena(s, h));
    if (h->image->ngemms > 0) TRY(blas_open(s, &h->blas));
    for (uint32_t i = 0; i < h->image->nkernels; i++)
        if (h->image->kernels[i].args > h->most_args)
            h->most_args = h->image->kernels[i].args;
    h->args = calloc((size_t)threads * (h->most_args + 1), sizeof *h->args);
    h->pool = pool_new(threads);
    if (!h->pool || !h->args)
        return titan_fail(s, TITAN_UNAVAILABLE, "could not start %u threads",
                          threads);
    return join_ranks(s, h);
}

TitanStatus titan_host_new(TitanStory *s, const TitanImage *im,
                           const TitanHostKernel *kernels, unsigned threads,
                           TitanHost **out)
{
    return titan_host_new_rank(s, im, kernels, threads, &(TitanRank){0}, out);
}

TitanStatus titan_host_new_rank(TitanStory *s, const TitanImage *im,
                                const TitanHostKernel *kernels,
                                unsigned threads, const TitanRank *r,
                                TitanHost **out)
{
    *out = NULL;
    if (im->header->ranks > 1 && !r->transport)
        return titan_fail(s, TITAN_MISMATCH,
                          "the step is compiled for %" PRIu32
                          " ranks, and here is one",
                          im->header->ranks);
    if (im->header->target != TITAN_TARGET_host)
        return titan_fail(s, TITAN_UNAVAILABLE,
                          "the step is compiled for a GPU; the host executes "
                          "steps of its own alone");
    TitanHost *h = calloc(1, sizeof *h);
    if (!h) return titan_no_memory(s);
    h->image = im;
    h->kernels = kernels;
    h->rank = *r;
    TitanStatus st = prepare(s, h, choose_threads(im, threads));
    if (st != TITAN_OK) {
        titan_host_free(h);
        return st;
    }
    *out = h;
    return TITAN_OK;
}

void titan_host_free(TitanHost *h)
{
    if (!h) return;
    pool_free(h->pool);
    collectives_close(&h->collectives);
    free(h->coordinates);
    blas_close(&h->blas);
    if (h->arena) munmap(h->arena, h->arena_bytes);
    free(h->args);
    free(h);
}

unsigned titan_host_threads(const TitanHost *h)
{
    return pool_threads(h->pool);
}

void titan_host_follow(TitanHost *h, _Atomic uint32_t *command)
{
    h->command = command;
}

void *titan_host_base(TitanHost *h, TitanBase base)
{
    return h->base[base];
}
