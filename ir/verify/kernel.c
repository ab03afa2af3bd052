/*
 * kernel.c: verifying the kernel view: buffers, views, launches, loops.
 */
#include "verify.h"

#include <string.h>

static bool is_place(const Verify *vf, Value v)
{
    uint8_t op = inst_of(vf->fn, v)->op;
    return op == OP_arg || op == OP_buffer || op == OP_view;
}

/* With NUMBERS, counters and coordinates are operands as well. */
static bool check_places(const Verify *vf, bool numbers, const char *rule)
{
    for (uint32_t i = 0; i < vf->in->nargs; i++) {
        Value v = operand_at(vf, i);
        uint8_t op = inst_of(vf->fn, v)->op;
        bool number = numbers && (op == OP_counter || op == OP_coord);
        if (!number && !is_place(vf, v))
            return verify_fail(vf, "operand %s is no place (%s)",
                               verify_name(vf, v), rule);
    }
    return true;
}

/* One stride for each axis, none negative. */
static bool check_stride(const Verify *vf, const char *rule)
{
    const AttrItem *stride = verify_list(vf, AT_stride);
    uint32_t n = type_info(vf->m, vf->in->type)->naxes;
    if (!stride) return true;
    if (stride->n != n)
        return verify_fail(vf, "%u strides for %u axes (%s)", stride->n, n,
                           rule);
    for (uint32_t i = 0; i < n; i++)
        if (stride->ints[i] < 0)
            return verify_fail(vf, "stride %lld (%s)",
                               (long long)stride->ints[i], rule);
    return true;
}

/* Bytes from the first element of a place to the end of its last; INT64_MAX
 * when that is too many. */
static int64_t extent(const Verify *vf, const Inst *in)
{
    const TypeInfo *t = type_info(vf->m, in->type);
    const AttrItem *stride = attr_get(vf->m, in->attr, AT_stride);
    int64_t last = 0, far;
    if (!stride || stride->n != t->naxes) return type_bytes(vf->m, in->type);
    for (uint32_t i = 0; i < t->naxes; i++) {
        int64_t n = type_local_size(vf->m, &t->axes[i]);
        if (__builtin_mul_overflow(n - 1, stride->ints[i], &far) ||
            __builtin_add_overflow(last, far, &last))
            return INT64_MAX;
    }
    if (__builtin_add_overflow(last, 1, &last) ||
        __builtin_mul_overflow(last, (int64_t)dtype_bytes(t->dtype), &last))
        return INT64_MAX;
    return last;
}

static bool check_base(const Verify *vf, const char *rule)
{
    const AttrItem *base = verify_list(vf, AT_base);
    if (!base != !verify_list(vf, AT_offset))
        return verify_fail(vf, "base and offset come together (%s)", rule);
    if (!base) return true;
    if (verify_int(vf, AT_offset, 0) < 0)
        return verify_fail(vf, "offset %lld (%s)",
                           (long long)verify_int(vf, AT_offset, 0), rule);
    const char *word = str_of(vf->m, (Str){base->id});
    for (uint32_t i = 0; i < BASE_count; i++)
        if (!strcmp(word, base_name((Base)i))) return true;
    return verify_fail(
        vf, "base '%s' is not persistent, io, frame, lane or host (%s)", word,
        rule);
}

/* The place of an argument is as long as those that lie within it make it. */
static int64_t room(const Verify *vf, Value v)
{
    int64_t most = extent(vf, inst_of(vf->fn, v)), end;
    for (uint32_t i = v.id + 1; v.id < vf->fn->nparams && i < vf->fn->nparams;
         i++) {
        const Inst *in = &vf->fn->insts[i];
        const AttrItem *within = attr_get(vf->m, in->attr, AT_within);
        if (!within || within->i != v.id) continue;
        if (__builtin_add_overflow(attr_int(vf->m, in->attr, AT_start, 0),
                                   extent(vf, in), &end))
            return INT64_MAX;
        if (end > most) most = end;
    }
    return most;
}

