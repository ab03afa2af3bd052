/*
 * image_commands.c: checks of programs: what a command names is there, and no
 * access leaves the base of its operand, whatever the counters of the loops
 * around it are.
 */
#include "image.h"

#include "ranks.h"

#include <string.h>

enum { MAX_COMMANDS = 10000000, MOST_STEPS = 64 };

TitanStatus image_check_operand(ImageCheck *c, uint32_t i,
                                const int64_t *counts, uint32_t depth)
{
    const TitanImage *im = c->im;
    if (i >= im->noperands) return BAD(c, "operand %" PRIu32 " is missing", i);
    const TitanOperand *o = &im->operands[i];
    if (o->kind == TITAN_OPERAND_counter)
        return o->offset < depth ? TITAN_OK : BAD(c, "counter without loop");
    if (o->kind == TITAN_OPERAND_coordinate)
        return o->offset < im->ngroups ? TITAN_OK
                                       : BAD(c, "coordinate without group");
    if (o->kind != TITAN_OPERAND_memory || o->base >= TITAN_BASE_COUNT ||
        !range_ok(o->turns, im->nturns))
        return BAD(c, "operand %" PRIu32 " is damaged", i);
    int64_t low = 0, high = 0;
    for (uint32_t k = 0; k < o->turns.n; k++) {
        const TitanTurn *t = &im->turns[o->turns.first + k];
        int64_t reach;
        if (t->depth >= depth) return BAD(c, "turn without loop");
        int64_t most = counts[depth - 1 - t->depth] - 1;
        if (t->ring) most = t->ring - 1;
        if (__builtin_mul_overflow(t->bytes, most, &reach) ||
            __builtin_add_overflow(reach < 0 ? low : high, reach,
                                   reach < 0 ? &low : &high))
            return BAD(c, "operand %" PRIu32 " reaches too far", i);
    }
    uint64_t room = c->stage->base_bytes[o->base];
    if (o->offset > room || 0 - (uint64_t)low > o->offset ||
        o->bytes > room - o->offset ||
        (uint64_t)high > room - o->offset - o->bytes)
        return BAD(c, "operand %" PRIu32 " lies outside its base", i);
    return TITAN_OK;
}

/* As matrix products take it: one stride is 1, and what the other counts does
 * not overlap.  The stride of an axis of one element says nothing. */
static bool lies_well(int64_t rows, int64_t cols, int64_t row, int64_t col)
{
    bool down = (row == 1 || rows == 1) && (col >= rows || cols == 1);
    bool across = (col == 1 || cols == 1) && (row >= cols || rows == 1);
    return down || across;
}

/* The reach in bytes of one operand of a gemm, 0: nonsense. */
static uint64_t gemm_reach(const TitanGemm *g, int which)
{
    int64_t rows = which == 1 ? g->k : g->m, cols = which == 0 ? g->k : g->n;
    int64_t row = (&g->a_row)[2 * which], col = (&g->a_col)[2 * which];
    const int64_t *batch = which == 0   ? g->a_batch
                           : which == 1 ? g->b_batch
                                        : g->d_batch;
    int64_t last = 0, part;
    if (row < 0 || col < 0 || !lies_well(rows, cols, row, col)) return 0;
    if (__builtin_mul_overflow(rows - 1, row, &part) ||
        __builtin_add_overflow(last, part, &last) ||
        __builtin_mul_overflow(cols - 1, col, &part) ||
        __builtin_add_overflow(last, part, &last))
        return 0;
    for (uint32_t i = 0; i < g->nbatch; i++) {
        if (batch[i] < 0) return 0;
        if (__builtin_mul_overflow(g->batch[i] - 1, batch[i], &part) ||
            __builtin_add_overflow(last, part, &last))
            return 0;
    }
    if (last > (INT64_C(1) << 48)) return 0;
    uint32_t dtype = (&g->dtype_a)[which];
    return (uint64_t)(last + 1) * titan_dtype_bytes(dtype);
}

