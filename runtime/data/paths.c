/*
 * paths.c: from --data to files.  Which format a file has is said by its name,
 * in one table; .bin is Megatron's where an .idx lies beside it.
 */
#include "paths.h"

#include "mds.h"

#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_DEPTH = 16, MOST_FILES = 1 << 20 };

/* What a directory gives; a file that is named may have any name. */
static const struct {
    const char *suffix;
    DataFormat format;
} suffixes[] = {{".u16", DATA_u16},         {".u32", DATA_u32},
                {".bin", DATA_bin},         {".idx", DATA_megatron},
                {".jsonl", DATA_jsonl},     {".jsonl.gz", DATA_jsonl},
                {".jsonl.zst", DATA_jsonl}, {".txt", DATA_text},
                {".txt.gz", DATA_text},     {".txt.zst", DATA_text}};
enum { SUFFIXES = sizeof suffixes / sizeof *suffixes };

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

static int suffix_of(const char *path)
{
    for (int i = 0; i < SUFFIXES; i++)
        if (ends_with(path, suffixes[i].suffix)) return i;
    return -1;
}

TitanStatus paths_add(TitanStory *s, DataFiles *out, const DataFile *f)
{
    if (!f->path) return titan_no_memory(s);
    if (out->n == MOST_FILES) {
        free(f->path);
        return titan_fail(s, TITAN_BAD_DATA, "more than %d data files",
                          MOST_FILES);
    }
    if (out->n == out->cap) {
        uint32_t cap = out->cap ? out->cap * 2 : 16;
        DataFile *more = realloc(out->at, cap * sizeof *more);
        if (!more) {
            free(f->path);
            return titan_no_memory(s);
        }
        out->at = more;
        out->cap = cap;
    }
    out->at[out->n++] = *f;
    return TITAN_OK;
}

void paths_release(DataFiles *files)
{
    for (uint32_t i = 0; i < files->n; i++) {
        mds_shard_free(files->at[i].shard);
        free(files->at[i].path);
    }
    free(files->at);
    *files = (DataFiles){0};
}

char *paths_join(const char *dir, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static char *with_suffix(const char *path, size_t n, const char *suffix)
{
    char *other = NULL;
    return asprintf(&other, "%.*s%s", (int)n, path, suffix) < 0 ? NULL : other;
}

/* STEM.bin and STEM.idx are one data set. */
static bool has_index(const char *path)
{
    struct stat st;
    char *idx = with_suffix(path, strlen(path) - 4, ".idx");
    bool has = idx && stat(idx, &st) == 0 && S_ISREG(st.st_mode);
    free(idx);
    return has;
}

/* A pair goes by its STEM.bin, by whichever name it was found. */
static TitanStatus add_pair(TitanStory *s, const char *path, DataFiles *out)
{
    struct stat st = {0};
    DataFile f = {.format = DATA_megatron,
                  .path = with_suffix(path, strlen(path) - 4, ".bin")};
    const DataFile *last = out->n ? &out->at[out->n - 1] : NULL;
    /* a pattern may name both, one behind the other */
    if (f.path && last && last->format == DATA_megatron &&
        strcmp(last->path, f.path) == 0) {
        free(f.path);
        return TITAN_OK;
    }
    if (f.path && stat(f.path, &st) == 0) f.bytes = st.st_size;
    return paths_add(s, out, &f);
}

/* FOUND: in a directory, where a pair counts once and unknown names do not
 * count. */
static TitanStatus add_file(TitanStory *s, const char *path, int64_t bytes,
                            bool found, DataFiles *out)
{
    int i = suffix_of(path);
    DataFormat format = i < 0 ? DATA_text : suffixes[i].format;
    if (found && (i < 0 || format == DATA_megatron)) return TITAN_OK;
    if (format == DATA_megatron || (format == DATA_bin && has_index(path)))
        return add_pair(s, path, out);
    const DataFile f = {.path = strdup(path), .format = format, .bytes = bytes};
    return paths_add(s, out, &f);
}

static TitanStatus add_path(TitanStory *s, const char *path, int depth,
                            DataFiles *out);

static TitanStatus add_names(TitanStory *s, const char *dir, char **names,
                             int n, int depth, DataFiles *out)
{
    for (int i = 0; i < n; i++) {
        char *path = paths_join(dir, names[i]);
        if (!path) return titan_no_memory(s);
        TitanStatus st = add_path(s, path, depth, out);
        free(path);
        TRY(st);
    }
    return TITAN_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static TitanStatus list_names(TitanStory *s, DIR *d, char ***names, int *n)
{
    int cap = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        if (*n == cap) {
            cap = cap ? cap * 2 : 64;
            char **more = realloc(*names, (size_t)cap * sizeof *more);
            if (!more) return titan_no_memory(s);
            *names = more;
        }
        (*names)[*n] = strdup(e->d_name);
        if (!(*names)[*n]) return titan_no_memory(s);
        (*n)++;
    }
    if (*n) qsort(*names, (size_t)*n, sizeof **names, by_name);
    return TITAN_OK;
}

static TitanStatus add_directory(TitanStory *s, const char *dir, int depth,
                                 DataFiles *out)
{
    char **names = NULL;
    int n = 0;
    if (depth == MOST_DEPTH)
        return titan_fail(s, TITAN_BAD_DATA,
                          "\"%s\": directories are nested too deep", dir);
    DIR *d = opendir(dir);
    if (!d)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", dir,
                          strerror(errno));
    TitanStatus st = list_names(s, d, &names, &n);
    closedir(d);
    if (st == TITAN_OK) st = add_names(s, dir, names, n, depth + 1, out);
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return st;
}

