/*
 * safetensors.h: the weight files of the field.
 *
 *     u64 header length | JSON header | bytes
 *
 * The reader takes a strict subset: no duplicate names, no holes, overlaps or
 * trailing bytes, known dtypes, rank at most 32, a header of at most 100 MB
 * and a million tensors.  What it refuses, it names.
 */
#ifndef TITAN_SAFETENSORS_H
#define TITAN_SAFETENSORS_H

#include "titan.h"

enum { ST_MAX_RANK = 32 };

typedef struct StTensor {
    const char *name;
    uint32_t dtype; /* number of dtypes.def */
    uint32_t rank;
    const int64_t *shape;
    uint64_t begin, end; /* bytes in the data part */
} StTensor;

typedef struct StFile {
    StTensor *tensors; /* by offset */
    uint32_t n;
    const unsigned char *data; /* NULL after st_parse */
    uint64_t data_bytes;
    void *names, *shapes;
} StFile;

/* Checks a header of `size` bytes against a data part of `data_bytes`. */
TitanStatus st_parse(TitanStory *s, const char *header, size_t size,
                     uint64_t data_bytes, StFile *out);
/* Checks a whole file, which is memory of SIZE bytes that outlives it. */
TitanStatus st_view(TitanStory *s, const void *at, size_t size, StFile *out);
void st_close(StFile *f);

/* The header text of tensors in order, offsets assigned, padded with spaces
 * to a multiple of 8; for free(). */
char *st_header(StTensor *tensors, uint32_t n, size_t *size);

#endif
