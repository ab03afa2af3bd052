/*
 * find.c: which rows go to the devices of what they choose.
 *
 * Those of a product with weights that are gathered by ids, where a rule bounds
 * what goes to the parts of the weights and the rows are split over the same
 * mesh axes.  Parts are of one size.
 */
#include "dispatch.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 128 }; /* rows that a kernel takes at once */

bool is_row_axis(const Rows *x, Axis a)
{
    for (uint32_t i = 0; i < x->n; i++)
        if (x->axes[i].id == a.id) return true;
    return false;
}

bool has_row_axis(const Dispatch *d, const Rows *x, Type t)
{
    for (uint32_t i = 0; i < x->n; i++)
        if (type_axis(d->m, t, x->axes[i])) return true;
    return false;
}

/* The rule that bounds what goes to the parts of an axis. */
static const ShardRule *rule_of(const Dispatch *d, Axis expert)
{
    for (uint32_t i = 0; i < d->s.rules.at.n; i++) {
        const ShardRule *r = &d->s.rules.at.at[i];
        for (uint32_t k = 0; k < r->axes.n && r->bound > 0; k++)
            if (r->axes.at[k].id == expert.id) return r;
    }
    return NULL;
}

/* How many parts the mesh cuts an axis into; those of RULE alone, if given. */
static int64_t parts_of(const Dispatch *d, const Where *where_is, Axis a,
                        const ShardRule *rule)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < d->m->mesh.n; i++) {
        bool counts = rule == NULL;
        for (uint32_t k = 0; rule && k < rule->mesh.n; k++)
            counts |= rule->mesh.at[k].id == i;
        if (counts && where_is[i] == where_axis(a))
            n *= mesh_length(&d->s, (MeshAxis){i});
    }
    return n;
}

/* How many turns take a part each of the rows along an axis. */
static int64_t turns_of(const Dispatch *d, Axis a)
{
    const char *batch = pass_option(d->m, d->cx, "batch_axis", "");
    if (strcmp(batch, axis_name(d->m, a))) return 1;
    return pass_option_int(d->m, d->cx, "accumulate", 1);
}

/* Axes of rows, and in how many parts of one size they are where ids are made.
 */
static bool find_parts(Dispatch *d, const ShardRule *rule, Rows *x)
{
    const TypeInfo *t = type_info(d->m, type_of(d, x->ids));
    Where *out = NEW_ARRAY(d->m->scratch, Where, (size_t)d->m->mesh.n + 1);
    Ruled ruled = {.type = type_of(d, x->ids), .path = ""};
    ruled.roles = FOR_activation | FOR_residual;
    int64_t shared = 1;
    x->rows = 1;
    if (t->naxes > MOST_AXES || !rules_place(&d->s, &ruled, out)) return false;
    for (uint32_t i = 0; i < t->naxes; i++) {
        x->axes[i] = t->axes[i].axis;
        x->from[i] = parts_of(d, out, x->axes[i], NULL);
        x->turns[i] = turns_of(d, x->axes[i]);
        if (t->axes[i].size % (x->turns[i] * x->from[i])) return false;
        x->rest[i] = t->axes[i].size / (x->turns[i] * x->from[i]);
        x->rows *= x->rest[i];
        int64_t of = parts_of(d, out, x->axes[i], rule);
        x->alike[i] = x->from[i] / of;
        shared *= of;
    }
    x->n = t->naxes;
    return shared > 1;
}

/* Rules name none of the new axes, so that values may go where they cost
 * least. */
static void name_axes(Dispatch *d, Rows *x)
{
    for (uint32_t i = 0; i < x->n; i++) {
        const char *name = axis_name(d->m, x->axes[i]);
        const char *from = arena_printf(d->m->scratch, "%s_from", name);
        const char *inner = arena_printf(d->m->scratch, "%s_in", name);
        const char *turn = arena_printf(d->m->scratch, "%s_turn", name);
        if (x->turns[i] > 1) x->turn[i] = axis_fresh(d->m, turn, 0);
        if (x->from[i] > 1) x->part[i] = axis_fresh(d->m, from, 0);
        x->inner[i] = axis_fresh(d->m, inner, 0);
    }
    x->to = axis_fresh(d->m, "to", 0);
    x->own = axis_fresh(d->m, "own", 0);
    x->slot = axis_fresh(d->m, "slot", 0);
    x->piece = axis_fresh(d->m, "piece", 0);
}

