/*
 * program.c: one function, or the ranks of a pipeline as one.
 *
 * Ranks are named after their entry, train.rank0, train.rank1, ..  A slot of
 * which a rank has a part is a part of the whole one's tensor; what several
 * ranks have is the same on all.
 */
#include "program.h"

#include <math.h>

/* ----------------------------------------------------------------- ports -- */

typedef VEC(Port) PortVec;

static const Slot *part_of(const Module *m, const Port *p)
{
    const Slot *s =
        role_is_slot(p->role) && p->path.id ? slot_find(m, p->path) : NULL;
    return s && s->whole.id ? s : NULL;
}

/* A rank's port as the whole program has it. */
static Port whole_port(Module *m, Port p)
{
    const Slot *s = part_of(m, &p);
    p.type = port_whole(&p);
    p.whole = (Type){0};
    if (!s) return p;
    TypeAxis a = *type_axis(m, p.type, s->along);
    a.size = s->total;
    p.type = type_with_axis(m, p.type, a);
    p.path = s->whole;
    return p;
}

static uint32_t port_index(const Port *ports, uint32_t n, const Port *p)
{
    uint32_t i = 0;
    while (i < n &&
           !(ports[i].role == p->role && str_eq(ports[i].path, p->path)))
        i++;
    return i;
}

static void add_ports(Program *p, const Port *ports, uint32_t n, PortVec *out,
                      Arena *a)
{
    for (uint32_t i = 0; i < n; i++) {
        Port whole = whole_port(p->m, ports[i]);
        if (port_index(out->at, out->n, &whole) == out->n)
            vec_push(a, out, whole);
    }
}

/* --------------------------------------------------------------- finding -- */

static void find_ranks(Program *p, Arena *a)
{
    VEC(const Fn *) fns = {0};
    PortVec params = {0}, results = {0};
    FnRef ref;
    for (;;) {
        const char *name = arena_printf(a, "%s.rank%u", p->name, fns.n);
        if (!fn_find(p->m, module_str(p->m, name), &ref)) break;
        const Fn *fn = fn_of(p->m, ref);
        vec_push(a, &fns, fn);
        add_ports(p, fn->params, fn->nparams, &params, a);
        add_ports(p, fn->results, fn->nresults, &results, a);
        p->entry = fn->entry;
    }
    p->fns = fns.at;
    p->n = fns.n;
    p->params = params.at;
    p->nparams = params.n;
    p->results = results.at;
    p->nresults = results.n;
}

static void take_one(Program *p, const Fn *fn, Arena *a)
{
    const Fn **at = NEW_ARRAY(a, const Fn *, 1);
    *at = fn;
    p->fns = at;
    p->n = 1;
    p->params = fn->params;
    p->nparams = fn->nparams;
    p->results = fn->results;
    p->nresults = fn->nresults;
    p->entry = fn->entry;
}

bool program_find(Module *m, const char *name, Arena *a, Program *out)
{
    FnRef ref;
    *out = (Program){.m = m, .name = name};
    find_ranks(out, a);
    if (out->n) return true;
    if (!fn_find(m, module_str(m, name), &ref)) return false;
    take_one(out, fn_of(m, ref), a);
    return true;
}

bool program_of(Module *m, const Fn *fn, Arena *a, Program *out)
{
    uint32_t rank;
    size_t n = fn_rank(m, fn, &rank);
    const char *name = str_of(m, fn->name);
    *out = (Program){.m = m, .name = name};
    if (n && fn->entry) {
        out->name = arena_strndup(a, name, n);
        find_ranks(out, a);
        return rank == 0;
    }
    take_one(out, fn, a);
    return true;
}

bool program_means(const Program *p)
{
    return p->entry || p->fns[0]->view != VIEW_kernel;
}

uint64_t program_cost(const Program *p)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < p->n; i++)
        if (__builtin_add_overflow(all, interp_cost(p->m, p->fns[i]), &all))
            return UINT64_MAX;
    return all;
}

/* ----------------------------------------------------------------- parts -- */

/* Copies between a part and its place in the whole. */
static void move_part(const Module *m, const Slot *s, Tensor *whole,
                      Tensor *part, bool back)
{
    const TypeInfo *t = type_info(m, part->type);
    for (int64_t i = 0; i < part->n; i++) {
        int64_t rest = i, at = 0, stride = 1;
        for (uint32_t k = t->naxes; k-- > 0;) {
            bool along = t->axes[k].axis.id == s->along.id;
            int64_t index = rest % t->axes[k].size;
            rest /= t->axes[k].size;
            at += stride * (index + (along ? s->start : 0));
            stride *= along ? s->total : t->axes[k].size;
        }
        if (back)
            whole->at[at] = part->at[i];
        else
            part->at[i] = whole->at[at];
    }
}

static bool same_cell(DType d, Cell a, Cell b)
{
    if (dtype_class(d) != DC_float) return a.i == b.i;
    return a.f == b.f || (isnan(a.f) && isnan(b.f));
}

