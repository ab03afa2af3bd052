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

typedef struct Single {
    Op op;
    const char *params, *result, *text;
} Single;

/* Sizes are small, and most of them divided by eight devices. */
#define AXES "axes (a = 8, b = 4, c = 8, k = 4, i = 4, j = 3, n = 2, one = 1)\n"

static const Single uses[] = {
    {OP_map, "%x : f32[a, b], %y : f32[a]", "f32[a, b]",
     "map %x, %y { _0 * _1 + sin(f32(index(b)) + 2 * f32(index(a))) }"},
    {OP_map, "%x : f32[a, b], %y : f32[b]", "f32[a, b]",
     "map %x, %y { 3 * _0 - _1 }"},
    {OP_map, "%x : f32[a], %y : f32[b]", "f32[a, b]", "map %x, %y { _0 * _1 }"},
    {OP_map, "%x : f32[a], %y : f32[a, b], %z : f32[b]", "f32[a, b]",
     "map %x, %y, %z { fma(_0, _2, _1) / 4 }"},
    {OP_map, "%x : f32[b], %y : bool[a]", "f32[a, b]",
     "map %x, %y { where(_1, _0, 0) }"},
    {OP_map, "%x : f32[a]", "f64[a]", "map %x { f64(_0) }"},
    {OP_map, "%x : i32[a]", "i32[a, b]", "map %x { _0 + index(b) * 0 }"},
    {OP_map, "", "f32[a, b]", "map { f32(index(a)) - f32(index(b)) }"},
    {OP_reduce, "%x : f32[a, b, c]", "f32[b]",
     "reduce %x kind sum axes (a, c)"},
    {OP_reduce, "%x : i32[a, b]", "i32[b]", "reduce %x kind sum axes (a)"},
    {OP_reduce, "%x : f32[a, b, c]", "f32[b]",
     "reduce %x kind max axes (a, c)"},
    {OP_reduce, "%x : i32[a, b]", "i32[b]", "reduce %x kind max axes (a)"},
    {OP_reduce, "%x : bool[a, b]", "bool[b]", "reduce %x kind max axes (a)"},
    {OP_reduce, "%x : f32[a, b]", "f32[b]", "reduce %x kind min axes (a)"},
    {OP_reduce, "%x : f32[a, b]", "f32[b]", "reduce %x kind prod axes (a)"},
    {OP_einsum, "%x : f32[a, b, k], %y : f32[b, c, k]", "f32[a, b, c]",
     "einsum %x, %y sum (k)"},
    {OP_einsum, "%x : f32[b, k, c], %y : f32[b, k, c]", "f32[b]",
     "einsum %x, %y sum (k, c)"},
    {OP_rename, "%x : f32[a, b, k]", "f32[c, i, k]",
     "rename %x from (a, b) to (c, i)"},
    {OP_split, "%x : f32[a, b]", "f32[b, i, n]", "split %x axis a to (i, n)"},
    {OP_merge, "%x : f32[b, i, n]", "f32[a, b]", "merge %x from (i, n) axis a"},
    {OP_slice, "%x : f32[a, b]", "f32[a, b:2]",
     "slice %x axis b start 1 step 2"},
    {OP_pick, "%x : f32[a, b]", "f32[a]", "pick %x axis b start 2"},
    {OP_pad, "%x : f32[a, b]", "f32[a, b:8]",
     "pad %x axis b low 1 high 0 step 2"},
    {OP_concat, "%x : f32[a, b], %y : f32[a, b:2]", "f32[a, b:6]",
     "concat %x, %y axis b"},
    {OP_stack, "%x : f32[a, b], %y : f32[a, b]", "f32[a, b, n]",
     "stack %x, %y axis n"},
    {OP_window, "%x : f32[a, b]", "f32[a, i, j]",
     "window %x axis b to (i, j) coef (1, 1) start -1"},
    {OP_fold, "%x : f32[a, i, j]", "f32[a, b]",
     "fold %x axis b to (i, j) coef (1, 1) start -1"},
    {OP_gather, "%x : f32[a, b], %ids : i32[c]", "f32[b, c]",
     "gather %x, %ids axis a"},
    {OP_gather, "%x : f32[a, b], %ids : i32[b, a]", "f32[a, b]",
     "gather %x, %ids axis a"},
    {OP_gather, "%x : i32[a, b], %ids : i32[b, c]", "i32[b, c]",
     "gather %x, %ids axis a"},
    {OP_scatter, "%ids : i32[b, c], %u : f32[b, c, k]", "f32[a, k]",
     "scatter %ids, %u axis a"},
    {OP_scatter, "%ids : i32[b, c], %u : f32[b]", "f32[a, c]",
     "scatter %ids, %u axis a"},
    {OP_put, "%x : f32[a, b], %ids : i32[c], %y : f32[b, c]", "f32[a, b]",
     "put %x, %ids, %y axis a"},
    {OP_cumsum, "%x : f32[a, b, c]", "f32[a, b, c]",
     "cumsum %x axis b reverse"},
    {OP_top, "%x : f32[a, b, c]", "i32[a, c, n]",
     "top %x axis b to (n) kind max"},
};

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

/* ----------------------------------------------------------------- running --
 */

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

/* Parts of a sum: over each mesh axis, what one has more the next has less.
 * They depend on the element alone, so that replicas agree. */
