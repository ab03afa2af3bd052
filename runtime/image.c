/*
 * image.c: opens a step image: header, hash, tables, and then every check.
 *
 * After titan_image_open succeeded, every row number, range, string offset
 * and operand reach of the image is valid, loops and ends match, and nothing
 * that follows checks again.  The bytes may come from anywhere.
 */
#include "image.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static const unsigned dtype_sizes[] = {
#define DTYPE(name, bytes, cls, st) bytes,
#include "dtypes.def"
#undef DTYPE
};
static const char *const dtype_names[] = {
#define DTYPE(name, bytes, cls, st) #name,
#include "dtypes.def"
#undef DTYPE
};
static const char dtype_classes[][8] = {
#define DTYPE(name, bytes, cls, st) #cls,
#include "dtypes.def"
#undef DTYPE
};
enum { DTYPES = sizeof dtype_sizes / sizeof *dtype_sizes };

unsigned titan_dtype_bytes(uint32_t dtype)
{
    return dtype < DTYPES ? dtype_sizes[dtype] : 0;
}

const char *titan_dtype_name(uint32_t dtype)
{
    return dtype < DTYPES ? dtype_names[dtype] : "?";
}

bool titan_dtype_is_float(uint32_t dtype)
{
    return dtype < DTYPES && strcmp(dtype_classes[dtype], "float") == 0;
}

/* Product of the sizes; the reader has checked that it fits. */
int64_t titan_elements(const TitanImage *im, TitanRange axes)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < axes.n; i++)
        n *= im->axes[axes.first + i].size;
    return n;
}

int64_t titan_slot_place(const TitanSlot *s, int64_t before)
{
    int64_t piece = (int64_t)s->piece;
    if (piece == 0 || before < piece) return before;
    return before / piece * (int64_t)s->pitch + before % piece;
}

int64_t titan_slot_reach(const TitanImage *im, const TitanSlot *s)
{
    int64_t n = titan_elements(im, s->axes);
    return n ? titan_slot_place(s, n - 1) + 1 : 0;
}

static TitanStatus check_header(ImageCheck *c, size_t size)
{
    const TitanHeader *h = c->im->header;
    if (h->magic != TITAN_IMAGE_MAGIC) return BAD(c, "no magic number");
    if (h->version != TITAN_IMAGE_VERSION)
        return titan_fail(c->story, TITAN_MISMATCH,
                          "image has version %" PRIu32
                          ", this program reads %d",
                          h->version, TITAN_IMAGE_VERSION);
    if (h->size != size)
        return BAD(c, "the header says %" PRIu64 " bytes, there are %zu",
                   h->size, size);
    if (h->lanes == 0 || h->lanes > 1024 || h->ranks == 0)
        return BAD(c, "%" PRIu32 " lanes and %" PRIu32 " ranks", h->lanes,
                   h->ranks);
    if (h->target > TITAN_TARGET_sm_100a)
        return BAD(c, "target %" PRIu32, h->target);
    if (h->streams == 0 || h->streams > TITAN_MOST_STREAMS)
        return BAD(c, "%" PRIu32 " streams", h->streams);
    return TITAN_OK;
}

static TitanStatus check_hash(ImageCheck *c)
{
    TitanHeader zeroed = *c->im->header;
    memset(zeroed.hash, 0, sizeof zeroed.hash);
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, &zeroed, sizeof zeroed);
    XXH3_128bits_update(&state, c->im->at + sizeof zeroed,
                        c->im->size - sizeof zeroed);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state));
    if (memcmp(canonical.digest, c->im->header->hash, 16) != 0)
        return BAD(c, "the hash does not match the content");
    return TITAN_OK;
}

static TitanStatus open_table(ImageCheck *c, int id, size_t row,
                              const void **at, uint32_t *n)
{
    const TitanTable *t = &c->im->header->tables[id];
    if (t->row != row || t->offset % 8 || t->offset > c->im->size ||
        t->n > (c->im->size - t->offset) / row)
        return BAD(c, "table %d does not fit", id);
    *at = c->im->at + t->offset;
    *n = t->n;
    return TITAN_OK;
}

static TitanStatus open_tables(ImageCheck *c)
{
    TitanImage *im = c->im;
#define T(name, type)                                            \
    {                                                            \
        const void *at;                                          \
        TRY(open_table(c, TITAN_TABLE_##name, sizeof(type), &at, \
                       &im->n##name));                           \
        im->name = at;                                           \
    }
    TITAN_TABLES(T)
#undef T
    const TitanHeader *h = im->header;
    if (h->strings_size == 0 || h->strings_offset > im->size ||
        h->strings_size > im->size - h->strings_offset)
        return BAD(c, "the strings do not fit");
    im->strings = (const char *)im->at + h->strings_offset;
    if (im->strings[h->strings_size - 1] != 0)
        return BAD(c, "the strings do not end");
    return TITAN_OK;
}

TitanStatus titan_image_open(TitanStory *s, const void *at, size_t size,
                             TitanImage *out)
{
    *out = (TitanImage){.at = at, .size = size, .header = at};
    ImageCheck c = {.story = s, .im = out};
    if (size < sizeof(TitanHeader) || (uintptr_t)at % 8)
        return BAD(&c, "%zu bytes are too few for a header", size);
    TRY(check_header(&c, size));
    TRY(check_hash(&c));
    TRY(open_tables(&c));
    TRY(image_check_stages(&c));
    TRY(image_check_tensors(&c));
    TRY(image_check_work(&c));
    return image_check_entries(&c);
}

const TitanEntry *titan_entry(const TitanImage *im, const char *name)
{
    TitanRange first = im->stages->entries;
    for (uint32_t i = first.first; i < first.first + first.n; i++)
        if (strcmp(titan_string(im, im->entries[i].name), name) == 0)
            return &im->entries[i];
    return NULL;
}

const TitanPort *titan_port(const TitanImage *im, const TitanEntry *e,
                            TitanRole role, const char *path)
{
    for (uint32_t i = 0; i < e->ports.n; i++) {
        const TitanPort *p = &im->ports[e->ports.first + i];
        if (p->role == role && strcmp(titan_string(im, p->path), path) == 0)
            return p;
    }
    return NULL;
}

double titan_fact(const TitanImage *im, const char *name, double otherwise)
{
    for (uint32_t i = 0; i < im->nfacts; i++)
        if (strcmp(titan_string(im, im->facts[i].name), name) == 0)
            return im->facts[i].value;
    return otherwise;
}
