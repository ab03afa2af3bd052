/*
 * type.c: types and attributes, interned.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ir/ir.h"
#include "tests/unit/unit.h"

typedef struct World {
    Unit u;
    Axis batch, seq, embed;
    MeshAxis dp, tp;
} World;

static int open_world(void **state)
{
    static World w;
    Module *m = &w.u.m;
    unit_open(&w.u);
    w.batch = axis_of(m, module_str(m, "batch"), 8, (Loc){0});
    w.seq = axis_of(m, module_str(m, "seq"), 16, (Loc){0});
    w.embed = axis_of(m, module_str(m, "embed"), 4, (Loc){0});
    w.dp = mesh_of(m, module_str(m, "dp"), 4);
    w.tp = mesh_of(m, module_str(m, "tp"), 3);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    World *w = *state;
    unit_close(&w->u);
    return 0;
}

/* The axes of a type are a set. */
static void test_order(void **state)
{
    World *w = *state;
    TypeAxis ab[] = {{.axis = w->batch, .size = 8},
                     {.axis = w->seq, .size = 16}};
    TypeAxis ba[] = {ab[1], ab[0]};
    Type t = type_tensor(&w->u.m, DT_f32, ab, 2);
    assert_true(type_eq(t, type_tensor(&w->u.m, DT_f32, ba, 2)));
    assert_false(type_eq(t, type_tensor(&w->u.m, DT_bf16, ab, 2)));
    assert_string_equal(type_str(&w->u.m, t), "f32[batch, seq]");
}

/* A declared axis keeps its number; a fresh one gets another name. */
static void test_axes(void **state)
{
    World *w = *state;
    Axis again = axis_of(&w->u.m, module_str(&w->u.m, "seq"), 99, (Loc){0});
    assert_int_equal(again.id, w->seq.id);
    assert_string_equal(axis_name(&w->u.m, axis_fresh(&w->u.m, "seq", 2)),
                        "seq_1");
    assert_string_equal(axis_name(&w->u.m, axis_fresh(&w->u.m, "seq", 2)),
                        "seq_2");
    assert_string_equal(axis_name(&w->u.m, axis_fresh(&w->u.m, "new", 2)),
                        "new");
}

static void test_changes(void **state)
{
    World *w = *state;
    Module *m = &w->u.m;
    Type scalar = type_scalar(m, DT_f32);
    Type t = type_with_axis(m, scalar, (TypeAxis){.axis = w->seq, .size = 16});
    Type two = type_with_axis(m, t, (TypeAxis){.axis = w->batch, .size = 8});
    assert_int_equal(type_elements(m, two), 128);
    assert_true(type_eq(type_without_axis(m, two, w->batch), t));
    assert_true(
        type_eq(type_union(m, t, type_without_axis(m, two, w->seq)), two));
    Type r = type_renamed(m, two, (Axis[]){w->batch, w->seq},
                          (Axis[]){w->seq, w->embed}, 2);
    assert_int_equal(type_size(m, r, w->seq), 8);
    assert_int_equal(type_size(m, r, w->embed), 16);
    assert_int_equal(type_size(m, r, w->batch), 0);
    Type pair = type_tuple(m, (Type[]){t, scalar}, 2);
    assert_true(type_eq(pair, type_tuple(m, (Type[]){t, scalar}, 2)));
    assert_int_equal(type_bytes(m, pair), 68);
}

/* A local size rounds up. */
static void test_splits(void **state)
{
    World *w = *state;
    TypeAxis a = {.axis = w->seq, .size = 16, .splits = &w->tp, .nsplits = 1};
    assert_int_equal(type_local_size(&w->u.m, &a), 6);
    TypeInfo info = {.dtype = DT_bf16,
                     .axes = &a,
                     .naxes = 1,
                     .pending = &w->dp,
                     .npending = 1,
                     .pending_kind = PENDING_sum};
    Type t = type_intern(&w->u.m, &info);
    assert_int_equal(type_bytes(&w->u.m, t), 12);
    assert_string_equal(type_str(&w->u.m, t), "bf16[seq/tp]+dp");
}

/* Products of hostile sizes stop at the largest number. */
static void test_saturation(void **state)
{
    World *w = *state;
    TypeAxis big[] = {{.axis = w->batch, .size = INT64_MAX / 2},
                      {.axis = w->seq, .size = 3}};
    Type t = type_tensor(&w->u.m, DT_f64, big, 2);
    assert_true(type_elements(&w->u.m, t) == INT64_MAX);
    assert_true(type_bytes(&w->u.m, t) == INT64_MAX);
}

/* Lists are copied, the order of putting does not matter, 0 takes a flag
 * away. */
static void test_attrs(void **state)
{
    World *w = *state;
    Module *m = &w->u.m;
    Axis axes[] = {w->batch, w->seq};
    AttrList l = {.n = 0}, k = {.n = 0};
    attr_put_axes(&l, AT_axes, axes, 2);
    attr_put_int(&l, AT_start, -3);
    attr_put_int(&l, AT_reverse, 1);
    Attr a = attr_intern(m, &l);
    axes[0] = w->embed;
    attr_put_int(&k, AT_reverse, 1);
    attr_put_int(&k, AT_start, -3);
    attr_put_axes(&k, AT_axes, (Axis[]){w->batch, w->seq}, 2);
    assert_int_equal(attr_intern(m, &k).id, a.id);
    assert_int_equal(attr_int(m, a, AT_start, 0), -3);
    assert_int_equal(attr_get(m, a, AT_axes)->axes[0].id, w->batch.id);
    attr_put_int(&k, AT_reverse, 0);
    assert_false(attr_flag(m, attr_intern(m, &k), AT_reverse));
    AttrList empty = {.n = 0};
    assert_int_equal(attr_intern(m, &empty).id, 0);
}

static void test_options(void **state)
{
    World *w = *state;
    option_set(&w->u.m, "accumulate", "4");
    option_set(&w->u.m, "dtype", "bf16");
    option_set(&w->u.m, "accumulate", "8");
    assert_int_equal(option_int(&w->u.m, "accumulate", 1), 8);
    assert_int_equal(option_int(&w->u.m, "dtype", 1), 1);
    assert_int_equal(option_int(&w->u.m, "other", 2), 2);
    assert_int_equal(w->u.m.options.n, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_order),   TEST(test_axes),       TEST(test_changes),
        TEST(test_splits),  TEST(test_saturation), TEST(test_attrs),
        TEST(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
