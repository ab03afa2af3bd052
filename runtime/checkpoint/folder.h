/*
 * folder.h: the folder of a run's checkpoints.
 *
 *     DIR/step-20/          a checkpoint, if its manifest verifies
 *     DIR/step-30.partial/  one that is being written, or was
 *     DIR/step-20.old/      one whose place another is taking
 *     DIR/step-40.aside/    one of a run that was left for an earlier step
 *
 * A checkpoint gets its name at once and whole; it loses it at once too, before
 * its files are removed.
 */
#ifndef TITAN_FOLDER_H
#define TITAN_FOLDER_H

#include "../files.h"

typedef struct Folder {
    bool exists;
    bool empty;     /* and has nothing in it */
    int64_t *steps; /* of names step-N, ascending */
    uint32_t n;
} Folder;

/* IO: it is there and cannot be read. */
TitanStatus folder_scan(TitanStory *s, Files *files, const char *dir,
                        Folder *out);
void folder_free(Folder *f);

/* OUT: DIR/step-N and a suffix. */
TitanStatus folder_path(TitanStory *s, const char *dir, int64_t step,
                        const char *suffix, char out[FILES_PATH]);

/* Puts away what a killed run has left, the folder too if that was all; a
 * checkpoint that lost its name gets it back. */
TitanStatus folder_clean(TitanStory *s, Files *files, const char *dir);
/* The folder is this run's alone until LOCK is closed; LOCKED stays false where
 * there is no such folder yet, or no locks.  IO: another run has it. */
TitanStatus folder_lock(TitanStory *s, Files *files, const char *dir,
                        bool *locked, int *lock);
/* Makes DIR, if need be. */
TitanStatus folder_make(TitanStory *s, Files *files, const char *dir);
/* Makes an empty DIR/step-N.partial. */
TitanStatus folder_begin(TitanStory *s, Files *files, const char *dir,
                         int64_t step);
/* step-N.partial becomes step-N. */
TitanStatus folder_commit(TitanStory *s, Files *files, const char *dir,
                          int64_t step);
/* Checkpoints of later steps than STEP are not of this run any more; says so.
 */
TitanStatus folder_set_aside(TitanStory *s, Files *files, const char *dir,
                             int64_t step);
/* Removes all but the newest KEEP. */
TitanStatus folder_purge(TitanStory *s, Files *files, const char *dir,
                         int64_t keep);

#endif
