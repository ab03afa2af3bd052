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
 * backward; a frozen one twice where a gradient goes through it to what is
 * trained, else forward alone.  So does attention: its matmuls count once, and
 * once more for each operand that depends on what is trained.  A table in which
 * rows are looked up does not multiply, even where it is the head as well.  Of
 * a parameter that is picked by an index and then contracted (experts) the
 * picked part counts. Attention is what `recognise` calls so; a mask is not
 * credited.
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

#include "autodiff/autodiff.h"
#include "pass.h"
#include "repeat.h"

/* The part of a parameter that multiplies a token. */
typedef struct Use {
    bool looked_up;
    bool passed; /* a gradient goes through it, to what it is used with */
    double part; /* picked by an index; 1: all */
    double rows; /* how often it is contracted; 0: not, or not known */
} Use;

typedef struct Count {
    Module *m;
    double tokens;
    bool **varied; /* by function, by value: it depends on what is trained */
    bool changed;
} Count;

/* ---------------------------------------------------------------- varied -- */

static void vary(Count *c, FnRef fn, Value v, bool now)
{
    const Fn *of = fn_of(c->m, fn);
    const TypeInfo *t = type_info(c->m, value_type(of, v));
    if (!now || c->varied[fn.id][v.id] || t->is_tuple ||
        dtype_class(t->dtype) != DC_float)
        return;
    c->varied[fn.id][v.id] = c->changed = true;
}

static bool is_varied(const Count *c, FnRef fn, Value v)
{
    return c->varied[fn.id][v.id];
}

/* A result of what a call or a repeat calls. */
static bool is_given(const Count *c, FnRef fn, const Inst *call, uint32_t i)
{
    FnRef callee = attr_fn(c->m, call->attr, AT_fn);
    Value result = fn_of(c->m, callee)->result_values[i];
    if (is_varied(c, callee, result)) return true;
    return call->op == OP_repeat && i < repeat_of(c->m, call).carry &&
           is_varied(c, fn, inst_arg(fn_of(c->m, fn), call, i));
}

static void vary_callee(Count *c, FnRef fn, const Inst *call)
{
    FnRef callee = attr_fn(c->m, call->attr, AT_fn);
    const Fn *of = fn_of(c->m, callee);
    for (uint32_t i = 0; i < call->nargs; i++) {
        Value arg = inst_arg(fn_of(c->m, fn), call, i);
        vary(c, callee, (Value){i}, is_varied(c, fn, arg));
    }
    uint32_t carry = call->op == OP_repeat ? repeat_of(c->m, call).carry : 0;
    for (uint32_t i = 0; i < carry; i++)
        vary(c, callee, (Value){i}, is_varied(c, callee, of->result_values[i]));
}

static bool inst_varies(const Count *c, FnRef fn, const Inst *in)
{
    const Fn *of = fn_of(c->m, fn);
    if (in->op == OP_grad) return false;
    if (inst_calls(in)) return is_given(c, fn, in, 0); /* no tuple */
    if (in->op == OP_proj) {
        const Inst *call = inst_of(of, inst_arg(of, in, 0));
        int64_t i = attr_int(c->m, in->attr, AT_index, 0);
        return inst_calls(call) && is_given(c, fn, call, (uint32_t)i);
    }
    for (uint32_t k = 0; k < in->nargs; k++)
        if (is_varied(c, fn, inst_arg(of, in, k)) &&
            (in->op != OP_map ||
             expr_depends(c->m, c->m->scratch, attr_expr(c->m, in->attr), k)))
            return true;
    return false;
}

static void vary_fn(Count *c, FnRef fn)
{
    const Fn *of = fn_of(c->m, fn);
    for (uint32_t i = of->nparams; i < of->ninsts; i++) {
        const Inst *in = &of->insts[i];
        if (inst_calls(in)) vary_callee(c, fn, in);
        if (!c->varied[fn.id][i])
            vary(c, fn, (Value){i}, inst_varies(c, fn, in));
    }
}

static bool is_trained(const Module *m, const Port *port)
{
    const Slot *slot = slot_find(m, port->path);
    return port->role == ROLE_param && !(slot && slot->frozen);
}

static void find_varied(Count *c, FnRef train)
{
    Module *m = c->m;
    const Fn *fn = fn_of(m, train);
    c->varied = NEW_ARRAY(m->scratch, bool *, m->fns.n + 1);
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i])
            c->varied[i] =
                NEW_ARRAY(m->scratch, bool, m->fns.at[i]->ninsts + 1);
    for (uint32_t i = 0; i < fn->nparams; i++)
        vary(c, train, (Value){i}, is_trained(m, &fn->params[i]));
    do {
        c->changed = false;
        for (uint32_t i = 0; i < m->fns.n; i++)
            if (m->fns.at[i]) vary_fn(c, (FnRef){i});
    } while (c->changed);
}

/* ----------------------------------------------------------- parameters -- */

static Use use_of(Count *c, FnRef ref, Value v);

