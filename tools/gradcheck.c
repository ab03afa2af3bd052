/*
 * gradcheck.c: the derivatives of `grad`, held against difference quotients.
 *
 * For each value that a `grad` differentiates by, a function is made that takes
 * it as a further parameter and gives the loss.  Its derivative is estimated
 * from four runs, two central differences extrapolated to a step of zero
 * (Richardson), which in float64 leaves nine or more digits.
 */
#include "evaluate.h"

#include <math.h>
#include <string.h>

/* One `grad`; the loss as a function of one of its wrt values. */
typedef struct Check {
    Module *m;
    const Fn *fn, *loss; /* loss: parameters of fn, then the wrt value */
    Value grad;
    Arena *arena;
    const Tensor *args; /* of fn */
    const Tensor *at;   /* wrt values, then their derivatives */
    uint32_t nwrt;
} Check;

static Port plain_port(Module *m, const char *stem, uint32_t i, Type t)
{
    return (Port){.name = str_printf(&m->strs, "%s.%u", stem, i), .type = t};
}

/* Copies what the loss needs; the wrt value of number k becomes a parameter. */
static const Fn *loss_fn(const Check *c, uint32_t k)
{
    Module *m = c->m;
    const Inst *in = inst_of(c->fn, c->grad);
    Value loss = inst_arg(c->fn, in, 0);
    Fn *fn = fn_new(m, fn_fresh_name(m, "loss"), VIEW_global);
    Builder b;
    builder_init(&b, m, fn);
    b.no_fold = true;
    Value *map = NEW_ARRAY(c->arena, Value, c->fn->ninsts);
    bool *done = NEW_ARRAY(c->arena, bool, c->fn->ninsts);
    for (uint32_t i = 0; i < c->fn->nparams; i++) {
        map[i] =
            builder_param(&b, plain_port(m, "p", i, c->fn->params[i].type));
        done[i] = true;
    }
    Value wrt = inst_arg(c->fn, in, k + 1);
    map[wrt.id] =
        builder_param(&b, plain_port(m, "wrt", k, value_type(c->fn, wrt)));
    done[wrt.id] = true;
    for (uint32_t v = 0; v <= loss.id; v++) {
        const Inst *x = &c->fn->insts[v];
        Value *args = NEW_ARRAY(c->arena, Value, x->nargs);
        for (uint32_t i = 0; i < x->nargs; i++)
            args[i] = map[inst_arg(c->fn, x, i).id];
        if (!done[v])
            map[v] = emit(&b, (Op)x->op, x->type, x->attr, args, x->nargs);
    }
    builder_result(&b, map[loss.id], plain_port(m, "loss", 0, (Type){0}));
    return fn;
}

/* The values differentiated by, and the derivatives, as the interpreter has
 * them. */
static const Fn *values_fn(Check *c)
{
    Module *m = c->m;
    Rewrite rw;
    const Inst *in = inst_of(c->fn, c->grad);
    Fn copy = *c->fn;
    copy.nresults = 0;
    rewrite_begin(&rw, m, &copy);
    rw.b.no_fold = true;
    for (uint32_t v = copy.nparams; v <= c->grad.id; v++)
        rewrite_copy(&rw, (Value){v});
    Fn *fn = rewrite_end(&rw);
    for (uint32_t i = 1; i < in->nargs; i++)
        builder_result(&rw.b, rewrite_value(&rw, inst_arg(c->fn, in, i)),
                       plain_port(m, "wrt", i, (Type){0}));
    for (uint32_t i = 1; i < in->nargs; i++)
        builder_result(&rw.b,
                       emit_proj(&rw.b, rewrite_value(&rw, c->grad), i - 1),
                       plain_port(m, "grad", i, (Type){0}));
    return fn;
}

static bool loss_at(const Check *c, const Tensor *args, double *out)
{
    Arena a;
    arena_init(&a, "loss");
    Tensor result;
    bool ok = interp_fn(c->m, c->loss, &(InterpOpts){0}, args, &result, &a);
    if (ok) *out = result.at[0].f;
    arena_release(&a);
    return ok;
}

/* (4 D(h/2) - D(h)) / 3, D being the central difference. */
static bool quotient(const Check *c, Tensor *args, double *x, double *slope,
                     double *size)
{
    double x0 = *x, h = 4e-4 * fmax(1, fabs(x0)), up, down, d[2];
    for (int k = 0; k < 2; k++, h /= 2) {
        *x = x0 + h;
        bool ok = loss_at(c, args, &up);
        double high = *x;
        *x = x0 - h;
        ok = ok && loss_at(c, args, &down);
        d[k] = (up - down) / (high - *x);
        *x = x0;
        if (!ok) return false;
    }
    *slope = (4 * d[1] - d[0]) / 3;
    *size = fmax(fabs(up), fabs(down));
    return true;
}

