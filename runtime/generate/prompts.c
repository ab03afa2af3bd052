/*
 * prompts.c: the texts to go on with, from the command line, from files, from
 * standard input.
 */
#include "prompts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../text/bytes.h"

enum { MOST_BYTES = 1 << 26 }; /* of all that is read of a file */

/* Takes TEXT. */
static TitanStatus add(TitanStory *s, Prompts *p, char *text, size_t n)
{
    if (p->count == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 16;
        char **at = realloc(p->at, cap * sizeof *at);
        if (at) p->at = at;
        size_t *sizes = at ? realloc(p->n, cap * sizeof *sizes) : NULL;
        if (sizes) p->n = sizes;
        if (!at || !sizes) {
            free(text);
            return titan_no_memory(s);
        }
        p->cap = cap;
    }
    p->at[p->count] = text;
    p->n[p->count++] = n;
    return TITAN_OK;
}

static TitanStatus add_copy(TitanStory *s, Prompts *p, const char *text,
                            size_t n)
{
    char *copy = malloc(n + 1);
    if (!copy) return titan_no_memory(s);
    memcpy(copy, text, n);
    copy[n] = 0;
    return add(s, p, copy, n);
}

void prompts_release(Prompts *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->at[i]);
    free(p->at);
    free(p->n);
    *p = (Prompts){0};
}

static TitanStatus open_file(TitanStory *s, const char *path, FILE **out)
{
    *out = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (*out) return TITAN_OK;
    return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                      strerror(errno));
}

/* All that is left of a file. */
static TitanStatus read_rest(TitanStory *s, FILE *in, const char *path,
                             char **out, size_t *n)
{
    size_t cap = 0;
    *out = NULL;
    *n = 0;
    while (!feof(in) && !ferror(in) && *n < MOST_BYTES) {
        if (cap - *n < 4096) {
            cap = 2 * cap + 65536;
            char *more = realloc(*out, cap + 1);
            if (!more) return titan_no_memory(s);
            *out = more;
        }
        *n += fread(*out + *n, 1, cap - *n, in);
    }
    if (!*out) return titan_no_memory(s);
    (*out)[*n] = 0;
    if (ferror(in))
        return titan_fail(s, TITAN_IO, "could not read \"%s\": %s", path,
                          strerror(errno));
    if (*n < MOST_BYTES) return TITAN_OK;
    return titan_fail(s, TITAN_BAD_DATA,
                      "\"%s\" is no prompt: it is larger "
                      "than 64 MiB",
                      path);
}

static TitanStatus read_file(TitanStory *s, const char *path, char **text,
                             size_t *n)
{
    FILE *in;
    TRY(open_file(s, path, &in));
    TitanStatus st = read_rest(s, in, path, text, n);
    if (in != stdin) fclose(in);
    if (st != TITAN_OK) free(*text);
    return st;
}

static TitanStatus add_file(TitanStory *s, Prompts *p, const char *path)
{
    char *text;
    size_t n;
    TRY(read_file(s, path, &text, &n));
    return add(s, p, text, n);
}

static TitanStatus add_lines(TitanStory *s, Prompts *p, const char *path)
{
    char *text;
    size_t n;
    TRY(read_file(s, path, &text, &n));
    TitanStatus st = TITAN_OK;
    for (size_t from = 0; from < n && st == TITAN_OK;) {
        char *end = memchr(text + from, '\n', n - from);
        size_t line = end ? (size_t)(end - text) - from : n - from;
        if (line > 0) st = add_copy(s, p, text + from, line);
        from += line + 1;
    }
    free(text);
    return st;
}

static TitanStatus add_each(TitanStory *s, Prompts *p, const OptionList *l,
                            TitanStatus (*one)(TitanStory *, Prompts *,
                                               const char *))
{
    for (uint32_t i = 0; i < l->n; i++)
        TRY(one(s, p, l->at[i]));
    return TITAN_OK;
}

static TitanStatus add_text(TitanStory *s, Prompts *p, const char *text)
{
    return add_copy(s, p, text, strlen(text));
}

TitanStatus prompts_read(TitanStory *s, const Options *o, Prompts *out)
{
    *out = (Prompts){0};
    TRY(add_each(s, out, option_list(o, OPT_prompt), add_text));
    TRY(add_each(s, out, option_list(o, OPT_prompt_file), add_file));
    TRY(add_each(s, out, option_list(o, OPT_prompt_lines), add_lines));
    if (out->count > 0 || isatty(STDIN_FILENO)) return TITAN_OK;
    return add_file(s, out, "-");
}

TitanStatus prompts_line(TitanStory *s, Prompts *out, bool *more)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n = getline(&line, &cap, stdin);
    *more = n >= 0;
    if (n < 0) {
        free(line);
        return TITAN_OK;
    }
    if (n > 0 && line[n - 1] == '\n') line[--n] = 0;
    return add(s, out, line, (size_t)n);
}
