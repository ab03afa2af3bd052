/* links: titan_passes
 * splits.c: the derivatives of every op under every set of rules for it.
 *
 * A program of one op, what it is weighed with, and its derivatives by all
 * that is float: one device's program of it means the same, whichever axes the
 * rules split over one, two or three mesh axes, everywhere or where results
 * lie, in blocks or head and tail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "passes/pass.h"
#include "tests/unit/unit.h"
#include "tests/unit/ways.h"

static bool is_float(Module *m, Type t)
{
    return dtype_class(type_dtype(m, t)) == DC_float;
}

/* What differs between the places where float parameters are listed. */
static void put_floats(Module *m, const Fn *fn, Buf *out,
                       void (*put)(Buf *out, const char *name, const char *type,
                                   uint32_t n))
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < fn->nparams; i++)
        if (is_float(m, fn->params[i].type))
            put(out, str_of(m, fn->params[i].name),
                type_str(m, fn->params[i].type), n++);
}

static void put_port(Buf *out, const char *name, const char *type, uint32_t n)
{
    (void)n;
    buf_printf(out, ", %s output \"d_%s\"", type, name);
}

static void put_operand(Buf *out, const char *name, const char *type,
                        uint32_t n)
{
    (void)n;
    (void)type;
    buf_printf(out, ", %%%s", name);
}

static void put_type(Buf *out, const char *name, const char *type, uint32_t n)
{
    (void)name;
    buf_printf(out, "%s%s", n ? ", " : "", type);
}

static void put_field(Buf *out, const char *name, const char *type, uint32_t n)
{
    buf_printf(out, "  %%d_%s : %s = proj %%g index %u\n", name, type, n);
}

static void put_result(Buf *out, const char *name, const char *type, uint32_t n)
{
    (void)n;
    (void)type;
    buf_printf(out, ", %%d_%s", name);
}

static bool parse_alone(Unit *u, const Single *use)
{
    const char *text = arena_printf(
        &u->arena,
        AXES "fn global @f(%s) -> %s {\n  %%v : %s = %s\n  ret %%v\n}\n",
        use->params, use->result, use->result, use->text);
    return unit_parse(u, "test", text, strlen(text)) && module_verify(&u->m);
}

/* The op, weighed and summed, and its derivatives by all floats; false: it has
 * none. */
static bool step_text(const Single *use, const char *mesh, Buf *out)
{
    Unit u;
    Buf axes = {0};
    unit_open(&u);
    assert_true(parse_alone(&u, use));
    Module *m = &u.m;
    const Fn *fn = m->fns.at[0];
    const TypeInfo *info = type_info(m, fn->results[0].type);
    bool any = false, ok = is_float(m, fn->results[0].type);
    for (uint32_t i = 0; i < fn->nparams; i++)
        any |= is_float(m, fn->params[i].type);
    for (uint32_t i = 0; i < info->naxes; i++)
        buf_printf(&axes, "%s%s", i ? ", " : "",
                   axis_name(m, info->axes[i].axis));
    const char *d = dtype_name((DType)info->dtype);
    buf_printf(out,
               "mesh (%s)\n" AXES "entry fn global @f(%s, %%w : %s) -> (%s[] "
               "record \"s\"",
               mesh, use->params, use->result, d);
    put_floats(m, fn, out, put_port);
    buf_printf(out,
               ") {\n  %%v : %s = %s\n  %%t : %s = map %%v, %%w { _0 * _1 + "
               "_0 * _0 }\n  %%s : %s[] = reduce %%t kind sum axes (%s)\n"
               "  %%g : (",
               use->result, use->text, use->result, d, axes.at);
    put_floats(m, fn, out, put_type);
    buf_puts(out, ") = grad %s");
    put_floats(m, fn, out, put_operand);
    buf_putc(out, '\n');
    put_floats(m, fn, out, put_field);
    buf_puts(out, "  ret %s");
    put_floats(m, fn, out, put_result);
    buf_puts(out, "\n}\n");
    buf_release(&axes);
    unit_close(&u);
    return ok && any;
}

