/*
 * json.h: JSON as a flat list of values, for files of any size and origin.
 *
 *     Json j;
 *     TRY(json_read(s, text, bytes, &j));
 *     uint32_t model = json_get(&j, JSON_ROOT, "model");
 *     for (uint32_t i = json_first(&j, list); i; i = json_next(&j, list, i))
 *     json_release(&j);
 *
 * A value is eight bytes beside its text, which the list refers to; there
 * are 8388608 at most, five times those of the largest vocabulary that is used.
 * What the standard leaves open is refused: names that occur twice in an
 * object, more than 64 levels, text that is not UTF-8.  jansson, which reads
 * other files here, has no names with U+0000; byte-level vocabularies have.
 */
#ifndef TITAN_TEXT_JSON_H
#define TITAN_TEXT_JSON_H

#include "tokenizer.h"

typedef enum JsonKind {
    JSON_null,
    JSON_false,
    JSON_true,
    JSON_number,
    JSON_string,
    JSON_array,
    JSON_object
} JsonKind;

/* Of an object: the name of a member, then its value, and so on. */
typedef struct JsonValue {
    uint32_t at : 28; /* first byte of its text */
    uint32_t kind : 4;
    uint32_t end; /* index of what comes after it and all in it */
} JsonValue;

/* Values are named by index; 0 is none, 1 the whole. */
enum { JSON_NONE = 0, JSON_ROOT = 1 };

typedef struct Json {
    const char *text; /* of the caller, must outlive it */
    size_t bytes;
    JsonValue *values;
    uint32_t n, cap;
} Json;

/* BAD_DATA: with the line and the column. */
TitanStatus json_read(TitanStory *s, const char *text, size_t bytes, Json *out);
void json_release(Json *j);

JsonKind json_kind(const Json *j, uint32_t value); /* of none: null */
/* The value of a member; none where OBJECT is no object or has none such. */
uint32_t json_get(const Json *j, uint32_t object, const char *name);
/* The first element, or the first name; none: it is empty or no list. */
uint32_t json_first(const Json *j, uint32_t list);
/* What follows an element, a name or a value. */
uint32_t json_next(const Json *j, uint32_t list, uint32_t value);
uint32_t json_count(const Json *j, uint32_t list);

/* Appends the bytes of a string, without its quotes and escapes. */
TitanStatus json_text(TitanStory *s, const Json *j, uint32_t value,
                      TokenText *out);
bool json_is(const Json *j, uint32_t value, const char *string);
/* A whole number from 0 to 2^31 - 1. */
bool json_whole(const Json *j, uint32_t value, uint32_t *out);

#endif
