/*
 * localise.c: sizes of one device, and axes that count devices.
 *
 *   needs    one device's program, in which types have splits
 *   gives    types without splits or anything pending: what a device holds
 *   keeps    the order of collectives; what parameters and results of functions
 *            that nobody refers to are parts of (`part`)
 *   result   whoever makes kernels of it need not know that there are devices
 *
 * On a mesh of one device there is nothing to do.
 *
 * L1 An axis has the size of a device's part, rounded up.  What a pad holds
 *    nobody has said: whoever reduces over one masks it (localise/op.c).
 * L2 index(a) of an axis that was split is made of the index in the part and
 *    the device's coordinates, which the op `coord` gives; a function that is
 *    called takes them as parameters, the last ones (localise/part.c).
 * L3 What a collective brings from several devices, or takes to them, has an
 *    axis of its own that counts them (localise/group.c).
 * L4 What a region exchanges where it begins and ends is done by its caller, so
 *    that it can be run in tiles (localise/core.c).
 * L5 A zig split divides: its parts are 2n of one size.
 */
#include "localise/localise.h"
#include "reach.h"

/* The groups in which a function that is called asks for coordinates. */
typedef VEC(AttrItem) Groups;

typedef struct Localise {
    Module *m;
    bool *called, *inner, *done; /* by function; inner: somebody refers to it */
    Groups *groups;
    Core *cores; /* by function */
    MadeVec made;
} Localise;

static bool is_spread(const Module *m, const TypeInfo *t)
{
    for (uint32_t i = 0; i < t->naxes; i++)
        if (group_size(m, t->axes[i].splits, t->axes[i].nsplits) > 1)
            return true;
    return group_size(m, t->pending, t->npending) > 1;
}

/* ------------------------------------------------------------ functions -- */

/* The port of a function that nobody refers to is a part of something whole. */
static Port local_port(const Localise *lc, uint32_t f, Port p)
{
    Type t = type_local(lc->m, p.type);
    if (!lc->inner[f] && !type_eq(t, p.type) && !p.whole.id) p.whole = p.type;
    p.type = t;
    return p;
}

/* Coordinates, which are instructions of the function, become parameters. */
static Fn *coords_as_params(Module *m, const Fn *fn, Groups *groups)
{
    Rewrite rw;
    rewrite_begin(&rw, m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op != OP_coord) continue;
        Port p = {.type = in->type, .loc = in->loc};
        rewrite_set(&rw, (Value){i}, builder_param(&rw.b, p));
        vec_push(m->arena, groups, *attr_get(m, in->attr, AT_over));
    }
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (fn->insts[i].op != OP_coord) rewrite_copy(&rw, (Value){i});
    return rewrite_end(&rw);
}

static Value emit_call_of(Localise *lc, Local *l, const Inst *in, FnRef f,
                          const Value *args, uint32_t n)
{
    Module *m = lc->m;
    const Fn *fn = fn_of(m, f);
    Type *types = NEW_ARRAY(m->scratch, Type, (size_t)fn->nresults + 1);
    for (uint32_t i = 0; i < fn->nresults; i++)
        types[i] = fn->results[i].type;
    Type t = fn->nresults == 1 ? types[0] : type_tuple(m, types, fn->nresults);
    return emit(&l->b, OP_call, t, in->attr, args, n);
}

/* Around the call of a core stands what the region did besides; RESULTS are
 * those of the whole region. */
