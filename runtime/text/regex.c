/*
 * regex.c: patterns that have no scanner, by PCRE2.
 *
 * The reference library's expressions are Oniguruma's, with a newer Unicode
 * than PCRE2's.  So a pattern is rewritten first: \p{..}, \s, \d and \w become
 * ranges of code points of our own table, and what the two read in different
 * ways is refused by name.
 *
 * Matching is interpreted, never compiled to machine code.  PCRE2 calls back
 * before every item of a pattern; the calls of a document are counted and end
 * at so many a byte, whatever the pattern.
 */
#include "match.h"

#include <stdio.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "bytes.h"
#include "unicode.h"

enum {
    MAX_PATTERN = 4096,
    MATCH_LIMIT = 10000000,
    DEPTH_LIMIT = 10000000,
    HEAP_KIB = 64 << 10,
    STEPS_A_BYTE = 500,
    STEPS_AT_LEAST = 100000
};

typedef struct Regex {
    pcre2_code *code;
} Regex;

/* ------------------------------------------------------------ rewriting -- */

typedef struct Rewriter {
    TitanStory *story;
    const char *at, *end;
    const unsigned char *classes;
    TokenText out;
    bool in_class;
} Rewriter;

static TitanStatus refuse(Rewriter *r, const char *from, size_t n)
{
    return titan_fail(r->story, TITAN_BAD_DATA,
                      "the pattern has '%.*s', which is not taken", (int)n,
                      from);
}

static TitanStatus put(Rewriter *r, const char *text)
{
    return text_append(r->story, &r->out, text, strlen(text));
}

/* Whether a code point is in what an escape means. */
typedef struct Members {
    uint32_t set;
    bool word;
} Members;

static bool is_member(const Rewriter *r, Members m, uint32_t code)
{
    unsigned class = r->classes[code];
    if (!m.word) return in_set(class, m.set);
    /* \w of the reference is not quite that of its added tokens */
    if (code == 0x200c || code == 0x200d) return false;
    bool number = code == 0xb2 || code == 0xb3 || code == 0xb9 ||
                  (code >= 0xbc && code <= 0xbe);
    return class & UC_WORD || number;
}

/* What follows C and is a member if C is.  ROW only goes up. */
static uint32_t alike_end(uint32_t c, unsigned *row)
{
    enum { APART = 0x2010 }; /* what \w says apart lies in front of this */
    if (c < APART) return c + 1;
    while (unicode_row(*row) <= c)
        ++*row;
    uint32_t end = unicode_row(*row);
    return c < 0xd800 && end > 0xd800 ? 0xd800 : end;
}

static TitanStatus put_ranges(Rewriter *r, Members m, bool inverted)
{
    char text[40];
    unsigned row = 0;
    for (uint32_t c = 0; c < CODE_BYTE;) {
        if (c == 0xd800) c = 0xe000; /* surrogates are no characters */
        uint32_t first = c;
        bool in = is_member(r, m, c) != inverted;
        while (c < CODE_BYTE && c != 0xd800 &&
               (is_member(r, m, c) != inverted) == in)
            c = alike_end(c, &row);
        if (!in) continue;
        snprintf(text, sizeof text, "\\x{%x}-\\x{%x}", (unsigned)first,
                 (unsigned)c - 1);
        TRY(put(r, text));
    }
    return TITAN_OK;
}

static TitanStatus put_members(Rewriter *r, Members m, bool inverted)
{
    if (r->in_class) return put_ranges(r, m, inverted);
    TRY(put(r, inverted ? "[^" : "["));
    TRY(put_ranges(r, m, false));
    return put(r, "]");
}

