/*
 * classes.c: which tiles of pairs a condition makes empty, and which it leaves
 * alone.
 *
 * Conditions are the first operands of choices (where) in a region's pairs:
 * masks, and the bound of the last columns.  Over a tile of rows and columns
 * a condition is known to hold everywhere, known to hold nowhere, or neither:
 * comparisons of integers by the ranges of their sides, and, or, not by the
 * three-valued rules, anything else is not known.  Ranges of indices follow
 * from those of the loops' variables; those of integers loaded per row or per
 * column (document ids) are found at run time, by a warp for each vector.
 *
 * A sweep gets nothing from a tile when one condition that holds nowhere
 * makes its operand the sum's 0 or the maximum's -inf; a tile is empty when
 * that is so for every sweep.  It is full when all conditions hold.
 *
 * Everything here is built of operations that LLVM folds when their operands
 * are constants, so that one code serves the kernel and the compiler.
 */
#include "classes.h"

#include <math.h>

/* ------------------------------------------------------------ finding them */

static bool is_op(const NodeInfo *in, ScalarOp sc)
{
    return in->op == KN_scalar && in->sc == sc;
}

/* Whether guards say the same of the loops' variables.  What they say of
 * others is not asked: elsewhere nothing of a tile is used. */
static bool guards_alike(const Kir *k, Node x, LoopId from, Node y, LoopId to)
{
    const NodeInfo *a = node_info(k, x), *b = node_info(k, y);
    if (x.id == y.id) return true;
    if (a->op != b->op) return false;
    if (is_op(a, SC_and) && is_op(b, SC_and))
        return guards_alike(k, a->a, from, b->a, to) &&
               guards_alike(k, a->b, from, b->b, to);
    if (a->op != KN_inside) return false;
    if (!ix_uses(k, a->ix, from) && !ix_uses(k, b->ix, to)) return true;
    return a->n == b->n && ix_alike(k, a->ix, from, b->ix, to);
}

bool loads_alike(const Kir *k, Node x, Node y)
{
    const NodeInfo *a = node_info(k, x), *b = node_info(k, y);
    LoopKind kind = k->loops.at[a->loop].kind;
    return a->op == KN_load && b->op == KN_load && a->arg == b->arg &&
           kind == k->loops.at[b->loop].kind &&
           ix_alike(k, a->ix, a->loop, b->ix, b->loop) &&
           guards_alike(k, a->a, a->loop, b->a, b->loop);
}

static void add_vector(Kir *k, TensorTile *t, Node load)
{
    const NodeInfo *in = node_info(k, load);
    const Loop *at = &k->loops.at[in->loop];
    if (in->dtype != DT_i32) return;
    if (at->kind != LOOP_rows && at->kind != LOOP_columns) return;
    if (at->kind == LOOP_columns && ix_uses(k, in->ix, at->parent)) return;
    for (uint32_t i = 0; i < t->vectors.n; i++)
        if (t->vectors.at[i].load.id == load.id) return;
    if (t->vectors.n == MOST_VECTORS) return;
    TensorVector v = {load, in->loop, at->kind == LOOP_columns, 0, 0};
    while (v.as < t->vectors.n &&
           !loads_alike(k, t->vectors.at[v.as].load, load))
        v.as++;
    vec_push(k->arena, &t->vectors, v);
}

static void find_vectors(Kir *k, TensorTile *t, Node n)
{
    const NodeInfo in = *node_info(k, n);
    if (!n.id) return;
    if (in.op == KN_load) {
        add_vector(k, t, n);
        return;
    }
    find_vectors(k, t, in.a);
    find_vectors(k, t, in.b);
    find_vectors(k, t, in.c);
    const IxInfo *x = ix_info(k, in.ix);
    for (uint32_t i = 0; i < x->n; i++)
        if (k->atoms.at[x->terms[i].atom].kind == ATOM_node)
            find_vectors(k, t, k->atoms.at[x->terms[i].atom].node);
}

