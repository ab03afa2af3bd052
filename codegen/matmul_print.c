/*
 * matmul_print.c: a matmul kernel as text: the key under which those that do
 * the same are one.
 */
#include "matmul.h"

static void print_view(const MatmulView *v, Buf *out)
{
    const TitanMap *m = &v->map;
    buf_printf(out, " view %u %s%s", m->arg, dtype_name((DType)m->dtype),
               v->across ? " across" : "");
    for (uint32_t i = 0; i < m->rank; i++)
        buf_printf(out, " %lld*%lld/%u", (long long)m->size[i],
                   (long long)m->stride[i], m->box[i]);
    for (uint32_t i = 2; i < m->rank; i++)
        buf_printf(out, " b%u", v->batch[i]);
}

static void print_value(const Matmul *p, const MatmulValue *v, Buf *out)
{
    buf_printf(out, " value %u %s %u in %d", v->arg, dtype_name(v->dtype),
               v->value.id, v->view);
    if (v->view >= 0) return;
    buf_printf(out, " %lld %lld", (long long)v->at.row, (long long)v->at.col);
    if (v->parted) buf_printf(out, " part %lld", (long long)v->part);
    if (v->pairs) buf_puts(out, " pairs");
    for (uint32_t i = 0; i < p->g.nbatch; i++)
        buf_printf(out, " %lld", (long long)v->at.batch[i]);
}

static void print_tally(const Matmul *p, const MatmulTally *t, Buf *out)
{
    buf_printf(out, " tally %u %s of %u by %u in %lld %lld", t->arg,
               t->max ? "max" : "sum", t->of.id, t->columns,
               (long long)t->at.row, (long long)t->at.col);
    for (uint32_t i = 0; i < p->g.nbatch; i++)
        buf_printf(out, " %lld", (long long)t->at.batch[i]);
}

/* Maps by their expressions, which are interned and name no axis. */
static void print_body(const Module *m, const Fn *f, Buf *out)
{
    for (uint32_t i = f->nparams; i < f->ninsts; i++) {
        const Inst *in = &f->insts[i];
        buf_printf(out, " op %u", in->op);
        if (in->op == OP_map) buf_printf(out, " %u", in->attr.id);
        if (in->op == OP_reduce)
            buf_puts(out, attr_is(m, in->attr, AT_kind, "max") ? " max" : "");
        if (in->op == OP_pick)
            buf_printf(out, " at %lld",
                       (long long)attr_int(m, in->attr, AT_start, 0));
        for (uint32_t k = 0; k < in->nargs; k++)
            buf_printf(out, " %u", inst_arg(f, in, k).id);
    }
}

void matmul_print(const Matmul *p, Buf *out)
{
    const Gemm *g = &p->g;
    buf_printf(out, "matmul %s %lld %lld %lld stages %u ahead %u args %u",
               p->t.name, (long long)g->m, (long long)g->n, (long long)g->k,
               p->t.stages, p->t.ahead, p->nargs);
    for (uint32_t i = 0; i < g->nbatch; i++)
        buf_printf(out, " batch %lld", (long long)g->batch[i]);
    for (uint32_t i = 0; i < p->nviews; i++)
        print_view(&p->view[i], out);
    for (uint32_t i = 0; i < p->nvalues; i++)
        print_value(p, &p->value[i], out);
    for (uint32_t i = 0; i < p->ntallies; i++)
        print_tally(p, &p->tally[i], out);
    if (p->promotes) buf_puts(out, " promotes");
    matmul_print_scales(p, out);
    if (p->whole)
        buf_printf(out, " %s %u of %u", p->shares ? "shares" : "parts", p->part,
                   p->whole);
    if (matmul_is_blocked(p))
        buf_printf(out, " blocks %lld of %lld by %u into %lld",
                   (long long)p->blocked.n, (long long)p->blocked.each,
                   p->blocked.ids, (long long)p->blocked.of);
    print_body(p->m, p->group, out);
}
