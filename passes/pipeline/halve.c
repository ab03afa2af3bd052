/*
 * halve.c: a backward repeat becomes two.
 *
 *     %b = repeat %d, .. fn @back reverse        gradients of inputs, weights
 *
 * becomes
 *
 *     %i = repeat %d, .. fn @back.inputs reverse        carried, and what the
 *     %w = repeat .., parts of %i fn @back.weights      second reads of it
 *
 * The first makes what is carried, with all that this needs, and gradients that
 * are sums of what it has, as of norms' weights and of biases; the second the
 * rest, which are products, in turns that do not depend on each other.  So sums
 * stand in the kernels in which a backward that is whole has them, and have
 * their bits.  A value of the first that the second can make again by one map
 * or move of what it has anyhow is not stacked.
 */
#include "cut.h"

typedef struct Halved {
    Cut *c;
    const Fn *body;
    Repeat r;
    bool *inputs;  /* by value: the first makes it */
    bool *weights; /* the second makes it, or reads it */
    bool *border;  /* the second reads it from the first */
    Rewrite rw[2];
    uint32_t *field;    /* of the first: by border value, by other result */
    VEC(uint32_t) kept; /* operands of the second: parameters of the body */
} Halved;

static void mark_needs(const Fn *fn, bool *marked)
{
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;)
        for (uint32_t k = 0; marked[i] && k < fn->insts[i].nargs; k++)
            marked[inst_arg(fn, &fn->insts[i], k).id] = true;
}

/* Parameters that both have: all but the carried ones. */
static bool is_shared(const Halved *h, uint32_t v)
{
    return v < h->body->nparams && v >= h->r.carry;
}

static bool remakes(const Halved *h, uint32_t v)
{
    const Inst *in = &h->body->insts[v];
    if (in->op != OP_map && !(op_info((Op)in->op)->flags & OPF_FREE))
        return false;
    for (uint32_t k = 0; k < in->nargs; k++) {
        uint32_t o = inst_arg(h->body, in, k).id;
        if (!is_shared(h, o) && !h->border[o]) return false;
    }
    return in->op != OP_proj;
}

/* Whether maps, moves and sums make value V of what is LIGHT. */
static bool is_light(const Halved *h, const bool *light, uint32_t v)
{
    const Inst *in = &h->body->insts[v];
    if (h->inputs[v] || v < h->body->nparams) return true;
    if (in->op != OP_map && in->op != OP_reduce &&
        !(op_info((Op)in->op)->flags & OPF_FREE))
        return false;
    for (uint32_t k = 0; k < in->nargs; k++)
        if (!light[inst_arg(h->body, in, k).id]) return false;
    return true;
}

/* Gradients that take no product. */
static void take_sums(Halved *h)
{
    const Fn *fn = h->body;
    bool *light = NEW_ARRAY(h->c->a, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++)
        light[i] = is_light(h, light, i);
    for (uint32_t i = h->r.carry; i < fn->nresults; i++) {
        uint32_t v = fn->result_values[i].id;
        if (v >= fn->nparams && light[v]) h->inputs[v] = true;
    }
    mark_needs(fn, h->inputs);
}

/* From the last to the first: what the second reads is made by it, if it is not
 * of the first, or can be made again. */
static void find_border(Halved *h)
{
    const Fn *fn = h->body;
    for (uint32_t i = 0; i < fn->nresults; i++) {
        uint32_t v = fn->result_values[i].id;
        if (i < h->r.carry) h->inputs[v] = true;
    }
    mark_needs(fn, h->inputs);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) /* read of a tuple */
        if (fn->insts[i].op == OP_proj)
            h->inputs[i] = h->inputs[inst_arg(fn, &fn->insts[i], 0).id];
    take_sums(h);
    for (uint32_t i = h->r.carry; i < fn->nresults; i++) {
        uint32_t v = fn->result_values[i].id;
        if (!h->inputs[v]) h->weights[v] = true;
    }
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;) {
        if (!h->weights[i] || h->inputs[i]) continue;
        for (uint32_t k = 0; k < fn->insts[i].nargs; k++)
            h->weights[inst_arg(fn, &fn->insts[i], k).id] = true;
    }
    for (uint32_t i = 0; i < fn->ninsts; i++)
        h->border[i] = h->weights[i] && h->inputs[i] && !is_shared(h, i);
    for (uint32_t i = fn->ninsts; i-- > fn->nparams;)
        if (h->border[i] && remakes(h, i)) {
            h->border[i] = false;
            for (uint32_t k = 0; k < fn->insts[i].nargs; k++)
                h->weights[inst_arg(fn, &fn->insts[i], k).id] = true;
        }
}

