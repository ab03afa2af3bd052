/* links: titan_codegen */
/*
 * What is known of a condition over a tile, against trying every pair of it:
 * random masks; then the masks of a causal region, whose tiles must be found
 * empty, mixed and full as they are, in every sweep.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "codegen/classes.h"
#include "tests/unit/unit.h"

enum { ROWS = 8, COLUMNS = 16, ITEMS = 5, STEPS = 6, MASKS = 3000 };

typedef struct World {
    Arena arena;
    Kir k;
    LoopId items, blocks, rows, columns;
    Ix row, column; /* whole indices */
    Site s;
    LLVMModuleRef module;
    uint64_t random;
    int64_t at[4]; /* of the four loops, while one pair is tried */
} World;

static uint64_t draw(World *w, uint64_t n)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (w->random * 0x2545F4914F6CDD1Dull >> 33) % n;
}

static void world_init(World *w)
{
    *w = (World){.random = 0x9E3779B97F4A7C15ull};
    const char *seed = getenv("TITAN_SEED");
    if (seed) w->random ^= strtoull(seed, NULL, 10) * 0xD1B54A32D192ED03ull;
    arena_init(&w->arena, "session");
    w->s.cx = LLVMContextCreate();
    w->module = LLVMModuleCreateWithNameInContext("classes", w->s.cx);
    w->s.module = w->module;
    w->s.b = LLVMCreateBuilderInContext(w->s.cx);
    w->s.w = 1;
}

static void world_release(World *w)
{
    LLVMDisposeBuilder(w->s.b);
    LLVMDisposeModule(w->module);
    LLVMContextDispose(w->s.cx);
    arena_release(&w->arena);
}

/* ------------------------------------------------------------ random masks */

static void make_loops(World *w)
{
    Kir *k = &w->k;
    kir_init(k, &w->arena);
    w->items = loop_open(k, LOOP_items, 0, 0, ITEMS);
    w->blocks = loop_open(k, LOOP_blocks, w->items, 0, STEPS);
    w->rows = loop_open(k, LOOP_rows, w->blocks, 0, ROWS);
    w->columns = loop_open(k, LOOP_columns, w->rows, 0, COLUMNS);
    w->row = ix_add_scaled(k, ix_var(k, w->rows), ix_var(k, w->items), ROWS);
    w->column =
        ix_add_scaled(k, ix_var(k, w->columns), ix_var(k, w->blocks), COLUMNS);
}

static Ix random_ix(World *w)
{
    Kir *k = &w->k;
    Ix x = ix_const(k, (int64_t)draw(w, 60) - 30);
    x = ix_add_scaled(k, x, w->row, (int64_t)draw(w, 5) - 2);
    x = ix_add_scaled(k, x, w->column, (int64_t)draw(w, 5) - 2);
    if (draw(w, 4) == 0) x = ix_div(k, x, 1 + (int64_t)draw(w, 9));
    if (draw(w, 4) == 0) x = ix_mod(k, x, 1 + (int64_t)draw(w, 40));
    return x;
}

static Node random_number(World *w, unsigned depth)
{
    static const ScalarOp ops[] = {SC_add, SC_sub, SC_min, SC_max};
    Kir *k = &w->k;
    if (depth == 0 || draw(w, 3) == 0)
        return node_index(k, DT_i32, random_ix(w));
    Node a = random_number(w, depth - 1), b = random_number(w, depth - 1);
    return node_scalar(k, ops[draw(w, 4)], DT_i32, a, b, (Node){0});
}

