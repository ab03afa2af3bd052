/*
 * layouts.c: a program in layouts that are drawn from all legal ones.
 *
 * It runs up to `shard` as any program does, or stands there already, as what
 * `titanc --stop-after=layered` writes.  Where its mesh has one device a mesh
 * and a plan are drawn too.  Behind it the program of each device, on all
 * devices and ranks together, computes what the whole one does: as `localise`
 * leaves it and, one in EACH_PLANNED, on planned memory.  One that fails is
 * looked at behind every pass, for the name of the pass.
 */
#include "smith.h"

#include <stdio.h>
#include <string.h>

/* Of so many seeds one goes on to planned memory. */
enum { EACH_PLANNED = 4 };

typedef struct Trial {
    Unit now;
    Buf before; /* the program at the last stop */
    uint64_t seed;
    bool each;
    Tally *tally;
    Buf *why;
} Trial;

static bool failed(Trial *t, const char *what, const char *which)
{
    return unit_failed(&t->now, t->why, "layouts: %s %s", what, which);
}

bool mesh_has_devices(const Module *m)
{
    for (uint32_t i = 0; i < m->mesh.n; i++)
        if (m->mesh.at[i].size > 1) return true;
    return false;
}

bool shares_out(const char *pass)
{
    return !strcmp(pass, "pipeline");
}

void layouts_draw(Module *m, uint64_t seed)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    option_set(m, "draw", text);
}

/* In front of the first pass that shares out. */
static bool begin(Trial *t)
{
    Module *m = &t->now.m;
    if (!mesh_has_devices(m)) mesh_draw(m, unit_entry(&t->now), t->seed, 0);
    layouts_draw(m, t->seed);
    spread_launches(m, t->seed);
    pad_lines(m, t->seed);
    module_print(m, NULL, &t->before);
    return true;
}

static bool same_since(Trial *t, const char *pass, uint32_t step)
{
    Unit old;
    Buf now = {0};
    module_print(&t->now.m, NULL, &now);
    bool ok = strcmp(now.at, t->before.at) == 0;
    if (!ok) {
        t->tally->checked[step]++;
        ok = unit_read(&old, t->before.at, t->before.n) &&
             meaning_same(&old.m, &t->now.m, REASSOCIATING, t->seed);
        t->tally->skipped += was_unchecked(&t->now.diag);
        unit_release(&old);
        if (!ok) failed(t, "results change, seen behind pass", pass);
    }
    buf_release(&t->before);
    t->before = now;
    return ok;
}

/* A rule that is drawn fits one of the entries, and perhaps not all. */
static bool is_refused(const Trial *t)
{
    ReportView v = {.id = DIAG_none};
    diag_next(&t->now.diag, NULL, &v);
    return v.id == DIAG_not_divisible;
}

static bool is_stop(const Trial *t, const char *pass)
{
    return t->each || shares_out(pass) || !strcmp(pass, "localise") ||
           !strcmp(pass, "memplan");
}

static bool run(Trial *t, bool stands_there)
{
    char pass[32];
    bool ok = true, apart = false;
    for (uint32_t i = 0; ok && check_step(i, pass); i++) {
        if (shares_out(pass)) apart = begin(t);
        if (!apart && stands_there) continue;
        if (!pipeline_run(&t->now.m, pass, &(PipelineOpts){0}))
            return is_refused(t) || failed(t, "an error of pass", pass);
        if (apart && is_stop(t, pass)) ok = same_since(t, pass, i);
        if (t->seed % EACH_PLANNED && !strcmp(pass, "localise")) break;
    }
    return ok;
}

static bool try_layout(Trial *t, const char *text, size_t n, bool stands_there)
{
    bool ok =
        unit_read(&t->now, text, n) || failed(t, "the program", "is none");
    ok = ok && run(t, stands_there);
    unit_release(&t->now);
    buf_release(&t->before);
    return ok;
}

bool check_layouts(const char *text, size_t n, uint64_t seed, Tally *tally,
                   bool stands_there, Buf *why)
{
    Trial t = {.seed = seed, .tally = tally, .why = why};
    if (try_layout(&t, text, n, stands_there)) return true;
    Buf also = {0};
    Trial each = {.seed = seed, .each = true, .tally = tally, .why = &also};
    if (!try_layout(&each, text, n, stands_there) && also.n) {
        buf_clear(why);
        buf_puts(why, also.at);
    }
    buf_release(&also);
    return false;
}
