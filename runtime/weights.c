/*
 * weights.c: reads and writes model.safetensors and its index.
 *
 * What is missing or does not fit is all named before anything is loaded.
 * Weights are written as they are, without scales.
 */
#include "weights.h"

#include "checkpoint/source.h"
#include "config_json.h"
#include "layout.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---------------------------------------------------------------- import -- */

typedef struct Import {
    Source files;
    const char *exclude; /* or NULL */
    bool quiet;
    uint32_t plain;  /* tensors whose scale is not there */
    uint32_t absent; /* tensors that are not there */
} Import;

/* Takes the first pattern off a list. */
static bool next_pattern(const char **list, char out[FILES_PATH])
{
    const char *at = *list;
    if (!at || !*at) return false;
    size_t n = strcspn(at, ",");
    snprintf(out, FILES_PATH, "%.*s", (int)n, at);
    *list = at + n + (at[n] == ',');
    return true;
}

static bool fits(const char *pattern, const char *name)
{
    return fnmatch(pattern, name, FNM_NOESCAPE) == 0;
}

static bool is_named(const char *list, const char *name)
{
    char pattern[FILES_PATH];
    while (next_pattern(&list, pattern))
        if (fits(pattern, name)) return true;
    return false;
}

/* Each pattern fits a tensor; OPTION: whose they are. */
static TitanStatus check_patterns(TitanStory *s, const char *option,
                                  const char *list, const CkptLayout *l)
{
    char pattern[FILES_PATH];
    while (next_pattern(&list, pattern)) {
        bool known = false;
        for (uint32_t i = 0; i < l->n && !known; i++)
            known = fits(pattern, l->tensors[i].name);
        if (!known)
            return titan_fail(s, TITAN_USAGE,
                              "%s names \"%s\"; the model has no such "
                              "tensor, as there is \"%s\"",
                              option, pattern, l->n ? l->tensors[0].name : "");
    }
    return TITAN_OK;
}

/* A file may leave out the first component of every name, as some writers of
 * base models do ("transformer."). */
static SourceTensor *find_tensor(const Import *in, const char *name)
{
    SourceTensor *t = source_find(&in->files, name);
    const char *dot = strchr(name, '.');
    return t || !dot ? t : source_find(&in->files, dot + 1);
}

/* A tensor as the model has it. */
typedef struct Wanted {
    const char *name;
    const int64_t *shape;
    uint32_t rank;
} Wanted;

/* One line on stderr for each tensor that does not fit; true when it does. */
static bool check_shape(const StTensor *file, Wanted w)
{
    char want[256], have[256];
    if (file->rank == w.rank &&
        memcmp(file->shape, w.shape, w.rank * sizeof *w.shape) == 0)
        return true;
    shape_text(w.shape, w.rank, want, sizeof want);
    shape_text(file->shape, file->rank, have, sizeof have);
    fprintf(stderr, "  %s is %s in the file, %s in the model\n", w.name, have,
            want);
    return false;
}

static bool missing(Wanted w)
{
    char want[256];
    shape_text(w.shape, w.rank, want, sizeof want);
    fprintf(stderr, "  missing: %s %s\n", w.name, want);
    return false;
}

/* f64, f32, bf16 and f16 hold weights as they are; the others need a scale. */
static bool is_wide(uint32_t dtype)
{
    return dtype <= 3;
}

static bool check_dtype(const char *name, uint32_t dtype, bool scaled)
{
    if (is_wide(dtype) || (scaled && dtype <= 5)) return true;
    fprintf(stderr, "  %s has dtype %s, f32, bf16%s is needed\n", name,
            titan_dtype_name(dtype),
            scaled ? ", f16, e4m3 or e5m2" : " or f16");
    return false;
}

/* What is written without its scale (an export) has none to read. */
static bool check_scale(Import *in, const CkptTensor *t, uint32_t dtype)
{
    Wanted w = {t->scale, t->scale_shape, t->scale_rank};
    SourceTensor *at = find_tensor(in, t->scale);
    if (!at) {
        in->plain += is_wide(dtype);
        return is_wide(dtype) || missing(w);
    }
    at->used = true;
    return check_dtype(t->scale, at->tensor->dtype, false) &&
           check_shape(at->tensor, w);
}

