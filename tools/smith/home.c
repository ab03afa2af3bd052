/*
 * home.c: where the image of a program has the values of its entry.
 */
#include "home.h"

#include <string.h>

static const TitanRole roles[ROLE_count] = {
    [ROLE_input] = TITAN_ROLE_input,   [ROLE_scalar] = TITAN_ROLE_scalar,
    [ROLE_record] = TITAN_ROLE_record, [ROLE_check] = TITAN_ROLE_check,
    [ROLE_output] = TITAN_ROLE_output, [ROLE_skip] = TITAN_ROLE_skip};

static bool port_home(const Homes *h, const Port *p, const char *path,
                      Home *out)
{
    const TitanPort *port =
        titan_port(h->image, h->entry, roles[p->role], path);
    if (!port) return false;
    *out = (Home){.dtype = port->dtype,
                  .axes = port->axes,
                  .offset = port->offset,
                  .base = TITAN_BASE_io};
    return true;
}

static bool slot_home(const Homes *h, const char *path, Home *out)
{
    for (uint32_t i = 0; i < h->image->nslots; i++) {
        const TitanSlot *s = &h->image->slots[i];
        *out = (Home){.dtype = s->dtype,
                      .axes = s->axes,
                      .offset = s->offset,
                      .base = titan_slot_base(s),
                      .slot = s};
        if (!strcmp(titan_string(h->image, s->path), path)) return true;
    }
    return false;
}

/* How far apart neighbours along an axis of that name and size are; -1: the
 * value has no such axis. */
static int64_t stride_of(const Homes *h, const Home *at, const TypeAxis *a)
{
    int64_t stride = 1;
    for (uint32_t j = at->axes.n; j-- > 0;) {
        const TitanAxis *x = &h->image->axes[at->axes.first + j];
        if (x->size == a->size &&
            !strcmp(titan_string(h->image, x->name), axis_name(h->m, a->axis)))
            return stride;
        stride *= x->size;
    }
    return -1;
}

bool home_of(const Homes *h, const Port *p, Home *out)
{
    const char *path = str_of(h->m, p->path);
    bool found = role_is_slot(p->role) ? slot_home(h, path, out)
                                       : port_home(h, p, path, out);
    const TypeInfo *t = type_info(h->m, p->type);
    if (!found || out->dtype != (uint32_t)t->dtype || out->axes.n != t->naxes ||
        t->naxes > MOST_HOME_AXES)
        return false;
    for (uint32_t i = 0; i < t->naxes; i++) {
        out->stride[i] = stride_of(h, out, &t->axes[i]);
        if (out->stride[i] < 0) return false;
    }
    return true;
}

int64_t home_place(const Home *at, const TypeInfo *t, int64_t k)
{
    int64_t before = 0;
    for (uint32_t i = t->naxes; i-- > 0; k /= t->axes[i].size)
        before += k % t->axes[i].size * at->stride[i];
    return at->slot ? titan_slot_place(at->slot, before) : before;
}