/* Within an earlier argument of the entry that is in none itself. */
static bool check_within(const Verify *vf, const char *rule)
{
    const AttrItem *within = verify_list(vf, AT_within);
    int64_t self = vf->in - vf->fn->insts;
    if (verify_int(vf, AT_start, 0) < 0)
        return verify_fail(vf, "from byte %lld on (%s)",
                           (long long)verify_int(vf, AT_start, 0), rule);
    if (!within) return true;
    if (!vf->fn->entry || within->i < 0 || within->i >= self ||
        attr_get(vf->m, vf->fn->insts[within->i].attr, AT_within))
        return verify_fail(vf,
                           "within argument %lld, which is no earlier one with "
                           "a place of its own (%s)",
                           (long long)within->i, rule);
    return true;
}

/* arg: its place is said in the kernel view only, and only an entry's lies in
 * a base, or within another. */
bool verify_arg(const Verify *vf)
{
    bool kernel = vf->fn->view == VIEW_kernel;
    if (!kernel && vf->in->attr.id)
        return verify_fail(vf, "a place outside the kernel view (PL1)");
    if (!vf->fn->entry && verify_list(vf, AT_base))
        return verify_fail(vf, "a base outside an entry (PL1)");
    return check_base(vf, "PL2") && check_stride(vf, "PL3") &&
           check_within(vf, "PL4");
}

bool verify_buffer(const Verify *vf)
{
    return check_base(vf, "BU1") && check_stride(vf, "BU2");
}

/* A ring has turns of the innermost loop to choose from; what it is a view of
 * stands still, so that there is one ring for each place. */
static bool check_ring(const Verify *vf)
{
    const AttrItem *item = verify_list(vf, AT_ring);
    const AttrItem *turn = verify_list(vf, AT_turn);
    if (!item) return true;
    TurnRing r = ring_of(vf->m, vf->in);
    const Inst *of = inst_of(vf->fn, operand_at(vf, 0));
    if (item->n != 2 || r.n < 1 || r.n > UINT16_MAX || r.shift < 0 ||
        r.shift >= r.n || !turn || of->op == OP_view)
        return verify_fail(vf, "a ring says how many turns it has and the "
                               "first, 0 to that, of an arg or a buffer (VW4)");
    return true;
}

/* In each line of a buffer that has pads it ends where the line does. */
static bool check_pads(const Verify *vf)
{
    const Inst *of = inst_of(vf->fn, operand_at(vf, 0));
    const TypeInfo *t = type_info(vf->m, vf->in->type);
    const AttrItem *turn = verify_list(vf, AT_turn);
    if (of->op != OP_buffer || !attr_get(vf->m, of->attr, AT_stride))
        return true;
    Arena *a = vf->m->scratch;
    Layout l = layout_of(vf->m, vf->fn, operand_at(vf, 0), a);
    Layout own = layout_of(vf->m, vf->fn,
                           (Value){(uint32_t)(vf->in - vf->fn->insts)}, a);
    int64_t line, bytes = dtype_bytes(t->dtype), last = bytes;
    int64_t pad = layout_pad(vf->m, l, &line);
    int64_t each = dtype_bytes(type_dtype(vf->m, of->type));
    int64_t pitch = (line + pad) * each;
    for (uint32_t i = 0; pad && i < t->naxes; i++)
        if (own.stride[i] * bytes % pitch != 0)
            last += (type_local_size(vf->m, &t->axes[i]) - 1) * own.stride[i] *
                    bytes;
    for (uint32_t i = 0; pad && turn && i < turn->n; i++)
        if (turn->ints[i] % pitch != 0) return true;
    if (!pad || verify_int(vf, AT_offset, 0) % pitch + last <= line * each)
        return true;
    return verify_fail(vf, "a part of the %lld pads behind lines (VW5)",
                       (long long)pad);
}

bool verify_view(const Verify *vf)
{
    int64_t offset = verify_int(vf, AT_offset, 0), end;
    if (!check_places(vf, false, "VW1") || !check_stride(vf, "VW2") ||
        !check_ring(vf))
        return false;
    int64_t whole = room(vf, operand_at(vf, 0)), part = extent(vf, vf->in);
    if (offset < 0 || __builtin_add_overflow(offset, part, &end) || end > whole)
        return verify_fail(vf,
                           "%lld bytes from %lld are not within the %lld "
                           "of operand %s (VW3)",
                           (long long)part, (long long)offset, (long long)whole,
                           verify_name(vf, operand_at(vf, 0)));
    return check_pads(vf);
}

bool verify_counter(const Verify *vf)
{
    if (verify_int(vf, AT_index, 0) < 0)
        return verify_fail(vf, "loops count from 0 (CN1)");
    return check_result(vf, type_scalar(vf->m, DT_i32), "CN2");
}

