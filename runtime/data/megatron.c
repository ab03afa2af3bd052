/*
 * megatron.c: Megatron's indexed data sets, STEM.bin and STEM.idx.
 *
 *      "MMIDIDX\0\0" | u64 1 | u8 dtype | u64 sequences | u64 boundaries
 *      i32 length[sequences] | i64 pointer[sequences]
 *      i64 boundary[boundaries] | i8 mode[sequences], where there are modes
 *
 * Document d is the sequences boundary[d] .. boundary[d + 1].  Its builder
 * writes sequences one behind the other and documents likewise, so anything
 * else is damage: pointers must be what the lengths add up to, the last ends
 * with STEM.bin, boundaries go up from 0 to the number of sequences.  All of it
 * is checked when the file is opened, and a document is one run of bytes.
 */
#include "documents.h"
#include "mapped.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 9, HEAD = 34 };

typedef struct Megatron {
    DocFile base;
    Mapped idx, bin;
    unsigned width;
    bool is_signed;
    int64_t sequences, documents;
    const unsigned char *lengths, *pointers, *boundaries;
} Megatron;

static Megatron *megatron_of(DocFile *f)
{
    return (Megatron *)(void *)f;
}

TITAN_PRINTF(2, 3)
static TitanStatus bad_index(const Megatron *m, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const char *path = m->base.file->path;
    return titan_fail(m->base.story, TITAN_BAD_DATA, "\"%.*sidx\": %s",
                      (int)strlen(path) - 3, path, text);
}

static int64_t number_at(const unsigned char *table, int64_t i)
{
    return (int64_t)mapped_number(table + 8 * i, 8);
}

static bool read_dtype(Megatron *m, unsigned code)
{
    static const unsigned char widths[] = {0, 1, 1, 2, 4, 8, 0, 0, 2};
    m->width = code < sizeof widths ? widths[code] : 0;
    m->is_signed = code >= 2 && code <= 5;
    return m->width > 0;
}

/* The tables, whose sizes are two counts and whose end is the file's. */
static TitanStatus read_head(Megatron *m)
{
    const unsigned char *p = m->idx.at;
    if (m->idx.bytes < HEAD || memcmp(p, "MMIDIDX\0\0", MAGIC) != 0)
        return bad_index(m, "no index of Megatron");
    if (mapped_number(p + MAGIC, 8) != 1)
        return bad_index(m, "version %" PRIu64 ", 1 is needed",
                         mapped_number(p + MAGIC, 8));
    if (!read_dtype(m, p[17]))
        return bad_index(m, "dtype %u holds no tokens", p[17]);
    uint64_t n = mapped_number(p + 18, 8), b = mapped_number(p + 26, 8);
    uint64_t most = m->idx.bytes; /* more cannot be in it */
    if (n > most || b > most)
        return bad_index(m,
                         "%" PRIu64 " sequences and %" PRIu64
                         " boundaries do not fit into %zu bytes",
                         n, b, m->idx.bytes);
    uint64_t bytes = HEAD + 12 * n + 8 * b;
    if (m->idx.bytes != bytes && m->idx.bytes != bytes + n)
        return bad_index(m, "%zu bytes, its counts need %" PRIu64, m->idx.bytes,
                         bytes);
    if (b == 0) return bad_index(m, "it has no boundaries");
    m->sequences = (int64_t)n;
    m->documents = (int64_t)b - 1;
    m->lengths = p + HEAD;
    m->pointers = m->lengths + 4 * n;
    m->boundaries = m->pointers + 8 * n;
    return TITAN_OK;
}

static TitanStatus check_sequences(const Megatron *m)
{
    int64_t at = 0;
    for (int64_t i = 0; i < m->sequences; i++) {
        int32_t length = (int32_t)mapped_number(m->lengths + 4 * i, 4);
        if (length < 0 || number_at(m->pointers, i) != at ||
            (uint64_t)at > m->bin.bytes)
            return bad_index(m,
                             "sequence %" PRId64 " has %" PRId32
                             " tokens at byte %" PRId64 ", the one before it "
                             "ends at byte %" PRId64,
                             i, length, number_at(m->pointers, i), at);
        at += length * (int64_t)m->width;
    }
    if ((uint64_t)at == m->bin.bytes) return TITAN_OK;
    return bad_index(m,
                     "its sequences have %" PRId64 " bytes, the .bin has %zu",
                     at, m->bin.bytes);
}

