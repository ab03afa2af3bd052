/*
 * image_write.c: tables to bytes.
 *
 * Rows are structs of fixed size without implicit padding, written as they lie
 * in memory: the compiler runs on little-endian machines only, as the runtime
 * does.  Nothing that differs between machines or runs goes in.
 */
#include "image.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "images are little-endian");

void image_begin(ImageTables *t, Module *m)
{
    *t = (ImageTables){.m = m, .a = m->arena};
    map_init(&t->string_map, t->a);
    vec_push(t->a, &t->strings, 0);
    map_add(&t->string_map, 0, 0); /* the empty string */
}

uint32_t image_string(ImageTables *t, Str s)
{
    uint32_t at;
    if (map_find(&t->string_map, s.id, &at)) return at;
    at = t->strings.n;
    for (const char *p = str_of(t->m, s); *p; p++)
        vec_push(t->a, &t->strings, *p);
    vec_push(t->a, &t->strings, 0);
    map_add(&t->string_map, s.id, at);
    return at;
}

uint32_t image_text(ImageTables *t, const char *s)
{
    return image_string(t, module_str(t->m, s));
}

void image_line(ImageTables *t, Loc loc, uint32_t *file, uint32_t *line)
{
    Span span = loc_span(t->m, loc);
    *file = *line = 0;
    if (!span.file) return;
    Place p = diag_place(t->m->diag, span);
    *file = image_text(t, p.path);
    *line = p.line;
}

TitanRange image_axes(ImageTables *t, Layout l)
{
    uint32_t n = type_info(t->m, l.type)->naxes;
    Axis *order = NEW_ARRAY(t->a, Axis, (size_t)n + 1);
    layout_order(t->m, l, order);
    TitanRange r = {t->axes.n, n};
    for (uint32_t i = 0; i < n; i++) {
        TitanAxis row = {
            .name = image_string(t, t->m->axes.at[order[i].id].name),
            .size = type_local_size(t->m, type_axis(t->m, l.type, order[i]))};
        vec_push(t->a, &t->axes, row);
    }
    return r;
}

void image_reserve(ImageTables *t, TitanBase base, uint64_t bytes)
{
    uint64_t *most = &t->stages.at[t->stage].base_bytes[base];
    if (*most < bytes) *most = bytes;
}

/* ----------------------------------------------------------------- bytes -- */

static uint64_t aligned(uint64_t n, uint64_t to)
{
    return (n + to - 1) & ~(to - 1);
}

typedef struct Piece {
    const void *at;
    uint64_t bytes;
} Piece;

static uint64_t place_table(TitanHeader *h, int id, uint64_t offset, uint32_t n,
                            size_t row)
{
    h->tables[id] = (TitanTable){offset, n, (uint32_t)row};
    return aligned(offset + n * row, 8);
}

static void set_hash(TitanHeader *h, const void *at, size_t size)
{
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, XXH3_128bits(at, size));
    memcpy(h->hash, c.digest, sizeof h->hash);
}

static void end_stage(const ImageTables *t, TitanStage *s)
{
    for (int b = 0; b < TITAN_BASE_COUNT; b++) {
        s->base_bytes[b] = aligned(s->base_bytes[b], 256);
        if (b == TITAN_BASE_host) continue;
        s->arena_bytes +=
            s->base_bytes[b] * (b == TITAN_BASE_lane ? t->lanes : 1);
    }
}

static void end_stages(ImageTables *t, TitanHeader *h)
{
    for (uint32_t i = 0; i < t->stages.n; i++) {
        end_stage(t, &t->stages.at[i]);
        if (h->arena_bytes < t->stages.at[i].arena_bytes)
            h->arena_bytes = t->stages.at[i].arena_bytes;
    }
    for (int b = 0; b < TITAN_BASE_COUNT; b++)
        if (b != TITAN_BASE_frame && b != TITAN_BASE_lane)
            h->whole_bytes[b] = t->ranks == 1 ? t->stages.at[0].base_bytes[b]
                                              : aligned(t->whole_bytes[b], 256);
}

const void *image_bytes(ImageTables *t, size_t *size)
{
    TitanHeader h = {.magic = TITAN_IMAGE_MAGIC,
                     .version = TITAN_IMAGE_VERSION,
                     .target = t->target,
                     .lanes = t->lanes,
                     .ranks = t->ranks,
                     .rehearses = t->rehearses,
                     .streams = t->streams,
                     .events = t->events,
                     .stage_mesh = t->stage_mesh};
    end_stages(t, &h);
    uint64_t end = sizeof h;
#define T(name, type) \
    end = place_table(&h, TITAN_TABLE_##name, end, t->name.n, sizeof(type));
    TITAN_TABLES(T)
#undef T
    h.strings_offset = end;
    h.strings_size = t->strings.n;
    h.size = aligned(end + t->strings.n, 8);
    char *at = arena_alloc(t->a, h.size);
#define T(name, type)                                                \
    if (t->name.n)                                                   \
        memcpy(at + h.tables[TITAN_TABLE_##name].offset, t->name.at, \
               t->name.n * sizeof(type));
    TITAN_TABLES(T)
#undef T
    memcpy(at + h.strings_offset, t->strings.at, t->strings.n);
    memcpy(at, &h, sizeof h);
    set_hash(&h, at, h.size);
    memcpy(at, &h, sizeof h);
    *size = h.size;
    return at;
}
