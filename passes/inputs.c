/*
 * inputs.c: random arguments for a function, for comparing runs.
 *
 * Floats are normal.  Parameters are smaller, as they are in a model: with
 * unit weights every softmax is saturated, and a rounding upsets it.  States
 * are not negative, since roots are taken of second moments.  Integers that
 * choose an element lie in the range of the axis they choose from: a sweep from
 * the last instruction to the first carries such ranges from gathers, scatters
 * and comparisons with index(a) back to the parameters, through calls and
 * repeats.  Each parameter has a stream of its own, so that one more parameter
 * changes no other.
 */
#include <math.h>

#include "pass.h"

/* ---------------------------------------------------------------- ranges -- */

/* Indices a value must stay below; 0: nothing is known. */
typedef int64_t Bound;

static void bound_add(Bound *b, Bound n)
{
    if (n > 0 && (*b == 0 || n < *b)) *b = n;
}

/* Casts between integers do not change what a number chooses. */
static Expr through_casts(const Module *m, Expr e)
{
    while (expr_info(m, e)->op == SC_cast)
        e = expr_info(m, e)->args[0];
    return e;
}

/* Operands that a body compares with index(a). */
static void compared_bounds(Module *m, const Inst *in, const Value *args,
                            Bound *bounds)
{
    uint32_t n;
    ArenaMark mark = arena_mark(m->scratch);
    Expr *nodes = expr_walk(m, attr_expr(m, in->attr), m->scratch, &n);
    for (uint32_t i = 0; i < n; i++) {
        const ExprInfo *e = expr_info(m, nodes[i]);
        if (e->op != SC_eq && e->op != SC_ne && e->op != SC_lt &&
            e->op != SC_le)
            continue;
        for (int side = 0; side < 2; side++) {
            const ExprInfo *x = expr_info(m, through_casts(m, e->args[side]));
            const ExprInfo *y = expr_info(m, through_casts(m, e->args[!side]));
            if (x->op == SC_arg && y->op == SC_index)
                bound_add(&bounds[args[x->operand].id],
                          type_size(m, in->type, y->axis));
        }
    }
    arena_pop(m->scratch, mark);
}

static Bound *fn_bounds(Module *m, const Fn *fn, Arena *a, uint32_t depth);

/* What the parameters of a callee must stay below holds for the operands. */
static void callee_bounds(Module *m, const Inst *in, const Value *args,
                          Bound *bounds, Arena *a, uint32_t depth)
{
    const Fn *fn = fn_of(m, attr_fn(m, in->attr, AT_fn));
    if (depth > 64) return;
    const Bound *inner = fn_bounds(m, fn, a, depth + 1);
    for (uint32_t i = 0; i < in->nargs && i < fn->nparams; i++)
        bound_add(&bounds[args[i].id], inner[i]);
}

/* Where a device's coordinate is taken into account, what is made counts along
 * its own part of an axis. */
static int64_t devices_around(const Module *m, const Fn *fn, const Inst *in)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < in->nargs; i++) {
        const Inst *x = inst_of(fn, inst_arg(fn, in, i));
        const AttrItem *over = attr_get(m, x->attr, AT_over);
        if (x->op == OP_coord) n *= group_size(m, over->mesh, over->n);
    }
    return n;
}

static bool is_integer(const Module *m, Type t)
{
    const TypeInfo *info = type_info(m, t);
    DClass c = dtype_class(info->dtype);
    return !info->is_tuple && (c == DC_int || c == DC_uint);
}

static void inst_bounds(Module *m, const Fn *fn, const Inst *in, Bound own,
                        Bound *bounds, Arena *a, uint32_t depth)
{
    const Value *args = fn->args + in->first;
    Axis axis = {0};
    if (attr_get(m, in->attr, AT_axis)) axis = attr_axis(m, in->attr, AT_axis);
    switch ((Op)in->op) {
    case OP_gather:
        bound_add(&bounds[args[1].id],
                  type_size(m, value_type(fn, args[0]), axis));
        bound_add(&bounds[args[0].id], own);
        return;
    case OP_scatter:
        bound_add(&bounds[args[0].id], type_size(m, in->type, axis));
        return;
    case OP_put:
        bound_add(&bounds[args[1].id], type_size(m, in->type, axis));
        return;
    case OP_call:
    case OP_repeat:
    case OP_launch:
    case OP_loop:
        callee_bounds(m, in, args, bounds, a, depth);
        return;
    case OP_map:
        compared_bounds(m, in, args, bounds);
        own *= devices_around(m, fn, in);
        break;
    default:
        break;
    }
    for (uint32_t i = 0; i < in->nargs; i++)
        if (is_integer(m, value_type(fn, args[i])) && is_integer(m, in->type))
            bound_add(&bounds[args[i].id], own);
}

static Bound *fn_bounds(Module *m, const Fn *fn, Arena *a, uint32_t depth)
{
    Bound *bounds = NEW_ARRAY(a, Bound, fn->ninsts);
    for (uint32_t i = fn->ninsts; i-- > 0;)
        inst_bounds(m, fn, &fn->insts[i], bounds[i], bounds, a, depth);
    return bounds;
}

/* ----------------------------------------------------------------- draws -- */

typedef struct Draws {
    uint64_t state;
} Draws;

static uint64_t draw(Draws *d)
{
    uint64_t x = d->state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static double draw_unit(Draws *d)
{
    return ((double)(draw(d) >> 11) + 0.5) * 0x1p-53;
}

static double draw_normal(Draws *d)
{
    double r = sqrt(-2 * log(draw_unit(d)));
    return r * cos(2 * acos(-1) * draw_unit(d));
}

static Cell draw_cell(Draws *d, DType dtype, Role role, Bound bound)
{
    Cell c = {.i = 0};
    switch (dtype_class(dtype)) {
    case DC_float:
        c.f = draw_normal(d) * (role == ROLE_param ? 0.25 : 1);
        if (role == ROLE_state) c.f = fabs(c.f);
        c.f = dtype_round(dtype, c.f);
        return c;
    case DC_bool:
        c.i = (int64_t)(draw(d) & 1);
        return c;
    default:
        if (!bound) bound = 8;
        c.i = dtype_wrap(dtype, draw(d) % (uint64_t)bound);
        return c;
    }
}

/* The runtime's own numbers: a step of a young run, and a fixed seed. */
static void scalar_cell(const Module *m, const Port *p, uint64_t seed, Cell *c)
{
    if (p->role != ROLE_scalar || !is_integer(m, p->type)) return;
    const char *path = str_of(m, p->path);
    if (!strcmp(path, "step")) c->i = 1 + (int64_t)(seed % 5);
    if (!strcmp(path, "seed")) c->i = 1234;
}

Tensor *inputs_random(Module *m, const Fn *fn, uint64_t seed, Arena *arena)
{
    Tensor *args = NEW_ARRAY(arena, Tensor, fn->nparams);
    const Bound *bounds = fn_bounds(m, fn, arena, 0);
    for (uint32_t i = 0; i < fn->nparams; i++) {
        const Port *p = &fn->params[i];
        Draws d = {seed * UINT64_C(0x2545f4914f6cdd1d) + i};
        args[i] = tensor_new(m, port_whole(p), 1, arena);
        DType dtype = type_dtype(m, p->type);
        for (int64_t k = 0; k < args[i].n; k++)
            args[i].at[k] = draw_cell(&d, dtype, p->role, bounds[i]);
        if (args[i].n) scalar_cell(m, p, seed, &args[i].at[0]);
    }
    return args;
}
