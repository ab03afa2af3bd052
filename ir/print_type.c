/*
 * print_type.c: names and types as text.
 *
 *     f32[batch/dp, seq/cp zig, row:16]+tp      (f32[a], i32[])
 *
 * The size of an axis is written where it is not the module's default.
 */
#include "text.h"

/* A word stands bare in text: a letter or '_', then letters, digits, '_' and
 * '.'.  Other names stand in quotes. */
static bool is_word(const char *s, size_t n)
{
    if (n == 0 || text_is_digit(s[0]) || s[0] == '.') return false;
    for (size_t i = 0; i < n; i++)
        if (!text_in_word(s[i])) return false;
    return true;
}

void print_quoted(const char *s, Buf *out)
{
    buf_putc(out, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_putc(out, *s);
    }
    buf_putc(out, '"');
}

void print_name(const char *s, Buf *out)
{
    if (is_word(s, strlen(s)))
        buf_puts(out, s);
    else
        print_quoted(s, out);
}

void print_axis_list(const Module *m, const Axis *axes, uint32_t n, Buf *out)
{
    for (uint32_t i = 0; i < n; i++) {
        if (i) buf_puts(out, ", ");
        print_name(axis_name(m, axes[i]), out);
    }
}

void print_mesh_list(const Module *m, const MeshAxis *mesh, uint32_t n,
                     Buf *out)
{
    for (uint32_t i = 0; i < n; i++) {
        if (i) buf_puts(out, ", ");
        print_name(mesh_name(m, mesh[i]), out);
    }
}

static void print_type_axis(const Module *m, const TypeAxis *a, Buf *out)
{
    print_name(axis_name(m, a->axis), out);
    if (a->size != m->axes.at[a->axis.id].size)
        buf_printf(out, ":%lld", (long long)a->size);
    for (uint32_t i = 0; i < a->nsplits; i++) {
        buf_putc(out, '/');
        print_name(mesh_name(m, a->splits[i]), out);
    }
    if (a->spread == SPREAD_zig) buf_puts(out, " zig");
}

static void print_pending(const Module *m, const TypeInfo *t, Buf *out)
{
    for (uint32_t i = 0; i < t->npending; i++) {
        buf_putc(out, '+');
        if (i == 0 && t->pending_kind == PENDING_max) buf_puts(out, "max ");
        print_name(mesh_name(m, t->pending[i]), out);
    }
}

static void print_tuple(const Module *m, const TypeInfo *t, Buf *out)
{
    buf_putc(out, '(');
    for (uint32_t i = 0; i < t->nfields; i++) {
        if (i) buf_puts(out, ", ");
        print_type(m, t->fields[i], out);
    }
    buf_putc(out, ')');
}

void print_type(const Module *m, Type type, Buf *out)
{
    const TypeInfo *t = type_info(m, type);
    if (type.id == 0 || t->is_error) {
        buf_puts(out, type.id == 0 ? "none" : "error");
        return;
    }
    if (t->is_tuple) {
        print_tuple(m, t, out);
        return;
    }
    buf_printf(out, "%s[", dtype_name(t->dtype));
    for (uint32_t i = 0; i < t->naxes; i++) {
        if (i) buf_puts(out, ", ");
        print_type_axis(m, &t->axes[i], out);
    }
    buf_putc(out, ']');
    print_pending(m, t, out);
}

const char *type_str(Module *m, Type t)
{
    Buf b = {0};
    print_type(m, t, &b);
    const char *s = arena_strdup(m->arena, b.at);
    buf_release(&b);
    return s;
}

const char *axes_str(Module *m, const Axis *axes, uint32_t n)
{
    Buf b = {0};
    buf_puts(&b, "");
    for (uint32_t i = 0; i < n; i++) {
        if (i) buf_puts(&b, ", ");
        print_name(axis_name(m, axes[i]), &b);
    }
    const char *s = arena_strdup(m->arena, b.at);
    buf_release(&b);
    return s;
}
