/*
 * budget.c: the cheapest recomputation and offload whose planned peak fits a
 * budget.
 *
 * The plan says `remat repeat budget 70 GiB`.  The ways to smaller records are
 * in an order, cheapest first (remat/points.c); a trial takes a copy of the
 * module through the rest of the passes, up to the memory plan, and reads the
 * peak there.  The first way that fits is searched by halves.  No code is
 * generated for it, and no copy verified: what is chosen is compiled like any
 * plan.  What the target adds to the plan (workspaces of matmuls) is asked for
 * at the way that is chosen, and the search is made anew within what is left,
 * if need be.  What a trial says of a way is kept: no question is asked twice.
 * The ranks of a pipeline are tried one after the other, each with its own
 * entries alone, that first which did not fit the last time.
 *
 * The peak may rise again where making again takes more than is saved, so
 * when the last way does not fit, all corners are tried, and when no plan does,
 * the images of the smallest.  Entries do not run at once, so in the end those
 * that need it less go back as far as they can.
 *
 * Where nothing has to be made again turns keep parameters that they gather, as
 * many as there is room for, if a step is predicted to take clearly less with
 * them: what a gather is waited for depends on all that is beside it.
 *
 * Without a budget weights are rounded once a step, with one in each turn,
 * which takes less memory; where there is room it is done once a step after
 * all.
 *
 * States of the optimizer go to the host (remat/states.c) where all that does
 * not fit, or the last byte that it saves takes more time than a byte of
 * theirs: the search is made with more and more of them there, as long as that
 * takes less time.
 */
#include "budget.h"
#include "arrange.h"
#include "reach.h"

#include <inttypes.h>
#include <math.h>

#include "remat/remat.h"

/* The bytes of the plan of a position, as far as trials say. */
typedef struct Known {
    int64_t least, most; /* of the best plan there is */
    int64_t seen;        /* of one that there is; INT64_MAX: none was made */
} Known;

/* What the target makes of a plan. */
typedef struct Image {
    int64_t planned, bytes;
    double seconds; /* of a step; 0: nobody knows */
} Image;

/* An image that was made, under these rules. */
typedef struct Made {
    const char *rules;
    uint32_t moved;
    bool rounds;
    Image image;
} Made;

typedef struct Budget {
    Module *m;
    const PipelineOpts *o;
    const char *passes;      /* from remat to memplan */
    bool roughly;            /* how long a step takes is wanted, no plan */
    bool rounds;             /* a trial rounds weights in front of all turns */
    Buf text;                /* the module */
    Buf *ranks;              /* the same with the entries of one rank */
    uint32_t nranks;         /* 0: there is no pipeline */
    uint32_t hardest;        /* the rank that did not fit the last time */
    Points *points, *gather; /* those with what turns gather */
    States *states;
    uint32_t moved; /* parameters whose states are on the host in a trial */
    Span at;        /* of the rule */
    int64_t bytes;
    double worth; /* steps of fewer seconds are worth looking for */
    double plain; /* what one takes of which nothing is made again */
    Known *known; /* by position, with these */
    VEC(Made) made;
    int64_t least; /* the smallest image that was seen */
} Budget;

static Known *known_new(Module *m, const Points *points)
{
    uint32_t n = points_corners(points);
    int64_t last = n ? points_corner(points, n - 1) : 0;
    Known *known = NEW_ARRAY(m->scratch, Known, (size_t)last + 1);
    for (int64_t i = 0; i <= last; i++)
        known[i] = (Known){.most = INT64_MAX, .seen = INT64_MAX};
    return known;
}

/* ---------------------------------------------------------------- trials -- */

void trial_begin(Trial *t, const Buf *text)
{
    arena_init(&t->arena, "trial");
    arena_init(&t->scratch, "scratch");
    diag_init(&t->diag, &t->arena);
    module_init(&t->m, &t->arena, &t->scratch, &t->diag);
    char *copy = arena_strndup(&t->arena, text->at, text->n);
    uint32_t source = diag_add_source(&t->diag, "trial", copy, text->n);
    if (!module_parse(&t->m, source))
        BUG("the text of the module could not be read back");
}

void trial_end(Trial *t)
{
    arena_release(&t->arena);
    arena_release(&t->scratch);
}

