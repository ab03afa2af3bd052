/*
 * cuda_gemm.h: a gemm of the image as the library has it, and how it is done.
 */
#ifndef TITAN_CUDA_GEMM_H
#define TITAN_CUDA_GEMM_H

#include "cuda_device.h"

#define CUDA_GEMM_WORKSPACE (UINT64_C(64) << 20)
enum { CUDA_GEMM_BATCHES = 4 };

struct CudaGemm {
    CudaGemm *next;
    uint32_t row, parts; /* of the command's rows, this many are one call */
    TitanGemm of;        /* the row, of so many */
    uint64_t align[4];   /* of A, B, D, C of the command */
    bool swapped;        /* the library's A is the command's B */
    LtDesc desc;
    LtLayout a, b, d;
    LtAlgo algo;
    /* loops around the call */
    uint32_t nloops;
    int64_t count[CUDA_GEMM_BATCHES], step[4][CUDA_GEMM_BATCHES]; /* bytes */
};

/* One call, without the loops around. */
TitanStatus cuda_gemm_call(Cuda *c, const CudaGemm *x,
                           const CuPtr at[TITAN_GEMM_PLACES],
                           const LtAlgo *algo, uint32_t stream);

/* ------------------------------------------------------ cuda_choose.c -- */

/* Fills X->algo.  AT: the operands of one call. */
TitanStatus cuda_choose(Cuda *c, CudaGemm *x,
                        const CuPtr at[TITAN_GEMM_PLACES]);

/* ------------------------------------------------------- cuda_table.c -- */

/* Choices as text, one a line, sorted:  KEY algo=HEX us=TIME
 * The key has the GPU, the version of the library and the gemm. */
typedef struct CudaTable {
    char **lines;
    uint32_t n;
    bool changed;
} CudaTable;

/* Tables that are built in, as they lie in tune/; the last has no name. */
typedef struct CudaText {
    const char *name, *text;
    uint32_t size;
} CudaText;
extern const CudaText cuda_texts[];
bool cuda_text_find(const CudaText *texts, const char *key, LtAlgo *out);

TitanStatus cuda_table_read(TitanStory *s, const char *path, CudaTable *out);
bool cuda_table_find(const CudaTable *t, const char *key, bool timed,
                     LtAlgo *out);
/* Takes the place of the line that has this key. */
TitanStatus cuda_table_put(TitanStory *s, CudaTable *t, const char *key,
                           const LtAlgo *algo, double us);
/* Writes the file anew, if something was put. */
TitanStatus cuda_table_write(TitanStory *s, CudaTable *t, const char *path);
void cuda_table_release(CudaTable *t);

#endif
