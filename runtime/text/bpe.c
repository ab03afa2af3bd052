/*
 * bpe.c: a word becomes symbols, of which two neighbours after the other are
 * merged, the pair of the lowest rank first, the leftmost of equal ones.
 *
 * Short words keep the rank of each pair at hand and look through all of them;
 * long ones have a heap of candidates over a list of symbols, so that a text
 * without a blank costs no more than n log n.  A candidate that a merge has
 * overtaken is known by its pair, which is another one by then.
 */
#include "text.h"

enum { SHORT = 48 };
static const uint32_t no_rank = UINT32_MAX;

/* --------------------------------------------------------------- merges -- */

static uint32_t merge_slot(const Model *m, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << 32 | right;
    uint32_t mask = m->nmerges - 1;
    uint32_t i = (uint32_t)(key * 0x9e3779b97f4a7c15u >> 32) & mask;
    while (m->merges[i].rank != no_rank &&
           (m->merges[i].left != left || m->merges[i].right != right))
        i = (i + 1) & mask;
    return i;
}

TitanStatus merges_open(TitanStory *s, Model *m, uint32_t n)
{
    uint32_t slots = 16;
    while (slots < n * 2u)
        slots *= 2;
    m->merges = malloc(slots * sizeof *m->merges);
    if (!m->merges) return titan_no_memory(s);
    for (uint32_t i = 0; i < slots; i++)
        m->merges[i].rank = no_rank;
    m->nmerges = slots;
    return TITAN_OK;
}

void merges_put(Model *m, const Merge *merge)
{
    m->merges[merge_slot(m, merge->left, merge->right)] = *merge;
}

static inline const Merge *merge_of(const Model *m, uint32_t left,
                                    uint32_t right)
{
    return &m->merges[merge_slot(m, left, right)];
}

/* ---------------------------------------------------------- short words -- */

static void merge_short(const Model *m, TokenIds *ids)
{
    uint32_t *id = ids->at, rank[SHORT];
    size_t n = ids->n;
    for (size_t i = 0; i + 1 < n; i++)
        rank[i] = merge_of(m, id[i], id[i + 1])->rank;
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == no_rank) break;
        id[best] = merge_of(m, id[best], id[best + 1])->id;
        n--;
        memmove(id + best + 1, id + best + 2, (n - best - 1) * sizeof *id);
        memmove(rank + best, rank + best + 1, (n - best - 1) * sizeof *rank);
        if (best + 1 < n)
            rank[best] = merge_of(m, id[best], id[best + 1])->rank;
        if (best > 0)
            rank[best - 1] = merge_of(m, id[best - 1], id[best])->rank;
    }
    ids->n = n;
}

/* ----------------------------------------------------------- long words -- */

