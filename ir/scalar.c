/*
 * scalar.c: scalar expressions: interning, typing, substitution.
 *
 * Expressions are a hash-consed graph.  A node is interned after its
 * operands, so the ids of its operands are smaller than its own: sorting the
 * nodes below an expression by id is a topological order, and no walk here
 * recurses.
 */
#include "scalar.h"

#include <math.h>
#include <string.h>

/* -------------------------------------------------------------- typing -- */

typedef enum { TAKES_float, TAKES_num, TAKES_int, TAKES_any, TAKES_bool } Takes;
typedef enum { GIVES_same, GIVES_bool, GIVES_own } Gives;

static const struct {
    Takes takes;
    Gives gives;
} typing[] = {
#define SCALAR(name, args, form, operands, result) \
    [SC_##name] = {TAKES_##operands, GIVES_##result},
#include "scalar.def"
#undef SCALAR
};

static bool takes_dtype(Takes takes, DType d)
{
    DClass c = dtype_class(d);
    switch (takes) {
    case TAKES_float:
        return c == DC_float;
    case TAKES_num:
        return c != DC_bool;
    case TAKES_int:
        return c == DC_int || c == DC_uint;
    case TAKES_any:
        return true;
    case TAKES_bool:
        return c == DC_bool;
    }
    return false;
}

bool scalar_typed(ScalarOp op, const DType *args, DType *result)
{
    if (op == SC_where) {
        *result = args[1];
        return args[0] == DT_bool && args[1] == args[2];
    }
    if (op == SC_random) {
        *result = DT_u32;
        return args[0] == DT_i64 && args[1] == DT_i64 && args[2] == DT_i64;
    }
    *result = typing[op].gives == GIVES_bool ? DT_bool : args[0];
    for (unsigned i = 0; i < scalar_info(op)->nargs; i++)
        if (args[i] != args[0] || !takes_dtype(typing[op].takes, args[i]))
            return false;
    return true;
}

/* ----------------------------------------------------------- interning -- */

static uint64_t payload(const ExprInfo *e)
{
    uint64_t bits = 0;
    switch (e->op) {
    case SC_arg:
        return e->operand;
    case SC_index:
        return e->axis.id;
    case SC_const:
        break;
    default:
        return 0;
    }
    if (dtype_class((DType)e->dtype) != DC_float) return (uint64_t)e->i;
    memcpy(&bits, &e->f, sizeof bits);
    return bits;
}

static bool expr_same(const ExprInfo *a, const ExprInfo *b)
{
    return a->op == b->op && a->dtype == b->dtype && a->nargs == b->nargs &&
           payload(a) == payload(b) &&
           !memcmp(a->args, b->args, a->nargs * sizeof *a->args);
}

static Expr intern(Module *m, ExprInfo e)
{
    uint64_t key[] = {e.op,         e.dtype,      e.nargs,    e.args[0].id,
                      e.args[1].id, e.args[2].id, payload(&e)};
    uint64_t h = hash_words(key, sizeof key, 0);
    MapIter it;
    uint32_t id;
    for (bool ok = map_first(&m->expr_map, h, &it, &id); ok;
         ok = map_next(&m->expr_map, &it, &id))
        if (expr_same(&e, &m->exprs.at[id])) return (Expr){id};
    vec_push(m->arena, &m->exprs, e);
    map_add(&m->expr_map, h, m->exprs.n - 1);
    return (Expr){m->exprs.n - 1};
}

/* ------------------------------------------------------------ builders -- */

Expr expr_arg(Module *m, uint32_t operand, DType d)
{
    ExprInfo e = {.op = SC_arg, .dtype = (uint8_t)d};
    e.operand = operand;
    return intern(m, e);
}

/* All NaNs are one. */
Expr expr_float(Module *m, DType d, double f)
{
    CHECK(dtype_class(d) == DC_float);
    ExprInfo e = {.op = SC_const, .dtype = (uint8_t)d};
    e.f = isnan(f) ? (double)NAN : dtype_round(d, f);
    return intern(m, e);
}

Expr expr_int(Module *m, DType d, int64_t i)
{
    CHECK(dtype_class(d) != DC_float);
    ExprInfo e = {.op = SC_const, .dtype = (uint8_t)d};
    e.i = dtype_wrap(d, (uint64_t)i);
    return intern(m, e);
}

Expr expr_index(Module *m, Axis axis)
{
    ExprInfo e = {.op = SC_index, .dtype = DT_i32};
    e.axis = axis;
    return intern(m, e);
}

Expr expr_cast(Module *m, DType d, Expr x)
{
    Expr folded = scalar_fold_cast(m, d, x);
    if (folded.id) return folded;
    return intern(
        m, (ExprInfo){
               .op = SC_cast, .dtype = (uint8_t)d, .nargs = 1, .args = {x}});
}

Expr expr_op(Module *m, ScalarOp op, Expr a, Expr b, Expr c)
{
    const ScalarInfo *info = scalar_info(op);
    Expr args[3] = {a, b, c};
    DType types[3] = {DT_f64, DT_f64, DT_f64}, d;
    for (unsigned i = 0; i < info->nargs; i++)
        types[i] = expr_dtype(m, args[i]);
    if (op <= SC_cast || !scalar_typed(op, types, &d))
        BUG("operands of '%s' have dtypes %s, %s, %s", info->name,
            dtype_name(types[0]), dtype_name(types[1]), dtype_name(types[2]));
    Expr folded = scalar_fold(m, op, d, args);
    if (folded.id) return folded;
    return intern(m, (ExprInfo){.op = (uint8_t)op,
                                .dtype = (uint8_t)d,
                                .nargs = (uint8_t)info->nargs,
                                .args = {a, b, c}});
}

/* --------------------------------------------------------------- walks -- */

enum { FEW_NODES = 64 };

/* The distinct nodes of an expression, largest id first: each node stands
 * before its operands. */
typedef struct Below {
    Expr few[FEW_NODES];
    Expr *at;
    uint32_t n, cap;
} Below;

static void below_insert(const Module *m, Below *b, uint32_t from, Expr e)
{
    uint32_t i = from;
    while (i < b->n && b->at[i].id > e.id)
        i++;
    if (i < b->n && b->at[i].id == e.id) return;
    if (b->n == b->cap) {
        Expr *more = NEW_ARRAY(m->scratch, Expr, b->cap * 2);
        memcpy(more, b->at, b->n * sizeof *more);
        b->at = more;
        b->cap *= 2;
    }
    memmove(&b->at[i + 1], &b->at[i], (b->n - i) * sizeof *b->at);
    b->at[i] = e;
    b->n++;
}

static void below_of(const Module *m, Below *b, Expr e)
{
    b->at = b->few;
    b->cap = FEW_NODES;
    b->n = 1;
    b->at[0] = e;
    for (uint32_t i = 0; i < b->n; i++) {
        const ExprInfo *in = expr_info(m, b->at[i]);
        for (uint32_t k = 0; k < in->nargs; k++)
            below_insert(m, b, i + 1, in->args[k]);
    }
}

static uint32_t below_find(const Below *b, Expr e)
{
    uint32_t low = 0, high = b->n;
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (b->at[mid].id >= e.id)
            low = mid;
        else
            high = mid;
    }
    return low;
}

