/*
 * memplan.c: a place for every buffer.
 *
 *   needs    kernel view
 *   gives    base and offset of every buffer and of every entry's arguments
 *   keeps    everything else
 *   result   two buffers overlap only if every use of one comes before every
 *            use of the other, in whatever order streams and events allow
 *
 * Slots lie in `persistent`, in the order of the module, once for all entries.
 * Inputs, scalars and results of an entry lie in `io`, from 0 in each.  What
 * is left is temporary: of lanes in `lane`, else in `frame`.
 *
 * Temporaries are placed one after the other, each in the smallest gap that
 * takes it between those that are placed and live with it.  The order decides
 * how good that is: a few orders are tried, and the lowest peak is kept.
 */
#include "pass.h"

#include <inttypes.h>
#include <stdlib.h>

enum { ALIGN = 256 };

static int64_t aligned(int64_t n)
{
    return (n + ALIGN - 1) & -(int64_t)ALIGN;
}

static void set_place(Module *m, Inst *in, const char *base, int64_t offset)
{
    AttrList l = attr_list(m, in->attr);
    attr_drop(&l, AT_base);
    attr_drop(&l, AT_offset);
    attr_put_id(&l, AT_base, module_str(m, base).id);
    attr_put_int(&l, AT_offset, offset);
    in->attr = attr_intern(m, &l);
}

/* --------------------------------------------------- slots and other ports --
 */

typedef struct Ports {
    Module *m;
    Map slots; /* path -> number in offsets */
    VEC(int64_t) offsets;
    int64_t persistent, io;
} Ports;

static int64_t slot_place(Ports *p, Str path, Type t)
{
    uint32_t at;
    if (map_find(&p->slots, path.id, &at)) return p->offsets.at[at];
    int64_t offset = p->persistent;
    map_add(&p->slots, path.id, p->offsets.n);
    vec_push(p->m->scratch, &p->offsets, offset);
    p->persistent += aligned(type_bytes(p->m, t));
    return offset;
}

static void place_port(Ports *p, Fn *fn, Value v, const Port *port)
{
    Inst *in = &fn->insts[v.id];
    if (role_is_slot(port->role)) {
        set_place(p->m, in, "persistent",
                  slot_place(p, port->path, port->type));
        return;
    }
    Layout l = layout_of(p->m, fn, v, p->m->scratch);
    set_place(p->m, in, "io", p->io);
    p->io += aligned(layout_bytes(p->m, l));
}

static void place_ports(Module *m)
{
    Ports p = {.m = m};
    map_init(&p.slots, m->scratch);
    for (uint32_t i = 0; i < m->slots.n; i++)
        slot_place(&p, m->slots.at[i].path, m->slots.at[i].type);
    for (uint32_t f = 0; f < m->fns.n; f++) {
        Fn *fn = m->fns.at[f];
        if (fn->view != VIEW_kernel || !fn->entry) continue;
        p.io = 0;
        for (uint32_t i = 0; i < fn->nparams; i++)
            place_port(&p, fn, (Value){i}, &fn->params[i]);
        for (uint32_t i = 0; i < fn->nresults; i++)
            if (inst_of(fn, fn->result_values[i])->op == OP_buffer)
                place_port(&p, fn, fn->result_values[i], &fn->results[i]);
    }
}

/* ------------------------------------------------------------ temporaries --
 */

typedef struct Block {
    const LiveBuffer *b;
    int64_t offset;
    uint32_t number;
} Block;

typedef struct Arrange {
    Block *blocks; /* in the order in which they are placed */
    uint32_t n;
    const Live *live;
    Block **meets; /* scratch */
} Arrange;

static int by_number(const Block *x, const Block *y)
{
    return x->number < y->number ? -1 : 1;
}

static int by_size(const void *a, const void *b)
{
    const Block *x = a, *y = b;
    if (x->b->bytes != y->b->bytes) return x->b->bytes > y->b->bytes ? -1 : 1;
    return by_number(x, y);
}

