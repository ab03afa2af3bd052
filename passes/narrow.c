/*
 * narrow.c: what is widened is moved and kept narrow.
 *
 *   needs    precise
 *   keeps    the value of every result
 *   result   no move, no repeat and no choice between numbers has as operand
 *            numbers that a map has widened, unless the wide ones are read
 *            behind it by what cannot widen them itself
 *
 *     %w = map %x { f32(_0) }                 bf16 to f32
 *     %m = merge %w                           f32
 *     %g = gather %m, %ids                    f32
 *     %y = map %v, %g { _0 * _1 }
 *     ret %y, %g                              a record, f32
 *
 * becomes
 *
 *     %m = merge %x                           bf16
 *     %g = gather %m, %ids                    bf16
 *     %y = map %v, %g { _0 * f32(_1) }
 *     ret %y, %g                              bf16; who reads the record widens
 *
 * A dtype that holds every number of another gives back each as it was, so no
 * bit changes.  Fewer are moved: within a device, to another (shard stands
 * behind, and weighs what it exchanges by its bytes), and from the forward to
 * the backward, where a record is kept for each turn.  Widening costs nothing
 * where a loop reads the numbers, for it is done in registers.  It costs a pass
 * over them where a contraction reads them, or a region, so in front of those
 * casts stay where they are; but a record is narrow whoever reads it.
 *
 * Sums add up in the dtype that they did: they read the narrow numbers where
 * that is how such are added, and else these are widened in front of them.
 */
#include "narrow/narrow.h"
#include "repeat.h"

typedef struct Writer {
    Narrow *x;
    Rewrite rw;
    uint32_t f;
    bool *wanted;  /* by old value: its narrow numbers are read */
    Value *small;  /* by old value: these */
    uint32_t kept; /* of them */
} Writer;

/* -------------------------------------------------------------- wanted -- */

/* A sum that adds up in the dtype of its result whatever its terms are in. */
static bool sums_wide(const Writer *w, const Inst *in, uint32_t term, DType d)
{
    Module *m = w->x->m;
    DType was =
        type_dtype(m, value_type(w->rw.old, inst_arg(w->rw.old, in, term)));
    return dtype_acc(d) == type_dtype(m, in->type) &&
           dtype_acc(d) == attr_dtype(m, in->attr, AT_acc, dtype_acc(was));
}

/* A scatter is a kernel of its own, so what widens its terms would be another;
 * other sums are loops, with what widens theirs. */
static bool reads_narrow(const Writer *w, const Inst *in, Value v)
{
    const Narrow *x = w->x;
    const Fn *fn = w->rw.old;
    uint32_t made = (uint32_t)(in - fn->insts);
    if (in->op == OP_map) return w->wanted[made];
    if (in->op == OP_scatter)
        return value_eq(inst_arg(fn, in, 1), v) &&
               sums_wide(w, in, 1, (DType)x->to[w->f][v.id]);
    if (in->op != OP_repeat) return x->to[w->f][made] != WIDE;
    const uint8_t *body = x->to[attr_fn(x->m, in->attr, AT_fn).id];
    for (uint32_t k = 0; k < in->nargs; k++)
        if (value_eq(inst_arg(fn, in, k), v) && body[k] != WIDE) return true;
    return false;
}

/* A map alone has a choice; what another phase reads is widened there. */
static bool is_wanted(const Writer *w, const Uses *u, uint32_t i)
{
    const Fn *fn = w->rw.old;
    const Inst *in = &fn->insts[i];
    if (w->x->to[w->f][i] == WIDE) return false;
    if (in->op != OP_map) return true;
    for (uint32_t k = u->first[i]; k < u->first[i + 1]; k++) {
        const Inst *by = inst_of(fn, u->at[k]);
        if (by->phase != in->phase || reads_narrow(w, by, (Value){i}))
            return true;
    }
    for (uint32_t j = 0; u->nresult[i] && j < fn->nresults; j++)
        if (fn->result_values[j].id == i &&
            narrow_result(w->x, w->f, j) != WIDE)
            return true;
    return false;
}

