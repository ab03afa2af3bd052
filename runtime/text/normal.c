/*
 * normal.c: normalisers, each from one buffer into the other.
 *
 * utf8proc knows decompositions and compositions.  Its Unicode is newer than
 * the reference's: characters that the reference does not know (LATE) stay as
 * they are, and so do bytes that are no UTF-8.  Most text is left alone
 * without a look at tables: what is below U+0300 is composed already, and
 * nothing composes across its left side.
 *
 * Marks are brought into their order here, by counting, since a text may
 * consist of nothing else.
 */
#include "text.h"

#include <utf8proc.h>

typedef struct Composer {
    TitanStory *story;
    const unsigned char *classes;
    TokenIds *codes; /* of the stretch */
    utf8proc_option_t options;
    uint32_t plain; /* below this, a character stays as it is */
    TokenText *out;
} Composer;

static unsigned mark_class(uint32_t code)
{
    return (unsigned)utf8proc_get_property((utf8proc_int32_t)code)
        ->combining_class;
}

/* Sorts marks by their classes, equal ones in the order that they have. */
static TitanStatus order_marks(Composer *c, uint32_t *marks, size_t n)
{
    size_t first[257] = {0};
    if (n < 2) return TITAN_OK;
    for (size_t i = 0; i < n; i++)
        first[mark_class(marks[i]) + 1]++;
    for (unsigned k = 1; k <= 256; k++)
        first[k] += first[k - 1];
    uint32_t *sorted = malloc(n * sizeof *sorted);
    if (!sorted) return titan_no_memory(c->story);
    for (size_t i = 0; i < n; i++)
        sorted[first[mark_class(marks[i])]++] = marks[i];
    memcpy(marks, sorted, n * sizeof *sorted);
    free(sorted);
    return TITAN_OK;
}

static TitanStatus order_all(Composer *c)
{
    uint32_t *codes = c->codes->at;
    size_t n = c->codes->n;
    for (size_t i = 0; i < n; i++) {
        size_t first = i;
        while (i < n && mark_class(codes[i]))
            i++;
        TRY(order_marks(c, codes + first, i - first));
    }
    return TITAN_OK;
}

static TitanStatus decompose(Composer *c, const unsigned char *p,
                             const unsigned char *end)
{
    c->codes->n = 0;
    while (p < end) {
        uint32_t code;
        utf8proc_int32_t parts[32]; /* no character has more than 18 */
        int last = 0;
        p += utf8_read(p, end, &code);
        utf8proc_ssize_t n =
            utf8proc_decompose_char((utf8proc_int32_t)code, parts, 32,
                                    c->options | UTF8PROC_DECOMPOSE, &last);
        for (utf8proc_ssize_t i = 0; i < n && i < 32; i++) {
            uint32_t part = (uint32_t)parts[i];
            TRY(ids_append(c->story, c->codes, &part, 1));
        }
    }
    return TITAN_OK;
}

/* A stretch of valid UTF-8 without characters that are left alone. */
static TitanStatus compose(Composer *c, const unsigned char *p,
                           const unsigned char *end)
{
    if (p == end) return TITAN_OK;
    TRY(decompose(c, p, end));
    TRY(order_all(c));
    utf8proc_ssize_t n = (utf8proc_ssize_t)c->codes->n;
    if (c->options & UTF8PROC_COMPOSE)
        n = utf8proc_normalize_utf32((utf8proc_int32_t *)(void *)c->codes->at,
                                     n, c->options);
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        char bytes[4];
        TRY(text_append(c->story, c->out, bytes,
                        utf8_write(c->codes->at[i], bytes)));
    }
    return TITAN_OK;
}

/* Plain characters are copied, but the last before others: a mark may compose
 * with it. */
static TitanStatus compose_text(Composer *c, const Piece *in)
{
    const unsigned char *p = (const unsigned char *)in->text;
    const unsigned char *end = p + in->bytes, *copied = p, *plain = p;
    bool inside = false; /* of a stretch from `copied` on */
    while (p < end) {
        uint32_t code;
        const unsigned char *at = p;
        p += utf8_read(p, end, &code);
        bool alone = code == CODE_BYTE || c->classes[code] & UC_LATE;
        if (!alone && code >= c->plain) {
            if (!inside)
                TRY(text_append(c->story, c->out, (const char *)copied,
                                (size_t)(plain - copied)));
            if (!inside) copied = plain;
            inside = true;
            continue;
        }
        if (inside) {
            TRY(compose(c, copied, at));
            copied = at;
            inside = false;
        }
        plain = alone ? p : at;
    }
    if (inside) return compose(c, copied, end);
    return text_append(c->story, c->out, (const char *)copied,
                       (size_t)(end - copied));
}

