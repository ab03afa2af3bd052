/*
 * meaning.c: does a pass keep the meaning of a program?
 *
 * Both programs run in the reference interpreter on the same random inputs,
 * first without rounding: then an exact pass agrees to 1e-12 and one that
 * reorders sums to 1e-9, relative to the largest element of the result.  A
 * pass that changes formats agrees to 1e-9 in that mode too, since only its
 * casts differ; and with rounding the result as a whole is off by no more
 * than
 *
 *      16 * eps * (1 + log2(longest sum))
 *
 * of its norm, eps being the unit of the coarsest float dtype in the program;
 * or, where the program itself magnifies what is rounded (a saturated softmax,
 * the norm of a vector that is nearly constant), than four times what it is
 * off when the first program runs with each value that it computes off by eps,
 * up or down by chance, in the worst of a few such runs.  That is the condition
 * of the program, measured: no way of computing in that dtype can promise
 * less, and a pass that does worse than rounding everything is still caught.
 *
 * The two modules name their axes apart: values are carried over by the names
 * of axes, parameters and results of entries by role and path.  What one side
 * holds on many devices is spread before and put together after the run.  What
 * runs in several streams runs in several orders.
 */
#include <math.h>

#include "program.h"

/* Beyond this the check would take longer than anybody waits. */
#define MOST_OPS UINT64_C(400000000)

/* One function in both modules, or the ranks that it has become. */
typedef struct Pair {
    Module *before, *after;
    Program old, new;
    Contract contract;
    Arena *arena;
    uint64_t order; /* seed of what the kernel view leaves open */
} Pair;

/* The element where two results differ most, in units of the bound. */
typedef struct Worst {
    double excess, was, is;
    uint32_t result;
    int64_t at;
    Type type;
} Worst;

/* ------------------------------------------------------ between modules -- */

static bool same_name(const Module *a, Axis x, const Module *b, Axis y)
{
    return !strcmp(axis_name(a, x), axis_name(b, y));
}

/* The axis of `t` with the name that x has in the other module. */
static const TypeAxis *axis_named(const Module *m, Type t, const Module *other,
                                  Axis x)
{
    const TypeInfo *info = type_info(m, t);
    for (uint32_t i = 0; i < info->naxes; i++)
        if (same_name(m, info->axes[i].axis, other, x)) return &info->axes[i];
    return NULL;
}

/* Same axes, by name and size; dtypes may differ where formats may. */
static bool same_shape(const Pair *p, Type old, Type new)
{
    const TypeInfo *a = type_info(p->before, old),
                   *b = type_info(p->after, new);
    if (a->naxes != b->naxes || a->is_tuple || b->is_tuple) return false;
    if (dtype_class(a->dtype) != dtype_class(b->dtype)) return false;
    if (p->contract != FORMAT_CHANGING && a->dtype != b->dtype) return false;
    for (uint32_t i = 0; i < a->naxes; i++) {
        const TypeAxis *x =
            axis_named(p->after, new, p->before, a->axes[i].axis);
        if (!x || x->size != a->axes[i].size) return false;
    }
    return true;
}

/* A whole tensor of one module as one of the other, whose axes may have
 * another order. */
static Tensor tensor_adopt(Module *from, const Tensor *x, Module *to, Type t,
                           Arena *arena)
{
    Tensor y = tensor_new(to, t, 1, arena);
    const TypeInfo *a = type_info(to, t), *b = type_info(from, x->type);
    for (int64_t i = 0; i < y.n; i++) {
        int64_t rest = i, at = 0;
        for (uint32_t k = a->naxes; k-- > 0;) {
            int64_t index = rest % a->axes[k].size, stride = 1;
            rest /= a->axes[k].size;
            for (uint32_t j = b->naxes; j-- > 0;) {
                if (same_name(from, b->axes[j].axis, to, a->axes[k].axis))
                    break;
                stride *= b->axes[j].size;
            }
            at += index * stride;
        }
        y.at[i] = x->at[at];
    }
    return y;
}

/* The port that stands for p: by role and path in an entry, else by place. */
static uint32_t port_match(const Module *m, const Port *p, uint32_t place,
                           const Module *other, const Port *ports, uint32_t n,
                           bool by_path)
{
    const char *path = str_of(m, p->path);
    for (uint32_t i = 0; i < n && by_path && *path; i++)
        if (ports[i].role == p->role &&
            !strcmp(path, str_of(other, ports[i].path)))
            return i;
    return by_path && *path ? UINT32_MAX : place < n ? place : UINT32_MAX;
}

