/* links: titan_runtime */
/*
 * fetch.c: what a rank has staged, read by another over a connection; a rank
 * that is asked for what it does not have, or fails, says why, and one that is
 * silent or has gone is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/fetch.h"

enum { STAGED = CRATE_BYTES + 4096, RANK = 1 };

typedef struct Rank {
    TitanDevice device, copy; /* device first */
    TitanStatus status;       /* of what it stages */
    const char *why;
} Rank;

typedef struct Made {
    TitanHeader header;
    TitanStage stage;
    TitanImage im;
    Rank rank;
    FetchServer server;
    FetchLine line;
    int far; /* the rank's end, where nothing is served */
    atomic_bool ended;
    TitanStory story; /* of what was read */
    char *at, *staged;
} Made;

static TitanStatus staged(TitanDevice *d, TitanStory *story, TitanDevice **copy)
{
    Rank *r = (Rank *)d;
    *copy = &r->copy;
    if (r->status == TITAN_OK) return TITAN_OK;
    return titan_fail(story, r->status, "%s", r->why);
}

static const DeviceClass rank_class = {.staged = staged};

static int make(void **state)
{
    Made *m = calloc(1, sizeof *m);
    int pair[2];
    if (!m || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return -1;
    m->header.ranks = 2;
    m->stage.base_bytes[TITAN_BASE_persistent] = STAGED;
    m->im =
        (TitanImage){.header = &m->header, .stages = &m->stage, .nstages = 1};
    m->at = calloc(1, STAGED);
    m->staged = malloc(STAGED);
    for (size_t i = 0; i < STAGED; i++)
        m->staged[i] = (char)(i * 31 + i / 4096);
    m->rank.device = (TitanDevice){.class = &rank_class, .rank = RANK};
    m->rank.copy.arena[TITAN_BASE_persistent] = m->staged;
    m->line = (FetchLine){.fd = pair[0],
                          .rank = RANK,
                          .ended = &m->ended,
                          .crate = malloc(sizeof *m->line.crate)};
    m->far = pair[1];
    *state = m;
    return 0;
}

static int unmake(void **state)
{
    Made *m = *state;
    fetch_hang_up(&m->line);
    fetch_close(&m->server);
    if (m->far >= 0) close(m->far);
    free(m->at);
    free(m->staged);
    free(m);
    return 0;
}

static void serve(Made *m)
{
    assert_true(fetch_serve(&m->server, m->far, &m->im, &m->rank.device));
    m->far = -1;
}

static TitanStatus read_runs(Made *m, const PartRun *runs, size_t n)
{
    Order o = {.kind = ORDER_read,
               .base = TITAN_BASE_persistent,
               .parts = runs,
               .nparts = n,
               .at = m->at};
    return fetch_read(&m->story, &m->line, &o);
}

/* More runs, and more bytes, than a crate has. */
static void reads_what_is_staged(void **state)
{
    Made *m = *state;
    enum { RUNS = CRATE_RUNS + 7 };
    static PartRun runs[RUNS];
    serve(m);
    const PartRun all = {.whole = 0, .own = 0, .bytes = STAGED};
    assert_int_equal(read_runs(m, &all, 1), TITAN_OK);
    assert_memory_equal(m->at, m->staged, STAGED);
    for (size_t i = 0; i < RUNS; i++)
        runs[i] = (PartRun){.whole = 3 * i, .own = 5 * (RUNS - i), .bytes = 3};
    assert_int_equal(read_runs(m, runs, RUNS), TITAN_OK);
    for (size_t i = 0; i < RUNS; i++)
        assert_memory_equal(m->at + 3 * i, m->staged + runs[i].own, 3);
}

static void keeps_within_its_base(void **state)
{
    Made *m = *state;
    const PartRun last = {.own = STAGED - 1, .bytes = 1};
    const PartRun over = {.own = STAGED - 1, .bytes = 2};
    serve(m);
    assert_int_equal(read_runs(m, &last, 1), TITAN_OK);
    assert_int_equal(read_runs(m, &over, 1), TITAN_INTERNAL);
    assert_string_equal(m->story.line[0],
                        "2 bytes at 8392703 were asked for, and rank 1 has "
                        "8392704");
}

/* And what it says is no order to a terminal.  It may be asked again. */
static void says_why_one_fails(void **state)
{
    Made *m = *state;
    const PartRun run = {.bytes = 8};
    m->rank.status = TITAN_UNAVAILABLE;
    m->rank.why = "the copy failed:\033[2J it was too large";
    serve(m);
    assert_int_equal(read_runs(m, &run, 1), TITAN_UNAVAILABLE);
    assert_int_equal(m->story.n, 2);
    assert_string_equal(m->story.line[0],
                        "the copy failed:?[2J it was too large");
    assert_string_equal(m->story.line[1],
                        "while reading what rank 1 has staged");
    m->rank.status = TITAN_OK;
    assert_int_equal(read_runs(m, &run, 1), TITAN_OK);
    assert_memory_equal(m->at, m->staged, 8);
}

/* The lines of a story that another process has sent end somewhere. */
static void mends_a_story(void **state)
{
    static TitanStory s;
    (void)state;
    memset(&s, 0xff, sizeof s);
    titan_story_mend(&s);
    assert_int_equal(s.n, TITAN_FRAMES + 1);
    for (uint32_t i = 0; i < s.n; i++)
        assert_int_equal(strlen(s.line[i]), TITAN_FRAME_TEXT - 1);
}

static void misses_one_that_has_gone(void **state)
{
    Made *m = *state;
    const PartRun run = {.bytes = 8};
    close(m->far);
    m->far = -1;
    assert_int_equal(read_runs(m, &run, 1), TITAN_RANK_LOST);
}

/* As one that was stopped is, when the run has ended. */
static void waits_no_longer_than_the_run(void **state)
{
    Made *m = *state;
    const PartRun run = {.bytes = 8};
    atomic_store(&m->ended, true);
    assert_int_equal(read_runs(m, &run, 1), TITAN_RANK_LOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_what_is_staged, make, unmake),
        cmocka_unit_test_setup_teardown(keeps_within_its_base, make, unmake),
        cmocka_unit_test_setup_teardown(says_why_one_fails, make, unmake),
        cmocka_unit_test(mends_a_story),
        cmocka_unit_test_setup_teardown(misses_one_that_has_gone, make, unmake),
        cmocka_unit_test_setup_teardown(waits_no_longer_than_the_run, make,
                                        unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
