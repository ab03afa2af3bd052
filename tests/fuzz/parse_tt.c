/* sources: frontend/node.c frontend/tokens.c frontend/expected.c
 * frontend/rules.c frontend/parse.c frontend/print.c build/frontend/tt.tab.c
 * build/frontend/tt.lex.c build/frontend/library.c ir/base/arena.c
 * ir/base/buf.c ir/base/bug.c ir/base/diag.c ir/base/diag_render.c
 * ir/base/map.c ir/base/nearest.c ir/base/str.c ir/module.c ir/type.c ir/attr.c
 * ir/op.c */
/* seeds: tests/frontend/parse tests/frontend/reject stdlib models */
/* goal: 1000000 */
/*
 * The scanner and the parser of .tt files: any bytes give a tree or at most
 * twenty errors; a tree that is printed and parsed again prints the same.
 */
#include <stdlib.h>
#include <string.h>

#include "frontend/ast.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

typedef struct World {
    Arena arena, scratch;
    Diag diag;
    Module m;
} World;

static void open_world(World *w)
{
    arena_init(&w->arena, "module");
    arena_init(&w->scratch, "scratch");
    diag_init(&w->diag, &w->arena);
    module_init(&w->m, &w->arena, &w->scratch, &w->diag);
}

static bool print_text(World *w, const char *text, size_t size, Buf *out)
{
    uint32_t source = diag_add_source(&w->diag, "x.tt", text, size);
    File f = {.path = "x.tt", .source = source};
    bool ok = text_parse(&w->m, source, &f.decls);
    if (ok) ast_print_file(&w->m, &f, out);
    if (ok != (w->diag.nerrors == 0)) abort();
    return ok;
}

static void check_reports(World *w)
{
    Buf b = {0};
    diag_render(&w->diag, DIAG_TEXT, &b);
    diag_render(&w->diag, DIAG_JSON, &b);
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    World w;
    Buf once = {0}, twice = {0};
    char *text = malloc(size + 1);
    if (!text) return 0;
    memcpy(text, at, size);
    text[size] = 0;
    open_world(&w);
    if (print_text(&w, text, size, &once) && once.n) {
        if (!print_text(&w, once.at, once.n, &twice)) abort();
        if (strcmp(once.at, twice.at)) abort();
    }
    check_reports(&w);
    buf_release(&once);
    buf_release(&twice);
    arena_release(&w.scratch);
    arena_release(&w.arena);
    free(text);
    return 0;
}
