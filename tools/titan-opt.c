/*
 * titan-opt.c: runs passes on the text form of the IR.
 *
 * Reads a .tir file, verifies it, runs the passes asked for, and prints the
 * result.  Only IR goes to stdout.  The work runs in a child process, so that
 * an internal error leaves a reproducer (guard.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../passes/pass.h"
#include "evaluate.h"
#include "expect.h"
#include "guard.h"

enum { OK = 0, WRONG = 1, USAGE = 2 };

/* -------------------------------------------------------------- options -- */

typedef struct Options {
    const char *input, *passes, *print_after, *verify, *check_meaning;
    const char *reproducer, *dump_dir, *diagnostics, *color, *stop_after;
    const char *split_input, *verify_diagnostics, *time_passes, *list_passes;
    const char *locs, *remarks, *crash_in, *help;
    const char *interp, *args, *seed, *round, *check_grad;
} Options;

/* OPTION(field, spelling, value, help): value "" is a flag, "=X" needs a
 * value, "[=X]" may have one. */
typedef struct OptionRow {
    size_t field;
    const char *name, *value, *help;
} OptionRow;

#define ROW(field, name, value, help)               \
    {                                               \
        offsetof(Options, field), name, value, help \
    }
static const OptionRow option_rows[] = {
    ROW(passes, "passes", "=TEXT", "the passes to run: a,b{key=value}"),
    ROW(print_after, "print-after", "=PASS",
        "print the module after that pass; all, changed"),
    ROW(stop_after, "stop-after", "=PASS", "run no pass after that one"),
    ROW(dump_dir, "dump-dir", "=DIR",
        "write the module after each pass that changes it"),
    ROW(check_meaning, "check-meaning", "[=SEED]",
        "run the interpreter before and after each pass, and compare"),
    ROW(interp, "interp", "[=FN]",
        "run FN, or every function, and print results instead of IR"),
    ROW(args, "args", "=TEXT",
        "arguments for --interp: \"x=1,2;y=3\"; others are random"),
    ROW(round, "round", "", "--interp rounds values to their dtypes"),
    ROW(check_grad, "check-grad", "",
        "compare each grad with difference quotients and with autodiff"),
    ROW(seed, "seed", "=N", "seed of random arguments"),
    ROW(verify, "verify", "=each|end", "verify after each pass, or at the end"),
    ROW(verify_diagnostics, "verify-diagnostics", "",
        "compare diagnostics with the expected-error comments"),
    ROW(split_input, "split-input", "",
        "work on the parts between `// -----` lines one by one"),
    ROW(time_passes, "time-passes", "", "print the time of each pass"),
    ROW(remarks, "remarks", "", "print what passes remark"),
    ROW(locs, "locs", "", "print the source place of each instruction"),
    ROW(list_passes, "list-passes", "", "list the passes and pipelines"),
    ROW(diagnostics, "diagnostics", "=text|json", "form of diagnostics"),
    ROW(color, "color", "=auto|always|never", "colour of diagnostics"),
    ROW(reproducer, "reproducer", "=FILE",
        "where an internal error leaves its reproducer"),
    ROW(crash_in, "crash-in", "=PASS",
        "die in front of that pass, to see a reproducer"),
    ROW(help, "help", "", "print this text"),
};
#undef ROW

static void print_help(FILE *to)
{
    fprintf(to, "usage: titan-opt FILE [options]\n\n"
                "Runs passes on the text form of the IR (\"-\": stdin).\n\n");
    for (size_t i = 0; i < sizeof option_rows / sizeof *option_rows; i++) {
        const OptionRow *r = &option_rows[i];
        int width = fprintf(to, "  --%s%s", r->name, r->value);
        fprintf(to, "%*s%s\n", width < 30 ? 30 - width : 1, "", r->help);
    }
    fprintf(to, "\nExit codes: 0; 1 the input is wrong; 2 the command line is "
                "wrong; 70 internal error.\n");
}

static bool usage_error(const char *what, const char *arg)
{
    fprintf(stderr, "titan-opt: %s '%s' (see titan-opt --help)\n", what, arg);
    return false;
}

static bool set_option(Options *o, const OptionRow *r, const char *arg,
                       const char *value)
{
    if (value && r->value[0] == 0)
        return usage_error("this option takes no value:", arg);
    if (!value && r->value[0] == '=')
        return usage_error("this option needs a value:", arg);
    const char **field = (const char **)(void *)((char *)o + r->field);
    *field = value ? value : "";
    return true;
}