static bool ports_match(const Pair *p, const Port *old, uint32_t nold,
                        const Port *new, uint32_t nnew)
{
    for (uint32_t i = 0; i < nnew; i++) {
        uint32_t k = port_match(p->after, &new[i], i, p->before, old, nold,
                                p->new.entry);
        if (k == UINT32_MAX ||
            !same_shape(p, port_whole(&old[k]), port_whole(&new[i])))
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------ runs -- */

/* The results of both, each new one in the place of its old one. */
typedef struct Both {
    const Tensor *given, *was;
    Tensor *is; /* .at is NULL: no longer a result */
} Both;

static bool run_both(const Pair *p, uint64_t seed, bool round, Both *out)
{
    Tensor *old = program_inputs(&p->old, seed, p->arena);
    Tensor *args = NEW_ARRAY(p->arena, Tensor, p->new.nparams);
    for (uint32_t i = 0; i < p->new.nparams; i++) {
        const Port *port = &p->new.params[i];
        uint32_t k = port_match(p->after, port, i, p->before, p->old.params,
                                p->old.nparams, p->new.entry);
        args[i] = tensor_adopt(p->before, &old[k], p->after, port_whole(port),
                               p->arena);
    }
    bool rounded = round && p->contract != FORMAT_CHANGING;
    InterpOpts o = {.round = rounded, .order = p->order};
    out->given = old;
    out->was = program_run(&p->old, old, &o, p->arena);
    if (!out->was) return false;
    o.round = round;
    Tensor *new = program_run(&p->new, args, &o, p->arena);
    if (!new) return false;
    out->is = NEW_ARRAY(p->arena, Tensor, p->old.nresults);
    for (uint32_t i = 0; i < p->old.nresults; i++) {
        const Port *port = &p->old.results[i];
        uint32_t k = port_match(p->before, port, i, p->after, p->new.results,
                                p->new.nresults, p->new.entry);
        if (k != UINT32_MAX)
            out->is[i] = tensor_adopt(p->after, &new[k], p->before,
                                      port_whole(port), p->arena);
    }
    return true;
}

/* ------------------------------------------------------------- comparing -- */

/* How far two numbers are apart; infinite where only one is a number. */
static double distance(double a, double b)
{
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b) ? 0 : INFINITY;
    return a == b ? 0 : fabs(a - b);
}

static void note_worst(Worst *w, double excess, uint32_t result, int64_t at,
                       double was, double is, Type t)
{
    if (!(excess > w->excess)) return;
    *w = (Worst){excess, was, is, result, at, t};
}

/* Each element, against the largest of the tensor. */
static void compare_elements(const Tensor *was, const Tensor *is, double bound,
                             uint32_t result, Worst *w)
{
    double largest = 0;
    for (int64_t i = 0; i < was->n; i++)
        if (isfinite(was->at[i].f) && fabs(was->at[i].f) > largest)
            largest = fabs(was->at[i].f);
    for (int64_t i = 0; i < was->n; i++) {
        double a = was->at[i].f, b = is->at[i].f, d = distance(a, b);
        if (d > 0)
            note_worst(w, d / (bound * largest), result, i, a, b, was->type);
    }
}

/* The whole tensor, by its norm; the element that is furthest off is named. */
static void compare_norm(const Tensor *was, const Tensor *is, double bound,
                         double loose, uint32_t result, Worst *w)
{
    double off = 0, norm = 0, most = -1;
    int64_t at = 0;
    for (int64_t i = 0; i < was->n; i++) {
        double d = distance(was->at[i].f, is->at[i].f);
        if (d > most) {
            at = i;
            most = d;
        }
        off += d * d;
        if (isfinite(was->at[i].f)) norm += was->at[i].f * was->at[i].f;
    }
    double room = bound * sqrt(norm);
    if (off > 0)
        note_worst(w, sqrt(off) / (room > loose ? room : loose), result, at,
                   was->at[at].f, is->at[at].f, was->type);
}

static void compare_integers(const Tensor *was, const Tensor *is,
                             uint32_t result, Worst *w)
{
    for (int64_t i = 0; i < was->n; i++)
        if (was->at[i].i != is->at[i].i)
            note_worst(w, INFINITY, result, i, (double)was->at[i].i,
                       (double)is->at[i].i, was->type);
}

/* With `loose` (by result), norms are compared, and may be so far off. */
static Worst compare(const Pair *p, const Both *b, double bound,
                     const double *loose)
{
    Worst w = {.excess = 0};
    for (uint32_t i = 0; i < p->old.nresults; i++) {
        const Tensor *was = &b->was[i], *is = &b->is[i];
        if (!is->at) continue;
        DType d = type_dtype(p->before, was->type);
        if (dtype_class(d) != DC_float)
            compare_integers(was, is, i, &w);
        else if (loose)
            compare_norm(was, is, bound, loose[i], i, &w);
        else
            compare_elements(was, is, bound, i, &w);
    }
    return w;
}

/* --------------------------------------------------------------- bounds -- */

static int64_t summed(const Module *m, const Fn *fn, const Inst *in)
{
    const AttrItem *axes = attr_get(m, in->attr, AT_sum);
    if (!axes) axes = attr_get(m, in->attr, AT_axes);
    int64_t n = 1;
    for (uint32_t i = 0; axes && i < axes->n; i++)
        n *= type_size(m, value_type(fn, inst_arg(fn, in, 0)), axes->axes[i]);
    return n;
}

static double format_bound(const Module *m, double *coarsest)
{
    double unit = 0;
    int64_t longest = 1;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++) {
            const Inst *in = &fn->insts[i];
            const TypeInfo *t = type_info(m, in->type);
            if (!t->is_tuple && dtype_unit(t->dtype) > unit)
                unit = dtype_unit(t->dtype);
            int64_t n = summed(m, fn, in);
            if (n > longest) longest = n;
        }
    }
    *coarsest = unit;
    return 16 * unit * (1 + log2((double)longest));
}

