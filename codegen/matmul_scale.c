/*
 * matmul_scale.c: products whose operands have a scale for 128 terms.
 *
 * A stage of eight-bit numbers has as many terms, so its sums have one scale of
 * each row of A and one of each column of B, or one for 128 of these; they are
 * multiplied by both when they are added to the others:
 *
 *     sums += stage * (a[row, stage] * b[column, stage])
 *
 * What a stage needs of them is loaded while the one before is multiplied.
 */
#include "matmul_emit.h"

#include <string.h>

/* Blocks begin and tiles of them at multiples of HALF columns. */
enum { BLOCK = GEMM_SCALE_BLOCK, HALF = BLOCK / 2 };

/* ------------------------------------------------------------------ plan -- */

/* An axis of an operand: how far its elements lie apart as indices of the side
 * or of the sum, and their scales in memory. */
typedef struct Steps {
    int64_t n, index, scale;
    bool has;
} Steps;

typedef struct Operand {
    const Matmul *p;
    Layout of, scale;
    int64_t row; /* strides: of M or N, of K */
    Axis block;  /* of terms */
    bool scattered;
} Operand;

static bool is_sum(const Operand *o, Axis axis)
{
    const Fn *f = o->p->group;
    return (o->scattered && axis.id == o->block.id) ||
           einsum_role(o->p->m, f, group_einsum(f), axis) == EINSUM_sum;
}

static Steps steps_of(const Operand *o, const TypeAxis *axis, bool sum)
{
    const Module *m = o->p->m;
    int64_t stride = layout_stride(m, o->of, axis->axis);
    bool block = o->scattered && axis->axis.id == o->block.id;
    return (Steps){.n = type_local_size(m, axis),
                   .index = block ? o->p->blocked.each
                            : sum ? stride
                                  : stride / o->row,
                   .scale = layout_stride(m, o->scale, axis->axis),
                   .has = type_axis(m, o->scale.type, axis->axis) != NULL};
}

/* One stride for each BLOCK, or for each index, whichever axes these are of. */
static bool add_steps(const Steps *s, bool blocks, int64_t *stride)
{
    int64_t unit = blocks ? BLOCK : 1;
    if (!s->has) return blocks && s->index == 1 && s->n == BLOCK;
    if (s->index % unit != 0 || s->index == 0) return false;
    int64_t by = s->index / unit;
    if (s->scale % by != 0 || (*stride >= 0 && *stride != s->scale / by))
        return false;
    *stride = s->scale / by;
    return true;
}

static bool find_scale(const Operand *o, MatmulScale *out)
{
    const Module *m = o->p->m;
    const TypeInfo *ti = type_info(m, o->of.type);
    int64_t side = -1, step = -1;
    for (uint32_t i = 0; i < ti->naxes; i++) {
        Axis axis = ti->axes[i].axis;
        bool has = type_axis(m, o->scale.type, axis) != NULL;
        out->square |=
            !has && !is_sum(o, axis) && type_local_size(m, &ti->axes[i]) > 1;
    }
    for (uint32_t i = 0; i < ti->naxes; i++) {
        Axis axis = ti->axes[i].axis;
        bool sum = is_sum(o, axis), chosen = o->p->blocked.chosen;
        if (chosen && axis.id == o->p->blocked.axis.id) {
            out->chosen = layout_stride(m, o->scale, axis);
            continue;
        }
        Steps s = steps_of(o, &ti->axes[i], sum);
        if (s.n == 1) continue;
        if (!add_steps(&s, sum || out->square, sum ? &step : &side))
            return false;
    }
    out->side = side < 0 ? 0 : side;
    out->step = step < 0 ? 0 : step;
    return true;
}

static bool fits_tile(const Matmul *p)
{
    const MatmulScale *b = &p->scale[1];
    bool halves = p->group_n % HALF == 0 || BLOCK % p->group_n == 0;
    return p->products == 1 && p->promotes && p->g.k % BLOCK == 0 &&
           (b->square ? halves : p->g.n % 2 == 0);
}

