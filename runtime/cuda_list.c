/*
 * cuda_list.c: puts the commands of an entry on the stream.
 *
 * The list is walked as on the host, one turn after the other: a GPU is full
 * with one command, so the turns of a parallel loop are not spread.  Signals
 * and waits are events between streams.  The same walk runs a list at once or
 * is captured into a graph; the host waits for nothing but the condition of a
 * `while` loop.
 */
#include "cuda_device.h"

#include "ranks.h"
#include "work.h"

#include <inttypes.h>

typedef struct Walk {
    Cuda *c;
    const CudaWatch *watch;
    TitanWatch *after; /* or NULL: nobody looks at what commands write */
    TitanMoment at;
    CudaBytes own; /* of what is gathered; it lies at `stays` too */
    CuPtr stays;
} Walk;

static CuPtr operand_at(const Walk *w, const TitanOperand *o)
{
    const TitanImage *im = w->c->im;
    CuPtr at = w->c->base[o->base] + o->offset;
    for (uint32_t i = 0; i < o->turns.n; i++) {
        const TitanTurn *t = &im->turns[o->turns.first + i];
        at += (CuPtr)titan_turn_bytes(
            t, w->at.counter[w->at.depth - 1 - t->depth]);
    }
    if (at - w->own.at < w->own.n) return at - w->own.at + w->stays;
    return at;
}

static uint64_t argument(const Walk *w, const TitanOperand *o)
{
    if (o->kind == TITAN_OPERAND_counter)
        return (uint64_t)w->at.counter[w->at.depth - 1 - o->offset];
    if (o->kind == TITAN_OPERAND_coordinate)
        return w->c->coordinates[o->offset];
    return operand_at(w, o);
}

/* --------------------------------------------------------------- kernels -- */

static int map_dtype(uint32_t dtype)
{
    static const int by_bytes[] = {
        [1] = CU_map_u8, [2] = CU_map_u16, [4] = CU_map_u32, [8] = CU_map_u64};
    static const int floats[] = {CU_map_f64, CU_map_f32, CU_map_bf16,
                                 CU_map_f16};
    if (dtype < sizeof floats / sizeof *floats) return floats[dtype];
    return by_bytes[titan_dtype_bytes(dtype)];
}

static int map_swizzle(uint32_t bytes)
{
    return bytes == 128  ? CU_swizzle_128
           : bytes == 64 ? CU_swizzle_64
           : bytes == 32 ? CU_swizzle_32
                         : CU_swizzle_none;
}

static TitanStatus encode_map(Cuda *c, const TitanMap *m, CuPtr at,
                              CuTensorMap *out)
{
    uint64_t size[TITAN_MAP_DIMS], stride[TITAN_MAP_DIMS];
    uint32_t step[TITAN_MAP_DIMS];
    for (uint32_t i = 0; i < m->rank; i++) {
        size[i] = (uint64_t)m->size[i];
        step[i] = 1;
        if (i > 0) stride[i - 1] = (uint64_t)m->stride[i];
    }
    void *start = (void *)(uintptr_t)(at + (CuPtr)m->offset);
    CU_TRY(c, cuTensorMapEncodeTiled(out, map_dtype(m->dtype), m->rank, start,
                                     size, stride, m->box, step, 0,
                                     map_swizzle(m->swizzle), CU_promotion_256,
                                     0));
    return TITAN_OK;
}

static TitanStatus run_kernel(Walk *w, const TitanCommand *cmd)
{
    Cuda *c = w->c;
    const TitanKernel *k = &c->im->kernels[cmd->index];
    CuFunction fn;
    TRY(cuda_function(c, cmd->index, &fn));
    for (uint32_t i = 0; i < k->args; i++) {
        c->args[i] = argument(w, &c->im->operands[cmd->operands.first + i]);
        c->params[i] = &c->args[i];
    }
    for (uint32_t i = 0; i < k->maps.n; i++) {
        const TitanMap *m = &c->im->maps[k->maps.first + i];
        TRY(encode_map(c, m, c->args[m->arg], &c->maps[i]));
        c->params[k->args + i] = &c->maps[i];
    }
    if (cmd->items == 0) return TITAN_OK;
    if (cmd->items > INT32_MAX)
        return titan_fail(c->story, TITAN_MISMATCH,
                          "a grid has %" PRId64 " blocks, a GPU takes 2^31 - 1",
                          cmd->items);
    CU_TRY(c, cuLaunchKernel(fn, (unsigned)cmd->items, 1, 1, k->threads, 1, 1,
                             k->shared_bytes, c->streams[cmd->stream],
                             c->params, NULL));
    return TITAN_OK;
}

