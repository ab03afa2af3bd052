/*
 * match.c: where a pattern occurs in a text, one match after the other.
 */
#include "match.h"

#include "bytes.h"
#include "unicode.h"

TitanStatus match_literal(TitanStory *s, const char *text, size_t bytes,
                          Matcher *out)
{
    if (bytes == 0) return titan_fail(s, TITAN_BAD_DATA, "a pattern is empty");
    *out = (Matcher){.kind = MATCH_literal, .size = bytes};
    out->literal = malloc(bytes);
    if (!out->literal) return titan_no_memory(s);
    memcpy(out->literal, text, bytes);
    return TITAN_OK;
}

TitanStatus match_pattern(TitanStory *s, const char *text, size_t bytes,
                          const unsigned char *classes, Matcher *out)
{
    *out = (Matcher){.kind = MATCH_scanner, .scan = scanner_of(text, bytes)};
    if (out->scan) return TITAN_OK;
    out->kind = MATCH_regex;
    return regex_new(s, text, bytes, classes, &out->regex);
}

void match_release(Matcher *m)
{
    free(m->literal);
    regex_free(m->regex);
    *m = (Matcher){0};
}

static bool next_scanned(Search *s, size_t *begin, size_t *end)
{
    const Scan *in = &s->in;
    const unsigned char *p = in->text + s->from;
    uint32_t code;
    while (p < in->end) {
        const unsigned char *stop = s->m->scan(in, p);
        if (stop) {
            *begin = (size_t)(p - in->text);
            *end = (size_t)(stop - in->text);
            return true;
        }
        p += utf8_read(p, in->end, &code);
    }
    return false;
}

static bool next_of_set(Search *s, size_t *begin, size_t *end)
{
    const Scan *in = &s->in;
    const unsigned char *p = in->text + s->from;
    uint32_t code;
    while (p < in->end) {
        size_t n = utf8_read(p, in->end, &code);
        if (in_set(in->classes[code], s->m->set)) {
            *begin = (size_t)(p - in->text);
            *end = *begin + n;
            return true;
        }
        p += n;
    }
    return false;
}

static bool next_literal(Search *s, size_t *begin, size_t *end)
{
    size_t left = (size_t)(s->in.end - s->in.text) - s->from;
    const unsigned char *at =
        memmem(s->in.text + s->from, left, s->m->literal, s->m->size);
    if (!at) return false;
    *begin = (size_t)(at - s->in.text);
    *end = *begin + s->m->size;
    return true;
}

TitanStatus match_next(Search *s, bool *found, size_t *begin, size_t *end)
{
    switch (s->m->kind) {
    case MATCH_none:
        *found = false;
        break;
    case MATCH_scanner:
        *found = next_scanned(s, begin, end);
        break;
    case MATCH_literal:
        *found = next_literal(s, begin, end);
        break;
    case MATCH_set:
        *found = next_of_set(s, begin, end);
        break;
    case MATCH_regex:
        return regex_next(s, found, begin, end);
    }
    if (*found) s->from = *end;
    return TITAN_OK;
}
