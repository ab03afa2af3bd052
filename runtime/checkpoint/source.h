/*
 * source.h: the tensors of a folder of safetensors files, by name.
 */
#ifndef TITAN_SOURCE_H
#define TITAN_SOURCE_H

#include <jansson.h>

#include "../files.h"
#include "../safetensors.h"

/* A tensor of an open file. */
typedef struct SourceTensor {
    const StTensor *tensor;
    const unsigned char *data;
    uint32_t file;
    bool used; /* set by who reads it */
} SourceTensor;

typedef struct SourceFile {
    StFile file;
    const void *map;
    size_t bytes;
} SourceFile;

typedef struct Source {
    Files *from;
    SourceFile *files;
    uint32_t nfiles;
    SourceTensor *tensors; /* by name */
    uint32_t n;
} Source;

/* Opens, of the real file system, DIR's model.safetensors, or its index and the
 * shards that this names, or else adapter_model.safetensors. Names in an index
 * are data: a shard is a plain file name. */
TitanStatus source_open(TitanStory *s, const char *dir, Source *out);
/* One file of it; or those of DIR that are named. */
TitanStatus source_open_file(TitanStory *s, const char *path, Source *out);
TitanStatus source_open_files(TitanStory *s, Files *files, const char *dir,
                              const char *const *names, uint32_t n,
                              Source *out);
void source_close(Source *src);

/* NULL: there is none. */
SourceTensor *source_find(const Source *src, const char *name);

/* The shards that a model.safetensors.index.json names, in its own memory:
 * plain file names, each once. */
typedef struct SourceIndex {
    const char **shards;
    uint32_t n;
    json_t *text;
} SourceIndex;
TitanStatus source_index(TitanStory *s, const char *text, size_t size,
                         SourceIndex *out);
void source_index_free(SourceIndex *x);

/* "[2, 3]" */
void shape_text(const int64_t *shape, uint32_t rank, char *out, size_t size);
/* A name that is a file's own, in the folder in which it stands. */
bool is_plain_name(const char *name);

#endif
