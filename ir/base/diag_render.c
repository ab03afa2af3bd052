/*
 * diag_render.c: reports as text for people and as JSON for programs.
 *
 *     llama3.tt:18:25: error: cannot sum over 'ff': ... [axis-missing]
 *        18 |     q = rope[seq, hd](x @ff wq, rope_theta)
 *           |                       ~ ^~~ ~~ [embed, kv, rep, hd]
 *           |                       [.., seq, embed]
 *     help: axes in both operands: embed
 *
 * An excerpt is built line by line from the places that lie on it: marks under
 * each, the text of the rightmost label beside them, the others below, from
 * right to left.  Everything counts in display columns: a tab goes to the next
 * multiple of eight, a wide character takes two, a byte that is not UTF-8 or
 * not printable is shown as '?'.  A line that is too wide is cut on both sides
 * of the caret.
 */
#include <stdlib.h>
#include <string.h>

#include "report.h"

enum { TAB = 8, WIDEST = 120, MOST_LINES = 40, MOST_MARKS = 16 };

/* ---------------------------------------------------------- characters -- */

/* Length of the character at s (1 for a byte that is no UTF-8), its display
 * width, and whether it can be shown as it is. */
typedef struct Glyph {
    unsigned bytes, width;
    bool plain;
} Glyph;

static uint32_t utf8_decode(const unsigned char *s, size_t n, unsigned *bytes)
{
    unsigned want = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    *bytes = 1;
    if (s[0] < 0xc2 || s[0] > 0xf4 || want > n) return 0;
    uint32_t c = s[0] & (0x7fu >> want);
    for (unsigned i = 1; i < want; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    *bytes = want;
    return c;
}

static bool in_ranges(uint32_t c, const uint32_t (*r)[2], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c >= r[i][0] && c <= r[i][1]) return true;
    return false;
}

/* The blocks that terminals draw two columns wide, or on top of the character
 * before.  Coarse: a caret that is a column off is the worst that happens. */
