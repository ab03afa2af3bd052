/*
 * repeat.c: what a repeat takes and gives, read from its attributes.
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
