/*
 * stop.c: who asks a run to save or to end.
 *
 * No signal has a handler: they are blocked in every thread, and one thread
 * waits for them, so that what happens is ordinary code and the run looks at
 * two atomic words between its steps.  The same thread looks for the two files
 * twice a second: a slow file system never holds a step.
 *
 * The time limit is the run's own: it ends at the last boundary from which one
 * more step and a save would not be over in time.  What a save takes is
 * measured, and assumed from the bytes of the state before the first.
 */
#include "stop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

enum { LOOK_MS = 500, REASON = 512 };

/* A save before any was measured: slow disks, and what comes around it. */
static const double slow_bytes = 200e6, reserve = 2.0;

struct Stop {
    StopOptions options;
    sigset_t before;   /* the caller's mask */
    void (*pipe)(int); /* what SIGPIPE did */
    pthread_t thread;
    _Atomic int save, closing;
    _Atomic int end;      /* CAUSE_none, a signal's number, or another cause */
    bool signalled;       /* the thread's own: there was one */
    char file[REASON];    /* the stop file, in words */
    double started, last; /* stop_install, the boundary before */
    double step, saving;  /* seconds, of long ones */
};

enum { CAUSE_none = 0, CAUSE_file = -1, CAUSE_limit = -2 };

static const struct {
    int number;
    const char *name;
} signals[] = {{SIGTERM, "SIGTERM"},
               {SIGINT, "SIGINT"},
               {SIGUSR1, "SIGUSR1"},
               {SIGUSR2, "SIGUSR2"},
               {SIGHUP, "SIGHUP"}};
enum { NSIGNALS = sizeof signals / sizeof *signals };

int stop_hang_signal(void)
{
    return SIGRTMIN + 1;
}

/* Who starts a run with nohup means it: an ignored signal that is blocked would
 * be waited for all the same. */
static bool is_ignored(int number)
{
    struct sigaction now;
    return number == SIGHUP && sigaction(number, NULL, &now) == 0 &&
           now.sa_handler == SIG_IGN;
}

static sigset_t all_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < NSIGNALS; i++)
        if (!is_ignored(signals[i].number)) sigaddset(&set, signals[i].number);
    sigaddset(&set, SIGRTMIN); /* stop_free's */
    sigaddset(&set, stop_hang_signal());
    return set;
}

static const char *signal_name(int number)
{
    for (int i = 0; i < NSIGNALS; i++)
        if (signals[i].number == number) return signals[i].name;
    return "a signal";
}

/* ------------------------------------------------------------ the thread -- */

/* As that signal does by default, so that who started the run sees it. */
static void end_at_once(int number)
{
    sigset_t set;
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
}

/* The first cause is the one that is named. */
static void ask_end(Stop *s, int cause)
{
    int none = CAUSE_none;
    if (!atomic_compare_exchange_strong(&s->end, &none, cause)) return;
    fprintf(stderr, "%s: the run ends behind this step%s\n", stop_reason(s),
            cause > 0 ? "; a second signal ends it at once" : "");
}

static void take_signal(Stop *s, int number)
{
    if (number == stop_hang_signal()) _exit(TITAN_RANK_LOST);
    if (s->signalled) end_at_once(number);
    s->signalled = true;
    ask_end(s, number);
}

static bool is_there(const char *path)
{
    return path && access(path, F_OK) == 0;
}

static void look_for_files(Stop *s)
{
    StopOptions *o = &s->options;
    if (is_there(o->save_file)) {
        /* One that stays would ask again and again. */
        if (unlink(o->save_file) != 0 && errno != ENOENT) {
            fprintf(stderr,
                    "could not remove the file \"%s\": %s; it asks for one "
                    "save and no more\n",
                    o->save_file, strerror(errno));
            o->save_file = NULL;
        }
        atomic_store(&s->save, 1);
    }
    if (is_there(o->stop_file)) ask_end(s, CAUSE_file);
}

