/*
 * exam.c: a list that is run command by command and looked at.
 *
 * What each command has written is looked at before the next one runs: the
 * first float tensor in the order of the list that holds NaN, or an infinity
 * that the program does not mean (TITAN_MAY_), is where the fault is, in that
 * op or in what it reads from outside.  The image says of each result where its
 * elements lie.  A device that can looks for itself whether a tensor is clean;
 * what is not, or what no device has looked at, is counted on the host.
 *
 * Each rank looks at what it writes itself, on its own device.
 *
 * A fault on purpose is written behind the command whose result it is.
 */
#include "exam.h"

#include "census.h"
#include "clock.h"
#include "narrow.h"
#include "ranks.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Look {
    TitanWatch watch; /* first */
    const TitanImage *im;
    TitanDevice *device;
    const Exam *exam;
    Finding *out;
    char *piece; /* EXAM_PIECE bytes, where the host does not reach the
                    device's */
} Look;

/* ---------------------------------------------------------------- places -- */

static uint64_t offset_of(const TitanImage *im, const TitanOperand *o,
                          const TitanMoment *at)
{
    uint64_t offset = o->offset;
    for (uint32_t i = 0; i < o->turns.n; i++) {
        const TitanTurn *t = &im->turns[o->turns.first + i];
        offset += (uint64_t)titan_turn_bytes(
            t, at->counter[at->depth - 1 - t->depth]);
    }
    return offset;
}

static size_t extent_of(const TitanImage *im, const TitanResult *r)
{
    int64_t bytes = titan_dtype_bytes(r->dtype);
    for (uint32_t i = 0; i < r->spans.n; i++) {
        const TitanSpan *s = &im->spans[r->spans.first + i];
        bytes += (s->n - 1) * s->bytes;
    }
    return (size_t)bytes;
}

static const TitanOperand *operand_of(const Look *l, const TitanMoment *at,
                                      const TitanResult *r)
{
    return &l->im->operands[at->command->operands.first + r->operand];
}

/* ----------------------------------------------------------------- words -- */

static const char *const phases[] = {"forward pass", "backward pass", "update"};

static void TITAN_PRINTF(2, 3) tell(Finding *f, const char *fmt, ...)
{
    size_t n = strlen(f->text);
    va_list args;
    va_start(args, fmt);
    vsnprintf(f->text + n, sizeof f->text - n, fmt, args);
    va_end(args);
}

static void tell_op(const Look *l, const TitanResult *r)
{
    const TitanImage *im = l->im;
    const char *name = titan_string(im, r->name);
    if (*name)
        tell(l->out, "'%s' (%s", name, titan_string(im, r->op));
    else
        tell(l->out, "a result (%s", titan_string(im, r->op));
    if (r->line)
        tell(l->out, ", %s:%" PRIu32, titan_string(im, r->file), r->line);
    tell(l->out, ")");
}

/* In which function, and for which layer, microbatch, ... */
static void tell_moment(const Look *l, const TitanMoment *at)
{
    const TitanImage *im = l->im;
    tell(l->out, " in %s", titan_string(im, at->program->name));
    for (uint32_t i = 0; i < at->depth; i++)
        tell(l->out, ", %s = %" PRId64, titan_string(im, at->loop[i]->name),
             at->counter[i]);
    if (im->header->ranks > 1)
        tell(l->out, ", on rank %" PRIu32, l->device->rank);
}

/* ----------------------------------------------------------------- looks -- */

TitanStatus exam_count(TitanDevice *d, const Dense *x, char *piece, Census *c)
{
    unsigned bytes = titan_dtype_bytes(x->dtype);
    TitanSpan span = {x->n, bytes};
    DeviceFloats f = {x->dtype, x->may, &span, 1};
    bool clean;
    TRY(device_scan(d, x->base, x->offset, &f, &clean));
    if (clean) return TITAN_OK;
    if (d->arena[x->base]) {
        census_add(c, x->dtype, x->may, d->arena[x->base] + x->offset, x->n);
        return TITAN_OK;
    }
    for (int64_t done = 0, n; done < x->n; done += n) {
        n = x->n - done < EXAM_PIECE / bytes ? x->n - done : EXAM_PIECE / bytes;
        TRY(device_read(d, x->base, x->offset + (uint64_t)done * bytes, piece,
                        (size_t)n * bytes));
        census_add(c, x->dtype, x->may, piece, n);
    }
    return TITAN_OK;
}

/* Rows of the innermost span; the others count like an odometer. */
static void count_result(const TitanImage *im, const TitanResult *r,
                         const char *at, Census *c)
{
    const TitanSpan *s = &im->spans[r->spans.first];
    int64_t turn[TITAN_MOST_SPANS] = {0}, bytes = titan_dtype_bytes(r->dtype);
    uint32_t n = r->spans.n;
    bool dense = n > 0 && s[n - 1].bytes == bytes;
    int64_t row = dense ? s[n - 1].n : 1;
    uint32_t outer = dense ? n - 1 : n;
    for (;;) {
        const char *from = at;
        for (uint32_t i = 0; i < outer; i++)
            from += turn[i] * s[i].bytes;
        census_add(c, r->dtype, r->may, from, row);
        uint32_t i = outer;
        while (i > 0 && ++turn[i - 1] == s[i - 1].n)
            turn[--i] = 0;
        if (i == 0) return;
    }
}

