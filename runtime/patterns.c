/*
 * patterns.c: lists of patterns that name tensors, as options have them.
 */
#include "patterns.h"

#include "files.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

/* Takes the first pattern off a list. */
static bool next_pattern(const char **list, char out[FILES_PATH])
{
    const char *at = *list;
    if (!at || !*at) return false;
    size_t n = strcspn(at, ",");
    snprintf(out, FILES_PATH, "%.*s", (int)n, at);
    *list = at + n + (at[n] == ',');
    return true;
}

static bool fits(const char *pattern, const char *name)
{
    return fnmatch(pattern, name, FNM_NOESCAPE) == 0;
}

bool patterns_fit(const char *list, const char *name)
{
    char pattern[FILES_PATH];
    while (next_pattern(&list, pattern))
        if (fits(pattern, name)) return true;
    return false;
}

TitanStatus patterns_check(TitanStory *s, const char *option, const char *list,
                           const CkptLayout *l)
{
    char pattern[FILES_PATH];
    while (next_pattern(&list, pattern)) {
        bool known = false;
        for (uint32_t i = 0; i < l->n && !known; i++)
            known = fits(pattern, l->tensors[i].name);
        if (!known)
            return titan_fail(s, TITAN_USAGE,
                              "%s names \"%s\"; the model has no such "
                              "tensor, as there is \"%s\"",
                              option, pattern, l->n ? l->tensors[0].name : "");
    }
    return TITAN_OK;
}
