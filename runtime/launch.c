/*
 * launch.c: how the ranks of a program are started.
 *
 * With --nproc the process that was started does no work: it hands signals on
 * to rank 0, a process group of its own, and tells when that vanishes.  So
 * whichever rank is lost, somebody is there to say so.
 */
#include "launch.h"

#include "board.h"
#include "join.h"
#include "remote.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static TitanStatus check_world(TitanStory *s, const TitanImage *im,
                               const char *who, int64_t ranks)
{
    uint32_t has = im->header->ranks;
    if (ranks == has) return TITAN_OK;
    return titan_fail(s, TITAN_MISMATCH,
                      "compiled for %" PRIu32 " rank%s, %s %" PRId64
                      "; give it %" PRIu32
                      ", or compile a plan whose mesh has %" PRId64,
                      has, has == 1 ? "" : "s", who, ranks, has, ranks);
}

/* ----------------------------------------------------------------- nproc -- */

static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
enum { FORWARDED = sizeof forwarded / sizeof *forwarded };

static sigset_t watched_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < FORWARDED; i++)
        sigaddset(&set, forwarded[i]);
    sigaddset(&set, SIGCHLD);
    return set;
}

/* The exit code of rank 0, or why there is none. */
static TitanStatus fate_of(TitanStory *s, const TitanImage *im, const Board *b,
                           int status, int told)
{
    if (WIFEXITED(status)) return (TitanStatus)WEXITSTATUS(status);
    int number = WTERMSIG(status);
    if (number == told) { /* as that signal does by default */
        signal(number, SIG_DFL);
        raise(number);
    }
    char where[256];
    command_words(im, atomic_load(&b->rows[0].command), where, sizeof where);
    return titan_fail(
        s, TITAN_RANK_LOST,
        "rank 0 of %" PRIu32 " was lost: killed by signal %d (%s)%s%s",
        b->ranks, number, strsignal(number), where[0] ? ", in " : "", where);
}

static TitanStatus watch_over(TitanStory *s, const TitanImage *im,
                              const Board *b, pid_t first)
{
    sigset_t set = watched_signals();
    int status, told = 0;
    for (;;) {
        int number = sigwaitinfo(&set, NULL);
        if (waitpid(first, &status, WNOHANG) == first)
            return fate_of(s, im, b, status, told);
        if (number <= 0 || number == SIGCHLD) continue;
        told = number;
        kill(first, number);
    }
}

/* Returns twice, as fork does: here with `over` when rank 0 has ended. */
static TitanStatus start_first(TitanStory *s, const TitanImage *im, Launch *l)
{
    sigset_t set = watched_signals(), before;
    pid_t parent = getpid();
    sigprocmask(SIG_BLOCK, &set, &before);
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return titan_fail(s, TITAN_UNAVAILABLE,
                          "could not start a process for rank 0: %s",
                          strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0);
        sigprocmask(SIG_SETMASK, &before, NULL);
        if (getppid() != parent) _exit(TITAN_RANK_LOST);
        return TITAN_OK;
    }
    l->over = true;
    TitanStatus st = watch_over(s, im, l->board, pid);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return st;
}

/* ------------------------------------------------------------------ link -- */

static char *join_words(char **argv)
{
    size_t n = 1;
    for (char **at = argv + 1; *at; at++)
        n += strlen(*at) + 1;
    char *text = calloc(1, n), *end = text;
    for (char **at = argv + 1; text && *at; at++) {
        end = stpcpy(end, *at);
        *end++ = '\n';
    }
    return text;
}

/* Every rank finds by itself that there are too many or too few of them. */
static TitanStatus join_world(TitanStory *s, const TitanImage *im, char **argv,
                              Link *l)
{
    TitanStatus st = check_world(s, im, l->class->who, l->ranks);
    if (l->rank > 0) *s = (TitanStory){0};
    TRY(st);
    char *words = join_words(argv);
    if (!words) return titan_no_memory(s);
    st = remote_compare(s, l, im, words);
    free(words);
    return st;
}

