/*
 * encode.c: a document, from its text to its ids.
 */
#include "text.h"

TokenScratch *token_scratch_new(void)
{
    return calloc(1, sizeof(TokenScratch));
}

void token_scratch_free(TokenScratch *scratch)
{
    if (!scratch) return;
    cache_release(&scratch->cache);
    for (unsigned i = 0; i < 2; i++)
        token_text_release(&scratch->normal[i]);
    for (unsigned i = 0; i < MAX_STEPS; i++)
        token_text_release(&scratch->step[i]);
    token_text_release(&scratch->word);
    token_ids_release(&scratch->ids);
    token_ids_release(&scratch->codes);
    free(scratch->symbols);
    free(scratch->heap);
    match_scratch_release(&scratch->match);
    free(scratch);
}

static TitanStatus put(Run *r, int64_t id)
{
    return ids_append(r->story, r->out, &(uint32_t){(uint32_t)id}, 1);
}

/* A text between added tokens that are looked for before normalisers. */
static TitanStatus encode_between(Run *r, const char *text, size_t bytes,
                                  bool first)
{
    Piece whole;
    TRY(normalize(r, text, bytes, &whole));
    AddedWalk walk = {.set = &r->t->normalized,
                      .classes = r->t->classes,
                      .text = whole.text,
                      .bytes = whole.bytes};
    Stretch at;
    while (added_next(&walk, &at)) {
        Piece piece = {whole.text + at.begin, at.end - at.begin,
                       first && at.begin == 0};
        TRY(at.id >= 0 ? put(r, at.id) : split_piece(r, 0, piece));
    }
    return TITAN_OK;
}

static TitanStatus encode_text(Run *r, const char *text, size_t bytes)
{
    AddedWalk walk = {.set = &r->t->raw,
                      .classes = r->t->classes,
                      .text = text,
                      .bytes = bytes};
    Stretch at;
    while (added_next(&walk, &at))
        TRY(at.id >= 0 ? put(r, at.id)
                       : encode_between(r, text + at.begin, at.end - at.begin,
                                        at.begin == 0));
    return TITAN_OK;
}

static bool has(const TokenIds *ids, int64_t id)
{
    for (size_t i = 0; i < ids->n; i++)
        if (ids->at[i] == id) return true;
    return false;
}

static bool frames(const Tokenizer *t, int64_t id)
{
    return has(&t->before, id) || has(&t->after, id);
}

static TitanStatus check_text(TitanStory *s, const Tokenizer *t,
                              const char *text, size_t bytes)
{
    if (t->model.bytes) return TITAN_OK;
    size_t valid = utf8_valid(text, bytes);
    if (valid == bytes) return TITAN_OK;
    return titan_fail(s, TITAN_BAD_DATA, "byte %zu of the text is not UTF-8",
                      valid);
}

/* A scratch serves one tokenizer at a time; another one finds it empty. */
static void own(TokenScratch *scratch, const Tokenizer *t)
{
    if (scratch->owner != t->hash) cache_release(&scratch->cache);
    scratch->owner = t->hash;
}

/* TOKEN_BOS and TOKEN_EOS are several bits. */
static bool asks(unsigned ends, unsigned for_what)
{
    return (ends & for_what) == for_what;
}

TitanStatus tokenizer_encode(TitanStory *s, const Tokenizer *t,
                             TokenScratch *scratch, const char *text,
                             size_t bytes, unsigned ends, TokenIds *out)
{
    Run r = {s, t, scratch, out};
    bool front = ends & TOKEN_FRONT, back = ends & TOKEN_BACK;
    bool bos = asks(ends, TOKEN_BOS) && t->bos >= 0 && !frames(t, t->bos);
    bool eos = asks(ends, TOKEN_EOS) && t->eos >= 0 && !frames(t, t->eos);
    if (bytes == 0) text = ""; /* it may be NULL */
    TRY(check_text(s, t, text, bytes));
    own(scratch, t);
    match_begin(&scratch->match, bytes);
    if (bos) TRY(put(&r, t->bos));
    if (front) TRY(ids_append(s, out, t->before.at, t->before.n));
    if (bytes) TRY(encode_text(&r, text, bytes));
    if (back) TRY(ids_append(s, out, t->after.at, t->after.n));
    return eos ? put(&r, t->eos) : TITAN_OK;
}