static void call_core(Localise *lc, Local *l, const Inst *in, FnRef f,
                      const Value *args, Value *results)
{
    Module *m = lc->m;
    const Core *c = &lc->cores[f.id];
    const Fn *fn = c->whole;
    Value *map = NEW_ARRAY(m->scratch, Value, (size_t)fn->ninsts + 1);
    Value *taken = NEW_ARRAY(m->scratch, Value, (size_t)c->in.n + 1);
    memcpy(map, args, fn->nparams * sizeof *map);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (c->early[i]) map[i] = core_copy(&l->b, fn, (Value){i}, map);
    for (uint32_t i = 0; i < c->in.n; i++)
        taken[i] = map[c->in.at[i].id];
    l->b.loc = in->loc;
    l->b.phase = (Phase)in->phase;
    Value call = emit_call_of(lc, l, in, f, taken, c->in.n);
    for (uint32_t i = 0; i < c->out.n; i++)
        map[c->out.at[i].id] = c->out.n == 1 ? call : emit_proj(&l->b, call, i);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (c->late[i]) map[i] = core_copy(&l->b, fn, (Value){i}, map);
    for (uint32_t i = 0; i < fn->nresults; i++)
        results[i] = map[fn->result_values[i].id];
}

static Value local_call(Localise *lc, Local *l, const Inst *in)
{
    Module *m = lc->m;
    FnRef f = attr_fn(m, in->attr, AT_fn);
    const Groups *g = &lc->groups[f.id];
    Value *args = NEW_ARRAY(m->scratch, Value, (size_t)in->nargs + g->n + 1);
    uint32_t n = in->nargs;
    for (uint32_t i = 0; i < n; i++)
        args[i] = local_arg(l, in, i);
    for (uint32_t i = 0; i < g->n; i++)
        args[n++] = local_coord(l, g->at[i].mesh, g->at[i].n);
    const Fn *whole = lc->cores[f.id].whole;
    if (!whole) return emit_call_of(lc, l, in, f, args, n);
    Value *results = NEW_ARRAY(m->scratch, Value, (size_t)whole->nresults + 1);
    call_core(lc, l, in, f, args, results);
    l->fields[in - l->old->insts] = results;
    return results[0];
}

