/*
 * mds.c: a shard of an MDS data set.
 *
 *      u32 n | u32 begin[n + 1] | the writer's configuration | samples
 *
 * A sample is the sizes, u32 each, of those columns that have none of their
 * own, and the columns.  All `begin` are checked when the shard is opened,
 * sizes when a sample is read.
 */
#include "mds.h"

#include "documents.h"
#include "hash.h"
#include "mapped.h"
#include "unpack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A packed shard is unpacked as a whole. */
enum { MOST_UNPACKED = 256 << 20 };

typedef struct MdsDocs {
    DocFile base;
    const MdsShard *shard;
    Mapped map;
    unsigned char *unpacked;
    const unsigned char *at;
    size_t bytes;
    uint32_t column;
    unsigned width; /* of an id; 0: text, or each sample says it */
    bool is_signed, array, typed, shaped;
} MdsDocs;

static MdsDocs *docs_of(DocFile *f)
{
    return (MdsDocs *)(void *)f;
}

static TitanStatus bad_sample(const MdsDocs *d, const char *why)
{
    return titan_fail(d->base.story, TITAN_BAD_DATA,
                      "\"%s\": sample %" PRId64 " %s", d->base.file->path,
                      d->base.at.number, why);
}

/* ---------------------------------------------------------------- hashes -- */

static TitanStatus check_hashes(TitanStory *s, const char *path,
                                const json_t *hashes, const void *at, size_t n)
{
    const char *name;
    json_t *want;
    unsigned known = 0;
    char have[HASH_TEXT];
    json_object_foreach((json_t *)(uintptr_t)hashes, name, want)
    {
        if (!hash_of(name, at, n, have)) continue;
        known++;
        if (strcmp(have, json_is_string(want) ? json_string_value(want) : ""))
            return titan_fail(s, TITAN_BAD_DATA,
                              "\"%s\" is damaged: its %s is %s, the index has "
                              "%.64s",
                              path, name, have,
                              json_is_string(want) ? json_string_value(want)
                                                   : "none");
    }
    if (known || json_object_size(hashes) == 0) return TITAN_OK;
    return titan_fail(s, TITAN_BAD_DATA,
                      "\"%s\" cannot be checked: no hash that the index has is "
                      "known (sha1, sha256, xxh32, xxh64, xxh3_64, xxh128)",
                      path);
}

/* ------------------------------------------------------------------ file -- */

static TitanStatus map_file(MdsDocs *d, const char *path, const MdsFile *f)
{
    TitanStory *s = d->base.story;
    TRY(mapped_open(s, path, true, &d->map));
    if (d->map.bytes != (uint64_t)f->bytes)
        return titan_fail(s, TITAN_BAD_DATA,
                          "\"%s\" has %zu bytes, the index says %" PRId64, path,
                          d->map.bytes, f->bytes);
    return check_hashes(s, path, f->hashes, d->map.at, d->map.bytes);
}

static TitanStatus read_raw(MdsDocs *d)
{
    TRY(map_file(d, d->base.file->path, &d->shard->raw));
    d->at = d->map.at;
    d->bytes = d->map.bytes;
    return TITAN_OK;
}

static TitanStatus unpack(MdsDocs *d, const char *path)
{
    const MdsShard *m = d->shard;
    TRY(map_file(d, path, &m->packed));
    if (m->raw.bytes > MOST_UNPACKED)
        return titan_fail(d->base.story, TITAN_BAD_DATA,
                          "\"%s\" becomes %" PRId64
                          " bytes; packed shards of up to %d bytes can be read",
                          path, m->raw.bytes, MOST_UNPACKED);
    d->bytes = (size_t)m->raw.bytes;
    d->unpacked = malloc(d->bytes + 1);
    if (!d->unpacked) return titan_no_memory(d->base.story);
    TRY(unpack_whole(d->base.story, path, m->packing, d->map.at, d->map.bytes,
                     d->unpacked, d->bytes));
    mapped_close(&d->map);
    d->at = d->unpacked;
    return check_hashes(d->base.story, path, m->raw.hashes, d->at, d->bytes);
}

