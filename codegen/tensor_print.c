/*
 * tensor_print.c: a tensor plan as part of a kernel's canonical text.
 */
#include "tensor.h"

static void print_panel(const Kir *k, const Panel *p, Buf *out)
{
    buf_printf(out, "panel arg %u %s%s %lld x %lld at %u [", p->arg,
               p->swept ? "swept" : "own", p->across ? " across" : "",
               (long long)p->lines, (long long)p->terms, p->offset);
    for (uint32_t i = 0; i < p->rank; i++) {
        if (i) buf_puts(out, ", ");
        ix_print(k, p->at[i], out);
    }
    buf_puts(out, "]\n");
}

static void print_map(const TitanMap *m, Buf *out)
{
    buf_printf(out, "map arg %u swizzle %u", m->arg, m->swizzle);
    for (uint32_t i = 0; i < m->rank; i++)
        buf_printf(out, " %lld:%lld/%u", (long long)m->size[i],
                   (long long)m->stride[i], m->box[i]);
    buf_putc(out, '\n');
}

static void print_cross(const Kir *k, const TensorCross *x, Buf *out)
{
    const Ix at[] = {x->turn, x->ticket};
    buf_printf(
        out,
        "cross %u pairs of %u, %u sums by panel %u, %u terms%s, arg %u, %u [",
        x->pairs, x->sweep, x->stages, x->panel, x->terms,
        x->by_terms ? " shared" : "", x->sums, x->turns);
    for (uint32_t i = 0; i < 2; i++) {
        if (i) buf_puts(out, ", ");
        ix_print(k, at[i], out);
    }
    buf_puts(out, "]\n");
    print_panel(k, &x->to, out);
}

void tensor_print(const TensorTile *t, const Kir *k, Buf *out)
{
    buf_printf(out, "tensor %u groups %lld x %lld slots %u%s%s%s shared %u\n",
               t->groups, (long long)t->lines, (long long)t->columns, t->slots,
               t->lags ? " lags" : "", t->takes_turns ? " turns" : "",
               t->listed ? " listed" : "", t->shared);
    for (uint32_t i = 0; i < t->panels.n; i++)
        print_panel(k, &t->panels.at[i], out);
    for (uint32_t i = 0; i < t->maps.n; i++)
        print_map(&t->maps.at[i], out);
    for (uint32_t i = 0; i < t->dots.n; i++)
        buf_printf(out, "dot %u = panel %u x %u\n", t->dots.at[i].piece,
                   t->dots.at[i].own, t->dots.at[i].swept);
    for (uint32_t i = 0; i < t->sweeps.n; i++) {
        const TensorSweep *s = &t->sweeps.at[i];
        buf_printf(out, "sweep %u turn %u loop %u acc %u", s->piece, s->turn,
                   s->columns, s->acc);
        if (s->wide)
            buf_printf(out, " wide %u by panel %u", s->terms, s->panel);
        buf_printf(out, " by %d scale %a\n", s->by, s->scale);
    }
    if (t->cross) print_cross(k, t->cross, out);
    for (uint32_t i = 0; i < t->passes.n; i++)
        buf_printf(out, "pass %u nests from turn %u\n", t->passes.at[i].nnests,
                   t->passes.at[i].turn);
}
