/*
 * guard.c: fork, wait, and write the reproducer.
 *
 * The text before the failing pass is made after the death, by running the
 * same work again up to there: passes are deterministic, and a run that goes
 * well pays nothing.
 */
#include "guard.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INTERNAL = 70 };

#if defined(__SANITIZE_ADDRESS__)
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
/* A finding is an internal error, not one of the user's. */
const char *__asan_default_options(void)
{
    return "exitcode=70:detect_leaks=0";
}
const char *__ubsan_default_options(void)
{
    return "exitcode=70:print_stacktrace=1";
}
#endif

void guard_on_step(void *user, uint32_t step, const char *pass)
{
    GuardNote *note = user;
    note->step = step;
    snprintf(note->doing, sizeof note->doing, "%s", pass);
}

static bool wait_for(pid_t child, int *status)
{
    while (waitpid(child, status, 0) < 0)
        if (errno != EINTR) return false;
    return true;
}

static bool died(int status)
{
    return !WIFEXITED(status) || WEXITSTATUS(status) == INTERNAL;
}

/* A reader that went away, or somebody who lost patience, is no bug. */
static bool was_stopped(int status)
{
    if (!WIFSIGNALED(status)) return false;
    int s = WTERMSIG(status);
    return s == SIGPIPE || s == SIGINT || s == SIGTERM || s == SIGHUP;
}

/* ---------------------------------------------------------- reproducer -- */

static void write_fd(int fd, const Buf *b)
{
    for (size_t at = 0; at < b->n;) {
        ssize_t k = write(fd, b->at + at, b->n - at);
        if (k < 0 && errno != EINTR) return;
        if (k > 0) at += (size_t)k;
    }
}

static void read_fd(int fd, Buf *out)
{
    char chunk[4096];
    ssize_t k;
    while ((k = read(fd, chunk, sizeof chunk)) != 0) {
        if (k > 0)
            buf_add(out, chunk, (size_t)k);
        else if (errno != EINTR)
            return;
    }
}

/* Child: command line, then a zero byte, then the text. */
static NORETURN void replay_child(const Guard *g, uint32_t step, int fd)
{
    Buf text = {0}, command = {0};
    if (!freopen("/dev/null", "w", stdout) ||
        !freopen("/dev/null", "w", stderr) ||
        !g->replay(g->user, step, &text, &command))
        _exit(1);
    buf_putc(&command, 0);
    write_fd(fd, &command);
    write_fd(fd, &text);
    _exit(0);
}

static bool replayed(const Guard *g, uint32_t step, Buf *out)
{
    int ends[2], status;
    if (!g->replay || pipe(ends) != 0) return false;
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        replay_child(g, step, ends[1]);
    }
    close(ends[1]);
    if (child > 0) read_fd(ends[0], out);
    close(ends[0]);
    return child > 0 && wait_for(child, &status) && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0 && out->n > 0;
}

/* Each line of the text behind a comment mark. */
static void quote_lines(const char *text, Buf *out)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        buf_puts(out, "// | ");
        buf_add(out, text, n);
        buf_putc(out, '\n');
        text += n + (text[n] == '\n');
    }
}

static void quote_inputs(const Guard *g, Buf *out)
{
    Arena a;
    arena_init(&a, "reproducer");
    for (uint32_t i = 0; i < g->ninputs; i++) {
        size_t size;
        const char *path = g->inputs[i];
        char *text = strcmp(path, "-") == 0 ? NULL : read_file(&a, path, &size);
        buf_printf(out, "// input: %s%s\n", path, text ? "" : " (not kept)");
        if (text) quote_lines(text, out);
    }
    arena_release(&a);
}

static void print_command(const Guard *g, Buf *out)
{
    buf_puts(out, "// command:");
    for (int i = 0; i < g->argc; i++)
        buf_printf(out, strpbrk(g->argv[i], " {};*?$'\"") ? " '%s'" : " %s",
                   g->argv[i]);
    buf_putc(out, '\n');
}

static void print_death(const Guard *g, const GuardNote *note, int status,
                        Buf *out)
{
    buf_printf(out, "// %s: internal error", g->tool);
    if (note->step) buf_printf(out, " in pass '%s'", note->doing);
    if (WIFSIGNALED(status))
        buf_printf(out, " (%s)", strsignal(WTERMSIG(status)));
    buf_putc(out, '\n');
}

static void make_reproducer(const Guard *g, const GuardNote *note, int status,
                            Buf *out)
{
    Buf again = {0};
    print_death(g, note, status, out);
    print_command(g, out);
    /* what was killed, for its memory or its time, would be so again */
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    bool have = !killed && replayed(g, note->step, &again);
    if (have) buf_printf(out, "// replay: %s\n", again.at);
    quote_inputs(g, out);
    size_t head = have ? strlen(again.at) + 1 : 0;
    if (have) buf_add(out, again.at + head, again.n - head);
    buf_release(&again);
}

static void write_reproducer(const Guard *g, const GuardNote *note, int status)
{
    char own[96];
    snprintf(own, sizeof own, "%s-reproducer-%ld.txt", g->tool, (long)getpid());
    const char *path = g->reproducer ? g->reproducer : own;
    Buf b = {0};
    make_reproducer(g, note, status, &b);
    if (write_file(path, b.at, b.n, false))
        fprintf(stderr,
                "%s: internal error: this is a bug of Titan, not of the "
                "program; a reproducer is in %s\n",
                g->tool, path);
    else
        fprintf(stderr,
                "%s: internal error; could not write a reproducer to %s: %s\n",
                g->tool, path, strerror(errno));
    buf_release(&b);
}

/* ---------------------------------------------------------------- work -- */

int guard_run(const Guard *g)
{
    int status;
    GuardNote *note = mmap(NULL, sizeof *note, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (note == MAP_FAILED) return g->work(g->user, &(GuardNote){0});
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) return g->work(g->user, note);
    if (child == 0) exit(g->work(g->user, note));
    int code = INTERNAL;
    bool waited = wait_for(child, &status);
    if (waited && was_stopped(status))
        code = 128 + WTERMSIG(status);
    else if (!waited || died(status))
        write_reproducer(g, note, status);
    else
        code = WEXITSTATUS(status);
    munmap(note, sizeof *note);
    return code;
}
