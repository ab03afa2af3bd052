/*
 * ledger.c: what happened to a run.
 *
 * Rows of a run whose folder is not there yet are kept: what was not saved has
 * not happened to a run that goes on, and a folder with a ledger alone would
 * look like one of a run that had begun.
 */
#include "ledger.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

static char *join(const char *folder, const char *name)
{
    size_t n = strlen(folder), m = strlen(name);
    char *path = malloc(n + m + 2);
    if (!path) return NULL;
    memcpy(path, folder, n);
    path[n] = '/';
    memcpy(path + n + 1, name, m + 1);
    return path;
}

static TitanStatus begin_file(TitanStory *s, Ledger *l)
{
    TRY(jsonl_open(s, &l->rows, l->path, SINK_append));
    if (l->nwaiting == 0) return TITAN_OK;
    TitanStatus st = sink_write(s, &l->rows.sink, l->waiting, l->nwaiting);
    free(l->waiting);
    l->waiting = NULL;
    l->nwaiting = 0;
    return st;
}

TitanStatus ledger_open(TitanStory *s, Ledger *l, const char *path,
                        const char *folder, bool go_on)
{
    if (!path && !folder) return TITAN_OK;
    l->rows.sink.go_on = go_on;
    l->path = path ? strdup(path) : join(folder, "ledger.jsonl");
    if (!l->path) return titan_no_memory(s);
    return path ? begin_file(s, l) : TITAN_OK;
}

static bool folder_is_there(const Ledger *l)
{
    char *folder = strdup(l->path);
    if (!folder) return false;
    *strrchr(folder, '/') = 0;
    bool there = access(*folder ? folder : "/", F_OK) == 0;
    free(folder);
    return there;
}

static TitanStatus keep(TitanStory *s, Ledger *l, const char *line, size_t n)
{
    char *more = realloc(l->waiting, l->nwaiting + n);
    if (!more) return titan_no_memory(s);
    memcpy(more + l->nwaiting, line, n);
    l->waiting = more;
    l->nwaiting += n;
    return TITAN_OK;
}

Jsonl *ledger_begin(Ledger *l, int64_t step, const char *event)
{
    if (!l->path) return NULL;
    jsonl_begin(&l->rows);
    jsonl_whole(&l->rows, "step", step);
    jsonl_text(&l->rows, "event", event);
    jsonl_number(&l->rows, "time",
                 (double)(clock_ns(CLOCK_REALTIME) / 1000000) * 1e-3);
    return &l->rows;
}

TitanStatus ledger_end(TitanStory *s, Ledger *l)
{
    size_t n;
    if (!l->path) return TITAN_OK;
    const char *line = jsonl_line(&l->rows, &n);
    if (!line) return titan_no_memory(s);
    if (!jsonl_is_open(&l->rows) && !folder_is_there(l))
        return keep(s, l, line, n);
    if (!jsonl_is_open(&l->rows)) TRY(begin_file(s, l));
    return sink_write(s, &l->rows.sink, line, n);
}

TitanStatus ledger_close(TitanStory *s, Ledger *l)
{
    free(l->path);
    free(l->waiting);
    l->path = NULL;
    l->waiting = NULL;
    return jsonl_close(s, &l->rows);
}
