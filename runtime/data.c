/*
 * data.c: token files.  Reading is a copy out of mapped pages; the operating
 * system reads ahead.
 */
#include "data.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

static unsigned token_width(const char *path)
{
    if (ends_with(path, ".u16")) return 2;
    return ends_with(path, ".u32") ? 4 : 1;
}

static TitanStatus map_file(TitanStory *s, int fd, TokenFile *f)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return titan_fail(s, TITAN_IO, "could not read \"%s\": %s", f->path,
                          strerror(errno));
    if (!S_ISREG(st.st_mode))
        return titan_fail(s, TITAN_IO, "could not read \"%s\": not a file",
                          f->path);
    f->bytes = (size_t)st.st_size;
    f->n = (int64_t)(f->bytes / f->width);
    if (f->bytes % f->width)
        return titan_fail(s, TITAN_BAD_DATA,
                          "\"%s\" has %zu bytes, which is no whole number of "
                          "%u-byte tokens",
                          f->path, f->bytes, f->width);
    if (f->bytes == 0) return TITAN_OK;
    void *at = mmap(NULL, f->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED)
        return titan_fail(s, TITAN_IO, "could not map \"%s\": %s", f->path,
                          strerror(errno));
    f->at = at;
    return TITAN_OK;
}

static TitanStatus open_file(TitanStory *s, const char *path, TokenFile *f)
{
    *f = (TokenFile){.path = path, .width = token_width(path)};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(errno));
    TitanStatus st = map_file(s, fd, f);
    close(fd);
    return st;
}

TitanStatus tokens_open(TitanStory *s, const char *const *paths, uint32_t n,
                        Tokens *out)
{
    *out = (Tokens){.files = calloc(n ? n : 1, sizeof(TokenFile))};
    if (!out->files) return titan_fail(s, TITAN_UNAVAILABLE, "out of memory");
    for (uint32_t i = 0; i < n; i++) {
        TokenFile *f = &out->files[i];
        TRY(open_file(s, paths[i], f));
        out->nfiles++;
        f->first = out->n;
        out->n += f->n;
    }
    if (out->n == 0)
        return titan_fail(s, TITAN_BAD_DATA, "the data has no tokens");
    return TITAN_OK;
}

void tokens_close(Tokens *t)
{
    for (uint32_t i = 0; i < t->nfiles; i++)
        if (t->files[i].at)
            munmap((void *)(uintptr_t)t->files[i].at, t->files[i].bytes);
    free(t->files);
    *t = (Tokens){0};
}

static uint32_t token_at(const TokenFile *f, int64_t i)
{
    const unsigned char *p = f->at + i * f->width;
    if (f->width == 1) return p[0];
    uint32_t low = (uint32_t)p[0] | (uint32_t)p[1] << 8;
    return f->width == 2 ? low
                         : low | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static const TokenFile *file_of(const Tokens *t, int64_t i)
{
    uint32_t k = t->nfiles - 1;
    while (t->files[k].first > i || t->files[k].n == 0)
        k--;
    return &t->files[k];
}

static TitanStatus too_large(TitanStory *s, const TokenFile *f, int64_t i,
                             uint32_t token, uint32_t bound)
{
    return titan_fail(s, TITAN_BAD_DATA,
                      "\"%s\": token %" PRId64 " is %" PRIu32
                      ", the model's vocabulary has %" PRIu32,
                      f->path, i, token, bound);
}

TitanStatus tokens_read(TitanStory *s, const Tokens *t, int64_t from, int64_t n,
                        uint32_t bound, int32_t *out)
{
    int64_t at = from % t->n;
    for (int64_t done = 0; done < n;) {
        const TokenFile *f = file_of(t, at);
        int64_t i = at - f->first, left = f->n - i;
        int64_t take = left < n - done ? left : n - done;
        for (int64_t k = 0; k < take; k++) {
            uint32_t token = token_at(f, i + k);
            if ((bound && token >= bound) || token > INT32_MAX)
                return too_large(s, f, i + k, token,
                                 bound ? bound : (uint32_t)INT32_MAX);
            out[done + k] = (int32_t)token;
        }
        done += take;
        at = (at + take) % t->n;
    }
    return TITAN_OK;
}
