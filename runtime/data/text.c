/*
 * text.c: a text file, plain or packed, as one document.
 *
 * It is given in pieces of about a mebibyte.  A piece ends behind a line end
 * between a visible ASCII character and an ASCII letter: there the
 * pre-tokenizers of all families cut, and none looks further, so the tokens of
 * the pieces are those of the file.  (Of two line ends in front of a letter
 * GPT-2's makes two words, of two at the end one.)
 */
#include "documents.h"
#include "unpack.h"

#include <inttypes.h>
#include <stdlib.h>

enum { PIECE_BYTES = 1 << 20 };

typedef struct TextDoc {
    DocFile base;
    Unpacked *in;
    size_t given; /* of in->text, by the last call */
} TextDoc;

static TextDoc *text_of(DocFile *f)
{
    return (TextDoc *)(void *)f;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Where a piece ends in the text that there is, looking from byte FROM on; 0:
 * nowhere yet. */
static size_t end_of_piece(const char *text, size_t from, size_t n)
{
    for (size_t i = from > PIECE_BYTES ? from : PIECE_BYTES; i < n; i++)
        if (text[i - 1] == '\n' && is_letter(text[i]) && text[i - 2] > ' ')
            return i;
    return 0;
}

static TitanStatus text_next(DocFile *f, Piece *out, bool *more)
{
    TextDoc *d = text_of(f);
    Unpacked *u = d->in;
    unpack_take(u, d->given);
    d->given = 0;
    bool there = true;
    size_t n = 0, seen = 0;
    while (n == 0 && there) {
        n = end_of_piece(u->text + u->begin, seen, u->end - u->begin);
        seen = u->end - u->begin;
        if (n == 0 && seen > MOST_TEXT)
            return titan_fail(f->story, TITAN_BAD_DATA,
                              "\"%s\": behind byte %" PRId64
                              " no line end stands between a visible character "
                              "and a letter, for %d bytes",
                              f->file->path, u->offset, MOST_TEXT);
        if (n == 0) TRY(unpack_more(u, &there));
    }
    if (n == 0) n = u->end - u->begin;
    *more = n > 0;
    *out = (Piece){.at = u->text + u->begin,
                   .bytes = n,
                   .first = f->at.offset == 0,
                   .last = !there,
                   .number = 1};
    d->given = n;
    f->at.offset += (int64_t)n;
    return TITAN_OK;
}

static TitanStatus text_seek(DocFile *f, Place to)
{
    TextDoc *d = text_of(f);
    d->given = 0;
    TRY(unpack_seek(d->in, to.offset));
    f->at = to;
    return TITAN_OK;
}

static void text_close(DocFile *f)
{
    unpack_close(text_of(f)->in);
    free(f);
}

TitanStatus text_open(TitanStory *s, const DataFile *file, DocFile **out)
{
    static const DocClass class = {"text", text_seek, text_next, text_close};
    TextDoc *d = calloc(1, sizeof *d);
    if (!d) return titan_no_memory(s);
    d->base = (DocFile){.class = &class, .story = s, .file = file};
    TitanStatus st = unpack_open(s, file->path, &d->in);
    if (st == TITAN_OK)
        *out = &d->base;
    else
        free(d);
    return st;
}
