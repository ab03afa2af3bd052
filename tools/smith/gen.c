/*
 * gen.c: random programs: parameters, instructions, a loss and its
 * derivatives, results.
 */
#include "smith.h"

/* One program in so many is a training step. */
enum { STEP_EVERY = 8 };
enum { NAXES = 5, MOST_PARAMS = 4 };
enum { MOST_ELEMENTS = 400, MOST_WIDE = 1 << 14 };

/* ----------------------------------------------------------------- draws -- */

uint64_t draw(World *w)
{
    uint64_t x = w->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint32_t draw_below(World *w, uint32_t n)
{
    return (uint32_t)(draw(w) % n);
}

bool draw_chance(World *w, uint32_t percent)
{
    return draw_below(w, 100) < percent;
}

/* ------------------------------------------------------------------ pool -- */

DType dtype_of(const Gen *g, Value v)
{
    return type_dtype(g->w->m, value_type(g->b.fn, v));
}

bool is_float(const Gen *g, const Made *x)
{
    return dtype_class(dtype_of(g, x->v)) == DC_float;
}

bool is_int(const Gen *g, const Made *x)
{
    return dtype_of(g, x->v) == DT_i32;
}

uint32_t axes_of(const Gen *g, Value v)
{
    return type_info(g->w->m, value_type(g->b.fn, v))->naxes;
}

const TypeAxis *axis_at(const Gen *g, Value v, uint32_t i)
{
    return &type_info(g->w->m, value_type(g->b.fn, v))->axes[i];
}

TypeAxis random_axis(Gen *g)
{
    uint32_t i = draw_below(g->w, NAXES);
    return (TypeAxis){.axis = {i}, .size = g->w->m->axes.at[i].size};
}

static void push(Gen *g, Made x)
{
    for (uint32_t i = 0; i < g->pool.n; i++)
        if (value_eq(g->pool.at[i].v, x.v)) return; /* folded to an old one */
    vec_push(g->w->m->arena, &g->pool, x);
}

/* Values that grew large are scaled down at once. */
void pool_add(Gen *g, Value v, double most, bool exact)
{
    g->w->nmade[inst_of(g->b.fn, v)->op]++;
    DType d = dtype_of(g, v);
    double scale = 1;
    while (most * scale > 64)
        scale /= 2;
    if (dtype_class(d) == DC_float && scale < 1) {
        Value k = emit_const(&g->b, g->w->real, scale);
        if (d != g->w->real) v = emit_cast(&g->b, v, g->w->real);
        v = emit_binary(&g->b, SC_mul, v, k);
        most *= scale;
    }
    push(g, (Made){v, most, exact, false});
}

/* One of those wanted, the later ones more often. */
Made *pool_pick(Gen *g, Wanted *wanted)
{
    for (int tries = 0; tries < 12 && g->pool.n; tries++) {
        uint32_t i = draw_below(g->w, g->pool.n);
        uint32_t k = draw_below(g->w, g->pool.n);
        Made *x = &g->pool.at[i > k ? i : k];
        if (wanted(g, x)) return x;
    }
    return NULL;
}

/* ------------------------------------------------------------ parameters -- */

static DType random_dtype(World *w)
{
    static const DType others[] = {DT_i32, DT_i32, DT_i32, DT_bool, DT_u8,
                                   DT_i8,  DT_i64, DT_u32, DT_i16};
    if (draw_chance(w, w->wide ? 50 : 65)) return w->real;
    if (draw_chance(w, w->wide ? 70 : 40)) return w->narrow;
    return others[draw_below(w, sizeof others / sizeof *others)];
}

static Type random_type(Gen *g, DType d)
{
    TypeAxis axes[NAXES];
    uint32_t n = 0;
    int64_t elements = 1;
    for (uint32_t i = 0; i < NAXES && n < 3; i++) {
        TypeAxis a = {.axis = {i}, .size = g->w->m->axes.at[i].size};
        if (draw_chance(g->w, 60) || elements * a.size > g->w->most / 2)
            continue;
        elements *= a.size;
        axes[n++] = a;
    }
    return type_tensor(g->w->m, d, axes, n);
}

static void make_params(Gen *g)
{
    Module *m = g->w->m;
    uint32_t n = 2 + draw_below(g->w, MOST_PARAMS - 1);
    for (uint32_t i = 0; i < n; i++) {
        DType d = i ? random_dtype(g->w) : g->w->real;
        Port p = {.type = random_type(g, d), .role = ROLE_input};
        p.name = p.path = str_printf(&m->strs, "x%u", i);
        Value v = builder_param(&g->b, p);
        g->w->nmade[OP_arg]++;
        push(g, (Made){v, 8, true, false});
    }
}

/* ---------------------------------------------------------- instructions -- */

static Op random_op(Gen *g)
{
    if (g->w->wide && draw_chance(g->w, 25))
        return draw_chance(g->w, 60) ? OP_einsum : OP_reduce;
    for (;;) {
        Op op = (Op)draw_below(g->w, OP_count);
        if (op_is_made(op)) return op;
        if (draw_chance(g->w, 30)) return OP_map;
    }
}

/* The featured op comes as soon as something fits it. */
void gen_insts(Gen *g, uint32_t n)
{
    for (uint32_t made = 0, tries = 0; made < n && tries < 8 * n; tries++) {
        Op feature = g->w->feature;
        if (op_is_made(feature) && gen_op(g, feature)) {
            g->w->feature = OP_count;
            made++;
        } else {
            made += gen_op(g, random_op(g));
        }
    }
}

/* ----------------------------------------------------------- derivatives -- */

static Value summed(Gen *g, Value v)
{
    Module *m = g->w->m;
    const TypeInfo *info = type_info(m, value_type(g->b.fn, v));
    uint32_t n = info->naxes;
    Axis *axes = NEW_ARRAY(m->scratch, Axis, n);
    for (uint32_t i = 0; i < n; i++)
        axes[i] = info->axes[i].axis;
    DType d = info->dtype, acc = d == DT_f64 ? DT_f64 : DT_f32;
    if (n) {
        v = emit_reduce(&g->b, "sum", v, axes, n, acc, acc);
        g->w->nmade[OP_reduce]++;
    }
    d = dtype_of(g, v);
    return d == g->w->real ? v : emit_cast(&g->b, v, g->w->real);
}

static bool derivable(const Gen *g, const Made *x)
{
    DType d = dtype_of(g, x->v);
    return d == g->w->real || (d == DT_bf16 && d == g->w->narrow);
}

/* The loss sums what nothing uses; it is derived by every float parameter. */
static void make_backward(Gen *g)
{
    Value loss = NO_VALUE, args[1 + MOST_PARAMS];
    Type types[MOST_PARAMS];
    uint32_t n = 0, nparams = g->b.fn->nparams;
    for (uint32_t i = nparams; i < g->pool.n; i++) {
        Made *x = &g->pool.at[i];
        if (!is_float(g, x) || (x->used && draw_chance(g->w, 80))) continue;
        Value s = summed(g, x->v);
        x->used = true;
        loss =
            value_eq(loss, NO_VALUE) ? s : emit_binary(&g->b, SC_add, loss, s);
    }
    if (value_eq(loss, NO_VALUE)) return;
    for (uint32_t i = 0; i < nparams; i++) {
        if (!derivable(g, &g->pool.at[i])) continue;
        args[1 + n] = g->pool.at[i].v;
        types[n] = value_type(g->b.fn, args[1 + n]);
        n++;
    }
    args[0] = loss;
    Value t = emit(&g->b, OP_grad, type_tuple(g->w->m, types, n), (Attr){0},
                   args, n + 1);
    push(g, (Made){loss, 1, false, false});
    g->w->nmade[OP_grad]++;
    for (uint32_t i = 0; i < n; i++) {
        push(g, (Made){emit_proj(&g->b, t, i), 1, false, false});
        g->w->nmade[OP_proj]++;
    }
}

/* --------------------------------------------------------------- results -- */

static void mark_used(Gen *g)
{
    const Fn *fn = g->b.fn;
    bool *used = NEW_ARRAY(g->w->m->scratch, bool, fn->ninsts);
    for (uint32_t i = 0; i < fn->nargs; i++)
        used[fn->args[i].id] = true;
    for (uint32_t i = 0; i < g->pool.n; i++)
        g->pool.at[i].used = used[g->pool.at[i].v.id];
}

static void make_results(Gen *g)
{
    Module *m = g->w->m;
    uint32_t n = 0;
    mark_used(g);
    for (uint32_t i = g->pool.n; i-- > g->b.fn->nparams;) {
        if (g->pool.at[i].used && n > 0) continue;
        Port p = {.role = ROLE_output};
        p.path = str_printf(&m->strs, "y%u", n++);
        builder_result(&g->b, g->pool.at[i].v, p);
    }
}

static void make_main(World *w, uint32_t ninsts)
{
    Module *m = w->m;
    Gen g = {.w = w};
    Fn *fn = fn_new(m, module_str(m, "train"), VIEW_global);
    fn->entry = true;
    builder_init(&g.b, m, fn);
    g.b.no_fold = true;
    make_params(&g);
    gen_insts(&g, ninsts);
    mark_used(&g);
    if (w->backward) make_backward(&g);
    make_results(&g);
    module_add_fn(m, fn);
}

/* Around what threads, warps, tiles and rows of tiles have; or small. */
static int64_t random_size(World *w, bool wide)
{
    static const int64_t sizes[] = {1,  2,  3,  5,  8,   16,  17,  31,  32, 33,
                                    48, 64, 96, 97, 128, 130, 192, 256, 257};
    if (!wide) return 2 + draw_below(w, 4);
    return sizes[draw_below(w, sizeof sizes / sizeof *sizes)];
}

/* Random instructions. */
static void free_program(const SmithOpts *o, World *w)
{
    static const DType narrow[] = {DT_bf16, DT_bf16, DT_f16,
                                   DT_e4m3, DT_e5m2, DT_e2m1};
    Module *m = w->m;
    w->real = draw_chance(w, 65) ? DT_f32 : DT_f64;
    w->narrow = narrow[draw_below(w, sizeof narrow / sizeof *narrow)];
    w->backward = draw_chance(w, 50);
    w->feature = (Op)(o->seed % OP_count);
    w->scalar = (ScalarOp)(SC_add + o->seed % (SC_count - SC_add));
    if (w->feature == OP_grad) w->backward = true;
    for (uint32_t i = 0; i < NAXES; i++)
        axis_of(m, str_printf(&m->strs, "%c", 'a' + (char)i),
                random_size(w, o->wide), (Loc){0});
    option_set(m, "dtype", "f32");
    make_main(w, o->ninsts);
}

static void count_insts(World *w)
{
    for (uint32_t f = 0; f < w->m->fns.n; f++)
        for (uint32_t i = 0; i < w->m->fns.at[f]->ninsts; i++)
            w->nmade[w->m->fns.at[f]->insts[i].op]++;
}

/* A training step; what it says wrong is a fault of this tool. */
static void step_program(Unit *u, World *w, bool wide)
{
    Buf text = {0}, why = {0};
    step_text(w, wide, &text);
    uint32_t source =
        diag_add_source(&u->diag, "step.tir",
                        arena_strndup(&u->arena, text.at, text.n), text.n);
    if (!module_parse(&u->m, source) || !module_verify(&u->m)) {
        diag_render(&u->diag, DIAG_TEXT, &why);
        BUG("a step that is no program:\n%s\n%s", text.at, why.at);
    }
    count_insts(w);
    buf_release(&text);
}

void smith_program(const SmithOpts *o, World *w, Buf *out)
{
    Unit u;
    unit_init(&u);
    w->m = &u.m;
    w->wide = o->wide;
    w->most = o->wide ? MOST_WIDE : MOST_ELEMENTS;
    w->random = o->seed * UINT64_C(0xd1342543de82ef95) + 1;
    if (o->seed % STEP_EVERY == STEP_EVERY - 1)
        step_program(&u, w, o->wide);
    else
        free_program(o, w);
    module_print(&u.m, NULL, out);
    unit_release(&u);
}
