/*
 * mapped.c: reading is a copy out of mapped pages; the operating system reads
 * ahead.  No descriptor stays open, so a run may have any number of files.
 */
#include "mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static TitanStatus map(TitanStory *s, const char *path, int fd, Mapped *out)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return titan_fail(s, TITAN_IO, "could not read \"%s\": %s", path,
                          strerror(errno));
    if (!S_ISREG(st.st_mode))
        return titan_fail(s, TITAN_IO, "could not read \"%s\": not a file",
                          path);
    out->bytes = (size_t)st.st_size;
    out->device = st.st_dev;
    out->inode = st.st_ino;
    if (out->bytes == 0) return TITAN_OK;
    void *at = mmap(NULL, out->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED)
        return titan_fail(s, TITAN_IO, "could not map \"%s\": %s", path,
                          strerror(errno));
    out->at = at;
    return TITAN_OK;
}

TitanStatus mapped_open(TitanStory *s, const char *path, bool nolink,
                        Mapped *out)
{
    *out = (Mapped){.path = strdup(path)};
    if (!out->path) return titan_no_memory(s);
    int fd = open(path, O_RDONLY | O_CLOEXEC | (nolink ? O_NOFOLLOW : 0));
    if (fd < 0)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(errno));
    TitanStatus st = map(s, path, fd, out);
    close(fd);
    return st;
}

void mapped_close(Mapped *m)
{
    if (m->at) munmap((void *)(uintptr_t)m->at, m->bytes);
    free(m->path);
    *m = (Mapped){0};
}

/* A file of that name that is another one has taken no byte from this. */
TitanStatus mapped_whole(TitanStory *s, const Mapped *m)
{
    struct stat st;
    if (stat(m->path, &st) != 0 || st.st_dev != m->device ||
        st.st_ino != m->inode || (uint64_t)st.st_size >= m->bytes)
        return TITAN_OK;
    return titan_fail(s, TITAN_BAD_DATA,
                      "\"%s\" was made shorter while it is read: it has %jd "
                      "bytes of %zu",
                      m->path, (intmax_t)st.st_size, m->bytes);
}