static bool parse_long(Options *o, const char *arg)
{
    const char *equals = strchr(arg, '=');
    size_t n = equals ? (size_t)(equals - arg - 2) : strlen(arg + 2);
    for (size_t i = 0; i < sizeof option_rows / sizeof *option_rows; i++) {
        const OptionRow *r = &option_rows[i];
        if (strlen(r->name) == n && memcmp(arg + 2, r->name, n) == 0)
            return set_option(o, r, arg, equals ? equals + 1 : NULL);
    }
    return usage_error("unknown option", arg);
}

static bool is_one_of(const char *value, const char *name, const char *a,
                      const char *b, const char *c)
{
    if (!value || strcmp(value, a) == 0 || strcmp(value, b) == 0 ||
        (c && strcmp(value, c) == 0))
        return true;
    fprintf(stderr, "titan-opt: --%s is %s, %s%s%s, found '%s'\n", name, a, b,
            c ? ", " : "", c ? c : "", value);
    return false;
}

static bool parse_options(int argc, char **argv, Options *o)
{
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0) {
            if (!parse_long(o, argv[i])) return false;
        } else if (o->input) {
            return usage_error("a second input:", argv[i]);
        } else {
            o->input = argv[i];
        }
    }
    if (!o->input && !o->list_passes && !o->help) {
        fprintf(stderr, "titan-opt: no input file (see titan-opt --help)\n");
        return false;
    }
    return is_one_of(o->verify, "verify", "each", "end", NULL) &&
           is_one_of(o->diagnostics, "diagnostics", "text", "json", NULL) &&
           is_one_of(o->color, "color", "auto", "always", "never");
}

/* ----------------------------------------------------------------- work -- */

/* One module and everything it stands on. */
typedef struct Unit {
    Arena arena, scratch;
    Diag diag;
    Module m;
} Unit;

static void unit_init(Unit *u)
{
    arena_init(&u->arena, "module");
    arena_init(&u->scratch, "scratch");
    diag_init(&u->diag, &u->arena);
    module_init(&u->m, &u->arena, &u->scratch, &u->diag);
}

static void unit_release(Unit *u)
{
    arena_release(&u->scratch);
    arena_release(&u->arena);
}

typedef struct Work {
    const Options *o;
    GuardNote *note;
    uint32_t nth; /* of the parts of the input, from 0 */
} Work;

static void on_step(void *user, uint32_t step, const char *pass)
{
    Work *w = user;
    guard_on_step(w->note, step, pass);
    if (w->o->crash_in && strcmp(w->o->crash_in, pass) == 0)
        BUG("asked to die in front of pass '%s'", pass);
}

static bool read_module(Unit *u, const Options *o, const char *text, size_t n)
{
    uint32_t source = diag_add_source(&u->diag, o->input, text, n);
    return module_parse(&u->m, source) && module_verify(&u->m);
}

static bool run_passes(Unit *u, Work *w, Buf *remarks)
{
    const Options *o = w->o;
    if (!o->passes) return true;
    PipelineOpts p = {
        .print_after = o->print_after,
        .dump_dir = o->dump_dir,
        .stop_after = o->stop_after,
        .time_passes = o->time_passes != NULL,
        .check_meaning = o->check_meaning != NULL,
        .remarks = o->remarks ? remarks : NULL,
        .locs = o->locs != NULL,
        .verify_end = o->verify && strcmp(o->verify, "end") == 0,
        .on_step = on_step,
        .user = w,
    };
    if (o->check_meaning) p.seed = strtoull(o->check_meaning, NULL, 10);
    return pipeline_run(&u->m, o->passes, &p);
}

static void print_diag(const Unit *u, const Options *o)
{
    Buf b = {0};
    bool always = o->color && strcmp(o->color, "always") == 0;
    bool never = o->color && strcmp(o->color, "never") == 0;
    DiagFormat f = always || (!never && isatty(STDERR_FILENO)) ? DIAG_TEXT_COLOR
                                                               : DIAG_TEXT;
    if (o->diagnostics && strcmp(o->diagnostics, "json") == 0) f = DIAG_JSON;
    diag_render(&u->diag, f, &b);
    if (b.n) fputs(b.at, stderr);
    buf_release(&b);
}

static void print_module(Unit *u, const Work *w)
{
    Buf b = {0};
    if (w->nth > 0) fputs("// -----\n", stdout);
    module_print(&u->m, &(PrintOpts){.locs = w->o->locs != NULL}, &b);
    if (b.n) fputs(b.at, stdout);
    buf_release(&b);
}

static bool check_diag(const Unit *u)
{
    Buf b = {0};
    bool ok = expect_met(&u->diag, &b);
    if (!ok) fputs(b.at, stderr);
    buf_release(&b);
    return ok;
}