/* How far each result moves when every value is off by the unit. */
static bool results_move(const Pair *p, const Both *b, double unit,
                         double *moved)
{
    enum { RUNS = 3 };
    for (uint64_t k = 1; k <= RUNS; k++) {
        InterpOpts o = {.order = p->order, .jitter = unit, .chance = k};
        const Tensor *now = program_run(&p->old, b->given, &o, p->arena);
        if (!now) return false;
        for (uint32_t i = 0; i < p->old.nresults; i++) {
            const Tensor *was = &b->was[i];
            double off = 0;
            if (dtype_class(type_dtype(p->before, was->type)) != DC_float)
                continue;
            for (int64_t e = 0; e < was->n; e++) {
                double d = distance(was->at[e].f, now[i].at[e].f);
                off += d * d;
            }
            if (isfinite(off) && 4 * sqrt(off) > moved[i])
                moved[i] = 4 * sqrt(off);
        }
    }
    return true;
}

/* Only where the plain bound does not hold is it worth further runs. */
static Worst compare_formats(const Pair *p, const Both *b)
{
    double unit, bound = format_bound(p->after, &unit);
    double *loose = NEW_ARRAY(p->arena, double, (size_t)p->old.nresults + 1);
    Worst w = compare(p, b, bound, loose);
    if (w.excess > 1 && results_move(p, b, unit, loose))
        w = compare(p, b, bound, loose);
    return w;
}

/* ------------------------------------------------------------- reporting -- */

static const char *index_text(Module *m, const Worst *w, Arena *a)
{
    const TypeInfo *info = type_info(m, w->type);
    const char *text = "";
    int64_t rest = w->at;
    for (uint32_t k = info->naxes; k-- > 0;) {
        text = arena_printf(a, "%s %lld%s%s", axis_name(m, info->axes[k].axis),
                            (long long)(rest % info->axes[k].size),
                            *text ? ", " : "", text);
        rest /= info->axes[k].size;
    }
    return *text ? arena_printf(a, " at [%s]", text) : "";
}

static const char *number(Arena *a, double x)
{
    Buf b = {0};
    buf_double(&b, x);
    const char *text = arena_strdup(a, b.at);
    buf_release(&b);
    return text;
}

static void report_worst(const Pair *p, const Worst *w, bool norms)
{
    const Port *port = &p->old.results[w->result];
    const char *path = str_of(p->before, port->path);
    if (!*path) path = arena_printf(p->arena, "%u", w->result);
    Report *r =
        diag_error(p->after->diag, DIAG_meaning_changed,
                   loc_span(p->after, p->new.fns[0]->loc),
                   "result '%s' of '%s' was %s and is %s%s", path, p->old.name,
                   number(p->arena, w->was), number(p->arena, w->is),
                   index_text(p->before, w, p->arena));
    report_note(r, (Span){0, 0, 0},
                "%s is %.3g times as far off as the pass may make it",
                norms ? "the tensor" : "this element", w->excess);
}