static TitanStatus add_mds(TitanStory *s, const char *index, DataFiles *out)
{
    const char *slash = strrchr(index, '/');
    char *dir = slash ? strndup(index, (size_t)(slash - index)) : strdup(".");
    if (!dir) return titan_no_memory(s);
    TitanStatus st = mds_index(s, dir, index, out);
    free(dir);
    return st;
}

static bool is_index(const char *path)
{
    return strcmp(path, "index.json") == 0 || ends_with(path, "/index.json");
}

/* DEPTH 0: as it was named. */
static TitanStatus add_path(TitanStory *s, const char *path, int depth,
                            DataFiles *out)
{
    struct stat st, sub;
    if (stat(path, &st) != 0)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        char *index = paths_join(path, "index.json");
        if (!index) return titan_no_memory(s);
        TitanStatus done = stat(index, &sub) == 0
                               ? mds_index(s, path, index, out)
                               : add_directory(s, path, depth, out);
        free(index);
        return done;
    }
    if (!S_ISREG(st.st_mode))
        return titan_fail(s, TITAN_IO, "could not read \"%s\": not a file",
                          path);
    if (depth == 0 && is_index(path)) return add_mds(s, path, out);
    if (ends_with(path, ".mds") || ends_with(path, ".mds.zstd"))
        return titan_fail(s, TITAN_USAGE,
                          "\"%s\" is a shard of MDS: name its directory, where "
                          "the index.json lies",
                          path);
    return add_file(s, path, st.st_size, depth > 0, out);
}

static TitanStatus add_pattern(TitanStory *s, const char *pattern,
                               DataFiles *out)
{
    glob_t g = {0};
    TitanStatus st = TITAN_OK;
    int code = glob(pattern, GLOB_BRACE | GLOB_TILDE, NULL, &g);
    if (code != 0)
        st = titan_fail(s, TITAN_IO, "no file is called \"%s\"", pattern);
    for (size_t i = 0; st == TITAN_OK && i < g.gl_pathc; i++)
        st = add_path(s, g.gl_pathv[i], 0, out);
    globfree(&g);
    return st;
}

TitanStatus paths_expand(TitanStory *s, const char *path, DataFiles *out)
{
    struct stat st;
    uint32_t before = out->n;
    if (stat(path, &st) != 0 && strpbrk(path, "*?[{"))
        TRY(add_pattern(s, path, out));
    else
        TRY(add_path(s, path, 0, out));
    if (out->n > before) return TITAN_OK;
    return titan_fail(s, TITAN_BAD_DATA, "\"%s\" has no data files", path);
}