/* What several ranks give is equal, or it is nothing at all. */
static void agree(const Module *m, Tensor *have, const Tensor *more)
{
    DType d = type_dtype(m, have->type);
    for (int64_t i = 0; i < have->n; i++) {
        if (same_cell(d, have->at[i], more->at[i])) continue;
        if (dtype_class(d) == DC_float)
            have->at[i].f = NAN;
        else
            have->at[i].i = INT64_MIN;
    }
}

static Tensor plain_tensor(Module *m, Type t, Arena *a)
{
    const TypeInfo *info = type_info(m, t);
    return tensor_new(m, type_tensor(m, info->dtype, info->axes, info->naxes),
                      1, a);
}

/* ---------------------------------------------------------------- inputs -- */

static double largest(const Module *m, const Tensor *x)
{
    bool real = dtype_class(type_dtype(m, x->type)) == DC_float;
    double most = 0;
    for (int64_t i = 0; i < x->n; i++)
        most = fmax(most, real ? 0 : (double)x->at[i].i);
    return most;
}

/* A rank that does not look into a table knows no bound of its ids. */
static void take_input(const Program *p, const Port *port, Tensor *x,
                       Tensor *have, Arena *a)
{
    const Slot *s = part_of(p->m, port);
    Port whole = whole_port(p->m, *port);
    if (s && !have->at) *have = plain_tensor(p->m, whole.type, a);
    if (s)
        move_part(p->m, s, have, x, true);
    else if (!have->at || largest(p->m, x) < largest(p->m, have))
        *have = *x;
}

Tensor *program_inputs(const Program *p, uint64_t seed, Arena *a)
{
    if (p->n == 1) return inputs_random(p->m, p->fns[0], seed, a);
    Tensor *all = NEW_ARRAY(a, Tensor, p->nparams + 1);
    for (uint32_t i = 0; i < p->n; i++) {
        const Fn *fn = p->fns[i];
        Tensor *own = inputs_random(p->m, fn, seed, a);
        for (uint32_t k = 0; k < fn->nparams; k++) {
            Port whole = whole_port(p->m, fn->params[k]);
            uint32_t at = port_index(p->params, p->nparams, &whole);
            take_input(p, &fn->params[k], &own[k], &all[at], a);
        }
    }
    return all;
}

/* --------------------------------------------------------------- running -- */

static Tensor argument(const Program *p, const Fn *fn, uint32_t k,
                       const Tensor *args, Arena *a)
{
    const Port *port = &fn->params[k];
    const Slot *s = part_of(p->m, port);
    Tensor x = args[k];
    if (p->n > 1) {
        Port whole = whole_port(p->m, *port);
        x = args[port_index(p->params, p->nparams, &whole)];
    }
    if (p->n > 1 && s) {
        Tensor all = x;
        x = plain_tensor(p->m, port_whole(port), a);
        move_part(p->m, s, &all, &x, false);
    }
    return fn_is_spread(p->m, fn) ? port_spread(p->m, port, &x, a) : x;
}

static void take_results(const Program *p, const Fn *fn, Tensor *results,
                         Tensor *all, Arena *a)
{
    for (uint32_t i = 0; i < fn->nresults; i++) {
        Tensor x = results[i];
        if (fn_is_spread(p->m, fn))
            x = port_gather(p->m, &fn->results[i], &x, a);
        const Slot *s = part_of(p->m, &fn->results[i]);
        Port whole = whole_port(p->m, fn->results[i]);
        uint32_t at =
            p->n == 1 ? i : port_index(p->results, p->nresults, &whole);
        if (p->n > 1 && s) {
            if (!all[at].at) all[at] = plain_tensor(p->m, whole.type, a);
            move_part(p->m, s, &all[at], &x, true);
        } else if (all[at].at) {
            agree(p->m, &all[at], &x);
        } else {
            all[at] = x;
        }
    }
}

Tensor *program_run(const Program *p, const Tensor *args, const InterpOpts *o,
                    Arena *a)
{
    const Tensor **in = NEW_ARRAY(a, const Tensor *, p->n);
    Tensor **out = NEW_ARRAY(a, Tensor *, p->n);
    Tensor *all = NEW_ARRAY(a, Tensor, p->nresults + 1);
    for (uint32_t i = 0; i < p->n; i++) {
        const Fn *fn = p->fns[i];
        Tensor *own = NEW_ARRAY(a, Tensor, fn->nparams + 1);
        for (uint32_t k = 0; k < fn->nparams; k++)
            own[k] = argument(p, fn, k, args, a);
        in[i] = own;
        out[i] = NEW_ARRAY(a, Tensor, fn->nresults + 1);
    }
    bool ranks = fn_is(p->m, p->fns[0], FK_rank);
    bool ok = ranks ? interp_ranks(p->m, p->fns, p->n, o, in, out, a)
                    : interp_fn(p->m, p->fns[0], o, in[0], out[0], a);
    for (uint32_t i = 0; i < p->n && ok; i++)
        take_results(p, p->fns[i], out[i], all, a);
    return ok ? all : NULL;
}
