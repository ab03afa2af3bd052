/*
 * image.c: the image of a planned module.
 *
 * Each entry is walked in the order of execution.  Launches between loops
 * become one program; a loop becomes a pair of runs around those of its body.
 * On the way a *spot* follows every argument: the base, the offset, and the
 * bytes per turn of each loop around, so that an operand of the innermost
 * body names its bytes in one row.
 *
 * A matmul group is a gemm command, or a kernel where the set makes one; a
 * collective group is a collective command. Groups
 * that only copy or clear bytes are copy and zero commands.  For every other
 * launch the set of kernels gives the kernel.
 */
#include "image.h"
#include "target.h"

#include <string.h>

enum { HOST_LANES = 16, MOST_ALIGN = 32 };

/* Where a value of a kernel function lies, for the image. */
typedef struct At {
    uint32_t base;
    int64_t offset;
    int64_t turn[MOST_LOOPS]; /* innermost loop first */
    TurnRing ring;            /* of loop `ring_loop` */
    uint32_t ring_loop;
    Layout layout;
    int64_t pad;    /* elements behind each line that are its own */
    bool number;    /* by value: a counter or a coordinate */
    uint32_t kind;  /* TitanOperandKind */
    uint64_t which; /* a loop, or a group of ranks */
} At;

typedef struct Writer {
    ImageTables t;
    KernelSet *kernels;
    bool gpu;
    uint32_t processors; /* of a matrix product; 0: all */
    uint32_t program;    /* commands before this are in programs */
    uint32_t depth;
    bool lanes; /* inside a parallel loop */
    bool failed;
    uint32_t update, update_run; /* of an entry: where it begins to write
                                    parameters and states */
    uint64_t frame, lane, host;  /* bytes before workspaces */
    Map gemm_map;
} Writer;

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

