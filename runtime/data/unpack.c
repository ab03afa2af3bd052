/*
 * unpack.c: bytes of plain and packed files.
 *
 * An unpacker is four functions over a library's state; plain files have one
 * too.  A bomb is a small file that becomes a large one: behind the first 64
 * MiB, more than 256 bytes for each byte read are refused.  Text is packed 3
 * to 20 times by these formats.
 */
#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum {
    IN_BYTES = 1 << 17,
    STEP_BYTES = 1 << 17, /* made at least at a time */
    FREE_BYTES = 64 << 20,
    MOST_RATIO = 256,
    WINDOW_LOG = 27 /* what zstd makes without --long */
};

/* `make` turns input into at most ROOM bytes, and says in `clean` whether the
 * file may end here. */
typedef struct Unpacker {
    const char *suffix, *name;
    void *(*begin)(void);
    void (*end)(void *state);
    TitanStatus (*make)(Unpacked *u, char *to, size_t room, size_t *made);
} Unpacker;

static TitanStatus bad(Unpacked *u, const char *why)
{
    return titan_fail(
        u->story, TITAN_BAD_DATA,
        "\"%s\": %s data cannot be unpacked behind byte %" PRIu64 ": %s",
        u->path, u->how->name, u->read - (u->in_n - u->in_at), why);
}

/* ------------------------------------------------------------------ gzip -- */

static void *gzip_begin(void)
{
    z_stream *z = calloc(1, sizeof *z);
    if (z && inflateInit2(z, 15 + 16) != Z_OK) {
        free(z);
        return NULL;
    }
    return z;
}

static void gzip_end(void *state)
{
    inflateEnd(state);
    free(state);
}

/* A file may be several streams, one behind the other. */
static TitanStatus gzip_make(Unpacked *u, char *to, size_t room, size_t *made)
{
    z_stream *z = u->state;
    z->next_in = u->in + u->in_at;
    z->avail_in = (uInt)(u->in_n - u->in_at);
    z->next_out = (unsigned char *)to;
    z->avail_out = (uInt)room;
    int code = inflate(z, Z_NO_FLUSH);
    u->in_at = u->in_n - z->avail_in;
    *made = room - z->avail_out;
    u->clean = code == Z_STREAM_END;
    if (code == Z_STREAM_END) inflateReset(z);
    if (code == Z_OK || code == Z_STREAM_END || code == Z_BUF_ERROR)
        return TITAN_OK;
    return bad(u, z->msg ? z->msg : "it is no gzip stream");
}

/* ------------------------------------------------------------------ zstd -- */

static void *zstd_begin(void)
{
    ZSTD_DCtx *d = ZSTD_createDCtx();
    if (d) ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, WINDOW_LOG);
    return d;
}

static void zstd_end(void *state)
{
    ZSTD_freeDCtx(state);
}

static TitanStatus zstd_make(Unpacked *u, char *to, size_t room, size_t *made)
{
    ZSTD_inBuffer in = {u->in, u->in_n, u->in_at};
    ZSTD_outBuffer out = {to, room, 0};
    size_t left = ZSTD_decompressStream(u->state, &out, &in);
    if (ZSTD_isError(left)) return bad(u, ZSTD_getErrorName(left));
    u->in_at = in.pos;
    *made = out.pos;
    u->clean = left == 0;
    return TITAN_OK;
}

/* ----------------------------------------------------------------- plain -- */

static TitanStatus plain_make(Unpacked *u, char *to, size_t room, size_t *made)
{
    size_t n = u->in_n - u->in_at;
    *made = n < room ? n : room;
    memcpy(to, u->in + u->in_at, *made);
    u->in_at += *made;
    u->clean = true;
    return TITAN_OK;
}

static const Unpacker unpackers[] = {
    {".gz", "gzip", gzip_begin, gzip_end, gzip_make},
    {".zst", "zstd", zstd_begin, zstd_end, zstd_make},
    {"", "plain", NULL, NULL, plain_make},
};

static const Unpacker *unpacker_of(const char *path)
{
    size_t n = strlen(path);
    const Unpacker *p = unpackers;
    while (n < strlen(p->suffix) ||
           strcmp(path + n - strlen(p->suffix), p->suffix) != 0)
        p++;
    return p;
}

bool unpack_is_packed(const char *path)
{
    return unpacker_of(path)->begin != NULL;
}

/* ------------------------------------------------------------ the stream -- */

static TitanStatus begin_state(Unpacked *u)
{
    u->clean = true;
    if (!u->how->begin) return TITAN_OK;
    if (u->state) u->how->end(u->state);
    u->state = u->how->begin();
    return u->state ? TITAN_OK : titan_no_memory(u->story);
}

