/*
 * once.c: a parameter is rounded, and summed up, once a step.
 *
 *   needs    precise
 *   keeps    the value of every result
 *   result   no two repeats of an entry, and no two turns, round the same
 *            parameter of the model to the same dtype; no repeat reduces one
 *            to much less
 *
 * With f32 masters a layer's products read parameters in bf16.  Its forward
 * rounds them, its backward rounds them again, and with several microbatches
 * each of these does.  Reading a master costs twice what reading the rounded
 * value does, so all layers' parameters are rounded in front of the first
 * repeat, for half a master's memory until the backward is done with it.
 *
 * What is rounded once anyway, in a validation say, is rounded where it is
 * read and takes no room.  So is all in a program whose plan has rules for
 * `remat`, but for `none` and `early`: it is memory that it lacks; unless a
 * budget finds that it has the room (hold.c, budget.c).  A parameter
 * that is gathered once a step (held.h) is rounded once in any case, and
 * quantised where its products are: so less is gathered, and lies whole.
 *
 * The scales of eight-bit products are made of the largest element of a
 * weight, forwards and backwards.  Such numbers take no room, so those of all
 * layers are made in front of the first repeat whatever the rules are, by one
 * reduction of all layers for each parameter.
 */
#include "cast.h"
#include "held.h"
#include "lift.h"
#include "remat/remat.h"

/* So often a value of an entry is rounded to a dtype. */
typedef struct Rounded {
    const Fn *entry;
    Value value;
    DType dtype;
    int64_t times;
} Rounded;

typedef struct Once {
    Module *m;
    Weights weights;
    VEC(Rounded) rounded;
    bool rounds;       /* roundings are wanted too */
    const bool **held; /* by function: parameters of an entry; or NULL */
} Once;

static bool is_rounding(const Module *m, const Fn *fn, const Inst *in)
{
    if (!is_cast(m, fn, in)) return false;
    Value x = inst_arg(fn, in, 0);
    return x.id < fn->nparams &&
           dtype_bytes(type_dtype(m, in->type)) <
               dtype_bytes(type_dtype(m, value_type(fn, x)));
}

static Rounded *rounded_of(Once *x, uint32_t f, const Inst *in)
{
    Value param = inst_arg(x->m->fns.at[f], in, 0);
    Rounded r = {x->weights.entry[f], x->weights.origin[f][param.id],
                 type_dtype(x->m, in->type), 0};
    if (value_eq(r.value, NO_VALUE)) return NULL;
    for (uint32_t i = 0; i < x->rounded.n; i++) {
        Rounded *o = &x->rounded.at[i];
        if (o->entry == r.entry && value_eq(o->value, r.value) &&
            o->dtype == r.dtype)
            return o;
    }
    vec_push(x->m->scratch, &x->rounded, r);
    return &vec_last(&x->rounded);
}

static void count_all(Once *x)
{
    x->weights = weights_find(x->m, x->m->scratch);
    x->rounded.n = 0;
    for (uint32_t f = 0; f < x->m->fns.n; f++) {
        const Fn *fn = x->m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts && fn->view != VIEW_kernel; i++) {
            const Inst *in = &fn->insts[i];
            Rounded *r =
                is_rounding(x->m, fn, in) ? rounded_of(x, f, in) : NULL;
            if (r) r->times += x->weights.times[f][inst_arg(fn, in, 0).id];
        }
    }
}

/* Reduced to so little that all layers' take no room. */
static bool is_summary(const Module *m, const Fn *fn, const Inst *in)
{
    enum { LITTLE = 16 };
    int64_t n = type_elements(m, in->type);
    while (in->op == OP_map && in->nargs == 1)
        in = inst_of(fn, inst_arg(fn, in, 0));
    if (in->op != OP_reduce) return false;
    Type of = value_type(fn, inst_arg(fn, in, 0));
    return n * LITTLE <= type_elements(m, of);
}

/* Something reads it that is no summary. */
static bool is_last(const Module *m, const Fn *fn, Value v)
{
    Uses uses = fn_uses(fn, m->scratch);
    bool last = uses.nresult[v.id] > 0;
    for (uint32_t i = uses.first[v.id]; i < uses.first[v.id + 1]; i++)
        last |= !is_summary(m, fn, inst_of(fn, uses.at[i]));
    return last;
}

/* Parameter PARAM of the body is one that is gathered once a step. */
static bool is_held(const Once *x, uint32_t body, Value param)
{
    const Fn *entry = x->weights.entry[body];
    Value v = x->weights.origin[body][param.id];
    for (uint32_t f = 0; f < x->m->fns.n; f++)
        if (x->m->fns.at[f] == entry)
            return x->held[f] && v.id < entry->nparams && x->held[f][v.id];
    return false;
}

/* In eight bits, by scales, of a parameter that is gathered once a step. */
static bool is_quantised(const Once *x, uint32_t body, Value v)
{
    const Fn *fn = x->m->fns.at[body];
    const Inst *in = inst_of(fn, v);
    int64_t n = type_elements(x->m, in->type);
    if (in->op != OP_map || dtype_bytes(type_dtype(x->m, in->type)) != 1)
        return false;
    while (v.id >= fn->nparams && in->nargs &&
           (in->op == OP_map || in->op == OP_rename) &&
           type_elements(x->m, value_type(fn, inst_arg(fn, in, 0))) == n) {
        v = inst_arg(fn, in, 0);
        in = inst_of(fn, v);
    }
    return v.id < fn->nparams && is_held(x, body, v);
}

static bool is_wanted(void *user, uint32_t body, Value v)
{
    Once *x = user;
    const Fn *fn = x->m->fns.at[body];
    const Inst *in = inst_of(fn, v);
    if (is_summary(x->m, fn, in)) return is_last(x->m, fn, v);
    if (is_quantised(x, body, v)) return true;
    if (!is_rounding(x->m, fn, in)) return false;
    if (is_held(x, body, inst_arg(fn, in, 0))) return true;
    const Rounded *r = x->rounds ? rounded_of(x, body, in) : NULL;
    return r && r->times > 1;
}

static bool is_small(void *user, uint32_t body, Value v)
{
    const Module *m = ((Once *)user)->m;
    const Fn *fn = m->fns.at[body];
    return is_summary(m, fn, inst_of(fn, v));
}

static bool lacks_memory(const RematRules *rules)
{
    for (uint32_t i = 0; i < rules->at.n; i++)
        if (rules->at.at[i].mode != REMAT_none &&
            rules->at.at[i].mode != REMAT_early)
            return true;
    return false;
}

bool pass_once(Module *m, PassCtx *cx)
{
    Once x = {.m = m};
    Lift l = {m, &x.weights, is_wanted, is_small, &x};
    uint32_t n = 0;
    RematRules rules;
    if (!rules_read(m, cx, &rules)) return false;
    x.rounds = pass_option_int(m, cx, "rounds", !lacks_memory(&rules)) != 0;
    x.held = NEW_ARRAY(m->scratch, const bool *, (size_t)m->fns.n + 1);
    for (uint32_t f = 0; f < m->fns.n; f++)
        if (m->fns.at[f]->entry) x.held[f] = held_params(m, cx, m->fns.at[f]);
    for (bool again = true; again;) {
        again = false;
        count_all(&x);
        for (uint32_t i = 0; i < m->fns.n && !again; i++) {
            const Fn *fn = m->fns.at[i];
            again = !fn->kind.id && fn->view != VIEW_kernel && lift_out(&l, i);
        }
        n += again;
    }
    if (n)
        pass_remark(m, cx, (Loc){0},
                    "parameters are rounded and reduced once a step");
    return true;
}
