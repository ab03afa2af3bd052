/* links: titan_passes
 * layouts.c: every op in every layout of its operands.
 *
 * Each case is one op, between parameters and a loss, with its derivative. Each
 * mesh axis is put on each axis of each operand, or on none, in all
 * combinations of two mesh axes (and a third that follows the first): one
 * device's program on all devices computes what the whole one does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "passes/pass.h"
#include "tests/unit/unit.h"

typedef struct Case {
    const char *op;     /* for messages */
    const char *params; /* of the function, with roles and paths p0, p1, ... */
    const char *body;   /* makes %y */
    const char *axes;   /* of %y */
    const char *wrt;    /* what is differentiated; empty: nothing */
    const char *types;  /* of that */
} Case;

#define X   "%x : f32[a, b] param \"p0\""
#define Y   "%y0 : f32[b, c] param \"p1\""
#define IDS "%i : i32[c] input \"p1\""
#define DX  "%x"
#define TX  "f32[a, b]"

static const Case cases[] = {
    {"map", X ", " Y,
     "%y : f32[a, b, c] = map %x, %y0 { _0 * _1 + f32(index(a)) }", "a, b, c",
     "%x, %y0", "f32[a, b], f32[b, c]"},
    {"linear map", X ", " Y,
     "%s : f32[a] = reduce %x kind sum axes (b)\n"
     "  %t : f32[c] = reduce %y0 kind sum axes (b)\n"
     "  %y : f32[a, c] = map %s, %t { 2 * _0 + _1 }",
     "a, c", "%x, %y0", "f32[a, b], f32[b, c]"},
    {"random", X,
     "%y : f32[a, b] = map %x { _0 * f32(bitand(random(7, 1, i64(index(a)) * 4 "
     "+ i64(index(b))), 7)) }",
     "a, b", DX, TX},
    {"reduce sum", X, "%y : f32[b] = reduce %x kind sum axes (a)", "b", DX, TX},
    {"reduce max", X, "%y : f32[a] = reduce %x kind max axes (b)", "a", DX, TX},
    {"reduce min", X, "%y : f32[a] = reduce %x kind min axes (b)", "a", DX, TX},
    {"reduce prod", X, "%y : f32[] = reduce %x kind prod axes (a, b)", "", DX,
     TX},
    {"einsum", X ", " Y, "%y : f32[a, c] = einsum %x, %y0 sum (b)", "a, c",
     "%x, %y0", "f32[a, b], f32[b, c]"},
    {"einsum of a shared axis", X ", " Y,
     "%y : f32[a, b, c] = einsum %x, %y0 sum ()", "a, b, c", "%x, %y0",
     "f32[a, b], f32[b, c]"},
    {"rename", X,
     "%r : f32[b, d:8] = rename %x from (a) to (d)\n"
     "  %y : f32[b, d:8] = map %r { _0 * _0 }",
     "b, d:8", DX, TX},
    {"split", X, "%y : f32[b, d:4, e:2] = split %x axis a to (d, e)",
     "b, d:4, e:2", DX, TX},
    {"merge", X, "%y : f32[d:32] = merge %x from (a, b) axis d", "d:32", DX,
     TX},
    {"slice", X, "%y : f32[a:4, b] = slice %x axis a start 1 step 2", "a:4, b",
     DX, TX},
    {"pick", X, "%y : f32[b] = pick %x axis a start 3", "b", DX, TX},
    {"pad", X, "%y : f32[a, b:8] = pad %x axis b low 1 step 2", "a, b:8", DX,
     TX},
    {"concat", X ", %z : f32[a:4, b] param \"p1\"",
     "%y : f32[a:12, b] = concat %x, %z axis a", "a:12, b", "%x, %z",
     "f32[a, b], f32[a:4, b]"},
    {"stack", X ", %z : f32[a, b] param \"p1\"",
     "%y : f32[a, b, e:2] = stack %x, %z axis e", "a, b, e:2", "%x, %z",
     "f32[a, b], f32[a, b]"},
    {"window", X,
     "%y : f32[b, d:4, e:3] = window %x axis a to (d, e) coef (2, 1) start -1",
     "b, d:4, e:3", DX, TX},
    {"fold", "%x : f32[a, b, c] param \"p0\"",
     "%y : f32[c, d:16] = fold %x axis d to (a, b) coef (2, 1)", "c, d:16",
     "%x", "f32[a, b, c]"},
    {"gather", X ", " IDS, "%y : f32[b, c] = gather %x, %i axis a", "b, c", DX,
     TX},
    {"gather by its own axis", X ", %i : i32[a] input \"p1\"",
     "%y : f32[a, b] = gather %x, %i axis a", "a, b", DX, TX},
    {"gather, aligned", X ", %i : i32[b, c] input \"p1\"",
     "%y : f32[b, c] = gather %x, %i axis a", "b, c", DX, TX},
    {"scatter", "%x : f32[b, c] param \"p0\", " IDS,
     "%y : f32[a, b] = scatter %i, %x axis a", "a, b", "%x", "f32[b, c]"},
    {"put", X ", " IDS ", %z : f32[b, c] param \"p2\"",
     "%y : f32[a, b] = put %x, %i, %z axis a", "a, b", "%x, %z",
     "f32[a, b], f32[b, c]"},
    {"cumsum", X, "%y : f32[a, b] = cumsum %x axis a exclusive", "a, b", DX,
     TX},
    {"top", X,
     "%t : i32[b, d:2] = top %x axis a to (d) kind max\n"
     "  %y : f32[b, d:2] = map %t { f32(_0) }",
     "b, d:2", "", ""},
    {"softmax", X,
     "%m : f32[a] = reduce %x kind max axes (b)\n"
     "  %e : f32[a, b] = map %x, %m { exp(_0 - stop(_1)) }\n"
     "  %s : f32[a] = reduce %e kind sum axes (b)\n"
     "  %y : f32[a, b] = map %e, %s { _0 / _1 }",
     "a, b", DX, TX},
};

