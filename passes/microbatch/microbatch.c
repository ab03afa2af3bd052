/*
 * microbatch.c: runs the batch of a step in parts, one after the other.
 *
 *   needs    gradless
 *   gives    micro
 *   keeps    entries other than `train`; the order of what it keeps
 *   result   by the option `accumulate` (1: nothing changes), along the axis
 *            that the option `batch_axis` names (default: batch)
 *
 * Every value of the step is one of these (classify.c):
 *
 *     same   does not depend on the rows of the batch
 *     row    has them, and row i of it depends on row i alone
 *     part   a sum, maximum, minimum or product over them
 *     late   a function of such sums
 *
 * Rows and parts, and what lies between, become the body of a `repeat` over
 * a new axis, one turn for each part of the batch; parts are carried from turn
 * to turn in order, rows that the step gives back are stacked and merged.
 * What the turns read comes before, what reads parts after them.
 *
 * What reads inputs and scalars alone (the number of valid tokens) is made
 * before from the whole batch, so any function of it may be used by the rows.
 * A repeat whose turns make something late of their sums, such as the next
 * state of a layer, is made two first (fission.c).
 *
 * An op that reads rows together with what is made from sums over rows of
 * anything else cannot be split: it is named, and the step refused.
 *
 * Sums over rows are reassociated: turn by turn, in order.
 */
#include "microbatch.h"

#include <inttypes.h>
#include <math.h>

/* What is read by the turns and made before: whole, or cut along an axis. */
typedef struct Given {
    Value old;
    bool cut;
    Axis axis;
    Value param; /* of the body */
} Given;

typedef struct Step {
    Micro *mi;
    const Classes *c;
    bool *looped; /* belongs to the turns */
    bool *turned; /* belongs there and is needed */
    bool *whole;  /* is needed as it was */
    bool *before; /* and the turns read it */
    bool *out;    /* made in the turns, read after them */
    VEC(Given) givens;
    Rewrite rw; /* the new step */
    FnRef body;
} Step;

static Class class_of(const Step *s, Value v)
{
    return s->c->at[s->c->first[v.id]];
}

/* ----------------------------------------------------------------- needs -- */

static bool is_looped(const Step *s, Value v)
{
    const Inst *in = inst_of(s->c->fn, v);
    bool read = false;
    for (uint32_t i = 0; i < in->nargs; i++)
        read = read || s->looped[inst_arg(s->c->fn, in, i).id];
    bool rows = false;
    for (uint32_t k = s->c->first[v.id]; k < s->c->first[v.id + 1]; k++) {
        if (s->c->at[k].kind == CLASS_late) return false;
        rows = rows || s->c->at[k].kind != CLASS_same;
    }
    return in->op != OP_arg && (rows || (read && !s->c->early[v.id]));
}

static void need_in_turn(Step *s, const Inst *in)
{
    for (uint32_t i = 0; i < in->nargs; i++) {
        uint32_t o = inst_arg(s->c->fn, in, i).id;
        if (s->looped[o])
            s->turned[o] = true;
        else
            s->whole[o] = s->before[o] = true;
    }
}

/* What is made whole from inputs reads them whole; else what the turns made
 * is read from them. */
static void need_whole(Step *s, uint32_t v, const Inst *in)
{
    for (uint32_t i = 0; i < in->nargs; i++) {
        uint32_t o = inst_arg(s->c->fn, in, i).id;
        if (s->looped[o] && !s->c->early[v]) {
            s->turned[o] = s->out[o] = true;
            continue;
        }
        s->whole[o] = true;
        s->before[o] = s->before[o] || s->before[v];
    }
}

static void find_needs(Step *s)
{
    const Fn *fn = s->c->fn;
    for (uint32_t i = 0; i < fn->ninsts; i++)
        s->looped[i] = is_looped(s, (Value){i});
    for (uint32_t i = 0; i < fn->nresults; i++) {
        uint32_t v = fn->result_values[i].id;
        if (s->looped[v])
            s->turned[v] = s->out[v] = true;
        else
            s->whole[v] = true;
    }
    for (uint32_t i = fn->ninsts; i-- > 0;) {
        if (s->turned[i]) need_in_turn(s, &fn->insts[i]);
        if (s->whole[i]) need_whole(s, i, &fn->insts[i]);
    }
}