static void add_condition(Kir *k, TensorTile *t, Node n)
{
    for (uint32_t i = 0; i < t->conditions.n; i++)
        if (t->conditions.at[i].id == n.id) return;
    if (t->conditions.n == MOST_CONDITIONS) return;
    vec_push(k->arena, &t->conditions, n);
    find_vectors(k, t, n);
}

static void find_conditions(Kir *k, TensorTile *t, Node n, bool *seen)
{
    if (!n.id || seen[n.id]) return;
    seen[n.id] = true;
    const NodeInfo in = *node_info(k, n);
    if (is_op(&in, SC_where)) add_condition(k, t, in.a);
    find_conditions(k, t, in.b, seen);
    find_conditions(k, t, in.c, seen);
    find_conditions(k, t, kept_node(k, t, n), seen);
    if (!is_op(&in, SC_where)) find_conditions(k, t, in.a, seen);
}

/* A value of which a condition may make a known one. */
typedef struct Folding {
    const Kir *k;
    const TensorTile *t;
    Node condition;
} Folding;

static bool folds(const Folding *f, Node n, double *out);

static bool is_nothing(const Folding *f, Node n)
{
    double x;
    return folds(f, n, &x) && x == -INFINITY;
}

static bool is_zero(const Folding *f, Node n)
{
    double x;
    return folds(f, n, &x) && x == 0;
}

static bool is_positive(const Kir *k, Node n)
{
    const NodeInfo *in = node_info(k, n);
    return in->op == KN_const && in->dtype == DT_f32 && in->f > 0;
}

static bool folds_scalar(const Folding *f, const NodeInfo *in, double *out)
{
    double x;
    switch (in->sc) {
    case SC_stop:
        return folds(f, in->a, out);
    case SC_where:
        if (in->a.id == f->condition.id) return folds(f, in->c, out);
        return folds(f, in->b, &x) && folds(f, in->c, out) && x == *out;
    case SC_exp:
        *out = 0;
        return is_nothing(f, in->a);
    case SC_mul:
        *out = 0;
        if (is_zero(f, in->a) || is_zero(f, in->b)) return true;
        *out = -INFINITY;
        return is_nothing(f, in->a) && is_positive(f->k, in->b);
    case SC_fma:
        *out = -INFINITY;
        return is_nothing(f, in->a) && is_positive(f->k, in->b);
    case SC_div:
        *out = 0;
        return is_zero(f, in->a);
    case SC_add:
    case SC_sub:
        *out = -INFINITY;
        return is_nothing(f, in->a);
    default:
        return false;
    }
}

/* The value of n where the condition is false, if that is 0 or -inf however
 * the rest turns out (as long as it is finite). */
static bool folds(const Folding *f, Node n, double *out)
{
    const NodeInfo *in = node_info(f->k, n);
    switch (in->op) {
    case KN_const:
        *out = in->f;
        return dtype_class((DType)in->dtype) == DC_float;
    case KN_cast:
        return folds(f, in->a, out);
    case KN_exp2:
        *out = 0;
        return is_nothing(f, in->a);
    case KN_piece: {
        Node behind = kept_node(f->k, f->t, n);
        return behind.id && folds(f, behind, out);
    }
    case KN_scalar:
        return folds_scalar(f, in, out);
    default:
        return false;
    }
}

static uint32_t neutral_for(const Kir *k, const TensorTile *t,
                            const TensorSweep *s)
{
    Node n = k->loops.at[s->columns].accs.at[s->acc].value;
    uint32_t bits = 0;
    for (uint32_t i = 0; i < t->conditions.n; i++) {
        double x;
        Folding f = {k, t, t->conditions.at[i]};
        if (!folds(&f, n, &x)) continue;
        bool none = s->kind == ACC_max   ? x == -INFINITY
                    : s->kind == ACC_sum ? x == 0
                                         : false;
        if (none) bits |= 1u << i;
    }
    return bits;
}

