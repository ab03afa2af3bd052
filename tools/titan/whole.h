/*
 * whole.h: what `titan verify` and `titan inspect` say of checkpoints.
 */
#ifndef TITAN_WHOLE_H
#define TITAN_WHOLE_H

#include "../../runtime/titan.h"

bool is_checkpoint(const char *dir);
/* One line on stdout that says whether DIR is whole, and one in front of it for
 * each damage. */
TitanStatus say_whole(TitanStory *s, const char *dir);
/* The same for each step in a folder, N of them; the story is that of the first
 * that is not whole. */
TitanStatus say_all_whole(TitanStory *s, const char *dir, uint32_t *n);

#endif
