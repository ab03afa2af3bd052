/*
 * report.c: `titan report RUN... -o FILE.html`: what runs logged, as one page
 * that needs nothing else.
 *
 * The page is report.html with the data of the runs in the place of @DATA@, as
 * JSON, column by column.  Whatever stands in a run's files stays text: in the
 * JSON no character can end the element that holds it, and the script of the
 * page puts names in as text alone.
 *
 * A long run is thinned: steps that were skipped stay, and of the others every
 * so many.
 */
#include "report.h"

#include "../../runtime/files.h"
#include "../fill.h"
#include "command.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_ROWS = 6000, MOST_KEYS = 400, PATH = 4096 };

/* ------------------------------------------------------------------ rows -- */

typedef struct Row {
    int64_t step;
    json_t *object;
} Row;

typedef struct RunLog {
    const char *name;
    Row *rows;
    size_t n, cap;
    json_t *saved; /* steps */
} RunLog;

static void drop_rows(RunLog *r)
{
    for (size_t i = 0; i < r->n; i++)
        json_decref(r->rows[i].object);
    free(r->rows);
    json_decref(r->saved);
    *r = (RunLog){0};
}

static TitanStatus add_row(TitanStory *s, RunLog *r, json_t *object,
                           int64_t step)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 256;
        Row *rows = realloc(r->rows, cap * sizeof *rows);
        if (!rows) {
            json_decref(object);
            return titan_no_memory(s);
        }
        r->rows = rows;
        r->cap = cap;
    }
    r->rows[r->n++] = (Row){step, object};
    return TITAN_OK;
}

static TitanStatus read_line(TitanStory *s, RunLog *r, const char *path,
                             const char *line, int64_t number)
{
    json_error_t error;
    json_t *object = json_loads(line, 0, &error);
    json_t *step = json_object_get(object, "step");
    if (!json_is_integer(step)) {
        json_decref(object);
        return titan_fail(
            s, TITAN_BAD_DATA,
            "line %" PRId64 " of \"%s\" is no row of metrics: %s", number, path,
            object ? "it has no whole number \"step\"" : error.text);
    }
    return add_row(s, r, object, json_integer_value(step));
}

/* Half a line at the end is one that a run is writing, or was when it died. */
static TitanStatus read_rows(TitanStory *s, RunLog *r, const char *path)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    TitanStatus st = TITAN_OK;
    FILE *in = fopen(path, "r");
    if (!in)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(errno));
    for (int64_t i = 1; st == TITAN_OK && (n = getline(&line, &cap, in)) > 0;
         i++)
        if (line[n - 1] == '\n') st = read_line(s, r, path, line, i);
    free(line);
    fclose(in);
    return st;
}

/* Beside the metrics, or with the checkpoints that are beside them.  It is for
 * people and may be missing or damaged: what cannot be read of it is not shown.
 */
static void read_ledger(RunLog *r, const char *folder)
{
    char *line = NULL, path[PATH + 64];
    size_t cap = 0;
    snprintf(path, sizeof path, "%s/ledger.jsonl", folder);
    FILE *in = fopen(path, "r");
    snprintf(path, sizeof path, "%s/checkpoints/ledger.jsonl", folder);
    if (!in) in = fopen(path, "r");
    if (!in) return;
    while (getline(&line, &cap, in) > 0) {
        json_t *object = json_loads(line, 0, NULL);
        const char *event = json_string_value(json_object_get(object, "event"));
        json_t *step = json_object_get(object, "step");
        if (event && strcmp(event, "saved") == 0 && json_is_integer(step))
            json_array_append(r->saved, step);
        json_decref(object);
    }
    free(line);
    fclose(in);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A run is its metrics, or a folder with metrics.jsonl in it. */
static TitanStatus read_run(TitanStory *s, RunLog *r, const char *path)
{
    char file[PATH], folder[PATH];
    const char *slash = strrchr(path, '/');
    r->name = path;
    r->saved = json_array();
    if (is_folder(path)) {
        snprintf(file, sizeof file, "%s/metrics.jsonl", path);
        snprintf(folder, sizeof folder, "%s", path);
    } else {
        snprintf(file, sizeof file, "%s", path);
        snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1,
                 slash ? path : ".");
    }
    TRY(read_rows(s, r, file));
    if (r->n == 0)
        return titan_fail(s, TITAN_BAD_DATA, "\"%s\" has no rows", file);
    read_ledger(r, folder);
    return TITAN_OK;
}

static bool is_skipped(const Row *r)
{
    return json_is_string(json_object_get(r->object, "skipped"));
}

