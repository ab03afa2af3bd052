/*
 * work.c: counts of a command, peaks of machines (machines.def).
 */
#include "work.h"

#include "ranks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const Machine machines[] = {
#define PEAK(...)                  __VA_ARGS__
#define KEPT(...)                  __VA_ARGS__
#define BESIDE(...)                __VA_ARGS__
#define START(...)                 __VA_ARGS__
#define MACHINE(name, target, ...) {name, TITAN_TARGET_##target, __VA_ARGS__},
#include "machines.def"
#undef MACHINE
#undef START
#undef BESIDE
#undef KEPT
#undef PEAK
};
enum { MACHINES = sizeof machines / sizeof *machines };

const Machine *machine_named(const char *name)
{
    for (unsigned i = 0; i < MACHINES; i++)
        if (!strncmp(name, machines[i].name, strlen(machines[i].name)))
            return &machines[i];
    return NULL;
}

const Machine *machine_of_target(TitanTarget target)
{
    for (unsigned i = 0; i < MACHINES; i++)
        if (machines[i].target == target) return &machines[i];
    return NULL;
}

double machine_flops(const Machine *m, unsigned width)
{
    return width == 1 ? m->f8 : width == 2 ? m->f16 : m->f32;
}

double work_roofline(const Machine *m, Work w)
{
    double memory = w.bytes / m->memory;
    double sums = w.flops / machine_flops(m, w.width);
    return memory > sums ? memory : sums;
}

bool command_works(const TitanCommand *cmd)
{
    return cmd->kind != TITAN_COMMAND_signal && cmd->kind != TITAN_COMMAND_wait;
}

/* ---------------------------------------------------------------- counts -- */

static double batches_of(const TitanGemm *g)
{
    double n = 1;
    for (uint32_t i = 0; i < g->nbatch; i++)
        n *= (double)g->batch[i];
    return n;
}

static Work gemm_work(const TitanGemm *g)
{
    double n = batches_of(g), mn = (double)g->m * (double)g->n;
    bool adds = g->accumulate && g->accumulate != TITAN_GEMM_scaled;
    double bytes = (double)g->m * (double)g->k * titan_dtype_bytes(g->dtype_a) +
                   (double)g->n * (double)g->k * titan_dtype_bytes(g->dtype_b) +
                   mn * titan_dtype_bytes(g->dtype_d) * (adds ? 2 : 1);
    return (Work){2 * n * mn * (double)g->k, n * bytes,
                  titan_dtype_bytes(g->dtype_a)};
}

static double piece_bytes(const TitanCollective *x)
{
    return (double)collective_piece_bytes(x);
}

/* Both operands pass through the rank's memory. */
static double collective_bytes(const TitanImage *im, const TitanCollective *x)
{
    uint64_t pieces[2];
    collective_pieces(im, x, pieces);
    return piece_bytes(x) * (double)(pieces[0] + pieces[1]);
}

double work_offloaded(const TitanImage *im, const TitanCommand *cmd)
{
    const TitanOperand *o = &im->operands[cmd->operands.first];
    bool leaves =
        cmd->kind == TITAN_COMMAND_copy &&
        (o[0].base == TITAN_BASE_host) != (o[1].base == TITAN_BASE_host);
    return leaves ? (double)cmd->items : 0;
}

double work_moved(const TitanImage *im, const TitanCommand *cmd)
{
    if (cmd->kind != TITAN_COMMAND_collective) return 0;
    const TitanCollective *x = &im->collectives[cmd->index];
    double n = ranks_in_group(im, x->group), piece = piece_bytes(x);
    switch ((TitanCollectiveKind)x->kind) {
    case TITAN_COLLECTIVE_all_gather:
    case TITAN_COLLECTIVE_reduce_scatter:
    case TITAN_COLLECTIVE_all_to_all:
        return piece * (n - 1);
    case TITAN_COLLECTIVE_all_reduce:
        return 2 * piece * (n - 1) / n;
    case TITAN_COLLECTIVE_permute:
    case TITAN_COLLECTIVE_send:
    case TITAN_COLLECTIVE_receive:
    case TITAN_COLLECTIVE_COUNT:
        break;
    }
    return piece;
}

