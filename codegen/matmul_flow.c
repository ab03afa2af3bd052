/*
 * matmul_flow.c: arithmetic and control flow of a matmul kernel.
 */
#include "matmul_emit.h"

LV mm_num(const Mm *m, int64_t i)
{
    return sm90_i32(&m->s, i);
}

LV mm_add(const Mm *m, LV a, LV b)
{
    return LLVMBuildAdd(m->s.b, a, b, "");
}

LV mm_plus(const Mm *m, LV a, int64_t i)
{
    return i ? mm_add(m, a, mm_num(m, i)) : a;
}

LV mm_times(const Mm *m, LV a, int64_t i)
{
    return LLVMBuildMul(m->s.b, a, mm_num(m, i), "");
}

LV mm_over(const Mm *m, LV a, int64_t i)
{
    return LLVMBuildUDiv(m->s.b, a, mm_num(m, i), "");
}

LV mm_rest(const Mm *m, LV a, int64_t i)
{
    return LLVMBuildURem(m->s.b, a, mm_num(m, i), "");
}

LV mm_and(const Mm *m, LV a, LV b)
{
    return LLVMBuildAnd(m->s.b, a, b, "");
}

LV mm_is(const Mm *m, LLVMIntPredicate how, LV a, LV b)
{
    return LLVMBuildICmp(m->s.b, how, a, b, "");
}

LLVMBasicBlockRef mm_block(const Mm *m, const char *name)
{
    return LLVMAppendBasicBlockInContext(m->s.cx, m->fn, name);
}

void mm_enter(const Mm *m, LLVMBasicBlockRef b)
{
    LLVMPositionBuilderAtEnd(m->s.b, b);
}

LLVMBasicBlockRef mm_if(const Mm *m, LV when)
{
    LLVMBasicBlockRef then = mm_block(m, "then"), after = mm_block(m, "after");
    LLVMBuildCondBr(m->s.b, when, then, after);
    mm_enter(m, then);
    return after;
}

void mm_if_end(const Mm *m, LLVMBasicBlockRef after)
{
    LLVMBuildBr(m->s.b, after);
    mm_enter(m, after);
}

static LV phi(const Mm *m, LV from, LLVMBasicBlockRef before)
{
    LV x = LLVMBuildPhi(m->s.b, LLVMTypeOf(from), "");
    LLVMAddIncoming(x, &from, &before, 1);
    return x;
}

void mm_turns(const Mm *m, Turns *t, LV from, const LV *values, unsigned n)
{
    LLVMBasicBlockRef before = LLVMGetInsertBlock(m->s.b);
    t->head = mm_block(m, "turn");
    t->n = n;
    LLVMBuildBr(m->s.b, t->head);
    mm_enter(m, t->head);
    t->i = phi(m, from, before);
    for (unsigned i = 0; i < n; i++)
        t->carried[i] = phi(m, values[i], before);
}

void mm_turns_while(const Mm *m, Turns *t, LV more)
{
    LLVMBasicBlockRef body = mm_block(m, "body");
    t->exit = mm_block(m, "done");
    LLVMBuildCondBr(m->s.b, more, body, t->exit);
    mm_enter(m, body);
}

void mm_turns_end(const Mm *m, Turns *t, int64_t step, const LV *values)
{
    LV next = mm_plus(m, t->i, step);
    LLVMBasicBlockRef last = LLVMGetInsertBlock(m->s.b);
    LLVMBuildBr(m->s.b, t->head);
    LLVMAddIncoming(t->i, &next, &last, 1);
    for (unsigned i = 0; i < t->n; i++) {
        LV value = values[i];
        LLVMAddIncoming(t->carried[i], &value, &last, 1);
    }
    mm_enter(m, t->exit);
}
