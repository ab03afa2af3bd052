/*
 * tensor_parts.c: the dots, sweeps and panels of a tile region.
 *
 * A side becomes a panel when it is a parameter of bf16 or f16 with one line
 * axis (rows, or columns) and one axis of terms, one of the two dense in
 * memory, every other stride a multiple of 16 bytes.
 */
#include "cores.h"

enum { MOST_TERMS = 256 };

/* -------------------------------------------------------------------- axes */

/* The longest axis goes last: lines are neighbours along it. */
static void longest_last(const Cores *c, TypeAxis *axes, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (size_of(c, &axes[i]) > size_of(c, &axes[best])) best = i;
    TypeAxis x = axes[best];
    for (uint32_t i = best; i + 1 < n; i++)
        axes[i] = axes[i + 1];
    axes[n - 1] = x;
}

static bool find_axes(Cores *c)
{
    Lower *l = c->l;
    for (uint32_t i = 0; i < c->fit.nown; i++)
        vec_push(l->k->arena, &c->own, *fn_axis(l, c->fit.own[i]));
    for (uint32_t i = 0; i < c->fit.nswept; i++)
        vec_push(l->k->arena, &c->swept, *fn_axis(l, c->fit.swept[i]));
    if (!c->own.n || !c->swept.n) return false;
    longest_last(c, c->own.at, c->own.n);
    longest_last(c, c->swept.at, c->swept.n);
    return true;
}

static bool is_own(const Cores *c, Axis a)
{
    return type_axes_have(c->own.at, c->own.n, a);
}

static bool is_swept(const Cores *c, Axis a)
{
    return type_axes_have(c->swept.at, c->swept.n, a);
}

const TypeAxis *cores_terms(const Cores *c, Type t)
{
    const TypeInfo *ti = type_info(c->l->m, t);
    const TypeAxis *found = NULL;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        if (is_own(c, ti->axes[i].axis) || is_swept(c, ti->axes[i].axis))
            continue;
        if (found) return NULL;
        found = &ti->axes[i];
    }
    return found;
}

/* ------------------------------------------------------------------ panels */

/* What a parameter must be to be fetched by the tile. */
static bool has_tiles(const Cores *c, Value x, const TypeAxis *line)
{
    const Lower *l = c->l;
    if (inst_of(l->fn, x)->op != OP_arg) return false;
    const KernelArg *arg = &l->k->args[x.id];
    const TypeInfo *ti = type_info(l->m, arg->type);
    const TypeAxis *terms = cores_terms(c, arg->type);
    if (!terms || (ti->dtype != DT_bf16 && ti->dtype != DT_f16)) return false;
    int64_t n = size_of(c, terms);
    if (n % 16 || n > MOST_TERMS || arg->align % 16) return false;
    if (ti->naxes > TITAN_MAP_DIMS) return false;
    bool dense = false, lined = false;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        Axis a = ti->axes[i].axis;
        bool inner = a.id == line->axis.id || a.id == terms->axis.id;
        lined |= a.id == line->axis.id;
        if (a.id == rows_of(c)->axis.id && line != rows_of(c)) return false;
        if (inner && arg->stride[i] == 1 && !dense)
            dense = true;
        else if (arg->stride[i] % 8 || arg->stride[i] <= 0)
            return false;
        if (size_of(c, &ti->axes[i]) >= INT32_MAX) return false;
    }
    return dense && lined;
}

static bool reads_swept(const Cores *c, Type t)
{
    const TypeInfo *ti = type_info(c->l->m, t);
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (is_swept(c, ti->axes[i].axis)) return true;
    return false;
}

/* Which of lines and terms is dense. */
static void find_direction(Cores *c, Panel *p)
{
    const KernelArg *arg = &c->l->k->args[p->arg];
    const TypeInfo *ti = type_info(c->l->m, arg->type);
    const TypeAxis *terms = cores_terms(c, arg->type);
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (ti->axes[i].axis.id == terms->axis.id)
            p->across = arg->stride[i] != 1;
}

static uint32_t panel_of(Cores *c, Value x)
{
    TensorTile *t = c->t;
    for (uint32_t i = 0; i < t->panels.n; i++)
        if (t->panels.at[i].arg == x.id) return i;
    Type type = value_type(c->l->fn, x);
    Panel p = {.arg = x.id, .swept = reads_swept(c, type)};
    p.terms = size_of(c, cores_terms(c, type));
    p.dtype = type_dtype(c->l->m, type);
    find_direction(c, &p);
    vec_push(c->l->k->arena, &t->panels, p);
    return t->panels.n - 1;
}