static void half_name(Halved *h, Fn *fn, const char *what)
{
    const char *stem =
        arena_printf(h->c->a, "%s.%s", str_of(h->c->m, h->body->name), what);
    fn->name = fn_fresh_name(h->c->m, stem);
}

static FnRef write_inputs(Halved *h)
{
    Rewrite *rw = &h->rw[0];
    const Fn *fn = h->body;
    rewrite_begin(rw, h->c->m, fn);
    half_name(h, rw->b.fn, "inputs");
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (h->inputs[i]) rewrite_copy(rw, (Value){i});
    for (uint32_t i = 0; i < fn->nresults; i++) {
        Value v = fn->result_values[i];
        if (i >= h->r.carry && !h->inputs[v.id]) continue;
        builder_result(&rw->b, rewrite_value(rw, v), fn->results[i]);
    }
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (!h->border[i]) continue;
        Port port = {.loc = fn->insts[i].loc};
        h->field[i] = rw->b.fn->nresults;
        builder_result(&rw->b, rewrite_value(rw, (Value){i}), port);
    }
    return module_add_fn(h->c->m, rw->b.fn);
}

/* Invariant parameters, stacked ones, the border, the turn. */
static void weight_params(Halved *h, Builder *b)
{
    const Fn *fn = h->body;
    Rewrite *rw = &h->rw[1];
    uint32_t turn = fn->nparams - 1;
    for (uint32_t i = h->r.carry; i < turn; i++) {
        if (!h->weights[i]) continue;
        rw->map[i] = builder_param(b, fn->params[i]);
        vec_push(h->c->a, &h->kept, i);
    }
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (!h->border[i]) continue;
        Port port = {.name = fn->names[i],
                     .type = fn->insts[i].type,
                     .loc = fn->insts[i].loc};
        rw->map[i] = builder_param(b, port);
    }
    rw->map[turn] = builder_param(b, fn->params[turn]);
}

static bool is_weight(const Halved *h, uint32_t v)
{
    return h->weights[v] && !h->border[v] && v >= h->body->nparams;
}

static FnRef write_weights(Halved *h)
{
    Module *m = h->c->m;
    const Fn *fn = h->body;
    Rewrite *rw = &h->rw[1];
    Fn *made = fn_new(m, fn->name, fn->view);
    half_name(h, made, "weights");
    made->loc = fn->loc;
    rw->old = fn;
    rw->map = NEW_ARRAY(h->c->a, Value, fn->ninsts + 1);
    memset(rw->map, 0xff, (fn->ninsts + 1) * sizeof *rw->map);
    builder_init(&rw->b, m, made);
    weight_params(h, &rw->b);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        if (is_weight(h, i)) rewrite_copy(rw, (Value){i});
    for (uint32_t i = h->r.carry; i < fn->nresults; i++) {
        Value v = fn->result_values[i];
        if (!h->inputs[v.id])
            builder_result(&rw->b, rewrite_value(rw, v), fn->results[i]);
    }
    return module_add_fn(m, made);
}

/* --------------------------------------------------------------- repeats -- */

static Type turns_type(const Halved *h, FnRef fn, uint32_t carry)
{
    Module *m = h->c->m;
    return repeat_type(m, fn_of(m, fn), carry, h->r.axis, h->r.count);
}

