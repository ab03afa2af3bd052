/*
 * costs.c: --stats=commands, what a step is predicted to take by classes and
 * command by command, the longest first; those that are alike are one line.
 *
 * What it is made of stands beside it: bytes and operations as the compiler
 * counts them, and how many ways through the step run the command.  A profile
 * of the same step has these times beside those that were measured.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "predict.h"
#include "titanc.h"

/* All runs of commands that are alike. */
typedef struct Cost {
    const TitanCommand *command;
    uint64_t n;
    double seconds;
} Cost;

static int by_seconds(const void *a, const void *b)
{
    const Cost *x = a, *y = b;
    if (x->seconds != y->seconds) return x->seconds < y->seconds ? 1 : -1;
    return x->command < y->command ? -1 : x->command > y->command;
}

/* Those of the step, the longest first. */
static uint32_t costs_of(Arena *a, const TitanImage *im, const Prediction *p,
                         Cost **out)
{
    Cost *costs = NEW_ARRAY(a, Cost, (size_t)im->ncommands + 1);
    const uint32_t *first = commands_alike(a, im);
    for (uint32_t i = 0; i < p->played.n; i++) {
        const Played *run = &p->played.at[i];
        Cost *c = &costs[first[run->command]];
        c->command = &im->commands[first[run->command]];
        c->n++;
        c->seconds += run->seconds;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < im->ncommands; i++)
        if (costs[i].n) costs[n++] = costs[i];
    qsort(costs, n, sizeof *costs, by_seconds);
    *out = costs;
    return n;
}

static void print_classes(const TitanImage *im, const Cost *costs, uint32_t n)
{
    Cost sums[TITAN_CLASS_COUNT] = {{0}};
    double all = 0;
    for (uint32_t i = 0; i < n; i++) {
        Cost *sum = &sums[work_of(im, costs[i].command).limit];
        sum->n += costs[i].n;
        sum->seconds += costs[i].seconds;
        all += costs[i].seconds;
    }
    printf("\n%-22s %6s %10s %6s\n", "class", "n", "ms", "%");
    for (int k = 0; k < TITAN_CLASS_COUNT; k++)
        if (sums[k].n)
            printf("%-22s %6" PRIu64 " %10.3f %6.1f\n",
                   class_words((TitanClass)k), sums[k].n, 1e3 * sums[k].seconds,
                   100 * sums[k].seconds / all);
}

static void print_cost(const TitanImage *im, const Cost *c)
{
    char name[160], line[256];
    const char *file = titan_string(im, c->command->file);
    const char *slash = strrchr(file, '/');
    Work w = work_of(im, c->command);
    command_name(im, c->command, name, sizeof name);
    snprintf(line, sizeof line, "%s:%" PRIu32, slash ? slash + 1 : file,
             c->command->line);
    printf("%-44.44s %-22s %-16.16s %6" PRIu64 " %9.3f %9.1f %9.2f %9.2f\n",
           name, class_words(w.limit), line, c->n, 1e3 * c->seconds,
           1e6 * c->seconds / (double)c->n, w.bytes / 1e6,
           (w.flops + w.scalars) / 1e9);
}

void costs_print(Arena *a, const TitanImage *im, const Prediction *p)
{
    Cost *costs;
    uint32_t n = costs_of(a, im, p, &costs);
    if (n == 0) return;
    print_classes(im, costs, n);
    printf("\n%-44s %-22s %-16s %6s %9s %9s %9s %9s\n", "command", "class",
           "source", "n", "ms", "us each", "MB", "GFLOP");
    for (uint32_t i = 0; i < n; i++)
        print_cost(im, &costs[i]);
}
