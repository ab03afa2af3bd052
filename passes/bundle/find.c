/*
 * find.c: which messages cross at once.
 *
 * The lists of all ranks are played together, a message when both sides have
 * come to it: large ones while there are any, then small ones while there are
 * any.  That is one order of all messages, which every rank's list keeps.  What
 * follows each other there and is small is a bundle, as long as no value is
 * made of what another one brings, or by work that would hold the others up.
 */
#include "bundle.h"

/* Bytes of a value, and of all that cross at once: a link between hosts moves
 * so much in a fraction of the time in which a message begins. */
enum { EACH = 4096, ALL = 65536 };

typedef struct Find {
    Ranks *r;
    uint32_t *at;     /* by rank: as far as its list is played */
    MessageVec order; /* of all */
    Bundle now;       /* what is collected; no messages: nothing */
    int64_t bytes;    /* of it */
    uint32_t **made;  /* by rank, value: can be made in front of this bundle */
    uint32_t number;  /* of it, from 1 */
} Find;

static int64_t bytes_of(const Ranks *r, const Message *x)
{
    return type_bytes(r->m, value_type(r->fns[x->to], x->recv));
}

static bool is_small(const Ranks *r, const Message *x)
{
    return bytes_of(r, x) <= EACH;
}

/* ----------------------------------------------------------------- order -- */

/* To its next message; false: it has none. */
static bool go_to_message(const Ranks *r, uint32_t *at, uint32_t rank)
{
    const Fn *fn = r->fns[rank];
    while (at[rank] < fn->ninsts && !is_message(&fn->insts[at[rank]]))
        at[rank]++;
    return at[rank] < fn->ninsts;
}

static const Inst *inst_at(const Find *x, uint32_t rank)
{
    return &x->r->fns[rank]->insts[x->at[rank]];
}

static Value sent_value(const Ranks *r, const Message *x)
{
    const Fn *fn = r->fns[x->from];
    return inst_arg(fn, inst_of(fn, x->send), 0);
}

/* Its sides say the same of it; where they do not, the verifier tells them. */
static bool is_one(const Ranks *r, const Message *x)
{
    const Module *m = r->m;
    const Inst *send = inst_of(r->fns[x->from], x->send);
    const Inst *recv = inst_of(r->fns[x->to], x->recv);
    return recv->op == OP_recv &&
           attr_int(m, recv->attr, AT_peer, 0) == x->from &&
           attr_int(m, recv->attr, AT_channel, 0) ==
               attr_int(m, send->attr, AT_channel, 0) &&
           type_eq(value_type(r->fns[x->to], x->recv),
                   value_type(r->fns[x->from], sent_value(r, x)));
}

/* What a rank sends next, if the other side has come to it too. */
static bool next_message(const Find *x, uint32_t rank, Message *out)
{
    const Module *m = x->r->m;
    if (!go_to_message(x->r, x->at, rank)) return false;
    const Inst *in = inst_at(x, rank);
    int64_t peer = attr_int(m, in->attr, AT_peer, 0);
    if (in->op != OP_send || peer >= x->r->n || peer == rank ||
        !go_to_message(x->r, x->at, (uint32_t)peer))
        return false;
    *out = (Message){rank, (uint32_t)peer, {x->at[rank]}, {x->at[peer]}, 0};
    return is_one(x->r, out);
}

/* All of one kind that can be passed; false: none can. */
static bool pass_messages(Find *x, bool small)
{
    bool any = false, more = true;
    while (more) {
        more = false;
        for (uint32_t rank = 0; rank < x->r->n; rank++) {
            Message next;
            while (next_message(x, rank, &next) &&
                   is_small(x->r, &next) == small) {
                vec_push(x->r->a, &x->order, next);
                x->at[next.from]++;
                x->at[next.to]++;
                any = more = true;
            }
        }
    }
    return any;
}

static void find_order(Find *x)
{
    x->at = NEW_ARRAY(x->r->a, uint32_t, x->r->n + 1);
    for (bool any = true; any;) {
        any = pass_messages(x, false);
        any |= pass_messages(x, true);
    }
}

/* --------------------------------------------------------------- bundles -- */

static void begin_bundle(Find *x)
{
    x->now = (Bundle){.first = NEW_ARRAY(x->r->a, uint32_t, x->r->n + 1)};
    memset(x->now.first, 0xff, (x->r->n + 1) * sizeof *x->now.first);
    x->bytes = 0;
    x->number++;
}

static void end_bundle(Find *x)
{
    if (x->now.messages.n == 0) return;
    if (x->now.messages.n > 1) vec_push(x->r->a, &x->r->bundles, x->now);
    begin_bundle(x);
}

/* Turns and products hold others up. */
static bool is_long(const Inst *in)
{
    return inst_calls(in) || in->op == OP_einsum;
}

/* Whether a value can be made in front of its rank's first message of the
 * bundle. */
static bool is_made_before(Find *x, uint32_t rank, Value v)
{
    const Fn *fn = x->r->fns[rank];
    const Inst *in = inst_of(fn, v);
    if (v.id < x->now.first[rank] || x->made[rank][v.id] == x->number)
        return true;
    if (is_message(in) || is_long(in)) return false;
    for (uint32_t i = 0; i < in->nargs; i++)
        if (!is_made_before(x, rank, inst_arg(fn, in, i))) return false;
    x->made[rank][v.id] = x->number;
    return true;
}

static bool joins(Find *x, const Message *next)
{
    return is_small(x->r, next) && x->bytes + bytes_of(x->r, next) <= ALL &&
           is_made_before(x, next->from, sent_value(x->r, next));
}

/* Which value it is, of those of the bundle. */
static uint32_t item_of(Find *x, const Message *next)
{
    Value v = sent_value(x->r, next);
    Type t = value_type(x->r->fns[next->from], v);
    Item item = {next->from, v, t};
    for (uint32_t i = 0; i < x->now.items.n; i++)
        if (x->now.items.at[i].rank == item.rank &&
            value_eq(x->now.items.at[i].v, v))
            return i;
    x->bytes += type_bytes(x->r->m, t);
    vec_push(x->r->a, &x->now.items, item);
    return x->now.items.n - 1;
}

static void join(Find *x, Message next)
{
    uint32_t *first = x->now.first;
    next.item = item_of(x, &next);
    if (first[next.from] == UINT32_MAX) first[next.from] = next.send.id;
    if (first[next.to] == UINT32_MAX) first[next.to] = next.recv.id;
    vec_push(x->r->a, &x->now.messages, next);
}

void bundles_find(Ranks *r)
{
    Find x = {.r = r, .made = NEW_ARRAY(r->a, uint32_t *, r->n + 1)};
    for (uint32_t i = 0; i < r->n; i++)
        x.made[i] = NEW_ARRAY(r->a, uint32_t, r->fns[i]->ninsts + 1);
    find_order(&x);
    begin_bundle(&x);
    for (uint32_t i = 0; i < x.order.n; i++) {
        if (!joins(&x, &x.order.at[i])) end_bundle(&x);
        if (is_small(r, &x.order.at[i])) join(&x, x.order.at[i]);
    }
    end_bundle(&x);
}
