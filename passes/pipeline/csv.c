/*
 * csv.c: a schedule from a file.
 *
 *     0F0,0F1,,0B0,0B1          a row for each rank, a cell for each action
 *     1F0,1B0,1F1,1B1           <stage><what><microbatch>; empty: a pause
 *
 * `(0F3;1B2)OVERLAP_F_B` is two actions side by side.  A rank has the stages
 * that its row names.  Transfers, gathers and reductions are the compiler's:
 * what they follow from is all here.
 */
#include <ctype.h>
#include <stdarg.h>

#include "schedule.h"

enum { MOST_NUMBER = 1 << 20 };

typedef struct Reader {
    const ScheduleAsk *ask;
    const char *text, *at;
    VEC(ActionVec) rows;
    bool failed;
} Reader;

static void PRINTF(4, 5)
    fail(Reader *rd, const char *from, const char *help, const char *fmt, ...)
{
    va_list args;
    if (rd->failed) return;
    rd->failed = true;
    size_t n = strcspn(from, ",\n\r");
    Span at = {rd->ask->at.file, (uint32_t)(from - rd->text),
               (uint32_t)(from - rd->text + (n ? n : 1))};
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

/* The compiler's own words of other tools' files. */
static void refuse_word(Reader *rd, const char *cell)
{
    static const char *const words[] = {"UNSHARD", "RESHARD", "SEND", "RECV",
                                        "REDUCE_GRAD"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strncmp(rd->at, words[i], strlen(words[i]))) {
            fail(rd, cell,
                 "leave these cells out: what is sent, gathered and reduced "
                 "follows from the actions",
                 "'%s' is no action of a stage", words[i]);
            return;
        }
    fail(rd, cell, cell_help, "expected an action, found '%.*s'",
         (int)strcspn(cell, ",\n\r"), cell);
}

static bool action(Reader *rd, const char *cell, ActionVec *row)
{
    static const char letters[] = "FBIW";
    Action x = {.kind = ACTION_idle};
    bool ok = number(rd, &x.stage);
    const char *letter = ok && *rd->at ? strchr(letters, *rd->at) : NULL;
    if (letter) {
        rd->at++;
        x.kind = (ActionKind)(letter - letters);
        ok = number(rd, &x.micro);
        if (!ok) rd->at--;
    }
    if (ok && letter) {
        vec_push(rd->ask->arena, row, x);
        return true;
    }
    refuse_word(rd, cell);
    return false;
}

static void skip(Reader *rd)
{
    while (*rd->at == ' ' || *rd->at == '\t' || *rd->at == '\r')
        rd->at++;
}

static bool take(Reader *rd, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(rd->at, word, n) != 0) return false;
    rd->at += n;
    return true;
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
        action(rd, from, row);
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
        report_help(r, "set accumulate to %u, or write another schedule",
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
    if (!check_size(&rd, stages, micros)) return NULL;
    Schedule *s = schedule_new(ask->arena, ask->ranks, stages, micros);
    memcpy(s->rows, rd.rows.at, rd.rows.n * sizeof *s->rows);
    find_owners(s);
    return schedule_complete(ask, s) ? s : NULL;
}
