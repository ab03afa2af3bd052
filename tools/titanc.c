/*
 * titanc.c: the compiler's main program.
 *
 *     options -> files -> checked program -> passes -> code -> artifact
 *
 * The command line is read first; all work is done in a child process, so that
 * an internal error leaves a reproducer and exits with 70 (guard.h).  What is
 * printed on stdout is what was asked for; all else goes to stderr.
 */
#include "titanc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expect.h"
#include "program.h"
#include "show.h"

static const ProgramText program = {
    PROGRAM_titanc, "titanc", "FILE.tt... [options] -o FILE",
    "Compiles a model and a plan into a training step: PTX with its schedule "
    "(.ptx), a program for the host, an object (.o), or IR as text (.tir)."};

/* ------------------------------------------------------------------ job -- */

static void job_init(Job *j, const Request *r, GuardNote *note)
{
    *j = (Job){.r = r, .note = note};
    arena_init(&j->arena, "module");
    arena_init(&j->scratch, "scratch");
    diag_init(&j->diag, &j->arena);
    j->diag.max_errors = (uint32_t)option_number(r->o, OPT_max_errors, 20);
    module_init(&j->m, &j->arena, &j->scratch, &j->diag);
}

static void job_release(Job *j)
{
    json_decref(j->functions);
    arena_release(&j->scratch);
    arena_release(&j->arena);
}

static bool parse_job(Job *j)
{
    const Options *o = j->r->o;
    const OptionList *include = option_list(o, OPT_include);
    FrontendOpts f = {
        .inputs = o->arguments.at,
        .ninputs = o->arguments.n,
        .include_dirs = include->at,
        .ninclude_dirs = include->n,
        .defines = j->r->defines,
        .ndefines = option_list(o, OPT_define)->n,
        .config = option_text(o, OPT_config),
        .train = option_text(o, OPT_train),
        .plan = option_text(o, OPT_plan),
        .entries = option_text(o, OPT_entries),
        .dtype = option_text(o, OPT_dtype),
        .devices = option_number(o, OPT_devices, 0),
        .why = option_text(o, OPT_why),
        .check = option_given(o, OPT_check),
    };
    j->frontend = frontend_parse(&j->m, &f);
    return j->frontend != NULL;
}

/* --------------------------------------------------------------- passes -- */

static bool any_given(const Options *o, const OptionId *ids, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (option_given(o, ids[i])) return true;
    return false;
}

static bool needs_code(const Request *r)
{
    return r->emit >= EMIT_html || r->stats || r->memory_limit >= 0;
}

/* The passes to run.  --emit=tir alone shows the program before any pass. */
static const char *pipeline_for(const Request *r)
{
    static const OptionId whole[] = {OPT_print_after, OPT_dump_dir,
                                     OPT_stop_after, OPT_check_meaning,
                                     OPT_time_passes};
    const char *passes = option_text(r->o, OPT_passes);
    if (passes) return passes;
    if (needs_code(r)) return "train";
    if (any_given(r->o, whole, sizeof whole / sizeof *whole)) return "train";
    if (r->emit == EMIT_tir) return NULL;
    return option_given(r->o, OPT_check) ? "check" : NULL;
}

static void on_step(void *user, uint32_t step, const char *pass)
{
    Job *j = user;
    const char *crash = option_text(j->r->o, OPT_crash_in);
    guard_on_step(j->note, step, pass);
    if (crash && !strcmp(crash, pass))
        BUG("asked to die in front of pass '%s'", pass);
}

/* What a budget of memory holds a program against: its image. */
static bool arena_bytes(void *user, Module *planned, uint64_t *bytes)
{
    const Job *j = user;
    Artifact made;
    TitanImage im;
    TitanStory story = {0};
    if (!codegen_run(planned, &j->r->codegen, WANT_image, &made) ||
        titan_image_open(&story, made.image, made.image_size, &im))
        return false;
    *bytes = im.header->arena_bytes;
    return true;
}

static bool run_passes(Job *j, const char *text, uint32_t most_steps)
{
    const Options *o = j->r->o;
    show_ask_remarks(&j->diag, o);
    PipelineOpts p = {
        .print_after = option_text(o, OPT_print_after),
        .dump_dir = option_text(o, OPT_dump_dir),
        .stop_after = option_text(o, OPT_stop_after),
        .time_passes = option_given(o, OPT_time_passes),
        .check_meaning = option_given(o, OPT_check_meaning),
        .locs = option_given(o, OPT_locs),
        .most_steps = most_steps,
        .on_step = on_step,
        .arena = arena_bytes,
        .user = j,
    };
    if (p.check_meaning)
        p.seed = strtoull(option_text(o, OPT_check_meaning), NULL, 10);
    return pipeline_run(&j->m, text, &p);
}

/* ----------------------------------------------------------------- text -- */

static bool print_ast(Job *j)
{
    Buf b = {0};
    frontend_print_ast(j->frontend, &b);
    bool ok = text_write(j, &b);
    buf_release(&b);
    return ok;
}

static bool print_config(Job *j)
{
    Buf b = {0};
    bool ok = frontend_print_config(j->frontend, &b);
    if (ok && b.n) fputs(b.at, stdout);
    buf_release(&b);
    return ok;
}

static bool print_tir(Job *j)
{
    Buf b = {0};
    PrintOpts p = {.locs = option_given(j->r->o, OPT_locs)};
    module_print(&j->m, &p, &b);
    bool ok = text_write(j, &b);
    buf_release(&b);
    return ok;
}

/* ----------------------------------------------------------------- work -- */

