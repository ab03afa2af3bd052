/*
 * watchdog.c: a process that says when the run is stuck, and in what.
 *
 * It reads the run's pulse four times a second.  A phase has a time after which
 * the watchdog speaks, and a longer one after which it ends the run with the
 * exit code of a lost rank: speaking early costs nothing, ending a run that was
 * only slow does.
 *
 *                        speaks after            ends after
 *     a step, its data   10 s + 2 medians        max(end, 10 medians)
 *     the first step     60 s                    max(3 end, 30 min)
 *     others             their floor             max(3 end, 30 min)
 *
 * Where ranks wait for each other it names the one that waits for none.  If one
 * was stopped by a signal, in any phase, it speaks after 10 s and ends the run
 * at once: the others come to wait for it wherever they are.
 *
 * Time in which the watchdog did not run itself, because the machine slept or
 * the whole group of processes was stopped, is not the run's fault and does not
 * count; nor does the time in a debugger.
 */
#include "watchdog.h"

#include "stop.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_MS = 250, STOPPED_SECONDS = 10 };
static const double second = 1e9;

struct Watchdog {
    pid_t pid; /* of the watchdog */
};

/* What the watchdog remembers between two looks. */
typedef struct Watch {
    const TitanImage *im;
    const Pulse *pulse;
    const Board *board; /* or NULL */
    WatchdogOptions options;
    pid_t run;
    int64_t looked;   /* when it looked last */
    int64_t since;    /* the beginning that the next two are about */
    int64_t forgiven; /* ns that do not count */
    bool said;
} Watch;

static double floor_of(int phase)
{
    switch (phase) {
    case PHASE_data:
    case PHASE_step:
    case PHASE_log:
        return 10;
    case PHASE_load:
        return 600;
    case PHASE_save:
    case PHASE_validate:
    case PHASE_end:
        return 120;
    default:
        return 60;
    }
}

static bool is_step(int phase)
{
    return phase == PHASE_data || phase == PHASE_step || phase == PHASE_log;
}

static double say_after(int phase, double median)
{
    if (!is_step(phase)) return floor_of(phase);
    return median > 0 ? floor_of(phase) + 2 * median : 60;
}

static double end_after(const Watch *w, int phase, double median)
{
    double end = w->options.end;
    if (is_step(phase) && median > 0)
        return 10 * median > end ? 10 * median : end;
    return 3 * end > 1800 ? 3 * end : 1800;
}

/* ------------------------------------------------------- what is stuck -- */

/* The value of "NAME:" in a process's status; empty: not known. */
static void read_status(pid_t pid, const char *name, char out[64])
{
    char path[64], line[256];
    size_t n = strlen(name);
    out[0] = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *in = fopen(path, "r");
    if (!in) return;
    while (!out[0] && fgets(line, sizeof line, in))
        if (strncmp(line, name, n) == 0 && line[n] == ':')
            sscanf(line + n + 1, " %63[^\n]", out);
    fclose(in);
}

static bool is_debugged(const Watch *w)
{
    char tracer[64];
    read_status(w->run, "TracerPid", tracer);
    return atoi(tracer) > 0;
}

static char state_of(pid_t pid)
{
    char state[64];
    read_status(pid, "State", state);
    return state[0];
}

static const char *state_words(char state)
{
    if (state == 'T') return "; the process was stopped by a signal";
    if (state == 'D') return "; it waits for a disk or a driver";
    return "";
}

/* ", kernel \"k3\", mlp.tt:12" */
static void put_command(const Watch *w, uint32_t number, FILE *out)
{
    char words[256];
    command_words(w->im, number, words, sizeof words);
    if (words[0]) fprintf(out, ", %s", words);
}

/* 0: it is on another machine. */
static pid_t process_of(const Watch *w, uint32_t rank)
{
    int pid = atomic_load(&w->board->rows[rank].pid);
    if (pid) return pid;
    return board_knows(w->board, rank) ? w->run : 0;
}

/* One that was stopped does nothing more by itself. */
static bool is_stopped(const Watch *w, int64_t rank)
{
    return rank >= 0 && state_of(process_of(w, (uint32_t)rank)) == 'T';
}

/* The first that waits for nobody, not for its GPU either, or the one of which
 * nothing is known; -1: there is none, or there are several of those. */
static int64_t find_busy(const Board *b)
{
    int64_t stranger = -1;
    uint32_t strangers = 0;
    for (uint32_t r = 0; r < b->ranks; r++) {
        if (!board_knows(b, r)) {
            stranger = r;
            strangers++;
        } else if (atomic_load(&b->rows[r].waits) == 0) {
            return r;
        }
    }
    return strangers == 1 ? stranger : -1;
}

/* Of several ranks one that was stopped, or -1. */
static int64_t find_stopped(const Watch *w)
{
    uint32_t n = w->board ? w->board->ranks : 1;
    for (uint32_t r = 0; n > 1 && r < n; r++)
        if (is_stopped(w, r)) return r;
    return -1;
}

/* The rank that was stopped, or for which others wait and which waits for none;
 * -1: there is none, or one rank.  What a stopped one waits for has come.  A
 * GPU may wait for any rank. */
