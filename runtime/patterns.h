/*
 * patterns.h: names of tensors as the patterns of a shell, by commas:
 * "*lora*,lm_head.weight".
 */
#ifndef TITAN_PATTERNS_H
#define TITAN_PATTERNS_H

#include "layout.h"

/* Whether one of LIST fits the name; NULL: none does. */
bool patterns_fit(const char *list, const char *name);
/* USAGE: one of them fits no tensor; OPTION: whose they are. */
TitanStatus patterns_check(TitanStory *s, const char *option, const char *list,
                           const CkptLayout *l);

#endif
