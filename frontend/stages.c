/*
 * stages.c: the rule that cuts layers into stages, as the passes read it.
 *
 *     shard layer over pp schedule interleaved_1f1b chunks 2 microbatch 1
 *
 * becomes the options
 *
 *     pipeline "layer over pp schedule interleaved_1f1b chunks 2"
 *     accumulate "8"        the microbatches of a step
 *
 * A schedule in quotes is a file beside the plan; the option `schedule` is what
 * stands in it.  `microbatch` counts the rows that one device has of the batch
 * in one pass through the stages.
 */
#include <inttypes.h>

#include "plan.h"
#include "train.h"

/* On how many devices the rows of the batch are. */
static int64_t batch_devices(const Plan *p, Axis batch)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < p->shards.n; i++) {
        const Shard *x = p->shards.at[i];
        for (uint32_t k = 0; k < x->naxes; k++)
            for (uint32_t a = 0; x->axes[k].id == batch.id && a < x->natoms;
                 a++)
                n *= p->s->m->mesh.at[x->atoms[a].id].size;
    }
    return n;
}

static bool set_microbatches(Plan *p, const Clause *c)
{
    Sema *s = p->s;
    Axis batch;
    const Node *t = c->terms.at[0];
    int64_t rows = t->number.integer;
    if (!axis_find(s->m, option_get(s->m, "batch_axis"), &batch)) return true;
    if (rows < 1) {
        Report *r = sema_error(s, DIAG_pipeline_micros, t->span,
                               "a microbatch of %" PRId64 " rows", rows);
        report_help(r, "a microbatch has at least one row of '%s'",
                    axis_name(s->m, batch));
        return false;
    }
    int64_t devices = batch_devices(p, batch), size = axis_size(s, batch);
    if (size % (devices * rows) != 0) {
        Report *r =
            sema_error(s, DIAG_pipeline_micros, t->span,
                       "axis '%s' (%" PRId64 ") is not a multiple of %" PRId64
                       " rows on each of %" PRId64 " device%s",
                       axis_name(s->m, batch), size, rows, devices,
                       devices == 1 ? "" : "s");
        report_help(r, "%" PRId64 " rows would be one microbatch",
                    size / devices);
        return false;
    }
    int64_t parts = option_int(s->m, "accumulate", 1) * (size / devices / rows);
    option_set(s->m, "accumulate", arena_printf(s->a, "%" PRId64, parts));
    return true;
}

static bool read_schedule(Plan *p, const Node *name)
{
    Sema *s = p->s;
    size_t size;
    const char *file = STR(s, name->string);
    const char *from = diag_place(s->m->diag, name->span).path;
    const char *end = strrchr(from, '/');
    if (end && *file != '/')
        file = arena_printf(s->a, "%.*s/%s", (int)(end - from), from, file);
    const char *text = read_file(s->a, file, &size);
    if (text) {
        option_set(s->m, "schedule", text);
        return true;
    }
    sema_error(s, DIAG_file_missing, name->span, "could not read \"%s\"", file);
    return false;
}

static void put_terms(Plan *p, const Clause *c, Buf *out)
{
    buf_printf(out, " %s", clause_word(c->kind));
    for (uint32_t i = 0; i < c->terms.n; i++) {
        const Node *t = c->terms.at[i];
        buf_puts(out, i ? ", " : " ");
        if (t->kind == N_string)
            buf_printf(out, "\"%s\"", STR(p->s, t->string));
        else
            buf_puts(out,
                     STR(p->s, t->kind == N_number ? t->number.text : t->name));
    }
}

bool plan_stages(Plan *p, const Shard *x, Buf *out)
{
    for (uint32_t i = 0; i < x->node->rule.nclauses; i++) {
        const Clause *c = &x->node->rule.clauses[i];
        switch (c->kind) {
        case CLAUSE_schedule:
            if (c->terms.at[0]->kind == N_string &&
                !read_schedule(p, c->terms.at[0]))
                return false;
            put_terms(p, c, out);
            break;
        case CLAUSE_chunks:
        case CLAUSE_layers:
        case CLAUSE_ends:
            put_terms(p, c, out);
            break;
        case CLAUSE_microbatch:
            if (!set_microbatches(p, c)) return false;
            break;
        default:
            break;
        }
    }
    return true;
}