static Attr half_attr(const Halved *h, Attr attr, FnRef fn, bool first)
{
    Module *m = h->c->m;
    AttrList l = attr_list(m, attr);
    attr_put_id(&l, AT_fn, fn.id);
    if (first) return attr_intern(m, &l);
    attr_drop(&l, AT_carry);
    attr_drop(&l, AT_invariant);
    int64_t invariant = 0;
    for (uint32_t i = 0; i < h->kept.n; i++)
        invariant += h->kept.at[i] < h->r.carry + h->r.invariant;
    if (invariant) attr_put_int(&l, AT_invariant, invariant);
    return attr_intern(m, &l);
}

static Value weight_repeat(Halved *h, Rewrite *rw, const Inst *in, Value inputs,
                           FnRef fn)
{
    VEC(Value) args = {0};
    for (uint32_t i = 0; i < h->kept.n; i++) {
        Value v = inst_arg(rw->old, in, h->kept.at[i]);
        vec_push(h->c->a, &args, rewrite_value(rw, v));
    }
    for (uint32_t i = 0; i < h->body->ninsts; i++)
        if (h->border[i])
            vec_push(h->c->a, &args, emit_proj(&rw->b, inputs, h->field[i]));
    return emit(&rw->b, OP_repeat, turns_type(h, fn, 0),
                half_attr(h, in->attr, fn, false), args.at, args.n);
}

/* The old fields in the place of the two repeats' own. */
static void read_halves(Halved *h, Rewrite *rw, Value old, Value inputs,
                        Value weights)
{
    const Fn *fn = h->body;
    uint32_t next[2] = {0, 0};
    Value *field = NEW_ARRAY(h->c->a, Value, fn->nresults + 1);
    for (uint32_t i = 0; i < fn->nresults; i++) {
        bool second = i >= h->r.carry && !h->inputs[fn->result_values[i].id];
        field[i] = emit_proj(&rw->b, second ? weights : inputs, next[second]++);
    }
    for (uint32_t i = old.id + 1; i < rw->old->ninsts; i++) {
        const Inst *in = &rw->old->insts[i];
        if (in->op != OP_proj || !value_eq(inst_arg(rw->old, in, 0), old))
            continue;
        Value v = field[attr_int(h->c->m, in->attr, AT_index, 0)];
        value_set_name(&rw->b, v, rw->old->names[i]);
        rewrite_set(rw, (Value){i}, v);
    }
}

static bool halve(Cut *c, Rewrite *rw, Value v, Repeat r)
{
    const Inst *in = inst_of(rw->old, v);
    Halved h = {.c = c, .body = fn_of(c->m, r.fn), .r = r};
    size_t n = h.body->ninsts + 1;
    bool **flags[] = {&h.inputs, &h.weights, &h.border};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        *flags[i] = NEW_ARRAY(c->a, bool, n);
    h.field = NEW_ARRAY(c->a, uint32_t, n);
    find_border(&h);
    FnRef first = write_inputs(&h), second = write_weights(&h);
    if (fn_of(c->m, second)->nresults == 0) return false;
    rw->b.loc = in->loc;
    rw->b.phase = (Phase)in->phase;
    Value *args = NEW_ARRAY(c->a, Value, in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = rewrite_value(rw, inst_arg(rw->old, in, i));
    Value inputs = emit(&rw->b, OP_repeat, turns_type(&h, first, r.carry),
                        half_attr(&h, in->attr, first, true), args, in->nargs);
    Value weights = weight_repeat(&h, rw, in, inputs, second);
    read_halves(&h, rw, v, inputs, weights);
    return true;
}

Fn *repeats_halved(Cut *c, const Fn *fn)
{
    Rewrite rw;
    Repeat r;
    rewrite_begin(&rw, c->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        if (!value_eq(rw.map[i], NO_VALUE)) continue;
        bool back = is_chain(c, &fn->insts[i], &r) && r.reverse && r.carry > 0;
        if (!back || !halve(c, &rw, (Value){i}, r))
            rewrite_copy(&rw, (Value){i});
    }
    return rewrite_end(&rw);
}
