/*
 * image_stages.c: the stages of a pipeline in an image: one for each rank
 * function of an entry, without a pipeline one for all.
 *
 * Which functions run on a stage is what its entries reach; kernels and bodies
 * of loops may run on several.
 */
#include "image.h"

Str image_entry_name(const ImageTables *t, const Fn *fn)
{
    uint32_t rank;
    size_t n = fn_rank(t->m, fn, &rank);
    if (!n) return fn->name;
    return module_str(t->m, arena_strndup(t->a, str_of(t->m, fn->name), n));
}

static uint32_t find_entries(ImageTables *t, uint32_t stage)
{
    const Module *m = t->m;
    uint32_t n = 0;
    const Fn **fns = NEW_ARRAY(t->a, const Fn *, (size_t)m->fns.n + 1);
    t->runs_at[stage] = rank_reaches(m, stage, t->a);
    t->entry_fns[stage] = fns;
    for (uint32_t f = 0; f < m->fns.n; f++)
        if (fn_runs_on(m, m->fns.at[f], stage)) fns[n++] = m->fns.at[f];
    return n;
}

void image_stages(ImageTables *t)
{
    uint32_t ranks = module_ranks(t->m), n = ranks ? ranks : 1;
    t->runs_at = NEW_ARRAY(t->a, bool *, n);
    t->entry_fns = NEW_ARRAY(t->a, const Fn **, n);
    for (uint32_t s = 0; s < n; s++) {
        uint32_t have = find_entries(t, s);
        vec_push(t->a, &t->stages, (TitanStage){0});
        if (s && have != t->nentries) BUG("stage %u has other entries", s);
        t->nentries = have;
    }
    t->live = live_find(t->m, t->a);
}

Live image_live(const ImageTables *t)
{
    return live_of(&t->live, t->runs_at[t->stage], t->a);
}

/* --------------------------------------------------------------- updates -- */

/* A message: the so-and-so-many-th that one stage sends another on a channel.
 */
typedef struct Message {
    uint32_t from, to, number;
    int64_t channel;
} Message;

static Message *messages_of(ImageTables *t, const Fn *fn, uint32_t stage)
{
    const Module *m = t->m;
    Message *at = NEW_ARRAY(t->a, Message, (size_t)fn->ninsts + 1);
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *of = launched_message(m, &fn->insts[i]);
        if (!of) continue;
        uint32_t peer = (uint32_t)attr_int(m, of->attr, AT_peer, 0);
        bool sends = of->op == OP_send;
        at[i] = (Message){sends ? stage : peer, sends ? peer : stage, 0,
                          attr_int(m, of->attr, AT_channel, 0)};
        for (uint32_t k = i; k-- > 0 && !at[i].number;)
            if (at[k].number && at[k].from == at[i].from &&
                at[k].to == at[i].to && at[k].channel == at[i].channel)
                at[i].number = at[k].number + 1;
        if (!at[i].number) at[i].number = 1;
    }
    return at;
}

/* Where the list of one side has the message. */
static uint32_t message_at(const Message *list, uint32_t n, Message x)
{
    uint32_t i = 0;
    while (i < n && !(list[i].number == x.number && list[i].from == x.from &&
                      list[i].to == x.to && list[i].channel == x.channel))
        i++;
    return i;
}

/* Moves the end of each list in front of what another has behind its own;
 * false: nothing moved. */
static bool cut_messages(uint32_t stages, const Fn *const *fns,
                         Message *const *lists, uint32_t *end)
{
    bool moved = false;
    for (uint32_t s = 0; s < stages; s++)
        for (uint32_t i = 0; i < end[s]; i++) {
            Message x = lists[s][i];
            if (!x.number) continue;
            uint32_t other = x.from == s ? x.to : x.from;
            if (message_at(lists[other], fns[other]->ninsts, x) < end[other])
                continue;
            end[s] = i;
            moved = true;
        }
    return moved;
}

uint32_t *image_updates(ImageTables *t, const Fn *const *fns)
{
    uint32_t n = t->stages.n;
    uint32_t *end = NEW_ARRAY(t->a, uint32_t, (size_t)n + 1);
    Message **lists = NEW_ARRAY(t->a, Message *, (size_t)n + 1);
    for (uint32_t s = 0; s < n; s++) {
        end[s] = image_update(t, fns[s]);
        lists[s] = messages_of(t, fns[s], s);
    }
    while (n > 1 && cut_messages(n, fns, lists, end))
        continue;
    return end;
}
