/*
 * memory.c: index expressions of the kernel IR as LLVM IR, loads and stores.
 *
 * Index expressions are kept as the value at lane 0 and, where lanes are
 * taken together, the step from lane to lane.  A load that steps by one is a
 * vector load; one that does not step is a scalar; any other is gathered lane
 * by lane.  A load under a guard never touches memory where it is false.  Of a
 * vector that goes beyond the last lane (offsets) each is gathered, too, and
 * the last one stored as often.
 */
#include "emit.h"

static Site narrow(const Emit *e)
{
    Site s = e->s;
    s.w = 1;
    return s;
}

/* ---------------------------------------------------------------- indices */

/* Quotient and remainder with floors. */
static LV floored(Emit *e, const Atom *a, LV x, LV by)
{
    LLVMBuilderRef b = e->s.b;
    bool div = a->kind == ATOM_div;
    if (ix_info(e->k, a->of)->lo >= 0)
        return div ? LLVMBuildUDiv(b, x, by, "") : LLVMBuildURem(b, x, by, "");
    LV r = LLVMBuildSRem(b, x, by, "");
    LV low = LLVMBuildICmp(b, LLVMIntSLT, r, LLVMConstNull(LLVMTypeOf(r)), "");
    if (!div) return LLVMBuildSelect(b, low, LLVMBuildAdd(b, r, by, ""), r, "");
    LV q = LLVMBuildSDiv(b, x, by, "");
    return LLVMBuildAdd(b, q, LLVMBuildSExt(b, low, LLVMTypeOf(q), ""), "");
}

static LV to_index(Emit *e, const NodeInfo *in, LV v, LLVMTypeRef t)
{
    bool sign = dtype_class((DType)in->dtype) == DC_int;
    return LLVMBuildIntCast2(e->s.b, v, t, sign, "");
}

static LV atom_value(Emit *e, uint32_t id)
{
    const Atom *a = &e->k->atoms.at[id];
    switch (a->kind) {
    case ATOM_var:
        return e->vars[a->loop];
    case ATOM_node:
        if (e->wide[a->node.id]) break;
        return to_index(e, node_info(e->k, a->node), e->vals[a->node.id],
                        e->ity);
    case ATOM_div:
    case ATOM_mod:
        if (e->atoms[id]) return e->atoms[id];
        return floored(e, a, emit_ix(e, a->of), emit_iconst(e, a->by));
    }
    BUG("an index is read from lanes");
}

LV emit_ix(Emit *e, Ix ix)
{
    const IxInfo *x = ix_info(e->k, ix);
    LV sum = emit_iconst(e, x->base);
    for (uint32_t i = 0; i < x->n; i++) {
        LV t = LLVMBuildMul(e->s.b, atom_value(e, x->terms[i].atom),
                            emit_iconst(e, x->terms[i].coef), "");
        sum = LLVMBuildAdd(e->s.b, sum, t, "");
    }
    return sum;
}

/* Quotients and remainders are made once, at the start of a turn of the
 * innermost loop on which they depend. */
void emit_enter(Emit *e, LoopId loop, LV var)
{
    e->vars[loop] = var;
    for (uint32_t i = 0; i < e->k->atoms.n; i++) {
        const Atom *a = &e->k->atoms.at[i];
        if (a->loop != loop || (a->kind != ATOM_div && a->kind != ATOM_mod) ||
            ix_chosen(e->k, a->of))
            continue;
        e->atoms[i] = NULL;
        e->atoms[i] = atom_value(e, i);
    }
}

static bool lane_step(const Emit *e, Ix ix, int64_t *coef)
{
    return e->aligned ? ix_steps(e->k, ix, e->lanes, e->s.w, coef)
                      : ix_linear(e->k, ix, e->lanes, coef);
}

static LV splat_const(const Emit *e, int64_t i)
{
    return site_splat(&e->s, emit_iconst(e, i));
}

static LV lane_numbers(const Emit *e, int64_t step)
{
    LV at[64];
    if (e->offsets)
        return LLVMBuildMul(e->s.b, e->offsets, splat_const(e, step), "");
    for (unsigned i = 0; i < e->s.w; i++)
        at[i] = emit_iconst(e, i * step);
    return LLVMConstVector(at, e->s.w);
}

static LV atom_wide(Emit *e, uint32_t id)
{
    const Atom *a = &e->k->atoms.at[id];
    switch (a->kind) {
    case ATOM_var: {
        LV v = site_splat(&e->s, e->vars[a->loop]);
        if (a->loop != e->lanes) return v;
        return LLVMBuildAdd(e->s.b, v, lane_numbers(e, 1), "");
    }
    case ATOM_node:
        return to_index(e, node_info(e->k, a->node), emit_use(e, a->node),
                        site_type(&e->s, e->ity));
    case ATOM_div:
    case ATOM_mod:
        return floored(e, a, emit_ix_wide(e, a->of), splat_const(e, a->by));
    }
    BUG("no such atom");
}

