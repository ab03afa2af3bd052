/*
 * apply.c: the repeats of a function with the records of its pairs.
 *
 *     forward    turns 0 .. 13 | 14 .. 31      each range a repeat of its own,
 *     backward   14 .. 31 | 0 .. 13            which takes up what the range
 *                                              before it carried
 *
 * Stacked operands are sliced, stacked results laid side by side: places in
 * memory, no copies.  With one range there is neither.
 */
#include "remat.h"

typedef struct Apply {
    Rewrite rw;
    const Change *changes;
    uint32_t n;
} Apply;

static Value rows_of(Builder *b, Value v, const Repeat *rep, const Range *r)
{
    if (r->count == rep->count) return v;
    return emit_slice(b, v, rep->axis, r->first, r->count, 1);
}

static Attr turns_attr(Module *m, const Inst *in, FnRef fn, int64_t count,
                       uint32_t invariant)
{
    AttrList l = attr_list(m, in->attr);
    attr_drop(&l, AT_invariant);
    attr_put_id(&l, AT_fn, fn.id);
    attr_put_int(&l, AT_count, count);
    if (invariant) attr_put_int(&l, AT_invariant, invariant);
    return attr_intern(m, &l);
}

/* The k-th range that runs, of a repeat in that direction. */
static uint32_t nth_range(const Change *c, bool reverse, uint32_t k)
{
    return reverse ? c->nranges - 1 - k : k;
}

/* ------------------------------------------------------------- forward -- */

static void emit_forward(Apply *x, const Change *c)
{
    Builder *b = &x->rw.b;
    const Pair *p = c->pair;
    const Inst *in = inst_of(x->rw.old, p->forward);
    Value *args = NEW_ARRAY(b->m->scratch, Value, in->nargs + 1u);
    for (uint32_t i = 0; i < p->f.carry; i++)
        args[i] = rewrite_value(&x->rw, inst_arg(x->rw.old, in, i));
    for (uint32_t k = 0; k < c->nranges; k++) {
        Range *r = &c->ranges[nth_range(c, p->f.reverse, k)];
        const Fn *body = fn_of(b->m, r->forward);
        b->loc = in->loc;
        b->phase = (Phase)in->phase;
        for (uint32_t i = p->f.carry; i < in->nargs; i++) {
            args[i] = rewrite_value(&x->rw, inst_arg(x->rw.old, in, i));
            if (i >= p->f.carry + p->f.invariant)
                args[i] = rows_of(b, args[i], &p->f, r);
        }
        Type t = repeat_type(b->m, body, p->f.carry, p->f.axis, r->count);
        Attr a = turns_attr(b->m, in, r->forward, r->count, p->f.invariant);
        r->turns[0] = emit(b, OP_repeat, t, a, args, in->nargs);
        for (uint32_t i = 0; i < p->f.carry; i++)
            args[i] = emit_proj(b, r->turns[0], i);
    }
}

static uint32_t place_among(const Range *r, bool others, uint32_t what)
{
    uint32_t n = others ? r->others.n : r->saved.n;
    const uint32_t *at = others ? r->others.at : r->saved.at;
    for (uint32_t i = 0; i < n; i++)
        if (at[i] == what) return i;
    BUG("a value is in no record");
}

/* Result i of all ranges, side by side in the order of the turns. */
static Value join_rows(Builder *b, const Change *c, uint32_t which, Axis axis,
                       uint32_t index)
{
    Value *rows = NEW_ARRAY(b->m->scratch, Value, c->nranges + 1);
    for (uint32_t k = 0; k < c->nranges; k++)
        rows[k] = emit_proj(b, c->ranges[k].turns[which], index);
    return c->nranges == 1 ? rows[0] : emit_concat(b, rows, c->nranges, axis);
}

static void proj_forward(Apply *x, const Change *c, uint32_t i)
{
    Builder *b = &x->rw.b;
    const Pair *p = c->pair;
    const Inst *in = &x->rw.old->insts[i];
    uint32_t at = (uint32_t)attr_int(b->m, in->attr, AT_index, 0);
    if (at >= p->f.carry && !p->asked[at]) return; /* the backward's alone */
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    uint32_t last = nth_range(c, p->f.reverse, c->nranges - 1);
    Value v;
    if (at < p->f.carry)
        v = emit_proj(b, c->ranges[last].turns[0], at);
    else
        v = join_rows(b, c, 0, p->f.axis,
                      p->f.carry + place_among(&c->ranges[0], true, at));
    value_set_name(b, v, x->rw.old->names[i]);
    rewrite_set(&x->rw, (Value){i}, v);
}

/* ------------------------------------------------------------ backward -- */

/* A stack that lies in the memory of the host. */
static Value host_rows(Builder *b, Value turns, uint32_t at)
{
    AttrList l = {.n = 0};
    attr_put_int(&l, AT_index, at);
    attr_put_int(&l, AT_host, 1);
    Type t = type_info(b->m, value_type(b->fn, turns))->fields[at];
    return emit(b, OP_proj, t, attr_intern(b->m, &l), &turns, 1);
}

