/* links: titan_runtime
 *
 * reserve.c: what a rank may have beside its arena, of images with one group of
 * four ranks: each part, by who brings what.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "runtime/engines.h"
#include "runtime/reserve.h"

#define MIB ((uint64_t)1 << 20)
enum { RANKS = 4, F32 = 1, OPS = 3, LOOPS = 10 };
enum { GATHER, SUM, EXCHANGE }; /* commands */

typedef struct World {
    TitanHeader header;
    TitanStage stages[RANKS];
    TitanMeshAxis mesh[1];
    TitanLevel levels[1];
    TitanGroup groups[1];
    TitanCollective ops[OPS];
    TitanCommand commands[OPS];
    TitanOperand operands[OPS][2];
    TitanProgram programs[1];
    TitanRun runs[3];
    TitanEntry entries[1];
    TitanImage im;
} World;

static void open_world(World *w)
{
    static const uint32_t kinds[OPS] = {TITAN_COLLECTIVE_all_gather,
                                        TITAN_COLLECTIVE_all_reduce,
                                        TITAN_COLLECTIVE_all_to_all};
    *w =
        (World){.header = {.ranks = RANKS, .streams = 1},
                .stages = {{.arena_bytes = 1024 * MIB, .entries = {0, 1}}},
                .mesh = {{.size = RANKS}},
                .groups = {{.levels = {0, 1}}},
                .programs = {{.commands = {0, OPS}}},
                .runs = {{.kind = TITAN_RUN_loop, .program = 2, .count = LOOPS},
                         {.kind = TITAN_RUN_program},
                         {.kind = TITAN_RUN_end}},
                .entries = {{.runs = {0, 3}}}};
    for (uint32_t i = 0; i < OPS; i++) {
        w->ops[i] = (TitanCollective){
            .kind = kinds[i], .dtype = F32, .count = i == SUM ? 1 : 8 << 20};
        w->commands[i] = (TitanCommand){.kind = TITAN_COMMAND_collective,
                                        .index = i,
                                        .operands = {2 * i, 2}};
        w->operands[i][1].offset = 256;
    }
    w->im = (TitanImage){.header = &w->header,
                         .stages = w->stages,
                         .nstages = 1,
                         .mesh = w->mesh,
                         .nmesh = 1,
                         .groups = w->groups,
                         .ngroups = 1,
                         .levels = w->levels,
                         .nlevels = 1,
                         .collectives = w->ops,
                         .ncollectives = OPS,
                         .operands = w->operands[0],
                         .noperands = 2 * OPS,
                         .commands = w->commands,
                         .ncommands = OPS,
                         .programs = w->programs,
                         .nprograms = 1,
                         .runs = w->runs,
                         .nruns = 3,
                         .entries = w->entries,
                         .nentries = 1};
}

static Reserve reserve(const World *w, bool engines, bool in_order)
{
    ReserveAsk ask = {.im = &w->im,
                      .engines = &engines,
                      .in_order = in_order,
                      .context = 500 * MIB};
    Reserve r;
    assert_true(reserve_of(&ask, &r));
    return r;
}

static ReserveComm comm(const World *w, bool engines, bool in_order)
{
    ReserveAsk ask = {.im = &w->im, .engines = &engines, .in_order = in_order};
    ReserveComm c;
    reserve_comms(&ask, &c);
    return c;
}

/* What engines do not bring is small: NCCL has one channel for it. */
static void by_engines(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    ReserveComm c = comm(&w, true, false);
    assert_int_equal(c.kinds, RESERVE_reduce);
    assert_int_equal(c.channels, 1);
    Reserve r = reserve(&w, true, false);
    assert_int_equal(r.context, 504 * MIB);
    assert_int_equal(r.products, 0);
    assert_int_equal(r.peers, 3 * 2 * MIB);
    assert_int_equal(r.room, RESERVE_WARM * RANKS + ENGINES_WORDS);
    assert_int_equal(r.nccl, (442 + 48 + 4 + 6 + 12) * MIB);
    assert_in_range(r.graphs, 60 * MIB, 61 * MIB);
    assert_int_equal(reserve_sum(&r),
                     r.context + r.peers + r.room + r.nccl + r.graphs);
}

