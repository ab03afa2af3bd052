/* links: titan_passes
 * bring.c: what `shard` counts for a value that is brought from one layout to
 * another is what the steps move that `partition` makes of it.
 *
 * Random layouts of a value of three axes, on meshes of one host and of
 * several, whose axes the rules name in another order than the mesh does.
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

enum { AXES = 3, MESH = 4, PAIRS = 2000, SIZE = 2304 };

static const char *const names[AXES] = {"a", "b", "c"};
/* The mesh's axes in another order. */
static const char rules[] =
    "option shard \"b over x order zigzag; c over z for param; a "
    "over w for param; a over y order zigzag\"\n";

typedef struct Devices {
    const char *head;
    bool ruled; /* some axes are spread as head and tail */
} Devices;

typedef struct Pair {
    const Devices *on;
    Unit u;
    Shard s;
    uint64_t draws;
    Where *where[2]; /* before and behind, by mesh axis */
} Pair;

static unsigned draw(Pair *p, unsigned n)
{
    p->draws = p->draws * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(p->draws >> 33) % n;
}

/* --------------------------------------------------------------- layouts -- */

static void open_pair(Pair *p, const Devices *on)
{
    Buf b = {0};
    *p = (Pair){.on = on, .draws = 1};
    buf_printf(&b,
               "%s%saxes (a = %d, b = %d, c = %d)\n"
               "entry fn global @f(%%v : f32[a, b, c] input \"v\") -> "
               "f32[a, b, c] output \"o\" {\n  ret %%v\n}\n",
               on->ruled ? rules : "", on->head, SIZE, SIZE, SIZE);
    unit_open(&p->u);
    char *text = arena_strndup(&p->u.arena, b.at, b.n);
    assert_true(unit_parse(&p->u, "test", text, b.n));
    buf_release(&b);
    Module *m = &p->u.m;
    shard_pinned(&p->s, m);
    shard_solve(&p->s);
    for (int i = 0; i < 2; i++)
        p->where[i] = NEW_ARRAY(m->scratch, Where, MESH);
}

/* Each mesh axis splits an axis or none; or, with SUMS, is pending. */
static void draw_layout(Pair *p, Where *where, bool sums)
{
    for (unsigned i = 0; i < p->s.m->mesh.n; i++) {
        unsigned way = draw(p, AXES + (sums ? 2 : 1));
        where[i] = way == 0     ? WHERE_none
                   : way > AXES ? WHERE_sum
                                : where_axis((Axis){way - 1});
    }
}

/* As types are written, with splits in the order of the rules. */
static void put_layout(const Pair *p, Buf *b, const Where *where)
{
    const Shard *s = &p->s;
    buf_puts(b, "f32[");
    for (unsigned a = 0; a < AXES; a++) {
        bool zig = false;
        buf_printf(b, "%s%s", a ? ", " : "", names[a]);
        for (unsigned i = 0; i < s->order.n; i++) {
            MeshAxis m = s->order.at[i];
            if (where[m.id] != where_axis((Axis){a})) continue;
            zig |= is_zig(s, m, (Axis){a});
            buf_printf(b, "/%s", mesh_name(s->m, m));
        }
        if (zig) buf_puts(b, " zig");
    }
    buf_puts(b, "]");
    for (unsigned i = 0; i < s->order.n; i++)
        if (where_is_pending(where[s->order.at[i].id]))
            buf_printf(b, "+%s", mesh_name(s->m, s->order.at[i]));
}

/* ----------------------------------------------------------------- bytes -- */

/* What a device receives in a step. */
static double bytes_of(const Module *m, const Fn *fn, const Inst *in)
{
    const AttrItem *over = attr_get(m, in->attr, AT_over);
    if (!over) return 0;
    double n = (double)group_size(m, over->mesh, over->n);
    double bytes = (double)type_bytes(m, value_type(fn, inst_arg(fn, in, 0)));
    switch ((Op)in->op) {
    case OP_all_gather:
        return bytes * (n - 1);
    case OP_reduce_scatter:
    case OP_all_to_all:
        return bytes * (n - 1) / n;
    case OP_all_reduce:
        return 2 * bytes * (n - 1) / n;
    default:
        return 0;
    }
}

static double made_bytes(const char *text, size_t size)
{
    Unit u;
    double sum = 0;
    unit_open(&u);
    assert_true(unit_parse(&u, "pair", text, size));
    static PassCtx none;
    assert_true(pass_find("partition")->run(&u.m, &none));
    const Fn *fn = u.m.fns.at[0];
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        sum += bytes_of(&u.m, fn, &fn->insts[i]);
    unit_close(&u);
    return sum;
}

/* ----------------------------------------------------------------- pairs -- */

static void check_pair(Pair *p)
{
    Shard *s = &p->s;
    Buf b = {0};
    double counted[MESH] = {0}, sum = 0;
    draw_layout(p, p->where[0], true);
    draw_layout(p, p->where[1], false);
    Move x = {.s = s, .n = s->order.n, .from = p->where[0], .to = p->where[1]};
    x.bytes = 4.0 * SIZE * SIZE * SIZE;
    move_bytes(&x, 0, counted);
    for (unsigned i = 0; i < MESH; i++)
        sum += counted[i];
    buf_printf(&b, "%saxes (a = %d, b = %d, c = %d)\nfn local @f(%%x : ",
               p->on->head, SIZE, SIZE, SIZE);
    put_layout(p, &b, p->where[0]);
    buf_puts(&b, ") -> ");
    put_layout(p, &b, p->where[1]);
    buf_puts(&b, " {\n  %y : ");
    put_layout(p, &b, p->where[1]);
    buf_puts(&b, " = reshard %x\n  ret %y\n}\n");
    double made = made_bytes(b.at, b.n);
    if (fabs(made - sum) > 1e-6 * sum) {
        printf("%g bytes are counted, %g moved:\n%s", sum, made, b.at);
        fail();
    }
    buf_release(&b);
}

static void check_devices(const Devices *on)
{
    Pair p;
    open_pair(&p, on);
    assert_int_equal(p.s.order.n, MESH);
    for (int i = 0; i < PAIRS; i++)
        check_pair(&p);
    unit_close(&p.u);
}

static void test_alike(void **state)
{
    (void)state;
    check_devices(&(Devices){"mesh (w = 2, x = 3, y = 4, z = 2)\n", false});
}

static void test_spread(void **state)
{
    (void)state;
    check_devices(&(Devices){"mesh (w = 2, x = 3, y = 4, z = 2)\n", true});
}

static void test_hosts(void **state)
{
    (void)state;
    check_devices(&(Devices){
        "option target \"sm_90a\"\nmesh (w = 2, x = 3, y = 4, z = 2)\n", true});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_alike),
                                       cmocka_unit_test(test_spread),
                                       cmocka_unit_test(test_hosts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
