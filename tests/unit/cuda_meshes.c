/* links: titan_runtime fake_cuda fake_nccl
 *
 * cuda_meshes.c: copy engines on a mesh of several axes: groups of some ranks,
 * of all and of one, one after the other on the same streams, on processes with
 * the fake driver; one gathers what lies in memory of the host.  That driver
 * does what all streams of a GPU have to do in one order, so no rank needs more
 * queues than one to come to the end.  What is left to NCCL has the arena
 * registered, and gives it back.
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
#include "runtime/transport.h"
#include "tests/unit/fake/fake.h"

enum { RANKS = 4, F32 = 1, COUNT = 21, TURNS = 3, PAGE = 4096 };
enum { PLACE = RANKS * COUNT, OPS = 14, GROUPS = 4, STREAMS = 2 };
#define PLACE_BYTES (PLACE * sizeof(float))
enum { GATHER = TITAN_COLLECTIVE_all_gather };
enum { SCATTER = TITAN_COLLECTIVE_reduce_scatter };
enum { EXCHANGE = TITAN_COLLECTIVE_all_to_all };
enum { PERMUTE = TITAN_COLLECTIVE_permute };
enum { OF_HOST = 6, IN_PLACE = 12 }; /* operations */

/* Rank = 2 * dp + tp; the axis between them has one index. */
static const TitanMeshAxis mesh[] = {{.size = 2}, {.size = 1}, {.size = 2}};
static const TitanLevel levels[] = {{0}, {1}, {2}, {0}, {2}};
static const TitanGroup groups[GROUPS] = {{.levels = {0, 1}},
                                          {.levels = {1, 1}},
                                          {.levels = {2, 1}},
                                          {.levels = {3, 2}}};

#define TURN(of, over, by)                                           \
    {                                                                \
        .kind = (of), .dtype = F32, .group = (over), .count = COUNT, \
        .shift = (by)                                                \
    }
#define OP(of, over) TURN(of, over, 0)
static const TitanCollective ops[OPS] = {
    OP(GATHER, 0),   OP(SCATTER, 2),  OP(GATHER, 3),       OP(SCATTER, 3),
    OP(SCATTER, 0),  OP(GATHER, 1),   OP(GATHER, 2),       OP(SCATTER, 3),
    OP(EXCHANGE, 3), OP(EXCHANGE, 0), TURN(PERMUTE, 3, 1), TURN(PERMUTE, 3, -2),
    OP(EXCHANGE, 3), OP(GATHER, 3)};

/* Of each rank what it gives and what it gets, by operation. */
typedef struct Shared {
    float out[RANKS][OPS][PLACE];
    char pages[RANKS][PAGE];
} Shared;

typedef struct World {
    TitanHeader header;
    TitanStage stage;
    TitanCommand commands[OPS];
    TitanOperand operands[OPS][2]; /* destination and source */
    TitanImage im;
    Shared *shared;
    Board *board;
    Hall *hall;
    bool copied;  /* the arena is not registered */
    bool alone;   /* NCCL makes all */
    bool refused; /* NCCL does not want to */
} World;

static float given(uint32_t rank, uint32_t op, size_t i)
{
    return (float)(rank * 1000 + op * 100 + i);
}

