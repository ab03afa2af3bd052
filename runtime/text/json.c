/*
 * json.c: one pass over the text, which leaves the list of values; then a
 * look at the names of each object.
 */
#include "json.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bytes.h"
#include "unicode.h"

enum { MAX_BYTES = 64 << 20, MAX_DEPTH = 64, MAX_VALUES = 8 << 20 };

typedef struct Reader {
    TitanStory *story;
    Json *j;
    const char *at, *end;
    unsigned depth;
} Reader;

static TitanStatus bad(Reader *r, const char *what)
{
    unsigned line = 1;
    const char *start = r->j->text;
    for (const char *p = start; p < r->at; p++)
        if (*p == '\n') {
            line++;
            start = p + 1;
        }
    return titan_fail(r->story, TITAN_BAD_DATA, "line %u, column %zu: %s", line,
                      (size_t)(r->at - start) + 1, what);
}

static void skip_space(Reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' ||
                              *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

static bool eat(Reader *r, char c)
{
    skip_space(r);
    if (r->at == r->end || *r->at != c) return false;
    r->at++;
    return true;
}

/* A value that begins here; its end is filled in by who knows it. */
static TitanStatus add(Reader *r, JsonKind kind, uint32_t *index)
{
    Json *j = r->j;
    if (j->n == MAX_VALUES) return bad(r, "more than 8388608 values");
    if (j->n == j->cap) {
        uint32_t cap = j->cap ? j->cap * 2 : 256;
        JsonValue *more = realloc(j->values, cap * sizeof *more);
        if (!more) return titan_no_memory(r->story);
        j->values = more;
        j->cap = cap;
    }
    *index = j->n++;
    j->values[*index] =
        (JsonValue){.at = (uint32_t)(r->at - j->text) & 0xfffffff,
                    .kind = kind & 15,
                    .end = j->n};
    return TITAN_OK;
}

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int c = p[i] | 0x20;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;
        if (digit < 0) return -1;
        v = v * 16 + digit;
    }
    return v;
}

/* The code point of \uXXXX, or of two of them that are a pair; P is behind the
 * u.  Below 0: it is none. */
static int read_unicode(const char *p, const char *end, size_t *length)
{
    int high = end - p >= 4 ? hex4(p) : -1;
    *length = 4;
    if (high < 0xd800 || high >= 0xe000) return high;
    bool pair = high < 0xdc00 && end - p >= 10 && p[4] == '\\' && p[5] == 'u';
    int low = pair ? hex4(p + 6) : -1;
    if (low < 0xdc00 || low >= 0xe000) return -1;
    *length = 10;
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static TitanStatus check_escape(Reader *r)
{
    size_t length = 0;
    r->at++;
    if (r->at == r->end) return bad(r, "the text ends in a string");
    char c = *r->at++;
    if (c == 'u') {
        if (read_unicode(r->at, r->end, &length) < 0)
            return bad(r, "expected four hexadecimal digits of a character");
    } else if (!c || !strchr("\"\\/bfnrt", c)) {
        return bad(r, "an escape that JSON does not have");
    }
    r->at += length;
    return TITAN_OK;
}

static TitanStatus read_string(Reader *r)
{
    uint32_t index, code;
    TRY(add(r, JSON_string, &index));
    r->at++;
    for (;;) {
        if (r->at == r->end) return bad(r, "the text ends in a string");
        unsigned char c = (unsigned char)*r->at;
        if (c == '"') break;
        if (c < 0x20) return bad(r, "a control character in a string");
        if (c == '\\') {
            TRY(check_escape(r));
            continue;
        }
        r->at += utf8_read((const unsigned char *)r->at,
                           (const unsigned char *)r->end, &code);
        if (code == CODE_BYTE) return bad(r, "a string is not UTF-8");
    }
    r->at++;
    return TITAN_OK;
}

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

static TitanStatus read_number(Reader *r)
{
    uint32_t index;
    TRY(add(r, JSON_number, &index));
    const char *p = r->at, *end = r->end;
    if (p < end && *p == '-') p++;
    const char *first = p;
    p = skip_digits(p, end);
    if (p == first || (*first == '0' && p - first > 1))
        return bad(r, "expected a value");
    if (p < end && *p == '.') {
        first = ++p;
        p = skip_digits(p, end);
        if (p == first) return bad(r, "expected digits of a fraction");
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        first = p;
        p = skip_digits(p, end);
        if (p == first) return bad(r, "expected digits of an exponent");
    }
    r->at = p;
    return TITAN_OK;
}

static TitanStatus read_word(Reader *r)
{
    static const char *const words[] = {"null", "false", "true"};
    uint32_t index;
    for (unsigned i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(r->end - r->at) < n || memcmp(r->at, words[i], n) != 0)
            continue;
        TRY(add(r, (JsonKind)i, &index));
        r->at += n;
        return TITAN_OK;
    }
    return read_number(r);
}

