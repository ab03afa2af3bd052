/*
 * emit.c: nodes and index expressions of the kernel IR as LLVM IR.
 *
 * Index expressions are kept as the value at lane 0 and, where lanes are
 * taken together, the step from lane to lane.  A load that steps by one is a
 * vector load; one that does not step is a scalar; any other is gathered lane
 * by lane.  A load under a guard never touches memory where it is false.
 */
#include <math.h>

#include "lines.h"
#include "sm90.h"

/* ------------------------------------------------------------------ basics */

LV emit_iconst(const Emit *e, int64_t i)
{
    return LLVMConstInt(e->ity, (uint64_t)i, true);
}

LLVMBasicBlockRef emit_block(Emit *e, const char *name)
{
    return LLVMAppendBasicBlockInContext(e->s.cx, e->fn, name);
}

LV emit_alloca(Emit *e, LLVMTypeRef t, int64_t n)
{
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->s.b);
    LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(e->fn);
    LV first = LLVMGetFirstInstruction(entry);
    if (first)
        LLVMPositionBuilderBefore(e->s.b, first);
    else
        LLVMPositionBuilderAtEnd(e->s.b, entry);
    LV count = LLVMConstInt(LLVMInt32TypeInContext(e->s.cx), (uint64_t)n, 0);
    LV p = LLVMBuildArrayAlloca(e->s.b, t, count, "");
    LLVMSetAlignment(p, 64);
    LLVMPositionBuilderAtEnd(e->s.b, here);
    return p;
}

static Site narrow(const Emit *e)
{
    Site s = e->s;
    s.w = 1;
    return s;
}

LV emit_use(Emit *e, Node n)
{
    LV v = e->vals[n.id];
    if (!v) BUG("node %u is used before it is made", n.id);
    return e->s.w > 1 && !e->wide[n.id] ? site_splat(&e->s, v) : v;
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
    for (unsigned i = 0; i < e->s.w; i++)
        at[i] = emit_iconst(e, i * step);
    return LLVMConstVector(at, e->s.w);
}

static LV emit_ix_wide(Emit *e, Ix ix);

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

static bool reads_wide(const Emit *e, Ix ix)
{
    const IxInfo *x = ix_info(e->k, ix);
    for (uint32_t i = 0; i < x->n; i++) {
        const Atom *a = &e->k->atoms.at[x->terms[i].atom];
        if (a->kind == ATOM_node  ? e->wide[a->node.id]
            : a->kind == ATOM_var ? a->loop == e->lanes
                                  : reads_wide(e, a->of))
            return true;
    }
    return false;
}