/* -------------------------------------------------------------- commands -- */

static TitanStatus run_zero(Cuda *c, CuPtr at, uint64_t bytes, CuStream on)
{
    if (bytes == 0) return TITAN_OK;
    if (at % 4 == 0 && bytes % 4 == 0)
        CU_TRY(c, cuMemsetD32Async(at, 0, bytes / 4, on));
    else
        CU_TRY(c, cuMemsetD8Async(at, 0, bytes, on));
    return TITAN_OK;
}

static TitanStatus run_copy(Cuda *c, CuPtr to, CuPtr from, uint64_t bytes,
                            CuStream on)
{
    if (bytes == 0 || to == from) return TITAN_OK;
    CU_TRY(c, cuMemcpyAsync(to, from, bytes, on));
    return TITAN_OK;
}

static TitanStatus run_gemm(Walk *w, const TitanCommand *cmd)
{
    const TitanImage *im = w->c->im;
    const TitanOperand *o = &im->operands[cmd->operands.first];
    const TitanGemm *g = &im->gemms[cmd->index];
    bool other = g->accumulate >= TITAN_GEMM_add_c;
    CuPtr at[TITAN_GEMM_PLACES] = {operand_at(w, &o[0]), operand_at(w, &o[1]),
                                   operand_at(w, &o[2]),
                                   operand_at(w, &o[other ? 3 : 2])};
    for (uint32_t i = 0; g->scale_a && i < 2; i++)
        at[4 + i] = operand_at(w, &o[3 + other + i]);
    const TitanCommand *fed = cuda_feeds(w->c, cmd);
    uint32_t parts = cuda_feeds_parts(w->c, cmd);
    if (w->watch && w->watch->choose) {
        uint32_t steps = cuda_feeds_steps(w->c, cmd);
        if (steps > 1)
            TRY(cuda_gemm_ready(w->c, cmd->index, parts * steps, at));
        return cuda_gemm_ready(w->c, cmd->index, parts, at);
    }
    if (!fed) return cuda_gemm(w->c, cmd, 1, at);
    if (!cuda_peers_fed(w->c, fed)) return cuda_feeds_make(w->c, cmd, at);
    const TitanOperand *to = &im->operands[fed->operands.first];
    return cuda_peers_feed(w->c, cmd, at, operand_at(w, to));
}

/* Destination and source, of which a send and a receive have one. */
static TitanStatus run_collective(Walk *w, const TitanCommand *cmd)
{
    const TitanImage *im = w->c->im;
    const TitanOperand *o = &im->operands[cmd->operands.first];
    uint32_t kind = im->collectives[cmd->index].kind;
    if (kind == TITAN_COLLECTIVE_send)
        return cuda_collective(w->c, cmd, 0, operand_at(w, &o[0]));
    CuPtr from = cmd->operands.n == 2 ? operand_at(w, &o[1]) : 0;
    return cuda_collective(w->c, cmd, operand_at(w, &o[0]), from);
}

static TitanStatus issue(Walk *w, const TitanCommand *cmd)
{
    Cuda *c = w->c;
    CuStream on = c->streams[cmd->stream];
    const TitanOperand *o = &c->im->operands[cmd->operands.first];
    uint64_t bytes = (uint64_t)cmd->items;
    switch ((TitanCommandKind)cmd->kind) {
    case TITAN_COMMAND_kernel:
        return run_kernel(w, cmd);
    case TITAN_COMMAND_gemm:
        return run_gemm(w, cmd);
    case TITAN_COMMAND_copy:
        return run_copy(c, operand_at(w, &o[0]), operand_at(w, &o[1]), bytes,
                        on);
    case TITAN_COMMAND_zero:
        return run_zero(c, operand_at(w, &o[0]), bytes, on);
    case TITAN_COMMAND_collective:
        return run_collective(w, cmd);
    case TITAN_COMMAND_signal:
        return cuda_beside_signal(c, cmd->stream, c->events[cmd->index]);
    case TITAN_COMMAND_wait:
        CU_TRY(c, cuStreamWaitEvent(on, c->events[cmd->index], 0));
        return TITAN_OK;
    }
    return TITAN_OK;
}

