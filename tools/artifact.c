/*
 * artifact.c: writes what the compiler has made.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

static bool write_out(Job *j, const void *at, size_t n, bool executable)
{
    const char *path = j->r->output;
    if (write_file(path, at, n, executable)) return true;
    diag_error(&j->diag, DIAG_file_write, (Span){0},
               "could not write \"%s\": %s", path, strerror(errno));
    return false;
}

bool text_write(Job *j, const Buf *b)
{
    if (j->r->output && strcmp(j->r->output, "-"))
        return write_out(j, b->at ? b->at : "", b->n, false);
    fwrite(b->at ? b->at : "", 1, b->n, stdout);
    return true;
}

/* The listing of the image, by the runtime that will read it. */
static bool write_listing(Job *j)
{
    TitanImage im;
    char *text = NULL;
    size_t n = 0;
    if (!image_open(j, &im)) return false;
    FILE *out = open_memstream(&text, &n);
    if (!out) out_of_memory("listing", n);
    titan_describe(&im, out);
    fclose(out);
    Buf b = {0};
    buf_add(&b, text, n);
    free(text);
    bool ok = text_write(j, &b);
    buf_release(&b);
    return ok;
}

static bool write_ptx(Job *j)
{
    Buf b = {0};
    ptx_container(&j->m, &j->r->codegen, &j->made, &b);
    bool ok = write_out(j, b.at, b.n, false);
    buf_release(&b);
    return ok;
}

static bool write_llvm(Job *j)
{
    Buf b = {0};
    buf_add(&b, j->made.text, j->made.text_size);
    bool ok = text_write(j, &b);
    buf_release(&b);
    return ok;
}

bool artifact_write(Job *j)
{
    switch (j->r->emit) {
    case EMIT_nothing:
    case EMIT_ast:
    case EMIT_tir:
        return true;
    case EMIT_html:
        return program_write(j);
    case EMIT_image:
        return write_listing(j);
    case EMIT_llvm:
        return write_llvm(j);
    case EMIT_ptx:
        return write_ptx(j);
    case EMIT_obj:
        return write_out(j, j->made.object, j->made.object_size, false);
    case EMIT_exe:
        break;
    }
    return link_program(j);
}

/* ------------------------------------------------------------- depfiles -- */

/* make reads a blank as an end and a dollar as a variable. */
static void make_word(const char *s, Buf *out)
{
    for (; *s; s++) {
        if (*s == ' ' || *s == '#') buf_putc(out, '\\');
        if (*s == '$') buf_putc(out, '$');
        buf_putc(out, *s);
    }
}

static void make_source(const char *file, Buf *b)
{
    buf_puts(b, " \\\n  ");
    make_word(file, b);
}

bool depfile_write(Job *j)
{
    const Options *o = j->r->o;
    if (!option_given(o, OPT_depfile)) return true;
    const char *output = j->r->output ? j->r->output : "-";
    const char *goal = option_text(o, OPT_depfile_rule);
    const char *path = option_text(o, OPT_depfile_name);
    if (!path) path = arena_printf(&j->arena, "%s.d", output);
    const char *const *files;
    uint32_t n = frontend_files(j->frontend, &files);
    Buf b = {0};
    make_word(goal ? goal : output, &b);
    buf_putc(&b, ':');
    for (uint32_t i = 0; i < n; i++)
        make_source(files[i], &b);
    if (option_given(o, OPT_tune)) make_source(option_text(o, OPT_tune), &b);
    buf_putc(&b, '\n');
    bool ok = write_file(path, b.at, b.n, false);
    buf_release(&b);
    if (!ok)
        diag_error(&j->diag, DIAG_file_write, (Span){0},
                   "could not write \"%s\": %s", path, strerror(errno));
    return ok;
}
