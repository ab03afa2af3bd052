/*
 * alu.c: instructions that each lane does for itself.  Most are a row of
 * lanes.def; what may stand beside a row's words (ftz, sat, a rounding, a
 * joined predicate) is done here, around its function.
 */
#include <fenv.h>
#include <string.h>

#include "tests/ptx/convert.h"
#include "tests/ptx/lanes.h"
#include "tests/ptx/number.h"

enum { PM_plain = PM_COUNT };

static const LaneRow rows[LANE_ROWS] = {
#define ROW(op, type, from, first, second, may, n, out, in, value) \
    {PO_##op, PT_##type, PT_##from, {PM_##first, PM_##second}, may, n},
#define PAIR(op, type, first, may, n, as, value) \
    {PO_##op, PT_##type, PT_none, {PM_##first, PM_plain}, may, n},
#include "tests/ptx/lanes.def"
#undef ROW
#undef PAIR
};

/* PtxInst.form: 1 + a row, or one of these. */
enum {
    FORM_none,
    FORM_convert = LANE_ROWS + 1,
    FORM_mov,
    FORM_cvta,
    FORM_policy
};

/* ----------------------------------------------------------------- finding */

static void drop(uint64_t mods[2], unsigned m)
{
    mods[m / 64] &= ~(UINT64_C(1) << m % 64);
}

/* Whether I has ROW's words, and beside them what ROW may have. */
static bool fits(const LaneRow *row, const PtxInst *i)
{
    static const uint8_t round[] = {PM_rn, PM_rz, PM_rm, PM_rp};
    static const uint8_t join[] = {PM_and, PM_or, PM_xor};
    uint64_t left[2] = {i->mods[0], i->mods[1]};
    unsigned rounds = 0, joins = 0;
    for (unsigned k = 0; k < 2; k++) {
        if (row->must[k] == PM_plain) continue;
        if (!ptx_has(i, (PtxMod)row->must[k])) return false;
        drop(left, row->must[k]);
    }
    if (row->may & FTZ) drop(left, PM_ftz);
    if (row->may & SAT) drop(left, PM_sat);
    for (unsigned k = 0; k < 4 && row->may & (RND | ROUND | RN | NEAR); k++) {
        if (row->may & (RN | NEAR) && k) continue;
        rounds += ptx_has(i, (PtxMod)round[k]);
        drop(left, round[k]);
    }
    for (unsigned k = 0; k < 3 && row->may & JOIN; k++) {
        joins += ptx_has(i, (PtxMod)join[k]);
        drop(left, join[k]);
    }
    bool rounded = row->may & (ROUND | NEAR) ? rounds == 1 : rounds <= 1;
    return rounded && joins <= 1 && !left[0] && !left[1];
}

/* The row of I; of set it is setp's, of the operands' type. */
static uint16_t find_row(const PtxInst *i)
{
    bool set = i->op == PO_set;
    uint8_t op = set ? PO_setp : (uint8_t)i->op;
    uint8_t type = set ? i->type[1] : i->type[0];
    uint8_t from = set || i->ntypes < 2 ? PT_none : i->type[1];
    for (uint16_t k = 0; k < LANE_ROWS; k++)
        if (rows[k].op == op && rows[k].type == type && rows[k].from == from &&
            fits(&rows[k], i))
            return (uint16_t)(k + 1);
    return FORM_none;
}

static uint16_t find_cvta(const PtxInst *i)
{
    bool to = ptx_has(i, PM_to);
    uint64_t left[2] = {i->mods[0], i->mods[1]};
    drop(left, PM_to);
    if (left[0] || left[1] || i->ntypes != 1 || i->type[0] != PT_u64 ||
        i->nspaces != 1)
        return FORM_none;
    bool known = i->space[0] == PS_global || (i->space[0] == PS_param && !to);
    return known ? FORM_cvta : FORM_none;
}

/* Sums of f32 with operands of another type. */
static bool is_mixed(const PtxInst *i)
{
    return (i->op == PO_add || i->op == PO_sub || i->op == PO_fma) &&
           i->ntypes == 2;
}

static bool bare(const PtxInst *i)
{
    return !i->mods[0] && !i->mods[1] && i->ntypes == 1 && !i->nspaces;
}

uint16_t ptx_alu_form(const PtxInst *i)
{
    unsigned operands;
    if (i->shape[0]) return FORM_none;
    if (i->op == PO_cvta) return find_cvta(i);
    if (i->op == PO_mov) return bare(i) ? FORM_mov : FORM_none;
    if (i->op == PO_createpolicy)
        return bare(i) && i->type[0] == PT_b64 ? FORM_policy : FORM_none;
    unsigned types = i->op == PO_cvt || i->op == PO_set || i->op == PO_slct;
    types |= is_mixed(i);
    if (i->ntypes != 1 + types || i->nspaces) return FORM_none;
    if (i->op == PO_set) {
        PtxType to = (PtxType)i->type[0];
        if (ptx_types[to].bits != 32 || to == PT_f16x2 || to == PT_bf16x2)
            return FORM_none;
    }
    uint16_t row = find_row(i);
    if (!row && i->op == PO_cvt && ptx_converts(i, &operands))
        return FORM_convert;
    return row;
}

/* ---------------------------------------------------------------- operands */

/* Bits of operand K's register, the result's of 0; a cvt's may have more. */
static unsigned width_of(const PtxInst *i, uint32_t k)
{
    unsigned bits = ptx_types[i->type[0]].bits;
    bool last = k + 1 == i->nargs;
    if (is_mixed(i) && k && !last) return ptx_types[i->type[1]].bits;
    switch ((PtxOp)i->op) {
    case PO_setp:
        return !k || k == 3 ? 1 : bits;
    case PO_set:
        return k == 3 ? 1 : !k ? bits : ptx_types[i->type[1]].bits;
    case PO_selp:
        return k == 3 ? 1 : bits;
    case PO_slct:
        return k == 3 ? 32 : bits;
    case PO_shl:
    case PO_shr:
        return k == 2 ? 32 : bits;
    case PO_bfe:
        return k >= 2 ? 32 : bits;
    case PO_bfi:
        return k >= 3 ? 32 : bits;
    case PO_popc:
    case PO_clz:
        return k ? bits : 32;
    case PO_mul:
    case PO_mad:
        return ptx_has(i, PM_wide) && (!k || k == 3) ? 2 * bits : bits;
    case PO_cvt:
        return k ? ptx_types[i->type[1]].bits : bits;
    default:
        return bits;
    }
}

static bool has_width(const PtxInst *i, const PtxArg *a, uint32_t k)
{
    unsigned want = width_of(i, k);
    bool wider =
        i->op == PO_cvt && ptx_types[i->type[k ? 1 : 0]].kind != PK_float;
    if (want == 8) wider = true;
    return wider ? a->n >= want && a->n > 1 : a->n == want;
}

static bool reg_fits(const PtxInst *i, const PtxArg *a, uint32_t k)
{
    return a->kind == PA_reg && has_width(i, a, k);
}

/* p or p|q */
static bool result_fits(const PtxKernel *k, const PtxInst *i, const PtxArg *a)
{
    if (a->kind != PA_list || i->op != PO_setp)
        return reg_fits(i, a, 0) && !a->negated;
    for (uint32_t n = 0; n < 2 && a->n == 2; n++) {
        const PtxArg *item = &k->args[a->first + n];
        if (item->kind != PA_none && !reg_fits(i, item, 0)) return false;
    }
    return a->n == 2;
}

/* Items of as many bits together as the other side has. */
static bool list_fits(const PtxKernel *k, const PtxArg *list, unsigned bits,
                      bool result)
{
    if (list->n != 2 && list->n != 4) return false;
    for (uint32_t n = 0; n < list->n; n++) {
        const PtxArg *item = &k->args[list->first + n];
        bool ok = item->kind == PA_reg
                      ? item->n == bits / list->n
                      : item->kind == (result ? PA_none : PA_value);
        if (!ok) return false;
    }
    return bits / list->n >= 8;
}

static const char *mov_takes(const PtxKernel *k, const PtxInst *i)
{
    static const char *const wrong = "mov's operands are not known";
    const PtxArg *to = &k->args[i->first], *from = to + 1;
    unsigned bits = ptx_types[i->type[0]].bits;
    if (i->nargs != 2 || bits == 8) return wrong;
    bool plain =
        (from->kind == PA_reg && from->n == bits) || from->kind == PA_value;
    if (to->kind == PA_list)
        return plain && list_fits(k, to, bits, true) ? NULL : wrong;
    if (to->kind != PA_reg || to->n != bits || to->negated) return wrong;
    if (from->kind == PA_list)
        return list_fits(k, from, bits, false) ? NULL : wrong;
    bool address = from->kind == PA_sum && bits >= 32;
    return plain || address ? NULL : wrong;
}

const char *ptx_alu_takes(const PtxKernel *k, const PtxInst *i)
{
    static const char *const wrong = "its operands are not known";
    const PtxArg *a = &k->args[i->first];
    unsigned n;
    if (i->form == FORM_mov) return mov_takes(k, i);
    if (i->form == FORM_policy)
        return i->nargs && i->nargs <= 2 && a->kind == PA_reg && a->n == 64
                   ? NULL
                   : wrong;
    if (i->form == FORM_convert)
        ptx_converts(i, &n);
    else
        n = i->form == FORM_cvta ? 1 : rows[i->form - 1].n;
    n += ptx_has(i, PM_and) || ptx_has(i, PM_or) || ptx_has(i, PM_xor);
    if (i->nargs != 1 + n || !result_fits(k, i, a)) return wrong;
    for (uint32_t o = 1; o <= n; o++) {
        bool address = a[o].kind == PA_sum && i->form == FORM_cvta;
        if (a[o].kind != PA_value && !address && !reg_fits(i, &a[o], o))
            return wrong;
    }
    return NULL;
}

/* ------------------------------------------------------------------- lanes */

/* An operand's lanes: the register's own, or in HELD. */
static const uint64_t *lanes_of(const PtxWarp *w, const PtxArg *a,
                                uint64_t held[PTX_LANES])
{
    if (a->kind == PA_reg && !a->negated) return w->reg[a->reg];
    uint64_t value = a->value;
    for (unsigned l = 0; a->kind == PA_value && l < PTX_LANES; l++)
        held[l] = value;
    if (a->kind == PA_value) return held;
    for (unsigned l = 0; l < PTX_LANES; l++)
        held[l] = ptx_get(w, a, l);
    return held;
}

static void put_lanes(PtxWarp *w, const PtxArg *to, uint32_t mask,
                      const uint64_t *from)
{
    if (to->kind != PA_reg) return;
    uint64_t *d = w->reg[to->reg];
    if (mask == UINT32_MAX)
        memcpy(d, from, PTX_LANES * sizeof *d);
    else
        for (; mask; mask &= mask - 1) {
            unsigned l = (unsigned)__builtin_ctz(mask);
            d[l] = from[l];
        }
}

/* Subnormal numbers of f32 are 0 of their sign. */
static void flush(uint64_t *to, const uint64_t *from)
{
    for (unsigned l = 0; l < PTX_LANES; l++)
        to[l] = from[l] & 0x7f800000 ? from[l] : from[l] & 0x80000000;
}

/* Of two. */
static void flush_pairs(uint64_t *to, const uint64_t *from)
{
    uint64_t upper[PTX_LANES];
    for (unsigned l = 0; l < PTX_LANES; l++) {
        upper[l] = from[l] >> 32;
        to[l] = from[l] & UINT32_MAX;
    }
    flush(upper, upper);
    flush(to, to);
    for (unsigned l = 0; l < PTX_LANES; l++)
        to[l] |= upper[l] << 32;
}

static void flush_sources(const PtxInst *i, const uint64_t **s, unsigned n,
                          uint64_t (*held)[PTX_LANES])
{
    uint8_t type = i->type[i->ntypes - 1];
    bool pairs = type == PT_f32x2;
    for (unsigned k = 0; k < n && (pairs || type == PT_f32); k++) {
        if (i->op == PO_slct && k != 2) continue;
        (pairs ? flush_pairs : flush)(held[k], s[k]);
        s[k] = held[k];
    }
}

static void saturate(uint64_t *out)
{
    for (unsigned l = 0; l < PTX_LANES; l++) {
        float x = float_of((uint32_t)out[l]);
        out[l] = float_bits(x > 0 ? x < 1 ? x : 1 : 0);
    }
}

static LaneFn *lane_fn(uint16_t form)
{
#ifdef PTX_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return lanes_avx2[form - 1];
#endif
    return lanes_plain[form - 1];
}

/* As the processor rounds when it is told to; to the nearest it does. */
static void run_rounded(const PtxInst *i, uint64_t *out,
                        const uint64_t *const *s)
{
    bool zero = ptx_has(i, PM_rz), down = ptx_has(i, PM_rm);
    if (!zero && !down && !ptx_has(i, PM_rp)) {
        lane_fn(i->form)(out, s);
        return;
    }
    int was = fegetround();
    fesetround(zero ? FE_TOWARDZERO : down ? FE_DOWNWARD : FE_UPWARD);
    lane_fn(i->form)(out, s);
    fesetround(was);
}

/* A signed result fills a wider register with its sign. */
static void extend(const PtxInst *i, const PtxArg *to, uint64_t *out)
{
    const PtxTypeRow *t = &ptx_types[i->type[0]];
    if (t->kind != PK_signed || to->n <= t->bits) return;
    unsigned rest = 64 - t->bits, above = 64 - to->n;
    for (unsigned l = 0; l < PTX_LANES; l++)
        out[l] =
            (uint64_t)((int64_t)(out[l] << rest) >> rest) << above >> above;
}

/* An answer joined with a predicate. */
static void join(const PtxInst *i, const uint64_t *with, uint64_t *answer)
{
    bool and = ptx_has(i, PM_and), or = ptx_has(i, PM_or);
    for (unsigned l = 0; l < PTX_LANES; l++)
        answer[l] = and? answer[l] & with[l] : or ? answer[l] | with[l]
                                                  : answer[l] ^ with[l];
}

/* Of setp and set; a second result is the other answer, joined too. */
static void put_answer(PtxWarp *w, const PtxInst *i, uint32_t mask,
                       uint64_t *answer)
{
    const PtxArg *to = ptx_arg(w, i, 0);
    uint64_t other[PTX_LANES], held[PTX_LANES];
    bool two = to->kind == PA_list;
    for (unsigned l = 0; two && l < PTX_LANES; l++)
        other[l] = !answer[l];
    if (i->nargs == 4) {
        const uint64_t *with = lanes_of(w, ptx_arg(w, i, 3), held);
        join(i, with, answer);
        if (two) join(i, with, other);
    }
    uint64_t yes = i->op == PO_setp       ? 1
                   : i->type[0] == PT_f32 ? 0x3f800000
                                          : UINT32_MAX;
    for (unsigned l = 0; i->op == PO_set && l < PTX_LANES; l++)
        answer[l] *= yes;
    put_lanes(w, two ? ptx_item(w, to, 0) : to, mask, answer);
    if (two) put_lanes(w, ptx_item(w, to, 1), mask, other);
}

static void do_row(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    static const uint64_t zeros[PTX_LANES];
    const LaneRow *row = &rows[i->form - 1];
    uint64_t held[PTX_SOURCES][PTX_LANES], out[PTX_LANES];
    const uint64_t *s[PTX_SOURCES] = {zeros, zeros, zeros, zeros};
    for (unsigned k = 0; k < row->n; k++)
        s[k] = lanes_of(w, ptx_arg(w, i, k + 1), held[k]);
    bool ftz = row->may & FTZ && ptx_has(i, PM_ftz);
    if (ftz) flush_sources(i, s, row->n, held);
    if (row->may & (RND | ROUND))
        run_rounded(i, out, s);
    else
        lane_fn(i->form)(out, s);
    if (row->may & JOIN) {
        put_answer(w, i, mask, out);
        return;
    }
    if (row->may & SAT && ptx_has(i, PM_sat)) saturate(out);
    if (ftz && i->type[0] == PT_f32 && i->op != PO_slct) flush(out, out);
    if (ftz && i->type[0] == PT_f32x2) flush_pairs(out, out);
    const PtxArg *to = ptx_arg(w, i, 0);
    if (i->op == PO_cvt) extend(i, to, out);
    put_lanes(w, to, mask, out);
}

/* ------------------------------------------------------------------ others */

static void do_convert(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    uint64_t held[2][PTX_LANES], out[PTX_LANES];
    const uint64_t *x = lanes_of(w, ptx_arg(w, i, 1), held[0]), *y = x;
    if (i->nargs == 3) y = lanes_of(w, ptx_arg(w, i, 2), held[1]);
    for (unsigned l = 0; l < PTX_LANES; l++)
        out[l] = mask >> l & 1 ? ptx_convert(i, x[l], y[l]) : 0;
    extend(i, ptx_arg(w, i, 0), out);
    put_lanes(w, ptx_arg(w, i, 0), mask, out);
}

/* mov d, {a, b}: the first is at the bottom. */
static void pack(PtxWarp *w, const PtxArg *list, unsigned bits, uint64_t *out)
{
    uint64_t held[PTX_LANES], cut = ~UINT64_C(0) >> (64 - bits);
    memset(out, 0, PTX_LANES * sizeof *out);
    for (uint32_t n = 0; n < list->n; n++) {
        const uint64_t *x = lanes_of(w, ptx_item(w, list, n), held);
        for (unsigned l = 0; l < PTX_LANES; l++)
            out[l] |= (x[l] & cut) << n * bits;
    }
}

/* mov {a, b}, d; d may be one of them. */
static void unpack(PtxWarp *w, const PtxArg *list, unsigned bits, uint32_t mask,
                   const uint64_t *from)
{
    uint64_t whole[PTX_LANES], part[PTX_LANES];
    uint64_t cut = ~UINT64_C(0) >> (64 - bits);
    memcpy(whole, from, sizeof whole);
    for (uint32_t n = 0; n < list->n; n++) {
        for (unsigned l = 0; l < PTX_LANES; l++)
            part[l] = whole[l] >> n * bits & cut;
        put_lanes(w, ptx_item(w, list, n), mask, part);
    }
}

static void do_mov(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    const PtxArg *to = ptx_arg(w, i, 0), *from = ptx_arg(w, i, 1);
    unsigned bits = ptx_types[i->type[0]].bits;
    uint64_t held[PTX_LANES];
    if (from->kind == PA_list) {
        pack(w, from, bits / from->n, held);
        put_lanes(w, to, mask, held);
        return;
    }
    const uint64_t *x = lanes_of(w, from, held);
    if (to->kind == PA_list)
        unpack(w, to, bits / to->n, mask, x);
    else if (from->kind == PA_sum && bits == 32) {
        for (unsigned l = 0; l < PTX_LANES; l++)
            held[l] = (uint32_t)x[l];
        put_lanes(w, to, mask, held);
    } else {
        put_lanes(w, to, mask, x);
    }
}

/* Generic addresses are those of global memory; a parameter's are behind
 * PTX_PARAMS. */
static void do_cvta(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    uint64_t held[PTX_LANES], out[PTX_LANES];
    const uint64_t *x = lanes_of(w, ptx_arg(w, i, 1), held);
    for (unsigned l = 0; l < PTX_LANES; l++)
        out[l] = x[l] + (i->space[0] == PS_param ? PTX_PARAMS : 0);
    put_lanes(w, ptx_arg(w, i, 0), mask, out);
}

PtxStep ptx_do_alu(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    uint64_t policy[PTX_LANES] = {0};
    switch (i->form) {
    case FORM_convert:
        do_convert(w, i, mask);
        break;
    case FORM_mov:
        do_mov(w, i, mask);
        break;
    case FORM_cvta:
        do_cvta(w, i, mask);
        break;
    case FORM_policy: /* caches are not there */
        put_lanes(w, ptx_arg(w, i, 0), mask, policy);
        break;
    default:
        do_row(w, i, mask);
    }
    return PX_next;
}