static const char *words_of(const TitanImage *im, const TitanCommand *cmd)
{
    return cmd->kind == TITAN_COMMAND_kernel
               ? titan_string(im, im->kernels[cmd->index].name)
               : command_kind_words(cmd->kind);
}

/* With --sync a command is over before the next one, but where it is captured
 * for a profile. */
static TitanStatus settle(Cuda *c)
{
    for (uint32_t i = 0; i < c->im->header->streams; i++) {
        TRY(cuda_beside_join(c, i));
        TRY(cuda_wait_stream(c, c->streams[i]));
    }
    return TITAN_OK;
}

static TitanStatus run_command(Walk *w, const TitanCommand *cmd)
{
    const TitanImage *im = w->c->im;
    if (w->watch && w->watch->choose && cmd->kind != TITAN_COMMAND_gemm)
        return TITAN_OK;
    if (w->watch && w->watch->command)
        TRY(w->watch->command(w->watch->user, cmd));
    TitanStatus st = issue(w, cmd);
    if (st == TITAN_OK && w->c->options.sync && !w->watch) st = settle(w->c);
    return titan_while(w->c->story, st, "running %s (%s:%" PRIu32 ")",
                       words_of(im, cmd), titan_string(im, cmd->file),
                       cmd->line);
}

/* What the command has written is there when `after` looks. */
static TitanStatus step_command(Walk *w, const TitanCommand *cmd)
{
    Cuda *c = w->c;
    TRY(run_command(w, cmd));
    if (!w->after) return TITAN_OK;
    TRY(cuda_beside_join(c, cmd->stream));
    TRY(cuda_wait_stream(c, c->streams[cmd->stream]));
    w->at.command = cmd;
    return w->after->after(w->after, &w->at);
}

static bool is_over(const Walk *w)
{
    return w->after && w->after->stop;
}

/* ------------------------------------------------------------------ runs -- */

static TitanStatus run_list(Walk *w, uint32_t from, uint32_t to);

static TitanStatus holds(Walk *w, const TitanRun *loop, bool *out)
{
    Cuda *c = w->c;
    unsigned char value = 0;
    CuPtr at = operand_at(w, &c->im->operands[loop->operand]);
    TRY(cuda_beside_join(c, 0));
    CU_TRY(c, cuMemcpyDtoHAsync(&value, at, 1, c->stream));
    TRY(cuda_wait_stream(c, c->stream));
    *out = value != 0;
    return TITAN_OK;
}

static TitanStatus run_loop(Walk *w, uint32_t at)
{
    const TitanRun *loop = &w->c->im->runs[at];
    bool reverse = loop->flags & TITAN_LOOP_reverse, goes_on = true;
    TitanMoment *m = &w->at;
    for (int64_t i = 0; i < loop->count && !is_over(w); i++) {
        if (loop->flags & TITAN_LOOP_while) TRY(holds(w, loop, &goes_on));
        if (!goes_on) break;
        m->loop[m->depth] = loop;
        m->counter[m->depth++] = reverse ? loop->count - 1 - i : i;
        TRY(run_list(w, at + 1, loop->program));
        m->depth--;
    }
    return TITAN_OK;
}

enum { MOST_JOINED = 32 };

/* What a collective fills, and what it reads. */
static void find_bytes(const Walk *w, const TitanCommand *cmd, CudaBytes out[2])
{
    const TitanImage *im = w->c->im;
    const TitanCollective *x = &im->collectives[cmd->index];
    uint64_t pieces[2], piece = collective_piece_bytes(x);
    collective_pieces(im, x, pieces);
    for (uint32_t i = 0; i < 2; i++)
        out[i] =
            (CudaBytes){operand_at(w, &im->operands[cmd->operands.first + i]),
                        pieces[i] * piece};
}

/* Collectives of one group on one stream that have nothing to do with each
 * other; signals between them are late by as much as the last one takes.
 * The number of commands from FIRST on that this is. */
