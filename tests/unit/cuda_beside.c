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

#include "runtime/cuda_device.h"
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

static void close_world(World *w)
{
    Cuda *c = &w->c;
    assert_int_equal(c->cu.cuStreamEndCapture(c->streams[0], &w->graph), 0);
    c->cu.cuGraphDestroy(w->graph);
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
    assert_int_equal(cuda_beside_await(&w->c, 0, place(i) + 3, 1, written),
                     TITAN_OK);
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
    cuda_beside_forget(&w.c);
    clear();
    assert_int_equal(cuda_beside_signal(&w.c, 0, w.signal), TITAN_OK);
    says("event 0 on stream 0\n");
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
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_needs_what_is_before),
        cmocka_unit_test(bytes_are_waited_for),
        cmocka_unit_test(signals_are_behind_copies),
        cmocka_unit_test(the_oldest_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
