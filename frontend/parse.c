/*
 * parse.c: from paths to syntax trees.
 *
 * Reads the inputs, then what they import, and so on; a file is read once.
 * `import std.nn` is the text "nn" of the embedded library; `import a.b` is
 * a/b.tt beside the importing file, or below one of the -I directories, which
 * come first; -I DIR may also replace a library text as DIR/std/nn.tt.  Files
 * are listed with imports before importers; a cycle is an error.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "library.h"
#include "syntax.h"
#include "tt.tab.h"

enum { MAX_SIZE = 64 << 20, MAX_IMPORTS = 64 };

bool text_parse(Module *m, uint32_t source, Nodes *decls)
{
    const Source *src = &m->diag->sources[source];
    Scan s = {
        .m = m, .file = source, .text = src->text, .size = (uint32_t)src->size};
    *decls = (Nodes){0};
    uint32_t errors = m->diag->nerrors;
    if (!tt_scan(&s)) return false;
    Parser p = {.m = m, .file = source};
    settle_tokens(&s, &p.tokens);
    p.blamed = s.blamed.at;
    p.nblamed = s.blamed.n;
    bool parsed = tt_parse_tokens(&p) == 0;
    *decls = p.decls;
    return parsed && m->diag->nerrors == errors;
}

/* A file while it is being read: the chain shows cycles. */
typedef struct Reading {
    struct Reading *importer;
    File *file;
    unsigned depth;
} Reading;

static File *file_add(Frontend *f, const char *path, const char *text,
                      size_t size)
{
    File *file = NEW(f->m->arena, File);
    file->path = path;
    file->source = diag_add_source(f->m->diag, path, text, size);
    return file;
}

static File *file_read(Frontend *f, const char *path)
{
    size_t size;
    const char *text = read_file(f->m->arena, path, &size);
    if (!text) return NULL;
    if (size > MAX_SIZE) {
        errno = EFBIG;
        return NULL;
    }
    if (!strcmp(path, "-")) return file_add(f, "<stdin>", text, size);
    vec_push(f->m->arena, &f->paths, path);
    return file_add(f, path, text, size);
}

static File *library_file(Frontend *f, const char *path)
{
    if (strncmp(path, "std.", 4)) return NULL;
    for (const LibraryText *t = library_texts; t->name; t++) {
        if (strcmp(t->name, path + 4)) continue;
        const char *name = arena_printf(f->m->arena, "std/%s.tt", t->name);
        File *file = file_add(f, name, t->text, t->size);
        file->library = true;
        return file;
    }
    return NULL;
}

static bool text_declares(const char *text, const char *name)
{
    static const char *const kinds[] = {"fn ", "module ", "optimizer "};
    size_t n = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        for (uint32_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            size_t k = strlen(kinds[i]);
            if (!strncmp(line, kinds[i], k) && !strncmp(line + k, name, n) &&
                (line[k + n] == '[' || line[k + n] == '('))
                return true;
        }
    }
    return false;
}

const char *library_declares(const char *name)
{
    for (const LibraryText *t = library_texts; t->name; t++)
        if (text_declares(t->text, name)) return t->name;
    return NULL;
}

/* "a.b" below a directory: DIR/a/b.tt. */
static const char *path_below(Frontend *f, const char *dir, size_t n,
                              const char *name)
{
    const char *slash = n && dir[n - 1] != '/' ? "/" : "";
    char *path =
        arena_printf(f->m->arena, "%.*s%s%s.tt", (int)n, dir, slash, name);
    for (char *c = path + n; c + 3 < path + strlen(path); c++)
        if (*c == '.') *c = '/';
    return path;
}

static const char *find_import(Frontend *f, const File *from, const char *name)
{
    for (uint32_t i = 0; i < f->opts.ninclude_dirs; i++) {
        const char *dir = f->opts.include_dirs[i];
        const char *path = path_below(f, dir, strlen(dir), name);
        if (access(path, F_OK) == 0) return path;
    }
    const char *slash = strrchr(from->path, '/');
    size_t n = slash ? (size_t)(slash - from->path) + 1 : 0;
    const char *path = path_below(f, from->path, n, name);
    return !from->library && access(path, F_OK) == 0 ? path : NULL;
}

static File *find_read(const Frontend *f, const char *path)
{
    for (uint32_t i = 0; i < f->files.n; i++)
        if (!strcmp(f->files.at[i]->path, path)) return f->files.at[i];
    return NULL;
}

