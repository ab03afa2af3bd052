/* links: titan_runtime fake_cuda fake_nccl
 *
 * cuda_sums.c: sums over ranks of GPUs, in the order of ranks, NCCL's and by
 * copy engines, on processes with the fake driver and NCCL: of every length, in
 * place and not, they are what adding one rank after the other gives; and what
 * copy engines gather.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/cuda_device.h"
#include "runtime/cuda_sums.h"
#include "runtime/narrow.h"
#include "runtime/nccl.h"
#include "runtime/transport.h"
#include "tests/unit/assembled.h"
#include "tests/unit/fake/fake.h"

enum { RANKS = 3, F32 = 1, BF16 = 2, MOST = 40000, PAGE = 4096 };
enum { MOST_JOINED = 70 };

/* What all ranks see: their operands, their results. */
typedef struct Shared {
    char in[RANKS][RANKS * MOST * 4], out[RANKS][RANKS * MOST * 4];
    _Atomic uint32_t closed; /* ranks that have closed what they had open */
} Shared;

/* What the last rank does when all have opened each other's memory. */
typedef enum Last {
    LAST_works,
    LAST_lost,
    LAST_late, /* it closes later than the others would */
    LAST_stuck /* the run has ended, and it does not close */
} Last;

typedef struct World {
    uint32_t ranks;
    TitanImage im;
    TitanHeader header;
    TitanStage stage;
    TitanMeshAxis mesh;
    TitanGroup group;
    TitanLevel level;
    TitanCollective op;
    TitanCommand command;
    bool in_place, rank_order, engines;
    unsigned joined; /* so many of it begin and end together */
    Last last;
    int64_t room; /* for a sum of so many elements; 0: for its own */
    Shared *shared;
    Board *board;
    Hall *hall;
    char (*pages)[PAGE]; /* of each, for what others read */
} World;

static void open_world(World *w, TitanCollectiveKind kind, uint32_t dtype,
                       int64_t count)
{
    TitanStory s = {0};
    w->header = (TitanHeader){.ranks = w->ranks, .streams = 1};
    w->mesh.size = w->ranks;
    w->stage.arena_bytes = 2 * sizeof w->shared->in[0];
    w->group.levels = (TitanRange){0, 1};
    w->op = (TitanCollective){.kind = kind, .dtype = dtype, .count = count};
    w->command.kind = TITAN_COMMAND_collective;
    w->im = (TitanImage){.header = &w->header,
                         .stages = &w->stage,
                         .nstages = 1,
                         .mesh = &w->mesh,
                         .nmesh = 1,
                         .groups = &w->group,
                         .ngroups = 1,
                         .levels = &w->level,
                         .nlevels = 1,
                         .collectives = &w->op,
                         .ncollectives = 1,
                         .commands = &w->command,
                         .ncommands = 1,
                         .strings = ""};
    w->shared = board_memory(sizeof *w->shared);
    w->board = board_new(w->ranks);
    w->pages = board_memory(RANKS * PAGE);
    assert_non_null(w->shared);
    assert_int_equal(hall_new(&s, &w->im, w->board, &w->hall), TITAN_OK);
    unsigned x = 1;
    for (uint32_t r = 0; r < RANKS; r++)
        for (size_t i = 0; i < RANKS * MOST; i++) {
            x = x * 1103515245 + 12345;
            narrow_store_one(dtype, (double)(x >> 8) / (1 << (x >> 28)),
                             w->shared->in[r] + i * titan_dtype_bytes(dtype));
        }
}

static void close_world(World *w)
{
    hall_free(w->hall);
    board_free(w->board);
    munmap(w->shared, sizeof *w->shared);
    munmap(w->pages, RANKS * PAGE);
}

static TitanStatus run(const World *w, Cuda *c)
{
    CuPtr from = (CuPtr)(uintptr_t)w->shared->in[c->rank.rank];
    CuPtr to =
        w->in_place ? from : (CuPtr)(uintptr_t)w->shared->out[c->rank.rank];
    TRY(cuda_ranks_open(c));
    TRY(cuda_collective(c, &w->command, to, from));
    return cuda_wait_stream(c, c->stream);
}