static TitanStatus open_regular(Unpacked *u)
{
    struct stat st;
    u->fd = open(u->path, O_RDONLY | O_CLOEXEC);
    if (u->fd < 0)
        return titan_fail(u->story, TITAN_IO, "could not open \"%s\": %s",
                          u->path, strerror(errno));
    if (fstat(u->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return titan_fail(u->story, TITAN_IO,
                          "could not read \"%s\": not a file", u->path);
    return begin_state(u);
}

TitanStatus unpack_open(TitanStory *s, const char *path, Unpacked **out)
{
    Unpacked *u = calloc(1, sizeof *u);
    *out = NULL;
    if (!u) return titan_no_memory(s);
    *u = (Unpacked){
        .story = s, .path = path, .fd = -1, .how = unpacker_of(path)};
    u->in = malloc(IN_BYTES);
    TitanStatus st = u->in ? open_regular(u) : titan_no_memory(s);
    if (st == TITAN_OK)
        *out = u;
    else
        unpack_close(u);
    return st;
}

void unpack_close(Unpacked *u)
{
    if (!u) return;
    if (u->state) u->how->end(u->state);
    if (u->fd >= 0) close(u->fd);
    free(u->in);
    free(u->text);
    free(u);
}

static TitanStatus read_input(Unpacked *u)
{
    ssize_t n;
    do
        n = read(u->fd, u->in, IN_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return titan_fail(u->story, TITAN_IO, "could not read \"%s\": %s",
                          u->path, strerror(errno));
    u->in_at = 0;
    u->in_n = (size_t)n;
    u->in_end = n == 0;
    u->read += (uint64_t)n;
    return TITAN_OK;
}

/* Room behind the text: what was taken makes way, or the text grows. */
static TitanStatus make_room(Unpacked *u)
{
    if (u->cap - u->end >= STEP_BYTES) return TITAN_OK;
    if (u->begin > 0) {
        memmove(u->text, u->text + u->begin, u->end - u->begin);
        u->end -= u->begin;
        u->begin = 0;
        if (u->cap - u->end >= STEP_BYTES) return TITAN_OK;
    }
    size_t cap = u->cap ? u->cap * 2 : 2 * STEP_BYTES;
    char *text = realloc(u->text, cap);
    if (!text) return titan_no_memory(u->story);
    u->text = text;
    u->cap = cap;
    return TITAN_OK;
}

static TitanStatus check_ratio(Unpacked *u)
{
    if (u->made <= FREE_BYTES || u->made / MOST_RATIO <= u->read)
        return TITAN_OK;
    return bad(u, "it becomes more than 256 times as large");
}

TitanStatus unpack_more(Unpacked *u, bool *more)
{
    size_t made = 0;
    *more = false;
    TRY(make_room(u));
    while (made == 0) {
        if (u->in_at == u->in_n && !u->in_end) TRY(read_input(u));
        bool over = u->in_at == u->in_n;
        if (over && u->clean) return TITAN_OK;
        TRY(u->how->make(u, u->text + u->end, u->cap - u->end, &made));
        if (over && made == 0 && !u->clean)
            return bad(u, "it ends in the middle");
    }
    u->end += made;
    u->made += made;
    *more = true;
    return check_ratio(u);
}

void unpack_take(Unpacked *u, size_t bytes)
{
    u->begin += bytes;
    u->offset += (int64_t)bytes;
}

static TitanStatus go_back(Unpacked *u, int64_t offset)
{
    int64_t to = u->how->begin ? 0 : offset;
    if (lseek(u->fd, to, SEEK_SET) < 0)
        return titan_fail(u->story, TITAN_IO, "could not read \"%s\": %s",
                          u->path, strerror(errno));
    u->in_at = u->in_n = u->begin = u->end = 0;
    u->in_end = false;
    u->read = u->made = 0;
    u->offset = to;
    return begin_state(u);
}

TitanStatus unpack_seek(Unpacked *u, int64_t offset)
{
    if (offset < u->offset || !u->how->begin) TRY(go_back(u, offset));
    for (bool more = true; u->offset < offset;) {
        if (u->begin == u->end) TRY(unpack_more(u, &more));
        if (!more)
            return titan_fail(u->story, TITAN_BAD_DATA,
                              "\"%s\" ends in front of byte %" PRId64, u->path,
                              offset);
        int64_t there = (int64_t)(u->end - u->begin);
        int64_t want = offset - u->offset;
        unpack_take(u, (size_t)(there < want ? there : want));
    }
    return TITAN_OK;
}

TitanStatus unpack_line(Unpacked *u, size_t most, const char **line,
                        size_t *bytes, bool *more)
{
    size_t seen = 0;
    const char *end = NULL;
    for (*more = true; !end && *more;) {
        size_t n = u->end - u->begin;
        if (n > seen) end = memchr(u->text + u->begin + seen, '\n', n - seen);
        seen = n;
        if (!end && n > most) break;
        if (!end) TRY(unpack_more(u, more));
    }
    *bytes = end ? (size_t)(end - (u->text + u->begin)) : seen;
    if (*bytes > most)
        return titan_fail(u->story, TITAN_BAD_DATA,
                          "\"%s\": the line at byte %" PRId64
                          " is longer than %zu bytes",
                          u->path, u->offset, most);
    *more = end || seen > 0;
    *line = u->text + u->begin;
    if (*more) unpack_take(u, *bytes + (end != NULL));
    return TITAN_OK;
}

/* ---------------------------------------------------------------- memory -- */

static bool inflate_whole(const void *from, size_t n, void *to, size_t bytes)
{
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)from,
                  .avail_in = (uInt)n,
                  .next_out = to,
                  .avail_out = (uInt)bytes};
    if (n > UINT32_MAX || bytes > UINT32_MAX ||
        inflateInit2(&z, 15 + 16) != Z_OK)
        return false;
    bool whole = inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0 &&
                 z.avail_out == 0;
    inflateEnd(&z);
    return whole;
}

TitanStatus unpack_whole(TitanStory *s, const char *path, const char *how,
                         const void *from, size_t n, void *to, size_t bytes)
{
    bool whole = strcmp(how, "gz") == 0
                     ? inflate_whole(from, n, to, bytes)
                     : ZSTD_decompress(to, bytes, from, n) == bytes;
    if (whole) return TITAN_OK;
    return titan_fail(s, TITAN_BAD_DATA, "\"%s\" is not %zu bytes packed by %s",
                      path, bytes, how);
}
