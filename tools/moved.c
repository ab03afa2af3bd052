/*
 * moved.c: what a rank moves in a step over each mesh axis, by the lists alone:
 * of any target, whether there are figures for its machine or not.
 *
 * All ranks of a stage run the same list.  A group of devices that are together
 * over several mesh axes is a row of its own, of all of them.
 */
#include <string.h>

#include "../runtime/ranks.h"
#include "predict.h"

/* Adds one run of each command between two rows, TIMES over. */
static void count_runs(const TitanImage *im, uint32_t from, uint32_t to,
                       uint64_t times, uint64_t *counts)
{
    for (uint32_t i = from; i < to; i++) {
        const TitanRun *r = &im->runs[i];
        if (r->kind == TITAN_RUN_loop) {
            count_runs(im, i + 1, r->program, times * (uint64_t)r->count,
                       counts);
            i = r->program;
        } else if (r->kind == TITAN_RUN_program) {
            TitanRange c = im->programs[r->program].commands;
            for (uint32_t k = 0; k < c.n; k++)
                counts[c.first + k] += times;
        }
    }
}

static MovedOver *row_of(Arena *a, const TitanImage *im, StageMoves *out,
                         uint32_t group)
{
    const char *over = titan_string(im, im->groups[group].name);
    for (uint32_t i = 0; i < out->over.n; i++)
        if (strcmp(out->over.at[i].over, over) == 0) return &out->over.at[i];
    vec_push(a, &out->over, ((MovedOver){.over = over}));
    return &out->over.at[out->over.n - 1];
}

StageMoves stage_moves(Arena *a, const TitanImage *im, const char *entry,
                       uint32_t stage)
{
    StageMoves out = {.stage = stage};
    const TitanEntry *first = titan_entry(im, entry);
    if (!first) return out;
    const TitanEntry *e = stage_entry(im, stage, first);
    uint64_t *counts = NEW_ARRAY(a, uint64_t, (size_t)im->ncommands + 1);
    count_runs(im, e->runs.first, e->runs.first + e->runs.n, 1, counts);
    for (uint32_t i = 0; i < im->ncommands; i++) {
        const TitanCommand *cmd = &im->commands[i];
        if (!counts[i] || cmd->kind != TITAN_COMMAND_collective) continue;
        MovedOver *row = row_of(a, im, &out, im->collectives[cmd->index].group);
        double bytes = (double)counts[i] * work_moved(im, cmd);
        row->times += counts[i];
        row->bytes += bytes;
        out.bytes += bytes;
    }
    return out;
}

StageMoves most_moves(Arena *a, const TitanImage *im, const char *entry)
{
    StageMoves most = stage_moves(a, im, entry, 0);
    for (uint32_t s = 1; s < im->nstages; s++) {
        StageMoves x = stage_moves(a, im, entry, s);
        if (x.bytes > most.bytes) most = x;
    }
    return most;
}
