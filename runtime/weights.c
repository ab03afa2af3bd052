/*
 * weights.c: reads and writes model.safetensors and its index.
 *
 * Names in an index are data: a shard must be a plain file name in the same
 * directory.  Files are written under a temporary name and renamed, each weight
 * as it is, without scales.
 */
#include "weights.h"

#include "layout.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_PATH = 4096, MAX_SHARDS = 4096 };
#define SHARD_BYTES UINT64_C(5000000000)

/* ---------------------------------------------------------------- import -- */

typedef struct Source {
    StFile *files;
    uint32_t nfiles;
    StTensor **by_name; /* sorted; of file[i] */
    uint32_t *file_of;
    bool *used;
    uint32_t n;
    uint32_t plain; /* tensors whose scale is not there */
} Source;

static void source_close(Source *src)
{
    for (uint32_t i = 0; i < src->nfiles; i++)
        st_close(&src->files[i]);
    free(src->files);
    free(src->by_name);
    free(src->file_of);
    free(src->used);
}

static TitanStatus add_file(TitanStory *s, Source *src, const char *dir,
                            const char *name)
{
    char path[MAX_PATH];
    if (strchr(name, '/') || name[0] == '.' || strlen(name) > 255)
        return titan_fail(s, TITAN_BAD_DATA,
                          "the index names \"%.255s\", which is no plain file "
                          "name",
                          name);
    if (src->nfiles == MAX_SHARDS)
        return titan_fail(s, TITAN_BAD_DATA, "more than %d shards", MAX_SHARDS);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    StFile *more = realloc(src->files, (src->nfiles + 1) * sizeof *more);
    if (!more) return titan_fail(s, TITAN_UNAVAILABLE, "out of memory");
    src->files = more;
    TRY(st_open(s, path, &src->files[src->nfiles]));
    src->nfiles++;
    return TITAN_OK;
}

static bool seen_before(json_t *map, void *end, const char *name)
{
    for (void *it = json_object_iter(map); it && it != end;
         it = json_object_iter_next(map, it)) {
        const char *other = json_string_value(json_object_iter_value(it));
        if (other && strcmp(other, name) == 0) return true;
    }
    return false;
}

static TitanStatus add_shards(TitanStory *s, Source *src, const char *dir,
                              json_t *map)
{
    for (void *it = json_object_iter(map); it;
         it = json_object_iter_next(map, it)) {
        const char *name = json_string_value(json_object_iter_value(it));
        if (!name)
            return titan_fail(s, TITAN_BAD_DATA,
                              "weight_map has an entry that is no string");
        if (seen_before(map, it, name)) continue;
        TRY(add_file(s, src, dir, name));
    }
    return TITAN_OK;
}

static TitanStatus open_index(TitanStory *s, Source *src, const char *dir,
                              const char *path)
{
    json_error_t error;
    json_t *index = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!index && json_error_code(&error) == json_error_cannot_open_file)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(errno));
    if (!index)
        return titan_fail(s, TITAN_BAD_DATA, "\"%s\":%d:%d: %s", path,
                          error.line, error.column, error.text);
    json_t *map = json_object_get(index, "weight_map");
    TitanStatus st =
        json_is_object(map)
            ? add_shards(s, src, dir, map)
            : titan_fail(s, TITAN_BAD_DATA, "\"%s\" has no weight_map", path);
    json_decref(index);
    return st;
}

static TitanStatus open_files(TitanStory *s, Source *src, const char *dir)
{
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    if (access(path, F_OK) == 0)
        return add_file(s, src, dir, "model.safetensors");
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    if (access(path, F_OK) == 0) return open_index(s, src, dir, path);
    return titan_fail(s, TITAN_IO,
                      "could not open weights in \"%s\": neither "
                      "model.safetensors nor model.safetensors.index.json is "
                      "there",
                      dir);
}

typedef struct Named {
    StTensor *tensor;
    uint32_t file;
} Named;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const Named *)a)->tensor->name,
                  ((const Named *)b)->tensor->name);
}

