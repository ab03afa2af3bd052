/*
 * dispatch.c: rows go to the devices of the weights that they choose.
 *
 *     %g = gather %w, %ids axis expert     [row.., k, n]
 *     %h = einsum %x, %g sum (k)           [row.., n]
 *
 * over rows that are split over the mesh axes that split the experts.  Either
 * the weights come to the rows or the rows go to the weights; where the plan
 * bounds how many go (`shard expert over ep bound 2`), they go in buffers of
 * that size:
 *
 *     from      part of the rows: one for each device that has rows (and one
 *               for each turn, where microbatch will cut the batch)
 *     to        part of the experts: one for each that has some
 *     slot      a row of that part for that one
 *
 *     %x' = gather %x, %source             [from, to, slot, k]
 *     %g' = gather %w', %ids'              [from, to, slot, k, n]
 *     %h' = einsum %x', %g' sum (k)        [from, to, slot, n]
 *     %h  = gather %h', %place             [row.., n]
 *
 * %w' has the experts in parts, split along `to`.  %x' is made where its rows
 * are, split along `from`, and read where the experts are, split along `to`:
 * shard makes an all-to-all of that.  Maps and further products between such
 * values stay there.
 *
 *   needs    inlined; before autodiff, so the way back is the derivative's
 *   keeps    every result, but for the order of sums, where no buffer is full
 *   result   of a row that finds its buffer full the product is NaN: the loss
 *            is not finite then, the step is not applied, and it is repeated
 *            with the entry `train.worst`, whose buffers have room for all
 *            (dispatch/worst.c)
 *
 * A buffer has bound times the even share of one part's rows, at most all of
 * them; where that is much, shard may find that to gather the rows costs less.
 * What other entries than `train` compute has room for all rows: nobody would
 * repeat it.
 * Options: `shard`; `batch_axis` and `accumulate`, as for microbatch.
 */
#include <math.h>
#include <string.h>

#include "dispatch/dispatch.h"
#include "dispatch/worst.h"
#include "ids.h"

static TypeAxis sized(Axis a, int64_t size)
{
    return (TypeAxis){.axis = a, .size = size};
}

/* --------------------------------------------------------------- sending -- */

static bool has(const Dispatch *d, Value v, Axis a)
{
    return type_axis(d->m, value_type(d->rw.b.fn, v), a) != NULL;
}

/* The axes that a row axis is split into: their number. */
static uint32_t axes_of(const Rows *x, uint32_t i, TypeAxis *out)
{
    uint32_t n = 0;
    if (x->turns[i] > 1) out[n++] = sized(x->turn[i], x->turns[i]);
    if (x->from[i] > 1) out[n++] = sized(x->part[i], x->from[i]);
    out[n++] = sized(x->inner[i], x->rest[i]);
    return n;
}

/* Rows by part: [from.., slot]; V may lack some of the rows' axes. */
static Value flat(Dispatch *d, const Rows *x, Value v)
{
    Axis rest[MOST_AXES];
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->n; i++) {
        if (!has(d, v, x->axes[i])) continue;
        rest[n++] = x->inner[i];
        TypeAxis to[3];
        uint32_t nto = axes_of(x, i, to);
        if (nto > 1)
            v = emit_split(&d->rw.b, v, x->axes[i], to, nto);
        else
            v = emit_rename(&d->rw.b, v, &x->axes[i], &x->inner[i], 1);
    }
    return emit_merge(&d->rw.b, v, rest, n, x->slot);
}

/* The inverse, of values that have all axes of the rows. */
static Value unflat(Dispatch *d, const Rows *x, Value v)
{
    TypeAxis rest[MOST_AXES];
    for (uint32_t i = 0; i < x->n; i++)
        rest[i] = sized(x->inner[i], x->rest[i]);
    v = emit_split(&d->rw.b, v, x->slot, rest, x->n);
    for (uint32_t i = 0; i < x->n; i++) {
        TypeAxis of[3];
        uint32_t nof = axes_of(x, i, of);
        Axis from[3] = {of[0].axis, of[nof > 1].axis, x->inner[i]};
        if (nof > 1)
            v = emit_merge(&d->rw.b, v, from, nof, x->axes[i]);
        else
            v = emit_rename(&d->rw.b, v, &x->inner[i], &x->axes[i], 1);
    }
    return v;
}

