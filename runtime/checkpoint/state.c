/*
 * state.c: slots to rows of files and back.
 *
 * What lies in memory as in a file is handed over where it lies, which is
 * nearly everything; the rest goes through the layout's tables, or piece by
 * piece.
 */
#include "state.h"

#include "../narrow.h"
#include "axes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ rows -- */

static bool is_saved(const TitanSlot *slot)
{
    return slot->flags & TITAN_SLOT_saved || slot->role == TITAN_ROLE_param;
}

static bool in_layout(const TitanSlot *slot)
{
    return slot->flags & TITAN_SLOT_ckpt;
}

static void add_row(State *st, StTensor row, StateTensor at)
{
    st->rows[st->n] = row;
    st->at[st->n++] = at;
}

static void add_named(State *st)
{
    for (uint32_t i = 0; i < st->layout.n; i++) {
        const CkptTensor *t = &st->layout.tensors[i];
        uint32_t slot = t->parts[0].slot;
        add_row(st,
                (StTensor){.name = t->name,
                           .dtype = st->im->slots[slot].dtype,
                           .rank = t->rank,
                           .shape = t->shape},
                (StateTensor){t, slot, true});
    }
}

static void add_slots(State *st, int64_t **shape, bool model)
{
    const TitanImage *im = st->im;
    for (uint32_t i = 0; i < im->nslots; i++) {
        const TitanSlot *slot = &im->slots[i];
        if (in_layout(slot) || !is_saved(slot) ||
            (slot->role == TITAN_ROLE_param) != model)
            continue;
        StTensor row = {.name = titan_string(im, slot->path),
                        .dtype = slot->dtype,
                        .rank = slot->axes.n,
                        .shape = *shape};
        for (uint32_t a = 0; a < slot->axes.n; a++)
            *(*shape)++ = im->axes[slot->axes.first + a].size;
        add_row(st, row, (StateTensor){NULL, i, model});
    }
}

static TitanStatus fill(TitanStory *s, const TitanImage *im, State *st)
{
    size_t axes = 0;
    st->im = im;
    TRY(layout_new(s, im, &st->layout));
    for (uint32_t i = 0; i < im->nslots; i++)
        axes += im->slots[i].axes.n;
    size_t most = (size_t)st->layout.n + im->nslots + 1;
    st->rows = calloc(most, sizeof *st->rows);
    st->at = calloc(most, sizeof *st->at);
    st->shapes = calloc(axes + 1, sizeof *st->shapes);
    if (!st->rows || !st->at || !st->shapes) return titan_no_memory(s);
    int64_t *shape = st->shapes;
    add_named(st);
    add_slots(st, &shape, true);
    st->nmodel = st->n;
    add_slots(st, &shape, false);
    /* a name is a tensor's own, over all files of a checkpoint */
    return layout_names_apart(s, st->rows, sizeof *st->rows, st->n);
}

TitanStatus state_new(TitanStory *s, const TitanImage *im, State *out)
{
    *out = (State){0};
    TitanStatus st = fill(s, im, out);
    if (st != TITAN_OK) state_free(out);
    return st;
}

void state_free(State *st)
{
    layout_free(&st->layout);
    free(st->rows);
    free(st->at);
    free(st->shapes);
    *st = (State){0};
}

/* ----------------------------------------------------------------- slots -- */

/* A slot in pieces of N elements, the next PITCH further on. */
typedef struct Pieces {
    int64_t count, n, pitch;
} Pieces;

static Pieces pieces_of(const TitanImage *im, const TitanSlot *slot)
{
    int64_t n = titan_elements(im, slot->axes);
    if (n == 0) return (Pieces){0, 0, 0};
    if (slot->piece == 0 || (int64_t)slot->piece >= n) return (Pieces){1, n, n};
    return (Pieces){n / (int64_t)slot->piece, (int64_t)slot->piece,
                    (int64_t)slot->pitch};
}