static void open_world(World *w)
{
    TitanStory s = {0};
    w->header = (TitanHeader){.ranks = RANKS, .streams = STREAMS};
    w->stage.arena_bytes = (uint64_t)OPS * 2 * PLACE_BYTES;
    for (uint32_t i = 0; i < OPS; i++) {
        w->commands[i] = (TitanCommand){.kind = TITAN_COMMAND_collective,
                                        .index = i,
                                        .operands = {2 * i, 2},
                                        .stream = i / 2 % STREAMS};
        for (uint32_t k = 0; k < 2; k++)
            w->operands[i][k] = (TitanOperand){
                .base = TITAN_BASE_frame,
                .offset = (2 * i + (k == 0 && i != IN_PLACE)) * PLACE_BYTES};
    }
    w->operands[OF_HOST][1].base = TITAN_BASE_host;
    w->im = (TitanImage){.header = &w->header,
                         .stages = &w->stage,
                         .nstages = 1,
                         .mesh = mesh,
                         .nmesh = sizeof mesh / sizeof *mesh,
                         .groups = groups,
                         .ngroups = GROUPS,
                         .levels = levels,
                         .nlevels = sizeof levels / sizeof *levels,
                         .collectives = ops,
                         .ncollectives = OPS,
                         .operands = w->operands[0],
                         .noperands = 2 * OPS,
                         .commands = w->commands,
                         .ncommands = OPS,
                         .strings = ""};
    w->shared = board_memory(sizeof *w->shared);
    w->board = board_new(RANKS);
    assert_non_null(w->shared);
    assert_int_equal(hall_new(&s, &w->im, w->board, &w->hall), TITAN_OK);
}

static void close_world(World *w)
{
    hall_free(w->hall);
    board_free(w->board);
    munmap(w->shared, sizeof *w->shared);
}

/* ----------------------------------------------------------------- ranks -- */

static CuPtr place(const Cuda *c, uint32_t op, bool result)
{
    static float host[PLACE];
    if (op == OF_HOST && !result) return (CuPtr)(uintptr_t)host;
    return c->arena + c->im->operands[2 * op + !result].offset;
}

static float *at(const Cuda *c, uint32_t op, bool result)
{
    return (float *)(uintptr_t)place(c, op, result);
}

static TitanStatus turn(const World *w, Cuda *c)
{
    for (uint32_t op = 0; op < OPS; op++)
        for (size_t i = 0; i < PLACE; i++) {
            at(c, op, true)[i] = -1;
            at(c, op, false)[i] = given(c->rank.rank, op, i);
        }
    for (uint32_t op = 0; op < OPS; op++)
        TRY(cuda_collective(c, &w->commands[op], place(c, op, true),
                            place(c, op, false)));
    for (uint32_t i = 0; i < STREAMS; i++) {
        TRY(cuda_beside_join(c, i));
        TRY(cuda_wait_stream(c, c->streams[i]));
    }
    return TITAN_OK;
}

/* Groups of one have nobody to copy from, and nobody reads of the host, or what
 * is written over. */
static bool reaches_all(const Cuda *c)
{
    bool all = true;
    for (uint32_t op = 0; op < OPS; op++)
        all &= cuda_peers_have(c, &c->im->commands[op]) ==
               (!c->options.nccl_alone && ops[op].group != 1 && op != OF_HOST &&
                op != IN_PLACE);
    return all;
}

static TitanStatus run(const World *w, Cuda *c)
{
    TRY(cu_open(c->story, &c->cu));
    CU_TRY(c, cuInit(0));
    for (uint32_t i = 0; i < STREAMS; i++)
        CU_TRY(c, cuStreamCreate(&c->streams[i], 0));
    c->stream = c->streams[0];
    TRY(cuda_ranks_begin(c));
    /* as if others were of a stage that needs more */
    c->arena_bytes = w->stage.arena_bytes * (1 + c->rank.rank);
    TRY(cuda_shared_alloc(c, c->arena_bytes, &c->whole));
    c->arena = c->whole.at;
    if (w->refused) fake_device()->fails = "register";
    fake_device()->fails_with = 999;
    TRY(cuda_ranks_open(c));
    if (!reaches_all(c)) return TITAN_INTERNAL;
    if ((fake_device()->registered == 0) != w->copied) return TITAN_INTERNAL;
    for (int i = 0; i < TURNS; i++)
        TRY(turn(w, c));
    for (uint32_t op = 0; op < OPS; op++)
        for (size_t i = 0; i < PLACE; i++)
            w->shared->out[c->rank.rank][op][i] = at(c, op, true)[i];
    cuda_ranks_close(c);
    return fake_device()->registered ? TITAN_INTERNAL : TITAN_OK;
}

