/*
 * state.h: where the data stands, as text.
 */
#ifndef TITAN_DATA_STATE_H
#define TITAN_DATA_STATE_H

#include "mix.h"

/* The state behind a step; for free(). */
TitanStatus state_print(TitanStory *s, const Mix *m, const Mark *marks,
                        int64_t step, char **json);
/* MARKS has a place for each part.  BAD_DATA: it is none; MISMATCH: it is that
 * of other data or options. */
TitanStatus state_parse(TitanStory *s, const Mix *m, const char *json,
                        Mark *marks, int64_t *step);

#endif