static bool find_wanted(Writer *w)
{
    const Fn *fn = w->rw.old;
    Uses u = fn_uses(fn, w->x->m->scratch);
    bool any = false;
    w->wanted = NEW_ARRAY(w->x->m->scratch, bool, fn->ninsts + 1);
    for (uint32_t i = fn->ninsts; i-- > 0;)
        any |= w->wanted[i] = is_wanted(w, &u, i);
    return any;
}

/* ------------------------------------------------------------- writing -- */

/* V as it was: widened here, if it has become narrow. */
static Value wide(Writer *w, Value old)
{
    Value small = w->small[old.id];
    if (value_eq(small, NO_VALUE)) return rewrite_value(&w->rw, old);
    DType d = type_dtype(w->x->m, value_type(w->rw.old, old));
    return emit_cast(&w->rw.b, small, d);
}

static void set_small(Writer *w, Value old, Value made)
{
    w->small[old.id] = made;
    if (made.id >= w->rw.b.fn->nparams)
        value_set_name(&w->rw.b, made, w->rw.old->names[old.id]);
}

static Type narrow_type(const Writer *w, Value old)
{
    return type_with_dtype(w->x->m, value_type(w->rw.old, old),
                           (DType)w->x->to[w->f][old.id]);
}

static void write_map(Writer *w, Value old, const Inst *in)
{
    Module *m = w->x->m;
    Value *args = NEW_ARRAY(m->scratch, Value, in->nargs + 1);
    Expr *with = NEW_ARRAY(m->scratch, Expr, in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value x = inst_arg(w->rw.old, in, i);
        DType was = type_dtype(m, value_type(w->rw.old, x));
        bool small = !value_eq(w->small[x.id], NO_VALUE);
        args[i] = small ? w->small[x.id] : rewrite_value(&w->rw, x);
        DType is = type_dtype(m, value_type(w->rw.b.fn, args[i]));
        with[i] = expr_cast(m, was, expr_arg(m, i, is));
    }
    ExprSubst s = {.with = with, .n = in->nargs};
    Type t = narrow_type(w, old);
    Expr body = narrow_body(w->x, w->f, in, type_dtype(m, t), &s);
    set_small(w, old,
              emit(&w->rw.b, OP_map, t,
                   attr_with_id(m, in->attr, AT_body, body.id), args,
                   in->nargs));
}

static void write_move(Writer *w, Value old, const Inst *in)
{
    Value *args = NEW_ARRAY(w->x->m->scratch, Value, in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value x = inst_arg(w->rw.old, in, i);
        args[i] = narrow_moves(in, i) ? w->small[x.id] : wide(w, x);
    }
    set_small(w, old,
              emit(&w->rw.b, (Op)in->op, narrow_type(w, old), in->attr, args,
                   in->nargs));
}

static void write_repeat(Writer *w, Value old, const Inst *in)
{
    Module *m = w->x->m;
    const TypeInfo *was = type_info(m, in->type);
    uint32_t body = attr_fn(m, in->attr, AT_fn).id;
    Value *args = NEW_ARRAY(m->scratch, Value, in->nargs + 1);
    Type *fields = NEW_ARRAY(m->scratch, Type, was->nfields + 1);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value x = inst_arg(w->rw.old, in, i);
        bool small = w->x->to[body][i] != WIDE;
        args[i] = small ? w->small[x.id] : wide(w, x);
    }
    for (uint32_t j = 0; j < was->nfields; j++) {
        DType d = narrow_result(w->x, body, j);
        fields[j] =
            d == WIDE ? was->fields[j] : type_with_dtype(m, was->fields[j], d);
    }
    Value v = emit(&w->rw.b, OP_repeat, type_tuple(m, fields, was->nfields),
                   in->attr, args, in->nargs);
    value_set_name(&w->rw.b, v, w->rw.old->names[old.id]);
    rewrite_set(&w->rw, old, v);
}

/* The term of a sum that may be of the narrow numbers; nargs: none. */
static uint32_t term_of(const Writer *w, const Inst *in)
{
    bool sum =
        in->op == OP_reduce || in->op == OP_cumsum || in->op == OP_scatter;
    uint32_t term = in->op == OP_scatter;
    if (!sum) return in->nargs;
    Value small = w->small[inst_arg(w->rw.old, in, term).id];
    if (value_eq(small, NO_VALUE)) return in->nargs;
    DType d = type_dtype(w->x->m, value_type(w->rw.b.fn, small));
    return sums_wide(w, in, term, d) ? term : in->nargs;
}