void classes_find(Kir *k, TensorTile *t)
{
    bool *seen = NEW_ARRAY(k->arena, bool, k->nodes.n + 1);
    for (uint32_t i = 0; i < t->sweeps.n; i++) {
        const TensorSweep *s = &t->sweeps.at[i];
        find_conditions(k, t, k->loops.at[s->columns].accs.at[s->acc].value,
                        seen);
    }
    for (uint32_t i = 0; i < t->sweeps.n; i++)
        t->sweeps.at[i].neutral = neutral_for(k, t, &t->sweeps.at[i]);
}

/* ------------------------------------------------------------------ ranges */

/* Integers of 64 bits; lo NULL: not known. */
typedef struct Range {
    LV lo, hi;
} Range;

static LLVMTypeRef wide(const Tile3 *t)
{
    return LLVMInt64TypeInContext(t->s->cx);
}

static LV number(const Tile3 *t, int64_t i)
{
    return LLVMConstInt(wide(t), (uint64_t)i, true);
}

static Range point(LV x)
{
    return (Range){x, x};
}

static LV least(const Tile3 *t, LV x, LV y)
{
    LV c = LLVMBuildICmp(t->s->b, LLVMIntSLT, x, y, "");
    return LLVMBuildSelect(t->s->b, c, x, y, "");
}

static LV most(const Tile3 *t, LV x, LV y)
{
    LV c = LLVMBuildICmp(t->s->b, LLVMIntSLT, x, y, "");
    return LLVMBuildSelect(t->s->b, c, y, x, "");
}

static Range scaled(const Tile3 *t, Range a, int64_t by)
{
    if (!a.lo) return a;
    LV lo = LLVMBuildMul(t->s->b, a.lo, number(t, by), "");
    LV hi = LLVMBuildMul(t->s->b, a.hi, number(t, by), "");
    return by < 0 ? (Range){hi, lo} : (Range){lo, hi};
}

static Range sum(const Tile3 *t, Range a, Range b)
{
    if (!a.lo || !b.lo) return (Range){0};
    return (Range){LLVMBuildAdd(t->s->b, a.lo, b.lo, ""),
                   LLVMBuildAdd(t->s->b, a.hi, b.hi, "")};
}

static Range range_of_ix(const Tile3 *t, Ix ix);
static Range range_of_node(const Tile3 *t, Node n);

static Range range_of_var(const Tile3 *t, LoopId loop)
{
    const Loop *l = &t->k->loops.at[loop];
    if (l->kind == LOOP_items) return point(t->item);
    if (l->kind == LOOP_blocks) return point(t->step);
    return (Range){number(t, l->lo), number(t, l->hi - 1)};
}

/* Floors; by is positive. */
static LV quotient(const Tile3 *t, LV x, int64_t by)
{
    LLVMBuilderRef b = t->s->b;
    LV q = LLVMBuildSDiv(b, x, number(t, by), "");
    LV r = LLVMBuildSRem(b, x, number(t, by), "");
    LV low = LLVMBuildICmp(b, LLVMIntSLT, r, number(t, 0), "");
    return LLVMBuildSub(b, q, LLVMBuildZExt(b, low, wide(t), ""), "");
}

static Range range_of_quotient(const Tile3 *t, Ix of, int64_t by)
{
    Range a = range_of_ix(t, of);
    if (!a.lo) return a;
    return (Range){quotient(t, a.lo, by), quotient(t, a.hi, by)};
}

/* Within one period the remainder runs with its operand. */
static Range range_of_rest(const Tile3 *t, Ix of, int64_t by)
{
    LLVMBuilderRef b = t->s->b;
    Range a = range_of_ix(t, of), q = range_of_quotient(t, of, by);
    if (!a.lo) return a;
    LV one = LLVMBuildICmp(b, LLVMIntEQ, q.lo, q.hi, "");
    LV base = LLVMBuildMul(b, q.lo, number(t, by), "");
    LV lo = LLVMBuildSub(b, a.lo, base, ""),
       hi = LLVMBuildSub(b, a.hi, base, "");
    return (Range){LLVMBuildSelect(b, one, lo, number(t, 0), ""),
                   LLVMBuildSelect(b, one, hi, number(t, by - 1), "")};
}

