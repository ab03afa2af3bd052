/* sources: ir/access.c ir/attr.c ir/base/arena.c ir/base/buf.c ir/base/bug.c
 * ir/base/diag.c ir/base/diag_render.c ir/base/map.c ir/base/nearest.c
 * ir/base/str.c ir/build.c ir/degree.c ir/emit.c ir/fold.c ir/interp/dtype.c
 * ir/layout.c ir/lex.c ir/module.c ir/op.c ir/order.c ir/parse.c
 * ir/parse_expr.c ir/parse_fn.c ir/parse_text.c ir/parse_type.c ir/print.c
 * ir/print_expr.c ir/print_type.c ir/rewrite.c ir/scalar.c ir/scalar_fold.c
 * ir/type.c ir/uses.c ir/verify/call.c ir/verify/check.c ir/verify/comm.c
 * ir/verify/index.c ir/verify/kernel.c ir/verify/map.c ir/verify/move.c
 * ir/verify/order.c ir/verify/ports.c ir/verify/sum.c ir/verify/verify.c
 * passes/added.c passes/canonicalise/canonicalise.c
 * passes/canonicalise/hoist.c passes/canonicalise/merge.c
 * passes/canonicalise/move.c passes/canonicalise/pads.c
 * passes/canonicalise/repeat.c passes/dce.c passes/inline.c passes/reach.c
 * passes/remat/rules.c
 * build/passes/libtitan_passes.a build/ir/libtitan_ir.a */
/* seeds: tests/ir/print tests/ir/parse tests/ir/verify
 * tests/passes/canonicalise tests/passes/dce */
/* goal: 1000000 */
/*
 * The text form of the IR: any bytes give a module or reports; a module that
 * is printed and parsed again prints the same; one that the verifier takes is
 * still one after the passes that rewrite it at large.
 */
#include <stdlib.h>
#include <string.h>

#include "passes/pass.h"
#include "tests/unit/unit.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

static void close_unit(Unit *w)
{
    Buf b = {0};
    diag_render(&w->diag, DIAG_TEXT, &b);
    buf_release(&b);
    unit_close(w);
}

static bool parse_text(Unit *w, const char *text, size_t size)
{
    bool ok = unit_parse(w, "x.tir", text, size);
    if (ok != (w->diag.nerrors == 0)) abort();
    return ok;
}

static void check_print(Unit *w)
{
    Unit again;
    PrintOpts opts = {0};
    Buf once = {0}, twice = {0};
    module_print(&w->m, &opts, &once);
    unit_open(&again);
    if (!parse_text(&again, once.at ? once.at : "", once.n)) abort();
    module_print(&again.m, &opts, &twice);
    if (once.n != twice.n || (once.n && strcmp(once.at, twice.at))) abort();
    close_unit(&again);
    buf_release(&once);
    buf_release(&twice);
}

/* A call of a pass may be refused, but what it leaves is well formed. */
static void check_passes(Unit *w)
{
    PassCtx cx = {0};
    if (!module_verify(&w->m)) return;
    if (!pass_inline(&w->m, &cx)) return;
    if (!module_verify(&w->m)) abort();
    pass_canonicalise(&w->m, &cx);
    if (!module_verify(&w->m)) abort();
    pass_dce(&w->m, &cx);
    if (!module_verify(&w->m)) abort();
}

static void check_part(const char *at, size_t size)
{
    Unit w;
    char *text = malloc(size + 1);
    if (!text) return;
    memcpy(text, at, size);
    text[size] = 0;
    unit_open(&w);
    if (parse_text(&w, text, size)) {
        check_print(&w);
        check_passes(&w);
    }
    close_unit(&w);
    free(text);
}

/* The tests hold several modules each, cut as titan-opt cuts them. */
int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    static const char cut[] = "// -----";
    const char *text = (const char *)at;
    while (size > 0) {
        const char *next = memmem(text, size, cut, sizeof cut - 1);
        size_t n = next ? (size_t)(next - text) : size;
        check_part(text, n);
        n += next ? sizeof cut - 1 : 0;
        text += n;
        size -= n;
    }
    return 0;
}