static TitanStatus sort_names(TitanStory *s, Source *src)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < src->nfiles; i++)
        n += src->files[i].n;
    Named *all = calloc(n + 1, sizeof *all);
    src->by_name = calloc(n + 1, sizeof(StTensor *));
    src->file_of = calloc(n + 1, sizeof(uint32_t));
    src->used = calloc(n + 1, sizeof(bool));
    if (!all || !src->by_name || !src->file_of || !src->used) {
        free(all);
        return titan_fail(s, TITAN_UNAVAILABLE, "out of memory");
    }
    for (uint32_t i = 0; i < src->nfiles; i++)
        for (uint32_t k = 0; k < src->files[i].n; k++)
            all[src->n++] = (Named){&src->files[i].tensors[k], i};
    qsort(all, n, sizeof *all, by_name);
    for (uint32_t i = 0; i < n; i++) {
        src->by_name[i] = all[i].tensor;
        src->file_of[i] = all[i].file;
    }
    free(all);
    return TITAN_OK;
}

static int64_t find_name(const Source *src, const char *name)
{
    int64_t low = 0, high = (int64_t)src->n - 1;
    while (low <= high) {
        int64_t mid = (low + high) / 2;
        int c = strcmp(src->by_name[mid]->name, name);
        if (c == 0) return mid;
        if (c < 0)
            low = mid + 1;
        else
            high = mid - 1;
    }
    return -1;
}

/* A file may leave out the first component of every name, as some writers of
 * base models do ("transformer."). */
static int64_t find_tensor(const Source *src, const char *name)
{
    int64_t i = find_name(src, name);
    const char *dot = strchr(name, '.');
    return i >= 0 || !dot ? i : find_name(src, dot + 1);
}

/* A tensor as the model has it. */
typedef struct Wanted {
    const char *name;
    const int64_t *shape;
    uint32_t rank;
} Wanted;

static void shape_text(const int64_t *shape, uint32_t rank, char *out,
                       size_t size)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (uint32_t i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRId64,
                                 i ? ", " : "", shape[i]);
    if (used < size) snprintf(out + used, size - used, "]");
}

/* One line on stderr for each tensor that does not fit; true when it does. */
static bool check_shape(const StTensor *file, Wanted w)
{
    char want[256], have[256];
    if (file->rank == w.rank &&
        memcmp(file->shape, w.shape, w.rank * sizeof *w.shape) == 0)
        return true;
    shape_text(w.shape, w.rank, want, sizeof want);
    shape_text(file->shape, file->rank, have, sizeof have);
    fprintf(stderr, "  %s is %s in the file, %s in the model\n", w.name, have,
            want);
    return false;
}

static bool missing(Wanted w)
{
    char want[256];
    shape_text(w.shape, w.rank, want, sizeof want);
    fprintf(stderr, "  missing: %s %s\n", w.name, want);
    return false;
}

/* f64, f32, bf16 and f16 hold weights as they are; the others need a scale. */
static bool is_wide(uint32_t dtype)
{
    return dtype <= 3;
}

static bool check_dtype(const char *name, uint32_t dtype, bool scaled)
{
    if (is_wide(dtype) || (scaled && dtype <= 5)) return true;
    fprintf(stderr, "  %s has dtype %s, f32, bf16%s is needed\n", name,
            titan_dtype_name(dtype),
            scaled ? ", f16, e4m3 or e5m2" : " or f16");
    return false;
}

/* What is written without its scale (an export) has none to read. */
static bool check_scale(Source *src, const CkptTensor *t, uint32_t dtype)
{
    Wanted w = {t->scale, t->scale_shape, t->scale_rank};
    int64_t at = find_tensor(src, t->scale);
    if (at < 0) {
        src->plain += is_wide(dtype);
        return is_wide(dtype) || missing(w);
    }
    const StTensor *file = src->by_name[at];
    src->used[at] = true;
    return check_dtype(t->scale, file->dtype, false) && check_shape(file, w);
}

static bool check_tensor(Source *src, const CkptTensor *t)
{
    Wanted w = {t->name, t->shape, t->rank};
    int64_t at = find_tensor(src, t->name);
    if (at < 0) return missing(w);
    const StTensor *file = src->by_name[at];
    src->used[at] = true;
    return check_dtype(t->name, file->dtype, t->scale != NULL) &&
           check_shape(file, w) &&
           (!t->scale || check_scale(src, t, file->dtype));
}

