/*
 * diag.c: collecting reports, and the table of ids.
 *
 * A second report with the id and the place of an earlier one is the same
 * mistake seen again (a module is checked once for each instance): it is
 * built, so that its maker can go on adding to it, but not kept.  So are the
 * errors past the limit, which are counted.
 */
#include "report.h"

#include <stdarg.h>
#include <string.h>

enum { MAX_WARNINGS = 100, WORD_MAX = 40 };

/* The words with dashes, spelled by the preprocessor so that the table is
 * constant. */
#define AT(s, i) ((s)[(i) < sizeof(s) ? (i) : sizeof(s) - 1])
#define CH(s, i) (AT(s, i) == '_' ? '-' : AT(s, i))
#define CH5(s, i) \
    CH(s, i), CH(s, i + 1), CH(s, i + 2), CH(s, i + 3), CH(s, i + 4)
#define CH10(s, i) CH5(s, i), CH5(s, i + 5)

static const struct {
    char word[WORD_MAX];
    const char *title;
} ids[] = {
    {"none", "no diagnostic"},
#define DIAG(id, title) \
    {{CH10(#id, 0), CH10(#id, 10), CH10(#id, 20), CH10(#id, 30)}, title},
#include "diag.def"
#undef DIAG
};

#define DIAG(id, title) \
    _Static_assert(sizeof #id <= WORD_MAX, "an id has less than 40 letters");
#include "diag.def"
#undef DIAG

const char *diag_word(DiagId id)
{
    return ids[id].word;
}

const char *diag_title(DiagId id)
{
    return ids[id].title;
}

DiagId diag_find(const char *word)
{
    for (DiagId id = DIAG_none + 1; id < DIAG_count; id++)
        if (!strcmp(ids[id].word, word)) return id;
    return DIAG_none;
}

void diag_init(Diag *d, Arena *arena)
{
    *d = (Diag){.arena = arena, .max_errors = 20};
    diag_add_source(d, "", "", 0); /* file 0 is no place */
}

static void find_lines(Arena *a, Source *s)
{
    size_t n = 1, *lines;
    for (size_t i = 0; i < s->size; i++)
        n += s->text[i] == '\n';
    s->lines = lines = NEW_ARRAY(a, size_t, n);
    for (size_t i = 0; i < s->size; i++)
        if (s->text[i] == '\n') lines[++s->nlines] = i + 1;
    s->nlines++;
}

uint32_t diag_add_source(Diag *d, const char *path, const char *text,
                         size_t size)
{
    d->sources = vec_grown(d->arena, d->sources, d->nsources, &d->sources_cap,
                           d->nsources + 1, sizeof *d->sources);
    Source s = {.path = path, .text = text, .size = size};
    find_lines(d->arena, &s);
    d->sources[d->nsources] = s;
    return d->nsources++;
}

PRINTF(2, 0)
static char *format(Arena *a, const char *fmt, va_list args)
{
    Buf b = {0};
    buf_vprintf(&b, fmt, args);
    char *text = arena_strndup(a, b.at ? b.at : "", b.n);
    buf_release(&b);
    return text;
}

static bool same_span(Span a, Span b)
{
    return a.file == b.file && a.first == b.first && a.last == b.last;
}

static bool known(const Diag *d, const Report *r)
{
    for (const Report *o = d->first; o; o = o->next) {
        if (o->id != r->id || !same_span(o->at, r->at)) continue;
        if (r->at.file != 0 || !strcmp(o->message, r->message)) return true;
    }
    return false;
}

static void append(Diag *d, Report *r)
{
    if (d->last)
        d->last->next = r;
    else
        d->first = r;
    d->last = r;
}

/* Whether the report is kept; counts it. */
static bool admit(Diag *d, Severity severity)
{
    if (severity == SEV_error) return d->nerrors++ < d->max_errors;
    return d->nwarnings++ < MAX_WARNINGS;
}

PRINTF(5, 0)
static Report *report(Diag *d, Severity severity, DiagId id, Span at,
                      const char *fmt, va_list args)
{
    Report *r = NEW(d->arena, Report);
    *r = (Report){.arena = d->arena, .severity = severity, .id = id, .at = at};
    r->message = format(d->arena, fmt, args);
    if (!known(d, r) && admit(d, severity)) append(d, r);
    return r;
}

Report *diag_error(Diag *d, DiagId id, Span at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    Report *r = report(d, SEV_error, id, at, fmt, args);
    va_end(args);
    return r;
}

Report *diag_warning(Diag *d, DiagId id, Span at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    Report *r = report(d, SEV_warning, id, at, fmt, args);
    va_end(args);
    return r;
}

/* --------------------------------------------------------------- remarks -- */

bool diag_wants_remarks(const Diag *d, const char *pass, bool missed)
{
    return d->wanted && d->wanted(d->wanted_by, pass, missed);
}

static Report *same_remark(const Diag *d, const Report *r)
{
    for (Report *o = d->first; o; o = o->next)
        if (o->severity == SEV_remark && same_span(o->at, r->at) &&
            o->missed == r->missed && !strcmp(o->pass, r->pass) &&
            !strcmp(o->message, r->message))
            return o;
    return NULL;
}

void diag_remark(Diag *d, const char *pass, bool missed, Span at,
                 const char *fmt, ...)
{
    if (!diag_wants_remarks(d, pass, missed)) return;
    va_list args;
    va_start(args, fmt);
    Report *r = NEW(d->arena, Report);
    *r = (Report){.arena = d->arena,
                  .severity = SEV_remark,
                  .at = at,
                  .message = format(d->arena, fmt, args),
                  .pass = arena_strdup(d->arena, pass),
                  .missed = missed,
                  .times = 1};
    va_end(args);
    Report *old = same_remark(d, r);
    if (old)
        old->times++;
    else
        append(d, r);
}

/* ----------------------------------------------------------------- parts -- */

PRINTF(4, 0)
static void attach(Report *r, PartKind kind, Span at, const char *fmt,
                   va_list args)
{
    Part part = {.kind = kind, .at = at, .text = format(r->arena, fmt, args)};
    vec_push(r->arena, &r->parts, part);
}

void report_label(Report *r, Span at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    attach(r, PART_label, at, fmt, args);
    va_end(args);
}

void report_note(Report *r, Span at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    attach(r, PART_note, at, fmt, args);
    va_end(args);
}

void report_help(Report *r, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    attach(r, PART_help, (Span){0}, fmt, args);
    va_end(args);
}

/* The number of the line, from 0, that has a byte. */
static uint32_t line_at(const Source *s, size_t at)
{
    uint32_t low = 0, high = s->nlines;
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (s->lines[mid] <= at)
            low = mid;
        else
            high = mid;
    }
    return low;
}

Place diag_place(const Diag *d, Span at)
{
    if (at.file == 0 || at.file >= d->nsources) return (Place){"", 0, 0};
    const Source *s = &d->sources[at.file];
    size_t end = at.first < s->size ? at.first : s->size;
    uint32_t line = line_at(s, end);
    Place p = {s->path, line + 1, 1};
    for (size_t i = s->lines[line]; i < end; i++)
        p.column += ((unsigned char)s->text[i] & 0xc0) != 0x80;
    return p;
}

const Report *diag_next(const Diag *d, const Report *after, ReportView *out)
{
    const Report *r = after ? after->next : d->first;
    if (r) *out = (ReportView){r->id, r->pass, r->severity, r->at, r->message};
    return r;
}
