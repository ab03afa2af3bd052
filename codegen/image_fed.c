/*
 * image_fed.c: exchanges that the product in front of them feeds, and what
 * begins with rows that need not be gathered.
 *
 * Where devices exchange parts of what a product gives, as for a sum
 * (passes/chunk/), one may make the rows of others first and take them there
 * while it makes its own.  The product is cut for that, which costs a little,
 * so it is done where the stream of the product has nothing to do until that is
 * over.
 *
 * Where what reads a gather's result is one command for each device, of that
 * device's rows, a device may begin with its own.
 */
#include "image.h"

#include <string.h>

/* Members of a group. */
static int64_t members_of(const ImageTables *t, uint32_t group)
{
    TitanRange levels = t->groups.at[group].levels;
    int64_t n = 1;
    for (uint32_t i = 0; i < levels.n; i++)
        n *= t->mesh.at[t->levels.at[levels.first + i].mesh].size;
    return n;
}

static bool same_operand(const ImageTables *t, const TitanOperand *x,
                         const TitanOperand *y)
{
    return x->kind == y->kind && x->base == y->base && x->offset == y->offset &&
           x->turns.n == y->turns.n &&
           (x->turns.n == 0 ||
            !memcmp(&t->turns.at[x->turns.first], &t->turns.at[y->turns.first],
                    x->turns.n * sizeof *t->turns.at));
}

/* Rows of the product are those of members, one member after the other. */
static bool rows_are_parts(const ImageTables *t, const TitanGemm *g,
                           const TitanCollective *x)
{
    int64_t n = members_of(t, x->group), batches = 1;
    for (uint32_t i = 0; i < g->nbatch; i++)
        batches *= g->batch[i];
    return batches == 1 && g->d_col == 1 && g->d_row == g->n &&
           g->m % (n * x->steps) == 0 && g->m * g->n == n * x->count &&
           g->dtype_d == x->dtype && g->accumulate != TITAN_GEMM_scaled &&
           !g->scale_a;
}

static int64_t stream_of(const ImageTables *t, const Inst *in)
{
    return attr_int(t->m, in->attr, AT_stream, 0);
}

static bool waits_for(const ImageTables *t, const Inst *in, int64_t signal)
{
    const AttrItem *wait = attr_get(t->m, in->attr, AT_wait);
    for (uint32_t k = 0; wait && k < wait->n; k++)
        if (wait->ints[k] == signal) return true;
    return false;
}

/* What stream 0 does next waits for it. */
static bool is_exposed(const ImageTables *t, const Fn *fn, const Inst *launch)
{
    int64_t signal = attr_int(t->m, launch->attr, AT_signal, -1);
    if (stream_of(t, launch) == 0) return true;
    for (const Inst *in = launch + 1; in < fn->insts + fn->ninsts; in++)
        if (is_step(in) && stream_of(t, in) == 0)
            return signal >= 0 && waits_for(t, in, signal);
    return false;
}

/* Of stream 0, and its last kernel. */
static const TitanCommand *last_product(const ImageTables *t, uint32_t first)
{
    for (uint32_t i = t->commands.n - 1; i-- > first;) {
        const TitanCommand *cmd = &t->commands.at[i];
        if (cmd->stream != 0 || cmd->kind == TITAN_COMMAND_signal) continue;
        return cmd->kind == TITAN_COMMAND_gemm ? cmd : NULL;
    }
    return NULL;
}

/* Steps of the function that use a buffer. */
static uint32_t uses_of(const ImageTables *t, const Fn *fn, Value root)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        bool uses = false;
        for (uint32_t k = 0; k < in->nargs && is_step(in); k++) {
            Value arg = inst_arg(fn, in, k);
            Op op = (Op)inst_of(fn, arg)->op;
            if (op == OP_counter || op == OP_coord) continue;
            Spot s = spot_of(t->m, fn, arg, t->m->scratch);
            uses |= value_eq(s.root, root);
        }
        n += uses;
    }
    return n;
}

/* An exchange of what nobody else reads to a buffer that is there while its
 * product is made (live.h). */
static bool is_apart(const ImageTables *t, const Fn *fn, const Inst *launch,
                     const TitanCollective *x)
{
    Value from = inst_arg(fn, launch, 0), to = inst_arg(fn, launch, 1);
    if (x->kind != TITAN_COLLECTIVE_all_to_all) return false;
    from = spot_of(t->m, fn, from, t->m->scratch).root;
    to = spot_of(t->m, fn, to, t->m->scratch).root;
    return inst_of(fn, to)->op == OP_buffer &&
           inst_of(fn, from)->op == OP_buffer && !value_eq(from, to) &&
           uses_of(t, fn, from) == 2;
}

