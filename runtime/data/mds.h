/*
 * mds.h: data sets of MosaicML's streaming: an index.json, and shards.
 */
#ifndef TITAN_DATA_MDS_H
#define TITAN_DATA_MDS_H

#include "paths.h"

#include <jansson.h>

enum { MDS_MOST_COLUMNS = 64 };

/* One of the two files that a shard may be. */
typedef struct MdsFile {
    const char *name; /* NULL: there is none such */
    int64_t bytes;
    const json_t *hashes; /* object: algorithm, digest in hexadecimal */
} MdsFile;

/* What the index says of a shard; names belong to `entry`. */
struct MdsShard {
    json_t *entry;
    char *dir;
    MdsFile raw, packed;
    const char *packing; /* "gz" or "zstd" */
    int64_t samples;
    uint32_t columns;
    const char *names[MDS_MOST_COLUMNS], *encodings[MDS_MOST_COLUMNS];
    int64_t sizes[MDS_MOST_COLUMNS]; /* -1: each sample says it */
};

/* Appends the shards of an index that lies in DIR. */
TitanStatus mds_index(TitanStory *s, const char *dir, const char *index,
                      DataFiles *out);
void mds_shard_free(MdsShard *shard);

#endif