static bool check_faults(const Step *s)
{
    Module *m = s->mi->m;
    for (uint32_t i = 0; i < s->c->fn->ninsts; i++) {
        const Fault *f = class_of(s, (Value){i}).fault;
        if (!s->whole[i] || !f) continue;
        Report *r = diag_error(
            m->diag, DIAG_microbatch_mixed, loc_span(m, f->loc),
            "'%s' cannot run in %" PRId64 " parts along '%s': this %s",
            str_of(m, s->c->fn->name), s->mi->parts, axis_name(m, s->mi->batch),
            f->why);
        if (f->sum.id)
            report_note(r, loc_span(m, f->sum), "the sum is made here");
        report_help(r, "with accumulate = 1 it runs whole; what is made from "
                       "inputs alone may mix rows");
        return false;
    }
    return true;
}

/* ------------------------------------------------------------------ body -- */

static Axis operand_axis(const Step *s, const Inst *in, Value v, uint32_t i)
{
    Axis row = s->mi->batch;
    if (inst_calls(in)) {
        Class k = operand_class(s->mi, s->c, in, i);
        return k.kind == CLASS_row ? k.axis : row;
    }
    inst_row_axis(s->mi, s->c, v, &row);
    return row;
}

static Given *given_find(Step *s, Value old, Axis axis)
{
    for (uint32_t i = 0; i < s->givens.n; i++) {
        Given *x = &s->givens.at[i];
        if (value_eq(x->old, old) && (!x->cut || x->axis.id == axis.id))
            return x;
    }
    return NULL;
}

static void add_givens(Step *s, Value v)
{
    const Fn *fn = s->c->fn;
    const Inst *in = inst_of(fn, v);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value o = inst_arg(fn, in, i);
        Axis axis = operand_axis(s, in, v, i);
        if (s->looped[o.id] || given_find(s, o, axis)) continue;
        Given x = {.old = o, .axis = axis};
        x.cut = type_axis(s->mi->m, value_type(fn, o), axis) != NULL;
        vec_push(s->mi->m->scratch, &s->givens, x);
    }
}

static Value step_operand(Body *body, const Inst *in, uint32_t i)
{
    Step *s = body->user;
    Value o = inst_arg(s->c->fn, in, i);
    if (s->looped[o.id]) return body->map[o.id];
    Value v = {(uint32_t)(in - s->c->fn->insts)};
    return given_find(s, o, operand_axis(s, in, v, i))->param;
}

static bool is_carried(const Step *s, uint32_t v)
{
    return s->out[v] && class_of(s, (Value){v}).kind != CLASS_row;
}

static Port port_of(const Step *s, Value v, Type t)
{
    return (Port){.name = s->c->fn->names[v.id],
                  .type = t,
                  .loc = inst_of(s->c->fn, v)->loc};
}

/* Carried, invariant, stacked, turn. */
static Value *body_params(Step *s, Body *body)
{
    Module *m = s->mi->m;
    const Fn *fn = s->c->fn;
    Value *sums = NEW_ARRAY(m->scratch, Value, fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (!is_carried(s, i)) continue;
        Port port = port_of(s, (Value){i}, fn->insts[i].type);
        sums[i] = builder_param(&body->b, port);
    }
    for (int cut = 0; cut < 2; cut++)
        for (uint32_t i = 0; i < s->givens.n; i++) {
            Given *x = &s->givens.at[i];
            if (x->cut != (cut == 1)) continue;
            Class k = {.kind = cut ? CLASS_row : CLASS_same, .axis = x->axis};
            Type t = turn_type(s->mi, value_type(fn, x->old), k);
            x->param = builder_param(&body->b, port_of(s, x->old, t));
        }
    Port turn = {.name = module_str(m, "turn"),
                 .type = type_scalar(m, DT_i32),
                 .loc = fn->loc};
    body->turn = builder_param(&body->b, turn);
    return sums;
}

