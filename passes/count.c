/*
 * count.c: parameters, and floating-point operations per token.
 *
 *   needs    inlined; after recognise, before autodiff
 *   keeps    everything
 *   result   the options `parameters` and `flops_per_token`
 *
 * The number by which trainers are compared (model FLOPs, without what is
 * computed a second time):
 *
 *     6 x parameters that multiply + 3 x matmuls of attention, per token
 *
 * A parameter multiplies each token once forward (two operations) and twice
 * backward; a frozen one forward alone.  A table in which rows are looked up
 * does not multiply, even where it is the head as well.  Of a parameter that
 * is picked by an index and then contracted (experts) the picked part counts.
 * Attention is what `recognise` calls so; a mask is not credited.
 *
 * A token is an element of the first integer input, so that the batch and
 * what accumulates it cancel; without one it is an element of the first axis
 * of the first input.  Where no parameter is looked up in, integers are no
 * tokens but numbers, as the bytes of an image: then parameters multiply each
 * element of the first axis once, or, contracted, as often as they do, and the
 * sum is shared by the integers of it.
 */
#include <stdio.h>
#include <string.h>

#include "pass.h"

/* The part of a parameter that multiplies a token. */
typedef struct Use {
    bool looked_up;
    double part; /* picked by an index; 1: all */
    double rows; /* how often it is contracted; 0: not, or not known */
} Use;

typedef struct Count {
    Module *m;
    double tokens;
} Count;

/* ----------------------------------------------------------- parameters -- */

static Use use_of(Count *c, const Fn *fn, Value v);

static void merge(Use *into, Use u)
{
    into->looked_up = into->looked_up || u.looked_up;
    if (u.part < into->part) into->part = u.part;
    if (u.rows > into->rows) into->rows = u.rows;
}

/* What keeps the elements and changes their arrangement or dtype. */
static bool passes_on(const Fn *fn, Value user)
{
    switch ((Op)inst_of(fn, user)->op) {
    case OP_rename:
    case OP_split:
    case OP_merge:
    case OP_slice:
        return true;
    case OP_map:
        return inst_of(fn, user)->nargs == 1;
    default:
        return false;
    }
}

static bool is_contracted(Count *c, const Fn *fn, Value v)
{
    for (uint32_t i = v.id + 1; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++) {
            if (!value_eq(inst_arg(fn, in, k), v)) continue;
            if (in->op == OP_einsum) return true;
            if (passes_on(fn, (Value){i}) && is_contracted(c, fn, (Value){i}))
                return true;
        }
    }
    return false;
}

/* A gather from the parameter: of a table, or of maps that are contracted. */
static Use use_in_gather(Count *c, const Fn *fn, Value user)
{
    Use u = {.part = 1};
    const Inst *in = inst_of(fn, user);
    if (!is_contracted(c, fn, user)) {
        u.looked_up = true;
        return u;
    }
    Module *m = c->m;
    Type table = value_type(fn, inst_arg(fn, in, 0));
    Type ids = value_type(fn, inst_arg(fn, in, 1));
    Axis axis = attr_axis(m, in->attr, AT_axis);
    double picked = (double)type_elements(m, ids) / c->tokens;
    double size = (double)type_size(m, table, axis);
    if (picked < size) u.part = picked / size;
    return u;
}

static Use use_in_inst(Count *c, const Fn *fn, Value user, uint32_t k)
{
    const Inst *in = inst_of(fn, user);
    if (in->op == OP_gather && k == 0) return use_in_gather(c, fn, user);
    if (passes_on(fn, user)) return use_of(c, fn, user);
    if (inst_calls(in)) {
        const Fn *callee = fn_of(c->m, attr_fn(c->m, in->attr, AT_fn));
        return use_of(c, callee, (Value){k});
    }
    Use u = {.part = 1};
    Type type = value_type(fn, inst_arg(fn, in, k));
    if (in->op == OP_einsum)
        u.rows =
            einsum_flops(c->m, fn, in) / 2 / (double)type_elements(c->m, type);
    return u;
}

static Use use_of(Count *c, const Fn *fn, Value v)
{
    Use u = {.part = 1};
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++)
            if (value_eq(inst_arg(fn, in, k), v))
                merge(&u, use_in_inst(c, fn, (Value){i}, k));
    }
    return u;
}

static double parameter_flops(Count *c, const Fn *fn, uint32_t param)
{
    Module *m = c->m;
    const Port *port = &fn->params[param];
    const Slot *slot = slot_find(m, port->path);
    Use u = use_of(c, fn, (Value){param});
    if (u.looked_up) return 0;
    double each = slot && slot->frozen ? 2 : 6;
    double rows = u.rows > c->tokens ? u.rows / c->tokens : 1;
    return each * u.part * rows * (double)type_elements(m, port->type);
}

/* ------------------------------------------------------------ attention -- */

static double attention_flops(Module *m, const Fn *fn, bool inside)
{
    double sum = 0;
    inside = inside || fn_is(m, fn, FK_attention);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op == OP_einsum && inside) sum += einsum_flops(m, fn, in);
        if (in->op != OP_call && in->op != OP_repeat) continue;
        const Fn *callee = fn_of(m, attr_fn(m, in->attr, AT_fn));
        double turns = (double)attr_int(m, in->attr, AT_count, 1);
        sum += turns * attention_flops(m, callee, inside);
    }
    return sum;
}

/* --------------------------------------------------------------- tokens -- */

static double count_first(const Module *m, const Fn *train)
{
    for (uint32_t i = 0; i < train->nparams; i++) {
        if (train->params[i].role != ROLE_input) continue;
        const TypeInfo *t = type_info(m, train->params[i].type);
        return t->naxes ? (double)t->axes[0].size : 1;
    }
    return 1;
}

static double count_tokens(const Module *m, const Fn *train)
{
    for (uint32_t i = 0; i < train->nparams; i++) {
        const Port *p = &train->params[i];
        if (p->role != ROLE_input) continue;
        DClass class = dtype_class(type_dtype(m, p->type));
        if (class == DC_int || class == DC_uint)
            return (double)type_elements(m, p->type);
    }
    return count_first(m, train);
}

static bool looks_up(Count *c, const Fn *train)
{
    for (uint32_t i = 0; i < train->nparams; i++)
        if (train->params[i].role == ROLE_param &&
            use_of(c, train, (Value){i}).looked_up)
            return true;
    return false;
}

static void set_number(Module *m, const char *name, double x)
{
    char text[40];
    snprintf(text, sizeof text, "%.0f", x);
    option_set(m, name, text);
}

bool pass_count(Module *m, PassCtx *cx)
{
    (void)cx;
    FnRef ref;
    if (!fn_find(m, module_str(m, "train"), &ref)) return true;
    const Fn *train = fn_of(m, ref);
    Count c = {.m = m, .tokens = count_tokens(m, train)};
    double parameters = 0, flops = 0, integers = c.tokens;
    if (!looks_up(&c, train)) c.tokens = count_first(m, train);
    for (uint32_t i = 0; i < train->nparams; i++) {
        if (train->params[i].role != ROLE_param) continue;
        parameters += (double)type_elements(m, train->params[i].type);
        flops += parameter_flops(&c, train, i);
    }
    flops *= c.tokens / integers;
    flops += 3 * attention_flops(m, train, false) / integers;
    set_number(m, "parameters", parameters);
    set_number(m, "flops_per_token", flops);
    return true;
}