static unsigned width_of(uint32_t c)
{
    static const uint32_t wide[][2] = {
        {0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},
        {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
        {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x1f300, 0x1f64f},
        {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
    };
    static const uint32_t none[][2] = {
        {0x300, 0x36f}, {0x200b, 0x200f}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}};
    if (in_ranges(c, none, sizeof none / sizeof *none)) return 0;
    return in_ranges(c, wide, sizeof wide / sizeof *wide) ? 2 : 1;
}

static Glyph glyph_at(const char *s, size_t n)
{
    unsigned char b = (unsigned char)*s;
    if (b < 0x80) return (Glyph){1, 1, b >= 0x20 && b != 0x7f};
    unsigned bytes;
    uint32_t c = utf8_decode((const unsigned char *)s, n, &bytes);
    if (c < 0xa0 || (c >= 0x202a && c <= 0x202e) ||
        (c >= 0x2066 && c <= 0x2069))
        return (Glyph){bytes, 1, false};
    return (Glyph){bytes, width_of(c), true};
}

/* ---------------------------------------------------------------- lines -- */

/* One line of a source as it is shown. */
typedef struct Line {
    const char *text; /* without the newline */
    size_t size;
    size_t first; /* byte in the source */
    uint32_t number;
} Line;

static Line line_at(const Source *s, size_t byte, uint32_t number)
{
    size_t at = byte < s->size ? byte : s->size;
    size_t first = at, last = at;
    while (first > 0 && s->text[first - 1] != '\n')
        first--;
    while (last < s->size && s->text[last] != '\n')
        last++;
    if (last > first && s->text[last - 1] == '\r') last--;
    return (Line){s->text + first, last - first, first, number};
}

/* The display column at which a byte of the line starts. */
static unsigned column_of(const Line *l, size_t byte)
{
    unsigned column = 0;
    for (size_t i = 0; i < byte && i < l->size;) {
        Glyph g = glyph_at(l->text + i, l->size - i);
        column += l->text[i] == '\t' ? TAB - column % TAB : g.width;
        i += g.bytes;
    }
    return column;
}

/* Adds the part of the line that lies in display columns [from, to). */
static void add_text(Buf *out, const Line *l, unsigned from, unsigned to)
{
    unsigned column = 0;
    for (size_t i = 0; i < l->size && column < to;) {
        Glyph g = glyph_at(l->text + i, l->size - i);
        bool tab = l->text[i] == '\t';
        unsigned width = tab ? TAB - column % TAB : g.width;
        if (column >= from && tab)
            buf_printf(out, "%*s", (int)width, "");
        else if (column >= from && g.plain)
            buf_add(out, l->text + i, g.bytes);
        else if (column >= from)
            buf_putc(out, '?');
        column += width;
        i += g.bytes;
    }
}

/* ---------------------------------------------------------------- marks -- */

typedef struct Mark {
    Span at;
    const char *text; /* of a label, or NULL */
    bool primary;
    uint32_t line;
    unsigned from, to; /* display columns */
} Mark;

typedef struct Marks {
    Mark at[MOST_MARKS];
    unsigned n;
} Marks;

typedef struct Style {
    const char *bold, *error, *warning, *note, *mark, *off;
} Style;

static const Style plain = {"", "", "", "", "", ""};
static const Style colors = {"\33[1m",    "\33[1;31m", "\33[1;35m",
                             "\33[1;36m", "\33[1;32m", "\33[0m"};

typedef struct Renderer {
    const Diag *d;
    const Style *style;
    Buf *out;
} Renderer;

/* What of the line is shown: all, or a window around the marks. */
typedef struct Window {
    unsigned from, to;
} Window;

static Window window_for(const Line *l, const Mark *marks, unsigned n)
{
    unsigned width = column_of(l, l->size);
    if (width <= WIDEST) return (Window){0, width};
    unsigned centre = marks[0].from;
    for (unsigned i = 0; i < n; i++)
        if (marks[i].primary) centre = marks[i].from;
    unsigned from = centre > WIDEST / 2 ? centre - WIDEST / 2 : 0;
    return (Window){from, from + WIDEST < width ? from + WIDEST : width};
}

/* A row of spaces, carets and tildes below the line. */
static void add_row(Renderer *r, const Mark *marks, unsigned n, Window w)
{
    char row[WIDEST + 2];
    memset(row, ' ', sizeof row);
    unsigned end = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < n; i++) {
            const Mark *k = &marks[i];
            if (k->primary != (pass == 1) || k->from < w.from) continue;
            for (unsigned c = k->from; c < k->to && c <= w.to; c++)
                row[c - w.from] = '~';
            unsigned last = k->to <= w.to ? k->to : w.to + 1;
            if (last > k->from && last - w.from > end) end = last - w.from;
            if (k->primary && k->from <= w.to) row[k->from - w.from] = '^';
        }
    }
    buf_puts(r->out, r->style->mark);
    buf_add(r->out, row, end);
    buf_puts(r->out, r->style->off);
}

static int by_column(const void *a, const void *b)
{
    const Mark *x = a, *y = b;
    if (x->from != y->from) return x->from < y->from ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

/* The texts of the labels.  That of the rightmost mark stands beside it, the
 * others on rows of their own. */
static void add_labels(Renderer *r, const Mark *marks, unsigned n, Window w)
{
    for (unsigned i = n; i-- > 0;) {
        const char *text = marks[i].text;
        if (!text || !text[0]) continue;
        if (i + 1 == n) {
            buf_printf(r->out, " %s", text);
            continue;
        }
        unsigned indent = marks[i].from > w.from ? marks[i].from - w.from : 0;
        buf_printf(r->out, "\n      | %*s%s", (int)indent, "", text);
    }
}

static void add_excerpt(Renderer *r, const Line *l, Mark *marks, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        size_t first = marks[i].at.first - l->first;
        size_t last = marks[i].at.last > marks[i].at.first
                          ? marks[i].at.last - l->first
                          : first;
        marks[i].from = column_of(l, first);
        marks[i].to = column_of(l, last);
        if (marks[i].to <= marks[i].from) marks[i].to = marks[i].from + 1;
    }
    qsort(marks, n, sizeof *marks, by_column);
    Window w = window_for(l, marks, n);
    buf_printf(r->out, "%5u | ", l->number);
    add_text(r->out, l, w.from, w.to);
    buf_puts(r->out, "\n      | ");
    add_row(r, marks, n, w);
    add_labels(r, marks, n, w);
    buf_putc(r->out, '\n');
}