bool emit_ix_is_wide(const Emit *e, Ix ix)
{
    const IxInfo *x = ix_info(e->k, ix);
    for (uint32_t i = 0; i < x->n; i++) {
        const Atom *a = &e->k->atoms.at[x->terms[i].atom];
        if (a->kind == ATOM_node  ? e->wide[a->node.id]
            : a->kind == ATOM_var ? a->loop == e->lanes
                                  : emit_ix_is_wide(e, a->of))
            return true;
    }
    return false;
}

LV emit_ix_wide(Emit *e, Ix ix)
{
    int64_t coef;
    if (!emit_ix_is_wide(e, ix)) return site_splat(&e->s, emit_ix(e, ix));
    if (lane_step(e, ix, &coef))
        return LLVMBuildAdd(e->s.b, site_splat(&e->s, emit_ix(e, ix)),
                            lane_numbers(e, coef), "");
    const IxInfo *x = ix_info(e->k, ix);
    LV sum = splat_const(e, x->base);
    for (uint32_t i = 0; i < x->n; i++) {
        LV t = LLVMBuildMul(e->s.b, atom_wide(e, x->terms[i].atom),
                            splat_const(e, x->terms[i].coef), "");
        sum = LLVMBuildAdd(e->s.b, sum, t, "");
    }
    return sum;
}

/* ------------------------------------------------------------ loads, stores */

static LV place(Emit *e, uint32_t arg, DType d, LV at)
{
    Site s = narrow(e);
    return LLVMBuildGEP2(e->s.b, dtype_mem(&s, d), e->args[arg], &at, 1, "");
}

LV emit_address(Emit *e, const NodeInfo *in, int64_t beyond)
{
    LV at =
        LLVMBuildAdd(e->s.b, emit_ix(e, in->ix), emit_iconst(e, beyond), "");
    return place(e, in->arg, (DType)in->dtype, at);
}

/* An atom that is a multiple of the width where lanes begin. */
static bool begins_whole(const Emit *e, const Atom *a)
{
    int64_t coef;
    if (!e->aligned) return false;
    if (a->kind == ATOM_var) return a->loop == e->lanes;
    return a->kind == ATOM_mod &&
           atom_steps(e->k, a, e->lanes, e->s.w, &coef) && coef == 1;
}

/* Bytes that divide the address of lane 0. */
static unsigned alignment(const Emit *e, const NodeInfo *in)
{
    const IxInfo *x = ix_info(e->k, in->ix);
    uint64_t bytes = dtype_bytes((DType)in->dtype), bits = 0;
    bits |= (uint64_t)x->base;
    for (uint32_t i = 0; i < x->n; i++) {
        const Atom *a = &e->k->atoms.at[x->terms[i].atom];
        uint64_t c = (uint64_t)x->terms[i].coef;
        bits |= begins_whole(e, a) ? c * e->s.w : c;
    }
    bits = bits * bytes | e->k->args[in->arg].align;
    uint64_t low = bits & -bits;
    return (unsigned)(low > 16 ? 16 : low < bytes ? bytes : low);
}

static LV from_memory(const Site *s, DType d, LV v)
{
    if (d != DT_bool) return v;
    return LLVMBuildICmp(s->b, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v)), "");
}

static LV to_memory(const Site *s, DType d, LV v)
{
    if (d != DT_bool) return v;
    LLVMTypeRef t = site_type(s, LLVMInt8TypeInContext(s->cx));
    return LLVMBuildZExt(s->b, v, t, "");
}

static LV load_narrow(Emit *e, const NodeInfo *in)
{
    Site s = narrow(e);
    DType d = (DType)in->dtype;
    LV at = emit_ix(e, in->ix), guard = in->a.id ? e->vals[in->a.id] : NULL;
    if (guard) at = LLVMBuildSelect(s.b, guard, at, emit_iconst(e, 0), "");
    LV v = LLVMBuildLoad2(s.b, dtype_mem(&s, d), place(e, in->arg, d, at), "");
    LLVMSetAlignment(v, dtype_bytes(d));
    if (guard)
        v = LLVMBuildSelect(s.b, guard, v, LLVMConstNull(LLVMTypeOf(v)), "");
    return from_memory(&s, d, v);
}