uint32_t image_fed(ImageTables *t, const Fn *fn, const Inst *launch,
                   uint32_t first)
{
    const TitanCommand *sum = &vec_last(&t->commands);
    const TitanCollective *x = &t->collectives.at[sum->index];
    const TitanOperand *from = &t->operands.at[sum->operands.first + 1];
    const TitanCommand *gemm = last_product(t, first);
    if (!is_apart(t, fn, launch, x) || !gemm ||
        !same_operand(t, &t->operands.at[gemm->operands.first + 2], from) ||
        !rows_are_parts(t, &t->gemms.at[gemm->index], x))
        return 0;
    if (!is_exposed(t, fn, launch)) return 0;
    return (uint32_t)(gemm - t->commands.at) + 1;
}

/* -------------------------------------------------------- own rows first -- */

typedef struct Group {
    const ImageTables *t;
    const TitanCommand *gather, *parts; /* N of these */
    uint32_t n;
    uint64_t piece; /* bytes */
} Group;

static const TitanOperand *operand_of(const Group *g, const TitanCommand *cmd,
                                      uint32_t k)
{
    return &g->t->operands.at[cmd->operands.first + k];
}

static bool writes(const Group *g, const TitanCommand *cmd, uint32_t k)
{
    for (uint32_t i = 0; i < cmd->results.n; i++)
        if (g->t->results.at[cmd->results.first + i].operand == k) return true;
    return false;
}

/* Of the loops that are open, so many from inside; 1: there is none. */
static int64_t turns_of(const ImageTables *t, uint32_t depth)
{
    uint32_t skip = depth, ended = 0;
    for (uint32_t i = t->runs.n; i-- > 0;) {
        const TitanRun *r = &t->runs.at[i];
        ended += r->kind == TITAN_RUN_end;
        if (r->kind != TITAN_RUN_loop || ended-- > 0) continue;
        ended = 0;
        if (skip-- == 0) return r->count;
    }
    return 1;
}

/* All that it names in some turn. */
static void extent_of(const ImageTables *t, const TitanOperand *o,
                      int64_t out[2])
{
    out[0] = (int64_t)o->offset;
    out[1] = (int64_t)(o->offset + o->bytes);
    for (uint32_t i = 0; i < o->turns.n; i++) {
        const TitanTurn *turn = &t->turns.at[o->turns.first + i];
        int64_t n = turn->ring ? turn->ring : turns_of(t, turn->depth);
        out[turn->bytes > 0] += (n - 1) * turn->bytes;
    }
}

/* They share no byte in any one turn. */
static bool are_apart(const ImageTables *t, const TitanOperand *x,
                      const TitanOperand *y)
{
    int64_t a[2], b[2];
    if (x->kind != TITAN_OPERAND_memory || y->kind != TITAN_OPERAND_memory ||
        x->base != y->base)
        return true;
    extent_of(t, x, a);
    extent_of(t, y, b);
    if (a[1] <= b[0] || b[1] <= a[0]) return true;
    bool alike = x->turns.n == y->turns.n &&
                 (x->turns.n == 0 || !memcmp(&t->turns.at[x->turns.first],
                                             &t->turns.at[y->turns.first],
                                             x->turns.n * sizeof *t->turns.at));
    return alike && (x->offset + x->bytes <= y->offset ||
                     y->offset + y->bytes <= x->offset);
}

/* What part I reads of all that is gathered is member I's. */
static bool reads_own(const Group *g, uint32_t i)
{
    const TitanCommand *cmd = &g->parts[i];
    const TitanOperand *all = operand_of(g, g->gather, 0);
    bool any = false;
    for (uint32_t k = 0; k < cmd->operands.n; k++) {
        const TitanOperand *o = operand_of(g, cmd, k);
        TitanOperand own = *all;
        own.offset += i * g->piece;
        if (are_apart(g->t, o, all)) continue;
        if (!same_operand(g->t, o, &own) || o->bytes > g->piece ||
            writes(g, cmd, k))
            return false;
        any = true;
    }
    return any;
}

/* What part I writes has nothing to do with the gather, or with other parts. */
static bool writes_apart(const Group *g, uint32_t i)
{
    const TitanCommand *cmd = &g->parts[i];
    for (uint32_t k = 0; k < cmd->operands.n; k++) {
        const TitanOperand *o = operand_of(g, cmd, k);
        if (!writes(g, cmd, k)) continue;
        for (uint32_t w = 0; w < 2; w++)
            if (!are_apart(g->t, o, operand_of(g, g->gather, w))) return false;
        for (uint32_t j = 0; j < g->n; j++)
            for (uint32_t w = 0; j != i && w < g->parts[j].operands.n; w++)
                if (!are_apart(g->t, o, operand_of(g, &g->parts[j], w)))
                    return false;
    }
    return cmd->results.n > 0;
}