static bool is_of_bytes(const TitanGemm *g)
{
    return titan_dtype_bytes(g->dtype_a) == 1 &&
           titan_dtype_bytes(g->dtype_b) == 1;
}

/* Rows of both operands, or blocks of them, have scales, of eight bits each, on
 * a GPU. */
static bool scales_well(const ImageCheck *c, const TitanGemm *g)
{
    if (!g->scale_a && !g->scale_b) return true;
    return g->scale_a && g->scale_b && g->scale_a < TITAN_SCALE_COUNT &&
           g->scale_b < TITAN_SCALE_COUNT && is_of_bytes(g) &&
           (g->scale_a == TITAN_SCALE_row) == (g->scale_b == TITAN_SCALE_row) &&
           (g->scale_a == TITAN_SCALE_row || g->k % TITAN_SCALE_BLOCK == 0) &&
           g->accumulate == 0 && g->nbatch == 0 &&
           c->im->header->target != TITAN_TARGET_host;
}

static uint64_t scales_reach(const TitanGemm *g, bool b)
{
    uint64_t k = (uint64_t)g->k / TITAN_SCALE_BLOCK;
    uint64_t rows = (uint64_t)(b ? g->n : g->m);
    uint32_t scale = b ? g->scale_b : g->scale_a;
    if (scale == TITAN_SCALE_row) return sizeof(float) * rows;
    if (scale == TITAN_SCALE_row128) return sizeof(float) * k * rows;
    rows = (rows + TITAN_SCALE_BLOCK - 1) / TITAN_SCALE_BLOCK;
    return sizeof(float) * (((k + 3) & ~UINT64_C(3)) * (rows - 1) + k);
}

static TitanStatus check_gemms(ImageCheck *c)
{
    for (uint32_t i = 0; i < c->im->ngemms; i++) {
        const TitanGemm *g = &c->im->gemms[i];
        if (!titan_dtype_bytes(g->dtype_a) || !titan_dtype_bytes(g->dtype_b) ||
            !titan_dtype_bytes(g->dtype_d) || !titan_dtype_bytes(g->acc) ||
            g->nbatch > 4 || g->accumulate > TITAN_GEMM_scaled || g->m < 1 ||
            g->n < 1 || g->k < 1 || g->processors > UINT16_MAX ||
            (g->accumulate == TITAN_GEMM_scaled && !is_of_bytes(g)) ||
            g->fast > 1 || (g->fast && !is_of_bytes(g)) || !scales_well(c, g))
            return BAD(c, "gemm %" PRIu32 " is damaged", i);
        int64_t batches = 1;
        for (uint32_t b = 0; b < g->nbatch; b++)
            if (g->batch[b] < 1 ||
                __builtin_mul_overflow(batches, g->batch[b], &batches))
                return BAD(c, "gemm %" PRIu32 " has a batch that is %s", i,
                           g->batch[b] < 1 ? "empty" : "too large");
        for (int w = 0; w < 3; w++)
            if (gemm_reach(g, w) == 0)
                return BAD(c, "gemm %" PRIu32 " has strides of no matrix", i);
    }
    return TITAN_OK;
}

/* f32 and f64 lie as the BLAS takes them; the rest is widened. */
static bool is_widened(const TitanGemm *g)
{
    return g->dtype_a != g->dtype_b || g->dtype_a != g->dtype_d ||
           g->dtype_a > 1;
}

/* Enough for every worker that may run this gemm at one time. */
static uint64_t least_workspace(const ImageCheck *c, const TitanGemm *g)
{
    const TitanHeader *h = c->im->header;
    if (h->target != TITAN_TARGET_host || !is_widened(g)) return 0;
    uint64_t block = titan_gemm_block(g->m, g->n, g->k);
    return c->parallel ? block : block * h->lanes;
}

