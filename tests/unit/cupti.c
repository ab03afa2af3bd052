/* links: titan_runtime fake_cuda fake_cublaslt fake_cupti
 *
 * cupti.c: a profile by CUPTI, on one without a GPU: which node is whose, what
 * a command has taken, and what is done where CUPTI cannot be had.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/cuda_profile.h"
#include "tests/unit/made.h"

static int plain(void **state)
{
    unsetenv("FAKE_CUPTI");
    unsetenv("TITAN_CUPTI");
    return reset(state);
}

/* A kernel of 2 ms and, in a graph of its own, a fill of 1. */
static void make(Made *m)
{
    begin(m);
    bump(m, 0);
    run(m, TITAN_RUN_segment, 0, 0);
    operand(m, TITAN_BASE_frame, 256, 0);
    command(m, TITAN_COMMAND_zero, 0, 40);
}

static json_t *written(TitanDevice *d)
{
    char path[] = "/tmp/titan-trace-XXXXXX";
    close(mkstemp(path));
    ok(d->class->profile_write(d, path));
    json_t *root = json_load_file(path, 0, NULL);
    unlink(path);
    assert_non_null(root);
    return root;
}

/* The times of a command in us, its name in the trace. */
static void has(json_t *root, const char *name, double start, double us)
{
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(root, "traceEvents"), i, e)
    {
        if (strcmp(json_string_value(json_object_get(e, "name")), name) != 0)
            continue;
        double begins = json_number_value(json_object_get(e, "ts"));
        assert_true(fabs(begins - start) < 1e-6);
        assert_true(json_number_value(json_object_get(e, "dur")) == us);
        return;
    }
    fail_msg("the trace has no %s", name);
}

static json_t *events_of(const char *text)
{
    size_t size = strlen(text) + 3;
    char *array = malloc(size);
    snprintf(array, size, "[%s]", text);
    json_t *events = json_loads(array, 0, NULL);
    free(array);
    assert_non_null(events);
    return events;
}

static const char *how(json_t *root)
{
    json_t *other = json_object_get(root, "otherData");
    return json_string_value(json_object_get(other, "timed by"));
}

/* Two steps, and what is written of them. */
static json_t *profiled(const char *fake, Made *m)
{
    if (fake) setenv("FAKE_CUPTI", fake, 1);
    make(m);
    TitanDevice *d = open_device(m);
    ok(d->class->profile(d, &m->entry));
    ok(d->class->profile(d, &m->entry));
    json_t *root = written(d);
    float value;
    ok(device_read(d, TITAN_BASE_io, 0, &value, sizeof value));
    assert_true(value == 2); /* profiled steps are steps */
    close_device(d);
    assert_int_equal(fake_recorded(), 0);
    return root;
}

/* Nodes are told of as they are captured, and once more as they are copied, in
 * each of two graphs; the times are those of the copies. */
static void times_what_a_gpu_did(void **state)
{
    (void)state;
    Made m;
    json_t *root = profiled(NULL, &m);
    assert_string_equal(how(root), "CUPTI 13.0");
    has(root, "bump", 0, 2000);
    has(root, "zero", 2000, 1000);
    json_decref(root);
}

/* A trace that counts from a moment before or behind the step's begin. */
static void counts_from_a_moment(void **state)
{
    static const int ns[] = {1001, -1001};
    Made m;
    (void)state;
    make(&m);
    TitanDevice *d = open_device(&m);
    ok(d->class->profile(d, &m.entry));
    ok(d->class->profiled(d, 0));
    uint64_t begin = d->profiled.begin;
    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++) {
        ok(d->class->profiled(d, begin - (uint64_t)(int64_t)ns[i]));
        json_t *root =
            json_pack("{s:o}", "traceEvents", events_of(d->profiled.text));
        has(root, "bump", 1e-3 * ns[i], 2000);
        json_decref(root);
    }
    close_device(d);
}

/* Records come when CUPTI likes; of each step they are that step's. */
static void takes_late_records(void **state)
{
    (void)state;
    Made m;
    json_t *root = profiled("early", &m);
    assert_string_equal(how(root), "CUPTI 13.0");
    has(root, "bump", 0, 2000);
    has(root, "zero", 2000, 1000);
    json_decref(root);
}

