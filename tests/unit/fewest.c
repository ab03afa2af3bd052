/* links: titan_passes
 * fewest.c: what `shard` chooses moves as little as any layout does.
 *
 * Small random programs on a mesh of 2 x 2, and on two hosts of 8, where bytes
 * between hosts count more: all ways of all ops, over both mesh axes, are
 * tried, and the least of what they cost, with less that is moved, is what the
 * pass has to find, for nearly all of them.  Costs are the pass's own
 * (passes/shard/cost.c), of the whole program.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "passes/shard/solve.h"
#include "tests/unit/pinned.h"
#include "tests/unit/unit.h"

/* Programs for which something moves less, and how much more than the least
 * they cost: what is copied in place is not looked at where it is a thousandth
 * of what a window costs (passes/shard/search.c). */
#define WORST 1.001
enum { WORSE = 1 };
enum { AXES = 4, PARAMS = 3, OPS = 3, PROGRAMS = 800, MOST = 8 };

static const char *const names[AXES] = {"a", "b", "c", "k"};
static const unsigned sizes[AXES] = {32, 16, 8, 64};

/* Devices; sizes are that many times as large. */
typedef struct Devices {
    const char *head;
    unsigned times, programs;
} Devices;

static const Devices alike = {"mesh (x = 2, y = 2)\n", 1, PROGRAMS};
static const Devices hosts = {"option target \"sm_90a\"\nmesh (x = 2, y = 8)\n",
                              8, PROGRAMS / 2};

typedef struct Trial {
    const Devices *on;
    Unit u;
    Shard s;
    Solve x;
    uint64_t draws;
    Buf text;
    unsigned axes[PARAMS + OPS]; /* of each value, as bits */
    double least, most;          /* of all costs; of what may be moved */
} Trial;

static unsigned draw(Trial *t, unsigned n)
{
    t->draws = t->draws * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(t->draws >> 33) % n;
}

/* -------------------------------------------------------------- programs -- */

static void put_type(Trial *t, unsigned axes)
{
    const char *comma = "";
    buf_puts(&t->text, "f32[");
    for (unsigned a = 0; a < AXES; a++)
        if (axes >> a & 1) {
            buf_printf(&t->text, "%s%s", comma, names[a]);
            comma = ", ";
        }
    buf_puts(&t->text, "]");
}

/* Two of the axes. */
static unsigned draw_pair(Trial *t)
{
    unsigned a = draw(t, AXES), b = draw(t, AXES - 1);
    if (b >= a) b++;
    return 1u << a | 1u << b;
}

static unsigned draw_bit(Trial *t, unsigned axes)
{
    unsigned a;
    do
        a = draw(t, AXES);
    while (!(axes >> a & 1));
    return a;
}

static void put_op(Trial *t, unsigned v)
{
    unsigned x = v > PARAMS ? v - 1 : draw(t, PARAMS), y = draw(t, v);
    unsigned has = t->axes[x], both = has & t->axes[y];
    unsigned all = has | t->axes[y];
    Buf *b = &t->text;
    unsigned sum = both ? draw_bit(t, both) : 0;
    bool many = __builtin_popcount(all) > 3;
    t->axes[v] = has;
    if (both && x != y && all != both && draw(t, 4)) {
        t->axes[v] = all & ~(1u << sum);
        buf_printf(b, "  %%v%u : ", v);
        put_type(t, t->axes[v]);
        buf_printf(b, " = einsum %%v%u, %%v%u sum (%s)\n", x, y, names[sum]);
    } else if (__builtin_popcount(has) > 1 && !draw(t, 4)) {
        sum = draw_bit(t, has);
        t->axes[v] = has & ~(1u << sum);
        buf_printf(b, "  %%v%u : ", v);
        put_type(t, t->axes[v]);
        buf_printf(b, " = reduce %%v%u kind sum axes (%s)\n", x, names[sum]);
    } else {
        t->axes[v] = many ? has : all;
        buf_printf(b, "  %%v%u : ", v);
        put_type(t, t->axes[v]);
        if (many)
            buf_printf(b, " = map %%v%u { tanh(_0) }\n", x);
        else
            buf_printf(b, " = map %%v%u, %%v%u { %s }\n", x, y,
                       draw(t, 2) ? "_0 * _1" : "_0 - 2 * _1");
    }
}

/* Where parameters lie, and one axis wherever it is. */
static void put_rules(Trial *t)
{
    unsigned p = draw_pair(t), first = draw_bit(t, p);
    unsigned second = draw_bit(t, p & ~(1u << first));
    buf_printf(&t->text,
               "option shard \"%s over x for param; %s over y for param",
               names[first], names[second]);
    if (draw(t, 2)) buf_printf(&t->text, "; %s over x", names[draw(t, AXES)]);
    buf_printf(&t->text, "\"\n%saxes (", t->on->head);
    for (unsigned a = 0; a < AXES; a++)
        buf_printf(&t->text, "%s%s = %u", a ? ", " : "", names[a],
                   sizes[a] * t->on->times);
    buf_puts(&t->text, ")\n");
}