static const Fn *callee_of(const Verify *vf)
{
    return fn_of(vf->m, attr_fn(vf->m, vf->in->attr, AT_fn));
}

static bool check_given(const Verify *vf, uint32_t i, Type want,
                        const char *rule)
{
    if (type_eq(operand_type(vf, i), want)) return true;
    return verify_fail(vf, "operand %s is %s, @%s has %s (%s)",
                       verify_name(vf, operand_at(vf, i)),
                       type_str(vf->m, operand_type(vf, i)),
                       str_of(vf->m, callee_of(vf)->name),
                       type_str(vf->m, want), rule);
}

/* The last `outs` operands are places, each a different one. */
static bool check_outs(const Verify *vf, uint32_t first) /* K3 */
{
    for (uint32_t i = first; i < vf->in->nargs; i++) {
        Value v = operand_at(vf, i);
        if (!is_place(vf, v))
            return verify_fail(vf, "operand %s is written and is no place (K3)",
                               verify_name(vf, v));
        for (uint32_t k = first; k < i; k++)
            if (value_eq(v, operand_at(vf, k)))
                return verify_fail(vf, "operand %s is written twice (K3)",
                                   verify_name(vf, v));
    }
    return true;
}

/* Kernels of products have the processors that they are given to the end. */
static bool check_processors(const Verify *vf, const Fn *g)
{
    if (!attr_get(vf->m, vf->in->attr, AT_processors)) return true;
    int64_t most = verify_int(vf, AT_processors, 0);
    if (most < 1)
        return verify_fail(vf, "%lld processors (K6)", (long long)most);
    if (fn_is(vf->m, g, FK_matmul) || fn_is(vf->m, g, FK_product)) return true;
    return verify_fail(vf, "@%s is no matrix product (K6)",
                       str_of(vf->m, g->name));
}

bool verify_launch(const Verify *vf)
{
    const Fn *g = callee_of(vf);
    const char *name = str_of(vf->m, g->name);
    int64_t outs = verify_int(vf, AT_outs, 0);
    uint32_t n = vf->in->nargs;
    if (g->view != VIEW_local)
        return verify_fail(vf, "@%s is no local function (K4)", name);
    if (outs != g->nresults || n < outs || n - outs != g->nparams)
        return verify_fail(vf,
                           "@%s has %u parameters and %u results, it is "
                           "given %u operands, %lld of them written (K2)",
                           name, g->nparams, g->nresults, n, (long long)outs);
    if (!check_places(vf, true, "K1")) return false;
    for (uint32_t i = 0; i < n; i++) {
        Type want = i < g->nparams ? g->params[i].type
                                   : g->results[i - g->nparams].type;
        if (!check_given(vf, i, want, "K2")) return false;
    }
    return check_outs(vf, g->nparams) && check_processors(vf, g) &&
           verify_step(vf);
}

bool verify_loop(const Verify *vf)
{
    const Fn *body = callee_of(vf);
    const char *name = str_of(vf->m, body->name);
    int64_t count = verify_int(vf, AT_count, 0);
    if (body->view != VIEW_kernel || body->entry)
        return verify_fail(vf, "@%s is no kernel function (LP1)", name);
    if (count < 1 || count > INT32_MAX)
        return verify_fail(vf, "%lld turns (LP2)", (long long)count);
    if (body->nparams != vf->in->nargs || body->nresults)
        return verify_fail(vf,
                           "@%s has %u parameters and %u results, it is "
                           "given %u operands (LP3)",
                           name, body->nparams, body->nresults, vf->in->nargs);
    if (!check_places(vf, false, "LP4")) return false;
    for (uint32_t i = 0; i < vf->in->nargs; i++)
        if (!check_given(vf, i, body->params[i].type, "LP3")) return false;
    if (attr_flag(vf->m, vf->in->attr, AT_guarded) &&
        (!vf->in->nargs ||
         !type_eq(operand_type(vf, 0), type_scalar(vf->m, DT_bool))))
        return verify_fail(vf, "the first operand of a guarded loop is not "
                               "bool[] (LP5)");
    if (attr_flag(vf->m, vf->in->attr, AT_guarded) &&
        attr_flag(vf->m, vf->in->attr, AT_parallel))
        return verify_fail(vf, "a guarded loop is not parallel (LP6)");
    return verify_step(vf);
}
