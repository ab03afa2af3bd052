/*
 * titan-smith.c: random programs, and what must hold of them.
 *
 * Each program is made from its own seed and checked in a child process, so
 * that a crash is a failure like any other.  A failing program is made
 * smaller (smith/shrink.c) and printed with its seed.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../runtime/option.h"
#include "smith/task.h"

enum { OK = 0, WRONG = 1, USAGE = 2, MOST_WHY = 1 << 16 };
enum { SECONDS = 60, WAIT = 900 }; /* of work, and in all */
enum { MOST_GPUS = 8 };
/* In layouts that are drawn, one seed in so many is of the language, too. */
enum { EACH_TASK = 8 };
/* For a GPU, one in so many is a training step of the language; for several. */
enum { EACH_STEP = 6, EACH_SHARED_STEP = 2 };
/* ... and one in so many is short, so that its kernels may all be maps. */
enum { EACH_SHORT = 4, SHORT_INSTS = 3 };

static const ProgramText program = {
    PROGRAM_smith, "titan-smith", "[options] [FILE ...]",
    "Makes random programs, one in eight of them a training step with "
    "attention, a loss and a batch in parts, and checks that they print, that "
    "every pass keeps "
    "their meaning, and that they compute when compiled what the interpreter "
    "does; and training programs of the language under random plans, and "
    "checks "
    "that all that the passes make of one computes the same.  One bound holds "
    "for every result: off by at most 64 u (1 + log2 "
    "n) times its largest element, n being the program's largest number of "
    "elements summed and u the unit of what it computes in (f32 2^-24, f64 "
    "2^-53; with derivatives of narrower values, that of f32, or of bf16 "
    "2^-8), or by four times what it moves when every value of the program is "
    "off by that unit.  Integers are equal."};

/* What a child hands back, in memory that both see. */
typedef struct Note {
    Tally tally;
    Cover cover;
    char why[MOST_WHY];
} Note;

typedef struct Check {
    unsigned modes;
    uint64_t seed;
    const Task *task; /* of a program of the language; NULL: it is IR */
    const char *file; /* or NULL: that it is read from */
    GiveOpts give;    /* of mode gpu */
    Note *note;
} Check;

/* A task that is refused gives nothing. */
static bool give(const Check *c, const char *text, size_t n, Buf *why)
{
    Tally *t = &c->note->tally;
    if (!c->task) return give_program(&c->give, text, n, c->seed, t, why);
    Buf ir = {0};
    bool ok = task_read(c->task, text, n, &ir, why);
    if (ok) ok = give_program(&c->give, ir.at, ir.n, c->seed, t, why);
    buf_release(&ir);
    return ok || !why->n;
}

/* Exits 0 when everything holds. */
static void child(const Check *c, const char *text, size_t n)
{
    Buf why = {0};
    setrlimit(RLIMIT_CPU, &(struct rlimit){SECONDS, WAIT});
    alarm(WAIT);
    bool ok = true;
    if (c->modes == MODE_gpu)
        ok = give(c, text, n, &why);
    else if (c->task)
        ok = check_plans(c->task, text, n, &c->note->cover, &why);
    else if (c->file)
        ok = check_layouts(text, n, c->seed, &c->note->tally, true, &why);
    else
        ok = check_program(text, n, c->modes, c->seed, &c->note->tally, &why);
    if (why.n) {
        size_t most = why.n < MOST_WHY - 1 ? why.n : MOST_WHY - 1;
        memcpy(c->note->why, why.at, most);
        c->note->why[most] = 0;
    }
    _exit(ok ? OK : WRONG);
}