static void note_unused(const Source *src)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < src->n; i++)
        n += !src->used[i];
    if (n == 0) return;
    fprintf(stderr, "note: %" PRIu32 " unused tensor%s:", n, n > 1 ? "s" : "");
    uint32_t shown = 0;
    for (uint32_t i = 0; i < src->n && shown < 8; i++)
        if (!src->used[i]) {
            fprintf(stderr, "%s %s", shown ? "," : "", src->by_name[i]->name);
            shown++;
        }
    fprintf(stderr, "%s\n", n > shown ? ", ..." : "");
}

static const void *tensor_data(const Source *src, const char *name,
                               uint32_t *dtype)
{
    int64_t at = find_tensor(src, name);
    if (at < 0) return NULL;
    const StTensor *file = src->by_name[at];
    *dtype = file->dtype;
    return src->files[src->file_of[at]].data + file->begin;
}

static TitanStatus import_all(TitanStory *s, const TitanImage *im, Source *src,
                              const CkptLayout *l, TitanDevice *device)
{
    uint32_t bad = 0;
    for (uint32_t i = 0; i < l->n; i++)
        bad += !check_tensor(src, &l->tensors[i]);
    if (bad)
        return titan_fail(s, TITAN_BAD_DATA,
                          "%" PRIu32 " of %" PRIu32
                          " tensors are missing or do not fit",
                          bad, l->n);
    for (uint32_t i = 0; i < l->n; i++) {
        const CkptTensor *t = &l->tensors[i];
        CkptData d = {0};
        d.values = tensor_data(src, t->name, &d.dtype);
        if (t->scale) d.scale = tensor_data(src, t->scale, &d.scale_dtype);
        for (uint32_t p = 0; p < t->nparts; p++)
            TRY(part_import(s, im, t, &t->parts[p], &d, device));
    }
    if (src->plain)
        fprintf(stderr,
                "note: %" PRIu32 " of %" PRIu32
                " tensors stand without their scales, as they are\n",
                src->plain, l->n);
    note_unused(src);
    return TITAN_OK;
}

TitanStatus weights_import(TitanStory *s, const TitanImage *im,
                           TitanDevice *device, const char *dir)
{
    Source src = {0};
    CkptLayout layout = {0};
    TitanStatus st = open_files(s, &src, dir);
    if (st == TITAN_OK) st = sort_names(s, &src);
    if (st == TITAN_OK) st = layout_new(s, im, &layout);
    if (st == TITAN_OK) st = import_all(s, im, &src, &layout, device);
    layout_free(&layout);
    source_close(&src);
    return titan_while(s, st, "loading weights from \"%s\"", dir);
}

/* ---------------------------------------------------------------- export -- */

typedef struct Export {
    TitanStory *story;
    const TitanImage *im;
    TitanDevice *device;
    const char *dir;
    uint32_t dtype;
    CkptLayout layout;
} Export;

static uint64_t tensor_bytes(const Export *e, const CkptTensor *t)
{
    uint64_t n = titan_dtype_bytes(e->dtype);
    for (uint32_t d = 0; d < t->rank; d++)
        n *= (uint64_t)t->shape[d];
    return n;
}

static TitanStatus io_error(TitanStory *s, const char *path)
{
    return titan_fail(s, TITAN_IO, "could not write \"%s\": %s", path,
                      strerror(errno));
}

static TitanStatus write_tensor(const Export *e, const CkptTensor *t, FILE *out,
                                const char *path)
{
    uint64_t bytes = tensor_bytes(e, t);
    void *buffer = calloc(1, bytes ? bytes : 1);
    if (!buffer)
        return titan_fail(e->story, TITAN_UNAVAILABLE, "out of memory");
    TitanStatus st = TITAN_OK;
    for (uint32_t p = 0; p < t->nparts && st == TITAN_OK; p++)
        st = part_export(e->story, e->im, t, &t->parts[p], e->dtype, buffer,
                         e->device);
    if (st == TITAN_OK && fwrite(buffer, 1, bytes, out) != bytes)
        st = io_error(e->story, path);
    free(buffer);
    return st;
}

