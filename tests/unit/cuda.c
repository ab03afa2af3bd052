/* links: titan_runtime fake_cuda fake_cublaslt
 *
 * cuda.c: the GPU side of the runtime, on a driver without a GPU: what is
 * loaded, in which order work is put on streams, what is captured and
 * replayed, and when records are read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/made.h"

/* An entry runs at once; prepared, it is captured once and replayed. */
static void captures_once(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    bump(&m, 0);
    operand(&m, TITAN_BASE_frame, 256, 0);
    command(&m, TITAN_COMMAND_zero, 0, 40);
    TitanDevice *d = open_device(&m);
    const char *work = "bump <<<3, 128, 0>>> on 0: 65536 ";
    ok(device_run(d, &m.entry));
    settle(d);
    assert_non_null(strstr(fake_device()->log, work));
    fake_device()->log[0] = 0;
    ok(device_prepare(d, &m.entry));
    expect_log(d, "capture\ninstantiate\n");
    unsigned allocations = fake_device()->allocations;
    ok(device_run(d, &m.entry));
    ok(device_run(d, &m.entry));
    settle(d);
    assert_memory_equal(fake_device()->log, "graph\nbump", 10);
    assert_null(strstr(fake_device()->log, "capture"));
    assert_int_equal(fake_device()->allocations, allocations);
    float value;
    ok(device_read(d, TITAN_BASE_io, 0, &value, sizeof value));
    assert_true(value == 3);
    close_device(d);
}

/* A step is one launch of a graph, not a launch of each command. */
static bool is_replayed(TitanDevice *d, const TitanEntry *e)
{
    fake_device()->log[0] = 0;
    ok(device_run(d, e));
    settle(d);
    return strncmp(fake_device()->log, "graph\n", 6) == 0;
}

static TitanStatus forget_graphs(TitanDevice *d, const TitanEntry *e)
{
    (void)d;
    (void)e;
    return TITAN_OK;
}

/* A runtime that makes no graphs runs as well, only slower: planted, it is
 * noticed by what the driver is asked for. */
static void notices_lost_graphs(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    bump(&m, 0);
    TitanDevice *d = open_device(&m);
    DeviceClass planted = *d->class;
    planted.prepare = forget_graphs;
    const DeviceClass *own = d->class;
    d->class = &planted;
    ok(device_prepare(d, &m.entry));
    assert_false(is_replayed(d, &m.entry));
    d->class = own;
    ok(device_prepare(d, &m.entry));
    assert_true(is_replayed(d, &m.entry));
    close_device(d);
}

/* Loops move operands by their turns and give counters by value. */
static void walks_loops(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    run(&m, TITAN_RUN_loop, TITAN_LOOP_reverse, 3);
    operand(&m, TITAN_BASE_frame, 256, 4);
    counter(&m);
    command(&m, TITAN_COMMAND_kernel, 0, 1);
    run(&m, TITAN_RUN_end, 0, 0);
    m.runs[0].program = 2;
    operand(&m, TITAN_BASE_persistent, 512, 0);
    operand(&m, TITAN_BASE_persistent, 0, 0);
    command(&m, TITAN_COMMAND_copy, 0, 8);
    TitanDevice *d = open_device(&m);
    ok(device_run(d, &m.entry));
    expect_log(d, "bump <<<1, 128, 0>>> on 0: 66056 2\n"
                  "bump <<<1, 128, 0>>> on 0: 66052 1\n"
                  "bump <<<1, 128, 0>>> on 0: 66048 0\n"
                  "copy 8: 512 0\n");
    close_device(d);
}

typedef struct Look {
    TitanWatch watch; /* first */
    TitanDevice *device;
    int64_t seen[8]; /* counters, and at depth 0 what is in the io base */
    uint32_t n, most;
} Look;

static TitanStatus look(TitanWatch *w, const TitanMoment *at)
{
    Look *l = (Look *)w;
    float value;
    TitanStatus st =
        device_read(l->device, TITAN_BASE_io, 0, &value, sizeof value);
    l->seen[l->n++] = at->depth ? at->counter[0] : (int64_t)value;
    w->stop = l->n == l->most;
    return st;
}

