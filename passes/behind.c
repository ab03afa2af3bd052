/*
 * behind.c: small sums over devices are made behind the turns, of all of them.
 *
 *   needs    types of what one device holds
 *   keeps    every sum, element by element
 *   result   no turn sums over devices what it only gives, if that is so little
 *            that the devices take longer to meet than to move it
 *
 *     %d = repeat .. fn @layer.backward axis layer          turns give the sums
 *
 * becomes
 *
 *     %s = repeat .. fn @layer.backward axis layer          what they are of
 *     %d = reduce_scatter %s kind sum axis dp over (dp)     of all turns at
 * once
 *
 * So the gradient of a norm, which nobody needs before the update, is no point
 * in each layer at which all devices have to be as far as the slowest of them.
 *
 * On machines with links beside compute.
 */
#include "machine.h"
#include "repeat.h"

/* So many times longer than it takes to move it. */
static const double little = 8;

typedef struct Behind {
    Module *m;
    Machine on;
    const Fn *fn, *body;
    Value repeat;
    Repeat r;
    bool *late; /* by result of the body */
} Behind;

/* ------------------------------------------------------------------ find -- */

static bool is_small(const Behind *x, const Inst *in)
{
    Type from = value_type(x->body, inst_arg(x->body, in, 0));
    double bytes = (double)type_bytes(x->m, from);
    return bytes / x->on.alone * little <= x->on.meet;
}

/* A sum over devices that the body gives and does not read. */
static bool is_late(const Behind *x, const Uses *uses, Value v)
{
    const Inst *in = inst_of(x->body, v);
    Axis group;
    return (in->op == OP_reduce_scatter || in->op == OP_all_reduce) &&
           uses->nresult[v.id] == 1 &&
           uses->first[v.id] == uses->first[v.id + 1] &&
           collective_is_dense(x->m, x->body, in, &group) && is_small(x, in);
}

/* How often a function is named by instructions. */
static uint32_t callers_of(const Module *m, FnRef f)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->fns.n; i++) {
        const Fn *fn = m->fns.at[i];
        for (uint32_t k = fn->nparams; k < fn->ninsts; k++)
            n += attr_get(m, fn->insts[k].attr, AT_fn) &&
                 attr_fn(m, fn->insts[k].attr, AT_fn).id == f.id;
    }
    return n;
}

static bool find(Behind *x)
{
    bool any = false;
    x->r = repeat_of(x->m, inst_of(x->fn, x->repeat));
    x->body = fn_of(x->m, x->r.fn);
    x->late = NEW_ARRAY(x->m->scratch, bool, x->body->nresults + 1);
    if (x->r.has_while) return false;
    Uses uses = fn_uses(x->body, x->m->scratch);
    for (uint32_t i = x->r.carry; i < x->body->nresults; i++)
        any |= x->late[i] = is_late(x, &uses, x->body->result_values[i]);
    return any && callers_of(x->m, x->r.fn) == 1;
}

/* ----------------------------------------------------------------- apply -- */

static bool is_result(const Behind *x, Value v)
{
    for (uint32_t i = x->r.carry; i < x->body->nresults; i++)
        if (x->late[i] && value_eq(x->body->result_values[i], v)) return true;
    return false;
}

/* The body without the sums. */
static Fn *body_without(const Behind *x)
{
    const Fn *body = x->body;
    Rewrite rw;
    rewrite_begin(&rw, x->m, body);
    for (uint32_t i = body->nparams; i < body->ninsts; i++) {
        Value v = {i}, of;
        if (!is_result(x, v)) {
            rewrite_copy(&rw, v);
            continue;
        }
        of = inst_arg(body, inst_of(body, v), 0);
        rewrite_set(&rw, v, rewrite_value(&rw, of));
    }
    return rewrite_end(&rw);
}

static Value emit_repeat(const Behind *x, Rewrite *rw, const Fn *body)
{
    const Inst *in = inst_of(x->fn, x->repeat);
    Value *args = NEW_ARRAY(x->m->scratch, Value, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = rewrite_value(rw, inst_arg(x->fn, in, i));
    Type t = repeat_type(x->m, body, x->r.carry, x->r.axis, x->r.count);
    rw->b.loc = in->loc;
    rw->b.phase = (Phase)in->phase;
    return emit(&rw->b, OP_repeat, t, in->attr, args, in->nargs);
}

/* A result of the repeat, which may be a sum of what comes out of it. */
static Value emit_result(const Behind *x, Rewrite *rw, Value turns, Value old)
{
    const Inst *in = inst_of(x->fn, old);
    uint32_t at = (uint32_t)attr_int(x->m, in->attr, AT_index, 0);
    rw->b.loc = in->loc;
    rw->b.phase = (Phase)in->phase;
    Value v = emit_proj(&rw->b, turns, at);
    if (!x->late[at]) return v;
    const Inst *sum = inst_of(x->body, x->body->result_values[at]);
    rw->b.loc = sum->loc;
    rw->b.phase = (Phase)sum->phase;
    return emit(&rw->b, (Op)sum->op, in->type, sum->attr, &v, 1);
}

static Fn *caller_with(const Behind *x, const Fn *body)
{
    const Fn *fn = x->fn;
    Value turns = NO_VALUE;
    Rewrite rw;
    rewrite_begin(&rw, x->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        Value v = {i}, made;
        const Inst *in = &fn->insts[i];
        bool field =
            in->op == OP_proj && value_eq(inst_arg(fn, in, 0), x->repeat);
        if (!field && !value_eq(v, x->repeat)) {
            rewrite_copy(&rw, v);
            continue;
        }
        made = field ? emit_result(x, &rw, turns, v)
                     : (turns = emit_repeat(x, &rw, body));
        value_set_name(&rw.b, made, fn->names[i]);
        rewrite_set(&rw, v, made);
    }
    Fn *made = rewrite_end(&rw);
    made->kind = fn->kind;
    return made;
}

static void say(const Behind *x, PassCtx *cx)
{
    uint32_t n = 0;
    for (uint32_t i = x->r.carry; i < x->body->nresults; i++)
        n += x->late[i];
    pass_remark(x->m, cx, x->fn->loc,
                "'%s': %u sums over devices of each turn of '%s' are made "
                "behind all of them",
                str_of(x->m, x->fn->name), n, str_of(x->m, x->body->name));
}

/* The first repeat of a function for which there is something to do. */
static bool change_fn(Behind *x, PassCtx *cx, uint32_t f)
{
    x->fn = x->m->fns.at[f];
    for (uint32_t i = x->fn->nparams; i < x->fn->ninsts; i++) {
        if (x->fn->insts[i].op != OP_repeat) continue;
        x->repeat = (Value){i};
        if (!find(x)) continue;
        say(x, cx);
        Fn *body = body_without(x);
        body->kind = x->body->kind;
        x->m->fns.at[x->r.fn.id] = body;
        x->m->fns.at[f] = caller_with(x, body);
        return true;
    }
    return false;
}

bool pass_behind(Module *m, PassCtx *cx)
{
    Behind x = {.m = m, .on = machine_of(m, cx)};
    bool again = x.on.links;
    while (again) {
        again = false;
        for (uint32_t f = 0; f < m->fns.n; f++)
            if (m->fns.at[f]->view == VIEW_local) again |= change_fn(&x, cx, f);
    }
    return true;
}