static const struct Property {
    const char *name;
    uint32_t set;
} properties[] = {
#define CATEGORY(name)   \
    {                    \
#name, SET(name) \
    }
    {"L", SET_L},
    {"M", SET_M},
    {"N", SET_N},
    {"P", SET_P},
    {"S", SET_S},
    {"Z", SET(Zs) | SET(Zl) | SET(Zp)},
    {"Cc", SET(Cc) | SET(Ws)},
    CATEGORY(Lu),
    CATEGORY(Ll),
    CATEGORY(Lt),
    CATEGORY(Lm),
    CATEGORY(Lo),
    CATEGORY(Mn),
    CATEGORY(Mc),
    CATEGORY(Me),
    CATEGORY(Nd),
    CATEGORY(Nl),
    CATEGORY(No),
    CATEGORY(Pc),
    CATEGORY(Pd),
    CATEGORY(Ps),
    CATEGORY(Pe),
    CATEGORY(Pi),
    CATEGORY(Pf),
    CATEGORY(Po),
    CATEGORY(Sm),
    CATEGORY(Sc),
    CATEGORY(Sk),
    CATEGORY(So),
    CATEGORY(Zs),
    CATEGORY(Zl),
    CATEGORY(Zp),
    CATEGORY(Cf),
    CATEGORY(Co),
#undef CATEGORY
};

/* \p{Name}, \P{Name}, \p{^Name}; AT is behind the p. */
static TitanStatus rewrite_property(Rewriter *r, const char *start)
{
    bool inverted = r->at[-1] == 'P';
    const char *close = memchr(r->at, '}', (size_t)(r->end - r->at));
    if (r->at == r->end || *r->at != '{' || !close)
        return refuse(r, start, (size_t)(r->at - start));
    const char *name = r->at + 1;
    if (*name == '^') inverted = !inverted, name++;
    size_t n = (size_t)(close - name);
    r->at = close + 1;
    for (size_t i = 0; i < sizeof properties / sizeof *properties; i++)
        if (strlen(properties[i].name) == n &&
            memcmp(properties[i].name, name, n) == 0)
            return put_members(r, (Members){properties[i].set, false},
                               inverted);
    return refuse(r, start, (size_t)(r->at - start));
}

/* \xHH below 80, \x{H..}, \uHHHH */
static TitanStatus rewrite_code(Rewriter *r, const char *start)
{
    bool braces = r->at < r->end && *r->at == '{', u = r->at[-1] == 'u';
    size_t most = braces ? 6 : u ? 4 : 2, n = 0;
    uint32_t code = 0;
    if (braces) r->at++;
    for (; n < most && r->at < r->end; n++, r->at++) {
        int c = *r->at | 0x20;
        bool digit = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
        if (!digit && !letter) break;
        code = code * 16 + (uint32_t)(digit ? c - '0' : c - 'a' + 10);
    }
    bool whole = n > 0 && (braces || n == most);
    if (braces && whole && r->at < r->end && *r->at == '}')
        r->at++;
    else if (braces)
        whole = false;
    bool surrogate = code >= 0xd800 && code < 0xe000;
    if (!whole || surrogate || code > 0x10ffff ||
        (!braces && !u && code > 0x7f))
        return refuse(r, start, (size_t)(r->at - start));
    char text[16];
    snprintf(text, sizeof text, "\\x{%x}", (unsigned)code);
    return put(r, text);
}

static TitanStatus rewrite_escape(Rewriter *r)
{
    const char *start = r->at++;
    if (r->at == r->end) return refuse(r, start, 1);
    char c = *r->at++;
    switch (c) {
    case 'p':
    case 'P':
        return rewrite_property(r, start);
    case 's':
    case 'S':
        return put_members(r, (Members){SET_SPACE, false}, c == 'S');
    case 'd':
    case 'D':
        return put_members(r, (Members){SET(Nd), false}, c == 'D');
    case 'w':
    case 'W':
        return put_members(r, (Members){0, true}, c == 'W');
    case 'x':
    case 'u':
        return rewrite_code(r, start);
    case 'r':
    case 'n':
    case 't':
    case 'f':
        return text_append(r->story, &r->out, start, 2);
    case 'A':
    case 'z':
        if (!r->in_class) return text_append(r->story, &r->out, start, 2);
        return refuse(r, start, 2);
    default:
        break;
    }
    bool letter = ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c <= ' ' ||
                  (c >= '0' && c <= '9');
    if (letter) return refuse(r, start, 2);
    return text_append(r->story, &r->out, start, 2);
}

