/*
 * json_line.h: one value out of a line of JSONL.
 */
#ifndef TITAN_DATA_JSON_LINE_H
#define TITAN_DATA_JSON_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a line says under a key. */
typedef struct LineValue {
    enum { JSON_none, JSON_text, JSON_ids, JSON_other } kind;
    char *text; /* text: its UTF-8, without escapes */
    uint32_t *ids;
    size_t n;            /* bytes, or ids */
    size_t room;         /* bytes in `text` and in `ids` each */
    const char *problem; /* why the line is no JSON */
    size_t at;           /* and where */
} LineValue;

/* Reads an object and all that is in it; false: V has the problem.  The
 * buffers are V's and are used again; what a line becomes is never larger than
 * the line, four times for ids. */
bool json_line(const char *line, size_t n, const char *key, LineValue *v);
void line_value_release(LineValue *v);

#endif
