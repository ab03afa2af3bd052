/*
 * precision.c: the dtype of every value.
 *
 *   needs    gradless
 *   gives    precise
 *   keeps    every instruction, in its order; integers, f64, and what the
 *            source pinned
 *   result   by the option `dtype`: f32 (nothing changes), bf16 (the
 *            default), or bf16-states
 *
 * What comes in is f32 throughout.  The rules for bf16:
 *
 *   P1  An einsum outside the update that reads an activation rounds both
 *       operands to bf16 and sums in f32; so does a contraction of a parameter
 *       with data (integers among the inputs, draws, statistics), which makes
 *       an activation of it.  One that reads a pinned value, or tables, data
 *       or parameters alone, stays in f32: angles of positions do.
 *   P2  An activation (made from an einsum, a row of a parameter that data
 *       chose, or an input) is stored in bf16 when somebody reads it roughly:
 *       such an einsum, or a map or move whose own result is stored in bf16.
 *       It stays f32 when everybody reads it precisely: a reduction, the
 *       update, a result of the step.  What a linear layer gives (P1, an
 *       activation or data with a parameter, or with matrices of one that ids
 *       choose, as experts) is stored in bf16 whoever reads it; so is a sum of
 *       nothing but the latter, as if one product gave it (of the former
 *       lengthen makes one).  So the residual stream and the logits are
 *       bf16, the loss widens what it reads of these, and gradients of
 *       parameters are f32.
 *   P3  Maps compute in f32 and round their result at most once.  A map that
 *       one other map alone reads rounds nothing: the two will be one.
 *   P4  Reductions, cumulative and scattered sums add up in f32.  What a
 *       reduction gives is a statistic: it, and what is made from statistics
 *       alone, is stored in f32.
 *   P5  What stands in the exponent of a softmax, exp(x - m) with a statistic
 *       m, and its summed numerators stay f32.
 *   P6  Inside a region (a function with a kind) nothing is stored in bf16
 *       but what einsums read and linear layers give; its parameters and
 *       results are as P2 says.  So scores of attention are f32.
 *   P7  The update computes in f32 on f32 masters.
 *   P8  Where an einsum's result is but added to a value of its axes, and the
 *       sum is stored in bf16, the sum is made in f32 and rounded, not the
 *       product: one matmul gives it.  Of several products that are added to
 *       each other, each partial sum is rounded as the products were.
 *   P9  A state of a session (a slot that is not saved: a cache) holds
 *       activations, and is stored in bf16.
 *   P10 A parameter of which ids choose more numbers than it has is rounded
 *       before they do, as those rows would be.
 *   P11 A parameter that is frozen is stored in bf16: no update asks for more.
 *
 * bf16-states: parameters and states with axes are stored in bf16, and what
 * the update reads of the backward is read roughly; it computes in f32 and
 * rounds what it stores.  Slots change their types.
 *
 * Every rounding is a cast in a map, or an einsum's, a reduction's one
 * rounding to its result's dtype.
 */
#include "precision.h"
#include "../added.h"

typedef struct Writer {
    Precision *p;
    const Facts *f;
    Uses uses; /* of the old function */
    Builder b;
    Value *map;       /* old value -> new value */
    uint32_t rounded; /* contractions */
} Writer;

/* --------------------------------------------------------------- dtypes -- */

static bool is_narrow_param(const Precision *p, const Facts *f, uint32_t i)
{
    if (f->fn->entry) return is_narrow_port(p, f->fn, &f->fn->params[i]);
    if (f->kind[i] != KIND_param) return false;
    if (!p->states) return f->called && f->narrow[i];
    return !f->update && i >= f->carry &&
           type_info(p->m, f->fn->params[i].type)->naxes > 0;
}

/* How a parameter is handed in. */
static DType param_dtype(const Precision *p, const Facts *f, uint32_t i)
{
    Type t = f->fn->params[i].type;
    if (!is_f32(p->m, t)) return type_dtype(p->m, t);
    bool rough = !f->fn->entry && f->rough[i];
    return rough || is_narrow_param(p, f, i) ? DT_bf16 : DT_f32;
}

