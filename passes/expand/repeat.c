/*
 * repeat.c: a repeat becomes a loop over a kernel function.
 *
 * The loop is handed whole places: of the carried values (one place from the
 * first turn to the last, or a trail), of the invariants, of the stacked
 * operands and of the stacked results.  In the body a stacked place is a view
 * that moves by one index per turn.  With a condition, a bool beside them is
 * computed in front of the loop and at the end of each turn.
 */
#include "expand.h"

typedef struct Loop {
    Scene *s; /* the function around */
    const Inst *in;
    Fn *body;       /* local */
    const Fn *cond; /* or NULL */
    uint32_t carry, invariant, stacked, nresults;
    Axis axis;
    Trail **trails; /* by result */
    Home *results;  /* in the function around */
    Home flag;      /* likewise; no root without a condition */
    VEC(Value) operands;
    Builder b;     /* of the kernel function of the body */
    Home *inner;   /* homes of the body's parameters */
    Home *targets; /* and of its results */
    Home inner_flag;
    Home *handed;   /* by operand handed in: its home around */
    Home *received; /* and inside, whole */
    uint32_t nhanded;
} Loop;

static Home operand_home(const Loop *l, uint32_t i)
{
    return l->s->home[inst_arg(l->s->fn, l->in, i).id];
}

static void cond_into(Scene *s, const Fn *cond, Builder *b, const Home *args,
                      const Home *flag)
{
    if (!cond) return;
    Scene inner;
    scene_init(&inner, s->x, cond, b, args, flag);
    inner.seen = s->seen;
    scene_emit(&inner);
    s->seen = inner.seen;
}

/* The operands of the condition: carried, then invariant. */
static void test_before(Loop *l)
{
    if (!l->cond) return;
    Scene *s = l->s;
    Layout layout =
        layout_dense(s->x->m, type_scalar(s->x->m, DT_bool), s->x->a);
    l->flag = (Home){
        .root = root_new(s, layout, module_str(s->x->m, "go"), l->in->loc),
        .layout = layout};
    Home *args = NEW_ARRAY(s->x->a, Home, (size_t)l->in->nargs + 1);
    for (uint32_t i = 0; i < l->carry; i++)
        args[i] = l->results[i];
    for (uint32_t i = 0; i < l->invariant; i++)
        args[l->carry + i] = operand_home(l, l->carry + i);
    cond_into(s, l->cond, s->b, args, &l->flag);
    for (uint32_t i = l->carry; i < l->nresults; i++)
        emit_zero(s, &l->results[i]);
}

/* Hands a place to the loop; gives its home inside.  A stacked result over a
 * stacked operand is one place inside, too. */
static Home hand_in(Loop *l, const Home *h, Str name)
{
    Scene *s = l->s;
    Module *m = s->x->m;
    for (uint32_t i = 0; i < l->nhanded; i++)
        if (home_same(m, &l->handed[i], h)) return l->received[i];
    vec_push(s->x->a, &l->operands, home_value(s, h));
    Root *r = root_new(s, h->layout, name, l->in->loc);
    r->value = builder_param(
        &l->b, (Port){.name = name, .type = h->layout.type, .loc = l->in->loc});
    AttrList list = {.n = 0};
    layout_put_stride(m, h->layout, &list);
    if (list.n) l->b.fn->insts[r->value.id].attr = attr_intern(m, &list);
    Home inside = {.root = r, .layout = h->layout};
    l->handed[l->nhanded] = *h;
    l->received[l->nhanded++] = inside;
    return inside;
}

/* One index of a stacked place. */
static Home one_turn(const Loop *l, Home h)
{
    Module *m = l->s->x->m;
    Type t = type_without_axis(m, h.layout.type, l->axis);
    h.turn =
        layout_stride(m, h.layout, l->axis) * dtype_bytes(type_dtype(m, t));
    h.layout = layout_from(l->s->x, t, h.layout);
    return h;
}

static Home row_in_trail(Loop *l, const Trail *t, Str name, bool goes_on)
{
    Home whole = hand_in(l, &t->whole, name);
    return trail_row(l->s, t, &whole, goes_on);
}

