/*
 * added.c: tokens that are found in a text as they are spelled, whatever else
 * would become of it.
 *
 * The longest one that begins first is taken.  Tokens are sorted, so those
 * that begin with what has been read are neighbours: each further byte narrows
 * them by bisection, and only bytes that begin a token start a search.
 */
#include "text.h"

TitanStatus added_put(TitanStory *s, AddedSet *set, const Added *token)
{
    if (set->n == set->cap) {
        uint32_t cap = set->cap ? set->cap * 2 : 16;
        Added *more = realloc(set->at, cap * sizeof *more);
        if (!more) return titan_no_memory(s);
        set->at = more;
        set->cap = cap;
    }
    set->at[set->n++] = *token;
    return TITAN_OK;
}

void added_release(AddedSet *set)
{
    free(set->at);
    *set = (AddedSet){0};
}

static int by_text(const void *a, const void *b)
{
    const Added *x = a, *y = b;
    int order = memcmp(x->text, y->text, x->size < y->size ? x->size : y->size);
    if (order) return order;
    return x->size < y->size ? -1 : x->size > y->size;
}

TitanStatus added_seal(TitanStory *s, AddedSet *set)
{
    if (set->n) qsort(set->at, set->n, sizeof *set->at, by_text);
    for (uint32_t i = 1; i < set->n; i++)
        if (by_text(&set->at[i - 1], &set->at[i]) == 0)
            return titan_fail(s, TITAN_BAD_DATA,
                              "two added tokens are looked for as \"%.60s\"",
                              set->at[i].text);
    uint32_t at = 0;
    for (unsigned byte = 0; byte <= 256; byte++) {
        while (at < set->n && (unsigned char)set->at[at].text[0] < byte)
            at++;
        set->first[byte] = at;
    }
    return TITAN_OK;
}

/* The first of [low, high) whose byte DEPTH is at least BYTE; all of them
 * agree up to there. */
static uint32_t bisect(const AddedSet *set, uint32_t low, uint32_t high,
                       size_t depth, unsigned byte)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const Added *a = &set->at[middle];
        int has = depth < a->size ? (unsigned char)a->text[depth] : -1;
        if (has < (int)byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest token that begins at TEXT. */
static const Added *longest(const AddedSet *set, const char *text, size_t bytes)
{
    unsigned byte = (unsigned char)text[0];
    uint32_t low = set->first[byte], high = set->first[byte + 1];
    const Added *best = NULL;
    for (size_t depth = 1; low < high; depth++) {
        if (set->at[low].size == depth) best = &set->at[low++];
        if (depth == bytes) break;
        byte = (unsigned char)text[depth];
        low = bisect(set, low, high, depth, byte);
        high = bisect(set, low, high, depth, byte + 1);
    }
    return best;
}

/* --------------------------------------------------------------- around -- */

static unsigned class_of(const AddedWalk *w, const char *p, size_t *length)
{
    uint32_t code;
    *length = utf8_read((const unsigned char *)p,
                        (const unsigned char *)w->text + w->bytes, &code);
    return w->classes[code];
}

/* Where the character that ends at AT begins. */
static size_t before(const AddedWalk *w, size_t at)
{
    size_t length, back = 1;
    while (back < 4 && back < at && (w->text[at - back] & 0xc0) == 0x80)
        back++;
    class_of(w, w->text + at - back, &length);
    return length == back ? at - back : at - 1;
}

static bool stands_alone(const AddedWalk *w, size_t begin, size_t end)
{
    size_t length;
    bool word =
        begin > 0 && class_of(w, w->text + before(w, begin), &length) & UC_WORD;
    return !word &&
           !(end < w->bytes && class_of(w, w->text + end, &length) & UC_WORD);
}

static size_t skip_left(const AddedWalk *w, size_t at, size_t limit)
{
    size_t length;
    while (at > limit) {
        size_t back = before(w, at);
        if (!in_set(class_of(w, w->text + back, &length), SET_SPACE)) break;
        at = back;
    }
    return at < limit ? limit : at;
}

static size_t skip_right(const AddedWalk *w, size_t at)
{
    size_t length;
    while (at < w->bytes &&
           in_set(class_of(w, w->text + at, &length), SET_SPACE))
        at += length;
    return at;
}

/* The next token that may stand where it does, with the space it takes. */
static bool find(AddedWalk *w, Stretch *out)
{
    const AddedSet *set = w->set;
    while (w->at < w->bytes) {
        unsigned byte = (unsigned char)w->text[w->at];
        const Added *a = NULL;
        if (set->first[byte] < set->first[byte + 1])
            a = longest(set, w->text + w->at, w->bytes - w->at);
        if (!a) {
            w->at++;
            continue;
        }
        size_t begin = w->at, end = begin + a->size;
        w->at = end;
        if (a->single_word && !stands_alone(w, begin, end)) continue;
        if (a->lstrip) begin = skip_left(w, begin, w->start);
        if (a->rstrip) end = skip_right(w, end);
        *out = (Stretch){begin, end, a->id};
        return true;
    }
    return false;
}

bool added_next(AddedWalk *w, Stretch *out)
{
    if (w->waits) {
        w->waits = false;
        *out = w->next;
        return true;
    }
    bool token = w->set->n > 0 && find(w, &w->next);
    size_t until = token ? w->next.begin : w->bytes;
    bool gap = until > w->start;
    if (!token && !gap) return false;
    *out = gap ? (Stretch){w->start, until, -1} : w->next;
    w->waits = token && gap;
    w->start = token ? w->next.end : w->bytes;
    return true;
}
