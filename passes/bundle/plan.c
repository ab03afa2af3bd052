/*
 * plan.c: by which messages the values of a bundle go.
 *
 * Either each rank sends each other one what that needs of it, in one message;
 * or they go along a tree, up to one of the ranks and down again, each rank
 * handing on what it has:
 *
 *      up      1 -> 0,  3 -> 2,  5 -> 4,  7 -> 6
 *              2 -> 0,           6 -> 4
 *              4 -> 0
 *      down    0 -> 4
 *              0 -> 2,           4 -> 6
 *              0 -> 1,  2 -> 3,  4 -> 5,  6 -> 7
 *
 * Where all of n ranks need something of each other these are 2 n - 2 messages
 * instead of n times n - 1, and what goes up are always the values of ranks
 * that follow each other, so they lie side by side.  The root is the first rank
 * or the last.  What takes the fewest messages one after the other is taken, if
 * that is fewer than before, and no more of them in all.
 */
#include "bundle.h"

typedef struct Plan {
    const Ranks *r;
    const Bundle *b;
    uint32_t *ranks, n; /* that take part, from the root on */
    bool *needs, *has;  /* by rank, item */
    HopVec hops;
} Plan;

/* ----------------------------------------------------------------- items -- */

/* By dtype, by rank, the larger first: what lies behind others so is where it
 * would be by itself. */
static bool is_behind(const Module *m, const Item *x, const Item *y)
{
    DType dx = type_dtype(m, x->type), dy = type_dtype(m, y->type);
    if (dx != dy) return dx > dy;
    if (x->rank != y->rank) return x->rank > y->rank;
    return type_elements(m, x->type) < type_elements(m, y->type);
}

static void sort_items(const Ranks *r, Bundle *b)
{
    uint32_t n = b->items.n;
    Item *items = NEW_ARRAY(r->a, Item, n + 1);
    uint32_t *order = NEW_ARRAY(r->a, uint32_t, n + 1);
    uint32_t *place = NEW_ARRAY(r->a, uint32_t, n + 1);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = i;
        for (; k > 0 &&
               is_behind(r->m, &b->items.at[order[k - 1]], &b->items.at[i]);
             k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    for (uint32_t i = 0; i < n; i++) {
        items[i] = b->items.at[order[i]];
        place[order[i]] = i;
    }
    memcpy(b->items.at, items, n * sizeof *items);
    for (uint32_t i = 0; i < b->messages.n; i++)
        b->messages.at[i].item = place[b->messages.at[i].item];
}

static bool *flag_at(const Plan *p, bool *flags, uint32_t rank, uint32_t item)
{
    return &flags[(size_t)rank * p->b->items.n + item];
}

/* ------------------------------------------------------------------ hops -- */

/* A message for each dtype of the marked items. */
static void add_hops(Plan *p, uint32_t from, uint32_t to, const bool *marked)
{
    const Module *m = p->r->m;
    const Bundle *b = p->b;
    uint32_t *items = NEW_ARRAY(p->r->a, uint32_t, b->items.n + 1), n = 0;
    for (uint32_t i = 0; i < b->items.n; i++) {
        if (!marked[i]) continue;
        items[n++] = i;
        *flag_at(p, p->has, to, i) = true;
    }
    for (uint32_t i = 0, k; i < n; i += k) {
        DType d = type_dtype(m, b->items.at[items[i]].type);
        for (k = 1; i + k < n; k++)
            if (type_dtype(m, b->items.at[items[i + k]].type) != d) break;
        vec_push(p->r->a, &p->hops, ((Hop){from, to, items + i, k}));
    }
}

/* As many as wait for each other, where a rank has one message at a time. */
static uint32_t length_of(const Ranks *r, const HopVec *hops)
{
    uint32_t *at = NEW_ARRAY(r->a, uint32_t, r->n + 1), most = 0;
    for (uint32_t i = 0; i < hops->n; i++) {
        Hop x = hops->at[i];
        uint32_t end = (at[x.from] > at[x.to] ? at[x.from] : at[x.to]) + 1;
        at[x.from] = at[x.to] = end;
        if (end > most) most = end;
    }
    return most;
}

/* ---------------------------------------------------------------- direct -- */

static bool has_hop(const Plan *p, Message x)
{
    for (uint32_t i = 0; i < p->hops.n; i++)
        if (p->hops.at[i].from == x.from && p->hops.at[i].to == x.to)
            return true;
    return false;
}

static void go_directly(Plan *p)
{
    const Bundle *b = p->b;
    bool *marked = NEW_ARRAY(p->r->a, bool, b->items.n + 1);
    for (uint32_t i = 0; i < b->messages.n; i++) {
        Message x = b->messages.at[i];
        if (has_hop(p, x)) continue;
        for (uint32_t k = 0; k < b->items.n; k++)
            marked[k] =
                b->items.at[k].rank == x.from && *flag_at(p, p->needs, x.to, k);
        add_hops(p, x.from, x.to, marked);
    }
}

/* ------------------------------------------------------------------ tree -- */

/* Whether a rank in [from, to) needs the item, or lacks what it needs. */
static bool is_needed(const Plan *p, uint32_t from, uint32_t to, uint32_t item,
                      bool lacking)
{
    for (uint32_t k = from; k < to && k < p->n; k++)
        if (*flag_at(p, p->needs, p->ranks[k], item) &&
            !(lacking && *flag_at(p, p->has, p->ranks[k], item)))
            return true;
    return false;
}

/* What the ranks [at, at + size) have that others need. */
static void go_up(Plan *p, uint32_t at, uint32_t size)
{
    bool *marked = NEW_ARRAY(p->r->a, bool, p->b->items.n + 1), any = false;
    for (uint32_t i = 0; i < p->b->items.n; i++)
        any |= marked[i] = *flag_at(p, p->has, p->ranks[at], i) &&
                           (is_needed(p, 0, at, i, false) ||
                            is_needed(p, at + size, p->n, i, false));
    if (any) add_hops(p, p->ranks[at], p->ranks[at - size], marked);
}

static bool is_of(const Plan *p, uint32_t from, uint32_t to, uint32_t item)
{
    for (uint32_t k = from; k < to && k < p->n; k++)
        if (p->ranks[k] == p->b->items.at[item].rank) return true;
    return false;
}

/* What the ranks [at, at + size) need, if they lack something: with what they
 * made themselves, which lies in its midst. */
static void go_down(Plan *p, uint32_t at, uint32_t size)
{
    bool *marked = NEW_ARRAY(p->r->a, bool, p->b->items.n + 1), any = false;
    for (uint32_t i = 0; i < p->b->items.n; i++) {
        any |= is_needed(p, at, at + size, i, true);
        marked[i] = *flag_at(p, p->has, p->ranks[at - size], i) &&
                    (is_needed(p, at, at + size, i, false) ||
                     is_of(p, at, at + size, i));
    }
    if (any) add_hops(p, p->ranks[at - size], p->ranks[at], marked);
}

static void go_by_tree(Plan *p)
{
    uint32_t size = 1;
    for (; size < p->n; size *= 2)
        for (uint32_t at = size; at < p->n; at += 2 * size)
            go_up(p, at, size);
    for (; size > 0; size /= 2)
        for (uint32_t at = size; at < p->n; at += 2 * size)
            go_down(p, at, size);
}

/* ----------------------------------------------------------------- whole -- */

typedef enum Way { WAY_direct, WAY_first, WAY_last, WAY_count } Way;

static void find_ranks(Plan *p, bool from_last)
{
    const Ranks *r = p->r;
    p->ranks = NEW_ARRAY(r->a, uint32_t, r->n + 1);
    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t rank = from_last ? r->n - 1 - i : i;
        if (p->b->first[rank] != UINT32_MAX) p->ranks[p->n++] = rank;
    }
}