static void thin(RunLog *r)
{
    size_t every = (r->n + MOST_ROWS - 1) / MOST_ROWS, n = 0;
    for (size_t i = 0; i < r->n; i++) {
        bool kept = i % every == 0 || i + 1 == r->n || is_skipped(&r->rows[i]);
        if (kept)
            r->rows[n++] = r->rows[i];
        else
            json_decref(r->rows[i].object);
    }
    r->n = n;
}

/* --------------------------------------------------------------- columns -- */

/* Keys with a number in some row, in the order in which they come up. */
static json_t *number_keys(const RunLog *r)
{
    json_t *seen = json_object(), *keys = json_array(), *value;
    const char *key;
    for (size_t i = 0; i < r->n; i++)
        json_object_foreach(r->rows[i].object, key, value)
        {
            if (!json_is_number(value) || strcmp(key, "step") == 0 ||
                json_object_get(seen, key) ||
                json_array_size(keys) >= MOST_KEYS)
                continue;
            json_object_set_new(seen, key, json_true());
            json_array_append_new(keys, json_string(key));
        }
    json_decref(seen);
    return keys;
}

static json_t *column(const RunLog *r, const char *key)
{
    json_t *values = json_array();
    for (size_t i = 0; i < r->n; i++) {
        json_t *v = json_object_get(r->rows[i].object, key);
        json_array_append_new(values,
                              json_is_number(v) ? json_incref(v) : json_null());
    }
    return values;
}

static json_t *series(const RunLog *r)
{
    json_t *all = json_array(), *keys = number_keys(r), *key;
    size_t i;
    json_array_foreach(keys, i, key)
    {
        json_t *pair = json_array();
        json_array_append(pair, key);
        json_array_append_new(pair, column(r, json_string_value(key)));
        json_array_append_new(all, pair);
    }
    json_decref(keys);
    return all;
}

static json_t *run_json(const RunLog *r)
{
    json_t *steps = json_array(), *skipped = json_array();
    for (size_t i = 0; i < r->n; i++) {
        const Row *row = &r->rows[i];
        json_array_append_new(steps, json_integer(row->step));
        if (!is_skipped(row)) continue;
        json_t *pair = json_array();
        json_array_append_new(pair, json_integer(row->step));
        json_array_append(pair, json_object_get(row->object, "skipped"));
        json_array_append_new(skipped, pair);
    }
    /* A path need not be UTF-8; then it is not shown. */
    json_t *name = json_string(r->name);
    json_t *run = json_object();
    json_object_set_new(run, "name", name ? name : json_string("run"));
    json_object_set_new(run, "steps", steps);
    json_object_set_new(run, "series", series(r));
    json_object_set_new(run, "skipped", skipped);
    json_object_set(run, "saved", r->saved);
    return run;
}

/* ------------------------------------------------------------------ page -- */

/* Standard output, a device or a pipe: a rename would take its place. */
static TitanStatus write_through(TitanStory *s, const char *path,
                                 const char *text, size_t size)
{
    FILE *out = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    bool failed = !out || fwrite(text, 1, size, out) != size;
    failed = failed || fflush(out) != 0;
    int error = errno;
    if (out && out != stdout) fclose(out);
    if (!failed) return TITAN_OK;
    return titan_fail(s, TITAN_IO, "could not write \"%s\": %s", path,
                      strerror(error));
}

static TitanStatus write_page(TitanStory *s, const json_t *runs,
                              const char *path)
{
    struct stat there;
    size_t size = 0;
    json_t *all = json_pack("{s:O}", "runs", runs);
    char *text = page_fill(report_pages[0].text, all, &size);
    json_decref(all);
    if (!text) return titan_no_memory(s);
    TitanStatus st;
    if (strcmp(path, "-") == 0 ||
        (stat(path, &there) == 0 && !S_ISREG(there.st_mode))) {
        st = write_through(s, path, text, size);
    } else {
        FileWriter w;
        file_begin(&w, s, files_real(), path);
        file_write(&w, text, size);
        st = file_end(&w);
    }
    free(text);
    return st;
}

static TitanStatus add_run(TitanStory *s, json_t *runs, const char *path)
{
    RunLog r = {0};
    TitanStatus st = read_run(s, &r, path);
    if (st == TITAN_OK) {
        thin(&r);
        json_array_append_new(runs, run_json(&r));
    }
    drop_rows(&r);
    return st;
}

TitanStatus command_report(TitanStory *s, const Options *o)
{
    const char *path = option_text(o, OPT_page);
    if (o->arguments.n == 0 || !path)
        return titan_fail(s, TITAN_USAGE,
                          "name the metrics of a run, and the page with -o");
    json_t *runs = json_array();
    TitanStatus st = TITAN_OK;
    for (uint32_t i = 0; i < o->arguments.n && st == TITAN_OK; i++)
        st = add_run(s, runs, o->arguments.at[i]);
    if (st == TITAN_OK) st = write_page(s, runs, path);
    json_decref(runs);
    return st;
}