/* Behind "(?" both languages agree on these. */
static bool is_group(const char *p, const char *end)
{
    static const char *const groups[] = {":",  "=",  "!",  ">",
                                         "<=", "<!", "i:", "i)"};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        size_t n = strlen(groups[i]);
        if ((size_t)(end - p) >= n && memcmp(p, groups[i], n) == 0) return true;
    }
    return false;
}

/* {n}, {n,} or {n,m}, behind which a + would be another repeat there, and a
 * possessive one here. */
static bool is_count(const char *p, const char *end)
{
    const char *first = ++p;
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    if (p == first) return false;
    if (p < end && *p == ',') p++;
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p < end && *p == '}' && (p + 1 == end || p[1] != '+');
}

static TitanStatus rewrite_outside(Rewriter *r)
{
    size_t left = (size_t)(r->end - r->at), shown = left < 4 ? left : 4;
    char c = *r->at;
    if (c == '(' && left > 1 && r->at[1] == '?' && !is_group(r->at + 2, r->end))
        return refuse(r, r->at, shown);
    if (c == '(' && left > 1 && r->at[1] == '*') return refuse(r, r->at, shown);
    if (c == '{' && !is_count(r->at, r->end)) return refuse(r, r->at, shown);
    r->in_class = c == '[';
    bool caret = r->in_class && left > 1 && r->at[1] == '^';
    size_t n = caret ? 2 : 1;
    bool empty = r->in_class && left > n && r->at[n] == ']';
    if (empty) return refuse(r, r->at, n + 1);
    TRY(text_append(r->story, &r->out, r->at, n));
    r->at += n;
    return TITAN_OK;
}

static TitanStatus rewrite_inside(Rewriter *r)
{
    size_t left = (size_t)(r->end - r->at);
    if (*r->at == '[' || (*r->at == '&' && left > 1 && r->at[1] == '&'))
        return refuse(r, r->at, left > 1 ? 2 : 1);
    r->in_class = *r->at != ']';
    return text_append(r->story, &r->out, r->at++, 1);
}

static TitanStatus rewrite(Rewriter *r)
{
    while (r->at < r->end)
        TRY(*r->at == '\\' ? rewrite_escape(r)
            : r->in_class  ? rewrite_inside(r)
                           : rewrite_outside(r));
    return TITAN_OK;
}

static TitanStatus compile(TitanStory *s, const TokenText *pattern,
                           pcre2_code **out)
{
    int error;
    size_t place;
    *out = pcre2_compile((PCRE2_SPTR)pattern->at, pattern->n,
                         PCRE2_UTF | PCRE2_MULTILINE | PCRE2_NO_UTF_CHECK |
                             PCRE2_AUTO_CALLOUT | PCRE2_NEVER_BACKSLASH_C,
                         &error, &place, NULL);
    if (*out) return TITAN_OK;
    if (error == PCRE2_ERROR_HEAP_FAILED) return titan_no_memory(s);
    unsigned char why[120];
    pcre2_get_error_message(error, why, sizeof why);
    return titan_fail(s, TITAN_BAD_DATA, "the pattern is not taken: %s",
                      (char *)why);
}

TitanStatus regex_new(TitanStory *s, const char *pattern, size_t bytes,
                      const unsigned char *classes, Regex **out)
{
    if (bytes > MAX_PATTERN)
        return titan_fail(s, TITAN_BAD_DATA,
                          "a pattern has %zu bytes; at most %d are taken",
                          bytes, (int)MAX_PATTERN);
    Rewriter r = {
        .story = s, .at = pattern, .end = pattern + bytes, .classes = classes};
    Regex *re = calloc(1, sizeof *re);
    TitanStatus st = re ? rewrite(&r) : titan_no_memory(s);
    if (st == TITAN_OK) st = compile(s, &r.out, &re->code);
    token_text_release(&r.out);
    if (st != TITAN_OK) {
        free(re);
        return titan_while(s, st, "reading the pattern \"%.*s\"",
                           (int)(bytes < 80 ? bytes : 80), pattern);
    }
    *out = re;
    return TITAN_OK;
}

