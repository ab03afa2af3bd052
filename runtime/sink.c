/*
 * sink.c: a file that grows record by record.
 *
 * A record is one write.  Where only a part of it fits, that part is taken
 * back, so that a reader never sees half of one, and the next record stands
 * where it belongs once there is room again.
 */
#include "sink.h"

#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static TitanStatus cannot(TitanStory *s, const Sink *k, int error)
{
    return titan_fail(s, TITAN_IO,
                      "could not write \"%s\": %s; make room or name another "
                      "place (--on-full go-on trains without)",
                      k->path, strerror(error));
}

TitanStatus sink_open(TitanStory *s, Sink *k, const char *path, SinkMode mode)
{
    struct stat st;
    char above[FILES_PATH];
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND |
                (mode == SINK_anew ? O_TRUNC : 0);
    k->path = strdup(path);
    if (!k->path) return titan_no_memory(s);
    k->fd = open(path, flags, 0666);
    if (k->fd < 0 && errno == ENOENT) {
        path_above(path, above);
        int error = files_make_dirs(files_real(), above);
        errno = error == EEXIST ? 0 : error;
        if (!errno) k->fd = open(path, flags, 0666);
    }
    if (k->fd < 0) {
        int error = errno;
        free(k->path);
        k->path = NULL;
        return titan_fail(s, TITAN_IO,
                          "could not open \"%s\": %s; name another place", path,
                          strerror(error));
    }
    k->length = fstat(k->fd, &st) == 0 ? st.st_size : 0;
    return TITAN_OK;
}

/* 0, or what kept it from being written. */
static int write_all(int fd, const char *at, size_t n)
{
    while (n > 0) {
        ssize_t put = write(fd, at, n);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return put < 0 ? errno : ENOSPC;
        at += put;
        n -= (size_t)put;
    }
    return 0;
}

/* A pipe has no length to be cut to. */
static bool take_back(const Sink *k)
{
    return ftruncate(k->fd, k->length) == 0;
}

static TitanStatus lose(TitanStory *s, Sink *k, int error)
{
    take_back(k);
    if (!k->go_on) return cannot(s, k, error);
    if (k->lost++ == 0)
        fprintf(stderr,
                "could not write \"%s\": %s; training goes on without it\n",
                k->path, strerror(error));
    return TITAN_OK;
}

TitanStatus sink_write(TitanStory *s, Sink *k, const void *at, size_t n)
{
    int error = write_all(k->fd, at, n);
    if (error) return lose(s, k, error);
    k->length += (int64_t)n;
    if (k->lost)
        fprintf(stderr,
                "\"%s\" is written again; %" PRId64 " records are missing\n",
                k->path, k->lost);
    k->lost = 0;
    return TITAN_OK;
}

TitanStatus sink_cut(TitanStory *s, Sink *k, int64_t length)
{
    k->length = length;
    return take_back(k) ? TITAN_OK : cannot(s, k, errno);
}

TitanStatus sink_close(TitanStory *s, Sink *k)
{
    TitanStatus st = TITAN_OK;
    if (!k->path) return st;
    if (close(k->fd) != 0 && !k->go_on) st = cannot(s, k, errno);
    free(k->path);
    k->path = NULL;
    return st;
}
