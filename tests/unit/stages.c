/* links: titan_runtime */
/*
 * stages.c: two stages of two ranks each, on a step made by hand: each rank
 * runs the list of its stage in memory of its stage's sizes, messages go both
 * ways whether or not a sender waits, and slots, inputs and records are whole
 * for who looks from outside.  Everything by threads and by processes; as
 * `link`, started four times by a launcher, by these.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>

#include "runtime/mesh.h"
#include "tests/unit/launched.h"

enum { F32 = 1, COLS = 6, TURNS = 3, ROWS = 2 * TURNS, LAYERS = 3 };
enum { ROW = 4 * COLS, HALF = TURNS * ROW }; /* bytes */
enum { X, BACK, SUM, TIED, NPORTS };
enum { PP = 1, DP = 4, FILE_NAME = 7 };

/* In front of the loop nothing; in each turn stage 0 sends a row of x forward
 * and gets one back, and stage 1 has added to it what the others of its stage
 * have:
 *
 *     stage 0   x | back                      loop 3 { send; receive }
 *     stage 1   got | sum     loop 3 { receive; all_reduce over dp; send }
 *
 * Stage 1 then copies its `tied`, which stage 0 has too. */
typedef struct Made {
    TitanImage im;
    TitanHeader header;
    TitanStage stages[2];
    TitanMeshAxis mesh[2];
    TitanGroup groups[2]; /* pp, dp */
    TitanLevel levels[2];
    TitanCollective collectives[5];
    TitanCommand commands[6];
    TitanOperand operands[8];
    TitanTurn turns[8];
    TitanProgram programs[3];
    TitanRun runs[7];
    TitanEntry entries[2];
    TitanPort ports[NPORTS];
    TitanAxis axes[4]; /* rows, columns; layers, columns */
    TitanPart parts[8];
    TitanSplit splits[2];
    TitanSlot slots[2];
} Made;

static TitanOperand row_of(Made *m, uint32_t i, uint64_t base)
{
    m->turns[i] = (TitanTurn){.bytes = ROW};
    return (TitanOperand){
        .base = TITAN_BASE_io, .offset = base, .bytes = ROW, .turns = {i, 1}};
}

/* Channel 0 goes forward, 1 back. */
static void make_commands(Made *m)
{
    static const uint32_t first[] = {0, 1, 2, 3, 5, 6, 8};
    m->collectives[0] = (TitanCollective){
        .kind = TITAN_COLLECTIVE_send, .dtype = F32, .count = COLS, .peer = 1};
    m->collectives[1] = (TitanCollective){.kind = TITAN_COLLECTIVE_receive,
                                          .dtype = F32,
                                          .count = COLS,
                                          .peer = 1,
                                          .channel = 1};
    m->collectives[2] = m->collectives[0];
    m->collectives[2].kind = TITAN_COLLECTIVE_receive;
    m->collectives[2].peer = 0;
    m->collectives[3] = (TitanCollective){.kind = TITAN_COLLECTIVE_all_reduce,
                                          .dtype = F32,
                                          .group = 1,
                                          .count = COLS};
    m->collectives[4] = m->collectives[1];
    m->collectives[4].kind = TITAN_COLLECTIVE_send;
    m->collectives[4].peer = 0;
    for (uint32_t i = 0; i < 6; i++)
        m->commands[i] =
            (TitanCommand){.kind = TITAN_COMMAND_collective,
                           .index = i,
                           .operands = {first[i], first[i + 1] - first[i]},
                           .file = FILE_NAME,
                           .line = 10 + i};
    m->operands[0] = row_of(m, 0, 0);   /* x */
    m->operands[1] = row_of(m, 1, 128); /* back */
    m->operands[2] = row_of(m, 2, 256); /* got */
    m->operands[3] = row_of(m, 3, 512); /* sum */
    m->operands[4] = m->operands[2];
    m->operands[5] = m->operands[3];
    m->commands[5].kind = TITAN_COMMAND_copy; /* the record, from the slot */
    m->commands[5].items = ROW;
    m->operands[6] =
        (TitanOperand){.base = TITAN_BASE_io, .offset = 640, .bytes = ROW};
    m->operands[7] = (TitanOperand){
        .base = TITAN_BASE_persistent, .offset = 128, .bytes = ROW};
}