/* The packed file, or, where it was unpacked and removed, the plain one. */
static TitanStatus read_file(MdsDocs *d)
{
    if (!d->shard->packed.name) return read_raw(d);
    char *path = paths_join(d->shard->dir, d->shard->packed.name);
    if (!path) return titan_no_memory(d->base.story);
    bool plain =
        access(path, F_OK) != 0 && access(d->base.file->path, F_OK) == 0;
    TitanStatus st = plain ? read_raw(d) : unpack(d, path);
    free(path);
    return st;
}

static uint64_t begin_of(const MdsDocs *d, int64_t sample)
{
    return mapped_number(d->at + 4 + 4 * sample, 4);
}

static TitanStatus check_table(const MdsDocs *d)
{
    int64_t n = d->shard->samples;
    uint64_t from = 4 + 4 * ((uint64_t)n + 1);
    bool sound = d->bytes >= from && mapped_number(d->at, 4) == (uint64_t)n;
    for (int64_t i = 0; sound && i <= n; i++) {
        sound = begin_of(d, i) >= from && begin_of(d, i) <= d->bytes;
        from = begin_of(d, i);
    }
    if (sound && from == d->bytes) return TITAN_OK;
    return titan_fail(d->base.story, TITAN_BAD_DATA,
                      "\"%s\" has no table of %" PRId64
                      " samples that fill its %zu bytes",
                      d->base.file->path, n, d->bytes);
}

/* --------------------------------------------------------------- columns -- */

static const struct {
    const char *name;
    unsigned code, width;
    bool is_signed;
} dtypes[] = {{"uint8", 8, 1, false}, {"uint16", 16, 2, false},
              {"int16", 17, 2, true}, {"uint32", 32, 4, false},
              {"int32", 33, 4, true}, {"uint64", 64, 8, false},
              {"int64", 65, 8, true}};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

/* "ndarray", "ndarray:uint16", "ndarray:int32:2048". */
static bool read_array(MdsDocs *d, const char *text)
{
    d->array = true;
    if (!*text) return true;
    size_t n = strcspn(++text, ":");
    for (unsigned i = 0; i < DTYPES; i++)
        if (strlen(dtypes[i].name) == n && !strncmp(text, dtypes[i].name, n)) {
            d->typed = true;
            d->shaped = text[n] == ':';
            d->width = dtypes[i].width;
            d->is_signed = dtypes[i].is_signed;
            return true;
        }
    return false;
}

static TitanStatus read_encoding(MdsDocs *d)
{
    const char *e = d->shard->encodings[d->column];
    if (strcmp(e, "str") == 0 || strcmp(e, "bytes") == 0) return TITAN_OK;
    if (strncmp(e, "ndarray", 7) == 0 && (!e[7] || e[7] == ':') &&
        read_array(d, e + 7))
        return TITAN_OK;
    return titan_fail(d->base.story, TITAN_BAD_DATA,
                      "\"%s\": the column \"%s\" is \"%s\"; text (str, bytes) "
                      "or tokens (ndarray of integers) are needed",
                      d->base.file->path, d->shard->names[d->column], e);
}

static bool find_column(MdsDocs *d, const char *name)
{
    for (d->column = 0; d->column < d->shard->columns; d->column++)
        if (strcmp(d->shard->names[d->column], name) == 0) return true;
    return false;
}

static TitanStatus choose_column(MdsDocs *d, const char *key)
{
    char names[160] = "";
    if (key ? find_column(d, key)
            : find_column(d, "text") || find_column(d, "tokens") ||
                  find_column(d, "input_ids"))
        return read_encoding(d);
    for (uint32_t c = 0; c < d->shard->columns; c++) {
        size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s\"%.30s\"", c ? ", " : "",
                 d->shard->names[c]);
    }
    return titan_fail(d->base.story, TITAN_BAD_DATA,
                      "\"%s\" has no column \"%s\" (--text-key); it has %s",
                      d->base.file->path, key ? key : "text", names);
}

/* --------------------------------------------------------------- samples -- */

