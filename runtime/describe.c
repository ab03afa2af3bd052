/*
 * describe.c: an image as text for people: memory, entries, parameters, and
 * the schedule.
 */
#include "work.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const base_names[] = {
#define B(name) #name,
    TITAN_BASES(B)
#undef B
};
static const char *const role_names[] = {"param",  "state", "input", "scalar",
                                         "record", "check", "output"};
static const char *const scale_words[TITAN_SCALE_COUNT] = {
    [TITAN_SCALE_none] = "none",
    [TITAN_SCALE_row128] = "row128",
    [TITAN_SCALE_block128] = "block128",
    [TITAN_SCALE_row] = "row"};
static const char *const target_names[] = {"host", "sm_90a", "sm_100a"};

static void print_type(const TitanImage *im, uint32_t dtype, TitanRange axes,
                       FILE *out)
{
    fprintf(out, "%s[", titan_dtype_name(dtype));
    for (uint32_t i = 0; i < axes.n; i++) {
        const TitanAxis *a = &im->axes[axes.first + i];
        fprintf(out, "%s%s %" PRId64, i ? ", " : "", titan_string(im, a->name),
                a->size);
    }
    fputc(']', out);
}

/* Of one rank. */
static void print_memory(const TitanImage *im, const TitanStage *s, FILE *out)
{
    fprintf(out, "\nmemory");
    if (im->nstages > 1)
        fprintf(out, " of stage %u", (unsigned)(s - im->stages));
    fputc('\n', out);
    for (int b = 0; b < TITAN_BASE_host; b++)
        fprintf(out, "  %-10s %16" PRIu64 " bytes%s", base_names[b],
                s->base_bytes[b], b == TITAN_BASE_lane ? " each" : "\n");
    fprintf(out, ", %" PRIu32 " lanes\n  %-10s %16" PRIu64 " bytes\n",
            im->header->lanes, "arena", s->arena_bytes);
    if (s->base_bytes[TITAN_BASE_host])
        fprintf(out, "  %-10s %16" PRIu64 " bytes\n",
                base_names[TITAN_BASE_host], s->base_bytes[TITAN_BASE_host]);
}

static void print_header(const TitanImage *im, FILE *out)
{
    const TitanHeader *h = im->header;
    fprintf(out,
            "image version %" PRIu32 ", target %s, %" PRIu64 " bytes, hash ",
            h->version, h->target < 3 ? target_names[h->target] : "?", h->size);
    for (int i = 0; i < 16; i++)
        fprintf(out, "%02x", h->hash[i]);
    fprintf(out, "\n");
    for (uint32_t i = 0; i < im->nstages; i++)
        print_memory(im, &im->stages[i], out);
    if (h->streams > 1)
        fprintf(out, "\n%" PRIu32 " streams, %" PRIu32 " events\n", h->streams,
                h->events);
}

static void print_peaks(const TitanImage *im, const TitanStage *s, FILE *out)
{
    if (s->peaks.n == 0) return;
    fprintf(out, "\nlive at the peak of the frame");
    if (im->nstages > 1)
        fprintf(out, " of stage %u", (unsigned)(s - im->stages));
    fputc('\n', out);
    for (uint32_t i = 0; i < s->peaks.n; i++) {
        const TitanPeak *p = &im->peaks[s->peaks.first + i];
        fprintf(out, "  %14" PRIu64 " bytes  %s", p->bytes,
                titan_string(im, p->name));
        if (p->line)
            fprintf(out, "  (%s:%" PRIu32 ")", titan_string(im, p->file),
                    p->line);
        fputc('\n', out);
    }
}

static void print_facts(const TitanImage *im, FILE *out)
{
    if (im->nfacts) fprintf(out, "\nfacts\n");
    for (uint32_t i = 0; i < im->nfacts; i++) {
        const TitanFact *f = &im->facts[i];
        fprintf(out, "  %-24s ", titan_string(im, f->name));
        if (f->text)
            fprintf(out, "\"%s\"\n", titan_string(im, f->text));
        else
            fprintf(out, "%.17g\n", f->value);
    }
    for (uint32_t i = 0; i < im->nstages; i++)
        print_peaks(im, &im->stages[i], out);
}

/* Where stages have parts of something. */
static void print_parts(const TitanImage *im, TitanRange axes, TitanRange parts,
                        FILE *out)
{
    for (uint32_t i = 0; im->nstages > 1 && i < parts.n; i++) {
        const TitanPart *p = &im->parts[parts.first + i];
        fprintf(out, ", stage %" PRIu32 " at %" PRIu64, p->stage, p->offset);
        if (p->n)
            fprintf(out, " %s %" PRId64 "..%" PRId64,
                    titan_string(im, im->axes[axes.first + p->axis].name),
                    p->first, p->first + p->n);
    }
}

