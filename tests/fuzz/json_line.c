/* sources: runtime/data/json_line.c */
/* links: -lutf8proc -ljansson */
/* goal: 1000000 */
/*
 * A line of JSONL: what is taken is JSON by another parser's judgement too, and
 * says the same under the key.
 */
#include "runtime/data/json_line.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

/* jansson takes no number beyond a double's range, and no text with NUL. */
static bool is_taken_otherwise(const json_error_t *e)
{
    return json_error_code(e) == json_error_numeric_overflow ||
           json_error_code(e) == json_error_null_byte_in_key ||
           json_error_code(e) == json_error_null_character;
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    LineValue v = {0};
    json_error_t e;
    if (json_line((const char *)at, size, "text", &v)) {
        json_t *root = json_loadb((const char *)at, size, JSON_ALLOW_NUL, &e);
        const json_t *text = json_object_get(root, "text");
        if (!root && !is_taken_otherwise(&e)) abort();
        if (root && v.kind == JSON_text &&
            (json_string_length(text) != v.n ||
             memcmp(json_string_value(text), v.text, v.n) != 0))
            abort();
        if (root && v.kind == JSON_ids && json_array_size(text) != v.n) abort();
        json_decref(root);
    }
    line_value_release(&v);
    return 0;
}
