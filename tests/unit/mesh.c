/* links: titan_runtime */
/*
 * mesh.c: several ranks as one device, on a step made by hand for a mesh of
 * 2 x 2: what is put in comes out whole, saved state too, a rank that dies is
 * missed and named.  Everything by threads and by processes; as `link`, started
 * four times by a launcher, by these.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "runtime/board.h"
#include "runtime/mesh.h"
#include "tests/unit/launched.h"

enum { F32 = 1, ROWS = 4, COLS = 6, HALF = ROWS / 2 * COLS };

/* Own io base: x's half | all of x | the sum over dp of the halves.
 * Own persistent base: the slot's half, without the columns of the other.
 * The whole bases have other offsets. */
typedef struct Made {
    TitanImage im;
    TitanHeader header;
    TitanStage stage;
    TitanMeshAxis mesh[2]; /* dp, tp */
    TitanGroup group;      /* dp */
    TitanLevel level;
    TitanCollective collectives[2];
    TitanCommand commands[2];
    TitanOperand operands[4];
    TitanProgram program;
    TitanRun run;
    TitanEntry entry;
    TitanPort ports[3];
    TitanAxis axes[4]; /* rows, columns, half of the rows, columns */
    TitanPart parts[4];
    TitanSplit splits[3];
    TitanSlot slot;
} Made;

static TitanOperand io(uint64_t offset, uint64_t bytes)
{
    return (TitanOperand){
        .base = TITAN_BASE_io, .offset = offset, .bytes = bytes};
}

static void make_step(Made *m)
{
    m->mesh[0] = (TitanMeshAxis){.name = 1, .size = 2};
    m->mesh[1] = (TitanMeshAxis){.name = 4, .size = 2};
    m->group = (TitanGroup){.name = 1, .levels = {0, 1}};
    m->collectives[0] = (TitanCollective){
        .kind = TITAN_COLLECTIVE_all_gather, .dtype = F32, .count = HALF};
    m->collectives[1] = (TitanCollective){
        .kind = TITAN_COLLECTIVE_all_reduce, .dtype = F32, .count = HALF};
    m->operands[0] = io(256, 8 * HALF);
    m->operands[1] = m->operands[3] = io(0, 4 * HALF);
    m->operands[2] = io(512, 4 * HALF);
    for (uint32_t i = 0; i < 2; i++)
        m->commands[i] = (TitanCommand){.kind = TITAN_COMMAND_collective,
                                        .index = i,
                                        .operands = {2 * i, 2},
                                        .file = 7,
                                        .line = 10 + i};
    m->program.commands.n = 2;
    m->run.kind = TITAN_RUN_program;
    m->entry = (TitanEntry){.runs = {0, 1}, .ports = {0, 3}};
}

static void make_tensors(Made *m)
{
    static const int64_t sizes[] = {ROWS, COLS, ROWS / 2, COLS};
    for (int i = 0; i < 4; i++)
        m->axes[i].size = sizes[i];
    m->splits[0] = (TitanSplit){.axis = 0, .mesh = 0};
    m->splits[1] = (TitanSplit){.axis = 1, .mesh = 1};
    m->parts[0] = (TitanPart){.offset = 0, .splits = {0, 1}};
    m->parts[1] = (TitanPart){.offset = 256};
    m->parts[2] = (TitanPart){.offset = 512};
    m->parts[3] = (TitanPart){.offset = 128, .splits = {1, 1}};
    m->ports[0] = (TitanPort){.role = TITAN_ROLE_input,
                              .dtype = F32,
                              .offset = 1024,
                              .axes = {0, 2},
                              .parts = {0, 1}};
    m->ports[1] = (TitanPort){.role = TITAN_ROLE_record,
                              .dtype = F32,
                              .offset = 64,
                              .axes = {0, 2},
                              .parts = {1, 1}};
    m->ports[2] = (TitanPort){.role = TITAN_ROLE_record,
                              .dtype = F32,
                              .offset = 512,
                              .axes = {2, 2},
                              .parts = {2, 1}};
    m->slot = (TitanSlot){
        .dtype = F32, .offset = 256, .axes = {0, 2}, .parts = {3, 1}};
}

static void make(Made *m)
{
    *m = (Made){.header = {.whole_bytes = {512, 2048},
                           .lanes = 1,
                           .ranks = 4,
                           .streams = 1,
                           .arena_bytes = 1024},
                .stage = {.base_bytes = {256, 768, 0, 0},
                          .arena_bytes = 1024,
                          .entries = {0, 1}}};
    make_step(m);
    make_tensors(m);
    m->im = (TitanImage){.header = &m->header,
                         .strings = "\0dp\0tp\0a.tt",
                         .mesh = m->mesh,
                         .nmesh = 2,
                         .groups = &m->group,
                         .ngroups = 1,
                         .levels = &m->level,
                         .nlevels = 1,
                         .collectives = m->collectives,
                         .ncollectives = 2,
                         .commands = m->commands,
                         .ncommands = 2,
                         .operands = m->operands,
                         .noperands = 4,
                         .programs = &m->program,
                         .nprograms = 1,
                         .runs = &m->run,
                         .nruns = 1,
                         .stages = &m->stage,
                         .nstages = 1,
                         .entries = &m->entry,
                         .nentries = 1,
                         .ports = m->ports,
                         .nports = 3,
                         .axes = m->axes,
                         .naxes = 4,
                         .parts = m->parts,
                         .nparts = 4,
                         .splits = m->splits,
                         .nsplits = 2,
                         .slots = &m->slot,
                         .nslots = 1};
}

