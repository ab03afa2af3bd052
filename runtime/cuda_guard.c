/*
 * cuda_guard.c: a process that says of which kernel the driver's compiler dies.
 *
 * The compiler runs in this process, on text that an assembler may well take,
 * and when it crashes nobody is left to say so.  So while PTX is compiled there
 * is another process, forked before the driver is opened, which does nothing
 * but wait for the end of this one.  It is killed when the modules are there.
 * If the run ends before, and no signal has asked for that, it has a child of
 * its own compile kernel after kernel, and tells the one that the child dies
 * of.  A run that ends by itself has killed it before.  One that is killed from
 * outside by its number (SIGKILL) cannot be told from one that crashed.
 *
 * It costs a run one fork, and none where there is machine code.
 */
#include "board.h"
#include "cuda.h"
#include "cuda_cut.h"
#include "device.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TRY_SECONDS = 120, NOT_KNOWN = -1 };

typedef struct Guard {
    const TitanImage *im;
    const TitanCode *code;
    pid_t run;
} Guard;

/* --------------------------------------------------------------- trying -- */

static void hear(int how, int signal)
{
    sigset_t set;
    sigfillset(&set);
    if (signal) {
        sigemptyset(&set);
        sigaddset(&set, signal);
    }
    sigprocmask(how, &set, NULL);
}

/* Says the number of each kernel before it is compiled. */
static void try_each(PtxText *t, int out)
{
    CuApi cu;
    TitanStory ignored = {0};
    hear(SIG_UNBLOCK, 0);
    alarm(TRY_SECONDS);
    if (cu_open(&ignored, &cu) != TITAN_OK || cu.cuInit(0) != 0) _exit(1);
    for (uint32_t i = 0; i == 0 || i < t->nkernels; i++) {
        CuLibrary library;
        t->kernels[i].part = 1;
        char *text = cuda_cut_part(t, 1);
        t->kernels[i].part = 0;
        if (!text || write(out, &i, sizeof i) != sizeof i) _exit(1);
        if (cu.cuLibraryLoadData(&library, text, NULL, NULL, 0, NULL, NULL,
                                 0) == 0)
            cu.cuLibraryUnload(library);
        free(text);
    }
    _exit(0);
}

/* The signal that a child dies of, and the kernel that it was at; 0: none does
 * it, NOT_KNOWN: not all of them were tried. */
static int find_deadly(PtxText *t, uint32_t *kernel)
{
    int ends[2], status = 0;
    if (pipe(ends) != 0) return NOT_KNOWN;
    pid_t child = fork();
    if (child == 0) try_each(t, ends[1]);
    close(ends[1]);
    bool any = false;
    for (uint32_t i; read(ends[0], &i, sizeof i) == sizeof i; any = true)
        *kernel = i;
    any &= *kernel == 0 || *kernel < t->nkernels;
    close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child) return NOT_KNOWN;
    if (!WIFSIGNALED(status)) return status == 0 ? 0 : NOT_KNOWN;
    int number = WTERMSIG(status);
    bool ours = number == SIGALRM || number == SIGKILL;
    return any && !ours ? number : NOT_KNOWN;
}

/* --------------------------------------------------------------- telling -- */

/* NAME of ".visible .entry NAME(". */
static void name_of(const PtxKernel *k, char *out, size_t size)
{
    static const char entry[] = ".entry ";
    const char *at = memmem(k->at, k->n, entry, sizeof entry - 1);
    at = at ? at + sizeof entry - 1 : k->at;
    size_t most = (size_t)(k->at + k->n - at);
    snprintf(out, size, "%.*s", (int)strnlen(at, most), at);
    out[strcspn(out, "( \n")] = 0;
}

/* Of the first command that launches it; 0: there is none. */
static uint32_t command_of(const TitanImage *im, const char *name)
{
    for (uint32_t i = 0; i < im->ncommands; i++) {
        const TitanCommand *c = &im->commands[i];
        if (c->kind == TITAN_COMMAND_kernel &&
            strcmp(titan_string(im, im->kernels[c->index].name), name) == 0)
            return i + 1;
    }
    return 0;
}

static void say_kernel(const Guard *g, const PtxText *t, uint32_t kernel,
                       int number)
{
    char name[256] = "", words[512] = "";
    if (t->nkernels) name_of(&t->kernels[kernel], name, sizeof name);
    command_words(g->im, command_of(g->im, name), words, sizeof words);
    fprintf(stderr, "titan: the driver's compiler dies of ");
    if (words[0])
        fprintf(stderr, "%s", words);
    else if (name[0])
        fprintf(stderr, "kernel \"%s\"", name);
    else
        fprintf(stderr, "the program's PTX");
    fprintf(stderr, ": signal %d (%s)\n", number, strsignal(number));
    fprintf(stderr,
            "titan: a training program (titanc -o NAME) that is made where "
            "ptxas is in the path, or named by PTXAS, has machine code and "
            "needs no compiler; so may another version of the driver\n");
}

static void tell(const Guard *g)
{
    PtxText t;
    uint32_t kernel = 0;
    fprintf(stderr,
            "titan: the run ended while the driver compiled its PTX; each "
            "kernel is tried by itself\n");
    if (!cuda_cut_open(g->code, &t)) return;
    if (!t.kernels) t.kernels = calloc(1, sizeof *t.kernels);
    int number = t.kernels ? find_deadly(&t, &kernel) : NOT_KNOWN;
    if (number > 0)
        say_kernel(g, &t, kernel, number);
    else if (number == 0)
        fprintf(stderr, "titan: none of them is what it ended of\n");
    else
        fprintf(stderr, "titan: whether it ended of one is not known\n");
}

/* --------------------------------------------------------------- process -- */

/* What the run has open is closed: who is at the other end of it waits for the
 * run alone.  The pipe to a child is none of the first three, which a compiler
 * may write to. */
static void close_all(void)
{
    int nothing = open("/dev/null", O_RDWR);
    if (nothing < 0) _exit(0);
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    close_range(STDERR_FILENO + 1, ~0u, 0);
}

/* A terminal's signal has come to the run and to all that belongs to it. */
static bool was_asked_for(void)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set;
    sigpending(&set);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (sigismember(&set, ends[i])) return true;
    return false;
}

static void become_guard(const Guard *g)
{
    const struct timespec pause = {1, 0};
    sigset_t end;
    hear(SIG_BLOCK, 0);
    sigemptyset(&end);
    sigaddset(&end, SIGUSR1);
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    prctl(PR_SET_NAME, "titan-compiles");
    close_all();
    while (getppid() == g->run)
        sigtimedwait(&end, NULL, &pause);
    if (!was_asked_for()) tell(g);
    _exit(0);
}

void device_guard_begin(DeviceGuard *g, const TitanImage *im,
                        const TitanCode *code)
{
    const Guard guard = {.im = im, .code = code, .run = getpid()};
    if (im->header->target == TITAN_TARGET_host || code->cubin || !code->ptx)
        return;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) become_guard(&guard);
    if (pid > 0) atomic_store(g, pid); /* else a crash will say nothing */
}

void device_guard_end(DeviceGuard *g)
{
    pid_t pid = atomic_exchange(g, 0);
    if (pid == 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
