/*
 * image_commands.c: launches as commands of an image.
 *
 * A *spot* follows every argument: the base, the offset, and the bytes per turn
 * of each loop around, so that an operand of the innermost body names its bytes
 * in one row.
 *
 * A matmul group is a gemm command, or a kernel where the set makes one; a
 * collective group is a collective command.  Groups that only copy or clear
 * bytes are copy and zero commands.  For every other launch the set of kernels
 * gives the kernel.
 */
#include "image_commands.h"

#include <string.h>

enum { MOST_ALIGN = 32 };

/* ----------------------------------------------------------------- spots -- */

_Static_assert((int)BASE_persistent == TITAN_BASE_persistent &&
                   (int)BASE_io == TITAN_BASE_io &&
                   (int)BASE_frame == TITAN_BASE_frame &&
                   (int)BASE_lane == TITAN_BASE_lane &&
                   (int)BASE_host == TITAN_BASE_host,
               "bases of the IR and of images count alike");

static uint32_t base_number(const Module *m, const Inst *in)
{
    for (uint32_t i = 0; i < TITAN_BASE_COUNT; i++)
        if (attr_is(m, in->attr, AT_base, base_name((Base)i))) return i;
    BUG("a buffer without a place reached the image");
}

/* A buffer's pads are its own.  Where its lines begin at multiples of 16 bytes,
 * up to the next of these nothing lies behind its last line, either. */
static int64_t pad_of(const Module *m, const Inst *in, Layout l)
{
    enum { UNIT = 16 };
    if (in->op != OP_buffer) return 0;
    int64_t unit = UNIT / (int64_t)dtype_bytes(type_dtype(m, l.type)), line;
    const TypeInfo *t = type_info(m, l.type);
    for (uint32_t i = 0; i < t->naxes; i++)
        if (type_local_size(m, &t->axes[i]) > 1 && l.stride[i] != 1 &&
            l.stride[i] % unit != 0)
            return 0;
    int64_t pad = layout_pad(m, l, &line), most = (unit - line % unit) % unit;
    return pad < most ? pad : most;
}

ImageAt image_at(ImageWriter *w, const Fn *fn, Value v, const ImageAt *args)
{
    Module *m = w->t.m;
    const Inst *in = inst_of(fn, v);
    if (in->op == OP_counter)
        return (ImageAt){.number = true,
                         .kind = TITAN_OPERAND_counter,
                         .which = (uint64_t)attr_int(m, in->attr, AT_index, 0),
                         .layout = {.type = in->type}};
    if (in->op == OP_coord)
        return (ImageAt){.number = true,
                         .kind = TITAN_OPERAND_coordinate,
                         .which =
                             image_group(&w->t, attr_get(m, in->attr, AT_over)),
                         .layout = {.type = in->type}};
    Spot s = spot_of(m, fn, v, m->arena);
    ImageAt at = {0};
    const Inst *root = inst_of(fn, s.root);
    if (root->op == OP_arg && args) {
        at = args[s.root.id];
    } else {
        at.base = base_number(m, root);
        at.offset = attr_int(m, root->attr, AT_offset, 0);
    }
    at.offset += s.offset;
    for (uint32_t i = 0; i < s.nturns; i++)
        at.turn[i] += s.turn[i];
    if (s.ring.n) {
        at.ring = s.ring;
        at.ring_loop = 0;
    }
    at.layout = s.layout;
    at.pad = pad_of(m, in, s.layout);
    return at;
}

uint32_t image_operand(ImageWriter *w, const ImageAt *at)
{
    ImageTables *t = &w->t;
    TitanOperand o = {.turns = {.first = t->turns.n}};
    if (at->number) {
        o.kind = at->kind;
        o.offset = at->which;
    } else {
        o.kind = TITAN_OPERAND_memory;
        o.base = at->base;
        o.offset = (uint64_t)at->offset;
        o.bytes = (uint64_t)(layout_bytes(t->m, at->layout) +
                             at->pad * (int64_t)dtype_bytes(
                                           type_dtype(t->m, at->layout.type)));
        for (uint32_t i = 0; i < w->depth; i++) {
            if (!at->turn[i]) continue;
            TitanTurn turn = {.depth = i, .bytes = at->turn[i]};
            if (at->ring.n && at->ring_loop == i) {
                turn.ring = (uint16_t)at->ring.n;
                turn.shift = (uint16_t)at->ring.shift;
            }
            vec_push(t->a, &t->turns, turn);
        }
    }
    o.turns.n = t->turns.n - o.turns.first;
    vec_push(t->a, &t->operands, o);
    return t->operands.n - 1;
}

