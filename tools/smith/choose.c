/*
 * choose.c: what a training program and its plan are made by.
 *
 * Each choice is drawn by itself; then those go back to the plain one that mean
 * nothing beside the others, and the mesh shrinks to what the interpreter runs
 * in a moment.
 */
#include "given.h"
#include "task.h"

#include <string.h>

enum { MOST_DEVICES = 8, MOST_OF_BLOCKS = 2 };
enum { LEAST_SIDE = 16 }; /* of a layer, without blocks */
enum { MESH_AXES = CHOICE_ep - CHOICE_pp + 1 };

typedef struct Row {
    const char *name, *words;
    uint32_t percent;
} Row;

static const Row rows[] = {
#define CHOICE(id, percent, words) {#id, words, percent},
#include "choices.def"
#undef CHOICE
};

const char *choice_name(uint32_t i)
{
    return rows[i].name;
}

uint32_t choice_ways(uint32_t i)
{
    uint32_t n = 1;
    for (const char *p = rows[i].words; *p; p++)
        n += *p == ' ';
    return n;
}

const char *choice_word(uint32_t i, uint32_t way, char out[32])
{
    const char *p = rows[i].words;
    while (way-- > 0)
        p = strchr(p, ' ') + 1;
    size_t n = strcspn(p, " ");
    memcpy(out, p, n);
    out[n] = 0;
    return out;
}

const char *chosen(const Task *t, Choice c, char out[32])
{
    return choice_word(c, t->way[c], out);
}

int64_t number(const Task *t, Choice c)
{
    char word[32];
    return atoll(chosen(t, c, word));
}

const Recipe *task_recipe(const Task *t)
{
    static const Recipe recipes[] = {
#define RECIPE(name, rule, multiple, what) {#name, #rule, multiple},
#include "../../ir/recipes.def"
#undef RECIPE
    };
    char name[32];
    chosen(t, CHOICE_recipe, name);
    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++)
        if (strcmp(recipes[i].name, name) == 0) return &recipes[i];
    return NULL;
}

bool task_has_blocks(const Task *t)
{
    const Recipe *recipe = task_recipe(t);
    return recipe && recipe->multiple > LEAST_SIDE;
}

static uint32_t drawn(uint64_t seed, uint32_t i)
{
    World w = {.random = seed * UINT64_C(0x9fb21c651e98df25) + i};
    draw(&w);
    if (!draw_chance(&w, rows[i].percent)) return 0;
    return 1 + draw_below(&w, choice_ways(i) - 1);
}

/* One mesh axis after the other goes, the first by the seed. */
static void bound_devices(Task *t)
{
    bool blocks = task_has_blocks(t); /* many rows */
    int64_t most = blocks ? MOST_OF_BLOCKS : MOST_DEVICES;
    static const Choice axes[] = {CHOICE_pp, CHOICE_dp, CHOICE_cp, CHOICE_tp,
                                  CHOICE_ep};
    for (uint32_t i = 0; i < 5 && devices(t) > most; i++)
        t->way[axes[(t->seed / 7 + i) % 5]] = 0;
}

static void plain_unless(Task *t, bool holds, Choice c)
{
    if (!holds) t->way[c] = 0;
}