/* Says aloud what is not compared. */
static void report_unchecked(const Pair *p, const char *why, const char *help)
{
    Report *r = diag_warning(p->after->diag, DIAG_meaning_unchecked,
                             loc_span(p->after, p->new.fns[0]->loc),
                             "'%s' is not compared: %s", p->new.name, why);
    if (help) report_help(r, "%s", help);
}

/* One of the runs stopped.  The first module has a Diag of its own: what it
 * says there is no fault of the pass. */
static bool report_unrun(const Pair *p, const Both *b)
{
    ReportView v = {.message = "it cannot be run"};
    if (b->was) return false;
    diag_next(p->before->diag, NULL, &v);
    report_unchecked(p, v.message, NULL);
    return true;
}

static bool small_enough(const Pair *p)
{
    uint64_t a = program_cost(&p->old);
    uint64_t b = program_cost(&p->new);
    if (a < b) a = b;
    if (a <= MOST_OPS) return true;
    report_unchecked(
        p,
        arena_printf(p->arena,
                     "it takes %llu scalar operations, more than %llu",
                     (unsigned long long)a, (unsigned long long)MOST_OPS),
        "a gradient takes one run for each parameter: sizes of a few elements, "
        "set by -D, say, are compared in a moment");
    return false;
}

static bool pair_same(const Pair *p, uint64_t seed)
{
    Both b;
    double bound = p->contract == EXACT ? 1e-12 : 1e-9;
    if (p->new.n > p->old.n) bound = 0; /* ranks: bit for bit */
    if (!run_both(p, seed, false, &b)) return report_unrun(p, &b);
    Worst w = compare(p, &b, bound, NULL);
    bool norms = false;
    if (w.excess <= 1 && p->contract == FORMAT_CHANGING) {
        if (!run_both(p, seed, true, &b)) return report_unrun(p, &b);
        w = compare_formats(p, &b);
        norms = true;
    }
    if (w.excess > 1) report_worst(p, &w, norms);
    return w.excess <= 1;
}

/* With several streams: once with each of them ahead of the others. */
static bool orders_same(Pair *p, uint64_t seed)
{
    uint32_t streams = module_streams(p->after);
    for (p->order = 1; p->order <= streams; p->order++)
        if (!pair_same(p, seed)) return false;
    return true;
}

static bool has_entries(const Module *m)
{
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]->entry) return true;
    return false;
}

/* A function that is no entry may change its signature, or go; a kernel
 * function that is none has no meaning by itself. */
static bool comparable(const Pair *p)
{
    if (!p->new.n || !program_means(&p->new)) return false;
    if (p->new.entry && p->new.nresults != p->old.nresults) return false;
    return ports_match(p, p->old.params, p->old.nparams, p->new.params,
                       p->new.nparams) &&
           ports_match(p, p->old.results, p->old.nresults, p->new.results,
                       p->new.nresults);
}

/* An entry that the pass has made for steps that the old one may have to leave
 * unapplied is that old one, too. */
static bool worst_same(const Pair *p, uint64_t seed)
{
    Pair q = *p;
    const char *name = arena_printf(p->arena, "%s.worst", p->old.name);
    if (program_find(p->before, name, p->arena, &q.new) ||
        !program_find(p->after, name, p->arena, &q.new) || !comparable(&q))
        return true;
    return !small_enough(&q) || orders_same(&q, seed);
}

bool meaning_same(Module *before, Module *after, Contract c, uint64_t seed)
{
    bool entries = has_entries(before), same = true;
    Arena arena;
    arena_init(&arena, "meaning");
    for (uint32_t i = 0; i < before->fns.n && same; i++) {
        Pair p = {before, after, {0}, {0}, c, &arena, 1};
        ArenaMark mark = arena_mark(&arena);
        if (!program_of(before, before->fns.at[i], &arena, &p.old)) continue;
        if (entries && !p.old.entry) continue;
        program_find(after, p.old.name, &arena, &p.new);
        if (!comparable(&p)) {
            if (p.old.entry) /* an entry keeps its ports */
                diag_error(after->diag, DIAG_meaning_changed, (Span){0, 0, 0},
                           "the parameters or results of '%s' changed",
                           p.old.name);
            same &= !p.old.entry;
            continue;
        }
        if (small_enough(&p)) same = orders_same(&p, seed);
        if (p.old.entry) same = same && worst_same(&p, seed);
        arena_pop(&arena, mark);
    }
    arena_release(&arena);
    return same;
}
