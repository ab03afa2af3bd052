/*
 * tmem.h: a block's tensor memory and what is open there, for tmem.c and
 * scaled.c.
 */
#ifndef TITAN_TESTS_PTX_TMEM_H
#define TITAN_TESTS_PTX_TMEM_H

#include "tests/ptx/tensor.h"

enum { TMEM_LANES = 128, TMEM_COLUMNS = 512, TMEM_QUARTER = 32 };

/* Columns of all lanes. */
typedef struct TmemSpan {
    uint32_t at, n;
} TmemSpan;

typedef enum TmemKind { TMEM_copy, TMEM_product, TMEM_commit } TmemKind;

/* Asked for by a thread. */
typedef struct TmemOp {
    TmemKind kind;
    bool done;
    uint32_t thread, line;
    uint64_t a, b;  /* descriptors; of a copy A */
    uint32_t about; /* of a product: types and shape */
    bool adds;
    TmemSpan to, scale[2]; /* D, or where a copy goes */
    uint32_t barrier;      /* of a commit */
    PtxStamp stamp;        /* of race.h */
} TmemOp;

struct PtxTmem {
    uint32_t (*cell)[TMEM_COLUMNS]; /* of TMEM_LANES */
    TmemSpan held[TMEM_COLUMNS / 32];
    unsigned nheld;
    bool closed; /* nobody allocates any more */
    /* Those that are done stay until a commit has told of them. */
    TmemOp *ops; /* in order of issue */
    uint32_t nops, ops_cap;
    struct TmemLoad {
        PtxWarp *w;
        const PtxInst *i;
        uint32_t at; /* column */
    } * loads;       /* on their way */
    uint32_t nloads, loads_cap;
};

/* scaled.c: why a descriptor of an operand, or of a product, is refused; NULL.
 */
const char *ptx_tmem_refuses_tile(uint64_t bits);
const char *ptx_tmem_refuses_product(uint32_t about);
/* Of a product's descriptor. */
uint32_t ptx_tmem_product_n(uint32_t about);
/* What a copy or product reads and writes; false after a fault. */
bool ptx_tmem_copy(PtxBlock *b, const TmemOp *o);
bool ptx_tmem_product(PtxBlock *b, const TmemOp *o);

#endif
