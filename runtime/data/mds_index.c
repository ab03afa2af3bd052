/*
 * mds_index.c: the index.json of an MDS data set.  What it says is a claim:
 * names must be plain, sizes must be sizes; the shards are held against them
 * when they are opened.
 */
#include "mds.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../tree.h"

enum { MOST_INDEX = 8 << 20 };

/* Where a message comes from. */
typedef struct Where {
    TitanStory *story;
    const char *index;
    size_t shard;
} Where;

#define BAD(w, ...) bad_shard((w)->story, (w)->index, (w)->shard, __VA_ARGS__)

TITAN_PRINTF(4, 5)
static TitanStatus bad_shard(TitanStory *s, const char *index, size_t shard,
                             const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return titan_fail(s, TITAN_BAD_DATA, "\"%s\": shard %zu %s", index, shard,
                      text);
}

void mds_shard_free(MdsShard *shard)
{
    if (!shard) return;
    json_decref(shard->entry);
    free(shard->dir);
    free(shard);
}

/* A file of the directory itself: no path, and not the directory. */
static bool is_plain(const char *name)
{
    return name[0] && name[0] != '.' && !strchr(name, '/');
}

static TitanStatus read_count(const Where *w, const json_t *of, const char *key,
                              int64_t most, int64_t *out)
{
    const json_t *v = json_object_get(of, key);
    *out = json_integer_value(v);
    if (json_is_integer(v) && *out >= 0 && *out <= most) return TITAN_OK;
    return BAD(w, "has no usable \"%s\"", key);
}

static TitanStatus read_text(const Where *w, const json_t *of, const char *key,
                             const char **out)
{
    *out = json_string_value(json_object_get(of, key));
    return *out ? TITAN_OK : BAD(w, "has no text \"%s\"", key);
}

static TitanStatus read_file(const Where *w, const json_t *entry,
                             const char *key, MdsFile *out)
{
    const json_t *file = json_object_get(entry, key);
    if (!file || json_is_null(file)) return TITAN_OK;
    TRY(read_text(w, file, "basename", &out->name));
    if (!is_plain(out->name))
        return BAD(w,
                   "is in the file \"%s\"; a name without directories is "
                   "needed",
                   out->name);
    out->hashes = json_object_get(file, "hashes");
    return read_count(w, file, "bytes", INT64_MAX, &out->bytes);
}

/* "zstd:9" is zstd. */
static TitanStatus read_packing(const Where *w, MdsShard *shard)
{
    static const char *const known[] = {"zstd", "gz"};
    const char *how;
    if (!shard->packed.name) return TITAN_OK;
    TRY(read_text(w, shard->entry, "compression", &how));
    for (unsigned i = 0; i < 2; i++) {
        size_t n = strlen(known[i]);
        if (strncmp(how, known[i], n) == 0 && (how[n] == 0 || how[n] == ':'))
            shard->packing = known[i];
    }
    if (shard->packing) return TITAN_OK;
    return BAD(w, "is packed by \"%s\"; zstd and gz can be read", how);
}

static TitanStatus read_column(const Where *w, MdsShard *shard, uint32_t c)
{
    const json_t *e = shard->entry;
    const json_t *size = json_array_get(json_object_get(e, "column_sizes"), c);
    shard->names[c] = json_string_value(
        json_array_get(json_object_get(e, "column_names"), c));
    shard->encodings[c] = json_string_value(
        json_array_get(json_object_get(e, "column_encodings"), c));
    shard->sizes[c] = json_is_null(size) ? -1 : json_integer_value(size);
    bool sized =
        json_is_null(size) || (json_is_integer(size) && shard->sizes[c] >= 0 &&
                               shard->sizes[c] <= UINT32_MAX);
    if (shard->names[c] && shard->encodings[c] && sized) return TITAN_OK;
    return BAD(w, "has no name, encoding and size for column %" PRIu32, c);
}

static TitanStatus read_columns(const Where *w, MdsShard *shard)
{
    static const char *const lists[] = {"column_names", "column_encodings",
                                        "column_sizes"};
    size_t n = json_array_size(json_object_get(shard->entry, lists[0]));
    for (unsigned i = 0; i < 3; i++)
        if (json_array_size(json_object_get(shard->entry, lists[i])) != n)
            return BAD(w, "has lists of columns of different lengths");
    if (n == 0 || n > MDS_MOST_COLUMNS)
        return BAD(w, "has %zu columns, 1 to %d can be read", n,
                   MDS_MOST_COLUMNS);
    shard->columns = (uint32_t)n;
    for (uint32_t c = 0; c < shard->columns; c++)
        TRY(read_column(w, shard, c));
    return TITAN_OK;
}

