/*
 * expect.c: collects the expectations of every source, and crosses each off
 * with the first report that meets it.
 */
#include "expect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Expectation {
    uint32_t file, line; /* what is expected where; line 0: no place */
    uint32_t at;         /* line of the comment */
    Severity severity;
    const char *text;
    uint32_t n;
    bool met;
} Expectation;

typedef VEC(Expectation) Expectations;

static const char *severity_word(Severity s)
{
    switch (s) {
    case SEV_error:
        return "error";
    case SEV_warning:
        return "warning";
    case SEV_note:
        return "note";
    case SEV_remark:
        return "remark";
    }
    return "report";
}

/* What stands in brackets. */
static const char *label_of(const ReportView *r)
{
    return r->pass ? r->pass : diag_word(r->id);
}

/* After `expected-`: "error@+1 {{text}}". */
static bool read_one(const char *s, Expectation *e)
{
    static const Severity able[] = {SEV_error, SEV_warning, SEV_remark};
    const char *word = NULL;
    for (unsigned i = 0; i < sizeof able / sizeof *able && !word; i++) {
        e->severity = able[i];
        word = severity_word(able[i]);
        if (strncmp(s, word, strlen(word)) != 0) word = NULL;
    }
    if (!word) return false;
    s += strlen(word);
    e->line = e->at;
    if (strncmp(s, "@unknown", 8) == 0) {
        e->file = e->line = 0;
        s += 8;
    } else if (*s == '@') {
        char *end;
        long n = strtol(s + 1, &end, 10);
        bool relative = s[1] == '+' || s[1] == '-';
        e->line = (uint32_t)(relative ? (long)e->at + n : n);
        s = end;
    }
    while (*s == ' ')
        s++;
    const char *close = strstr(s, "}}");
    if (strncmp(s, "{{", 2) != 0 || !close) return false;
    e->text = s + 2;
    e->n = (uint32_t)(close - e->text);
    return true;
}

static void read_source(const Diag *d, uint32_t file, Expectations *out)
{
    static const char mark[] = "expected-";
    uint32_t line = 1;
    for (const char *s = d->sources[file].text; *s; s++) {
        if (*s == '\n') line++;
        if (strncmp(s, mark, sizeof mark - 1) != 0) continue;
        Expectation e = {.file = file, .at = line};
        if (read_one(s + sizeof mark - 1, &e)) vec_push(d->arena, out, e);
    }
}

static bool meets(const Diag *d, const Expectation *e, const ReportView *r)
{
    uint32_t line = r->at.file ? diag_place(d, r->at).line : 0;
    if (e->met || e->severity != r->severity || e->file != r->at.file ||
        e->line != line)
        return false;
    const char *whole =
        arena_printf(d->arena, "%s [%s]", r->message, label_of(r));
    return strstr(whole, arena_strndup(d->arena, e->text, e->n)) != NULL;
}

static bool cross_off(const Diag *d, const ReportView *r, Expectations *all)
{
    for (uint32_t i = 0; i < all->n; i++) {
        if (!meets(d, &all->at[i], r)) continue;
        all->at[i].met = true;
        return true;
    }
    return false;
}

static void print_unexpected(const Diag *d, const ReportView *r, Buf *out)
{
    Place p = {0};
    if (r->at.file) p = diag_place(d, r->at);
    buf_printf(out, "%s:%u: unexpected %s: %s [%s]\n", p.path ? p.path : "-",
               p.line, severity_word(r->severity), r->message, label_of(r));
}

static void compare(const Diag *d, Buf *out)
{
    Expectations all = {0};
    ReportView r;
    for (uint32_t f = 1; f < d->nsources; f++)
        read_source(d, f, &all);
    for (const Report *p = diag_next(d, NULL, &r); p; p = diag_next(d, p, &r))
        if (!cross_off(d, &r, &all)) print_unexpected(d, &r, out);
    for (uint32_t i = 0; i < all.n; i++)
        if (!all.at[i].met)
            buf_printf(out, "line %u: expected %s did not come: %.*s\n",
                       all.at[i].at, severity_word(all.at[i].severity),
                       (int)all.at[i].n, all.at[i].text);
}

bool expect_met(const Diag *d)
{
    Buf faults = {0};
    compare(d, &faults);
    bool met = faults.n == 0;
    if (!met) fputs(faults.at, stderr);
    buf_release(&faults);
    return met;
}