static bool comes_first(const Candidate *a, const Candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

static void sift_up(Candidate *heap, size_t i)
{
    Candidate c = heap[i];
    for (; i > 0 && comes_first(&c, &heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = c;
}

static void sift_down(Candidate *heap, size_t n, size_t i)
{
    Candidate c = heap[i];
    for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && comes_first(&heap[child + 1], &heap[child]))
            child++;
        if (!comes_first(&heap[child], &c)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = c;
}

/* Each merge adds two candidates at most: there is room for all. */
static void push(const Model *m, TokenScratch *scratch, int32_t place)
{
    const Symbol *left = &scratch->symbols[place];
    if (left->next < 0) return;
    const Merge *merge = merge_of(m, left->id, scratch->symbols[left->next].id);
    if (merge->rank == no_rank) return;
    Candidate c = {merge->rank, (uint32_t)place, merge->id};
    scratch->heap[scratch->heap_n] = c;
    sift_up(scratch->heap, scratch->heap_n++);
}

static Candidate pop(TokenScratch *scratch)
{
    Candidate *heap = scratch->heap, first = heap[0];
    heap[0] = heap[--scratch->heap_n];
    if (scratch->heap_n) sift_down(heap, scratch->heap_n, 0);
    return first;
}

static TitanStatus reserve_long(Run *r, size_t n)
{
    TokenScratch *c = r->scratch;
    if (n > INT32_MAX / 4)
        return titan_fail(r->story, TITAN_BAD_DATA,
                          "a word has %zu bytes; at most %d are taken", n,
                          INT32_MAX / 4);
    if (n > c->symbols_cap) {
        Symbol *more = realloc(c->symbols, n * sizeof *more);
        if (!more) return titan_no_memory(r->story);
        c->symbols = more;
        c->symbols_cap = n;
    }
    if (3 * n > c->heap_cap) {
        Candidate *more = realloc(c->heap, 3 * n * sizeof *more);
        if (!more) return titan_no_memory(r->story);
        c->heap = more;
        c->heap_cap = 3 * n;
    }
    return TITAN_OK;
}

static void list_symbols(const Model *m, TokenScratch *c, const TokenIds *ids)
{
    int32_t n = (int32_t)ids->n;
    c->heap_n = 0;
    for (int32_t i = 0; i < n; i++)
        c->symbols[i] = (Symbol){ids->at[i], i - 1, i + 1 < n ? i + 1 : -1};
    for (int32_t i = 0; i + 1 < n; i++)
        push(m, c, i);
}

enum { GONE = -2 }; /* a symbol's `next`: it is part of another one */

static void merge_at(const Model *m, TokenScratch *c, int32_t place)
{
    Symbol *left = &c->symbols[place], *right = &c->symbols[left->next];
    left->id = merge_of(m, left->id, right->id)->id;
    left->next = right->next;
    right->next = GONE;
    if (left->next >= 0) c->symbols[left->next].previous = place;
    if (left->previous >= 0) push(m, c, left->previous);
    push(m, c, place);
}

static TitanStatus merge_long(Run *r, TokenIds *ids)
{
    const Model *m = &r->t->model;
    TokenScratch *c = r->scratch;
    TRY(reserve_long(r, ids->n));
    list_symbols(m, c, ids);
    while (c->heap_n) {
        Candidate top = pop(c);
        Symbol *left = &c->symbols[top.place];
        if (left->next < 0) continue;
        const Merge *merge = merge_of(m, left->id, c->symbols[left->next].id);
        if (merge->rank != no_rank && merge->id == top.id)
            merge_at(m, c, (int32_t)top.place);
    }
    size_t n = 0;
    for (int32_t i = 0; i >= 0; i = c->symbols[i].next)
        ids->at[n++] = c->symbols[i].id;
    ids->n = n;
    return TITAN_OK;
}

/* -------------------------------------------------------------- symbols -- */

static TitanStatus add_bytes(Run *r, const char *word, size_t bytes,
                             TokenIds *out)
{
    const Model *m = &r->t->model;
    TRY(ids_reserve(r->story, out, bytes));
    for (size_t i = 0; i < bytes; i++)
        out->at[out->n++] = (uint32_t)m->byte_id[(unsigned char)word[i]];
    return TITAN_OK;
}

/* The tokens "<0x41>" of a character; false: not all are there. */
static bool spell(const Model *m, const char *text, size_t n, uint32_t *ids)
{
    for (size_t i = 0; i < n; i++) {
        int32_t id = m->spelled[(unsigned char)text[i]];
        if (id < 0) return false;
        ids[i] = (uint32_t)id;
    }
    return true;
}

/* A character that no token is: where the unknown token is fused, the ones
 * behind it belong to it; it stands in front of the next known one, behind
 * what is spelled in between, as the reference has it. */
static TitanStatus add_characters(Run *r, const char *word, size_t bytes,
                                  TokenIds *out)
{
    const Model *m = &r->t->model;
    const unsigned char *p = (const unsigned char *)word, *end = p + bytes;
    uint32_t code, spelled[4], unknown = (uint32_t)m->unknown;
    bool waits = false;
    while (p < end) {
        const char *at = (const char *)p;
        size_t n = utf8_read(p, end, &code);
        p += n;
        int64_t id = vocab_find_model(&r->t->vocab, at, n);
        if (id >= 0) {
            if (waits) TRY(ids_append(r->story, out, &unknown, 1));
            waits = false;
            TRY(ids_append(r->story, out, &(uint32_t){(uint32_t)id}, 1));
        } else if (m->byte_fallback && spell(m, at, n, spelled)) {
            TRY(ids_append(r->story, out, spelled, n));
        } else if (m->unknown >= 0) {
            if (waits && !m->fuse_unknown)
                TRY(ids_append(r->story, out, &unknown, 1));
            waits = true;
        }
    }
    return waits ? ids_append(r->story, out, &unknown, 1) : TITAN_OK;
}

TitanStatus bpe_encode(Run *r, const char *word, size_t bytes, TokenIds *out)
{
    TokenIds *ids = &r->scratch->ids;
    ids->n = 0;
    TRY(r->t->model.all_bytes ? add_bytes(r, word, bytes, ids)
                              : add_characters(r, word, bytes, ids));
    if (ids->n > SHORT)
        TRY(merge_long(r, ids));
    else
        merge_short(&r->t->model, ids);
    return ids_append(r->story, out, ids->at, ids->n);
}
