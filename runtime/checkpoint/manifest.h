/*
 * manifest.h: what a checkpoint says of itself, MANIFEST.json.
 *
 *     {"format": "titan checkpoint", "version": 1,
 *      "kind": "full" | "model", "step": N, "updates": N, "tokens": N,
 *      "seed": N, "artifact": "hash of the image", "config": {...},
 *      "data": the state of the reader, or null,
 *      "axes": {"name of a state": "its axes as they lie", ...},
 *      "files": [{"name": "...", "bytes": N, "xxh3": "32 hex digits",
 *                 "blocks": "32 for each MiB", "tensors": [["name", N], ...]},
 *                ...],
 *      "digest": "32 hex digits"}
 *
 * A tensor stands with the byte of its file at which it ends; the first begins
 * behind the header.  The digest is that of all bytes in front of its own
 * value, and nothing but `"}` and a newline follows it.
 */
#ifndef TITAN_MANIFEST_H
#define TITAN_MANIFEST_H

#include <jansson.h>

#include "shards.h"

#define MANIFEST_NAME "MANIFEST.json"
enum { MANIFEST_VERSION = 1 };

typedef struct ManifestTensor {
    const char *name;
    uint64_t end;
} ManifestTensor;

typedef struct ManifestFile {
    const char *name;
    char *own;              /* the name of a file that was written */
    uint64_t bytes, header; /* of the file; before the first tensor */
    Digest whole;
    Digest *blocks; /* digest_blocks(bytes) */
    ManifestTensor *tensors;
    uint32_t ntensors;
} ManifestFile;

typedef struct Manifest {
    int64_t step, updates, tokens, seed;
    bool model_only;
    const char *artifact;         /* 32 hex digits */
    json_t *config, *data, *axes; /* axes: of state_axes, or NULL */
    ManifestFile *files;
    uint32_t n;
    json_t *text; /* of one that was read: what names and values lie in */
} Manifest;

/* N files that were written, with ROWS, the tensors that they were made of;
 * the names of tensors stay theirs. */
TitanStatus manifest_add(TitanStory *s, Manifest *m, const StTensor *rows,
                         const ShardFile *files, uint32_t n);

/* Writes DIR/MANIFEST.json, whole or not at all. */
TitanStatus manifest_write(TitanStory *s, Files *files, const char *dir,
                           const Manifest *m);

/* IO: there is none, or it cannot be read; BAD_DATA: it is damaged; MISMATCH:
 * of another version. */
TitanStatus manifest_read(TitanStory *s, Files *files, const char *dir,
                          Manifest *out);
TitanStatus manifest_parse(TitanStory *s, const char *text, size_t size,
                           Manifest *out);
void manifest_free(Manifest *m);

#endif
