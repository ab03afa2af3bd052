/*
 * image.c: the image of a planned module.
 *
 * Each entry is walked in the order of execution.  Launches between loops
 * become one program (image_commands.c); a loop becomes a pair of runs around
 * those of its body.
 */
#include "image_commands.h"
#include "target.h"

#include <string.h>

enum { HOST_LANES = 16 };

/* ------------------------------------------------------------------ runs -- */

/* Commands since the last program become one. */
static void end_program(ImageWriter *w, const Fn *fn)
{
    ImageTables *t = &w->t;
    if (t->commands.n == w->program) return;
    if (w->gpu) image_own(t, w->program);
    TitanProgram p = {.name = image_string(t, fn->name),
                      .commands = {w->program, t->commands.n - w->program}};
    vec_push(t->a, &t->programs, p);
    TitanRun run = {.kind = TITAN_RUN_program, .program = t->programs.n - 1};
    vec_push(t->a, &t->runs, run);
    w->program = t->commands.n;
}

static void write_fn(ImageWriter *w, const Fn *fn, const ImageAt *args);

static void write_loop(ImageWriter *w, const Fn *fn, const Inst *in,
                       const ImageAt *args)
{
    ImageTables *t = &w->t;
    Module *m = t->m;
    if (w->depth == MOST_LOOPS) {
        diag_error(m->diag, DIAG_ir_limit, loc_span(m, in->loc),
                   "loops nest more than %d deep", MOST_LOOPS);
        w->failed = true;
        return;
    }
    bool parallel = attr_flag(m, in->attr, AT_parallel);
    bool guarded = attr_flag(m, in->attr, AT_guarded);
    ImageAt *inner = NEW_ARRAY(t->a, ImageAt, (size_t)in->nargs + 1);
    for (uint32_t i = 0; i < in->nargs; i++)
        inner[i] = image_at(w, fn, inst_arg(fn, in, i), args);
    TitanRun run = {.kind = TITAN_RUN_loop,
                    .count = attr_int(m, in->attr, AT_count, 0)};
    Axis axis = attr_axis(m, in->attr, AT_axis);
    run.name = image_text(t, axis_name(m, axis));
    if (attr_flag(m, in->attr, AT_reverse)) run.flags |= TITAN_LOOP_reverse;
    if (parallel) run.flags |= TITAN_LOOP_parallel;
    if (guarded) {
        run.flags |= TITAN_LOOP_while;
        run.operand = image_operand(w, &inner[0]);
    }
    end_program(w, fn);
    uint32_t at = t->runs.n;
    vec_push(t->a, &t->runs, run);
    for (uint32_t i = 0; i < in->nargs; i++) {
        memmove(inner[i].turn + 1, inner[i].turn,
                (MOST_LOOPS - 1) * sizeof *inner[i].turn);
        inner[i].turn[0] = 0;
        inner[i].ring_loop++;
    }
    bool lanes = w->lanes;
    w->lanes |= parallel;
    w->depth++;
    write_fn(w, fn_of(m, attr_fn(m, in->attr, AT_fn)), inner);
    w->depth--;
    w->lanes = lanes;
    t->runs.at[at].program = t->runs.n;
    TitanRun end = {.kind = TITAN_RUN_end, .program = at};
    vec_push(t->a, &t->runs, end);
}

static void write_fn(ImageWriter *w, const Fn *fn, const ImageAt *args)
{
    ImageStreams s;
    LiveUsers users = w->users;
    w->users = live_users(w->t.m, fn, w->t.a);
    image_streams_begin(&w->t, &s, fn);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (!args && i == w->update) {
            image_streams_meet(&w->t, &s, i);
            end_program(w, fn);
            w->update_run = w->t.runs.n;
        }
        if (!is_step(in)) continue;
        image_step_begin(&w->t, &s, i);
        if (in->op == OP_launch)
            image_launch(w, fn, in, args);
        else
            write_loop(w, fn, in, args);
        image_step_end(&w->t, &s, i);
    }
    image_streams_meet(&w->t, &s, fn->ninsts);
    end_program(w, fn);
    w->users = users;
}

/* ---------------------------------------------------------------- bounds -- */

/* The states of sessions lie in the frame. */
static void find_sessions(ImageWriter *w, const Fn *fn, Value v)
{
    Module *m = w->t.m;
    Attr a = inst_of(fn, v)->attr;
    if (!attr_is(m, a, AT_base, base_name(BASE_frame))) return;
    Layout l = layout_of(m, fn, v, m->scratch);
    uint64_t end =
        (uint64_t)(attr_int(m, a, AT_offset, 0) + layout_bytes(m, l));
    end = (end + 255) & ~UINT64_C(255);
    if (w->frame < end) w->frame = end;
}

