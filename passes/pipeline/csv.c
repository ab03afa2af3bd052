/*
 * csv.c: a schedule from a file.
 *
 *     0F0,0F1,,0B0,0B1          a row for each rank, a cell for each action
 *     1F0,1B0,1F1,1B1           <stage><what><microbatch>; empty: a pause
 *
 * `(0F3;1B2)OVERLAP_F_B` is two actions side by side.  A rank has the stages
 * that its row names.  Transfers, gathers and reductions are the compiler's:
 * what they follow from is all here.  Files of other tools may have cells for
 * them (`1SEND_F0`, `0UNSHARD`), of which one warning says that they are not
 * read.
 */
#include <ctype.h>
#include <stdarg.h>

#include "schedule.h"

enum { MOST_NUMBER = 1 << 20 };

typedef struct Reader {
    const ScheduleAsk *ask;
    const char *text, *at;
    VEC(ActionVec) rows;
    Span unread;       /* the first cell that is the compiler's */
    uint32_t nunread;  /* how many there are */
    uint32_t furthest; /* the last stage that one names */
    Span furthest_at;  /* the first that does */
    bool failed;
} Reader;

static Span span_of(const Reader *rd, const char *from, size_t n)
{
    uint32_t at = (uint32_t)(from - rd->text);
    return (Span){rd->ask->at.file, at, at + (uint32_t)(n ? n : 1)};
}

static void PRINTF(4, 5)
    fail(Reader *rd, const char *from, const char *help, const char *fmt, ...)
{
    va_list args;
    if (rd->failed) return;
    rd->failed = true;
    Span at = span_of(rd, from, strcspn(from, ",\n\r"));
    Buf b = {0};
    va_start(args, fmt);
    buf_vprintf(&b, fmt, args);
    va_end(args);
    Report *r = diag_error(rd->ask->diag, DIAG_pipeline_file, at, "%s", b.at);
    report_help(r, "%s", help);
    buf_release(&b);
}

static const char cell_help[] =
    "a cell is <stage><F, B, I or W><microbatch>, as 0F3; an empty one a pause";

static bool number(Reader *rd, uint32_t *out)
{
    const char *from = rd->at;
    for (*out = 0; isdigit((unsigned char)*rd->at); rd->at++) {
        *out = *out * 10 + (uint32_t)(*rd->at - '0');
        if (*out > MOST_NUMBER) {
            fail(rd, from, cell_help, "a number above %d", MOST_NUMBER);
            return false;
        }
    }
    return rd->at > from;
}

static bool take(Reader *rd, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(rd->at, word, n) != 0) return false;
    rd->at += n;
    return true;
}

/* The compiler's own words of other tools' files, behind the stage. */
static bool unread(Reader *rd)
{
    static const struct {
        const char *word;
        bool micro;
    } words[] = {{"UNSHARD", false}, {"RESHARD", false}, {"REDUCE_GRAD", false},
                 {"SEND_F", true},   {"RECV_F", true},   {"SEND_B", true},
                 {"RECV_B", true}};
    const char *from = rd->at;
    uint32_t stage, micro;
    bool ok = number(rd, &stage);
    for (size_t i = 0; ok && i < sizeof words / sizeof *words; i++) {
        if (!take(rd, words[i].word)) continue;
        if (words[i].micro && !number(rd, &micro)) break;
        Span at = span_of(rd, from, (size_t)(rd->at - from));
        if (rd->nunread == 0) rd->unread = at;
        if (rd->nunread++ == 0 || stage > rd->furthest) {
            rd->furthest = stage;
            rd->furthest_at = at;
        }
        return true;
    }
    rd->at = from;
    return false;
}

static bool action(Reader *rd, const char *cell, ActionVec *row)
{
    static const char letters[] = "FBIW";
    const char *from = rd->at;
    Action x = {.kind = ACTION_idle, .at = (uint32_t)(from - rd->text)};
    bool ok = number(rd, &x.stage);
    const char *letter = ok && *rd->at ? strchr(letters, *rd->at) : NULL;
    if (letter) {
        rd->at++;
        x.kind = (ActionKind)(letter - letters);
        ok = number(rd, &x.micro);
    }
    if (ok && letter) {
        x.length = (uint32_t)(rd->at - from);
        vec_push(rd->ask->arena, row, x);
        return true;
    }
    fail(rd, cell, cell_help, "expected an action, found '%.*s'",
         (int)strcspn(cell, ",\n\r"), cell);
    return false;
}

static void skip(Reader *rd)
{
    while (*rd->at == ' ' || *rd->at == '\t' || *rd->at == '\r')
        rd->at++;
}

static bool overlapped(Reader *rd, const char *cell, ActionVec *row)
{
    uint32_t first = row->n;
    if (!action(rd, cell, row)) return false;
    bool ok = take(rd, ";");
    if (ok && !action(rd, cell, row)) return false;
    if (ok && take(rd, ")OVERLAP_F_B")) {
        row->at[first].beside = true;
        return true;
    }
    fail(rd, cell, "write (0F3;1B2)OVERLAP_F_B",
         "expected two actions side by side");
    return false;
}

