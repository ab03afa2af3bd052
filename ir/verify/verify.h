/*
 * verify.h: what the rules of the verifier share.
 *
 * A rule, verify_<op>, sees one instruction whose operands, attributes and
 * types are well formed, and reports the first constraint of ir/ops.md that
 * it breaks.  Nothing else is known of the program: it may be any text.
 */
#ifndef TITAN_VERIFY_H
#define TITAN_VERIFY_H

#include "../ir.h"

typedef struct Verify {
    Module *m;
    const Fn *fn;
    Value v;
    const Inst *in;
} Verify;

#define OP(name, least, most, flags, views, req, opt) \
    bool verify_##name(const Verify *vf);
#include "../ops.def"
#undef OP

/* Reports "op %v: text"; returns false. */
bool verify_fail(const Verify *vf, const char *fmt, ...) PRINTF(2, 3);
/* "%x", as printed. */
const char *verify_name(const Verify *vf, Value v);

/* ----------------------------------------------------------- operands -- */

Value operand_at(const Verify *vf, uint32_t i);
Type operand_type(const Verify *vf, uint32_t i);
DType operand_dtype(const Verify *vf, uint32_t i);
bool verify_is_local(const Verify *vf);

/* The attributes, which are there. */
Axis verify_axis(const Verify *vf);
const AttrItem *verify_list(const Verify *vf, AttrKey k);
int64_t verify_int(const Verify *vf, AttrKey k, int64_t otherwise);

/* ------------------------------------------------------------- checks -- */
/* `rule` is the number in ops.md. */

/* The result has this type. */
bool check_result(const Verify *vf, Type want, const char *rule);
/* The axis is in operand i; in a local view, it is whole there. */
bool check_axis(const Verify *vf, uint32_t i, Axis a, const char *rule);
bool check_whole(const Verify *vf, uint32_t i, Axis a, const char *rule);
/* Each axis of the list is in operand i, and none is there twice. */
bool check_axes(const Verify *vf, uint32_t i, const AttrItem *axes,
                const char *rule);
/* No axis of the list is in the type, and none is there twice. */
bool check_new(const Verify *vf, Type rest, const AttrItem *axes,
               const char *rule);
/* Axes that two types share have the same size and the same splits. */
bool check_aligned(const Verify *vf, Type a, Type b, const char *rule);
bool check_ids(const Verify *vf, uint32_t i, const char *rule);
/* `acc` computes and is of the kind of d. */
bool check_acc(const Verify *vf, DType d, const char *rule);
/* The result's dtype is d or what `acc` says. */
bool check_dtype(const Verify *vf, DType d, const char *rule);
/* That there is the recipe, where one is named. */
bool check_recipe(const Verify *vf, const char *rule);
/* Operand i is not a pending maximum. */
bool check_sum(const Verify *vf, uint32_t i, const char *rule);
bool check_settled(const Verify *vf, uint32_t i, const char *rule);

/* T without the axes; in a local view pending over what split them. */
Type summed_type(const Verify *vf, Type t, const Axis *axes, uint32_t n,
                 PendingKind kind);

/* ------------------------------------------------ streams and events (order.c) */

/* What a launch or loop says of them. */
bool verify_step(const Verify *vf);

/* --------------------------------------------------------- the module -- */

bool verify_module_calls(Module *m); /* calls.c: no recursion */
bool verify_module_order(Module *m); /* order.c: what clashes is ordered */
bool verify_module_ranks(Module *m); /* ranks.c: messages meet */
bool verify_ports(const Verify *vf); /* ports.c: params and results of a fn */

#endif