static void put_program(Trial *t)
{
    put_rules(t);
    buf_puts(&t->text, "entry fn global @f(");
    for (unsigned i = 0; i < PARAMS; i++) {
        t->axes[i] = draw_pair(t);
        buf_printf(&t->text, "%s%%v%u : ", i ? ", " : "", i);
        put_type(t, t->axes[i]);
        buf_printf(&t->text, i ? " param \"v%u\"" : " input \"v%u\"", i);
    }
    Buf head = t->text;
    t->text = (Buf){0};
    for (unsigned i = PARAMS; i < PARAMS + OPS; i++)
        put_op(t, i);
    Buf body = t->text;
    t->text = head;
    buf_puts(&t->text, ") -> ");
    put_type(t, t->axes[PARAMS + OPS - 1]);
    buf_printf(&t->text, " output \"o\" {\n%s  ret %%v%d\n}\n", body.at,
               PARAMS + OPS - 1);
    buf_release(&body);
}

/* ---------------------------------------------------------------- trying -- */

static void tell(const Trial *t, const char *why)
{
    printf("%s of\n%s", why, t->text.at);
}

static void open_trial(Trial *t, const Devices *on, uint64_t seed)
{
    *t = (Trial){.on = on, .draws = seed * 2654435761u + 1, .least = INFINITY};
    unit_open(&t->u);
    put_program(t);
    size_t n = t->text.n;
    if (!unit_parse(&t->u, "test", arena_strndup(&t->u.arena, t->text.at, n),
                    n) ||
        !module_verify(&t->u.m)) {
        tell(t, "no module");
        fail();
    }
    Module *m = &t->u.m;
    shard_pinned(&t->s, m);
}

static void close_trial(Trial *t)
{
    buf_release(&t->text);
    unit_close(&t->u);
}

/* It cuts what is whole, which no rule asks for: devices that have nothing of
 * their own to do are left idle. */
static bool begins(const Ways *w, const Way *way)
{
    const Shard *s = w->s;
    const Item *it = w->it;
    if (!where_is_axis(way->out) || *pin_at(s, w->mesh, it->out) == way->out)
        return false;
    for (uint32_t k = 0; k < it->n; k++) {
        uint32_t raw = s->args.at[it->first + k].raw;
        if (*where_at(s, w->mesh, s->raws.at[raw].node) != WHERE_none)
            return false;
    }
    return true;
}

static void try_mesh(Trial *t, uint32_t mesh);

static void try_item(Trial *t, uint32_t mesh, uint32_t item)
{
    Shard *s = &t->s;
    MeshAxis m = s->order.at[mesh];
    if (item == s->items.n) {
        try_mesh(t, mesh + 1);
        return;
    }
    const Item *it = &s->items.at[item];
    if (it->raw == NO_RAW) {
        *where_at(s, m, it->out) = *pin_at(s, m, it->out);
        *need_at(s, m, it->first) = *pin_at(s, m, it->out);
        try_item(t, mesh, item + 1);
        return;
    }
    ArenaMark mark = arena_mark(s->a);
    Ways w = {.s = s, .m = s->m, .it = it, .mesh = m};
    w.in = inst_of(it->fn, it->v);
    ways_find(&w);
    for (uint32_t i = 0; i < w.at.n; i++) {
        if (begins(&w, &w.at.at[i])) continue;
        *where_at(s, m, it->out) = w.at.at[i].out;
        for (uint32_t k = 0; k < it->n; k++)
            *need_at(s, m, it->first + k) = w.at.at[i].in[k];
        try_item(t, mesh, item + 1);
    }
    *where_at(s, m, it->out) = WHERE_none;
    for (uint32_t k = 0; k < it->n; k++)
        *need_at(s, m, it->first + k) = WHERE_none;
    arena_pop(s->a, mark);
}

static void try_mesh(Trial *t, uint32_t mesh)
{
    if (mesh < t->s.order.n) {
        try_item(t, mesh, 0);
        return;
    }
    double cost = solve_cost(&t->x);
    if (cost < t->least && solve_moves(&t->x) <= t->most) t->least = cost;
}

/* What the pass pays, of the least; NAN: nothing is split. */
static double ratio(const Devices *on, uint64_t seed)
{
    Trial t, all;
    open_trial(&t, on, seed);
    open_trial(&all, on, seed);
    shard_solve(&t.s);
    t.x = solve_of(&t.s);
    all.x = solve_of(&all.s);
    all.most = solve_moves(&t.x) * (1 - 1e-6);
    try_mesh(&all, 0);
    double cost = solve_cost(&t.x), of = fmax(cost / all.least, 1);
    if (all.s.order.n < 2) of = NAN;
    if (of >= WORST) {
        printf("%g, %g at least: ", cost, all.least);
        tell(&t, "costs");
    }
    close_trial(&t);
    close_trial(&all);
    return of;
}

static void check_least(const Devices *on)
{
    unsigned worse = 0, n = 0;
    double worst = 1;
    for (uint64_t seed = 1; seed <= on->programs; seed++) {
        double of = ratio(on, seed);
        if (isnan(of)) continue;
        n++;
        worse += of > 1 + 1e-9;
        worst = fmax(worst, of);
    }
    printf("%u programs, %u worse than the best, %g at most\n", n, worse,
           worst);
    assert_true(n > on->programs / 2);
    assert_true(worse <= WORSE);
    assert_true(worst < WORST);
}

static void test_alike(void **state)
{
    (void)state;
    check_least(&alike);
}

static void test_hosts(void **state)
{
    (void)state;
    check_least(&hosts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_alike),
                                       cmocka_unit_test(test_hosts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