static Node random_condition(World *w, unsigned depth)
{
    static const ScalarOp ops[] = {SC_lt, SC_le, SC_eq, SC_ne};
    Kir *k = &w->k;
    if (depth > 0 && draw(w, 3) > 0) {
        Node a = random_condition(w, depth - 1);
        if (draw(w, 5) == 0)
            return node_scalar(k, SC_not, DT_bool, a, (Node){0}, (Node){0});
        return node_scalar(k, draw(w, 2) ? SC_and : SC_or, DT_bool, a,
                           random_condition(w, depth - 1), (Node){0});
    }
    if (draw(w, 4) == 0) {
        Node n = node_inside(k, random_ix(w), 1 + (int64_t)draw(w, 90));
        return n.id ? n : node_const_int(k, DT_bool, 1);
    }
    return node_scalar(k, ops[draw(w, 4)], DT_bool, random_number(w, 2),
                       random_number(w, 2), (Node){0});
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t value_of_ix(const World *w, Ix ix)
{
    const IxInfo *x = ix_info(&w->k, ix);
    int64_t sum = x->base;
    for (uint32_t i = 0; i < x->n; i++) {
        const Atom *a = &w->k.atoms.at[x->terms[i].atom];
        int64_t v = 0;
        if (a->kind == ATOM_var) v = w->at[a->loop - w->items];
        if (a->kind == ATOM_div) v = floor_div(value_of_ix(w, a->of), a->by);
        if (a->kind == ATOM_mod)
            v = value_of_ix(w, a->of) -
                a->by * floor_div(value_of_ix(w, a->of), a->by);
        sum += v * x->terms[i].coef;
    }
    return sum;
}

static int64_t value_of(const World *w, Node n)
{
    const NodeInfo *in = node_info(&w->k, n);
    if (in->op == KN_const) return in->i;
    if (in->op == KN_index) return value_of_ix(w, in->ix);
    if (in->op == KN_inside) {
        int64_t x = value_of_ix(w, in->ix);
        return x >= 0 && x < in->n;
    }
    int64_t a = value_of(w, in->a), b = in->b.id ? value_of(w, in->b) : 0;
    switch (in->sc) {
    case SC_add:
        return a + b;
    case SC_sub:
        return a - b;
    case SC_min:
        return a < b ? a : b;
    case SC_max:
        return a > b ? a : b;
    case SC_lt:
        return a < b;
    case SC_le:
        return a <= b;
    case SC_eq:
        return a == b;
    case SC_ne:
        return a != b;
    case SC_and:
        return a && b;
    case SC_or:
        return a || b;
    case SC_not:
        return !a;
    default:
        fail_msg("a function that no mask has");
        return 0;
    }
}

/* Of all pairs of a tile, those for which the condition holds. */
static unsigned count_pairs(World *w, Node condition)
{
    unsigned n = 0;
    for (w->at[2] = 0; w->at[2] < ROWS; w->at[2]++)
        for (w->at[3] = 0; w->at[3] < COLUMNS; w->at[3]++)
            n += value_of(w, condition) != 0;
    return n;
}

static bool is_true(LV x)
{
    assert_non_null(LLVMIsAConstantInt(x));
    return LLVMConstIntGetZExtValue(x) != 0;
}

static LV wide(const World *w, int64_t i)
{
    LLVMTypeRef t = LLVMInt64TypeInContext(w->s.cx);
    return LLVMConstInt(t, (uint64_t)i, true);
}

/* A verdict is never wrong, and comparisons of indices that are linear in row
 * and column are never left open. */
static void agree_with_every_pair(void **state)
{
    (void)state;
    static World w;
    world_init(&w);
    unsigned empty = 0, full = 0;
    for (int i = 0; i < MASKS; i++) {
        make_loops(&w);
        Node condition = random_condition(&w, 3);
        w.at[0] = (int64_t)draw(&w, ITEMS);
        w.at[1] = (int64_t)draw(&w, STEPS);
        Tile3 tile = {.s = &w.s,
                      .k = &w.k,
                      .item = wide(&w, w.at[0]),
                      .step = wide(&w, w.at[1])};
        Verdict v = classes_verdict(&tile, condition);
        unsigned n = count_pairs(&w, condition);
        if (is_true(v.yes)) assert_int_equal(n, ROWS * COLUMNS);
        if (is_true(v.no)) assert_int_equal(n, 0);
        full += is_true(v.yes);
        empty += is_true(v.no);
    }
    assert_true(empty > MASKS / 20 && full > MASKS / 20);
    world_release(&w);
}

static void know_linear_comparisons(void **state)
{
    (void)state;
    static World w;
    world_init(&w);
    make_loops(&w);
    Kir *k = &w.k;
    Node row = node_index(k, DT_i32, w.row);
    Node column = node_index(k, DT_i32, w.column);
    Node causal = node_scalar(k, SC_le, DT_bool, column, row, (Node){0});
    for (w.at[0] = 0; w.at[0] < ITEMS; w.at[0]++)
        for (w.at[1] = 0; w.at[1] < STEPS; w.at[1]++) {
            Tile3 tile = {.s = &w.s,
                          .k = k,
                          .item = wide(&w, w.at[0]),
                          .step = wide(&w, w.at[1])};
            Verdict v = classes_verdict(&tile, causal);
            unsigned n = count_pairs(&w, causal);
            assert_int_equal(is_true(v.yes), n == ROWS * COLUMNS);
            assert_int_equal(is_true(v.no), n == 0);
        }
    world_release(&w);
}

/* ----------------------------------------------------------------- regions */

#define PAIRS  "f32[batch, seq, ctx]"
#define SIDE   "bf16[batch, seq, hd]"
#define OTHER  "bf16[batch, hd, ctx]"
#define SCORES "where(index(ctx) <= index(seq), _0 / 8.0, -inf)"

static const char regions[] =
    "axes (batch = 2, seq = 512, hd = 64, ctx = 512)\n"
    "fn local @forward(%q : " SIDE ", %k : " OTHER ", %v : " OTHER ") -> " SIDE
    " kind tile {\n"
    "  %s : " PAIRS " = einsum %q, %k sum (hd)\n"
    "  %x : " PAIRS " = map %s { " SCORES " }\n"
    "  %m : f32[batch, seq] = reduce %x kind max axes (ctx)\n"
    "  %e : " PAIRS " = map %x, %m { exp(_0 - stop(_1)) }\n"
    "  %l : f32[batch, seq] = reduce %e kind sum axes (ctx)\n"
    "  %p : bf16[batch, seq, ctx] = map %e { bf16(_0) }\n"
    "  %o : f32[batch, seq, hd] = einsum %p, %v sum (ctx)\n"
    "  %r : " SIDE " = map %o, %l { bf16(_0 / _1) }\n"
    "  ret %r\n}\n"
    "fn local @backward(%q : " SIDE ", %k : " OTHER ", %v : " OTHER
    ", %m : f32[batch, seq], %n : f32[batch, seq], %d : " SIDE ") -> (" OTHER
    ", " OTHER ") kind tile {\n"
    "  %a : " PAIRS " = einsum %d, %v sum (hd)\n"
    "  %s : " PAIRS " = einsum %q, %k sum (hd)\n"
    "  %p : " PAIRS " = map %s, %m { exp(" SCORES " - stop(_1)) }\n"
    "  %u : bf16[batch, seq, ctx] = map %p { bf16(_0) }\n"
    "  %h : f32[batch, hd, ctx] = einsum %u, %d sum (seq)\n"
    "  %t : bf16[batch, seq, ctx] = map %a, %n, %p { bf16(where(index(ctx) "
    "<= index(seq), (_0 + _1) * _2, 0) / 8.0) }\n"
    "  %g : f32[batch, hd, ctx] = einsum %q, %t sum (seq)\n"
    "  %y : " OTHER " = map %g { bf16(_0) }\n"
    "  %w : " OTHER " = map %h { bf16(_0) }\n"
    "  ret %y, %w\n}\n";

static const KernelArg *dense_args(World *w, const Module *m, const Fn *fn)
{
    uint32_t n = fn->nparams + fn->nresults;
    KernelArg *args = NEW_ARRAY(&w->arena, KernelArg, n);
    for (uint32_t i = 0; i < n; i++) {
        bool out = i >= fn->nparams;
        Type type =
            out ? fn->results[i - fn->nparams].type : fn->params[i].type;
        const TypeInfo *t = type_info(m, type);
        int64_t *stride = NEW_ARRAY(&w->arena, int64_t, t->naxes), by = 1;
        for (uint32_t a = t->naxes; a-- > 0; by *= t->axes[a].size)
            stride[a] = by;
        args[i] = (KernelArg){.type = type,
                              .stride = stride,
                              .align = 16,
                              .written = out,
                              .same = -1};
    }
    return args;
}

static const TensorTile *lower_region(World *w, Module *m, const Fn *fn)
{
    Kir *k = &w->k;
    kir_init(k, &w->arena);
    k->nargs = fn->nparams + fn->nresults;
    k->args = dense_args(w, m, fn);
    DType *dtypes = NEW_ARRAY(&w->arena, DType, k->nargs);
    for (uint32_t i = 0; i < k->nargs; i++)
        dtypes[i] = type_dtype(m, k->args[i].type);
    k->arg_dtypes = dtypes;
    LowerOpts o = {.gpu = true, .lanes = 4, .sm90 = true};
    lower_group(m, fn, &o, k);
    return k->tensor;
}

/* Tiles beyond the diagonal are empty for every sweep, those before it full. */
static void check_region(World *w, const TensorTile *t, bool rows_look_back)
{
    int64_t tiles = (512 + t->lines - 1) / t->lines;
    int64_t steps = 512 / t->columns;
    assert_int_equal(w->k.rows, 2 * tiles);
    for (int64_t i = 0; i < tiles; i++)
        for (int64_t j = 0; j < steps; j++) {
            Tile3 tile = {.s = &w->s,
                          .k = &w->k,
                          .item = wide(w, 2 * i),
                          .step = wide(w, j)};
            LV empty, full;
            classes_of_step(&tile, t, &empty, &full);
            int64_t r = i * t->lines, c = j * t->columns;
            int64_t q = rows_look_back ? r : c, k = rows_look_back ? c : r;
            int64_t nq = rows_look_back ? t->lines : t->columns;
            int64_t nk = rows_look_back ? t->columns : t->lines;
            assert_int_equal(is_true(empty), k > q + nq - 1);
            assert_int_equal(is_true(full), k + nk - 1 <= q);
        }
}

static void know_the_tiles_of_regions(void **state)
{
    (void)state;
    static World w;
    static Unit u;
    world_init(&w);
    unit_open(&u);
    assert_true(unit_parse(&u, "regions", regions, strlen(regions)) &&
                module_verify(&u.m));
    for (uint32_t f = 0; f < u.m.fns.n; f++) {
        const TensorTile *t = lower_region(&w, &u.m, u.m.fns.at[f]);
        assert_non_null(t);
        check_region(&w, t, f == 0);
    }
    unit_close(&u);
    world_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agree_with_every_pair),
        cmocka_unit_test(know_linear_comparisons),
        cmocka_unit_test(know_the_tiles_of_regions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
