/* links: titan_runtime fake_cuda
 *
 * cuda_beside.c: what waits for copies beside a stream, by what the fake driver
 * is told while it captures: nothing that has to do with other bytes, signals,
 * and what reads what is copied or writes over it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "runtime/cuda_profile.h"
#include "tests/unit/fake/fake.h"

enum { PIECE = 256, PIECES = 100, SIGNAL = 0, FIRST = 3, MOST = 64 };

static char memory[2 * PIECES][PIECE];

typedef struct World {
    Cuda c;
    TitanStory story;
    TitanImage im;
    TitanHeader header;
    CuEvent signal;
    CuGraph graph;
} World;

static CuPtr place(int i)
{
    return (CuPtr)(uintptr_t)memory[i];
}

/* Stream 0, copies on stream 1; event SIGNAL, 1 and 2 for the begin and end of
 * them, one behind each from FIRST on. */
static void open_world(World *w)
{
    *w = (World){.header = {.ranks = 2, .streams = 1}};
    fake_reset();
    Cuda *c = &w->c;
    w->im.header = &w->header;
    c->story = &w->story;
    c->im = &w->im;
    assert_int_equal(cu_open(&w->story, &c->cu), TITAN_OK);
    assert_int_equal(c->cu.cuStreamCreate(&c->streams[0], 0), 0);
    assert_int_equal(c->cu.cuEventCreate(&w->signal, 0), 0);
    assert_int_equal(cuda_sums_open(c), TITAN_OK);
    assert_int_equal(cuda_beside_open(c, 0), TITAN_OK);
    assert_int_equal(c->cu.cuStreamBeginCapture(c->streams[0], 0), 0);
}

static void end_capture(World *w)
{
    Cuda *c = &w->c;
    assert_int_equal(cuda_beside_join(c, 0), TITAN_OK);
    assert_int_equal(c->cu.cuStreamEndCapture(c->streams[0], &w->graph), 0);
    c->cu.cuGraphDestroy(w->graph);
}

static void close_world(World *w)
{
    Cuda *c = &w->c;
    cuda_beside_close(c);
    cuda_sums_close(c);
    c->cu.cuEventDestroy(w->signal);
    c->cu.cuStreamDestroy(c->streams[0]);
    cu_close(&c->cu);
}

/* Piece i to i + PIECES. */
static void copy(World *w, int i)
{
    assert_int_equal(cuda_beside_begin(&w->c, 0), TITAN_OK);
    assert_int_equal(
        cuda_beside_copy(&w->c, 0, place(i + PIECES), place(i), PIECE),
        TITAN_OK);
}

static void clear(void)
{
    fake_device()->log[0] = 0;
}

static void says(const char *log)
{
    assert_string_equal(fake_device()->log, log);
    clear();
}

static void await(World *w, int i, bool written)
{
    CudaBytes one = {place(i) + 3, 1};
    assert_int_equal(cuda_beside_await(&w->c, 0, one, written), TITAN_OK);
}

static void a_copy_needs_what_is_before(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    clear();
    copy(&w, 0);
    says("event 1 on stream 0\nstream 1 waits for event 1\n"
         "event 3 on stream 1\n");
    assert_int_equal(cuda_beside_begin(&w.c, 0), TITAN_OK);
    clear();
    assert_int_equal(cuda_beside_copy(&w.c, 0, place(1), place(1), PIECE),
                     TITAN_OK);
    says("");
    end_capture(&w);
    close_world(&w);
}

static void bytes_are_waited_for(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    for (int i = 0; i < 4; i++)
        copy(&w, i);
    clear();
    await(&w, 4, true);
    await(&w, 1, false); /* a copy reads it too */
    says("");
    await(&w, 1, true);
    says("stream 0 waits for event 4\n");
    await(&w, PIECES, false); /* of the first, which is over */
    says("");
    await(&w, PIECES + 2, false);
    says("stream 0 waits for event 5\n");
    assert_int_equal(cuda_beside_join(&w.c, 0), TITAN_OK);
    says("stream 0 waits for event 6\n");
    assert_int_equal(cuda_beside_join(&w.c, 0), TITAN_OK);
    says("");
    end_capture(&w);
    close_world(&w);
}