/* All that NCCL likes: rings of 24 channels, and 32 to each other member. */
static void by_nccl(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    ReserveComm c = comm(&w, false, false);
    assert_int_equal(c.kinds, RESERVE_gather | RESERVE_reduce |
                                  1u << TITAN_COLLECTIVE_all_to_all);
    assert_int_equal(c.channels, 0);
    Reserve r = reserve(&w, false, false);
    assert_int_equal(r.peers, 0);
    assert_int_equal(r.room, RESERVE_WARM * RANKS);
    assert_int_equal(r.nccl,
                     (442 + 48 + 4 + 32 * 6 + 24 * 12 + 3 * 32 * 12) * MIB);
    w.ops[EXCHANGE].count = (40 << 10) / 4; /* of 32 KiB, a channel each */
    w.ops[GATHER].count = 1;
    assert_int_equal(comm(&w, false, false).channels, 2);
    r = reserve(&w, false, false);
    assert_int_equal(r.nccl,
                     (442 + 48 + 4 + 2 * 6 + 2 * 12 + 3 * 2 * 12) * MIB);
}

/* Sums in the order of ranks are exchanges, in a room of their own. */
static void in_order(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    assert_int_equal(comm(&w, true, true).kinds,
                     1u << TITAN_COLLECTIVE_all_to_all);
    assert_int_equal(
        reserve(&w, true, true).room - reserve(&w, true, false).room, 32 * MIB);
}

/* What is exchanged in place is set aside, and no engine's. */
static void in_place(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    assert_true(engines_take(&w.im, &w.commands[EXCHANGE]));
    w.operands[EXCHANGE][1].offset = 0;
    assert_false(engines_take(&w.im, &w.commands[EXCHANGE]));
    assert_int_equal(reserve_exchange(&w.im), RANKS * 32 * MIB);
    assert_int_equal(comm(&w, true, false).kinds,
                     RESERVE_reduce | 1u << TITAN_COLLECTIVE_all_to_all);
}

/* A graph has as many nodes as loops go round. */
static void nodes(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    uint64_t one = reserve(&w, true, false).graphs;
    w.runs[0].count = 2 * LOOPS;
    uint64_t two = reserve(&w, true, false).graphs;
    w.runs[0].count = 3 * LOOPS;
    uint64_t three = reserve(&w, true, false).graphs;
    assert_true(two > one + LOOPS * 1024 * OPS);
    assert_int_equal(three - two, two - one);
}

/* Over two machines nobody opens another's memory; ranks of stages neither. */
static void planned(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    Reserve near = reserve(&w, true, false), far = reserve(&w, false, false);
    assert_int_equal(reserve_planned(&w.im, 0, RANKS),
                     reserve_sum(&near) + 30 * MIB);
    assert_int_equal(reserve_planned(&w.im, 0, 2),
                     reserve_sum(&far) + 30 * MIB);
    w.im.nstages = RANKS;
    for (uint32_t i = 0; i < RANKS; i++)
        w.stages[i] = w.stages[0];
    assert_int_equal(reserve_planned(&w.im, 3, RANKS),
                     reserve_sum(&far) + 30 * MIB);
}

static void words(void **state)
{
    (void)state;
    Reserve r = {.context = 530 * MIB, .nccl = 512 * MIB};
    char text[64];
    reserve_about(&r, text, sizeof text);
    assert_string_equal(text, "530 MiB context and libraries, 512 MiB NCCL");
    reserve_about(&r, text, 8);
    assert_string_equal(text, "530 MiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_engines), cmocka_unit_test(by_nccl),
        cmocka_unit_test(in_order),   cmocka_unit_test(in_place),
        cmocka_unit_test(nodes),      cmocka_unit_test(planned),
        cmocka_unit_test(words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
