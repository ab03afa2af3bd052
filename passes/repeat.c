/*
 * repeat.c: what a repeat takes and gives.
 */
#include "repeat.h"

Repeat repeat_of(const Module *m, const Inst *in)
{
    Repeat r = {.fn = attr_fn(m, in->attr, AT_fn),
                .axis = attr_axis(m, in->attr, AT_axis),
                .count = attr_int(m, in->attr, AT_count, 1),
                .carry = (uint32_t)attr_int(m, in->attr, AT_carry, 0),
                .invariant = (uint32_t)attr_int(m, in->attr, AT_invariant, 0),
                .has_while = attr_get(m, in->attr, AT_while) != NULL,
                .reverse = attr_flag(m, in->attr, AT_reverse)};
    r.stacked = in->nargs - r.carry - r.invariant;
    r.others = fn_of(m, r.fn)->nresults - r.carry;
    return r;
}

Type repeat_type(Module *m, const Fn *body, uint32_t carry, Axis axis,
                 int64_t count)
{
    Type *fields = NEW_ARRAY(m->scratch, Type, body->nresults + 1);
    TypeAxis stacked = {.axis = axis, .size = count};
    for (uint32_t i = 0; i < body->nresults; i++) {
        fields[i] = body->results[i].type;
        if (i >= carry) fields[i] = type_with_axis(m, fields[i], stacked);
    }
    return type_tuple(m, fields, body->nresults);
}
