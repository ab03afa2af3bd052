/*
 * verify.c: reads files block by block against their digests.
 *
 * A block that differs names the tensors that lie in it; what is found is said
 * before anything of the checkpoint is used.
 */
#include "verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct Check {
    TitanStory *story;
    Files *files;
    const char *dir;
    FILE *out;
    const ManifestFile *file;
    char *block;
    int fd;
    TitanStatus status; /* of the first damage */
} Check;

TITAN_PRINTF(3, 4)
static void damage(Check *c, TitanStatus st, const char *fmt, ...)
{
    char what[TITAN_FRAME_TEXT];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    if (c->out) fprintf(c->out, "%s/%s: %s\n", c->dir, c->file->name, what);
    if (c->status != TITAN_OK) return;
    c->status =
        titan_fail(c->story, st, "\"%s/%s\": %s", c->dir, c->file->name, what);
}

/* The tensors with a byte in [from, to), as words: header, "a", "a" to "b". */
static void name_tensors(const ManifestFile *f, uint64_t from, uint64_t to,
                         char *out, size_t size)
{
    const char *first = NULL, *last = NULL;
    uint64_t begin = f->header;
    for (uint32_t i = 0; i < f->ntensors; begin = f->tensors[i++].end) {
        if (f->tensors[i].end <= from || begin >= to) continue;
        last = f->tensors[i].name;
        if (!first) first = last;
    }
    if (!first)
        snprintf(out, size, "the header");
    else if (first == last)
        snprintf(out, size, "%stensor \"%.100s\"",
                 from < f->header ? "the header, " : "", first);
    else
        snprintf(out, size, "%stensors \"%.100s\" to \"%.100s\"",
                 from < f->header ? "the header, " : "", first, last);
}

static void check_block(Check *c, uint64_t i)
{
    char tensors[256];
    const ManifestFile *f = c->file;
    uint64_t from = i * DIGEST_BLOCK;
    uint64_t n = f->bytes - from < DIGEST_BLOCK ? f->bytes - from
                                                : (uint64_t)DIGEST_BLOCK;
    int error = file_read_at(c->files, c->fd, from, c->block, (size_t)n);
    Digest d = {{0}};
    if (!error) d = digest_of(c->block, (size_t)n);
    if (!error && memcmp(&d, &f->blocks[i], sizeof d) == 0) return;
    name_tensors(f, from, from + n, tensors, sizeof tensors);
    if (error)
        damage(c, TITAN_IO,
               "could not read bytes %" PRIu64 " to %" PRIu64 " (%s): %s", from,
               from + n - 1, tensors, strerror(error));
    else
        damage(c, TITAN_BAD_DATA,
               "bytes %" PRIu64 " to %" PRIu64
               " are not those that were saved (%s)",
               from, from + n - 1, tensors);
}

static void check_size(Check *c, uint64_t bytes)
{
    char tensors[256];
    const ManifestFile *f = c->file;
    if (bytes == f->bytes) return;
    name_tensors(f, bytes, f->bytes, tensors, sizeof tensors);
    damage(c, TITAN_BAD_DATA,
           "the file has %" PRIu64 " bytes, %" PRIu64 " were saved (%s)", bytes,
           f->bytes, bytes < f->bytes ? tensors : "it is longer");
}

static void check_file(Check *c)
{
    char path[FILES_PATH];
    uint64_t bytes = 0;
    int error = ENAMETOOLONG;
    if (path_join(path, c->dir, c->file->name))
        error = c->files->class->open(c->files, path, &c->fd, &bytes);
    if (error) {
        bool gone = error == ENOENT;
        damage(c, gone ? TITAN_BAD_DATA : TITAN_IO, "%s",
               gone ? "the file is missing" : strerror(error));
        return;
    }
    check_size(c, bytes);
    if (bytes >= c->file->bytes)
        for (uint64_t i = 0; i < digest_blocks(c->file->bytes); i++)
            check_block(c, i);
    c->files->class->close(c->files, c->fd);
}

TitanStatus checkpoint_verify(TitanStory *s, Files *files, const char *dir,
                              const Manifest *m, FILE *out)
{
    Check c = {.story = s, .files = files, .dir = dir, .out = out};
    c.block = malloc(DIGEST_BLOCK);
    if (!c.block) return titan_no_memory(s);
    for (uint32_t i = 0; i < m->n; i++) {
        c.file = &m->files[i];
        check_file(&c);
    }
    free(c.block);
    return c.status;
}
