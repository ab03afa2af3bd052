/*
 * turned.c: results of a loop group under other names.
 */
#include "ir.h"

static Axis name_below(const Module *m, const Inst *rename, Axis axis)
{
    const AttrItem *from = attr_get(m, rename->attr, AT_from);
    const AttrItem *to = attr_get(m, rename->attr, AT_to);
    for (uint32_t i = 0; i < to->n; i++)
        if (to->axes[i].id == axis.id) return from->axes[i];
    return axis;
}

bool axis_below(const Module *m, const Fn *fn, const Inst *in, Axis *axis,
                uint32_t *operand)
{
    *operand = 0;
    if (in->op == OP_rename) {
        *axis = name_below(m, in, *axis);
        return true;
    }
    for (; in->op == OP_map && *operand < in->nargs; ++*operand)
        if (type_axis(m, value_type(fn, inst_arg(fn, in, *operand)), *axis))
            return true;
    return false;
}
