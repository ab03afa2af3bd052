/*
 * interp.c: runs a function.
 *
 * A frame computes its instructions in order; each op has one rule, found in
 * a table that ops.def makes, so that an op without a rule does not link.
 */
#include <math.h>

#include "run.h"

static Rule *const rules[OP_count] = {
#define OP(name, least, most, flags, views, req, opt) \
    [OP_##name] = interp_##name,
#include "../ops.def"
#undef OP
};

void run_fail(Run *r, const Fn *fn, const Inst *in, DiagId id, const char *fmt,
              ...)
{
    if (r->failed) return;
    r->failed = true;
    Buf text = {0};
    va_list args;
    va_start(args, fmt);
    buf_vprintf(&text, fmt, args);
    va_end(args);
    Report *report =
        diag_error(r->m->diag, id, loc_span(r->m, in->loc), "%s", text.at);
    report_note(report, (Span){0, 0, 0}, "at '%s' in function '%s'",
                op_info((Op)in->op)->name, str_of(r->m, fn->name));
    buf_release(&text);
}

bool run_count(Run *r, int64_t n)
{
    r->ops += (uint64_t)n;
    return !r->failed && (!r->o.limit || r->ops <= r->o.limit);
}

Frame frame_new(Run *r, const Fn *fn, const Val *args)
{
    Frame f = {.r = r, .fn = fn, .args = args};
    f.vals = NEW_ARRAY(&r->temp, Val, fn->ninsts);
    return f;
}

/* Values of more elements than this are refused rather than allocated. */
enum { MOST_ELEMENTS = 1 << 28 };

static bool fits(const Run *r, Type t)
{
    const TypeInfo *info = type_info(r->m, t);
    for (uint32_t i = 0; i < info->nfields; i++)
        if (!fits(r, info->fields[i])) return false;
    return info->is_tuple ||
           type_local_elements(r->m, t) <= MOST_ELEMENTS / (int64_t)r->ndev;
}

/* ---------------------------------------------------------------- jitter -- */

/* Ops that compute; the others move. */
static const bool computes[OP_count] = {
    [OP_map] = true,     [OP_reduce] = true, [OP_einsum] = true,
    [OP_scatter] = true, [OP_cumsum] = true, [OP_fold] = true,
};

/* A bit from the seed, the instructions run so far and the element. */
static bool up(const Run *r, uint64_t k)
{
    uint64_t x = (r->o.chance + r->ops * UINT64_C(0x9e3779b97f4a7c15)) ^ k;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) & 1;
}

static void jitter(Run *r, const Inst *in, Val *out)
{
    if (!computes[in->op] ||
        dtype_class(type_dtype(r->m, in->type)) != DC_float)
        return;
    double by = r->o.jitter;
    if (r->o.own) by = fmin(by, dtype_unit(type_dtype(r->m, in->type)));
    for (int64_t i = 0; i < out->n * (int64_t)r->ndev; i++)
        out->at[i].f *= up(r, (uint64_t)i) ? 1 + by : 1 - by;
}

void run_inst(Frame *f, Value v, Val *out)
{
    Run *r = f->r;
    const Inst *in = inst_of(f->fn, v);
    if (!fits(r, in->type)) {
        run_fail(r, f->fn, in, DIAG_interp_limit,
                 "the value has more elements than the interpreter holds, %d",
                 MOST_ELEMENTS);
        return;
    }
    rules[in->op](f, in, out);
    if (r->o.jitter > 0 && !r->failed) jitter(r, in, out);
    if (r->o.limit && r->ops > r->o.limit)
        run_fail(r, f->fn, in, DIAG_interp_limit,
                 "the program takes more than %llu scalar operations",
                 (unsigned long long)r->o.limit);
}

void run_body(Frame *f)
{
    for (; f->next < f->fn->ninsts; f->next++) {
        Value v = {f->next};
        f->blocked = false;
        run_inst(f, v, &f->vals[v.id]);
        if (f->r->failed || f->blocked) return;
    }
}

void run_call(Run *r, const Fn *fn, const Val *args, Val *results)
{
    ArenaMark mark = arena_mark(&r->temp);
    Frame f = frame_new(r, fn, args);
    run_body(&f);
    for (uint32_t i = 0; i < fn->nresults && !r->failed; i++)
        val_copy(r, &results[i], &f.vals[fn->result_values[i].id]);
    arena_pop(&r->temp, mark);
}

void run_begin(Run *r, Module *m, const InterpOpts *o, const Fn *fn)
{
    *r = (Run){.m = m, .o = *o};
    arena_init(&r->temp, "interpreter");
    arena_init(&r->keep, "interpreter");
    map_init(&r->bodies, &r->keep);
    r->ndev = fn->view == VIEW_global ? 1 : mesh_devices(m);
}

void run_end(Run *r)
{
    arena_release(&r->temp);
    arena_release(&r->keep);
}

/* The value of a tensor; with `round` an argument is rounded like any other
 * value of its dtype. */
static Val val_of_tensor(Run *r, const Tensor *t)
{
    Val v;
    val_init(r, &v, t->type, false);
    CHECK(t->ndevices == r->ndev && t->n == v.n);
    DType d = type_dtype(r->m, t->type);
    size_t n = (size_t)v.n * r->ndev;
    for (size_t i = 0; i < n; i++) {
        v.at[i] = t->at[i];
        if (dtype_class(d) == DC_float) v.at[i].f = run_round(r, d, v.at[i].f);
    }
    return v;
}

Val *vals_of_tensors(Run *r, const Fn *fn, const Tensor *args)
{
    Val *vals = NEW_ARRAY(&r->temp, Val, fn->nparams);
    for (uint32_t i = 0; i < fn->nparams; i++)
        vals[i] = val_of_tensor(r, &args[i]);
    return vals;
}

Val *vals_of_results(Run *r, const Fn *fn)
{
    Val *vals = NEW_ARRAY(&r->temp, Val, fn->nresults);
    for (uint32_t i = 0; i < fn->nresults; i++)
        val_init(r, &vals[i], fn->results[i].type, false);
    return vals;
}

void tensors_of_vals(Run *r, const Fn *fn, const Val *vals, Tensor *out,
                     Arena *arena)
{
    for (uint32_t i = 0; i < fn->nresults; i++) {
        out[i] = tensor_new(r->m, vals[i].type, r->ndev, arena);
        size_t n = (size_t)out[i].n * r->ndev;
        if (n) memcpy(out[i].at, vals[i].at, n * sizeof *vals[i].at);
    }
}

bool interp_fn(Module *m, const Fn *fn, const InterpOpts *o, const Tensor *args,
               Tensor *results, Arena *arena)
{
    Run r;
    run_begin(&r, m, o, fn);
    Val *in = vals_of_tensors(&r, fn, args), *out = vals_of_results(&r, fn);
    if (fn->view == VIEW_kernel)
        run_kernel_fn(&r, fn, in, out);
    else
        run_call(&r, fn, in, out);
    if (!r.failed) tensors_of_vals(&r, fn, out, results, arena);
    run_end(&r);
    return !r.failed;
}