/* Whatever is split by a rule, in the ports and everywhere else; what a mesh
 * axis does not divide is refused. */
static bool keeps_meaning(const char *text, size_t n, const char *rules)
{
    Unit u;
    Buf b = {0};
    ReportView v = {.id = DIAG_none};
    unit_open(&u);
    bool ok = unit_parse(&u, "test", text, n) && module_verify(&u.m);
    if (*rules) option_set(&u.m, "shard", rules);
    ok = ok && pipeline_run(&u.m, "autodiff,canonicalise,shard,partition",
                            &(PipelineOpts){.check_meaning = true});
    diag_next(&u.diag, NULL, &v);
    ok |= v.id == DIAG_not_divisible;
    if (!ok) {
        diag_render(&u.diag, DIAG_TEXT, &b);
        printf("option shard \"%s\"\n%s%s\n", rules, text, b.at ? b.at : "");
    }
    buf_release(&b);
    unit_close(&u);
    return ok;
}

/* Each mesh axis splits one of these, or nothing; some only what is given. */
static const struct {
    const char *axis, *how;
} split[] = {{"", ""},
             {"a", ""},
             {"b", ""},
             {"c", ""},
             {"k", ""},
             {"i", ""},
             {"a", " for grad"},
             {"c", " for grad"},
             {"b", " for grad"},
             {"a", " order zigzag"},
             {"c", " order zigzag"}};
enum { NSPLITS = sizeof split / sizeof *split };

static bool has_word(const char *text, const char *word)
{
    for (const char *p = text; (p = strstr(p, word)); p++)
        if ((p[-1] == '[' || p[-1] == ' ') && (p[1] == ',' || p[1] == ']'))
            return true;
    return false;
}

static bool put_rule(const Single *use, const char *mesh, uint32_t which,
                     Buf *rules)
{
    const char *axis = split[which].axis;
    if (!*axis) return true;
    if (!has_word(use->params, axis) && !has_word(use->result, axis))
        return false;
    buf_printf(rules, "%s%s over %s%s", rules->n ? "; " : "", axis, mesh,
               split[which].how);
    return true;
}

static uint32_t try_rules(const Single *use, const char *mesh, uint32_t naxes)
{
    static const char *const names[] = {"x", "y", "z"};
    Buf text = {0};
    uint32_t n = 0, wrong = 0, count = 1;
    for (uint32_t i = 0; i < naxes; i++)
        count *= NSPLITS;
    if (!step_text(use, mesh, &text)) count = 0;
    for (uint32_t i = 0; i < count && wrong < 3; i++) {
        Buf rules = {0};
        bool ok = true, rises = true;
        for (uint32_t k = 0, rest = i; k < naxes; k++, rest /= NSPLITS) {
            ok &= put_rule(use, names[k], rest % NSPLITS, &rules);
            rises &=
                k + 1 == naxes || rest % NSPLITS <= rest / NSPLITS % NSPLITS;
        }
        /* Mesh axes are alike, so their order matters in pairs alone. */
        if (ok && (rises || naxes < 3)) {
            wrong += !keeps_meaning(text.at, text.n, rules.n ? rules.at : "");
            n++;
        }
        buf_release(&rules);
    }
    buf_release(&text);
    assert_int_equal(wrong, 0);
    return n;
}

static void try_steps(const char *mesh, uint32_t naxes, uint32_t least)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < NUSES; i++)
        n += try_rules(&uses[i], mesh, naxes);
    printf("mesh (%s): %u sets of rules\n", mesh, n);
    assert_true(n >= least);
}

static void test_derivatives_over_one(void **state)
{
    (void)state;
    try_steps("x = 2", 1, 60);
}

static void test_derivatives_over_two(void **state)
{
    (void)state;
    try_steps("x = 2, y = 2", 2, 300);
}

static void test_derivatives_over_three(void **state)
{
    (void)state;
    try_steps("x = 2, y = 2, z = 2", 3, 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derivatives_over_one),
        cmocka_unit_test(test_derivatives_over_two),
        cmocka_unit_test(test_derivatives_over_three)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