static Range range_of_atom(const Tile3 *t, const Atom *a)
{
    switch (a->kind) {
    case ATOM_var:
        return range_of_var(t, a->loop);
    case ATOM_div:
        return range_of_quotient(t, a->of, a->by);
    case ATOM_mod:
        return range_of_rest(t, a->of, a->by);
    case ATOM_node:
        return range_of_node(t, a->node);
    }
    return (Range){0};
}

static Range range_of_ix(const Tile3 *t, Ix ix)
{
    const IxInfo *x = ix_info(t->k, ix);
    Range r = point(number(t, x->base));
    for (uint32_t i = 0; i < x->n; i++) {
        const Atom *a = &t->k->atoms.at[x->terms[i].atom];
        r = sum(t, r, scaled(t, range_of_atom(t, a), x->terms[i].coef));
    }
    return r;
}

static Range range_of_load(const Tile3 *t, Node n)
{
    const TensorTile *tensor = t->k->tensor;
    for (uint32_t i = 0; tensor && t->lo && i < tensor->vectors.n; i++)
        if (tensor->vectors.at[i].load.id == n.id && t->lo[i])
            return (Range){t->lo[i], t->hi[i]};
    return (Range){0};
}

static bool whole_number(DType d)
{
    return d == DT_i32 || d == DT_i64;
}

static Range range_of_scalar(const Tile3 *t, const NodeInfo *in)
{
    Range a = range_of_node(t, in->a);
    if (in->sc == SC_neg) return scaled(t, a, -1);
    Range b = in->b.id ? range_of_node(t, in->b) : (Range){0};
    if (!a.lo || !b.lo) return (Range){0};
    const NodeInfo *y = node_info(t->k, in->b);
    switch (in->sc) {
    case SC_add:
        return sum(t, a, b);
    case SC_sub:
        return sum(t, a, scaled(t, b, -1));
    case SC_mul:
        return y->op == KN_const ? scaled(t, a, y->i) : (Range){0};
    case SC_min:
        return (Range){least(t, a.lo, b.lo), least(t, a.hi, b.hi)};
    case SC_max:
        return (Range){most(t, a.lo, b.lo), most(t, a.hi, b.hi)};
    default:
        return (Range){0};
    }
}

static Range range_of_node(const Tile3 *t, Node n)
{
    const NodeInfo *in = node_info(t->k, n);
    if (!whole_number((DType)in->dtype)) return (Range){0};
    switch (in->op) {
    case KN_const:
        return point(number(t, in->i));
    case KN_index:
        return range_of_ix(t, in->ix);
    case KN_load:
        return range_of_load(t, n);
    case KN_cast:
        return range_of_node(t, in->a);
    case KN_scalar:
        return range_of_scalar(t, in);
    default:
        return (Range){0};
    }
}

/* ---------------------------------------------------------------- verdicts */

static Verdict unknown(const Tile3 *t)
{
    LV no = LLVMConstInt(LLVMInt1TypeInContext(t->s->cx), 0, false);
    return (Verdict){no, no};
}

/* a < b, or a <= b. */
static Verdict less(const Tile3 *t, Range a, Range b, bool equal)
{
    LLVMBuilderRef at = t->s->b;
    LLVMIntPredicate yes = equal ? LLVMIntSLE : LLVMIntSLT;
    LLVMIntPredicate no = equal ? LLVMIntSGT : LLVMIntSGE;
    return (Verdict){LLVMBuildICmp(at, yes, a.hi, b.lo, ""),
                     LLVMBuildICmp(at, no, a.lo, b.hi, "")};
}

