/*
 * folder.c: names in a folder of checkpoints, and the order in which they
 * change.
 *
 * Whatever moment a crash picks, each name step-N stands for a folder that was
 * once whole: it is synced before it gets the name, and renamed before the
 * first of its files goes.
 */
#include "folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTIAL ".partial"
#define OLD     ".old"
#define ASIDE   ".aside"

static TitanStatus io_error(TitanStory *s, const char *what, const char *path,
                            int error)
{
    return titan_fail(s, TITAN_IO, "could not %s \"%s\": %s", what, path,
                      strerror(error));
}

TitanStatus folder_path(TitanStory *s, const char *dir, int64_t step,
                        const char *suffix, char out[FILES_PATH])
{
    int n =
        snprintf(out, FILES_PATH, "%s/step-%" PRId64 "%s", dir, step, suffix);
    if (n >= 0 && n < FILES_PATH) return TITAN_OK;
    return titan_fail(s, TITAN_IO, "the path \"%s\" is too long", dir);
}

/* ----------------------------------------------------------------- names -- */

/* The suffix behind step-N, or NULL. */
static const char *parse_name(const char *name, int64_t *step)
{
    if (strncmp(name, "step-", 5) != 0) return NULL;
    const char *at = name + 5;
    *step = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(*step, 10, step) ||
            __builtin_add_overflow(*step, *at - '0', step))
            return NULL;
    bool plain = at > name + 5 && (name[5] != '0' || at == name + 6);
    return plain ? at : NULL;
}

typedef struct Scan {
    Folder *folder;
    int64_t *old, *partial;
    uint32_t nold, npartial, names;
    bool failed;
} Scan;

static void push(Scan *k, int64_t **list, uint32_t *n, int64_t step)
{
    int64_t *more = realloc(*list, (*n + 1) * sizeof *more);
    if (!more) {
        k->failed = true;
        return;
    }
    *list = more;
    more[(*n)++] = step;
}

static void scan_name(void *user, const char *name)
{
    Scan *k = user;
    int64_t step;
    const char *suffix = parse_name(name, &step);
    k->names++;
    if (!suffix) return;
    if (!*suffix) push(k, &k->folder->steps, &k->folder->n, step);
    if (strcmp(suffix, PARTIAL) == 0) push(k, &k->partial, &k->npartial, step);
    if (strcmp(suffix, OLD) == 0) push(k, &k->old, &k->nold, step);
}