static TitanStatus check_gemm_command(ImageCheck *c, const TitanCommand *cmd)
{
    const TitanImage *im = c->im;
    if (cmd->index >= im->ngemms) return BAD(c, "a gemm command is damaged");
    const TitanGemm *g = &im->gemms[cmd->index];
    bool scaled = g->accumulate == TITAN_GEMM_scaled;
    uint32_t places = scaled || g->accumulate == TITAN_GEMM_add_c ? 4 : 3;
    uint32_t scales = g->scale_a ? 2 : 0;
    if (cmd->operands.n < places + scales)
        return BAD(c, "a gemm command is damaged");
    const TitanOperand *o = &im->operands[cmd->operands.first];
    for (uint32_t w = 0; w < places; w++)
        if (!operand_has(&o[w], scaled && w == 3
                                    ? sizeof(float)
                                    : gemm_reach(g, w < 2 ? (int)w : 2)))
            return BAD(c, "a gemm reaches past its operand");
    for (uint32_t w = 0; w < scales; w++)
        if (!operand_has(&o[places + w], scales_reach(g, w == 1)))
            return BAD(c, "a gemm reaches past its scales");
    places += scales;
    uint64_t least = least_workspace(c, g);
    bool has = cmd->operands.n > places;
    if (has ? !operand_has(&o[places], least) : least > 0)
        return BAD(c, "a gemm has no workspace");
    return TITAN_OK;
}

static TitanStatus check_bytes_command(ImageCheck *c, const TitanCommand *cmd)
{
    uint32_t want = cmd->kind == TITAN_COMMAND_copy ? 2 : 1;
    const TitanOperand *o = &c->im->operands[cmd->operands.first];
    if (cmd->operands.n != want) return BAD(c, "a copy command is damaged");
    for (uint32_t i = 0; i < want; i++)
        if (!operand_has(&o[i], (uint64_t)cmd->items))
            return BAD(c, "a copy reaches past its operand");
    return TITAN_OK;
}

static bool same_operand(const TitanImage *im, const TitanOperand *x,
                         const TitanOperand *y)
{
    return x->kind == y->kind && x->base == y->base && x->offset == y->offset &&
           x->turns.n == y->turns.n &&
           !memcmp(&im->turns[x->turns.first], &im->turns[y->turns.first],
                   x->turns.n * sizeof *im->turns);
}

/* The product in front of it has the rows of its members, one after the other.
 */
static TitanStatus check_fed(ImageCheck *c, const TitanCommand *cmd)
{
    const TitanImage *im = c->im;
    const TitanCollective *x = &im->collectives[cmd->index];
    const TitanCommand *from = &im->commands[cmd->fed - 1];
    if (from->kind != TITAN_COMMAND_gemm ||
        x->kind != TITAN_COLLECTIVE_all_to_all)
        return BAD(c, "what feeds an exchange is damaged");
    const TitanGemm *g = &im->gemms[from->index];
    int64_t n = ranks_in_group(im, x->group), all;
    bool fits =
        g->dtype_d == x->dtype && g->d_col == 1 && g->d_row == g->n &&
        x->steps > 0 && x->steps <= MOST_STEPS && g->m % (n * x->steps) == 0 &&
        !g->scale_a && g->accumulate != TITAN_GEMM_scaled &&
        !__builtin_mul_overflow(g->m, g->n, &all) && all == n * x->count;
    for (uint32_t i = 0; i < g->nbatch; i++)
        fits &= g->batch[i] == 1;
    if (!fits || !same_operand(im, &im->operands[from->operands.first + 2],
                               &im->operands[cmd->operands.first + 1]))
        return BAD(c, "an exchange is not of what feeds it");
    return TITAN_OK;
}

/* What begins in a member's piece of what is gathered ends there: where the
 * source stays, the member's own piece is read in the source. */
static bool is_of_one_piece(const TitanImage *im, const TitanCommand *from,
                            const TitanOperand *o)
{
    const TitanCollective *x = &im->collectives[from->index];
    const TitanOperand *all = &im->operands[from->operands.first];
    uint64_t piece = collective_piece_bytes(x), at = o->offset - all->offset;
    if (!from->stays || o->kind != all->kind || o->base != all->base ||
        at >= piece * ranks_in_group(im, x->group))
        return true;
    return o->bytes <= piece - at % piece;
}