static TitanStatus read_slot(TitanDevice *d, const TitanImage *im,
                             const TitanSlot *slot, char *room)
{
    Pieces p = pieces_of(im, slot);
    uint64_t size = titan_dtype_bytes(slot->dtype);
    size_t bytes = (size_t)((uint64_t)p.n * size);
    for (int64_t i = 0; i < p.count; i++) {
        Window w;
        TRY(window_open(d, titan_slot_base(slot),
                        slot->offset + (uint64_t)(i * p.pitch) * size, bytes,
                        true, &w));
        memcpy(room + (size_t)i * bytes, w.at, bytes);
        TRY(window_close(d, &w, false));
    }
    return TITAN_OK;
}

static void convert(uint32_t from_dtype, const char *from, uint32_t to_dtype,
                    char *to, int64_t n)
{
    unsigned a = titan_dtype_bytes(from_dtype), b = titan_dtype_bytes(to_dtype);
    for (int64_t i = 0; i < n; i++)
        narrow_store_one(to_dtype, narrow_load_one(from_dtype, from + i * a),
                         to + i * b);
}

static TitanStatus write_slot(TitanDevice *d, const TitanImage *im,
                              const TitanSlot *slot, const StTensor *file,
                              const unsigned char *data)
{
    Pieces p = pieces_of(im, slot);
    uint64_t size = titan_dtype_bytes(slot->dtype);
    uint64_t step = (uint64_t)p.n * titan_dtype_bytes(file->dtype);
    for (int64_t i = 0; i < p.count; i++) {
        const char *from = (const char *)data + (uint64_t)i * step;
        Window w;
        TRY(window_open(d, titan_slot_base(slot),
                        slot->offset + (uint64_t)(i * p.pitch) * size,
                        (size_t)((uint64_t)p.n * size), false, &w));
        if (file->dtype == slot->dtype)
            memcpy(w.at, from, w.bytes);
        else
            convert(file->dtype, from, slot->dtype, w.at, p.n);
        TRY(window_close(d, &w, true));
    }
    return TITAN_OK;
}

/* ---------------------------------------------------------------- saving -- */

/* Memory that the host reaches is read where it lies. */
typedef struct Bytes {
    TitanBase base;
    uint64_t offset;
    size_t n;
} Bytes;

static TitanStatus bytes_at(TitanDevice *d, const Bytes *b, char *room,
                            const char **at)
{
    *at = room;
    if (!d->arena[b->base])
        return device_read(d, b->base, b->offset, room, b->n);
    *at = d->arena[b->base] + b->offset;
    return TITAN_OK;
}

static TitanStatus export_parts(StateSource *src, const CkptTensor *t,
                                const StTensor *row, char *room)
{
    memset(room, 0, shard_tensor_bytes(row));
    for (uint32_t p = 0; p < t->nparts; p++)
        TRY(part_export(src->story, src->state->im, t, &t->parts[p], row->dtype,
                        room, src->device));
    return TITAN_OK;
}

static TitanStatus state_bytes(ShardSource *source, uint32_t i, char *room,
                               const char **at)
{
    StateSource *src = (StateSource *)source;
    const State *st = src->state;
    const StateTensor *t = &st->at[src->first + i];
    const StTensor *own = &st->rows[src->first + i], *row = &src->rows[i];
    const TitanSlot *slot = &st->im->slots[t->slot];
    uint64_t offset = slot->offset;
    bool same = own->dtype == row->dtype;
    bool plain = t->tensor ? tensor_in_place(st->im, t->tensor, &offset)
                           : pieces_of(st->im, slot).count <= 1;
    size_t bytes = (size_t)shard_tensor_bytes(own);
    Bytes there = {titan_slot_base(slot), offset, bytes};
    if (plain && same) return bytes_at(src->device, &there, room, at);
    *at = room;
    if (t->tensor) return export_parts(src, t->tensor, row, room);
    if (same) return read_slot(src->device, st->im, slot, room);
    char *wide = malloc(bytes + 1);
    if (!wide) return titan_no_memory(src->story);
    TitanStatus status = read_slot(src->device, st->im, slot, wide);
    if (status == TITAN_OK)
        convert(own->dtype, wide, row->dtype, room,
                titan_elements(st->im, slot->axes));
    free(wide);
    return status;
}