static LV emit_ix_wide(Emit *e, Ix ix)
{
    int64_t coef;
    if (!reads_wide(e, ix)) return site_splat(&e->s, emit_ix(e, ix));
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
    LV p = place(e, in->arg, d, emit_ix(e, in->ix));
    if (!in->a.id) {
        LV v = LLVMBuildLoad2(e->s.b, t, p, "");
        LLVMSetAlignment(v, alignment(e, in));
        return v;
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
    LV v = e->map == MAP_rows ? gpu_row_loaded(e, in) : NULL;
    if (!v) { /* the GPU has no masked loads */
        v = steps && !(in->a.id && e->s.gpu) ? load_vector(e, in)
                                             : load_gather(e, in);
    }
    return from_memory(&e->s, (DType)in->dtype, v);
}

LV emit_load_ahead(Emit *e, const NodeInfo *in)
{
    int64_t coef;
    bool steps = lane_step(e, in->ix, &coef) && coef == 1;
    bool free = !in->a.id && steps && !ix_chosen(e->k, in->ix);
    return free ? load_vector(e, in) : NULL;
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
    if (lane_step(e, in->ix, &coef) && coef == 1) {
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

static void emit_store(Emit *e, const NodeInfo *in)
{
    LV when = store_condition(e, in);
    LLVMBasicBlockRef after = NULL;
    if (when) {
        LLVMBasicBlockRef then = emit_block(e, "store");
        after = emit_block(e, "stored");
        LLVMBuildCondBr(e->s.b, when, then, after);
        LLVMPositionBuilderAtEnd(e->s.b, then);
    }
    if (e->s.w > 1)
        store_wide(e, in);
    else
        store_narrow(e, in);
    if (!when) return;
    LLVMBuildBr(e->s.b, after);
    LLVMPositionBuilderAtEnd(e->s.b, after);
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

/* A total in memory: the thread that has the lane is the same in each turn. */
static void add_to_memory(Emit *e, const NodeInfo *in)
{
    LLVMBuilderRef b = e->s.b;
    int64_t coef;
    bool wide = e->s.w > 1, steps = lane_step(e, in->ix, &coef) && coef == 1;
    Acc acc = {ACC_sum, (DType)in->dtype, in->b, {0}, false};
    LV x = emit_use(e, in->b);
    LV old = !wide   ? load_narrow(e, in)
             : steps ? load_vector(e, in)
                     : load_gather(e, in);
    LV first = LLVMBuildICmp(b, LLVMIntEQ, e->vars[in->inner],
                             LLVMConstNull(e->ity), "");
    old = LLVMBuildSelect(b, first, acc_identity(e, &acc, e->s.w), old, "");
    emit_store_value(e, (Node){(uint32_t)(in - e->k->nodes.at)},
                     acc_combine(e, &acc, old, x, e->s.w));
}

/* ------------------------------------------------------------------- nodes */

static bool is_wide(const Emit *e, const NodeInfo *in)
{
    if (in->op == KN_piece) return e->s.w > 1 && in->loop == e->lanes;
    return e->s.w > 1 && (e->wide[in->a.id] || e->wide[in->b.id] ||
                          e->wide[in->c.id] || reads_wide(e, in->ix));
}

static LV emit_compare(Emit *e, const NodeInfo *in, bool wide)
{
    LV x = wide ? emit_ix_wide(e, in->ix) : emit_ix(e, in->ix);
    LV n = wide ? splat_const(e, in->n) : emit_iconst(e, in->n);
    if (in->op == KN_inside) return LLVMBuildICmp(e->s.b, LLVMIntULT, x, n, "");
    LV r = LLVMBuildSRem(e->s.b, x, n, "");
    return LLVMBuildICmp(e->s.b, LLVMIntEQ, r, LLVMConstNull(LLVMTypeOf(r)),
                         "");
}

static LV emit_scan(Emit *e, const NodeInfo *in, bool wide)
{
    Acc a = {ACC_sum, (DType)in->dtype, in->a, {0}, false};
    Node self = {(uint32_t)(in - e->k->nodes.at)};
    LV slot = e->vals[self.id]; /* the loop has put it there */
    unsigned w = wide ? e->s.w : 1;
    Site s = e->s;
    s.w = w;
    LV old =
        LLVMBuildLoad2(s.b, site_type(&s, dtype_reg(&s, a.dtype)), slot, "");
    LV sum = acc_combine(e, &a, old,
                         wide ? emit_use(e, in->a) : e->vals[in->a.id], w);
    LLVMBuildStore(s.b, sum, slot);
    return in->n ? old : sum;
}

typedef LV OneFn(const Site *s, LV x);

/* An instruction of the GPU on each lane. */
static LV emit_each(const Site *s, OneFn *fn, LV x)
{
    if (s->w == 1) return fn(s, x);
    LV out = LLVMGetPoison(LLVMTypeOf(x));
    for (unsigned i = 0; i < s->w; i++) {
        LV at = LLVMConstInt(LLVMInt32TypeInContext(s->cx), i, false);
        LV y = fn(s, LLVMBuildExtractElement(s->b, x, at, ""));
        out = LLVMBuildInsertElement(s->b, out, y, at, "");
    }
    return out;
}

static bool is_power_of_two(const NodeInfo *in)
{
    int exponent;
    return in->op == KN_const && fabs(frexp(in->f, &exponent)) == 0.5;
}

/* Neighbours are divided side by side, and one value by a constant without a
 * branch.  LLVM multiplies instead of dividing by a power of two. */
static LV emit_quotient(Emit *e, const Site *s, const NodeInfo *in,
                        const LV args[])
{
    const NodeInfo *by = node_info(e->k, in->b);
    bool near_one = !s->exact && by->op == KN_const;
    if (is_power_of_two(by) || (s->w == 1 && !near_one))
        return LLVMBuildFDiv(s->b, args[0], args[1], "");
    LV one = s->w == 1 || e->wide[in->b.id] ? NULL : e->vals[in->b.id];
    const Limits of[] = {node_limits(e->k, in->a), node_limits(e->k, in->b)};
    if (s->exact) return gpu_division(s, args[0], one ? one : args[1], of);
    if (one) return gpu_quotient_by_one(s, args[0], one);
    return gpu_quotient(s, args[0], args[1]);
}

static LV emit_value(Emit *e, const NodeInfo *in, bool wide)
{
    Site s = e->s;
    if (!wide) s.w = 1;
    DType d = (DType)in->dtype;
    LV args[3] = {0};
    const Node from[3] = {in->a, in->b, in->c};
    for (int i = 0; i < 3; i++)
        if (from[i].id)
            args[i] = wide ? emit_use(e, from[i]) : e->vals[from[i].id];
    switch ((NodeOp)in->op) {
    case KN_const:
        return dtype_class(d) == DC_float ? site_float(&s, d, in->f)
                                          : site_int(&s, d, in->i);
    case KN_index:
        return LLVMBuildIntCast2(
            s.b, wide ? emit_ix_wide(e, in->ix) : emit_ix(e, in->ix),
            site_type(&s, dtype_reg(&s, d)), true, "");
    case KN_inside:
    case KN_divides:
        return emit_compare(e, in, wide);
    case KN_load:
        if (e->staged[in - e->k->nodes.at]) return load_staged(e, in);
        return wide ? load_wide(e, in) : load_narrow(e, in);
    case KN_counter: {
        LLVMTypeRef t = dtype_reg(&s, d);
        return LLVMBuildIntCast2(s.b, e->args[in->arg], t, true, "");
    }
    case KN_scalar: {
        Node typed = in->sc == SC_where ? in->b : in->a;
        if (s.gpu && in->sc == SC_div && d == DT_f32)
            return emit_quotient(e, &s, in, args);
        return emit_scalar(&s, (ScalarOp)in->sc,
                           (DType)node_info(e->k, typed)->dtype, args);
    }
    case KN_cast:
        return emit_dtype_cast(&s, d, (DType)node_info(e->k, in->a)->dtype,
                               args[0]);
    case KN_scan:
        return emit_scan(e, in, wide);
    case KN_piece:
        return emit_piece(e, in);
    case KN_exp2:
        return emit_each(&s, sm90_exp2, args[0]);
    case KN_rcp:
        return emit_each(&s, sm90_rcp, args[0]);
    case KN_none:
    case KN_result:
    case KN_store:
    case KN_total:
    case KN_loop:
        break;
    }
    BUG("node of kind %d has no value", in->op);
}

static void emit_node(Emit *e, Node n)
{
    const NodeInfo *in = node_info(e->k, n);
    lines_at(e->lines, e, in->loc);
    switch ((NodeOp)in->op) {
    case KN_store:
        if (e->defers)
            e->vals[n.id] = emit_use(e, in->b);
        else
            emit_store(e, in);
        return;
    case KN_total:
        if (!gpu_row_total(e, n)) add_to_memory(e, in);
        return;
    case KN_loop:
        if (e->map == MAP_host)
            emit_loop_host(e, in->inner);
        else
            emit_loop_gpu(e, in->inner);
        return;
    case KN_result: /* set by the loop */
        return;
    default:
        break;
    }
    bool wide = is_wide(e, in) && !e->holds[n.id];
    Site one = narrow(e);
    e->vals[n.id] =
        e->holds[n.id] ? site_int(&one, DT_bool, 1) : emit_value(e, in, wide);
    e->wide[n.id] = wide;
}

static void end_turn_unless(Emit *e, LoopId loop)
{
    LLVMBasicBlockRef on = emit_block(e, "on");
    LLVMBuildCondBr(e->s.b, e->vals[e->k->loops.at[loop].when.id], on,
                    e->latch[loop]);
    LLVMPositionBuilderAtEnd(e->s.b, on);
}

void emit_some(Emit *e, LoopId loop, NodeKind *are)
{
    const Loop *l = &e->k->loops.at[loop];
    for (uint32_t i = 0; i < l->body.n; i++)
        if (are(e->k, node_info(e->k, l->body.at[i])))
            emit_node(e, l->body.at[i]);
}

static bool is_no_loop(const Kir *k, const NodeInfo *in)
{
    (void)k;
    return in->op != KN_loop;
}

void emit_straight(Emit *e, LoopId loop)
{
    emit_some(e, loop, is_no_loop);
}

void emit_between(Emit *e, LoopId first, LoopId next)
{
    const Loop *l = &e->k->loops.at[e->k->loops.at[first].parent];
    bool between = false;
    for (uint32_t i = 0; i < l->body.n; i++) {
        const NodeInfo *in = node_info(e->k, l->body.at[i]);
        if (in->op == KN_loop && in->inner == next) return;
        if (between) emit_node(e, l->body.at[i]);
        between |= in->op == KN_loop && in->inner == first;
    }
}

bool emit_until(Emit *e, LoopId loop, Node last)
{
    const Loop *l = &e->k->loops.at[loop];
    for (uint32_t i = 0; i < l->body.n; i++) {
        if (node_info(e->k, l->body.at[i])->op == KN_loop) return false;
        emit_node(e, l->body.at[i]);
        if (l->body.at[i].id == last.id) return true;
    }
    return false;
}

void emit_all(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    for (uint32_t i = 0; i < l->body.n; i++)
        emit_node(e, l->body.at[i]);
}

void emit_body(Emit *e, LoopId loop)
{
    const Loop *l = &e->k->loops.at[loop];
    if (l->when.id && node_info(e->k, l->when)->loop != loop)
        end_turn_unless(e, loop);
    for (uint32_t i = 0; i < l->body.n; i++) {
        emit_node(e, l->body.at[i]);
        if (l->when.id == l->body.at[i].id && l->when.id)
            end_turn_unless(e, loop);
    }
}
