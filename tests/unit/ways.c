/* links: titan_passes
 * ways.c: every way of every op means what the op means.
 *
 * An op of whole tensors stands alone in a function.  On meshes of one, two and
 * three axes each mesh axis takes each of the ways that the table of `shard`
 * has for it, after all ways of those before it; the program of one device is
 * run on all devices together.  What is pending goes in as parts of a sum that
 * devices do not share, or as a maximum that one of them holds.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "passes/shard/shard.h"
#include "tests/unit/unit.h"
#include "tests/unit/ways.h"

/* A mesh, and rules that say how axes are spread over it. */
typedef struct Setup {
    const char *mesh, *rules;
} Setup;

typedef struct Trial {
    Unit u;
    Shard s;
    uint32_t item;
    Fn *global;
    Tensor *whole, was; /* arguments and result */
    Arena run;
    uint32_t layouts, wrong;
} Trial;

static const Item *item_at(const Trial *t)
{
    return &t->s.items.at[t->item];
}

/* --------------------------------------------------------------- running -- */

static uint32_t device_stride(const Module *m, MeshAxis a)
{
    uint32_t stride = 1;
    for (uint32_t i = a.id + 1; i < m->mesh.n; i++)
        stride *= (uint32_t)m->mesh.at[i].size;
    return stride;
}

static void add(Cell *c, DType d, int64_t part)
{
    if (dtype_class(d) == DC_float)
        c->f += (double)part / 8;
    else
        c->i += part;
}

/* Parts of a sum: over each mesh axis, what the first has more the next has
 * less.  They depend on the element alone, so that replicas agree. */
static void part_sums(const Module *m, Tensor *x, const TypeInfo *info)
{
    for (uint32_t k = 0; k < info->npending; k++) {
        MeshAxis over = info->pending[k];
        uint32_t size = (uint32_t)m->mesh.at[over.id].size;
        for (uint32_t d = 0; d < x->ndevices; d++) {
            uint32_t at = d / device_stride(m, over) % size;
            for (int64_t i = 0; i < x->n && at < 2; i++) {
                int64_t part = (i * 29 + 13 * (k + 1)) % 31 - 15;
                add(&x->at[(int64_t)d * x->n + i], info->dtype,
                    at ? -part : part);
            }
        }
    }
}

/* One device of each group holds the maximum, the others less. */
static void lower_others(const Module *m, Tensor *x, const TypeInfo *info)
{
    for (uint32_t d = 0; d < x->ndevices; d++)
        for (int64_t i = 0; i < x->n; i++) {
            int64_t other = 0;
            for (uint32_t k = 0; k < info->npending; k++)
                other |= (d / device_stride(m, info->pending[k]) + i + k) % 2;
            if (other) add(&x->at[(int64_t)d * x->n + i], info->dtype, -9);
        }
}

static Tensor spread(Trial *t, const Tensor *whole, Type type)
{
    const Module *m = &t->u.m;
    const TypeInfo *info = type_info(m, type);
    Tensor x = tensor_spread(&t->u.m, whole, type, &t->run);
    if (info->npending && info->pending_kind == PENDING_sum)
        part_sums(m, &x, info);
    if (info->npending && info->pending_kind == PENDING_max)
        lower_others(m, &x, info);
    return x;
}

static bool is_same(DType d, Cell was, Cell is)
{
    if (dtype_class(d) != DC_float) return was.i == is.i;
    return fabs(was.f - is.f) <= 1e-9 * (1 + fabs(was.f));
}

static bool agrees(const Module *m, const Tensor *was, const Tensor *is)
{
    DType d = type_dtype(m, was->type);
    for (int64_t i = 0; i < was->n * (int64_t)was->ndevices; i++)
        if (!is_same(d, was->at[i], is->at[i])) return false;
    return true;
}

/* Each device has its part of the whole; what pads hold nobody has said. */
static bool parts_agree(Trial *t, const Tensor *whole, const Tensor *is)
{
    DType d = type_dtype(&t->u.m, whole->type);
    Tensor parts = tensor_spread(&t->u.m, whole, is->type, &t->run);
    Tensor zeros = *whole;
    zeros.at = NEW_ARRAY(&t->run, Cell, (size_t)whole->n);
    Tensor pads = tensor_spread(&t->u.m, &zeros, is->type, &t->run);
    for (int64_t i = 0; i < is->n * (int64_t)is->ndevices; i++)
        if (is_same(d, pads.at[i], (Cell){0}) &&
            !is_same(d, parts.at[i], is->at[i]))
            return false;
    return true;
}