static LV load_vector(Emit *e, const NodeInfo *in)
{
    DType d = (DType)in->dtype;
    LLVMTypeRef t = site_type(&e->s, dtype_mem(&e->s, d));
    LV at = emit_ix(e, in->ix), guard = in->a.id ? e->vals[in->a.id] : NULL;
    bool one = guard && !e->wide[in->a.id];
    if (one) at = LLVMBuildSelect(e->s.b, guard, at, emit_iconst(e, 0), "");
    LV p = place(e, in->arg, d, at);
    if (!guard || one) {
        LV v = LLVMBuildLoad2(e->s.b, t, p, "");
        LLVMSetAlignment(v, alignment(e, in));
        return one ? LLVMBuildSelect(e->s.b, guard, v, LLVMConstNull(t), "")
                   : v;
    }
    unsigned id = LLVMLookupIntrinsicID("llvm.masked.load", 16);
    LLVMTypeRef types[] = {t, LLVMTypeOf(p)};
    LV f = LLVMGetIntrinsicDeclaration(e->s.module, id, types, 2);
    LV args[] = {p, emit_use(e, in->a), LLVMConstNull(t)};
    return LLVMBuildCall2(e->s.b, LLVMGlobalGetValueType(f), f, args, 3, "");
}

static LV load_gather(Emit *e, const NodeInfo *in)
{
    LLVMBuilderRef b = e->s.b;
    DType d = (DType)in->dtype;
    LLVMTypeRef elem = dtype_mem(&e->s, d);
    LV at = emit_ix_wide(e, in->ix), guard = in->a.id ? emit_use(e, in->a) : 0;
    if (guard) at = LLVMBuildSelect(b, guard, at, splat_const(e, 0), "");
    LV v = LLVMGetPoison(site_type(&e->s, elem));
    for (unsigned i = 0; i < e->s.w; i++) {
        LV lane = LLVMConstInt(LLVMInt32TypeInContext(e->s.cx), i, false);
        LV p = place(e, in->arg, d, LLVMBuildExtractElement(b, at, lane, ""));
        LV x = LLVMBuildLoad2(b, elem, p, "");
        LLVMSetAlignment(x, dtype_bytes(d));
        v = LLVMBuildInsertElement(b, v, x, lane, "");
    }
    if (guard)
        v = LLVMBuildSelect(b, guard, v, LLVMConstNull(LLVMTypeOf(v)), "");
    return v;
}

static LV load_wide(Emit *e, const NodeInfo *in)
{
    int64_t coef;
    bool steps = lane_step(e, in->ix, &coef) && coef == 1;
    bool holds = e->map == MAP_rows || e->map == MAP_blocks;
    LV v = holds ? gpu_row_loaded(e, in) : NULL;
    if (!v) { /* the GPU has no masked loads */
        bool masked = in->a.id && e->wide[in->a.id];
        v = steps && !(masked && e->s.gpu) && !e->offsets ? load_vector(e, in)
                                                          : load_gather(e, in);
    }
    return from_memory(&e->s, (DType)in->dtype, v);
}

LV emit_load_ahead(Emit *e, const NodeInfo *in)
{
    int64_t coef;
    bool steps = lane_step(e, in->ix, &coef) && coef == 1;
    bool free = !in->a.id && steps && !ix_chosen(e->k, in->ix);
    return !free ? NULL : e->offsets ? load_gather(e, in) : load_vector(e, in);
}

/* The tile's values lie side by side, by column. */
static LV load_staged(Emit *e, const NodeInfo *in)
{
    DType d = (DType)in->dtype;
    LV at = e->vars[e->lanes], base = e->staged[in - e->k->nodes.at];
    LLVMTypeRef elem = dtype_mem(&e->s, d);
    LV p = LLVMBuildGEP2(e->s.b, elem, base, &at, 1, "");
    LV v = LLVMBuildLoad2(e->s.b, site_type(&e->s, elem), p, "");
    LLVMSetAlignment(v, e->s.w * dtype_bytes(d));
    return v;
}

LV emit_load(Emit *e, const NodeInfo *in, bool wide)
{
    if (e->staged[in - e->k->nodes.at]) return load_staged(e, in);
    return wide ? load_wide(e, in) : load_narrow(e, in);
}

static void store_narrow(Emit *e, const NodeInfo *in)
{
    Site s = narrow(e);
    DType d = (DType)in->dtype;
    LV v = to_memory(&s, d, e->vals[in->b.id]);
    LV st = LLVMBuildStore(s.b, v, place(e, in->arg, d, emit_ix(e, in->ix)));
    LLVMSetAlignment(st, dtype_bytes(d));
}

