/*
 * scan.c: the patterns that tokenizers are trained with, as scanners.
 *
 * Each scanner is one regular expression, written out.  The comment above it
 * is the expression; alternatives are tried in its order.  Most of them are
 * one shape:
 *
 *     contraction | mark? letters+ | number{1,n} | blank? others+ tail*
 *     | \s*[\r\n]+ | \s+(?!\S) | \s+
 */
#include "match.h"
#include "unicode.h"

#include <string.h>

typedef const unsigned char *Place;

/* The class of the character at p and where it ends; p is below the end. */
static inline unsigned class_at(const Scan *s, Place p, Place *next)
{
    uint32_t code;
    size_t n = utf8_read(p, s->end, &code);
    *next = p + n;
    return s->classes[code];
}

/* The end of the characters of a set from p on, at most LIMIT. */
static Place run_limit(const Scan *s, Place p, uint32_t set, unsigned limit)
{
    Place next;
    while (limit-- > 0 && p < s->end && in_set(class_at(s, p, &next), set))
        p = next;
    return p;
}

static inline Place run(const Scan *s, Place p, uint32_t set)
{
    Place next;
    while (p < s->end && in_set(class_at(s, p, &next), set))
        p = next;
    return p;
}

static inline bool is_newline(unsigned char c)
{
    return c == '\r' || c == '\n';
}

