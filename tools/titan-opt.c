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

#include "../passes/pass.h"
#include "../runtime/abi.h"
#include "evaluate.h"
#include "expect.h"
#include "guard.h"
#include "show.h"

enum { OK = 0, WRONG = 1, USAGE = 2 };

static const ProgramText program = {
    PROGRAM_opt, "titan-opt", "FILE [options]",
    "Runs passes on the text form of the IR, and prints the result.\n\n"
    "--check-meaning runs the program before and after each pass on random "
    "inputs.  Elements of a result are off by at most 1e-12 of its largest, "
    "1e-9 where the pass reorders sums; integers are equal.  Where a pass "
    "chooses dtypes, a result is off by at most 16 u (1 + log2 n) of its norm, "
    "u being the unit of the coarsest dtype and n the longest sum; or, where "
    "the program magnifies what is rounded, by four times as much as it moves "
    "when each value that is computed is off by u, up or down by chance, in "
    "the worst of three runs."};

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
    const char *crash = option_text(w->o, OPT_crash_in);
    if (crash && strcmp(crash, pass) == 0)
        BUG("asked to die in front of pass '%s'", pass);
}

static const char *input_of(const Options *o)
{
    return o->arguments.at[0];
}

static bool read_module(Unit *u, const Options *o, const char *text, size_t n)
{
    uint32_t source = diag_add_source(&u->diag, input_of(o), text, n);
    u->diag.max_errors =
        (uint32_t)option_number(o, OPT_max_errors, u->diag.max_errors);
    return module_parse(&u->m, source) && module_verify(&u->m);
}

static bool run_passes(Unit *u, Work *w)
{
    const Options *o = w->o;
    const char *passes = option_text(o, OPT_passes);
    if (!passes) return true;
    show_ask_remarks(&u->diag, o);
    PipelineOpts p = {
        .print_after = option_text(o, OPT_print_after),
        .dump_dir = option_text(o, OPT_dump_dir),
        .stop_after = option_text(o, OPT_stop_after),
        .time_passes = option_given(o, OPT_time_passes),
        .check_meaning = option_given(o, OPT_check_meaning),
        .seed = strtoull(option_text(o, OPT_check_meaning), NULL, 10),
        .locs = option_given(o, OPT_locs),
        .verify = strcmp(option_text(o, OPT_verify), "end") == 0 ? VERIFY_end
                                                                 : VERIFY_each,
        .on_step = on_step,
        .user = w,
    };
    return pipeline_run(&u->m, passes, &p);
}

static void print_module(Unit *u, const Work *w)
{
    Buf b = {0};
    if (w->nth > 0) fputs("// -----\n", stdout);
    module_print(&u->m, &(PrintOpts){.locs = option_given(w->o, OPT_locs)}, &b);
    if (b.n) fputs(b.at, stdout);
    buf_release(&b);
}

static uint64_t seed_of(const Options *o)
{
    return option_given(o, OPT_seed) ? (uint64_t)option_number(o, OPT_seed, 1)
                                     : 1;
}

/* What is printed of a module: its text, or what it computes. */
static bool print_outcome(Unit *u, Work *w)
{
    const Options *o = w->o;
    Buf b = {0};
    bool ok = true;
    bool interp = option_given(o, OPT_interp);
    bool check_grad = option_given(o, OPT_check_grad);
    if (interp) {
        EvaluateOpts how = {.fn = option_text(o, OPT_interp),
                            .args = option_text(o, OPT_args),
                            .seed = seed_of(o),
                            .round = option_given(o, OPT_round)};
        ok = evaluate_print(&u->m, &how, &b);
    }
    if (ok && check_grad) ok = evaluate_grads(&u->m, seed_of(o), &b);
    if (b.n) fputs(b.at, stdout);
    buf_release(&b);
    if (!interp && !check_grad) print_module(u, w);
    return ok;
}

static bool run_part(Work *w, const char *text, size_t n)
{
    Unit u;
    unit_init(&u);
    bool ok = read_module(&u, w->o, text, n) && run_passes(&u, w);
    if (option_given(w->o, OPT_expected)) {
        ok = expect_met(&u.diag);
    } else {
        if (ok) ok = print_outcome(&u, w);
        show_reports(&u.diag, w->o);
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
static bool run_parts(Work *w, Arena *a, const char *text, size_t n)
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
        ok = run_part(w, part, lines + length) && ok;
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
    char *text = read_file(&a, input_of(w.o), &n);
    if (!text) {
        fprintf(stderr, "titan-opt: could not read \"%s\": %s\n", input_of(w.o),
                strerror(errno));
        return WRONG;
    }
    bool ok = option_given(w.o, OPT_split_input) ? run_parts(&w, &a, text, n)
                                                 : run_part(&w, text, n);
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
    const char *passes = option_text(o, OPT_passes);
    char *input = read_file(&u.arena, input_of(o), &n);
    if (!input || option_given(o, OPT_split_input) ||
        !read_module(&u, o, input, n))
        return false;
    PipelineOpts p = {.most_steps = step ? step - 1 : 0};
    if (step > 1 && !pipeline_run(&u.m, passes, &p)) return false;
    module_print(&u.m, NULL, text);
    buf_puts(command, "titan-opt THIS_FILE");
    if (passes)
        buf_printf(command, " --passes='%s'",
                   pipeline_from(&u.m, passes, step ? step : 1));
    if (option_given(o, OPT_check_meaning))
        buf_printf(command, " --check-meaning=%s",
                   option_text(o, OPT_check_meaning));
    return true;
}

/* ----------------------------------------------------------------- main -- */

/* What needs no input; true: it was asked for. */
static bool print_texts(const Options *o)
{
    if (option_given(o, OPT_help))
        options_help(&program, stdout);
    else if (option_given(o, OPT_manual))
        options_man(&program, stdout);
    else if (option_given(o, OPT_version))
        printf("IR of image version %d\n", TITAN_IMAGE_VERSION);
    else if (option_given(o, OPT_list_passes))
        show_passes();
    else
        return false;
    return true;
}

static bool check_options(const Options *o, char error[OPTION_ERROR])
{
    const char *verify = option_text(o, OPT_verify);
    if (o->arguments.n != 1)
        snprintf(error, OPTION_ERROR, "one input file is needed, found %u",
                 o->arguments.n);
    else if (strcmp(verify, "each") != 0 && strcmp(verify, "end") != 0)
        snprintf(error, OPTION_ERROR, "--verify is each or end, not '%s'",
                 verify);
    else
        return show_options_valid(o, error);
    return false;
}

static int usage_error(const char *error)
{
    fprintf(stderr, "titan-opt: %s\n", error);
    return USAGE;
}

int main(int argc, char **argv)
{
    Options o;
    char error[OPTION_ERROR];
    if (!options_parse(&o, PROGRAM_opt, argc, argv, error))
        return usage_error(error);
    if (print_texts(&o)) return OK;
    if (!check_options(&o, error)) return usage_error(error);
    Guard g = {
        .tool = "titan-opt",
        .argc = argc,
        .argv = argv,
        .inputs = o.arguments.at,
        .ninputs = o.arguments.n,
        .reproducer = option_text(&o, OPT_reproducer),
        .work = run,
        .replay = replay,
        .user = &o,
    };
    int code = guard_run(&g);
    options_release(&o);
    return code;
}