/* Relative to the larger of both, but not below a hundredth of the tensor's
 * largest derivative, and above what rounding of the loss leaves. */
static bool agrees(double grad, double slope, double largest, double size)
{
    double scale = fmax(fmax(fabs(grad), fabs(slope)), 0.01 * largest);
    if (isnan(grad) || isnan(slope)) return false;
    return fabs(grad - slope) <= 1e-6 * scale + 1e-10 * size;
}

static bool check_wrt(Check *c, uint32_t k, Tensor *args, int64_t *count)
{
    const Tensor *grad = &c->at[c->nwrt + k];
    Tensor *x = &args[c->fn->nparams];
    *x = c->at[k];
    c->loss = loss_fn(c, k);
    double largest = 0, slope, size;
    for (int64_t i = 0; i < x->n; i++)
        largest = fmax(largest, fabs(grad->at[i].f));
    for (int64_t i = 0; i < x->n; i++, ++*count) {
        if (!quotient(c, args, &x->at[i].f, &slope, &size)) return false;
        if (agrees(grad->at[i].f, slope, largest, size)) continue;
        diag_error(c->m->diag, DIAG_grad_wrong,
                   loc_span(c->m, inst_of(c->fn, c->grad)->loc),
                   "derivative %u of 'grad' in '%s' is %.12g at element %lld, "
                   "the difference quotient is %.12g",
                   k, str_of(c->m, c->fn->name), grad->at[i].f, (long long)i,
                   slope);
        return false;
    }
    return true;
}

static bool check_grad(Check *c, int64_t *count)
{
    c->nwrt = inst_of(c->fn, c->grad)->nargs - 1;
    const Fn *values = values_fn(c);
    Tensor *at = NEW_ARRAY(c->arena, Tensor, 2 * c->nwrt);
    if (!interp_fn(c->m, values, &(InterpOpts){0}, c->args, at, c->arena))
        return false;
    c->at = at;
    uint32_t n = c->fn->nparams;
    Tensor *args = NEW_ARRAY(c->arena, Tensor, n + 1);
    for (uint32_t i = 0; i < n; i++)
        args[i] = c->args[i];
    bool ok = true;
    for (uint32_t i = 0; i < c->nwrt && ok; i++)
        ok = check_wrt(c, i, args, count);
    return ok;
}

static bool check_fn(Module *m, const Fn *fn, uint64_t seed, Buf *out)
{
    Arena a;
    arena_init(&a, "derivatives");
    int64_t count = 0;
    bool ok = true;
    const Tensor *args = inputs_random(m, fn, seed, &a);
    for (uint32_t v = 0; v < fn->ninsts && ok; v++) {
        Check c = {m, fn, NULL, {v}, &a, args, NULL, 0};
        if (fn->insts[v].op == OP_grad) ok = check_grad(&c, &count);
    }
    if (ok && count)
        buf_printf(out, "@%s: %lld derivatives agree\n", str_of(m, fn->name),
                   (long long)count);
    arena_release(&a);
    return ok;
}

/* The pass on a copy of the module, read back from its text. */
static bool check_pass(Module *m, uint64_t seed)
{
    Arena arena, scratch;
    Diag diag;
    Module copy;
    Buf text = {0};
    arena_init(&arena, "module");
    arena_init(&scratch, "scratch");
    diag_init(&diag, &arena);
    module_init(&copy, &arena, &scratch, &diag);
    module_print(m, NULL, &text);
    uint32_t source =
        diag_add_source(&diag, "before autodiff", text.at, text.n);
    bool ok = module_parse(&copy, source) &&
              pipeline_run(&copy, "inline,autodiff", &(PipelineOpts){0}) &&
              meaning_same(m, &copy, EXACT, seed);
    ReportView v;
    for (const Report *r = diag_next(&diag, NULL, &v); r;
         r = diag_next(&diag, r, &v))
        if (v.severity == SEV_error)
            diag_error(m->diag, v.id, (Span){0, 0, 0}, "%s", v.message);
    arena_release(&scratch);
    arena_release(&arena);
    buf_release(&text);
    return ok;
}

bool evaluate_grads(Module *m, uint64_t seed, Buf *out)
{
    uint32_t n = m->fns.n;
    for (uint32_t i = 0; i < n; i++)
        if (!check_fn(m, m->fns.at[i], seed, out)) return false;
    if (!check_pass(m, seed)) return false;
    buf_puts(out, "autodiff agrees\n");
    return true;
}
