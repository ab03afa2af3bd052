/*
 * world.c: what the variables of a launcher say.
 *
 *     torchrun and its like   RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE,
 *                             MASTER_ADDR, MASTER_PORT
 *     srun                    SLURM_PROCID, SLURM_STEP_NUM_TASKS,
 *                             SLURM_LOCALID, SLURM_STEP_TASKS_PER_NODE,
 *                             SLURM_NODEID; without the address: the first
 *                             machine of the step, and a port by the number of
 *                             the job
 *
 * Where the launcher has a name for the run it is read too, since another run
 * may have the port.
 */
#include "join.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Its number, or OTHERWISE. */
static long number_of(const char *name, long otherwise)
{
    const char *text = getenv(name);
    char *end = NULL;
    long n = text ? strtol(text, &end, 10) : otherwise;
    return end == text ? otherwise : n;
}

/* MASTER_PORT and so many MORE, or OTHERWISE.  What is no number stays as it
 * is, for world_join to refuse. */
static void put_port(World *w, long otherwise, long more)
{
    const char *text = getenv("MASTER_PORT");
    char *end = NULL;
    long n = text ? strtol(text, &end, 10) : otherwise;
    if (text && (end == text || *end))
        snprintf(w->port, sizeof w->port, "%s", text);
    else
        snprintf(w->port, sizeof w->port, "%ld", n + more);
}

/* "node[07-12,20]" begins with node07. */
static void first_host(const char *list, char *out, size_t size)
{
    size_t stem = strcspn(list, "[,");
    const char *rest = list[stem] == '[' ? list + stem + 1 : "";
    snprintf(out, size, "%.*s%.*s", (int)stem, list, (int)strcspn(rest, "-,]"),
             rest);
}

/* Of the machine with that number, of "4(x2),3"; 0: it says nothing of it. */
static long tasks_of_node(const char *list, long node)
{
    while (list) {
        char *end;
        long tasks = strtol(list, &end, 10), times = 1;
        if (end == list) return 0;
        if (strncmp(end, "(x", 2) == 0) times = strtol(end + 2, &end, 10);
        if (node < times) return tasks;
        node -= times;
        list = strchr(end, ',');
        list = list ? list + 1 : NULL;
    }
    return 0;
}

/* What is set has to be a number from LEAST to MOST, which the variable OF
 * says; NULL: none does. */
static void check_number(World *w, const char *name, long least, long most,
                         const char *of)
{
    const char *text = getenv(name);
    char *end = NULL;
    long n = text ? strtol(text, &end, 10) : least;
    if (w->wrong[0] || !text ||
        (end != text && !*end && n >= least && n <= most))
        return;
    if (end == text || *end || n < least)
        snprintf(w->wrong, sizeof w->wrong,
                 "%s is \"%.40s\"; set it to a number from %ld on", name, text,
                 least);
    else if (!of)
        snprintf(w->wrong, sizeof w->wrong,
                 "%s is \"%.40s\"; set it to a number up to %ld", name, text,
                 most);
    else
        snprintf(w->wrong, sizeof w->wrong, "%s is %ld of a %s of %ld%s", name,
                 n, of, most + 1 - least, least ? "" : "; they count from 0");
}

/* Numbers of ranks are below how many there are, here as everywhere. */
static void check_torch(World *w)
{
    const char *beside = getenv("LOCAL_WORLD_SIZE");
    check_number(w, "WORLD_SIZE", 1, INT32_MAX - 1, NULL);
    check_number(w, "LOCAL_WORLD_SIZE", 1,
                 number_of("WORLD_SIZE", INT32_MAX - 1), "WORLD_SIZE");
    check_number(w, "RANK", 0, number_of("WORLD_SIZE", INT32_MAX) - 1,
                 "WORLD_SIZE");
    check_number(
        w, "LOCAL_RANK", 0,
        number_of(beside ? "LOCAL_WORLD_SIZE" : "WORLD_SIZE", INT32_MAX) - 1,
        beside ? "LOCAL_WORLD_SIZE" : "WORLD_SIZE");
}

const char *world_half(const char **other)
{
    bool rank = getenv("RANK") != NULL, ranks = getenv("WORLD_SIZE") != NULL;
    *other = rank ? "WORLD_SIZE" : "RANK";
    if (rank == ranks) return NULL;
    return rank ? "RANK" : "WORLD_SIZE";
}

