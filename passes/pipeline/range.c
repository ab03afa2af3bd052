/*
 * range.c: a repeat over layers becomes one for each stage that has some.
 *
 *     %t = repeat %x, %w, %s fn @layer axis layer count 4 carry 1 invariant 1
 *
 * becomes, for two stages of two layers,
 *
 *     %s0 = slice %s ..  %t0 = repeat %x,  %w, %s0 .. count 2
 *     %s1 = slice %s ..  %t1 = repeat %x0, %w, %s1 .. count 2
 *
 * and what was stacked is the concatenation of what the ranges stack.  The
 * program means what it did, bit for bit.
 */
#include "cut.h"

bool is_chain(const Cut *c, const Inst *in, Repeat *out)
{
    if (in->op != OP_repeat) return false;
    *out = repeat_of(c->m, in);
    const Layers *l = layers_along(c, out->axis);
    return l && !out->has_while && out->count == l->size;
}

const Layers *layers_along(const Cut *c, Axis a)
{
    for (uint32_t i = 0; i < c->layers.n; i++)
        if (c->layers.at[i].axis.id == a.id) return &c->layers.at[i];
    return NULL;
}

const Layers *layers_in(const Cut *c, Type t)
{
    const TypeInfo *info = type_info(c->m, t);
    if (info->is_tuple) {
        for (uint32_t i = 0; i < info->nfields; i++) {
            const Layers *l = layers_in(c, info->fields[i]);
            if (l) return l;
        }
        return NULL;
    }
    for (uint32_t i = 0; i < c->layers.n; i++) {
        const Layers *l = &c->layers.at[i];
        if (type_size(c->m, t, l->axis) == l->size) return l;
    }
    return NULL;
}

typedef struct Ranged {
    Cut *c;
    Rewrite rw;
    Repeat r;
    const Layers *l;
    Value *carried;     /* as the last range left them */
    Value **stacked;    /* by other result, stage */
    VEC(uint32_t) pins; /* value, stage */
} Ranged;

static Attr range_attr(Ranged *g, Attr attr, uint32_t stage)
{
    Module *m = g->c->m;
    AttrList l = attr_list(m, attr);
    FnRef fn = turns_later(g->c, g->r.fn, g->l->start[stage]);
    attr_put_id(&l, AT_fn, fn.id);
    attr_put_int(&l, AT_count, layers_of(g->l, stage));
    return attr_intern(m, &l);
}

static void write_range(Ranged *g, const Inst *in, uint32_t stage)
{
    Builder *b = &g->rw.b;
    Value *args = NEW_ARRAY(g->c->a, Value, in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value v = rewrite_value(&g->rw, inst_arg(g->rw.old, in, i));
        args[i] = v;
        if (i < g->r.carry) args[i] = g->carried[i];
        if (i >= g->r.carry + g->r.invariant)
            args[i] = emit_slice(b, v, g->l->axis, g->l->start[stage],
                                 layers_of(g->l, stage), 1);
    }
    Type t = part_type(g->c, in->type, g->l, stage);
    Value made =
        emit(b, OP_repeat, t, range_attr(g, in->attr, stage), args, in->nargs);
    vec_push(g->c->a, &g->pins, made.id);
    vec_push(g->c->a, &g->pins, stage);
    for (uint32_t i = 0; i < g->r.carry; i++)
        g->carried[i] = emit_proj(b, made, i);
    for (uint32_t i = 0; i < g->r.others; i++)
        g->stacked[i][stage] = emit_proj(b, made, g->r.carry + i);
}

static void write_ranges(Ranged *g, const Inst *in)
{
    uint32_t stages = g->c->stages;
    g->carried = NEW_ARRAY(g->c->a, Value, g->r.carry + 1);
    g->stacked = NEW_ARRAY(g->c->a, Value *, g->r.others + 1);
    for (uint32_t i = 0; i < g->r.others; i++)
        g->stacked[i] = NEW_ARRAY(g->c->a, Value, stages);
    for (uint32_t i = 0; i < g->r.carry; i++)
        g->carried[i] = rewrite_value(&g->rw, inst_arg(g->rw.old, in, i));
    g->rw.b.loc = in->loc;
    g->rw.b.phase = (Phase)in->phase;
    for (uint32_t i = 0; i < stages; i++) {
        uint32_t stage = g->r.reverse ? stages - 1 - i : i;
        if (layers_of(g->l, stage)) write_range(g, in, stage);
    }
}

/* What a proj of the whole repeat was. */
static Value field_of(Ranged *g, uint32_t index)
{
    if (index < g->r.carry) return g->carried[index];
    const Value *by_stage = g->stacked[index - g->r.carry];
    Value *parts = NEW_ARRAY(g->c->a, Value, g->c->stages + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->c->stages; i++)
        if (layers_of(g->l, i)) parts[n++] = by_stage[i];
    return n == 1 ? parts[0] : emit_concat(&g->rw.b, parts, n, g->l->axis);
}

/* Projections follow their repeat; they are written with it. */
static void write_fields(Ranged *g, Value repeat)
{
    const Fn *old = g->rw.old;
    for (uint32_t i = repeat.id + 1; i < old->ninsts; i++) {
        const Inst *in = &old->insts[i];
        if (in->op != OP_proj || !value_eq(inst_arg(old, in, 0), repeat))
            continue;
        g->rw.b.loc = in->loc;
        g->rw.b.phase = (Phase)in->phase;
        int64_t index = attr_int(g->c->m, in->attr, AT_index, 0);
        Value v = field_of(g, (uint32_t)index);
        value_set_name(&g->rw.b, v, old->names[i]);
        rewrite_set(&g->rw, (Value){i}, v);
    }
}

Fn *repeats_ranged(Cut *c, const Fn *fn, uint32_t **stages)
{
    Ranged g = {.c = c};
    rewrite_begin(&g.rw, c->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (is_chain(c, &fn->insts[i], &g.r)) {
            g.l = layers_along(c, g.r.axis);
            write_ranges(&g, &fn->insts[i]);
            write_fields(&g, (Value){i});
        } else if (value_eq(g.rw.map[i], NO_VALUE)) {
            rewrite_copy(&g.rw, (Value){i});
        }
    }
    Fn *made = rewrite_end(&g.rw);
    *stages = NEW_ARRAY(c->a, uint32_t, made->ninsts + 1);
    for (uint32_t i = 0; i < g.pins.n; i += 2)
        (*stages)[g.pins.at[i]] = g.pins.at[i + 1] + 1;
    return made;
}