/* All ranks have the same trouble; rank 0 tells it before the first has ended,
 * which may end the others. */
static TitanStatus begin_link(TitanStory *s, const TitanImage *im, char **argv,
                              double patience, Launch *l)
{
    TRY(link_open(s, patience, &l->link));
    l->link->board = l->board;
    l->board->apart = true;
    TitanStatus st = join_world(s, im, argv, l->link);
    if (l->link->board != l->board) board_free(l->board);
    l->board = l->link->board;
    if (st == TITAN_OK) return st;
    if (l->link->rank == 0) titan_story_print(s, "titan");
    *s = (TitanStory){0};
    link_close(l->link);
    l->link = NULL;
    return st;
}

/* Whoever has started several so would have each of them do all the work. */
static void note_half_a_world(const TitanImage *im)
{
    const char *other, *half = world_half(&other);
    if (half && im->header->ranks > 1)
        fprintf(stderr,
                "note: %s is set and %s is not: this process makes all %" PRIu32
                " ranks\n",
                half, other, im->header->ranks);
}

/* The command line says how ranks are started, ASKED of them, and a launcher
 * has started this one: one of both is left over from another run. */
static TitanStatus check_started(TitanStory *s, bool processes, int64_t asked)
{
    const char *rank, *ranks;
    link_told(&rank, &ranks);
    const char *me = getenv(rank), *all = getenv(ranks);
    const char *is = me ? me : "not set";
    if (processes)
        return titan_fail(s, TITAN_USAGE,
                          "--nproc %" PRId64
                          " starts %s, and a launcher has: %s is %s, %s "
                          "is %s; leave out --nproc, or unset %s and %s",
                          asked, asked == 1 ? "a process" : "processes", rank,
                          is, ranks, all, rank, ranks);
    if (strtoll(all, NULL, 10) != asked)
        return titan_fail(s, TITAN_USAGE,
                          "--ranks is %" PRId64
                          ", and a launcher has started others: %s is "
                          "%s, %s is %s; leave out --ranks, or unset %s and %s",
                          asked, rank, is, ranks, all, rank, ranks);
    if (me && strtoll(me, NULL, 10) == 0)
        fprintf(stderr,
                "note: %s is 0 and %s is %s: this process is one of the ranks; "
                "unset both for --ranks %" PRId64 " as threads of one\n",
                rank, ranks, all, asked);
    return TITAN_OK;
}

/* --------------------------------------------------------- begin and end -- */

TitanStatus launch_begin(TitanStory *s, const TitanImage *im,
                         const TitanCode *code, DeviceOptions *options,
                         int64_t asked, char **argv, Launch *out)
{
    *out = (Launch){.board = board_new(im->header->ranks)};
    if (!out->board) return titan_no_memory(s);
    if (asked > 0) TRY(check_world(s, im, "the command line asks for", asked));
    out->came = link_is_there(); /* all ranks have the same command line */
    if (out->came && asked > 0)
        TRY(check_started(s, options->processes, asked));
    if (out->came)
        TRY(begin_link(s, im, argv, options->patience, out));
    else if (asked <= 0)
        note_half_a_world(im);
    options->board = out->board;
    options->link = out->link;
    if (out->link && out->link->rank > 0) {
        out->over = true;
        return remote_serve(s, im, code, options);
    }
    bool processes = options->processes && im->header->ranks > 1;
    return processes && !out->link ? start_first(s, im, out) : TITAN_OK;
}

void launch_end(Launch *l, const TitanStory *story, TitanStatus status)
{
    bool clean = status == TITAN_OK || status == TITAN_STOPPED ||
                 status == TITAN_NUMERICS;
    if (l->link && l->link->rank == 0 && clean) remote_dismiss(l->link, status);
    /* the others may be anywhere; nobody need tell that this one has gone */
    if (l->link && l->link->rank == 0 && !clean) {
        board_end(l->board, 0);
        remote_abort(l->link, status);
    }
    if (!l->came && status != TITAN_OK) link_decline(story, status);
    link_close(l->link);
    board_free(l->board);
    *l = (Launch){0};
}