/* ------------------------------------------------------- dots and sweeps */

static DType acc_of(const Cores *c, const Inst *in)
{
    Value x = inst_arg(c->l->fn, in, 0);
    DType d = type_dtype(c->l->m, value_type(c->l->fn, x));
    return attr_dtype(c->l->m, in->attr, AT_acc, default_acc(d));
}

static bool add_dot(Cores *c, uint32_t v)
{
    const Lower *l = c->l;
    const Inst *in = &l->fn->insts[v];
    Value a = inst_arg(l->fn, in, 0), b = inst_arg(l->fn, in, 1);
    if (reads_swept(c, value_type(l->fn, a))) {
        Value x = a;
        a = b;
        b = x;
    }
    const AttrItem *sum = attr_get(l->m, in->attr, AT_sum);
    Type ta = value_type(l->fn, a), tb = value_type(l->fn, b);
    if (reads_swept(c, ta) || !reads_swept(c, tb)) return false;
    if (!has_tiles(c, a, rows_of(c)) || !has_tiles(c, b, columns_of(c)))
        return false;
    if (sum->n != 1 || cores_terms(c, ta)->axis.id != sum->axes[0].id ||
        cores_terms(c, tb)->axis.id != sum->axes[0].id)
        return false;
    if (type_dtype(l->m, ta) != type_dtype(l->m, tb) || acc_of(c, in) != DT_f32)
        return false;
    TensorDot d = {v, panel_of(c, a), panel_of(c, b), c->t->npieces++};
    vec_push(l->k->arena, &c->t->dots, d);
    return true;
}

static bool add_wide(Cores *c, uint32_t v, TensorSweep *s)
{
    const Lower *l = c->l;
    const Inst *in = &l->fn->insts[v];
    bool first = c->fit.role[inst_arg(l->fn, in, 0).id] == TILE_pair;
    Value pair = inst_arg(l->fn, in, first ? 0 : 1);
    Value side = inst_arg(l->fn, in, first ? 1 : 0);
    Type ts = value_type(l->fn, side);
    if (!reads_swept(c, ts) || !has_tiles(c, side, columns_of(c)) ||
        acc_of(c, in) != DT_f32 ||
        type_dtype(l->m, value_type(l->fn, pair)) != type_dtype(l->m, ts))
        return false;
    if (!cores_terms(c, in->type)) return false;
    s->wide = true;
    s->panel = panel_of(c, side);
    s->terms = (uint32_t)c->t->panels.at[s->panel].terms;
    return true;
}

static bool add_sweep(Cores *c, uint32_t v)
{
    const Lower *l = c->l;
    const Inst *in = &l->fn->insts[v];
    TensorSweep s = {.value = v, .turn = c->fit.turn[v], .by = -1, .scale = 1};
    s.kind = ACC_sum;
    if (in->op == OP_einsum) {
        if (!add_wide(c, v, &s)) return false;
    } else {
        s.kind = acc_kind(l, in->attr);
        if (acc_of(c, in) != DT_f32) return false;
    }
    s.piece = c->t->npieces++;
    vec_push(l->k->arena, &c->t->sweeps, s);
    return true;
}

/* Whether the copy engine can add to the sums, a few terms of several columns
 * at a time. */
static bool has_sums(const Cores *c, TensorCross *x)
{
    const KernelArg *a = &c->l->k->args[x->sums];
    const TypeInfo *ti = type_info(c->l->m, a->type);
    const TypeAxis *terms = cores_terms(c, a->type);
    if (!terms || ti->dtype != DT_f32 || a->align % 16 ||
        ti->naxes > TITAN_MAP_DIMS)
        return false;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        bool dense = ti->axes[i].axis.id == terms->axis.id;
        if (dense ? a->stride[i] != 1 : a->stride[i] % 4 || a->stride[i] <= 0)
            return false;
        if (size_of(c, &ti->axes[i]) >= INT32_MAX) return false;
    }
    x->to = (Panel){
        .arg = x->sums, .swept = true, .dtype = DT_f32, .terms = x->terms};
    return true;
}

/* The sweep whose pairs are these. */
static bool sweep_of_pair(const Cores *c, Value pair, uint32_t *out)
{
    const Fn *fn = c->l->fn;
    for (uint32_t i = 0; i < c->t->sweeps.n; i++) {
        const Inst *in = &fn->insts[c->t->sweeps.at[i].value];
        if (!c->t->sweeps.at[i].wide) continue;
        for (uint32_t k = 0; k < in->nargs; k++)
            if (value_eq(inst_arg(fn, in, k), pair)) {
                *out = i;
                return true;
            }
    }
    return false;
}