/* Bytes that divide the address in every turn. */
static uint32_t align_of(const ImageAt *at)
{
    uint64_t bits = (uint64_t)at->offset | MOST_ALIGN;
    for (uint32_t i = 0; i < MOST_LOOPS; i++)
        bits |= (uint64_t)at->turn[i];
    return (uint32_t)(bits & -bits);
}

/* -------------------------------------------------------------- commands -- */

static TitanCommand *add_command(ImageWriter *w, TitanCommandKind kind, Loc loc)
{
    ImageTables *t = &w->t;
    TitanCommand c = {.kind = kind,
                      .operands = {.first = t->operands.n},
                      .stream = t->stream};
    image_line(t, loc, &c.file, &c.line);
    vec_push(t->a, &t->commands, c);
    return &vec_last(&t->commands);
}

static void add_zero(ImageWriter *w, const ImageAt *at, Loc loc)
{
    TitanCommand *c = add_command(w, TITAN_COMMAND_zero, loc);
    c->operands.n = 1;
    c->items = layout_bytes(w->t.m, at->layout);
    image_operand(w, at);
}

static void add_copy(ImageWriter *w, const ImageAt *to, const ImageAt *from,
                     Loc loc)
{
    TitanCommand *c = add_command(w, TITAN_COMMAND_copy, loc);
    c->operands.n = 2;
    c->items = layout_bytes(w->t.m, to->layout);
    image_operand(w, to);
    image_operand(w, from);
}

static bool is_plain(const Gemm *g)
{
    return (g->a == DT_f32 || g->a == DT_f64) && g->b == g->a && g->d == g->a &&
           g->acc == g->a;
}

static uint32_t add_gemm(ImageWriter *w, const Gemm *g, uint32_t accumulate,
                         uint64_t workspace)
{
    TitanGemm row = {.dtype_a = g->a,
                     .dtype_b = g->b,
                     .dtype_d = g->d,
                     .acc = g->acc,
                     .m = g->m,
                     .n = g->n,
                     .k = g->k,
                     .a_row = g->a_row,
                     .a_col = g->a_col,
                     .b_row = g->b_row,
                     .b_col = g->b_col,
                     .d_row = g->d_row,
                     .d_col = g->d_col,
                     .accumulate = accumulate,
                     .nbatch = g->nbatch,
                     .workspace = workspace,
                     .processors = w->processors,
                     .scale_a = (uint32_t)g->scale_a,
                     .scale_b = (uint32_t)g->scale_b,
                     .fast = g->fast};
    memcpy(row.batch, g->batch, sizeof row.batch);
    memcpy(row.a_batch, g->a_batch, sizeof row.a_batch);
    memcpy(row.b_batch, g->b_batch, sizeof row.b_batch);
    memcpy(row.d_batch, g->d_batch, sizeof row.d_batch);
    uint64_t h = hash_bytes(&row, sizeof row, 0);
    MapIter it;
    uint32_t at;
    for (bool ok = map_first(&w->gemm_map, h, &it, &at); ok;
         ok = map_next(&w->gemm_map, &it, &at))
        if (!memcmp(&w->t.gemms.at[at], &row, sizeof row)) return at;
    vec_push(w->t.a, &w->t.gemms, row);
    map_add(&w->gemm_map, h, w->t.gemms.n - 1);
    return w->t.gemms.n - 1;
}

/* Room to widen narrow operands: in the worker's lane inside a parallel loop,
 * else one block for each lane in the frame.  All gemms share it, whatever
 * their streams: the host runs one command at a time. */
