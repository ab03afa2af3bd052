/*
 * plans.c: a training program under a plan computes what it does without one.
 *
 * The reference is the program with its derivatives and nothing else done to
 * it.  It is compared with what the passes make of the program, at a few places
 * on the way (`stops`): as one program, as ranks, as the program of each device
 * on all devices, and on planned memory.  One task in EACH is compared behind
 * every pass, under the contract of that pass, which for the exact ones is more
 * than that; and so is one that fails, for the name of the pass.
 *
 * A plan that is refused is no failure: which diagnostic refuses how many is
 * counted.  So are, for each choice, the passes that changed such programs, and
 * the ops that one device's program had.
 */
#include "task.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../frontend/frontend.h"

enum { EACH = 16 };

typedef struct Trial {
    const Task *task;
    Cover *cover;
    Buf *why;
    Unit now;
    Buf before; /* the program at the last stop */
    bool each;
} Trial;

/* -------------------------------------------------------------- refusals -- */

/* What a plan, or the sizes under it, can be told. */
static const DiagId refusals[] = {
    DIAG_not_divisible,   DIAG_rule_beaten,      DIAG_rule_unused,
    DIAG_rule_order,      DIAG_rule_ignored,     DIAG_recipe_rule,
    DIAG_offload_rule,    DIAG_remat_rule,       DIAG_remat_name,
    DIAG_remat_turns,     DIAG_remat_budget,     DIAG_no_such_path,
    DIAG_microbatch_size, DIAG_microbatch_mixed, DIAG_pipeline_rule,
    DIAG_pipeline_stages, DIAG_pipeline_micros,  DIAG_state_not_additive,
};

_Static_assert(sizeof refusals / sizeof *refusals <= MOST_REFUSALS,
               "each refusal has a count");

static uint32_t refusal_count(void)
{
    return sizeof refusals / sizeof *refusals;
}

static const char *refusal_name(uint32_t i)
{
    return diag_word(refusals[i]);
}

/* Every error is one of these: the first; else -1. */
static int refusal_of(const Diag *d)
{
    ReportView v;
    int first = -1;
    for (const Report *r = diag_next(d, NULL, &v); r; r = diag_next(d, r, &v)) {
        uint32_t i = 0;
        if (v.severity != SEV_error) continue;
        while (i < refusal_count() && refusals[i] != v.id)
            i++;
        if (i == refusal_count()) return -1;
        if (first < 0) first = (int)i;
    }
    return first;
}

bool plan_is_refused(const Diag *d)
{
    return refusal_of(d) >= 0;
}

/* It is counted. */
static bool is_refused(const Trial *t)
{
    int first = refusal_of(&t->now.diag);
    if (first < 0) return false;
    if (!t->cover->refused[first]++)
        t->cover->first_refused[first] = t->task->seed;
    return true;
}

static bool failed(Trial *t, const char *what, const char *which)
{
    return unit_failed(&t->now, t->why, "plans: %s %s", what, which);
}

/* -------------------------------------------------------------- coverage -- */

static void note_pass(Trial *t, uint32_t step)
{
    CHECK(step < MOST_STEPS);
    for (uint32_t i = 0; i < CHOICE_count; i++)
        t->cover->passes[i][t->task->way[i]][step]++;
}

static void note_ops(Trial *t)
{
    bool has[OP_count] = {false};
    const Module *m = &t->now.m;
    for (uint32_t f = 0; f < m->fns.n; f++)
        for (uint32_t i = 0; i < m->fns.at[f]->ninsts; i++)
            has[m->fns.at[f]->insts[i].op] = true;
    for (uint32_t i = 0; i < CHOICE_count; i++)
        for (uint32_t op = 0; op < OP_count; op++)
            t->cover->ops[i][t->task->way[i]][op] += has[op];
}

/* ------------------------------------------------------------- comparing -- */

/* Where some rows may find no room, what is compared is the step that has room
 * for all. */