static At at_of(Writer *w, const Fn *fn, Value v, const At *args)
{
    Module *m = w->t.m;
    const Inst *in = inst_of(fn, v);
    if (in->op == OP_counter)
        return (At){.number = true,
                    .kind = TITAN_OPERAND_counter,
                    .which = (uint64_t)attr_int(m, in->attr, AT_index, 0),
                    .layout = {.type = in->type}};
    if (in->op == OP_coord)
        return (At){.number = true,
                    .kind = TITAN_OPERAND_coordinate,
                    .which = image_group(&w->t, attr_get(m, in->attr, AT_over)),
                    .layout = {.type = in->type}};
    Spot s = spot_of(m, fn, v, m->arena);
    At at = {0};
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

static uint32_t add_operand(Writer *w, const At *at)
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
static uint32_t align_of(const At *at)
{
    uint64_t bits = (uint64_t)at->offset | MOST_ALIGN;
    for (uint32_t i = 0; i < MOST_LOOPS; i++)
        bits |= (uint64_t)at->turn[i];
    return (uint32_t)(bits & -bits);
}

/* -------------------------------------------------------------- commands -- */

static TitanCommand *add_command(Writer *w, TitanCommandKind kind, Loc loc)
{
    ImageTables *t = &w->t;
    TitanCommand c = {.kind = kind,
                      .operands = {.first = t->operands.n},
                      .stream = t->stream};
    image_line(t, loc, &c.file, &c.line);
    vec_push(t->a, &t->commands, c);
    return &vec_last(&t->commands);
}

static void add_zero(Writer *w, const At *at, Loc loc)
{
    TitanCommand *c = add_command(w, TITAN_COMMAND_zero, loc);
    c->operands.n = 1;
    c->items = layout_bytes(w->t.m, at->layout);
    add_operand(w, at);
}

static void add_copy(Writer *w, const At *to, const At *from, Loc loc)
{
    TitanCommand *c = add_command(w, TITAN_COMMAND_copy, loc);
    c->operands.n = 2;
    c->items = layout_bytes(w->t.m, to->layout);
    add_operand(w, to);
    add_operand(w, from);
}

static bool is_plain(const Gemm *g)
{
    return (g->a == DT_f32 || g->a == DT_f64) && g->b == g->a && g->d == g->a &&
           g->acc == g->a;
}

static uint32_t add_gemm(Writer *w, const Gemm *g, uint32_t accumulate,
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
static At workspace_at(const Writer *w, const Gemm *g, uint64_t *bytes)
{
    *bytes = titan_gemm_block(g->m, g->n, g->k);
    if (w->lanes)
        return (At){.base = TITAN_BASE_lane, .offset = (int64_t)w->lane};
    *bytes *= w->t.lanes;
    return (At){.base = TITAN_BASE_frame, .offset = (int64_t)w->frame};
}

static bool same_place(const At *x, const At *y)
{
    return x->base == y->base && x->offset == y->offset &&
           !memcmp(x->turn, y->turn, sizeof x->turn) &&
           x->ring.n == y->ring.n && x->ring.shift == y->ring.shift;
}

static void write_gemm(Writer *w, const Fn *group, const At *at, uint32_t n,
                       Loc loc)
{
    ImageTables *t = &w->t;
    GemmParams p = group_gemm(group);
    const At *third = p.third == NO_PARAM ? NULL : &at[p.third];
    Layout layouts[3] = {at[p.a].layout, at[p.b].layout, at[n - 1].layout};
    Gemm g;
    if (!gemm_fit(t->m, group, layouts, &g) ||
        g.scale_a == GEMM_SCALE_tile32) /* a kernel's alone */
        BUG("the places of '%s' make no gemm", str_of(t->m, group->name));
    uint64_t bytes = 0;
    At room = {0};
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
    add_operand(w, &at[p.a]);
    add_operand(w, &at[p.b]);
    add_operand(w, &at[n - 1]);
    if (apart || g.scaled) add_operand(w, third);
    for (uint32_t i = 0; i < 2; i++)
        if (p.scale[i] != NO_PARAM) add_operand(w, &at[p.scale[i]]);
    if (!bytes) return;
    image_reserve(t, room.base, (uint64_t)room.offset + bytes);
    TitanOperand o = {.base = room.base,
                      .offset = (uint64_t)room.offset,
                      .bytes = bytes,
                      .turns = {.first = t->turns.n}};
    vec_push(t->a, &t->operands, o);
}

static void write_message(Writer *w, const Fn *group, const At *at, Loc loc)
{
    TitanCommand *c = add_command(w, TITAN_COMMAND_collective, loc);
    c->index = image_message(&w->t, group, at->layout);
    c->operands.n = 1;
    c->items = 1;
    add_operand(w, at);
}

static void write_collective(Writer *w, const Fn *group, const At *at, Loc loc)
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
    add_operand(w, &at[1]);
    add_operand(w, &at[0]);
}

/* A group that only copies its parameter, to the same memory order. */
static bool is_copy(const Writer *w, const Fn *g, const At *at, uint32_t n)
{
    return n == 2 && g->ninsts == 1 && !at[0].number &&
           layout_same(w->t.m, at[0].layout, at[1].layout) &&
           layout_is_packed(w->t.m, at[0].layout);
}

static bool is_clear(const Writer *w, const Fn *g, const At *at, uint32_t n)
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

static KernelArg *kernel_args(Writer *w, const Fn *group, const At *at,
                              const Value *values, uint32_t n)
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

static void add_kernel(Writer *w, uint32_t row, const At *at, uint32_t n,
                       Loc loc)
{
    TitanCommand *c = add_command(w, TITAN_COMMAND_kernel, loc);
    c->index = row;
    c->items = kernel_at(w->kernels, row)->items;
    c->operands.n = n;
    for (uint32_t i = 0; i < n; i++)
        add_operand(w, &at[i]);
}

/* The blocks of a product share its tiles, however many there are.  The
 * library's end one by one, so others find processors anyway. */
static void bound_kernel(Writer *w, uint32_t row, uint32_t processors)
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
static bool write_kernel(Writer *w, const Fn *group, const At *at,
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

static void write_matmul(Writer *w, const Inst *in, const At *at,
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
static void write_parts(Writer *w, const Fn *fn, const Inst *in, const At *at)
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
        At *mine = NEW_ARRAY(w->t.a, At, (size_t)n + 1);
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
static void write_results(Writer *w, const Fn *fn, const Inst *in, const At *at)
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

static void write_launch(Writer *w, const Fn *fn, const Inst *in,
                         const At *args)
{
    Module *m = w->t.m;
    const Fn *group = fn_of(m, attr_fn(m, in->attr, AT_fn));
    uint32_t n = in->nargs;
    At *at = NEW_ARRAY(w->t.a, At, (size_t)n + 1);
    Value *values = NEW_ARRAY(w->t.a, Value, (size_t)n + 1);
    for (uint32_t i = 0; i < n; i++) {
        values[i] = inst_arg(fn, in, i);
        at[i] = at_of(w, fn, values[i], args);
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
        int64_t made = live_stays(w->t.m, fn, in, w->t.m->scratch);
        last->fed = image_fed(&w->t, fn, in, w->program);
        last->stays = (uint32_t)(made + 1);
    }
    write_results(w, fn, in, at);
}

/* ------------------------------------------------------------------ runs -- */

/* Commands since the last program become one. */
static void end_program(Writer *w, const Fn *fn)
{
    ImageTables *t = &w->t;
    if (t->commands.n == w->program) return;
    if (w->gpu) image_own(t, w->program);
    TitanProgram p = {.name = image_string(t, fn->name),
                      .commands = {w->program, t->commands.n - w->program}};
    vec_push(t->a, &t->programs, p);
    TitanRun run = {.kind = TITAN_RUN_program, .program = t->programs.n - 1};
    vec_push(t->a, &t->runs, run);
    w->program = t->commands.n;
}

static void write_fn(Writer *w, const Fn *fn, const At *args);

static void write_loop(Writer *w, const Fn *fn, const Inst *in, const At *args)
{
    ImageTables *t = &w->t;
    Module *m = t->m;
    if (w->depth == MOST_LOOPS) {
        diag_error(m->diag, DIAG_ir_limit, loc_span(m, in->loc),
                   "loops nest more than %d deep", MOST_LOOPS);
        w->failed = true;
        return;
    }
    bool parallel = attr_flag(m, in->attr, AT_parallel);
    bool guarded = attr_flag(m, in->attr, AT_guarded);
    At *inner = NEW_ARRAY(t->a, At, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        inner[i] = at_of(w, fn, inst_arg(fn, in, i), args);
    TitanRun run = {.kind = TITAN_RUN_loop,
                    .count = attr_int(m, in->attr, AT_count, 0)};
    Axis axis = attr_axis(m, in->attr, AT_axis);
    run.name = image_text(t, axis_name(m, axis));
    if (attr_flag(m, in->attr, AT_reverse)) run.flags |= TITAN_LOOP_reverse;
    if (parallel) run.flags |= TITAN_LOOP_parallel;
    if (guarded) {
        run.flags |= TITAN_LOOP_while;
        run.operand = add_operand(w, &inner[0]);
    }
    end_program(w, fn);
    uint32_t at = t->runs.n;
    vec_push(t->a, &t->runs, run);
    for (uint32_t i = 0; i < in->nargs; i++) {
        memmove(inner[i].turn + 1, inner[i].turn,
                (MOST_LOOPS - 1) * sizeof *inner[i].turn);
        inner[i].turn[0] = 0;
        inner[i].ring_loop++;
    }
    bool lanes = w->lanes;
    w->lanes |= parallel;
    w->depth++;
    write_fn(w, fn_of(m, attr_fn(m, in->attr, AT_fn)), inner);
    w->depth--;
    w->lanes = lanes;
    t->runs.at[at].program = t->runs.n;
    TitanRun end = {.kind = TITAN_RUN_end, .program = at};
    vec_push(t->a, &t->runs, end);
}

static void write_fn(Writer *w, const Fn *fn, const At *args)
{
    ImageStreams s;
    image_streams_begin(&w->t, &s, fn);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (!args && i == w->update) {
            image_streams_meet(&w->t, &s, i);
            end_program(w, fn);
            w->update_run = w->t.runs.n;
        }
        if (!is_step(in)) continue;
        image_step_begin(&w->t, &s, i);
        if (in->op == OP_launch)
            write_launch(w, fn, in, args);
        else
            write_loop(w, fn, in, args);
        image_step_end(&w->t, &s, i);
    }
    image_streams_meet(&w->t, &s, fn->ninsts);
    end_program(w, fn);
}

/* ---------------------------------------------------------------- bounds -- */

/* The states of sessions lie in the frame. */
static void find_sessions(Writer *w, const Fn *fn, Value v)
{
    Module *m = w->t.m;
    Attr a = inst_of(fn, v)->attr;
    if (!attr_is(m, a, AT_base, base_name(BASE_frame))) return;
    Layout l = layout_of(m, fn, v, m->scratch);
    uint64_t end =
        (uint64_t)(attr_int(m, a, AT_offset, 0) + layout_bytes(m, l));
    end = (end + 255) & ~UINT64_C(255);
    if (w->frame < end) w->frame = end;
}

/* Bytes of the stage's temporaries and sessions, which workspaces follow. */
static void find_ends(Writer *w)
{
    Module *m = w->t.m;
    const Fn *const *entries = w->t.entry_fns[w->t.stage];
    w->frame = w->lane = w->host = 0;
    for (uint32_t f = 0; f < w->t.nentries; f++) {
        for (uint32_t i = 0; i < entries[f]->nparams; i++)
            find_sessions(w, entries[f], (Value){i});
        for (uint32_t i = 0; i < entries[f]->nresults; i++)
            find_sessions(w, entries[f], entries[f]->result_values[i]);
    }
    Live live = image_live(&w->t);
    for (uint32_t i = 0; i < live.n; i++) {
        const LiveBuffer *b = &live.at[i];
        const Inst *in = inst_of(b->fn, b->value);
        uint64_t end =
            (uint64_t)(attr_int(m, in->attr, AT_offset, 0) + b->bytes);
        uint64_t *most = b->base == BASE_lane   ? &w->lane
                         : b->base == BASE_host ? &w->host
                                                : &w->frame;
        end = (end + 255) & ~UINT64_C(255);
        if (*most < end) *most = end;
    }
    image_reserve(&w->t, TITAN_BASE_frame, w->frame);
    image_reserve(&w->t, TITAN_BASE_lane, w->lane);
    image_reserve(&w->t, TITAN_BASE_host, w->host);
}

/* --------------------------------------------------------------- entries -- */

/* An entry on all stages. */
typedef struct Entry {
    const Fn **fns; /* by stage */
    Str name;
    TitanRange ports;
    uint32_t *updates; /* by stage; NULL: it does not train */
} Entry;

static Entry *find_entries(Writer *w)
{
    ImageTables *t = &w->t;
    Entry *at = NEW_ARRAY(t->a, Entry, (size_t)t->nentries + 1);
    for (uint32_t i = 0; i < t->nentries; i++) {
        at[i].fns = NEW_ARRAY(t->a, const Fn *, (size_t)t->stages.n + 1);
        for (uint32_t s = 0; s < t->stages.n; s++)
            at[i].fns[s] = t->entry_fns[s][i];
        at[i].name = image_entry_name(t, at[i].fns[0]);
        at[i].ports = image_ports(t, at[i].fns);
        if (strcmp(str_of(t->m, at[i].name), "train") == 0)
            at[i].updates = image_updates(t, at[i].fns);
    }
    return at;
}

static void write_entry(Writer *w, const Entry *x)
{
    ImageTables *t = &w->t;
    const Fn *fn = x->fns[t->stage];
    /* a model begins alike on every target */
    kernels_exact(w->kernels, strcmp(str_of(t->m, x->name), "init") == 0);
    TitanEntry e = {.name = image_string(t, x->name),
                    .runs = {.first = t->runs.n},
                    .ports = x->ports};
    w->update = x->updates ? x->updates[t->stage] : fn->ninsts;
    w->update_run = t->runs.n;
    write_fn(w, fn, NULL);
    e.runs.n = t->runs.n - e.runs.first;
    e.until = w->update_run - e.runs.first;
    vec_push(t->a, &t->entries, e);
    if (!x->updates || (t->stages.n == 1 && e.until == 0)) return;
    e.name = image_text(t, "diagnose");
    vec_push(t->a, &t->entries, e);
}

static void write_stages(Writer *w)
{
    ImageTables *t = &w->t;
    const Entry *entries = find_entries(w);
    for (t->stage = 0; t->stage < t->stages.n; t->stage++) {
        TitanRange *rows = &t->stages.at[t->stage].entries;
        rows->first = t->entries.n;
        find_ends(w);
        for (uint32_t i = 0; i < t->nentries; i++)
            write_entry(w, &entries[i]);
        rows->n = t->entries.n - rows->first;
    }
}

static void write_kernels(Writer *w)
{
    ImageTables *t = &w->t;
    for (uint32_t i = 0; i < kernels_count(w->kernels); i++) {
        const Kernel *k = kernel_at(w->kernels, i);
        TitanKernel row = {.name = image_text(t, k->name),
                           .args = k->nargs,
                           .threads = k->threads,
                           .shared_bytes = k->shared,
                           .flops = k->work.flops,
                           .bytes = k->work.bytes,
                           .scalars = k->work.scalars,
                           .width = k->work.width,
                           .limit = k->work.limit,
                           .maps = {t->maps.n, k->nmaps}};
        for (uint32_t j = 0; j < k->nmaps; j++)
            vec_push(t->a, &t->maps, k->maps[j]);
        vec_push(t->a, &t->kernels, row);
    }
}

bool image_write(Module *m, const CodegenOpts *o, KernelSet *kernels,
                 const void **image, size_t *size)
{
    Writer w = {.kernels = kernels, .gpu = target_is_gpu(o->target)};
    if (w.gpu) w.processors = o->processors;
    image_begin(&w.t, m);
    map_init(&w.gemm_map, m->arena);
    w.t.target = target_in_image(o->target);
    image_stages(&w.t);
    image_mesh(&w.t, o->rehearse);
    w.t.lanes = w.gpu ? 1 : HOST_LANES;
    w.t.streams = module_streams(m);
    w.t.infinities = infinities_find(m);
    image_slots(&w.t);
    write_stages(&w);
    if (w.failed) return false;
    write_kernels(&w);
    image_facts(&w.t);
    /* x86-64-v4 has the wide vectors; the runtime refuses a lesser machine. */
    if (!w.gpu) image_fact(&w.t, "cpu_level", machine_lanes(o) > 8 ? 4 : 3);
    *image = image_bytes(&w.t, size);
    return true;
}