/* Makes the plan of a position; returns its bytes.  Where only that counts
 * whether it is within ROOM, it may be any on that side.  With `image`, that
 * too. */
static int64_t plan(Budget *b, const Buf *text, int64_t position, int64_t room,
                    Image *image)
{
    Trial t;
    uint64_t bytes = 0;
    trial_begin(&t, text);
    option_set(&t.m, "remat", points_text(b->points, position));
    states_move(b->states, &t.m, b->moved);
    if (room != LOWEST)
        option_set(&t.m, "room", arena_printf(&t.arena, "%" PRId64, room));
    if (text != &b->text) option_set(&t.m, "part", "1");
    const char *passes =
        b->rounds ? arena_printf(&t.arena, "once,%s", b->passes) : b->passes;
    bool ok =
        pipeline_run(&t.m, passes, &(PipelineOpts){.verify = VERIFY_none});
    int64_t planned = ok ? planned_bytes(&t.m) : 0;
    if (ok && image) {
        image->bytes = planned;
        if (b->o->arena) {
            ok = b->o->arena(b->o->user, &t.m, &bytes, &image->seconds);
            image->bytes = (int64_t)bytes;
        }
    }
    trial_end(&t);
    if (!ok)
        BUG("a trial of the budget failed: remat %s",
            points_text(b->points, position));
    return planned;
}

/* The image of a position, with the lowest peak; no rules are tried twice. */
static Image image_of(Budget *b, int64_t position)
{
    const char *rules = points_text(b->points, position);
    for (uint32_t i = 0; i < b->made.n; i++) {
        const Made *x = &b->made.at[i];
        if (x->moved == b->moved && x->rounds == b->rounds &&
            strcmp(x->rules, rules) == 0)
            return x->image;
    }
    Made x = {rules, b->moved, b->rounds, {0}};
    x.image.planned = plan(b, &b->text, position, LOWEST, &x.image);
    vec_push(b->m->scratch, &b->made, x);
    return x.image;
}

static bool is_corner(const Budget *b, int64_t position)
{
    for (uint32_t i = 0; i < points_corners(b->points); i++)
        if (points_corner(b->points, i) == position) return true;
    return false;
}

/* The bytes of a position, or what is more than ROOM as well; of corners the
 * bytes, which are compared (corner_fit). */
static int64_t try_position(Budget *b, int64_t position, int64_t room)
{
    int64_t most = 0;
    if (!b->nranks) return plan(b, &b->text, position, room, NULL);
    for (uint32_t i = 0, first = b->hardest; i < b->nranks; i++) {
        uint32_t r = i == 0 ? first : i <= first ? i - 1 : i;
        int64_t bytes = plan(b, &b->ranks[r], position, room, NULL);
        if (bytes > most) most = bytes;
        if (bytes <= room) continue;
        b->hardest = r;
        if (!is_corner(b, position)) break;
    }
    return most;
}

static bool fits_room(Budget *b, int64_t position, int64_t room)
{
    Known *k = &b->known[position];
    if (k->most <= room) return true;
    if (k->least > room) return false;
    k->seen = try_position(b, position, room);
    if (k->seen <= room)
        k->most = k->seen;
    else
        k->least = room + 1;
    return k->seen <= room;
}

static int64_t image_at(Budget *b, int64_t position)
{
    Known *k = &b->known[position];
    Image image = image_of(b, position);
    k->seen = image.planned;
    k->least = k->most = k->seen;
    if (image.bytes < b->least) b->least = image.bytes;
    return image.bytes;
}

/* ---------------------------------------------------------------- search -- */

/* A position whose plan has at most `room` bytes; -1: none was found. */
static int64_t some_fit(Budget *b, int64_t room)
{
    for (uint32_t i = points_corners(b->points); i-- > 0;) {
        int64_t at = points_corner(b->points, i);
        if (fits_room(b, at, room)) return at;
        int64_t before = i ? points_corner(b->points, i - 1) : 0;
        at = before + (at - before) / 2;
        if (fits_room(b, at, room)) return at;
    }
    return -1;
}

/* The plan of one way may be luckier than that of the next, so a few in front
 * of one that fits are tried as well. */
