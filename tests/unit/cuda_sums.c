/* links: titan_runtime fake_cuda fake_nccl
 *
 * cuda_sums.c: sums over ranks of GPUs, in the order of ranks and NCCL's, on
 * processes with the fake driver and NCCL: of every length, in place and not,
 * they are what adding one rank after the other gives.
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
#include <unistd.h>

#include "runtime/cuda_device.h"
#include "runtime/cuda_sums.h"
#include "runtime/narrow.h"
#include "runtime/nccl.h"
#include "runtime/transport.h"
#include "tests/unit/assembled.h"

enum { RANKS = 3, F32 = 1, BF16 = 2, MOST = 40000 };

/* What all ranks see: their operands, their results. */
typedef struct Shared {
    char in[RANKS][RANKS * MOST * 4], out[RANKS][RANKS * MOST * 4];
} Shared;

typedef struct World {
    TitanImage im;
    TitanHeader header;
    TitanMeshAxis mesh;
    TitanGroup group;
    TitanLevel level;
    TitanCollective op;
    TitanCommand command;
    bool in_place, rank_order;
    Shared *shared;
    Board *board;
    Hall *hall;
    char (*ids)[sizeof(NcclId)];
} World;

static void open_world(World *w, TitanCollectiveKind kind, uint32_t dtype,
                       int64_t count)
{
    TitanStory s = {0};
    w->header = (TitanHeader){.ranks = RANKS, .streams = 1};
    w->mesh.size = RANKS;
    w->group.levels = (TitanRange){0, 1};
    w->op = (TitanCollective){.kind = kind, .dtype = dtype, .count = count};
    w->command.kind = TITAN_COMMAND_collective;
    w->im = (TitanImage){.header = &w->header,
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
    w->board = board_new(RANKS);
    w->ids = board_memory(RANKS * sizeof *w->ids);
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
    munmap(w->ids, RANKS * sizeof *w->ids);
}

static TitanStatus run(const World *w, Cuda *c)
{
    CuPtr from = (CuPtr)(uintptr_t)w->shared->in[c->rank.rank];
    CuPtr to =
        w->in_place ? from : (CuPtr)(uintptr_t)w->shared->out[c->rank.rank];
    TRY(cu_open(c->story, &c->cu));
    CU_TRY(c, cuStreamCreate(&c->streams[0], 0));
    c->stream = c->streams[0];
    TRY(cuda_ranks_begin(c));
    TRY(cuda_ranks_open(c));
    TRY(cuda_collective(c, &w->command, to, from));
    TRY(cuda_wait_stream(c, c->stream));
    cuda_ranks_close(c);
    return TITAN_OK;
}

/* The process of a rank. */
static int play(World *w, uint32_t rank)
{
    TitanStory story = {0};
    BoardWait wait = {.board = w->board, .rank = rank};
    Cuda c = {.story = &story,
              .im = &w->im,
              .options = {.board = w->board, .rank_order = w->rank_order},
              .rank = {.rank = rank, .arena = w->ids[rank]}};
    TitanStatus st = hall_transport(&story, w->hall, &wait, &c.rank.transport);
    if (st == TITAN_OK) st = run(w, &c);
    if (st != TITAN_OK) titan_story_print(&story, "rank");
    return st;
}

static void play_all(World *w)
{
    pid_t pids[RANKS];
    int status;
    for (uint32_t r = 0; r < RANKS; r++) {
        pids[r] = fork();
        if (pids[r] == 0) _exit(play(w, r));
    }
    for (uint32_t r = 0; r < RANKS; r++) {
        assert_int_equal(waitpid(pids[r], &status, 0), pids[r]);
        assert_int_equal(status, 0);
    }
}

/* One rank after the other, in f32, rounded once. */
static double plain_sum(char in[RANKS][RANKS * MOST * 4], uint32_t dtype,
                        size_t i)
{
    float acc = 0;
    unsigned size = titan_dtype_bytes(dtype);
    for (uint32_t r = 0; r < RANKS; r++) {
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

static void check(World *w, char in[RANKS][RANKS * MOST * 4], size_t count)
{
    bool scatter = w->op.kind == TITAN_COLLECTIVE_reduce_scatter;
    unsigned size = titan_dtype_bytes(w->op.dtype);
    for (uint32_t r = 0; r < RANKS; r++)
        for (size_t i = 0; i < count; i++) {
            const char *got =
                (w->in_place ? w->shared->in : w->shared->out)[r] + i * size;
            float x;
            narrow_load(w->op.dtype, got, &x, 1);
            size_t at = scatter ? r * count + i : i;
            if (x != (float)plain_sum(in, w->op.dtype, at))
                fail_msg("rank %u, element %zu of %zu: %g", r, i, count, x);
        }
}

static void play_case(TitanCollectiveKind kind, uint32_t dtype, int64_t count,
                      bool in_place, bool rank_order)
{
    World w = {.in_place = in_place, .rank_order = rank_order};
    static char in[RANKS][RANKS * MOST * 4];
    open_world(&w, kind, dtype, count);
    memcpy(in, w.shared->in, sizeof in);
    play_all(&w);
    check(&w, in, (size_t)count);
    close_world(&w);
}

static void in_the_order_of_ranks(void **state)
{
    static const int64_t counts[] = {1, 2, 5, 4097, MOST};
    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int p = 0; p < 2; p++)
            for (uint32_t t = F32; t <= BF16; t++) {
                play_case(TITAN_COLLECTIVE_all_reduce, t, counts[i], p, true);
                play_case(TITAN_COLLECTIVE_reduce_scatter, t, counts[i], p,
                          true);
            }
}

static void by_nccl(void **state)
{
    (void)state;
    play_case(TITAN_COLLECTIVE_all_reduce, F32, 1000, false, false);
    play_case(TITAN_COLLECTIVE_reduce_scatter, F32, 1000, true, false);
}

static void ptxas_takes_it(void **state)
{
    (void)state;
    assemble_text(cuda_sums_ptx());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_order_of_ranks),
        cmocka_unit_test(by_nccl),
        cmocka_unit_test(ptxas_takes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
