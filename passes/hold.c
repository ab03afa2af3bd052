/*
 * hold.c: what the stages of a pipeline hold over a step, within a budget.
 *
 * Without a budget they gather parameters once a step, and reduce gradients
 * once, behind the last microbatch (shard/held.c): both lie whole in between.
 * They do so beside compute (schedule.c), where what is gathered ahead, and
 * what waits to be reduced, lies longer.  A budget may have no room for that,
 * or only if much is made again.  So the ways there are,
 *
 *      parameters and gradients are held, parameters alone, nothing
 *      collectives are beside compute, or in line with it
 *
 * are taken through the passes up to remat, each on a copy of the module; of
 * the first, only what the plan leaves open, and of the second, if nobody says
 * how many streams there are.  What is held is rounded once a step in any case
 * (once.c).  Where each microbatch gathers, weights are rounded once or in each
 * turn: once, if that is faster and has room for all, or takes no more room,
 * since what is gathered ahead has half the bytes then.
 *
 * First the steps are looked at in which nothing is made again.  Gradients go
 * first: they have twice the bytes, and holding them spares as many as holding
 * parameters does.  A way is not looked at where one that holds more, and is
 * beside compute if it is, has room for all.  Then the budget of each of the
 * others is searched for, the one with the fastest such step first, if that
 * takes less than the fastest that fits: whatever is made again makes it
 * longer.  The one is taken whose step is predicted to be the fastest.
 */
#include <math.h>

#include "budget.h"
#include "held.h"
#include "machine.h"

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

/* A way, and the step that it makes. */
typedef struct Way {
    const char *roles; /* that are held; NULL: as the plan says */
    bool in_line;
    bool rounds;      /* weights in front of all turns, not in each */
    BudgetStep plain; /* nothing is made again */
    bool open;        /* no step is known that keeps to the budget */
} Way;

/* The roles, and what they mean: the one that holds the most first. */
static const struct {
    const char *roles, *words;
} holds[] = {{"param grad", "gathered once a step, gradients reduced once a "
                            "step"},
             {"param", "gathered once a step, gradients reduced each "
                       "microbatch"},
             {"none", "gathered and gradients reduced each microbatch"}};
enum { HOLDS = sizeof holds / sizeof *holds, WAYS = 2 * HOLDS };

static void take_way(Module *m, const Way *way)
{
    if (way->roles) option_set(m, "hold", way->roles);
    if (way->in_line) option_set(m, "streams", "1");
    if (way->rounds) option_set(m, "rounds", "1");
}

/* Its step: the plain one, or, where that is known, the one within the budget,
 * if it takes less than LEAST seconds. */
static BudgetStep try_way(const Hold *x, const Way *way,
                          const BudgetStep *plain, double least)
{
    Trial t;
    trial_begin(&t, &x->text);
    take_way(&t.m, way);
    BudgetStep step = {.seconds = INFINITY};
    if (pipeline_run(&t.m, passes_between(x, &t.arena),
                     &(PipelineOpts){.verify = VERIFY_none})) {
        if (plain)
            step = budget_step(&t.m, x->steps, x->remat, x->o, *plain, least);
        else
            step = budget_plain(&t.m, x->steps, x->remat, x->o);
    }
    trial_end(&t);
    return step;
}

/* There are no collectives that could be beside compute. */
static bool is_same(BudgetStep a, BudgetStep b)
{
    return a.seconds == b.seconds && a.bytes == b.bytes;
}

/* Which of the two starts is the way's: with weights that are rounded once,
 * which are there all the time, if that has room for all or takes no more of
 * anything, else in each turn (once.c). */
static void find_start(const Hold *x, Way *way)
{
    Way once = *way;
    once.rounds = true;
    way->plain = try_way(x, way, NULL, INFINITY);
    if (way->roles && strcmp(way->roles, "none") != 0) return;
    once.plain = try_way(x, &once, NULL, INFINITY);
    if (once.plain.seconds < way->plain.seconds &&
        (once.plain.fits || once.plain.bytes <= way->plain.bytes))
        *way = once;
}

