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
#define KEPT(c, l, l8, ...)        c, {l, l8}, __VA_ARGS__
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

/* Operations a second at best. */
static double machine_flops(const Machine *m, unsigned width)
{
    return width == 1 ? m->f8 : width == 2 ? m->f16 : m->f32;
}

double work_roofline(const Machine *m, Work w)
{
    double memory = w.bytes / m->memory;
    double sums = w.flops / machine_flops(m, w.width);
    return memory > sums ? memory : sums;
}

/* Of the machine's peak. */
static double sums_kept(const Machine *m, Work w)
{
    double part =
        w.processors ? (double)w.processors / (double)m->processors : 1;
    switch (w.limit) {
    case TITAN_CLASS_library:
        return part * (w.odd ? m->odd : m->library[w.width == 1]);
    case TITAN_CLASS_product:
        return part * m->products;
    case TITAN_CLASS_sweep:
        return part * m->sweeps;
    case TITAN_CLASS_both:
        return part * m->both;
    case TITAN_CLASS_loop:
    case TITAN_CLASS_move:
    case TITAN_CLASS_talk:
    case TITAN_CLASS_COUNT:
        break;
    }
    return m->loops;
}

double work_memory(const Machine *m, Work w)
{
    return w.bytes / (m->memory * m->copies);
}

double work_sums(const Machine *m, Work w)
{
    return w.flops / (machine_flops(m, w.width) * sums_kept(m, w)) +
           w.scalars / m->f32;
}

/* How many a processor begins and ends. */
static double blocks_of(const Machine *m, Work w)
{
    double each = w.tiles / (double)m->processors;
    switch (w.limit) {
    case TITAN_CLASS_library:
    case TITAN_CLASS_product:
    case TITAN_CLASS_sweep:
    case TITAN_CLASS_both:
        return each > 1 ? each : 1;
    case TITAN_CLASS_loop:
    case TITAN_CLASS_move:
    case TITAN_CLASS_talk:
    case TITAN_CLASS_COUNT:
        break;
    }
    return 0;
}

double work_seconds(const Machine *m, const TitanImage *im,
                    const TitanCommand *cmd)
{
    if (cmd->kind == TITAN_COMMAND_collective || !command_works(cmd)) return 0;
    double offloaded = work_offloaded(im, cmd);
    if (offloaded > 0) return m->command + offloaded / (m->bus * m->buses);
    Work w = work_of(im, cmd);
    double memory = work_memory(m, w), sums = work_sums(m, w);
    return m->command + blocks_of(m, w) * m->block +
           (memory > sums ? memory : sums);
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

/* Attention has a block for each tile; one of other products makes tile after
 * tile. */
static double tiles_of(TitanClass limit, const TitanCommand *cmd)
{
    bool attention = limit == TITAN_CLASS_sweep || limit == TITAN_CLASS_both;
    return attention ? (double)cmd->items : 0;
}

static Work kernel_work(const TitanKernel *k, const TitanCommand *cmd)
{
    return (Work){.flops = (double)k->flops,
                  .bytes = (double)k->bytes,
                  .scalars = (double)k->scalars,
                  .tiles = tiles_of((TitanClass)k->limit, cmd),
                  .width = k->width,
                  .limit = (TitanClass)k->limit,
                  .processors = cmd->processors};
}

static uint32_t sides_scaled(const TitanGemm *g)
{
    return (g->scale_a == TITAN_SCALE_row128) +
           (g->scale_b == TITAN_SCALE_row128);
}

/* Of so many lines, each so far from the last, in elements. */
static bool lines_are_odd(int64_t lines, int64_t stride, uint32_t dtype)
{
    enum { UNIT = 16 }; /* bytes that are fetched at a time */
    return lines > 1 && stride * titan_dtype_bytes(dtype) % UNIT != 0;
}

/* Of a matrix of ROWS and COLS. */
static bool matrix_is_odd(int64_t rows, int64_t cols, int64_t row, int64_t col,
                          uint32_t dtype)
{
    return col == 1 ? lines_are_odd(rows, row, dtype)
                    : lines_are_odd(cols, col, dtype);
}

/* Lines along the sum and of the result end in a part of such a unit, too. */
static bool lines_are_cut(const TitanGemm *g)
{
    enum { UNIT = 16 };
    uint64_t k = g->a_col == 1 || g->b_row == 1 ? (uint64_t)g->k : 0;
    uint64_t n = (uint64_t)g->n;
    return (k > 1 && k * titan_dtype_bytes(g->dtype_a) % UNIT != 0) ||
           (g->d_col == 1 && n > 1 &&
            n * titan_dtype_bytes(g->dtype_d) % UNIT != 0);
}

static bool gemm_is_odd(const TitanGemm *g)
{
    return lines_are_cut(g) ||
           matrix_is_odd(g->m, g->k, g->a_row, g->a_col, g->dtype_a) ||
           matrix_is_odd(g->k, g->n, g->b_row, g->b_col, g->dtype_b) ||
           matrix_is_odd(g->m, g->n, g->d_row, g->d_col, g->dtype_d);
}

static Work gemm_work(const TitanGemm *g, const TitanCommand *cmd)
{
    double n = batches_of(g), mn = (double)g->m * (double)g->n;
    bool adds = g->accumulate && g->accumulate != TITAN_GEMM_scaled;
    double bytes = (double)g->m * (double)g->k * titan_dtype_bytes(g->dtype_a) +
                   (double)g->n * (double)g->k * titan_dtype_bytes(g->dtype_b) +
                   mn * titan_dtype_bytes(g->dtype_d) * (adds ? 2 : 1);
    double stages = n * mn * (double)g->k / TITAN_SCALE_BLOCK;
    bool by_stages = titan_dtype_bytes(g->dtype_a) == 1 && !g->fast;
    return (Work){.flops = 2 * n * mn * (double)g->k,
                  .bytes = n * bytes,
                  .scalars = by_stages
                                 ? stages * titan_stage_scalars(sides_scaled(g))
                                 : 0,
                  .width = titan_dtype_bytes(g->dtype_a),
                  .limit = TITAN_CLASS_library,
                  .odd = gemm_is_odd(g),
                  .processors = cmd->processors};
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
        return kernel_work(&im->kernels[cmd->index], cmd);
    case TITAN_COMMAND_gemm:
        return gemm_work(&im->gemms[cmd->index], cmd);
    case TITAN_COMMAND_copy:
        return (Work){.bytes = 2 * bytes, .limit = TITAN_CLASS_move};
    case TITAN_COMMAND_zero:
        return (Work){.bytes = bytes, .limit = TITAN_CLASS_move};
    case TITAN_COMMAND_collective:
        return (Work){.bytes =
                          collective_bytes(im, &im->collectives[cmd->index]),
                      .limit = TITAN_CLASS_talk};
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

const char *class_words(TitanClass limit)
{
    static const char *const words[] = {
#define CLASS(name, words) words,
#include "classes.def"
#undef CLASS
    };
    return words[limit];
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