/* Collectives of a group with nothing between them are made together
 * (collectives_join). */
static bool may_join(const Group *g, const TitanCommand *cmd)
{
    const TitanCollective *rows = g->t->collectives.at;
    return cmd->kind == TITAN_COMMAND_collective &&
           cmd->stream == g->gather->stream &&
           rows[cmd->index].group == rows[g->gather->index].group;
}

/* What a collective writes no part has to do with, and what it reads no part
 * writes. */
static bool moves_apart(const Group *g, const TitanCommand *cmd)
{
    for (uint32_t i = 0; i < g->n; i++)
        for (uint32_t k = 0; k < g->parts[i].operands.n; k++)
            for (uint32_t w = 0; w < cmd->operands.n; w++)
                if ((w == 0 || writes(g, &g->parts[i], k)) &&
                    !are_apart(g->t, operand_of(g, &g->parts[i], k),
                               operand_of(g, cmd, w)))
                    return false;
    return true;
}

/* A member does its own part when its own piece is there, which says nothing of
 * what else is moved together with the gather. */
static bool is_moved_apart(const Group *g)
{
    const TitanCommand *first = g->t->commands.at, *cmd = g->gather;
    bool apart = true;
    while (cmd > first && apart) {
        cmd--;
        if (cmd->kind == TITAN_COMMAND_signal) continue;
        if (!may_join(g, cmd)) break;
        apart = moves_apart(g, cmd);
    }
    for (cmd = g->gather + 1; cmd < g->parts && apart; cmd++) {
        if (cmd->kind == TITAN_COMMAND_signal) continue;
        if (!may_join(g, cmd)) break;
        apart = moves_apart(g, cmd);
    }
    return apart;
}

static bool is_group(const Group *g)
{
    const TitanCommand *first = g->parts;
    if (first->kind != TITAN_COMMAND_kernel &&
        first->kind != TITAN_COMMAND_gemm)
        return false;
    for (uint32_t i = 0; i < g->n; i++) {
        const TitanCommand *cmd = &g->parts[i];
        if (cmd->kind != first->kind || cmd->index != first->index ||
            cmd->stream != first->stream || cmd->items != first->items ||
            cmd->operands.n != first->operands.n || !reads_own(g, i) ||
            !writes_apart(g, i))
            return false;
    }
    return is_moved_apart(g);
}

/* The event that says that a collective is over. */
static int64_t event_of(const ImageTables *t, uint32_t collective)
{
    for (uint32_t i = collective + 1; i < t->commands.n; i++) {
        const TitanCommand *cmd = &t->commands.at[i];
        if (cmd->kind == TITAN_COMMAND_signal &&
            cmd->stream == t->commands.at[collective].stream)
            return cmd->index;
    }
    return -1;
}

/* Behind a wait for it, and further ones, of the same stream. */
static void mark_parts(ImageTables *t, uint32_t gather, uint32_t wait)
{
    const TitanCommand *cmd = &t->commands.at[gather];
    const TitanCollective *x = &t->collectives.at[cmd->index];
    uint32_t stream = t->commands.at[wait].stream, i = wait;
    int64_t n = members_of(t, x->group);
    while (i < t->commands.n && t->commands.at[i].kind == TITAN_COMMAND_wait &&
           t->commands.at[i].stream == stream)
        i++;
    if (n < 2 || i + n > t->commands.n || stream == cmd->stream) return;
    Group g = {.t = t,
               .gather = cmd,
               .parts = &t->commands.at[i],
               .n = (uint32_t)n,
               .piece = (uint64_t)x->count * dtype_bytes((DType)x->dtype)};
    if (g.parts->stream != stream || !is_group(&g)) return;
    for (uint32_t k = 0; k < g.n; k++)
        t->commands.at[i + k].fed = gather + 1;
}

static void mark_behind(ImageTables *t, uint32_t gather)
{
    int64_t event = event_of(t, gather);
    for (uint32_t i = gather + 1; i < t->commands.n; i++)
        if (t->commands.at[i].kind == TITAN_COMMAND_wait &&
            t->commands.at[i].index == event)
            mark_parts(t, gather, i);
}

void image_own(ImageTables *t, uint32_t first)
{
    for (uint32_t i = first; i < t->commands.n && t->streams > 1; i++) {
        const TitanCommand *cmd = &t->commands.at[i];
        if (cmd->kind == TITAN_COMMAND_collective &&
            t->collectives.at[cmd->index].kind == TITAN_COLLECTIVE_all_gather)
            mark_behind(t, i);
    }
}
