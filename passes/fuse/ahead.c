/*
 * ahead.c: numbers of what a repeat carries are begun in the turn before.
 *
 *     fn @body(%c, ..) {                      fn @body(%c, %r, ..) {
 *       %a = map %c { abs(f32(_0)) }
 *       %n = reduce %a kind max ..              %n = reduce %r kind max ..
 *       ..                               ->     ..
 *                                               %b = map %d { abs(f32(_0)) }
 *                                               %s = reduce %b kind max ..
 *       ret %d, ..                              ret %d, %s, ..
 *     }                                       }
 *
 * What needs the number waits for all of %c, so a kernel of its own would read
 * that from memory for the number alone.  Whoever makes the next %c has its
 * rows at hand: their parts of the number, a step of the reduction that prepare
 * would make anyway, are carried beside it.  The first ones are made in front
 * of the repeat; the last turn's are for nobody.
 */
#include "fuse.h"

typedef struct Ahead {
    Fuse *fx;
    const Fn *fn;
    Value repeat;
    const Fn *body;
    uint32_t carried; /* which value */
    Value map, sum;   /* in the body; map: or NO_VALUE */
    Axis *rows, *rest;
    uint32_t nrows, nrest;
    uint32_t carry; /* how many there were */
} Ahead;

/* The axes that the second step reduces, and those that the first does. */
static bool find_steps(Ahead *h)
{
    const Module *m = h->fx->m;
    const Inst *sum = inst_of(h->body, h->sum);
    const AttrItem *axes = attr_get(m, sum->attr, AT_axes);
    Type t = value_type(h->body, inst_arg(h->body, sum, 0));
    h->rows = NEW_ARRAY(h->fx->a, Axis, axes->n + 1);
    h->rest = NEW_ARRAY(h->fx->a, Axis, axes->n + 1);
    h->nrest = 0;
    h->nrows = fuse_first_step(h->fx, t, axes, h->rows);
    for (uint32_t i = 0; i < axes->n; i++) {
        bool kept = false;
        for (uint32_t k = 0; k < h->nrows; k++)
            kept |= axes->axes[i].id == h->rows[k].id;
        if (!kept) h->rest[h->nrest++] = axes->axes[i];
    }
    return h->nrows > 0 && h->nrest > 0;
}

/* A number of one carried value, perhaps of a map of it that nobody else
 * reads. */
static bool is_number_of_carried(Ahead *h, Value v, const Uses *uses)
{
    const Module *m = h->fx->m;
    const Inst *in = inst_of(h->body, v);
    if (in->op != OP_reduce || type_info(m, in->type)->naxes) return false;
    Value x = inst_arg(h->body, in, 0);
    const Inst *map = inst_of(h->body, x);
    h->sum = v;
    h->map = NO_VALUE;
    if (map->op == OP_map && map->nargs == 1 && !uses->nresult[x.id] &&
        uses->first[x.id + 1] - uses->first[x.id] == 1 &&
        expr_is_cheap(m, attr_expr(m, map->attr))) {
        h->map = x;
        x = inst_arg(h->body, map, 0);
    }
    h->carried = x.id;
    return x.id < h->carry && type_info(m, value_type(h->body, x))->naxes > 0;
}

static bool fits(Ahead *h, Value repeat)
{
    const Module *m = h->fx->m;
    const Inst *in = inst_of(h->fn, repeat);
    if (in->op != OP_repeat || attr_get(m, in->attr, AT_while)) return false;
    FnRef body = attr_fn(m, in->attr, AT_fn);
    h->repeat = repeat;
    h->body = fn_of(m, body);
    h->carry = (uint32_t)attr_int(m, in->attr, AT_carry, 0);
    Uses uses = fn_uses(h->body, h->fx->a);
    for (uint32_t i = h->body->nparams; i < h->body->ninsts; i++)
        if (is_number_of_carried(h, (Value){i}, &uses) && find_steps(h))
            return fuse_runners(m, body) == 1;
    return false;
}

/* The first step, of a value that is carried. */
static Value emit_rows(const Ahead *h, Builder *b, Value x)
{
    Module *m = h->fx->m;
    const Inst *sum = inst_of(h->body, h->sum);
    if (!value_eq(h->map, NO_VALUE)) {
        const Inst *map = inst_of(h->body, h->map);
        x = emit(b, OP_map, map->type, map->attr, &x, 1);
    }
    DType d = type_dtype(m, value_type(b->fn, x));
    DType acc = attr_dtype(m, sum->attr, AT_acc, dtype_acc(d));
    const char *kind = str_of(m, attr_str(m, sum->attr, AT_kind));
    return emit_reduce(b, kind, x, h->rest, h->nrest, acc, acc);
}

static Value emit_number(const Ahead *h, Builder *b, Value rows)
{
    Module *m = h->fx->m;
    const Inst *sum = inst_of(h->body, h->sum);
    DType acc = type_dtype(m, value_type(b->fn, rows));
    const char *kind = str_of(m, attr_str(m, sum->attr, AT_kind));
    Value v = emit_reduce(b, kind, rows, h->rows, h->nrows, acc, acc);
    return emit_cast(b, v, type_dtype(m, sum->type));
}