/* One contraction over the rows, of pairs that a sweep contracts too. */
static bool add_cross(Cores *c, uint32_t v)
{
    const Lower *l = c->l;
    const Inst *in = &l->fn->insts[v];
    bool first = c->fit.role[inst_arg(l->fn, in, 0).id] == TILE_pair;
    Value pair = inst_arg(l->fn, in, first ? 0 : 1);
    Value side = inst_arg(l->fn, in, first ? 1 : 0);
    TensorCross *x = NEW(l->k->arena, TensorCross);
    x->value = v;
    if (c->t->cross || c->fit.turns != 1 || acc_of(c, in) != DT_f32 ||
        c->fit.cross.id != rows_of(c)->axis.id ||
        !has_tiles(c, side, rows_of(c)) || !sweep_of_pair(c, pair, &x->sweep) ||
        type_dtype(l->m, value_type(l->fn, pair)) !=
            type_dtype(l->m, value_type(l->fn, side)))
        return false;
    x->panel = panel_of(c, side);
    x->terms = (uint32_t)c->t->panels.at[x->panel].terms;
    for (uint32_t r = 0; r < l->fn->nresults; r++)
        if (l->fn->result_values[r].id == v) x->sums = l->fn->nparams + r;
    x->turns = l->fn->nparams + c->fit.turns_at;
    c->t->cross = x;
    return x->turns < 64 && size_of(c, columns_of(c)) > 1 && has_sums(c, x);
}

bool cores_find_parts(Cores *c)
{
    const Fn *fn = c->l->fn;
    if (!find_axes(c)) return false;
    for (uint32_t v = fn->nparams; v < fn->ninsts; v++) {
        if (c->fit.role[v] == TILE_dot && !add_dot(c, v)) return false;
        if (c->fit.sweep[v] && !add_sweep(c, v)) return false;
    }
    for (uint32_t v = fn->nparams; v < fn->ninsts; v++)
        if (c->fit.role[v] == TILE_cross && !add_cross(c, v)) return false;
    for (uint32_t r = 0; r < fn->nresults; r++) {
        Value v = fn->result_values[r];
        Type t = value_type(fn, v);
        if (c->fit.role[v.id] == TILE_wide &&
            (!cores_terms(c, t) || size_of(c, cores_terms(c, t)) % 8))
            return false;
    }
    const TensorTile *t = c->t;
    return t->dots.n > 0 && t->dots.n <= MOST_SWEEPS &&
           t->sweeps.n <= MOST_SWEEPS &&
           c->l->k->nargs + t->panels.n + 1 <= SM90_MOST_PARAMS;
}

/* -------------------------------------------------------------------- maps */

static Ix line_start(const Cores *c, const Panel *p)
{
    return p->swept ? c->first_column : c->first_row;
}

/* The tensor map of a panel: its inner dimension, the other of lines and
 * terms, then the rest. */
void cores_make_map(Cores *c, Panel *p)
{
    Lower *l = c->l;
    const KernelArg *arg = &l->k->args[p->arg];
    const TypeInfo *ti = type_info(l->m, arg->type);
    const TypeAxis *line = p->swept ? columns_of(c) : rows_of(c);
    const TypeAxis *terms = cores_terms(c, arg->type);
    uint32_t bytes = dtype_bytes(p->dtype);
    TitanMap m = {.arg = p->arg,
                  .dtype = p->dtype,
                  .rank = ti->naxes,
                  .swizzle = PANEL_BYTES};
    const Env *env = p->swept ? &c->step : &c->base;
    uint32_t next = 2;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        const TypeAxis *x = &ti->axes[i];
        bool lines = x->axis.id == line->axis.id;
        bool inner = lines == p->across;
        bool both = lines || x->axis.id == terms->axis.id;
        uint32_t d = !both ? next++ : inner ? 0 : 1;
        int64_t tile = lines ? p->lines : p->terms;
        m.size[d] = size_of(c, x);
        m.stride[d] = arg->stride[i] * bytes;
        m.box[d] = !both ? 1 : inner ? PANEL_BYTES / bytes : (uint32_t)tile;
        p->at[d] = !both   ? env_lookup(l, env, x->axis)
                   : lines ? line_start(c, p)
                           : ix_const(l->k, 0);
    }
    p->rank = m.rank;
    p->map = c->t->maps.n;
    vec_push(l->k->arena, &c->t->maps, m);
}
