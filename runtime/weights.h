/*
 * weights.h: Hugging Face weight directories, in and out.
 */
#ifndef TITAN_WEIGHTS_H
#define TITAN_WEIGHTS_H

#include "checkpoint/shards.h"
#include "device.h"

typedef struct ImportOptions {
    const char *const *from; /* folders or files: of what several have the last
                                is taken */
    uint32_t n;              /* 0: nothing is read */
    const char *exclude; /* what is not read: patterns of a shell, by commas, of
                            which each fits one tensor at least; NULL: none */
    bool quiet;
} ImportOptions;

/* Fills every slot that has a checkpoint name from the safetensors of each
 * folder, or its index and shards, but those that are excluded (a pattern that
 * fits none: USAGE).  Missing tensors and other shapes are BAD_DATA, all of
 * them named, and so is a folder that gives nothing beside others; unused ones
 * are one note of each folder on stderr, as are those of which a later one is
 * taken.  So are, unless QUIET, what is of which folder, and those that could
 * have scales and have none. */
TitanStatus weights_import(TitanStory *s, const TitanImage *im,
                           TitanDevice *device, const ImportOptions *o);

/* USAGE: there is something to exclude, and nothing to exclude it from. */
TitanStatus weights_import_options(TitanStory *s, const ImportOptions *o);
/* "base, adapters" */
void weights_import_words(const ImportOptions *o, char *out, size_t size);
/* USAGE: OPTION keeps or reads weights, and those of a rehearsal are nobody's.
 */
TitanStatus weights_mean(TitanStory *s, const TitanImage *im,
                         const char *option);

typedef struct ExportOptions {
    const char *dir;   /* NULL: nothing is exported */
    const char *dtype; /* "f32", "bf16", "f16" */
    const char *state; /* of each parameter that has such a state, of an
                          optimizer or of the train block, it is written in the
                          parameter's place; or NULL */
    const char *only;  /* tensors that are written, patterns as above; NULL: all
                          of them */
} ExportOptions;

/* USAGE: there is something to choose for an export, and none, or nothing is
 * chosen. */
TitanStatus weights_export_options(TitanStory *s, const ExportOptions *o);

/* Whether an export can begin: makes its folder; MISMATCH: two tensors have one
 * name, or no parameter has the state; USAGE: a pattern fits none.  Asked
 * before the first step, not after the last. */
TitanStatus weights_export_ready(TitanStory *s, const TitanImage *im,
                                 const ExportOptions *o);

/* Writes model.safetensors (above 5 GB: shards and an index), and, beside a
 * whole model, copies config.json and tokenizer files from FROM (NULL, or a
 * file: none). */
TitanStatus weights_export(TitanStory *s, const TitanImage *im,
                           TitanDevice *device, const ExportOptions *o,
                           const char *from);

/* What an export is made of: the files of SRC as DIR/model..., and what stands
 * beside weights, from FROM to TO. */
TitanStatus weights_write(TitanStory *s, const char *dir, ShardSource *src,
                          ShardSet *out);
TitanStatus weights_companions(TitanStory *s, const char *from, const char *to);
/* "f32", "bf16", "f16"; OPTION: whose value it is. */
TitanStatus weights_dtype(TitanStory *s, const char *option, const char *name,
                          uint32_t *out);

#endif
