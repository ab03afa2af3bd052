/*
 * trail.c: a carried value that is stacked, too, lives in the stack.
 *
 * A repeat that carries x and stacks it, as it comes in or as it goes on (the
 * record of a residual stream), would copy it in each turn.  Instead the value
 * walks through one place that has a row more than there are turns:
 *
 *     row     0    1    2         n
 *          +----+----+----+----+----+     turn i reads row i and writes row
 *          | x0 | x1 | x2 | .. | xn |     i + 1; reversed, it reads row i + 1
 *          +----+----+----+----+----+     and writes row i
 *
 * The stack of what comes in is the rows that are read, the stack of what goes
 * on those that are written.  No row is written twice, so whoever else reads
 * the value that the repeat begins with may read it at any time.
 *
 * It is not done with a condition (turns that do not run write no row), nor
 * where the stack has a place elsewhere already.
 */
#include "expand.h"

typedef struct Walker {
    Scene *s;
    Value repeat;
    const Inst *in;
    const Fn *body;
    uint32_t carry;
} Walker;

/* Stacked result R is the value carried as C. */
static bool is_stack_of(const Walker *w, uint32_t r, uint32_t c)
{
    Value v = w->body->result_values[r];
    return v.id == c || value_eq(v, w->body->result_values[c]);
}

static Value proj_of(const Walker *w, uint32_t result)
{
    const Fn *fn = w->s->fn;
    for (uint32_t i = w->repeat.id + 1; i < fn->ninsts; i++) {
        const Inst *p = &fn->insts[i];
        if (p->op == OP_proj && value_eq(inst_arg(fn, p, 0), w->repeat) &&
            attr_int(w->s->x->m, p->attr, AT_index, 0) == result)
            return (Value){i};
    }
    return NO_VALUE;
}

/* The stack lies in the memory of the host, its rows apart from what is
 * carried. */
static bool is_host(const Walker *w, uint32_t result)
{
    Value v = proj_of(w, result);
    return !value_eq(v, NO_VALUE) &&
           attr_flag(w->s->x->m, inst_of(w->s->fn, v)->attr, AT_host);
}

/* A place like the stack's own, one row longer. */
static Trail *trail_new(const Walker *w, Value stack)
{
    Scene *s = w->s;
    Module *m = s->x->m;
    Axis axis = attr_axis(m, w->in->attr, AT_axis);
    Layout l = own_layout(s, stack);
    Axis *order =
        NEW_ARRAY(s->x->a, Axis, (size_t)type_info(m, l.type)->naxes + 1);
    uint32_t n = layout_order(m, l, order);
    TypeAxis longer = *type_axis(m, l.type, axis);
    longer.size++;
    Type t = type_with_axis(m, type_without_axis(m, l.type, axis), longer);
    Str name;
    Loc loc = w->in->loc;
    origin_of(s, stack, &name, &loc);
    l = layout_padded(s->x, layout_ordered(m, t, order, n, s->x->a));
    Trail *made = NEW(s->x->a, Trail);
    *made = (Trail){.whole = {.root = root_new(s, l, name, loc), .layout = l},
                    .axis = axis,
                    .last = longer.size - 1,
                    .reverse = attr_flag(m, w->in->attr, AT_reverse),
                    .family = w->repeat.id};
    return made;
}

static void find_trail(const Walker *w, Trail **at, uint32_t c)
{
    Value stack = NO_VALUE;
    for (uint32_t r = w->carry; r < w->body->nresults; r++) {
        if (!is_stack_of(w, r, c) || at[r]) continue;
        Value v = proj_of(w, r);
        if (value_eq(v, NO_VALUE)) continue;
        if (is_host(w, r)) continue;
        if (w->s->want[v.id].root) return;
        if (value_eq(stack, NO_VALUE)) stack = v;
    }
    if (value_eq(stack, NO_VALUE)) return;
    Trail *made = trail_new(w, stack);
    at[c] = made;
    for (uint32_t r = w->carry; r < w->body->nresults; r++)
        if (is_stack_of(w, r, c) && !at[r] && !is_host(w, r)) at[r] = made;
}

static void find_trails(Scene *s, Value repeat, Trail ***at)
{
    const Module *m = s->x->m;
    Walker w = {.s = s, .repeat = repeat, .in = inst_of(s->fn, repeat)};
    w.body = fn_of(m, attr_fn(m, w.in->attr, AT_fn));
    w.carry = (uint32_t)attr_int(m, w.in->attr, AT_carry, 0);
    *at = NEW_ARRAY(s->x->a, Trail *, (size_t)w.body->nresults + 1);
    if (attr_get(m, w.in->attr, AT_while)) return;
    for (uint32_t c = 0; c < w.carry; c++)
        find_trail(&w, *at, c);
}

Trail *trail_of(Scene *s, Value repeat, uint32_t result)
{
    if (inst_of(s->fn, repeat)->op != OP_repeat) return NULL;
    Trail ***at = &s->trails[repeat.id];
    if (!*at) find_trails(s, repeat, at);
    return (*at)[result];
}

bool trail_goes_on(const Module *m, const Inst *repeat, uint32_t result)
{
    const Fn *body = fn_of(m, attr_fn(m, repeat->attr, AT_fn));
    uint32_t carry = (uint32_t)attr_int(m, repeat->attr, AT_carry, 0);
    return result < carry || body->result_values[result].id >= carry;
}

static int64_t row_bytes(const Scene *s, const Trail *t)
{
    const Module *m = s->x->m;
    Layout l = t->whole.layout;
    return layout_stride(m, l, t->axis) * dtype_bytes(type_dtype(m, l.type));
}

static Home row_home(const Scene *s, const Trail *t, Home whole, int64_t row)
{
    Type one = type_without_axis(s->x->m, whole.layout.type, t->axis);
    whole.offset += row * row_bytes(s, t);
    whole.layout = layout_from(s->x, one, whole.layout);
    return whole;
}

Home trail_begin(const Scene *s, const Trail *t)
{
    return row_home(s, t, t->whole, t->reverse ? t->last : 0);
}

Home trail_end(const Scene *s, const Trail *t)
{
    return row_home(s, t, t->whole, t->reverse ? 0 : t->last);
}

Home trail_row(const Scene *s, const Trail *t, const Home *whole, bool goes_on)
{
    Home h = row_home(s, t, *whole, goes_on != t->reverse);
    h.turn = row_bytes(s, t);
    return h;
}

Home trail_stack(const Scene *s, const Trail *t, bool goes_on)
{
    Module *m = s->x->m;
    Home h = t->whole;
    TypeAxis shorter = *type_axis(m, h.layout.type, t->axis);
    shorter.size--;
    Type type = type_with_axis(m, type_without_axis(m, h.layout.type, t->axis),
                               shorter);
    if (goes_on != t->reverse) h.offset += row_bytes(s, t);
    h.layout = layout_from(s->x, type, h.layout);
    return h;
}
