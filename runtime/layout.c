/*
 * layout.c: slots to checkpoint tensors and back.
 *
 * For each dimension of a tensor a table says where in the slot each of its
 * indices lies; the address of an element is the sum over the dimensions, so
 * that any product of axes in any order is one copy loop.  What a part reaches
 * of its slot is one window of the device: a tensor of one layer at a time.
 */
#include "layout.h"

#include "narrow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 1024, MAX_BRACES = 8, MAX_TERMS = 4, MAX_TENSORS = 1000000 };

/* An axis of a brace, times a number. */
typedef struct Term {
    int64_t stride, size, times;
} Term;

/* {axis}, {axis+3}, {one*6+other+1} of a name. */
typedef struct Brace {
    const char *from, *to; /* text before and after, in the template */
    Term terms[MAX_TERMS];
    uint32_t n;
    int64_t add, turns; /* turns: of all its axes */
} Brace;

static int64_t axis_stride(const TitanImage *im, const TitanSlot *slot,
                           uint32_t name, int64_t *size)
{
    int64_t stride = 1;
    for (uint32_t i = slot->axes.n; i-- > 0;) {
        const TitanAxis *a = &im->axes[slot->axes.first + i];
        if (strcmp(titan_string(im, a->name), titan_string(im, name)) == 0) {
            *size = a->size;
            return titan_slot_place(slot, stride);
        }
        stride *= a->size;
    }
    return -1;
}

static bool term_axis(const TitanImage *im, const TitanSlot *slot,
                      const char *name, size_t n, Term *t)
{
    int64_t stride = 1;
    for (uint32_t i = slot->axes.n; i-- > 0;) {
        const TitanAxis *a = &im->axes[slot->axes.first + i];
        const char *axis = titan_string(im, a->name);
        if (strlen(axis) == n && memcmp(axis, name, n) == 0) {
            t->stride = titan_slot_place(slot, stride);
            t->size = a->size;
            return true;
        }
        stride *= a->size;
    }
    return false;
}

static bool is_number(const char *p)
{
    return *p == '-' || (*p == '+' && p[1] >= '0' && p[1] <= '9');
}

/* axis ['*' number] at *p, which is left behind it. */
static bool read_term(const TitanImage *im, const TitanSlot *slot,
                      const char **p, Brace *b)
{
    size_t n = strcspn(*p, "*+-}");
    if (b->n == MAX_TERMS) return false;
    Term *t = &b->terms[b->n++];
    if (!term_axis(im, slot, *p, n, t)) return false;
    *p += n;
    t->times = 1;
    char *end;
    if (**p != '*') return true;
    t->times = strtoll(*p + 1, &end, 10);
    *p = end;
    return true;
}

static bool read_brace(const TitanImage *im, const TitanSlot *slot,
                       const char *at, Brace *b)
{
    *b = (Brace){.from = at, .turns = 1};
    bool more = true;
    while (more) {
        at++;
        if (!read_term(im, slot, &at, b)) return false;
        more = *at == '+' && !is_number(at);
    }
    if (is_number(at)) {
        char *end;
        b->add = strtoll(at, &end, 10);
        at = end;
    }
    for (uint32_t i = 0; i < b->n; i++) {
        int64_t times = b->terms[i].times;
        if (times < 1 || times > INT32_MAX ||
            __builtin_mul_overflow(b->turns, b->terms[i].size, &b->turns))
            return false;
    }
    if (b->add < INT32_MIN || b->add > INT32_MAX) return false;
    b->to = at + 1;
    return *at == '}';
}

static TitanStatus find_braces(TitanStory *s, const TitanImage *im,
                               const TitanSlot *slot, const char *at,
                               Brace *braces, uint32_t *n)
{
    const char *text = at;
    for (*n = 0; (at = strchr(at, '{')) != NULL; (*n)++) {
        if (*n == MAX_BRACES || !read_brace(im, slot, at, &braces[*n])) break;
        at = braces[*n].to;
    }
    if (at == NULL) return TITAN_OK;
    return titan_fail(s, TITAN_BAD_DATA,
                      "image: checkpoint name \"%s\" of \"%s\" is damaged",
                      text, titan_string(im, slot->path));
}

