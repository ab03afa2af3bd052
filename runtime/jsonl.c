/*
 * jsonl.c: a file of JSON objects, one a line.
 */
#include "jsonl.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------- the line -- */

static bool reserve(Jsonl *r, size_t more)
{
    if (r->n + more <= r->cap) return true;
    size_t cap = r->cap ? r->cap : 1024;
    while (cap < r->n + more)
        cap *= 2;
    char *at = realloc(r->at, cap);
    if (!at) {
        r->failed = true;
        return false;
    }
    r->at = at;
    r->cap = cap;
    return true;
}

static void put_char(Jsonl *r, char c)
{
    if (reserve(r, 1)) r->at[r->n++] = c;
}

__attribute__((format(printf, 2, 3))) static void put(Jsonl *r, const char *fmt,
                                                      ...)
{
    char text[64];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (const char *t = text; *t; t++)
        put_char(r, *t);
}

static void put_text(Jsonl *r, const char *text)
{
    put_char(r, '"');
    for (const char *t = text; *t; t++) {
        if (*t == '"' || *t == '\\')
            put(r, "\\%c", *t);
        else if ((unsigned char)*t < 0x20)
            put(r, "\\u%04x", (unsigned)(unsigned char)*t);
        else
            put_char(r, *t);
    }
    put_char(r, '"');
}

static void put_number(Jsonl *r, double x)
{
    if (isfinite(x))
        put(r, "%.17g", x);
    else
        put(r, "null");
}

static void put_key(Jsonl *r, const char *key)
{
    put_char(r, r->n == 0 ? '{' : ',');
    put_text(r, key);
    put_char(r, ':');
}

void jsonl_begin(Jsonl *r)
{
    r->n = 0;
    r->failed = false;
}

void jsonl_whole(Jsonl *r, const char *key, int64_t x)
{
    put_key(r, key);
    put(r, "%" PRId64, x);
}

void jsonl_number(Jsonl *r, const char *key, double x)
{
    put_key(r, key);
    put_number(r, x);
}

void jsonl_numbers(Jsonl *r, const char *key, const double *x, int64_t n)
{
    put_key(r, key);
    put_char(r, '[');
    for (int64_t i = 0; i < n; i++) {
        if (i) put_char(r, ',');
        put_number(r, x[i]);
    }
    put_char(r, ']');
}

void jsonl_text(Jsonl *r, const char *key, const char *text)
{
    put_key(r, key);
    put_text(r, text);
}

void jsonl_json(Jsonl *r, const char *key, const char *json)
{
    put_key(r, key);
    for (const char *t = json; *t; t++)
        put_char(r, *t);
}

const char *jsonl_line(Jsonl *r, size_t *n)
{
    put(r, "}\n");
    *n = r->n;
    return r->failed ? NULL : r->at;
}

TitanStatus jsonl_end(TitanStory *s, Jsonl *r)
{
    size_t n;
    const char *line = jsonl_line(r, &n);
    if (!line) return titan_no_memory(s);
    return sink_write(s, &r->sink, line, n);
}

/* ------------------------------------------------------------- the file -- */

TitanStatus jsonl_open(TitanStory *s, Jsonl *r, const char *path, SinkMode mode)
{
    return sink_open(s, &r->sink, path, mode);
}

/* The step of a row as `jsonl_whole` writes it first; -1: it is none. */
static int64_t row_step(const char *line)
{
    int64_t step;
    return sscanf(line, "{\"step\":%" SCNd64, &step) == 1 ? step : -1;
}

/* What stands there is a row or the beginning of one. */
static bool begins_row(const char *line, size_t n)
{
    static const char first[] = "{\"step\":";
    size_t most = sizeof first - 1;
    return memcmp(line, first, n < most ? n : most) == 0;
}

/* Bytes up to the first row behind STEP; -1: line NUMBER is no row. */
static int64_t find_end(FILE *in, int64_t step, int64_t *number)
{
    char *line = NULL;
    size_t cap = 0;
    int64_t end = 0;
    for (*number = 1;; ++*number) {
        ssize_t n = getline(&line, &cap, in);
        if (n <= 0) break;
        bool half = line[n - 1] != '\n' && begins_row(line, (size_t)n);
        int64_t is = half ? INT64_MAX : row_step(line);
        if (is < 0) end = -1;
        if (is < 0 || is > step) break;
        end += n;
    }
    free(line);
    return end;
}

TitanStatus jsonl_continue(TitanStory *s, Jsonl *r, const char *path,
                           int64_t step)
{
    int64_t number, end = 0;
    FILE *in = fopen(path, "r");
    if (in) {
        end = find_end(in, step, &number);
        fclose(in);
        if (end < 0)
            return titan_fail(s, TITAN_BAD_DATA,
                              "line %" PRId64
                              " of \"%s\" is no row of metrics; name another "
                              "file",
                              number, path);
    } else if (errno != ENOENT) {
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(errno));
    }
    TRY(jsonl_open(s, r, path, SINK_append));
    return end < r->sink.length ? sink_cut(s, &r->sink, end) : TITAN_OK;
}

TitanStatus jsonl_close(TitanStory *s, Jsonl *r)
{
    free(r->at);
    r->at = NULL;
    r->n = r->cap = 0;
    return sink_close(s, &r->sink);
}
