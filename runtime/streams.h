/*
 * streams.h: the rules of streams and events that abi.h states.
 */
#ifndef TITAN_STREAMS_H
#define TITAN_STREAMS_H

#include "titan.h"

/* Checks the list of every entry, whose runs and commands have been checked. */
TitanStatus streams_check(TitanStory *s, const TitanImage *im);

#endif
