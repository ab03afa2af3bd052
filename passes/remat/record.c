/*
 * record.c: the cheapest record under a policy.
 *
 * A minimum cut of the forward's body (mincut.h): what the backward's own
 * instructions read is needed; a value that is at hand costs nothing, a saved
 * one its bytes, for each turn has a row of it.
 */
#include "remat.h"

static bool is_own(const Pair *p, uint32_t i)
{
    return value_eq(p->same[i], NO_VALUE);
}

bool *record_needed(Module *m, const Pair *p)
{
    const Fn *back = p->back;
    bool *needed = NEW_ARRAY(m->scratch, bool, p->of->ninsts + 1);
    for (uint32_t i = back->nparams; i < back->ninsts; i++) {
        const Inst *in = &back->insts[i];
        for (uint32_t k = 0; is_own(p, i) && k < in->nargs; k++) {
            Value v = p->same[inst_arg(back, in, k).id];
            if (!value_eq(v, NO_VALUE)) needed[v.id] = true;
        }
    }
    for (uint32_t i = 0; i < back->nresults; i++) {
        Value v = p->same[back->result_values[i].id];
        if (!value_eq(v, NO_VALUE)) needed[v.id] = true;
    }
    return needed;
}

static bool is_stacked_anyway(const Pair *p, uint32_t v)
{
    for (uint32_t i = p->f.carry; i < p->of->nresults; i++)
        if (p->asked[i] && p->of->result_values[i].id == v) return true;
    return false;
}

static int64_t save_cost(const Module *m, const Pair *p, uint32_t v)
{
    Type t = p->of->insts[v].type;
    if (is_at_hand(p, v)) return 0;
    if (type_info(m, t)->is_tuple || type_axis(m, t, p->f.axis))
        return INT64_MAX;
    if (is_stacked_anyway(p, v)) return 0;
    int64_t bytes = type_bytes(m, t);
    return bytes > 0 ? bytes : 1;
}

static Record *record_new(Module *m, const Pair *p)
{
    Record *r = NEW(m->scratch, Record);
    r->saved = NEW_ARRAY(m->scratch, bool, p->of->ninsts + 1);
    r->turned = NEW_ARRAY(m->scratch, bool, p->of->ninsts + 1);
    return r;
}

uint32_t record_nargs(const Pair *p, const Record *r, uint32_t v)
{
    return r->turned[v] ? 1 : p->of->insts[v].nargs;
}

uint32_t record_arg(const Pair *p, const Record *r, uint32_t v, uint32_t k)
{
    return r->turned[v] ? p->turns[v].from.id
                        : inst_arg(p->of, &p->of->insts[v], k).id;
}

void record_count(const Module *m, const Pair *p, Record *r)
{
    r->bytes = 0;
    for (uint32_t i = 0; i < p->of->ninsts; i++)
        if (r->saved[i] && !is_at_hand(p, i) && !is_stacked_anyway(p, i))
            r->bytes += type_bytes(m, p->of->insts[i].type);
}

Record *record_present(Module *m, const Pair *p)
{
    Record *r = record_new(m, p);
    for (uint32_t i = 0; i < p->of->ninsts; i++)
        r->saved[i] = is_at_hand(p, i);
    for (uint32_t i = p->b.carry + p->b.invariant; i < p->back->nparams; i++)
        if (!is_own(p, i)) r->saved[p->same[i].id] = true;
    record_count(m, p, r);
    return r;
}

Record *record_cheapest(Module *m, const Pair *p, const int64_t *costs,
                        const bool *turned)
{
    const Fn *of = p->of;
    Record *r = record_new(m, p);
    if (turned) r->turned = turned;
    bool *needed = record_needed(m, p);
    bool *below = NEW_ARRAY(m->scratch, bool, of->ninsts + 1);
    CutNode *nodes = NEW_ARRAY(m->scratch, CutNode, of->ninsts + 1);
    CutEdge *edges = NEW_ARRAY(m->scratch, CutEdge, of->nargs + 1);
    CutGraph g = {.n = of->ninsts, .nodes = nodes, .edges = edges};
    for (uint32_t i = 0; i < of->ninsts; i++) {
        uint32_t n = costs[i] < INT64_MAX ? record_nargs(p, r, i) : 0;
        nodes[i] = (CutNode){save_cost(m, p, i), costs[i], needed[i]};
        for (uint32_t k = 0; k < n; k++)
            edges[g.nedges++] = (CutEdge){record_arg(p, r, i, k), i};
    }
    mincut(m->scratch, &g, r->saved, below);
    for (uint32_t i = 0; i < of->ninsts; i++)
        r->saved[i] |= is_at_hand(p, i);
    record_count(m, p, r);
    return r;
}

static void remake(const Pair *p, const Record *r, uint32_t v, bool *remade)
{
    if (r->saved[v] || remade[v]) return;
    remade[v] = true;
    for (uint32_t k = 0; k < record_nargs(p, r, v); k++)
        remake(p, r, record_arg(p, r, v, k), remade);
}

bool *record_remade(Module *m, const Pair *p, const Record *r)
{
    bool *remade = NEW_ARRAY(m->scratch, bool, p->of->ninsts + 1);
    const bool *needed = record_needed(m, p);
    for (uint32_t i = p->of->ninsts; i-- > 0;)
        if (needed[i]) remake(p, r, i, remade);
    return remade;
}

/* --------------------------------------------------------------- offload -- */

/* What a name stands for: the value, what it has its elements from, or the
 * region that gives that. */
static bool is_meant(Module *m, const Pair *p, Value v, const char *name)
{
    Value from = p->products[taken_from(p->of, v).id];
    const Inst *in = inst_of(p->of, from);
    if (strcmp(name, "record") == 0 || is_named(m, p, v, name) ||
        is_named(m, p, from, name))
        return true;
    return in->op == OP_proj && is_named(m, p, inst_arg(p->of, in, 0), name);
}

bool *record_offloaded(Module *m, const Pair *p, const Record *r,
                       RematRule *rule)
{
    if (!rule || rule->offload.n == 0) return NULL;
    bool *named = rule->named + rule->names.n + rule->except.n;
    bool *host = NEW_ARRAY(m->scratch, bool, p->of->ninsts + 1);
    for (uint32_t i = 0; i < p->of->ninsts; i++) {
        bool scalar = type_info(m, p->of->insts[i].type)->naxes == 0;
        if (!r->saved[i] || is_at_hand(p, i) || scalar) continue;
        for (uint32_t k = 0; k < rule->offload.n; k++) {
            if (!is_meant(m, p, (Value){i}, rule->offload.at[k])) continue;
            host[i] = named[k] = true;
        }
    }
    return host;
}
