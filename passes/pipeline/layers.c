/*
 * layers.c: how many layers each stage has.
 *
 * What stands before the layers and behind them counts as some layers more, of
 * the first and the last stage.  All that goes round as evenly as it can: the
 * first stages have one more where it does not divide.
 *
 *     8 layers, 1 before, 1 behind, 4 stages: 10 = 3 3 2 2, layers 2 3 2 1
 */
#include <inttypes.h>

#include "cut.h"

static bool check_ends(const ScheduleAsk *ask, const int64_t *have,
                       uint32_t stages)
{
    for (uint32_t i = 0; i < 2; i++) {
        int64_t n = have[i ? stages - 1 : 0];
        if (n >= 0) continue;
        Report *r = diag_error(ask->diag, DIAG_pipeline_stages, ask->at,
                               "what stands %s the layers counts as %" PRId64
                               " layers more than stage %u has room for",
                               i ? "behind" : "before", -n, i ? stages - 1 : 0);
        report_help(r, "say with 'ends' that it weighs less, or give each "
                       "stage its 'layers'");
        return false;
    }
    return true;
}

int64_t *layers_split(const ScheduleAsk *ask, int64_t n, uint32_t stages,
                      int64_t first, int64_t last)
{
    int64_t all = n + first + last;
    if (stages > all || stages == 0) {
        Report *r = diag_error(ask->diag, DIAG_pipeline_stages, ask->at,
                               "%u stages, but %" PRId64
                               " layers, with what stands before and behind "
                               "them %" PRId64,
                               stages, n, all);
        report_help(r,
                    "at most %" PRId64 " stages: fewer ranks, or fewer "
                    "chunks a rank",
                    all);
        return NULL;
    }
    int64_t *have = NEW_ARRAY(ask->arena, int64_t, stages + 1);
    for (uint32_t i = 0; i < stages; i++)
        have[i] = all / stages + (i < all % stages);
    have[0] -= first;
    have[stages - 1] -= last;
    return check_ends(ask, have, stages) ? have : NULL;
}