static int64_t find_culprit(const Watch *w)
{
    uint32_t n = w->board ? w->board->ranks : 1;
    int64_t stopped = find_stopped(w);
    if (stopped >= 0) return stopped;
    for (uint32_t r = 0; n > 1 && r < n; r++) {
        uint32_t waits = atomic_load(&w->board->rows[r].waits);
        for (uint32_t i = 0; waits && i < n; i++) {
            if (waits == BOARD_GPU) return find_busy(w->board);
            uint32_t next = atomic_load(&w->board->rows[waits - 1].waits);
            if (next == 0) return waits - 1;
            waits = next;
        }
    }
    return -1;
}

static void say_culprit(const Watch *w, uint32_t rank)
{
    fprintf(stderr, "watchdog: the others wait for rank %" PRIu32, rank);
    put_command(w, atomic_load(&w->board->rows[rank].command), stderr);
    fprintf(stderr, "%s\n", state_words(state_of(process_of(w, rank))));
}

/* Of one rank the pulse has it. */
static uint32_t command_of(const Watch *w)
{
    bool several = w->board && w->board->ranks > 1;
    return atomic_load(several ? &w->board->rows[0].command
                               : &w->pulse->command);
}

/* Rank 0 has the data of all: where another holds it up it does not wait for
 * the data. */
static const char *words_of(int phase, int64_t culprit)
{
    return phase == PHASE_data && culprit > 0 ? "handing data to the ranks"
                                              : phase_words(phase);
}

static void say(const Watch *w, int phase, double seconds, int64_t culprit)
{
    double median = (double)atomic_load(&w->pulse->median) / second;
    int64_t step = atomic_load(&w->pulse->step);
    fprintf(stderr, "watchdog: ");
    if (step > 0) fprintf(stderr, "step %" PRId64 ": ", step);
    fprintf(stderr, "%s for %.0f s", words_of(phase, culprit), seconds);
    if (median > 0) fprintf(stderr, ", a step takes %.3g s", median);
    if (phase == PHASE_step) put_command(w, command_of(w), stderr);
    fprintf(stderr, "%s\n", state_words(state_of(w->run)));
    if (culprit >= 0) say_culprit(w, (uint32_t)culprit);
}

/* Its own thread ends the process, so the code is ours; one that cannot run
 * is killed. */
static void end_run(const Watch *w, double after)
{
    fprintf(stderr, "watchdog: the run is ended with exit code %d",
            TITAN_RANK_LOST);
    if (after > 0)
        fprintf(stderr,
                "; --hang-timeout TIME waits longer than %.0f s, 0 for ever",
                after);
    fputc('\n', stderr);
    kill(w->run, stop_hang_signal());
    kill(w->run, SIGCONT);
    sleep(5);
    kill(w->run, SIGKILL);
}

/* ------------------------------------------------------------- its loop -- */

static void look(Watch *w)
{
    const Pulse *p = w->pulse;
    int phase = atomic_load(&p->phase);
    int64_t since = atomic_load(&p->since), now = pulse_now();
    int64_t slept = now - w->looked;
    double median = (double)atomic_load(&p->median) / second;
    if (since != w->since) {
        w->since = since;
        w->forgiven = 0;
        w->said = false;
    }
    w->looked = now;
    if (slept > 8 * LOOK_MS * INT64_C(1000000)) w->forgiven += slept;
    double seconds = (double)(now - since - w->forgiven) / second;
    if (seconds < say_after(phase, median) &&
        (seconds < STOPPED_SECONDS || find_stopped(w) < 0))
        return;
    if (!w->said && is_debugged(w)) {
        w->forgiven = now - since;
        return;
    }
    int64_t culprit = find_culprit(w);
    if (!w->said) say(w, phase, seconds, culprit);
    w->said = true;
    double after = end_after(w, phase, median);
    if (is_stopped(w, culprit)) after = 0;
    if (w->options.end > 0 && seconds >= after) end_run(w, after);
}

static void watch(Watch *w)
{
    const struct timespec pause = {0, LOOK_MS * 1000000L};
    w->looked = pulse_now();
    for (;;) {
        nanosleep(&pause, NULL);
        look(w);
    }
}

/* Signals for the run reach the whole group of a terminal or a scheduler; the
 * watchdog ends with the run and with nothing else. */
static void become_watchdog(Watch *w)
{
    static const int ours[] = {SIGINT,  SIGTERM, SIGHUP,
                               SIGQUIT, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        signal(ours[i], SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "titan-watchdog");
    if (getppid() != w->run) _exit(0);
    /* Who reads the run's output until its end waits for no watchdog. */
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    watch(w);
}

Watchdog *watchdog_start(const TitanImage *im, const Pulse *p, const Board *b,
                         const WatchdogOptions *o)
{
    Watch w = {
        .im = im, .pulse = p, .board = b, .options = *o, .run = getpid()};
    Watchdog *dog = calloc(1, sizeof *dog);
    if (!dog) return NULL;
    fflush(NULL);
    dog->pid = fork();
    if (dog->pid == 0) become_watchdog(&w);
    if (dog->pid > 0) return dog;
    fprintf(stderr, "could not start the watchdog; a hang will go unnoticed\n");
    free(dog);
    return NULL;
}

void watchdog_stop(Watchdog *w)
{
    if (!w) return;
    kill(w->pid, SIGKILL);
    waitpid(w->pid, NULL, 0);
    free(w);
}