static void find_needs(Plan *p)
{
    size_t n = (size_t)p->r->n * p->b->items.n + 1;
    p->needs = NEW_ARRAY(p->r->a, bool, n);
    p->has = NEW_ARRAY(p->r->a, bool, n);
    for (uint32_t i = 0; i < p->b->messages.n; i++) {
        Message x = p->b->messages.at[i];
        *flag_at(p, p->needs, x.to, x.item) = true;
    }
    for (uint32_t i = 0; i < p->b->items.n; i++)
        *flag_at(p, p->has, p->b->items.at[i].rank, i) = true;
}

static HopVec plan_way(const Ranks *r, const Bundle *b, Way way)
{
    Plan p = {.r = r, .b = b};
    find_ranks(&p, way == WAY_last);
    find_needs(&p);
    if (way == WAY_direct)
        go_directly(&p);
    else
        go_by_tree(&p);
    return p.hops;
}

/* The messages as they are. */
static HopVec hops_of(const Ranks *r, const Bundle *b)
{
    HopVec hops = {0};
    for (uint32_t i = 0; i < b->messages.n; i++) {
        const Message *x = &b->messages.at[i];
        vec_push(r->a, &hops, ((Hop){.from = x->from, .to = x->to}));
    }
    return hops;
}

void bundle_plan(const Ranks *r, Bundle *b)
{
    HopVec now = hops_of(r, b);
    uint32_t best = length_of(r, &now), n = now.n;
    sort_items(r, b);
    for (Way way = 0; way < WAY_count; way++) {
        HopVec hops = plan_way(r, b, way);
        uint32_t length = length_of(r, &hops);
        if (hops.n > n || length > best || (length == best && hops.n == n))
            continue;
        best = length;
        n = hops.n;
        b->hops = hops;
    }
}