static void name_worst(Module *old, Module *now)
{
    FnRef ref;
    if (!fn_find(now, module_str(now, "train.worst"), &ref) ||
        fn_find(old, module_str(old, "train.worst"), &ref) ||
        !fn_find(old, module_str(old, "train"), &ref))
        return;
    old->fns.at[ref.id]->name = module_str(old, "train.worst");
}

static bool same_since(Trial *t, Contract c, const char *pass)
{
    Unit old;
    Buf now = {0};
    module_print(&t->now.m, NULL, &now);
    bool ok = strcmp(now.at, t->before.at) == 0;
    buf_release(&now);
    if (ok) return true;
    ok = unit_read(&old, t->before.at, t->before.n);
    if (!ok) {
        unit_release(&old);
        return failed(t, "the text is no program before pass", pass);
    }
    name_worst(&old.m, &t->now.m);
    ok = meaning_same(&old.m, &t->now.m, c, t->task->seed);
    if (!ok) failed(t, "results change, seen behind pass", pass);
    t->cover->unchecked += was_unchecked(&t->now.diag);
    unit_release(&old);
    buf_clear(&t->before);
    module_print(&t->now.m, NULL, &t->before);
    return ok;
}

/* The program with its derivatives, and nothing else done to it. */
static bool print_reference(Trial *t)
{
    static const char *const passes =
        "inline,canonicalise,recognise,count,bounds,autodiff,canonicalise";
    Unit u;
    module_print(&t->now.m, NULL, &t->before);
    bool ok = unit_read(&u, t->before.at, t->before.n) &&
              pipeline_run(&u.m, passes, &(PipelineOpts){0});
    buf_clear(&t->before);
    if (ok) module_print(&u.m, NULL, &t->before);
    if (!ok) failed(t, "the reference fails in", passes);
    if (!ok) diag_render(&u.diag, DIAG_TEXT, t->why);
    unit_release(&u);
    return ok;
}

/* ---------------------------------------------------------------- passes -- */

/* A place where programs are compared, and how far what stands between it and
 * the one before may change them. */
typedef struct Stop {
    const char *pass;
    Contract contract;
} Stop;

static const Stop stops[] = {{"once", FORMAT_CHANGING},
                             {"layered", REASSOCIATING},
                             {"pipeline", EXACT},
                             {"localise", REASSOCIATING},
                             {"memplan", REASSOCIATING}};

static bool compared_behind(Trial *t, const char *pass)
{
    for (uint32_t i = 0; i < sizeof stops / sizeof *stops; i++)
        if (!strcmp(stops[i].pass, pass))
            return same_since(t, stops[i].contract, pass);
    return true;
}

/* One pass; *MORE is false where it refuses the plan. */
static bool run_pass(Trial *t, uint32_t step, const char *pass, bool derived,
                     bool *more)
{
    Buf before = {0}, after = {0};
    module_print(&t->now.m, NULL, &before);
    bool ok = pipeline_run(&t->now.m, pass, &(PipelineOpts){0});
    if (!ok) {
        *more = false;
        buf_release(&before);
        return is_refused(t) || failed(t, "an error of pass", pass);
    }
    module_print(&t->now.m, NULL, &after);
    if (strcmp(before.at, after.at)) {
        note_pass(t, step);
        if (derived && t->each)
            ok = same_since(t, pass_find(pass)->contract, pass);
    }
    if (!strcmp(pass, "localise")) note_ops(t);
    buf_release(&before);
    buf_release(&after);
    return ok && (t->each || compared_behind(t, pass));
}

