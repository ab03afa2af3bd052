/*
 * mapped.c: reading is a copy out of mapped pages; the operating system reads
 * ahead.
 */
#include "mapped.h"

#include <errno.h>
#include <fcntl.h>
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
    *out = (Mapped){0};
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
    *m = (Mapped){0};
}
