/*
 * source.c: opens files, and sorts what is in them by name.
 *
 * All files are mapped at once; nothing is read before somebody asks for it.
 */
#include "source.h"

#include "../tree.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A tree of values takes up to sixteen times its text. */
enum { MAX_INDEX = 24 << 20, MAX_SHARDS = 4096 };

bool is_plain_name(const char *name)
{
    return name[0] && name[0] != '.' && !strchr(name, '/') &&
           strlen(name) <= 255;
}

void shape_text(const int64_t *shape, uint32_t rank, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (uint32_t i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRId64,
                                 i ? ", " : "", shape[i]);
    if (used < size) snprintf(out + used, size - used, "]");
}

static TitanStatus add_path(TitanStory *s, Source *src, const char *path)
{
    SourceFile *more = realloc(src->files, (src->nfiles + 1) * sizeof *more);
    if (!more) return titan_no_memory(s);
    src->files = more;
    SourceFile *f = &src->files[src->nfiles];
    *f = (SourceFile){0};
    int error = src->from->class->map(src->from, path, &f->map, &f->bytes);
    if (error)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(error));
    src->nfiles++;
    return titan_while(s, st_view(s, f->map, f->bytes, &f->file),
                       "reading \"%s\"", path);
}

static TitanStatus add_file(TitanStory *s, Source *src, const char *dir,
                            const char *name)
{
    char path[FILES_PATH];
    if (!path_join(path, dir, name))
        return titan_fail(s, TITAN_IO, "the path \"%s\" is too long", dir);
    return add_path(s, src, path);
}

/* ----------------------------------------------------------------- index -- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Each once, and plain. */
static TitanStatus sort_shards(TitanStory *s, SourceIndex *x)
{
    uint32_t n = 0;
    if (x->n) qsort(x->shards, x->n, sizeof *x->shards, by_text);
    for (uint32_t i = 0; i < x->n; i++) {
        if (n > 0 && strcmp(x->shards[n - 1], x->shards[i]) == 0) continue;
        if (!is_plain_name(x->shards[i]))
            return titan_fail(s, TITAN_BAD_DATA,
                              "the index names \"%.255s\", which is no plain "
                              "file name",
                              x->shards[i]);
        x->shards[n++] = x->shards[i];
    }
    x->n = n;
    if (n <= MAX_SHARDS) return TITAN_OK;
    return titan_fail(s, TITAN_BAD_DATA, "more than %d shards", MAX_SHARDS);
}

static TitanStatus list_shards(TitanStory *s, json_t *map, SourceIndex *x)
{
    const char *key;
    json_t *value;
    if (!json_is_object(map))
        return titan_fail(s, TITAN_BAD_DATA, "the index has no weight_map");
    x->shards = calloc(json_object_size(map) + 1, sizeof *x->shards);
    if (!x->shards) return titan_no_memory(s);
    json_object_foreach(map, key, value)
    {
        x->shards[x->n] = json_string_value(value);
        if (!x->shards[x->n++])
            return titan_fail(s, TITAN_BAD_DATA,
                              "weight_map has an entry that is no string");
    }
    return sort_shards(s, x);
}

TitanStatus source_index(TitanStory *s, const char *text, size_t size,
                         SourceIndex *out)
{
    json_error_t error;
    const char *excess = tree_excess(text, size);
    *out = (SourceIndex){0};
    if (excess) return titan_fail(s, TITAN_BAD_DATA, "it has %s", excess);
    out->text = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    TitanStatus st =
        out->text
            ? list_shards(s, json_object_get(out->text, "weight_map"), out)
            : titan_fail(s, TITAN_BAD_DATA, "line %d, column %d: %s",
                         error.line, error.column, error.text);
    if (st != TITAN_OK) source_index_free(out);
    return st;
}

void source_index_free(SourceIndex *x)
{
    free(x->shards);
    json_decref(x->text);
    *x = (SourceIndex){0};
}

