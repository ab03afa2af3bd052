/*
 * mesh.h: the ranks of a step as one device.
 *
 * Who uses it sees whole tensors: what is written goes to every rank that holds
 * a part of it, what is read comes from the first that does, and a run is one
 * of all ranks.  So data, checkpoints, metrics and exports know nothing of
 * ranks, and what was saved on one mesh is loaded on another.
 */
#ifndef TITAN_MESH_H
#define TITAN_MESH_H

#include "device.h"

TitanStatus mesh_new(TitanStory *story, const TitanImage *im,
                     const TitanCode *code, const DeviceOptions *o,
                     TitanDevice **out);

#endif
