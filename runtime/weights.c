/*
 * weights.c: writes model.safetensors, or its index and shards (import.c reads
 * them).
 *
 * Weights are written as they are, without scales.
 */
#include "weights.h"

#include "layout.h"
#include "patterns.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---------------------------------------------------------------- export -- */

typedef struct Export {
    ShardSource source; /* first */
    TitanStory *story;
    const TitanImage *im;
    TitanDevice *device;
    uint32_t dtype;
    CkptLayout layout;
    const CkptTensor **tensors; /* what of it is written */
} Export;

static TitanStatus tensor_bytes(ShardSource *src, uint32_t i, char *room,
                                const char **at)
{
    Export *e = (Export *)src;
    const CkptTensor *t = e->tensors[i];
    memset(room, 0, shard_tensor_bytes(&src->tensors[i]));
    for (uint32_t p = 0; p < t->nparts; p++)
        TRY(part_export(e->story, e->im, t, &t->parts[p], e->dtype, room,
                        e->device));
    *at = room;
    return TITAN_OK;
}

/* Readers would take one whole file, of an earlier export, before shards. */
static TitanStatus remove_whole(TitanStory *s, const char *dir)
{
    char whole[FILES_PATH];
    if (!path_join(whole, dir, "model.safetensors") || unlink(whole) == 0 ||
        errno == ENOENT)
        return TITAN_OK;
    return titan_fail(s, TITAN_IO, "could not remove \"%s\": %s", whole,
                      strerror(errno));
}

TitanStatus weights_write(TitanStory *s, const char *dir, ShardSource *src,
                          ShardSet *out)
{
    TRY(shards_write(s, files_real(), dir, "model", src, out));
    return out->n > 1 ? remove_whole(s, dir) : TITAN_OK;
}

static uint32_t choose_tensors(Export *e, const char *only, StTensor *rows)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->layout.n; i++) {
        const CkptTensor *t = &e->layout.tensors[i];
        if (only && !patterns_fit(only, t->name)) continue;
        e->tensors[n] = t;
        rows[n++] = (StTensor){.name = t->name,
                               .dtype = e->dtype,
                               .rank = t->rank,
                               .shape = t->shape};
    }
    return n;
}

/* ONLY: of these alone; NULL: of all. */
static TitanStatus write_tensors(Export *e, const char *only, const char *dir)
{
    ShardSet set = {0};
    StTensor *rows = calloc((size_t)e->layout.n + 1, sizeof *rows);
    e->tensors = calloc((size_t)e->layout.n + 1, sizeof(CkptTensor *));
    TitanStatus st = TITAN_OK;
    if (rows && e->tensors) {
        e->source = (ShardSource){.bytes = tensor_bytes, .tensors = rows};
        e->source.n = choose_tensors(e, only, rows);
        st = weights_write(e->story, dir, &e->source, &set);
    } else {
        st = titan_no_memory(e->story);
    }
    shards_free(&set);
    free(e->tensors);
    free(rows);
    return st;
}

static bool is_companion(const char *name)
{
    static const char *const names[] = {
        "config.json", "generation_config.json",  "vocab.json",
        "merges.txt",  "special_tokens_map.json", "added_tokens.json"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return strncmp(name, "tokenizer", 9) == 0;
}

static TitanStatus copy_file(TitanStory *s, const char *from, const char *to)
{
    char chunk[65536];
    size_t n;
    FileWriter w;
    FILE *in = fopen(from, "rb");
    if (!in)
        return titan_fail(s, TITAN_IO, "could not read \"%s\": %s", from,
                          strerror(errno));
    file_begin(&w, s, files_real(), to);
    while ((n = fread(chunk, 1, sizeof chunk, in)) > 0)
        file_write(&w, chunk, n);
    bool failed = ferror(in) != 0;
    fclose(in);
    if (!failed) return file_end(&w);
    file_abandon(&w);
    return titan_fail(s, TITAN_IO, "could not read \"%s\"", from);
}

/* In the fewest digits that all its numbers are the same in. */
static char *text_of(const json_t *value)
{
    char *text = NULL;
    bool same = false;
    for (size_t digits = 15; digits <= 17 && !same; digits++) {
        free(text);
        text = json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(digits));
        json_t *again = text ? json_loads(text, 0, NULL) : NULL;
        same = json_equal(again, value);
        json_decref(again);
    }
    return text;
}

