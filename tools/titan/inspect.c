/*
 * inspect.c: `titan inspect PATH...`: what a file or a folder is.
 *
 * What it is follows from its first bytes, or from the names in it; what is
 * nothing else is data, as --data takes it.
 */
#include "../start.h"
#include "command.h"
#include "whole.h"

#include "../../runtime/checkpoint/manifest.h"
#include "../../runtime/checkpoint/source.h"
#include "../../runtime/data/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* --------------------------------------------------------------- weights -- */

static void list_tensors(const Source *src)
{
    for (uint32_t i = 0; i < src->n; i++) {
        const StTensor *t = src->tensors[i].tensor;
        char shape[256];
        shape_text(t->shape, t->rank, shape, sizeof shape);
        printf("  %-56s %-5s %s\n", t->name, titan_dtype_name(t->dtype), shape);
    }
}

static TitanStatus inspect_source(TitanStory *s, const char *path, Source *src)
{
    uint64_t bytes = 0, elements = 0;
    for (uint32_t i = 0; i < src->n; i++) {
        const StTensor *t = src->tensors[i].tensor;
        bytes += t->end - t->begin;
        elements += (t->end - t->begin) / titan_dtype_bytes(t->dtype);
    }
    (void)s;
    printf("%s: weights, %" PRIu32 " file%s, %" PRIu32 " tensors, %" PRIu64
           " elements, %.1f MB\n",
           path, src->nfiles, src->nfiles == 1 ? "" : "s", src->n, elements,
           (double)bytes * 1e-6);
    list_tensors(src);
    source_close(src);
    return TITAN_OK;
}

/* ----------------------------------------------------------- checkpoints -- */

static TitanStatus list_file(TitanStory *s, const char *dir,
                             const ManifestFile *f)
{
    Source src;
    const char *name = f->name;
    if (f->ntensors == 0) return TITAN_OK;
    TRY(source_open_files(s, files_real(), dir, &name, 1, &src));
    printf("%s\n", name);
    list_tensors(&src);
    source_close(&src);
    return TITAN_OK;
}

static TitanStatus inspect_checkpoint(TitanStory *s, const char *dir)
{
    Manifest m;
    TRY(say_whole(s, dir));
    TRY(manifest_read(s, files_real(), dir, &m));
    printf("  %" PRId64 " updates, %" PRId64 " tokens, seed %" PRId64
           ", made by the program %s\n",
           m.updates, m.tokens, m.seed, m.artifact);
    TitanStatus st = TITAN_OK;
    for (uint32_t i = 0; i < m.n && st == TITAN_OK; i++)
        st = list_file(s, dir, &m.files[i]);
    manifest_free(&m);
    return st;
}

static bool ends_with(const char *path, const char *suffix)
{
    size_t n = strlen(path), k = strlen(suffix);
    return n >= k && strcmp(path + n - k, suffix) == 0;
}

enum { ROW = 4096 };

typedef struct Seen {
    int64_t tokens, documents;
    int32_t most;
} Seen;

static TitanStatus read_rows(Stream *data, Seen *seen)
{
    int32_t tokens[ROW];
    bool starts[ROW], more = true;
    for (;;) {
        Row row = {.tokens = tokens, .starts = starts};
        TRY(data->class->row(data, &row, &more));
        if (!more) return TITAN_OK;
        seen->tokens += row.n;
        for (int64_t i = 0; i < row.n; i++) {
            seen->documents += starts[i];
            if (tokens[i] > seen->most) seen->most = tokens[i];
        }
    }
}

/* Any data that --data takes; text is bytes here. */
static TitanStatus inspect_data(TitanStory *s, const char *path)
{
    static const StreamOptions o = {.end_token = -1,
                                    .length = ROW,
                                    .span = ROW,
                                    .stride = ROW,
                                    .epochs = 1,
                                    .fill = true};
    DataFiles files = {0};
    Stream *data = NULL;
    Seen seen = {0};
    char about[256];
    TitanStatus st = paths_expand(s, path, &files);
    if (st == TITAN_OK) st = stream_open(s, &o, 0, &files, &data);
    if (st == TITAN_OK) {
        data->class->about(data, about, sizeof about);
        st = read_rows(data, &seen);
    }
    if (st == TITAN_OK)
        printf("%s: %s; %" PRId64 " tokens, the largest is %" PRId32 "\n", path,
               about, seen.tokens, seen.most);
    stream_free(data);
    paths_release(&files);
    return st;
}

static TitanStatus inspect_step(TitanStory *s, const char *path)
{
    static char program[] = "titan inspect", describe[] = "--describe";
    char *args[] = {program, describe, NULL};
    int code = 0;
    TRY(start_file(s, path, true, 2, args, &code));
    return (TitanStatus)code;
}

static TitanStatus inspect_file(TitanStory *s, const char *path)
{
    char head[32] = {0};
    Source src;
    FILE *f = fopen(path, "rb");
    if (!f)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(errno));
    size_t n = fread(head, 1, sizeof head - 1, f);
    fclose(f);
    if (memcmp(head, "\177ELF", 4) == 0 ||
        strncmp(head, TITAN_PTX_MAGIC, strlen(TITAN_PTX_MAGIC)) == 0)
        return inspect_step(s, path);
    if (ends_with(path, ".safetensors") || (n > 8 && head[8] == '{')) {
        TRY(source_open_file(s, path, &src));
        return inspect_source(s, path, &src);
    }
    return inspect_data(s, path);
}

/* ----------------------------------------------------------------- paths -- */

static bool has_weights(const char *dir)
{
    static const char *const names[] = {"model.safetensors",
                                        "model.safetensors.index.json"};
    char path[FILES_PATH];
    struct stat st;
    for (unsigned i = 0; i < 2; i++)
        if (path_join(path, dir, names[i]) && stat(path, &st) == 0) return true;
    return false;
}

static TitanStatus inspect_folder(TitanStory *s, const char *dir)
{
    uint32_t n;
    Source src;
    if (is_checkpoint(dir)) return inspect_checkpoint(s, dir);
    TRY(say_all_whole(s, dir, &n));
    if (n > 0) return TITAN_OK;
    if (!has_weights(dir)) return inspect_data(s, dir);
    TRY(source_open(s, dir, &src));
    return inspect_source(s, dir, &src);
}

TitanStatus command_inspect(TitanStory *s, const Options *o)
{
    if (o->arguments.n == 0)
        return titan_fail(s, TITAN_USAGE, "give files or folders");
    for (uint32_t i = 0; i < o->arguments.n; i++) {
        const char *path = o->arguments.at[i];
        struct stat st;
        bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
        TRY(folder ? inspect_folder(s, path) : inspect_file(s, path));
    }
    return TITAN_OK;
}