static TitanStatus collect(const World *w, Cuda *c, CuPtr to, CuPtr from)
{
    if (!w->joined) return cuda_collective(c, &w->command, to, from);
    TitanCommand all[MOST_JOINED];
    for (unsigned i = 0; i < w->joined; i++)
        all[i] = w->command;
    TRY(cuda_collectives_begin(c, all, w->joined));
    for (unsigned i = 0; i < w->joined; i++)
        TRY(cuda_collective(c, &all[i], to, from));
    return cuda_collectives_end(c, all);
}

/* Rooms are as large as the program's sums are when it is opened. */
static TitanStatus open_engines(World *w, Cuda *c)
{
    int64_t count = w->op.count;
    if (w->room) w->op.count = w->room;
    TRY(cuda_ranks_open(c));
    w->op.count = count;
    return TITAN_OK;
}

/* Twice, out of an arena that others reach, with an NCCL that fails. */
static TitanStatus run_by_engines(World *w, Cuda *c)
{
    size_t bytes = sizeof w->shared->in[0];
    TRY(cuda_shared_alloc(c, 2 * bytes, &c->whole));
    c->arena = c->whole.at;
    TRY(open_engines(w, c));
    CuPtr from = c->arena, to = w->in_place ? from : from + bytes;
    void *in = (void *)(uintptr_t)from;
    fake_device()->fails = "nccl";
    fake_device()->fails_with = 1;
    for (int turn = 0; turn < 2; turn++) {
        memcpy(in, w->shared->in[c->rank.rank], bytes);
        TRY(collect(w, c, to, from));
        TRY(cuda_beside_join(c, 0));
        TRY(cuda_wait_stream(c, c->stream));
    }
    memcpy(w->shared->out[c->rank.rank], (void *)(uintptr_t)to, bytes);
    return TITAN_OK;
}

/* The others miss the last rank, and leave nothing that still runs. */
static TitanStatus run_without_last(World *w, Cuda *c)
{
    size_t bytes = sizeof w->shared->in[0];
    TRY(cuda_shared_alloc(c, 2 * bytes, &c->whole));
    c->arena = c->whole.at;
    TRY(cuda_ranks_open(c));
    if (c->rank.rank + 1 == w->ranks) {
        board_end(w->board, c->rank.rank);
        return TITAN_OK;
    }
    TRY(cuda_collective(c, &w->command, c->arena + bytes, c->arena));
    bool missed = cuda_wait_stream(c, c->stream) == TITAN_RANK_LOST;
    bool waits = c->cu.cuStreamQuery(c->stream) == CU_error_not_ready;
    cuda_ranks_leave(c);
    bool ended = c->cu.cuStreamQuery(c->stream) == 0;
    return missed && waits && ended ? TITAN_OK : TITAN_INTERNAL;
}

/* The others wait for it before they free what it may have open, or leave that
 * alone when it is too late. */
static TitanStatus close_with_last(World *w, Cuda *c)
{
    const struct timespec nap = {0, 1000000};
    bool stuck = w->last == LAST_stuck, mine = c->rank.rank + 1 == w->ranks;
    TRY(cuda_shared_alloc(c, 2 * sizeof w->shared->in[0], &c->whole));
    c->arena = c->whole.at;
    TRY(cuda_ranks_open(c));
    if (mine && stuck) board_end(w->board, c->rank.rank);
    for (int i = 0; mine && i < 100; i++)
        nanosleep(&nap, NULL);
    bool early = mine && w->shared->closed > 0;
    while (mine && stuck && w->shared->closed + 1 < w->ranks)
        nanosleep(&nap, NULL);
    cuda_ranks_close(c);
    if (!mine) w->shared->closed++;
    cuda_shared_free(c, &c->whole);
    bool stays = stuck && !mine;
    return c->stays == stays && (stuck || !early) ? TITAN_OK : TITAN_INTERNAL;
}