static TitanStatus check_boundaries(const Megatron *m)
{
    int64_t before = 0;
    for (int64_t i = 0; i <= m->documents; i++) {
        int64_t b = number_at(m->boundaries, i);
        if (b < before || b > m->sequences || (i == 0 && b != 0))
            return bad_index(
                m, "boundary %" PRId64 " is %" PRId64 ", behind %" PRId64, i, b,
                before);
        before = b;
    }
    if (before == m->sequences) return TITAN_OK;
    return bad_index(
        m, "the last boundary is %" PRId64 " of %" PRId64 " sequences", before,
        m->sequences);
}

static int64_t token_of(const Megatron *m, int64_t document)
{
    int64_t first = number_at(m->boundaries, document);
    if (first == m->sequences) return (int64_t)(m->bin.bytes / m->width);
    return number_at(m->pointers, first) / m->width;
}

static TitanStatus megatron_next(DocFile *f, Piece *out, bool *more)
{
    Megatron *m = megatron_of(f);
    int64_t d = f->at.number;
    *more = d < m->documents;
    if (!*more) return TITAN_OK;
    TRY(mapped_whole(f->story, &m->idx));
    TRY(mapped_whole(f->story, &m->bin));
    int64_t from = token_of(m, d) + f->at.offset, end = token_of(m, d + 1);
    int64_t n = end - from < PIECE_TOKENS ? end - from : PIECE_TOKENS;
    *out = (Piece){.at = m->bin.at ? m->bin.at + from * m->width : NULL,
                   .bytes = (size_t)n * m->width,
                   .width = m->width,
                   .is_signed = m->is_signed,
                   .first = f->at.offset == 0,
                   .last = from + n == end,
                   .number = d + 1};
    f->at = out->last ? (Place){0, d + 1} : (Place){f->at.offset + n, d};
    return TITAN_OK;
}

static TitanStatus megatron_seek(DocFile *f, Place to)
{
    const Megatron *m = megatron_of(f);
    bool there = to.number >= 0 && to.offset >= 0 && to.number <= m->documents;
    if (there && to.offset > 0)
        there = to.number < m->documents &&
                to.offset < token_of(m, to.number + 1) - token_of(m, to.number);
    if (!there) return bad_index(m, "it has no document %" PRId64, to.number);
    f->at = to;
    return TITAN_OK;
}

static void megatron_close(DocFile *f)
{
    Megatron *m = megatron_of(f);
    mapped_close(&m->idx);
    mapped_close(&m->bin);
    free(m);
}

static TitanStatus map_pair(Megatron *m)
{
    TitanStory *s = m->base.story;
    char *path = strdup(m->base.file->path);
    if (!path) return titan_no_memory(s);
    TitanStatus st = mapped_open(s, path, false, &m->bin);
    memcpy(path + strlen(path) - 3, "idx", 3);
    if (st == TITAN_OK) st = mapped_open(s, path, false, &m->idx);
    free(path);
    return st;
}

TitanStatus megatron_open(TitanStory *s, const DataFile *file, DocFile **out)
{
    static const DocClass class = {"document", megatron_seek, megatron_next,
                                   megatron_close};
    Megatron *m = calloc(1, sizeof *m);
    if (!m) return titan_no_memory(s);
    m->base = (DocFile){.class = &class, .story = s, .file = file};
    TitanStatus st = map_pair(m);
    if (st == TITAN_OK) st = read_head(m);
    if (st == TITAN_OK) st = check_sequences(m);
    if (st == TITAN_OK) st = check_boundaries(m);
    if (st == TITAN_OK)
        *out = &m->base;
    else
        megatron_close(&m->base);
    return st;
}