static Value local_copy(Local *l, const Inst *in)
{
    Value *args = NEW_ARRAY(l->m->scratch, Value, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = local_arg(l, in, i);
    /* What a device holds has another name, and no other size. */
    Op op = in->op == OP_part ? OP_rename : (Op)in->op;
    return emit(&l->b, op, in->type.id ? type_local(l->m, in->type) : in->type,
                in->attr, args, in->nargs);
}

static Value local_field(Local *l, const Inst *in)
{
    const Value *fields = l->fields[inst_arg(l->old, in, 0).id];
    if (fields) return fields[attr_int(l->m, in->attr, AT_index, 0)];
    return local_copy(l, in);
}

static Value local_inst(Localise *lc, Local *l, const Inst *in)
{
    Axis group;
    if (collective_is_dense(lc->m, l->old, in, &group))
        return local_copy(l, in);
    switch ((Op)in->op) {
    case OP_map:
        return local_map(l, in);
    case OP_reduce:
        return local_reduce(l, in);
    case OP_einsum:
        return local_einsum(l, in);
    case OP_gather:
        return local_gather(l, in);
    case OP_scatter:
        return local_scatter(l, in);
    case OP_call:
        return local_call(lc, l, in);
    case OP_proj:
        return local_field(l, in);
    case OP_all_gather:
        return local_all_gather(l, in);
    case OP_reduce_scatter:
        return local_reduce_scatter(l, in);
    case OP_all_reduce:
        return local_all_reduce(l, in);
    case OP_all_to_all:
        return local_all_to_all(l, in);
    case OP_cut:
        return local_cut(l, in);
    case OP_pending:
        return local_pending(l, in);
    default:
        return local_copy(l, in);
    }
}

static Fn *local_fn(Localise *lc, uint32_t f)
{
    Module *m = lc->m;
    Local l = {.m = m, .made = &lc->made, .old = m->fns.at[f]};
    Fn *fn = fn_new(m, l.old->name, VIEW_local);
    fn->entry = l.old->entry;
    fn->kind = l.old->kind;
    fn->loc = l.old->loc;
    builder_init(&l.b, m, fn);
    l.map = NEW_ARRAY(m->scratch, Value, (size_t)l.old->ninsts + 1);
    l.fields = NEW_ARRAY(m->scratch, Value *, (size_t)l.old->ninsts + 1);
    local_find_zeroed(&l);
    for (uint32_t i = 0; i < l.old->nparams; i++)
        l.map[i] = builder_param(&l.b, local_port(lc, f, l.old->params[i]));
    for (uint32_t i = l.old->nparams; i < l.old->ninsts; i++) {
        const Inst *in = &l.old->insts[i];
        l.b.loc = in->loc;
        l.b.phase = (Phase)in->phase;
        l.map[i] = local_zeroed(&l, (Value){i}, local_inst(lc, &l, in));
        value_set_name(&l.b, l.map[i], l.old->names[i]);
    }
    for (uint32_t i = 0; i < l.old->nresults; i++)
        builder_result(&l.b, l.map[l.old->result_values[i].id],
                       local_port(lc, f, l.old->results[i]));
    if (!lc->called[f]) return fn;
    fn = coords_as_params(m, fn, &lc->groups[f]);
    Fn *core = fn_kind_is_region(fn_kind(m, fn))
                   ? core_find(m, fn, &lc->cores[f])
                   : NULL;
    if (!core) lc->cores[f].whole = NULL;
    return core ? core : fn;
}

/* Callees first: they say which coordinates they take. */
static void localise(Localise *lc, uint32_t f)
{
    const Fn *fn = lc->m->fns.at[f];
    if (lc->done[f] || fn->view != VIEW_local) return;
    lc->done[f] = true;
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (fn->insts[i].op == OP_call)
            localise(lc, attr_fn(lc->m, fn->insts[i].attr, AT_fn).id);
    lc->m->fns.at[f] = local_fn(lc, f);
}

/* ---------------------------------------------------------------- module -- */

static bool has_splits(const Module *m)
{
    for (uint32_t t = 0; t < m->types.n; t++)
        if (is_spread(m, &m->types.at[t])) return true;
    return false;
}

static bool zig_divides(const Module *m, const TypeInfo *t)
{
    for (uint32_t i = 0; i < t->naxes; i++) {
        const TypeAxis *a = &t->axes[i];
        if (a->spread == SPREAD_zig && a->nsplits &&
            a->size % (2 * group_size(m, a->splits, a->nsplits)) != 0)
            return false;
    }
    return true;
}

static bool check_zig(Module *m) /* L5 */
{
    for (uint32_t t = 0; t < m->types.n; t++) {
        if (zig_divides(m, &m->types.at[t])) continue;
        diag_error(m->diag, DIAG_partition_mesh, (Span){0},
                   "an axis of %s is split head to tail into parts that are "
                   "not equal",
                   type_str(m, (Type){t}));
        return false;
    }
    return true;
}

static void find_called(Localise *lc)
{
    const Module *m = lc->m;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++) {
            FnRef refs[2];
            uint32_t n = inst_callees(m, &fn->insts[i], refs);
            for (uint32_t k = 0; k < n; k++) {
                lc->inner[refs[k].id] = true;
                lc->called[refs[k].id] |= fn->insts[i].op == OP_call;
            }
        }
    }
}

bool pass_localise(Module *m, PassCtx *cx)
{
    (void)cx;
    if (!has_splits(m)) return true;
    if (!check_zig(m)) return false;
    Localise lc = {.m = m};
    lc.called = NEW_ARRAY(m->scratch, bool, (size_t)m->fns.n + 1);
    lc.inner = NEW_ARRAY(m->scratch, bool, (size_t)m->fns.n + 1);
    lc.done = NEW_ARRAY(m->scratch, bool, (size_t)m->fns.n + 1);
    lc.groups = NEW_ARRAY(m->scratch, Groups, (size_t)m->fns.n + 1);
    lc.cores = NEW_ARRAY(m->scratch, Core, (size_t)m->fns.n + 1);
    find_called(&lc);
    for (uint32_t f = 0; f < m->fns.n; f++)
        localise(&lc, f);
    return true;
}
