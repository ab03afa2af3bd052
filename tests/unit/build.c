/*
 * build.c: what the door of emit merges and folds, and rewriting.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ir/ir.h"
#include "tests/unit/unit.h"

typedef struct World {
    Unit u;
    Builder b;
    Axis row, col, one, two;
    Value x, y; /* f32[row, col] */
} World;

static Value param(World *w, const char *name, DType d)
{
    TypeAxis axes[] = {{.axis = w->row, .size = 4},
                       {.axis = w->col, .size = 6}};
    Port p = {.name = module_str(&w->u.m, name),
              .type = type_tensor(&w->u.m, d, axes, 2)};
    return builder_param(&w->b, p);
}

static int open_world(void **state)
{
    static World w;
    Module *m = &w.u.m;
    unit_open(&w.u);
    w.row = axis_of(m, module_str(m, "row"), 4, (Loc){0});
    w.col = axis_of(m, module_str(m, "col"), 6, (Loc){0});
    w.one = axis_of(m, module_str(m, "one"), 2, (Loc){0});
    w.two = axis_of(m, module_str(m, "two"), 3, (Loc){0});
    Fn *fn = fn_new(m, module_str(m, "f"), VIEW_global);
    module_add_fn(m, fn);
    builder_init(&w.b, m, fn);
    w.x = param(&w, "x", DT_f32);
    w.y = param(&w, "y", DT_f32);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    World *w = *state;
    bool ok = module_verify(&w->u.m);
    unit_close(&w->u);
    return ok ? 0 : 1;
}

#define SAME(a, b) assert_int_equal((a).id, (b).id)
#define DIFF(a, b) assert_int_not_equal((a).id, (b).id)

/* Equal instructions are one, but not across phases. */
static void test_cse(void **state)
{
    World *w = *state;
    Value first = emit_binary(&w->b, SC_add, w->x, w->y);
    SAME(emit_binary(&w->b, SC_add, w->x, w->y), first);
    DIFF(emit_binary(&w->b, SC_add, w->y, w->x), first);
    w->b.phase = PHASE_backward;
    DIFF(emit_binary(&w->b, SC_add, w->x, w->y), first);
}

static const char *line(World *w, Value v)
{
    Buf b = {0};
    inst_print(&w->u.m, w->b.fn, v, &b);
    const char *s = arena_strdup(&w->u.arena, b.at);
    buf_release(&b);
    return s;
}

/* Operands that are unused, equal or constant go; the rest are numbered by
 * first use. */
static void test_tidy(void **state)
{
    World *w = *state;
    Module *m = &w->u.m;
    Value half = emit_const(&w->b, DT_f32, 0.5);
    Expr e = expr_op2(
        m, SC_sub, expr_arg(m, 3, DT_f32),
        expr_op2(m, SC_mul, expr_arg(m, 0, DT_f32), expr_arg(m, 1, DT_f32)));
    e = expr_op2(m, SC_add, e, expr_arg(m, 4, DT_f32));
    Value v = emit_map(&w->b, e, (Value[]){w->x, half, w->x, w->y, w->x}, 5);
    assert_non_null(strstr(line(w, v), "map %y, %x { _0 - _1 * 0.5 + _1 }"));
}

static void test_identities(void **state)
{
    World *w = *state;
    Builder *b = &w->b;
    SAME(emit_cast(b, w->x, DT_f32), w->x);
    SAME(emit_broadcast(b, w->x, NULL, 0), w->x);
    SAME(emit_slice(b, w->x, w->row, 0, 4, 1), w->x);
    SAME(emit_pad(b, w->x, w->row, 0, 0, 1), w->x);
    SAME(emit_concat(b, &w->x, 1, w->row), w->x);
    SAME(emit_reduce(b, "sum", w->x, NULL, 0, DT_f32, DT_f32), w->x);
    Value z = emit_rename(b, w->x, &w->row, &w->two, 1);
    SAME(emit_rename(b, z, &w->two, &w->row, 1), w->x);
    SAME(emit_rename(b, w->x, (Axis[]){w->row, w->col},
                     (Axis[]){w->two, w->col}, 2),
         z);
}

/* split and merge undo each other. */
static void test_split_merge(void **state)
{
    World *w = *state;
    Builder *b = &w->b;
    TypeAxis parts[] = {{.axis = w->one, .size = 2},
                        {.axis = w->two, .size = 3}};
    Axis names[] = {w->one, w->two};
    Value s = emit_split(b, w->x, w->col, parts, 2);
    SAME(emit_merge(b, s, names, 2, w->col), w->x);
    Value r = emit_rename(b, w->x, &w->col, &w->two, 1);
    SAME(emit_merge(b, s, names, 2, w->two), r);
    Value back = emit_merge(b, s, (Axis[]){w->two, w->one}, 2, w->col);
    DIFF(back, w->x);
    TypeAxis swapped[] = {parts[1], parts[0]};
    SAME(emit_split(b, back, w->col, swapped, 2), s);
}

