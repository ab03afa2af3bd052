/*
 * schedule.c: schedules, their names and the words for what is in them.
 */
#include "schedule.h"

#include <ctype.h>

static const struct {
    const char *name, *text;
    uint32_t least, most;
    Placing placing;
} kinds[] = {
#define SCHEDULE(name, text, least, most, placing) \
    {#name, text, least, most, PLACING_##placing},
#include "schedules.def"
#undef SCHEDULE
};

static bool same_word(const char *a, const char *b)
{
    for (;; a++, b++) {
        a += strspn(a, "_");
        b += strspn(b, "_");
        if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return false;
        if (!*a) return true;
    }
}

bool schedule_find(const char *word, ScheduleKind *out)
{
    for (*out = 0; *out < SCHEDULE_count; (*out)++)
        if (same_word(word, kinds[*out].text) ||
            same_word(word, kinds[*out].name))
            return true;
    return false;
}

const char *schedule_name(ScheduleKind k)
{
    return kinds[k].text;
}

const char *schedule_list(Arena *a)
{
    const char *text = "";
    for (ScheduleKind k = 0; k < SCHEDULE_count; k++)
        text = arena_printf(a, "%s%s%s", text, k ? ", " : "", kinds[k].text);
    return text;
}

uint32_t schedule_chunks(ScheduleKind k, bool most)
{
    return most ? kinds[k].most : kinds[k].least;
}

Placing schedule_placing(ScheduleKind k)
{
    return kinds[k].placing;
}

Schedule *schedule_new(Arena *a, uint32_t ranks, uint32_t stages,
                       uint32_t micros)
{
    Schedule *s = NEW(a, Schedule);
    *s = (Schedule){.ranks = ranks, .stages = stages, .micros = micros};
    s->owner = NEW_ARRAY(a, uint32_t, stages + 1);
    s->rows = NEW_ARRAY(a, ActionVec, ranks + 1);
    return s;
}

Span action_span(const ScheduleAsk *ask, Action x)
{
    if (!x.length) return ask->at;
    return (Span){ask->at.file, x.at, x.at + x.length};
}

static const struct {
    char letter;
    const char *words;
} actions[ACTION_count] = {{'F', "forward"},
                           {'B', "backward"},
                           {'I', "backward for its inputs"},
                           {'W', "backward for its weights"},
                           {'-', "pause"}};

const char *action_text(Arena *a, Action x)
{
    if (x.kind == ACTION_idle) return "";
    return arena_printf(a, "%u%c%u", x.stage, actions[x.kind].letter, x.micro);
}

const char *action_words(Arena *a, Action x)
{
    return arena_printf(a, "the %s of microbatch %u by stage %u",
                        actions[x.kind].words, x.micro, x.stage);
}

bool schedule_splits(const Schedule *s)
{
    for (uint32_t r = 0; r < s->ranks; r++)
        for (uint32_t i = 0; i < s->rows[r].n; i++)
            if (s->rows[r].at[i].kind == ACTION_input) return true;
    return false;
}

ActionCosts costs_usual(void)
{
    return (ActionCosts){{1, 2, 1, 1, 0}};
}
