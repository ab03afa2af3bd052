/*
 * shards.h: a set of tensors as safetensors files.
 *
 * Up to 5 GB they are one file, STEM.safetensors; above that
 * STEM-00001-of-0000N.safetensors and so on, with STEM.safetensors.index.json
 * to say which tensor is where, as the field does it.
 */
#ifndef TITAN_SHARDS_H
#define TITAN_SHARDS_H

#include "../files.h"
#include "../safetensors.h"
#include "digest.h"

enum { SHARDS_MOST = 4096, SHARD_NAME = 80 };

/* Where the bytes of tensors come from. */
typedef struct ShardSource {
    /* All of tensor I, in AT: in place, or in ROOM, which has as many bytes. */
    TitanStatus (*bytes)(struct ShardSource *src, uint32_t i, char *room,
                         const char **at);
    const StTensor *tensors; /* name, dtype, rank, shape */
    uint32_t n;
    uint64_t most; /* bytes of a file's tensors; 0: SHARD_BYTES */
} ShardSource;

#define SHARD_BYTES UINT64_C(5000000000)

/* A file that was written. */
typedef struct ShardFile {
    char name[SHARD_NAME];
    uint64_t bytes, header; /* of the file; before the first tensor */
    uint32_t first, n;      /* its tensors; n = 0 for an index */
    Digest whole;
    Digest *blocks;
    uint64_t nblocks;
} ShardFile;

typedef struct ShardSet {
    ShardFile *files;
    uint32_t n;
} ShardSet;

/* Adds the files to OUT (NULL: nobody wants to know).  Each is whole and on the
 * disk when it has its name; the folder is not synced. */
TitanStatus shards_write(TitanStory *s, Files *files, const char *dir,
                         const char *stem, ShardSource *src, ShardSet *out);
void shards_free(ShardSet *set);

static inline uint64_t shard_tensor_bytes(const StTensor *t)
{
    uint64_t n = titan_dtype_bytes(t->dtype);
    for (uint32_t d = 0; d < t->rank; d++)
        n *= (uint64_t)t->shape[d];
    return n;
}

#endif
