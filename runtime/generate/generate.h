/*
 * generate.h: texts are gone on with instead of training: the command line of
 * `titan generate` and of a training program with --generate.
 */
#ifndef TITAN_GENERATE_H
#define TITAN_GENERATE_H

#include "../device.h"
#include "../option.h"

TitanStatus titan_generate(TitanStory *s, const TitanImage *im,
                           const TitanCode *code, const DeviceOptions *device,
                           const Options *o);

#endif
