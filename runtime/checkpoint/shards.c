/*
 * shards.c: cuts a list of tensors into files, and writes each in one sweep.
 *
 * While one thread lays out and hashes a piece, another writes those before it.
 */
#include "shards.h"

#include "pump.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Writer {
    TitanStory *story;
    Files *files;
    const char *dir, *stem;
    ShardSource *src;
    ShardSet *out;
    char *room[2];                 /* each for one tensor */
    uint32_t ends[SHARDS_MOST], n; /* one past each file's last tensor */
} Writer;

/* ------------------------------------------------------------- one file -- */

/* A piece is hashed, then written. */
enum { PIECE = 4 << 20 };

/* A file and what is learnt of it while it goes out. */
typedef struct Stream {
    FileWriter to;
    Pump pump;
    bool whole; /* nothing has failed yet */
    DigestStream *digest;
    ShardFile file;
} Stream;

static TitanStatus stream_begin(Stream *o, TitanStory *s, Files *files,
                                const char *dir, const char *name)
{
    char path[FILES_PATH];
    *o = (Stream){0};
    snprintf(o->file.name, sizeof o->file.name, "%s", name);
    if (!path_join(path, dir, name))
        return titan_fail(s, TITAN_IO, "the path \"%s\" is too long", dir);
    o->digest = digest_new();
    if (!o->digest) return titan_no_memory(s);
    file_begin(&o->to, s, files, path);
    pump_begin(&o->pump, &o->to);
    o->whole = true;
    return TITAN_OK;
}

/* AT stays as it is until the pump has written it. */
static void stream_put(Stream *o, const void *at, size_t n)
{
    for (size_t done = 0; done < n && o->whole; done += PIECE) {
        const char *piece = (const char *)at + done;
        size_t some = n - done < PIECE ? n - done : PIECE;
        digest_add(o->digest, piece, some);
        o->whole = pump_put(&o->pump, piece, some);
    }
    o->file.bytes += n;
}

static TitanStatus keep_file(TitanStory *s, ShardSet *set, ShardFile *f)
{
    ShardFile *more = realloc(set->files, (set->n + 1) * sizeof *more);
    if (!more) return titan_no_memory(s);
    set->files = more;
    set->files[set->n++] = *f;
    f->blocks = NULL;
    return TITAN_OK;
}

static TitanStatus stream_end(Stream *o, TitanStatus st, ShardSet *out)
{
    ShardFile *f = &o->file;
    TitanStory *s = o->to.story;
    pump_end(&o->pump);
    if (st != TITAN_OK) o->to.error = -1; /* nothing is renamed */
    TitanStory first = *s;
    TitanStatus ended = file_end(&o->to);
    if (st != TITAN_OK)
        *s = first;
    else
        st = ended;
    if (st == TITAN_OK &&
        !digest_end(o->digest, &f->whole, &f->blocks, &f->nblocks))
        st = titan_no_memory(s);
    if (st == TITAN_OK && out) st = keep_file(s, out, f);
    free(f->blocks);
    digest_free(o->digest);
    return st;
}

/* A text as a further file of the set. */
static TitanStatus shard_text(TitanStory *s, Files *files, const char *dir,
                              const char *name, const char *text, size_t size,
                              ShardSet *out)
{
    Stream o;
    TRY(stream_begin(&o, s, files, dir, name));
    stream_put(&o, text, size);
    return stream_end(&o, TITAN_OK, out);
}

static TitanStatus put_header(Writer *w, Stream *o)
{
    ShardFile *f = &o->file;
    StTensor *rows = calloc((size_t)f->n + 1, sizeof *rows);
    if (!rows) return titan_no_memory(w->story);
    if (f->n) memcpy(rows, w->src->tensors + f->first, f->n * sizeof *rows);
    size_t size = 0;
    char *header = st_header(rows, f->n, &size);
    free(rows);
    if (!header) return titan_no_memory(w->story);
    uint64_t length = size;
    stream_put(o, &length, 8);
    stream_put(o, header, size);
    pump_wait(&o->pump, o->pump.put);
    free(header);
    f->header = size + 8;
    return TITAN_OK;
}

