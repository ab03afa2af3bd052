/* links: titan_runtime */
/*
 * stop.c and pulse.c: who asks a run to end or to save, and where its time
 * goes.
 */
#include "runtime/stop.h"
#include "runtime/pulse.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void nap(int64_t ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void test_times(void **state)
{
    static const struct {
        const char *text;
        double seconds;
    } good[] = {{"3h30m", 12600}, {"90m", 5400},    {"45s", 45},
                {"45", 45},       {"2d1s", 172801}, {"0.5h", 1800}};
    static const char *const bad[] = {"",   "h",   "3x",    "-5m", "3h-1m",
                                      "0m", "inf", "1e300", " 5m", "5 m"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double t = 0;
        assert_true(stop_parse_time(good[i].text, &t));
        assert_true(t == good[i].seconds);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double t = 0;
        assert_false(stop_parse_time(bad[i], &t));
    }
}

/* What is asked, within a minute. */
static StopAsked asked(Stop *s)
{
    for (int i = 0; i < 6000; i++) {
        StopAsked a = stop_asked(s);
        if (a != STOP_no) return a;
        nap(10);
    }
    return STOP_no;
}

static void touch(const char *path)
{
    fclose(fopen(path, "w"));
}

/* A save file asks once and goes; a stop file asks until it is gone. */
static void test_files(void **state)
{
    TitanStory story = {0};
    Stop *s;
    const StopOptions o = {.stop_file = "stop-test.stop",
                           .save_file = "stop-test.save"};
    (void)state;
    unlink(o.stop_file);
    unlink(o.save_file);
    assert_int_equal(stop_install(&story, &o, &s), TITAN_OK);
    assert_int_equal(stop_asked(s), STOP_no);
    for (int i = 0; i < 2; i++) {
        touch(o.save_file);
        assert_int_equal(asked(s), STOP_save);
        assert_int_equal(access(o.save_file, F_OK), -1);
        assert_int_equal(stop_asked(s), STOP_no);
    }
    touch(o.stop_file);
    assert_int_equal(asked(s), STOP_end);
    assert_int_equal(stop_asked(s), STOP_end);
    assert_string_equal(stop_reason(s), "the file \"stop-test.stop\"");
    assert_int_equal(access(o.stop_file, F_OK), 0);
    stop_free(s);
    assert_int_equal(stop_install(&story, &o, &s), TITAN_OK);
    assert_int_equal(stop_asked(s), STOP_end);
    stop_free(s);
    unlink(o.stop_file);
}

static void test_signal(void **state)
{
    TitanStory story = {0};
    Stop *s;
    sigset_t after;
    (void)state;
    assert_int_equal(stop_install(&story, &(StopOptions){0}, &s), TITAN_OK);
    kill(getpid(), SIGUSR1);
    assert_int_equal(asked(s), STOP_end);
    assert_string_equal(stop_reason(s), "SIGUSR1");
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    assert_true(sigismember(&after, SIGUSR1));
    stop_free(s);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    assert_false(sigismember(&after, SIGUSR1));
}

/* A longer save makes the limit come earlier. */
static void test_limit(void **state)
{
    TitanStory story = {0};
    Stop *s;
    (void)state;
    assert_int_equal(stop_install(&story, &(StopOptions){.limit = 60}, &s),
                     TITAN_OK);
    assert_int_equal(stop_asked(s), STOP_no);
    stop_saved(s, 30);
    assert_int_equal(stop_asked(s), STOP_no);
    stop_saved(s, 50);
    assert_int_equal(stop_asked(s), STOP_end);
    assert_string_equal(stop_reason(s), "the time limit");
    stop_free(s);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Every moment is in one phase; the median is of steps and their data, which
 * take as long as the clock says, and at least the naps. */
static void test_pulse(void **state)
{
    int64_t first = pulse_now(), most[5], begin;
    Pulse *p = pulse_new();
    double all = 0;
    begin = pulse_now();
    (void)state;
    assert_non_null(p);
    for (int64_t step = 1; step <= 5; step++) {
        int64_t before_step = pulse_now();
        pulse_step(p, step);
        Phase before = pulse_enter(p, PHASE_data);
        assert_int_equal(before, PHASE_step);
        nap(step == 3 ? 60 : 4);
        assert_int_equal(pulse_enter(p, before), PHASE_data);
        nap(2);
        pulse_enter(p, PHASE_save);
        most[step - 1] = pulse_now() - before_step;
        nap(20);
    }
    double wall = (double)(pulse_now() - begin) * 1e-9;
    for (int i = 0; i < PHASE_COUNT; i++)
        all += pulse_seconds(p, (Phase)i);
    assert_true(all >= wall && all <= (double)(pulse_now() - first) * 1e-9);
    assert_true(pulse_seconds(p, PHASE_save) >= 0.1);
    assert_true(pulse_seconds(p, PHASE_data) >= 0.076);
    qsort(most, 4, sizeof *most, by_size); /* the fifth step is not over */
    int64_t median = atomic_load(&p->median);
    assert_true(median >= 6000000 && median <= most[2]);
    assert_string_equal(phase_name(PHASE_save), "save");
    pulse_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times), cmocka_unit_test(test_files),
        cmocka_unit_test(test_signal), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_pulse)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