/* The weights beside it are not quantised, whatever those were that it came
 * with, and readers would take them for that.  NULL: it says nothing of it. */
static char *plain_config(const char *from)
{
    json_t *config = json_load_file(from, JSON_REJECT_DUPLICATES, NULL);
    char *text = NULL;
    if (json_object_del(config, "quantization_config") == 0)
        text = text_of(config);
    json_decref(config);
    return text;
}

static TitanStatus copy_config(TitanStory *s, const char *from, const char *to)
{
    FileWriter w;
    char *text = plain_config(from);
    if (!text) return copy_file(s, from, to);
    file_begin(&w, s, files_real(), to);
    file_write(&w, text, strlen(text));
    file_write(&w, "\n", 1);
    free(text);
    return file_end(&w);
}

static TitanStatus copy_companion(TitanStory *s, const char *name,
                                  const char *from, const char *to)
{
    char a[FILES_PATH], b[FILES_PATH];
    if (!path_join(a, from, name) || !path_join(b, to, name))
        return titan_fail(s, TITAN_IO, "the path \"%s\" is too long", to);
    return strcmp(name, "config.json") == 0 ? copy_config(s, a, b)
                                            : copy_file(s, a, b);
}

TitanStatus weights_companions(TitanStory *s, const char *from, const char *to)
{
    DIR *dir = opendir(from);
    if (!dir) return titan_fail(s, TITAN_IO, "could not read \"%s\"", from);
    TitanStatus st = TITAN_OK;
    for (struct dirent *d; st == TITAN_OK && (d = readdir(dir));)
        if (is_companion(d->d_name))
            st = copy_companion(s, d->d_name, from, to);
    closedir(dir);
    return st;
}

TitanStatus weights_dtype(TitanStory *s, const char *option, const char *name,
                          uint32_t *out)
{
    for (uint32_t d = 1; d <= 3; d++)
        if (strcmp(titan_dtype_name(d), name) == 0) {
            *out = d;
            return TITAN_OK;
        }
    return titan_fail(s, TITAN_USAGE,
                      "%s is \"%s\"; f32, bf16 and f16 are known", option,
                      name);
}

/* ---------------------------------------------------- states as weights -- */

/* The program as if parameters lay where their states do. */
typedef struct Posed {
    TitanImage im;
    TitanSlot *slots;
} Posed;

static bool is_path(const char *path, const char *a, const char *b)
{
    size_t n = strlen(a);
    return strncmp(path, a, n) == 0 && path[n] == '.' &&
           strcmp(path + n + 1, b) == 0;
}

static bool same_axes(const TitanImage *im, TitanRange a, TitanRange b)
{
    bool same = a.n == b.n;
    for (uint32_t i = 0; same && i < a.n; i++) {
        const TitanAxis *x = &im->axes[a.first + i],
                        *y = &im->axes[b.first + i];
        same = x->size == y->size && strcmp(titan_string(im, x->name),
                                            titan_string(im, y->name)) == 0;
    }
    return same;
}

/* STATE of parameter P: "wq.avg" of its optimizer, "avg.wq" of the train block;
 * NULL: it has none. */
static const TitanSlot *state_of(const TitanImage *im, const TitanSlot *p,
                                 const char *state)
{
    const char *path = titan_string(im, p->path);
    for (uint32_t i = 0; i < im->nslots; i++) {
        const TitanSlot *t = &im->slots[i];
        const char *own = titan_string(im, t->path);
        if (t->role == TITAN_ROLE_state && same_axes(im, t->axes, p->axes) &&
            (is_path(own, path, state) || is_path(own, state, path)))
            return t;
    }
    return NULL;
}