static void cell(Reader *rd, ActionVec *row)
{
    skip(rd);
    const char *from = rd->at;
    if (take(rd, "("))
        overlapped(rd, from, row);
    else if (*rd->at && !strchr(",\n", *rd->at))
        (void)(unread(rd) || action(rd, from, row));
    else
        vec_push(rd->ask->arena, row, ((Action){.kind = ACTION_idle}));
    skip(rd);
    if (!rd->failed && *rd->at && !strchr(",\n", *rd->at))
        fail(rd, from, "cells are apart by ','",
             "the cell goes on behind its action");
}

static void rows(Reader *rd)
{
    while (*rd->at && !rd->failed) {
        ActionVec row = {0};
        skip(rd);
        if (take(rd, "\n")) continue;
        do
            cell(rd, &row);
        while (!rd->failed && take(rd, ","));
        take(rd, "\n");
        vec_push(rd->ask->arena, &rd->rows, row);
    }
}

/* ---------------------------------------------------------------- whole -- */

static void count(const Reader *rd, uint32_t *stages, uint32_t *micros)
{
    *stages = *micros = 0;
    for (uint32_t r = 0; r < rd->rows.n; r++)
        for (uint32_t i = 0; i < rd->rows.at[r].n; i++) {
            Action x = rd->rows.at[r].at[i];
            if (x.kind == ACTION_idle) continue;
            if (x.stage >= *stages) *stages = x.stage + 1;
            if (x.micro >= *micros) *micros = x.micro + 1;
        }
}

static bool check_size(const Reader *rd, uint32_t stages, uint32_t micros)
{
    const ScheduleAsk *ask = rd->ask;
    Report *r;
    if (rd->rows.n != ask->ranks) {
        r = diag_error(ask->diag, DIAG_pipeline_file, ask->at,
                       "the schedule has %u rows, the pipeline %u ranks",
                       rd->rows.n, ask->ranks);
        report_help(r, "a row for each rank");
        return false;
    }
    if (micros != ask->micros) {
        r = diag_error(ask->diag, DIAG_pipeline_file, ask->at,
                       "the schedule has %u microbatches, the step %u", micros,
                       ask->micros);
        report_help(r,
                    "give the step %u, by accumulate or by microbatch of the "
                    "plan's rule, or write another schedule",
                    micros);
        return false;
    }
    if (stages > MOST_NUMBER / 64) {
        r = diag_error(ask->diag, DIAG_pipeline_file, ask->at,
                       "the schedule has %u stages", stages);
        report_help(r, "stages count from 0");
        return false;
    }
    return true;
}

static bool say_unread(const Reader *rd, uint32_t stages)
{
    Report *r;
    if (rd->nunread == 0) return true;
    if (rd->furthest >= stages) {
        r = diag_error(rd->ask->diag, DIAG_pipeline_file, rd->furthest_at,
                       "a cell is of stage %u, which has no action",
                       rd->furthest);
        report_help(r, "there are %u stages, counted from 0", stages);
        return false;
    }
    r = diag_warning(rd->ask->diag, DIAG_rule_ignored, rd->unread,
                     "%u cell%s that send%s, gather%s or reduce%s %s not read",
                     rd->nunread, rd->nunread == 1 ? "" : "s",
                     rd->nunread == 1 ? "s" : "", rd->nunread == 1 ? "s" : "",
                     rd->nunread == 1 ? "s" : "",
                     rd->nunread == 1 ? "is" : "are");
    report_help(r, "leave them out: what is sent, gathered and reduced follows "
                   "from the actions");
    return true;
}

/* A rank has the stages of its row; what another row has of them is found by
 * schedule_complete. */
static void find_owners(Schedule *s)
{
    bool found;
    for (uint32_t i = 0; i < s->stages; i++) {
        found = false;
        for (uint32_t r = 0; r < s->ranks && !found; r++)
            for (uint32_t k = 0; k < s->rows[r].n && !found; k++) {
                Action x = s->rows[r].at[k];
                found = x.kind != ACTION_idle && x.stage == i;
                if (found) s->owner[i] = r;
            }
    }
}

Schedule *schedule_read(const ScheduleAsk *ask, const char *text)
{
    Reader rd = {.ask = ask, .text = text, .at = text};
    uint32_t stages, micros;
    rows(&rd);
    if (rd.failed) return NULL;
    count(&rd, &stages, &micros);
    if (!check_size(&rd, stages, micros) || !say_unread(&rd, stages))
        return NULL;
    Schedule *s = schedule_new(ask->arena, ask->ranks, stages, micros);
    memcpy(s->rows, rd.rows.at, rd.rows.n * sizeof *s->rows);
    find_owners(s);
    return schedule_complete(ask, s) ? s : NULL;
}
