/*
 * inline.c: replace calls of modules by their bodies.
 *
 *   needs    typed
 *   gives    inlined: no call of an ordinary function
 *   keeps    entries; the bodies and conditions of repeats; regions and
 *            groups (functions with a kind), and calls of them
 *   result   ordinary functions that were only called are gone, and what the
 *            stages of a pipeline do stands in the ranks that do it
 *
 * Callees come before their callers, so a body is copied when it is final,
 * and the work is the size of the result.  An instruction of a body that is
 * called in the backward or update phase moves to that phase.  Its place is
 * its own, derived from the place of the call.  A value that a rule of
 * recomputation speaks of by the path of its module has that name from here on:
 * of the module nothing else is left.
 */
#include "pass.h"
#include "reach.h"
#include "remat/remat.h"

enum {
    MOST_INSTS = 1 << 18, /* nested calls may double at each level */
    MOST_LINKS = 32       /* of a place: what is nested deeper loses its ends */
};

typedef struct Inline {
    Module *m;
    Fn **done;        /* by function: its final form, or NULL */
    uint64_t ninsts;  /* of all final forms */
    Str word;         /* "inline" */
    RematWords asked; /* names of values with a path, in rules */
} Inline;

typedef struct Caller {
    Inline *all;
    Rewrite rw;
    Value **fields; /* by old value: the results of an inlined call */
} Caller;

static bool is_inlined(const Module *m, const Inst *in)
{
    if (in->op != OP_call) return false;
    const Fn *f = fn_of(m, attr_fn(m, in->attr, AT_fn));
    return (!f->kind.id || fn_is(m, f, FK_stage)) && !f->entry;
}

/* ---------------------------------------------------------------- places -- */

/* The place `at` in a body that was called from `call`: the outermost link
 * of its chain now leads to the call. */
static Loc place_in(Inline *all, Loc at, Loc call, uint32_t links)
{
    Module *m = all->m;
    LocInfo info = m->locs.at[at.id];
    if (!at.id || !links) return call;
    if (!call.id) return at;
    info.from = info.from.id ? place_in(all, info.from, call, links - 1) : call;
    info.pass = all->word;
    vec_push(m->arena, &m->locs, info);
    return (Loc){m->locs.n - 1};
}

/* Neighbours share a place more often than not. */
typedef struct LastPlace {
    Loc of, made;
} LastPlace;

static Loc place_of(Inline *all, LastPlace *last, Loc at, Loc call)
{
    if (last->of.id != at.id || !last->made.id)
        *last = (LastPlace){at, place_in(all, at, call, MOST_LINKS)};
    return last->made;
}

/* ---------------------------------------------------------------- bodies -- */

/* The name of a value of a body, as the rules have it. */
static Str name_in(Inline *all, const Inst *call, Str name)
{
    Module *m = all->m;
    Str path = attr_str(m, call->attr, AT_path);
    if (!name.id || !path.id || all->asked.n == 0) return name;
    const char *full =
        arena_printf(m->scratch, "%s.%s", str_of(m, path), str_of(m, name));
    for (uint32_t i = 0; i < all->asked.n; i++)
        if (path_ends(full, all->asked.at[i]))
            return module_str(m, all->asked.at[i]);
    return name;
}

static Value copy_inst(Caller *c, const Fn *body, uint32_t i, const Inst *call,
                       const Value *map, Loc at)
{
    Builder *b = &c->rw.b;
    const Inst *in = &body->insts[i];
    Value *args = NEW_ARRAY(b->m->scratch, Value, in->nargs);
    for (uint32_t k = 0; k < in->nargs; k++)
        args[k] = map[inst_arg(body, in, k).id];
    b->phase = (Phase)(in->phase > call->phase ? in->phase : call->phase);
    b->loc = at;
    Value v = emit(b, (Op)in->op, in->type, in->attr, args, in->nargs);
    value_set_name(b, v, name_in(c->all, call, body->names[i]));
    return v;
}

/* The caller's name for a result is the better one, if the body made it. */
static void name_result(Caller *c, Value v, uint32_t first, Str name)
{
    if (name.id && v.id >= first) c->rw.b.fn->names[v.id] = name;
}