static ScalarOp joint_op(const Module *m, Joint j, Type t)
{
    bool logic = type_dtype(m, t) == DT_bool;
    switch (j) {
    case JOINT_sum:
        return SC_add;
    case JOINT_max:
        return logic ? SC_or : SC_max;
    case JOINT_min:
        return logic ? SC_and : SC_min;
    case JOINT_prod:
        return SC_mul;
    }
    return SC_add;
}

/* Sums are added to those of the turns before; what does not depend on the
 * rows is the same in each turn, the last stands for all. */
static Value carry_on(Step *s, Body *body, uint32_t v, Value sum)
{
    Class k = class_of(s, (Value){v});
    const Inst *in = &s->c->fn->insts[v];
    body->b.loc = in->loc;
    body->b.phase = (Phase)in->phase;
    if (k.kind == CLASS_same) return body->map[v];
    ScalarOp op = joint_op(s->mi->m, k.joint, in->type);
    return emit_binary(&body->b, op, sum, body->map[v]);
}

static void write_body(Step *s)
{
    Module *m = s->mi->m;
    const Fn *fn = s->c->fn;
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (s->turned[i]) add_givens(s, (Value){i});
    const char *stem =
        arena_printf(m->scratch, "%s.micro", str_of(m, fn->name));
    Fn *made = fn_new(m, fn_fresh_name(m, stem), fn->view);
    made->loc = fn->loc;
    s->body = module_add_fn(m, made);
    Body body = {.mi = s->mi, .c = s->c, .operand = step_operand, .user = s};
    body.map = NEW_ARRAY(m->scratch, Value, fn->ninsts + 1);
    builder_init(&body.b, m, made);
    Value *sums = body_params(s, &body);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        if (s->turned[i]) body.map[i] = body_write(&body, (Value){i});
    for (int rows = 0; rows < 2; rows++)
        for (uint32_t i = 0; i < fn->ninsts; i++) {
            if (!s->out[i] || is_carried(s, i) == (rows == 1)) continue;
            Value v = rows ? body.map[i] : carry_on(s, &body, i, sums[i]);
            Port port = {.loc = fn->insts[i].loc};
            builder_result(&body.b, v, port);
        }
}

/* ------------------------------------------------------------------ step -- */

/* The least integer of a dtype (bool: false), or the largest. */
static Expr int_bound(Module *m, DType d, bool largest)
{
    unsigned bits = 8 * dtype_bytes(d);
    if (d == DT_bool) return expr_int(m, d, largest);
    if (dtype_class(d) == DC_uint)
        return expr_int(m, d,
                        largest ? (int64_t)(UINT64_MAX >> (64 - bits)) : 0);
    int64_t most = (int64_t)(UINT64_MAX >> (65 - bits));
    return expr_int(m, d, largest ? most : -most - 1);
}

/* What a sum, product, maximum or minimum over no rows is. */
static Expr neutral(Module *m, Joint j, DType d)
{
    bool real = dtype_class(d) == DC_float;
    switch (j) {
    case JOINT_max:
        return real ? expr_float(m, d, -INFINITY) : int_bound(m, d, false);
    case JOINT_min:
        return real ? expr_float(m, d, INFINITY) : int_bound(m, d, true);
    case JOINT_sum:
    case JOINT_prod:
        break;
    }
    int one = j == JOINT_prod;
    return real ? expr_float(m, d, one) : expr_int(m, d, one);
}

static Value first_sum(Step *s, uint32_t v)
{
    Module *m = s->mi->m;
    Class k = class_of(s, (Value){v});
    Type t = s->c->fn->insts[v].type;
    Joint j = k.kind == CLASS_part ? k.joint : JOINT_sum;
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_body, neutral(m, j, type_dtype(m, t)).id);
    return emit(&s->rw.b, OP_map, t, attr_intern(m, &l), NULL, 0);
}

