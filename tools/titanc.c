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

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expect.h"
#include "show.h"

static const ProgramText program = {
    PROGRAM_titanc, "titanc", "FILE.tt... [options] -o FILE",
    "Compiles a model and a plan into a training step: PTX with its schedule "
    "(.ptx), a program for the host, an object (.o), or IR as text (.tir)."};

static bool over_limit(const Job *j)
{
    ReportView v;
    for (const Report *r = NULL; (r = diag_next(&j->diag, r, &v));)
        if (v.id == DIAG_memory_limit) return true;
    return false;
}

static int work(void *user, GuardNote *note)
{
    Request *r = user;
    Job j;
    if (r->plan && !strcmp(r->plan, "auto") &&
        !plan_search(r, r->arena, note)) {
        plan_forget(r);
        return EXIT_WRONG;
    }
    job_init(&j, r, note);
    bool ok = job_make(&j) && depfile_write(&j);
    if (option_given(r->o, OPT_expected))
        ok = expect_met(&j.diag);
    else
        show_reports(&j.diag, r->o);
    int code = ok ? EXIT_OK : over_limit(&j) ? EXIT_OVER_LIMIT : EXIT_WRONG;
    job_release(&j);
    plan_forget(r);
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
    if (step == 0 || !job_parse(&j) || !frontend_lower(j.frontend))
        return false;
    const char *passes = job_pipeline(&j);
    if (!passes) return false;
    if (step > 1 && !job_passes(&j, passes, step - 1)) return false;
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
    signal(SIGXFSZ, SIG_IGN); /* a file that grows too long is an error */
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
