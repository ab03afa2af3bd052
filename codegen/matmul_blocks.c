/*
 * matmul_blocks.c: products whose blocks of rows, or of terms, have ids.
 *
 * A block of rows takes the matrix of its id; where the id counts for nothing
 * the product has no terms and its result is zero.  Blocks of terms are added
 * up in the result of their id: ids ascend, so those of one result lie side by
 * side, and two searches find them.
 */
#include "matmul_emit.h"

static LV id_at(const Mm *m, LV i)
{
    LLVMTypeRef i32 = LLVMInt32TypeInContext(m->s.cx);
    LV ids = LLVMGetParam(m->fn, m->p->blocked.ids);
    LV x = LLVMBuildLoad2(m->s.b, i32,
                          LLVMBuildGEP2(m->s.b, i32, ids, &i, 1, ""), "");
    LLVMSetAlignment(x, 4);
    return x;
}

/* The number of ids below ID, bit by bit. */
static LV ids_below(const Mm *m, LV id)
{
    const MatmulBlocks *b = &m->p->blocked;
    LV n = mm_num(m, 0), last = mm_num(m, b->n - 1);
    int64_t bit = 1;
    while (2 * bit <= b->n)
        bit *= 2;
    for (; bit > 0; bit /= 2) {
        LV next = mm_plus(m, n, bit), at = mm_plus(m, n, bit - 1);
        LV inside = mm_is(m, LLVMIntSLE, next, mm_num(m, b->n));
        at = LLVMBuildSelect(m->s.b, inside, at, last, "");
        LV below = mm_is(m, LLVMIntSLT, id_at(m, at), id);
        n = LLVMBuildSelect(m->s.b, mm_and(m, inside, below), next, n, "");
    }
    return n;
}

void mm_choose(const Mm *m, Corner *at)
{
    const MatmulBlocks *b = &m->p->blocked;
    LV id = id_at(m, mm_over(m, at->m, b->each));
    LV counts = mm_is(m, LLVMIntULT, id, mm_num(m, b->of));
    at->batch[MATMUL_CHOSEN] = id;
    at->steps = LLVMBuildSelect(m->s.b, counts, at->steps, mm_num(m, 0), "");
}

void mm_gather_terms(const Mm *m, Corner *at)
{
    const MatmulBlocks *b = &m->p->blocked;
    LV id = at->batch[MATMUL_CHOSEN];
    LV first = ids_below(m, id), end = ids_below(m, mm_plus(m, id, 1));
    LV n = LLVMBuildSub(m->s.b, end, first, "");
    at->from = mm_times(m, first, b->each);
    at->steps = mm_times(m, n, b->each / matmul_k(m->p));
}