static TitanStatus write_tensors(const Export *e, uint32_t first, uint32_t n,
                                 FILE *out, const char *path)
{
    StTensor *rows = calloc(n + 1, sizeof *rows);
    if (!rows) return titan_fail(e->story, TITAN_UNAVAILABLE, "out of memory");
    for (uint32_t i = 0; i < n; i++) {
        const CkptTensor *t = &e->layout.tensors[first + i];
        rows[i] = (StTensor){.name = t->name,
                             .dtype = e->dtype,
                             .rank = t->rank,
                             .shape = t->shape};
    }
    size_t size = 0;
    char *header = st_header(rows, n, &size);
    uint64_t length = size;
    bool ok = header && fwrite(&length, 8, 1, out) == 1 &&
              fwrite(header, 1, size, out) == size;
    free(header);
    free(rows);
    if (!ok) return io_error(e->story, path);
    for (uint32_t i = 0; i < n; i++)
        TRY(write_tensor(e, &e->layout.tensors[first + i], out, path));
    return TITAN_OK;
}

static TitanStatus close_renamed(TitanStory *s, FILE *out, const char *temp,
                                 const char *path, TitanStatus st)
{
    if (st == TITAN_OK && (fflush(out) != 0 || fsync(fileno(out)) != 0))
        st = io_error(s, path);
    if (fclose(out) != 0 && st == TITAN_OK) st = io_error(s, path);
    if (st == TITAN_OK && rename(temp, path) != 0) st = io_error(s, path);
    if (st != TITAN_OK) unlink(temp);
    return st;
}

static TitanStatus write_shard(const Export *e, const char *name,
                               uint32_t first, uint32_t n)
{
    char path[MAX_PATH], temp[MAX_PATH + 16];
    snprintf(path, sizeof path, "%s/%s", e->dir, name);
    snprintf(temp, sizeof temp, "%s.partial", path);
    FILE *out = fopen(temp, "wb");
    if (!out) return io_error(e->story, temp);
    TitanStatus st = write_tensors(e, first, n, out, path);
    return close_renamed(e->story, out, temp, path, st);
}

/* ends[i]: one past the last tensor of shard i. */
static uint32_t cut_shards(const Export *e, uint32_t *ends)
{
    uint32_t n = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < e->layout.n; i++) {
        uint64_t more = tensor_bytes(e, &e->layout.tensors[i]);
        if (bytes > 0 && bytes + more > SHARD_BYTES && n + 1 < MAX_SHARDS) {
            ends[n++] = i;
            bytes = 0;
        }
        bytes += more;
    }
    ends[n++] = e->layout.n;
    return n;
}

static TitanStatus write_index(const Export *e, const uint32_t *ends,
                               uint32_t n)
{
    char path[MAX_PATH], temp[MAX_PATH + 16], shard[64];
    uint64_t total = 0;
    json_t *map = json_object();
    for (uint32_t i = 0, k = 0; i < n; i++) {
        snprintf(shard, sizeof shard, "model-%05u-of-%05u.safetensors", i + 1,
                 n);
        for (; k < ends[i]; k++) {
            json_object_set_new(map, e->layout.tensors[k].name,
                                json_string(shard));
            total += tensor_bytes(e, &e->layout.tensors[k]);
        }
    }
    json_t *index = json_pack("{s:{s:I},s:o}", "metadata", "total_size",
                              (json_int_t)total, "weight_map", map);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", e->dir);
    snprintf(temp, sizeof temp, "%s.partial", path);
    FILE *out = fopen(temp, "wb");
    TitanStatus st = TITAN_OK;
    if (!out || !index || json_dumpf(index, out, JSON_INDENT(2)) != 0)
        st = io_error(e->story, path);
    if (out) st = close_renamed(e->story, out, temp, path, st);
    json_decref(index);
    return st;
}

