/*
 * titan.c: the helper commands around training, `titan COMMAND ...`.
 */
#include "titan/command.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct Command {
    ProgramText text; /* name: as typed behind `titan` */
    TitanStatus (*run)(TitanStory *s, const Options *o);
} Command;

static const Command commands[] = {
#define COMMAND(name, usage, summary) \
    {{PROGRAM_##name, #name, usage, summary}, command_##name},
#include "titan/commands.def"
#undef COMMAND
    {{0}, NULL}};

static void print_commands(FILE *out)
{
    fputs("usage: titan COMMAND [options]\n\n", out);
    for (const Command *c = commands; c->run; c++)
        fprintf(out, "  %-10s %s\n", c->text.name, c->text.summary);
    fputs("\n`titan COMMAND --help` says more of one.\n", out);
}

static const Command *find(const char *name)
{
    for (const Command *c = commands; c->run; c++)
        if (strcmp(c->text.name, name) == 0) return c;
    return NULL;
}

static const Command *nearest(const char *name)
{
    const Command *best = NULL;
    unsigned least = 3;
    for (const Command *c = commands; c->run; c++) {
        unsigned d = edit_distance(c->text.name, name);
        if (d >= least) continue;
        least = d;
        best = c;
    }
    return best;
}

/* The exit codes of the tools that are no training program. */
static int exit_code(TitanStatus st)
{
    if (st == TITAN_USAGE) return 2;
    bool input = st == TITAN_BAD_DATA || st == TITAN_IO || st == TITAN_MISMATCH;
    return input ? 1 : (int)st;
}

static int unknown(const char *name)
{
    const Command *near = nearest(name);
    fprintf(stderr, "titan: error: there is no command \"%s\"", name);
    if (near) fprintf(stderr, "; did you mean \"%s\"?", near->text.name);
    if (!near) fputs("; --help lists them", stderr);
    fputs("\n", stderr);
    return exit_code(TITAN_USAGE);
}

static int run(const Command *c, int argc, char **argv)
{
    char error[OPTION_ERROR], name[32];
    Options o;
    snprintf(name, sizeof name, "titan %s", c->text.name);
    if (!options_parse(&o, c->text.program, argc, argv, error)) {
        fprintf(stderr, "%s: error: %s\n", name, error);
        return exit_code(TITAN_USAGE);
    }
    ProgramText text = c->text;
    text.name = name;
    TitanStory story = {0};
    TitanStatus st = TITAN_OK;
    if (option_given(&o, OPT_help))
        options_help(&text, stdout);
    else if (option_given(&o, OPT_manual))
        options_man(&text, stdout);
    else
        st = c->run(&story, &o);
    if (st != TITAN_OK) titan_story_print(&story, name);
    options_release(&o);
    return exit_code(st);
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file that grows too long is an error */
    if (argc < 2) {
        print_commands(stderr);
        return exit_code(TITAN_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0) {
        print_commands(stdout);
        return 0;
    }
    const Command *c = find(argv[1]);
    return c ? run(c, argc - 1, argv + 1) : unknown(argv[1]);
}
