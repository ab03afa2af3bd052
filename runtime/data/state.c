/*
 * state.c: the state of the data in a checkpoint.
 *
 *     {"version": 1, "step": 20, "files": "91b0...", "seq": 1024, ...,
 *      "parts": [{"credit": 0, "rows": 160, "epoch": 0, ...}]}
 *
 * What the rows depend on stands beside the places, so that a run which would
 * read others is refused.  Neither the size of a batch nor the number of ranks
 * is among it: rows go on from where they were.
 */
#include "state.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, FILES_TEXT = 17 };

/* What the rows depend on, by name. */
#define DEPENDS(X)                                   \
    X(seq, o->length, "the model's sequence length") \
    X(stride, o->stride, "--pack")                   \
    X(shuffle, o->shuffle, "--shuffle")              \
    X(seed, (int64_t)o->seed, "--seed")              \
    X(parts, m->n, "how many --data have weights")

static void print_files(const Mix *m, char text[FILES_TEXT])
{
    snprintf(text, FILES_TEXT, "%016" PRIx64, mix_files(m));
}

static json_t *part_json(const Mark *m)
{
    json_t *part = json_object();
    json_object_set_new(part, "credit", json_integer(m->credit));
#define SET(name) json_object_set_new(part, #name, json_integer(m->at.name));
    CURSOR(SET)
#undef SET
    return part;
}

TitanStatus state_print(TitanStory *s, const Mix *m, const Mark *marks,
                        int64_t step, char **json)
{
    const StreamOptions *o = &m->o;
    char files[FILES_TEXT];
    json_t *root = json_object(), *parts = json_array();
    json_t *depends = json_object();
    print_files(m, files);
    json_object_set_new(root, "version", json_integer(VERSION));
    json_object_set_new(root, "step", json_integer(step));
    json_object_set_new(root, "files", json_string(files));
#define SET(name, value, what) \
    json_object_set_new(depends, #name, json_integer(value));
    DEPENDS(SET)
#undef SET
    json_object_set_new(root, "options", depends);
    for (uint32_t i = 0; i < m->n; i++)
        json_array_append_new(parts, part_json(&marks[i]));
    json_object_set_new(root, "parts", parts);
    *json = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (*json) return TITAN_OK;
    return titan_no_memory(s);
}

/* --------------------------------------------------------------- reading -- */

static TitanStatus damaged(TitanStory *s, const char *what)
{
    return titan_fail(s, TITAN_BAD_DATA,
                      "the checkpoint's state of the data is damaged: %s",
                      what);
}

static TitanStatus other(TitanStory *s, const char *what)
{
    return titan_fail(s, TITAN_MISMATCH,
                      "the checkpoint stands in other data: %s changed", what);
}

static TitanStatus check_depends(TitanStory *s, const Mix *m,
                                 const json_t *root)
{
    const StreamOptions *o = &m->o;
    const json_t *options = json_object_get(root, "options");
    const json_t *v;
#define CHECK(name, value, what)                                    \
    v = json_object_get(options, #name);                            \
    if (!json_is_integer(v)) return damaged(s, "no \"" #name "\""); \
    if (json_integer_value(v) != (value)) return other(s, what);
    DEPENDS(CHECK)
#undef CHECK
    char files[FILES_TEXT];
    const char *had = json_string_value(json_object_get(root, "files"));
    print_files(m, files);
    if (!had) return damaged(s, "no \"files\"");
    return strcmp(had, files) == 0
               ? TITAN_OK
               : other(s, "names, sizes or weights of the files");
}

static bool read_count(const json_t *of, const char *key, int64_t *out)
{
    const json_t *v = json_object_get(of, key);
    *out = json_integer_value(v);
    return json_is_integer(v) && *out >= 0;
}

static bool read_part(const json_t *part, Mark *out)
{
    const json_t *credit = json_object_get(part, "credit");
    bool sound = json_is_integer(credit);
    out->credit = json_integer_value(credit);
#define GET(name) sound = sound && read_count(part, #name, &out->at.name);
    CURSOR(GET)
#undef GET
    return sound;
}

static TitanStatus read_state(TitanStory *s, const Mix *m, const json_t *root,
                              Mark *marks, int64_t *step)
{
    const json_t *parts = json_object_get(root, "parts");
    int64_t version;
    if (!read_count(root, "version", &version) || version != VERSION)
        return damaged(s, "not of version 1");
    if (!read_count(root, "step", step)) return damaged(s, "no \"step\"");
    TRY(check_depends(s, m, root));
    if (json_array_size(parts) != m->n) return damaged(s, "its parts");
    for (uint32_t i = 0; i < m->n; i++)
        if (!read_part(json_array_get(parts, i), &marks[i]))
            return damaged(s, "the place of a part");
    return TITAN_OK;
}

TitanStatus state_parse(TitanStory *s, const Mix *m, const char *json,
                        Mark *marks, int64_t *step)
{
    json_error_t e;
    json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, &e);
    if (!root) return damaged(s, e.text);
    TitanStatus st = read_state(s, m, root, marks, step);
    json_decref(root);
    return st;
}