static bool is_dense(const Look *l, const TitanResult *r)
{
    const TitanSpan *s = &l->im->spans[r->spans.first];
    return r->spans.n == 0 ||
           (r->spans.n == 1 && s->bytes == titan_dtype_bytes(r->dtype));
}

static TitanStatus count_moment(const Look *l, const TitanMoment *at,
                                const TitanResult *r, Census *c)
{
    const TitanOperand *o = operand_of(l, at, r);
    const TitanSpan *s = &l->im->spans[r->spans.first];
    uint64_t offset = offset_of(l->im, o, at);
    TitanBase base = (TitanBase)o->base;
    if (is_dense(l, r)) {
        Dense x = {base, offset, r->dtype, r->may, r->spans.n ? s->n : 1};
        return exam_count(l->device, &x, l->piece, c);
    }
    bool clean;
    DeviceFloats f = {r->dtype, r->may, s, r->spans.n};
    TRY(device_scan(l->device, base, offset, &f, &clean));
    if (clean) return TITAN_OK;
    Window w;
    TRY(window_open(l->device, base, offset, extent_of(l->im, r), true, &w));
    count_result(l->im, r, w.at, c);
    return window_close(l->device, &w, false);
}

static TitanStatus look(Look *l, const TitanMoment *at, const TitanResult *r)
{
    Finding *f = l->out;
    Census bad = {0};
    char words[160];
    TRY(count_moment(l, at, r, &bad));
    if (!census_bad(&bad)) return TITAN_OK;
    f->found = true;
    f->brought = at->command->kind == TITAN_COMMAND_collective;
    f->when = (double)clock_ns(CLOCK_REALTIME) * 1e-9;
    tell(f, "first in the %s: ", phases[r->phase]);
    tell_op(l, r);
    tell_moment(l, at);
    tell(f, "\n  it has %s", census_words(&bad, words, sizeof words));
    return TITAN_OK;
}

static bool is_target(const Look *l)
{
    return l->exam->fault == l->out->seen && l->exam->rank == l->device->rank;
}

static TitanStatus spoil(Look *l, const TitanMoment *at, const TitanResult *r)
{
    const TitanOperand *o = operand_of(l, at, r);
    uint64_t to = offset_of(l->im, o, at);
    char value[8];
    for (uint32_t i = 0; i < r->spans.n; i++) {
        const TitanSpan *s = &l->im->spans[r->spans.first + i];
        to += (uint64_t)(s->n / 2 * s->bytes);
    }
    narrow_store_one(r->dtype, l->exam->value, value);
    TRY(device_write(l->device, (TitanBase)o->base, to, value,
                     titan_dtype_bytes(r->dtype)));
    if (l->exam->look) return TITAN_OK;
    tell(l->out, "%g put into result %" PRId64 " in the %s: ", l->exam->value,
         l->out->seen, phases[r->phase]);
    tell_op(l, r);
    tell_moment(l, at);
    return TITAN_OK;
}

/* The list goes on behind what was found where other ranks may wait for it. */
static TitanStatus after(TitanWatch *w, const TitanMoment *at)
{
    Look *l = (Look *)w;
    TitanRange rows = at->command->results;
    for (uint32_t i = 0; i < rows.n && !l->out->found; i++) {
        const TitanResult *r = &l->im->results[rows.first + i];
        l->out->seen++;
        if (is_target(l)) TRY(spoil(l, at, r));
        if (l->exam->look) TRY(look(l, at, r));
    }
    w->stop = l->out->found && l->im->header->ranks == 1;
    return TITAN_OK;
}

TitanStatus exam_run(const TitanImage *im, TitanDevice *d, const TitanEntry *e,
                     const Exam *x, Finding *out)
{
    *out = (Finding){.rank = d->rank};
    Look l = {.watch = {.after = after},
              .im = im,
              .device = d,
              .exam = x,
              .out = out,
              .piece = malloc(EXAM_PIECE)};
    if (!l.piece) return titan_no_memory(d->story);
    TitanStatus st =
        device_watch(d, e, x->whole ? e->runs.n : e->until, &l.watch);
    free(l.piece);
    return st;
}

TitanStatus examine(const TitanImage *im, TitanDevice *d, const TitanEntry *e,
                    const Exam *x, Finding *out)
{
    if (d->class->examine) return d->class->examine(d, e, x, out);
    return exam_run(im, d, e, x, out);
}

/* ------------------------------------------------------------- all ranks -- */

static bool is_before(const TitanImage *im, const Finding *a, const Finding *b)
{
    if (!a->found || !b->found) return a->found;
    if (a->brought != b->brought) return b->brought;
    if (rank_stage(im, a->rank) != rank_stage(im, b->rank))
        return a->when < b->when;
    return a->seen < b->seen;
}

void finding_add(const TitanImage *im, const Exam *x, Finding *all,
                 const Finding *one)
{
    int64_t seen = all->seen + one->seen;
    bool tells = x->look ? is_before(im, one, all) : one->text[0] != 0;
    if (x->fault && !x->look)
        seen = one->rank == x->rank ? one->seen : all->seen;
    if (tells) *all = *one;
    all->seen = seen;
}