static bool check_tensor(Import *in, const CkptTensor *t)
{
    Wanted w = {t->name, t->shape, t->rank};
    SourceTensor *at = find_tensor(in, t->name);
    if (is_named(in->exclude, t->name)) return true;
    in->absent += !at;
    if (!at) return missing(w);
    at->used = true;
    return check_dtype(t->name, at->tensor->dtype, t->scale != NULL) &&
           check_shape(at->tensor, w) &&
           (!t->scale || check_scale(in, t, at->tensor->dtype));
}

static void note_unused(const Source *src)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < src->n; i++)
        n += !src->tensors[i].used;
    if (n == 0) return;
    fprintf(stderr, "note: %" PRIu32 " unused tensor%s:", n, n > 1 ? "s" : "");
    uint32_t shown = 0;
    for (uint32_t i = 0; i < src->n && shown < 8; i++)
        if (!src->tensors[i].used) {
            fprintf(stderr, "%s %s", shown ? "," : "",
                    src->tensors[i].tensor->name);
            shown++;
        }
    fprintf(stderr, "%s\n", n > shown ? ", ..." : "");
}

static const void *tensor_data(const Import *in, const char *name,
                               uint32_t *dtype)
{
    const SourceTensor *t = find_tensor(in, name);
    if (!t) return NULL;
    *dtype = t->tensor->dtype;
    return t->data;
}

static TitanStatus import_all(TitanStory *s, const TitanImage *im, Import *in,
                              const CkptLayout *l, TitanDevice *device)
{
    uint32_t bad = 0;
    TRY(check_patterns(s, "--init-exclude", in->exclude, l));
    for (uint32_t i = 0; i < l->n; i++)
        bad += !check_tensor(in, &l->tensors[i]);
    if (bad)
        return titan_fail(s, TITAN_BAD_DATA,
                          "%" PRIu32 " of %" PRIu32
                          " tensors are missing or do not fit%s",
                          bad, l->n,
                          in->absent ? "; what shall keep its initial values "
                                       "is named by --init-exclude"
                                     : "");
    for (uint32_t i = 0; i < l->n; i++) {
        const CkptTensor *t = &l->tensors[i];
        CkptData d = {0};
        if (is_named(in->exclude, t->name)) continue;
        d.values = tensor_data(in, t->name, &d.dtype);
        if (t->scale) d.scale = tensor_data(in, t->scale, &d.scale_dtype);
        for (uint32_t p = 0; p < t->nparts; p++)
            TRY(part_import(s, im, t, &t->parts[p], &d, device));
    }
    if (in->plain && !in->quiet)
        fprintf(stderr,
                "note: %" PRIu32 " of %" PRIu32
                " tensors stand without their scales, as they are\n",
                in->plain, l->n);
    note_unused(&in->files);
    return TITAN_OK;
}

TitanStatus weights_import(TitanStory *s, const TitanImage *im,
                           TitanDevice *device, const char *dir,
                           const char *exclude, bool quiet)
{
    Import in = {.exclude = exclude, .quiet = quiet};
    CkptLayout layout = {0};
    TitanStatus st = source_open(s, dir, &in.files);
    if (st == TITAN_OK) st = layout_new(s, im, &layout);
    if (st == TITAN_OK) st = import_all(s, im, &in, &layout, device);
    layout_free(&layout);
    source_close(&in.files);
    if (st == TITAN_OK) config_json_compare(im, dir);
    return titan_while(s, st, "loading weights from \"%s\"", dir);
}

TitanStatus weights_options(TitanStory *s, const char *from,
                            const char *exclude)
{
    if (from || !exclude) return TITAN_OK;
    return titan_fail(s, TITAN_USAGE,
                      "--init-exclude is for --init-from, which is not given");
}

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
        if (only && !is_named(only, t->name)) continue;
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
        st = check_patterns(s, "--export-only", o->only, &layout);
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
    if (st == TITAN_OK && !o->only && from && strcmp(from, o->dir) != 0)
        st = weights_companions(s, from, o->dir);
    layout_free(&e.layout);
    free(posed.slots);
    return titan_while(s, st, "exporting weights to \"%s\"", o->dir);
}