static uint32_t count_joined(const Walk *w, const TitanCommand *first,
                             uint32_t n)
{
    const TitanImage *im = w->c->im;
    CudaBytes bytes[MOST_JOINED][2];
    uint32_t joined = 1, found = 1;
    if (!collectives_join(im, first, first) || cuda_peers_fed(w->c, first))
        return 1;
    find_bytes(w, first, bytes[0]);
    for (uint32_t k = 1; k < n && found < MOST_JOINED; k++) {
        const TitanCommand *cmd = &first[k];
        if (cmd->kind == TITAN_COMMAND_signal && cmd->stream == first->stream)
            continue;
        if (!collectives_join(im, first, cmd) || cuda_peers_fed(w->c, cmd))
            break;
        CudaBytes *mine = bytes[found];
        find_bytes(w, cmd, mine);
        for (uint32_t i = 0; i < found; i++)
            if (cuda_bytes_meet(mine[0], bytes[i][0]) ||
                cuda_bytes_meet(mine[0], bytes[i][1]) ||
                cuda_bytes_meet(mine[1], bytes[i][0]))
                return joined;
        found++;
        joined = k + 1;
    }
    return joined;
}

/* What a stream does not wait for is waited for where it is needed. */
static TitanStatus await_beside(const Walk *w, const TitanCommand *cmd)
{
    Cuda *c = w->c;
    bool meets =
        cmd->kind == TITAN_COMMAND_signal || cmd->kind == TITAN_COMMAND_wait;
    if (!c->beside || meets) return TITAN_OK;
    if (cmd->kind != TITAN_COMMAND_collective || cmd->operands.n != 2)
        return cuda_beside_join(c, cmd->stream);
    CudaBytes bytes[2];
    find_bytes(w, cmd, bytes);
    for (uint32_t i = 0; i < 2; i++)
        TRY(cuda_beside_await(c, cmd->stream, bytes[i], i == 0));
    return TITAN_OK;
}

/* They are one kernel, which has the time of the last in a profile. */
static TitanStatus run_joined(Walk *w, const TitanCommand *first, uint32_t n)
{
    TRY(cuda_collectives_begin(w->c, first, n));
    TitanStatus st = TITAN_OK;
    for (uint32_t k = 0; k < n && st == TITAN_OK; k++)
        if (first[k].kind == TITAN_COMMAND_collective)
            st = run_command(w, &first[k]);
    TitanStatus end = cuda_collectives_end(w->c, first);
    if (st != TITAN_OK) return st;
    TRY(end);
    for (uint32_t k = 0; k < n; k++)
        if (first[k].kind == TITAN_COMMAND_signal)
            TRY(run_command(w, &first[k]));
    return TITAN_OK;
}

/* Commands, of a program's N from FIRST on, that are waits, one for a gather by
 * engines, and then one command for each of its members; else 0.  WAITS: of
 * these. */
static uint32_t count_parts(const Walk *w, const TitanCommand *first,
                            uint32_t n, uint32_t *waits)
{
    const TitanImage *im = w->c->im;
    uint32_t k = 0;
    while (k < n && first[k].kind == TITAN_COMMAND_wait &&
           first[k].stream == first->stream)
        k++;
    *waits = k;
    if (k == 0 || k == n || !first[k].fed ||
        first[k].kind == TITAN_COMMAND_collective ||
        first[k].stream != first->stream)
        return 0;
    const TitanCommand *gather = &im->commands[first[k].fed - 1];
    uint32_t parts = ranks_in_group(im, im->collectives[gather->index].group);
    return k + parts <= n && cuda_peers_have(w->c, gather) ? k + parts : 0;
}

/* What is behind a gather says so first by this event. */
static uint32_t event_behind(const TitanCommand *gather)
{
    const TitanCommand *cmd = gather + 1;
    while (cmd->kind != TITAN_COMMAND_signal || cmd->stream != gather->stream)
        cmd++;
    return cmd->index;
}

static TitanStatus run_ordinary(Walk *w, const TitanCommand *cmd)
{
    TRY(await_beside(w, cmd));
    return run_command(w, cmd);
}

/* The member's own part needs what lies here already: it does not wait for the
 * others, nor for its piece to be brought to theirs, where that stays. */
static TitanStatus run_own(Walk *w, const TitanCommand *part, CuPtr from,
                           CudaBytes own, bool stays)
{
    w->stays = from;
    if (stays) w->own = own;
    TitanStatus st = run_ordinary(w, part);
    w->own = (CudaBytes){0};
    return st;
}