static int by_line(const void *a, const void *b)
{
    const Mark *x = a, *y = b;
    if (x->line != y->line) return x->line < y->line ? -1 : 1;
    return by_column(a, b);
}

/* All marks lie in one file; lines in order, a gap is shown by dots. */
static void add_excerpts(Renderer *r, Marks *marks)
{
    for (unsigned i = 0; i < marks->n; i++)
        marks->at[i].line = diag_place(r->d, marks->at[i].at).line;
    qsort(marks->at, marks->n, sizeof *marks->at, by_line);
    for (unsigned i = 0, end; i < marks->n; i = end) {
        Mark *m = &marks->at[i];
        for (end = i; end < marks->n && marks->at[end].line == m->line;)
            end++;
        if (i > 0 && m->line > marks->at[i - 1].line + 1)
            buf_puts(r->out, "  ...\n");
        Line l = line_at(&r->d->sources[m->at.file], m->at.first, m->line);
        add_excerpt(r, &l, m, end - i);
    }
}

/* ----------------------------------------------------------------- text -- */

static bool has_place(const Diag *d, Span at)
{
    return at.file > 0 && at.file < d->nsources;
}

static void add_head(Renderer *r, Span at, const char *color, const char *kind,
                     const char *message)
{
    const Style *s = r->style;
    if (has_place(r->d, at)) {
        Place p = diag_place(r->d, at);
        buf_printf(r->out, "%s%s:%u:%u:%s ", s->bold, p.path, p.line, p.column,
                   s->off);
    }
    buf_printf(r->out, "%s%s:%s %s%s%s", color, kind, s->off, s->bold, message,
               s->off);
}

static void add_note(Renderer *r, const Part *p)
{
    add_head(r, p->at, r->style->note, "note", p->text);
    buf_putc(r->out, '\n');
    if (!has_place(r->d, p->at)) return;
    Marks one = {.n = 1};
    one.at[0] = (Mark){.at = p->at, .primary = true};
    add_excerpts(r, &one);
}

static void render_body(Renderer *r, const Report *rep)
{
    Marks marks = {0};
    if (has_place(r->d, rep->at))
        marks.at[marks.n++] = (Mark){.at = rep->at, .primary = true};
    for (unsigned i = 0; i < rep->parts.n; i++) {
        const Part *p = &rep->parts.at[i];
        if (p->kind == PART_label && p->at.file == rep->at.file &&
            marks.n < MOST_MARKS && marks.n > 0)
            marks.at[marks.n++] = (Mark){.at = p->at, .text = p->text};
    }
    add_excerpts(r, &marks);
    for (unsigned i = 0; i < rep->parts.n; i++) {
        const Part *p = &rep->parts.at[i];
        bool far = p->kind == PART_label && p->at.file != rep->at.file;
        if (p->kind == PART_note || far) add_note(r, p);
    }
    for (unsigned i = 0; i < rep->parts.n; i++) {
        const Part *p = &rep->parts.at[i];
        if (p->kind != PART_help) continue;
        add_head(r, (Span){0}, r->style->note, "help", p->text);
        buf_putc(r->out, '\n');
    }
}

