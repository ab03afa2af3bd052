/*
 * calls.c: random functions, called once or repeated.
 *
 * A callee is made like the main function, over parameters that stand for
 * values of its caller.
 */
#include "smith.h"

#include <math.h>

static Gen callee_new(Gen *g)
{
    Gen c = {.w = g->w, .depth = g->depth + 1};
    Module *m = g->w->m;
    Fn *fn = fn_new(m, (Str){0}, VIEW_global);
    builder_init(&c.b, m, fn);
    c.b.no_fold = true;
    return c;
}

/* Named only now: a callee of its own may have the same stem. */
static FnRef callee_done(Gen *c, const char *stem)
{
    c->b.fn->name = fn_fresh_name(c->w->m, stem);
    return module_add_fn(c->w->m, c->b.fn);
}

static void callee_param(Gen *c, Type t, double most, bool exact)
{
    Module *m = c->w->m;
    Port p = {.type = t};
    p.name = str_printf(&m->strs, "p%u", c->b.fn->nparams);
    Value v = builder_param(&c->b, p);
    vec_push(m->arena, &c->pool, ((Made){v, most, exact, false}));
}

bool gen_call(Gen *g)
{
    if (g->depth > 1) return false;
    Gen c = callee_new(g);
    Value args[2];
    uint32_t n = 1 + draw_below(g->w, 2);
    for (uint32_t i = 0; i < n; i++) {
        const Made *x = pool_pick(g, anything);
        args[i] = x->v;
        callee_param(&c, value_type(g->b.fn, x->v), x->most, x->exact);
    }
    gen_insts(&c, 1 + draw_below(g->w, 4));
    if (c.pool.n == n) return false;
    Made results[2] = {c.pool.at[c.pool.n - 1], c.pool.at[n]};
    uint32_t nresults = 1 + (c.pool.n > n + 1 && draw_chance(g->w, 50));
    for (uint32_t i = 0; i < nresults; i++)
        builder_result(&c.b, results[i].v, (Port){.name = {0}});
    Value t = emit_call(&g->b, callee_done(&c, "module"), args, n);
    g->w->nmade[OP_call]++;
    for (uint32_t i = 0; i < nresults; i++) {
        Value v = nresults > 1 ? emit_proj(&g->b, t, i) : t;
        pool_add(g, v, results[i].most, results[i].exact);
    }
    return true;
}

/* A repeat while it is made.  It carries a real, and when guarded a counter;
 * stacked is one value of the carried shape per turn. */
typedef struct Loop {
    Gen *g, body;
    TypeAxis axis;
    bool guarded;
    double most; /* of the carried value */
    Type carried;
    Value args[3];
    uint32_t nargs, ncarry;
    Made other; /* the result that is stacked */
} Loop;

/* sin(x + index): the stacked operand, made of the carried one. */
static Value stacked_operand(Loop *l, Value x)
{
    Module *m = l->g->w->m;
    DType d = l->g->w->real;
    Expr e = expr_cast(m, d, expr_index(m, l->axis.axis));
    e = expr_op2(m, SC_add, e, expr_arg(m, 0, d));
    e = expr_op1(m, SC_sin, e);
    return emit_map_over(&l->g->b, e, &x, 1, &l->axis, 1);
}

/* tanh keeps the carried value below one, in however many turns. */
static Value next_carried(Loop *l)
{
    Module *m = l->g->w->m;
    DType d = l->g->w->real;
    Value args[3] = {{0}, {l->nargs - 1}, {l->nargs}};
    Expr turn = expr_cast(m, d, expr_arg(m, 2, DT_i32));
    Expr e = expr_op(m, SC_fma, expr_arg(m, 0, d), expr_arg(m, 1, d), turn);
    e = expr_op1(m, SC_tanh, e);
    l->g->w->nscalars[SC_fma]++;
    l->g->w->nscalars[SC_tanh]++;
    return emit_map(&l->body.b, e, args, 3);
}

