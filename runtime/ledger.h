/*
 * ledger.h: what happened to a run, one JSON object a line: where it began and
 * went on, what it saved and skipped, how it ended.  It is never cut: of steps
 * that were run twice, both stand in it.
 *
 *     Jsonl *row = ledger_begin(&l, step, "skipped");
 *     if (row) jsonl_text(row, "why", why);
 *     TRY(ledger_end(story, &l));
 */
#ifndef TITAN_LEDGER_H
#define TITAN_LEDGER_H

#include "jsonl.h"

typedef struct Ledger {
    Jsonl rows;
    char *path;    /* NULL: there is none */
    char *waiting; /* rows, as long as the folder is not there */
    size_t nwaiting;
} Ledger;

/* In PATH, or as ledger.jsonl in FOLDER, once that is there: a folder of
 * checkpoints is made by the first one.  Both NULL: there is none. */
TitanStatus ledger_open(TitanStory *s, Ledger *l, const char *path,
                        const char *folder, bool go_on);
TitanStatus ledger_close(TitanStory *s, Ledger *l);

/* NULL: there is none. */
Jsonl *ledger_begin(Ledger *l, int64_t step, const char *event);
TitanStatus ledger_end(TitanStory *s, Ledger *l);

#endif