/* NCCL's own words, and what to do. */
static bool says_what_was_refused(const TitanStory *s)
{
    return strstr(s->line[0], "ncclCommRegister failed: unhandled") &&
           strstr(s->line[1], "--nccl-buffers copied does without");
}

/* The process of a rank. */
static int play(const World *w, uint32_t rank)
{
    setenv("FAKE_GPUS", "1", 1);
    TitanStory story = {0};
    BoardWait wait = {.board = w->board, .rank = rank};
    Cuda c = {.story = &story,
              .im = &w->im,
              .options = {.board = w->board,
                          .nccl_copies = w->copied,
                          .nccl_alone = w->alone},
              .rank = {.rank = rank, .arena = w->shared->pages[rank]}};
    TitanStatus st = hall_transport(&story, w->hall, &wait, &c.rank.transport);
    if (st == TITAN_OK) st = run(w, &c);
    if (w->refused)
        return st != TITAN_RANK_LOST || !says_what_was_refused(&story);
    if (st != TITAN_OK) titan_story_print(&story, "rank");
    return st;
}

static void play_all(const World *w)
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

/* ----------------------------------------------------------------- tests -- */

/* Members of the group that RANK is in. */
static uint32_t members(uint32_t group, uint32_t rank, uint32_t out[RANKS])
{
    uint32_t dp = rank / 2, tp = rank % 2;
    switch (group) {
    case 0:
        out[0] = tp, out[1] = 2 + tp;
        return 2;
    case 1:
        out[0] = rank;
        return 1;
    case 2:
        out[0] = 2 * dp, out[1] = 2 * dp + 1;
        return 2;
    default:
        for (uint32_t i = 0; i < RANKS; i++)
            out[i] = i;
        return RANKS;
    }
}

static float wanted(uint32_t rank, uint32_t op, size_t i)
{
    uint32_t of[RANKS], n = members(ops[op].group, rank, of), me = 0;
    uint32_t kind = ops[op].kind;
    bool each = kind == GATHER || kind == EXCHANGE;
    while (of[me] != rank)
        me++;
    if (i >= (each ? n * COUNT : COUNT))
        return op == IN_PLACE ? given(rank, op, i) : -1;
    if (kind == GATHER) return given(of[i / COUNT], op, i % COUNT);
    if (kind == EXCHANGE)
        return given(of[i / COUNT], op, me * COUNT + i % COUNT);
    if (kind == PERMUTE)
        return given(of[(me + RANKS - (uint32_t)ops[op].shift) % n], op, i);
    float sum = 0;
    for (uint32_t m = 0; m < n; m++)
        sum += given(of[m], op, me * COUNT + i);
    return sum;
}

static void play_groups(bool copied, bool alone)
{
    World w = {.copied = copied, .alone = alone};
    open_world(&w);
    play_all(&w);
    for (uint32_t r = 0; r < RANKS; r++)
        for (uint32_t op = 0; op < OPS; op++)
            for (size_t i = 0; i < PLACE; i++)
                if (w.shared->out[r][op][i] != wanted(r, op, i))
                    fail_msg("rank %u, op %u, element %zu: %g", r, op, i,
                             w.shared->out[r][op][i]);
    close_world(&w);
}

static void groups_of_a_mesh(void **state)
{
    (void)state;
    play_groups(false, false);
}

static void without_registration(void **state)
{
    (void)state;
    play_groups(true, false);
}

/* A communicator that sends and gathers is not registered with an NCCL that
 * takes no such; one before and one after that was mended. */
static void nccl_alone(void **state)
{
    (void)state;
    play_groups(false, true);
    setenv("FAKE_NCCL", "22902", 1);
    play_groups(false, true);
    unsetenv("FAKE_NCCL");
}

static void registration_is_refused(void **state)
{
    (void)state;
    World w = {.refused = true};
    open_world(&w);
    play_all(&w);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_of_a_mesh),
        cmocka_unit_test(without_registration), cmocka_unit_test(nccl_alone),
        cmocka_unit_test(registration_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