static void inline_call(Caller *c, uint32_t at)
{
    Module *m = c->all->m;
    const Fn *old = c->rw.old;
    const Inst *call = &old->insts[at];
    const Fn *body = c->all->done[attr_fn(m, call->attr, AT_fn).id];
    uint32_t first = c->rw.b.fn->ninsts;
    LastPlace last = {{0}, {0}};
    Value *map = NEW_ARRAY(m->scratch, Value, body->ninsts);
    for (uint32_t i = 0; i < body->nparams; i++)
        map[i] = rewrite_value(&c->rw, inst_arg(old, call, i));
    for (uint32_t i = body->nparams; i < body->ninsts; i++) {
        Loc loc = place_of(c->all, &last, body->insts[i].loc, call->loc);
        map[i] = copy_inst(c, body, i, call, map, loc);
    }
    Value *fields = NEW_ARRAY(m->scratch, Value, body->nresults);
    for (uint32_t i = 0; i < body->nresults; i++)
        fields[i] = map[body->result_values[i].id];
    c->fields[at] = fields;
    if (body->nresults != 1) return;
    rewrite_set(&c->rw, (Value){at}, fields[0]);
    name_result(c, fields[0], first, old->names[at]);
}

/* Field `index` of an inlined call; NO_VALUE: the tuple is a real one. */
static Value inlined_field(Caller *c, const Inst *in)
{
    if (in->op != OP_proj) return NO_VALUE;
    const Value *fields = c->fields[inst_arg(c->rw.old, in, 0).id];
    if (!fields) return NO_VALUE;
    return fields[attr_int(c->all->m, in->attr, AT_index, 0)];
}

static void inline_inst(Caller *c, uint32_t i)
{
    const Inst *in = &c->rw.old->insts[i];
    Value field = inlined_field(c, in);
    if (is_inlined(c->all->m, in))
        inline_call(c, i);
    else if (!value_eq(field, NO_VALUE))
        rewrite_set(&c->rw, (Value){i}, field);
    else
        rewrite_copy(&c->rw, (Value){i});
}

static Fn *inline_fn(Inline *all, const Fn *fn)
{
    Caller c = {.all = all,
                .fields = NEW_ARRAY(all->m->scratch, Value *, fn->ninsts)};
    rewrite_begin(&c.rw, all->m, fn);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        inline_inst(&c, i);
        if (all->ninsts + c.rw.b.fn->ninsts <= MOST_INSTS) continue;
        diag_error(all->m->diag, DIAG_ir_limit,
                   loc_span(all->m, fn->insts[i].loc),
                   "@%s makes a program of more than %d instructions",
                   str_of(all->m, fn->name), MOST_INSTS);
        return NULL;
    }
    return rewrite_end(&c.rw);
}

/* ----------------------------------------------------------------- order -- */

/* Functions whose callees are final are made final, callees first.  The stack
 * holds functions on the way: there is no recursion in the program, and none
 * here. */
static bool inline_from(Inline *all, uint32_t root)
{
    Module *m = all->m;
    VEC(uint32_t) stack = {0};
    vec_push(m->scratch, &stack, root);
    while (stack.n) {
        uint32_t f = vec_last(&stack), waiting = stack.n;
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts && !all->done[f]; i++) {
            FnRef callees[2];
            uint32_t n = inst_callees(m, &fn->insts[i], callees);
            while (n-- > 0)
                if (!all->done[callees[n].id])
                    vec_push(m->scratch, &stack, callees[n].id);
        }
        if (stack.n > waiting) continue;
        stack.n--;
        if (all->done[f]) continue;
        all->done[f] = inline_fn(all, fn);
        if (!all->done[f]) return false;
        all->ninsts += all->done[f]->ninsts;
    }
    return true;
}

bool pass_inline(Module *m, PassCtx *cx)
{
    RematRules rules;
    if (!rules_read(m, cx, &rules)) return false;
    Roots roots = roots_of(m);
    Inline all = {.m = m,
                  .done = NEW_ARRAY(m->scratch, Fn *, m->fns.n),
                  .word = module_str(m, "inline"),
                  .asked = rules_paths(m, &rules)};
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (!inline_from(&all, i)) return false;
    for (uint32_t i = 0; i < m->fns.n; i++)
        m->fns.at[i] = all.done[i];
    drop_unreached(m, &roots);
    return true;
}
