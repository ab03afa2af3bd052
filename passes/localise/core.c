/*
 * core.c: what a region exchanges where it begins and ends is done by its
 * caller.
 *
 * A region may gather a parameter before it uses it, and scatter a derivative
 * that it has made.  Tiles of a region may run in any order, so a collective
 * among its ops keeps it whole or in order (region.c); but what is made of
 * parameters by collectives, maps and moves alone can stand in front of the
 * call (early), and what is made of results behind it (late).  The core is what
 * is left.
 */
#include "localise.h"

typedef struct Find {
    const Module *m;
    const Fn *fn;
    bool *light;  /* by value: of parameters, or to results, by light ops */
    bool *result; /* by value */
} Find;

static bool talks(const Inst *in)
{
    return (op_info((Op)in->op)->flags & OPF_COMM) != 0;
}

static bool is_move(const Inst *in)
{
    return (op_info((Op)in->op)->flags & OPF_FREE) != 0 && in->op != OP_proj;
}

/* A gather by one number takes a device's own part. */
static bool is_light(const Find *x, const Inst *in)
{
    bool picks =
        in->op == OP_gather &&
        !type_info(x->m, value_type(x->fn, inst_arg(x->fn, in, 1)))->naxes;
    return talks(in) || is_move(in) || picks || in->op == OP_map ||
           in->op == OP_pad || in->op == OP_concat || in->op == OP_stack;
}

static bool all_args(const Find *x, const Inst *in, const bool *marked,
                     uint32_t first)
{
    for (uint32_t k = 0; k < in->nargs; k++) {
        uint32_t a = inst_arg(x->fn, in, k).id;
        if (a >= first && !marked[a]) return false;
    }
    return true;
}

/* What collectives need that is made of parameters, and moves of that. */
static bool *find_early(Find *x)
{
    const Fn *fn = x->fn;
    bool *early = NEW_ARRAY(x->m->scratch, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        x->light[i] = is_light(x, in) && all_args(x, in, x->light, fn->nparams);
        early[i] = x->light[i] && talks(in);
    }
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < in->nargs && early[i]; k++)
            early[inst_arg(fn, in, k).id] = true;
    }
    for (uint32_t i = 0; i < fn->nparams; i++)
        early[i] = false;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        early[i] |= is_move(in) && all_args(x, in, early, 0);
    }
    return early;
}

static bool users_all(const Find *x, const Uses *u, uint32_t v,
                      const bool *marked)
{
    for (uint32_t i = u->first[v]; i < u->first[v + 1]; i++)
        if (!marked[u->at[i].id]) return false;
    return u->first[v] < u->first[v + 1] || x->result[v];
}

/* What is made of collectives of results, and the moves in front of these. */
static bool *find_late(Find *x, const bool *early)
{
    const Fn *fn = x->fn;
    Uses u = fn_uses(fn, x->m->scratch);
    bool *late = NEW_ARRAY(x->m->scratch, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;) {
        const Inst *in = &fn->insts[i];
        x->light[i] =
            is_light(x, in) && !early[i] && users_all(x, &u, i, x->light);
    }
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        late[i] = x->light[i] && talks(in);
        for (uint32_t k = 0; k < in->nargs && x->light[i]; k++)
            late[i] |= late[inst_arg(fn, in, k).id];
    }
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;)
        late[i] |= x->light[i] && is_move(&fn->insts[i]) && !x->result[i] &&
                   users_all(x, &u, i, late);
    return late;
}

/* What the core takes and gives: values of the whole region. */
static void find_border(Find *x, Core *c)
{
    const Fn *fn = x->fn;
    bool *in = NEW_ARRAY(x->m->scratch, bool, (size_t)fn->ninsts + 1);
    bool *out = NEW_ARRAY(x->m->scratch, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        for (uint32_t k = 0; k < fn->insts[i].nargs && !c->early[i]; k++) {
            uint32_t a = inst_arg(fn, &fn->insts[i], k).id;
            bool outside = a < fn->nparams || c->early[a];
            if (c->late[i])
                out[a] |= !outside && !c->late[a];
            else
                in[a] |= outside;
        }
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        bool core = i >= fn->nparams && !c->early[i] && !c->late[i];
        if (in[i]) vec_push(x->m->arena, &c->in, (Value){i});
        if (core && (out[i] || x->result[i]))
            vec_push(x->m->arena, &c->out, (Value){i});
    }
}

static Fn *core_fn(Module *m, const Core *c)
{
    const Fn *old = c->whole;
    Fn *fn = fn_new(m, old->name, VIEW_local);
    Builder b;
    Value *map = NEW_ARRAY(m->scratch, Value, (size_t)old->ninsts + 1);
    fn->kind = old->kind;
    fn->loc = old->loc;
    builder_init(&b, m, fn);
    for (uint32_t i = 0; i < c->in.n; i++) {
        Value v = c->in.at[i];
        Port p = {.name = old->names[v.id], .type = value_type(old, v)};
        p.loc = inst_of(old, v)->loc;
        map[v.id] = builder_param(&b, p);
    }
    for (uint32_t i = old->nparams; i < old->ninsts; i++)
        if (!c->early[i] && !c->late[i])
            map[i] = core_copy(&b, old, (Value){i}, map);
    for (uint32_t i = 0; i < c->out.n; i++)
        builder_result(&b, map[c->out.at[i].id], (Port){.loc = fn->loc});
    return fn;
}

Value core_copy(Builder *b, const Fn *from, Value v, const Value *map)
{
    const Inst *in = inst_of(from, v);
    Value *args = NEW_ARRAY(b->m->scratch, Value, (size_t)in->nargs + 1);
    for (uint32_t k = 0; k < in->nargs; k++)
        args[k] = map[inst_arg(from, in, k).id];
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    Value made = emit(b, (Op)in->op, in->type, in->attr, args, in->nargs);
    value_set_name(b, made, from->names[v.id]);
    return made;
}

Fn *core_find(Module *m, const Fn *region, Core *c)
{
    Find x = {.m = m, .fn = region};
    size_t n = (size_t)region->ninsts + 1;
    bool any = false;
    x.light = NEW_ARRAY(m->scratch, bool, n);
    x.result = NEW_ARRAY(m->scratch, bool, n);
    for (uint32_t i = 0; i < region->nresults; i++)
        x.result[region->result_values[i].id] = true;
    *c = (Core){.whole = region};
    c->early = find_early(&x);
    c->late = find_late(&x, c->early);
    for (uint32_t i = 0; i < region->ninsts; i++)
        any |= c->early[i] || c->late[i];
    if (any) find_border(&x, c);
    return c->out.n ? core_fn(m, c) : NULL;
}
