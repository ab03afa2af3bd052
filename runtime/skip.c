/*
 * skip.c: steps that were not applied.
 *
 * The step itself decides: where its loss, the norm of its gradients or a
 * number of its update is not finite, or a `skip` of the program says so, its
 * stores keep what was there, and the record `applied` is 0.  Here such steps
 * are counted and reported.  Counts are of steps, never of losses, so no value
 * that is not finite gets into what is remembered.
 */
#include "skip.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* The sign of a NaN says nothing. */
static const char *value_words(double x)
{
    if (isnan(x)) return "nan";
    return x < 0 ? "-inf" : "inf";
}

const char *skip_reason(const Skip *k, char *text, size_t size)
{
    if (!isfinite(k->loss))
        snprintf(text, size, "loss is %s", value_words(k->loss));
    else if (!isfinite(k->grad_norm))
        snprintf(text, size, "the norm of the gradients is %s",
                 value_words(k->grad_norm));
    else if (!isfinite(k->lr))
        snprintf(text, size, "the learning rate is %s", value_words(k->lr));
    else if (k->rule)
        snprintf(text, size, "%s", k->rule);
    else
        snprintf(text, size, "a number of the update is not finite");
    return text;
}

TitanStatus skips_add(TitanStory *s, Skips *all, const Skip *k)
{
    char why[SKIP_REASON];
    skip_reason(k, why, sizeof why);
    fprintf(stderr, "step %" PRId64 " skipped: %s\n", k->step, why);
    fflush(stderr);
    if (all->in_row++ == 0) all->first = k->step;
    all->total++;
    if (all->most == 0 || all->in_row < all->most) return TITAN_OK;
    return titan_fail(
        s, TITAN_NUMERICS,
        "%" PRId64 " steps in a row were skipped, %" PRId64 " to %" PRId64
        ": %s; look at the data of step %" PRId64 ", try a lower learning rate "
        "or start from other weights (--max-skips N allows N in a row)",
        all->in_row, all->first, k->step, why, all->first);
}

void skips_end(Skips *all)
{
    all->in_row = 0;
}