/* Rows of the same part that go the same way and come before: by row. */
static Value rank_of(Dispatch *d, const Rows *x, Value owner)
{
    Builder *b = &d->rw.b;
    Module *m = d->m;
    TypeAxis to = sized(x->to, x->parts);
    Expr is = expr_op2(m, SC_eq, id_arg(m, 0), expr_index(m, x->to));
    Value one = emit_map_over(b, expr_cast(m, DT_i32, is), &owner, 1, &to, 1);
    Value before = id_count(b, one, x->slot, x->piece);
    Value own = emit_map(b, expr_op2(m, SC_mul, id_arg(m, 0), id_arg(m, 1)),
                         (Value[]){one, before}, 2);
    return emit_reduce(b, "sum", own, &x->to, 1, DT_i32, DT_i32);
}

/* The row in each slot, -1: none. */
static Value source_of(Dispatch *d, const Rows *x, Value place)
{
    Builder *b = &d->rw.b;
    TypeAxis all[2 * MOST_AXES + 2];
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->n; i++)
        n += axes_of(x, i, &all[n]) - 1;
    all[n++] = sized(x->to, x->parts * x->room);
    Value none = emit_map_over(b, expr_i32(d->m, -1), NULL, 0, all, n);
    TypeAxis rows = sized(x->slot, x->rows);
    Value row = emit_map_over(b, expr_index(d->m, x->slot), NULL, 0, &rows, 1);
    Value source = emit_put_distinct(b, none, place, row, x->to);
    TypeAxis to[2] = {sized(x->to, x->parts), sized(x->slot, x->room)};
    return emit_split(b, source, x->to, to, 2);
}

/* The part that each row goes to; an id of no expert goes to the first, where
 * it has no weight. */
static Value owner_of(Dispatch *d, const Rows *x, Value ids)
{
    Module *m = d->m;
    Expr id = id_arg(m, 0), each = expr_i32(m, x->experts / x->parts);
    Expr body = expr_op(m, SC_where, id_in(m, id, x->experts),
                        expr_op2(m, SC_idiv, id, each), expr_i32(m, 0));
    return emit_map(&d->rw.b, body, &ids, 1);
}

/* The slot of each row, and whether it finds none. */
static void find_slots(Dispatch *d, Rows *x, Value owner, Value rank)
{
    Builder *b = &d->rw.b;
    Module *m = d->m;
    Expr room = expr_i32(m, x->room), r = id_arg(m, 1);
    Expr begin = expr_op2(m, SC_mul, id_arg(m, 0), room);
    Expr slot =
        id_where(m, expr_op2(m, SC_lt, r, room), expr_op2(m, SC_add, begin, r));
    x->place = emit_map(b, slot, (Value[]){owner, rank}, 2);
    x->full = emit_map(b, expr_op2(m, SC_le, room, id_arg(m, 0)), &rank, 1);
}

/* The expert of each slot's row, of those of the part. */
static Value local_ids(Dispatch *d, const Rows *x, Value ids)
{
    Module *m = d->m;
    Value id = emit_gather(&d->rw.b, ids, x->source, x->slot);
    Expr e = id_arg(m, 1), each = expr_i32(m, x->experts / x->parts);
    Expr some = expr_op2(m, SC_le, expr_i32(m, 0), id_arg(m, 0));
    Expr there = expr_op2(m, SC_and, some, id_in(m, e, x->experts));
    Expr body = id_where(m, there, expr_op2(m, SC_imod, e, each));
    return emit_map(&d->rw.b, body, (Value[]){x->source, id}, 2);
}

static void make_rows(Dispatch *d, Rows *x)
{
    Value ids = flat(d, x, rewrite_value(&d->rw, x->ids));
    Value owner = owner_of(d, x, ids);
    find_slots(d, x, owner, rank_of(d, x, owner));
    x->source = source_of(d, x, x->place);
    x->local = local_ids(d, x, ids);
    x->made = true;
}

