/*
 * state.h: what of a program is state, tensor by tensor.
 *
 * A parameter that has a checkpoint name stands under it, one tensor for each
 * layer, laid out as that name's file wants it: model.safetensors of a
 * checkpoint is one that other programs read.  Everything else, moments of
 * optimizers and states of the model, stands under its path with its own axes.
 * Neither depends on a plan.
 */
#ifndef TITAN_STATE_H
#define TITAN_STATE_H

#include "../layout.h"
#include "shards.h"
#include "source.h"

typedef struct StateTensor {
    const CkptTensor *tensor; /* or, where NULL, */
    uint32_t slot;
    bool model; /* of the model, not of the optimizer */
} StateTensor;

typedef struct State {
    const TitanImage *im;
    CkptLayout layout;
    StTensor *rows;     /* as it is in a file of its own dtypes */
    StateTensor *at;    /* likewise */
    uint32_t n, nmodel; /* those of the model come first */
    int64_t *shapes;
} State;

TitanStatus state_new(TitanStory *s, const TitanImage *im, State *out);
void state_free(State *st);

/* Tensors FIRST, ... of DEVICE's persistent base, as shards_write wants them;
 * DTYPE: what floats of the model are rounded to, STATE_AS_IS: nothing. */
enum { STATE_AS_IS = -1 };
typedef struct StateSource {
    ShardSource source; /* first */
    TitanStory *story;
    const State *state;
    TitanDevice *device;
    uint32_t first;
    StTensor *rows;
} StateSource;
TitanStatus state_source(TitanStory *s, const State *st, TitanDevice *device,
                         bool model, int dtype, StateSource *out);
void state_source_free(StateSource *src);

/* Names that are not loaded, separated by commas: model, optimizer, data, step,
 * or a tensor's. */
bool state_excludes(const char *list, const char *name);

/* How the axes of each tensor lie that stands under its path: an object of
 * texts (axes.h). */
json_t *state_axes(const State *st);
/* Whether FILES have all of the state but what is excluded; AXES: how theirs
 * lie, NULL: as in the program.  MISMATCH names the
 * tensors that are missing or have another shape or kind; stderr gets a line
 * for each, and notes. */
TitanStatus state_check(TitanStory *s, const State *st, Source *files,
                        const json_t *axes, const char *exclude,
                        bool model_only);
/* Loads what state_check has passed. */
TitanStatus state_load(TitanStory *s, const State *st, const Source *files,
                       const json_t *axes, const char *exclude, bool model_only,
                       TitanDevice *device);

#endif