TitanStatus state_source(TitanStory *s, const State *st, TitanDevice *device,
                         bool model, int dtype, StateSource *out)
{
    uint32_t first = model ? 0 : st->nmodel;
    uint32_t n = model ? st->nmodel : st->n - st->nmodel;
    *out = (StateSource){
        .story = s, .state = st, .device = device, .first = first};
    out->rows = calloc((size_t)n + 1, sizeof *out->rows);
    if (!out->rows) return titan_no_memory(s);
    if (n) memcpy(out->rows, st->rows + first, n * sizeof *out->rows);
    for (uint32_t i = 0; i < n && dtype != STATE_AS_IS; i++)
        if (titan_dtype_is_float(out->rows[i].dtype))
            out->rows[i].dtype = (uint32_t)dtype;
    out->source =
        (ShardSource){.bytes = state_bytes, .tensors = out->rows, .n = n};
    return TITAN_OK;
}

void state_source_free(StateSource *src)
{
    free(src->rows);
    *src = (StateSource){0};
}

/* --------------------------------------------------------------- loading -- */

bool state_excludes(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; at && *at;) {
        size_t len = strcspn(at, ",");
        if (len == n && memcmp(at, name, n) == 0) return true;
        at += len + (at[len] == ',');
    }
    return false;
}

static bool is_wanted(const State *st, uint32_t i, const char *exclude,
                      bool model_only)
{
    bool model = st->at[i].model;
    return (model || !model_only) &&
           !state_excludes(exclude, model ? "model" : "optimizer") &&
           !state_excludes(exclude, st->rows[i].name);
}

/* TURN: of the axes of the file, or NULL. */
static bool same_shape(const StTensor *want, const StTensor *file,
                       const AxesTurn *turn)
{
    if (want->rank != file->rank) return false;
    for (uint32_t i = 0; i < want->rank; i++)
        if (want->shape[i] != file->shape[turn ? turn->from[i] : i])
            return false;
    return true;
}

/* How what stands under a path lies in the file; NULL: as in the program. */
static const AxesTurn *turn_of(const State *st, uint32_t i, const json_t *axes,
                               AxesTurn *room)
{
    const StateTensor *t = &st->at[i];
    const json_t *order = json_object_get(axes, st->rows[i].name);
    bool turned =
        !t->tensor && axes_find(st->im, &st->im->slots[t->slot], order, room);
    return turned ? room : NULL;
}

json_t *state_axes(const State *st)
{
    json_t *out = json_object();
    for (uint32_t i = 0; i < st->n; i++)
        if (!st->at[i].tensor)
            json_object_set_new(
                out, st->rows[i].name,
                axes_text(st->im, &st->im->slots[st->at[i].slot]));
    return out;
}

/* True if the tensor can be loaded; CONVERTED counts those of another dtype. */
static bool check_row(const StTensor *want, const SourceTensor *have,
                      const AxesTurn *turn, uint32_t *converted)
{
    char a[256], b[256];
    shape_text(want->shape, want->rank, a, sizeof a);
    if (!have) {
        fprintf(stderr, "  missing: %s %s\n", want->name, a);
        return false;
    }
    const StTensor *file = have->tensor;
    if (!same_shape(want, file, turn)) {
        shape_text(file->shape, file->rank, b, sizeof b);
        fprintf(stderr, "  %s is %s in the checkpoint, %s in the program\n",
                want->name, b, a);
        return false;
    }
    if (file->dtype == want->dtype) return true;
    if (titan_dtype_is_float(file->dtype) !=
            titan_dtype_is_float(want->dtype) ||
        !titan_dtype_is_float(want->dtype)) {
        fprintf(stderr, "  %s is %s in the checkpoint, %s in the program\n",
                want->name, titan_dtype_name(file->dtype),
                titan_dtype_name(want->dtype));
        return false;
    }
    ++*converted;
    return true;
}

static void note_rest(const Source *files, bool model_only, uint32_t converted)
{
    uint32_t unused = 0;
    const char *first = NULL;
    for (uint32_t i = 0; i < files->n; i++) {
        if (files->tensors[i].used) continue;
        if (!first) first = files->tensors[i].tensor->name;
        unused++;
    }
    if (converted)
        fprintf(stderr,
                "note: %" PRIu32 " tensor%s of the checkpoint %s another dtype "
                "than the program and %s converted\n",
                converted, converted > 1 ? "s" : "",
                converted > 1 ? "have" : "has", converted > 1 ? "are" : "is");
    if (unused && !model_only)
        fprintf(stderr,
                "note: %" PRIu32 " tensor%s of the checkpoint %s not "
                "loaded: %s%s\n",
                unused, unused > 1 ? "s" : "", unused > 1 ? "are" : "is", first,
                unused > 1 ? ", ..." : "");
}

