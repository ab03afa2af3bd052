/*
 * draw.c: random numbers.
 *
 * A draw is a function of the seed, the step, a name and a logical index:
 *
 *     key   seed xor hash(path and name)
 *     high  step * 2^32 + the turns of the repeats around it
 *     low   the index over the axes of the value, row-major in the order of
 *           declaration; times two for the two words of a normal
 *
 * so no plan, no microbatch and no recomputation can change it.  An initial
 * value has step 0, and its stacked axes take the place of the turns: drawing
 * layer by layer and all at once are the same.
 *
 * uniform: (word >> 8) * 2^-24, in f32, from 0 to below 1.  normal: Box and
 * Muller's transform of two such, with 1 - u for the logarithm.
 */
#include "sema.h"

typedef struct Stream {
    uint64_t key;
    const TypeAxis *outer; /* stacked axes: part of `high` */
    uint32_t nouter;
    const TypeAxis *axes; /* the others, in order of declaration */
    uint32_t naxes;
    Value ops[8]; /* seed, step, turns */
    uint32_t nops;
    Expr seed, high;
} Stream;

static Expr op2(Sema *s, ScalarOp op, Expr a, Expr b)
{
    return expr_op2(s->m, op, a, b);
}

static Expr op1(Sema *s, ScalarOp op, Expr a)
{
    return expr_op1(s->m, op, a);
}

static Expr wide(Sema *s, int64_t i)
{
    return expr_int(s->m, DT_i64, i);
}

/* Row-major over the axes, in i64. */
static Expr linear(Sema *s, const TypeAxis *axes, uint32_t n)
{
    Expr e = wide(s, 0);
    for (uint32_t i = 0; i < n; i++) {
        Expr x = expr_cast(s->m, DT_i64, expr_index(s->m, axes[i].axis));
        if (i > 0)
            x = op2(s, SC_add, op2(s, SC_mul, e, wide(s, axes[i].size)), x);
        e = x;
    }
    return e;
}

/* One random word of the stream, at low * words + k. */
static Expr word(Sema *s, const Stream *st, int64_t words, int64_t k)
{
    Expr key = op2(s, SC_bitxor, st->seed, wide(s, (int64_t)st->key));
    Expr low = linear(s, st->axes, st->naxes);
    if (words > 1)
        low = op2(s, SC_add, op2(s, SC_mul, low, wide(s, words)), wide(s, k));
    Expr r = expr_op(s->m, SC_random, key, st->high, low);
    r = op2(s, SC_shr, r, expr_int(s->m, DT_u32, 8));
    return op2(s, SC_mul, expr_cast(s->m, DT_f32, r),
               expr_float(s->m, DT_f32, 0x1p-24));
}

static Expr normal_expr(Sema *s, const Stream *st)
{
    Expr one = expr_float(s->m, DT_f32, 1);
    Expr u = op2(s, SC_sub, one, word(s, st, 2, 0));
    Expr minus2 = expr_float(s->m, DT_f32, -2);
    Expr r = op1(s, SC_sqrt, op2(s, SC_mul, minus2, op1(s, SC_log, u)));
    Expr turn = expr_float(s->m, DT_f32, 6.283185307179586);
    Expr a = op2(s, SC_mul, turn, word(s, st, 2, 1));
    return op2(s, SC_mul, r, op1(s, SC_cos, a));
}

static Value draw_over(Sema *s, const Stream *st, bool normal)
{
    TypeAxis *all = NEW_ARRAY(s->a, TypeAxis, st->naxes + st->nouter + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < st->nouter; i++)
        all[n++] = st->outer[i];
    for (uint32_t i = 0; i < st->naxes; i++)
        all[n++] = st->axes[i];
    Expr e = normal ? normal_expr(s, st) : word(s, st, 1, 0);
    return emit_map_over(here(s), e, st->ops, st->nops, all, n);
}

static void stream_seed(Sema *s, Stream *st, Value seed)
{
    st->ops[st->nops] = seed;
    st->seed = expr_arg(s->m, st->nops++, DT_i64);
}

static uint64_t name_hash(Sema *s, Str path, const char *more, uint32_t k)
{
    const char *text = STR(s, path);
    uint64_t h = hash_bytes(text, strlen(text), 0);
    h = hash_bytes(more, strlen(more), h);
    return hash_bytes(&k, sizeof k, h);
}

/* -------------------------------------------------------- initial values -- */

static Value initial_leaf(Sema *s, bool normal, Mem *mem)
{
    Stream st = {.key = name_hash(s, mem->path, "", s->draws++)};
    st.nouter = site_axes(s, mem->site, &st.outer);
    const TypeInfo *t = type_info(s->m, mem->type);
    TypeAxis *own = NEW_ARRAY(s->a, TypeAxis, t->naxes + 1);
    for (uint32_t i = 0; i < t->naxes; i++)
        if (!type_axes_have(st.outer, st.nouter, t->axes[i].axis))
            own[st.naxes++] = t->axes[i];
    st.axes = own;
    stream_seed(s, &st, entry_scalar(s, "seed", DT_i64));
    st.high = linear(s, st.outer, st.nouter);
    return draw_over(s, &st, normal);
}