static void make_lists(Made *m)
{
    m->programs[0].commands = (TitanRange){0, 2};
    m->programs[1].commands = (TitanRange){2, 3};
    m->programs[2].commands = (TitanRange){5, 1};
    for (uint32_t s = 0; s < 2; s++) {
        TitanRun *r = &m->runs[3 * s];
        r[0] = (TitanRun){
            .kind = TITAN_RUN_loop, .count = TURNS, .program = 3 * s + 2};
        r[1] = (TitanRun){.kind = TITAN_RUN_program, .program = s};
        r[2] = (TitanRun){.kind = TITAN_RUN_end, .program = 3 * s};
        m->entries[s] =
            (TitanEntry){.runs = {3 * s, 3 + s}, .ports = {0, NPORTS}};
    }
    m->runs[6] = (TitanRun){.kind = TITAN_RUN_program, .program = 2};
    m->stages[0] = (TitanStage){
        .base_bytes = {256, 256}, .arena_bytes = 512, .entries = {0, 1}};
    m->stages[1] = (TitanStage){
        .base_bytes = {512, 768}, .arena_bytes = 1280, .entries = {1, 1}};
}

static TitanPort port(TitanRole role, uint64_t offset, TitanRange axes,
                      uint32_t part)
{
    return (TitanPort){.role = role,
                       .dtype = F32,
                       .offset = offset,
                       .axes = axes,
                       .parts = {part, 1}};
}

/* Of three layers the first stage has one, the other two, each split along
 * their columns; both have `tied`, at other places. */
static void make_tensors(Made *m)
{
    static const int64_t sizes[] = {ROWS, COLS, LAYERS, COLS};
    for (int i = 0; i < 4; i++)
        m->axes[i].size = sizes[i];
    m->splits[0] = (TitanSplit){.axis = 0, .mesh = 1};
    m->splits[1] = (TitanSplit){.axis = 1, .mesh = 1};
    TitanRange rows = {0, 1}, columns = {1, 1};
    m->parts[0] = (TitanPart){.offset = 0, .splits = rows};
    m->parts[1] = (TitanPart){.offset = 128, .splits = rows};
    m->parts[2] = (TitanPart){.offset = 512, .splits = rows, .stage = 1};
    m->parts[3] = (TitanPart){.offset = 640, .stage = 1};
    m->parts[4] = (TitanPart){.offset = 0, .splits = columns, .n = 1};
    m->parts[5] = (TitanPart){
        .offset = 256, .splits = columns, .stage = 1, .first = 1, .n = 2};
    m->parts[6] = (TitanPart){.offset = 64};
    m->parts[7] = (TitanPart){.offset = 128, .stage = 1};
    m->ports[X] = port(TITAN_ROLE_input, 1024, (TitanRange){0, 2}, 0);
    m->ports[BACK] = port(TITAN_ROLE_record, 0, (TitanRange){0, 2}, 1);
    m->ports[SUM] = port(TITAN_ROLE_record, 256, (TitanRange){0, 2}, 2);
    m->ports[TIED] = port(TITAN_ROLE_record, 512, (TitanRange){1, 1}, 3);
    m->slots[0] = (TitanSlot){
        .dtype = F32, .offset = 256, .axes = {2, 2}, .parts = {4, 2}};
    m->slots[1] = (TitanSlot){
        .dtype = F32, .offset = 512, .axes = {3, 1}, .parts = {6, 2}};
}

