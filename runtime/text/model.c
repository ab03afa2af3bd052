/*
 * model.c: the ids of a word, by way of a cache of words.
 *
 * Text consists of the same words over and over; those of up to 64 bytes are
 * remembered with their ids.  When half the slots or the room of the words are
 * used up, all of it is forgotten: the words that count are back at once.
 */
#include "text.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { SLOTS = 1 << 16, LONGEST = 64, ROOM = 1 << 20 };

typedef struct CacheSlot {
    uint32_t hash; /* high bits */
    uint32_t word, ids;
    uint16_t bytes; /* 0: free */
    uint16_t n;
} CacheSlot;

void cache_release(WordCache *c)
{
    free(c->slots);
    token_text_release(&c->words);
    token_ids_release(&c->ids);
    *c = (WordCache){0};
}

static TitanStatus cache_ready(TitanStory *s, WordCache *c)
{
    bool full = c->used > SLOTS / 2 || c->words.n > ROOM || c->ids.n > ROOM;
    if (c->slots && !full) return TITAN_OK;
    if (!c->slots) c->slots = malloc(SLOTS * sizeof *c->slots);
    if (!c->slots) return titan_no_memory(s);
    memset(c->slots, 0, SLOTS * sizeof *c->slots);
    c->used = 0;
    c->words.n = c->ids.n = 0;
    return TITAN_OK;
}

/* The slot of a word, or the free one where it belongs. */
static CacheSlot *cache_find(const WordCache *c, const char *word, size_t bytes,
                             uint64_t hash)
{
    uint32_t i = (uint32_t)hash & (SLOTS - 1), high = (uint32_t)(hash >> 32);
    for (;; i = (i + 1) & (SLOTS - 1)) {
        CacheSlot *slot = &c->slots[i];
        if (slot->bytes == 0) return slot;
        if (slot->hash == high && slot->bytes == bytes &&
            memcmp(c->words.at + slot->word, word, bytes) == 0)
            return slot;
    }
}

/* The word as the vocabulary has it: in the byte-level alphabet. */
static TitanStatus spell_word(Run *r, const char *word, size_t bytes)
{
    TokenText *out = &r->scratch->word;
    out->n = 0;
    TRY(text_reserve(r->story, out, 2 * bytes));
    for (size_t i = 0; i < bytes; i++)
        out->n += utf8_write(byte_level_code((unsigned char)word[i]),
                             out->at + out->n);
    return TITAN_OK;
}

static TitanStatus encode_word_level(Run *r, const char *word, size_t bytes)
{
    int64_t id = vocab_find_model(&r->t->vocab, word, bytes);
    if (id < 0) id = r->t->model.unknown;
    if (id < 0)
        return titan_fail(r->story, TITAN_BAD_DATA,
                          "the word \"%.*s\" is not in the vocabulary, which "
                          "has no unknown token",
                          (int)(bytes < 60 ? bytes : 60), word);
    return ids_append(r->story, r->out, &(uint32_t){(uint32_t)id}, 1);
}

static TitanStatus encode_word(Run *r, const char *word, size_t bytes)
{
    const Model *m = &r->t->model;
    const char *text = word;
    size_t size = bytes;
    if (m->bytes &&
        (m->ignore_merges || !m->all_bytes || m->kind == MODEL_word_level)) {
        TRY(spell_word(r, word, bytes));
        text = r->scratch->word.at;
        size = r->scratch->word.n;
    }
    if (m->kind == MODEL_word_level) return encode_word_level(r, text, size);
    int64_t whole =
        m->ignore_merges ? vocab_find_model(&r->t->vocab, text, size) : -1;
    if (whole >= 0)
        return ids_append(r->story, r->out, &(uint32_t){(uint32_t)whole}, 1);
    if (m->all_bytes) return bpe_encode(r, word, bytes, r->out);
    return bpe_encode(r, text, size, r->out);
}

static TitanStatus encode_cached(Run *r, const char *word, size_t bytes)
{
    WordCache *c = &r->scratch->cache;
    TRY(cache_ready(r->story, c));
    uint64_t hash = XXH3_64bits(word, bytes);
    CacheSlot *slot = cache_find(c, word, bytes, hash);
    if (slot->bytes)
        return ids_append(r->story, r->out, c->ids.at + slot->ids, slot->n);
    size_t first = r->out->n, at = c->words.n, ids = c->ids.n;
    TRY(encode_word(r, word, bytes));
    size_t n = r->out->n - first;
    TRY(text_append(r->story, &c->words, word, bytes));
    TRY(ids_append(r->story, &c->ids, r->out->at + first, n));
    *slot = (CacheSlot){(uint32_t)(hash >> 32), (uint32_t)at, (uint32_t)ids,
                        (uint16_t)bytes, (uint16_t)n};
    c->used++;
    return TITAN_OK;
}

TitanStatus model_encode(Run *r, const char *word, size_t bytes)
{
    if (bytes && bytes <= LONGEST) return encode_cached(r, word, bytes);
    while (bytes) {
        size_t n = cuts_next(r->t, word, bytes);
        TRY(n <= LONGEST ? encode_cached(r, word, n) : encode_word(r, word, n));
        word += n;
        bytes -= n;
    }
    return TITAN_OK;
}
