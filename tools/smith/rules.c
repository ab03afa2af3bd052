/*
 * rules.c: the plan of a task.
 *
 * The rules are those that people write: the batch over dp and ep, parameters
 * and states over dp, heads and inner sides over tp, the sequence over cp,
 * experts over ep, layers over pp.
 */
#include "task.h"

static bool has(const Task *t, Choice c)
{
    return t->way[c] > 0;
}

static void print_mesh(const Task *t, Buf *out)
{
    static const Choice axes[] = {CHOICE_pp, CHOICE_dp, CHOICE_cp, CHOICE_ep,
                                  CHOICE_tp};
    const char *comma = "    mesh ";
    for (uint32_t i = 0; i < 5; i++) {
        if (!has(t, axes[i])) continue;
        buf_printf(out, "%s%s = %lld", comma, choice_name(axes[i]),
                   (long long)number(t, axes[i]));
        comma = ", ";
    }
    buf_puts(out, devices(t) > 1 ? "\n" : "    mesh one = 1\n");
}

static void print_tensor(const Task *t, Buf *out)
{
    static const char *const splits[] = {"kv, ff, vocab", "ff", "kv", "vocab",
                                         "(kv rep), ff"};
    static const char *const chunks[] = {"", "", " chunks 2", " chunks 4"};
    if (!has(t, CHOICE_tp)) return;
    buf_printf(out, "    shard %s over tp\n", splits[t->way[CHOICE_split]]);
    if (has(t, CHOICE_residual))
        buf_printf(out, "    shard seq over tp%s for residual\n",
                   chunks[t->way[CHOICE_residual]]);
}

static void print_context(const Task *t, Buf *out)
{
    if (!has(t, CHOICE_cp)) return;
    buf_printf(out, "    shard seq over cp%s\n",
               has(t, CHOICE_order) ? " order zigzag" : "");
    if (has(t, CHOICE_ring)) buf_puts(out, "    gather ctx by ring\n");
}

static void print_data(const Task *t, Buf *out)
{
    static const char *const roles[] = {"", "param, grad, state",
                                        "param, state", "state", "param"};
    static const char *const each[] = {"", " each step", " each microbatch"};
    if (has(t, CHOICE_dp) || has(t, CHOICE_ep))
        buf_printf(out, "    shard batch over %s%s%s\n",
                   has(t, CHOICE_dp) ? "dp" : "",
                   has(t, CHOICE_dp) && has(t, CHOICE_ep) ? ", " : "",
                   has(t, CHOICE_ep) ? "ep" : "");
    if (has(t, CHOICE_fsdp))
        buf_printf(out, "    shard embed over dp for %s%s\n",
                   roles[t->way[CHOICE_fsdp]], each[t->way[CHOICE_each]]);
}

static void print_routed(const Task *t, Buf *out)
{
    static const char *const roles[] = {"", " for param, grad, state",
                                        " for param"};
    char bound[32];
    if (!has(t, CHOICE_ep)) return;
    buf_puts(out, "    shard expert over ep");
    if (has(t, CHOICE_bound))
        buf_printf(out, " bound %s", chosen(t, CHOICE_bound, bound));
    buf_printf(out, "%s\n", roles[t->way[CHOICE_experts]]);
}

static void print_stages(const Task *t, Buf *out)
{
    static const char *const chunks[] = {"", "", " chunks 2", " chunks 2",
                                         "", "", ""};
    char schedule[32];
    if (!has(t, CHOICE_pp)) return;
    buf_printf(out, "    shard layer over pp schedule %s%s",
               chosen(t, CHOICE_schedule, schedule),
               chunks[t->way[CHOICE_schedule]]);
    if (has(t, CHOICE_micro)) buf_puts(out, " microbatch 1");
    if (has(t, CHOICE_cuts)) buf_puts(out, " ends 0, 2");
    buf_putc(out, '\n');
}

/* What is named is a module of the layers, if there is one. */
static void print_recipe(const Task *t, Buf *out)
{
    const Recipe *recipe = task_recipe(t);
    const char *who = has(t, CHOICE_feed) && t->seed % 3 ? " feed" : "";
    if (!recipe) return;
    buf_printf(out, "    %s%s recipe %s\n", recipe->rule, who, recipe->name);
}

static void print_remat(const Task *t, Buf *out)
{
    static const char *const modes[] = {"",       " none",    " early",
                                        " full",  " ops",     " every 2",
                                        " keep ", " remake ", " budget 1 GiB"};
    uint32_t way = t->way[CHOICE_remat];
    bool named = way == AGAIN_keep || way == AGAIN_remake;
    if (!way && !has(t, CHOICE_stow) && !has(t, CHOICE_gathered)) return;
    buf_printf(out, "    remat repeat%s", modes[way]);
    if (named) buf_puts(out, has(t, CHOICE_feed) ? "w1" : "x");
    if (has(t, CHOICE_first)) buf_puts(out, " first 1");
    if (has(t, CHOICE_stow)) buf_puts(out, " offload record");
    if (has(t, CHOICE_gathered)) buf_puts(out, " gathered param");
    buf_putc(out, '\n');
}

static void print_memory(const Task *t, Buf *out)
{
    static const char *const stowed[] = {"", "state", "param", "state, param"};
    bool all = t->way[CHOICE_keep] == 2;
    if (has(t, CHOICE_keep))
        buf_printf(out, "    keep param until backward%s\n",
                   all                   ? ""
                   : has(t, CHOICE_tied) ? " in table"
                                         : " in head");
    print_remat(t, out);
    if (has(t, CHOICE_offload))
        buf_printf(out, "    offload %s to host\n",
                   stowed[t->way[CHOICE_offload]]);
}

void rules_print(const Task *t, Buf *out)
{
    buf_puts(out, "plan p of fit {\n");
    print_mesh(t, out);
    print_data(t, out);
    print_context(t, out);
    print_tensor(t, out);
    print_routed(t, out);
    print_stages(t, out);
    print_recipe(t, out);
    print_memory(t, out);
    buf_puts(out, "}\n");
}
