/*
 * unpack.h: the bytes of a file, plain, .gz or .zst, from front to back.
 *
 *     TRY(unpack_open(s, path, &u));
 *     TRY(unpack_line(u, most, &line, &bytes, &more));
 *     unpack_close(u);
 *
 * Memory is bounded whatever the file says: the window of a zstd frame, what is
 * held of the text, and how much a small file may become.
 */
#ifndef TITAN_DATA_UNPACK_H
#define TITAN_DATA_UNPACK_H

#include "../titan.h"

typedef struct Unpacked {
    TitanStory *story;
    const char *path;
    int fd;
    const struct Unpacker *how;
    void *state; /* of the library */
    unsigned char *in;
    size_t in_at, in_n;
    bool in_end, clean;  /* clean: packed data may end here */
    uint64_t read, made; /* bytes of the file, bytes out of them */
    char *text;          /* made bytes begin .. end are not yet taken */
    size_t begin, end, cap;
    int64_t offset; /* of `begin` in all that is made */
} Unpacked;

/* PATH and STORY outlive it. */
TitanStatus unpack_open(TitanStory *s, const char *path, Unpacked **out);
void unpack_close(Unpacked *u);

/* Goes to a byte of the unpacked text; of a packed file, forward by unpacking
 * and back by beginning again. */
TitanStatus unpack_seek(Unpacked *u, int64_t offset);
/* Has more bytes in text[begin .. end), if there are any; what was there may
 * have moved. */
TitanStatus unpack_more(Unpacked *u, bool *more);
/* The next line, without its end; it stays until the next call.  BAD_DATA where
 * it is longer than MOST bytes. */
TitanStatus unpack_line(Unpacked *u, size_t most, const char **line,
                        size_t *bytes, bool *more);
void unpack_take(Unpacked *u, size_t bytes);

/* Whether the name says that the file is packed. */
bool unpack_is_packed(const char *path);

/* All of what a piece of memory becomes, of which the size is known.  HOW is
 * "gz" or "zstd"; PATH is for messages. */
TitanStatus unpack_whole(TitanStory *s, const char *path, const char *how,
                         const void *from, size_t n, void *to, size_t bytes);

#endif