static TitanStatus play_part(World *w, Cuda *c)
{
    if (w->last == LAST_lost) return run_without_last(w, c);
    if (w->last != LAST_works) return close_with_last(w, c);
    return w->engines ? run_by_engines(w, c) : run(w, c);
}

static TitanStatus open_and_run(World *w, Cuda *c)
{
    TRY(cu_open(c->story, &c->cu));
    CU_TRY(c, cuInit(0));
    CU_TRY(c, cuStreamCreate(&c->streams[0], 0));
    c->stream = c->streams[0];
    TRY(cuda_ranks_begin(c));
    TRY(play_part(w, c));
    cuda_ranks_close(c);
    return TITAN_OK;
}

/* The process of a rank. */
static int play(World *w, uint32_t rank)
{
    if (w->engines) setenv("FAKE_GPUS", "1", 1);
    TitanStory story = {0};
    BoardWait wait = {.board = w->board, .rank = rank};
    Cuda c = {.story = &story,
              .im = &w->im,
              .options = {.board = w->board, .rank_order = w->rank_order},
              .rank = {.rank = rank, .arena = w->pages[rank]}};
    TitanStatus st = hall_transport(&story, w->hall, &wait, &c.rank.transport);
    if (st == TITAN_OK) st = open_and_run(w, &c);
    if (st != TITAN_OK) titan_story_print(&story, "rank");
    return st;
}

static void play_all(World *w)
{
    pid_t pids[RANKS];
    int status;
    for (uint32_t r = 0; r < w->ranks; r++) {
        pids[r] = fork();
        if (pids[r] == 0) _exit(play(w, r));
    }
    for (uint32_t r = 0; r < w->ranks; r++) {
        assert_int_equal(waitpid(pids[r], &status, 0), pids[r]);
        assert_int_equal(status, 0);
    }
}

/* One rank after the other, in f32, rounded once. */
static double plain_sum(const World *w, char in[RANKS][RANKS * MOST * 4],
                        size_t i)
{
    uint32_t dtype = w->op.dtype;
    float acc = 0;
    unsigned size = titan_dtype_bytes(dtype);
    for (uint32_t r = 0; r < w->ranks; r++) {
        float x;
        narrow_load(dtype, in[r] + i * size, &x, 1);
        acc = r == 0 ? x : acc + x;
    }
    char rounded[8];
    float out;
    narrow_store(dtype, &acc, rounded, 1);
    narrow_load(dtype, rounded, &out, 1);
    return out;
}

static double expected(const World *w, char in[RANKS][RANKS * MOST * 4],
                       size_t i)
{
    size_t count = (size_t)w->op.count, size = titan_dtype_bytes(w->op.dtype);
    float x;
    if (w->op.kind != TITAN_COLLECTIVE_all_gather) return plain_sum(w, in, i);
    narrow_load(w->op.dtype, in[i / count] + i % count * size, &x, 1);
    return x;
}

static void check(World *w, char in[RANKS][RANKS * MOST * 4], size_t count)
{
    bool scatter = w->op.kind == TITAN_COLLECTIVE_reduce_scatter;
    bool in_place = w->in_place && !w->engines;
    unsigned size = titan_dtype_bytes(w->op.dtype);
    for (uint32_t r = 0; r < w->ranks; r++)
        for (size_t i = 0; i < count; i++) {
            const char *got =
                (in_place ? w->shared->in : w->shared->out)[r] + i * size;
            float x;
            narrow_load(w->op.dtype, got, &x, 1);
            size_t at = scatter ? r * count + i : i;
            if (x != (float)expected(w, in, at))
                fail_msg("rank %u, element %zu of %zu: %g", r, i, count, x);
        }
}

static void play_case(World w, TitanCollectiveKind kind, uint32_t dtype,
                      int64_t count)
{
    static char in[RANKS][RANKS * MOST * 4];
    bool gathers = kind == TITAN_COLLECTIVE_all_gather;
    if (!w.ranks) w.ranks = RANKS;
    open_world(&w, kind, dtype, count);
    memcpy(in, w.shared->in, sizeof in);
    play_all(&w);
    if (w.last == LAST_works)
        check(&w, in, (size_t)count * (gathers ? w.ranks : 1));
    close_world(&w);
}