bool matmul_find_scales(Matmul *p, const KernelArg *args, bool turned)
{
    GemmParams at = group_gemm(p->group);
    ProductBlocks blocks;
    if (at.scale[0] == NO_PARAM && at.scale[1] == NO_PARAM) return true;
    if (at.scale[0] == NO_PARAM || at.scale[1] == NO_PARAM ||
        !group_blocks(p->m, p->group, &blocks))
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t which = turned ? 1 - i : i, of = which ? at.b : at.a,
                 by = at.scale[which];
        Operand o = {.p = p,
                     .of = {args[of].type, args[of].stride},
                     .scale = {args[by].type, args[by].stride},
                     .row = i ? p->g.b_col : p->g.a_row,
                     .block = blocks.block,
                     .scattered = blocks.scattered};
        MatmulScale *s = &p->scale[i];
        s->arg = by;
        s->dtype = type_dtype(p->m, args[by].type);
        if ((s->dtype != DT_f32 && s->dtype != DT_e8m0) || !find_scale(&o, s))
            return false;
        s->pairs = s->dtype == DT_f32 && s->side == 1 && s->step % 2 == 0 &&
                   args[by].align % 8 == 0;
    }
    p->scales = true;
    return fits_tile(p);
}

bool matmul_is_scale(const Matmul *p, uint32_t arg)
{
    return p->scales && (p->scale[0].arg == arg || p->scale[1].arg == arg);
}

uint32_t matmul_scale_registers(const Matmul *p)
{
    return p->scales && !p->scale[1].square ? p->t.n / 2 : 0;
}

void matmul_print_scales(const Matmul *p, Buf *out)
{
    for (uint32_t i = 0; i < 2 && p->scales; i++) {
        const MatmulScale *s = &p->scale[i];
        buf_printf(out, " scale %u %s %s%lld %lld %lld%s", s->arg,
                   dtype_name(s->dtype), s->square ? "square " : "",
                   (long long)s->side, (long long)s->step, (long long)s->chosen,
                   s->pairs ? " pairs" : "");
    }
}

/* ----------------------------------------------------------------- loads -- */

static LV wide(const Mm *m, LV x, int64_t by)
{
    LLVMTypeRef i64 = LLVMInt64TypeInContext(m->s.cx);
    return LLVMBuildMul(m->s.b, LLVMBuildZExt(m->s.b, x, i64, ""),
                        sm90_i64(&m->s, (uint64_t)by), "");
}

/* N scales from index I of a side on, at a stage, as f32. */
static LV load(const Mm *m, const MatmulScale *s, const Corner *at, LV stage,
               LV i, unsigned n)
{
    LLVMBuilderRef b = m->s.b;
    LLVMTypeRef t = dtype_mem(&m->s, s->dtype);
    LV place =
        LLVMBuildAdd(b, wide(m, i, s->side), wide(m, stage, s->step), "");
    if (s->chosen)
        place = LLVMBuildAdd(b, place,
                             wide(m, at->batch[MATMUL_CHOSEN], s->chosen), "");
    LV p = LLVMBuildGEP2(b, t, LLVMGetParam(m->fn, s->arg), &place, 1, "");
    LV x = LLVMBuildLoad2(b, n == 1 ? t : LLVMVectorType(t, n), p, "");
    LLVMSetAlignment(x, n * dtype_bytes(s->dtype));
    return s->dtype == DT_f32 ? x : emit_dtype_cast(&m->s, DT_f32, s->dtype, x);
}

/* X where it is below n, else the last that is. */
static LV inside(const Mm *m, LV x, int64_t n, int64_t last)
{
    LV in = mm_is(m, LLVMIntULT, x, mm_num(m, n));
    return LLVMBuildSelect(m->s.b, in, x, mm_num(m, last), "");
}

/* How many values are of the rows, of the columns. */
static uint32_t of_rows(const Matmul *p)
{
    return p->group_m / 64 * (p->scale[0].square ? 1 : 2);
}

static uint32_t of_columns(const Matmul *p)
{
    uint32_t halves = (p->group_n + HALF - 1) / HALF;
    return p->scale[1].square ? halves : p->group_n / 4;
}