static TitanStatus read_value(Reader *r);

static TitanStatus read_member(Reader *r)
{
    skip_space(r);
    if (r->at == r->end || *r->at != '"') return bad(r, "expected a name");
    TRY(read_string(r));
    if (!eat(r, ':')) return bad(r, "expected ':'");
    return read_value(r);
}

static TitanStatus read_list(Reader *r, JsonKind kind)
{
    uint32_t index;
    char close = kind == JSON_array ? ']' : '}';
    TRY(add(r, kind, &index));
    r->at++;
    if (++r->depth > MAX_DEPTH) return bad(r, "more than 64 levels");
    if (!eat(r, close)) {
        do {
            TRY(kind == JSON_array ? read_value(r) : read_member(r));
        } while (eat(r, ','));
        if (!eat(r, close))
            return bad(r, close == ']' ? "expected ',' or ']'"
                                       : "expected ',' or '}'");
    }
    r->depth--;
    r->j->values[index].end = r->j->n;
    return TITAN_OK;
}

static TitanStatus read_value(Reader *r)
{
    skip_space(r);
    if (r->at == r->end) return bad(r, "the text ends where a value begins");
    if (*r->at == '{') return read_list(r, JSON_object);
    if (*r->at == '[') return read_list(r, JSON_array);
    return *r->at == '"' ? read_string(r) : read_word(r);
}

/* ---------------------------------------------------------------- names -- */

typedef struct Name {
    uint64_t hash;
    uint32_t value;
} Name;

static int by_hash(const void *a, const void *b)
{
    uint64_t x = ((const Name *)a)->hash, y = ((const Name *)b)->hash;
    return x < y ? -1 : x > y;
}

static TitanStatus hash_names(Reader *r, uint32_t object, Name *names)
{
    Json *j = r->j;
    TokenText text = {0};
    TitanStatus st = TITAN_OK;
    uint32_t n = 0;
    for (uint32_t i = json_first(j, object); i && st == TITAN_OK;
         i = json_next(j, object, i + 1)) {
        text.n = 0;
        st = json_text(r->story, j, i, &text);
        if (st == TITAN_OK)
            names[n++] = (Name){XXH3_64bits(text.at, text.n), i};
    }
    token_text_release(&text);
    return st;
}

/* Different names of equal hash are refused with the equal ones: a file in
 * which 2^64 hashes meet was made for that. */
static TitanStatus check_names(Reader *r, uint32_t object)
{
    uint32_t n = json_count(r->j, object) / 2;
    if (n < 2) return TITAN_OK;
    r->at = r->j->text + r->j->values[object].at;
    Name *names = malloc(n * sizeof *names);
    if (!names) return titan_no_memory(r->story);
    TitanStatus st = hash_names(r, object, names);
    if (st == TITAN_OK) qsort(names, n, sizeof *names, by_hash);
    for (uint32_t i = 1; i < n && st == TITAN_OK; i++) {
        if (names[i].hash != names[i - 1].hash) continue;
        uint32_t later = names[i].value > names[i - 1].value
                             ? names[i].value
                             : names[i - 1].value;
        r->at = r->j->text + r->j->values[later].at;
        st = bad(r, "this name occurs twice in its object");
    }
    free(names);
    return st;
}

static TitanStatus read_whole(Reader *r)
{
    TRY(add(r, JSON_null, &(uint32_t){0}));
    TRY(read_value(r));
    skip_space(r);
    if (r->at < r->end) return bad(r, "something behind the end of the value");
    for (uint32_t i = JSON_ROOT; i < r->j->n; i++)
        if (r->j->values[i].kind == JSON_object) TRY(check_names(r, i));
    return TITAN_OK;
}