/* What is printed of a module: its text, or what it computes. */
static bool print_outcome(Unit *u, Work *w)
{
    const Options *o = w->o;
    Buf b = {0};
    bool ok = true;
    uint64_t seed = o->seed ? strtoull(o->seed, NULL, 10) : 1;
    if (o->interp) {
        EvaluateOpts how = {o->interp, o->args, seed, o->round != NULL};
        ok = evaluate_print(&u->m, &how, &b);
    }
    if (ok && o->check_grad) ok = evaluate_grads(&u->m, seed, &b);
    if (b.n) fputs(b.at, stdout);
    buf_release(&b);
    if (!o->interp && !o->check_grad) print_module(u, w);
    return ok;
}

static bool do_part(Work *w, const char *text, size_t n)
{
    Unit u;
    Buf remarks = {0};
    unit_init(&u);
    bool ok = read_module(&u, w->o, text, n) && run_passes(&u, w, &remarks);
    if (remarks.n) fputs(remarks.at, stderr);
    buf_release(&remarks);
    if (w->o->verify_diagnostics) {
        ok = check_diag(&u);
    } else {
        if (ok) ok = print_outcome(&u, w);
        print_diag(&u, w->o);
    }
    unit_release(&u);
    return ok;
}

/* The next `// -----` line at or after s, or the end. */
static const char *part_end(const char *s)
{
    static const char mark[] = "// -----\n";
    size_t n = sizeof mark - 1;
    for (;; s++) {
        if (strncmp(s, mark, n) == 0) return s;
        s = strchr(s, '\n');
        if (!s) return NULL;
    }
}

/* Each part stands behind as many empty lines as come before it in the file,
 * so that lines are counted in the file. */
static bool do_parts(Work *w, Arena *a, const char *text, size_t n)
{
    bool ok = true;
    size_t lines = 0;
    const char *end = text + n;
    while (text) {
        const char *stop = part_end(text);
        size_t length = (size_t)((stop ? stop : end) - text);
        char *part = arena_alloc(a, lines + length + 1);
        memset(part, '\n', lines);
        memcpy(part + lines, text, length);
        ok = do_part(w, part, lines + length) && ok;
        w->nth++;
        for (size_t i = 0; i < length; i++)
            lines += text[i] == '\n';
        lines++;
        text = stop ? strchr(stop, '\n') + 1 : NULL;
    }
    return ok;
}

static int run(void *user, GuardNote *note)
{
    Work w = {user, note, 0};
    Arena a;
    size_t n;
    arena_init(&a, "session");
    char *text = read_file(&a, w.o->input, &n);
    if (!text) {
        fprintf(stderr, "titan-opt: could not read \"%s\": %s\n", w.o->input,
                strerror(errno));
        return WRONG;
    }
    bool ok =
        w.o->split_input ? do_parts(&w, &a, text, n) : do_part(&w, text, n);
    arena_release(&a);
    if (fflush(stdout) != 0) return WRONG;
    return ok ? OK : WRONG;
}

/* ----------------------------------------------------------- reproducer -- */

/* The module in front of the step that died, and the passes from it on. */
static bool replay(void *user, uint32_t step, Buf *text, Buf *command)
{
    const Options *o = user;
    Unit u;
    size_t n;
    unit_init(&u);
    char *input = read_file(&u.arena, o->input, &n);
    if (!input || o->split_input || !read_module(&u, o, input, n)) return false;
    PipelineOpts p = {.most_steps = step ? step - 1 : 0};
    if (step > 1 && !pipeline_run(&u.m, o->passes, &p)) return false;
    module_print(&u.m, NULL, text);
    buf_puts(command, "titan-opt THIS_FILE");
    if (o->passes)
        buf_printf(command, " --passes='%s'",
                   pipeline_from(&u.m, o->passes, step ? step : 1));
    if (o->check_meaning)
        buf_printf(command, " --check-meaning%s%s",
                   *o->check_meaning ? "=" : "", o->check_meaning);
    return true;
}

/* ----------------------------------------------------------------- main -- */

static void list_passes(void)
{
    const Pass *p;
    for (uint32_t i = 0; (p = pass_at(i)); i++)
        printf("%-14s %s\n", p->name, p->summary);
    printf("\n");
    for (uint32_t i = 0; pipeline_at(i); i++)
        printf("%-14s %s\n", pipeline_at(i), pipeline_find(pipeline_at(i)));
}

int main(int argc, char **argv)
{
    Options o = {0};
    if (!parse_options(argc, argv, &o)) return USAGE;
    if (o.help) {
        print_help(stdout);
        return OK;
    }
    if (o.list_passes) {
        list_passes();
        return OK;
    }
    Guard g = {
        .tool = "titan-opt",
        .argc = argc,
        .argv = argv,
        .inputs = &o.input,
        .ninputs = 1,
        .reproducer = o.reproducer,
        .work = run,
        .replay = replay,
        .user = &o,
    };
    return guard_run(&g);
}