static bool torch_says(void)
{
    return getenv("RANK") && getenv("WORLD_SIZE");
}

static bool read_torch(World *w, long *rank, long *ranks)
{
    const char *host = getenv("MASTER_ADDR");
    if (!torch_says()) return false;
    *rank = number_of("RANK", -1);
    *ranks = number_of("WORLD_SIZE", -1);
    const char *run = getenv("TORCHELASTIC_RUN_ID");
    if (run)
        snprintf(w->run, sizeof w->run, "%ld %s",
                 number_of("TORCHELASTIC_RESTART_COUNT", 0), run);
    /* torchrun keeps a store of its own at the port that it names */
    const char *store = getenv("TORCHELASTIC_USE_AGENT_STORE");
    put_port(w, 29500, store && strcmp(store, "True") == 0);
    snprintf(w->host, sizeof w->host, "%s", host ? host : "127.0.0.1");
    w->local = (uint32_t)number_of("LOCAL_RANK", *rank);
    w->beside = (uint32_t)number_of("LOCAL_WORLD_SIZE", host ? 1 : *ranks);
    check_torch(w);
    return true;
}

/* The variable that says how many there are; NULL: none, as in a script that
 * srun has not started, which has a number too. */
static const char *slurm_ranks(void)
{
    if (!getenv("SLURM_PROCID")) return NULL;
    if (getenv("SLURM_STEP_NUM_TASKS")) return "SLURM_STEP_NUM_TASKS";
    return getenv("MASTER_ADDR") && getenv("SLURM_NTASKS") ? "SLURM_NTASKS"
                                                           : NULL;
}

/* BESIDE: tasks of this machine; 0: not known. */
static void check_slurm(World *w, const char *tasks, long beside)
{
    long n = number_of(tasks, INT32_MAX);
    check_number(w, tasks, 1, INT32_MAX - 1, NULL);
    check_number(w, "SLURM_PROCID", 0, n - 1, tasks);
    check_number(w, "SLURM_LOCALID", 0, (beside ? beside : n) - 1,
                 beside ? "SLURM_STEP_TASKS_PER_NODE" : tasks);
}

static bool read_slurm(World *w, long *rank, long *ranks)
{
    const char *host = getenv("MASTER_ADDR"), *tasks = slurm_ranks();
    const char *nodes = getenv("SLURM_STEP_NODELIST");
    const char *list = getenv("SLURM_STEP_TASKS_PER_NODE");
    long job = number_of("SLURM_JOB_ID", 0),
         step = number_of("SLURM_STEP_ID", 0);
    if (!tasks) return false;
    *rank = number_of("SLURM_PROCID", -1);
    *ranks = number_of(tasks, -1);
    first_host(nodes ? nodes : "127.0.0.1", w->host, sizeof w->host);
    if (host) snprintf(w->host, sizeof w->host, "%s", host);
    snprintf(w->run, sizeof w->run, "slurm %ld.%ld", job, step);
    /* below 32768, from where on the system gives ports to who connects */
    put_port(w, 20000 + (job * 31 + step) % 12000, 0);
    w->local = (uint32_t)number_of("SLURM_LOCALID", 0);
    long here = tasks_of_node(list, number_of("SLURM_NODEID", 0));
    w->beside = (uint32_t)(here ? here : 1);
    check_slurm(w, tasks, here);
    return true;
}

void world_told(const char **rank, const char **ranks)
{
    *rank = torch_says() ? "RANK" : "SLURM_PROCID";
    *ranks = torch_says() ? "WORLD_SIZE" : slurm_ranks();
}

bool world_read(World *out)
{
    long rank, ranks;
    *out = (World){0};
    if (!read_torch(out, &rank, &ranks) && !read_slurm(out, &rank, &ranks))
        return false;
    out->rank = (uint32_t)rank;
    out->ranks = (uint32_t)ranks;
    if (out->wrong[0]) out->rank = 0, out->ranks = 1;
    if (out->beside == 0) out->beside = 1;
    /* one name for all, with one address */
    if (strcmp(out->host, "localhost") == 0)
        snprintf(out->host, sizeof out->host, "127.0.0.1");
    return out->wrong[0] || (ranks > 1 && ranks < INT32_MAX);
}