static ImageAt workspace_at(const ImageWriter *w, const Gemm *g,
                            uint64_t *bytes)
{
    *bytes = titan_gemm_block(g->m, g->n, g->k);
    if (w->lanes)
        return (ImageAt){.base = TITAN_BASE_lane, .offset = (int64_t)w->lane};
    *bytes *= w->t.lanes;
    return (ImageAt){.base = TITAN_BASE_frame, .offset = (int64_t)w->frame};
}

static bool same_place(const ImageAt *x, const ImageAt *y)
{
    return x->base == y->base && x->offset == y->offset &&
           !memcmp(x->turn, y->turn, sizeof x->turn) &&
           x->ring.n == y->ring.n && x->ring.shift == y->ring.shift;
}

static void write_gemm(ImageWriter *w, const Fn *group, const ImageAt *at,
                       uint32_t n, Loc loc)
{
    ImageTables *t = &w->t;
    GemmParams p = group_gemm(group);
    const ImageAt *third = p.third == NO_PARAM ? NULL : &at[p.third];
    Layout layouts[3] = {at[p.a].layout, at[p.b].layout, at[n - 1].layout};
    Gemm g;
    if (!gemm_fit(t->m, group, layouts, &g) ||
        g.scale_a == GEMM_SCALE_tile32) /* a kernel's alone */
        BUG("the places of '%s' make no gemm", str_of(t->m, group->name));
    uint64_t bytes = 0;
    ImageAt room = {0};
    if (!w->gpu && !is_plain(&g)) room = workspace_at(w, &g, &bytes);
    bool apart = g.accumulate && !same_place(third, &at[n - 1]);
    uint32_t accumulate = g.scaled       ? TITAN_GEMM_scaled
                          : apart        ? TITAN_GEMM_add_c
                          : g.accumulate ? TITAN_GEMM_add_d
                                         : 0;
    TitanCommand *c = add_command(w, TITAN_COMMAND_gemm, loc);
    c->index = add_gemm(w, &g, accumulate, bytes);
    c->operands.n = 3 + (apart || g.scaled) + (g.scale_a != 0) +
                    (g.scale_b != 0) + (bytes > 0);
    c->items = 1;
    image_operand(w, &at[p.a]);
    image_operand(w, &at[p.b]);
    image_operand(w, &at[n - 1]);
    if (apart || g.scaled) image_operand(w, third);
    for (uint32_t i = 0; i < 2; i++)
        if (p.scale[i] != NO_PARAM) image_operand(w, &at[p.scale[i]]);
    if (!bytes) return;
    image_reserve(t, room.base, (uint64_t)room.offset + bytes);
    TitanOperand o = {.base = room.base,
                      .offset = (uint64_t)room.offset,
                      .bytes = bytes,
                      .turns = {.first = t->turns.n}};
    vec_push(t->a, &t->operands, o);
}

static void write_message(ImageWriter *w, const Fn *group, const ImageAt *at,
                          Loc loc)
{
    TitanCommand *c = add_command(w, TITAN_COMMAND_collective, loc);
    c->index = image_message(&w->t, group, at->layout);
    c->operands.n = 1;
    c->items = 1;
    image_operand(w, at);
}

static void write_collective(ImageWriter *w, const Fn *group, const ImageAt *at,
                             Loc loc)
{
    Module *m = w->t.m;
    if (is_message(group_collective(group))) {
        write_message(w, group, at, loc);
        return;
    }
    if (!collective_takes(m, group, at[0].layout, at[1].layout))
        BUG("the places of '%s' make no collective", str_of(m, group->name));
    TitanCommand *c = add_command(w, TITAN_COMMAND_collective, loc);
    c->index = image_collective(&w->t, group, at[0].layout);
    c->operands.n = 2;
    c->items = 1;
    image_operand(w, &at[1]);
    image_operand(w, &at[0]);
}

/* A group that only copies its parameter, to the same memory order. */
static bool is_copy(const ImageWriter *w, const Fn *g, const ImageAt *at,
                    uint32_t n)
{
    return n == 2 && g->ninsts == 1 && !at[0].number &&
           layout_same(w->t.m, at[0].layout, at[1].layout) &&
           layout_is_packed(w->t.m, at[0].layout);
}