static Verdict equal(const Tile3 *t, Range a, Range b)
{
    LLVMBuilderRef at = t->s->b;
    LV up = LLVMBuildICmp(at, LLVMIntSGE, a.lo, b.hi, "");
    LV down = LLVMBuildICmp(at, LLVMIntSLE, a.hi, b.lo, "");
    LV over = LLVMBuildICmp(at, LLVMIntSGT, a.lo, b.hi, "");
    LV under = LLVMBuildICmp(at, LLVMIntSLT, a.hi, b.lo, "");
    return (Verdict){LLVMBuildAnd(at, up, down, ""),
                     LLVMBuildOr(at, over, under, "")};
}

static Verdict opposite(Verdict v)
{
    return (Verdict){v.no, v.yes};
}

static Verdict inside(const Tile3 *t, const NodeInfo *in)
{
    Range a = range_of_ix(t, in->ix);
    if (!a.lo) return unknown(t);
    LLVMBuilderRef at = t->s->b;
    Range zero = point(number(t, 0)), end = point(number(t, in->n));
    Verdict low = less(t, zero, a, true), high = less(t, a, end, false);
    return (Verdict){LLVMBuildAnd(at, low.yes, high.yes, ""),
                     LLVMBuildOr(at, low.no, high.no, "")};
}

static Verdict compared(const Tile3 *t, const NodeInfo *in)
{
    Range a = range_of_node(t, in->a), b = range_of_node(t, in->b);
    if (!a.lo || !b.lo) return unknown(t);
    if (in->sc == SC_lt || in->sc == SC_le)
        return less(t, a, b, in->sc == SC_le);
    Verdict v = equal(t, a, b);
    return in->sc == SC_ne ? opposite(v) : v;
}

Verdict classes_verdict(const Tile3 *t, Node n)
{
    LLVMBuilderRef at = t->s->b;
    const NodeInfo *in = node_info(t->k, n);
    LLVMTypeRef bit = LLVMInt1TypeInContext(t->s->cx);
    if (in->op == KN_const)
        return (Verdict){LLVMConstInt(bit, in->i != 0, false),
                         LLVMConstInt(bit, in->i == 0, false)};
    if (in->op == KN_inside) return inside(t, in);
    if (in->op != KN_scalar) return unknown(t);
    switch (in->sc) {
    case SC_lt:
    case SC_le:
    case SC_eq:
    case SC_ne:
        return compared(t, in);
    case SC_not:
        return opposite(classes_verdict(t, in->a));
    case SC_and:
    case SC_or:
        break;
    default:
        return unknown(t);
    }
    Verdict a = classes_verdict(t, in->a), b = classes_verdict(t, in->b);
    if (in->sc == SC_and)
        return (Verdict){LLVMBuildAnd(at, a.yes, b.yes, ""),
                         LLVMBuildOr(at, a.no, b.no, "")};
    return (Verdict){LLVMBuildOr(at, a.yes, b.yes, ""),
                     LLVMBuildAnd(at, a.no, b.no, "")};
}

void classes_of_step(const Tile3 *t, const TensorTile *tensor, LV *empty,
                     LV *full)
{
    LLVMBuilderRef at = t->s->b;
    LLVMTypeRef bit = LLVMInt1TypeInContext(t->s->cx);
    Verdict v[MOST_CONDITIONS];
    *full = *empty = LLVMConstInt(bit, 1, false);
    for (uint32_t i = 0; i < tensor->conditions.n; i++) {
        v[i] = classes_verdict(t, tensor->conditions.at[i]);
        *full = LLVMBuildAnd(at, *full, v[i].yes, "");
    }
    for (uint32_t i = 0; i < tensor->sweeps.n; i++) {
        LV none = LLVMConstInt(bit, 0, false);
        for (uint32_t j = 0; j < tensor->conditions.n; j++)
            if (tensor->sweeps.at[i].neutral >> j & 1)
                none = LLVMBuildOr(at, none, v[j].no, "");
        *empty = LLVMBuildAnd(at, *empty, none, "");
    }
}
