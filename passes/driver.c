/*
 * driver.c: runs a pipeline.
 *
 * Around each pass, in this order: what it needs is checked; it runs; the
 * result is verified; meanings are compared, the text printed or written
 * where asked; the scratch arena starts anew.  A pass that leaves an
 * ill-formed module is a bug of the compiler, whatever the input was.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "budget.h"

typedef struct Run {
    Module *m;
    const PipelineOpts *o;
    StepVec steps;
    double *seconds;   /* by step */
    Buf before, after; /* text around the step, where it is needed */
    bool changed;
} Run;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --------------------------------------------------------------- needs -- */

static const Pass *giver_of(uint32_t prop)
{
    const Pass *p;
    for (uint32_t i = 0; (p = pass_at(i)); i++)
        if (p->gives & prop) return p;
    return NULL;
}

static bool given_later(const Run *r, uint32_t step, uint32_t prop)
{
    for (uint32_t i = step + 1; i < r->steps.n; i++)
        if (r->steps.at[i].pass->gives & prop) return true;
    return false;
}

/* A property that leaves no mark in the text is missing when a pass that
 * would give it is still to come. */
static bool check_needs(const Run *r, uint32_t step)
{
    const Pass *p = r->steps.at[step].pass;
    uint32_t seen = module_props(r->m);
    for (uint32_t prop = 1; prop && prop <= p->needs; prop <<= 1) {
        if (!(p->needs & prop)) continue;
        bool missing =
            prop & PROPS_SEEN ? !(seen & prop) : given_later(r, step, prop);
        if (!missing) continue;
        Report *e = diag_error(r->m->diag, DIAG_pass_order, (Span){0},
                               "pass '%s' needs %s", p->name, prop_text(prop));
        const Pass *giver = giver_of(prop);
        if (giver) report_help(e, "run '%s' before it", giver->name);
        return false;
    }
    return true;
}

/* ------------------------------------------------------------- running -- */

static bool check_asked(Module *m, const Step *s, const bool *asked)
{
    for (uint32_t i = 0; i < s->noptions; i++)
        if (!asked[i]) {
            diag_error(m->diag, DIAG_pass_option, (Span){0},
                       "pass '%s' has no option '%s'", s->pass->name,
                       s->keys[i]);
            return false;
        }
    return true;
}

static bool run_pass(Run *r, const Step *s)
{
    Module *m = r->m;
    uint32_t errors = m->diag->nerrors;
    bool *asked = NEW_ARRAY(m->arena, bool, s->noptions + 1);
    PassCtx cx = {.keys = s->keys,
                  .values = s->values,
                  .asked = asked,
                  .noptions = s->noptions,
                  .pass = s->pass->name};
    bool ok = s->pass->run(m, &cx);
    if (m->diag->nerrors == errors && !ok)
        BUG("pass '%s' failed without saying why", s->pass->name);
    return ok && m->diag->nerrors == errors && check_asked(m, s, asked);
}

static void verify_after(Run *r, uint32_t step)
{
    const Pass *p = r->steps.at[step].pass;
    bool last = step + 1 == r->steps.n;
    if (r->o->verify == VERIFY_none) return;
    if ((r->o->verify == VERIFY_end && !last) || module_verify(r->m)) return;
    Buf b = {0};
    diag_render(r->m->diag, DIAG_TEXT, &b);
    fputs(b.at, stderr);
    BUG("pass '%s' left an ill-formed module", p->name);
}

/* ------------------------------------------------------------- meaning -- */

/* The module as it was, read back from its text: nothing is shared with the
 * module that the pass worked on. */
typedef struct Former {
    Arena arena, scratch;
    Diag diag;
    Module m;
} Former;

static void former_init(Former *f, const Buf *text)
{
    arena_init(&f->arena, "before the pass");
    arena_init(&f->scratch, "scratch");
    diag_init(&f->diag, &f->arena);
    module_init(&f->m, &f->arena, &f->scratch, &f->diag);
    char *copy = arena_strndup(&f->arena, text->at ? text->at : "", text->n);
    uint32_t source = diag_add_source(&f->diag, "before", copy, text->n);
    if (module_parse(&f->m, source)) return;
    Buf b = {0};
    diag_render(&f->diag, DIAG_TEXT, &b);
    fputs(b.at, stderr);
    BUG("the text of the module could not be read back");
}

static bool same_meaning(Run *r, const Pass *p)
{
    Former f;
    if (!r->changed) return true;
    former_init(&f, &r->before);
    bool ok = meaning_same(&f.m, r->m, p->contract, r->o->seed);
    arena_release(&f.arena);
    arena_release(&f.scratch);
    return ok;
}

/* ------------------------------------------------------------ printing -- */

static bool is_asked(const char *which, const Pass *p, bool changed)
{
    if (!which) return false;
    if (strcmp(which, "all") == 0) return true;
    if (strcmp(which, "changed") == 0) return changed;
    return strcmp(which, p->name) == 0;
}

