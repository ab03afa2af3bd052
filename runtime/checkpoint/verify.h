/*
 * verify.h: whether a checkpoint's files are those that its manifest tells of.
 */
#ifndef TITAN_VERIFY_H
#define TITAN_VERIFY_H

#include <stdio.h>

#include "manifest.h"

/* Reads every byte.  BAD_DATA, or IO where a file cannot be read: the story
 * names the first damaged file and tensor; OUT (NULL: nobody) has a line for
 * each. */
TitanStatus checkpoint_verify(TitanStory *s, Files *files, const char *dir,
                              const Manifest *m, FILE *out);

#endif