/* Who looks on is called behind each command, sees what it wrote, and may end
 * the list. */
static void lets_look_on(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    bump(&m, 0);
    run(&m, TITAN_RUN_loop, 0, 2);
    operand(&m, TITAN_BASE_frame, 256, 4);
    counter(&m);
    command(&m, TITAN_COMMAND_kernel, 0, 1);
    run(&m, TITAN_RUN_end, 0, 0);
    m.runs[1].program = 3;
    bump(&m, 0);
    bump(&m, 0);
    TitanDevice *d = open_device(&m);
    Look all = {.watch = {.after = look}, .device = d};
    ok(device_watch(d, &m.entry, 5, &all.watch));
    const int64_t want[] = {1, 0, 1, 2};
    assert_int_equal(all.n, 4);
    assert_memory_equal(all.seen, want, sizeof want);
    Look two = {.watch = {.after = look}, .device = d, .most = 2};
    ok(device_watch(d, &m.entry, m.entry.runs.n, &two.watch));
    assert_int_equal(two.n, 2);
    close_device(d);
}

/* A kernel gets its shared memory and its maps, encoded for its arguments. */
static void encodes_maps(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    operand(&m, TITAN_BASE_persistent, 1024, 0);
    counter(&m);
    run(&m, TITAN_RUN_loop, 0, 1);
    command(&m, TITAN_COMMAND_kernel, 1, 7);
    run(&m, TITAN_RUN_end, 0, 0);
    m.runs[0].program = 2;
    TitanDevice *d = open_device(&m);
    ok(device_run(d, &m.entry));
    expect_log(d, "map dtype 9 at 1088 swizzle 3: 64/0/64 8/256/4\n"
                  "tile <<<7, 384, 200000>>> on 0: 1024 0\n");
    close_device(d);
}

/* A host point cuts the list into two graphs. */
static void cuts_segments(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    bump(&m, 0);
    run(&m, TITAN_RUN_segment, 0, 0);
    bump(&m, 4);
    TitanDevice *d = open_device(&m);
    ok(device_prepare(d, &m.entry));
    expect_log(d, "capture\ninstantiate\ncapture\ninstantiate\n");
    close_device(d);
}

/* A loop with a condition is never captured: the host looks before each
 * turn. */
static void looks_at_conditions(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    run(&m, TITAN_RUN_loop, TITAN_LOOP_while, 5);
    m.runs[0].operand = operand(&m, TITAN_BASE_io, 128, 0);
    m.commands[0].operands.first = 1;
    m.im.ncommands = 1; /* the condition is no command's operand */
    operand(&m, TITAN_BASE_io, 0, 0);
    operand(&m, TITAN_BASE_io, 0, 0);
    command(&m, TITAN_COMMAND_kernel, 0, 1);
    run(&m, TITAN_RUN_end, 0, 0);
    m.runs[0].program = 2;
    TitanDevice *d = open_device(&m);
    ok(device_prepare(d, &m.entry));
    ok(device_run(d, &m.entry));
    expect_log(d, "");
    unsigned char yes = 1;
    ok(device_write(d, TITAN_BASE_io, 128, &yes, 1));
    ok(device_run(d, &m.entry));
    float value;
    ok(device_read(d, TITAN_BASE_io, 0, &value, sizeof value));
    assert_true(value == 5);
    close_device(d);
}

/* Signals and waits are events between streams. */
static void joins_streams(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    m.header.streams = 2;
    m.header.events = 2;
    bump(&m, 0);
    command(&m, TITAN_COMMAND_signal, 0, 0);
    command(&m, TITAN_COMMAND_wait, 0, 0)->stream = 1;
    bump(&m, 4);
    m.commands[m.im.ncommands - 1].stream = 1;
    command(&m, TITAN_COMMAND_signal, 1, 0)->stream = 1;
    command(&m, TITAN_COMMAND_wait, 1, 0);
    TitanDevice *d = open_device(&m);
    ok(device_prepare(d, &m.entry));
    expect_log(d, "capture\nevent 0 on stream 0\nstream 1 waits for event 0\n"
                  "event 1 on stream 1\nstream 0 waits for event 1\n"
                  "instantiate\n");
    close_device(d);
}

