/*
 * prompts.h: the texts to go on with.
 */
#ifndef TITAN_PROMPTS_H
#define TITAN_PROMPTS_H

#include "../option.h"
#include "../titan.h"

typedef struct Prompts {
    char **at; /* each of n[i] bytes, NUL-terminated */
    size_t *n;
    size_t count, cap;
} Prompts;

/* Those that the command line names, in the order --prompt, --prompt-file,
 * --prompt-lines.  Without any: all of standard input, or none where that is a
 * terminal. */
TitanStatus prompts_read(TitanStory *s, const Options *o, Prompts *out);
/* The next line of standard input; MORE: false where it has ended. */
TitanStatus prompts_line(TitanStory *s, Prompts *out, bool *more);
void prompts_release(Prompts *p);

#endif