/* The number that a brace says in a turn of its axes, the last innermost;
 * `base` gains the element offset. */
static int64_t number_in(const Brace *b, int64_t turn, int64_t *base)
{
    int64_t number = b->add;
    for (uint32_t i = b->n; i-- > 0; turn /= b->terms[i].size) {
        int64_t index = turn % b->terms[i].size;
        number += index * b->terms[i].times;
        *base += index * b->terms[i].stride;
    }
    return number;
}

/* The name for turn `turn` of all braces; returns the element offset. */
static int64_t expand_name(const char *text, const Brace *braces, uint32_t n,
                           int64_t turn, char *out)
{
    int64_t number[MAX_BRACES], base = 0;
    for (uint32_t i = n; i-- > 0; turn /= braces[i].turns)
        number[i] = number_in(&braces[i], turn % braces[i].turns, &base);
    size_t used = 0;
    for (uint32_t i = 0; i < n && used < MAX_NAME; i++) {
        used += (size_t)snprintf(out + used, MAX_NAME - used, "%.*s%" PRId64,
                                 (int)(braces[i].from - text), text, number[i]);
        text = braces[i].to;
    }
    if (used < MAX_NAME) snprintf(out + used, MAX_NAME - used, "%s", text);
    return base;
}

static CkptTensor *tensor_named(CkptLayout *l, const char *name)
{
    /* Parts of one tensor come from slots declared together. */
    for (uint32_t i = l->n; i-- > 0;)
        if (strcmp(l->tensors[i].name, name) == 0) return &l->tensors[i];
    return NULL;
}

/* One dimension for each that has blocks; the last block may be ragged. */
static bool add_scale(CkptTensor *t, const TitanImage *im,
                      const TitanSlot *slot, const char *name)
{
    t->scale = strdup(name);
    for (uint32_t d = 0; d < t->rank; d++) {
        int64_t block = im->dims[slot->dims.first + d].block;
        if (block == 0) continue;
        t->scale_shape[t->scale_rank++] =
            t->shape[d] / block + (t->shape[d] % block != 0);
    }
    return t->scale != NULL;
}

static CkptTensor *add_tensor(CkptLayout *l, const TitanImage *im,
                              const TitanSlot *slot, const char *name,
                              const char *scale)
{
    CkptTensor *more =
        realloc(l->tensors, ((size_t)l->n + 1) * sizeof *l->tensors);
    if (!more) return NULL;
    l->tensors = more;
    CkptTensor *t = &l->tensors[l->n];
    *t = (CkptTensor){.name = strdup(name), .rank = slot->dims.n};
    for (uint32_t d = 0; d < t->rank; d++)
        t->shape[d] = im->dims[slot->dims.first + d].total;
    l->n++;
    bool ok = t->name && (!*scale || add_scale(t, im, slot, scale));
    return ok ? t : NULL;
}

static bool is_fused(const TitanImage *im, const TitanSlot *slot)
{
    for (uint32_t d = 0; d < slot->dims.n; d++) {
        const TitanDim *dim = &im->dims[slot->dims.first + d];
        if (titan_elements(im, dim->axes) != dim->total) return true;
    }
    return false;
}

static bool same_dims(const TitanImage *im, const TitanSlot *a,
                      const TitanSlot *b)
{
    for (uint32_t i = 0; i < a->dims.n && i < b->dims.n; i++) {
        const TitanDim *x = &im->dims[a->dims.first + i];
        const TitanDim *y = &im->dims[b->dims.first + i];
        if (x->total != y->total || x->block != y->block) return false;
    }
    return a->dims.n == b->dims.n &&
           !*titan_string(im, a->scale) == !*titan_string(im, b->scale);
}