/* Records are those of the step behind which they were kept, although later
 * steps have been asked for. */
static void keeps_records(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    bump(&m, 0);
    TitanDevice *d = open_device(&m);
    assert_int_equal(d->lag, 1);
    ok(device_prepare(d, &m.entry));
    const char *io;
    for (int64_t step = 1; step <= 6; step++) {
        ok(device_run(d, &m.entry));
        ok(device_keep(d, &m.entry, step));
        if (step == 1) continue;
        ok(device_kept(d, step - 1, &io));
        assert_true(*(const float *)(const void *)io == (float)(step - 1));
    }
    close_device(d);
}

/* Each run reads what was written in front of it, however far the host is
 * ahead. */
static void inputs_in_order(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    m.kernels[0].name = S_add;
    operand(&m, TITAN_BASE_io, 0, 0);
    operand(&m, TITAN_BASE_io, 64, 0);
    command(&m, TITAN_COMMAND_kernel, 0, 1);
    TitanDevice *d = open_device(&m);
    float sum = 0, value;
    for (int step = 1; step <= 7; step++) {
        float x = (float)(1 << step);
        ok(device_write(d, TITAN_BASE_io, 64, &x, sizeof x));
        sum += x;
        x = 0;
        ok(device_run(d, &m.entry));
        if (step == 2) ok(device_prepare(d, &m.entry));
    }
    ok(device_read(d, TITAN_BASE_io, 0, &value, sizeof value));
    assert_true(value == sum);
    close_device(d);
}

/* Large pieces pass the staging buffer and come back as they were. */
static void stages_weights(void **state)
{
    (void)state;
    enum { N = (32 << 20) + 4096 };
    Made m;
    begin(&m);
    m.stage.base_bytes[TITAN_BASE_persistent] = N + 512;
    m.stage.arena_bytes = N + 4096;
    TitanDevice *d = open_device(&m);
    Window w, v;
    ok(window_open(d, TITAN_BASE_persistent, 256, N, false, &w));
    for (size_t i = 0; i < N; i++)
        w.at[i] = (char)(i * 7 + i / 4096);
    char *copy = malloc(N);
    memcpy(copy, w.at, N);
    ok(window_close(d, &w, true));
    ok(window_open(d, TITAN_BASE_persistent, 256, N, true, &v));
    assert_memory_equal(v.at, copy, N);
    ok(window_close(d, &v, false));
    free(copy);
    close_device(d);
}

/* A profile has each command of a step, by its time, and a trace with a row
 * for each stream.  Here it is by events (cupti.c: by CUPTI). */
static void profiles(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    bump(&m, 0);
    operand(&m, TITAN_BASE_frame, 256, 0);
    command(&m, TITAN_COMMAND_zero, 0, 40);
    m.kernels[0].bytes = 1000;
    setenv("TITAN_CUPTI", "none", 1);
    TitanDevice *d = open_device(&m);
    ok(d->class->profile(d, &m.entry));
    ok(d->class->profile(d, &m.entry));
    char path[] = "/tmp/titan-trace-XXXXXX";
    close(mkstemp(path));
    ok(d->class->profile_write(d, path));
    json_t *root = json_load_file(path, 0, NULL);
    unlink(path);
    json_t *events = json_object_get(root, "traceEvents");
    assert_int_equal(json_array_size(events), 4); /* two are names of rows */
    json_t *first = json_array_get(events, 2);
    json_t *args = json_object_get(first, "args");
    assert_string_equal(json_string_value(json_object_get(first, "name")),
                        "bump");
    assert_string_equal(json_string_value(json_object_get(args, "source")),
                        "m.tt:1");
    assert_true(json_number_value(json_object_get(args, "bytes")) == 1000);
    assert_string_equal(json_string_value(json_object_get(args, "class")),
                        "loops");
    assert_true(json_number_value(json_object_get(first, "dur")) > 0);
    json_decref(root);
    float value;
    ok(device_read(d, TITAN_BASE_io, 0, &value, sizeof value));
    assert_true(value == 2); /* profiled steps are steps */
    close_device(d);
}

