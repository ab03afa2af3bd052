/*
 * matmul_values.c: the maps of a group on a fragment of its sums.
 *
 * Every value of the group is a vector of the eight elements of a unit, made
 * when it is first asked for, at a column.  A value of parts is asked for at
 * the column of the first part, and a pick of it is the value at another
 * column.  What a block of columns shares is a vector of the thread's two rows,
 * made once for all of them, in the host's bits: a thread reduces what it has
 * in the order of the columns, and the four that have a row exchange theirs.  A
 * product is its f32 sums, rounded to the einsum's dtype.  Scalar functions are
 * those of every other kernel; a rounding to 16 bits is the instruction that
 * makes two at once.
 */
#include "matmul.h"

#include <math.h>

/* Rows of a thread, and the threads that have a row. */
enum { ROWS = 2, SHARERS = 4 };

typedef struct Values {
    Site s; /* MATMUL_UNIT wide; ROWS of what columns share */
    const Matmul *p;
    const MatmulPoint *at;
    LV *made; /* per value of the group and column */
} Values;

typedef struct MapAt {
    Values *x;
    const Inst *in;
    uint32_t column; /* which */
    Map done;        /* expression -> index of made */
    VEC(LV) made;
} MapAt;

static LV lane(const Site *s, unsigned i)
{
    return sm90_i32(s, i);
}

/* Two elements a word. */
static LV to_narrow(const Site *s, DType to, LV x)
{
    LLVMTypeRef i32 = LLVMInt32TypeInContext(s->cx);
    LV words = LLVMGetPoison(LLVMVectorType(i32, s->w / 2));
    for (unsigned i = 0; i < s->w; i += 2) {
        LV low = LLVMBuildExtractElement(s->b, x, lane(s, i), "");
        LV high = LLVMBuildExtractElement(s->b, x, lane(s, i + 1), "");
        LV word = sm90_pack(s, to, low, high);
        words = LLVMBuildInsertElement(s->b, words, word, lane(s, i / 2), "");
    }
    return LLVMBuildBitCast(s->b, words, site_type(s, dtype_reg(s, to)), "");
}

static LV cast_to(const Site *s, DType to, DType from, LV x)
{
    if (from == DT_f32 && (to == DT_bf16 || to == DT_f16))
        return to_narrow(s, to, x);
    return emit_dtype_cast(s, to, from, x);
}

/* An instruction of the GPU on each element. */
static LV each(const Site *s, LV (*fn)(const Site *s, LV x), LV x)
{
    LV out = LLVMGetPoison(LLVMTypeOf(x));
    for (unsigned i = 0; i < s->w; i++) {
        LV y = fn(s, LLVMBuildExtractElement(s->b, x, lane(s, i), ""));
        out = LLVMBuildInsertElement(s->b, out, y, lane(s, i), "");
    }
    return out;
}

static LV scaled(const Site *s, LV x, double by)
{
    return LLVMBuildFMul(s->b, x, site_float(s, DT_f32, by), "");
}

/* 1 / (1 + exp(scale * x)) */
static LV logistic(const Site *s, LV x, double scale)
{
    LV e = each(s, sm90_exp2, scaled(s, x, scale * M_LOG2E));
    return each(s, sm90_rcp,
                LLVMBuildFAdd(s->b, e, site_float(s, DT_f32, 1), ""));
}

static LV f32_function(const Site *s, ScalarOp op, const LV args[3])
{
    switch (op) {
    case SC_exp:
        return each(s, sm90_exp2, scaled(s, args[0], M_LOG2E));
    case SC_div:
        return LLVMBuildFMul(s->b, args[0], each(s, sm90_rcp, args[1]), "");
    case SC_sigmoid:
        return logistic(s, args[0], -1);
    case SC_tanh:
        return LLVMBuildFSub(s->b, site_float(s, DT_f32, 1),
                             scaled(s, logistic(s, args[0], 2), 2), "");
    default:
        return emit_scalar(s, op, DT_f32, args);
    }
}

static LV make(Values *x, Value v, uint32_t column);

/* Whether a block of columns has the value in common. */
static bool is_shared(const Values *x, Value v)
{
    const Matmul *p = x->p;
    Type t = value_type(p->group, v);
    if (!p->shares || type_axis(p->m, t, p->within)) return false;
    for (uint32_t i = 0; i < p->group->ninsts; i++) {
        const Inst *in = &p->group->insts[i];
        if (in->op != OP_reduce) continue;
        Module *m = p->m;
        if (type_eq(type_with_dtype(m, t, DT_f32),
                    type_with_dtype(m, in->type, DT_f32)))
            return true;
    }
    return false;
}

static LV make_expr(MapAt *at, Expr e);