static DType result_dtype(const Precision *p, const Facts *f, uint32_t i)
{
    const Port *port = &f->fn->results[i];
    if (!is_f32(p->m, port->type)) return type_dtype(p->m, port->type);
    if (f->fn->entry) return is_narrow_port(p, f->fn, port) ? DT_bf16 : DT_f32;
    return f->rough_result[i] ? DT_bf16 : DT_f32;
}

/* How a value is stored. */
static DType value_dtype(const Writer *w, Value v)
{
    bool region = w->f->fn->kind.id != 0;
    if (!w->f->rough[w->f->first[v.id]]) return DT_f32;
    bool linear = is_linear(w->p, w->f, inst_of(w->f->fn, v));
    return linear || !region ? DT_bf16 : DT_f32;
}

/* -------------------------------------------------------------- writing -- */

static DType new_dtype(const Writer *w, Value made)
{
    return type_dtype(w->p->m, value_type(w->b.fn, made));
}

static Value in_dtype(Writer *w, Value made, DType d)
{
    return new_dtype(w, made) == d ? made : emit_cast(&w->b, made, d);
}

static Value new_arg(const Writer *w, const Inst *in, uint32_t i)
{
    return w->map[inst_arg(w->f->fn, in, i).id];
}

static bool was_f32(const Writer *w, const Inst *in, uint32_t i)
{
    return is_f32(w->p->m, value_type(w->f->fn, inst_arg(w->f->fn, in, i)));
}