static const int64_t counts[] = {1, 2, 5, 4096, 4097, MOST};
enum { COUNTS = sizeof counts / sizeof *counts };

static void in_the_order_of_ranks(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNTS; i++)
        for (int p = 0; p < 2; p++)
            for (uint32_t t = F32; t <= BF16; t++) {
                World w = {.in_place = p, .rank_order = true};
                play_case(w, TITAN_COLLECTIVE_all_reduce, t, counts[i]);
                play_case(w, TITAN_COLLECTIVE_reduce_scatter, t, counts[i]);
            }
}

static void by_nccl(void **state)
{
    (void)state;
    play_case((World){0}, TITAN_COLLECTIVE_all_reduce, F32, 1000);
    play_case((World){.in_place = true}, TITAN_COLLECTIVE_reduce_scatter, F32,
              1000);
}

static void by_copy_engines(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNTS; i++)
        for (uint32_t t = F32; t <= BF16; t++)
            for (uint32_t n = 2; n <= RANKS; n++) {
                World w = {.engines = true, .ranks = n};
                play_case(w, TITAN_COLLECTIVE_all_gather, t, counts[i]);
                play_case(w, TITAN_COLLECTIVE_reduce_scatter, t, counts[i]);
                w.in_place = true;
                play_case(w, TITAN_COLLECTIVE_reduce_scatter, t, counts[i]);
            }
}

/* More than the lists of what waits take; and more sums than the room does. */
static void joined_by_copy_engines(void **state)
{
    (void)state;
    for (uint32_t n = 2; n <= RANKS; n++) {
        World w = {.engines = true, .ranks = n, .joined = MOST_JOINED};
        play_case(w, TITAN_COLLECTIVE_all_gather, F32, 5);
        play_case(w, TITAN_COLLECTIVE_reduce_scatter, F32, 5);
        w.room = MOST;
        play_case(w, TITAN_COLLECTIVE_reduce_scatter, F32, 5);
    }
}

/* A sum that is larger than its room; in place too, where a part lies over what
 * others have taken. */
static void in_parts_by_copy_engines(void **state)
{
    (void)state;
    for (int p = 0; p < 2; p++)
        for (uint32_t t = F32; t <= BF16; t++)
            for (uint32_t n = 2; n <= RANKS; n++) {
                World w = {.engines = true, .ranks = n, .room = 1365};
                w.in_place = p;
                play_case(w, TITAN_COLLECTIVE_reduce_scatter, t, 4097);
            }
}

/* Streams that wait for a rank that has gone come to their end. */
static void copy_engines_are_left(void **state)
{
    (void)state;
    for (uint32_t n = 2; n <= RANKS; n++) {
        World w = {.engines = true, .ranks = n, .last = LAST_lost};
        play_case(w, TITAN_COLLECTIVE_all_gather, F32, 5);
        play_case(w, TITAN_COLLECTIVE_reduce_scatter, F32, 5);
    }
}

static void memory_that_is_open_stays(void **state)
{
    (void)state;
    for (uint32_t n = 2; n <= RANKS; n++)
        for (Last last = LAST_late; last <= LAST_stuck; last++) {
            World w = {.engines = true, .ranks = n, .last = last};
            play_case(w, TITAN_COLLECTIVE_all_gather, F32, 5);
        }
}

static void ptxas_takes_it(void **state)
{
    (void)state;
    char *text = cuda_sums_ptx();
    assert_non_null(text);
    assemble_text(text);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_order_of_ranks),
        cmocka_unit_test(by_nccl),
        cmocka_unit_test(by_copy_engines),
        cmocka_unit_test(joined_by_copy_engines),
        cmocka_unit_test(in_parts_by_copy_engines),
        cmocka_unit_test(copy_engines_are_left),
        cmocka_unit_test(memory_that_is_open_stays),
        cmocka_unit_test(ptxas_takes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