static void test_parts(void **state)
{
    World *w = *state;
    Builder *b = &w->b;
    Value c = emit_concat(b, (Value[]){w->x, w->y}, 2, w->row);
    SAME(emit_slice(b, c, w->row, 4, 4, 1), w->y);
    DIFF(emit_slice(b, c, w->row, 3, 4, 1), w->y);
    Value s = emit_stack(b, (Value[]){w->x, w->y}, 2, w->one);
    SAME(emit_pick(b, s, w->one, 1), w->y);
    Value a = emit_slice(b, c, w->row, 1, 3, 2);
    SAME(emit_slice(b, a, w->row, 1, 2, 1), emit_slice(b, c, w->row, 3, 2, 2));
    SAME(emit_pick(b, a, w->row, 2), emit_pick(b, c, w->row, 5));
}

/* A constant stays one through moves. */
static void test_constants(void **state)
{
    World *w = *state;
    Builder *b = &w->b;
    TypeAxis row = {.axis = w->row, .size = 4};
    Value two = emit_broadcast(b, emit_const(b, DT_f32, 2), &row, 1);
    Value moved = emit_rename(b, two, &w->row, &w->col, 1);
    assert_int_equal(inst_of(b->fn, moved)->op, OP_map);
    assert_int_equal(inst_of(b->fn, moved)->nargs, 0);
    SAME(emit_pick(b, two, w->row, 1), emit_const(b, DT_f32, 2));
    assert_int_equal(inst_of(b->fn, emit_pad(b, two, w->row, 1, 0, 1))->op,
                     OP_pad);
}

/* Narrow floats are widened, computed and rounded back, visibly. */
static void test_narrow(void **state)
{
    World *w = *state;
    Fn *fn = fn_new(&w->u.m, module_str(&w->u.m, "g"), VIEW_global);
    module_add_fn(&w->u.m, fn);
    builder_init(&w->b, &w->u.m, fn);
    Value p = param(w, "p", DT_bf16), q = param(w, "q", DT_bf16);
    Value v = emit_binary(&w->b, SC_mul, p, q);
    assert_non_null(strstr(line(w, v), "{ bf16(f32(_0) * f32(_1)) }"));
}

/* A copy drops nothing that is used, and folds what became foldable. */
static void test_rewrite(void **state)
{
    World *w = *state;
    Builder *b = &w->b;
    Value sum = emit_binary(b, SC_add, w->x, w->y);
    Value out = emit_unary(b, SC_exp, sum);
    builder_result(b, out, (Port){0});
    Rewrite rw;
    rewrite_begin(&rw, &w->u.m, b->fn);
    rewrite_set(&rw, sum, rewrite_value(&rw, w->x));
    rewrite_copy(&rw, out);
    Fn *made = rewrite_end(&rw);
    w->u.m.fns.at[0] = made;
    assert_int_equal(made->ninsts, 3);
    SAME(inst_arg(made, inst_of(made, made->result_values[0]), 0), w->x);
}

static void test_uses(void **state)
{
    World *w = *state;
    Builder *b = &w->b;
    Value sum = emit_binary(b, SC_add, w->x, w->y);
    Value dead = emit_unary(b, SC_exp, sum);
    Value out = emit_binary(b, SC_mul, sum, w->x);
    builder_result(b, out, (Port){0});
    Uses u = fn_uses(b->fn, &w->u.scratch);
    assert_int_equal(u.first[w->x.id + 1] - u.first[w->x.id], 2);
    SAME(u.at[u.first[w->x.id]], sum);
    SAME(u.at[u.first[w->x.id] + 1], out);
    assert_int_equal(u.nresult[out.id], 1);
    const bool *needed = fn_needed(&w->u.m, b->fn, &w->u.scratch);
    assert_true(needed[sum.id]);
    assert_false(needed[dead.id]);
}

/* The stem, then the smallest number that is free; what only looks like one of
 * its names takes no number. */
static void test_fresh_names(void **state)
{
    static const char *const used[] = {"k",    "k.1", "k.3",
                                       "k.02", "k.x", "kk.2"};
    World *w = *state;
    Module *m = &w->u.m;
    assert_string_equal(str_of(m, fn_fresh_name(m, "k")), "k");
    for (uint32_t i = 0; i < sizeof used / sizeof *used; i++)
        module_add_fn(m, fn_new(m, module_str(m, used[i]), VIEW_global));
    assert_string_equal(str_of(m, fn_fresh_name(m, "k")), "k.2");
    assert_string_equal(str_of(m, fn_fresh_name(m, "k.3")), "k.3.1");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cse),         TEST(test_tidy),    TEST(test_identities),
        TEST(test_split_merge), TEST(test_parts),   TEST(test_constants),
        TEST(test_narrow),      TEST(test_rewrite), TEST(test_uses),
        TEST(test_fresh_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
