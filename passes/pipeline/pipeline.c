/*
 * pipeline.c: layers are cut into stages, which ranks run by a schedule.
 *
 *   needs    gradless, precise, the batch split
 *   keeps    every result, bit for bit
 *   result   for each entry a function for each rank (kind rank), which calls
 *            those of its stages (kind stage), sends and receives; slots with
 *            layers in parts; the mesh without the ranks' axis, whose name the
 *            option `rank-axis` has
 *
 * The rule of the plan arrives as the option `pipeline`.  It stands in front of
 * `shard`, in the global view, so a stage's function is a program like any
 * other, and on what is left of the mesh each is split as the rules say; and
 * behind `once`, so that dtypes are final and what is made once a step stands
 * outside of the microbatches.
 *
 * P1 A stage has a range of the turns of each repeat over the axes of the rule,
 *    and what stands around them.  seat.c says where each value is.
 * P2 Sums over microbatches are in their order, whatever the schedule's is.
 * P3 All transfers are in one order, which every rank keeps.
 *
 * Tokens, labels and whatever else the data gives come to every rank, and a
 * stage takes of them what belongs to its microbatch: document ids and labels
 * need not travel.  A parameter that several stages read, as a tied table, is
 * of the first of them, which sends it to the others once a step, and gets
 * their gradients for each microbatch, to add them in the order of the plain
 * program.  Norms, rates and `applied` are on every rank, and so are records.
 */
#include <inttypes.h>

#include "cut.h"

/* ---------------------------------------------------------------- layers -- */

/* The rule, or of IR that was read the step. */
static Span place_of(const Cut *c)
{
    FnRef train;
    Span rule = rule_place(c->m, c->text);
    if (rule.file) return rule;
    if (!fn_find(c->m, module_str(c->m, "train"), &train)) return (Span){0};
    return loc_span(c->m, fn_of(c->m, train)->loc);
}

static ScheduleAsk ask_of(const Cut *c)
{
    return (ScheduleAsk){.arena = c->a,
                         .diag = c->m->diag,
                         .at = place_of(c),
                         .ranks = c->ranks,
                         .chunks = c->stages / c->ranks,
                         .micros = c->micros};
}

/* The forward repeats over the rule's axes, in order: once each. */
static bool find_layers(Cut *c, const Fn *fn)
{
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op != OP_repeat) continue;
        Repeat r = repeat_of(c->m, in);
        bool listed = false;
        for (uint32_t k = 0; k < c->rule.axes.n; k++)
            listed |= c->rule.axes.at[k].id == r.axis.id;
        if (!listed && !find_layers(c, fn_of(c->m, r.fn))) return false;
        if (!listed || !r.carry || r.reverse || layers_along(c, r.axis))
            continue;
        vec_push(c->a, &c->layers, ((Layers){.axis = r.axis, .size = r.count}));
    }
    return true;
}

/* What the plan says, or as even as it goes. */
static int64_t *stage_layers(Cut *c, int64_t n)
{
    ScheduleAsk ask = ask_of(c);
    if (c->rule.layers.n == 0)
        return layers_split(&ask, n, c->stages, c->rule.first, c->rule.last);
    int64_t all = 0;
    for (uint32_t i = 0; i < c->rule.layers.n; i++)
        all += c->rule.layers.at[i];
    if (c->rule.layers.n == c->stages && all == n) return c->rule.layers.at;
    Report *r = diag_error(c->m->diag, DIAG_pipeline_stages, ask.at,
                           "the plan gives %" PRId64
                           " layers to %u stages, there are %" PRId64 " for %u",
                           all, c->rule.layers.n, n, c->stages);
    report_help(r, "a number for each stage, which add up to %" PRId64, n);
    return NULL;
}

static bool cut_layers(Cut *c)
{
    int64_t all = 0, before = 0;
    for (uint32_t i = 0; i < c->layers.n; i++)
        all += c->layers.at[i].size;
    const int64_t *have = stage_layers(c, all);
    if (!have) return false;
    for (uint32_t i = 0; i < c->layers.n; i++) {
        Layers *l = &c->layers.at[i];
        l->start = NEW_ARRAY(c->a, int64_t, c->stages + 1);
        int64_t at = -before;
        for (uint32_t s = 0; s <= c->stages; s++) {
            l->start[s] = at < 0 ? 0 : at > l->size ? l->size : at;
            if (s < c->stages) at += have[s];
        }
        before += l->size;
    }
    return true;
}

/* -------------------------------------------------------------- schedule -- */

/* Stages wait for the first microbatch, and for the last one's way back. */
static void warn_few(const Cut *c)
{
    if (c->micros >= c->stages || c->ranks == 1) return;
    Report *r = diag_warning(
        c->m->diag, DIAG_pipeline_micros, place_of(c),
        "%u microbatch%s for %u stages: ranks are idle for %.0f %% of the time",
        c->micros, c->micros == 1 ? "" : "es", c->stages, 100 * c->run.bubble);
    report_help(r, "as many microbatches as stages or more: a larger "
                   "accumulate, or fewer rows a microbatch");
}

