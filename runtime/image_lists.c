/*
 * image_lists.c: checks of stages, of their entries, and of the lists that
 * these run.
 */
#include "image.h"

#include "streams.h"

static TitanStatus check_arena(ImageCheck *c, const TitanStage *s)
{
    uint64_t total = 0;
    for (int b = 0; b < TITAN_BASE_COUNT; b++) {
        uint64_t count = b == TITAN_BASE_lane ? c->im->header->lanes : 1;
        if (s->base_bytes[b] > (UINT64_C(1) << 50))
            return BAD(c, "base %d has %" PRIu64 " bytes", b, s->base_bytes[b]);
        if (b == TITAN_BASE_host) continue;
        total += ((s->base_bytes[b] + 255) & ~UINT64_C(255)) * count;
    }
    if (total != s->arena_bytes)
        return BAD(c,
                   "the parts of the arena make %" PRIu64
                   " bytes, its stage says %" PRIu64,
                   total, s->arena_bytes);
    return TITAN_OK;
}

static bool same_range(TitanRange a, TitanRange b)
{
    return a.first == b.first && a.n == b.n;
}

/* Entries of one number have one name and one range of ports. */
static TitanStatus check_alike(ImageCheck *c, uint32_t stage)
{
    const TitanImage *im = c->im;
    uint32_t n = im->nentries / im->nstages;
    TitanRange r = im->stages[stage].entries;
    if (r.n != n || r.first != stage * n)
        return BAD(c, "stage %" PRIu32 " does not have its entries", stage);
    for (uint32_t i = 0; i < n; i++) {
        const TitanEntry *e = &im->entries[r.first + i], *o = &im->entries[i];
        if (e->name != o->name || !same_range(e->ports, o->ports))
            return BAD(c, "entry %" PRIu32 " of stage %" PRIu32 " is another",
                       i, stage);
    }
    return TITAN_OK;
}

TitanStatus image_check_stages(ImageCheck *c)
{
    const TitanImage *im = c->im;
    uint64_t most = 0;
    if (im->nstages == 0 || im->nentries % im->nstages != 0)
        return BAD(c, "%" PRIu32 " entries of %" PRIu32 " stages", im->nentries,
                   im->nstages);
    for (uint32_t i = 0; i < im->nstages; i++) {
        const TitanStage *s = &im->stages[i];
        TRY(check_arena(c, s));
        TRY(check_alike(c, i));
        if (!range_ok(s->peaks, im->npeaks))
            return BAD(c, "the peaks of stage %" PRIu32 " are missing", i);
        if (s->arena_bytes > most) most = s->arena_bytes;
    }
    if (most != im->header->arena_bytes)
        return BAD(c,
                   "the largest arena has %" PRIu64
                   " bytes, the header says %" PRIu64,
                   most, im->header->arena_bytes);
    return TITAN_OK;
}

/* A bool that is read in front of each turn. */
static TitanStatus check_condition(ImageCheck *c, uint32_t operand,
                                   const int64_t *counts, uint32_t depth)
{
    TRY(image_check_operand(c, operand, counts, depth));
    if (operand_has(&c->im->operands[operand], 1)) return TITAN_OK;
    return BAD(c, "a loop's condition is not in memory");
}

/* Walks an entry's runs once, with the counts of the loops around. */
static TitanStatus check_runs(ImageCheck *c, TitanRange runs, uint32_t until)
{
    int64_t counts[TITAN_MOST_LOOPS];
    uint32_t ends[TITAN_MOST_LOOPS], loops[TITAN_MOST_LOOPS], depth = 0;
    c->parallel = 0;
    if (!range_ok(runs, c->im->nruns)) return BAD(c, "an entry has no runs");
    for (uint32_t i = runs.first; i < runs.first + runs.n; i++) {
        const TitanRun *r = &c->im->runs[i];
        TRY(image_check_string(c, r->name));
        if (i - runs.first == until && depth > 0)
            return BAD(c, "an entry is cut inside a loop");
        switch ((TitanRunKind)r->kind) {
        case TITAN_RUN_program:
            TRY(image_check_program(c, r->program, counts, depth));
            continue;
        case TITAN_RUN_loop:
            if (r->count < 1 || depth == TITAN_MOST_LOOPS || r->program <= i ||
                r->program >= runs.first + runs.n)
                return BAD(c, "loop at run %" PRIu32 " is damaged", i);
            if ((r->flags & TITAN_LOOP_while) &&
                (r->flags & TITAN_LOOP_parallel))
                return BAD(c,
                           "loop at run %" PRIu32
                           " has a condition, and turns in no order",
                           i);
            if (r->flags & TITAN_LOOP_while)
                TRY(check_condition(c, r->operand, counts, depth));
            counts[depth] = r->count;
            ends[depth++] = r->program;
            loops[depth - 1] = (r->flags & TITAN_LOOP_parallel) != 0;
            c->parallel += loops[depth - 1];
            continue;
        case TITAN_RUN_end:
            if (depth == 0 || ends[depth - 1] != i)
                return BAD(c, "end at run %" PRIu32 " without its loop", i);
            depth--;
            c->parallel -= loops[depth];
            continue;
        case TITAN_RUN_segment:
            continue;
        }
        return BAD(c, "run of kind %" PRIu32, r->kind);
    }
    return depth == 0 ? TITAN_OK : BAD(c, "a loop has no end");
}

static TitanStatus check_words(ImageCheck *c)
{
    const TitanImage *im = c->im;
    for (uint32_t i = 0; i < im->nfacts; i++) {
        TRY(image_check_string(c, im->facts[i].name));
        TRY(image_check_string(c, im->facts[i].text));
    }
    for (uint32_t i = 0; i < im->npeaks; i++) {
        TRY(image_check_string(c, im->peaks[i].name));
        TRY(image_check_string(c, im->peaks[i].file));
    }
    return TITAN_OK;
}

static TitanStatus check_entry(ImageCheck *c, const TitanEntry *e)
{
    TRY(image_check_string(c, e->name));
    if (!range_ok(e->ports, c->im->nports))
        return BAD(c, "an entry has no ports");
    if (e->until > e->runs.n) return BAD(c, "an entry has too few runs");
    return check_runs(c, e->runs, e->until);
}

TitanStatus image_check_entries(ImageCheck *c)
{
    const TitanImage *im = c->im;
    TRY(check_words(c));
    for (uint32_t s = 0; s < im->nstages; s++) {
        c->stage = &im->stages[s];
        for (uint32_t i = 0; i < c->stage->entries.n; i++)
            TRY(check_entry(c, &im->entries[c->stage->entries.first + i]));
    }
    return streams_check(c->story, im);
}
