/*
 * titan-run.c: runs a compiled step.
 *
 * A training program is started in place of this process, with the same
 * arguments; a step.ptx is run here, on a GPU.  Either can be listed on any
 * machine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../runtime/option.h"
#include "start.h"

static const ProgramText text = {
    PROGRAM_run, "titan-run", "FILE [options]",
    "Runs a step.ptx or a training program, or lists what is in it."};

/* The arguments without the file; argv[0] is the file's name. */
static char **arguments(int argc, char **argv, const char *path, int *n)
{
    char **args = calloc((size_t)argc + 1, sizeof *args);
    bool dropped = false;
    *n = 0;
    for (int i = 0; args && i < argc; i++) {
        bool file = i > 0 && !dropped && strcmp(argv[i], path) == 0;
        dropped = dropped || file;
        if (!file) args[(*n)++] = argv[i];
    }
    return args;
}

static TitanStatus run(TitanStory *s, const Options *o, int argc, char **argv,
                       int *code)
{
    if (o->arguments.n != 1)
        return titan_fail(s, TITAN_USAGE,
                          "give one FILE, a step.ptx or a training program");
    int n;
    const char *path = o->arguments.at[0];
    char **args = arguments(argc, argv, path, &n);
    if (!args) return titan_no_memory(s);
    TitanStatus st = start_file(s, path, false, n, args, code);
    free(args);
    return st;
}

int main(int argc, char **argv)
{
    char error[OPTION_ERROR];
    Options o;
    TitanStory story = {0};
    TitanStatus st = TITAN_OK;
    int code = 0;
    if (!options_parse(&o, PROGRAM_run, argc, argv, error)) {
        fprintf(stderr, "titan-run: error: %s\n", error);
        return TITAN_USAGE;
    }
    bool file = o.arguments.n > 0;
    if (!file && option_given(&o, OPT_help))
        options_help(&text, stdout);
    else if (!file && option_given(&o, OPT_manual))
        options_man(&text, stdout);
    else if (!file && option_given(&o, OPT_version))
        printf("image version %d\n", TITAN_IMAGE_VERSION);
    else
        st = run(&story, &o, argc, argv, &code);
    if (st != TITAN_OK) titan_story_print(&story, "titan-run");
    options_release(&o);
    return st == TITAN_OK ? code : (int)st;
}
