/*
 * layout.h: which checkpoint tensors a program's slots make.
 *
 * A slot has a checkpoint name with {axis}, {axis+K} or {one*6+other+K} in it:
 * one tensor for each index of those axes.  The other axes lie in the tensor's
 * dimensions; several slots may share a tensor (fused weights).
 */
#ifndef TITAN_LAYOUT_H
#define TITAN_LAYOUT_H

#include "device.h"
#include "safetensors.h"

/* One slot's part of a checkpoint tensor. */
typedef struct CkptPart {
    uint32_t slot;
    int64_t base; /* elements into the slot: the indices in the name */
} CkptPart;

typedef struct CkptTensor {
    char *name;
    uint32_t rank;
    int64_t shape[ST_MAX_RANK];
    char *scale; /* its values times this tensor's are the weights; or NULL */
    uint32_t scale_rank;
    int64_t scale_shape[ST_MAX_RANK];
    CkptPart *parts;
    uint32_t nparts;
} CkptTensor;

typedef struct CkptLayout {
    CkptTensor *tensors; /* in the order of slots, then of indices */
    uint32_t n;
} CkptLayout;

TitanStatus layout_new(TitanStory *s, const TitanImage *im, CkptLayout *out);
void layout_free(CkptLayout *l);

/* N tensors of SIZE bytes each, which begin with a pointer to their name.
 * MISMATCH says which two of them have one: they can be read from one file, but
 * not written to it. */
TitanStatus layout_names_apart(TitanStory *s, const void *tensors, size_t size,
                               uint32_t n);

/* Whether a tensor of one part lies in its slot as in a file; OFFSET: where in
 * the persistent base. */
bool tensor_in_place(const TitanImage *im, const CkptTensor *t,
                     uint64_t *offset);

/* A tensor of a file and its scale (NULL: the values are the weights), dense
 * and row-major. */
typedef struct CkptData {
    const void *values, *scale;
    uint32_t dtype, scale_dtype;
} CkptData;

/* Copies between a part's elements in a dense row-major tensor and in its slot
 * on the device, converting.  What is imported is multiplied
 * by its scale in f32; what is exported has none. */
TitanStatus part_import(TitanStory *s, const TitanImage *im,
                        const CkptTensor *t, const CkptPart *p,
                        const CkptData *data, TitanDevice *device);
TitanStatus part_export(TitanStory *s, const TitanImage *im,
                        const CkptTensor *t, const CkptPart *p, uint32_t dtype,
                        void *tensor, TitanDevice *device);

#endif