/* The row that the forward of this range stacked for a value of the body. */
static Value saved_rows(Apply *x, const Pair *p, const Range *r, uint32_t v)
{
    Builder *b = &x->rw.b;
    uint32_t at = p->f.carry;
    for (uint32_t i = 0; i < r->others.n; i++, at++)
        if (p->of->result_values[r->others.at[i]].id == v)
            return emit_proj(b, r->turns[0], at);
    at += place_among(r, false, v);
    Value rows = r->host && r->host[v] ? host_rows(b, r->turns[0], at)
                                       : emit_proj(b, r->turns[0], at);
    value_set_name(b, rows, p->of->names[v]);
    return rows;
}

static Value taken(Apply *x, const Pair *p, const Range *r, uint32_t i)
{
    const Fn *old = x->rw.old;
    Take t = r->takes.at[i];
    if (t.kind == TAKE_saved) return saved_rows(x, p, r, t.at);
    Value from = t.kind == TAKE_own ? p->backward : p->forward;
    Value v = rewrite_value(&x->rw, inst_arg(old, inst_of(old, from), t.at));
    return i < r->invariant ? v : rows_of(&x->rw.b, v, &p->b, r);
}

static void emit_backward(Apply *x, const Change *c)
{
    Builder *b = &x->rw.b;
    const Pair *p = c->pair;
    const Inst *in = inst_of(x->rw.old, p->backward);
    Value *carried = NEW_ARRAY(b->m->scratch, Value, p->b.carry + 1);
    for (uint32_t i = 0; i < p->b.carry; i++)
        carried[i] = rewrite_value(&x->rw, inst_arg(x->rw.old, in, i));
    for (uint32_t k = 0; k < c->nranges; k++) {
        Range *r = &c->ranges[nth_range(c, p->b.reverse, k)];
        const Fn *body = fn_of(b->m, r->backward);
        uint32_t n = p->b.carry + r->takes.n;
        Value *args = NEW_ARRAY(b->m->scratch, Value, n + 1);
        b->loc = in->loc;
        b->phase = (Phase)in->phase;
        for (uint32_t i = 0; i < p->b.carry; i++)
            args[i] = carried[i];
        for (uint32_t i = 0; i < r->takes.n; i++)
            args[p->b.carry + i] = taken(x, p, r, i);
        Type t = repeat_type(b->m, body, p->b.carry, p->b.axis, r->count);
        Attr a = turns_attr(b->m, in, r->backward, r->count, r->invariant);
        r->turns[1] = emit(b, OP_repeat, t, a, args, n);
        for (uint32_t i = 0; i < p->b.carry; i++)
            carried[i] = emit_proj(b, r->turns[1], i);
    }
}

static void proj_backward(Apply *x, const Change *c, uint32_t i)
{
    Builder *b = &x->rw.b;
    const Pair *p = c->pair;
    const Inst *in = &x->rw.old->insts[i];
    uint32_t at = (uint32_t)attr_int(b->m, in->attr, AT_index, 0);
    b->loc = in->loc;
    b->phase = (Phase)in->phase;
    uint32_t last = nth_range(c, p->b.reverse, c->nranges - 1);
    Value v = at < p->b.carry ? emit_proj(b, c->ranges[last].turns[1], at)
                              : join_rows(b, c, 1, p->b.axis, at);
    value_set_name(b, v, x->rw.old->names[i]);
    rewrite_set(&x->rw, (Value){i}, v);
}

/* -------------------------------------------------------------- function -- */

/* Whether the instruction is one of the pair's, or a field of one. */
static bool apply_change(Apply *x, const Change *c, uint32_t i)
{
    const Inst *in = &x->rw.old->insts[i];
    bool field = in->op == OP_proj;
    Value v = field ? inst_arg(x->rw.old, in, 0) : (Value){i};
    bool forward = value_eq(v, c->pair->forward);
    if (!forward && !value_eq(v, c->pair->backward)) return false;
    if (forward && field) proj_forward(x, c, i);
    if (forward && !field) emit_forward(x, c);
    if (!forward && field) proj_backward(x, c, i);
    if (!forward && !field) emit_backward(x, c);
    return true;
}

static void apply_inst(Apply *x, uint32_t i)
{
    for (uint32_t k = 0; k < x->n; k++)
        if (apply_change(x, &x->changes[k], i)) return;
    rewrite_copy(&x->rw, (Value){i});
}

Fn *changes_apply(Module *m, const Fn *caller, const Change *changes,
                  uint32_t n)
{
    Apply x = {.changes = changes, .n = n};
    rewrite_begin(&x.rw, m, caller);
    for (uint32_t i = caller->nparams; i < caller->ninsts; i++)
        apply_inst(&x, i);
    return rewrite_end(&x.rw);
}