/* Cuts what follows `start` to the line limit. */
static void limit_lines(Buf *out, size_t start)
{
    unsigned lines = 0;
    for (size_t i = start; i < out->n; i++) {
        if (out->at[i] != '\n' || ++lines < MOST_LINES - 1) continue;
        if (i + 1 == out->n) return;
        size_t next = i + 1;
        while (next < out->n && out->at[next] != '\n')
            next++;
        if (next + 1 >= out->n) return; /* just one more: let it stand */
        out->n = i + 1;
        buf_puts(out, "note: the rest of this report is left out\n");
        return;
    }
}

/* One line: there may be hundreds. */
static void render_remark(Renderer *r, const Report *rep)
{
    add_head(r, rep->at, r->style->note, "remark", rep->message);
    if (rep->times > 1) buf_printf(r->out, ", %u times", rep->times);
    buf_printf(r->out, " [-Rpass%s=%s]\n", rep->missed ? "-missed" : "",
               rep->pass);
}

static void render_text(Renderer *r, const Report *rep)
{
    size_t start = r->out->n;
    if (rep->severity == SEV_remark) {
        render_remark(r, rep);
        return;
    }
    bool error = rep->severity == SEV_error;
    add_head(r, rep->at, error ? r->style->error : r->style->warning,
             error ? "error" : "warning", rep->message);
    buf_printf(r->out, " [%s]\n", diag_word(rep->id));
    render_body(r, rep);
    limit_lines(r->out, start);
}

/* ----------------------------------------------------------------- JSON -- */

static void json_place(const Diag *d, Span at, Buf *out)
{
    Place p = diag_place(d, at);
    Place end = diag_place(d, (Span){at.file, at.last, at.last});
    buf_puts(out, "\"file\":");
    buf_json_str(out, p.path);
    buf_printf(out,
               ",\"line\":%u,\"column\":%u,\"end_line\":%u,\"end_column\":%u,"
               "\"first_byte\":%u,\"last_byte\":%u",
               p.line, p.column, end.line, end.column, at.first, at.last);
}

static void json_parts(const Diag *d, const Report *rep, PartKind kind,
                       const char *key, Buf *out)
{
    buf_printf(out, ",\"%s\":[", key);
    bool any = false;
    for (unsigned i = 0; i < rep->parts.n; i++) {
        const Part *p = &rep->parts.at[i];
        if (p->kind != kind) continue;
        buf_puts(out, any ? ",{\"message\":" : "{\"message\":");
        any = true;
        buf_json_str(out, p->text);
        if (has_place(d, p->at)) {
            buf_putc(out, ',');
            json_place(d, p->at, out);
        }
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

static void render_json(const Diag *d, const Report *rep, Buf *out)
{
    bool remark = rep->severity == SEV_remark;
    buf_printf(out, "{\"severity\":\"%s\",\"id\":\"%s\",",
               remark                       ? "remark"
               : rep->severity == SEV_error ? "error"
                                            : "warning",
               diag_word(rep->id));
    if (remark)
        buf_printf(out, "\"pass\":\"%s\",\"missed\":%s,\"times\":%u,",
                   rep->pass, rep->missed ? "true" : "false", rep->times);
    buf_puts(out, "\"message\":");
    buf_json_str(out, rep->message);
    if (has_place(d, rep->at)) {
        buf_putc(out, ',');
        json_place(d, rep->at, out);
    }
    json_parts(d, rep, PART_label, "labels", out);
    json_parts(d, rep, PART_note, "notes", out);
    json_parts(d, rep, PART_help, "helps", out);
    buf_puts(out, "}\n");
}

void diag_render(const Diag *d, DiagFormat format, Buf *out)
{
    Renderer r = {d, format == DIAG_TEXT_COLOR ? &colors : &plain, out};
    for (const Report *rep = d->first; rep; rep = rep->next) {
        if (format == DIAG_JSON)
            render_json(d, rep, out);
        else
            render_text(&r, rep);
    }
    if (format == DIAG_JSON || d->nerrors <= d->max_errors) return;
    uint32_t more = d->nerrors - d->max_errors;
    buf_printf(out, "note: %u more error%s not shown\n", more,
               more == 1 ? " is" : "s are");
}
