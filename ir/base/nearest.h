/*
 * nearest.h: "did you mean ...?"
 *
 *     Nearest n = nearest_to("atention");
 *     for each candidate: nearest_try(&n, candidate);
 *     if (n.best) report_help(r, "did you mean '%s'?", n.best);
 */
#ifndef TITAN_BASE_NEAREST_H
#define TITAN_BASE_NEAREST_H

typedef struct Nearest {
    const char *word, *best; /* best: NULL while nothing is near enough */
    unsigned distance;       /* of best; a better one must be below */
} Nearest;

/* Near enough is: at most a third of the letters are wrong, two at most in
 * words below nine letters. */
Nearest nearest_to(const char *word);
void nearest_try(Nearest *n, const char *candidate);

#endif