static bool make_schedule(Cut *c)
{
    ScheduleKind kind;
    ScheduleAsk ask = ask_of(c);
    if (c->rule.file) {
        ask.at = (Span){0};
        /* messages are shown when the pass is over */
        ask.at.file = diag_add_source(
            c->m->diag, arena_strdup(c->m->arena, c->rule.schedule),
            c->rule.file, strlen(c->rule.file));
        c->s = schedule_read(&ask, c->rule.file);
    } else if (schedule_find(c->rule.schedule, &kind)) {
        ask.chunks =
            c->rule.chunks ? c->rule.chunks : schedule_chunks(kind, false);
        c->s = schedule_make(&ask, kind);
    } else {
        Report *r = diag_error(c->m->diag, DIAG_pipeline_rule, ask.at,
                               "there is no schedule '%s'", c->rule.schedule);
        report_help(r, "schedules: %s, or a file with one",
                    schedule_list(c->a));
    }
    if (!c->s) return false;
    c->stages = c->s->stages;
    c->splits = schedule_splits(c->s);
    ActionCosts costs = costs_usual();
    c->run = schedule_run(c->a, c->s, &costs);
    CommandList *lists = schedule_commands(c->a, c->s, &c->run);
    if (!commands_check(&ask, lists, c->ranks)) return false;
    warn_few(c);
    return true;
}

static void say(const Cut *c)
{
    Loc at = {0};
    FnRef train;
    if (!pass_remarks(c->m, c->cx, false)) return;
    if (fn_find(c->m, module_str(c->m, "train"), &train))
        at = fn_of(c->m, train)->loc;
    pass_remark(c->m, c->cx, at,
                "%u stages on %u ranks, %u microbatches, %s: %.1f %% of the "
                "ranks' time is bubble, where a backward takes twice as long "
                "as its forward",
                c->stages, c->ranks, c->micros, c->rule.schedule,
                100 * c->run.bubble);
    for (uint32_t i = 0; i < c->stages; i++) {
        const char *text = "";
        for (uint32_t k = 0; k < c->layers.n; k++) {
            const Layers *l = &c->layers.at[k];
            if (layers_of(l, i) == 0) continue;
            text = arena_printf(c->a, "%s, %s %" PRId64 " .. %" PRId64, text,
                                axis_name(c->m, l->axis), l->start[i],
                                l->start[i + 1]);
        }
        pass_remark(c->m, c->cx, at, "stage %u, on rank %u%s", i,
                    c->s->owner[i], text);
    }
    for (uint32_t i = 0; i < c->ranks; i++)
        pass_remark(c->m, c->cx, at,
                    "rank %u holds what at most %u forwards leave for their "
                    "backwards",
                    i, c->run.held[i]);
}

/* ------------------------------------------------------------------ pass -- */

/* `train` first: its steps say where slots are. */
static bool cut_entries(Cut *c)
{
    uint32_t n = c->m->fns.n;
    Str train = module_str(c->m, "train");
    for (int rest = 0; rest < 2; rest++)
        for (uint32_t i = 0; i < n; i++) {
            Fn *fn = c->m->fns.at[i];
            if (!fn->entry || str_eq(fn->name, train) == rest) continue;
            if (!ranks_make(c, fn)) return false;
            fn->entry = false;
        }
    return true;
}

bool pass_pipeline(Module *m, PassCtx *cx)
{
    Cut c = {.m = m, .cx = cx, .a = m->scratch};
    const char *text = pass_option(m, cx, "pipeline", "");
    if (!*text || !module_is_global(m)) return true;
    c.text = text;
    if (!rule_read(&c, text)) return false;
    c.ranks = (uint32_t)m->mesh.at[c.rule.mesh.id].size;
    c.micros = (uint32_t)pass_option_int(m, cx, "accumulate", 1);
    c.stages = c.ranks;
    if (!make_schedule(&c)) return false;
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]->entry && !find_layers(&c, m->fns.at[i])) return false;
    if (!cut_layers(&c)) return false;
    say(&c);
    c.slots = NEW_ARRAY(c.a, Seat, m->slots.n + 1);
    if (!cut_entries(&c)) return false;
    slots_cut(&c);
    m->mesh.at[c.rule.mesh.id].size = 1;
    option_set(m, "pipeline", "");
    option_set(m, "bubble",
               arena_printf(m->arena, "%.1f %%", 100 * c.run.bubble));
    option_set(m, "rank-axis", mesh_name(m, c.rule.mesh));
    module_drop_unused(m);
    return true;
}