TitanStatus json_read(TitanStory *s, const char *text, size_t bytes, Json *out)
{
    *out = (Json){.text = text, .bytes = bytes};
    if (bytes > MAX_BYTES)
        return titan_fail(s, TITAN_BAD_DATA,
                          "the file has %zu bytes; at most %d are read", bytes,
                          (int)MAX_BYTES);
    Reader r = {.story = s, .j = out, .at = text, .end = text + bytes};
    TitanStatus st = read_whole(&r);
    if (st != TITAN_OK) json_release(out);
    return st;
}

void json_release(Json *j)
{
    free(j->values);
    *j = (Json){0};
}

/* -------------------------------------------------------------- reading -- */

JsonKind json_kind(const Json *j, uint32_t value)
{
    return (JsonKind)j->values[value].kind;
}

static bool is_list(const Json *j, uint32_t value)
{
    return j->values[value].kind >= JSON_array;
}

uint32_t json_first(const Json *j, uint32_t list)
{
    bool some = is_list(j, list) && j->values[list].end > list + 1;
    return some ? list + 1 : JSON_NONE;
}

uint32_t json_next(const Json *j, uint32_t list, uint32_t value)
{
    uint32_t next = j->values[value].end;
    return next < j->values[list].end ? next : JSON_NONE;
}

uint32_t json_count(const Json *j, uint32_t list)
{
    uint32_t n = 0;
    for (uint32_t i = json_first(j, list); i; i = json_next(j, list, i))
        n++;
    return n;
}

uint32_t json_get(const Json *j, uint32_t object, const char *name)
{
    if (json_kind(j, object) != JSON_object) return JSON_NONE;
    for (uint32_t i = json_first(j, object); i; i = json_next(j, object, i + 1))
        if (json_is(j, i, name)) return i + 1;
    return JSON_NONE;
}

/* One character of a string behind its backslash; how far it goes. */
static size_t unescape(const char *p, const char *end, char *to, size_t *n)
{
    static const char from[] = "\"\\/bfnrt", as[] = "\"\\/\b\f\n\r\t";
    size_t length = 0;
    if (*p == 'u') {
        *n = utf8_write((uint32_t)read_unicode(p + 1, end, &length), to);
        return 1 + length;
    }
    *to = as[strchr(from, *p) - from];
    *n = 1;
    return 1;
}

TitanStatus json_text(TitanStory *s, const Json *j, uint32_t value,
                      TokenText *out)
{
    if (json_kind(j, value) != JSON_string)
        return titan_fail(s, TITAN_BAD_DATA, "expected a string");
    const char *p = j->text + j->values[value].at + 1,
               *end = j->text + j->bytes;
    for (;;) {
        const char *first = p;
        while (*p != '"' && *p != '\\')
            p++;
        TRY(text_append(s, out, first, (size_t)(p - first)));
        if (*p == '"') return TITAN_OK;
        char to[4];
        size_t n;
        p++;
        p += unescape(p, end, to, &n);
        TRY(text_append(s, out, to, n));
    }
}

/* Names that are asked for need no escape; one that is written with escapes
 * all the same is another one, which nobody asks for. */
bool json_is(const Json *j, uint32_t value, const char *string)
{
    size_t n = strlen(string), at = j->values[value].at;
    return json_kind(j, value) == JSON_string && j->bytes - at >= n + 2 &&
           memcmp(j->text + at + 1, string, n) == 0 &&
           j->text[at + 1 + n] == '"';
}

bool json_whole(const Json *j, uint32_t value, uint32_t *out)
{
    if (json_kind(j, value) != JSON_number) return false;
    const char *p = j->text + j->values[value].at, *end = j->text + j->bytes;
    uint64_t v = 0;
    const char *first = p;
    for (; p < end && *p >= '0' && *p <= '9' && v <= INT32_MAX; p++)
        v = v * 10 + (uint64_t)(*p - '0');
    bool more = p < end && (*p == '.' || (*p | 0x20) == 'e');
    *out = (uint32_t)v;
    return p > first && !more && v <= INT32_MAX;
}