/* [.., batch, ..] as [turn, .., rows of the turn, ..] */
static Value cut(Step *s, Value whole, Axis axis)
{
    Micro *mi = s->mi;
    int64_t size = type_size(mi->m, value_type(s->rw.b.fn, whole), axis);
    TypeAxis to[2] = {{.axis = mi->turns, .size = mi->parts},
                      {.axis = axis, .size = size / mi->parts}};
    return emit_split(&s->rw.b, whole, axis, to, 2);
}

typedef VEC(Value) ValueVec;

static void repeat_operands(Step *s, ValueVec *args, AttrList *l)
{
    Arena *a = s->mi->m->scratch;
    for (uint32_t i = 0; i < s->c->fn->ninsts; i++)
        if (is_carried(s, i)) vec_push(a, args, first_sum(s, i));
    uint32_t carry = args->n;
    for (uint32_t i = 0; i < s->givens.n; i++) {
        const Given *x = &s->givens.at[i];
        if (!x->cut) vec_push(a, args, rewrite_value(&s->rw, x->old));
    }
    uint32_t invariant = args->n - carry;
    for (uint32_t i = 0; i < s->givens.n; i++) {
        const Given *x = &s->givens.at[i];
        if (!x->cut) continue;
        Value v = cut(s, rewrite_value(&s->rw, x->old), x->axis);
        vec_push(a, args, v);
    }
    if (carry) attr_put_int(l, AT_carry, carry);
    if (invariant) attr_put_int(l, AT_invariant, invariant);
}

static Value emit_turns(Step *s)
{
    Module *m = s->mi->m;
    const Fn *body = fn_of(m, s->body);
    ValueVec args = {0};
    AttrList l = {.n = 0};
    s->rw.b.loc = s->c->fn->loc;
    s->rw.b.phase = PHASE_forward;
    repeat_operands(s, &args, &l);
    attr_put_id(&l, AT_fn, s->body.id);
    attr_put_id(&l, AT_axis, s->mi->turns.id);
    attr_put_int(&l, AT_count, s->mi->parts);
    uint32_t carry = 0;
    for (uint32_t i = 0; i < l.n; i++)
        if (l.items[i].key == AT_carry) carry = (uint32_t)l.items[i].i;
    Type t = repeat_type(m, body, carry, s->mi->turns, s->mi->parts);
    return emit(&s->rw.b, OP_repeat, t, attr_intern(m, &l), args.at, args.n);
}

/* Each value that the turns gave, in the place of the old one. */
static void read_turns(Step *s, Value turns)
{
    const Fn *fn = s->c->fn;
    uint32_t field = 0;
    for (int rows = 0; rows < 2; rows++)
        for (uint32_t i = 0; i < fn->ninsts; i++) {
            if (!s->out[i] || is_carried(s, i) == (rows == 1)) continue;
            s->rw.b.loc = fn->insts[i].loc;
            s->rw.b.phase = (Phase)fn->insts[i].phase;
            Value v = emit_proj(&s->rw.b, turns, field++);
            Axis axis = class_of(s, (Value){i}).axis;
            Axis from[2] = {s->mi->turns, axis};
            if (rows) v = emit_merge(&s->rw.b, v, from, 2, axis);
            value_set_name(&s->rw.b, v, fn->names[i]);
            rewrite_set(&s->rw, (Value){i}, v);
        }
}