static void one_copy_is_reached(void **state)
{
    (void)state;
    World w;
    bool known;
    open_world(&w);
    copy(&w, 0);
    copy(&w, 1);
    clear();
    CudaBytes to = {place(PIECES), PIECE}, more = {place(PIECES), PIECE + 1};
    assert_int_equal(cuda_beside_reach(&w.c, 0, more, 0, &known), TITAN_OK);
    assert_false(known);
    says("");
    assert_int_equal(cuda_beside_reach(&w.c, 0, to, 0, &known), TITAN_OK);
    assert_true(known);
    says("stream 0 waits for event 3\n");
    assert_int_equal(cuda_beside_join(&w.c, 0), TITAN_OK);
    assert_int_equal(cuda_beside_reach(&w.c, 0, to, 0, &known), TITAN_OK);
    assert_false(known);
    end_capture(&w);
    close_world(&w);
}

/* In a profile it begins with the first part and ends with the last. */
static void a_sum_in_parts_is_timed(void **state)
{
    (void)state;
    enum { HALF = PIECE / 2 };
    World w;
    open_world(&w);
    Launch launch = {.next = NONE};
    CudaProfile profile = {.launches = &launch, .n = 1, .open = true};
    w.c.profile = &profile;
    for (int i = 0; i < 3; i++) {
        CudaSumArgs a = {.to = place(PIECES) + (i % 2) * HALF,
                         .from = place(1) + (i % 2) * HALF,
                         .mine = place(0) + (i % 2) * HALF,
                         .count = HALF / sizeof(float),
                         .pitch = HALF,
                         .n = 2,
                         .kind = cuda_sums_kind(1)};
        CuEvent begin = launch.added[0];
        assert_int_equal(cuda_beside_begin(&w.c, 0), TITAN_OK);
        assert_int_equal(cuda_beside_sum(&w.c, 0, &a), TITAN_OK);
        assert_true(i == 0 || launch.added[0] == begin);
        assert_non_null(launch.added[1]);
    }
    end_capture(&w);
    for (int i = 0; i < 2; i++)
        assert_int_equal(w.c.cu.cuEventDestroy(launch.added[i]), 0);
    close_world(&w);
}

static void signals_are_behind_copies(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    clear();
    assert_int_equal(cuda_beside_signal(&w.c, 0, w.signal), TITAN_OK);
    says("event 0 on stream 0\n");
    copy(&w, 0);
    clear();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(cuda_beside_signal(&w.c, 0, w.signal), TITAN_OK);
        says("event 2 on stream 0\nstream 1 waits for event 2\n"
             "event 0 on stream 1\n");
    }
    await(&w, PIECES, false);
    clear();
    assert_int_equal(cuda_beside_signal(&w.c, 0, w.signal), TITAN_OK);
    says("event 0 on stream 0\n");
    copy(&w, 1);
    end_capture(&w);
    close_world(&w);
}

/* One more than there are events for. */
static void the_oldest_is_waited_for(void **state)
{
    (void)state;
    World w;
    open_world(&w);
    for (int i = 0; i < MOST; i++)
        copy(&w, i);
    clear();
    copy(&w, MOST);
    says("event 1 on stream 0\nstream 0 waits for event 3\n"
         "stream 1 waits for event 1\nevent 3 on stream 1\n");
    await(&w, PIECES + MOST, false);
    says("stream 0 waits for event 3\n");
    end_capture(&w);
    close_world(&w);
}