/* What is offloaded lies in memory of the host, which both sides reach, of as
 * many bytes as were planned; those of the arena are made whole pages, so that
 * other ranks open it in such.  A row of a ring comes back every so many turns.
 */
static void copies_from_the_host(void **state)
{
    (void)state;
    Made m;
    begin(&m);
    m.stage.base_bytes[TITAN_BASE_host] = 4096;
    TitanDevice *d = open_device(&m);
    assert_true(m.stage.arena_bytes < 2 << 20);
    assert_int_equal(fake_device()->arena_bytes, 2 << 20);
    assert_int_equal(fake_device()->pinned_bytes, 4096);
    char there[64] = "on the host", here[64] = {0};
    ok(device_write(d, TITAN_BASE_host, 256, there, sizeof there));
    ok(device_read(d, TITAN_BASE_host, 256, here, sizeof here));
    assert_string_equal(here, "on the host");
    close_device(d);
    const TitanTurn ring = {.ring = 2, .shift = 1, .bytes = 100};
    assert_int_equal(titan_turn_bytes(&ring, 0), 100);
    assert_int_equal(titan_turn_bytes(&ring, 1), 0);
    assert_int_equal(titan_turn_bytes(&ring, 6), 100);
}

/* ------------------------------------------------------------------- PTX -- */

static const char sharing[] =
    FRONT ".global .b64 x;\n" ENTRY("bump") ENTRY("add") ENTRY("other");

/* Runs both kernels of the text; how many libraries it became. */
static unsigned run_text(const char *text)
{
    Made m;
    begin(&m);
    m.kernels[1] = (TitanKernel){.name = S_add, .args = 2, .threads = 128};
    bump(&m, 0);
    operand(&m, TITAN_BASE_io, 0, 0);
    operand(&m, TITAN_BASE_io, 64, 0);
    command(&m, TITAN_COMMAND_kernel, 1, 1);
    const TitanCode code = {.ptx = text, .ptx_size = strlen(text)};
    static const DeviceOptions o;
    TitanDevice *d;
    ok(open_with(&m, &code, &o, &d));
    float x = 5, sum;
    ok(device_write(d, TITAN_BASE_io, 64, &x, sizeof x));
    ok(device_run(d, &m.entry));
    ok(device_read(d, TITAN_BASE_io, 0, &sum, sizeof sum));
    assert_true(sum == 6);
    unsigned n = fake_device()->libraries;
    close_device(d);
    assert_int_equal(fake_device()->libraries, 0);
    return n;
}

/* Kernels that share nothing are compiled by as many threads as there are
 * processors, each kernel once; others by one. */
static void compiles_in_parts(void **state)
{
    (void)state;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    assert_int_equal(run_text(kernels), online < 3 ? online : 3);
    assert_int_equal(run_text(sharing), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(captures_once, reset),
        cmocka_unit_test_setup(notices_lost_graphs, reset),
        cmocka_unit_test_setup(walks_loops, reset),
        cmocka_unit_test_setup(lets_look_on, reset),
        cmocka_unit_test_setup(encodes_maps, reset),
        cmocka_unit_test_setup(cuts_segments, reset),
        cmocka_unit_test_setup(looks_at_conditions, reset),
        cmocka_unit_test_setup(joins_streams, reset),
        cmocka_unit_test_setup(keeps_records, reset),
        cmocka_unit_test_setup(inputs_in_order, reset),
        cmocka_unit_test_setup(stages_weights, reset),
        cmocka_unit_test_setup(copies_from_the_host, reset),
        cmocka_unit_test_setup(profiles, reset),
        cmocka_unit_test_setup(compiles_in_parts, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
