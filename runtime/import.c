/*
 * import.c: reads model.safetensors, or its index and shards, of one folder or
 * of several that complete each other.
 *
 * What is missing or does not fit is all named before anything is loaded.
 */
#include "weights.h"

#include "checkpoint/source.h"
#include "config_json.h"
#include "layout.h"
#include "patterns.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A folder or file of an import. */
typedef struct Origin {
    Source files;
    uint32_t taken; /* tensors */
} Origin;

typedef struct Import {
    const ImportOptions *o;
    Origin *from;
    uint32_t nfrom;  /* open */
    uint32_t plain;  /* tensors whose scale is not there */
    uint32_t absent; /* tensors that are not there */
} Import;

/* A file may leave out the first component of every name, as some writers of
 * base models do ("transformer."), or have two more, as PEFT's of adapters. */
static SourceTensor *find_in(const Origin *from, const char *name)
{
    char wrapped[512];
    SourceTensor *t = source_find(&from->files, name);
    const char *dot = strchr(name, '.');
    if (!t && dot) t = source_find(&from->files, dot + 1);
    int n = snprintf(wrapped, sizeof wrapped, "base_model.model.%s", name);
    return t || n >= (int)sizeof wrapped ? t
                                         : source_find(&from->files, wrapped);
}

/* The last that has it, below UNTIL; UNTIL is then its number, or 0. */
static SourceTensor *find_tensor(const Import *in, const char *name,
                                 uint32_t *until)
{
    SourceTensor *t = NULL;
    while (*until > 0 && !t)
        t = find_in(&in->from[--*until], name);
    return t;
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
static bool check_scale(Import *in, const Origin *from, const CkptTensor *t,
                        uint32_t dtype)
{
    Wanted w = {t->scale, t->scale_shape, t->scale_rank};
    SourceTensor *at = find_in(from, t->scale);
    if (!at) {
        in->plain += is_wide(dtype);
        return is_wide(dtype) || missing(w);
    }
    at->used = true;
    return check_dtype(t->scale, at->tensor->dtype, false) &&
           check_shape(at->tensor, w);
}

/* Those before it that have it too are used, as they are not taken knowingly.
 * Returns how many. */
static uint32_t use_earlier(const Import *in, const CkptTensor *t, uint32_t i)
{
    uint32_t n = 0;
    for (SourceTensor *at; (at = find_tensor(in, t->name, &i)); n++) {
        SourceTensor *scale = t->scale ? find_in(&in->from[i], t->scale) : NULL;
        at->used = true;
        if (scale) scale->used = true;
    }
    return n;
}

static bool check_tensor(Import *in, const CkptTensor *t)
{
    Wanted w = {t->name, t->shape, t->rank};
    uint32_t i = in->nfrom;
    if (patterns_fit(in->o->exclude, t->name)) return true;
    SourceTensor *at = find_tensor(in, t->name, &i);
    in->absent += !at;
    if (!at) return missing(w);
    at->used = true;
    in->from[i].taken++;
    use_earlier(in, t, i);
    return check_dtype(t->name, at->tensor->dtype, t->scale != NULL) &&
           check_shape(at->tensor, w) &&
           (!t->scale || check_scale(in, &in->from[i], t, at->tensor->dtype));
}

enum { MOST_NAMES = 8 };

/* One more of N that a note lists. */
static void put_name(uint32_t n, const char *name)
{
    if (n < MOST_NAMES) fprintf(stderr, "%s %s", n ? "," : ":", name);
    if (n == MOST_NAMES) fprintf(stderr, ", ...");
}

static uint32_t unused_in(const Source *src)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < src->n; i++)
        n += !src->tensors[i].used;
    return n;
}

static void note_unused(const Import *in, uint32_t from)
{
    const Source *src = &in->from[from].files;
    uint32_t n = unused_in(src), shown = 0;
    if (n == 0) return;
    fprintf(stderr, "note: %" PRIu32 " unused tensor%s", n, n > 1 ? "s" : "");
    if (in->nfrom > 1) fprintf(stderr, " in \"%s\"", in->o->from[from]);
    for (uint32_t i = 0; i < src->n; i++)
        if (!src->tensors[i].used)
            put_name(shown++, src->tensors[i].tensor->name);
    fputs("\n", stderr);
}

/* Of what several have. */
static void note_again(const Import *in, const CkptLayout *l)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < l->n; k++) {
        uint32_t i = in->nfrom, last;
        const CkptTensor *t = &l->tensors[k];
        if (patterns_fit(in->o->exclude, t->name)) continue;
        find_tensor(in, t->name, &i);
        last = i;
        if (!use_earlier(in, t, i)) continue;
        if (n == 0) fputs("note: taken from the last that has them", stderr);
        char name[512];
        snprintf(name, sizeof name, "%s (%s)", t->name, in->o->from[last]);
        put_name(n++, name);
    }
    if (n) fputs("\n", stderr);
}