static void write_same(Writer *w, Value old, const Inst *in)
{
    Value *args = NEW_ARRAY(w->x->m->scratch, Value, in->nargs + 1);
    uint32_t term = term_of(w, in);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value x = inst_arg(w->rw.old, in, i);
        args[i] = i == term ? w->small[x.id] : wide(w, x);
    }
    Value v = emit(&w->rw.b, (Op)in->op, in->type, in->attr, args, in->nargs);
    value_set_name(&w->rw.b, v, w->rw.old->names[old.id]);
    rewrite_set(&w->rw, old, v);
}

static void write_inst(Writer *w, Value v)
{
    const Inst *in = inst_of(w->rw.old, v);
    w->rw.b.loc = in->loc;
    w->rw.b.phase = (Phase)in->phase;
    if (in->op == OP_repeat)
        write_repeat(w, v, in);
    else if (!w->wanted[v.id])
        write_same(w, v, in);
    else if (in->op == OP_map)
        write_map(w, v, in);
    else
        write_move(w, v, in);
}

static void write_results(Writer *w)
{
    const Fn *fn = w->rw.old;
    for (uint32_t j = 0; j < fn->nresults; j++) {
        Value old = fn->result_values[j];
        bool small = narrow_result(w->x, w->f, j) != WIDE;
        w->rw.b.loc = fn->results[j].loc;
        w->rw.b.phase = (Phase)inst_of(fn, old)->phase;
        builder_result(&w->rw.b, small ? w->small[old.id] : wide(w, old),
                       fn->results[j]);
        w->kept += small;
    }
}

/* Parameters that repeats hand narrow. */
static void write_params(Writer *w)
{
    Fn *fn = w->rw.b.fn;
    for (uint32_t i = 0; i < fn->nparams; i++) {
        if (!w->wanted[i]) continue;
        fn->insts[i].type = fn->params[i].type = narrow_type(w, (Value){i});
        w->small[i] = (Value){i};
    }
}

/* Whether it has a repeat whose body takes or gives another dtype. */
static bool has_changed_repeat(const Narrow *x, const Fn *fn)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (fn->insts[i].op != OP_repeat) continue;
        uint32_t f = attr_fn(x->m, fn->insts[i].attr, AT_fn).id;
        const Fn *body = x->m->fns.at[f];
        for (uint32_t k = 0; k < body->nparams; k++)
            if (x->to[f][k] != WIDE) return true;
        for (uint32_t j = 0; j < body->nresults; j++)
            if (narrow_result(x, f, j) != WIDE) return true;
    }
    return false;
}

static Fn *write_fn(Narrow *x, PassCtx *cx, uint32_t f, const Fn *fn)
{
    Writer w = {.x = x, .f = f, .rw.old = fn};
    if (!find_wanted(&w) && !has_changed_repeat(x, fn)) return NULL;
    w.small = no_values(x->m->scratch, fn->ninsts);
    rewrite_begin(&w.rw, x->m, fn);
    write_params(&w);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        write_inst(&w, (Value){i});
    write_results(&w);
    if (w.kept)
        pass_remark(x->m, cx, fn->loc,
                    "%u result%s of @%s %s kept narrow, and widened by who "
                    "reads %s",
                    w.kept, w.kept > 1 ? "s" : "", str_of(x->m, fn->name),
                    w.kept > 1 ? "are" : "is", w.kept > 1 ? "them" : "it");
    return fn_without_unneeded(x->m, w.rw.b.fn);
}

bool pass_narrow(Module *m, PassCtx *cx)
{
    Narrow x = {.m = m};
    narrow_find(&x);
    Fn **made = NEW_ARRAY(m->scratch, Fn *, m->fns.n + 1);
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        if (fn->view == VIEW_global && !fn->kind.id)
            made[f] = write_fn(&x, cx, f, fn);
    }
    for (uint32_t f = 0; f < m->fns.n; f++)
        if (made[f]) m->fns.at[f] = made[f];
    return true;
}
