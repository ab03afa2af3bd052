/*
 * attr.c: attribute lists, built by hand and interned.
 *
 * An interned list is sorted by key and owns copies of its lists, so equal
 * content has an equal handle and a pass may build lists on the stack.
 */
#include "ir.h"

#include <string.h>

static AttrItem *attr_place(AttrList *l, AttrKey k)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->items[i].key == k) return &l->items[i];
    l->items[l->n] = (AttrItem){.key = k};
    return &l->items[l->n++];
}

void attr_drop(AttrList *l, AttrKey k)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++)
        if (l->items[i].key != k) l->items[n++] = l->items[i];
    l->n = n;
}

/* A flag is its presence: putting 0 takes it away. */
void attr_put_int(AttrList *l, AttrKey k, int64_t i)
{
    if (attr_kind(k) == AK_flag && !i)
        attr_drop(l, k);
    else
        *attr_place(l, k) = (AttrItem){.key = k, .i = i};
}

void attr_put_id(AttrList *l, AttrKey k, uint32_t id)
{
    *attr_place(l, k) = (AttrItem){.key = k, .id = id};
}

void attr_put_axes(AttrList *l, AttrKey k, const Axis *axes, uint32_t n)
{
    *attr_place(l, k) = (AttrItem){.key = k, .n = n, .axes = axes};
}

void attr_put_mesh(AttrList *l, AttrKey k, const MeshAxis *mesh, uint32_t n)
{
    *attr_place(l, k) = (AttrItem){.key = k, .n = n, .mesh = mesh};
}

void attr_put_ints(AttrList *l, AttrKey k, const int64_t *ints, uint32_t n)
{
    *attr_place(l, k) = (AttrItem){.key = k, .n = n, .ints = ints};
}

/* Bytes of the list that an item points to; 0 for a single value. */
static size_t list_bytes(const AttrItem *it)
{
    switch (attr_kind(it->key)) {
    case AK_axes:
        return it->n * sizeof *it->axes;
    case AK_mesh:
        return it->n * sizeof *it->mesh;
    case AK_ints:
        return it->n * sizeof *it->ints;
    default:
        return 0;
    }
}

static bool is_list(const AttrItem *it)
{
    AttrKind k = attr_kind(it->key);
    return k == AK_axes || k == AK_mesh || k == AK_ints;
}

/* The value of a single item; the ids are the low half of the union. */
static int64_t item_value(const AttrItem *it)
{
    switch (attr_kind(it->key)) {
    case AK_int:
    case AK_flag:
    case AK_dtype:
        return it->i;
    default:
        return it->id;
    }
}

static void sort_items(AttrList *l)
{
    for (uint32_t i = 1; i < l->n; i++) {
        AttrItem it = l->items[i];
        uint32_t j = i;
        for (; j > 0 && l->items[j - 1].key > it.key; j--)
            l->items[j] = l->items[j - 1];
        l->items[j] = it;
    }
}

static uint64_t list_hash(const AttrList *l)
{
    uint64_t h = l->n;
    for (uint32_t i = 0; i < l->n; i++) {
        const AttrItem *it = &l->items[i];
        uint64_t head[2] = {it->key, it->n};
        if (!is_list(it)) head[1] = (uint64_t)item_value(it);
        h = hash_words(head, sizeof head, h);
        if (is_list(it)) h = hash_words(it->axes, list_bytes(it), h);
    }
    return h;
}

static bool item_same(const AttrItem *a, const AttrItem *b)
{
    if (a->key != b->key || a->n != b->n) return false;
    if (!is_list(a)) return item_value(a) == item_value(b);
    return a->n == 0 || memcmp(a->axes, b->axes, list_bytes(a)) == 0;
}

static bool list_same(const AttrList *l, const AttrInfo *in)
{
    if (l->n != in->n) return false;
    for (uint32_t i = 0; i < l->n; i++)
        if (!item_same(&l->items[i], &in->items[i])) return false;
    return true;
}