static int by_span(const void *a, const void *b)
{
    const Block *x = a, *y = b;
    int64_t p = x->b->last - x->b->first, q = y->b->last - y->b->first;
    if (p != q) return p > q ? -1 : 1;
    return by_size(a, b);
}

static int by_area(const void *a, const void *b)
{
    const Block *x = a, *y = b;
    double p = (double)x->b->bytes * (double)(x->b->last - x->b->first + 1);
    double q = (double)y->b->bytes * (double)(y->b->last - y->b->first + 1);
    if (p != q) return p > q ? -1 : 1;
    return by_number(x, y);
}

static int by_start(const void *a, const void *b)
{
    const Block *x = a, *y = b;
    if (x->b->first != y->b->first) return x->b->first < y->b->first ? -1 : 1;
    return by_size(a, b);
}

static int by_offset(const void *a, const void *b)
{
    const Block *x = *(Block *const *)a, *y = *(Block *const *)b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return by_number(x, y);
}

/* The start of the smallest gap that takes the block. */
static int64_t best_gap(Arrange *r, uint32_t block)
{
    const LiveBuffer *b = r->blocks[block].b;
    uint32_t n = 0;
    for (uint32_t i = 0; i < block; i++)
        if (live_together(r->live, r->blocks[i].b, b))
            r->meets[n++] = &r->blocks[i];
    qsort(r->meets, n, sizeof *r->meets, by_offset);
    int64_t end = 0, best = -1, best_size = INT64_MAX;
    for (uint32_t i = 0; i < n; i++) {
        int64_t gap = r->meets[i]->offset - end;
        if (gap >= b->bytes && gap < best_size) {
            best = end;
            best_size = gap;
        }
        int64_t after = aligned(r->meets[i]->offset + r->meets[i]->b->bytes);
        if (after > end) end = after;
    }
    return best >= 0 ? best : end;
}

static int64_t arrange(Arrange *r, int (*order)(const void *, const void *))
{
    int64_t peak = 0;
    qsort(r->blocks, r->n, sizeof *r->blocks, order);
    for (uint32_t i = 0; i < r->n; i++) {
        Block *k = &r->blocks[i];
        k->offset = best_gap(r, i);
        int64_t end = aligned(k->offset + k->b->bytes);
        if (end > peak) peak = end;
    }
    return peak;
}

static int64_t place_temporaries(Module *m, const Live *live, bool lane)
{
    static int (*const orders[])(const void *, const void *) = {
        by_size, by_area, by_span, by_start};
    Arrange r = {.blocks = NEW_ARRAY(m->scratch, Block, (size_t)live->n + 1),
                 .live = live,
                 .meets = NEW_ARRAY(m->scratch, Block *, (size_t)live->n + 1)};
    for (uint32_t i = 0; i < live->n; i++)
        if (live->at[i].lane == lane)
            r.blocks[r.n++] = (Block){.b = &live->at[i], .number = i};
    uint32_t best = 0;
    int64_t peak = INT64_MAX;
    for (uint32_t o = 0; o < sizeof orders / sizeof *orders; o++) {
        int64_t p = arrange(&r, orders[o]);
        if (p >= peak) continue;
        peak = p;
        best = o;
    }
    peak = arrange(&r, orders[best]);
    for (uint32_t i = 0; i < r.n; i++) {
        const LiveBuffer *b = r.blocks[i].b;
        set_place(m, &b->fn->insts[b->value.id], lane ? "lane" : "frame",
                  r.blocks[i].offset);
    }
    return peak;
}

bool pass_memplan(Module *m, PassCtx *cx)
{
    place_ports(m);
    Live live = live_find(m, m->scratch);
    for (int lane = 0; lane < 2; lane++) {
        int64_t moment, peak = place_temporaries(m, &live, lane);
        int64_t least = live_most(&live, lane, &moment, m->scratch);
        if (cx->remarks)
            buf_printf(cx->remarks,
                       "memplan: %s has %" PRId64 " bytes, at least %" PRId64
                       " live at once\n",
                       lane ? "lane" : "frame", peak, least);
    }
    return true;
}