static void loop_body(Loop *l)
{
    Gen *c = &l->body;
    Module *m = l->g->w->m;
    Type i32 = type_scalar(m, DT_i32);
    *c = callee_new(l->g);
    callee_param(c, l->carried, l->most, false);
    if (l->guarded) callee_param(c, i32, 4, true);
    callee_param(c, l->carried, 1, false);
    callee_param(c, i32, 4, true);
    Value next = next_carried(l);
    vec_push(m->arena, &c->pool, ((Made){next, 1, false, false}));
    gen_insts(c, draw_below(l->g->w, 3));
    l->other = c->pool.at[c->pool.n - 1];
    builder_result(&c->b, next, (Port){.name = {0}});
    if (l->guarded) {
        Value one = emit_const(&c->b, DT_i32, 1);
        Value count = emit_binary(&c->b, SC_add, (Value){1}, one);
        builder_result(&c->b, count, (Port){.name = {0}});
    }
    builder_result(&c->b, l->other.v, (Port){.name = {0}});
}

/* The condition reads the counter alone, so that the same turns run in every
 * correct compilation. */
static FnRef loop_condition(Loop *l)
{
    Module *m = l->g->w->m;
    Gen c = callee_new(l->g);
    callee_param(&c, l->carried, 1, false);
    callee_param(&c, type_scalar(m, DT_i32), 1, true);
    Expr most = expr_i32(m, 1 + draw_below(l->g->w, 3));
    Expr e = expr_op2(m, SC_lt, expr_arg(m, 0, DT_i32), most);
    Value count = {1};
    builder_result(&c.b, emit_map(&c.b, e, &count, 1), (Port){.name = {0}});
    return callee_done(&c, "go");
}

static Value emit_loop(Loop *l)
{
    Module *m = l->g->w->m;
    Type i32 = type_scalar(m, DT_i32);
    Type each = value_type(l->body.b.fn, l->other.v);
    Type fields[3] = {l->carried, i32, i32};
    fields[l->ncarry] = type_with_axis(m, each, l->axis);
    AttrList a = {.n = 0};
    attr_put_id(&a, AT_fn, callee_done(&l->body, "body").id);
    if (l->guarded) attr_put_id(&a, AT_while, loop_condition(l).id);
    attr_put_id(&a, AT_axis, l->axis.axis.id);
    attr_put_int(&a, AT_count, l->axis.size);
    attr_put_int(&a, AT_carry, l->ncarry);
    if (!l->guarded && draw_chance(l->g->w, 40))
        attr_put_int(&a, AT_reverse, 1);
    l->g->w->nmade[OP_repeat]++;
    return emit(&l->g->b, OP_repeat, type_tuple(m, fields, l->ncarry + 1),
                attr_intern(m, &a), l->args, l->nargs);
}

static bool real_only(const Gen *g, const Made *x)
{
    return dtype_of(g, x->v) == g->w->real &&
           elements_of(g, x->v) <= g->w->most * 3 / 20;
}

bool gen_repeat(Gen *g)
{
    const Made *x = pool_pick(g, real_only);
    if (!x || g->depth > 1) return false;
    Loop l = {.g = g, .most = fmax(x->most, 1)};
    l.axis = fresh_axis(g, 2 + draw_below(g->w, 2));
    l.guarded = draw_chance(g->w, 35);
    l.carried = value_type(g->b.fn, x->v);
    l.args[l.nargs++] = x->v;
    if (l.guarded) l.args[l.nargs++] = emit_const(&g->b, DT_i32, 0);
    l.ncarry = l.nargs;
    l.args[l.nargs] = stacked_operand(&l, x->v);
    l.nargs++;
    loop_body(&l);
    Value t = emit_loop(&l);
    pool_add(g, emit_proj(&g->b, t, 0), l.most, false);
    pool_add(g, emit_proj(&g->b, t, l.ncarry), fmax(l.other.most, 1),
             l.other.exact);
    return true;
}
