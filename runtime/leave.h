/*
 * leave.h: a process ends, whatever it cannot close.
 */
#ifndef TITAN_LEAVE_H
#define TITAN_LEAVE_H

#include "titan.h"

/* In a few seconds, with STATUS and its story, unless it has ended before: what
 * a driver has under way with a rank that is lost may never end. */
void leave_soon(const TitanStory *story, TitanStatus status);

#endif