static int64_t luckier_fit(Budget *b, int64_t room, int64_t high)
{
    enum { MOST_MISSES = 5 };
    for (int64_t at = high - 1, misses = 0; at > 0 && misses < MOST_MISSES;
         at--, misses++) {
        if (!fits_room(b, at, room)) continue;
        high = at;
        misses = -1;
    }
    return high;
}

static int64_t first_fit(Budget *b, int64_t room)
{
    int64_t low = 0, high;
    if (fits_room(b, 0, room)) return 0;
    high = some_fit(b, room);
    while (high > low + 1) { /* low does not fit */
        int64_t mid = low + (high - low) / 2;
        if (fits_room(b, mid, room))
            high = mid;
        else
            low = mid;
    }
    return high < 0 || b->roughly ? high : luckier_fit(b, room, high);
}

/* A corner whose image fits, of the few whose plans are the smallest; -1: none
 * does, and `least` is the smallest image of them, or, where nothing can be
 * made again, the only one. */
static int64_t corner_fit(Budget *b)
{
    enum { FEW = 3 };
    uint32_t n = points_corners(b->points);
    if (n == 0 && image_at(b, 0) <= b->bytes) return 0;
    for (uint32_t tried = 0; tried < n && tried < FEW; tried++) {
        int64_t best = points_corner(b->points, 0);
        for (uint32_t i = 1; i < n; i++) {
            int64_t at = points_corner(b->points, i);
            if (b->known[at].seen < b->known[best].seen) best = at;
        }
        if (b->known[best].seen == INT64_MAX) break;
        if (image_at(b, best) <= b->bytes) return best;
        b->known[best].seen = INT64_MAX;
    }
    return -1;
}

/* What the target adds may differ from way to way, and ranks that share bodies
 * may need more together than alone, so it is asked for until the way that is
 * found fits with it, or takes too long already. */
static int64_t search(Budget *b)
{
    enum { MOST_ROUNDS = 8 };
    int64_t room = b->bytes;
    for (unsigned round = 0; round < MOST_ROUNDS; round++) {
        int64_t at = first_fit(b, room);
        if (at < 0) break;
        if (!b->o->arena && !b->nranks) return at;
        int64_t image = image_at(b, at), planned = b->known[at].seen;
        if (image <= b->bytes) return at;
        if (image_of(b, at).seconds >= b->worth) return -1;
        room = b->bytes - (image - planned);
        if (room >= planned) room = planned - 1;
    }
    return corner_fit(b);
}

/* A position, and how many parameters have their states on the host. */
typedef struct Choice {
    int64_t at; /* -1: none fits */
    uint32_t moved;
    const int64_t *limits; /* of the points, by group; NULL: none */
    double time;
} Choice;

static void set_limits(Budget *b, const int64_t *limits)
{
    int64_t *to = points_limits(b->points);
    for (uint32_t g = 0; g < points_groups(b->points); g++)
        to[g] = limits ? limits[g] : INT64_MAX;
}

/* Trials are of this choice. */
static void take_choice(Budget *b, Choice c)
{
    b->moved = c.moved;
    set_limits(b, c.limits);
}

/* What one entry lacks another need not make again: with fewer turns of one
 * group and then of the next the plan fits as well. */
static const int64_t *lessen(Budget *b, int64_t at)
{
    uint32_t n = points_groups(b->points);
    int64_t *limits = NEW_ARRAY(b->m->scratch, int64_t, (size_t)n + 1);
    int64_t *now = points_limits(b->points);
    if (n < 2 || at <= 0) return NULL;
    for (uint32_t g = 0; g < n; g++) {
        int64_t high = points_moves(b->points, at, g), low = -1;
        while (high > low + 1) {
            int64_t mid = low < 0 ? 0 : low + (high - low) / 2;
            now[g] = mid;
            if (image_of(b, at).bytes <= b->bytes)
                high = mid;
            else
                low = mid;
        }
        limits[g] = now[g] = high;
    }
    return limits;
}

static Choice search_moved(Budget *b, uint32_t moved)
{
    Choice c = {.moved = moved};
    take_choice(b, c);
    b->known = known_new(b->m, b->points);
    c.at = search(b);
    c.limits = lessen(b, c.at);
    c.time = link_time(states_bytes(b->states, moved));
    if (c.at >= 0) c.time += points_time(b->points, c.at);
    return c;
}

