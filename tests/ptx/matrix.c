/*
 * matrix.c: matrices of 8 x 8 numbers of 16 bits, between shared memory and a
 * warp's registers.
 *
 * Lane 8 m + r names row r of matrix m; register m of lane l has two neighbours
 * of row l / 4, or of column l / 4 where it is transposed.
 */
#include "tests/ptx/tensor.h"

#include <string.h>

enum { SIDE = 8, ROW = 16 /* bytes */ };

typedef uint16_t Matrix[SIDE][SIDE];

static unsigned how_many(const PtxInst *i)
{
    return ptx_has(i, PM_x4) ? 4 : ptx_has(i, PM_x2) ? 2 : 1;
}

/* The two numbers of lane L. */
static void pair(Matrix m, bool turned, unsigned l, uint16_t *out[2])
{
    for (unsigned k = 0; k < 2; k++)
        out[k] = turned ? &m[l % 4 * 2 + k][l / 4] : &m[l / 4][l % 4 * 2 + k];
}

/* Rows to or from shared memory. */
static bool move(PtxWarp *w, const PtxInst *i, Matrix *m, bool writes)
{
    const PtxArg *at = ptx_arg(w, i, writes ? 0 : 1);
    for (unsigned l = 0; l < how_many(i) * SIDE; l++) {
        unsigned char *p =
            ptx_shared(w, i, (int)l, ptx_get(w, at, l), ROW, 0, writes, false);
        if (!p) return false;
        if (writes)
            memcpy(p, m[l / SIDE][l % SIDE], ROW);
        else
            memcpy(m[l / SIDE][l % SIDE], p, ROW);
    }
    return true;
}

static const PtxArg *part(const PtxWarp *w, const PtxArg *a, unsigned k)
{
    return a->kind == PA_list ? ptx_item(w, a, k) : a;
}

PtxStep ptx_do_matrix(PtxWarp *w, const PtxInst *i, uint32_t mask)
{
    bool loads = i->op == PO_ldmatrix, turned = ptx_has(i, PM_trans);
    const PtxArg *regs = ptx_arg(w, i, loads ? 0 : 1);
    Matrix m[4];
    if (mask != UINT32_MAX)
        return ptx_fault(w, i, -1, "lanes of the warp are not there");
    if (loads && !move(w, i, m, false)) return PX_fault;
    for (unsigned k = 0; k < how_many(i); k++)
        for (unsigned l = 0; l < PTX_LANES; l++) {
            uint16_t *at[2];
            pair(m[k], turned, l, at);
            if (loads) {
                ptx_put(w, part(w, regs, k), l,
                        *at[0] | (uint64_t)*at[1] << 16);
                continue;
            }
            uint64_t x = ptx_get(w, part(w, regs, k), l);
            *at[0] = (uint16_t)x;
            *at[1] = (uint16_t)(x >> 16);
        }
    if (!loads && !move(w, i, m, true)) return PX_fault;
    return PX_next;
}
