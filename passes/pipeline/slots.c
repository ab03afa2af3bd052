/*
 * slots.c: which slots a stage has.
 *
 * A slot with the layers becomes one for each stage, named after its layers,
 * wq[2..4], which knows what it is a part of.  In a checkpoint its tensors are
 * those of its own layers, so files do not depend on the stages.
 */
#include "cut.h"

Str part_path(const Cut *c, Str path, const Layers *l, uint32_t stage)
{
    return module_str(c->m,
                      arena_printf(c->a, "%s[%lld..%lld]", str_of(c->m, path),
                                   (long long)l->start[stage],
                                   (long long)l->start[stage + 1]));
}

/* Names in which the layers are counted from a later one. */
static Str later_name(Cut *c, Str name, const Layers *l, int64_t start)
{
    const char *text = str_of(c->m, name);
    Buf b = {0};
    while (*text) {
        CkptBrace brace;
        const char *end = *text == '{' ? brace_read(c->m, text, &brace) : NULL;
        if (!end) {
            buf_putc(&b, *text++);
            continue;
        }
        for (uint32_t i = 0; i < brace.n; i++)
            if (brace.axes[i].id == l->axis.id)
                brace.plus += brace.times[i] * start;
        brace_print(c->m, &brace, &b);
        text = end;
    }
    Str made = module_str(c->m, b.at ? b.at : "");
    buf_release(&b);
    return made;
}

/* A dimension whose major axis is the layers begins at a later one. */
static CkptDim later_dim(Cut *c, const Slot *whole, CkptDim d, const Layers *l,
                         uint32_t stage)
{
    if (d.naxes == 0 || d.axes[0].id != l->axis.id) return d;
    int64_t each = 1;
    for (uint32_t i = 1; i < d.naxes; i++)
        each *= type_size(c->m, whole->type, d.axes[i]);
    d.offset += l->start[stage] * each;
    return d;
}

static void add_part(Cut *c, const Slot *whole, const Layers *l, uint32_t stage)
{
    Slot s = *whole;
    s.path = part_path(c, whole->path, l, stage);
    s.type = part_type(c, whole->type, l, stage);
    s.whole = whole->path;
    s.along = l->axis;
    s.start = l->start[stage];
    s.total = l->size;
    if (s.block.id) s.block = part_path(c, whole->block, l, stage);
    if (s.has_ckpt) {
        s.ckpt.name = later_name(c, whole->ckpt.name, l, s.start);
        if (s.ckpt.scale.id)
            s.ckpt.scale = later_name(c, whole->ckpt.scale, l, s.start);
        CkptDim *dims = NEW_ARRAY(c->m->arena, CkptDim, s.ckpt.ndims + 1);
        for (uint32_t i = 0; i < s.ckpt.ndims; i++)
            dims[i] = later_dim(c, whole, whole->ckpt.dims[i], l, stage);
        s.ckpt.dims = dims;
    }
    slot_add(c->m, s);
}

void slots_cut(Cut *c)
{
    uint32_t n = c->m->slots.n;
    Slot *old = NEW_ARRAY(c->a, Slot, n + 1);
    bool *none = NEW_ARRAY(c->a, bool, n + 1);
    memcpy(old, c->m->slots.at, n * sizeof *old);
    slots_keep(c->m, none);
    for (uint32_t i = 0; i < n; i++) {
        const Seat *at = &c->slots[i];
        if (at->kind != SEAT_parts) slot_add(c->m, old[i]);
        for (uint32_t k = 0; k < c->stages && at->kind == SEAT_parts; k++)
            if (layers_of(at->layers, k)) add_part(c, &old[i], at->layers, k);
    }
}
