/*
 * decode.c: ids, from their tokens to bytes.
 *
 * A token goes through the decoders one by one.  Bytes come out as they are:
 * where they are no UTF-8, that is what was encoded.  What a decoder of ids as
 * they come holds back is the beginning of a character, at most three bytes.
 */
#include "text.h"

struct TokenDecoder {
    const Tokenizer *t;
    bool special;
    size_t index;     /* of the token among those that are shown */
    uint32_t strip;   /* characters that may still go from the front */
    TokenText way[2]; /* a token on its way */
    TokenText held;
    MatchScratch match;
};

/* ------------------------------------------------------------- one token -- */

typedef TitanStatus DecodeStep(TitanStory *s, TokenDecoder *d, const Decode *of,
                               const TokenText *in, TokenText *out);

/* A token that has other characters than the alphabet's stays as it is. */
static TitanStatus from_alphabet(TitanStory *s, TokenDecoder *d,
                                 const Decode *of, const TokenText *in,
                                 TokenText *out)
{
    const unsigned char *p = (const unsigned char *)in->at, *end = p + in->n;
    uint32_t code;
    (void)d, (void)of;
    TRY(text_reserve(s, out, in->n));
    while (p < end) {
        p += utf8_read(p, end, &code);
        int byte = byte_level_byte(code);
        if (byte < 0) {
            out->n = 0;
            return text_append(s, out, in->at, in->n);
        }
        out->at[out->n++] = (char)byte;
    }
    return TITAN_OK;
}