/* Of the commands of a program that were looked at. */
typedef struct Seen {
    uint32_t signals[TITAN_MOST_STREAMS]; /* the last one on each: its number in
                                             the image, + 1 */
    uint32_t parts; /* up to here they are parts of what begins before */
} Seen;

static bool is_part(ImageCheck *c, const TitanCommand *first,
                    const TitanCommand *cmd)
{
    const TitanImage *im = c->im;
    const TitanCommand *from = &im->commands[first->fed - 1];
    bool fits = cmd->fed == first->fed && cmd->kind == first->kind &&
                cmd->index == first->index && cmd->stream == first->stream;
    for (uint32_t i = 0; i < cmd->operands.n && fits; i++)
        fits =
            is_of_one_piece(im, from, &im->operands[cmd->operands.first + i]);
    return fits;
}

/* What is one command for each member of a gather, which says that it is over;
 * the program ends at END. */
static TitanStatus check_parts(ImageCheck *c, const TitanCommand *first,
                               const TitanCommand *end, Seen *seen)
{
    const TitanImage *im = c->im;
    const TitanCommand *from = &im->commands[first->fed - 1];
    if (from->kind != TITAN_COMMAND_collective ||
        im->collectives[from->index].kind != TITAN_COLLECTIVE_all_gather)
        return BAD(c, "what begins with parts of a gather is damaged");
    uint32_t n = ranks_in_group(im, im->collectives[from->index].group);
    bool fits =
        seen->signals[from->stream] > first->fed && end - first >= (int64_t)n;
    for (uint32_t i = 0; i < n && fits; i++)
        fits = is_part(c, first, &first[i]);
    seen->parts = (uint32_t)(first - im->commands) + n;
    return fits ? TITAN_OK : BAD(c, "a gather has other parts than members");
}

/* What a command says of one in front of it in its program, both of which have
 * been checked by themselves. */
static TitanStatus check_other(ImageCheck *c, const TitanProgram *p, uint32_t i,
                               Seen *seen)
{
    uint32_t first = p->commands.first, end = first + p->commands.n;
    const TitanCommand *cmd = &c->im->commands[i];
    if (cmd->kind == TITAN_COMMAND_signal) seen->signals[cmd->stream] = i + 1;
    if (cmd->fed == 0 || i < seen->parts) return TITAN_OK;
    if (cmd->fed <= first || cmd->fed - 1 >= i)
        return BAD(c, "a command is fed by none in front of it");
    if (cmd->kind == TITAN_COMMAND_collective) return check_fed(c, cmd);
    if (cmd->kind == TITAN_COMMAND_kernel || cmd->kind == TITAN_COMMAND_gemm)
        return check_parts(c, cmd, &c->im->commands[end], seen);
    return BAD(c, "a command is fed that has no parts");
}

static TitanStatus check_collective(ImageCheck *c, const TitanCommand *cmd)
{
    if (cmd->index >= c->im->ncollectives)
        return BAD(c, "collective %" PRIu32 " is missing", cmd->index);
    const TitanCollective *x = &c->im->collectives[cmd->index];
    const TitanOperand *o = &c->im->operands[cmd->operands.first];
    uint64_t pieces[2], bytes;
    uint32_t want = collective_pieces(c->im, x, pieces), k = 0;
    if (c->im->header->ranks == 1) return BAD(c, "a collective, and one rank");
    if (c->parallel)
        return BAD(c, "a collective stands among turns in no order");
    if (cmd->operands.n != want) return BAD(c, "a collective is damaged");
    for (uint32_t i = 0; i < 2; i++) {
        if (pieces[i] == 0) continue;
        if (__builtin_mul_overflow(pieces[i] * titan_dtype_bytes(x->dtype),
                                   (uint64_t)x->count, &bytes) ||
            !operand_has(&o[k++], bytes))
            return BAD(c, "a collective reaches past its operand");
    }
    return TITAN_OK;
}