static int by_step(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void scan_free(Scan *k)
{
    free(k->old);
    free(k->partial);
}

static TitanStatus scan(TitanStory *s, Files *files, const char *dir, Scan *k)
{
    Folder *f = k->folder;
    *f = (Folder){0};
    int error = files->class->list(files, dir, scan_name, k);
    if (error == ENOENT) return TITAN_OK;
    if (error) return io_error(s, "read the folder", dir, error);
    if (k->failed) return titan_no_memory(s);
    f->exists = true;
    f->empty = k->names == 0;
    if (f->n) qsort(f->steps, f->n, sizeof *f->steps, by_step);
    return TITAN_OK;
}

TitanStatus folder_scan(TitanStory *s, Files *files, const char *dir,
                        Folder *out)
{
    Scan k = {.folder = out};
    TitanStatus st = scan(s, files, dir, &k);
    scan_free(&k);
    return st;
}

void folder_free(Folder *f)
{
    free(f->steps);
    *f = (Folder){0};
}

/* --------------------------------------------------------------- changes -- */

static TitanStatus rename_step(TitanStory *s, Files *files, const char *dir,
                               int64_t step, const char *from, const char *to)
{
    char a[FILES_PATH], b[FILES_PATH];
    TRY(folder_path(s, dir, step, from, a));
    TRY(folder_path(s, dir, step, to, b));
    int error = files->class->rename(files, a, b);
    if (!error) error = files->class->sync_dir(files, dir);
    return error ? io_error(s, "rename", a, error) : TITAN_OK;
}

static TitanStatus remove_step(TitanStory *s, Files *files, const char *dir,
                               int64_t step, const char *suffix)
{
    char path[FILES_PATH];
    TRY(folder_path(s, dir, step, suffix, path));
    int error = files_remove_tree(files, path);
    return error && error != ENOENT ? io_error(s, "remove", path, error)
                                    : TITAN_OK;
}

static bool has_step(const Folder *f, int64_t step)
{
    return f->n && bsearch(&step, f->steps, f->n, sizeof step, by_step);
}

static TitanStatus put_away(TitanStory *s, Files *files, const char *dir,
                            const Scan *k)
{
    for (uint32_t i = 0; i < k->nold; i++)
        if (has_step(k->folder, k->old[i]))
            TRY(remove_step(s, files, dir, k->old[i], OLD));
        else
            TRY(rename_step(s, files, dir, k->old[i], OLD, ""));
    for (uint32_t i = 0; i < k->npartial; i++)
        TRY(remove_step(s, files, dir, k->partial[i], PARTIAL));
    if (k->npartial > 0 && k->npartial == k->names)
        files->class->remove(files, dir);
    return TITAN_OK;
}

TitanStatus folder_clean(TitanStory *s, Files *files, const char *dir)
{
    Folder f;
    Scan k = {.folder = &f};
    TitanStatus st = scan(s, files, dir, &k);
    if (st == TITAN_OK) st = put_away(s, files, dir, &k);
    scan_free(&k);
    folder_free(&f);
    return st;
}

TitanStatus folder_lock(TitanStory *s, Files *files, const char *dir,
                        bool *locked, int *lock)
{
    char who[64] = "another process";
    int64_t holder = 0;
    if (*locked) return TITAN_OK;
    int error = files->class->lock(files, dir, lock, &holder);
    *locked = error == 0;
    if (error != EWOULDBLOCK) return TITAN_OK;
    if (holder) snprintf(who, sizeof who, "process %" PRId64, holder);
    return titan_fail(s, TITAN_IO,
                      "%s is saving to \"%s\": two runs need two folders", who,
                      dir);
}

TitanStatus folder_make(TitanStory *s, Files *files, const char *dir)
{
    int error = files_make_dirs(files, dir);
    if (error && error != EEXIST)
        return io_error(s, "make the folder", dir, error);
    return TITAN_OK;
}

TitanStatus folder_begin(TitanStory *s, Files *files, const char *dir,
                         int64_t step)
{
    char path[FILES_PATH];
    TRY(remove_step(s, files, dir, step, PARTIAL));
    TRY(folder_path(s, dir, step, PARTIAL, path));
    int error = files->class->make_dir(files, path);
    return error ? io_error(s, "make the folder", path, error) : TITAN_OK;
}

TitanStatus folder_commit(TitanStory *s, Files *files, const char *dir,
                          int64_t step)
{
    char path[FILES_PATH];
    Folder f;
    TRY(folder_path(s, dir, step, PARTIAL, path));
    int error = files->class->sync_dir(files, path);
    if (error) return io_error(s, "write", path, error);
    TRY(folder_scan(s, files, dir, &f));
    bool replaces = has_step(&f, step);
    folder_free(&f);
    if (replaces) TRY(rename_step(s, files, dir, step, "", OLD));
    TRY(rename_step(s, files, dir, step, PARTIAL, ""));
    return replaces ? remove_step(s, files, dir, step, OLD) : TITAN_OK;
}

TitanStatus folder_set_aside(TitanStory *s, Files *files, const char *dir,
                             int64_t step)
{
    Folder f;
    TRY(folder_scan(s, files, dir, &f));
    TitanStatus st = TITAN_OK;
    for (uint32_t i = 0; i < f.n && st == TITAN_OK; i++) {
        if (f.steps[i] <= step) continue;
        st = remove_step(s, files, dir, f.steps[i], ASIDE);
        if (st == TITAN_OK)
            st = rename_step(s, files, dir, f.steps[i], "", ASIDE);
        if (st == TITAN_OK)
            fprintf(stderr,
                    "note: step %" PRId64 " is later than where the run goes "
                    "on from: it is now \"%s/step-%" PRId64 ASIDE "\"\n",
                    f.steps[i], dir, f.steps[i]);
    }
    folder_free(&f);
    return st;
}

TitanStatus folder_purge(TitanStory *s, Files *files, const char *dir,
                         int64_t keep)
{
    Folder f;
    TRY(folder_scan(s, files, dir, &f));
    TitanStatus st = TITAN_OK;
    for (uint32_t i = 0; i + keep < f.n && st == TITAN_OK; i++) {
        st = rename_step(s, files, dir, f.steps[i], "", PARTIAL);
        if (st == TITAN_OK)
            st = remove_step(s, files, dir, f.steps[i], PARTIAL);
    }
    folder_free(&f);
    return st;
}
