/*
 * sink.c: sums over microbatches are made turn by turn.
 *
 *     %r = repeat ...            one gradient per layer, stacked
 *     %n = map %acc, %r { _0 + _1 }
 *
 * becomes a repeat that is handed %acc, layer by layer, and gives %n: the
 * stacked value %r, as large as all gradients together, never exists, and the
 * sum is made in place.
 *
 * It is done for a map whose operands are one stacked result that nobody else
 * reads and parameters of the function with the axes of the result.
 */
#include "fuse.h"

typedef struct Sink {
    Fuse *fx;
    const Fn *fn;
    Value repeat, proj, map;
    uint32_t result; /* of the repeat */
    Axis axis;
} Sink;

static bool same_axes(Module *m, Type x, Type y)
{
    return type_eq(type_with_dtype(m, x, DT_bool),
                   type_with_dtype(m, y, DT_bool));
}

uint32_t fuse_runners(const Module *m, FnRef body)
{
    uint32_t n = 0;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++) {
            Attr a = fn->insts[i].attr;
            n += attr_get(m, a, AT_fn) && attr_fn(m, a, AT_fn).id == body.id;
            n += attr_get(m, a, AT_while) &&
                 attr_fn(m, a, AT_while).id == body.id;
        }
    }
    return n;
}

static bool is_stacked_result(Sink *s, Value v, const Uses *uses)
{
    const Module *m = s->fx->m;
    const Inst *in = inst_of(s->fn, v);
    if (in->op != OP_proj || uses->nresult[v.id] ||
        uses->first[v.id + 1] - uses->first[v.id] != 1)
        return false;
    const Inst *repeat = inst_of(s->fn, inst_arg(s->fn, in, 0));
    if (repeat->op != OP_repeat || attr_get(m, repeat->attr, AT_while))
        return false;
    s->proj = v;
    s->repeat = inst_arg(s->fn, in, 0);
    s->result = (uint32_t)attr_int(m, in->attr, AT_index, 0);
    s->axis = attr_axis(m, repeat->attr, AT_axis);
    return s->result >= attr_int(m, repeat->attr, AT_carry, 0) &&
           fuse_runners(m, attr_fn(m, repeat->attr, AT_fn)) == 1;
}

static bool fits(Sink *s, Value map, const Uses *uses)
{
    Module *m = s->fx->m;
    const Inst *in = inst_of(s->fn, map);
    uint32_t found = 0;
    if (in->op != OP_map || in->nargs < 2) return false;
    for (uint32_t k = 0; k < in->nargs; k++) {
        Value x = inst_arg(s->fn, in, k);
        if (!same_axes(m, value_type(s->fn, x), in->type)) return false;
        if (inst_of(s->fn, x)->op == OP_arg) continue;
        if (found++ || !is_stacked_result(s, x, uses)) return false;
    }
    s->map = map;
    return found == 1 && !expr_uses_index(m, attr_expr(m, in->attr), s->axis);
}

static bool find(Sink *s)
{
    Uses uses = fn_uses(s->fn, s->fx->a);
    for (uint32_t i = 0; i < s->fn->ninsts; i++)
        if (fits(s, (Value){i}, &uses)) return true;
    return false;
}

/* The body with the map at its end; it takes the other operands of the map as
 * further stacked ones, in front of the turn. */