enum { NCASES = sizeof cases / sizeof *cases };

/* The op, a loss of what it makes, and its derivatives as next values. */
static void write_case(const Case *c, Buf *out)
{
    uint32_t n = 0;
    for (const char *p = c->wrt; *p; p++)
        n += *p == '%';
    buf_printf(out,
               "axes (a = 8, b = 4, c = 4, d, e)\n"
               "entry fn global @train(%s) -> (f32[%s] output \"y\", "
               "f32[] record \"loss\"",
               c->params, c->axes);
    const char *t = c->types;
    for (uint32_t i = 0; i < n; i++) {
        const char *end = strchr(t, ']') + 1;
        buf_printf(out, ", %.*s output \"g%u\"", (int)(end - t), t, i);
        t = *end ? end + 2 : end;
    }
    buf_printf(out,
               ") {\n  %s\n  %%q : f32[%s] = map %%y { _0 * _0 }\n"
               "  %%l : f32[] = reduce %%q kind sum axes (",
               c->body, c->axes);
    for (const char *p = c->axes; *p; p++) { /* without sizes */
        if (*p == ':')
            while (p[1] >= '0' && p[1] <= '9')
                p++;
        else
            buf_putc(out, *p);
    }
    buf_puts(out, ")\n");
    if (n) buf_printf(out, "  %%g : (%s) = grad %%l, %s\n", c->types, c->wrt);
    t = c->types;
    for (uint32_t i = 0; i < n; i++) {
        const char *end = strchr(t, ']') + 1;
        buf_printf(out, "  %%g%u : %.*s = proj %%g index %u\n", i,
                   (int)(end - t), t, i);
        t = *end ? end + 2 : end;
    }
    buf_puts(out, "  ret %y, %l");
    for (uint32_t i = 0; i < n; i++)
        buf_printf(out, ", %%g%u", i);
    buf_puts(out, "\n}\n");
}

static bool run(Unit *u, const char *passes)
{
    PipelineOpts o = {.check_meaning = true, .seed = 3};
    return pipeline_run(&u->m, passes, &o);
}

/* The place numbered `k` for one mesh axis: each operand in turn is on none of
 * its axes, or on one.  False: there are no more. */
static bool place(const Unit *u, const Fn *fn, uint64_t k, const char *mesh,
                  Buf *rules)
{
    for (uint32_t i = 0; i < fn->nparams; i++) {
        const TypeInfo *t = type_info(&u->m, fn->params[i].type);
        uint64_t choice = k % (t->naxes + 1);
        k /= t->naxes + 1;
        if (choice)
            buf_printf(rules, "%s%s over %s in p%u", rules->n ? "; " : "",
                       axis_name(&u->m, t->axes[choice - 1].axis), mesh, i);
    }
    return k == 0;
}

/* Three mesh axes on an axis of four. */
static bool does_not_divide(const Unit *u)
{
    ReportView v = {.id = DIAG_none};
    diag_next(&u->diag, NULL, &v);
    return v.id == DIAG_not_divisible;
}

static void check(const Case *c, const Buf *text, const Buf *rules,
                  const char *mesh)
{
    Unit u;
    Buf all = {0};
    unit_open(&u);
    if (rules->n) buf_printf(&all, "option shard \"%s\"\n", rules->at);
    buf_printf(&all, "mesh (%s)\n%s", mesh, text->at);
    bool ok = unit_parse(&u, "case", all.at, all.n) && module_verify(&u.m) &&
              run(&u, "shard,partition");
    if (!ok && !does_not_divide(&u)) {
        Buf b = {0};
        diag_render(&u.diag, DIAG_TEXT, &b);
        fail_msg("%s, %s: %s", c->op, rules->n ? rules->at : "", b.at);
    }
    buf_release(&all);
    unit_close(&u);
}

/* The text of the case with its derivatives made. */
static void made_text(const Case *c, Unit *u, Buf *text)
{
    Buf source = {0};
    unit_open(u);
    write_case(c, &source);
    if (!unit_parse(u, "case", source.at, source.n) || !module_verify(&u->m) ||
        !run(u, "autodiff,canonicalise,precision,canonicalise")) {
        Buf b = {0};
        diag_render(&u->diag, DIAG_TEXT, &b);
        fail_msg("%s\n%s", source.at, b.at);
    }
    module_print(&u->m, NULL, text);
    buf_release(&source);
}

static void check_all(const Case *c, const char *mesh, bool third)
{
    Unit u;
    Buf text = {0};
    made_text(c, &u, &text);
    const Fn *fn = u.m.fns.at[0];
    bool last = false, last2;
    for (uint64_t k = 0; !last; k++) {
        last2 = false;
        for (uint64_t j = 0; !last2; j++) {
            Buf rules = {0};
            last = !place(&u, fn, k, "x", &rules);
            last2 = !place(&u, fn, j, "y", &rules);
            if (third) place(&u, fn, k + j, "z", &rules);
            if (!last && !last2) check(c, &text, &rules, mesh);
            buf_release(&rules);
        }
    }
    buf_release(&text);
    unit_close(&u);
}

static void test_two_by_two(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < NCASES; i++)
        check_all(&cases[i], "x = 2, y = 2", false);
}

static void test_two_by_two_by_two(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < NCASES; i++)
        check_all(&cases[i], "x = 2, y = 2, z = 2", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_by_two),
        cmocka_unit_test(test_two_by_two_by_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
