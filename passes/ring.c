/*
 * ring.c: keys and values go round the devices that split them.
 *
 *   needs    gradless, precise; behind shard
 *   keeps    every region but those of attention; what callers compute
 *   result   where the plan says `gather ctx by ring`, no region of attention
 *            brings the axis together: a repeat has one device's part of it in
 *            each turn and sends it to the next
 *
 * To gather keys and values takes memory for all of them; in a ring a device
 * has two blocks.  Forwards the sums of blocks are merged with the maximum of
 * their scores; backwards a block's derivative goes round with it and comes
 * home with the parts of all devices (ring/emit.c).  Any mask and bias that is
 * a function of positions, and any value that has the axis as the keys have it,
 * such as ids of documents, goes round with them.  What cannot be made block by
 * block (ring/find.c) stays as it is, and -Rpass-missed says so.
 *
 * A derivative that was a sum over devices of whole tensors now lies with its
 * block, so a region's results may have other splits, which callers bring to
 * what they read.
 *
 * Option: `ring`, axes with commas between.
 */
#include "ring/ring.h"

static bool is_listed(const Module *m, const char *list, Axis a)
{
    const char *name = axis_name(m, a);
    size_t n = strlen(name);
    for (const char *p = list; (p = strstr(p, name)); p++) {
        bool begins = p == list || p[-1] == ' ' || p[-1] == ',';
        if (begins && (!p[n] || p[n] == ',' || p[n] == ' ')) return true;
    }
    return false;
}

/* The axis of the list that a parameter has split; false: none. */
static bool find_axis(const Module *m, const Fn *fn, const char *list,
                      Axis *out)
{
    for (uint32_t i = 0; i < fn->nparams; i++) {
        const TypeInfo *t = type_info(m, fn->params[i].type);
        for (uint32_t k = 0; k < t->naxes; k++) {
            if (!t->axes[k].nsplits || !is_listed(m, list, t->axes[k].axis))
                continue;
            *out = t->axes[k].axis;
            return true;
        }
    }
    return false;
}

/* Axes that have been made to go round, by number. */
typedef VEC(Axis) Axes;

static bool ring_fn(Module *m, PassCtx *cx, uint32_t f, const char *list,
                    Axes *made)
{
    const Fn *fn = m->fns.at[f];
    Ring r = {.m = m, .fn = fn};
    if (fn_kind(m, fn) != FK_attention || fn->view != VIEW_local ||
        !find_axis(m, fn, list, &r.axis.axis))
        return false;
    Axis axis = r.axis.axis;
    for (uint32_t i = 0; i < fn->nparams; i++)
        if (type_axis(m, fn->params[i].type, axis))
            r.axis.size = type_size(m, fn->params[i].type, axis);
    bool found = ring_find(&r);
    if (r.axis.size % r.ndevices) {
        pass_missed(m, cx, fn->loc,
                    "'%s' is not made block by block along '%s' (%lld): blocks "
                    "on %u devices are not of one size",
                    str_of(m, fn->name), axis_name(m, axis),
                    (long long)r.axis.size, r.ndevices);
        return false;
    }
    if (!found) {
        pass_missed(m, cx, fn->loc,
                    "'%s' is not made block by block along '%s': it needs "
                    "more of it than sums and a maximum",
                    str_of(m, fn->name), axis_name(m, axis));
        return false;
    }
    m->fns.at[f] = ring_emit(&r);
    pass_remark(m, cx, fn->loc, "'%s' sends blocks of '%s' round %u devices",
                str_of(m, fn->name), axis_name(m, axis), r.ndevices);
    vec_push(m->scratch, made, axis);
    return true;
}