/* The result is what it was; where nothing is pending each device has its part
 * of it. */
static bool run_layout(Trial *t)
{
    Module *m = &t->u.m;
    const Fn *fn = m->fns.at[0];
    Tensor args[4], result;
    for (uint32_t i = 0; i < fn->nparams; i++)
        args[i] = spread(t, &t->whole[i], fn->params[i].type);
    if (!interp_fn(m, fn, &(InterpOpts){0}, args, &result, &t->run))
        return false;
    Tensor whole = tensor_whole(m, &result, &t->run);
    if (!agrees(m, &t->was, &whole)) return false;
    return type_info(m, result.type)->npending ||
           parts_agree(t, &whole, &result);
}

static void tell(Trial *t, const char *what)
{
    Buf b = {0};
    module_print(&t->u.m, NULL, &b);
    diag_render(&t->u.diag, DIAG_TEXT, &b);
    if (t->wrong++ < 5) printf("%s\n%s\n", what, b.at);
    buf_release(&b);
}

/* The operands lie as the way needs them, so that nothing is brought. */
static void try_layout(Trial *t)
{
    Shard *s = &t->s;
    const Item *it = item_at(t);
    uint32_t port = s->port_nodes.at[s->ports[t->global->ninsts] - 1];
    for (uint32_t i = 0; i < s->m->mesh.n; i++) {
        MeshAxis m = {i};
        for (uint32_t k = 0; k < it->n; k++) {
            uint32_t raw = s->args.at[it->first + k].raw;
            *where_at(s, m, s->raws.at[raw].node) =
                *need_at(s, m, it->first + k);
        }
        *where_at(s, m, port) = *where_at(s, m, it->out);
    }
    emit_local(s);
    t->layouts++;
    if (!module_verify(&t->u.m))
        tell(t, "does not verify");
    else if (!run_layout(t))
        tell(t, "means something else");
    t->u.m.fns.at[0] = t->global;
    arena_release(&t->run);
    arena_init(&t->run, "run");
}

/* ----------------------------------------------------------- enumerating -- */

static void try_ways(Trial *t, uint32_t mesh);

static bool is_way(const Ways *w, const Way *a, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        bool same = w->at.at[i].out == a->out;
        for (uint32_t k = 0; k < w->it->n && same; k++)
            same = w->at.at[i].in[k] == a->in[k];
        if (same) return true;
    }
    return false;
}

/* The ways that there are where operand k is made at MADE[k], but for those
 * that were there before. */
static void add_ways(Trial *t, Ways *all, const Where *made)
{
    Shard *s = &t->s;
    const Item *it = item_at(t);
    for (uint32_t k = 0; k < it->n; k++) {
        uint32_t raw = s->args.at[it->first + k].raw;
        *where_at(s, all->mesh, s->raws.at[raw].node) = made[k];
    }
    Ways w = *all;
    memset(&w.at, 0, sizeof w.at);
    ways_find(&w);
    for (uint32_t i = 0; i < w.at.n; i++)
        if (!is_way(all, &w.at.at[i], all->at.n))
            vec_push(s->a, &all->at, w.at.at[i]);
}

/* Some ways are there only for operands that are pending. */
static void find_ways(Trial *t, Ways *all)
{
    uint32_t n = item_at(t)->n, count = 1;
    for (uint32_t k = 0; k < n; k++)
        count *= 3;
    for (uint32_t i = 0; i < count; i++) {
        static const Where places[] = {WHERE_none, WHERE_sum, WHERE_max};
        Where made[4];
        for (uint32_t k = 0, rest = i; k < n; k++, rest /= 3)
            made[k] = places[rest % 3];
        add_ways(t, all, made);
    }
}

static void take_way(Trial *t, MeshAxis m, const Way *way)
{
    Shard *s = &t->s;
    const Item *it = item_at(t);
    *where_at(s, m, it->out) = way ? way->out : WHERE_none;
    for (uint32_t k = 0; k < it->n; k++)
        *need_at(s, m, it->first + k) = way ? way->in[k] : WHERE_none;
}

static void try_ways(Trial *t, uint32_t mesh)
{
    if (mesh == t->u.m.mesh.n) {
        try_layout(t);
        return;
    }
    MeshAxis m = {mesh};
    const Item *it = item_at(t);
    Ways all = {.s = &t->s, .m = &t->u.m, .it = it, .mesh = m};
    all.in = inst_of(it->fn, it->v);
    find_ways(t, &all);
    for (uint32_t i = 0; i < all.at.n; i++) {
        take_way(t, m, &all.at.at[i]);
        try_ways(t, mesh + 1);
    }
    take_way(t, m, NULL);
}