static TitanStatus open_index(TitanStory *s, Source *src, const char *dir,
                              const char *path)
{
    char *text, real[FILES_PATH];
    size_t size;
    SourceIndex x;
    /* caches of downloads are folders of links */
    if (!realpath(path, real))
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(errno));
    TRY(file_read_all(s, files_real(), real, MAX_INDEX, &text, &size));
    TitanStatus st = source_index(s, text, size, &x);
    free(text);
    if (st != TITAN_OK) return titan_while(s, st, "reading \"%s\"", path);
    for (uint32_t i = 0; i < x.n && st == TITAN_OK; i++)
        st = add_file(s, src, dir, x.shards[i]);
    source_index_free(&x);
    return st;
}

static TitanStatus open_folder(TitanStory *s, Source *src, const char *dir)
{
    char path[FILES_PATH];
    if (!path_join(path, dir, "model.safetensors"))
        return titan_fail(s, TITAN_IO, "the path \"%s\" is too long", dir);
    if (access(path, F_OK) == 0) return add_path(s, src, path);
    if (path_join(path, dir, "model.safetensors.index.json") &&
        access(path, F_OK) == 0)
        return open_index(s, src, dir, path);
    /* PEFT's name of adapters alone */
    if (path_join(path, dir, "adapter_model.safetensors") &&
        access(path, F_OK) == 0)
        return add_path(s, src, path);
    return titan_fail(s, TITAN_IO,
                      "could not open weights in \"%s\": there is no "
                      "model.safetensors, model.safetensors.index.json or "
                      "adapter_model.safetensors",
                      dir);
}

/* ----------------------------------------------------------------- names -- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const SourceTensor *)a)->tensor->name,
                  ((const SourceTensor *)b)->tensor->name);
}

static TitanStatus sort_names(TitanStory *s, Source *src)
{
    size_t n = 0;
    for (uint32_t i = 0; i < src->nfiles; i++)
        n += src->files[i].file.n;
    src->tensors = calloc(n + 1, sizeof *src->tensors);
    if (!src->tensors) return titan_no_memory(s);
    for (uint32_t i = 0; i < src->nfiles; i++)
        for (uint32_t k = 0; k < src->files[i].file.n; k++) {
            const StTensor *t = &src->files[i].file.tensors[k];
            src->tensors[src->n++] =
                (SourceTensor){.tensor = t,
                               .data = src->files[i].file.data + t->begin,
                               .file = i};
        }
    qsort(src->tensors, n, sizeof *src->tensors, by_name);
    for (size_t i = 1; i < n; i++)
        if (by_name(&src->tensors[i - 1], &src->tensors[i]) == 0)
            return titan_fail(s, TITAN_BAD_DATA,
                              "tensor \"%s\" is in two of the files",
                              src->tensors[i].tensor->name);
    return TITAN_OK;
}

SourceTensor *source_find(const Source *src, const char *name)
{
    StTensor key = {.name = name};
    SourceTensor wanted = {.tensor = &key};
    return src->n ? bsearch(&wanted, src->tensors, src->n, sizeof *src->tensors,
                            by_name)
                  : NULL;
}

void source_close(Source *src)
{
    for (uint32_t i = 0; i < src->nfiles; i++) {
        SourceFile *f = &src->files[i];
        st_close(&f->file);
        src->from->class->unmap(src->from, f->map, f->bytes);
    }
    free(src->files);
    free(src->tensors);
    *src = (Source){0};
}

static TitanStatus finish(TitanStory *s, Source *src, TitanStatus st)
{
    if (st == TITAN_OK) st = sort_names(s, src);
    if (st != TITAN_OK) source_close(src);
    return st;
}

TitanStatus source_open(TitanStory *s, const char *dir, Source *out)
{
    *out = (Source){.from = files_real()};
    return finish(s, out, open_folder(s, out, dir));
}

TitanStatus source_open_file(TitanStory *s, const char *path, Source *out)
{
    *out = (Source){.from = files_real()};
    return finish(s, out, add_path(s, out, path));
}

TitanStatus source_open_files(TitanStory *s, Files *files, const char *dir,
                              const char *const *names, uint32_t n, Source *out)
{
    TitanStatus st = TITAN_OK;
    *out = (Source){.from = files};
    for (uint32_t i = 0; i < n && st == TITAN_OK; i++)
        st = add_file(s, out, dir, names[i]);
    return finish(s, out, st);
}
