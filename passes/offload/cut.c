/*
 * cut.c: into which slices a launch on slots of the host is cut.
 *
 * An optimizer's update is one launch for all of a parameter.  It is made of
 * maps, so any part of its elements can be made by itself, with the same bits.
 * Cut along the axes that are outermost in memory, slots have slices that are
 * each one piece of bytes.
 *
 * The outermost axes are gone in a slice, one index each, as many as it takes
 * for it to be small enough; the last may be cut into parts instead.  Every
 * operand that has one of these axes has all of them, and lies so that the
 * slices are equally far apart.
 */
#include "slice.h"

/* A slot has so many slices or more, the first and the last of which are waited
 * for.  One of fewer bytes than a part of a slice, or whose slices would be as
 * small, is worked on where it lies: such copies do not fill the bus. */
enum { LEAST_SLICES = 16, SLOT_PART = 32, SLICE_PART = 1024 };

bool lies_on_host(const Slicer *x, Value v)
{
    Value root = spot_of(x->m, x->fn, v, x->a).root;
    if (inst_of(x->fn, root)->op != OP_arg) return false;
    const Slot *s = slot_find(x->m, x->fn->params[root.id].path);
    return s && s->host;
}

bool changes_host(Slicer *x)
{
    int64_t bytes = 0;
    bool writes = false;
    x->group = fn_of(x->m, attr_fn(x->m, x->in->attr, AT_fn));
    for (uint32_t k = 0; k < x->in->nargs; k++) {
        Value v = inst_arg(x->fn, x->in, k);
        uint8_t op = inst_of(x->fn, v)->op;
        if (op == OP_counter || op == OP_coord) return false;
        if (!lies_on_host(x, v)) continue;
        int64_t n = type_bytes(x->m, value_type(x->fn, v));
        if (step_writes(x->m, x->in, k)) {
            writes = true;
        } else if (n > bytes) {
            bytes = n;
            x->largest = v;
        }
    }
    return writes && bytes > 0 && bytes >= x->most / SLOT_PART;
}

/* ------------------------------------------------------------------ cuts -- */

static bool has_axis(const Slicer *x, Type t, Axis a)
{
    return type_axis(x->m, t, a) != NULL;
}

/* V has the axis if it has those that are gone, and all of what it has of the
 * axis fills one index of the last of those. */
static bool goes_along(const Slicer *x, Value v, Axis axis)
{
    const Cut *c = &x->cut;
    Layout l = layout_of(x->m, x->fn, v, x->a);
    bool has = has_axis(x, l.type, axis);
    if (c->ngone == 0) return true;
    Axis last = c->gone[c->ngone - 1];
    if (has != has_axis(x, l.type, last)) return false;
    int64_t size = type_size(x->m, l.type, axis);
    return !has ||
           layout_stride(x->m, l, last) == layout_stride(x->m, l, axis) * size;
}

static bool all_go_along(const Slicer *x, Axis axis)
{
    for (uint32_t k = 0; k < x->in->nargs; k++)
        if (!goes_along(x, inst_arg(x->fn, x->in, k), axis)) return false;
    return true;
}

/* Each element is made of elements at its own index, whatever that is. */
static bool is_made_of_maps(const Slicer *x)
{
    const Cut *c = &x->cut;
    for (uint32_t i = x->group->nparams; i < x->group->ninsts; i++) {
        const Inst *in = &x->group->insts[i];
        if (in->op != OP_map) return false;
        Expr e = attr_expr(x->m, in->attr);
        for (uint32_t k = 0; k < c->ngone; k++)
            if (expr_uses_index(x->m, e, c->gone[k])) return false;
        if (c->part.id != NO_AXIS.id && expr_uses_index(x->m, e, c->part))
            return false;
    }
    return true;
}

/* The fewest equal parts of N indices, of so many bytes each, that have no more
 * than MOST; 0: single indices have more. */
static int64_t fewest_parts(int64_t n, int64_t bytes, int64_t most)
{
    for (int64_t k = 1; k <= n; k++)
        if (n % k == 0 && n / k * bytes <= most) return k;
    return 0;
}

/* Goes inwards until slices have MOST bytes or less; gives what they have. */
static int64_t cut_axes(Slicer *x, Layout l, int64_t most)
{
    Cut *c = &x->cut;
    int64_t bytes = type_bytes(x->m, l.type);
    uint32_t naxes = type_info(x->m, l.type)->naxes;
    Axis *order = NEW_ARRAY(x->a, Axis, (size_t)naxes + 1);
    c->gone = NEW_ARRAY(x->a, Axis, (size_t)naxes + 1);
    layout_order(x->m, l, order);
    for (uint32_t i = 0; i < naxes && all_go_along(x, order[i]); i++) {
        int64_t n = type_size(x->m, l.type, order[i]);
        int64_t parts = fewest_parts(n, bytes / n, most);
        bytes /= n;
        if (parts == 0 || parts == n) {
            c->gone[c->ngone++] = order[i];
            c->count *= n;
        } else {
            c->part = order[i];
            c->size = n / parts;
            c->count *= parts;
            bytes *= c->size;
        }
        if (parts) break;
    }
    return bytes;
}

bool find_cut(Slicer *x)
{
    Layout l = layout_of(x->m, x->fn, x->largest, x->a);
    int64_t most = type_bytes(x->m, l.type) / LEAST_SLICES;
    x->cut = (Cut){.part = NO_AXIS, .count = 1};
    int64_t bytes = cut_axes(x, l, most < x->most ? most : x->most);
    return x->cut.count > 1 && x->cut.count <= UINT16_MAX &&
           bytes >= x->most / SLICE_PART && is_made_of_maps(x);
}

/* --------------------------------------------------------------- layouts -- */

bool is_cut(const Slicer *x, Type t)
{
    const Cut *c = &x->cut;
    return has_axis(x, t, c->ngone ? c->gone[0] : c->part);
}

Type slice_type(const Slicer *x, Type t)
{
    const Cut *c = &x->cut;
    if (!is_cut(x, t)) return t;
    Type slice = type_without_axes(x->m, t, c->gone, c->ngone);
    if (c->part.id == NO_AXIS.id) return slice;
    TypeAxis part = *type_axis(x->m, slice, c->part);
    part.size = c->size;
    return type_with_axis(x->m, slice, part);
}

Layout slices_of(const Slicer *x, Value v, int64_t count)
{
    Module *m = x->m;
    const Cut *c = &x->cut;
    Layout whole = layout_of(m, x->fn, v, x->a);
    Type t = type_with_axis(m, slice_type(x, whole.type),
                            (TypeAxis){.axis = c->slices, .size = count});
    const TypeInfo *ti = type_info(m, t);
    int64_t *stride = NEW_ARRAY(x->a, int64_t, (size_t)ti->naxes + 1);
    bool part = c->part.id != NO_AXIS.id;
    int64_t apart =
        layout_stride(m, whole, part ? c->part : c->gone[c->ngone - 1]) *
        (part ? c->size : 1);
    for (uint32_t i = 0; i < ti->naxes; i++)
        stride[i] = ti->axes[i].axis.id == c->slices.id
                        ? apart
                        : layout_stride(m, whole, ti->axes[i].axis);
    return (Layout){t, stride};
}
