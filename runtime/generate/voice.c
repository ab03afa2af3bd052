/*
 * voice.c: between text and token ids.
 *
 * Bytes of a character are held back until it is whole; what is not UTF-8
 * leaves as it is once that is certain.
 */
#include "voice.h"

#include <stdlib.h>
#include <string.h>

static TitanStatus no_memory(TitanStory *s)
{
    return titan_fail(s, TITAN_UNAVAILABLE, "out of memory");
}

TitanStatus voice_open(Voice *v, TitanStory *s, const char *path)
{
    *v = (Voice){.story = s};
    if (!path) return TITAN_OK;
    TRY(titan_while(s, tokenizer_open(s, path, &v->tokenizer),
                    "reading the tokenizer \"%s\"", path));
    v->scratch = token_scratch_new();
    return v->scratch ? TITAN_OK : no_memory(s);
}

void voice_close(Voice *v)
{
    if (v->scratch) token_scratch_free(v->scratch);
    if (v->tokenizer) tokenizer_free(v->tokenizer);
    *v = (Voice){0};
}

int64_t voice_end(const Voice *v)
{
    return v->tokenizer ? tokenizer_eos(v->tokenizer) : -1;
}

static TitanStatus add_id(TitanStory *s, TokenIds *ids, uint32_t id)
{
    if (ids->n == ids->cap) {
        size_t cap = ids->cap ? 2 * ids->cap : 256;
        uint32_t *more = realloc(ids->at, cap * sizeof *more);
        if (!more) return no_memory(s);
        ids->at = more;
        ids->cap = cap;
    }
    ids->at[ids->n++] = id;
    return TITAN_OK;
}

/* A text is begun as those were that the model was trained on, and not ended.
 */
TitanStatus voice_encode(Voice *v, const char *text, size_t n, TokenIds *out)
{
    if (v->tokenizer) {
        unsigned ends = tokenizer_ends(v->tokenizer) & ~(unsigned)TOKEN_EOS;
        return tokenizer_encode(v->story, v->tokenizer, v->scratch, text, n,
                                ends, out);
    }
    for (size_t i = 0; i < n; i++)
        TRY(add_id(v->story, out, (unsigned char)text[i]));
    return TITAN_OK;
}

/* ---------------------------------------------------------------- reading --
 */

TitanStatus reader_open(Reader *r, Voice *v)
{
    *r = (Reader){.voice = v};
    if (!v->tokenizer) return TITAN_OK;
    r->decoder = token_decoder_new(v->tokenizer, false);
    return r->decoder ? TITAN_OK : no_memory(v->story);
}

void reader_close(Reader *r)
{
    if (r->decoder) token_decoder_free(r->decoder);
    *r = (Reader){0};
}

static TitanStatus add_bytes(TitanStory *s, TokenText *t, const char *from,
                             size_t n)
{
    if (t->n + n > t->cap) {
        size_t cap = 2 * t->cap + n + 64;
        char *more = realloc(t->at, cap);
        if (!more) return no_memory(s);
        t->at = more;
        t->cap = cap;
    }
    memcpy(t->at + t->n, from, n);
    t->n += n;
    return TITAN_OK;
}

/* Bytes of the character that begins so; 1 for what begins none. */
static size_t character_bytes(unsigned char first)
{
    if (first >= 0xf0 && first <= 0xf4) return 4;
    if (first >= 0xe0 && first <= 0xef) return 3;
    return first >= 0xc2 && first <= 0xdf ? 2 : 1;
}

/* Bytes of the whole character that stands here; 0: there is none. */
static size_t whole_character(const char *text, size_t n)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t size = character_bytes(at[0]);
    if (size > n || (size == 1 && at[0] >= 0x80)) return 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    bool longer =
        (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool surrogate = at[0] == 0xed && at[1] >= 0xa0;
    bool beyond = at[0] == 0xf4 && at[1] >= 0x90;
    return longer || surrogate || beyond ? 0 : size;
}

TitanStatus text_whole(TitanStory *s, const char *text, size_t n,
                       TokenText *out)
{
    static const char mark[] = "\xef\xbf\xbd";
    for (size_t i = 0; i < n;) {
        size_t size = whole_character(text + i, n - i);
        TRY(add_bytes(s, out, size ? text + i : mark, size ? size : 3));
        i += size ? size : 1;
    }
    return TITAN_OK;
}

static TitanStatus let_go(Reader *r, TokenText *out)
{
    size_t n = r->nheld;
    r->nheld = 0;
    return add_bytes(r->voice->story, out, r->held, n);
}

static TitanStatus add_byte(Reader *r, char byte, TokenText *out)
{
    bool goes_on = ((unsigned char)byte & 0xc0) == 0x80;
    if (r->nheld > 0 && !goes_on) TRY(let_go(r, out));
    r->held[r->nheld++] = byte;
    if (r->nheld < character_bytes((unsigned char)r->held[0])) return TITAN_OK;
    return let_go(r, out);
}

TitanStatus reader_add(Reader *r, uint32_t id, TokenText *out)
{
    if (r->decoder)
        return token_decoder_add(r->voice->story, r->decoder, id, out);
    return id < 256 ? add_byte(r, (char)id, out) : TITAN_OK;
}

TitanStatus reader_end(Reader *r, TokenText *out)
{
    if (r->decoder) return token_decoder_end(r->voice->story, r->decoder, out);
    return let_go(r, out);
}