static bool passes_check(const Check *c, const char *text, size_t n)
{
    int status;
    c->note->why[0] = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) child(c, text, n);
    if (pid < 0 || waitpid(pid, &status, 0) < 0) {
        perror("titan-smith");
        exit(70);
    }
    if (WIFSIGNALED(status))
        snprintf(c->note->why, MOST_WHY, "ended by signal %d\n",
                 WTERMSIG(status));
    else if (WEXITSTATUS(status) && !c->note->why[0])
        snprintf(c->note->why, MOST_WHY, "ended with status %d\n",
                 WEXITSTATUS(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Smaller programs have to fail in the same way: by the first line. */
typedef struct Failing {
    const Check *c;
    char how[160];
} Failing;

static void first_line(const char *why, char out[160])
{
    size_t n = strcspn(why, "\n");
    if (n > 159) n = 159;
    memcpy(out, why, n);
    out[n] = 0;
}

static bool fails_alike(void *user, const char *text, size_t n)
{
    Failing *f = user;
    char how[160];
    if (passes_check(f->c, text, n)) return false;
    first_line(f->c->note->why, how);
    return strcmp(how, f->how) == 0;
}

/* The smallest program that fails is not one that is given. */
static void report(Check *c, Buf *text)
{
    const char *folder = c->give.folder;
    Failing f = {.c = c};
    Tally kept = c->note->tally;
    printf("seed %llu fails: %s\n", (unsigned long long)c->seed, c->note->why);
    first_line(c->note->why, f.how);
    c->give.folder = NULL;
    shrink_program(text, fails_alike, &f);
    passes_check(c, text->at, text->n);
    c->give.folder = folder;
    c->note->tally = kept;
    printf("the smallest program that fails so:\n\n%s\n%s\n", text->at,
           c->note->why);
}

/* Makes plain what need not be otherwise. */
static void shrink_task(Check *c, Task *task, Failing *f)
{
    bool plain[CHOICE_count] = {false};
    for (uint32_t i = 0; i < CHOICE_count; i++) {
        Buf text = {0};
        Task smaller;
        if (!task->way[i]) continue;
        plain[i] = true;
        task_choose(task->seed, task->gpus, plain, &smaller);
        smaller.layouts = task->layouts;
        source_print(&smaller, &text);
        c->task = &smaller;
        if (fails_alike(f, text.at, text.n))
            *task = smaller;
        else
            plain[i] = false;
        buf_release(&text);
    }
    c->task = task;
}

static void report_task(Check *c, Task *task)
{
    Failing f = {.c = c};
    Cover kept = c->note->cover;
    const char *folder = c->give.folder;
    Buf choices = {0}, text = {0};
    printf("seed %llu fails: %s\n", (unsigned long long)c->seed, c->note->why);
    first_line(c->note->why, f.how);
    c->give.folder = NULL;
    shrink_task(c, task, &f);
    task_print(task, &choices);
    source_print(task, &text);
    passes_check(c, text.at, text.n);
    c->give.folder = folder;
    c->note->cover = kept;
    printf("the smallest program that fails so, chosen by%s:\n\n%s\n%s\n",
           choices.n ? choices.at : " nothing", text.at, c->note->why);
    buf_release(&choices);
    buf_release(&text);
}

static bool modes_of(const char *word, unsigned *out)
{
    static const struct {
        const char *word;
        unsigned modes;
    } rows[] = {{"print", MODE_print},
                {"passes", MODE_passes},
                {"host", MODE_host},
                {"mesh", MODE_mesh},
                {"plans", MODE_plans},
                {"layouts", MODE_layouts},
                {"gpu", MODE_gpu},
                {"all", MODE_print | MODE_passes | MODE_mesh | MODE_host |
                            MODE_plans | MODE_layouts}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].word, word)) {
            *out = rows[i].modes;
            return true;
        }
    fprintf(stderr,
            "titan-smith: --mode is print, passes, host, mesh, plans, "
            "layouts, gpu or all, found '%s'\n",
            word);
    return false;
}

static void print_counts(const World *w, const Tally *t)
{
    char step[32];
    printf("ops:");
    for (uint32_t i = 0; i < OP_count; i++)
        if (w->nmade[i]) printf(" %s %u", op_info((Op)i)->name, w->nmade[i]);
    printf("\nscalar functions:");
    for (uint32_t i = SC_add; i < SC_count; i++)
        printf(" %s %u", scalar_info((ScalarOp)i)->name, w->nscalars[i]);
    printf("\nprograms that a pass changed:");
    for (uint32_t i = 0; check_step(i, step); i++)
        printf(" %s %u", step, t->checked[i]);
    printf("\nnot compared: %u\n", t->skipped);
}

static Note *shared_note(void)
{
    void *p = mmap(NULL, sizeof(Note), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p != MAP_FAILED) return p;
    perror("titan-smith");
    exit(70);
}

/* A program of IR, and what holds of it; --emit-program prints it instead. */
static bool try_program(Check *c, uint32_t ninsts, World *w, bool emit)
{
    Buf text = {0};
    c->task = NULL;
    bool gpu = c->modes == MODE_gpu;
    if (gpu && c->seed % EACH_SHORT == 1) ninsts = SHORT_INSTS;
    smith_program(&(SmithOpts){c->seed, ninsts, gpu}, w, &text);
    if (emit) fputs(text.at, stdout);
    bool ok = emit || passes_check(c, text.at, text.n);
    if (!ok) report(c, &text);
    buf_release(&text);
    return ok;
}

static bool try_task(Check *c, bool emit, bool layouts)
{
    Buf text = {0};
    Task task;
    task_choose(c->seed, c->modes == MODE_gpu ? c->give.devices : 0, NULL,
                &task);
    task.layouts = layouts;
    source_print(&task, &text);
    c->task = &task;
    if (emit) fputs(text.at, stdout);
    bool ok = emit || passes_check(c, text.at, text.n);
    if (!ok) report_task(c, &task);
    buf_release(&text);
    return ok;
}