Work work_of(const TitanImage *im, const TitanCommand *cmd)
{
    double bytes = (double)cmd->items;
    switch ((TitanCommandKind)cmd->kind) {
    case TITAN_COMMAND_kernel:
        return (Work){(double)im->kernels[cmd->index].flops,
                      (double)im->kernels[cmd->index].bytes,
                      im->kernels[cmd->index].width};
    case TITAN_COMMAND_gemm:
        return gemm_work(&im->gemms[cmd->index]);
    case TITAN_COMMAND_copy:
        return (Work){0, 2 * bytes, 2};
    case TITAN_COMMAND_zero:
        return (Work){0, bytes, 2};
    case TITAN_COMMAND_collective:
        return (Work){0, collective_bytes(im, &im->collectives[cmd->index]), 2};
    case TITAN_COMMAND_signal:
    case TITAN_COMMAND_wait:
        break;
    }
    return (Work){0};
}

/* ----------------------------------------------------------------- names -- */

static char letter(int64_t inner)
{
    return inner == 1 ? 'N' : 'T';
}

static void gemm_name(const TitanGemm *g, char *out, size_t size)
{
    const char *adds = g->accumulate == TITAN_GEMM_scaled  ? " scaled"
                       : g->accumulate == TITAN_GEMM_add_c ? " + C"
                       : g->accumulate                     ? " +="
                                                           : "";
    snprintf(
        out, size, "gemm %s->%s %" PRId64 "x%" PRId64 "x%" PRId64 " %c%c%c%s",
        titan_dtype_name(g->dtype_a), titan_dtype_name(g->dtype_d), g->m, g->n,
        g->k, letter(g->a_col), letter(g->b_col), letter(g->d_col), adds);
    if (batches_of(g) <= 1) return;
    size_t n = strlen(out);
    snprintf(out + n, size - n, " x%.0f", batches_of(g));
}

static void collective_line(const TitanImage *im, const TitanCollective *x,
                            char *out, size_t size)
{
    snprintf(out, size, "%s %s %" PRId64 " over (%s)", collective_name(x->kind),
             titan_dtype_name(x->dtype), x->count,
             titan_string(im, im->groups[x->group].name));
}

const char *command_kind_words(TitanCommandKind kind)
{
    static const char *const words[] = {
        [TITAN_COMMAND_kernel] = "a kernel",
        [TITAN_COMMAND_gemm] = "a matrix product",
        [TITAN_COMMAND_copy] = "a copy",
        [TITAN_COMMAND_zero] = "a zero fill",
        [TITAN_COMMAND_collective] = "a collective",
        [TITAN_COMMAND_signal] = "a signal",
        [TITAN_COMMAND_wait] = "a wait"};
    return words[kind];
}

void command_name(const TitanImage *im, const TitanCommand *cmd, char *out,
                  size_t size)
{
    const char *name = "";
    switch ((TitanCommandKind)cmd->kind) {
    case TITAN_COMMAND_kernel:
        name = titan_string(im, im->kernels[cmd->index].name);
        break;
    case TITAN_COMMAND_gemm:
        gemm_name(&im->gemms[cmd->index], out, size);
        return;
    case TITAN_COMMAND_collective:
        collective_line(im, &im->collectives[cmd->index], out, size);
        return;
    case TITAN_COMMAND_copy:
        name = "copy";
        break;
    case TITAN_COMMAND_zero:
        name = "zero";
        break;
    case TITAN_COMMAND_signal:
        name = "signal";
        break;
    case TITAN_COMMAND_wait:
        name = "wait";
        break;
    }
    snprintf(out, size, "%s", name);
}