/* The draws of one initial value: an expression that reads a draw twice reads
 * the same numbers twice. */
typedef struct Drawn {
    VEC(const Draw *) draws;
    VEC(Val) vals;
} Drawn;

static Val draw_val(Sema *s, const Val *v, Mem *mem, Drawn *done)
{
    if (v->kind != VAL_draw) return *v;
    const Draw *d = v->draw;
    for (uint32_t i = 0; i < done->draws.n; i++)
        if (done->draws.at[i] == d) return done->vals.at[i];
    Val args[3], out;
    for (uint32_t i = 0; i < d->n; i++)
        args[i] = draw_val(s, &d->args[i], mem, done);
    if (d->kind == DRAW_op)
        out = elementwise(s, d->at, d->op, args, d->n);
    else
        out = val_tensor(s, initial_leaf(s, d->kind == DRAW_normal, mem));
    vec_push(s->a, &done->draws, d);
    vec_push(s->a, &done->vals, out);
    return out;
}

Value draw_make(Sema *s, const Val *draw, Mem *mem)
{
    Drawn done = {0};
    s->draws = 0;
    Val v = draw_val(s, draw, mem, &done);
    if (val_failed(&v)) return emit_const(here(s), DT_f32, 0);
    return val_use(s, &v, DT_f32);
}

/* normal(std), uniform(low, high): drawn when a parameter takes them. */
static Val leaf(Sema *s, bool normal, Span at)
{
    Draw *d = NEW(s->a, Draw);
    d->kind = normal ? DRAW_normal : DRAW_uniform;
    d->at = at;
    Val v = {.kind = VAL_draw, .dtype = DT_f32};
    v.draw = d;
    return v;
}

static Val scaled(Sema *s, const Call *c, Val unit, bool normal)
{
    if (normal)
        return c->nargs ? elementwise2(s, c->at, SC_mul, unit, c->args[0])
                        : unit;
    if (c->nargs < 2) return unit;
    Val range = elementwise2(s, c->at, SC_sub, c->args[1], c->args[0]);
    Val x = elementwise2(s, c->at, SC_mul, unit, range);
    return elementwise2(s, c->at, SC_add, x, c->args[0]);
}

/* ------------------------------------------------------ draws of a step -- */

static bool draw_axes(Sema *s, const Call *c, Stream *st)
{
    AxisList l = {.n = 0};
    for (uint32_t i = 0; i < c->nitems; i++)
        if (!axes_of_term(s, c->items[i].term, &l)) return false;
    TypeAxis *axes = NEW_ARRAY(s->a, TypeAxis, l.n + 1);
    for (uint32_t i = 0; i < l.n; i++) {
        axes[i].axis = l.at[i];
        axes[i].size = 0;
        for (uint32_t k = 0; k < s->scope->nrest; k++)
            if (s->scope->rest[k].axis.id == l.at[i].id)
                axes[i].size = s->scope->rest[k].size;
        if (!axes[i].size &&
            !axis_size_needed(s, l.at[i], c->at, &axes[i].size))
            return false;
    }
    /* the order of a type is the order of declaration */
    const TypeInfo *t = type_info(s->m, type_tensor(s->m, DT_f32, axes, l.n));
    st->axes = t->axes;
    st->naxes = t->naxes;
    return true;
}

static void step_and_turns(Sema *s, Stream *st)
{
    Value step = entry_scalar(s, "step", DT_i32);
    st->ops[st->nops] = step;
    Expr x = expr_cast(s->m, DT_i64, expr_arg(s->m, st->nops++, DT_i32));
    Expr turns = wide(s, 0);
    int64_t scale = 1;
    for (Frame *f = s->frame; f && st->nops < 7; f = f->up) {
        if (f->kind != FRAME_repeat) continue;
        st->ops[st->nops] = frame_import(s, s->frame, f, f->turn);
        Expr t = expr_cast(s->m, DT_i64, expr_arg(s->m, st->nops++, DT_i32));
        turns = op2(s, SC_add, turns, op2(s, SC_mul, t, wide(s, scale)));
        scale *= f->count;
    }
    st->high =
        op2(s, SC_add, op2(s, SC_mul, x, wide(s, (int64_t)1 << 32)), turns);
}

Val draw_call(Sema *s, const Call *c, bool normal)
{
    if (c->nitems == 0) return scaled(s, c, leaf(s, normal, c->at), normal);
    if (c->nargs != 1 || c->args[0].kind != VAL_string) {
        sema_error(s, DIAG_argument, c->at,
                   "a draw has a name: %s[batch](\"noise\")",
                   normal ? "normal" : "uniform");
        return val_error();
    }
    Stream st = {.nops = 0};
    if (!draw_axes(s, c, &st)) return val_error();
    st.key = name_hash(s, site_path(s, s->scope->site, (Str){0}),
                       STR(s, c->args[0].string), UINT32_MAX);
    stream_seed(s, &st, entry_scalar(s, "seed", DT_i64));
    step_and_turns(s, &st);
    here(s)->loc = loc_of(s->m, c->at);
    return val_tensor(s, draw_over(s, &st, normal));
}