static AttrInfo list_copy(Module *m, const AttrList *l)
{
    AttrItem *items = NEW_ARRAY(m->arena, AttrItem, l->n);
    for (uint32_t i = 0; i < l->n; i++) {
        items[i] = l->items[i];
        if (!is_list(&items[i]) || !items[i].n) continue;
        size_t bytes = list_bytes(&items[i]);
        void *copy = arena_alloc(m->arena, bytes);
        memcpy(copy, items[i].axes, bytes);
        items[i].axes = copy;
    }
    return (AttrInfo){l->n, items};
}

Attr attr_intern(Module *m, AttrList *l)
{
    if (l->n == 0) return (Attr){0};
    sort_items(l);
    uint64_t h = list_hash(l);
    MapIter it;
    uint32_t id;
    for (bool ok = map_first(&m->attr_map, h, &it, &id); ok;
         ok = map_next(&m->attr_map, &it, &id))
        if (list_same(l, &m->attrs.at[id])) return (Attr){id};
    AttrInfo made = list_copy(m, l);
    vec_push(m->arena, &m->attrs, made);
    map_add(&m->attr_map, h, m->attrs.n - 1);
    return (Attr){m->attrs.n - 1};
}

AttrList attr_list(const Module *m, Attr a)
{
    AttrList l;
    const AttrInfo *in = &m->attrs.at[a.id];
    l.n = in->n;
    if (in->n) memcpy(l.items, in->items, in->n * sizeof *in->items);
    return l;
}

Attr attr_with_id(Module *m, Attr a, AttrKey k, uint32_t id)
{
    AttrList l = attr_list(m, a);
    attr_put_id(&l, k, id);
    return attr_intern(m, &l);
}

const AttrItem *attr_get(const Module *m, Attr a, AttrKey k)
{
    const AttrInfo *in = &m->attrs.at[a.id];
    for (uint32_t i = 0; i < in->n; i++)
        if (in->items[i].key == k) return &in->items[i];
    return NULL;
}

int64_t attr_int(const Module *m, Attr a, AttrKey k, int64_t otherwise)
{
    const AttrItem *it = attr_get(m, a, k);
    return it ? it->i : otherwise;
}

bool attr_flag(const Module *m, Attr a, AttrKey k)
{
    return attr_get(m, a, k) != NULL;
}

/* The handles below are of attributes that the op requires: the verifier has
 * seen that they are there. */
static uint32_t attr_id(const Module *m, Attr a, AttrKey k)
{
    const AttrItem *it = attr_get(m, a, k);
    if (!it) BUG("attribute '%s' is missing", attr_name(k));
    return it->id;
}

Axis attr_axis(const Module *m, Attr a, AttrKey k)
{
    return (Axis){attr_id(m, a, k)};
}

Str attr_str(const Module *m, Attr a, AttrKey k)
{
    const AttrItem *it = attr_get(m, a, k);
    return (Str){it ? it->id : 0};
}

bool attr_is(const Module *m, Attr a, AttrKey k, const char *word)
{
    return strcmp(str_of(m, attr_str(m, a, k)), word) == 0;
}

bool attr_item_has(const AttrItem *list, Axis axis)
{
    return list && axes_have(list->axes, list->n, axis);
}

bool attr_mesh_same(const AttrItem *x, const AttrItem *y)
{
    bool same = x->n == y->n;
    for (uint32_t i = 0; i < x->n && same; i++)
        same = mesh_axes_have(y->mesh, y->n, x->mesh[i]);
    return same;
}

static bool item_names(const AttrItem *item, Axis axis)
{
    AttrKind kind = attr_kind(item->key);
    if (kind == AK_axis) return item->id == axis.id;
    return kind == AK_axes && attr_item_has(item, axis);
}

bool attr_names_axis(const Module *m, Attr a, Axis axis)
{
    const AttrInfo *info = &m->attrs.at[a.id];
    for (uint32_t i = 0; i < info->n; i++)
        if (item_names(&info->items[i], axis)) return true;
    return false;
}

DType attr_dtype(const Module *m, Attr a, AttrKey k, DType otherwise)
{
    return (DType)attr_int(m, a, k, otherwise);
}

Expr attr_expr(const Module *m, Attr a)
{
    return (Expr){attr_id(m, a, AT_body)};
}

FnRef attr_fn(const Module *m, Attr a, AttrKey k)
{
    return (FnRef){attr_id(m, a, k)};
}
