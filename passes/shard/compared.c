/*
 * compared.c: values of which an extremum is taken, and which are compared, as
 * in the derivative of that: with their own elements.
 *
 * The derivative of a maximum goes to the elements that equal it.  Where such a
 * value is pending and is brought into two forms, its sums have other last bits
 * in each, nothing equals the maximum, and the gradient is lost.  So emit.c
 * makes one of it that is pending no longer, and all others of that.
 *
 * A value that is handed over to a port is the same value behind it: the
 * maximum may be taken forward and the comparison be made backward, in two
 * bodies of repeats.  So it is pending at no port: the sums are those of the
 * function that makes it.
 */
#include "shard.h"

enum { MOST = 1, EQUAL = 2, BOTH = 3 };

typedef struct Same {
    Shard *s;
    uint32_t *up;    /* by node: another of the same value, or itself */
    unsigned *seen;  /* by node that is its own */
    uint32_t *first; /* the same: the first operand that is it, plus 1 */
    bool *forms;     /* the same: operands need it in several forms */
} Same;

static uint32_t same_of(const Same *x, uint32_t node)
{
    while (x->up[node] != node)
        node = x->up[node] = x->up[x->up[node]];
    return node;
}

static bool has_equal(const Module *m, Expr body)
{
    uint32_t n;
    Expr *nodes = expr_walk(m, body, m->scratch, &n);
    for (uint32_t i = 0; i < n; i++)
        if (expr_info(m, nodes[i])->op == SC_eq) return true;
    return false;
}

/* What an item does to its operands. */
static unsigned seen_by(const Module *m, const Item *it)
{
    const Inst *in = inst_of(it->fn, it->v);
    if (in->op == OP_reduce)
        return attr_is(m, in->attr, AT_kind, "sum") ? 0 : MOST;
    return in->op == OP_map && has_equal(m, attr_expr(m, in->attr)) ? EQUAL : 0;
}

static bool needs_alike(const Shard *s, uint32_t x, uint32_t y)
{
    bool same = true;
    for (uint32_t i = 0; i < s->order.n; i++)
        same &=
            *need_at(s, s->order.at[i], x) == *need_at(s, s->order.at[i], y);
    return same;
}

static uint32_t same_of_arg(const Same *x, uint32_t arg)
{
    return same_of(x, x->s->raws.at[x->s->args.at[arg].raw].node);
}

static void look_at(Same *x, const Item *it)
{
    const Module *m = x->s->m;
    unsigned seen = it->v.id == NO_VALUE.id ? 0 : seen_by(m, it);
    for (uint32_t i = it->first; i < it->first + it->n; i++) {
        uint32_t c = same_of_arg(x, i);
        x->seen[c] |= seen;
        if (!x->first[c]) x->first[c] = i + 1;
        x->forms[c] |= !needs_alike(x->s, x->first[c] - 1, i);
    }
}

static void unite_ports(Same *x)
{
    const Shard *s = x->s;
    for (uint32_t i = 0; i < s->items.n; i++) {
        const Item *it = &s->items.at[i];
        if (it->v.id == NO_VALUE.id)
            x->up[same_of_arg(x, it->first)] = same_of(x, it->out);
    }
}

static void settle_port(Shard *s, const Item *it)
{
    for (uint32_t i = 0; i < s->order.n; i++) {
        Where *port = where_at(s, s->order.at[i], it->out);
        if (!where_is_pending(*port)) continue;
        *port = WHERE_none;
        *need_at(s, s->order.at[i], it->first) = WHERE_none;
    }
}

static bool is_compared(const Same *x, uint32_t node)
{
    uint32_t c = same_of(x, node);
    return x->seen[c] == BOTH && x->forms[c];
}

void compared_settle(Shard *s)
{
    size_t n = (size_t)s->nodes.n + 1;
    Same x = {.s = s,
              .up = NEW_ARRAY(s->a, uint32_t, n),
              .seen = NEW_ARRAY(s->a, unsigned, n),
              .first = NEW_ARRAY(s->a, uint32_t, n),
              .forms = NEW_ARRAY(s->a, bool, n)};
    for (uint32_t i = 0; i < s->nodes.n; i++)
        x.up[i] = i;
    unite_ports(&x);
    for (uint32_t i = 0; i < s->items.n; i++)
        look_at(&x, &s->items.at[i]);
    s->compared = NEW_ARRAY(s->a, bool, (size_t)s->raws.n + 1);
    for (uint32_t i = 0; i < s->raws.n; i++) {
        uint32_t node = s->raws.at[i].node;
        s->compared[i] = node != NO_RAW && is_compared(&x, node);
    }
    for (uint32_t i = 0; i < s->items.n; i++) {
        const Item *it = &s->items.at[i];
        if (it->v.id == NO_VALUE.id && is_compared(&x, it->out))
            settle_port(s, it);
    }
}