/* A program of the user's in layouts of each seed. */
static uint32_t try_file(Check *c, const char *path, uint64_t seed,
                         uint64_t count)
{
    Arena a;
    size_t n = 0;
    uint32_t failed = 0;
    arena_init(&a, "file");
    const char *text = read_file(&a, path, &n);
    c->file = path;
    if (!text) {
        perror(path);
        failed++;
    }
    for (uint64_t i = 0; text && i < count && failed < 5; i++) {
        c->seed = seed + i;
        if (passes_check(c, text, n)) continue;
        failed++;
        printf("%s, seed %llu fails: %s\n", path, (unsigned long long)c->seed,
               c->note->why);
    }
    arena_release(&a);
    return failed;
}

static bool give_opts(const Options *o, GiveOpts *out)
{
    const char *target = option_text(o, OPT_target);
    *out = (GiveOpts){option_text(o, OPT_cases), TARGET_sm_90a,
                      option_number(o, OPT_devices, 1)};
    int64_t n = out->devices;
    if (n < 1 || n > MOST_GPUS || n % 5 == 0 || n % 7 == 0)
        fprintf(stderr,
                "titan-smith: --devices is 1, 2, 3, 4, 6 or 8, found "
                "%lld\n",
                (long long)n);
    else if (!out->folder && !option_given(o, OPT_emit_program))
        fprintf(stderr, "titan-smith: --mode gpu needs --cases DIR\n");
    else if (target && !target_find(target, &out->target))
        fprintf(stderr, "titan-smith: no target '%s'\n", target);
    else
        return true;
    return false;
}

static int run(const Options *o)
{
    Check c = {.note = shared_note()};
    World w = {0};
    uint32_t failed = 0;
    uint64_t seed = (uint64_t)option_number(o, OPT_seed, 0);
    uint64_t count = (uint64_t)option_number(o, OPT_count, 100);
    uint32_t ninsts = (uint32_t)option_number(o, OPT_ops, 12);
    bool emit = option_given(o, OPT_emit_program);
    if (!modes_of(option_text(o, OPT_mode), &c.modes)) return USAGE;
    if (c.modes == MODE_gpu && !give_opts(o, &c.give)) return USAGE;
    for (uint32_t i = 0; i < o->arguments.n; i++)
        failed += try_file(&c, o->arguments.at[i], seed, count);
    if (o->arguments.n) {
        printf("not compared: %u\n%u files, %u failed\n", c.note->tally.skipped,
               o->arguments.n, failed);
        return failed ? WRONG : OK;
    }
    for (uint64_t i = 0; i < (emit ? 1 : count) && failed < 5; i++) {
        c.seed = seed + i;
        if (c.modes == MODE_gpu &&
            c.seed % (c.give.devices > 1 ? EACH_SHARED_STEP : EACH_STEP) == 0) {
            failed += !try_task(&c, emit, false);
            continue;
        }
        if (c.modes & ~MODE_plans) failed += !try_program(&c, ninsts, &w, emit);
        if (c.modes == MODE_plans || (c.modes & MODE_plans && !emit))
            failed += !try_task(&c, emit, false);
        if (c.modes & MODE_layouts && !emit && c.seed % EACH_TASK == 0)
            failed += !try_task(&c, emit, true);
    }
    if (emit) return OK;
    if (c.modes == MODE_gpu)
        printf("written: %u, with the host's bits: %u\n"
               "refused: %u, without collectives: %u, results not compared: "
               "%u\n",
               c.note->tally.given, c.note->tally.exact, c.note->tally.refused,
               c.note->tally.alone, c.note->tally.skipped);
    else if (c.modes & ~MODE_plans)
        print_counts(&w, &c.note->tally);
    if (c.modes & MODE_plans)
        cover_print(&c.note->cover, option_given(o, OPT_coverage));
    printf("%llu programs, %u failed\n", (unsigned long long)count, failed);
    return failed ? WRONG : OK;
}

int main(int argc, char **argv)
{
    Options o;
    char error[OPTION_ERROR];
    int code = OK;
    if (!options_parse(&o, PROGRAM_smith, argc, argv, error)) {
        fprintf(stderr, "titan-smith: %s\n", error);
        return USAGE;
    }
    if (option_given(&o, OPT_help))
        options_help(&program, stdout);
    else if (option_given(&o, OPT_manual))
        options_man(&program, stdout);
    else
        code = run(&o);
    options_release(&o);
    return code;
}
