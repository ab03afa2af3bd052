/*
 * diagnose.c: where a step stops being finite.
 *
 * The step is run again up to its update, one command after the other, and
 * what each has written is looked at before the next one runs: the first float
 * tensor in the order of the list that holds NaN, or an infinity that the
 * program does not mean (TITAN_MAY_), is where the fault is, in that op or in
 * what it reads from outside.  The image says of each result where its
 * elements lie.  A device that can looks for itself whether a tensor is clean;
 * what is not, or what no device has looked at, is counted on the host.
 * Parameters and states are looked at as well, since weights may come with NaN
 * in them.
 *
 * A fault on purpose is written behind the command whose result it is, in the
 * step and when it is run again.
 */
#include "diagnose.h"

#include "census.h"
#include "narrow.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_NAMED = 2, PIECE = 8 << 20 };

typedef struct Diagnosis {
    TitanWatch watch; /* first */
    const Suspect *s;
    bool look;    /* at what is written */
    int64_t seen; /* results so far */
    FILE *out;
    Census bad; /* of the first that is not finite */
    bool found;
    char *piece; /* PIECE bytes, where the host does not reach the device's */
} Diagnosis;

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

static TitanStatus open_result(const Diagnosis *d, const TitanMoment *at,
                               const TitanResult *r, Window *w)
{
    const TitanImage *im = d->s->im;
    const TitanOperand *o =
        &im->operands[at->command->operands.first + r->operand];
    return window_open(device_seen(d->s->device), (TitanBase)o->base,
                       offset_of(im, o, at), extent_of(im, r), true, w);
}

/* ----------------------------------------------------------------- words -- */

static const char *const phases[] = {"forward pass", "backward pass", "update"};

static void print_op(const TitanImage *im, const TitanResult *r, FILE *out)
{
    const char *name = titan_string(im, r->name);
    if (*name)
        fprintf(out, "'%s' (%s", name, titan_string(im, r->op));
    else
        fprintf(out, "a result (%s", titan_string(im, r->op));
    if (r->line)
        fprintf(out, ", %s:%" PRIu32, titan_string(im, r->file), r->line);
    fputc(')', out);
}

/* In which function, and for which layer, microbatch, ... */
static void print_moment(const TitanImage *im, const TitanMoment *at, FILE *out)
{
    fprintf(out, " in %s", titan_string(im, at->program->name));
    for (uint32_t i = 0; i < at->depth; i++)
        fprintf(out, ", %s = %" PRId64, titan_string(im, at->loop[i]->name),
                at->counter[i]);
}

/* ----------------------------------------------------------------- looks -- */