static void hand_in_all(Loop *l)
{
    Module *m = l->s->x->m;
    if (l->cond) l->inner_flag = hand_in(l, &l->flag, module_str(m, "go"));
    for (uint32_t i = 0; i < l->in->nargs; i++) {
        Str name = l->body->params[i].name;
        if (i < l->carry && l->trails[i]) {
            l->inner[i] = row_in_trail(l, l->trails[i], name, false);
            continue;
        }
        Home h = i < l->carry ? l->results[i] : operand_home(l, i);
        l->inner[i] = hand_in(l, &h, name);
        if (i >= l->carry + l->invariant)
            l->inner[i] = one_turn(l, l->inner[i]);
    }
    for (uint32_t i = 0; i < l->nresults; i++) {
        Value v = l->body->result_values[i];
        if (l->trails[i]) {
            bool goes_on = trail_goes_on(m, l->in, i);
            l->targets[i] =
                row_in_trail(l, l->trails[i], l->body->names[v.id], goes_on);
            continue;
        }
        if (i < l->carry) {
            l->targets[i] = l->inner[i];
            continue;
        }
        Home h = hand_in(l, &l->results[i], l->body->names[v.id]);
        l->targets[i] = one_turn(l, h);
    }
}

static FnRef expand_body(Loop *l)
{
    Module *m = l->s->x->m;
    /* The first loop over a body takes its name: the local one goes.  Another
     * is named when those inside of it have names. */
    Str name = l->body->name;
    l->body->name = (Str){0};
    Fn *fn = fn_new(m, name, VIEW_kernel);
    fn->loc = l->body->loc;
    builder_init(&l->b, m, fn);
    hand_in_all(l);
    Scene inner;
    scene_init(&inner, l->s->x, l->body, &l->b, l->inner, l->targets);
    scene_emit(&inner);
    cond_into(&inner, l->cond, &l->b, l->inner, &l->inner_flag);
    if (!name.id) fn->name = fn_fresh_name(m, "body");
    return module_add_fn(m, fn);
}

static void begin_carried(Loop *l)
{
    Scene *s = l->s;
    for (uint32_t i = 0; i < l->carry; i++) {
        Value v = inst_arg(s->fn, l->in, i);
        Home from = operand_home(l, i), to = l->results[i];
        if (l->trails[i]) to = trail_begin(s, l->trails[i]);
        if (is_beginning(s, v))
            emit_beginning(s, v, &to);
        else
            emit_copy(s, &from, &to);
    }
}

void emit_loop(Scene *s, Value repeat)
{
    Module *m = s->x->m;
    const Inst *in = inst_of(s->fn, repeat);
    Loop l = {.s = s, .in = in};
    l.body = fn_of(m, attr_fn(m, in->attr, AT_fn));
    if (attr_get(m, in->attr, AT_while))
        l.cond = fn_of(m, attr_fn(m, in->attr, AT_while));
    l.carry = (uint32_t)attr_int(m, in->attr, AT_carry, 0);
    l.invariant = (uint32_t)attr_int(m, in->attr, AT_invariant, 0);
    l.axis = attr_axis(m, in->attr, AT_axis);
    l.nresults = l.body->nresults;
    l.results = result_homes(s, repeat, l.nresults);
    l.trails = NEW_ARRAY(s->x->a, Trail *, (size_t)l.nresults + 1);
    for (uint32_t i = 0; i < l.nresults; i++)
        l.trails[i] = trail_of(s, repeat, i);
    l.inner = NEW_ARRAY(s->x->a, Home, (size_t)l.body->nparams + 1);
    uint32_t most = in->nargs + l.nresults + 2;
    l.handed = NEW_ARRAY(s->x->a, Home, most);
    l.received = NEW_ARRAY(s->x->a, Home, most);
    l.targets = NEW_ARRAY(s->x->a, Home, (size_t)l.nresults + 1);
    begin_carried(&l);
    test_before(&l);
    FnRef body = expand_body(&l);
    AttrList list = {.n = 0};
    attr_put_id(&list, AT_fn, body.id);
    attr_put_id(&list, AT_axis, l.axis.id);
    attr_put_int(&list, AT_count, attr_int(m, in->attr, AT_count, 0));
    if (attr_flag(m, in->attr, AT_reverse)) attr_put_int(&list, AT_reverse, 1);
    if (fn_is(m, l.body, FK_lane)) attr_put_int(&list, AT_parallel, 1);
    if (l.cond) attr_put_int(&list, AT_guarded, 1);
    s->b->loc = in->loc;
    emit(s->b, OP_loop, (Type){0}, attr_intern(m, &list), l.operands.at,
         l.operands.n);
}