static void make(Made *m)
{
    *m = (Made){.header = {.whole_bytes = {768, 2048},
                           .lanes = 1,
                           .ranks = 4,
                           .streams = 1,
                           .arena_bytes = 1280}};
    m->mesh[0] = (TitanMeshAxis){.name = PP, .size = 2};
    m->mesh[1] = (TitanMeshAxis){.name = DP, .size = 2};
    m->levels[1].mesh = 1;
    m->groups[0] = (TitanGroup){.name = PP, .levels = {0, 1}};
    m->groups[1] = (TitanGroup){.name = DP, .levels = {1, 1}};
    make_commands(m);
    make_lists(m);
    make_tensors(m);
    m->im = (TitanImage){.header = &m->header,
                         .stages = m->stages,
                         .nstages = 2,
                         .strings = "\0pp\0dp\0a.tt",
                         .mesh = m->mesh,
                         .nmesh = 2,
                         .groups = m->groups,
                         .ngroups = 2,
                         .levels = m->levels,
                         .nlevels = 2,
                         .collectives = m->collectives,
                         .ncollectives = 5,
                         .commands = m->commands,
                         .ncommands = 6,
                         .operands = m->operands,
                         .noperands = 8,
                         .turns = m->turns,
                         .nturns = 8,
                         .programs = m->programs,
                         .nprograms = 3,
                         .runs = m->runs,
                         .nruns = 7,
                         .entries = m->entries,
                         .nentries = 2,
                         .ports = m->ports,
                         .nports = NPORTS,
                         .axes = m->axes,
                         .naxes = 4,
                         .parts = m->parts,
                         .nparts = 8,
                         .splits = m->splits,
                         .nsplits = 2,
                         .slots = m->slots,
                         .nslots = 2};
}

/* --------------------------------------------------------------- devices -- */

typedef enum How { THREADS, PROCESSES, LINK } How;

typedef struct Opened {
    Made made;
    TitanStory story;
    Board *board;
    TitanDevice *device;
} Opened;

static void open_mesh(Opened *o, How how, size_t room)
{
    TitanCode code = {0};
    make(&o->made);
    o->story = (TitanStory){0};
    o->board = board_new(4);
    DeviceOptions options = {.threads = 1,
                             .send_room = room,
                             .processes = how == PROCESSES,
                             .link = how == LINK ? link_of_test : NULL,
                             .board = o->board};
    TitanStatus st =
        device_new(&o->story, &o->made.im, &code, &options, &o->device);
    if (st != TITAN_OK) fail_msg("%s", o->story.line[0]);
}

static void close_mesh(Opened *o)
{
    device_free(o->device);
    board_free(o->board);
}

static void fill(float *x, int n, float first)
{
    for (int i = 0; i < n; i++)
        x[i] = first + (float)i;
}

/* What a turn gives: of each row its sum with the row of the other half. */
static void expect_sums(const char *at, const float *x)
{
    float got[ROWS * COLS];
    memcpy(got, at, sizeof got);
    for (int i = 0; i < ROWS * COLS; i++)
        assert_true(got[i] == x[i % (TURNS * COLS)] +
                                  x[i % (TURNS * COLS) + TURNS * COLS]);
}

static void runs(How how, size_t room)
{
    Opened o;
    float x[ROWS * COLS], tied[COLS];
    const char *kept;
    open_mesh(&o, how, room);
    fill(tied, COLS, 50);
    assert_int_equal(
        device_write(o.device, TITAN_BASE_persistent, 512, tied, sizeof tied),
        TITAN_OK);
    for (int turn = 1; turn <= 3; turn++) {
        fill(x, ROWS * COLS, (float)turn);
        assert_int_equal(device_put(o.device, &o.made.ports[X], x, sizeof x),
                         TITAN_OK);
        assert_int_equal(device_run(o.device, o.made.entries), TITAN_OK);
        assert_int_equal(device_keep(o.device, o.made.entries, turn), TITAN_OK);
        assert_int_equal(device_kept(o.device, turn, &kept), TITAN_OK);
        expect_sums(kept, x);
        expect_sums(kept + 256, x);
        assert_memory_equal(kept + 512, tied, sizeof tied);
    }
    close_mesh(&o);
}

