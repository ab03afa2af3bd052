/*
 * option.h: command lines, from the one table options.def.
 *
 *     Options o;
 *     char error[OPTION_ERROR];
 *     if (!options_parse(&o, PROGRAM_titanc, argc, argv, error)) ... exit 2
 *     const char *target = option_text(&o, OPT_target);
 *     options_release(&o);
 *
 * `@FILE` reads further arguments from a file, one a line; `--` ends the
 * options; `-` is an argument.  Numbers are checked by the parser.
 */
#ifndef TITAN_OPTION_H
#define TITAN_OPTION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { OPTION_ERROR = 512 };

typedef enum OptionId {
#define OPTION(id, spelling, kind, value, programs, dflt, help) OPT_##id,
#include "options.def"
#undef OPTION
    OPT_COUNT
} OptionId;

typedef enum Program {
    PROGRAM_titanc = 1,
    PROGRAM_opt = 2,
    PROGRAM_run = 4,
    PROGRAM_smith = 8,
    PROGRAM_tokenize = 16,
    PROGRAM_inspect = 32,
    PROGRAM_verify = 64,
    PROGRAM_convert = 128,
    PROGRAM_report = 256,
    PROGRAM_generate = 512
} Program;

typedef struct OptionList {
    const char **at;
    uint32_t n;
} OptionList;

typedef struct Options {
    OptionList values[OPT_COUNT]; /* as given, in order */
    OptionList arguments;         /* what is no option */
    char **files;                 /* texts of response files */
    uint32_t nfiles;
} Options;

/* The strings of ARGV must outlive O.  False: ERROR says what is wrong with
 * the command line, and the nearest option where one is near. */
bool options_parse(Options *o, Program p, int argc, char **argv,
                   char error[OPTION_ERROR]);
void options_release(Options *o);

bool option_given(const Options *o, OptionId id);
/* The last value given, else the default, else NULL. */
const char *option_text(const Options *o, OptionId id);
int64_t option_number(const Options *o, OptionId id, int64_t otherwise);
double option_real(const Options *o, OptionId id, double otherwise);
const OptionList *option_list(const Options *o, OptionId id);
/* "--name=value" of each option that is given, behind LEAD arguments that the
 * caller fills; NULL-terminated.  N: how many, with those.  NULL: out of
 * memory. */
char **options_spelled(const Options *o, int lead, int *n);
void options_spelled_free(char **args, int lead);

/* NAME is the program's, USAGE what follows it, SUMMARY one sentence. */
typedef struct ProgramText {
    Program program;
    const char *name, *usage, *summary;
} ProgramText;
void options_help(const ProgramText *t, FILE *out);
void options_man(const ProgramText *t, FILE *out);

/* Edits (insert, delete, replace, swap) between two words: for "did you
 * mean". */
unsigned edit_distance(const char *a, const char *b);

#endif
