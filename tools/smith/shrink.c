/*
 * shrink.c: makes a failing program smaller.
 *
 * Two steps, tried from the last instruction to the first and again until
 * nothing helps: drop a result; cut an instruction, whose value becomes a
 * parameter.  What nothing needs any more goes with it.  A step stays when
 * the smaller program still fails.
 */
#include "smith.h"

#include <string.h>

/* One attempt: which result goes, and which value becomes a parameter. */
typedef struct Cut {
    uint32_t result; /* UINT32_MAX: none */
    Value v;         /* NO_VALUE: none */
} Cut;

/* What the results that stay need, without what is cut. */
static bool *needed_values(const Fn *fn, const Cut *c, Arena *a)
{
    bool *needed = NEW_ARRAY(a, bool, fn->ninsts);
    for (uint32_t i = 0; i < fn->nresults; i++)
        if (i != c->result) needed[fn->result_values[i].id] = true;
    for (uint32_t i = fn->ninsts; i-- > 0;) {
        const Inst *in = &fn->insts[i];
        if (!needed[i] || i == c->v.id) continue;
        for (uint32_t k = 0; k < in->nargs; k++)
            needed[inst_arg(fn, in, k).id] = true;
    }
    return needed;
}

static Port cut_port(Module *m, Type t)
{
    Port p = {.type = t, .role = ROLE_input};
    for (uint32_t i = 0;; i++) {
        Str name = str_printf(&m->strs, "cut%u", i);
        bool taken = false;
        const Fn *fn = m->fns.at[m->fns.n - 1];
        for (uint32_t k = 0; k < fn->nparams; k++)
            taken |= str_eq(fn->params[k].name, name);
        p.name = p.path = name;
        if (!taken) return p;
    }
}

static Fn *fn_cut(Module *m, const Fn *old, const Cut *c)
{
    bool *needed = needed_values(old, c, m->scratch);
    Value *map = NEW_ARRAY(m->scratch, Value, old->ninsts);
    Fn *fn = fn_new(m, old->name, old->view);
    fn->entry = old->entry;
    Builder b;
    builder_init(&b, m, fn);
    b.no_fold = true;
    for (uint32_t i = 0; i < old->nparams; i++)
        if (needed[i]) map[i] = builder_param(&b, old->params[i]);
    if (!value_eq(c->v, NO_VALUE))
        map[c->v.id] = builder_param(&b, cut_port(m, value_type(old, c->v)));
    for (uint32_t i = old->nparams; i < old->ninsts; i++) {
        const Inst *in = &old->insts[i];
        if (!needed[i] || i == c->v.id) continue;
        Value *args = NEW_ARRAY(m->scratch, Value, in->nargs);
        for (uint32_t k = 0; k < in->nargs; k++)
            args[k] = map[inst_arg(old, in, k).id];
        map[i] = emit(&b, (Op)in->op, in->type, in->attr, args, in->nargs);
    }
    for (uint32_t i = 0; i < old->nresults; i++)
        if (i != c->result)
            builder_result(&b, map[old->result_values[i].id], old->results[i]);
    return fn;
}

/* The program with the cut made; false: it cannot be made. */
static bool cut_program(const Buf *text, const Cut *c, Buf *out)
{
    Unit u;
    bool ok = unit_read(&u, text->at, text->n);
    uint32_t main = ok ? u.m.fns.n - 1 : 0;
    const Fn *old = ok ? u.m.fns.at[main] : NULL;
    if (ok && !value_eq(c->v, NO_VALUE)) {
        const Inst *in = inst_of(old, c->v);
        ok = !type_info(&u.m, in->type)->is_tuple && in->op != OP_arg;
    }
    if (ok) {
        u.m.fns.at[main] = fn_cut(&u.m, old, c);
        module_drop_unused(&u.m);
        ok = module_verify(&u.m);
    }
    if (ok) module_print(&u.m, NULL, out);
    unit_release(&u);
    return ok;
}

static void main_size(const Buf *text, uint32_t *nresults, uint32_t *ninsts)
{
    Unit u;
    *nresults = *ninsts = 0;
    if (unit_read(&u, text->at, text->n)) {
        const Fn *fn = u.m.fns.at[u.m.fns.n - 1];
        *nresults = fn->nresults;
        *ninsts = fn->ninsts;
    }
    unit_release(&u);
}

static bool try_cut(Buf *text, const Cut *c, Fails *fails, void *user)
{
    Buf smaller = {0};
    bool took = cut_program(text, c, &smaller) && smaller.n < text->n &&
                fails(user, smaller.at, smaller.n);
    if (took) {
        buf_clear(text);
        buf_add(text, smaller.at, smaller.n);
    }
    buf_release(&smaller);
    return took;
}

void shrink_program(Buf *text, Fails *fails, void *user)
{
    bool again = true;
    while (again) {
        uint32_t nresults, ninsts;
        again = false;
        main_size(text, &nresults, &ninsts);
        for (uint32_t i = nresults; i-- > 0 && nresults > 1;)
            if (try_cut(text, &(Cut){i, NO_VALUE}, fails, user)) {
                again = true;
                nresults--;
            }
        main_size(text, &nresults, &ninsts);
        for (uint32_t i = ninsts; i-- > 0;)
            if (try_cut(text, &(Cut){UINT32_MAX, {i}}, fails, user)) {
                again = true;
                break;
            }
    }
}
