/*
 * matmul_tally.c: sums and maxima of neighbouring columns beside a product.
 *
 * A row of a unit lies in four neighbouring threads, which hold two rows each.
 * A thread adds up what it has in the order of the columns; the four add up
 * theirs by shuffles when the last column was there, and the first of them
 * stores.  The order is that of the columns alone, so bits do not depend on the
 * tile.
 */
#include "matmul_emit.h"

enum { SHARERS = 4 /* threads that have a row */ };

static LV joined(const Mm *m, const MatmulTally *t, LV a, LV b)
{
    LV both[3] = {a, b, NULL};
    return emit_scalar(&m->s, t->max ? SC_max : SC_add, DT_f32, both);
}

void mm_tally_add(const Mm *m, const MatmulTally *t, LV unit, MmTally *to)
{
    const Matmul *p = m->p;
    Site s = m->s;
    s.w = MATMUL_UNIT;
    DType d = type_dtype(p->m, value_type(p->group, t->of));
    if (d != DT_f32) unit = emit_dtype_cast(&s, DT_f32, d, unit);
    for (unsigned i = 0; i < MATMUL_UNIT; i++) {
        LV x = LLVMBuildExtractElement(s.b, unit, mm_num(m, i), "");
        LV *row = &to->row[i / 2 % 2];
        *row = *row ? joined(m, t, *row, x) : x;
    }
}

/* The address of a row's tally. */
static LV place_of(const Mm *m, const MatmulTally *t, const Corner *at, LV row,
                   LV column)
{
    LLVMBuilderRef b = m->s.b;
    LLVMTypeRef i64 = LLVMInt64TypeInContext(m->s.cx);
    LLVMTypeRef f32 = LLVMFloatTypeInContext(m->s.cx);
    LV to = sm90_i64(&m->s, 0);
    for (uint32_t i = 0; i < 2 + m->p->g.nbatch; i++) {
        LV x = i == 0   ? row
               : i == 1 ? mm_over(m, column, t->columns)
                        : at->batch[i - 2];
        int64_t by = i == 0   ? t->at.row
                     : i == 1 ? t->at.col
                              : t->at.batch[i - 2];
        x = LLVMBuildMul(b, LLVMBuildZExt(b, x, i64, ""),
                         sm90_i64(&m->s, (uint64_t)by), "");
        to = LLVMBuildAdd(b, to, x, "");
    }
    return LLVMBuildGEP2(b, f32, LLVMGetParam(m->fn, t->arg), &to, 1, "");
}

void mm_tally_end(const Mm *m, const MatmulTally *t, const Corner *at, LV row,
                  LV column, MmTally *of)
{
    const Gemm *g = &m->p->g;
    LV here = mm_add(m, row, mm_over(m, m->lane, SHARERS));
    LV first = mm_is(m, LLVMIntEQ, mm_rest(m, m->lane, SHARERS), mm_num(m, 0));
    first = mm_and(m, first, mm_is(m, LLVMIntULT, column, mm_num(m, g->n)));
    for (unsigned r = 0; r < 2; r++) {
        LV x = of->row[r], mine = mm_plus(m, here, 8 * r);
        for (unsigned by = 1; by < SHARERS; by *= 2)
            x = joined(m, t, x, sm90_shuffle_xor(&m->s, x, by));
        LV in = mm_is(m, LLVMIntULT, mine, mm_num(m, g->m));
        LLVMBasicBlockRef after = mm_if(m, mm_and(m, first, in));
        LLVMBuildStore(m->s.b, x, place_of(m, t, at, mine, column));
        mm_if_end(m, after);
    }
    sm90_sync_warp(&m->s);
    *of = (MmTally){{NULL, NULL}};
}