static void messages_wait_for_their_receiver(void **state)
{
    (void)state;
    runs(THREADS, 0);
    runs(PROCESSES, 0);
}

static void messages_are_left(void **state)
{
    (void)state;
    runs(THREADS, ROW);
    runs(PROCESSES, ROW);
}

/* One layer at a time, a stretch over the border of the stages, a copy. */
static void keeps(How how)
{
    Opened o;
    float w[LAYERS * COLS], got[LAYERS * COLS];
    TitanDevice *staged;
    open_mesh(&o, how, 0);
    TitanBase base = TITAN_BASE_persistent;
    fill(w, LAYERS * COLS, 10);
    for (int i = 0; i < LAYERS; i++)
        device_write(o.device, base, 256 + (uint64_t)i * ROW, w + i * COLS,
                     ROW);
    device_read(o.device, base, 256, got, sizeof got);
    assert_memory_equal(got, w, sizeof w);
    fill(w + 4, 7, -100);
    device_write(o.device, base, 256 + 4 * 4, w + 4, 4 * 7);
    device_read(o.device, base, 256, got, sizeof got);
    assert_memory_equal(got, w, sizeof w);
    device_write(o.device, base, 512, w, ROW);
    assert_true(device_stage_open(o.device));
    assert_int_equal(device_stage(o.device), TITAN_OK);
    assert_int_equal(device_staged(o.device, &o.story, &staged), TITAN_OK);
    const char *copy = staged->arena[base];
    assert_memory_equal(copy + 256, w, sizeof w);
    assert_memory_equal(copy + 512, w, ROW);
    close_mesh(&o);
}

static void keeps_layers_where_they_belong(void **state)
{
    (void)state;
    keeps(THREADS);
    keeps(PROCESSES);
}

/* Rank 2 is the first of the second stage; rank 0 waits for its answer. */
static void names_the_message_that_is_missed(void **state)
{
    (void)state;
    Opened o;
    float x[ROWS * COLS] = {0};
    open_mesh(&o, PROCESSES, ROW);
    device_put(o.device, &o.made.ports[X], x, sizeof x);
    assert_int_equal(device_run(o.device, o.made.entries), TITAN_OK);
    atomic_store(&o.board->rows[2].command, 3);
    kill(atomic_load(&o.board->rows[2].pid), SIGKILL);
    assert_int_equal(device_run(o.device, o.made.entries), TITAN_RANK_LOST);
    assert_string_equal(o.story.line[0],
                        "rank 2 of 4 was lost: killed by signal 9 (Killed), in "
                        "receive over (pp), peer 0, channel 0, a.tt:12");
    close_mesh(&o);
}

/* ------------------------------------------------------------------ link -- */

static void runs_under_a_launcher(void **state)
{
    (void)state;
    runs(LINK, 0);
}

static void leaves_messages_under_a_launcher(void **state)
{
    (void)state;
    runs(LINK, ROW);
}

static void keeps_layers_under_a_launcher(void **state)
{
    (void)state;
    keeps(LINK);
}

static int main_link(void)
{
    static const Launched tests[] = {
        {"runs_under_a_launcher", runs_under_a_launcher, 0},
        {"leaves_messages_under_a_launcher", leaves_messages_under_a_launcher,
         ROW},
        {"keeps_layers_under_a_launcher", keeps_layers_under_a_launcher, 0},
    };
    Made m;
    make(&m);
    return run_launched(&m.im, tests, sizeof tests / sizeof *tests);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "link") == 0) return main_link();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_wait_for_their_receiver),
        cmocka_unit_test(messages_are_left),
        cmocka_unit_test(keeps_layers_where_they_belong),
        cmocka_unit_test(names_the_message_that_is_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
