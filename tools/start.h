/*
 * start.h: starting what was compiled: a training program or a step.ptx.
 */
#ifndef TITAN_START_H
#define TITAN_START_H

#include "../runtime/titan.h"

/* Runs the file at PATH with the arguments behind argv[0]; CODE: its exit
 * code.  STAYS: a training program is a process of its own, which is waited
 * for; otherwise it takes the place of this one. */
TitanStatus start_file(TitanStory *s, const char *path, bool stays, int argc,
                       char **argv, int *code);

#endif