static TitanStatus write_all(const Export *e)
{
    uint32_t ends[MAX_SHARDS];
    uint32_t n = cut_shards(e, ends);
    if (n == 1) return write_shard(e, "model.safetensors", 0, e->layout.n);
    char name[64], whole[MAX_PATH];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t first = i ? ends[i - 1] : 0;
        snprintf(name, sizeof name, "model-%05u-of-%05u.safetensors", i + 1, n);
        TRY(write_shard(e, name, first, ends[i] - first));
    }
    TRY(write_index(e, ends, n));
    /* readers would take one whole file, of an earlier export, before these */
    snprintf(whole, sizeof whole, "%s/model.safetensors", e->dir);
    if (unlink(whole) == 0 || errno == ENOENT) return TITAN_OK;
    return titan_fail(e->story, TITAN_IO, "could not remove \"%s\": %s", whole,
                      strerror(errno));
}

static bool is_companion(const char *name)
{
    static const char *const names[] = {
        "config.json", "generation_config.json",  "vocab.json",
        "merges.txt",  "special_tokens_map.json", "added_tokens.json"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return strncmp(name, "tokenizer", 9) == 0;
}

static TitanStatus copy_file(TitanStory *s, const char *from, const char *to)
{
    char chunk[65536], temp[MAX_PATH + 16];
    snprintf(temp, sizeof temp, "%s.partial", to);
    FILE *in = fopen(from, "rb"), *out = in ? fopen(temp, "wb") : NULL;
    if (!out) {
        if (in) fclose(in);
        return io_error(s, in ? to : from);
    }
    TitanStatus st = TITAN_OK;
    size_t n;
    while (st == TITAN_OK && (n = fread(chunk, 1, sizeof chunk, in)) > 0)
        if (fwrite(chunk, 1, n, out) != n) st = io_error(s, to);
    if (ferror(in)) st = titan_fail(s, TITAN_IO, "could not read \"%s\"", from);
    fclose(in);
    return close_renamed(s, out, temp, to, st);
}

static TitanStatus copy_companions(TitanStory *s, const char *from,
                                   const char *to)
{
    DIR *dir = opendir(from);
    if (!dir) return titan_fail(s, TITAN_IO, "could not read \"%s\"", from);
    TitanStatus st = TITAN_OK;
    for (struct dirent *d; st == TITAN_OK && (d = readdir(dir));) {
        char a[MAX_PATH], b[MAX_PATH];
        if (!is_companion(d->d_name)) continue;
        snprintf(a, sizeof a, "%s/%s", from, d->d_name);
        snprintf(b, sizeof b, "%s/%s", to, d->d_name);
        st = copy_file(s, a, b);
    }
    closedir(dir);
    return st;
}

static TitanStatus find_dtype(TitanStory *s, const char *name, uint32_t *out)
{
    for (uint32_t d = 1; d <= 3; d++)
        if (strcmp(titan_dtype_name(d), name) == 0) {
            *out = d;
            return TITAN_OK;
        }
    return titan_fail(s, TITAN_USAGE,
                      "--export-dtype is \"%s\"; f32, bf16 and f16 are known",
                      name);
}

TitanStatus weights_export_ready(TitanStory *s, const char *dir,
                                 const char *dtype)
{
    char inside[MAX_PATH];
    uint32_t known;
    TRY(find_dtype(s, dtype, &known));
    snprintf(inside, sizeof inside, "%s/.", dir);
    bool made = mkdir(dir, 0777) == 0 || errno == EEXIST;
    if (made && access(inside, W_OK | X_OK) == 0) return TITAN_OK;
    return titan_fail(s, TITAN_IO, "could not export weights to \"%s\": %s",
                      dir, strerror(errno));
}

TitanStatus weights_export(TitanStory *s, const TitanImage *im,
                           TitanDevice *device, const char *dir,
                           const char *dtype, const char *from)
{
    Export e = {.story = s, .im = im, .device = device, .dir = dir};
    TRY(weights_export_ready(s, dir, dtype));
    TRY(find_dtype(s, dtype, &e.dtype));
    TitanStatus st = layout_new(s, im, &e.layout);
    if (st == TITAN_OK) st = write_all(&e);
    if (st == TITAN_OK && from && strcmp(from, dir) != 0)
        st = copy_companions(s, from, dir);
    layout_free(&e.layout);
    return titan_while(s, st, "exporting weights to \"%s\"", dir);
}
