/*
 * launch.h: how the ranks of a program are started, and what the process that
 * was started first is.
 *
 *     nothing, or --ranks N   threads of this process, which is rank 0
 *     --nproc N               processes: this one watches over rank 0, which
 *                             starts the others
 *     by a launcher           this process is the rank that the launcher says
 */
#ifndef TITAN_LAUNCH_H
#define TITAN_LAUNCH_H

#include "device.h"

typedef struct Launch {
    struct Link *link; /* or NULL */
    struct Board *board;
    bool came; /* to the other ranks of a launcher, or has tried to, or none of
                  them comes */
    bool over; /* what was for this process to do is done */
} Launch;

/* The world has as many ranks as the program: ASKED on the command line, 0:
 * not said.  OPTIONS is told to the ranks; ARGV is compared between them. */
TitanStatus launch_begin(TitanStory *story, const TitanImage *im,
                         const TitanCode *code, DeviceOptions *options,
                         int64_t asked, char **argv, Launch *out);
/* STATUS: how the run has ended; its story is told.  Where it ends before
 * launch_begin, the others of a launcher hear the story too. */
void launch_end(Launch *l, const TitanStory *story, TitanStatus status);

#endif