/* A rule of the plan that gathers nothing this way. */
static void warn_ignored(Module *m, const char *list, const Axes *made)
{
    /* ranks of a pipeline are no mesh axis any more */
    int64_t devices = option_get(m, "rank-axis").id ? 2 : 1;
    for (uint32_t i = 0; i < m->mesh.n; i++)
        devices *= m->mesh.at[i].size;
    for (uint32_t i = 0; i < m->axes.n && devices > 1; i++) {
        Axis a = {i};
        bool known = !is_listed(m, list, a);
        for (uint32_t k = 0; k < made->n; k++)
            known |= made->at[k].id == i;
        if (known) continue;
        const char *rule =
            arena_printf(m->scratch, "gather %s by ring", axis_name(m, a));
        Report *r =
            diag_warning(m->diag, DIAG_rule_ignored, rule_place(m, rule),
                         "'%s' has no effect: no attention has blocks "
                         "of '%s' that can go round",
                         rule, axis_name(m, a));
        report_help(r, "name the axis of the keys, of which devices have parts "
                       "(-Rpass-missed=ring says more)");
    }
}

/* --------------------------------------------------------------- callers -- */

static Type results_type(Module *m, const Fn *fn)
{
    if (fn->nresults == 1) return fn->results[0].type;
    Type *types = NEW_ARRAY(m->scratch, Type, fn->nresults);
    for (uint32_t i = 0; i < fn->nresults; i++)
        types[i] = fn->results[i].type;
    return type_tuple(m, types, fn->nresults);
}

/* A value as callers knew it; those who bring it elsewhere do so at once. */
typedef struct Caller {
    Rewrite rw;
    Value *now; /* by old value: what there is of it in another layout */
} Caller;

static void take(Caller *c, Value old, Value made)
{
    Type t = value_type(c->rw.old, old);
    c->now[old.id] = made;
    if (!type_eq(value_type(c->rw.b.fn, made), t) &&
        !type_info(c->rw.b.m, t)->is_tuple)
        made = emit(&c->rw.b, OP_reshard, t, (Attr){0}, &made, 1);
    rewrite_set(&c->rw, old, made);
}

static bool adapt(Caller *c, Value v)
{
    Module *m = c->rw.b.m;
    const Inst *in = inst_of(c->rw.old, v);
    Value x = in->nargs ? inst_arg(c->rw.old, in, 0) : NO_VALUE;
    c->rw.b.loc = in->loc;
    c->rw.b.phase = (Phase)in->phase;
    if (in->op == OP_call) {
        Type t = results_type(m, fn_of(m, attr_fn(m, in->attr, AT_fn)));
        if (type_eq(t, in->type)) return false;
        Value *args = NEW_ARRAY(m->scratch, Value, (size_t)in->nargs + 1);
        for (uint32_t i = 0; i < in->nargs; i++)
            args[i] = rewrite_value(&c->rw, inst_arg(c->rw.old, in, i));
        take(c, v, emit(&c->rw.b, OP_call, t, in->attr, args, in->nargs));
        return true;
    }
    if (value_eq(x, NO_VALUE) || value_eq(c->now[x.id], NO_VALUE)) return false;
    Value now = c->now[x.id];
    if (in->op == OP_proj) {
        take(c, v,
             emit_proj(&c->rw.b, now,
                       (uint32_t)attr_int(m, in->attr, AT_index, 0)));
        return true;
    }
    if (in->op != OP_reshard) return false;
    if (!type_eq(value_type(c->rw.b.fn, now), in->type))
        now = emit(&c->rw.b, OP_reshard, in->type, (Attr){0}, &now, 1);
    rewrite_set(&c->rw, v, now);
    return true;
}

static Fn *adapt_fn(Module *m, const Fn *fn)
{
    Caller c = {.now = no_values(m->scratch, fn->ninsts)};
    rewrite_begin(&c.rw, m, fn);
    c.rw.b.no_fold = true;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (!adapt(&c, (Value){i})) rewrite_copy(&c.rw, (Value){i});
    Fn *made = rewrite_end(&c.rw);
    made->kind = fn->kind;
    return fn_without_unneeded(m, made);
}

bool pass_ring(Module *m, PassCtx *cx)
{
    const char *list = pass_option(m, cx, "ring", "");
    uint32_t n = m->fns.n;
    bool any = false;
    Axes made = {.n = 0};
    for (uint32_t i = 0; i < n && *list; i++)
        any |= ring_fn(m, cx, i, list, &made);
    warn_ignored(m, list, &made);
    for (uint32_t i = 0; i < m->fns.n && any; i++)
        m->fns.at[i] = adapt_fn(m, m->fns.at[i]);
    return true;
}
