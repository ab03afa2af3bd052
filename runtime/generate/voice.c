/*
 * voice.c: between text and token ids.
 *
 * Bytes of a character are held back until it is whole; what is not UTF-8
 * leaves as it is once that is certain.
 */
#include "voice.h"

#include <stdlib.h>
#include <string.h>

#include "../text/bytes.h"
#include "../text/unicode.h"

TitanStatus voice_open(Voice *v, TitanStory *s, const char *path)
{
    *v = (Voice){.story = s};
    if (!path) return TITAN_OK;
    TRY(titan_while(s, tokenizer_open(s, path, &v->tokenizer),
                    "reading the tokenizer \"%s\"", path));
    v->scratch = token_scratch_new();
    return v->scratch ? TITAN_OK : titan_no_memory(s);
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
        TRY(ids_append(v->story, out, &(uint32_t){(unsigned char)text[i]}, 1));
    return TITAN_OK;
}

/* --------------------------------------------------------------- reading -- */

TitanStatus reader_open(Reader *r, Voice *v)
{
    *r = (Reader){.voice = v};
    if (!v->tokenizer) return TITAN_OK;
    r->decoder = token_decoder_new(v->tokenizer, false);
    return r->decoder ? TITAN_OK : titan_no_memory(v->story);
}

void reader_close(Reader *r)
{
    if (r->decoder) token_decoder_free(r->decoder);
    *r = (Reader){0};
}

/* Bytes of the character that begins so; 1 for what begins none. */
static size_t character_bytes(unsigned char first)
{
    if (first >= 0xf0 && first <= 0xf4) return 4;
    if (first >= 0xe0 && first <= 0xef) return 3;
    return first >= 0xc2 && first <= 0xdf ? 2 : 1;
}

TitanStatus text_whole(TitanStory *s, const char *text, size_t n,
                       TokenText *out)
{
    static const char mark[] = "\xef\xbf\xbd";
    const unsigned char *at = (const unsigned char *)text, *end = at + n;
    for (size_t size; at < end; at += size) {
        uint32_t code;
        size = utf8_read(at, end, &code);
        bool whole = code != CODE_BYTE;
        TRY(text_append(s, out, whole ? (const char *)at : mark,
                        whole ? size : sizeof mark - 1));
    }
    return TITAN_OK;
}

static TitanStatus let_go(Reader *r, TokenText *out)
{
    size_t n = r->nheld;
    r->nheld = 0;
    return text_append(r->voice->story, out, r->held, n);
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