static TitanStatus compose_as(TitanStory *s, const Tokenizer *t,
                              TokenScratch *scratch, const Piece *in,
                              NormalKind kind, TokenText *out)
{
    static const int options[] = {
        [NORMAL_nfc] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [NORMAL_nfd] = UTF8PROC_STABLE,
        [NORMAL_nfkc] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [NORMAL_nfkd] = UTF8PROC_STABLE | UTF8PROC_COMPAT};
    Composer c = {.story = s,
                  .classes = t->classes,
                  .codes = &scratch->codes,
                  .options = (utf8proc_option_t)options[kind],
                  .plain = kind == NORMAL_nfc ? 0x300 : 0x80,
                  .out = out};
    return compose_text(&c, in);
}

/* --------------------------------------------------------------- others -- */

static TitanStatus replace(TitanStory *s, const Tokenizer *t,
                           TokenScratch *scratch, const Piece *in,
                           const Normal *n, TokenText *out)
{
    const unsigned char *text = (const unsigned char *)in->text;
    Search search = match_search(s, &n->match, &scratch->match,
                                 (Scan){text, text + in->bytes, t->classes});
    size_t done = 0, begin = 0, end = 0;
    bool found;
    for (;;) {
        TRY(match_next(&search, &found, &begin, &end));
        if (!found) break;
        TRY(text_append(s, out, in->text + done, begin - done));
        TRY(text_append(s, out, n->text.at, n->text.n));
        done = end;
    }
    return text_append(s, out, in->text + done, in->bytes - done);
}

static TitanStatus strip(TitanStory *s, const Tokenizer *t, const Piece *in,
                         const Normal *n, TokenText *out)
{
    const unsigned char *p = (const unsigned char *)in->text;
    const unsigned char *end = p + in->bytes, *last = NULL, *first = NULL;
    uint32_t code;
    for (const unsigned char *at = p; at < end;) {
        size_t length = utf8_read(at, end, &code);
        bool space = in_set(t->classes[code], SET_SPACE);
        if (!space && !first) first = at;
        at += length;
        if (!space) last = at;
    }
    if (!first) return TITAN_OK;
    if (n->left) p = first;
    if (n->right) end = last;
    return text_append(s, out, (const char *)p, (size_t)(end - p));
}

static TitanStatus spell_bytes(TitanStory *s, const Piece *in, TokenText *out)
{
    for (size_t i = 0; i < in->bytes; i++) {
        char to[4];
        size_t n = utf8_write(byte_level_code((unsigned char)in->text[i]), to);
        TRY(text_append(s, out, to, n));
    }
    return TITAN_OK;
}

static TitanStatus apply_one(TitanStory *s, const Tokenizer *t,
                             TokenScratch *scratch, const Piece *in,
                             const Normal *n, TokenText *out)
{
    out->n = 0;
    switch (n->kind) {
    case NORMAL_nfc:
    case NORMAL_nfd:
    case NORMAL_nfkc:
    case NORMAL_nfkd:
        return compose_as(s, t, scratch, in, n->kind, out);
    case NORMAL_prepend:
        TRY(text_append(s, out, n->text.at, in->bytes ? n->text.n : 0));
        return text_append(s, out, in->text, in->bytes);
    case NORMAL_replace:
        return replace(s, t, scratch, in, n, out);
    case NORMAL_strip:
        return strip(s, t, in, n, out);
    case NORMAL_byte_level:
        return spell_bytes(s, in, out);
    }
    return TITAN_OK;
}

TitanStatus normalize(Run *r, const char *text, size_t bytes, Piece *out)
{
    out->text = text;
    out->bytes = bytes;
    for (unsigned i = 0; i < r->t->nnormals; i++) {
        TokenText *to = &r->scratch->normal[i & 1];
        Piece in = *out;
        TRY(apply_one(r->story, r->t, r->scratch, &in, &r->t->normals[i], to));
        out->text = to->at ? to->at : "";
        out->bytes = to->n;
    }
    return TITAN_OK;
}