static Rows *rows_made(Dispatch *d, uint32_t rows)
{
    Rows *x = &d->rows.at[rows - 1];
    if (!x->made) make_rows(d, x);
    return x;
}

/* The row of V in each slot, where V lacks some of the rows' axes. */
static Value source_in(Dispatch *d, const Rows *x, Value v)
{
    IdAxis axes[MOST_AXES];
    bool all = true;
    for (uint32_t i = 0; i < x->n; i++) {
        axes[i] = (IdAxis){x->rest[i], has(d, v, x->axes[i])};
        all &= axes[i].has || x->rest[i] == 1;
    }
    if (all) return x->source;
    Expr body = id_along(d->m, id_arg(d->m, 0), axes, x->n);
    return emit_map(&d->rw.b, body, &x->source, 1);
}

/* What V is where the rows go. */
static Value sent(Dispatch *d, const Rows *x, Value old)
{
    if (!value_eq(d->sent[old.id], NO_VALUE)) return d->sent[old.id];
    Value v = rewrite_value(&d->rw, old);
    if (!has_row_axis(d, x, type_of(d, old))) return v;
    Value source = source_in(d, x, v);
    return d->sent[old.id] =
               emit_gather(&d->rw.b, flat(d, x, v), source, x->slot);
}

/* Back in the order of the rows; of one that found no room, NaN. */
static Value returned(Dispatch *d, const Rows *x, Value v)
{
    Builder *b = &d->rw.b;
    DType t = type_dtype(d->m, value_type(b->fn, v));
    v = emit_merge(b, v, (Axis[]){x->to, x->slot}, 2, x->to);
    v = emit_gather(b, v, x->place, x->to);
    if (x->room < x->rows && dtype_class(t) == DC_float) {
        Expr full = expr_arg(d->m, 0, DT_bool), row = expr_arg(d->m, 1, t);
        v = emit_map(
            b, expr_op(d->m, SC_where, full, expr_float(d->m, t, NAN), row),
            (Value[]){x->full, v}, 2);
    }
    return unflat(d, x, v);
}

/* ------------------------------------------------------------- rewriting -- */

/* Whose products are quantised, those of what it chooses there are; rows come
 * along all axes of devices. */
static Value marked_alike(Dispatch *d, const Rows *x, const Inst *in, Value v)
{
    Builder *b = &d->rw.b;
    const AttrItem *recipe = attr_get(d->m, in->attr, AT_recipe);
    if (!recipe) return v;
    const AttrItem *sum = attr_get(d->m, in->attr, AT_sum);
    const Inst *made = inst_of(b->fn, v);
    Value args[2] = {inst_arg(b->fn, made, 0), inst_arg(b->fn, made, 1)};
    AttrList l = attr_list(d->m, made->attr);
    Axis from[MOST_AXES];
    int64_t alike[MOST_AXES];
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->n; i++) {
        if (x->from[i] == 1) continue;
        from[n] = x->part[i];
        alike[n++] = x->alike[i];
    }
    attr_put_id(&l, AT_recipe, recipe->id);
    attr_put_axes(&l, AT_sum, sum->axes, sum->n);
    attr_put_axes(&l, AT_sent, from, n);
    attr_put_ints(&l, AT_parts, alike, n);
    return emit(b, OP_gather, made->type, attr_intern(d->m, &l), args, 2);
}

/* Counts of elements are whole numbers, also of values that no device has. */
static void check_size(Dispatch *d, const Rows *x, Type t, Loc loc)
{
    if (type_fits(d->m, t, VIEW_global) || d->failed) return;
    d->failed = true;
    const char *expert = axis_name(d->m, x->expert);
    Report *r = diag_error(
        d->m->diag, DIAG_too_many, loc_span(d->m, loc),
        "too many rows choose by '%s': with room for %lld in each of %lld "
        "parts, on all devices, %s has more than 2^58 elements",
        expert, (long long)x->room, (long long)x->parts, type_str(d->m, t));
    report_help(r, "a smaller batch, or '%s' split over fewer devices", expert);
}