/* What says nothing is not chosen. */
static void drop_idle(Task *t)
{
    bool experts = t->way[CHOICE_feed] >= FEED_experts;
    bool attention = t->way[CHOICE_mixer] == MIXER_attention;
    bool layered = t->way[CHOICE_pp] > 0;
    plain_unless(t, attention, CHOICE_mask);
    plain_unless(t, attention, CHOICE_rep);
    plain_unless(t, attention || t->way[CHOICE_positions] != 2,
                 CHOICE_positions);
    plain_unless(t, experts, CHOICE_router);
    plain_unless(t, experts, CHOICE_chosen);
    plain_unless(t, experts, CHOICE_ep);
    plain_unless(t, t->way[CHOICE_ep] > 0, CHOICE_experts);
    plain_unless(t, t->way[CHOICE_ep] > 0, CHOICE_bound);
    plain_unless(t, t->way[CHOICE_dp] > 0, CHOICE_fsdp);
    plain_unless(t, t->way[CHOICE_fsdp] > 0, CHOICE_keep);
    plain_unless(t,
                 t->way[CHOICE_fsdp] > 0 && t->way[CHOICE_fsdp] != FSDP_states,
                 CHOICE_each);
    plain_unless(t, t->way[CHOICE_tp] > 0, CHOICE_split);
    plain_unless(t, t->way[CHOICE_tp] > 0, CHOICE_residual);
    plain_unless(t, t->way[CHOICE_cp] > 0, CHOICE_order);
    plain_unless(t, t->way[CHOICE_cp] > 0 && attention, CHOICE_ring);
    plain_unless(t, layered, CHOICE_schedule);
    plain_unless(t, layered, CHOICE_micro);
    plain_unless(t, layered, CHOICE_cuts);
    plain_unless(t, t->way[CHOICE_mixer] != MIXER_scan,
                 CHOICE_order); /* a scan goes from end to end */
    plain_unless(t,
                 t->way[CHOICE_remat] != AGAIN_every &&
                     t->way[CHOICE_remat] != AGAIN_budget,
                 CHOICE_first);
    plain_unless(t, t->way[CHOICE_remat] != AGAIN_budget, CHOICE_stow);
    plain_unless(
        t,
        t->way[CHOICE_remat] != AGAIN_budget && t->way[CHOICE_fsdp] != 0 &&
            t->way[CHOICE_fsdp] != FSDP_states && t->way[CHOICE_keep] == 0 &&
            t->way[CHOICE_each] != EACH_step,
        CHOICE_gathered); /* where turns gather some */
}

bool task_is_large(const Task *t)
{
    enum { EACH_LARGE = 4 };
    return t->gpus > 1 && !task_recipe(t) && t->seed / 2 % EACH_LARGE == 0;
}

/* Half of the large ones exchange rows beside products. */
static bool has_exchanges(const Task *t, const bool *plain)
{
    return task_is_large(t) && t->seed / 8 % 2 && !(plain && plain[CHOICE_tp]);
}

/* The mesh axes become those of so many devices, the first by the seed: each
 * the largest that divides what is left, of which there may be more than one.
 */
static void draw_devices(Task *t, int64_t devices, const bool *plain)
{
    bool experts = t->way[CHOICE_feed] >= FEED_experts;
    for (uint32_t i = CHOICE_pp; i <= CHOICE_ep; i++)
        t->way[i] = 0;
    uint64_t first = t->seed / 2;
    if (has_exchanges(t, plain)) first = CHOICE_tp - CHOICE_pp;
    for (uint32_t i = 0; i < MESH_AXES && devices > 1; i++) {
        Choice c = (Choice)(CHOICE_pp + (first + i) % MESH_AXES);
        if ((c == CHOICE_ep && !experts) || (plain && plain[c])) continue;
        bool small = given_bits(t->seed, (uint64_t)c) % 2;
        for (uint32_t way = choice_ways(c); way-- > 1;) {
            Task with = *t;
            with.way[c] = way;
            int64_t n = number(&with, c);
            if (devices % n || (small && n > 3)) continue;
            t->way[c] = way;
            devices /= n;
            break;
        }
    }
}

void task_choose(uint64_t seed, int64_t gpus, const bool plain[CHOICE_count],
                 Task *out)
{
    *out = (Task){.seed = seed, .gpus = gpus};
    for (uint32_t i = 0; i < CHOICE_count; i++)
        out->way[i] = plain && plain[i] ? 0 : drawn(seed, i);
    drop_idle(out);
    if (gpus) draw_devices(out, gpus, plain);
    if (gpus && out->way[CHOICE_tp] && has_exchanges(out, plain))
        out->way[CHOICE_residual] = RESIDUAL_whole;
    if (!gpus) bound_devices(out);
    drop_idle(out);
}

int64_t devices(const Task *t)
{
    return number(t, CHOICE_pp) * number(t, CHOICE_dp) * number(t, CHOICE_cp) *
           number(t, CHOICE_tp) * number(t, CHOICE_ep);
}

void task_print(const Task *t, Buf *out)
{
    char word[32];
    for (uint32_t i = 0; i < CHOICE_count; i++)
        if (t->way[i])
            buf_printf(out, " %s=%s", rows[i].name, chosen(t, (Choice)i, word));
}