static void *wait_for_signals(void *user)
{
    Stop *s = user;
    sigset_t set = all_signals();
    struct timespec look = {LOOK_MS / 1000, LOOK_MS % 1000 * 1000000L};
    bool files = s->options.stop_file || s->options.save_file;
    while (!atomic_load(&s->closing)) {
        int number = sigtimedwait(&set, NULL, files ? &look : NULL);
        if (number > 0 && number != SIGRTMIN) take_signal(s, number);
        if (files) look_for_files(s);
    }
    return NULL;
}

/* --------------------------------------------------------------- the run -- */

static void restore(const Stop *s)
{
    pthread_sigmask(SIG_SETMASK, &s->before, NULL);
    signal(SIGPIPE, s->pipe);
}

TitanStatus stop_install(TitanStory *story, const StopOptions *o, Stop **out)
{
    *out = NULL;
    Stop *s = calloc(1, sizeof *s);
    if (!s) return titan_no_memory(story);
    s->options = *o;
    s->started = s->last = seconds_now();
    s->saving = reserve + o->state_bytes / slow_bytes;
    if (o->stop_file)
        snprintf(s->file, sizeof s->file, "the file \"%s\"", o->stop_file);
    /* One that was there before the run counts in front of its first step. */
    look_for_files(s);
    sigset_t set = all_signals();
    /* Nobody reading its lines any more is no reason for a run to end. */
    s->pipe = signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, &s->before);
    int error = pthread_create(&s->thread, NULL, wait_for_signals, s);
    if (error) {
        restore(s);
        free(s);
        return titan_fail(story, TITAN_UNAVAILABLE,
                          "could not start a thread: %s", strerror(error));
    }
    *out = s;
    return TITAN_OK;
}

void stop_free(Stop *s)
{
    if (!s) return;
    atomic_store(&s->closing, 1);
    pthread_kill(s->thread, SIGRTMIN);
    pthread_join(s->thread, NULL);
    restore(s);
    free(s);
}

/* The longest steps count, and are forgotten slowly. */
static void note_step(Stop *s, double t)
{
    double took = t - s->last;
    s->step = took > 0.9 * s->step ? took : 0.9 * s->step;
    s->last = t;
}

static bool is_late(const Stop *s, double t)
{
    return s->options.limit > 0 &&
           t - s->started + 2 * s->step + 1.5 * s->saving > s->options.limit;
}

StopAsked stop_asked(Stop *s)
{
    double t = seconds_now();
    note_step(s, t);
    if (atomic_load(&s->end) != CAUSE_none) return STOP_end;
    if (is_late(s, t)) {
        ask_end(s, CAUSE_limit);
        return STOP_end;
    }
    return atomic_exchange(&s->save, 0) ? STOP_save : STOP_no;
}

void stop_saved(Stop *s, double seconds)
{
    s->saving = reserve + seconds;
    s->last = seconds_now();
}

const char *stop_reason(const Stop *s)
{
    int cause = atomic_load(&s->end);
    if (cause == CAUSE_file) return s->file;
    if (cause == CAUSE_limit) return "the time limit";
    return cause == CAUSE_none ? "" : signal_name(cause);
}

static double unit_seconds(char unit)
{
    switch (unit) {
    case 'd':
        return 86400;
    case 'h':
        return 3600;
    case 'm':
        return 60;
    case 's':
    case 0:
        return 1;
    default:
        return 0;
    }
}

bool stop_parse_time(const char *text, double *seconds)
{
    double sum = 0;
    const char *at = text;
    do {
        char *end;
        if (*at < '0' || *at > '9') return false;
        double x = strtod(at, &end), unit = unit_seconds(*end);
        if (unit == 0) return false;
        sum += x * unit;
        at = *end ? end + 1 : end;
    } while (*at);
    *seconds = sum;
    return sum > 0 && sum < 1e9;
}