/* The rows' weights, from the experts that are there. */
static Value send_weights(Dispatch *d, const Rows *x, const Inst *in)
{
    Value w = rewrite_value(&d->rw, inst_arg(d->fn, in, 0));
    TypeAxis to[2] = {sized(x->to, x->parts),
                      sized(x->own, x->experts / x->parts)};
    w = emit_split(&d->rw.b, w, x->expert, to, 2);
    w = emit_gather(&d->rw.b, w, x->local, x->own);
    check_size(d, x, value_type(d->rw.b.fn, w), in->loc);
    return marked_alike(d, x, in, w);
}

static Type sent_type(Dispatch *d, const Rows *x, Type t)
{
    for (uint32_t i = 0; i < x->n; i++) {
        TypeAxis of[3];
        uint32_t n = axes_of(x, i, of);
        t = type_without_axis(d->m, t, x->axes[i]);
        for (uint32_t k = 0; k + 1 < n; k++)
            t = type_with_axis(d->m, t, of[k]);
    }
    t = type_with_axis(d->m, t, sized(x->to, x->parts));
    return type_with_axis(d->m, t, sized(x->slot, x->room));
}

static Value send_inst(Dispatch *d, const Rows *x, const Inst *in, Type t,
                       Attr attr)
{
    Value *args = NEW_ARRAY(d->m->scratch, Value, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        args[i] = sent(d, x, inst_arg(d->fn, in, i));
    t = sent_type(d, x, t);
    check_size(d, x, t, in->loc);
    return emit(&d->rw.b, (Op)in->op, t, attr, args, in->nargs);
}

/* A product whose sum is over rows too: those are summed behind it. */
static Value sum_behind(Dispatch *d, const Rows *x, const Inst *in)
{
    const AttrItem *sum = attr_get(d->m, in->attr, AT_sum);
    Axis *inside = NEW_ARRAY(d->m->scratch, Axis, (size_t)sum->n + 1);
    Axis *behind = NEW_ARRAY(d->m->scratch, Axis, (size_t)sum->n + 1);
    uint32_t n = 0, nbehind = 0;
    DType to = type_dtype(d->m, in->type);
    DType acc = attr_dtype(d->m, in->attr, AT_acc, dtype_acc(to));
    Type t = type_with_dtype(d->m, in->type, acc);
    for (uint32_t i = 0; i < sum->n; i++) {
        bool row = is_row_axis(x, sum->axes[i]);
        if (row)
            behind[nbehind++] = sum->axes[i];
        else
            inside[n++] = sum->axes[i];
    }
    AttrList l = attr_list(d->m, in->attr);
    attr_put_axes(&l, AT_sum, inside, n);
    Value v = send_inst(d, x, in, t, attr_intern(d->m, &l));
    v = returned(d, x, v);
    return emit_reduce(&d->rw.b, "sum", v, behind, nbehind, to, acc);
}

static bool is_read_here(const Dispatch *d, const Uses *u, uint32_t v)
{
    bool here = u->nresult[v] > 0;
    for (uint32_t k = u->first[v]; k < u->first[v + 1]; k++) {
        const Inst *by = inst_of(d->fn, u->at[k]);
        bool there =
            d->in[u->at[k].id] || (by->op == OP_einsum && rows_of_args(d, by));
        here |= !there;
    }
    return here;
}

static void rewrite_inst(Dispatch *d, const Uses *u, uint32_t i)
{
    const Inst *in = &d->fn->insts[i];
    uint32_t rows = d->in[i] ? d->in[i] : rows_of_args(d, in);
    d->rw.b.loc = in->loc;
    d->rw.b.phase = (Phase)in->phase;
    if (!d->in[i] && (in->op != OP_einsum || !rows)) {
        rewrite_copy(&d->rw, (Value){i});
        return;
    }
    const Rows *x = rows_made(d, rows);
    if (!d->in[i]) {
        rewrite_set(&d->rw, (Value){i}, sum_behind(d, x, in));
        return;
    }
    d->sent[i] = in->op == OP_gather ? send_weights(d, x, in)
                                     : send_inst(d, x, in, in->type, in->attr);
    if (is_read_here(d, u, i))
        rewrite_set(&d->rw, (Value){i}, returned(d, x, d->sent[i]));
}

static void dispatch_fn(Dispatch *d, uint32_t f)
{
    d->fn = d->m->fns.at[f];
    d->rows.n = 0;
    d->in = NEW_ARRAY(d->m->scratch, uint32_t, (size_t)d->fn->ninsts + 1);
    d->sent = no_values(d->m->scratch, d->fn->ninsts);
    if (!rows_find(d)) return;
    Uses u = fn_uses(d->fn, d->m->scratch);
    rewrite_begin(&d->rw, d->m, d->fn);
    for (uint32_t i = d->fn->nparams; i < d->fn->ninsts; i++)
        rewrite_inst(d, &u, i);
    for (uint32_t i = 0; i < d->rows.n; i++)
        pass_remark(d->m, d->cx, inst_of(d->fn, d->rows.at[i].ids)->loc,
                    "rows go to %lld parts of '%s', at most %lld of %lld to "
                    "each",
                    (long long)d->rows.at[i].parts,
                    axis_name(d->m, d->rows.at[i].expert),
                    (long long)d->rows.at[i].room,
                    (long long)d->rows.at[i].rows);
    d->m->fns.at[f] = fn_without_unneeded(d->m, rewrite_end(&d->rw));
}

static void warn_unused(const Dispatch *d)
{
    Module *m = d->m;
    for (uint32_t i = 0; i < d->s.rules.at.n; i++) {
        const ShardRule *r = &d->s.rules.at.at[i];
        int64_t devices = 1;
        for (uint32_t k = 0; k < r->mesh.n; k++)
            devices *= mesh_length(&d->s, r->mesh.at[k]);
        if (!(r->bound > 0) || d->used[i] || devices == 1) continue;
        const char *mesh = mesh_name(m, r->mesh.at[0]);
        const char *axis = axes_str(m, r->axes.at, r->axes.n);
        Span at = rule_place(m, arena_printf(m->scratch, "bound on %s", axis));
        if (d->uneven[i]) {
            diag_warning(
                m->diag, DIAG_rule_ignored, at,
                "the bound on '%s' has no effect: %lld of '%s' are not divided "
                "by %lld devices",
                axis, (long long)d->uneven[i], axis, (long long)devices);
            continue;
        }
        Report *w = diag_warning(
            m->diag, DIAG_rule_ignored, at,
            "the bound on '%s' has no effect: no rows that choose by it "
            "are split over '%s'",
            axis, mesh);
        report_help(w, "split the rows too, as in shard batch over %s", mesh);
    }
}

/* Functions that `train` alone reaches are bounded. */
static void dispatch_all(Dispatch *d)
{
    Module *m = d->m;
    uint32_t n = m->fns.n;
    bool *bounded = worst_bounded(m);
    Fn **were = NEW_ARRAY(m->scratch, Fn *, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++) {
        were[i] = m->fns.at[i];
        d->worst = !bounded[i];
        dispatch_fn(d, i);
    }
    if (!d->runs_out) return;
    worst_add(m, were);
    d->worst = true;
    for (uint32_t i = n; i < m->fns.n; i++)
        dispatch_fn(d, i);
}

static bool has_bound(const Rules *rules)
{
    bool has = false;
    for (uint32_t i = 0; i < rules->at.n; i++)
        has |= rules->at.at[i].bound > 0;
    return has;
}

bool pass_dispatch(Module *m, PassCtx *cx)
{
    const char *text = pass_option(m, cx, "shard", "");
    Dispatch d = {.m = m, .cx = cx, .s = {.m = m, .cx = cx, .a = m->scratch}};
    if (!shard_rules_read(&d.s, text)) return false;
    if (!has_bound(&d.s.rules)) return true;
    d.used = NEW_ARRAY(m->scratch, bool, (size_t)d.s.rules.at.n + 1);
    d.uneven = NEW_ARRAY(m->scratch, int64_t, (size_t)d.s.rules.at.n + 1);
    dispatch_all(&d);
    warn_unused(&d);
    return !d.failed;
}