static void write_step(Step *s)
{
    const Fn *fn = s->c->fn;
    rewrite_begin(&s->rw, s->mi->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (s->whole[i] && s->before[i]) rewrite_copy(&s->rw, (Value){i});
    if (fn_of(s->mi->m, s->body)->nresults > 0) read_turns(s, emit_turns(s));
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (s->whole[i] && !s->before[i]) rewrite_copy(&s->rw, (Value){i});
}

static void say_split(const Step *s, const PassCtx *cx)
{
    Module *m = s->mi->m;
    uint32_t sums = 0, rows = 0, before = 0;
    for (uint32_t i = 0; i < s->c->fn->ninsts; i++) {
        bool row = class_of(s, (Value){i}).kind == CLASS_row;
        sums += s->out[i] && !row;
        rows += s->out[i] && row;
        before += s->before[i] && s->c->fn->insts[i].op != OP_arg;
    }
    pass_remark(m, cx, s->c->fn->loc,
                "%" PRId64 " turns of %" PRId64 " rows: %u of the values that "
                "they leave are sums, %u are rows; before them, %u values are "
                "made from the whole batch",
                s->mi->parts, s->mi->size / s->mi->parts, sums, rows, before);
}

static bool split_step(Micro *mi, uint32_t at, const PassCtx *cx)
{
    Module *m = mi->m;
    const Fn *fn = m->fns.at[at];
    Classes c = classify(mi, fn, NULL);
    Step s = {.mi = mi, .c = &c};
    bool **flags[] = {&s.looped, &s.turned, &s.whole, &s.before, &s.out};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        *flags[i] = NEW_ARRAY(m->scratch, bool, fn->ninsts + 1);
    find_needs(&s);
    if (!check_faults(&s)) return false;
    mi->turns = axis_fresh(m, "micro", mi->parts);
    write_body(&s);
    write_step(&s);
    say_split(&s, cx);
    m->fns.at[at] = rewrite_end(&s.rw);
    module_drop_unused(m);
    return true;
}

/* ------------------------------------------------------------------ pass -- */

/* The size of the batch axis in the inputs: 0 where no input has it. */
static int64_t batch_size(const Module *m, const Fn *fn, Axis batch)
{
    for (uint32_t i = 0; i < fn->nparams; i++) {
        int64_t size = type_size(m, fn->params[i].type, batch);
        if (fn->params[i].role == ROLE_input && size) return size;
    }
    return 0;
}

static bool check_size(const Micro *mi, const Fn *fn)
{
    Module *m = mi->m;
    const char *axis = axis_name(m, mi->batch);
    if (mi->size > 0 && mi->size % mi->parts == 0) return true;
    if (mi->size == 0)
        diag_error(m->diag, DIAG_microbatch_size, loc_span(m, fn->loc),
                   "no input of '%s' has axis '%s', which accumulate = %" PRId64
                   " would split",
                   str_of(m, fn->name), axis, mi->parts);
    else
        diag_error(m->diag, DIAG_microbatch_size, loc_span(m, fn->loc),
                   "accumulate (%" PRId64
                   ") does not divide axis '%s' (%" PRId64 ")",
                   mi->parts, axis, mi->size);
    return false;
}

static bool cut_entry(Micro mi, const char *name, const char *axis, PassCtx *cx)
{
    Module *m = mi.m;
    FnRef train;
    if (!fn_find(m, module_str(m, name), &train)) return true;
    const Fn *fn = fn_of(m, train);
    if (!fn->entry) return true;
    if (axis_find(m, module_str(m, axis), &mi.batch))
        mi.size = batch_size(m, fn, mi.batch);
    else
        mi.batch = axis_of(m, module_str(m, axis), 0, (Loc){0});
    if (!check_size(&mi, fn)) return false;
    while (part_repeat(&mi, train.id))
        continue;
    return split_step(&mi, train.id, cx);
}

bool pass_microbatch(Module *m, PassCtx *cx)
{
    Micro mi = {.m = m};
    mi.parts = pass_option_int(m, cx, "accumulate", 1);
    const char *axis = pass_option(m, cx, "batch_axis", "batch");
    if (mi.parts < 1) {
        diag_error(m->diag, DIAG_pass_option, (Span){0},
                   "option 'accumulate' is at least 1, found %" PRId64,
                   mi.parts);
        return false;
    }
    return mi.parts == 1 || (cut_entry(mi, "train", axis, cx) &&
                             cut_entry(mi, "train.worst", axis, cx));
}
