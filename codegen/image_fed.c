/*
 * image_fed.c: sums over devices that the product in front of them feeds.
 *
 * Where what a product gives is summed to parts, and nothing else reads it,
 * each device may write the rows of others into their memory while it makes the
 * next ones, so that there is nothing left to bring when all are made.  The
 * product is cut for that, which costs a little, so it is done where the stream
 * of the product has nothing to do until the sum is there.
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
    return batches == 1 && g->d_col == 1 && g->d_row == g->n && g->m % n == 0 &&
           g->m * g->n == n * x->count && g->dtype_d == x->dtype &&
           g->accumulate != TITAN_GEMM_scaled && !g->scale_a;
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

uint32_t image_fed(ImageTables *t, const Fn *fn, const Inst *launch,
                   uint32_t first)
{
    const TitanCommand *sum = &vec_last(&t->commands);
    const TitanCollective *x = &t->collectives.at[sum->index];
    const TitanOperand *from = &t->operands.at[sum->operands.first + 1];
    const TitanCommand *gemm = last_product(t, first);
    if (x->kind != TITAN_COLLECTIVE_reduce_scatter ||
        x->reduce != TITAN_REDUCE_sum || !gemm ||
        !same_operand(t, &t->operands.at[gemm->operands.first + 2], from) ||
        !rows_are_parts(t, &t->gemms.at[gemm->index], x))
        return 0;
    Value root = spot_of(t->m, fn, inst_arg(fn, launch, 0), t->m->scratch).root;
    if (inst_of(fn, root)->op != OP_buffer || uses_of(t, fn, root) != 2 ||
        !is_exposed(t, fn, launch))
        return 0;
    return (uint32_t)(gemm - t->commands.at) + 1;
}
