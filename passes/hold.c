/*
 * hold.c: what the stages of a pipeline hold over a step, within a budget.
 *
 * Without a budget they gather parameters once a step, and reduce gradients
 * once, behind the last microbatch (shard/held.c): both lie whole in between.
 * A budget may have no room for that, or only if much is made again.  So the
 * ways there are,
 *
 *      parameters and gradients are held, parameters alone, nothing
 *
 * are taken through the passes up to remat, each on a copy of the module, and
 * through the budget there; the one is taken whose step is predicted to be the
 * fastest.  Gradients go first: they have twice the bytes, and holding them
 * spares as many as holding parameters does.  A way is not looked at where one
 * that holds more has room for all as it is, nor where its step would take
 * longer even so than another one that fits.
 */
#include <math.h>

#include "budget.h"
#include "held.h"

typedef struct Hold {
    Module *m;
    const StepVec *steps;
    uint32_t once, remat; /* numbers of steps */
    const PipelineOpts *o;
    Buf text; /* the module in front of once */
} Hold;

/* The first step behind AT that is the pass; the number of steps: there is
 * none. */
static uint32_t step_find(const StepVec *steps, uint32_t at, const char *pass)
{
    while (at < steps->n && strcmp(steps->at[at].pass->name, pass) != 0)
        at++;
    return at;
}

/* The steps from once up to remat. */
static const char *passes_between(const Hold *x, Arena *a)
{
    Buf b = {0};
    for (uint32_t i = x->once; i < x->remat; i++) {
        if (b.n) buf_putc(&b, ',');
        step_print(&x->steps->at[i], &b);
    }
    const char *text = arena_strndup(a, b.at, b.n);
    buf_release(&b);
    return text;
}

static BudgetStep try_way(const Hold *x, const char *roles, double least)
{
    Trial t;
    trial_begin(&t, &x->text);
    option_set(&t.m, "hold", roles);
    BudgetStep step = {.seconds = INFINITY};
    if (pipeline_run(&t.m, passes_between(x, &t.arena),
                     &(PipelineOpts){.verify = VERIFY_none}))
        step = budget_step(&t.m, x->steps, x->remat, x->o, least);
    trial_end(&t);
    return step;
}

static void choose(const Hold *x, const PassCtx *cx)
{
    static const struct {
        const char *roles, *words;
    } ways[] = {
        {"param grad", "gathered once a step, gradients reduced once a step"},
        {"param", "gathered once a step, gradients reduced each microbatch"},
        {"none", "gathered and gradients reduced each microbatch"}};
    enum { WAYS = sizeof ways / sizeof *ways };
    uint32_t best = WAYS - 1; /* where none fits this has the least peak */
    BudgetStep least = {.seconds = INFINITY};
    for (uint32_t i = 0; i < WAYS && !least.plain; i++) {
        BudgetStep step = try_way(x, ways[i].roles, least.seconds);
        if (!(step.seconds < least.seconds)) continue;
        least = step;
        best = i;
    }
    option_set(x->m, "hold", ways[best].roles);
    pass_remark(x->m, cx, (Loc){0}, "parameters are %s, by the budget",
                ways[best].words);
}

bool hold_settle(Module *m, const StepVec *steps, uint32_t at,
                 const PipelineOpts *o)
{
    const Step *step = &steps->at[at];
    PassCtx cx = {.keys = step->keys,
                  .values = step->values,
                  .asked = NEW_ARRAY(m->scratch, bool, step->noptions + 1),
                  .noptions = step->noptions,
                  .pass = "remat"};
    Hold x = {.m = m,
              .steps = steps,
              .once = at,
              .remat = step_find(steps, at, "remat"),
              .o = o};
    bool budget;
    if (x.remat == steps->n || !hold_is_open(m, &cx)) return true;
    if (!budget_asked(m, &cx, &budget)) return false;
    if (!budget) return true;
    module_print(m, &(PrintOpts){0}, &x.text);
    choose(&x, &cx);
    buf_release(&x.text);
    return true;
}