/* How many it takes until what moved beyond MOVED has as many bytes as the
 * budget lacks there, or all. */
static uint32_t moved_enough(const Budget *b, uint32_t moved)
{
    double bytes = states_bytes(b->states, moved);
    double lacks = (double)(b->least - b->bytes);
    uint32_t n = moved + 1;
    while (n < states_count(b->states) &&
           states_bytes(b->states, n) - bytes < lacks)
        n++;
    return n;
}

/* With all states on the host there is a plan of each rank that fits. */
static bool can_fit(Budget *b)
{
    take_choice(b, (Choice){.moved = states_count(b->states)});
    b->known = known_new(b->m, b->points);
    return some_fit(b, b->bytes) >= 0 || fits_room(b, 0, b->bytes);
}

/* States on the host alone do not take too long. */
static bool is_worth(const Budget *b, uint32_t moved)
{
    double link = link_time(states_bytes(b->states, moved)) / 1e9;
    return b->plain + link < b->worth;
}

/* The one that takes the least time. */
static Choice choose(Budget *b)
{
    uint32_t all = states_count(b->states);
    Choice best = search_moved(b, 0);
    while (best.at < 0 && best.moved < all && is_worth(b, best.moved + 1))
        best = search_moved(b, moved_enough(b, best.moved));
    while (best.at >= 0 && best.moved < all &&
           points_price(b->points, best.at) > link_time(1)) {
        Choice next = search_moved(b, best.moved + 1);
        if (next.at < 0 || next.time >= best.time) break;
        best = next;
    }
    return best;
}

/* Seconds of a step; 0: nobody knows. */
static double predicted(Budget *b, Choice c)
{
    take_choice(b, c);
    return image_of(b, c.at).seconds;
}

/* What is predicted to take less by less than this may take more. */
static const double worth_it = 0.99;

/* The choice; where there is room for all as it is, with what turns gather of
 * parameters, as far as there is room for that too and a step takes less. */
static Choice choose_gathered(Budget *b)
{
    Choice none = choose(b);
    if (none.at != 0 || none.moved || !points_gathered(b->gather, 0))
        return none;
    Points *points = b->points;
    b->points = b->gather;
    Choice kept = search_moved(b, 0);
    if (kept.at >= 0 && points_gathered(b->gather, kept.at)) {
        double with = predicted(b, kept);
        b->points = points;
        if (with == 0 || with < worth_it * predicted(b, none)) {
            b->points = b->gather;
            return kept;
        }
    }
    b->points = points;
    return none;
}

/* Nothing that every step runs is made again, or on the host, and there is room
 * for weights that are rounded once a step (once.c), which leaves that alone
 * where memory may be short; and a step takes less so. */
static bool has_room_to_round(Budget *b, Choice c)
{
    take_choice(b, c);
    if (c.moved || (b->points != b->gather && !points_plain(b->points, c.at)))
        return false;
    Image in_turns = image_of(b, c.at);
    b->rounds = true;
    Image once = image_of(b, c.at);
    b->rounds = false;
    return once.bytes <= b->bytes &&
           (once.seconds == 0 || once.seconds < in_turns.seconds);
}

/* -------------------------------------------------------------- verdicts -- */

/* As a plan has it, not less: "69.42 GiB". */
static const char *size_text(Arena *a, int64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes / 1024;
    unsigned u = 0;
    if (bytes < 1024) return arena_printf(a, "%" PRId64, bytes);
    while (x >= 1024 && u < 3) {
        x /= 1024;
        u++;
    }
    return arena_printf(a, "%.2f %s", ceil(x * 100) / 100, units[u]);
}

static const char *both(Arena *a, int64_t bytes)
{
    return arena_printf(a, "%s (%" PRId64 " bytes)", size_text(a, bytes),
                        bytes);
}

static bool refuse(Budget *b)
{
    Arena *a = b->m->scratch;
    bool moves = states_count(b->states) > 0;
    Report *r = diag_error(b->m->diag, DIAG_remat_budget, b->at,
                           "the budget is %s, with all that can be made again "
                           "%sthe peak is %s",
                           both(a, b->bytes),
                           moves ? "and all states on the host " : "",
                           both(a, b->least));
    report_help(r, "write budget %s, or make the batch smaller",
                size_text(a, b->least));
    return false;
}