static Value *new_args(Writer *w, const Inst *in)
{
    Value *args = NEW_ARRAY(w->p->m->scratch, Value, in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = new_arg(w, in, i);
    return args;
}

static Value emit_as(Writer *w, const Inst *in, const Value *args, DType d)
{
    Type t = type_with_dtype(w->p->m, in->type, d);
    return emit(&w->b, (Op)in->op, t, in->attr, args, in->nargs);
}

/* P3: operands are widened in the body, the result is rounded in it. */
static Value write_map(Writer *w, Value v, const Inst *in)
{
    Module *m = w->p->m;
    Expr *with = NEW_ARRAY(m->scratch, Expr, in->nargs + 1);
    Value *args = new_args(w, in);
    for (uint32_t i = 0; i < in->nargs; i++)
        if (was_f32(w, in, i) && new_dtype(w, args[i]) != DT_f32)
            with[i] =
                expr_cast(m, DT_f32, expr_arg(m, i, new_dtype(w, args[i])));
    ExprSubst s = {.with = with, .n = in->nargs};
    Expr body = expr_subst(m, attr_expr(m, in->attr), &s);
    Type t = in->type;
    if (is_f32(m, t) && value_dtype(w, v) != DT_f32) {
        body = expr_cast(m, DT_bf16, body);
        t = type_with_dtype(m, t, DT_bf16);
    }
    return emit(&w->b, OP_map, t, attr_with_id(m, in->attr, AT_body, body.id),
                args, in->nargs);
}

/* P8: the value is the product in a sum that is stored in bf16, as is what it
 * is added to.  Rows that choose are multiplied in another order than they are
 * added in. */
static bool is_added(const Writer *w, Value v)
{
    const Uses *u = &w->uses;
    const Inst *product = inst_of(w->f->fn, v);
    if (is_chosen(w->p, w->f, product, 0) || is_chosen(w->p, w->f, product, 1))
        return false;
    if (u->nresult[v.id] || u->first[v.id + 1] - u->first[v.id] != 1)
        return false;
    Value sum = u->at[u->first[v.id]];
    const Inst *in = inst_of(w->f->fn, sum);
    uint32_t einsum;
    if (!map_adds_einsum(w->p->m, w->f->fn, in, u, &einsum) ||
        !value_eq(inst_arg(w->f->fn, in, einsum), v))
        return false;
    return value_dtype(w, sum) == DT_bf16 &&
           value_dtype(w, inst_arg(w->f->fn, in, 1 - einsum)) == DT_bf16;
}

static Value write_einsum(Writer *w, Value v, const Inst *in)
{
    const char *why = why_not_rounded(w->p, w->f, in);
    bool rounded = !why;
    w->rounded += rounded;
    if (why && !is_update(w->f, in))
        pass_missed(w->p->m, w->p->cx, in->loc,
                    "a contraction in @%s stays in f32: %s",
                    str_of(w->p->m, w->f->fn->name), why);
    Value *args = new_args(w, in);
    for (uint32_t i = 0; i < 2 && is_f32(w->p->m, in->type); i++)
        args[i] = in_dtype(w, args[i], rounded ? DT_bf16 : DT_f32);
    DType d = is_f32(w->p->m, in->type) ? value_dtype(w, v)
                                        : type_dtype(w->p->m, in->type);
    if (rounded && is_added(w, v)) d = DT_f32;
    return emit_as(w, in, args, d);
}

/* Sums are made in f32, whatever their terms are stored in. */
static Value write_sum(Writer *w, Value v, const Inst *in)
{
    Value *args = new_args(w, in);
    if (in->op == OP_fold && was_f32(w, in, 0))
        args[0] = in_dtype(w, args[0], DT_f32);
    Value made = emit_as(w, in, args, type_dtype(w->p->m, in->type));
    return is_f32(w->p->m, in->type) ? in_dtype(w, made, value_dtype(w, v))
                                     : made;
}

/* Rows that ids choose of a parameter, more numbers than it has: as of weights
 * that each row chooses. */
static bool repeats_rows(const Writer *w, const Inst *in)
{
    if (in->op != OP_gather) return false;
    Value from = inst_arg(w->f->fn, in, 0);
    return w->f->kind[w->f->first[from.id]] == KIND_param &&
           type_elements(w->p->m, value_type(w->f->fn, from)) <
               type_elements(w->p->m, in->type);
}

/* A parameter, perhaps moved, that is rounded where it comes from. */
static Value rounded_early(Writer *w, Value old, DType d)
{
    const Inst *in = inst_of(w->f->fn, old);
    if (!op_has((Op)in->op, OPF_SAME)) return in_dtype(w, w->map[old.id], d);
    Value from = rounded_early(w, inst_arg(w->f->fn, in, 0), d);
    return emit_as(w, in, &from, d);
}

/* One operand is moved: in the dtype that it has, so that of a parameter only
 * what is read is rounded; P10. */
static Value write_move(Writer *w, Value v, const Inst *in)
{
    Value *args = new_args(w, in);
    if (!is_f32(w->p->m, in->type))
        return emit_as(w, in, args, type_dtype(w->p->m, in->type));
    if (repeats_rows(w, in))
        args[0] =
            rounded_early(w, inst_arg(w->f->fn, in, 0), value_dtype(w, v));
    Value made = emit_as(w, in, args, new_dtype(w, args[0]));
    bool active = w->f->kind[w->f->first[v.id]] == KIND_active;
    return active ? in_dtype(w, made, value_dtype(w, v)) : made;
}

/* What joins operands that are no activations: theirs where they agree, so that
 * of parameters only what is read is rounded, or widened. */
static DType joined_dtype(const Writer *w, Value v, const Inst *in,
                          const Value *args)
{
    bool active = w->f->kind[w->f->first[v.id]] == KIND_active;
    for (uint32_t i = 1; i < in->nargs; i++)
        active = active || new_dtype(w, args[i]) != new_dtype(w, args[0]);
    return active ? value_dtype(w, v) : new_dtype(w, args[0]);
}

/* Several operands of one dtype. */
static Value write_join(Writer *w, Value v, const Inst *in)
{
    Value *args = new_args(w, in);
    if (!is_f32(w->p->m, in->type))
        return emit_as(w, in, args, type_dtype(w->p->m, in->type));
    DType d = joined_dtype(w, v, in, args);
    for (uint32_t i = 0; i < in->nargs; i++)
        if (was_f32(w, in, i)) args[i] = in_dtype(w, args[i], d);
    return emit_as(w, in, args, d);
}

static Type call_type(const Precision *p, const Facts *callee, Type old)
{
    const TypeInfo *t = type_info(p->m, old);
    if (!t->is_tuple)
        return type_with_dtype(p->m, old, result_dtype(p, callee, 0));
    Type *fields = NEW_ARRAY(p->m->scratch, Type, t->nfields + 1);
    for (uint32_t i = 0; i < t->nfields; i++)
        fields[i] =
            type_with_dtype(p->m, t->fields[i], result_dtype(p, callee, i));
    return type_tuple(p->m, fields, t->nfields);
}

static Value write_call(Writer *w, const Inst *in)
{
    Precision *p = w->p;
    const Facts *callee = &p->facts[attr_fn(p->m, in->attr, AT_fn).id];
    Value *args = new_args(w, in);
    for (uint32_t i = 0; i < in->nargs; i++)
        if (was_f32(w, in, i))
            args[i] = in_dtype(w, args[i], param_dtype(p, callee, i));
    return emit(&w->b, (Op)in->op, call_type(p, callee, in->type), in->attr,
                args, in->nargs);
}

static Value write_proj(Writer *w, const Inst *in)
{
    int64_t field = attr_int(w->p->m, in->attr, AT_index, 0);
    return emit_proj(&w->b, new_arg(w, in, 0), (uint32_t)field);
}

static Value write_inst(Writer *w, Value v)
{
    const Inst *in = inst_of(w->f->fn, v);
    w->b.loc = in->loc;
    w->b.phase = (Phase)in->phase;
    switch ((Op)in->op) {
    case OP_map:
        return write_map(w, v, in);
    case OP_einsum:
        return write_einsum(w, v, in);
    case OP_reduce:
    case OP_scatter:
    case OP_cumsum:
    case OP_fold:
        return write_sum(w, v, in);
    case OP_concat:
    case OP_stack:
    case OP_put:
        return write_join(w, v, in);
    case OP_call:
    case OP_repeat:
        return write_call(w, in);
    case OP_proj:
        return write_proj(w, in);
    default:
        return in->nargs ? write_move(w, v, in)
                         : emit_as(w, in, NULL, type_dtype(w->p->m, in->type));
    }
}

static void write_params(Writer *w)
{
    const Fn *fn = w->f->fn;
    for (uint32_t i = 0; i < fn->nparams; i++) {
        Port port = fn->params[i];
        port.type =
            type_with_dtype(w->p->m, port.type, param_dtype(w->p, w->f, i));
        w->map[i] = builder_param(&w->b, port);
    }
}

static Fn *write_fn(Precision *p, const Facts *f)
{
    const Fn *old = f->fn;
    Fn *fn = fn_new(p->m, old->name, old->view);
    fn->entry = old->entry;
    fn->kind = old->kind;
    fn->loc = old->loc;
    Writer w = {.p = p, .f = f, .uses = fn_uses(old, p->m->scratch)};
    w.map = NEW_ARRAY(p->m->scratch, Value, old->ninsts + 1);
    builder_init(&w.b, p->m, fn);
    write_params(&w);
    for (uint32_t i = old->nparams; i < old->ninsts; i++) {
        w.map[i] = write_inst(&w, (Value){i});
        value_set_name(&w.b, w.map[i], old->names[i]);
    }
    if (w.rounded > 0)
        pass_remark(p->m, p->cx, old->loc,
                    "%u contraction%s of @%s read%s bf16 and sum%s in f32",
                    w.rounded, w.rounded > 1 ? "s" : "",
                    str_of(p->m, old->name), w.rounded > 1 ? "" : "s",
                    w.rounded > 1 ? "" : "s");
    for (uint32_t i = 0; i < old->nresults; i++) {
        Value made = w.map[old->result_values[i].id];
        w.b.loc = old->results[i].loc;
        if (is_f32(p->m, old->results[i].type))
            made = in_dtype(&w, made, result_dtype(p, f, i));
        builder_result(&w.b, made, old->results[i]);
    }
    return fn;
}

/* ---------------------------------------------------------------- pass -- */

static void narrow_slots(const Precision *p)
{
    for (uint32_t i = 0; i < p->m->slots.n; i++) {
        Slot *s = &p->m->slots.at[i];
        if (is_narrow_slot(p, s))
            s->type = type_with_dtype(p->m, s->type, DT_bf16);
    }
}

bool pass_precision(Module *m, PassCtx *cx)
{
    const char *dtype = pass_option(m, cx, "dtype", "bf16");
    bool states = strcmp(dtype, "bf16-states") == 0;
    if (strcmp(dtype, "f32") == 0) return true;
    if (!states && strcmp(dtype, "bf16") != 0) {
        diag_error(m->diag, DIAG_pass_option, (Span){0},
                   "option 'dtype' is f32, bf16 or bf16-states, found '%s'",
                   dtype);
        return false;
    }
    Precision p = {.m = m, .cx = cx, .states = states};
    facts_find(&p);
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]) m->fns.at[i] = write_fn(&p, &p.facts[i]);
    narrow_slots(&p);
    return true;
}
