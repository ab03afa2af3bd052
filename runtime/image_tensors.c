/*
 * image_tensors.c: checks of what an image says of tensors: slots with their
 * places in checkpoints, ports, and the parts that ranks have of them.
 */
#include "image.h"

#include "parts.h"

static TitanStatus check_axes(ImageCheck *c)
{
    for (uint32_t i = 0; i < c->im->naxes; i++) {
        const TitanAxis *a = &c->im->axes[i];
        TRY(image_check_string(c, a->name));
        if (a->size < 0 || a->size > (INT64_C(1) << 40))
            return BAD(c, "axis %" PRIu32 " has size %" PRId64, i, a->size);
    }
    return TITAN_OK;
}

/* Bytes of a dense tensor, which must lie in a base. */
static TitanStatus check_tensor(ImageCheck *c, const char *what, uint32_t dtype,
                                TitanRange axes, TitanBase base,
                                uint64_t offset)
{
    if (!titan_dtype_bytes(dtype))
        return BAD(c, "%s has dtype %" PRIu32, what, dtype);
    if (!range_ok(axes, c->im->naxes)) return BAD(c, "%s has no axes", what);
    uint64_t bytes = titan_dtype_bytes(dtype);
    uint64_t room = c->im->header->whole_bytes[base];
    for (uint32_t i = 0; i < axes.n; i++)
        if (__builtin_mul_overflow(
                bytes, (uint64_t)c->im->axes[axes.first + i].size, &bytes))
            return BAD(c, "%s is too large", what);
    if (offset > room || bytes > room - offset)
        return BAD(c, "%s does not lie in its base", what);
    return TITAN_OK;
}

/* The last piece lies in the base, too. */
static TitanStatus check_pieces(ImageCheck *c, const TitanSlot *s)
{
    const char *what = titan_string(c->im, s->path);
    uint64_t n = (uint64_t)titan_elements(c->im, s->axes), reach;
    uint64_t room = c->im->header->whole_bytes[titan_slot_base(s)];
    if (s->piece == 0) return TITAN_OK;
    if (s->pitch < s->piece || n % s->piece != 0)
        return BAD(c, "%s is in pieces that overlap", what);
    if (n == 0) return TITAN_OK;
    if (__builtin_mul_overflow(n / s->piece - 1, s->pitch, &reach) ||
        __builtin_add_overflow(reach, s->piece, &reach) ||
        __builtin_mul_overflow(reach, titan_dtype_bytes(s->dtype), &reach) ||
        reach > room - s->offset)
        return BAD(c, "%s does not lie in its base", what);
    return TITAN_OK;
}

static TitanStatus check_slots(ImageCheck *c)
{
    const TitanImage *im = c->im;
    for (uint32_t i = 0; i < im->nslots; i++) {
        const TitanSlot *s = &im->slots[i];
        TRY(image_check_string(c, s->path));
        TRY(image_check_string(c, s->ckpt));
        TRY(image_check_string(c, s->scale));
        TRY(check_tensor(c, titan_string(im, s->path), s->dtype, s->axes,
                         titan_slot_base(s), s->offset));
        TRY(check_pieces(c, s));
        Tensor t = tensor_of_slot(im, s);
        TRY(parts_check(c->story, titan_string(im, s->path), &t));
        if (!range_ok(s->dims, im->ndims)) return BAD(c, "slot without dims");
    }
    return TITAN_OK;
}

static TitanStatus check_dims(ImageCheck *c)
{
    const TitanImage *im = c->im;
    for (uint32_t i = 0; i < im->ndims; i++) {
        const TitanDim *d = &im->dims[i];
        if (!range_ok(d->axes, im->naxes) || d->axes.n > 32)
            return BAD(c, "dim %" PRIu32 " without axes", i);
        int64_t n = 1;
        for (uint32_t k = 0; k < d->axes.n; k++)
            if (__builtin_mul_overflow(n, im->axes[d->axes.first + k].size, &n))
                return BAD(c, "dim %" PRIu32 " is too large", i);
        if (d->offset < 0 || d->total < 0 || d->offset > d->total ||
            n > d->total - d->offset || d->block < 0)
            return BAD(c, "dim %" PRIu32 " is outside its tensor", i);
    }
    return TITAN_OK;
}

static TitanStatus check_ports(ImageCheck *c)
{
    const TitanImage *im = c->im;
    for (uint32_t i = 0; i < im->nports; i++) {
        const TitanPort *p = &im->ports[i];
        TRY(image_check_string(c, p->path));
        if (p->role > TITAN_ROLE_skip)
            return BAD(c, "port %" PRIu32 " has role %" PRIu32, i, p->role);
        TRY(check_tensor(c, titan_string(im, p->path), p->dtype, p->axes,
                         TITAN_BASE_io, p->offset));
        Tensor t = tensor_of_port(im, p);
        TRY(parts_check(c->story, titan_string(im, p->path), &t));
        bool empty = titan_elements(im, p->axes) == 0;
        if (empty && p->role != TITAN_ROLE_input)
            return BAD(c, "port %" PRIu32 " has no element", i);
    }
    return TITAN_OK;
}

TitanStatus image_check_tensors(ImageCheck *c)
{
    TRY(check_axes(c));
    TRY(ranks_check(c->story, c->im));
    TRY(check_slots(c));
    TRY(check_dims(c));
    return check_ports(c);
}