static bool is_clear(const ImageWriter *w, const Fn *g, const ImageAt *at,
                     uint32_t n)
{
    const Module *m = w->t.m;
    if (n != 1 || g->ninsts != 1 || g->insts[0].op != OP_map ||
        !layout_is_packed(m, at[0].layout))
        return false;
    const ExprInfo *e = expr_info(m, attr_expr(m, g->insts[0].attr));
    if (e->op != SC_const) return false;
    if (dtype_class((DType)e->dtype) != DC_float) return e->i == 0;
    double zero = 0;
    return !memcmp(&e->f, &zero, sizeof zero); /* not -0 */
}

static KernelArg *kernel_args(ImageWriter *w, const Fn *group,
                              const ImageAt *at, const Value *values,
                              uint32_t n)
{
    KernelArg *args = NEW_ARRAY(w->t.a, KernelArg, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++) {
        args[i] = (KernelArg){.type = at[i].layout.type,
                              .stride = at[i].layout.stride,
                              .align = at[i].number ? 0 : align_of(&at[i]),
                              .written = i >= group->nparams,
                              .same = -1,
                              .counter = at[i].number,
                              .pad = at[i].pad};
        for (uint32_t k = 0; k < group->nparams && args[i].written; k++)
            if (value_eq(values[k], values[i])) args[i].same = (int32_t)k;
    }
    return args;
}

static void add_kernel(ImageWriter *w, uint32_t row, const ImageAt *at,
                       uint32_t n, Loc loc)
{
    TitanCommand *c = add_command(w, TITAN_COMMAND_kernel, loc);
    c->index = row;
    c->items = kernel_at(w->kernels, row)->items;
    c->operands.n = n;
    for (uint32_t i = 0; i < n; i++)
        image_operand(w, &at[i]);
}

/* The blocks of a product share its tiles, however many there are.  The
 * library's end one by one, so others find processors anyway. */
static void bound_kernel(ImageWriter *w, uint32_t row, uint32_t processors)
{
    const Kernel *k = kernel_at(w->kernels, row);
    TitanCommand *c = &vec_last(&w->t.commands);
    if (!processors || !k->cluster || processors < k->cluster) return;
    int64_t most = processors - processors % k->cluster;
    if (most >= c->items) return;
    c->items = most;
    c->processors = processors;
}

/* False: the group is to be written in parts. */
static bool write_kernel(ImageWriter *w, const Fn *group, const ImageAt *at,
                         const Value *values, uint32_t n, Loc loc)
{
    const KernelArg *args = kernel_args(w, group, at, values, n);
    uint32_t row;
    if (!kernels_add(w->kernels, group, args, n, &row)) return false;
    const Kernel *k = kernel_at(w->kernels, row);
    for (uint32_t i = group->nparams; i < n; i++)
        if (kernel_zeroes(k, i) && args[i].same < 0) add_zero(w, &at[i], loc);
    add_kernel(w, row, at, n, loc);
    return true;
}

static void write_matmul(ImageWriter *w, const Inst *in, const ImageAt *at,
                         const Value *values)
{
    Module *m = w->t.m;
    const Fn *group = fn_of(m, attr_fn(m, in->attr, AT_fn));
    uint32_t n = in->nargs, row;
    Loc loc = in->loc;
    uint32_t most = (uint32_t)attr_int(m, in->attr, AT_processors, 0);
    const KernelArg *args = kernel_args(w, group, at, values, n);
    if (kernels_add_matmul(w->kernels, group, args, &row)) {
        add_kernel(w, row, at, n, loc);
        bound_kernel(w, row, most);
        return;
    }
    if (fn_is(m, group, FK_matmul)) {
        write_gemm(w, group, at, n, loc);
        return;
    }
    diag_remark(m->diag, "codegen", true, loc_span(m, loc),
                "@%s is made by loops, not on tensor cores: no tile takes "
                "operands and results that lie so",
                str_of(m, group->name));
    write_kernel(w, group, at, values, n, loc);
}

/* The operands of a part: values of the group, parameters and results. */
static uint32_t operand_of(const Fn *group, Value v)
{
    for (uint32_t i = 0; i < group->nresults; i++)
        if (value_eq(group->result_values[i], v)) return group->nparams + i;
    return v.id;
}

