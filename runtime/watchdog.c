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

enum { LOOK_MS = 250 };
static const double second = 1e9;

struct Watchdog {
    pid_t pid; /* of the watchdog */
};

/* What the watchdog remembers between two looks. */
typedef struct Watch {
    const TitanImage *im;
    const Pulse *pulse;
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

/* The value of "NAME:" in the run's status; empty: not known. */
static void read_status(const Watch *w, const char *name, char out[64])
{
    char path[64], line[256];
    size_t n = strlen(name);
    out[0] = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)w->run);
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
    read_status(w, "TracerPid", tracer);
    return atoi(tracer) > 0;
}

static const char *process_state(const Watch *w)
{
    char state[64];
    read_status(w, "State", state);
    if (state[0] == 'T') return "; the process was stopped by a signal";
    if (state[0] == 'D') return "; it waits for a disk or a driver";
    return "";
}

/* ", kernel \"k3\", mlp.tt:12" */
static void put_command(const Watch *w, FILE *out)
{
    uint32_t at = atomic_load(&w->pulse->command);
    if (at == 0 || at > w->im->ncommands) return;
    const TitanCommand *c = &w->im->commands[at - 1];
    if (c->kind == TITAN_COMMAND_kernel)
        fprintf(out, ", kernel \"%s\"",
                titan_string(w->im, w->im->kernels[c->index].name));
    else
        fputs(c->kind == TITAN_COMMAND_gemm ? ", a matrix product" : ", a copy",
              out);
    if (c->line)
        fprintf(out, ", %s:%" PRIu32, titan_string(w->im, c->file), c->line);
}

static void say(const Watch *w, int phase, double seconds)
{
    double median = (double)atomic_load(&w->pulse->median) / second;
    int64_t step = atomic_load(&w->pulse->step);
    fprintf(stderr, "watchdog: ");
    if (step > 0) fprintf(stderr, "step %" PRId64 ": ", step);
    fprintf(stderr, "%s for %.0f s", phase_words(phase), seconds);
    if (median > 0) fprintf(stderr, ", a step takes %.3g s", median);
    if (phase == PHASE_step) put_command(w, stderr);
    fprintf(stderr, "%s\n", process_state(w));
}

/* Its own thread ends the process, so the code is ours; one that cannot run
 * is killed. */
static void end_run(const Watch *w, double after)
{
    fprintf(stderr,
            "watchdog: the run is ended with exit code %d; --hang-timeout "
            "TIME waits longer than %.0f s, 0 for ever\n",
            TITAN_RANK_LOST, after);
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
    if (seconds < say_after(phase, median)) return;
    if (!w->said && is_debugged(w)) {
        w->forgiven = now - since;
        return;
    }
    if (!w->said) say(w, phase, seconds);
    w->said = true;
    double after = end_after(w, phase, median);
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

Watchdog *watchdog_start(const TitanImage *im, const Pulse *p,
                         const WatchdogOptions *o)
{
    Watch w = {.im = im, .pulse = p, .options = *o, .run = getpid()};
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
