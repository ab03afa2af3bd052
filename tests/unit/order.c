/* links: titan_passes */
/*
 * Missing events are found.
 *
 * Each file under tests/passes/expand is put on three streams, with as many
 * events as that takes, and planned.  Then each wait is left out, one at a
 * time.  What the verifier still takes gives the same bits in every order that
 * the interpreter tries; of what it refuses, the interpreter sees a fair share
 * go wrong by itself.  Another folder can be named on the command line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "passes/pass.h"

static const char pipeline[] =
    "localise,fuse{tile-bytes=32},expand,schedule{streams=3;spread=1;growth=100},"
    "memplan";
enum { ORDERS = 6 };

typedef struct World {
    Arena arena, scratch, trial;
    Diag diag;
    uint32_t waits, refused, seen;
} World;

/* NULL: it is for several devices. */
static Module *load(World *w, const char *path)
{
    size_t size;
    char *text = read_file(&w->arena, path, &size);
    assert_non_null(text);
    Module *m = NEW(&w->arena, Module);
    module_init(m, &w->arena, &w->scratch, &w->diag);
    uint32_t source = diag_add_source(&w->diag, path, text, size);
    PipelineOpts o = {0};
    bool ok = module_parse(m, source) && module_verify(m);
    if (ok && m->mesh.n > 0) return NULL;
    ok = ok && pipeline_run(m, pipeline, &o);
    if (!ok) fail_msg("%s does not compile", path);
    return m;
}

static Tensor *results_of(World *w, Module *m, const Fn *fn, uint64_t order)
{
    InterpOpts o = {.order = order};
    Tensor *args = inputs_random(m, fn, 1, &w->trial);
    Tensor *results = NEW_ARRAY(&w->trial, Tensor, fn->nresults + 1);
    assert_true(interp_fn(m, fn, &o, args, results, &w->trial));
    return results;
}

static bool same_bits(const Fn *fn, const Tensor *a, const Tensor *b)
{
    for (uint32_t i = 0; i < fn->nresults; i++)
        if (memcmp(a[i].at, b[i].at, (size_t)a[i].n * sizeof *a[i].at) != 0)
            return false;
    return true;
}

/* Whether some order of some entry gives other results than the list. */
static bool goes_wrong(World *w, Module *m, const Tensor *const *right)
{
    bool wrong = false;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint64_t k = 1; right[f] && k <= ORDERS && !wrong; k++) {
            ArenaMark mark = arena_mark(&w->trial);
            wrong = !same_bits(fn, right[f], results_of(w, m, fn, k));
            arena_pop(&w->trial, mark);
        }
    }
    return wrong;
}

static bool is_taken(World *w, Module *m)
{
    Diag said;
    ArenaMark mark = arena_mark(&w->trial);
    diag_init(&said, &w->trial);
    m->diag = &said;
    bool ok = module_verify(m);
    m->diag = &w->diag;
    arena_pop(&w->trial, mark);
    return ok;
}

static Attr without_wait(Module *m, Attr attr, uint32_t which)
{
    AttrList l = attr_list(m, attr);
    const AttrItem *wait = attr_get(m, attr, AT_wait);
    int64_t rest[64];
    uint32_t n = 0;
    assert_true(wait->n <= 64);
    for (uint32_t i = 0; i < wait->n; i++)
        if (i != which) rest[n++] = wait->ints[i];
    attr_drop(&l, AT_wait);
    if (n) attr_put_ints(&l, AT_wait, rest, n);
    return attr_intern(m, &l);
}

static void leave_out(World *w, Module *m, Inst *in, const Tensor *const *right)
{
    Attr whole = in->attr;
    const AttrItem *wait = attr_get(m, whole, AT_wait);
    uint32_t n = wait ? wait->n : 0;
    for (uint32_t i = 0; i < n; i++) {
        in->attr = without_wait(m, whole, i);
        bool taken = is_taken(w, m), wrong = goes_wrong(w, m, right);
        if (taken && wrong) fail_msg("a missing event was not found");
        w->waits++;
        w->refused += !taken;
        w->seen += wrong;
        in->attr = whole;
    }
}

static void try_file(World *w, const char *path)
{
    Module *m = load(w, path);
    if (!m) return;
    const Tensor **right = NEW_ARRAY(&w->arena, const Tensor *, m->fns.n + 1);
    for (uint32_t f = 0; f < m->fns.n; f++)
        if (m->fns.at[f]->entry) right[f] = results_of(w, m, m->fns.at[f], 0);
    assert_false(goes_wrong(w, m, right));
    for (uint32_t f = 0; f < m->fns.n; f++) {
        Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++)
            if (is_step(&fn->insts[i])) leave_out(w, m, &fn->insts[i], right);
    }
}

static const char *folder(World *w, const char *given)
{
    if (given) return given;
    char *path = arena_strdup(&w->arena, __FILE__);
    *strstr(path, "unit/order.c") = '\0';
    return arena_printf(&w->arena, "%spasses/expand", path);
}

static void missing_events_are_found(void **state)
{
    World w = {.waits = 0};
    arena_init(&w.arena, "module");
    arena_init(&w.scratch, "scratch");
    arena_init(&w.trial, "trial");
    diag_init(&w.diag, &w.arena);
    const char *dir = folder(&w, *state);
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strstr(e->d_name, ".tir"))
            try_file(&w, arena_printf(&w.arena, "%s/%s", dir, e->d_name));
    closedir(d);
    printf("%u waits left out: %u refused, %u seen by the interpreter\n",
           w.waits, w.refused, w.seen);
    assert_true(w.refused > 0 && w.seen * 3 >= w.refused);
    arena_release(&w.trial);
    arena_release(&w.scratch);
    arena_release(&w.arena);
}

int main(int argc, char **argv)
{
    char *given = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(missing_events_are_found, given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