static TitanStatus run_parts(Walk *w, const TitanCommand *first, uint32_t waits,
                             uint32_t parts)
{
    Cuda *c = w->c;
    const TitanCommand *part = &first[waits];
    const TitanCommand *gather = &c->im->commands[part->fed - 1];
    const TitanCollective *x = &c->im->collectives[gather->index];
    uint32_t late = event_behind(gather);
    uint32_t me = (uint32_t)c->coordinates[x->group];
    CudaBytes bytes[2], own = {.n = collective_piece_bytes(x)};
    bool stays = gather->stays == part->stream + 1, known = stays;
    find_bytes(w, gather, bytes);
    own.at = bytes[0].at + me * own.n;
    if (!stays)
        TRY(cuda_beside_reach(c, gather->stream, own, part->stream, &known));
    for (uint32_t k = 0; k < waits; k++)
        if (!known || first[k].index != late) TRY(run_ordinary(w, &first[k]));
    TRY(run_own(w, &part[me], bytes[1].at, own, stays));
    for (uint32_t k = 0; k < waits; k++)
        if (known && first[k].index == late) TRY(run_ordinary(w, &first[k]));
    for (uint32_t k = 1; k < parts; k++)
        TRY(run_ordinary(w, &part[(me + k) % parts]));
    return TITAN_OK;
}

static TitanStatus run_program(Walk *w, const TitanProgram *p)
{
    const TitanCommand *at = &w->c->im->commands[p->commands.first];
    /* sums in the order of ranks are more than one kernel */
    bool alone =
        w->after || (w->watch && w->watch->choose) || w->c->options.rank_order;
    w->at.program = p;
    for (uint32_t k = 0, n, waits; k < p->commands.n && !is_over(w); k += n) {
        n = alone ? 0 : count_parts(w, &at[k], p->commands.n - k, &waits);
        if (n) {
            TRY(run_parts(w, &at[k], waits, n - waits));
            continue;
        }
        n = alone ? 1 : count_joined(w, &at[k], p->commands.n - k);
        for (uint32_t i = 0; i < n; i++)
            TRY(await_beside(w, &at[k + i]));
        TRY(n == 1 ? step_command(w, &at[k]) : run_joined(w, &at[k], n));
    }
    return TITAN_OK;
}

static TitanStatus run_list(Walk *w, uint32_t from, uint32_t to)
{
    const TitanImage *im = w->c->im;
    for (uint32_t i = from; i < to && !is_over(w); i++) {
        const TitanRun *r = &im->runs[i];
        switch ((TitanRunKind)r->kind) {
        case TITAN_RUN_program:
            TRY(run_program(w, &im->programs[r->program]));
            continue;
        case TITAN_RUN_loop:
            TRY(run_loop(w, i));
            i = r->program;
            continue;
        case TITAN_RUN_segment:
            if (w->watch && w->watch->segment)
                TRY(w->watch->segment(w->watch->user));
            continue;
        case TITAN_RUN_end:
            continue;
        }
    }
    return TITAN_OK;
}

/* The other streams have met stream 0 by then, as signals have it. */
TitanStatus cuda_walk(Cuda *c, const TitanEntry *e, const CudaWatch *watch)
{
    Walk w = {.c = c, .watch = watch};
    c->seen = false;
    uint32_t first = e->runs.first, update = first + e->until;
    cuda_beside_forget(c);
    TRY(run_list(&w, first, update));
    if (watch && watch->update) TRY(watch->update(watch->user));
    TRY(run_list(&w, update, first + e->runs.n));
    return cuda_beside_join(c, 0);
}

TitanStatus cuda_watch(TitanDevice *d, const TitanEntry *e, uint32_t runs,
                       TitanWatch *watch)
{
    Walk w = {.c = (Cuda *)d, .after = watch};
    w.c->seen = true;
    cuda_beside_forget(w.c);
    TRY(cuda_hold(w.c));
    return run_list(&w, e->runs.first, e->runs.first + runs);
}

bool cuda_has_while(const TitanImage *im, const TitanEntry *e)
{
    for (uint32_t i = 0; i < e->runs.n; i++) {
        const TitanRun *r = &im->runs[e->runs.first + i];
        if (r->kind == TITAN_RUN_loop && r->flags & TITAN_LOOP_while)
            return true;
    }
    return false;
}