static TitanStatus read_shard(const Where *w, MdsShard *shard)
{
    const char *format;
    int64_t version;
    if (!json_is_object(shard->entry)) return BAD(w, "is no object");
    TRY(read_text(w, shard->entry, "format", &format));
    TRY(read_count(w, shard->entry, "version", INT64_MAX, &version));
    if (strcmp(format, "mds") != 0 || version != 2)
        return BAD(w, "has the format \"%.40s\" %" PRId64 ", mds 2 is needed",
                   format, version);
    TRY(read_count(w, shard->entry, "samples", UINT32_MAX - 1,
                   &shard->samples));
    TRY(read_file(w, shard->entry, "raw_data", &shard->raw));
    TRY(read_file(w, shard->entry, "zip_data", &shard->packed));
    if (!shard->raw.name) return BAD(w, "has no \"raw_data\"");
    TRY(read_packing(w, shard));
    return read_columns(w, shard);
}

static TitanStatus add_shard(const Where *w, const char *dir, json_t *entry,
                             DataFiles *out)
{
    MdsShard *shard = calloc(1, sizeof *shard);
    if (!shard) return titan_no_memory(w->story);
    shard->entry = json_incref(entry);
    shard->dir = strdup(dir);
    TitanStatus st = read_shard(w, shard);
    DataFile f = {
        .format = DATA_mds, .bytes = shard->raw.bytes, .shard = shard};
    if (st == TITAN_OK) {
        f.path = paths_join(dir, shard->raw.name);
        st = paths_add(w->story, out, &f);
    }
    if (st != TITAN_OK) mds_shard_free(shard);
    return st;
}

static TitanStatus read_index(TitanStory *s, const char *index, char **text,
                              size_t *n)
{
    FILE *in = fopen(index, "rbe");
    if (!in)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", index,
                          strerror(errno));
    struct stat about;
    bool failed = fstat(fileno(in), &about) != 0 || !S_ISREG(about.st_mode);
    size_t most = MOST_INDEX + 1;
    if (!failed && about.st_size < MOST_INDEX) most = (size_t)about.st_size;
    *text = malloc(most ? most : 1);
    *n = *text ? fread(*text, 1, most, in) : 0;
    failed = failed || ferror(in);
    fclose(in);
    if (!*text) return titan_no_memory(s);
    if (failed) return titan_fail(s, TITAN_IO, "could not read \"%s\"", index);
    if (*n > MOST_INDEX)
        return titan_fail(s, TITAN_BAD_DATA, "\"%s\" has more than %d bytes",
                          index, MOST_INDEX);
    return TITAN_OK;
}

static TitanStatus add_shards(TitanStory *s, const char *dir, const char *index,
                              const json_t *root, DataFiles *out)
{
    const json_t *shards = json_object_get(root, "shards");
    if (!json_is_array(shards))
        return titan_fail(s, TITAN_BAD_DATA, "\"%s\" has no list \"shards\"",
                          index);
    for (size_t i = 0; i < json_array_size(shards); i++) {
        const Where w = {s, index, i};
        TRY(add_shard(&w, dir, json_array_get(shards, i), out));
    }
    return TITAN_OK;
}

TitanStatus mds_index(TitanStory *s, const char *dir, const char *index,
                      DataFiles *out)
{
    char *text = NULL;
    size_t n = 0;
    json_error_t e;
    TitanStatus st = read_index(s, index, &text, &n);
    const char *excess = st == TITAN_OK ? tree_excess(text, n) : NULL;
    if (excess)
        st = titan_fail(s, TITAN_BAD_DATA, "\"%s\" has %s", index, excess);
    json_t *root =
        st == TITAN_OK ? json_loadb(text, n, JSON_REJECT_DUPLICATES, &e) : NULL;
    free(text);
    if (st != TITAN_OK) return st;
    if (!root)
        return titan_fail(s, TITAN_BAD_DATA, "\"%s\":%d:%d: %s", index, e.line,
                          e.column, e.text);
    st = add_shards(s, dir, index, root, out);
    json_decref(root);
    return st;
}