static TitanStatus pose(TitanStory *s, const TitanImage *im, const char *state,
                        Posed *out)
{
    bool any = false;
    *out = (Posed){.im = *im};
    if (!state) return TITAN_OK;
    out->slots = calloc((size_t)im->nslots + 1, sizeof *out->slots);
    if (!out->slots) return titan_no_memory(s);
    for (uint32_t i = 0; i < im->nslots; i++) {
        TitanSlot *p = &out->slots[i];
        *p = im->slots[i];
        const TitanSlot *t =
            p->flags & TITAN_SLOT_ckpt ? state_of(im, p, state) : NULL;
        if (!t) continue;
        any = true;
        p->dtype = t->dtype;
        p->offset = t->offset;
        p->piece = t->piece;
        p->pitch = t->pitch;
        p->flags = (p->flags & ~(uint32_t)TITAN_SLOT_host) |
                   (t->flags & (uint32_t)TITAN_SLOT_host);
    }
    out->im.slots = out->slots;
    if (any) return TITAN_OK;
    return titan_fail(s, TITAN_MISMATCH,
                      "--export-state: no parameter has a state \"%s\" of its "
                      "own axes",
                      state);
}

TitanStatus weights_mean(TitanStory *s, const TitanImage *im,
                         const char *option)
{
    if (!im->header->rehearses) return TITAN_OK;
    return titan_fail(s, TITAN_USAGE,
                      "%s keeps or reads weights; those of a rehearsal "
                      "(titanc --rehearse) mean nothing",
                      option);
}

TitanStatus weights_export_options(TitanStory *s, const ExportOptions *o)
{
    const char *alone = o->state  ? "--export-state"
                        : o->only ? "--export-only"
                                  : NULL;
    if (o->only && !*o->only)
        return titan_fail(s, TITAN_USAGE, "--export-only names no tensor");
    if (o->dir || !alone) return TITAN_OK;
    return titan_fail(s, TITAN_USAGE, "%s is for --export, which is not given",
                      alone);
}

TitanStatus weights_export_ready(TitanStory *s, const TitanImage *im,
                                 const ExportOptions *o)
{
    Posed posed;
    char inside[FILES_PATH];
    uint32_t known;
    CkptLayout layout;
    TitanStatus st = pose(s, im, o->state, &posed);
    free(posed.slots);
    TRY(st);
    st = layout_new(s, im, &layout);
    if (st == TITAN_OK)
        st = layout_names_apart(s, layout.tensors, sizeof *layout.tensors,
                                layout.n);
    if (st == TITAN_OK)
        st = patterns_check(s, "--export-only", o->only, &layout);
    layout_free(&layout);
    TRY(st);
    TRY(weights_dtype(s, "--export-dtype", o->dtype, &known));
    snprintf(inside, sizeof inside, "%s/.", o->dir);
    int error = files_make_dirs(files_real(), o->dir);
    if (error == EEXIST) error = 0;
    if (!error && access(inside, W_OK | X_OK) != 0) error = errno;
    if (!error) return TITAN_OK;
    return titan_fail(s, TITAN_IO, "could not export weights to \"%s\": %s",
                      o->dir, strerror(error));
}

TitanStatus weights_export(TitanStory *s, const TitanImage *im,
                           TitanDevice *device, const ExportOptions *o,
                           const char *from)
{
    Posed posed;
    Export e = {.story = s, .im = &posed.im, .device = device};
    TRY(weights_export_ready(s, im, o));
    TRY(weights_dtype(s, "--export-dtype", o->dtype, &e.dtype));
    TitanStatus st = pose(s, im, o->state, &posed);
    if (st == TITAN_OK) st = layout_new(s, &posed.im, &e.layout);
    if (st == TITAN_OK) st = write_tensors(&e, o->only, o->dir);
    if (st == TITAN_OK && !o->only && from && !file_is_plain(from) &&
        strcmp(from, o->dir) != 0)
        st = weights_companions(s, from, o->dir);
    layout_free(&e.layout);
    free(posed.slots);
    return titan_while(s, st, "exporting weights to \"%s\"", o->dir);
}