void regex_free(Regex *re)
{
    if (re) pcre2_code_free(re->code);
    free(re);
}

/* ------------------------------------------------------------- matching -- */

static int count_step(pcre2_callout_block *block, void *user)
{
    (void)block;
    uint64_t *steps = user;
    if (*steps == 0) return PCRE2_ERROR_CALLOUT;
    --*steps;
    return 0;
}

void match_begin(MatchScratch *scratch, size_t bytes)
{
    scratch->steps = STEPS_AT_LEAST + STEPS_A_BYTE * (uint64_t)bytes;
}

void match_scratch_release(MatchScratch *scratch)
{
    pcre2_match_data_free(scratch->match);
    pcre2_match_context_free(scratch->context);
    *scratch = (MatchScratch){0};
}

static TitanStatus prepare(Search *s)
{
    MatchScratch *scratch = s->scratch;
    if (!scratch->match) scratch->match = pcre2_match_data_create(1, NULL);
    if (!scratch->context) scratch->context = pcre2_match_context_create(NULL);
    if (!scratch->match || !scratch->context) return titan_no_memory(s->story);
    pcre2_set_match_limit(scratch->context, MATCH_LIMIT);
    pcre2_set_depth_limit(scratch->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(scratch->context, HEAP_KIB);
    pcre2_set_callout(scratch->context, count_step, &scratch->steps);
    return TITAN_OK;
}

static TitanStatus explain(Search *s, int error)
{
    switch (error) {
    case PCRE2_ERROR_NOMEMORY:
        return titan_no_memory(s->story);
    case PCRE2_ERROR_CALLOUT:
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
        return titan_fail(s->story, TITAN_BAD_DATA,
                          "a pattern of the tokenizer takes too many steps on "
                          "this text");
    default:
        return titan_fail(s->story, TITAN_INTERNAL,
                          "PCRE2 gives up with error %d", error);
    }
}

/* PCRE2 reads UTF-8 alone, so that a byte that is none ends what it sees; what
 * comes behind it is another text.  False: the text has ended. */
static bool next_valid(Search *s)
{
    size_t bytes = (size_t)(s->in.end - s->in.text);
    if (s->valid_end != SIZE_MAX) {
        if (s->valid_end >= bytes) return false;
        s->valid = s->from = s->valid_end + 1;
    }
    s->valid_end = s->valid + utf8_valid((const char *)s->in.text + s->valid,
                                         bytes - s->valid);
    return true;
}

/* As the reference does, an empty match is taken unless it lies right behind
 * the match before it. */
static TitanStatus next_inside(Search *s, bool *found, size_t *begin,
                               size_t *end)
{
    const unsigned char *text = s->in.text + s->valid;
    size_t bytes = s->valid_end - s->valid;
    while (s->from <= s->valid_end && bytes > 0) {
        int rc = pcre2_match(s->m->regex->code, text, bytes, s->from - s->valid,
                             PCRE2_NO_UTF_CHECK, s->scratch->match,
                             s->scratch->context);
        if (rc == PCRE2_ERROR_NOMATCH) return TITAN_OK;
        if (rc < 0) return explain(s, rc);
        const size_t *at = pcre2_get_ovector_pointer(s->scratch->match);
        *begin = s->valid + at[0];
        *end = s->valid + at[1];
        *found = *begin < *end || *end != s->last;
        if (*found) {
            s->from = s->last = *end;
            return TITAN_OK;
        }
        uint32_t code;
        s->from += s->from < s->valid_end
                       ? utf8_read(s->in.text + s->from, s->in.end, &code)
                       : 1;
    }
    return TITAN_OK;
}

TitanStatus regex_next(Search *s, bool *found, size_t *begin, size_t *end)
{
    TRY(prepare(s));
    *found = false;
    if (s->valid_end == SIZE_MAX && !next_valid(s)) return TITAN_OK;
    do {
        TRY(next_inside(s, found, begin, end));
    } while (!*found && next_valid(s));
    return TITAN_OK;
}