/* The rules of a choice, as lines of a plan. */
static void say_choice(Budget *b, const PassCtx *cx, Choice c)
{
    const char *text = points_text(b->points, c.at);
    const char *states = states_text(b->states, c.moved);
    if (*states) pass_remark(b->m, cx, (Loc){0}, "%s", states);
    if (!*text) text = "repeat none";
    while (*text) {
        size_t n = strcspn(text, ";");
        pass_remark(b->m, cx, (Loc){0}, "remat %.*s", (int)n, text);
        text += n + strspn(text + n, "; ");
    }
    pass_remark(b->m, cx, (Loc){0},
                "this makes the step %.2f ms %s, by a roofline",
                fabs(c.time) / 1e6, c.time < 0 ? "shorter" : "longer");
}

/* The rules that the step REMAT runs with from here on. */
static void set_rules(Module *m, Step *step, const char *text)
{
    text = arena_strdup(m->arena, text);
    for (uint32_t i = 0; i < step->noptions; i++) {
        if (strcmp(step->keys[i], "remat") != 0) continue;
        step->values[i] = text;
        return;
    }
    option_set(m, "remat", text);
}

/* Those of the plan beside the budget. */
static void take_rules(Budget *b, Step *step)
{
    const char *text = points_text(b->points, 0);
    set_rules(b->m, step, *text ? text : "repeat none");
}

static bool settle(Budget *b, PassCtx *cx, Step *step)
{
    Choice c = choose_gathered(b);
    if (c.at < 0) return refuse(b);
    bool rounds = has_room_to_round(b, c);
    take_choice(b, c);
    const char *text = points_text(b->points, c.at);
    states_move(b->states, b->m, c.moved);
    say_choice(b, cx, c);
    set_rules(b->m, step, *text ? text : "repeat none");
    return !rounds || pass_once(b->m, cx);
}

/* ---------------------------------------------------------------- driver -- */

/* From `remat` on to a memory plan: the steps behind it, or, where they have
 * none, those of training. */
static const char *rest_of(Module *m, const StepVec *steps, uint32_t at)
{
    Buf b = {0};
    bool plans = false;
    buf_puts(&b, "remat");
    for (uint32_t i = at + 1; i < steps->n && !plans; i++) {
        buf_putc(&b, ',');
        step_print(&steps->at[i], &b);
        plans = strcmp(steps->at[i].pass->name, "memplan") == 0;
    }
    const char *text = plans ? arena_strdup(m->scratch, b.at)
                             : strstr(pipeline_find("train"), "remat,");
    buf_release(&b);
    return text;
}

/* `every` counts turns over all ranks. */
static bool counts_turns(const RematRules *rules)
{
    for (uint32_t i = 0; i < rules->at.n; i++)
        if (rules->at.at[i].mode == REMAT_every) return true;
    return false;
}

/* The texts of the ranks: the module with the entries of each alone. */
static void print_ranks(Budget *b, const RematRules *rules)
{
    b->nranks = module_ranks(b->m);
    if (b->nranks < 2 || counts_turns(rules)) b->nranks = 0;
    b->ranks = NEW_ARRAY(b->m->scratch, Buf, (size_t)b->nranks + 1);
    for (uint32_t r = 0; r < b->nranks; r++) {
        Trial t;
        trial_begin(&t, &b->text);
        Roots own = {NEW_ARRAY(t.m.scratch, bool, t.m.fns.n + 1)};
        for (uint32_t f = 0; f < t.m.fns.n; f++) {
            uint32_t of = 0;
            fn_rank(&t.m, t.m.fns.at[f], &of);
            own.is[f] = t.m.fns.at[f]->entry && of == r;
        }
        drop_unreached(&t.m, &own);
        module_print(&t.m, &(PrintOpts){0}, &b->ranks[r]);
        trial_end(&t);
    }
}

/* NULL: the rules have none; false: they have two, and an error was reported.
 */
