/*
 * emit.c: nodes of the kernel IR as LLVM IR, body by body.
 *
 * A node is made where it stands in its loop's body, as a vector where it
 * depends on the loop whose lanes are taken together.
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

LLVMBasicBlockRef emit_when(Emit *e, LV when, const char *name)
{
    LLVMBasicBlockRef then = emit_block(e, name), on = emit_block(e, "on");
    LLVMBuildCondBr(e->s.b, when, then, on);
    LLVMPositionBuilderAtEnd(e->s.b, then);
    return on;
}

void emit_on(Emit *e, LLVMBasicBlockRef on)
{
    LLVMBuildBr(e->s.b, on);
    LLVMPositionBuilderAtEnd(e->s.b, on);
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

LV emit_use(Emit *e, Node n)
{
    LV v = e->vals[n.id];
    if (!v) BUG("node %u is used before it is made", n.id);
    return e->s.w > 1 && !e->wide[n.id] ? site_splat(&e->s, v) : v;
}

/* ------------------------------------------------------------------- nodes */

static bool is_wide(const Emit *e, const NodeInfo *in)
{
    if (in->op == KN_piece) return e->s.w > 1 && in->loop == e->lanes;
    return e->s.w > 1 && (e->wide[in->a.id] || e->wide[in->b.id] ||
                          e->wide[in->c.id] || emit_ix_is_wide(e, in->ix));
}

static LV emit_compare(Emit *e, const NodeInfo *in, bool wide)
{
    LV x = wide ? emit_ix_wide(e, in->ix) : emit_ix(e, in->ix);
    LV n = emit_iconst(e, in->n);
    if (wide) n = site_splat(&e->s, n);
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

/* It was a number of 16 bits before it was widened. */
static bool has_few_bits(const Kir *k, Node n)
{
    const NodeInfo *in = node_info(k, n);
    if (in->op != KN_cast) return false;
    DType from = (DType)node_info(k, in->a)->dtype;
    return dtype_class(from) == DC_float && dtype_bytes(from) <= 2;
}

static bool is_one_or_more(const Kir *k, Node n)
{
    const NodeInfo *in = node_info(k, n);
    return in->op == KN_const && (in->f >= 1 || in->f <= -1);
}

/* Whether N is read by nothing but sums with numbers that are 1 or more, or by
 * its square, of which that holds. */
static bool is_added_to_one(const Kir *k, Node n)
{
    for (LoopId l = 1; l < k->loops.n; l++)
        for (uint32_t a = 0; a < k->loops.at[l].accs.n; a++)
            if (k->loops.at[l].accs.at[a].value.id == n.id) return false;
    for (uint32_t i = n.id + 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        bool first = in->a.id == n.id, second = in->b.id == n.id;
        if (in->c.id == n.id) return false;
        if (!first && !second) continue;
        if (in->op != KN_scalar) return false;
        bool sum = in->sc == SC_add || in->sc == SC_sub;
        bool square = in->sc == SC_mul && first && second;
        if (!(sum && is_one_or_more(k, first ? in->b : in->a)) &&
            !(square && is_added_to_one(k, (Node){i})))
            return false;
    }
    return true;
}

/* What leaves of a function's result what the hardware's form does not have. */
static bool is_coarse(const Kir *k, const NodeInfo *in)
{
    if (in->sc == SC_tanh)
        return is_added_to_one(k, (Node){(uint32_t)(in - k->nodes.at)});
    return has_few_bits(k, in->a);
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
        return emit_load(e, in, wide);
    case KN_counter: {
        LLVMTypeRef t = dtype_reg(&s, d);
        return LLVMBuildIntCast2(s.b, e->args[in->arg], t, true, "");
    }
    case KN_scalar: {
        Node typed = in->sc == SC_where ? in->b : in->a;
        if (s.gpu && in->sc == SC_div && d == DT_f32)
            return emit_quotient(e, &s, in, args);
        s.few = is_coarse(e->k, in);
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
    if (e->skips && e->skips[n.id]) return;
    lines_at(e->lines, e, in->loc);
    switch ((NodeOp)in->op) {
    case KN_store:
        if (e->defers)
            e->vals[n.id] = emit_use(e, in->b);
        else
            emit_store(e, in);
        return;
    case KN_total:
        if (!gpu_row_total(e, n)) emit_total(e, in);
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
    Site one = e->s;
    one.w = 1;
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
    const Loop *l =
        &e->k->loops.at[e->k->loops.at[first ? first : next].parent];
    bool between = !first;
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
