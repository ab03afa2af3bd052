/*
 * tree.h: how much memory and time the tree of a JSON text may take.
 *
 * jansson makes of "{}," 400 bytes, so a bound on the text is none on the tree.
 * What the tree will hold is counted before it is made, by the bytes that begin
 * its parts; what is no JSON may be counted wrongly, as more or less.
 */
#ifndef TITAN_TREE_H
#define TITAN_TREE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    MOST_OBJECTS = 1 << 18,
    MOST_ARRAYS = 1 << 20,
    MOST_MEMBERS = 1 << 19, /* of all objects together: a microsecond each */
    MOST_ELEMENTS = 1 << 21
};

/* NULL, or what there is too much of. */
static inline const char *tree_excess(const char *text, size_t n)
{
    size_t objects = 0, arrays = 0, members = 0, commas = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '"') quoted = !quoted;
        if (quoted) {
            i += c == '\\'; /* what follows ends no string */
            continue;
        }
        objects += c == '{';
        arrays += c == '[';
        members += c == ':';
        commas += c == ',';
    }
    if (objects > MOST_OBJECTS) return "more than 262144 objects";
    if (arrays > MOST_ARRAYS) return "more than 1048576 lists";
    if (members > MOST_MEMBERS) return "more than 524288 members of objects";
    return commas > MOST_ELEMENTS ? "more than 2097152 values" : NULL;
}

#endif