static TitanStatus add_part(TitanStory *s, const TitanImage *im, CkptLayout *l,
                            const char *name, const char *scale, CkptPart part)
{
    const TitanSlot *slot = &im->slots[part.slot];
    CkptTensor *t = is_fused(im, slot) ? tensor_named(l, name) : NULL;
    if (!t) t = add_tensor(l, im, slot, name, scale);
    CkptPart *more =
        t ? realloc(t->parts, (t->nparts + 1) * sizeof *t->parts) : NULL;
    if (!more) return titan_no_memory(s);
    t->parts = more;
    t->parts[t->nparts++] = part;
    if (same_dims(im, slot, &im->slots[t->parts[0].slot])) return TITAN_OK;
    return titan_fail(s, TITAN_BAD_DATA,
                      "image: parts of tensor \"%s\" differ in its dimensions",
                      name);
}

static TitanStatus add_slot(TitanStory *s, const TitanImage *im, uint32_t id,
                            CkptLayout *l)
{
    const TitanSlot *slot = &im->slots[id];
    Brace braces[MAX_BRACES], scale_braces[MAX_BRACES];
    uint32_t n, nscale = 0;
    char name[MAX_NAME], scale[MAX_NAME] = "";
    const char *text = titan_string(im, slot->ckpt);
    const char *scale_text = titan_string(im, slot->scale);
    if (slot->dims.n > ST_MAX_RANK)
        return titan_fail(s, TITAN_BAD_DATA,
                          "image: a slot has %" PRIu32 " dimensions",
                          slot->dims.n);
    TRY(find_braces(s, im, slot, text, braces, &n));
    if (*scale_text)
        TRY(find_braces(s, im, slot, scale_text, scale_braces, &nscale));
    for (uint32_t i = 0; i < nscale; i++)
        if (nscale != n || scale_braces[i].turns != braces[i].turns)
            return titan_fail(s, TITAN_BAD_DATA,
                              "image: the scale of \"%s\" has other braces",
                              text);
    int64_t turns = 1;
    for (uint32_t i = 0; i < n; i++)
        if (__builtin_mul_overflow(turns, braces[i].turns, &turns) ||
            turns > MAX_TENSORS)
            return titan_fail(s, TITAN_BAD_DATA,
                              "image: \"%s\" names more than %d tensors", text,
                              MAX_TENSORS);
    for (int64_t i = 0; i < turns; i++) {
        CkptPart part = {id, expand_name(text, braces, n, i, name)};
        if (*scale_text)
            expand_name(scale_text, scale_braces, nscale, i, scale);
        TRY(add_part(s, im, l, name, scale, part));
    }
    return TITAN_OK;
}

TitanStatus layout_new(TitanStory *s, const TitanImage *im, CkptLayout *out)
{
    *out = (CkptLayout){0};
    for (uint32_t i = 0; i < im->nslots; i++)
        if (im->slots[i].flags & TITAN_SLOT_ckpt) TRY(add_slot(s, im, i, out));
    return TITAN_OK;
}

void layout_free(CkptLayout *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        free(l->tensors[i].name);
        free(l->tensors[i].scale);
        free(l->tensors[i].parts);
    }
    free(l->tensors);
    *l = (CkptLayout){0};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

TitanStatus layout_names_apart(TitanStory *s, const void *tensors, size_t size,
                               uint32_t n)
{
    char twice[MAX_NAME] = "";
    const char **names = calloc((size_t)n + 1, sizeof *names);
    if (!names) return titan_no_memory(s);
    for (uint32_t i = 0; i < n; i++)
        memcpy(&names[i], (const char *)tensors + i * size, sizeof names[i]);
    if (n) qsort(names, n, sizeof *names, by_name);
    for (uint32_t i = 1; i < n && !*twice; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            snprintf(twice, sizeof twice, "%s", names[i]);
    free(names);
    if (!*twice) return TITAN_OK;
    return titan_fail(s, TITAN_MISMATCH,
                      "two tensors of the program's state are called \"%s\"",
                      twice);
}

/* Where each index of a part's dimensions lies. */
typedef struct Tables {
    uint32_t rank;
    int64_t *slot[ST_MAX_RANK];  /* element offset in the slot */
    int64_t n[ST_MAX_RANK];      /* indices of this part */
    int64_t first[ST_MAX_RANK];  /* its first index in the tensor */
    int64_t stride[ST_MAX_RANK]; /* of the tensor */
    int64_t block[ST_MAX_RANK];  /* 0: the scale has no such dimension */
    int64_t scale_stride[ST_MAX_RANK];
    bool dense; /* a row lies in the slot as in the tensor */
    float *row;
} Tables;

static void free_tables(Tables *t)
{
    for (uint32_t d = 0; d < t->rank; d++)
        free(t->slot[d]);
    free(t->row);
}

static bool fill_dim(const TitanImage *im, const TitanSlot *slot,
                     const TitanDim *dim, int64_t *at, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = i, offset = 0;
        for (uint32_t k = dim->axes.n; k-- > 0;) {
            int64_t size = 1;
            const TitanAxis *a = &im->axes[dim->axes.first + k];
            int64_t stride = axis_stride(im, slot, a->name, &size);
            if (stride < 0 || size != a->size) return false;
            offset += rest % size * stride;
            rest /= size;
        }
        at[i] = offset;
    }
    return true;
}