static void part_sums(const Module *m, Tensor *x, const TypeInfo *info)
{
    for (uint32_t k = 0; k < info->npending; k++) {
        uint32_t stride = device_stride(m, info->pending[k]);
        for (uint32_t d = 0; d < x->ndevices; d++)
            for (int64_t i = 0; i < x->n; i++) {
                int64_t part = (i * 29 + 13 * (k + 1)) % 31 - 15;
                add(&x->at[(int64_t)d * x->n + i], info->dtype,
                    d / stride % 2 ? -part : part);
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
    if (type_info(m, result.type)->npending) return true;
    Tensor parts = tensor_spread(m, &whole, result.type, &t->run);
    return agrees(m, &parts, &result);
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

/* ------------------------------------------------------------ enumerating --
 */

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

static void open_trial(Trial *t, const Single *use, const char *mesh)
{
    Buf b = {0};
    *t = (Trial){.layouts = 0};
    unit_open(&t->u);
    arena_init(&t->run, "run");
    buf_printf(&b,
               "mesh (%s)\n" AXES "fn global @f(%s) -> %s {\n  %%v : %s = %s\n"
               "  ret %%v\n}\n",
               mesh, use->params, use->result, use->result, use->text);
    if (!unit_parse(&t->u, "test", arena_strndup(&t->u.arena, b.at, b.n),
                    b.n) ||
        !module_verify(&t->u.m))
        tell(t, b.at);
    buf_release(&b);
    assert_int_equal(t->wrong, 0);
    Module *m = &t->u.m;
    t->s = (Shard){.m = m, .a = m->scratch};
    t->global = m->fns.at[0];
    t->whole = inputs_random(m, t->global, 3, &t->u.arena);
    assert_true(interp_fn(m, t->global, &(InterpOpts){0}, t->whole, &t->was,
                          &t->u.arena));
    assert_true(shard_rules_read(&t->s, ""));
    Roots roots = roots_of(m);
    graph_build(&t->s, &roots);
    assert_true(graph_pin(&t->s));
    while (t->s.items.at[t->item].raw == NO_RAW)
        t->item++;
}

/* How many layouts there are. */
static uint32_t try_use(const Single *use, const char *mesh)
{
    Trial t;
    open_trial(&t, use, mesh);
    try_ways(&t, 0);
    uint32_t n = t.layouts;
    if (t.wrong) printf("%s: %u of %u\n", use->text, t.wrong, n);
    assert_int_equal(t.wrong, 0);
    arena_release(&t.run);
    unit_close(&t.u);
    return n;
}

/* ------------------------------------------------------------ derivatives --
 */

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

/* The op, weighed and summed, and its derivatives by all floats; false: it has
 * none. */
static bool step_text(const Single *use, const char *mesh, Buf *out)
{
    Trial t;
    Buf axes = {0};
    open_trial(&t, use, mesh);
    Module *m = &t.u.m;
    const Fn *fn = t.global;
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
    arena_release(&t.run);
    unit_close(&t.u);
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
static const char *const split[] = {"", "a", "b", "c", "k", "i", "a", "c", "b"};
enum { NSPLITS = sizeof split / sizeof *split, GIVEN = 6 };

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
    const char *axis = split[which];
    if (!*axis) return true;
    if (!has_word(use->params, axis) && !has_word(use->result, axis))
        return false;
    buf_printf(rules, "%s%s over %s%s", rules->n ? "; " : "", axis, mesh,
               which < GIVEN ? "" : " for grad");
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
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        n += try_rules(&uses[i], mesh, naxes);
    printf("mesh (%s): %u sets of rules\n", mesh, n);
    assert_true(n >= least);
}

/* ------------------------------------------------------------------ tests --
 */

static void test_all_ops(void **state)
{
    (void)state;
    bool has[OP_count] = {0};
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++)
        has[uses[i].op] = true;
    /* Where functions meet, values are handed over as they are. */
    has[OP_arg] = has[OP_call] = has[OP_repeat] = has[OP_proj] = true;
    has[OP_grad] = true;
    for (uint32_t i = 0; i < OP_count; i++)
        if (op_info((Op)i)->views & 1u << VIEW_global && !has[i])
            fail_msg("no use of '%s'", op_info((Op)i)->name);
}

static void try_all(const char *mesh, uint32_t least)
{
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        uint32_t k = try_use(&uses[i], mesh);
        if (k < 2) fail_msg("one layout alone: %s", uses[i].text);
        n += k;
    }
    printf("mesh (%s): %u layouts\n", mesh, n);
    assert_true(n >= least);
}

static void test_one_mesh_axis(void **state)
{
    (void)state;
    try_all("x = 2", 100);
}

static void test_two_mesh_axes(void **state)
{
    (void)state;
    try_all("x = 2, y = 2", 500);
}

static void test_three_mesh_axes(void **state)
{
    (void)state;
    try_all("x = 2, y = 2, z = 2", 2000);
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
        cmocka_unit_test(test_all_ops),
        cmocka_unit_test(test_one_mesh_axis),
        cmocka_unit_test(test_two_mesh_axes),
        cmocka_unit_test(test_three_mesh_axes),
        cmocka_unit_test(test_derivatives_over_one),
        cmocka_unit_test(test_derivatives_over_two),
        cmocka_unit_test(test_derivatives_over_three)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