/* What is of where. */
static void note_origins(const Import *in, const CkptLayout *l)
{
    fprintf(stderr, "note: of %" PRIu32 " tensors", l->n);
    for (uint32_t i = 0; i < in->nfrom; i++)
        fprintf(stderr, "%s %" PRIu32 " %s from \"%s\"", i ? "," : "",
                in->from[i].taken, in->from[i].taken == 1 ? "is" : "are",
                in->o->from[i]);
    fputs("\n", stderr);
}

static void tell(const Import *in, const CkptLayout *l)
{
    if (in->plain && !in->o->quiet)
        fprintf(stderr,
                "note: %" PRIu32 " of %" PRIu32
                " tensors stand without their scales, as they are\n",
                in->plain, l->n);
    if (in->nfrom > 1 && !in->o->quiet) note_origins(in, l);
    if (in->nfrom > 1) note_again(in, l);
    for (uint32_t i = 0; i < in->nfrom; i++)
        note_unused(in, i);
}

/* Who names several wants something of each. */
static TitanStatus check_origins(TitanStory *s, const Import *in)
{
    for (uint32_t i = 0; i < in->nfrom && in->nfrom > 1; i++) {
        const Source *src = &in->from[i].files;
        if (unused_in(src) < src->n) continue;
        return titan_fail(s, TITAN_BAD_DATA,
                          "\"%s\" has no tensor of the model%s%s",
                          in->o->from[i], src->n ? ", as there is " : "",
                          src->n ? src->tensors[0].tensor->name : "");
    }
    return TITAN_OK;
}

static TitanStatus fill(TitanStory *s, const TitanImage *im, const Import *in,
                        const CkptTensor *t, TitanDevice *device)
{
    CkptData d = {0};
    uint32_t i = in->nfrom;
    if (patterns_fit(in->o->exclude, t->name)) return TITAN_OK;
    const SourceTensor *at = find_tensor(in, t->name, &i);
    const SourceTensor *scale =
        t->scale ? find_in(&in->from[i], t->scale) : NULL;
    d.values = at->data;
    d.dtype = at->tensor->dtype;
    if (scale) {
        d.scale = scale->data;
        d.scale_dtype = scale->tensor->dtype;
    }
    for (uint32_t p = 0; p < t->nparts; p++)
        TRY(part_import(s, im, t, &t->parts[p], &d, device));
    return TITAN_OK;
}

static TitanStatus import_all(TitanStory *s, const TitanImage *im, Import *in,
                              const CkptLayout *l, TitanDevice *device)
{
    uint32_t bad = 0;
    TRY(patterns_check(s, "--init-exclude", in->o->exclude, l));
    for (uint32_t i = 0; i < l->n; i++)
        bad += !check_tensor(in, &l->tensors[i]);
    TRY(check_origins(s, in));
    if (bad)
        return titan_fail(s, TITAN_BAD_DATA,
                          "%" PRIu32 " of %" PRIu32
                          " tensors are missing or do not fit%s",
                          bad, l->n,
                          in->absent ? "; what shall keep its initial values "
                                       "is named by --init-exclude"
                                     : "");
    for (uint32_t i = 0; i < l->n; i++)
        TRY(fill(s, im, in, &l->tensors[i], device));
    tell(in, l);
    return TITAN_OK;
}

static TitanStatus open_all(TitanStory *s, Import *in)
{
    in->from = calloc(in->o->n, sizeof *in->from);
    if (!in->from) return titan_no_memory(s);
    for (uint32_t i = 0; i < in->o->n; i++, in->nfrom++) {
        const char *path = in->o->from[i];
        Source *files = &in->from[i].files;
        TRY(file_is_plain(path) ? source_open_file(s, path, files)
                                : source_open(s, path, files));
    }
    return TITAN_OK;
}

void weights_import_words(const ImportOptions *o, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < o->n && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i ? ", " : "",
                              o->from[i]);
}

TitanStatus weights_import(TitanStory *s, const TitanImage *im,
                           TitanDevice *device, const ImportOptions *o)
{
    char words[FILES_PATH];
    Import in = {.o = o};
    CkptLayout layout = {0};
    TitanStatus st = open_all(s, &in);
    if (st == TITAN_OK) st = layout_new(s, im, &layout);
    if (st == TITAN_OK) st = import_all(s, im, &in, &layout, device);
    layout_free(&layout);
    for (uint32_t i = 0; i < in.nfrom; i++)
        source_close(&in.from[i].files);
    free(in.from);
    for (uint32_t i = 0; i < o->n && st == TITAN_OK; i++)
        config_json_compare(im, o->from[i]);
    weights_import_words(o, words, sizeof words);
    return titan_while(s, st, "loading weights from \"%s\"", words);
}

TitanStatus weights_import_options(TitanStory *s, const ImportOptions *o)
{
    if (o->n > 0 || !o->exclude) return TITAN_OK;
    return titan_fail(s, TITAN_USAGE,
                      "--init-exclude is for --init-from, which is not given");
}