static TitanStatus make_tables(TitanStory *s, const TitanImage *im,
                               const CkptTensor *t, const CkptPart *p,
                               Tables *out)
{
    const TitanSlot *slot = &im->slots[p->slot];
    *out = (Tables){.rank = t->rank};
    int64_t stride = 1, scale_stride = 1;
    uint32_t scale_dim = t->scale_rank;
    for (uint32_t d = t->rank; d-- > 0; stride *= t->shape[d]) {
        const TitanDim *dim = &im->dims[slot->dims.first + d];
        int64_t n = titan_elements(im, dim->axes);
        out->block[d] = t->scale ? dim->block : 0;
        out->scale_stride[d] = scale_stride;
        if (out->block[d] && scale_dim > 0)
            scale_stride *= t->scale_shape[--scale_dim];
        out->n[d] = n;
        out->first[d] = dim->offset;
        out->stride[d] = stride;
        out->slot[d] = calloc((size_t)n + 1, sizeof(int64_t));
        if (!out->slot[d]) return titan_no_memory(s);
        if (!fill_dim(im, slot, dim, out->slot[d], n))
            return titan_fail(s, TITAN_BAD_DATA,
                              "image: layout of \"%s\" names another axis",
                              titan_string(im, slot->path));
    }
    int64_t last = t->rank ? out->n[t->rank - 1] : 1;
    out->dense = t->rank > 0;
    for (int64_t i = 0; i < last && out->dense; i++)
        out->dense = out->slot[t->rank - 1][i] == i;
    out->row = calloc((size_t)last + 1, sizeof(float));
    if (!out->row) return titan_no_memory(s);
    return TITAN_OK;
}

/* One row along the last dimension: `tensor` and `slot` are element offsets. */
typedef struct RowCopy {
    const Tables *t;
    char *tensor, *slot; /* the slot from the part's first element on */
    const char *scale;   /* or NULL */
    uint32_t tensor_dtype, slot_dtype, scale_dtype;
    bool import;
} RowCopy;

/* The row's values times theirs; `scale` is that of the row's dimensions but
 * the last. */
static void scale_row(const RowCopy *c, int64_t scale, int64_t n)
{
    const Tables *t = c->t;
    unsigned size = titan_dtype_bytes(c->scale_dtype);
    int64_t block = t->rank ? t->block[t->rank - 1] : 0;
    int64_t first = t->rank ? t->first[t->rank - 1] : 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = scale + (block ? (first + i) / block : 0);
        t->row[i] *=
            (float)narrow_load_one(c->scale_dtype, c->scale + at * size);
    }
}