static void find_room(Dispatch *d, Rows *x, const ShardRule *rule)
{
    double room = ceil(rule->bound * (double)x->rows / (double)x->parts);
    bool all = d->worst || room >= (double)x->rows;
    x->room = all ? x->rows : (int64_t)room;
    if (x->room > BLOCK) x->room = (x->room + BLOCK - 1) / BLOCK * BLOCK;
    if (x->room > x->rows) x->room = x->rows;
    d->runs_out |= x->room < x->rows;
}

/* Which rows a gather of weights is for, plus 1; 0: none that go anywhere. */
static uint32_t find_rows(Dispatch *d, const Inst *in)
{
    Axis expert = attr_axis(d->m, in->attr, AT_axis);
    const ShardRule *rule = rule_of(d, expert);
    Value w = inst_arg(d->fn, in, 0);
    Rows x = {.ids = inst_arg(d->fn, in, 1), .expert = expert};
    if (!rule || type_dtype(d->m, type_of(d, x.ids)) != DT_i32) return 0;
    for (uint32_t i = 0; i < d->rows.n; i++)
        if (value_eq(d->rows.at[i].ids, x.ids) &&
            d->rows.at[i].expert.id == expert.id)
            return has_row_axis(d, &d->rows.at[i], type_of(d, w)) ? 0 : i + 1;
    Where *out = NEW_ARRAY(d->m->scratch, Where, (size_t)d->m->mesh.n + 1);
    Ruled ruled = {.type = type_of(d, w), .roles = FOR_param, .path = ""};
    if (!rules_place(&d->s, &ruled, out)) return 0;
    x.experts = type_size(d->m, type_of(d, w), expert);
    x.parts = parts_of(d, out, expert, rule);
    if (x.experts % x.parts) d->uneven[rule - d->s.rules.at.at] = x.experts;
    if (x.parts < 2 || x.experts % x.parts || !find_parts(d, rule, &x) ||
        has_row_axis(d, &x, type_of(d, w)))
        return 0;
    d->used[rule - d->s.rules.at.at] = true;
    find_room(d, &x, rule);
    name_axes(d, &x);
    vec_push(d->m->scratch, &d->rows, x);
    return d->rows.n;
}

uint32_t rows_of_args(const Dispatch *d, const Inst *in)
{
    uint32_t rows = 0;
    for (uint32_t i = 0; i < in->nargs; i++) {
        uint32_t r = d->in[inst_arg(d->fn, in, i).id];
        if (r && rows && r != rows) return 0;
        if (r) rows = r;
    }
    return rows;
}

static bool map_stays(const Dispatch *d, const Inst *in, const Rows *x)
{
    for (uint32_t i = 0; i < in->nargs; i++) {
        Value v = inst_arg(d->fn, in, i);
        if (!d->in[v.id] && has_row_axis(d, x, type_of(d, v))) return false;
    }
    for (uint32_t i = 0; i < x->n; i++)
        if (expr_uses_index(d->m, attr_expr(d->m, in->attr), x->axes[i]))
            return false;
    return true;
}

static bool sums_rows(const Module *m, const Inst *in, const Rows *x)
{
    const AttrItem *sum = attr_get(m, in->attr, AT_sum);
    for (uint32_t i = 0; i < sum->n; i++)
        if (is_row_axis(x, sum->axes[i])) return true;
    return false;
}

static uint32_t place_of(Dispatch *d, const Inst *in)
{
    if (in->op == OP_gather) return find_rows(d, in);
    uint32_t rows = rows_of_args(d, in);
    if (!rows) return 0;
    const Rows *x = &d->rows.at[rows - 1];
    if (in->op == OP_einsum) return sums_rows(d->m, in, x) ? 0 : rows;
    return in->op == OP_map && map_stays(d, in, x) ? rows : 0;
}

bool rows_find(Dispatch *d)
{
    bool any = false;
    Uses u = fn_uses(d->fn, d->m->scratch);
    for (uint32_t i = d->fn->nparams; i < d->fn->ninsts; i++)
        d->in[i] = place_of(d, &d->fn->insts[i]);
    for (uint32_t i = d->fn->ninsts; i-- > 0;) {
        bool read = false;
        for (uint32_t k = u.first[i]; k < u.first[i + 1]; k++) {
            const Inst *by = inst_of(d->fn, u.at[k]);
            read |= by->op == OP_einsum || d->in[u.at[k].id];
        }
        if (d->fn->insts[i].op == OP_gather && !read) d->in[i] = 0;
        any |= d->in[i] != 0;
    }
    return any;
}
