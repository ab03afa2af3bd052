/*
 * weights.c: what functions are handed of the parameters of the model.
 *
 * A parameter of a body that one repeat runs is what the repeat is handed: all
 * of it, or a row for each turn.
 */
#include "weights.h"

#include "repeat.h"

typedef struct Walk {
    const Module *m;
    Arena *a;
    Weights *w;
    const uint32_t *nrunners; /* by function */
    const Fn *entry;
} Walk;

/* How many instructions run each function. */
static uint32_t *count_runners(const Module *m, Arena *a)
{
    uint32_t *n = NEW_ARRAY(a, uint32_t, (size_t)m->fns.n + 1);
    static const AttrKey keys[2] = {AT_fn, AT_while};
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++)
            for (uint32_t k = 0; k < 2; k++)
                if (attr_get(m, fn->insts[i].attr, keys[k]))
                    n[attr_fn(m, fn->insts[i].attr, keys[k]).id]++;
    }
    return n;
}

static bool is_place(Op op)
{
    return op == OP_rename || op == OP_merge || op == OP_split ||
           op == OP_concat || op == OP_slice;
}

/* What a value is, and how often. */
typedef struct Origin {
    Value value;
    int64_t times;
} Origin;

static const Origin none = {{UINT32_MAX}, 0};

static bool is_none(Origin o)
{
    return value_eq(o.value, NO_VALUE);
}

static void note(const Walk *w, uint32_t f, uint32_t i, Origin o)
{
    w->w->origin[f][i] = o.value;
    w->w->times[f][i] = o.times;
}

static void hand_down(const Walk *w, const Fn *fn, const Inst *repeat,
                      const Origin *origin);

/* ORIGIN: by value of FN; those of its parameters are known. */
static void walk_fn(const Walk *w, const Fn *fn, Origin *origin)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        origin[i] = none;
        bool all = fn == w->entry && is_place((Op)in->op);
        for (uint32_t k = 0; k < in->nargs; k++)
            all = all && !is_none(origin[inst_arg(fn, in, k).id]);
        if (all && in->nargs) origin[i] = (Origin){{i}, 1};
        if (in->op == OP_repeat && !attr_get(w->m, in->attr, AT_while))
            hand_down(w, fn, in, origin);
    }
}

static void hand_down(const Walk *w, const Fn *fn, const Inst *repeat,
                      const Origin *origin)
{
    Repeat r = repeat_of(w->m, repeat);
    uint32_t id = r.fn.id;
    const Fn *body = w->m->fns.at[id];
    if (w->nrunners[id] != 1 || body->kind.id) return;
    Origin *inner = NEW_ARRAY(w->a, Origin, (size_t)body->ninsts + 1);
    for (uint32_t k = 0; k < body->nparams; k++) {
        bool handed = k >= r.carry && k < repeat->nargs;
        inner[k] = handed ? origin[inst_arg(fn, repeat, k).id] : none;
        if (k < r.carry + r.invariant) inner[k].times *= r.count;
        note(w, id, k, inner[k]);
    }
    w->w->entry[id] = w->entry;
    walk_fn(w, body, inner);
}

Weights weights_find(const Module *m, Arena *a)
{
    Weights w = {.origin = NEW_ARRAY(a, Value *, (size_t)m->fns.n + 1),
                 .times = NEW_ARRAY(a, int64_t *, (size_t)m->fns.n + 1),
                 .entry = NEW_ARRAY(a, const Fn *, (size_t)m->fns.n + 1)};
    const uint32_t *nrunners = count_runners(m, a);
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        w.origin[f] = no_values(a, fn->nparams);
        w.times[f] = NEW_ARRAY(a, int64_t, (size_t)fn->nparams + 1);
    }
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        if (!fn->entry) continue;
        Walk walk = {m, a, &w, nrunners, fn};
        Origin *origin = NEW_ARRAY(a, Origin, (size_t)fn->ninsts + 1);
        for (uint32_t i = 0; i < fn->nparams; i++) {
            bool is = fn->params[i].role == ROLE_param;
            origin[i] = is ? (Origin){{i}, 1} : none;
            note(&walk, f, i, origin[i]);
        }
        w.entry[f] = fn;
        walk_fn(&walk, fn, origin);
    }
    return w;
}

Slot *weight_slot(const Module *m, const Weights *w, uint32_t f, uint32_t i)
{
    const Fn *entry = w->entry[f];
    Value v = w->origin[f][i];
    if (value_eq(v, NO_VALUE) || v.id >= entry->nparams) return NULL;
    return slot_find(m, entry->params[v.id].path);
}