static void copy_row(const RowCopy *c, int64_t tensor, int64_t slot,
                     int64_t scale)
{
    const Tables *t = c->t;
    uint32_t last = t->rank - 1;
    int64_t n = t->rank ? t->n[last] : 1;
    char *row = c->tensor + tensor * titan_dtype_bytes(c->tensor_dtype);
    unsigned size = titan_dtype_bytes(c->slot_dtype);
    if (c->import) narrow_load(c->tensor_dtype, row, t->row, n);
    if (c->scale) scale_row(c, scale, n);
    if (t->dense && c->import)
        narrow_store(c->slot_dtype, t->row, c->slot + slot * size, n);
    else if (t->dense)
        narrow_load(c->slot_dtype, c->slot + slot * size, t->row, n);
    for (int64_t i = 0; i < n && !t->dense; i++) {
        char *at = c->slot + (slot + (t->rank ? t->slot[last][i] : 0)) * size;
        if (c->import)
            narrow_store_one(c->slot_dtype, t->row[i], at);
        else
            t->row[i] = (float)narrow_load_one(c->slot_dtype, at);
    }
    if (!c->import) narrow_store(c->tensor_dtype, t->row, row, n);
}

/* The last two dimensions where one runs against the slot's order: in squares,
 * so that a line of the cache is used up before it goes.  SIZE is a constant
 * where this is called, and one element then a move. */
static inline void copy_squares(const RowCopy *c, char *tensor, char *slot,
                                size_t size)
{
    enum { SIDE = 32 };
    const Tables *t = c->t;
    uint32_t x = t->rank - 1, y = x - 1;
    const int64_t *across = t->slot[x];
    for (int64_t j = 0; j < t->n[y]; j += SIDE)
        for (int64_t i = 0; i < t->n[x]; i += SIDE)
            for (int64_t v = j; v < t->n[y] && v < j + SIDE; v++) {
                char *row = tensor + v * t->stride[y] * size;
                char *column = slot + t->slot[y][v] * size;
                int64_t end = t->n[x] < i + SIDE ? t->n[x] : i + SIDE;
                for (int64_t u = i; u < end; u++)
                    if (c->import)
                        memcpy(column + across[u] * size, row + u * size, size);
                    else
                        memcpy(row + u * size, column + across[u] * size, size);
            }
}

static void copy_plane(const RowCopy *c, int64_t tensor, int64_t slot)
{
    size_t size = titan_dtype_bytes(c->slot_dtype);
    char *a = c->tensor + tensor * size, *b = c->slot + slot * size;
    if (size == 4)
        copy_squares(c, a, b, 4);
    else if (size == 2)
        copy_squares(c, a, b, 2);
    else
        copy_squares(c, a, b, size);
}

/* Values that stay as they are, in an order that does not. */
static bool is_turned(const RowCopy *c)
{
    return c->t->rank >= 2 && !c->t->dense && !c->scale &&
           c->tensor_dtype == c->slot_dtype;
}

static void copy_turned(const RowCopy *c)
{
    const Tables *t = c->t;
    uint32_t outer = t->rank - 2;
    int64_t planes = 1;
    for (uint32_t d = 0; d < outer; d++)
        planes *= t->n[d];
    for (int64_t p = 0; p < planes; p++) {
        int64_t slot = 0, rest = p;
        int64_t tensor =
            t->first[outer] * t->stride[outer] + t->first[outer + 1];
        for (uint32_t d = outer; d-- > 0; rest /= t->n[d]) {
            tensor += (t->first[d] + rest % t->n[d]) * t->stride[d];
            slot += t->slot[d][rest % t->n[d]];
        }
        copy_plane(c, tensor, slot);
    }
}

static void copy_rows(const RowCopy *c)
{
    const Tables *t = c->t;
    int64_t index[ST_MAX_RANK] = {0}, rows = 1;
    if (is_turned(c)) {
        copy_turned(c);
        return;
    }
    for (uint32_t d = 0; d + 1 < t->rank; d++)
        rows *= t->n[d];
    for (int64_t r = 0; r < rows; r++) {
        int64_t tensor = 0, slot = 0, scale = 0, rest = r;
        for (uint32_t d = t->rank - (t->rank > 0); d-- > 0; rest /= t->n[d])
            index[d] = rest % t->n[d];
        for (uint32_t d = 0; d + 1 < t->rank; d++) {
            tensor += (t->first[d] + index[d]) * t->stride[d];
            slot += t->slot[d][index[d]];
            if (t->block[d])
                scale +=
                    (t->first[d] + index[d]) / t->block[d] * t->scale_stride[d];
        }
        if (t->rank) tensor += t->first[t->rank - 1];
        copy_row(c, tensor, slot, scale);
    }
}