static void print_slots(const TitanImage *im, FILE *out)
{
    fprintf(out, "\nparameters and states\n");
    for (uint32_t i = 0; i < im->nslots; i++) {
        const TitanSlot *s = &im->slots[i];
        fprintf(out, "  %-6s %-40s ", role_names[s->role & 1],
                titan_string(im, s->path));
        print_type(im, s->dtype, s->axes, out);
        fprintf(out, " at %" PRIu64, s->offset);
        if (s->piece)
            fprintf(out, " in pieces of %" PRIu64 " every %" PRIu64, s->piece,
                    s->pitch);
        if (s->flags & TITAN_SLOT_frozen) fprintf(out, " frozen");
        if (s->flags & TITAN_SLOT_ckpt)
            fprintf(out, " as \"%s\"", titan_string(im, s->ckpt));
        if (*titan_string(im, s->scale))
            fprintf(out, " times \"%s\"", titan_string(im, s->scale));
        print_parts(im, s->axes, s->parts, out);
        fputc('\n', out);
    }
}

static void print_operand(const TitanImage *im, uint32_t i, FILE *out)
{
    const TitanOperand *o = &im->operands[i];
    if (o->kind == TITAN_OPERAND_counter) {
        fprintf(out, " counter%" PRIu64, o->offset);
        return;
    }
    if (o->kind == TITAN_OPERAND_coordinate) {
        fprintf(out, " coordinate(%s)",
                titan_string(im, im->groups[o->offset].name));
        return;
    }
    fprintf(out, " %s+%" PRIu64, base_names[o->base], o->offset);
    for (uint32_t k = 0; k < o->turns.n; k++) {
        const TitanTurn *t = &im->turns[o->turns.first + k];
        if (t->ring)
            fprintf(out, "+%" PRId64 "*((turn%" PRIu32 "+%u)%%%u)", t->bytes,
                    t->depth, t->shift, t->ring);
        else
            fprintf(out, "+%" PRId64 "*turn%" PRIu32, t->bytes, t->depth);
    }
}

/* The float tensors that a command writes, with the infinities they may hold.
 */
static void print_results(const TitanImage *im, const TitanCommand *c,
                          FILE *out)
{
    static const char *const may[] = {"", " or inf", " or -inf",
                                      " or inf, -inf"};
    for (uint32_t i = 0; i < c->results.n; i++) {
        const TitanResult *r = &im->results[c->results.first + i];
        const char *name = titan_string(im, r->name);
        fprintf(out, "%s%s %s%s", i ? ", " : " -> ", *name ? name : "_",
                titan_dtype_name(r->dtype), may[r->may & 3]);
    }
}

static void print_command(const TitanImage *im, const TitanCommand *c,
                          int indent, FILE *out)
{
    char line[512];
    fprintf(out, "%*s", indent, "");
    if (im->header->streams > 1) fprintf(out, "[%" PRIu32 "] ", c->stream);
    switch ((TitanCommandKind)c->kind) {
    case TITAN_COMMAND_kernel:
        fprintf(out, "kernel %s x %" PRId64,
                titan_string(im, im->kernels[c->index].name), c->items);
        if (c->processors)
            fprintf(out, " on %" PRIu32 " processors", c->processors);
        break;
    case TITAN_COMMAND_gemm: {
        const TitanGemm *g = &im->gemms[c->index];
        int64_t batch = 1;
        for (uint32_t b = 0; b < g->nbatch; b++)
            batch *= g->batch[b];
        fprintf(out, "gemm %s %" PRId64 " x %" PRId64 " x %" PRId64,
                titan_dtype_name(g->dtype_a), g->m, g->n, g->k);
        if (batch > 1) fprintf(out, " batch %" PRId64, batch);
        if (g->processors)
            fprintf(out, " on %" PRIu64 " processors", g->processors);
        if (g->accumulate == TITAN_GEMM_add_d) fprintf(out, " add");
        if (g->accumulate == TITAN_GEMM_add_c) fprintf(out, " plus");
        if (g->accumulate == TITAN_GEMM_scaled) fprintf(out, " scaled");
        if (g->scale_a)
            fprintf(out, " scales %s %s", scale_words[g->scale_a],
                    scale_words[g->scale_b]);
        if (g->fast) fprintf(out, " fast");
        break;
    }
    case TITAN_COMMAND_copy:
        fprintf(out, "copy %" PRId64, c->items);
        break;
    case TITAN_COMMAND_zero:
        fprintf(out, "zero %" PRId64, c->items);
        break;
    case TITAN_COMMAND_collective:
        command_name(im, c, line, sizeof line);
        fputs(line, out);
        if (c->fed) fputs(" fed", out);
        if (c->fed && im->collectives[c->index].steps > 1)
            fprintf(out, " in %" PRIu32 " steps",
                    im->collectives[c->index].steps);
        if (c->stays) fprintf(out, " stays %" PRIu32, c->stays - 1);
        break;
    case TITAN_COMMAND_signal:
        fprintf(out, "signal %" PRIu32, c->index);
        break;
    case TITAN_COMMAND_wait:
        fprintf(out, "wait %" PRIu32, c->index);
        break;
    }
    if (c->fed && c->kind != TITAN_COMMAND_collective) fputs(" part", out);
    if (c->operands.n) fputc(':', out);
    for (uint32_t i = 0; i < c->operands.n; i++)
        print_operand(im, c->operands.first + i, out);
    print_results(im, c, out);
    if (c->line)
        fprintf(out, "  // %s:%" PRIu32, titan_string(im, c->file), c->line);
    fputc('\n', out);
}

