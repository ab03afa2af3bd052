/*
 * evaluate.c: runs functions in the reference interpreter and prints their
 * results, for tests of single ops and for whoever wants to see what a
 * program computes.
 */
#include "evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------- printing -- */

/* The shortest text that reads back as the same value; without rounding,
 * twelve digits, so that the last bits of a double do not show. */
static void print_float(DType d, bool round, double x, Buf *out)
{
    char text[40];
    if (!isfinite(x)) {
        buf_puts(out, isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
        return;
    }
    if (x == rint(x) && fabs(x) < 1e15) {
        buf_printf(out, "%.0f", x);
        return;
    }
    for (int digits = round ? 1 : 12; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        double back = strtod(text, NULL);
        if (!round || back == x || (d == DT_f32 && (float)back == (float)x))
            break;
    }
    buf_puts(out, text);
}

static void print_cell(DType d, bool round, Cell c, Buf *out)
{
    switch (dtype_class(d)) {
    case DC_float:
        print_float(d, round, c.f, out);
        return;
    case DC_bool:
        buf_puts(out, c.i ? "true" : "false");
        return;
    case DC_uint:
        buf_printf(out, "%llu", (unsigned long long)c.i);
        return;
    case DC_int:
        buf_printf(out, "%lld", (long long)c.i);
        return;
    }
}

/* Brackets per axis from `level` on; returns the cells printed. */
static int64_t print_axes(const Module *m, const Tensor *t, bool round,
                          uint32_t level, const Cell *at, Buf *out)
{
    const TypeInfo *info = type_info(m, t->type);
    if (level == info->naxes) {
        print_cell(info->dtype, round, *at, out);
        return 1;
    }
    const TypeAxis *a = &info->axes[level];
    int64_t size = t->ndevices == 1 ? a->size : type_local_size(m, a), n = 0;
    buf_putc(out, '[');
    for (int64_t i = 0; i < size; i++) {
        if (i) buf_puts(out, ", ");
        n += print_axes(m, t, round, level + 1, at + n, out);
    }
    buf_putc(out, ']');
    return n;
}

static void print_result(const Module *m, const Fn *fn, uint32_t i,
                         const Tensor *t, bool round, Buf *out)
{
    const char *name = str_of(m, fn->names[fn->result_values[i].id]);
    for (uint32_t d = 0; d < t->ndevices; d++) {
        buf_puts(out, "  ");
        if (*name)
            buf_printf(out, "%%%s", name);
        else
            buf_printf(out, "result %u", i);
        if (t->ndevices > 1) buf_printf(out, " on device %u", d);
        buf_puts(out, " = ");
        print_axes(m, t, round, 0, t->at + (int64_t)d * t->n, out);
        buf_putc(out, '\n');
    }
}

/* ------------------------------------------------------------- arguments -- */

static bool read_cells(DType d, Tensor *t, const char *text)
{
    for (int64_t i = 0; i < t->n; i++) {
        char *end;
        t->at[i].i = strtoll(text, &end, 10);
        if (dtype_class(d) == DC_float)
            t->at[i].f = dtype_round(d, strtod(text, &end));
        if (end == text) return false;
        text = *end == ',' ? end + 1 : end;
    }
    return *text == 0 || *text == ';';
}

/* Where `name=` begins in "x=1,2;y=3"; NULL: it is not there. */
static const char *find_arg(const char *args, const char *name)
{
    size_t n = strlen(name);
    while (args && *args) {
        if (!strncmp(args, name, n) && args[n] == '=') return args + n + 1;
        args = strchr(args, ';');
        if (args) args++;
    }
    return NULL;
}

static bool given_args(Module *m, const Fn *fn, const EvaluateOpts *o,
                       Tensor *args)
{
    for (uint32_t i = 0; i < fn->nparams; i++) {
        const char *name = str_of(m, fn->params[i].name);
        const char *text = find_arg(o->args, name);
        if (!text) continue;
        if (read_cells(type_dtype(m, args[i].type), &args[i], text)) continue;
        diag_error(m->diag, DIAG_argument_text, loc_span(m, fn->params[i].loc),
                   "parameter '%s' of '%s' takes %lld numbers, separated by "
                   "commas",
                   name, str_of(m, fn->name), (long long)args[i].n);
        return false;
    }
    return true;
}

static bool run_one(Module *m, const Fn *fn, const EvaluateOpts *o, Buf *out)
{
    Arena a;
    arena_init(&a, "evaluation");
    Tensor *args = inputs_random(m, fn, o->seed, &a);
    Tensor *results = NEW_ARRAY(&a, Tensor, fn->nresults);
    InterpOpts how = {.round = o->round, .order = o->seed};
    bool ok = given_args(m, fn, o, args);
    for (uint32_t i = 0; i < fn->nparams && ok && fn_is_spread(m, fn); i++)
        args[i] = port_spread(m, &fn->params[i], &args[i], &a);
    ok = ok && interp_fn(m, fn, &how, args, results, &a);
    if (ok) buf_printf(out, "@%s\n", str_of(m, fn->name));
    for (uint32_t i = 0; i < fn->nresults && ok; i++)
        print_result(m, fn, i, &results[i], o->round, out);
    arena_release(&a);
    return ok;
}

/* ----------------------------------------------------------------- ranks -- */

static bool is_rank(const Module *m, const Fn *fn)
{
    return fn_is(m, fn, FK_rank);
}

static bool run_ranks(Module *m, const EvaluateOpts *o, Buf *out)
{
    Arena a;
    arena_init(&a, "evaluation");
    VEC(const Fn *) fns = {0};
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (is_rank(m, m->fns.at[i])) vec_push(&a, &fns, m->fns.at[i]);
    const Tensor **args = NEW_ARRAY(&a, const Tensor *, fns.n);
    Tensor **results = NEW_ARRAY(&a, Tensor *, fns.n);
    bool ok = true;
    for (uint32_t i = 0; i < fns.n && ok; i++) {
        Tensor *in = inputs_random(m, fns.at[i], o->seed, &a);
        ok = given_args(m, fns.at[i], o, in);
        for (uint32_t k = 0;
             k < fns.at[i]->nparams && fn_is_spread(m, fns.at[i]); k++)
            in[k] = port_spread(m, &fns.at[i]->params[k], &in[k], &a);
        args[i] = in;
        results[i] = NEW_ARRAY(&a, Tensor, fns.at[i]->nresults);
    }
    InterpOpts how = {.round = o->round};
    if (ok && fns.n)
        ok = interp_ranks(m, fns.at, fns.n, &how, args, results, &a);
    for (uint32_t i = 0; i < fns.n && ok; i++) {
        buf_printf(out, "@%s\n", str_of(m, fns.at[i]->name));
        for (uint32_t k = 0; k < fns.at[i]->nresults; k++)
            print_result(m, fns.at[i], k, &results[i][k], o->round, out);
    }
    arena_release(&a);
    return ok;
}

/* Groups and bodies take places or turns that only their callers have. */
static bool runs_alone(const Module *m, const Fn *fn, const char *name)
{
    if (name && *name) return !strcmp(str_of(m, fn->name), name);
    return !is_rank(m, fn) && (fn->view != VIEW_kernel || fn->entry);
}

bool evaluate_print(Module *m, const EvaluateOpts *o, Buf *out)
{
    bool found = false, ok = true;
    for (uint32_t i = 0; i < m->fns.n && ok; i++) {
        if (!runs_alone(m, m->fns.at[i], o->fn)) continue;
        found = true;
        ok = run_one(m, m->fns.at[i], o, out);
    }
    if (ok && (!o->fn || !*o->fn)) return run_ranks(m, o, out);
    if (ok && !found)
        diag_error(m->diag, DIAG_argument_text, (Span){0, 0, 0},
                   "there is no function '%s'", o->fn);
    return ok && found;
}