/* Whatever is missing: events tell the times, and the profile says why. */
static void falls_back(void **state)
{
    static const char *const fakes[] = {"cuptiActivityRegisterCallbacks",
                                        "cuptiActivityEnable",
                                        "cuptiSubscribe",
                                        "cuptiEnableCallback",
                                        "cuptiGetGraphNodeId",
                                        "deaf",
                                        "mute"};
    Made m;
    json_t *root;
    (void)state;
    for (size_t i = 0; i < sizeof fakes / sizeof *fakes; i++) {
        fake_reset();
        root = profiled(fakes[i], &m);
        assert_memory_equal(how(root), "events (CUPTI ", 14);
        has(root, "bump", 0, 2000);
        has(root, "zero", 2000, 1000);
        json_decref(root);
    }
}

/* No library, or another one: it is asked for once, and stays open. */
static void says_what_is_missing(void **state)
{
    Made m;
    (void)state;
    setenv("TITAN_CUPTI", "\"none\"", 1);
    json_t *root = profiled(NULL, &m);
    assert_string_equal(how(root), "events (could not open CUPTI (\"none\"))");
    json_decref(root);
    setenv("TITAN_CUPTI", "libcuda.so.1", 1);
    root = profiled(NULL, &m);
    assert_string_equal(how(root), "events (CUPTI has no cuptiSubscribe)");
    json_decref(root);
}

/* Ordinary steps are not watched, also between profiled ones. */
static void rests(void **state)
{
    (void)state;
    Made m;
    make(&m);
    TitanDevice *d = open_device(&m);
    ok(device_prepare(d, &m.entry));
    ok(device_run(d, &m.entry));
    assert_int_equal(fake_recorded(), 0);
    for (int i = 0; i < 2; i++) {
        ok(d->class->profile(d, &m.entry));
        assert_int_equal(fake_recorded(), 4);
        ok(device_run(d, &m.entry));
        assert_int_equal(fake_recorded(), 0);
    }
    json_t *root = written(d);
    has(root, "bump", 0, 2000);
    json_decref(root);
    close_device(d);
}

/* Of what is said of nodes nothing is left when it is lost on its way: a step
 * that was taken for one by CUPTI has no times. */
static void fails_without_records(void **state)
{
    (void)state;
    Made m;
    make(&m);
    TitanDevice *d = open_device(&m);
    setenv("FAKE_CUPTI", "mute", 1);
    ok(d->class->profile(d, &m.entry));
    assert_int_equal(d->class->profile_write(d, "/dev/null"),
                     TITAN_UNAVAILABLE);
    assert_non_null(strstr(story.line[0], "CUPTI has said nothing"));
    close_device(d);
}

/* ------------------------------------------------- streams and members -- */

enum { STREAMS = 2, EVENTS = 2, LAUNCHES = 8 };

/* Launches made by hand: their nodes are put on one stream, so that the fake
 * GPU does one after the other. */
typedef struct World {
    Cuda c;
    TitanStory story;
    TitanImage im;
    TitanHeader header;
    TitanCommand commands[LAUNCHES];
    Launch launches[LAUNCHES];
    Row rows[LAUNCHES + 1];
    CudaProfile p;
    CuGraph graph;
    CuGraphExec exec;
} World;

static char memory[64];

static void open_world(World *w)
{
    char why[160];
    *w = (World){.header = {.ranks = 2, .streams = STREAMS, .events = EVENTS}};
    Cuda *c = &w->c;
    w->im = (TitanImage){
        .header = &w->header, .commands = w->commands, .ncommands = LAUNCHES};
    c->story = &w->story;
    c->im = &w->im;
    c->profile = &w->p;
    w->p.launches = w->launches;
    w->p.rows = w->rows;
    assert_int_equal(cu_open(&w->story, &c->cu), TITAN_OK);
    assert_int_equal(c->cu.cuStreamCreate(&c->stream, 0), 0);
    w->p.cupti = cuda_cupti_new(why, sizeof why);
    assert_non_null(w->p.cupti);
    assert_true(cuda_cupti_listen(w->p.cupti, why, sizeof why));
    assert_int_equal(c->cu.cuStreamBeginCapture(c->stream, 0), 0);
}

static Launch *launch(World *w, TitanCommandKind kind, uint32_t stream,
                      uint32_t event)
{
    TitanCommand *cmd = &w->commands[w->p.n];
    Launch *l = &w->launches[w->p.n];
    *cmd = (TitanCommand){.kind = kind, .stream = stream, .index = event};
    *l = (Launch){.command = cmd, .next = NONE};
    cuda_cupti_part(w->p.cupti, w->p.n++, PART_own);
    return l;
}

/* A node of 1 ms of what was launched last. */
static void node(World *w, CudaPart part)
{
    cuda_cupti_part(w->p.cupti, w->p.n - 1, part);
    assert_int_equal(w->c.cu.cuMemsetD8Async((CuPtr)(uintptr_t)memory, 0,
                                             sizeof memory, w->c.stream),
                     0);
}