static TitanStatus check_excluded(TitanStory *s, const State *st,
                                  const char *list)
{
    static const char *const groups[] = {"model", "optimizer", "data", "step"};
    for (const char *at = list; at && *at;) {
        size_t len = strcspn(at, ",");
        bool known = false;
        for (unsigned g = 0; g < sizeof groups / sizeof *groups; g++)
            known |=
                strlen(groups[g]) == len && memcmp(groups[g], at, len) == 0;
        for (uint32_t i = 0; i < st->n && !known; i++)
            known = strlen(st->rows[i].name) == len &&
                    memcmp(st->rows[i].name, at, len) == 0;
        if (!known)
            return titan_fail(s, TITAN_USAGE,
                              "--exclude names \"%.*s\"; model, optimizer, "
                              "data, step and names of tensors are known",
                              (int)len, at);
        at += len + (at[len] == ',');
    }
    return TITAN_OK;
}

TitanStatus state_check(TitanStory *s, const State *st, Source *files,
                        const json_t *axes, const char *exclude,
                        bool model_only)
{
    AxesTurn turn;
    uint32_t bad = 0, n = 0, converted = 0;
    TRY(check_excluded(s, st, exclude));
    for (uint32_t i = 0; i < st->n; i++) {
        SourceTensor *t = source_find(files, st->rows[i].name);
        if (t) t->used = true;
        if (!is_wanted(st, i, exclude, model_only)) continue;
        bad += !check_row(&st->rows[i], t, turn_of(st, i, axes, &turn),
                          &converted);
        n++;
    }
    if (bad)
        return titan_fail(s, TITAN_MISMATCH,
                          "the checkpoint is of another program: %" PRIu32
                          " of %" PRIu32 " tensors are missing or do not fit",
                          bad, n);
    note_rest(files, model_only, converted);
    return TITAN_OK;
}

static TitanStatus load_named(TitanStory *s, const State *st,
                              const StateTensor *t, const StTensor *own,
                              const SourceTensor *from, TitanDevice *device)
{
    uint64_t offset;
    CkptData data = {.values = from->data, .dtype = from->tensor->dtype};
    if (from->tensor->dtype == own->dtype &&
        tensor_in_place(st->im, t->tensor, &offset))
        return device_write(device, titan_slot_base(&st->im->slots[t->slot]),
                            offset, from->data,
                            (size_t)shard_tensor_bytes(own));
    for (uint32_t p = 0; p < t->tensor->nparts; p++)
        TRY(part_import(s, st->im, t->tensor, &t->tensor->parts[p], &data,
                        device));
    return TITAN_OK;
}

static TitanStatus load_slot(TitanStory *s, const State *st,
                             const TitanSlot *slot, const AxesTurn *turn,
                             const SourceTensor *from, TitanDevice *device)
{
    const StTensor *file = from->tensor;
    if (!turn) return write_slot(device, st->im, slot, file, from->data);
    char *turned = malloc((size_t)shard_tensor_bytes(file) + 1);
    if (!turned) return titan_no_memory(s);
    axes_turn(turn, file, (const char *)from->data, turned);
    TitanStatus status =
        write_slot(device, st->im, slot, file, (const unsigned char *)turned);
    free(turned);
    return status;
}

TitanStatus state_load(TitanStory *s, const State *st, const Source *files,
                       const json_t *axes, const char *exclude, bool model_only,
                       TitanDevice *device)
{
    AxesTurn turn;
    for (uint32_t i = 0; i < st->n; i++) {
        if (!is_wanted(st, i, exclude, model_only)) continue;
        const StateTensor *t = &st->at[i];
        const StTensor *own = &st->rows[i];
        const SourceTensor *from = source_find(files, own->name);
        if (t->tensor)
            TRY(load_named(s, st, t, own, from, device));
        else
            TRY(load_slot(s, st, &st->im->slots[t->slot],
                          turn_of(st, i, axes, &turn), from, device));
    }
    return TITAN_OK;
}