static void merge(Use *into, Use u)
{
    into->looked_up = into->looked_up || u.looked_up;
    into->passed = into->passed || u.passed;
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

/* An operand beside V depends on what is trained. */
static bool is_passed(const Count *c, FnRef ref, const Inst *in, Value v)
{
    for (uint32_t k = 0; k < in->nargs; k++) {
        Value arg = inst_arg(fn_of(c->m, ref), in, k);
        if (!value_eq(arg, v) && is_varied(c, ref, arg)) return true;
    }
    return false;
}

/* PASSED is set where a gradient goes through the contraction. */
static bool is_contracted(Count *c, FnRef ref, Value v, bool *passed)
{
    const Fn *fn = fn_of(c->m, ref);
    bool found = false;
    for (uint32_t i = v.id + 1; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++) {
            if (!value_eq(inst_arg(fn, in, k), v)) continue;
            if (in->op == OP_einsum) {
                found = true;
                *passed = *passed || is_passed(c, ref, in, v);
            } else if (passes_on(fn, (Value){i})) {
                found |= is_contracted(c, ref, (Value){i}, passed);
            }
        }
    }
    return found;
}

/* A gather from the parameter: of a table, or of maps that are contracted. */
static Use use_in_gather(Count *c, FnRef ref, Value user)
{
    Use u = {.part = 1};
    const Fn *fn = fn_of(c->m, ref);
    const Inst *in = inst_of(fn, user);
    if (!is_contracted(c, ref, user, &u.passed)) {
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

static Use use_in_inst(Count *c, FnRef ref, Value user, uint32_t k)
{
    const Fn *fn = fn_of(c->m, ref);
    const Inst *in = inst_of(fn, user);
    if (in->op == OP_gather && k == 0) return use_in_gather(c, ref, user);
    if (passes_on(fn, user)) return use_of(c, ref, user);
    if (inst_calls(in))
        return use_of(c, attr_fn(c->m, in->attr, AT_fn), (Value){k});
    Value v = inst_arg(fn, in, k);
    Use u = {.part = 1, .passed = is_passed(c, ref, in, v)};
    Type type = value_type(fn, v);
    if (in->op == OP_einsum)
        u.rows =
            einsum_flops(c->m, fn, in) / 2 / (double)type_elements(c->m, type);
    return u;
}

static Use use_of(Count *c, FnRef ref, Value v)
{
    Use u = {.part = 1};
    const Fn *fn = fn_of(c->m, ref);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        for (uint32_t k = 0; k < in->nargs; k++)
            if (value_eq(inst_arg(fn, in, k), v))
                merge(&u, use_in_inst(c, ref, (Value){i}, k));
    }
    return u;
}

static double parameter_flops(Count *c, FnRef train, uint32_t param)
{
    Module *m = c->m;
    const Port *port = &fn_of(m, train)->params[param];
    Use u = use_of(c, train, (Value){param});
    if (u.looked_up) return 0;
    double each = is_trained(m, port) ? 6 : u.passed ? 4 : 2;
    double rows = u.rows > c->tokens ? u.rows / c->tokens : 1;
    return each * u.part * rows * (double)type_elements(m, port->type);
}

/* ------------------------------------------------------------ attention -- */

/* Forward, and the gradients of operands. */
static double matmul_flops(const Count *c, FnRef ref, const Inst *in)
{
    const Fn *fn = fn_of(c->m, ref);
    double times = 1;
    for (uint32_t k = 0; k < in->nargs; k++)
        times += is_varied(c, ref, inst_arg(fn, in, k));
    return times * einsum_flops(c->m, fn, in);
}

static double attention_flops(const Count *c, FnRef ref, bool inside)
{
    double sum = 0;
    const Fn *fn = fn_of(c->m, ref);
    inside = inside || fn_is(c->m, fn, FK_attention);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op == OP_einsum && inside) sum += matmul_flops(c, ref, in);
        if (in->op != OP_call && in->op != OP_repeat) continue;
        double turns = (double)attr_int(c->m, in->attr, AT_count, 1);
        FnRef callee = attr_fn(c->m, in->attr, AT_fn);
        sum += turns * attention_flops(c, callee, inside);
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

static bool looks_up(Count *c, FnRef ref)
{
    const Fn *train = fn_of(c->m, ref);
    for (uint32_t i = 0; i < train->nparams; i++)
        if (train->params[i].role == ROLE_param &&
            use_of(c, ref, (Value){i}).looked_up)
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
    find_varied(&c, ref);
    if (!looks_up(&c, ref)) c.tokens = count_first(m, train);
    for (uint32_t i = 0; i < train->nparams; i++) {
        if (train->params[i].role != ROLE_param) continue;
        parameters += (double)type_elements(m, train->params[i].type);
        flops += parameter_flops(&c, ref, i);
    }
    flops *= c.tokens / integers;
    flops += attention_flops(&c, ref, false) / integers;
    set_number(m, "parameters", parameters);
    set_number(m, "flops_per_token", flops);
    return true;
}