/* Both rows at each column, or one unit's read value at both rows. */
static LV spread(const Values *x, LV v)
{
    LV at[MATMUL_UNIT];
    for (unsigned i = 0; i < x->s.w; i++)
        at[i] = lane(&x->s, x->s.w == ROWS ? ROWS * i : i / ROWS % ROWS);
    return LLVMBuildShuffleVector(x->s.b, v, v, LLVMConstVector(at, x->s.w),
                                  "");
}

/* As wide as what is made of it. */
static LV operand(MapAt *at, Value v)
{
    Values *x = at->x;
    bool narrow = is_shared(x, v);
    Site s = x->s;
    x->s.w = narrow ? ROWS : MATMUL_UNIT;
    x->s.exact = narrow;
    LV value = make(x, v, at->column);
    x->s = s;
    return x->s.w == (narrow ? ROWS : MATMUL_UNIT) ? value : spread(x, value);
}

static LV expr_new(MapAt *at, const ExprInfo *e)
{
    Values *x = at->x;
    const Module *m = x->p->m;
    DType d = (DType)e->dtype;
    switch (e->op) {
    case SC_arg:
        return operand(at, inst_arg(x->p->group, at->in, e->operand));
    case SC_const:
        return dtype_class(d) == DC_float ? site_float(&x->s, d, e->f)
                                          : site_int(&x->s, d, e->i);
    case SC_cast:
        return cast_to(&x->s, d, (DType)expr_info(m, e->args[0])->dtype,
                       make_expr(at, e->args[0]));
    case SC_index:
        BUG("a product's map asks for its index");
    }
    LV args[3] = {NULL, NULL, NULL};
    for (unsigned i = 0; i < e->nargs; i++)
        args[i] = make_expr(at, e->args[i]);
    DType from = (DType)expr_info(m, e->args[e->op == SC_where])->dtype;
    return from == DT_f32 && x->s.w == MATMUL_UNIT
               ? f32_function(&x->s, (ScalarOp)e->op, args)
               : emit_scalar(&x->s, (ScalarOp)e->op, from, args);
}

static LV make_expr(MapAt *at, Expr e)
{
    uint32_t id;
    if (map_find(&at->done, e.id, &id)) return at->made.at[id];
    const Module *m = at->x->p->m;
    LV v = expr_new(at, expr_info(m, e));
    map_add(&at->done, e.id, at->made.n);
    vec_push(m->scratch, &at->made, v);
    return v;
}

static LV make_map(Values *x, const Inst *in, uint32_t column)
{
    MapAt at = {.x = x, .in = in, .column = column};
    map_init(&at.done, x->p->m->scratch);
    return make_expr(&at, attr_expr(x->p->m, in->attr));
}

static LV joined(const Site *s, bool max, LV a, LV b)
{
    LV both[3] = {a, b, NULL};
    return emit_scalar(s, max ? SC_max : SC_add, DT_f32, both);
}

/* What the columns of a block have, of the thread's rows. */
static LV make_reduction(Values *x, const Inst *in, uint32_t column)
{
    Value of = inst_arg(x->p->group, in, 0);
    DType d = type_dtype(x->p->m, value_type(x->p->group, of));
    bool max = attr_is(x->p->m, in->attr, AT_kind, "max");
    Site one = x->s, wide = x->s;
    one.w = 1;
    wide.w = MATMUL_UNIT;
    wide.exact = false;
    LV row[ROWS] = {NULL, NULL};
    for (uint32_t c = 0; c < x->p->whole / x->p->part; c++) {
        x->s = wide;
        LV unit = cast_to(&wide, DT_f32, d, make(x, of, column + c));
        for (unsigned i = 0; i < MATMUL_UNIT; i++) {
            LV e = LLVMBuildExtractElement(one.b, unit, lane(&one, i), "");
            LV *to = &row[i / ROWS % ROWS];
            *to = *to ? joined(&one, max, *to, e) : e;
        }
    }
    x->s.w = ROWS;
    LV out = LLVMGetPoison(site_type(&x->s, dtype_reg(&x->s, DT_f32)));
    for (unsigned r = 0; r < ROWS; r++) {
        for (unsigned by = 1; by < SHARERS; by *= 2)
            row[r] =
                joined(&one, max, row[r], sm90_shuffle_xor(&one, row[r], by));
        out = LLVMBuildInsertElement(one.b, out, row[r], lane(&one, r), "");
    }
    return cast_to(&x->s, type_dtype(x->p->m, in->type), DT_f32, out);
}

static LV make_product(Values *x, const Inst *in, uint32_t column)
{
    const Site *s = &x->s;
    const LV *sums =
        x->at->sums(x->at, matmul_product(x->p, in), x->at->columns[column]);
    LLVMTypeRef f32 = LLVMFloatTypeInContext(s->cx);
    LV v = LLVMGetPoison(LLVMVectorType(f32, MATMUL_UNIT));
    for (unsigned i = 0; i < MATMUL_UNIT; i++)
        v = LLVMBuildInsertElement(s->b, v, sums[i], lane(s, i), "");
    DType d = type_dtype(x->p->m, in->type);
    return d == DT_f32 ? v : cast_to(s, d, DT_f32, v);
}

