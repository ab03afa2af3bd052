/*
 * diagnose.c: where a step stops being finite.
 *
 * The step is run again up to its update and looked at on every rank (exam.h).
 * Parameters and states are looked at as well, since weights may come with NaN
 * in them.
 *
 * A fault on purpose is put there in the step, and when it is run again.
 */
#include "diagnose.h"

#include "census.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_NAMED = 2 };

typedef struct Diagnosis {
    const Suspect *s;
    FILE *out;
    char *piece; /* EXAM_PIECE bytes */
} Diagnosis;

/* ---------------------------------------------------------------- faults -- */

/* ":nan", ":inf" or ":-inf", or nothing. */
static bool parse_value(char **at, Inject *out)
{
    static const struct {
        const char *word;
        double value;
    } words[] = {{":nan", NAN}, {":inf", INFINITY}, {":-inf", -INFINITY}};
    size_t n = strcspn(*at, "@");
    for (size_t i = 0; i < sizeof words / sizeof *words && n; i++)
        if (strlen(words[i].word) == n && !strncmp(*at, words[i].word, n)) {
            out->value = words[i].value;
            *at += n;
            return true;
        }
    return n == 0;
}

/* "@RANK", or nothing. */
static bool parse_rank(const char *at, Inject *out)
{
    char *end;
    if (!*at) return true;
    out->rank = (uint32_t)strtoul(at + 1, &end, 10);
    return at[1] >= '0' && at[1] <= '9' && !*end;
}

bool inject_parse(const char *text, Inject *out)
{
    char *end;
    *out = (Inject){.value = NAN};
    out->step = strtoll(text, &end, 10);
    if (end == text || *end != ':') return false;
    const char *result = end + 1;
    out->result = strtoll(result, &end, 10);
    if (end == result || out->step < 1 || out->result < 1) return false;
    return parse_value(&end, out) && parse_rank(end, out);
}

/* The fault, where this is its step. */
static Exam exam_of(const Suspect *s)
{
    const Inject *i = s->inject;
    if (i->step == 0 || i->step != s->step) return (Exam){0};
    return (Exam){.fault = i->result, .value = i->value, .rank = i->rank};
}

TitanStatus diagnose_inject(const Suspect *s, const TitanEntry *e, FILE *out)
{
    Finding f;
    Exam x = exam_of(s);
    x.whole = true;
    if (x.rank >= s->im->header->ranks)
        return titan_fail(s->device->story, TITAN_USAGE,
                          "--inject puts a fault on rank %" PRIu32
                          ", and there %s %" PRIu32,
                          x.rank, s->im->header->ranks == 1 ? "is" : "are",
                          s->im->header->ranks);
    TRY(examine(s->im, s->device, e, &x, &f));
    if (f.text[0]) {
        fprintf(out, "step %" PRId64 ": %s\n", s->step, f.text);
        return TITAN_OK;
    }
    return titan_fail(s->device->story, TITAN_USAGE,
                      "--inject %" PRId64 ":%" PRId64
                      " puts a fault nowhere: the step writes %" PRId64
                      " float tensors",
                      s->step, s->inject->result, f.seen);
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
        Dense x = {titan_slot_base(slot),
                   slot->offset + far * titan_dtype_bytes(slot->dtype),
                   slot->dtype, may, piece};
        TRY(exam_count(d->s->device, &x, d->piece, &c));
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
    Finding f;
    Exam x = exam_of(d->s);
    x.look = true;
    TRY(look_at_slots(d));
    TRY(examine(d->s->im, d->s->device, e, &x, &f));
    if (f.found)
        fprintf(d->out, "  %s\n", f.text);
    else
        fprintf(d->out,
                "  all %" PRId64 " float tensors up to the update are finite\n",
                f.seen);
    fflush(d->out);
    return TITAN_OK;
}

TitanStatus diagnose_run(const Suspect *s, const TitanEntry *e, FILE *out)
{
    Diagnosis d = {s, out, malloc(EXAM_PIECE)};
    if (!d.piece) return titan_no_memory(s->device->story);
    TitanStatus st = look_at_step(&d, e);
    free(d.piece);
    return st;
}