static void print_runs(const TitanImage *im, const TitanEntry *e, FILE *out)
{
    int indent = 4;
    TitanRange runs = e->runs;
    for (uint32_t i = 0; i < runs.n; i++) {
        const TitanRun *r = &im->runs[runs.first + i];
        if (e->until && i == e->until) fprintf(out, "%*supdate\n", indent, "");
        switch ((TitanRunKind)r->kind) {
        case TITAN_RUN_program: {
            const TitanProgram *p = &im->programs[r->program];
            fprintf(out, "%*sprogram %s\n", indent, "",
                    titan_string(im, p->name));
            for (uint32_t k = 0; k < p->commands.n; k++)
                print_command(im, &im->commands[p->commands.first + k],
                              indent + 2, out);
            break;
        }
        case TITAN_RUN_loop:
            fprintf(out, "%*sloop %" PRId64 "%s%s%s axis %s\n", indent, "",
                    r->count, r->flags & TITAN_LOOP_reverse ? " reverse" : "",
                    r->flags & TITAN_LOOP_parallel ? " parallel" : "",
                    r->flags & TITAN_LOOP_while ? " while" : "",
                    titan_string(im, r->name));
            indent += 2;
            break;
        case TITAN_RUN_end:
            indent -= 2;
            fprintf(out, "%*send\n", indent, "");
            break;
        case TITAN_RUN_segment:
            fprintf(out, "%*ssegment\n", indent, "");
            break;
        }
    }
}

/* The entry that has the same list, if one was printed before. */
static const TitanEntry *same_list(const TitanImage *im, const TitanEntry *e)
{
    for (const TitanEntry *o = im->entries; o < e; o++)
        if (o->runs.first == e->runs.first && o->runs.n == e->runs.n &&
            o->runs.n > 0)
            return o;
    return NULL;
}

static void print_ports(const TitanImage *im, const TitanEntry *e, FILE *out)
{
    for (uint32_t k = 0; k < e->ports.n; k++) {
        const TitanPort *p = &im->ports[e->ports.first + k];
        fprintf(out, "  %-6s %-24s ", role_names[p->role],
                titan_string(im, p->path));
        print_type(im, p->dtype, p->axes, out);
        fprintf(out, " at %" PRIu64, p->offset);
        print_parts(im, p->axes, p->parts, out);
        fputc('\n', out);
    }
}

static void print_entries(const TitanImage *im, FILE *out)
{
    uint32_t each = im->nentries / im->nstages;
    for (uint32_t i = 0; i < im->nentries; i++) {
        const TitanEntry *e = &im->entries[i];
        const TitanEntry *same = same_list(im, e);
        fprintf(out, "\nentry %s", titan_string(im, e->name));
        if (im->nstages > 1) fprintf(out, " of stage %" PRIu32, i / each);
        fputc('\n', out);
        if (same) {
            fprintf(out, "    the list of %s%s\n", titan_string(im, same->name),
                    e->until ? ", up to its update" : "");
            continue;
        }
        if (i < each) print_ports(im, e, out);
        print_runs(im, e, out);
    }
}

void titan_describe(const TitanImage *im, void *stream)
{
    FILE *out = stream;
    print_header(im, out);
    print_facts(im, out);
    print_slots(im, out);
    print_entries(im, out);
}