static void step(World *w)
{
    assert_int_equal(cuda_cupti_begin(&w->c), TITAN_OK);
    assert_int_equal(w->c.cu.cuGraphLaunch(w->exec, w->c.stream), 0);
    assert_int_equal(w->c.cu.cuStreamSynchronize(w->c.stream), 0);
    cuda_cupti_end();
}

static void run_world(World *w)
{
    char why[160];
    Cuda *c = &w->c;
    assert_int_equal(c->cu.cuStreamEndCapture(c->stream, &w->graph), 0);
    assert_int_equal(c->cu.cuGraphInstantiate(&w->exec, w->graph, 0), 0);
    assert_true(cuda_cupti_heard(w->p.cupti, why, sizeof why));
    fake_spend(5000); /* steps begin where they begin */
    step(w);
    step(w);
    assert_int_equal(cuda_cupti_read(c), TITAN_OK);
    assert_int_equal(w->p.steps, 2);
}

static void close_world(World *w)
{
    Cuda *c = &w->c;
    cuda_cupti_free(w->p.cupti);
    c->cu.cuGraphExecDestroy(w->exec);
    c->cu.cuGraphDestroy(w->graph);
    c->cu.cuStreamDestroy(c->stream);
    cu_close(&c->cu);
}

static void is(Interval x, double start, double ms)
{
    assert_true(x.there && x.start == start && x.ms == ms);
}

/* Several nodes are one command, from the first to the last; those beside its
 * stream are apart.  Stream 1 is ready behind the kernel, by the signal, and
 * the collective waits from there; what comes behind it is ready when what is
 * beside it is over. */
static void waits_from_when_it_was_ready(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    Launch *first = launch(&w, TITAN_COMMAND_kernel, 0, 0);
    node(&w, PART_own);
    launch(&w, TITAN_COMMAND_signal, 0, 0);
    Launch *second = launch(&w, TITAN_COMMAND_kernel, 0, 0);
    node(&w, PART_own);
    launch(&w, TITAN_COMMAND_wait, 1, 0);
    Launch *gather = launch(&w, TITAN_COMMAND_collective, 1, 0);
    gather->meets = true;
    node(&w, PART_own);
    node(&w, PART_own);
    node(&w, PART_adds);
    node(&w, PART_copies);
    launch(&w, TITAN_COMMAND_signal, 1, 1);
    launch(&w, TITAN_COMMAND_wait, 0, 1);
    Launch *last = launch(&w, TITAN_COMMAND_collective, 0, 0);
    last->meets = true;
    node(&w, PART_own);
    run_world(&w);
    is(first->own, 0, 1);
    is(second->own, 1, 1);
    is(gather->own, 1, 3);
    assert_true(gather->waits == 1);
    is(gather->adds, 4, 1);
    is(gather->copies, 5, 1);
    is(last->own, 6, 1);
    assert_true(last->waits == 0);
    assert_true(w.p.step_ms == 14 && w.p.idle_ms == 0);
    assert_true(w.rows[4].n == 2 && w.rows[4].ms == 6 && w.rows[4].waits == 2);
    close_world(&w);
}

/* A stream that comes behind what was beside it is ready then; a kernel without
 * a time is counted, and one that has nothing to do is none. */
static void comes_behind_what_is_beside(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    launch(&w, TITAN_COMMAND_collective, 1, 0);
    node(&w, PART_own);
    node(&w, PART_adds);
    launch(&w, TITAN_COMMAND_kernel, 0, 0);
    node(&w, PART_own);
    Launch *l = launch(&w, TITAN_COMMAND_collective, 1, 0);
    l->meets = l->joins = true;
    node(&w, PART_own);
    launch(&w, TITAN_COMMAND_kernel, 0, 0);
    Launch *lost = launch(&w, TITAN_COMMAND_kernel, 0, 0);
    w.commands[4].items = 1;
    run_world(&w);
    is(l->own, 2, 2);
    assert_true(l->waits == 1);
    assert_false(lost->own.there);
    assert_int_equal(w.p.missed, 1);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(says_what_is_missing, plain),
        cmocka_unit_test_setup(times_what_a_gpu_did, plain),
        cmocka_unit_test_setup(counts_from_a_moment, plain),
        cmocka_unit_test_setup(takes_late_records, plain),
        cmocka_unit_test_setup(falls_back, plain),
        cmocka_unit_test_setup(rests, plain),
        cmocka_unit_test_setup(fails_without_records, plain),
        cmocka_unit_test_setup(waits_from_when_it_was_ready, plain),
        cmocka_unit_test_setup(comes_behind_what_is_beside, plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