typedef struct Opened {
    Made made;
    TitanStory story;
    Board *board;
    TitanDevice *device;
} Opened;

typedef enum How { THREADS, PROCESSES, LINK } How;

static void open_mesh(Opened *o, How how)
{
    TitanCode code = {0};
    make(&o->made);
    o->story = (TitanStory){0};
    o->board = board_new(4);
    DeviceOptions options = {.threads = 1,
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

static void fill(float *x, float first)
{
    for (int i = 0; i < ROWS * COLS; i++)
        x[i] = first + (float)i;
}

static void runs(How how)
{
    Opened o;
    float x[ROWS * COLS];
    const char *kept;
    open_mesh(&o, how);
    for (int turn = 1; turn <= 3; turn++) {
        fill(x, (float)turn);
        assert_int_equal(device_put(o.device, &o.made.ports[0], x, sizeof x),
                         TITAN_OK);
        assert_int_equal(device_run(o.device, &o.made.entry), TITAN_OK);
        assert_int_equal(device_keep(o.device, &o.made.entry, turn), TITAN_OK);
        assert_int_equal(device_kept(o.device, turn, &kept), TITAN_OK);
        assert_memory_equal(kept + 64, x, sizeof x);
        float sum[HALF], got[HALF];
        for (int i = 0; i < HALF; i++)
            sum[i] = x[i] + x[HALF + i];
        memcpy(got, kept + 512, sizeof got);
        assert_memory_equal(got, sum, sizeof sum);
        assert_int_equal(
            device_get(o.device, &o.made.ports[2], got, sizeof got), TITAN_OK);
        assert_memory_equal(got, sum, sizeof sum);
    }
    close_mesh(&o);
}

static void runs_by_threads(void **state)
{
    (void)state;
    runs(THREADS);
}

static void runs_by_processes(void **state)
{
    (void)state;
    runs(PROCESSES);
}

/* Whole rows, a stretch in the middle of two, and a copy of all. */
static void keeps(How how)
{
    Opened o;
    float x[ROWS * COLS], y[ROWS * COLS];
    TitanDevice *staged;
    open_mesh(&o, how);
    fill(x, 100);
    TitanBase base = TITAN_BASE_persistent;
    device_write(o.device, base, 256, x, sizeof x);
    device_read(o.device, base, 256, y, sizeof y);
    assert_memory_equal(x, y, sizeof x);
    fill(y, -100);
    device_write(o.device, base, 256 + 4 * 5, y + 5, 4 * 9);
    memcpy(x + 5, y + 5, 4 * 9);
    device_read(o.device, base, 256, y, sizeof y);
    assert_memory_equal(x, y, sizeof x);
    assert_true(device_stage_open(o.device));
    assert_int_equal(device_stage(o.device), TITAN_OK);
    assert_int_equal(device_staged(o.device, &o.story, &staged), TITAN_OK);
    assert_memory_equal(staged->arena[base] + 256, x, sizeof x);
    close_mesh(&o);
}

static void keeps_state_whole(void **state)
{
    (void)state;
    keeps(THREADS);
    keeps(PROCESSES);
}

/* Between two steps, in no command of either. */
static void misses_who_dies(void **state)
{
    (void)state;
    Opened o;
    float x[ROWS * COLS];
    open_mesh(&o, PROCESSES);
    fill(x, 1);
    device_put(o.device, &o.made.ports[0], x, sizeof x);
    assert_int_equal(device_run(o.device, &o.made.entry), TITAN_OK);
    kill(atomic_load(&o.board->rows[2].pid), SIGKILL);
    assert_int_equal(device_run(o.device, &o.made.entry), TITAN_RANK_LOST);
    assert_string_equal(o.story.line[0],
                        "rank 2 of 4 was lost: killed by signal 9 (Killed)");
    close_mesh(&o);
}

/* The host points at whose process it is; nobody is left when it ends. */
static void leaves_nobody(void **state)
{
    (void)state;
    Opened o;
    open_mesh(&o, PROCESSES);
    pid_t pid = atomic_load(&o.board->rows[3].pid);
    assert_int_equal(kill(pid, 0), 0);
    close_mesh(&o);
    assert_int_not_equal(kill(pid, 0), 0);
}

static void runs_under_a_launcher(void **state)
{
    (void)state;
    runs(LINK);
}

static void keeps_state_under_a_launcher(void **state)
{
    (void)state;
    keeps(LINK);
}

static int main_link(void)
{
    static const Launched tests[] = {
        {"runs_under_a_launcher", runs_under_a_launcher, 0},
        {"keeps_state_under_a_launcher", keeps_state_under_a_launcher, 0},
    };
    Made m;
    make(&m);
    return run_launched(&m.im, tests, sizeof tests / sizeof *tests);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "link") == 0) return main_link();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_by_threads),
        cmocka_unit_test(runs_by_processes),
        cmocka_unit_test(keeps_state_whole),
        cmocka_unit_test(misses_who_dies),
        cmocka_unit_test(leaves_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