/* A room is filled while the pump writes the other. */
static TitanStatus put_tensors(Writer *w, Stream *o)
{
    const ShardFile *f = &o->file;
    uint64_t until[2] = {0}; /* what of each room was put */
    unsigned k = 0;
    TRY(put_header(w, o));
    for (uint32_t i = f->first; i < f->first + f->n && o->whole; i++) {
        const char *at = NULL;
        pump_wait(&o->pump, until[k]);
        TRY(w->src->bytes(w->src, i, w->room[k], &at));
        stream_put(o, at, shard_tensor_bytes(&w->src->tensors[i]));
        if (at != w->room[k]) continue;
        until[k] = o->pump.put;
        k = !k;
    }
    return TITAN_OK;
}

/* ------------------------------------------------------------- the set -- */

static void shard_name(const Writer *w, uint32_t i, char name[SHARD_NAME])
{
    if (w->n == 1)
        snprintf(name, SHARD_NAME, "%s.safetensors", w->stem);
    else
        snprintf(name, SHARD_NAME, "%s-%05u-of-%05u.safetensors", w->stem,
                 i + 1, w->n);
}

static TitanStatus write_shard(Writer *w, uint32_t i)
{
    char name[SHARD_NAME];
    Stream o;
    shard_name(w, i, name);
    TRY(stream_begin(&o, w->story, w->files, w->dir, name));
    o.file.first = i ? w->ends[i - 1] : 0;
    o.file.n = w->ends[i] - o.file.first;
    return stream_end(&o, put_tensors(w, &o), w->out);
}

static void cut(Writer *w)
{
    uint64_t bytes = 0, most = w->src->most ? w->src->most : SHARD_BYTES;
    for (uint32_t i = 0; i < w->src->n; i++) {
        uint64_t more = shard_tensor_bytes(&w->src->tensors[i]);
        if (bytes > 0 && bytes + more > most && w->n + 1 < SHARDS_MOST) {
            w->ends[w->n++] = i;
            bytes = 0;
        }
        bytes += more;
    }
    w->ends[w->n++] = w->src->n;
}

static TitanStatus write_index(Writer *w)
{
    char shard[SHARD_NAME], name[SHARD_NAME];
    uint64_t total = 0;
    json_t *map = json_object();
    for (uint32_t i = 0, k = 0; i < w->n; i++) {
        shard_name(w, i, shard);
        for (; k < w->ends[i]; k++) {
            json_object_set_new(map, w->src->tensors[k].name,
                                json_string(shard));
            total += shard_tensor_bytes(&w->src->tensors[k]);
        }
    }
    json_t *index = json_pack("{s:{s:I},s:o}", "metadata", "total_size",
                              (json_int_t)total, "weight_map", map);
    char *text = index ? json_dumps(index, JSON_INDENT(2)) : NULL;
    json_decref(index);
    if (!text) return titan_no_memory(w->story);
    snprintf(name, sizeof name, "%s.safetensors.index.json", w->stem);
    TitanStatus st = shard_text(w->story, w->files, w->dir, name, text,
                                strlen(text), w->out);
    free(text);
    return st;
}

static TitanStatus make_room(Writer *w)
{
    uint64_t most = 1;
    for (uint32_t i = 0; i < w->src->n; i++) {
        uint64_t n = shard_tensor_bytes(&w->src->tensors[i]);
        if (n > most) most = n;
    }
    w->room[0] = malloc(most);
    w->room[1] = malloc(most);
    return w->room[0] && w->room[1] ? TITAN_OK : titan_no_memory(w->story);
}

static TitanStatus write_all(Writer *w)
{
    cut(w);
    TRY(make_room(w));
    for (uint32_t i = 0; i < w->n; i++)
        TRY(write_shard(w, i));
    return w->n > 1 ? write_index(w) : TITAN_OK;
}

TitanStatus shards_write(TitanStory *s, Files *files, const char *dir,
                         const char *stem, ShardSource *src, ShardSet *out)
{
    Writer w = {.story = s,
                .files = files,
                .dir = dir,
                .stem = stem,
                .src = src,
                .out = out};
    TitanStatus st = write_all(&w);
    free(w.room[0]);
    free(w.room[1]);
    return st;
}

void shards_free(ShardSet *set)
{
    for (uint32_t i = 0; i < set->n; i++)
        free(set->files[i].blocks);
    free(set->files);
    *set = (ShardSet){0};
}