static bool read_imports(Frontend *f, Reading *r);

/* Parses a file and what it imports, and lists it. */
static bool settle_file(Frontend *f, Reading *importer, File *file)
{
    Reading r = {importer, file, importer ? importer->depth + 1 : 0};
    bool ok = text_parse(f->m, file->source, &file->decls);
    ok = read_imports(f, &r) && ok;
    vec_push(f->m->arena, &f->files, file);
    return ok;
}

static void report_missing(Frontend *f, Name path)
{
    const char *name = str_of(f->m, path.text);
    Report *r = diag_error(f->m->diag, DIAG_import_missing, path.span,
                           "could not find '%s'", name);
    if (strncmp(name, "std.", 4)) {
        report_help(r, "looked below the -I directories and beside this file");
        return;
    }
    Buf b = {0};
    for (const LibraryText *t = library_texts; t->name; t++)
        buf_printf(&b, "%sstd.%s", b.n ? ", " : "", t->name);
    if (b.n) report_help(r, "the library has: %s", b.at);
    buf_release(&b);
}

static bool in_cycle(Frontend *f, const Reading *r, const char *path, Name at)
{
    for (const Reading *up = r; up; up = up->importer) {
        if (strcmp(up->file->path, path)) continue;
        diag_error(f->m->diag, DIAG_import_cycle, at.span,
                   "'%s' imports itself, by way of %s", str_of(f->m, at.text),
                   r->file->path);
        return true;
    }
    return false;
}

static File *import_file(Frontend *f, Reading *r, Name path)
{
    const char *name = str_of(f->m, path.text);
    const char *found = find_import(f, r->file, name);
    const char *known = found ? found
                              : arena_printf(f->m->arena, "std/%s.tt",
                                             name + (strlen(name) < 4 ? 0 : 4));
    if (in_cycle(f, r, known, path)) return NULL;
    File *file = find_read(f, known);
    if (file) return file;
    file = found ? file_read(f, found) : library_file(f, name);
    if (!file && found)
        diag_error(f->m->diag, DIAG_file_missing, path.span,
                   "could not read \"%s\": %s", found, strerror(errno));
    else if (!file)
        report_missing(f, path);
    if (file && !settle_file(f, r, file)) return NULL;
    return file;
}

static bool read_import(Frontend *f, Reading *r, const Setting *s)
{
    Import import = {.path = s->name};
    if (s->value) import.config = (Name){s->value->name, s->value->span};
    import.file = import_file(f, r, s->name);
    File *file = r->file;
    file->imports[file->nimports++] = import;
    return import.file != NULL;
}

static uint32_t count_imports(const File *file)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < file->decls.n; i++)
        if (file->decls.at[i]->kind == N_import)
            n += file->decls.at[i]->import.n;
    return n;
}

static bool read_imports(Frontend *f, Reading *r)
{
    File *file = r->file;
    bool ok = true;
    file->imports = NEW_ARRAY(f->m->arena, Import, count_imports(file) + 1);
    for (uint32_t i = 0; i < file->decls.n; i++) {
        const Node *n = file->decls.at[i];
        if (n->kind != N_import) continue;
        if (r->depth >= MAX_IMPORTS) {
            diag_error(f->m->diag, DIAG_nesting_too_deep, n->head,
                       "imports are nested more than %d deep", MAX_IMPORTS);
            return false;
        }
        for (uint32_t k = 0; k < n->import.n; k++)
            ok = read_import(f, r, &n->import.at[k]) && ok;
    }
    return ok;
}

static bool read_input(Frontend *f, const char *path)
{
    File *file = find_read(f, path);
    if (file) {
        file->input = true;
        return true;
    }
    file = file_read(f, path);
    if (!file) {
        diag_error(f->m->diag, DIAG_file_missing, (Span){0},
                   "could not read \"%s\": %s", path, strerror(errno));
        return false;
    }
    file->input = true;
    return settle_file(f, NULL, file);
}

Frontend *frontend_parse(Module *m, const FrontendOpts *o)
{
    Frontend *f = NEW(m->arena, Frontend);
    f->m = m;
    f->opts = *o;
    bool ok = true;
    for (uint32_t i = 0; i < o->ninputs; i++)
        ok = read_input(f, o->inputs[i]) && ok;
    return ok ? f : NULL;
}

uint32_t frontend_files(const Frontend *f, const char *const **paths)
{
    *paths = f->paths.at;
    return f->paths.n;
}
