/*
 * split.c: pre-tokenizers, each of which cuts a piece or changes it, and hands
 * what comes of it to the next; the model is behind the last.
 */
#include "text.h"

/* Pieces between two matches and matches, in order, and what a behaviour
 * makes of them. */
typedef struct Cutter {
    Run *run;
    unsigned step;
    Piece of;
    Behaviour cut;
    size_t begin, end; /* waits for what comes next */
    bool waits;
    bool match; /* what came last was a match */
} Cutter;

static TitanStatus hand_on(Cutter *c, size_t begin, size_t end)
{
    if (begin == end) return TITAN_OK;
    Piece piece = {c->of.text + begin, end - begin, c->of.first && begin == 0};
    return split_piece(c->run, c->step + 1, piece);
}

static TitanStatus flush(Cutter *c)
{
    bool waits = c->waits;
    c->waits = false;
    return waits ? hand_on(c, c->begin, c->end) : TITAN_OK;
}

/* Whether a piece belongs to the one that waits. */
static bool joins(const Cutter *c, bool match)
{
    if (!c->waits) return false;
    switch (c->cut) {
    case CUT_contiguous:
        return match == c->match;
    case CUT_previous:
        return match && !c->match;
    case CUT_next:
        return c->match && !match;
    case CUT_removed:
    case CUT_isolated:
        break;
    }
    return false;
}

static TitanStatus add(Cutter *c, size_t begin, size_t end, bool match)
{
    if (c->cut == CUT_isolated) return hand_on(c, begin, end);
    if (c->cut == CUT_removed) return match ? TITAN_OK : hand_on(c, begin, end);
    if (joins(c, match)) {
        c->end = end;
    } else {
        TRY(flush(c));
        c->begin = begin;
        c->end = end;
        c->waits = true;
    }
    c->match = match;
    return TITAN_OK;
}

static TitanStatus cut(Run *r, unsigned step, Piece piece)
{
    const Step *of = &r->t->steps[step];
    const unsigned char *text = (const unsigned char *)piece.text;
    Search search =
        match_search(r->story, &of->match, &r->scratch->match,
                     (Scan){text, text + piece.bytes, r->t->classes});
    Cutter c = {.run = r, .step = step, .of = piece, .cut = of->cut};
    size_t done = 0, begin = 0, end = 0;
    bool found;
    for (;;) {
        TRY(match_next(&search, &found, &begin, &end));
        if (!found) break;
        if (begin > done) TRY(add(&c, done, begin, of->invert));
        TRY(add(&c, begin, end, !of->invert));
        done = end;
    }
    if (done < piece.bytes) TRY(add(&c, done, piece.bytes, of->invert));
    return flush(&c);
}

/* ------------------------------------------------ texts that are changed -- */

static bool starts_with(const char *text, size_t bytes, const TokenText *mark)
{
    return bytes >= mark->n && memcmp(text, mark->at, mark->n) == 0;
}

/* Blanks become marks, and one may be put in front. */
static TitanStatus mark_blanks(Run *r, const Step *of, Piece in, TokenText *out)
{
    const char *p = in.text, *end = p + in.bytes;
    const TokenText *mark = &of->mark;
    bool marked = *p == ' ' || starts_with(p, in.bytes, mark);
    bool wanted = of->scheme == PREPEND_always ||
                  (of->scheme == PREPEND_first && in.first);
    out->n = 0;
    if (wanted && !marked) TRY(text_append(r->story, out, mark->at, mark->n));
    while (p < end) {
        const char *blank = memchr(p, ' ', (size_t)(end - p));
        const char *stop = blank ? blank : end;
        TRY(text_append(r->story, out, p, (size_t)(stop - p)));
        if (blank) TRY(text_append(r->story, out, mark->at, mark->n));
        p = blank ? blank + 1 : end;
    }
    return TITAN_OK;
}

static TitanStatus put_blank(Run *r, Piece in, TokenText *out)
{
    out->n = 0;
    TRY(text_append(r->story, out, " ", 1));
    return text_append(r->story, out, in.text, in.bytes);
}

TitanStatus split_piece(Run *r, unsigned step, Piece piece)
{
    if (step == r->t->nsteps) return model_encode(r, piece.text, piece.bytes);
    const Step *of = &r->t->steps[step];
    TokenText *own = &r->scratch->step[step];
    if (of->kind == STEP_metaspace) {
        TRY(mark_blanks(r, of, piece, own));
        piece = (Piece){own->at, own->n, piece.first};
    } else if (of->prefix && piece.text[0] != ' ') {
        TRY(put_blank(r, piece, own));
        piece = (Piece){own->at, own->n, piece.first};
    }
    return of->split ? cut(r, step, piece) : split_piece(r, step + 1, piece);
}