static bool dump(Run *r, uint32_t step)
{
    const char *path =
        arena_printf(r->m->arena, "%s/%02u-%s.tir", r->o->dump_dir, step + 1,
                     r->steps.at[step].pass->name);
    if (write_file(path, r->after.at, r->after.n, false)) return true;
    diag_error(r->m->diag, DIAG_file_write, (Span){0},
               "could not write \"%s\": %s", path, strerror(errno));
    return false;
}

static bool show(Run *r, uint32_t step)
{
    const Pass *p = r->steps.at[step].pass;
    if (is_asked(r->o->print_after, p, r->changed)) {
        printf("// after %s\n%s\n", p->name, r->after.n ? r->after.at : "");
        fflush(stdout);
    }
    return !r->o->dump_dir || !r->changed || dump(r, step);
}

/* Text is made only where somebody asked for what it tells. */
static void note_text(Run *r, Buf *text)
{
    buf_clear(text);
    if (r->o->print_after || r->o->dump_dir || r->o->check_meaning)
        module_print(r->m, &(PrintOpts){.locs = r->o->locs}, text);
}

static void compare_text(Run *r)
{
    note_text(r, &r->after);
    r->changed =
        r->after.n != r->before.n ||
        (r->after.n && memcmp(r->after.at, r->before.at, r->after.n) != 0);
}

/* --------------------------------------------------------------- times -- */

static void print_times(const Run *r, uint32_t nsteps)
{
    double all = 0;
    for (uint32_t i = 0; i < nsteps; i++)
        all += r->seconds[i];
    fprintf(stderr, "%10s %6s  pass\n", "ms", "%");
    for (uint32_t i = 0; i < nsteps; i++)
        fprintf(stderr, "%10.3f %6.1f  %s\n", 1e3 * r->seconds[i],
                all > 0 ? 100 * r->seconds[i] / all : 0,
                r->steps.at[i].pass->name);
    fprintf(stderr, "%10.3f %6.1f  total\n", 1e3 * all, 100.0);
}

/* ---------------------------------------------------------------- steps -- */

static bool run_step(Run *r, uint32_t i)
{
    const Step *s = &r->steps.at[i];
    if (r->o->on_step) r->o->on_step(r->o->user, i + 1, s->pass->name);
    if (!check_needs(r, i)) return false;
    note_text(r, &r->before);
    ArenaMark mark = arena_mark(r->m->scratch);
    double start = now();
    bool ok = true;
    if (s->pass->run == pass_once && !r->o->judge)
        ok = hold_settle(r->m, &r->steps, i, r->o);
    if (s->pass->run == pass_remat)
        ok = budget_settle(r->m, &r->steps, i, r->o);
    ok = ok && run_pass(r, s);
    r->seconds[i] = now() - start;
    arena_pop(r->m->scratch, mark);
    if (!ok) return false;
    verify_after(r, i);
    compare_text(r);
    ok = !r->o->check_meaning || same_meaning(r, s->pass);
    ok = show(r, i) && ok;
    arena_pop(r->m->scratch, mark);
    return ok;
}

static bool make_dump_dir(Run *r)
{
    const char *dir = r->o->dump_dir;
    if (!dir || mkdir(dir, 0777) == 0 || errno == EEXIST) return true;
    diag_error(r->m->diag, DIAG_file_write, (Span){0},
               "could not make the folder \"%s\": %s", dir, strerror(errno));
    return false;
}

static bool is_last(const Run *r, uint32_t i)
{
    const char *stop = r->o->stop_after;
    return (stop && strcmp(stop, r->steps.at[i].pass->name) == 0) ||
           (r->o->most_steps > 0 && i + 1 == r->o->most_steps);
}

static bool run_steps(Run *r)
{
    bool ok = true;
    uint32_t i = 0;
    while (ok && i < r->steps.n) {
        ok = run_step(r, i++);
        if (is_last(r, i - 1)) break;
    }
    if (r->o->time_passes) print_times(r, i);
    return ok;
}

bool pipeline_run(Module *m, const char *text, const PipelineOpts *o)
{
    Run r = {.m = m, .o = o};
    if (!pipeline_parse(m, text, &r.steps) || !make_dump_dir(&r)) return false;
    r.seconds = NEW_ARRAY(m->arena, double, r.steps.n + 1);
    bool ok = run_steps(&r);
    buf_release(&r.before);
    buf_release(&r.after);
    return ok;
}

const char *pipeline_from(Module *m, const char *text, uint32_t step)
{
    StepVec steps = {0};
    Buf b = {0};
    if (!pipeline_parse(m, text, &steps)) return text;
    for (uint32_t i = step - 1; i < steps.n; i++) {
        if (b.n) buf_putc(&b, ',');
        step_print(&steps.at[i], &b);
    }
    const char *s = arena_strdup(m->arena, b.at ? b.at : "");
    buf_release(&b);
    return s;
}
