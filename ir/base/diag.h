/*
 * diag.h: what the compiler says about a program.
 *
 * Reports are collected, not thrown: a phase returns false when it made an
 * error, and the next phase does not start.  Every report has an id from
 * diag.def, which is printed in brackets and explained by
 * `titanc --explain ID`.  Twenty errors, then stop.
 *
 *     Report *r = diag_error(d, DIAG_axis_missing, span,
 *                            "cannot sum over '%s': ...", axis);
 *     report_label(r, other, "[batch, seq, embed]");
 *     report_help(r, "axes in both operands: %s", list);
 *
 * Wording: lower case, no full stop; kinds and quoted names, both values; no
 * name of a C function or struct.
 */
#ifndef TITAN_BASE_DIAG_H
#define TITAN_BASE_DIAG_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "attr.h"
#include "buf.h"

/* Bytes [first, last) of a source file; file 0 is "no place". */
typedef struct Span {
    uint32_t file, first, last;
} Span;

typedef enum DiagId {
    DIAG_none,
#define DIAG(id, title) DIAG_##id,
#include "diag.def"
#undef DIAG
    DIAG_count
} DiagId;

typedef enum Severity {
    SEV_error,
    SEV_warning,
    SEV_note,
    SEV_remark /* what a pass did or could not do; collected when asked for */
} Severity;

/* Whether somebody asked what PASS did, or what it could not do (missed). */
typedef bool RemarkFilter(const void *user, const char *pass, bool missed);

typedef struct Source {
    const char *path; /* as the user wrote it */
    const char *text; /* NUL-terminated, `size` bytes before that */
    size_t size;
    const size_t *lines; /* where each begins */
    uint32_t nlines;
} Source;

typedef struct Report Report;

typedef struct Diag {
    Arena *arena;
    Source *sources; /* by file number; 0 is unused */
    uint32_t nsources, sources_cap;
    Report *first, *last;
    uint32_t nerrors, nwarnings;
    uint32_t max_errors;  /* 20; later errors are counted, not kept */
    RemarkFilter *wanted; /* NULL: no remarks */
    const void *wanted_by;
} Diag;

void diag_init(Diag *d, Arena *arena);
/* Registers a text; the path and the text must outlive the Diag. */
uint32_t diag_add_source(Diag *d, const char *path, const char *text,
                         size_t size);

Report *diag_error(Diag *d, DiagId id, Span at, const char *fmt, ...)
    PRINTF(4, 5);
Report *diag_warning(Diag *d, DiagId id, Span at, const char *fmt, ...)
    PRINTF(4, 5);
/* A remark of a pass, which takes the place of an id: MISSED says what it could
 * not do, and why.  The same one again is counted. */
bool diag_wants_remarks(const Diag *d, const char *pass, bool missed);
void diag_remark(Diag *d, const char *pass, bool missed, Span at,
                 const char *fmt, ...) PRINTF(5, 6);
/* A short text under a second place of the same line (or its own excerpt). */
void report_label(Report *r, Span at, const char *fmt, ...) PRINTF(3, 4);
/* A note with a place, or without one (file 0). */
void report_note(Report *r, Span at, const char *fmt, ...) PRINTF(3, 4);
void report_help(Report *r, const char *fmt, ...) PRINTF(2, 3);

/* "file:line:col" of the first byte; line and column from 1, columns count
 * Unicode code points. */
typedef struct Place {
    const char *path;
    uint32_t line, column;
} Place;
Place diag_place(const Diag *d, Span at);

typedef enum DiagFormat { DIAG_TEXT, DIAG_TEXT_COLOR, DIAG_JSON } DiagFormat;
/* Renders all reports in order, at most 40 lines for each; JSON: one object
 * per line. */
void diag_render(const Diag *d, DiagFormat format, Buf *out);

/* The word of an id as users see it: "axis-missing". */
const char *diag_word(DiagId id);
/* DIAG_none when there is no such id. */
DiagId diag_find(const char *word);
/* One line: the title in diag.def. */
const char *diag_title(DiagId id);

/* Iteration, for --verify-diagnostics. */
typedef struct ReportView {
    DiagId id;        /* DIAG_none: a remark */
    const char *pass; /* that made it; else NULL */
    Severity severity;
    Span at;
    const char *message;
} ReportView;
const Report *diag_next(const Diag *d, const Report *after, ReportView *out);

#endif
