/*
 * mapped.h: a file as memory that is only read.
 */
#ifndef TITAN_DATA_MAPPED_H
#define TITAN_DATA_MAPPED_H

#include "../titan.h"

typedef struct Mapped {
    const unsigned char *at; /* NULL for an empty file */
    size_t bytes;
    char *path;
    uint64_t device, inode;
} Mapped;

/* IO: it cannot be opened or is no file.  NOLINK: a symbolic link is no file
 * either. */
TitanStatus mapped_open(TitanStory *s, const char *path, bool nolink,
                        Mapped *out);
void mapped_close(Mapped *m);

/* Asked for in front of each row or document: BAD_DATA where the file was made
 * shorter meanwhile, since pages behind its end cannot be read. */
TitanStatus mapped_whole(TitanStory *s, const Mapped *m);

/* A little-endian number of 1, 2, 4 or 8 bytes. */
static inline uint64_t mapped_number(const unsigned char *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = bytes; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

#endif