/* Elements of the slot from the part's first to its last. */
static int64_t reach_of(const Tables *t, int64_t *elements)
{
    int64_t last = 0;
    *elements = 1;
    for (uint32_t d = 0; d < t->rank; d++) {
        int64_t most = 0;
        for (int64_t i = 0; i < t->n[d]; i++)
            if (t->slot[d][i] > most) most = t->slot[d][i];
        last += most;
        *elements *= t->n[d];
    }
    return last + 1;
}

static TitanStatus copy_window(TitanDevice *device, const TitanImage *im,
                               const CkptPart *p, RowCopy *c)
{
    const TitanSlot *slot = &im->slots[p->slot];
    int64_t elements, reach = reach_of(c->t, &elements);
    uint64_t size = titan_dtype_bytes(slot->dtype);
    Window w;
    if (elements == 0) return TITAN_OK;
    /* an axis that is named twice counts twice */
    if (p->base + reach > titan_slot_reach(im, slot))
        return titan_fail(device->story, TITAN_BAD_DATA,
                          "image: layout of \"%s\" leaves it",
                          titan_string(im, slot->path));
    TRY(window_open(
        device, titan_slot_base(slot), slot->offset + (uint64_t)p->base * size,
        (size_t)((uint64_t)reach * size), !c->import || reach != elements, &w));
    c->slot = w.at;
    copy_rows(c);
    return window_close(device, &w, c->import);
}

/* The axes of the tensor's dimensions, one after the other, must be the slot's
 * last ones. */
bool tensor_in_place(const TitanImage *im, const CkptTensor *t,
                     uint64_t *offset)
{
    if (t->nparts != 1) return false;
    const TitanSlot *slot = &im->slots[t->parts[0].slot];
    uint32_t last = slot->axes.n;
    int64_t elements = 1;
    for (uint32_t d = slot->dims.n; d-- > 0;) {
        const TitanDim *dim = &im->dims[slot->dims.first + d];
        if (titan_elements(im, dim->axes) != dim->total) return false;
        for (uint32_t k = dim->axes.n; k-- > 0;) {
            const TitanAxis *a = &im->axes[dim->axes.first + k];
            if (last-- == 0) return false;
            const TitanAxis *b = &im->axes[slot->axes.first + last];
            if (a->size != b->size ||
                strcmp(titan_string(im, a->name), titan_string(im, b->name)))
                return false;
            elements *= a->size;
        }
    }
    *offset = slot->offset +
              (uint64_t)t->parts[0].base * titan_dtype_bytes(slot->dtype);
    return slot->piece == 0 || (uint64_t)elements <= slot->piece;
}

static TitanStatus copy_part(TitanStory *s, const TitanImage *im,
                             const CkptTensor *t, const CkptPart *p,
                             TitanDevice *device, RowCopy *c)
{
    Tables tables;
    const TitanSlot *slot = &im->slots[p->slot];
    TitanStatus st = make_tables(s, im, t, p, &tables);
    c->t = &tables;
    c->slot_dtype = slot->dtype;
    if (st == TITAN_OK) st = copy_window(device, im, p, c);
    free_tables(&tables);
    return st;
}

TitanStatus part_import(TitanStory *s, const TitanImage *im,
                        const CkptTensor *t, const CkptPart *p,
                        const CkptData *data, TitanDevice *device)
{
    RowCopy c = {.tensor = (char *)(uintptr_t)data->values,
                 .scale = data->scale,
                 .tensor_dtype = data->dtype,
                 .scale_dtype = data->scale_dtype,
                 .import = true};
    return copy_part(s, im, t, p, device, &c);
}

TitanStatus part_export(TitanStory *s, const TitanImage *im,
                        const CkptTensor *t, const CkptPart *p, uint32_t dtype,
                        void *tensor, TitanDevice *device)
{
    RowCopy c = {.tensor = tensor, .tensor_dtype = dtype, .import = false};
    return copy_part(s, im, t, p, device, &c);
}