/* Behind a newline is one of the bytes of TAIL. */
static Place run_bytes(const Scan *s, Place p, const char *tail)
{
    while (p < s->end && *p && strchr(tail, *p))
        p++;
    return p;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+  (without NEWLINES only the last two), where p is
 * white space. */
static Place spaces(const Scan *s, Place p, bool newlines)
{
    Place last = p, behind = NULL, next, q = p;
    while (q < s->end && in_set(class_at(s, q, &next), SET_SPACE)) {
        if (is_newline(*q)) behind = next;
        last = q;
        q = next;
    }
    if (newlines && behind) return behind;
    return q == s->end || last == p ? q : last;
}

/* 's|'t|'re|'ve|'m|'ll|'d, at an apostrophe; NULL: none of them. */
static Place contraction(const Scan *s, Place p, bool fold)
{
    size_t left = (size_t)(s->end - p);
    unsigned char lower = fold ? 0x20 : 0;
    if (left < 2) return NULL;
    unsigned char a = p[1] | lower, b = left > 2 ? p[2] | lower : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return p + 2;
    if ((a == 'r' || a == 'v') && b == 'e') return p + 3;
    if (a == 'l' && b == 'l') return p + 3;
    /* the long s is an s, whatever the case */
    bool long_s = fold && left > 2 && p[1] == 0xc5 && p[2] == 0xbf;
    return long_s ? p + 3 : NULL;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static Place scan_gpt2(const Scan *s, Place p)
{
    static const uint32_t others = SET_ALL & ~(SET_SPACE | SET_L | SET_N);
    Place next, start = p;
    if (*p == '\'') {
        Place end = contraction(s, p, false);
        if (end) return end;
    }
    if (*p == ' ' && p + 1 < s->end) start = p + 1;
    unsigned class = class_at(s, start, &next);
    if (in_set(class, SET_L)) return run(s, next, SET_L);
    if (in_set(class, SET_N)) return run(s, next, SET_N);
    if (in_set(class, others)) return run(s, next, others);
    return spaces(s, p, false);
}

/* What the shape of most patterns leaves open. */
typedef struct Shape {
    uint32_t letters, mark, others;
    unsigned digits;
    const char *tail;
    bool contractions;
} Shape;

/* The part from the numbers on. */
static Place scan_rest(const Scan *s, Place p, const Shape *h)
{
    Place next;
    unsigned class = class_at(s, p, &next);
    if (h->digits && in_set(class, SET_N))
        return run_limit(s, next, SET_N, h->digits - 1);
    Place at = *p == ' ' && p + 1 < s->end ? p + 1 : p;
    if (in_set(class_at(s, at, &next), h->others))
        return run_bytes(s, run(s, next, h->others), h->tail);
    return in_set(class, SET_SPACE) ? spaces(s, p, true) : NULL;
}

static bool is_mark(unsigned class, Place p, const Shape *h)
{
    return in_set(class, h->mark) && !is_newline(*p);
}

static Place scan_shape(const Scan *s, Place p, const Shape *h)
{
    Place next, after;
    if (h->contractions && *p == '\'') {
        Place end = contraction(s, p, true);
        if (end) return end;
    }
    unsigned class = class_at(s, p, &next);
    if (is_mark(class, p, h) && next < s->end &&
        in_set(class_at(s, next, &after), h->letters))
        return run(s, after, h->letters);
    if (in_set(class, h->letters)) return run(s, next, h->letters);
    return scan_rest(s, p, h);
}

enum { NOT_LN = SET_ALL & ~(SET_L | SET_N) };

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}
 * | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static Place scan_llama3(const Scan *s, Place p)
{
    static const Shape h = {SET_L, NOT_LN, NOT_LN & ~SET_SPACE,
                            3,     "\r\n", true};
    return scan_shape(s, p, &h);
}

/* the same, with \p{N} */
static Place scan_qwen2(const Scan *s, Place p)
{
    static const Shape h = {SET_L, NOT_LN, NOT_LN & ~SET_SPACE,
                            1,     "\r\n", true};
    return scan_shape(s, p, &h);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}
 * | ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static Place scan_qwen35(const Scan *s, Place p)
{
    static const Shape h = {
        SET_L | SET_M, NOT_LN, NOT_LN & ~(SET_SPACE | SET_M), 1, "\r\n", true};
    return scan_shape(s, p, &h);
}

static bool is_letter(unsigned char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool is_ascii_mark(unsigned char c)
{
    return c > 0x20 && c < 0x7f && !is_letter(c) && !(c >= '0' && c <= '9');
}

/* [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+
 * |[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*
 * |\s*[\r\n]+|\s+(?!\S)|\s+ */
static Place scan_deepseek(const Scan *s, Place p)
{
    static const Shape h = {SET_L | SET_M, SET_ALL & ~(SET_L | SET_P | SET_S),
                            SET_P | SET_S, 0,
                            "\r\n",        false};
    if (is_ascii_mark(*p) && p + 1 < s->end && is_letter(p[1])) {
        for (p++; p < s->end && is_letter(*p); p++)
            continue;
        return p;
    }
    return scan_shape(s, p, &h);
}

/* \p{N}{1,3} */
static Place scan_numbers(const Scan *s, Place p)
{
    Place end = run_limit(s, p, SET_N, 3);
    return end > p ? end : NULL;
}

/* [U+4E00-U+9FA5 U+3040-U+309F U+30A0-U+30FF]+ */
static Place scan_cjk(const Scan *s, Place p)
{
    Place start = p;
    while (p < s->end && *p >= 0xe3) {
        uint32_t c;
        size_t n = utf8_read(p, s->end, &c);
        if (!(c >= 0x4e00 && c <= 0x9fa5) && !(c >= 0x3040 && c <= 0x30ff))
            break;
        p += n;
    }
    return p > start ? p : NULL;
}

/* ---------------------------------------------------------------- o200k -- */

enum {
    UPPER = SET(Lu) | SET(Lt) | SET(Lm) | SET(Lo) | SET_M,
    LOWER = SET(Ll) | SET(Lm) | SET(Lo) | SET_M
};

/* U*l+ from p: U* takes all it can and gives back to what is in both. */
static Place lower_word(const Scan *s, Place p)
{
    Place both = NULL, next;
    while (p < s->end) {
        unsigned class = class_at(s, p, &next);
        if (!in_set(class, UPPER)) break;
        if (in_set(class, LOWER)) both = next;
        p = next;
    }
    Place end = run(s, p, LOWER);
    return end > p ? end : both;
}

/* U+l* from p. */
static Place upper_word(const Scan *s, Place p)
{
    Place end = run(s, p, UPPER);
    return end > p ? run(s, end, LOWER) : NULL;
}

/* mark?U*l+contraction?|mark?U+l*contraction?
 *   mark = [^\r\n\p{L}\p{N}], U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}],
 *   l = [\p{Ll}\p{Lm}\p{Lo}\p{M}]
 * |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static Place scan_o200k(const Scan *s, Place p)
{
    static const Shape h = {SET_L, NOT_LN,  NOT_LN & ~SET_SPACE,
                            3,     "\r\n/", true};
    Place next, end = NULL;
    bool mark = is_mark(class_at(s, p, &next), p, &h);
    if (mark) end = lower_word(s, next);
    if (!end) end = lower_word(s, p);
    if (!end && mark) end = upper_word(s, next);
    if (!end) end = upper_word(s, p);
    if (!end) return scan_rest(s, p, &h);
    Place tail =
        end < s->end && *end == '\'' ? contraction(s, end, true) : NULL;
    return tail ? tail : end;
}

Place scan_words(const Scan *s, Place p)
{
    Place next, start = p;
    while (p < s->end && class_at(s, p, &next) & UC_WORD)
        p = next;
    if (p > start) return p;
    while (p < s->end) {
        unsigned class = class_at(s, p, &next);
        if (class & UC_WORD || in_set(class, SET_SPACE)) break;
        p = next;
    }
    return p > start ? p : NULL;
}

/* ------------------------------------------------------------- patterns -- */

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES       "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define OTHERS       "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" SPACES
#define U            "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define L            "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define MARK         "[^\\r\\n\\p{L}\\p{N}]?"

static const struct Known {
    const char *pattern;
    Scanner scan;
} known[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"
     "|\\s+(?!\\S)|\\s+",
     scan_gpt2},
    {CONTRACTIONS "|" MARK "\\p{L}+|\\p{N}{1,3}" OTHERS, scan_llama3},
    {CONTRACTIONS "|" MARK "\\p{L}+|\\p{N}" OTHERS, scan_qwen2},
    {CONTRACTIONS "|" MARK "[\\p{L}\\p{M}]+|\\p{N}"
                  "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" SPACES,
     scan_qwen35},
    {"[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
     "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
     "| ?[\\p{P}\\p{S}]+[\\r\\n]*" SPACES,
     scan_deepseek},
    {"\\p{N}{1,3}", scan_numbers},
    {"[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f"
     "\xe3\x82\xa0-\xe3\x83\xbf]+",
     scan_cjk},
    {MARK U "*" L "+" CONTRACTIONS "?|" MARK U "+" L "*" CONTRACTIONS
            "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES,
     scan_o200k},
};

/* Patterns are the same where one has a newline and the other its escape. */
static bool same_pattern(const char *ours, const char *p, size_t bytes)
{
    const char *end = p + bytes;
    for (; p < end; p++) {
        char escape = *p == '\r' ? 'r' : *p == '\n' ? 'n' : 0;
        if (escape && *ours++ != '\\') return false;
        if (*ours++ != (escape ? escape : *p)) return false;
    }
    return *ours == 0;
}

Scanner scanner_of(const char *pattern, size_t bytes)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (same_pattern(known[i].pattern, pattern, bytes))
            return known[i].scan;
    return NULL;
}