/* A tile group that goes both ways, as a kernel for each. */
static void write_parts(ImageWriter *w, const Fn *fn, const Inst *in,
                        const ImageAt *at)
{
    Module *m = w->t.m;
    const Fn *group = fn_of(m, attr_fn(m, in->attr, AT_fn));
    TileCut cut;
    diag_remark(m->diag, "codegen", true, loc_span(m, in->loc),
                "@%s is two kernels, which both make its pairs: no tile has "
                "room for its sums, or takes operands and results that lie so",
                str_of(m, group->name));
    if (!tile_cut(m, group, false, &cut, w->t.a))
        BUG("@%s has no parts", str_of(m, group->name));
    for (uint32_t p = 0; p < cut.nparts; p++) {
        const TilePart *part = &cut.parts[p];
        uint32_t nparams = part->fn->nparams, n = nparams + part->fn->nresults;
        ImageAt *mine = NEW_ARRAY(w->t.a, ImageAt, (size_t)n + 1);
        Value *values = NEW_ARRAY(w->t.a, Value, (size_t)n + 1);
        for (uint32_t i = 0; i < n; i++) {
            Value v = i < nparams ? part->args[i] : part->made[i - nparams];
            mine[i] = at[operand_of(group, v)];
            values[i] = inst_arg(fn, in, operand_of(group, v));
        }
        if (!write_kernel(w, part->fn, mine, values, n, in->loc))
            BUG("@%s has parts of parts", str_of(m, group->name));
        for (uint32_t i = nparams; i < n; i++) {
            uint32_t which = operand_of(group, part->made[i - nparams]);
            ResultAt r = {fn, in, which - group->nparams, i, mine[i].layout};
            image_result(&w->t, &r);
        }
    }
}

/* Of the command that a launch became: a gemm writes its third operand, a copy
 * and a collective their first, a kernel its last ones. */
static void write_results(ImageWriter *w, const Fn *fn, const Inst *in,
                          const ImageAt *at)
{
    const Fn *group = fn_of(w->t.m, attr_fn(w->t.m, in->attr, AT_fn));
    uint32_t kind = vec_last(&w->t.commands).kind;
    /* a row that comes or goes was looked at where it was made */
    if (w->failed || kind == TITAN_COMMAND_zero ||
        fn_kind(w->t.m, group) == FK_transfer)
        return;
    for (uint32_t i = 0; i < group->nresults; i++) {
        uint32_t arg = group->nparams + i;
        ResultAt r = {fn, in, i, arg, at[arg].layout};
        if (kind == TITAN_COMMAND_gemm) r.operand = 2;
        if (kind == TITAN_COMMAND_copy || kind == TITAN_COMMAND_collective)
            r.operand = 0;
        image_result(&w->t, &r);
    }
}

void image_launch(ImageWriter *w, const Fn *fn, const Inst *in,
                  const ImageAt *args)
{
    Module *m = w->t.m;
    const Fn *group = fn_of(m, attr_fn(m, in->attr, AT_fn));
    uint32_t n = in->nargs;
    ImageAt *at = NEW_ARRAY(w->t.a, ImageAt, (size_t)n + 1);
    Value *values = NEW_ARRAY(w->t.a, Value, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++) {
        values[i] = inst_arg(fn, in, i);
        at[i] = image_at(w, fn, values[i], args);
    }
    if (fn_is(m, group, FK_matmul) || fn_is(m, group, FK_product))
        write_matmul(w, in, at, values);
    else if (fn_is(m, group, FK_collective))
        write_collective(w, group, at, in->loc);
    else if (is_clear(w, group, at, n))
        add_zero(w, &at[0], in->loc);
    else if (is_copy(w, group, at, n))
        add_copy(w, &at[1], &at[0], in->loc);
    else if (!write_kernel(w, group, at, values, n, in->loc)) {
        write_parts(w, fn, in, at);
        return;
    }
    TitanCommand *last = &vec_last(&w->t.commands);
    if (last->kind == TITAN_COMMAND_collective && w->gpu) {
        int64_t made = live_stays(&w->users, in);
        last->fed = image_fed(&w->t, fn, in, w->program);
        last->stays = (uint32_t)(made + 1);
    }
    write_results(w, fn, in, at);
}