static uint32_t wanted(const Request *r)
{
    switch (r->emit) {
    case EMIT_nothing:
    case EMIT_ast:
    case EMIT_tir:
    case EMIT_html:
    case EMIT_image:
        return WANT_image;
    case EMIT_llvm:
        return WANT_image | WANT_llvm;
    case EMIT_ptx:
        return WANT_image | WANT_ptx;
    case EMIT_obj:
        return WANT_image | WANT_object;
    case EMIT_exe:
        break;
    }
    bool gpu = target_is_gpu(r->codegen.target);
    return WANT_image | (gpu ? WANT_ptx : WANT_object);
}

static bool make_code(Job *j)
{
    const Request *r = j->r;
    /* --stop-after leaves the program before it can be translated */
    if (!needs_code(r) || option_given(r->o, OPT_stop_after)) return true;
    if (!codegen_run(&j->m, &r->codegen, wanted(r), &j->made)) return false;
    TitanImage im;
    if (!image_open(j, &im) || !within_limit(j)) return false;
    if (r->stats && !stats_print(j)) return false;
    return r->emit < EMIT_html || artifact_write(j);
}

static bool make(Job *j)
{
    const Request *r = j->r;
    if (!parse_job(j)) return false;
    if (r->emit == EMIT_ast) return print_ast(j);
    bool config = option_given(r->o, OPT_print_config);
    if (config && !print_config(j)) return false;
    if (config && r->emit == EMIT_nothing) return true;
    if (!frontend_lower(j->frontend) || !module_verify(&j->m)) return false;
    if (r->emit == EMIT_html) j->functions = program_functions(&j->m);
    /* fuse leaves whole regions to the kernels of a GPU */
    if (target_is_gpu(r->codegen.target)) {
        option_set(&j->m, "target", target_name(r->codegen.target));
        option_set(&j->m, "matmul", r->codegen.matmul);
    }
    if (option_given(r->o, OPT_streams))
        option_set(&j->m, "streams", option_text(r->o, OPT_streams));
    const char *text = pipeline_for(r);
    if (text && !run_passes(j, text, 0)) return false;
    if (option_given(r->o, OPT_why) && !why_print(j)) return false;
    if (r->emit == EMIT_tir && !print_tir(j)) return false;
    return make_code(j);
}

static bool compile(Job *j)
{
    return make(j) && depfile_write(j);
}

static bool over_limit(const Job *j)
{
    ReportView v;
    for (const Report *r = NULL; (r = diag_next(&j->diag, r, &v));)
        if (v.id == DIAG_memory_limit) return true;
    return false;
}

static int work(void *user, GuardNote *note)
{
    const Request *r = user;
    Job j;
    job_init(&j, r, note);
    bool ok = compile(&j);
    if (option_given(r->o, OPT_expected))
        ok = expect_met(&j.diag);
    else
        show_reports(&j.diag, r->o);
    int code = ok ? EXIT_OK : over_limit(&j) ? EXIT_OVER_LIMIT : EXIT_WRONG;
    job_release(&j);
    if (fflush(stdout) != 0 && code == EXIT_OK) {
        fprintf(stderr, "titanc: could not write to stdout\n");
        code = EXIT_WRONG;
    }
    return code;
}

/* The program in front of the step that died, as IR text. */
static bool replay(void *user, uint32_t step, Buf *text, Buf *command)
{
    const Request *r = user;
    Job j;
    GuardNote note = {0};
    job_init(&j, r, &note);
    const char *passes = pipeline_for(r);
    if (step == 0 || !passes || !parse_job(&j) || !frontend_lower(j.frontend))
        return false;
    if (step > 1 && !run_passes(&j, passes, step - 1)) return false;
    module_print(&j.m, NULL, text);
    buf_printf(command, "titan-opt THIS_FILE --passes='%s'",
               pipeline_from(&j.m, passes, step));
    return true;
}

/* ----------------------------------------------------------------- main -- */

static void list_targets(void)
{
    for (TargetId t = 0; t < TARGET_count; t++)
        printf("%s\n", target_name(t));
}

/* What needs no input.  True: *code is the exit code. */
static bool answer(const Options *o, int *code)
{
    *code = EXIT_OK;
    if (option_given(o, OPT_help))
        options_help(&program, stdout);
    else if (option_given(o, OPT_manual))
        options_man(&program, stdout);
    else if (option_given(o, OPT_version))
        printf("titanc %s\n", TITAN_VERSION);
    else if (option_given(o, OPT_list_passes))
        show_passes();
    else if (option_given(o, OPT_print_targets))
        list_targets();
    else if (option_given(o, OPT_explain))
        *code = explain(option_text(o, OPT_explain));
    else
        return false;
    return true;
}

static int guarded(int argc, char **argv, Request *r)
{
    Guard g = {
        .tool = "titanc",
        .argc = argc,
        .argv = argv,
        .inputs = r->o->arguments.at,
        .ninputs = r->o->arguments.n,
        .reproducer = option_text(r->o, OPT_reproducer),
        .work = work,
        .replay = replay,
        .user = r,
    };
    return guard_run(&g);
}

int main(int argc, char **argv)
{
    Options o;
    char error[OPTION_ERROR];
    if (!options_parse(&o, PROGRAM_titanc, argc, argv, error)) {
        fprintf(stderr, "titanc: %s\n", error);
        return EXIT_USAGE;
    }
    int code;
    Arena a;
    Request r;
    arena_init(&a, "session");
    if (!answer(&o, &code))
        code = request_read(&r, &o, &a) ? guarded(argc, argv, &r) : EXIT_USAGE;
    arena_release(&a);
    options_release(&o);
    return code;
}
