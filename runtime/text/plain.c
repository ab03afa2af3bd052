/*
 * plain.c: tokenizers of before there was a tokenizer.json: a vocabulary, as
 * JSON or a token a line, and merges, a pair a line.  With merges it is a
 * byte-level BPE of GPT-2's kind, without them a table of words.
 */
#include "text.h"

/* The next line of a text without its blanks at both ends; false: there is
 * none. */
static bool next_line(const TokenText *text, size_t *at, const char **line,
                      size_t *n)
{
    if (*at >= text->n) return false;
    const char *p = text->at + *at, *end = text->at + text->n;
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    *at = (size_t)((stop ? stop + 1 : end) - text->at);
    if (!stop) stop = end;
    while (p < stop && strchr(" \t\r", *p) && *p)
        p++;
    while (stop > p && strchr(" \t\r", stop[-1]) && stop[-1])
        stop--;
    *line = p;
    *n = (size_t)(stop - p);
    return true;
}

static TitanStatus check_utf8(Loader *l, const TokenText *text,
                              const char *name)
{
    size_t valid = utf8_valid(text->at ? text->at : "", text->n);
    if (valid == text->n) return TITAN_OK;
    return BAD(l, "byte %zu of %s is not UTF-8", valid, name);
}

/* The id of a token is the number of its line, from 0; empty lines count. */
static TitanStatus read_lines(Loader *l, const TokenText *vocab)
{
    const char *line;
    size_t at = 0, n;
    TRY(check_utf8(l, vocab, "vocab.txt"));
    for (uint32_t id = 0; next_line(vocab, &at, &line, &n); id++)
        if (n) TRY(vocab_add(l->story, &l->t->vocab, line, n, id, TOKEN_MODEL));
    return TITAN_OK;
}

static TitanStatus read_object(Loader *l, const TokenText *vocab)
{
    TRY(json_read(l->story, vocab->at, vocab->n, &l->json));
    TitanStatus st = load_vocab(l, JSON_ROOT);
    json_release(&l->json);
    return st;
}

/* Empty lines and those that begin with # are none. */
static bool next_merge(const TokenText *merges, size_t *at, const char **line,
                       size_t *n)
{
    bool some;
    do {
        some = next_line(merges, at, line, n);
    } while (some && (*n == 0 || **line == '#'));
    return some;
}

static TitanStatus read_merges(Loader *l, const TokenText *merges)
{
    const char *line;
    size_t at = 0, n;
    uint32_t count = 0, rank = 0;
    TRY(check_utf8(l, merges, "merges.txt"));
    while (next_merge(merges, &at, &line, &n))
        count++;
    TRY(merges_open(l->story, &l->t->model, count));
    for (at = 0; next_merge(merges, &at, &line, &n); rank++) {
        const char *blank = memchr(line, ' ', n);
        const char *right = blank ? blank + 1 : line;
        if (!blank || memchr(right, ' ', n - (size_t)(right - line)))
            return BAD(l, "merge %u has not two parts", (unsigned)rank);
        TRY(load_pair(l, rank, line, (size_t)(blank - line), right,
                      n - (size_t)(right - line)));
    }
    return TITAN_OK;
}

TitanStatus load_plain(Loader *l, const Texts *from)
{
    Tokenizer *t = l->t;
    TRY(from->object ? read_object(l, from->object)
                     : read_lines(l, from->lines));
    if (!from->merges) {
        t->joined = true;
        t->model.kind = MODEL_word_level;
        t->model.unknown = vocab_find_model(&t->vocab, "[UNK]", 5);
        return TITAN_OK;
    }
    TRY(load_bytes(l, false));
    t->decodes[t->ndecodes++].kind = DECODE_byte_level;
    TRY(read_merges(l, from->merges));
    find_bytes(t);
    return TITAN_OK;
}
