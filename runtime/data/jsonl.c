/*
 * jsonl.c: a document a line: an object with the text under a key, or an array
 * of token ids.  Empty lines are passed over.
 */
#include "documents.h"
#include "json_line.h"
#include "unpack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct Lines {
    DocFile base;
    Unpacked *in;
    const char *key;
    LineValue value;
} Lines;

static Lines *lines_of(DocFile *f)
{
    return (Lines *)(void *)f;
}

static TitanStatus bad_line(const Lines *j, const char *why, size_t at)
{
    return titan_fail(j->base.story, TITAN_BAD_DATA,
                      "\"%s\": line %" PRId64 ", byte %zu: %s",
                      j->base.file->path, j->base.at.number, at, why);
}

static bool is_blank(const char *line, size_t n)
{
    while (n > 0 && strchr(" \t\r", line[n - 1]) && line[n - 1])
        n--;
    return n == 0;
}

static TitanStatus give(Lines *j, Piece *out)
{
    const LineValue *v = &j->value;
    *out = (Piece){.first = true,
                   .last = true,
                   .bytes = v->n,
                   .at = v->text,
                   .number = j->base.at.number};
    if (v->kind == JSON_text) return TITAN_OK;
    if (v->kind != JSON_ids)
        return titan_fail(
            j->base.story, TITAN_BAD_DATA,
            "\"%s\": line %" PRId64 " has %s under the key \"%s\" (--text-key)",
            j->base.file->path, j->base.at.number,
            v->kind == JSON_none ? "nothing" : "neither text nor token ids",
            j->key);
    out->at = v->ids;
    out->width = sizeof *v->ids;
    out->bytes = v->n * sizeof *v->ids;
    return TITAN_OK;
}

static TitanStatus lines_next(DocFile *f, Piece *out, bool *more)
{
    Lines *j = lines_of(f);
    const char *line;
    size_t n;
    do {
        TRY(unpack_line(j->in, MOST_TEXT, &line, &n, more));
        f->at.offset = j->in->offset;
        f->at.number += *more;
    } while (*more && is_blank(line, n));
    if (!*more) return TITAN_OK;
    if (!json_line(line, n, j->key, &j->value))
        return bad_line(j, j->value.problem, j->value.at);
    return give(j, out);
}

static TitanStatus lines_seek(DocFile *f, Place to)
{
    TRY(unpack_seek(lines_of(f)->in, to.offset));
    f->at = to;
    return TITAN_OK;
}

static void lines_close(DocFile *f)
{
    Lines *j = lines_of(f);
    unpack_close(j->in);
    line_value_release(&j->value);
    free(j);
}

TitanStatus lines_open(TitanStory *s, const DataFile *file,
                       const char *text_key, DocFile **out)
{
    static const DocClass class = {"line", lines_seek, lines_next, lines_close};
    Lines *j = calloc(1, sizeof *j);
    if (!j) return titan_no_memory(s);
    j->base = (DocFile){.class = &class, .story = s, .file = file};
    j->key = text_key ? text_key : "text";
    TitanStatus st = unpack_open(s, file->path, &j->in);
    if (st == TITAN_OK)
        *out = &j->base;
    else
        lines_close(&j->base);
    return st;
}