/* Bytes of the stage's temporaries and sessions, which workspaces follow. */
static void find_ends(ImageWriter *w)
{
    Module *m = w->t.m;
    const Fn *const *entries = w->t.entry_fns[w->t.stage];
    w->frame = w->lane = w->host = 0;
    for (uint32_t f = 0; f < w->t.nentries; f++) {
        for (uint32_t i = 0; i < entries[f]->nparams; i++)
            find_sessions(w, entries[f], (Value){i});
        for (uint32_t i = 0; i < entries[f]->nresults; i++)
            find_sessions(w, entries[f], entries[f]->result_values[i]);
    }
    Live live = image_live(&w->t);
    for (uint32_t i = 0; i < live.n; i++) {
        const LiveBuffer *b = &live.at[i];
        const Inst *in = inst_of(b->fn, b->value);
        uint64_t end =
            (uint64_t)(attr_int(m, in->attr, AT_offset, 0) + b->bytes);
        uint64_t *most = b->base == BASE_lane   ? &w->lane
                         : b->base == BASE_host ? &w->host
                                                : &w->frame;
        end = (end + 255) & ~UINT64_C(255);
        if (*most < end) *most = end;
    }
    image_reserve(&w->t, TITAN_BASE_frame, w->frame);
    image_reserve(&w->t, TITAN_BASE_lane, w->lane);
    image_reserve(&w->t, TITAN_BASE_host, w->host);
}

/* --------------------------------------------------------------- entries -- */

/* An entry on all stages. */
typedef struct Entry {
    const Fn **fns; /* by stage */
    Str name;
    TitanRange ports;
    uint32_t *updates; /* by stage; NULL: it does not train */
} Entry;

static Entry *find_entries(ImageWriter *w)
{
    ImageTables *t = &w->t;
    Entry *at = NEW_ARRAY(t->a, Entry, (size_t)t->nentries + 1);
    for (uint32_t i = 0; i < t->nentries; i++) {
        at[i].fns = NEW_ARRAY(t->a, const Fn *, (size_t)t->stages.n + 1);
        for (uint32_t s = 0; s < t->stages.n; s++)
            at[i].fns[s] = t->entry_fns[s][i];
        at[i].name = image_entry_name(t, at[i].fns[0]);
        at[i].ports = image_ports(t, at[i].fns);
        if (strcmp(str_of(t->m, at[i].name), "train") == 0)
            at[i].updates = image_updates(t, at[i].fns);
    }
    return at;
}

static void write_entry(ImageWriter *w, const Entry *x)
{
    ImageTables *t = &w->t;
    const Fn *fn = x->fns[t->stage];
    /* a model begins alike on every target */
    kernels_exact(w->kernels, strcmp(str_of(t->m, x->name), "init") == 0);
    TitanEntry e = {.name = image_string(t, x->name),
                    .runs = {.first = t->runs.n},
                    .ports = x->ports};
    w->update = x->updates ? x->updates[t->stage] : fn->ninsts;
    w->update_run = t->runs.n;
    write_fn(w, fn, NULL);
    e.runs.n = t->runs.n - e.runs.first;
    e.until = w->update_run - e.runs.first;
    vec_push(t->a, &t->entries, e);
    if (!x->updates || (t->stages.n == 1 && e.until == 0)) return;
    e.name = image_text(t, "diagnose");
    vec_push(t->a, &t->entries, e);
}

static void write_stages(ImageWriter *w)
{
    ImageTables *t = &w->t;
    const Entry *entries = find_entries(w);
    for (t->stage = 0; t->stage < t->stages.n; t->stage++) {
        TitanRange *rows = &t->stages.at[t->stage].entries;
        rows->first = t->entries.n;
        find_ends(w);
        for (uint32_t i = 0; i < t->nentries; i++)
            write_entry(w, &entries[i]);
        rows->n = t->entries.n - rows->first;
    }
}

static void write_kernels(ImageWriter *w)
{
    ImageTables *t = &w->t;
    for (uint32_t i = 0; i < kernels_count(w->kernels); i++) {
        const Kernel *k = kernel_at(w->kernels, i);
        TitanKernel row = {.name = image_text(t, k->name),
                           .args = k->nargs,
                           .threads = k->threads,
                           .shared_bytes = k->shared,
                           .flops = k->work.flops,
                           .bytes = k->work.bytes,
                           .scalars = k->work.scalars,
                           .width = k->work.width,
                           .limit = k->work.limit,
                           .maps = {t->maps.n, k->nmaps}};
        for (uint32_t j = 0; j < k->nmaps; j++)
            vec_push(t->a, &t->maps, k->maps[j]);
        vec_push(t->a, &t->kernels, row);
    }
}

bool image_write(Module *m, const CodegenOpts *o, KernelSet *kernels,
                 const void **image, size_t *size)
{
    ImageWriter w = {.kernels = kernels, .gpu = target_is_gpu(o->target)};
    if (w.gpu) w.processors = o->processors;
    image_begin(&w.t, m);
    map_init(&w.gemm_map, m->arena);
    w.t.target = target_in_image(o->target);
    image_stages(&w.t);
    image_mesh(&w.t, &o->rehearsal);
    w.t.lanes = w.gpu ? 1 : HOST_LANES;
    w.t.streams = module_streams(m);
    w.t.infinities = infinities_find(m);
    image_slots(&w.t);
    write_stages(&w);
    if (w.failed) return false;
    write_kernels(&w);
    image_facts(&w.t);
    /* x86-64-v4 has the wide vectors; the runtime refuses a lesser machine. */
    if (!w.gpu) image_fact(&w.t, "cpu_level", machine_lanes(o) > 8 ? 4 : 3);
    *image = image_bytes(&w.t, size);
    return true;
}
