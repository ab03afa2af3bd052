/* links: titan_passes */
/*
 * backward.c: the derivative of every op, split in every way.
 *
 * Each use of an op (ways.h) whose result is a float is squared and summed, and
 * its derivative is taken for each float operand.  What devices of meshes up to
 * 2x2x2 compute of that together, under rules for each axis and for several, is
 * what one device does.  That there is a use of every op of whole tensors is
 * shown by `ways`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "passes/pass.h"
#include "tests/unit/unit.h"
#include "tests/unit/ways.h"

enum { MOST_PARAMS = 4 };

typedef struct Param {
    char name[16], type[48];
} Param;

/* "%x : f32[a, b], %ids : i32[c]" in parts. */
static uint32_t read_params(const char *text, Param *out)
{
    uint32_t n = 0;
    for (const char *p = text; (p = strchr(p, '%')); n++) {
        const char *colon = strstr(p, " : "), *end = strstr(p, ", %");
        if (!end) end = p + strlen(p);
        assert_true(n < MOST_PARAMS && colon && colon < end);
        snprintf(out[n].name, sizeof out[n].name, "%.*s", (int)(colon - p), p);
        snprintf(out[n].type, sizeof out[n].type, "%.*s",
                 (int)(end - colon - 3), colon + 3);
        p = end;
    }
    return n;
}

static bool is_float(const char *type)
{
    return *type == 'f';
}

/* The axes of a type, without sizes: "a, b". */
static void put_axes(Buf *b, const char *type)
{
    const char *p = strchr(type, '[') + 1;
    for (; *p != ']'; p++) {
        if (*p == ':') p += strcspn(p, ",]");
        if (*p == ']') return;
        buf_printf(b, "%c", *p);
    }
}

/* The use, and the derivative of half the sum of its squares. */
static void put_program(Buf *b, const Single *use, const char *mesh,
                        const char *rules)
{
    Param all[MOST_PARAMS];
    uint32_t n = read_params(use->params, all);
    Buf fields = {0}, args = {0}, results = {0}, names = {0};
    buf_printf(b, "option shard \"%s\"\nmesh (%s)\n" AXES, rules, mesh);
    buf_puts(b, "entry fn global @train(");
    uint32_t k = 0;
    for (uint32_t i = 0; i < n; i++) {
        buf_printf(b, "%s%s : %s input \"%s\"", i ? ", " : "", all[i].name,
                   all[i].type, all[i].name + 1);
        if (!is_float(all[i].type)) continue;
        buf_printf(&fields, "%s%s", k ? ", " : "", all[i].type);
        buf_printf(&args, ", %s", all[i].name);
        buf_printf(&results, ", %s output \"d%u\"", all[i].type, k);
        buf_printf(&names, ", %%d%u", k++);
    }
    buf_printf(b, ") -> (%s output \"v\"%s) {\n  %%v : %s = %s\n", use->result,
               results.at, use->result, use->text);
    buf_printf(b, "  %%loss : %.3s[] = einsum %%v, %%v sum (", use->result);
    put_axes(b, use->result);
    buf_printf(b, ")\n  %%g : (%s) = grad %%loss%s\n", fields.at, args.at);
    for (uint32_t i = 0, d = 0; i < n; i++)
        if (is_float(all[i].type)) {
            buf_printf(b, "  %%d%u : %s = proj %%g index %u\n", d, all[i].type,
                       d);
            d++;
        }
    buf_printf(b, "  ret %%v%s\n}\n", names.at);
    Buf *made[] = {&fields, &args, &results, &names};
    for (size_t i = 0; i < 4; i++)
        buf_release(made[i]);
}

static void show(const Unit *u, const char *text, const char *what)
{
    Buf b = {0};
    diag_render(&u->diag, DIAG_TEXT, &b);
    fail_msg("%s:\n%s\n%s", what, text, b.at);
}

static void try_program(const Single *use, const char *mesh, const char *rules)
{
    Unit u, old;
    Buf text = {0}, whole = {0};
    unit_open(&u);
    unit_open(&old);
    put_program(&text, use, mesh, rules);
    PipelineOpts o = {0};
    if (!unit_parse(&u, "use", text.at, text.n) || !module_verify(&u.m) ||
        !pipeline_run(&u.m, "inline,autodiff,canonicalise", &o))
        show(&u, text.at, "no program");
    module_print(&u.m, NULL, &whole);
    if (!unit_parse(&old, "whole", whole.at, whole.n))
        show(&old, whole.at, "the derivative is not read again");
    if (!pipeline_run(&u.m, "shard,partition,localise", &o))
        show(&u, text.at, "not split");
    if (!meaning_same(&old.m, &u.m, REASSOCIATING, 7))
        show(&u, text.at, "means something else");
    buf_release(&text);
    buf_release(&whole);
    unit_close(&old);
    unit_close(&u);
}

/* Axes that the use has anywhere, of those that meshes divide or leave uneven.
 */
static uint32_t axes_of(const Single *use, char *out)
{
    uint32_t n = 0;
    for (const char *a = "abckijn"; *a; a++) {
        const char in[] = {*a, 0};
        const char *types[] = {use->params, use->result};
        bool has = false;
        for (int k = 0; k < 2; k++)
            for (const char *p = types[k]; (p = strstr(p, in)); p++)
                has |= (p[-1] == '[' || p[-1] == ' ') &&
                       strchr(",]:", p[1]) != NULL;
        if (has) out[n++] = *a;
    }
    return n;
}

static bool has_derivative(const Single *use)
{
    return is_float(use->result) &&
           (strstr(use->params, ": f") || strstr(use->params, ":f"));
}

static uint32_t try_use(const Single *use)
{
    char axes[8], rules[64];
    uint32_t n = axes_of(use, axes), tried = 0;
    for (uint32_t i = 0; i < n; i++) {
        snprintf(rules, sizeof rules, "%c over x", axes[i]);
        try_program(use, "x = 2", rules);
        tried++;
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n; k++) {
            if (i == k && !strchr("ac", axes[i])) continue;
            snprintf(rules, sizeof rules, "%c over x; %c over y", axes[i],
                     axes[k]);
            try_program(use, "x = 2, y = 2", rules);
            tried++;
        }
    for (uint32_t i = 0; i < n && n > 1; i++) {
        snprintf(rules, sizeof rules, "%c over x; %c over y; a over z", axes[i],
                 axes[(i + 1) % n]);
        try_program(use, "x = 2, y = 2, z = 2", rules);
        tried++;
    }
    return tried;
}

static void test_derivatives(void **state)
{
    (void)state;
    uint32_t programs = 0, with = 0;
    for (uint32_t i = 0; i < NUSES; i++) {
        if (!has_derivative(&uses[i])) continue;
        programs += try_use(&uses[i]);
        with++;
    }
    printf("%u uses with derivatives, %u programs\n", with, programs);
    assert_true(with >= 25 && programs >= 330);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_derivatives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