static void store_wide(Emit *e, const NodeInfo *in)
{
    LLVMBuilderRef b = e->s.b;
    DType d = (DType)in->dtype;
    LV v = to_memory(&e->s, d, emit_use(e, in->b));
    int64_t coef;
    if (lane_step(e, in->ix, &coef) && coef == 1 && !e->offsets) {
        LV p = place(e, in->arg, d, emit_ix(e, in->ix));
        LLVMSetAlignment(LLVMBuildStore(b, v, p), alignment(e, in));
        return;
    }
    LV at = emit_ix_wide(e, in->ix);
    for (unsigned i = 0; i < e->s.w; i++) {
        LV lane = LLVMConstInt(LLVMInt32TypeInContext(e->s.cx), i, false);
        LV p = place(e, in->arg, d, LLVMBuildExtractElement(b, at, lane, ""));
        LV st = LLVMBuildStore(b, LLVMBuildExtractElement(b, v, lane, ""), p);
        LLVMSetAlignment(st, dtype_bytes(d));
    }
}

/* On the GPU, what stands outside of the lanes is done by every thread of a
 * row alike, and stored by one. */
static LV store_condition(Emit *e, const NodeInfo *in)
{
    LLVMBuilderRef b = e->s.b;
    LV when = in->a.id ? e->vals[in->a.id] : NULL;
    LV mine = NULL;
    LV zero = LLVMConstNull(e->ity);
    LoopKind at = e->k->loops.at[in->loop].kind;
    if (e->map == MAP_tile && at == LOOP_items)
        mine = LLVMBuildICmp(b, LLVMIntEQ, e->lane, zero, "");
    bool row = at == LOOP_items || e->k->loops.at[in->loop].walks;
    if (e->map == MAP_rows && row) {
        mine = LLVMBuildICmp(b, LLVMIntEQ, e->place, zero, "");
        if (e->exists) mine = LLVMBuildAnd(b, mine, e->exists, "");
    }
    if (e->map == MAP_rows && at == LOOP_lanes) mine = e->active;
    if (at == LOOP_wide) mine = e->active;
    if (at == LOOP_rows)
        mine = LLVMBuildICmp(b, LLVMIntEQ, e->column, zero, "");
    if (e->map == MAP_column) {
        mine = e->active;
        LV first = LLVMBuildICmp(b, LLVMIntEQ, e->place, zero, "");
        if (at == LOOP_items || at == LOOP_lanes)
            mine = mine ? LLVMBuildAnd(b, mine, first, "") : first;
    }
    if (!mine || !when) return mine ? mine : when;
    return LLVMBuildAnd(b, mine, when, "");
}

void emit_store(Emit *e, const NodeInfo *in)
{
    LV when = store_condition(e, in);
    LLVMBasicBlockRef on = when ? emit_when(e, when, "store") : NULL;
    if (e->s.w > 1)
        store_wide(e, in);
    else
        store_narrow(e, in);
    if (when) emit_on(e, on);
}

bool emit_stores_whole(Emit *e, Node n, LoopId lanes, unsigned w)
{
    const NodeInfo *in = node_info(e->k, n);
    Emit as = *e;
    int64_t coef;
    as.lanes = lanes;
    as.s.w = w;
    as.aligned = true;
    return in->op == KN_store && !ix_chosen(e->k, in->ix) &&
           !(in->a.id && node_info(e->k, in->a)->loop == lanes) &&
           lane_step(&as, in->ix, &coef) && coef == 1 &&
           alignment(&as, in) >= w * dtype_bytes((DType)in->dtype);
}

void emit_store_value(Emit *e, Node n, LV v)
{
    const NodeInfo *in = node_info(e->k, n);
    LV was = e->vals[in->b.id];
    bool was_wide = e->wide[in->b.id];
    e->vals[in->b.id] = v;
    e->wide[in->b.id] = e->s.w > 1;
    emit_store(e, in);
    e->vals[in->b.id] = was;
    e->wide[in->b.id] = was_wide;
}

void emit_total(Emit *e, const NodeInfo *in)
{
    LLVMBuilderRef b = e->s.b;
    int64_t coef;
    bool wide = e->s.w > 1, steps = lane_step(e, in->ix, &coef) && coef == 1;
    Acc acc = {(AccKind)in->n, (DType)in->dtype, in->b, {0}, false};
    LV x = emit_use(e, in->b);
    LV old = !wide                  ? load_narrow(e, in)
             : steps && !e->offsets ? load_vector(e, in)
                                    : load_gather(e, in);
    LV first = LLVMBuildICmp(b, LLVMIntEQ, e->vars[in->inner],
                             LLVMConstNull(e->ity), "");
    old = LLVMBuildSelect(b, first, acc_identity(e, &acc, e->s.w), old, "");
    emit_store_value(e, (Node){(uint32_t)(in - e->k->nodes.at)},
                     acc_combine(e, &acc, old, x, e->s.w));
}
