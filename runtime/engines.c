/*
 * engines.c: what copy engines make of an image's collectives.
 */
#include "engines.h"

#include <string.h>

#include "cuda_device.h"
#include "cuda_sums.h"
#include "ranks.h"

/* Bytes of a sum that come at once, the member's own among them: as many parts
 * whatever the number of members. */
#define MOST_SUM (UINT64_C(512) << 20)

enum { PARTNERS = 3 }; /* nodes of one that others are met by, for each */

static bool is_sum(const TitanCollective *x)
{
    return x->kind == TITAN_COLLECTIVE_reduce_scatter &&
           x->reduce == TITAN_REDUCE_sum &&
           cuda_sums_kind(x->dtype) != SUM_none;
}

/* Others read what lies in the arena, and nothing else of this rank. */
static bool lies_in_arena(const TitanImage *im, const TitanCommand *cmd)
{
    bool in = true;
    for (uint32_t i = 0; i < cmd->operands.n; i++)
        in &= im->operands[cmd->operands.first + i].base != TITAN_BASE_host;
    return in;
}

/* Whether two operands may be one place: not where they are as far apart in
 * each turn. */
static bool may_meet(const TitanImage *im, const TitanOperand *x,
                     const TitanOperand *y)
{
    if (x->base != y->base) return false;
    bool alike = x->turns.n == y->turns.n &&
                 (x->turns.n == 0 || !memcmp(&im->turns[x->turns.first],
                                             &im->turns[y->turns.first],
                                             x->turns.n * sizeof *im->turns));
    return !alike || x->offset == y->offset;
}

bool engines_in_place(const TitanImage *im, const TitanCommand *cmd)
{
    const TitanOperand *at = &im->operands[cmd->operands.first];
    return cmd->operands.n > 1 && may_meet(im, &at[0], &at[1]);
}

bool engines_take(const TitanImage *im, const TitanCommand *cmd)
{
    const TitanCollective *x = &im->collectives[cmd->index];
    if (!lies_in_arena(im, cmd)) return false;
    switch ((TitanCollectiveKind)x->kind) {
    case TITAN_COLLECTIVE_all_gather:
        return true;
    case TITAN_COLLECTIVE_reduce_scatter:
        return is_sum(x);
    case TITAN_COLLECTIVE_all_to_all:
    case TITAN_COLLECTIVE_permute:
        return !engines_in_place(im, cmd);
    case TITAN_COLLECTIVE_all_reduce:
    case TITAN_COLLECTIVE_send:
    case TITAN_COLLECTIVE_receive:
    case TITAN_COLLECTIVE_COUNT:
        break;
    }
    return false;
}

/* Ranks of several stages have arenas of their own kind each. */
static bool is_of_stages(const TitanImage *im, uint32_t group)
{
    TitanRange levels = im->groups[group].levels;
    for (uint32_t i = 0; i < levels.n && im->nstages > 1; i++) {
        uint32_t mesh = im->levels[levels.first + i].mesh;
        if (mesh == im->header->stage_mesh && im->mesh[mesh].size > 1)
            return true;
    }
    return false;
}

bool engines_use(const TitanImage *im, uint32_t group)
{
    if (is_of_stages(im, group)) return false;
    for (uint32_t i = 0; i < im->ncommands; i++) {
        const TitanCommand *cmd = &im->commands[i];
        if (cmd->kind == TITAN_COMMAND_collective &&
            im->collectives[cmd->index].group == group && engines_take(im, cmd))
            return true;
    }
    return false;
}

uint64_t engines_pitch(uint64_t bytes)
{
    return (bytes + ENGINES_ALIGNED - 1) / ENGINES_ALIGNED * ENGINES_ALIGNED;
}

/* Of a piece, in bytes, what comes at once. */
static uint64_t part_bytes(const TitanImage *im, const TitanCollective *x)
{
    uint64_t pitch = engines_pitch(collective_piece_bytes(x));
    uint64_t most = MOST_SUM / ranks_in_group(im, x->group) / ENGINES_ALIGNED *
                    ENGINES_ALIGNED;
    return pitch < most ? pitch : most;
}

uint64_t engines_room(const TitanImage *im, uint32_t stream)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < im->ncommands; i++) {
        const TitanCommand *cmd = &im->commands[i];
        if (cmd->kind != TITAN_COMMAND_collective || cmd->stream != stream)
            continue;
        const TitanCollective *x = &im->collectives[cmd->index];
        if (!is_sum(x)) continue;
        uint64_t bytes = part_bytes(im, x) * (ranks_in_group(im, x->group) - 1);
        if (bytes > most) most = bytes;
    }
    return most;
}

bool engines_fed(const TitanImage *im, const TitanCommand *cmd)
{
    const TitanCollective *x = &im->collectives[cmd->index];
    return cmd->kind == TITAN_COMMAND_collective && cmd->fed &&
           x->kind == TITAN_COLLECTIVE_all_to_all && engines_take(im, cmd);
}

uint64_t engines_nodes(const TitanImage *im, const TitanCommand *cmd)
{
    const TitanCollective *x = &im->collectives[cmd->index];
    uint64_t n = ranks_in_group(im, x->group), part = part_bytes(im, x);
    uint64_t parts =
        is_sum(x) && part ? (collective_piece_bytes(x) + part - 1) / part : 1;
    uint64_t steps = engines_fed(im, cmd) ? x->steps : 1;
    return 1 + parts * (3 * PARTNERS * (n - 1) + n) + 2 * (steps - 1) * (n - 1);
}