uint32_t mm_scales_count(const Mm *m)
{
    return m->p->scales ? of_rows(m->p) + of_columns(m->p) : 0;
}

/* Of two rows of each part, or of the block that a part lies in. */
static void load_rows(const Mm *m, const Corner *at, LV stage, LV *out)
{
    const Matmul *p = m->p;
    const MatmulScale *s = &p->scale[0];
    LV first = mm_add(m, at->m, mm_times(m, m->group, p->group_m));
    LV own =
        mm_add(m, mm_times(m, m->warp, MATMUL_ROWS), mm_over(m, m->lane, 4));
    for (uint32_t i = 0; i < p->group_m / 64; i++) {
        LV part = mm_plus(m, first, 64 * i);
        for (uint32_t r = 0; r < (s->square ? 1 : 2); r++) {
            LV row = mm_plus(m, mm_add(m, part, own), 8 * r);
            if (s->square) row = mm_over(m, part, BLOCK);
            int64_t n = s->square ? (p->g.m + BLOCK - 1) / BLOCK : p->g.m;
            *out++ = load(m, s, at, stage, inside(m, row, n, 0), 1);
        }
    }
}

/* Of a thread's columns, two neighbours of each eight, or of the blocks. */
static void load_columns(const Mm *m, const Corner *at, LV stage, LV *out)
{
    const Matmul *p = m->p;
    const MatmulScale *s = &p->scale[1];
    LV pair = mm_add(m, at->n, mm_times(m, mm_rest(m, m->lane, 4), 2));
    for (uint32_t i = 0; i < of_columns(p) && s->square; i++) {
        LV k = mm_over(m, mm_plus(m, at->n, HALF * i), BLOCK);
        k = inside(m, k, (p->g.n + BLOCK - 1) / BLOCK, 0);
        *out++ = load(m, s, at, stage, k, 1);
    }
    for (uint32_t i = 0; i < of_columns(p) && !s->square; i += 2) {
        LV k = inside(m, mm_plus(m, pair, 4 * i), p->g.n, 0);
        LV both = s->pairs ? load(m, s, at, stage, k, 2) : NULL;
        for (uint32_t c = 0; c < 2; c++)
            *out++ =
                both ? LLVMBuildExtractElement(m->s.b, both, mm_num(m, c), "")
                     : load(m, s, at, stage, mm_plus(m, k, c), 1);
    }
}

/* A tile may have no stage, and asks for the one behind its last. */
static Corner there(const Mm *m, const Corner *at)
{
    Corner to = *at;
    if (m->p->blocked.chosen)
        to.batch[MATMUL_CHOSEN] =
            inside(m, at->batch[MATMUL_CHOSEN], m->p->blocked.of, 0);
    return to;
}

void mm_scales_load(const Mm *m, const Corner *at, LV step, LV *out)
{
    if (!m->p->scales) return;
    int64_t stages = m->p->g.k / BLOCK;
    Corner to = there(m, at);
    LV stage = mm_add(m, mm_over(m, at->from, BLOCK), step);
    stage = inside(m, stage, stages, stages - 1);
    load_rows(m, &to, stage, out);
    load_columns(m, &to, stage, out + of_rows(m->p));
}

LV mm_scaled(const Mm *m, const LV *scales, uint32_t i, LV stage, LV sum)
{
    const Matmul *p = m->p;
    uint32_t each = p->t.n / 2, part = i / each, at = i % each;
    bool one = p->scale[1].square;
    uint32_t r = p->scale[0].square ? part : 2 * part + at / 2 % 2;
    uint32_t c = one ? 2 * at / HALF : at / 4 * 2 + at % 2;
    LV row = scales[r], column = scales[of_rows(p) + c];
    LV by = one ? LLVMBuildFMul(m->s.b, row, column, "") : row;
    LV x = one ? stage : LLVMBuildFMul(m->s.b, stage, column, "");
    return site_call(&m->s, "llvm.fma", (LV[]){x, by, sum}, 3);
}
