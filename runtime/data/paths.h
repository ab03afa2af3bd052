/*
 * paths.h: which files a --data names, and what they are.
 */
#ifndef TITAN_DATA_PATHS_H
#define TITAN_DATA_PATHS_H

#include "../titan.h"

typedef enum DataFormat {
    DATA_text, /* .txt, .txt.gz, .txt.zst, and what no other row names */
    DATA_u16,
    DATA_u32,
    DATA_bin, /* llm.c or nanoGPT */
    DATA_jsonl,
    DATA_megatron, /* the .bin, an .idx lies beside it */
    DATA_mds       /* a shard of an index */
} DataFormat;

typedef struct MdsShard MdsShard;

typedef struct DataFile {
    char *path;
    DataFormat format;
    int64_t bytes;   /* as they lie on the disk */
    MdsShard *shard; /* of DATA_mds */
} DataFile;

typedef struct DataFiles {
    DataFile *at;
    uint32_t n, cap;
} DataFiles;

/* Appends the files that PATH names, in order: a file; a directory: an MDS
 * data set where it has an index.json, else the data files in it and below, by
 * name; or a pattern of these as in a shell, by name. */
TitanStatus paths_expand(TitanStory *s, const char *path, DataFiles *out);
void paths_release(DataFiles *files);

/* Takes PATH, from malloc. */
TitanStatus paths_add(TitanStory *s, DataFiles *out, const DataFile *f);
/* DIR/NAME, from malloc. */
char *paths_join(const char *dir, const char *name);

#endif