/* The bytes of the column in sample `at.number`. */
static TitanStatus find_value(const MdsDocs *d, const unsigned char **at,
                              size_t *n)
{
    const MdsShard *m = d->shard;
    uint64_t begin = begin_of(d, d->base.at.number);
    uint64_t end = begin_of(d, d->base.at.number + 1), head = begin, to = begin;
    for (uint32_t c = 0; c < m->columns; c++)
        to += m->sizes[c] < 0 ? 4 : 0;
    if (to > end) return bad_sample(d, "is shorter than its sizes");
    for (uint32_t c = 0; c < m->columns; c++) {
        uint64_t size = (uint64_t)m->sizes[c];
        if (m->sizes[c] < 0) {
            size = mapped_number(d->at + head, 4);
            head += 4;
        }
        if (size > end - to)
            return bad_sample(d, "is shorter than its columns");
        if (c == d->column) {
            *at = d->at + to;
            *n = (size_t)size;
        }
        to += size;
    }
    return to == end ? TITAN_OK : bad_sample(d, "is longer than its columns");
}

static bool read_dtype(unsigned code, Piece *p)
{
    for (unsigned i = 0; i < DTYPES; i++)
        if (dtypes[i].code == code) {
            p->width = dtypes[i].width;
            p->is_signed = dtypes[i].is_signed;
            return true;
        }
    return false;
}

/* In front of the values: a byte for the dtype, then one for how many
 * dimensions and how wide, and these; each where the column does not say it. */
static TitanStatus read_values(const MdsDocs *d, Piece *p)
{
    const unsigned char *at = p->at;
    size_t left = p->bytes;
    uint64_t elements = 1;
    if (!d->typed) {
        if (left < 1 || !read_dtype(*at, p))
            return bad_sample(d, "is no array of integers");
        at++;
        left--;
    }
    if (!d->shaped) {
        unsigned dims = left ? *at >> 2 : 0, wide = left ? 1u << (*at & 3) : 0;
        if (left < 1 + (size_t)dims * wide)
            return bad_sample(d, "has no shape");
        for (unsigned i = 0; i < dims; i++)
            if (__builtin_mul_overflow(elements,
                                       mapped_number(at + 1 + i * wide, wide),
                                       &elements))
                return bad_sample(d, "has a shape that is too large");
        at += 1 + dims * wide;
        left -= 1 + dims * wide;
    }
    if (left % p->width || (!d->shaped && left / p->width != elements))
        return bad_sample(d, "does not have the elements of its shape");
    p->at = at;
    p->bytes = left;
    return TITAN_OK;
}

static TitanStatus mds_next(DocFile *f, Piece *out, bool *more)
{
    MdsDocs *d = docs_of(f);
    const unsigned char *at = NULL;
    size_t n = 0;
    *more = f->at.number < d->shard->samples;
    if (!*more) return TITAN_OK;
    if (d->map.at) TRY(mapped_whole(f->story, &d->map));
    TRY(find_value(d, &at, &n));
    if (n > MOST_TEXT) return bad_sample(d, "is longer than 32 MiB");
    *out = (Piece){.at = at,
                   .bytes = n,
                   .width = d->width,
                   .is_signed = d->is_signed,
                   .first = true,
                   .last = true,
                   .number = f->at.number + 1};
    if (d->array) TRY(read_values(d, out));
    f->at.number++;
    return TITAN_OK;
}

static TitanStatus mds_seek(DocFile *f, Place to)
{
    if (to.number < 0 || to.number > docs_of(f)->shard->samples || to.offset)
        return titan_fail(f->story, TITAN_BAD_DATA,
                          "\"%s\" has no sample %" PRId64, f->file->path,
                          to.number);
    f->at = to;
    return TITAN_OK;
}

static void mds_close(DocFile *f)
{
    MdsDocs *d = docs_of(f);
    mapped_close(&d->map);
    free(d->unpacked);
    free(d);
}

TitanStatus mds_open(TitanStory *s, const DataFile *file, const char *text_key,
                     DocFile **out)
{
    static const DocClass class = {"sample", mds_seek, mds_next, mds_close};
    MdsDocs *d = calloc(1, sizeof *d);
    if (!d) return titan_no_memory(s);
    d->base = (DocFile){.class = &class, .story = s, .file = file};
    d->shard = file->shard;
    TitanStatus st = choose_column(d, text_key);
    if (st == TITAN_OK) st = read_file(d);
    if (st == TITAN_OK) st = check_table(d);
    if (st == TITAN_OK)
        *out = &d->base;
    else
        mds_close(&d->base);
    return st;
}