/* How far beyond an argument's address a map reads; UINT64_MAX: nonsense. */
static uint64_t map_reach(const TitanMap *m)
{
    uint64_t reach = (uint64_t)m->offset;
    if (m->stride[0] != titan_dtype_bytes(m->dtype)) return UINT64_MAX;
    for (uint32_t d = 0; d < m->rank; d++) {
        uint64_t span;
        if (m->size[d] < 1 || m->stride[d] < 0 || m->box[d] < 1 ||
            __builtin_mul_overflow((uint64_t)m->size[d] - 1,
                                   (uint64_t)m->stride[d], &span) ||
            __builtin_add_overflow(reach, span, &reach))
            return UINT64_MAX;
    }
    if (__builtin_add_overflow(reach, titan_dtype_bytes(m->dtype), &reach))
        return UINT64_MAX;
    return reach;
}

static TitanStatus check_kernel(ImageCheck *c, const TitanKernel *k)
{
    TRY(image_check_string(c, k->name));
    if (!range_ok(k->maps, c->im->nmaps))
        return BAD(c, "a kernel's maps are missing");
    if (k->limit >= TITAN_CLASS_COUNT)
        return BAD(c, "a kernel's class is damaged");
    for (uint32_t i = 0; i < k->maps.n; i++) {
        const TitanMap *m = &c->im->maps[k->maps.first + i];
        if (m->arg >= k->args || m->rank < 1 || m->rank > TITAN_MAP_DIMS ||
            titan_dtype_bytes(m->dtype) == 0 || m->offset < 0 ||
            map_reach(m) == UINT64_MAX)
            return BAD(c, "map %" PRIu32 " is damaged", k->maps.first + i);
    }
    return TITAN_OK;
}

/* The arguments of a launch, and that its maps stay inside of them. */
static TitanStatus check_launch(ImageCheck *c, const TitanCommand *cmd)
{
    const TitanImage *im = c->im;
    if (cmd->index >= im->nkernels ||
        im->kernels[cmd->index].args != cmd->operands.n)
        return BAD(c, "a kernel command is damaged");
    const TitanKernel *k = &im->kernels[cmd->index];
    for (uint32_t i = 0; i < k->maps.n; i++) {
        const TitanMap *m = &im->maps[k->maps.first + i];
        const TitanOperand *o = &im->operands[cmd->operands.first + m->arg];
        if (!operand_has(o, map_reach(m)))
            return BAD(c, "a map reaches past its operand");
    }
    return TITAN_OK;
}

static TitanStatus check_result(ImageCheck *c, const TitanCommand *cmd,
                                const TitanResult *r)
{
    const TitanImage *im = c->im;
    TRY(image_check_string(c, r->name));
    TRY(image_check_string(c, r->op));
    TRY(image_check_string(c, r->file));
    if (r->operand >= cmd->operands.n || !titan_dtype_is_float(r->dtype) ||
        r->phase > TITAN_PHASE_update || !range_ok(r->spans, im->nspans) ||
        r->spans.n > TITAN_MOST_SPANS)
        return BAD(c, "a result is damaged");
    const TitanOperand *o = &im->operands[cmd->operands.first + r->operand];
    uint64_t reach = titan_dtype_bytes(r->dtype), elements = 1;
    for (uint32_t i = 0; i < r->spans.n; i++) {
        const TitanSpan *s = &im->spans[r->spans.first + i];
        uint64_t part;
        if (s->n < 1 || s->bytes < 0 ||
            __builtin_mul_overflow((uint64_t)s->n - 1, (uint64_t)s->bytes,
                                   &part) ||
            __builtin_add_overflow(reach, part, &reach) ||
            __builtin_mul_overflow(elements, (uint64_t)s->n, &elements))
            return BAD(c, "a result is too large");
    }
    if (!operand_has(o, reach))
        return BAD(c, "a result reaches past its operand");
    return TITAN_OK;
}

static TitanStatus check_results(ImageCheck *c, const TitanCommand *cmd)
{
    if (!range_ok(cmd->results, c->im->nresults))
        return BAD(c, "a command's results are missing");
    for (uint32_t i = 0; i < cmd->results.n; i++)
        TRY(check_result(c, cmd, &c->im->results[cmd->results.first + i]));
    return TITAN_OK;
}

