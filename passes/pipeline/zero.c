/*
 * zero.c: the schedules in which a rank has the first and the last stage, the
 * second and the last but one, and so on, so that a microbatch that comes to
 * its end turns round in the rank where its loss is.
 *
 * 0 and 1 are the two stages of a rank; each kind of action goes through the
 * microbatches of each stage in order.
 */
#include "make.h"

typedef struct Two {
    Make *k;
    uint32_t next[ACTION_count][2]; /* microbatch, by kind and stage */
    uint32_t end;      /* behind the last microbatch that is real */
    ActionVec waiting; /* dual: weights that are put off, in order */
    uint32_t first;    /* of these: which is not made yet */
} Two;

static void act(Two *t, ActionKind kind, uint32_t chunk)
{
    uint32_t micro = t->next[kind][chunk]++;
    if (micro < t->end) make_row(t->k, kind, chunk_stage(t->k, chunk), micro);
}

/* ----------------------------------------------------- zbv, zero bubbles -- */

/* What may run more often than there are microbatches is planned and left
 * out. */
void make_zbv(Make *k)
{
    Two t = {.k = k, .end = k->s->micros};
    uint32_t ranks = k->s->ranks, r = k->rank;
    uint32_t n = k->s->micros > 2 * ranks - 1 ? k->s->micros : 2 * ranks - 1;
    for (uint32_t i = 0; i < 2 * (ranks - r) - 1; i++)
        act(&t, ACTION_forward, 0);
    for (uint32_t i = 0; i < r; i++) {
        act(&t, ACTION_forward, 1);
        act(&t, ACTION_forward, 0);
    }
    for (uint32_t i = 0; i < ranks - r; i++) {
        act(&t, ACTION_forward, 1);
        act(&t, ACTION_input, 1);
        act(&t, ACTION_weight, 1);
    }
    const uint32_t *forward = t.next[ACTION_forward];
    while (forward[1] < forward[0] || forward[0] < n) {
        if (forward[0] < n) act(&t, ACTION_forward, 0);
        act(&t, ACTION_input, 0);
        act(&t, ACTION_weight, 0);
        act(&t, ACTION_forward, 1);
        act(&t, ACTION_input, 1);
        act(&t, ACTION_weight, 1);
    }
    for (uint32_t i = 0; i < r; i++) {
        act(&t, ACTION_input, 0);
        act(&t, ACTION_input, 1);
    }
    for (uint32_t i = 0; i < ranks - r; i++) {
        act(&t, ACTION_input, 0);
        act(&t, ACTION_weight, 0);
    }
    for (uint32_t c = 2; c-- > 0;)
        while (t.next[ACTION_weight][c] < t.next[ACTION_input][c])
            act(&t, ACTION_weight, c);
}

/* ------------------------------------------------------------ dual pipe -- */

/* Of the two actions that were made last, the first runs beside the other. */
static void pair(Two *t)
{
    ActionVec *row = &t->k->s->rows[t->k->rank];
    row->at[row->n - 2].beside = true;
}

/* A backward: whole, or its weights later. */
static void back(Two *t, uint32_t chunk, bool later)
{
    uint32_t micro = t->next[ACTION_backward][chunk]++;
    uint32_t stage = chunk_stage(t->k, chunk);
    make_row(t->k, later ? ACTION_input : ACTION_backward, stage, micro);
    if (!later) return;
    Action w = {.kind = ACTION_weight, .stage = stage, .micro = micro};
    vec_push(t->k->ask->arena, &t->waiting, w);
}

static void weigh(Two *t)
{
    Action w = t->waiting.at[t->first++];
    make_row(t->k, w.kind, w.stage, w.micro);
}

static void both(Two *t, uint32_t forward)
{
    act(t, ACTION_forward, forward);
    back(t, 1 - forward, false);
    pair(t);
}

static void dual_start(Two *t, uint32_t left)
{
    for (uint32_t i = 0; i < 2 * left; i++)
        act(t, ACTION_forward, 0);
    for (uint32_t i = 0; i <= t->k->rank; i++) {
        act(t, ACTION_forward, 0);
        act(t, ACTION_forward, 1);
    }
    for (uint32_t i = 0; i < left; i++) {
        back(t, 1, true);
        weigh(t);
        act(t, ACTION_forward, 1);
    }
}

static void dual_steady(Two *t, uint32_t turns)
{
    for (uint32_t i = 0; i < turns; i++) {
        if (i == 0 && t->k->rank + 1 == t->k->s->ranks) {
            act(t, ACTION_forward, 0);
            back(t, 1, false);
        } else {
            both(t, 0);
        }
        both(t, 1);
    }
}

/* Of the last backwards, the second half leave their weights for the end. */
static void dual_end(Two *t, uint32_t left)
{
    uint32_t r = t->k->rank, half = (r + 1) / 2;
    for (uint32_t i = 0; i < left; i++) {
        back(t, 1, false);
        both(t, 1);
    }
    for (uint32_t i = 0; i <= r; i++) {
        back(t, 1, r % 2 ? i >= half : i > half);
        back(t, 0, i >= half);
    }
    for (uint32_t i = 0; i < left; i++) {
        weigh(t);
        back(t, 0, true);
    }
    while (t->first < t->waiting.n)
        weigh(t);
}

void make_dualpipev(Make *k)
{
    uint32_t left = k->s->ranks - k->rank - 1;
    Two t = {.k = k, .end = k->s->micros};
    dual_start(&t, left);
    dual_steady(&t, k->s->micros - 2 * k->s->ranks + k->rank + 1);
    dual_end(&t, left);
}