static Fn *sink_into(Sink *s, const Fn *old)
{
    Module *m = s->fx->m;
    const Inst *map = inst_of(s->fn, s->map);
    Builder b;
    Fn *fn = fn_new(m, old->name, VIEW_local);
    fn->loc = old->loc;
    fn->kind = old->kind;
    builder_init(&b, m, fn);
    Value *made = NEW_ARRAY(s->fx->a, Value, (size_t)old->ninsts + 1);
    Value *args = NEW_ARRAY(s->fx->a, Value, (size_t)map->nargs + 1);
    for (uint32_t i = 0; i + 1 < old->nparams; i++)
        made[i] = builder_param(&b, old->params[i]);
    for (uint32_t k = 0; k < map->nargs; k++) {
        Value x = inst_arg(s->fn, map, k);
        if (value_eq(x, s->proj)) continue;
        Type t = type_without_axis(m, value_type(s->fn, x), s->axis);
        args[k] =
            builder_param(&b, (Port){.name = s->fn->names[x.id], .type = t});
    }
    made[old->nparams - 1] = builder_param(&b, old->params[old->nparams - 1]);
    for (uint32_t i = old->nparams; i < old->ninsts; i++) {
        const Inst *in = &old->insts[i];
        Value *at = NEW_ARRAY(s->fx->a, Value, (size_t)in->nargs + 1);
        for (uint32_t k = 0; k < in->nargs; k++)
            at[k] = made[inst_arg(old, in, k).id];
        b.loc = in->loc;
        b.phase = (Phase)in->phase;
        made[i] = emit(&b, (Op)in->op, in->type, in->attr, at, in->nargs);
        value_set_name(&b, made[i], old->names[i]);
    }
    for (uint32_t r = 0; r < old->nresults; r++) {
        Value v = made[old->result_values[r].id];
        if (r == s->result) {
            for (uint32_t k = 0; k < map->nargs; k++)
                if (value_eq(inst_arg(s->fn, map, k), s->proj)) args[k] = v;
            b.loc = map->loc;
            b.phase = (Phase)map->phase;
            v = emit(&b, OP_map, type_without_axis(m, map->type, s->axis),
                     map->attr, args, map->nargs);
        }
        builder_result(&b, v, old->results[r]);
    }
    return fn;
}

static Value emit_repeat(Sink *s, Rewrite *rw)
{
    Module *m = s->fx->m;
    const Inst *in = inst_of(s->fn, s->repeat);
    const Inst *map = inst_of(s->fn, s->map);
    VEC(Value) args = {0};
    for (uint32_t i = 0; i < in->nargs; i++)
        vec_push(s->fx->a, &args, rewrite_value(rw, inst_arg(s->fn, in, i)));
    for (uint32_t k = 0; k < map->nargs; k++)
        if (!value_eq(inst_arg(s->fn, map, k), s->proj))
            vec_push(s->fx->a, &args,
                     rewrite_value(rw, inst_arg(s->fn, map, k)));
    const TypeInfo *ti = type_info(m, in->type);
    Type *fields = NEW_ARRAY(s->fx->a, Type, (size_t)ti->nfields + 1);
    memcpy(fields, ti->fields, ti->nfields * sizeof *fields);
    fields[s->result] = map->type;
    rw->b.loc = in->loc;
    rw->b.phase = (Phase)in->phase;
    return emit(&rw->b, OP_repeat, type_tuple(m, fields, ti->nfields), in->attr,
                args.at, args.n);
}

static Fn *sink_one(Sink *s)
{
    Module *m = s->fx->m;
    FnRef body = attr_fn(m, inst_of(s->fn, s->repeat)->attr, AT_fn);
    Rewrite rw;
    rewrite_begin(&rw, m, s->fn);
    for (uint32_t i = s->fn->nparams; i < s->fn->ninsts; i++) {
        Value v = {i};
        if (value_eq(v, s->repeat))
            rewrite_set(&rw, v, emit_repeat(s, &rw));
        else if (value_eq(v, s->proj))
            rewrite_set(
                &rw, v,
                emit_proj(&rw.b, rewrite_value(&rw, s->repeat), s->result));
        else if (value_eq(v, s->map))
            rewrite_set(&rw, v, rewrite_value(&rw, s->proj));
        else
            rewrite_copy(&rw, v);
    }
    Fn *fn = rewrite_end(&rw);
    m->fns.at[body.id] = sink_into(s, fn_of(m, body));
    return fn;
}

void fuse_sink(Fuse *fx, uint32_t at)
{
    Sink s = {.fx = fx, .fn = fx->m->fns.at[at]};
    while (find(&s)) {
        Fn *fn = sink_one(&s);
        pass_remark(fx->m, fx->cx, inst_of(s.fn, s.map)->loc,
                    "added to its sum turn by turn in @%s",
                    str_of(fx->m, s.fn->name));
        fx->m->fns.at[at] = fn;
        s.fn = fn;
    }
}