static TitanStatus replace(TitanStory *s, TokenDecoder *d, const Decode *of,
                           const TokenText *in, TokenText *out)
{
    const unsigned char *text = (const unsigned char *)in->at;
    Search search = match_search(s, &of->match, &d->match,
                                 (Scan){text, text + in->n, d->t->classes});
    size_t done = 0, begin = 0, end = 0;
    bool found, drop = of->prefix && d->index == 0;
    match_begin(&d->match, in->n);
    for (;;) {
        TRY(match_next(&search, &found, &begin, &end));
        if (!found) break;
        TRY(text_append(s, out, in->at + done, begin - done));
        if (!drop) TRY(text_append(s, out, of->text.at, of->text.n));
        done = end;
    }
    return text_append(s, out, in->at + done, in->n - done);
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "<0x41>" is the byte 41. */
static TitanStatus from_spelled(TitanStory *s, TokenDecoder *d,
                                const Decode *of, const TokenText *in,
                                TokenText *out)
{
    (void)d, (void)of;
    bool form = in->n == 6 && memcmp(in->at, "<0x", 3) == 0 && in->at[5] == '>';
    int high = form ? hex(in->at[3]) : -1, low = form ? hex(in->at[4]) : -1;
    if (high < 0 || low < 0) return text_append(s, out, in->at, in->n);
    char byte = (char)(high * 16 + low);
    return text_append(s, out, &byte, 1);
}

static TitanStatus strip(TitanStory *s, TokenDecoder *d, const Decode *of,
                         const TokenText *in, TokenText *out)
{
    char mark[4];
    size_t n = utf8_write(of->code, mark), begin = 0, end = in->n;
    (void)d;
    for (uint32_t i = 0; i < of->start && end - begin >= n; i++, begin += n)
        if (memcmp(in->at + begin, mark, n) != 0) break;
    for (uint32_t i = 0; i < of->stop && end - begin >= n; i++, end -= n)
        if (memcmp(in->at + end - n, mark, n) != 0) break;
    return text_append(s, out, in->at + begin, end - begin);
}

static DecodeStep *const steps[] = {
    [DECODE_byte_level] = from_alphabet,
    [DECODE_metaspace] = replace,
    [DECODE_replace] = replace,
    [DECODE_byte_fallback] = from_spelled,
    [DECODE_strip] = strip,
};

/* The text of a token; in `held` behind what is there. */
static TitanStatus decode_token(TitanStory *s, TokenDecoder *d,
                                const Token *token)
{
    const Tokenizer *t = d->t;
    uint32_t at = token->shown ? token->shown : token->at;
    TokenText *in = &d->way[0], *out = &d->way[1];
    in->n = 0;
    TRY(text_append(s, in, t->vocab.texts.at + at,
                    token->shown ? token->shown_size : token->size));
    for (unsigned i = 0; i < t->ndecodes; i++) {
        TokenText *made = out;
        out->n = 0;
        TRY(steps[t->decodes[i].kind](s, d, &t->decodes[i], in, out));
        out = in;
        in = made;
    }
    if (t->joined && d->index > 0) TRY(text_append(s, &d->held, " ", 1));
    d->index++;
    return text_append(s, &d->held, in->at, in->n);
}

/* ------------------------------------------------------ whole characters -- */

/* Bytes at the end that may be the beginning of a character. */
static size_t unfinished(const TokenText *text)
{
    for (size_t back = 1; back <= 3 && back <= text->n; back++) {
        unsigned char c = (unsigned char)text->at[text->n - back];
        if (c < 0x80) return 0;
        if (c < 0xc0) continue;
        size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        return back < need ? back : 0;
    }
    return 0;
}

/* Gives all that is held but its last KEEP bytes. */
static TitanStatus give(TitanStory *s, TokenDecoder *d, size_t keep,
                        TokenText *out)
{
    TokenText *held = &d->held;
    size_t from = 0, to = held->n - keep;
    char mark[4];
    size_t n = utf8_write(d->t->whole.code, mark);
    while (d->strip && to > from) {
        bool strips = to - from >= n && memcmp(held->at + from, mark, n) == 0;
        d->strip = strips ? d->strip - 1 : 0;
        if (strips) from += n;
    }
    TRY(text_append(s, out, held->at + from, to - from));
    memmove(held->at, held->at + to, keep);
    held->n = keep;
    return TITAN_OK;
}

static void begin(TokenDecoder *d)
{
    d->index = 0;
    d->strip = d->t->whole.start;
    d->held.n = 0;
}

TokenDecoder *token_decoder_new(const Tokenizer *t, bool special)
{
    TokenDecoder *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->t = t;
    d->special = special;
    begin(d);
    return d;
}

void token_decoder_free(TokenDecoder *d)
{
    if (!d) return;
    token_text_release(&d->way[0]);
    token_text_release(&d->way[1]);
    token_text_release(&d->held);
    match_scratch_release(&d->match);
    free(d);
}

TitanStatus token_decoder_add(TitanStory *s, TokenDecoder *d, uint32_t id,
                              TokenText *out)
{
    if (id >= d->t->vocab.n) return TITAN_OK;
    const Token *token = &d->t->vocab.tokens[id];
    bool shown = token->flags & TOKEN_THERE &&
                 (d->special || !(token->flags & TOKEN_SPECIAL));
    if (!shown) return TITAN_OK;
    TRY(decode_token(s, d, token));
    return d->held.n ? give(s, d, unfinished(&d->held), out) : TITAN_OK;
}

TitanStatus token_decoder_end(TitanStory *s, TokenDecoder *d, TokenText *out)
{
    TitanStatus st = d->held.n ? give(s, d, 0, out) : TITAN_OK;
    begin(d);
    return st;
}

TitanStatus tokenizer_decode(TitanStory *s, const Tokenizer *t,
                             const uint32_t *ids, size_t n, bool special,
                             TokenText *out)
{
    TokenDecoder *d = token_decoder_new(t, special);
    TitanStatus st = d ? TITAN_OK : titan_no_memory(s);
    for (size_t i = 0; i < n && st == TITAN_OK; i++)
        st = token_decoder_add(s, d, ids[i], out);
    if (st == TITAN_OK) st = token_decoder_end(s, d, out);
    token_decoder_free(d);
    return st;
}