static bool find_budget(Module *m, const RematRules *rules,
                        const RematRule **out)
{
    *out = NULL;
    for (uint32_t i = 0; i < rules->at.n; i++) {
        const RematRule *rule = &rules->at.at[i];
        if (rule->mode != REMAT_budget) continue;
        if (*out) {
            Report *r =
                diag_error(m->diag, DIAG_rule_unused, rule_place(m, rule->text),
                           "'%s' never applies: '%s' is for the whole "
                           "step",
                           rule->text, (*out)->text);
            report_help(r, "leave out one of them");
            return false;
        }
        *out = rule;
    }
    return true;
}

bool budget_asked(Module *m, const PassCtx *cx, bool *is)
{
    RematRules rules;
    if (!rules_read(m, cx, &rules)) return false;
    *is = remat_has_budget(&rules);
    return true;
}

/* The rule of a budget, and what it can do; `budget` is NULL without one. */
typedef struct Opened {
    Budget b;
    PassCtx cx;
    const RematRule *budget;
} Opened;

static bool budget_open(Opened *x, Module *m, const StepVec *steps, uint32_t at,
                        const PipelineOpts *o)
{
    Step *step = &steps->at[at];
    x->cx = (PassCtx){.keys = step->keys,
                      .values = step->values,
                      .asked = NEW_ARRAY(m->scratch, bool, step->noptions + 1),
                      .noptions = step->noptions,
                      .pass = "remat"};
    RematRules rules;
    if (!rules_read(m, &x->cx, &rules)) return false;
    if (!find_budget(m, &rules, &x->budget)) return false;
    if (!x->budget) return true;
    Pairs pairs = pairs_find(m, &x->cx, &rules);
    bool offload = rules_offload(m, &x->cx);
    Points *points = points_find(m, &pairs, &rules, offload);
    if (!points_any(points))
        return rule_refuse(m, x->budget, &pairs,
                           "other rules speak of its repeats");
    x->b = (Budget){.m = m,
                    .o = o,
                    .passes = rest_of(m, steps, at),
                    .at = rule_place(m, x->budget->text),
                    .bytes = x->budget->number,
                    .points = points,
                    .gather = points_gather(m, &pairs, &rules),
                    .states = states_find(m, offload),
                    .worth = INFINITY,
                    .least = INT64_MAX};
    module_print(m, &(PrintOpts){0}, &x->b.text);
    print_ranks(&x->b, &rules);
    return true;
}

static void budget_close(Opened *x)
{
    buf_release(&x->b.text);
    for (uint32_t r = 0; x->budget && r < x->b.nranks; r++)
        buf_release(&x->b.ranks[r]);
}

bool budget_settle(Module *m, const StepVec *steps, uint32_t at,
                   const PipelineOpts *o)
{
    Opened x = {.budget = NULL};
    if (!budget_open(&x, m, steps, at, o)) return false;
    bool ok = true;
    if (x.budget && o->judge)
        take_rules(&x.b, &steps->at[at]);
    else if (x.budget)
        ok = settle(&x.b, &x.cx, &steps->at[at]);
    budget_close(&x);
    return ok;
}

BudgetStep budget_plain(Module *m, const StepVec *steps, uint32_t at,
                        const PipelineOpts *o)
{
    Opened x = {.budget = NULL};
    BudgetStep step = {.seconds = INFINITY};
    if (!budget_open(&x, m, steps, at, o) || !x.budget) return step;
    Image image = image_of(&x.b, 0);
    budget_close(&x);
    return (BudgetStep){image.seconds, image.bytes, image.bytes <= x.b.bytes};
}

BudgetStep budget_step(Module *m, const StepVec *steps, uint32_t at,
                       const PipelineOpts *o, BudgetStep plain, double least)
{
    Opened x = {.budget = NULL};
    BudgetStep step = {.seconds = INFINITY};
    if (!budget_open(&x, m, steps, at, o) || !x.budget) return step;
    x.b.roughly = true;
    x.b.worth = least;
    x.b.plain = plain.seconds;
    Choice c = {.at = -1};
    if (can_fit(&x.b)) c = choose(&x.b);
    if (c.at >= 0) {
        take_choice(&x.b, c);
        Image image = image_of(&x.b, c.at);
        step = (BudgetStep){image.seconds, image.bytes, true};
        if (step.seconds == 0) step.seconds = c.time / 1e9;
    }
    budget_close(&x);
    return step;
}