static bool run_passes(Trial *t)
{
    char pass[32];
    bool more = true, derived = false, ok = true;
    for (uint32_t i = 0; ok && more && check_step(i, pass); i++) {
        if (!strcmp(pass, "shard"))
            spread_launches(&t->now.m, t->task->way[CHOICE_streams]);
        if (!strcmp(pass, "shard")) pad_lines(&t->now.m, t->task->seed);
        if (!strcmp(pass, "shard") && t->task->layouts)
            layouts_draw(&t->now.m, t->task->seed);
        ok = run_pass(t, i, pass, derived, &more);
        if (!derived && ok && more && !strcmp(pass, "autodiff")) {
            derived = true;
            if (t->each) ok = same_since(t, REASSOCIATING, pass);
        }
    }
    t->cover->whole += ok && more;
    return ok;
}

/* ----------------------------------------------------------------- tasks -- */

/* The text goes through a file, as people's programs do. */
static bool lower(Trial *t, const char *text, size_t n)
{
    char folder[] = "/tmp/titan-smith-XXXXXX";
    unit_init(&t->now);
    if (!mkdtemp(folder)) return failed(t, "no folder", folder);
    const char *path = arena_printf(&t->now.arena, "%s/task.tt", folder);
    char dtype[32];
    FrontendOpts o = {.inputs = &path,
                      .ninputs = 1,
                      .plan = "p",
                      .dtype = chosen(t->task, CHOICE_dtype, dtype)};
    Frontend *f = NULL;
    if (write_file(path, text, n, false)) f = frontend_parse(&t->now.m, &o);
    bool ok = f && frontend_lower(f);
    unlink(path);
    rmdir(folder);
    return ok;
}

bool task_read(const Task *task, const char *text, size_t n, Buf *program,
               Buf *why)
{
    Cover cover = {0};
    Trial t = {.task = task, .cover = &cover, .why = why};
    bool ok = lower(&t, text, n) && module_verify(&t.now.m);
    if (ok) module_print(&t.now.m, NULL, program);
    if (!ok && !is_refused(&t)) failed(&t, "the program", "is refused");
    unit_release(&t.now);
    return ok;
}

static bool try_task(Trial *t, const char *text, size_t n)
{
    if (!lower(t, text, n))
        return is_refused(t) || failed(t, "the program", "is refused");
    return module_verify(&t->now.m) ? print_reference(t) && run_passes(t)
                                    : failed(t, "the program", "is no IR");
}

bool check_plans(const Task *task, const char *text, size_t n, Cover *cover,
                 Buf *why)
{
    Trial t = {.task = task, .cover = cover, .why = why};
    t.each = task->seed % EACH == EACH - 1;
    bool ok = try_task(&t, text, n);
    unit_release(&t.now);
    buf_release(&t.before);
    if (ok || t.each) return ok;
    Trial again = {.task = task, .cover = cover, .why = why, .each = true};
    try_task(&again, text, n);
    unit_release(&again.now);
    buf_release(&again.before);
    return false;
}

/* -------------------------------------------------------------- printing -- */

static void print_row(const uint32_t *n, uint32_t count,
                      const char *(*name)(uint32_t i))
{
    for (uint32_t i = 0; i < count; i++)
        if (n[i]) printf(" %s %u", name(i), n[i]);
}

static const char *step_name(uint32_t i)
{
    static char word[32];
    check_step(i, word);
    return word;
}

static const char *op_name(uint32_t i)
{
    return op_info((Op)i)->name;
}

void cover_print(const Cover *c, bool whole)
{
    char word[32];
    printf("plans: %u compiled, refused:", c->whole);
    for (uint32_t i = 0; i < refusal_count(); i++)
        if (c->refused[i])
            printf(" %s %u (seed %llu)", refusal_name(i), c->refused[i],
                   (unsigned long long)c->first_refused[i]);
    printf("\nnot compared: %u\n", c->unchecked);
    for (uint32_t i = 0; i < CHOICE_count && whole; i++)
        for (uint32_t k = 0; k < choice_ways(i); k++) {
            printf("%s %s: passes", choice_name(i), choice_word(i, k, word));
            print_row(c->passes[i][k], MOST_STEPS, step_name);
            printf("; ops");
            print_row(c->ops[i][k], OP_count, op_name);
            putchar('\n');
        }
}