static const MatmulValue *value_read(const Values *x, Value v)
{
    for (uint32_t i = 0; i < x->p->nvalues; i++) {
        const MatmulValue *of = &x->p->value[i];
        if (!of->written && of->value.id == v.id) return of;
    }
    BUG("a product reads what it does not know");
}

/* Columns are those of parts in order, again and again. */
static LV make_new(Values *x, Value v, const Inst *in, uint32_t column)
{
    Value of = in->nargs ? inst_arg(x->p->group, in, 0) : NO_VALUE;
    uint32_t part = x->p->whole ? column % (x->p->whole / x->p->part) : 0;
    switch (in->op) {
    case OP_arg:
        return x->at->read(x->at, value_read(x, v), x->at->columns[column]);
    case OP_einsum:
        return make_product(x, in, column);
    case OP_map:
        return make_map(x, in, column);
    case OP_reduce:
        return make_reduction(x, in, column);
    case OP_split:
    case OP_merge:
    case OP_rename:
        return make(x, of, column);
    case OP_scatter:
        return make(x, inst_arg(x->p->group, in, 1), column);
    case OP_pick:
        return make(
            x, of, column + (uint32_t)attr_int(x->p->m, in->attr, AT_start, 0));
    case OP_stack:
        return make(x, inst_arg(x->p->group, in, part), column - part);
    }
    BUG("a product holds the op %s", op_info((Op)in->op)->name);
}

/* What runs along a part is read once for all of them. */
static LV make(Values *x, Value v, uint32_t column)
{
    const Inst *in = inst_of(x->p->group, v);
    if (in->op == OP_arg && value_read(x, v)->parted) column = 0;
    if (is_shared(x, v)) column -= column % (x->p->whole / x->p->part);
    LV *at = &x->made[v.id * x->at->n + column];
    if (!*at) *at = make_new(x, v, in, column);
    return *at;
}

static void make_column(Values *x, uint32_t column, LV **out)
{
    const Matmul *p = x->p;
    for (uint32_t i = 0; i < p->nvalues; i++)
        if (p->value[i].written) *(*out)++ = make(x, p->value[i].value, column);
    for (uint32_t i = 0; i < p->ntallies; i++)
        *(*out)++ = make(x, p->tally[i].of, column);
}

/* Makes the value here, and holds it as it is: LLVM would make it where it is
 * used, and hold what it is made of. */
static void make_held(Values *x, Value v, uint32_t column)
{
    const Site *s = &x->s;
    LV *at = &x->made[v.id * x->at->n + column], value = make(x, v, column);
    LLVMTypeRef i32 = LLVMInt32TypeInContext(s->cx);
    DType d = type_dtype(x->p->m, value_type(x->p->group, v));
    unsigned n = MATMUL_UNIT * dtype_bytes(d) / 4;
    LV words = LLVMBuildBitCast(s->b, value, LLVMVectorType(i32, n), "");
    for (unsigned i = 0; i < n; i++) {
        LV word = LLVMBuildExtractElement(s->b, words, lane(s, i), "");
        words = LLVMBuildInsertElement(s->b, words, sm90_again(s, word),
                                       lane(s, i), "");
    }
    *at = LLVMBuildBitCast(s->b, words, LLVMTypeOf(value), "");
}

/* What waits for no other column is made first, column by column: the sums are
 * free then, before a block is looked at as a whole. */
static void make_ahead(Values *x)
{
    const Matmul *p = x->p;
    const Fn *f = p->group;
    bool *late = NEW_ARRAY(p->m->scratch, bool, f->ninsts);
    for (uint32_t i = 0; i < f->ninsts; i++) {
        late[i] = f->insts[i].op == OP_reduce;
        for (uint32_t a = 0; a < f->insts[i].nargs; a++)
            late[i] |= late[inst_arg(f, &f->insts[i], a).id];
    }
    for (uint32_t c = 0; c < x->at->n; c++) {
        for (uint32_t i = 0; i < p->nvalues; i++)
            if (p->value[i].written && !late[p->value[i].value.id])
                make_held(x, p->value[i].value, c);
        for (uint32_t i = f->nparams; i < f->ninsts; i++)
            if (f->insts[i].op == OP_split)
                make_held(x, inst_arg(f, &f->insts[i], 0), c);
    }
}

void matmul_values(const Site *s, const Matmul *p, const MatmulPoint *at,
                   LV *results)
{
    ArenaMark mark = arena_mark(p->m->scratch);
    Values x = {.s = *s, .p = p, .at = at};
    x.s.w = MATMUL_UNIT;
    x.made = NEW_ARRAY(p->m->scratch, LV, (size_t)p->group->ninsts * at->n);
    if (p->shares) make_ahead(&x);
    for (uint32_t c = 0; c < at->n; c++)
        make_column(&x, c, &results);
    arena_pop(p->m->scratch, mark);
}