/* The body, which is handed the rows behind all else that is carried. */
static Fn *make_body(const Ahead *h, Type rows)
{
    Module *m = h->fx->m;
    const Fn *old = h->body;
    Builder b;
    Fn *fn = fn_new(m, old->name, VIEW_local);
    fn->loc = old->loc;
    fn->kind = old->kind;
    builder_init(&b, m, fn);
    Value *made = NEW_ARRAY(h->fx->a, Value, (size_t)old->ninsts + 1);
    Value first = NO_VALUE;
    for (uint32_t i = 0; i < old->nparams; i++) {
        if (i == h->carry) first = builder_param(&b, (Port){.type = rows});
        made[i] = builder_param(&b, old->params[i]);
    }
    for (uint32_t i = old->nparams; i < old->ninsts; i++) {
        const Inst *in = &old->insts[i];
        Value *at = NEW_ARRAY(h->fx->a, Value, (size_t)in->nargs + 1);
        for (uint32_t k = 0; k < in->nargs; k++)
            at[k] = made[inst_arg(old, in, k).id];
        b.loc = in->loc;
        b.phase = (Phase)in->phase;
        made[i] = i == h->sum.id
                      ? emit_number(h, &b, first)
                      : emit(&b, (Op)in->op, in->type, in->attr, at, in->nargs);
        value_set_name(&b, made[i], old->names[i]);
    }
    const Inst *sum = inst_of(old, h->sum);
    b.loc = sum->loc;
    b.phase = (Phase)sum->phase;
    Value next = made[old->result_values[h->carried].id];
    next = emit_rows(h, &b, next);
    for (uint32_t r = 0; r <= old->nresults; r++) {
        if (r == h->carry) builder_result(&b, next, (Port){.loc = fn->loc});
        if (r == old->nresults) break;
        builder_result(&b, made[old->result_values[r].id], old->results[r]);
    }
    return fn_without_unneeded(m, fn);
}

static Value emit_repeat(const Ahead *h, Rewrite *rw, Type *rows)
{
    Module *m = h->fx->m;
    const Inst *in = inst_of(h->fn, h->repeat);
    const TypeInfo *ti = type_info(m, in->type);
    rw->b.loc = in->loc;
    rw->b.phase = (Phase)in->phase;
    Value init = rewrite_value(rw, inst_arg(h->fn, in, h->carried));
    init = emit_rows(h, &rw->b, init);
    *rows = value_type(rw->b.fn, init);
    VEC(Value) args = {0};
    for (uint32_t i = 0; i <= in->nargs; i++) {
        if (i == h->carry) vec_push(h->fx->a, &args, init);
        if (i == in->nargs) break;
        vec_push(h->fx->a, &args, rewrite_value(rw, inst_arg(h->fn, in, i)));
    }
    VEC(Type) fields = {0};
    for (uint32_t i = 0; i <= ti->nfields; i++) {
        if (i == h->carry) vec_push(h->fx->a, &fields, *rows);
        if (i < ti->nfields) vec_push(h->fx->a, &fields, ti->fields[i]);
    }
    AttrList l = attr_list(m, in->attr);
    attr_put_int(&l, AT_carry, h->carry + 1);
    return emit(&rw->b, OP_repeat, type_tuple(m, fields.at, fields.n),
                attr_intern(m, &l), args.at, args.n);
}

static Fn *make_one(const Ahead *h)
{
    Module *m = h->fx->m;
    FnRef body = attr_fn(m, inst_of(h->fn, h->repeat)->attr, AT_fn);
    Rewrite rw;
    Type rows = {0};
    rewrite_begin(&rw, m, h->fn);
    for (uint32_t i = h->fn->nparams; i < h->fn->ninsts; i++) {
        const Inst *in = &h->fn->insts[i];
        Value v = {i};
        if (value_eq(v, h->repeat)) {
            rewrite_set(&rw, v, emit_repeat(h, &rw, &rows));
        } else if (in->op == OP_proj &&
                   value_eq(inst_arg(h->fn, in, 0), h->repeat)) {
            uint32_t at = (uint32_t)attr_int(m, in->attr, AT_index, 0);
            Value of = rewrite_value(&rw, h->repeat);
            rw.b.loc = in->loc;
            rw.b.phase = (Phase)in->phase;
            Value p = emit_proj(&rw.b, of, at + (at >= h->carry));
            value_set_name(&rw.b, p, h->fn->names[i]);
            rewrite_set(&rw, v, p);
        } else {
            rewrite_copy(&rw, v);
        }
    }
    Fn *fn = rewrite_end(&rw);
    m->fns.at[body.id] = make_body(h, rows);
    return fn;
}

void fuse_ahead(Fuse *fx, uint32_t at)
{
    Ahead h = {.fx = fx, .fn = fx->m->fns.at[at]};
    for (uint32_t i = 0; i < h.fn->ninsts && fx->gpu; i++)
        while (fits(&h, (Value){i})) {
            pass_remark(fx->m, fx->cx, inst_of(h.body, h.sum)->loc,
                        "begun in the turn before in @%s",
                        str_of(fx->m, h.fn->name));
            h.fn = fx->m->fns.at[at] = make_one(&h);
            i = h.fn->nparams; /* values have other numbers */
        }
}