static Expr subst_leaf(Module *m, const ExprInfo *in, Expr e,
                       const ExprSubst *s)
{
    if (in->op == SC_arg && in->operand < s->n && s->with[in->operand].id)
        return s->with[in->operand];
    if (in->op == SC_index && s->index_with) {
        Expr made = s->index_with(m, in->axis, s->user);
        if (made.id) return made;
    }
    return e;
}

static Expr subst_node(Module *m, ExprInfo in, const Below *b, const Expr *made)
{
    Expr args[3] = {{0}, {0}, {0}};
    for (uint32_t k = 0; k < in.nargs; k++)
        args[k] = made[below_find(b, in.args[k])];
    if (in.op == SC_cast) return expr_cast(m, (DType)in.dtype, args[0]);
    return expr_op(m, (ScalarOp)in.op, args[0], args[1], args[2]);
}

Expr expr_subst(Module *m, Expr e, const ExprSubst *s)
{
    Below b;
    Expr few[FEW_NODES], *made = few;
    below_of(m, &b, e);
    if (b.n > FEW_NODES) made = NEW_ARRAY(m->scratch, Expr, b.n);
    for (uint32_t i = b.n; i-- > 0;) {
        ExprInfo in = *expr_info(m, b.at[i]);
        made[i] = in.nargs ? subst_node(m, in, &b, made)
                           : subst_leaf(m, &in, b.at[i], s);
    }
    return made[0];
}

const Expr *expr_args(Module *m, const Fn *fn, const Value *args, uint32_t n)
{
    Expr *out = NEW_ARRAY(m->scratch, Expr, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++)
        out[i] = expr_arg(m, i, type_dtype(m, value_type(fn, args[i])));
    return out;
}

typedef struct OneIndex {
    Axis axis;
    Expr with;
} OneIndex;

static Expr one_index(Module *m, Axis a, void *user)
{
    const OneIndex *x = user;
    (void)m;
    return a.id == x->axis.id ? x->with : (Expr){0};
}

Expr expr_subst_index(Module *m, Expr e, Axis axis, Expr with)
{
    OneIndex x = {axis, with};
    return expr_subst(m, e, &(ExprSubst){.index_with = one_index, .user = &x});
}

uint32_t expr_operands(const Module *m, Expr e)
{
    Below b;
    uint32_t n = 0;
    below_of(m, &b, e);
    for (uint32_t i = 0; i < b.n; i++) {
        const ExprInfo *in = expr_info(m, b.at[i]);
        if (in->op == SC_arg && in->operand >= n) n = in->operand + 1;
    }
    return n;
}

bool expr_uses_index(const Module *m, Expr e, Axis a)
{
    Below b;
    below_of(m, &b, e);
    for (uint32_t i = 0; i < b.n; i++) {
        const ExprInfo *in = expr_info(m, b.at[i]);
        if (in->op == SC_index && in->axis.id == a.id) return true;
    }
    return false;
}

bool map_asks_index(const Module *m, const Inst *map, Type axes)
{
    const TypeInfo *t = type_info(m, axes);
    Expr e = attr_expr(m, map->attr);
    for (uint32_t i = 0; i < t->naxes; i++)
        if (expr_uses_index(m, e, t->axes[i].axis)) return true;
    return false;
}

uint32_t expr_nodes(const Module *m, Expr e)
{
    Below b;
    below_of(m, &b, e);
    return b.n;
}

Expr *expr_walk(const Module *m, Expr e, Arena *a, uint32_t *n)
{
    Below b;
    below_of(m, &b, e);
    Expr *at = NEW_ARRAY(a, Expr, b.n);
    for (uint32_t i = 0; i < b.n; i++)
        at[i] = b.at[b.n - 1 - i];
    *n = b.n;
    return at;
}

/* A walk is in the order of handles. */
uint32_t expr_place(const Expr *walk, uint32_t n, Expr e)
{
    uint32_t low = 0, high = n;
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (walk[mid].id <= e.id)
            low = mid;
        else
            high = mid;
    }
    return low;
}
