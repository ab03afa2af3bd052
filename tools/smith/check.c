/*
 * check.c: what must hold of a program.
 *
 *   print   its text is canonical: printed, read and printed again, it is the
 *           same; it verifies, and its results are finite, so that comparing
 *           them says something
 *   passes  each pass of the pipeline keeps its meaning, under the contract
 *           that the pass declares
 *   mesh    one device's program, on all devices of a random mesh, too
 *   host    the compiled program computes what the interpreter does
 */
#include "smith.h"

#include <math.h>
#include <string.h>

/* ----------------------------------------------------------------- print -- */

static bool all_finite(const Module *m, const Tensor *t)
{
    if (dtype_class(type_dtype(m, t->type)) != DC_float) return true;
    for (int64_t i = 0; i < t->n; i++)
        if (!isfinite(t->at[i].f)) return false;
    return true;
}

static bool check_finite(Unit *u, uint64_t seed, Buf *why)
{
    const Fn *fn = unit_entry(u);
    Tensor *args = inputs_random(&u->m, fn, seed, &u->arena);
    Tensor *results = NEW_ARRAY(&u->arena, Tensor, fn->nresults);
    if (!interp_fn(&u->m, fn, &(InterpOpts){.round = true}, args, results,
                   &u->arena))
        return unit_failed(u, why, "the program does not run");
    for (uint32_t i = 0; i < fn->nresults; i++) {
        if (all_finite(&u->m, &results[i])) continue;
        buf_printf(why, "result %u is not finite\n", i);
        return false;
    }
    return true;
}

static bool check_print(const char *text, size_t n, uint64_t seed, Buf *why)
{
    Unit u;
    Buf again = {0};
    bool ok = unit_read(&u, text, n);
    if (!ok) unit_failed(&u, why, "the program does not verify");
    if (ok) module_print(&u.m, NULL, &again);
    if (ok && (again.n != n || memcmp(again.at, text, n) != 0)) {
        ok = false;
        buf_printf(why, "printed again, the program differs:\n%s", again.at);
    }
    ok = ok && check_finite(&u, seed, why);
    buf_release(&again);
    unit_release(&u);
    return ok;
}

/* ---------------------------------------------------------------- passes -- */

/* The steps of the pipeline, cut at the commas. */
bool check_step(uint32_t i, char out[32])
{
    const char *s = pipeline_find("train");
    for (; i > 0 && s; i--) {
        s = strchr(s, ',');
        if (s) s++;
    }
    if (!s) return false;
    size_t n = strcspn(s, ",");
    if (n > 31) n = 31;
    memcpy(out, s, n);
    out[n] = 0;
    return true;
}

bool was_unchecked(const Diag *d)
{
    ReportView v;
    for (const Report *r = diag_next(d, NULL, &v); r; r = diag_next(d, r, &v))
        if (v.id == DIAG_meaning_unchecked) return true;
    return false;
}

static bool out_of_order(const Diag *d)
{
    ReportView v;
    const Report *r = diag_next(d, NULL, &v);
    return r && v.id == DIAG_pass_order;
}

typedef struct Steps {
    Unit *u;
    uint64_t seed;
    Tally *t;
    Buf *why;
} Steps;

/* Runs one pass; the meaning is compared when the text changed.  More is set
 * to false where the pipeline ends for this program. */
static bool check_pass(Steps *s, uint32_t i, const char *name, bool *more)
{
    Module *m = &s->u->m;
    Buf before = {0}, after = {0};
    Unit old;
    module_print(m, NULL, &before);
    bool ok = pipeline_run(m, name, &(PipelineOpts){0});
    if (!ok && out_of_order(&s->u->diag)) {
        *more = false;
        ok = true;
    } else if (!ok) {
        unit_failed(s->u, s->why, "pass %s fails", name);
    } else {
        module_print(m, NULL, &after);
    }
    if (ok && *more && strcmp(before.at, after.at) != 0) {
        ok = unit_read(&old, before.at, before.n) &&
             meaning_same(&old.m, m, pass_find(name)->contract, s->seed);
        s->t->checked[i]++;
        s->t->skipped += was_unchecked(&s->u->diag);
        if (!ok) unit_failed(s->u, s->why, "pass %s changes results", name);
        unit_release(&old);
    }
    buf_release(&before);
    buf_release(&after);
    return ok;
}

/* Launches run on one to four streams, whether that pays or not. */
void spread_launches(Module *m, uint64_t seed)
{
    static const char *const streams[] = {"1", "2", "3", "4"};
    option_set(m, "streams", streams[seed % 4]);
    option_set(m, "spread", "1");
    option_set(m, "growth", "100");
}

void pad_lines(Module *m, uint64_t seed)
{
    option_set(m, "padded",
               seed * UINT64_C(0x9e3779b97f4a7c15) >> 63 ? "1" : "0");
}

static bool check_passes(const char *text, size_t n, uint64_t seed, Tally *t,
                         Buf *why)
{
    Unit u;
    char name[32];
    bool ok = unit_read(&u, text, n), more = ok;
    Steps s = {&u, seed, t, why};
    if (ok) spread_launches(&u.m, seed);
    if (ok) pad_lines(&u.m, seed);
    for (uint32_t i = 0; ok && more && check_step(i, name); i++)
        if (pass_find(name)) ok = check_pass(&s, i, name, &more);
    unit_release(&u);
    return ok;
}

bool check_program(const char *text, size_t n, unsigned modes, uint64_t seed,
                   Tally *t, Buf *why)
{
    if (modes & MODE_print && !check_print(text, n, seed, why)) return false;
    if (modes & MODE_passes && !check_passes(text, n, seed, t, why))
        return false;
    if (modes & MODE_mesh && !check_mesh(text, n, seed, t, why)) return false;
    if (modes & MODE_layouts && !check_layouts(text, n, seed, t, false, why))
        return false;
    return !(modes & MODE_host) || check_host(text, n, seed, why);
}