/* N elements without gaps, piece by piece where they have to be fetched. */
static TitanStatus count_dense(const Diagnosis *d, TitanDevice *device,
                               TitanBase base, uint64_t offset, uint32_t dtype,
                               unsigned may, int64_t n, Census *c)
{
    unsigned bytes = titan_dtype_bytes(dtype);
    TitanSpan span = {n, bytes};
    bool clean;
    TRY(device_scan(device, base, offset, &(DeviceFloats){dtype, may, &span, 1},
                    &clean));
    if (clean) return TITAN_OK;
    if (device->arena[base]) {
        census_add(c, dtype, may, device->arena[base] + offset, n);
        return TITAN_OK;
    }
    for (int64_t done = 0, count; done < n; done += count) {
        count = n - done < PIECE / bytes ? n - done : PIECE / bytes;
        TRY(device_read(device, base, offset + (uint64_t)done * bytes, d->piece,
                        (size_t)count * bytes));
        census_add(c, dtype, may, d->piece, count);
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

static void report(Diagnosis *d, const TitanMoment *at, const TitanResult *r)
{
    char words[160];
    const TitanImage *im = d->s->im;
    fprintf(d->out, "  first in the %s: ", phases[r->phase]);
    print_op(im, r, d->out);
    print_moment(im, at, d->out);
    fprintf(d->out, "\n  it has %s\n",
            census_words(&d->bad, words, sizeof words));
}

static TitanStatus scan_result(const Diagnosis *d, const TitanMoment *at,
                               const TitanResult *r, bool *clean)
{
    const TitanImage *im = d->s->im;
    const TitanOperand *o =
        &im->operands[at->command->operands.first + r->operand];
    DeviceFloats f = {r->dtype, r->may, &im->spans[r->spans.first], r->spans.n};
    return device_scan(device_seen(d->s->device), (TitanBase)o->base,
                       offset_of(im, o, at), &f, clean);
}

static TitanStatus count_moment(const Diagnosis *d, const TitanMoment *at,
                                const TitanResult *r, Census *c)
{
    const TitanImage *im = d->s->im;
    const TitanSpan *s = &im->spans[r->spans.first];
    int64_t bytes = titan_dtype_bytes(r->dtype);
    if (r->spans.n == 0 || (r->spans.n == 1 && s->bytes == bytes)) {
        const TitanOperand *o =
            &im->operands[at->command->operands.first + r->operand];
        return count_dense(d, device_seen(d->s->device), (TitanBase)o->base,
                           offset_of(im, o, at), r->dtype, r->may,
                           r->spans.n ? s->n : 1, c);
    }
    bool clean;
    TRY(scan_result(d, at, r, &clean));
    if (clean) return TITAN_OK;
    Window w;
    TRY(open_result(d, at, r, &w));
    count_result(im, r, w.at, c);
    return window_close(device_seen(d->s->device), &w, false);
}

static TitanStatus look(Diagnosis *d, const TitanMoment *at,
                        const TitanResult *r)
{
    d->bad = (Census){0};
    TRY(count_moment(d, at, r, &d->bad));
    if (!census_bad(&d->bad)) return TITAN_OK;
    d->found = true;
    d->watch.stop = true;
    report(d, at, r);
    return TITAN_OK;
}

/* ---------------------------------------------------------------- faults -- */

bool inject_parse(const char *text, Inject *out)
{
    char *end;
    *out = (Inject){.value = NAN};
    out->step = strtoll(text, &end, 10);
    if (end == text || *end != ':') return false;
    const char *result = end + 1;
    out->result = strtoll(result, &end, 10);
    if (end == result || out->step < 1 || out->result < 1) return false;
    if (strcmp(end, ":inf") == 0) out->value = INFINITY;
    if (strcmp(end, ":-inf") == 0) out->value = -INFINITY;
    return !*end || !strcmp(end, ":nan") || isinf(out->value);
}

static bool is_target(const Diagnosis *d)
{
    const Inject *i = d->s->inject;
    return i->step == d->s->step && i->result == d->seen;
}

static TitanStatus spoil(Diagnosis *d, const TitanMoment *at,
                         const TitanResult *r)
{
    const TitanImage *im = d->s->im;
    const TitanOperand *o =
        &im->operands[at->command->operands.first + r->operand];
    uint64_t to = offset_of(im, o, at);
    char value[8];
    for (uint32_t i = 0; i < r->spans.n; i++) {
        const TitanSpan *s = &im->spans[r->spans.first + i];
        to += (uint64_t)(s->n / 2 * s->bytes);
    }
    narrow_store_one(r->dtype, d->s->inject->value, value);
    TRY(device_write(device_seen(d->s->device), (TitanBase)o->base, to, value,
                     titan_dtype_bytes(r->dtype)));
    if (d->look) return TITAN_OK;
    fprintf(d->out,
            "step %" PRId64 ": %g put into result %" PRId64 " in the %s: ",
            d->s->step, d->s->inject->value, d->seen, phases[r->phase]);
    print_op(im, r, d->out);
    print_moment(im, at, d->out);
    fputc('\n', d->out);
    return TITAN_OK;
}

static TitanStatus after(TitanWatch *w, const TitanMoment *at)
{
    Diagnosis *d = (Diagnosis *)w;
    TitanRange rows = at->command->results;
    for (uint32_t i = 0; i < rows.n && !w->stop; i++) {
        const TitanResult *r = &d->s->im->results[rows.first + i];
        d->seen++;
        if (is_target(d)) TRY(spoil(d, at, r));
        if (d->look) TRY(look(d, at, r));
    }
    return TITAN_OK;
}

TitanStatus diagnose_inject(const Suspect *s, const TitanEntry *e, FILE *out)
{
    Diagnosis d = {.watch = {.after = after}, .s = s, .out = out};
    TRY(device_watch(s->device, e, e->runs.n, &d.watch));
    if (s->inject->result <= d.seen) return TITAN_OK;
    return titan_fail(s->device->story, TITAN_USAGE,
                      "--inject %" PRId64 ":%" PRId64
                      " puts a fault nowhere: the step writes %" PRId64
                      " float tensors",
                      s->step, s->inject->result, d.seen);
}

/* -------------------------------------------------------------- diagnose -- */

/* What the step begins with. */
static TitanStatus look_at_slot(const Diagnosis *d, const TitanSlot *slot,
                                uint32_t *bad)
{
    const TitanImage *im = d->s->im;
    char words[160];
    Census c = {0};
    bool param = slot->role == TITAN_ROLE_param;
    if (!titan_dtype_is_float(slot->dtype)) return TITAN_OK;
    /* Only of a parameter it is known that it is finite. */
    unsigned may = param ? 0 : TITAN_MAY_plus | TITAN_MAY_minus;
    int64_t n = titan_elements(im, slot->axes);
    int64_t piece = slot->piece ? (int64_t)slot->piece : n;
    for (int64_t at = 0; at < n; at += piece) {
        uint64_t far = (uint64_t)titan_slot_place(slot, at);
        TRY(count_dense(d, d->s->device, titan_slot_base(slot),
                        slot->offset + far * titan_dtype_bytes(slot->dtype),
                        slot->dtype, may, piece, &c));
    }
    if (census_bad(&c) && (*bad)++ < SLOTS_NAMED)
        fprintf(d->out, "  before the step: %s '%s' has %s\n",
                param ? "parameter" : "state", titan_string(im, slot->path),
                census_words(&c, words, sizeof words));
    return TITAN_OK;
}

static TitanStatus look_at_slots(const Diagnosis *d)
{
    uint32_t bad = 0;
    for (uint32_t i = 0; i < d->s->im->nslots; i++)
        TRY(look_at_slot(d, &d->s->im->slots[i], &bad));
    if (bad > SLOTS_NAMED)
        fprintf(d->out, "  and %" PRIu32 " more parameters and states\n",
                bad - SLOTS_NAMED);
    return TITAN_OK;
}

static TitanStatus look_at_step(Diagnosis *d, const TitanEntry *e)
{
    TRY(look_at_slots(d));
    TRY(device_watch(d->s->device, e, e->until, &d->watch));
    if (!d->found)
        fprintf(d->out,
                "  all %" PRId64 " float tensors up to the update are finite\n",
                d->seen);
    fflush(d->out);
    return TITAN_OK;
}

TitanStatus diagnose_run(const Suspect *s, const TitanEntry *e, FILE *out)
{
    Diagnosis d = {.watch = {.after = after}, .s = s, .out = out, .look = true};
    d.piece = malloc(PIECE);
    if (!d.piece) return titan_no_memory(s->device->story);
    TitanStatus st = look_at_step(&d, e);
    free(d.piece);
    return st;
}