static void open_trial(Trial *t, const Single *use, const Setup *on)
{
    Buf b = {0};
    *t = (Trial){.layouts = 0};
    unit_open(&t->u);
    arena_init(&t->run, "run");
    buf_printf(&b,
               "mesh (%s)\n" AXES "fn global @f(%s) -> %s {\n  %%v : %s = %s\n"
               "  ret %%v\n}\n",
               on->mesh, use->params, use->result, use->result, use->text);
    if (!unit_parse(&t->u, "test", arena_strndup(&t->u.arena, b.at, b.n),
                    b.n) ||
        !module_verify(&t->u.m))
        tell(t, b.at);
    static PassCtx none;
    buf_release(&b);
    assert_int_equal(t->wrong, 0);
    Module *m = &t->u.m;
    t->s = (Shard){.m = m, .cx = &none, .a = m->scratch};
    t->global = m->fns.at[0];
    t->whole = inputs_random(m, t->global, 3, &t->u.arena);
    assert_true(interp_fn(m, t->global, &(InterpOpts){0}, t->whole, &t->was,
                          &t->u.arena));
    assert_true(shard_rules_read(&t->s, on->rules));
    Roots roots = roots_of(m);
    graph_build(&t->s, &roots);
    assert_true(graph_pin(&t->s));
    while (t->s.items.at[t->item].raw == NO_RAW)
        t->item++;
}

/* How many layouts there are. */
static uint32_t try_use(const Single *use, const Setup *on)
{
    Trial t;
    open_trial(&t, use, on);
    try_ways(&t, 0);
    uint32_t n = t.layouts;
    if (t.wrong) printf("%s: %u of %u\n", use->text, t.wrong, n);
    assert_int_equal(t.wrong, 0);
    arena_release(&t.run);
    unit_close(&t.u);
    return n;
}

/* ----------------------------------------------------------------- tests -- */

static void test_all_ops(void **state)
{
    (void)state;
    bool has[OP_count] = {0};
    for (uint32_t i = 0; i < NUSES; i++)
        has[uses[i].op] = true;
    /* Where functions meet, values are handed over as they are. */
    has[OP_arg] = has[OP_call] = has[OP_repeat] = has[OP_proj] = true;
    has[OP_grad] = true;
    /* Transfers between stages, whose layouts the stages have. */
    has[OP_send] = has[OP_recv] = true;
    for (uint32_t i = 0; i < OP_count; i++)
        if (op_info((Op)i)->views & 1u << VIEW_global && !has[i])
            fail_msg("no use of '%s'", op_info((Op)i)->name);
}

static void try_all(const Setup *on, uint32_t least)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < NUSES; i++) {
        uint32_t k = try_use(&uses[i], on);
        if (k < 2) fail_msg("one layout alone: %s", uses[i].text);
        n += k;
    }
    printf("mesh (%s)%s%s: %u layouts\n", on->mesh, *on->rules ? ", " : "",
           on->rules, n);
    assert_true(n >= least);
}

static void test_one_mesh_axis(void **state)
{
    (void)state;
    try_all(&(Setup){"x = 2", ""}, 100);
}

static void test_two_mesh_axes(void **state)
{
    (void)state;
    try_all(&(Setup){"x = 2, y = 2", ""}, 500);
}

static void test_three_mesh_axes(void **state)
{
    (void)state;
    try_all(&(Setup){"x = 2, y = 2, z = 2", ""}, 2000);
}

static void test_head_and_tail(void **state)
{
    (void)state;
    try_all(&(Setup){"x = 2, y = 2", "a, c over x order zigzag"}, 500);
    try_all(&(Setup){"x = 2, y = 2", "a over y order zigzag"}, 500);
    try_all(&(Setup){"x = 2, y = 2", "c over x, y order zigzag"}, 500);
}

/* Three devices divide hardly anything: the last has less, and pads. */
static void test_uneven(void **state)
{
    (void)state;
    try_all(&(Setup){"x = 2, y = 3", "a, c over y; j over x"}, 350);
    try_all(&(Setup){"x = 3, y = 2", "a, c over x; b, j over y"}, 350);
    try_all(&(Setup){"x = 2, y = 3, z = 2", "a, c over y; j over z"}, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_ops),
                                       cmocka_unit_test(test_one_mesh_axis),
                                       cmocka_unit_test(test_two_mesh_axes),
                                       cmocka_unit_test(test_three_mesh_axes),
                                       cmocka_unit_test(test_head_and_tail),
                                       cmocka_unit_test(test_uneven)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