/* Which the driver of the tests sees of what is captured. */
static void what_is_not_waited_for_races(void **state)
{
    (void)state;
    World w;
    CuApi *cu = &w.c.cu;
    for (int waits = 0; waits < 2; waits++) {
        open_world(&w);
        copy(&w, 0);
        if (waits) await(&w, PIECES, true);
        assert_int_equal(
            cu->cuMemcpyAsync(place(PIECES), place(1), PIECE, w.c.streams[0]),
            0);
        assert_int_equal(cuda_beside_join(&w.c, 0), TITAN_OK);
        assert_int_equal(cu->cuStreamEndCapture(w.c.streams[0], &w.graph),
                         waits ? 0 : 999);
        if (waits) cu->cuGraphDestroy(w.graph);
        close_world(&w);
    }
}

/* An entry with an update of which each part is a signal. */
typedef struct Parts {
    TitanCommand signals[2];
    TitanProgram programs[2];
    TitanRun runs[2];
    TitanEntry entry;
} Parts;

static void add_parts(World *w, Parts *p)
{
    *p = (Parts){.signals = {{.kind = TITAN_COMMAND_signal},
                             {.kind = TITAN_COMMAND_signal}},
                 .programs = {{.commands = {0, 1}}, {.commands = {1, 1}}},
                 .runs = {{.kind = TITAN_RUN_program},
                          {.kind = TITAN_RUN_program, .program = 1}},
                 .entry = {.runs = {0, 2}, .until = 1}};
    w->im.commands = p->signals;
    w->im.ncommands = 2;
    w->im.programs = p->programs;
    w->im.nprograms = 2;
    w->im.runs = p->runs;
    w->im.nruns = 2;
    w->im.entries = &p->entry;
    w->im.nentries = 1;
    w->c.events = &w->signal;
    w->c.stream = w->c.streams[0];
}

/* Beside each command, behind what was there before the first. */
static TitanStatus copy_beside(void *user, const TitanCommand *cmd)
{
    World *w = user;
    int i = (int)(cmd - w->im.commands);
    if (i == 0) assert_int_equal(cuda_beside_begin(&w->c, 0), TITAN_OK);
    return cuda_beside_copy(&w->c, 0, place(i + PIECES), place(i), PIECE);
}

static TitanStatus look_at_all(TitanWatch *watch, const TitanMoment *at)
{
    (void)watch, (void)at;
    return TITAN_OK;
}

/* With a copy that its stream has not come behind. */
static void give_up_capture(World *w)
{
    Cuda *c = &w->c;
    assert_int_equal(c->cu.cuStreamBeginCapture(c->stream, 0), 0);
    copy(w, 2);
    assert_int_equal(c->cu.cuStreamEndCapture(c->stream, &w->graph), 904);
}

/* Copies are in the graph of their commands, wherever that ends, and what is
 * run behind it waits for no event of it. */
static void graphs_are_whole(void **state)
{
    (void)state;
    World w;
    Parts p;
    CudaPlan plan;
    CudaWatch watch = {.user = &w, .command = copy_beside};
    TitanWatch looks = {.after = look_at_all};
    open_world(&w);
    add_parts(&w, &p);
    end_capture(&w);
    for (int staged = 0; staged < 2; staged++) {
        w.c.stage.at = staged ? memory[0] : NULL;
        assert_int_equal(cuda_capture(&w.c, &p.entry, &watch, &plan), TITAN_OK);
        assert_int_equal(plan.ngraphs, 1 + staged);
        assert_int_equal(plan.update, staged);
        assert_int_equal(plan.nodes, 2);
        cuda_plan_release(&w.c, &plan);
        give_up_capture(&w);
        assert_int_equal(cuda_watch(&w.c.device, &p.entry, 2, &looks),
                         TITAN_OK);
    }
    w.c.stage.at = NULL;
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_needs_what_is_before),
        cmocka_unit_test(bytes_are_waited_for),
        cmocka_unit_test(one_copy_is_reached),
        cmocka_unit_test(a_sum_in_parts_is_timed),
        cmocka_unit_test(signals_are_behind_copies),
        cmocka_unit_test(the_oldest_is_waited_for),
        cmocka_unit_test(what_is_not_waited_for_races),
        cmocka_unit_test(graphs_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
