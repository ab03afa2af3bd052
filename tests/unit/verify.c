/*
 * verify.c: constraints that no text can break, but a pass could.
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
    Value x; /* f32[a] */
} World;

static int open_world(void **state)
{
    static World w;
    Module *m = &w.u.m;
    unit_open(&w.u);
    TypeAxis a = {.axis = axis_of(m, module_str(m, "a"), 4, (Loc){0}),
                  .size = 4};
    Fn *fn = fn_new(m, module_str(m, "f"), VIEW_global);
    module_add_fn(m, fn);
    builder_init(&w.b, m, fn);
    w.b.no_fold = true;
    Port p = {.name = module_str(m, "x"),
              .type = type_tensor(m, DT_f32, &a, 1)};
    w.x = builder_param(&w.b, p);
    *state = &w;
    return 0;
}

static int close_world(void **state)
{
    World *w = *state;
    unit_close(&w->u);
    return 0;
}

/* The only error, with the number of its constraint. */
static void expect(World *w, const char *rule)
{
    ReportView r;
    assert_false(module_verify(&w->u.m));
    assert_int_equal(w->u.diag.nerrors, 1);
    diag_next(&w->u.diag, NULL, &r);
    assert_int_equal(r.id, DIAG_ir_verify);
    if (!strstr(r.message, rule)) fail_msg("%s", r.message);
}

static Value emit_body(World *w, Type t, Expr body)
{
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_body, body.id);
    return emit(&w->b, OP_map, t, attr_intern(&w->u.m, &l), &w->x, 1);
}

static Type type_of_x(World *w)
{
    return value_type(w->b.fn, w->x);
}

static void test_sound(void **state)
{
    World *w = *state;
    emit_body(w, type_of_x(w), expr_arg(&w->u.m, 0, DT_f32));
    assert_true(module_verify(&w->u.m));
}

static void test_operand_count(void **state)
{
    World *w = *state;
    AttrList l = {.n = 0};
    attr_put_axes(&l, AT_sum, NULL, 0);
    emit(&w->b, OP_einsum, type_of_x(w), attr_intern(&w->u.m, &l), &w->x, 1);
    expect(w, "(V2)");
}

static void test_function_gone(void **state)
{
    World *w = *state;
    AttrList l = {.n = 0};
    attr_put_id(&l, AT_fn, 7);
    emit(&w->b, OP_call, type_of_x(w), attr_intern(&w->u.m, &l), &w->x, 1);
    expect(w, "(V3)");
}

static void test_order(void **state)
{
    World *w = *state;
    Value v = emit_body(w, type_of_x(w), expr_arg(&w->u.m, 0, DT_f32));
    w->b.fn->args[inst_of(w->b.fn, v)->first] = v;
    expect(w, "(V4)");
}

static void test_types(void **state)
{
    World *w = *state;
    TypeAxis twice[] = {*type_axis(&w->u.m, type_of_x(w), (Axis){0}),
                        *type_axis(&w->u.m, type_of_x(w), (Axis){0})};
    Type t = type_tensor(&w->u.m, DT_f32, twice, 2);
    emit_body(w, t, expr_arg(&w->u.m, 0, DT_f32));
    expect(w, "(V5)");
}

static void test_no_type(void **state)
{
    World *w = *state;
    emit_body(w, (Type){0}, expr_arg(&w->u.m, 0, DT_f32));
    expect(w, "(V5)");
}

static void test_late_parameter(void **state)
{
    World *w = *state;
    emit(&w->b, OP_arg, type_of_x(w), (Attr){0}, NULL, 0);
    expect(w, "(V8)");
}

static void test_body_dtype(void **state)
{
    World *w = *state;
    Expr e = expr_cast(&w->u.m, DT_f64, expr_arg(&w->u.m, 0, DT_f32));
    emit_body(w, type_of_x(w), e);
    expect(w, "(M3)");
}

static void test_operand_dtype(void **state)
{
    World *w = *state;
    Expr e = expr_cast(&w->u.m, DT_f32, expr_arg(&w->u.m, 0, DT_f64));
    emit_body(w, type_of_x(w), e);
    expect(w, "(M4)");
}

static void test_missing_operand(void **state)
{
    World *w = *state;
    emit_body(w, type_of_x(w), expr_arg(&w->u.m, 1, DT_f32));
    expect(w, "(M4)");
}

static void test_names(void **state)
{
    World *w = *state;
    module_add_fn(&w->u.m, fn_new(&w->u.m, w->b.fn->name, VIEW_global));
    expect(w, "(FN2)");
}

static void test_parameter_type(void **state)
{
    World *w = *state;
    w->b.fn->params[0].type = type_scalar(&w->u.m, DT_f32);
    expect(w, "(PA1)");
}

static void test_result_type(void **state)
{
    World *w = *state;
    builder_result(&w->b, w->x, (Port){0});
    w->b.fn->results[0].type = type_scalar(&w->u.m, DT_f32);
    expect(w, "(RE1)");
}

/* What is made from something wrong is not judged: one fault, one error. */
static void test_one_error(void **state)
{
    World *w = *state;
    w->x = emit_body(w, type_of_x(w), expr_arg(&w->u.m, 1, DT_f32));
    emit_body(w, type_scalar(&w->u.m, DT_i32), expr_arg(&w->u.m, 0, DT_f32));
    expect(w, "(M4)");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sound),          TEST(test_operand_count),
        TEST(test_function_gone),  TEST(test_order),
        TEST(test_types),          TEST(test_no_type),
        TEST(test_late_parameter), TEST(test_body_dtype),
        TEST(test_operand_dtype),  TEST(test_missing_operand),
        TEST(test_names),          TEST(test_parameter_type),
        TEST(test_result_type),    TEST(test_one_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