static TitanStatus check_command(ImageCheck *c, const TitanCommand *cmd,
                                 const int64_t *counts, uint32_t depth)
{
    const TitanImage *im = c->im;
    TRY(image_check_string(c, cmd->file));
    if (cmd->items < 0 || !range_ok(cmd->operands, im->noperands) ||
        cmd->stream >= im->header->streams || cmd->processors > UINT16_MAX ||
        (cmd->processors && cmd->kind != TITAN_COMMAND_kernel))
        return BAD(c, "a command is damaged");
    for (uint32_t i = 0; i < cmd->operands.n; i++)
        TRY(image_check_operand(c, cmd->operands.first + i, counts, depth));
    TRY(check_results(c, cmd));
    switch ((TitanCommandKind)cmd->kind) {
    case TITAN_COMMAND_kernel:
        return check_launch(c, cmd);
    case TITAN_COMMAND_gemm:
        return check_gemm_command(c, cmd);
    case TITAN_COMMAND_copy:
    case TITAN_COMMAND_zero:
        return check_bytes_command(c, cmd);
    case TITAN_COMMAND_collective:
        return check_collective(c, cmd);
    case TITAN_COMMAND_signal:
    case TITAN_COMMAND_wait:
        if (cmd->operands.n == 0 && cmd->index < im->header->events)
            return TITAN_OK;
        return BAD(c, "a signal or wait is damaged");
    }
    return BAD(c, "command of kind %" PRIu32, cmd->kind);
}

TitanStatus image_check_program(ImageCheck *c, uint32_t id,
                                const int64_t *counts, uint32_t depth)
{
    const TitanImage *im = c->im;
    Seen seen = {0};
    if (id >= im->nprograms)
        return BAD(c, "program %" PRIu32 " is missing", id);
    const TitanProgram *p = &im->programs[id];
    TRY(image_check_string(c, p->name));
    if (!range_ok(p->commands, im->ncommands))
        return BAD(c, "program %" PRIu32 " has no commands", id);
    c->commands += p->commands.n;
    if (c->commands > MAX_COMMANDS) return BAD(c, "too many commands");
    for (uint32_t i = 0; i < p->commands.n; i++)
        TRY(check_command(c, &im->commands[p->commands.first + i], counts,
                          depth));
    for (uint32_t i = 0; i < p->commands.n; i++)
        TRY(check_other(c, p, p->commands.first + i, &seen));
    return TITAN_OK;
}

/* Who looks through all commands meets those of no program too.  A product
 * feeds one exchange, of which it says that it came: so exchanges are fed in
 * the order of their products. */
static TitanStatus check_rows(ImageCheck *c)
{
    const TitanImage *im = c->im;
    uint32_t fed = 0; /* by this one, the last exchange */
    for (uint32_t i = 0; i < im->ncommands; i++) {
        const TitanCommand *cmd = &im->commands[i];
        bool talks = cmd->kind == TITAN_COMMAND_collective;
        if (talks && cmd->index >= im->ncollectives)
            return BAD(c, "collective %" PRIu32 " is missing", cmd->index);
        if (cmd->fed > i || !range_ok(cmd->operands, im->noperands))
            return BAD(c, "command %" PRIu32 " is damaged", i);
        if (talks && cmd->fed && cmd->fed <= fed)
            return BAD(c, "command %" PRIu32 " feeds a second exchange",
                       cmd->fed - 1);
        if (talks && cmd->fed) fed = cmd->fed;
        bool gathers = talks && im->collectives[cmd->index].kind ==
                                    TITAN_COLLECTIVE_all_gather;
        if (cmd->stays > (gathers ? im->header->streams : 0))
            return BAD(c, "command %" PRIu32 " gathers nothing that stays", i);
    }
    return TITAN_OK;
}

TitanStatus image_check_work(ImageCheck *c)
{
    TRY(check_rows(c));
    TRY(check_gemms(c));
    for (uint32_t i = 0; i < c->im->nkernels; i++)
        TRY(check_kernel(c, &c->im->kernels[i]));
    return TITAN_OK;
}