/* Looks at the plain steps of the ways, which are in the order of `holds`, each
 * beside compute in front of in line; the fastest that fits, or NULL. */
static Way *look(const Hold *x, Way *ways, uint32_t n)
{
    Way *best = NULL;
    bool beside = false, in_line = false; /* has room for all */
    for (uint32_t i = 0; i < n && !beside; i++) {
        Way *way = &ways[i];
        if (way->in_line && in_line) continue;
        find_start(x, way);
        way->open = !way->plain.fits &&
                    !(way->in_line && is_same(way->plain, way[-1].plain));
        if (!way->plain.fits) continue;
        *(way->in_line ? &in_line : &beside) = true;
        if (!best || way->plain.seconds < best->plain.seconds) best = way;
    }
    return best;
}

/* The one with the fastest plain step of those whose budgets have not been
 * searched for. */
static Way *next_way(Way *ways, uint32_t n)
{
    Way *next = NULL;
    for (uint32_t i = 0; i < n; i++)
        if (ways[i].open &&
            (!next || ways[i].plain.seconds < next->plain.seconds))
            next = &ways[i];
    return next;
}

/* Where none fits the last one has the least peak. */
static const Way *choose(const Hold *x, Way *ways, uint32_t n)
{
    Way *best = look(x, ways, n), *way;
    double least = best ? best->plain.seconds : INFINITY;
    while ((way = next_way(ways, n)) && way->plain.seconds < least) {
        BudgetStep step = try_way(x, way, &way->plain, least);
        way->open = false;
        if (!(step.seconds < least)) continue;
        least = step.seconds;
        best = way;
    }
    return best ? best : &ways[n - 1];
}

static void say_way(const Hold *x, const Way *way, const PassCtx *cx)
{
    for (uint32_t i = 0; way->roles && i < HOLDS; i++)
        if (strcmp(way->roles, holds[i].roles) == 0)
            pass_remark(x->m, cx, (Loc){0}, "parameters are %s, by the budget",
                        holds[i].words);
    if (way->in_line)
        pass_remark(x->m, cx, (Loc){0},
                    "collectives are in line with compute, by the budget");
    if (way->rounds)
        pass_remark(x->m, cx, (Loc){0},
                    "weights are rounded once a step, by the budget");
}

/* A pipeline's, which would be beside compute, and nobody says that they are
 * not. */
static bool line_is_open(const Hold *x, const PassCtx *cx)
{
    uint32_t at = step_find(x->steps, x->remat, "schedule");
    if (at == x->steps->n || !*pass_option(x->m, cx, "pipeline", "") ||
        *pass_option(x->m, cx, "streams", "") || !machine_of(x->m, cx).links)
        return false;
    const Step *step = &x->steps->at[at];
    for (uint32_t i = 0; i < step->noptions; i++)
        if (strcmp(step->keys[i], "streams") == 0) return false;
    return true;
}

static uint32_t find_ways(const Hold *x, PassCtx *cx, Way ways[WAYS])
{
    uint32_t n = 0;
    bool hold = hold_is_open(x->m, cx), line = line_is_open(x, cx);
    if (!hold && !line) return 0;
    for (uint32_t i = 0; i < (hold ? HOLDS : 1); i++)
        for (uint32_t in_line = 0; in_line <= line; in_line++)
            ways[n++] = (Way){.roles = hold ? holds[i].roles : NULL,
                              .in_line = in_line != 0};
    return n;
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
    Way ways[WAYS];
    bool budget;
    uint32_t n = x.remat == steps->n ? 0 : find_ways(&x, &cx, ways);
    if (n == 0) return true;
    if (!budget_asked(m, &cx, &budget)) return false;
    if (!budget) return true;
    module_print(m, &(PrintOpts){0}, &x.text);
    const Way *way = choose(&x, ways, n);
    take_way(m, way);
    say_way(&x, way, &cx);
    buf_release(&x.text);
    return true;
}
