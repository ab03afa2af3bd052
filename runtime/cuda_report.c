/*
 * cuda_report.c: a profile as a table on stdout.
 *
 * Bytes and flops are those that the compiler counted; the roofline is the
 * time that the larger of the two would take at the GPU's peaks, and what is
 * predicted is the time that the compiler expects of it (work.h).  A command
 * that is timed by events has that of an event in it.
 */
#include "cuda_profile.h"
#include "work.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double cuda_peak_flops(const Cuda *c)
{
    const Machine *m = machine_named(c->name);
    return m ? m->f16 : 0;
}

/* Seconds that the work takes at the GPU's best; 0: not known. */
static double roofline(const Cuda *c, Work w)
{
    const Machine *m = machine_named(c->name);
    return m ? work_roofline(m, w) : 0;
}

double cuda_predicted(const Cuda *c, const TitanCommand *cmd)
{
    const Machine *m = machine_named(c->name);
    return m ? work_seconds(m, c->im, cmd) : 0;
}

double cuda_rate(double work, double seconds)
{
    return seconds > 0 ? work / seconds : 0;
}

/* ----------------------------------------------------------------- table -- */

static int by_time(const void *a, const void *b)
{
    const Row *x = a, *y = b;
    if (x->ms != y->ms) return x->ms < y->ms ? 1 : -1;
    return x->command < y->command ? -1 : x->command > y->command;
}

static void print_row(const Cuda *c, const Row *r)
{
    const CudaProfile *p = c->profile;
    const TitanImage *im = c->im;
    char name[160], line[256];
    const char *file = titan_string(im, r->command->file);
    const char *slash = strrchr(file, '/');
    command_name(im, r->command, name, sizeof name);
    snprintf(line, sizeof line, "%s:%" PRIu32, slash ? slash + 1 : file,
             r->command->line);
    Work w = work_of(im, r->command);
    double each = r->ms / (double)r->n * 1e-3;
    double said = cuda_predicted(c, r->command);
    printf("%-44.44s %-16.16s %6" PRIu64 " %9.3f %5.1f %9.1f %7.0f %7.1f "
           "%5.2f %9.1f %6.2f\n",
           name, line, r->n / p->steps, r->ms / p->steps,
           100 * r->ms / p->step_ms, each * 1e6, cuda_rate(w.bytes, each) / 1e9,
           cuda_rate(w.flops, each) / 1e12, cuda_rate(roofline(c, w), each),
           said * 1e6, cuda_rate(said, each));
}

static uint32_t sorted_rows(const Cuda *c, Row *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->im->ncommands; i++)
        if (c->profile->rows[i].n && command_works(&c->im->commands[i]))
            out[n++] = c->profile->rows[i];
    qsort(out, n, sizeof *out, by_time);
    return n;
}

/* What kernels, matrix products and the rest take of a step. */
static void print_kind(const Cuda *c, uint32_t kind, const char *name)
{
    const CudaProfile *p = c->profile;
    double ms = 0, best = 0;
    uint64_t n = 0;
    for (uint32_t i = 0; i < c->im->ncommands; i++) {
        const Row *r = &p->rows[i];
        if (!r->n || r->command->kind != kind) continue;
        ms += r->ms;
        n += r->n;
        best += (double)r->n * 1e3 * roofline(c, work_of(c->im, r->command));
    }
    if (n == 0) return;
    printf("  %-14s %6" PRIu64 " %9.3f ms %5.1f %%, %.3f at the roofline\n",
           name, n / p->steps, ms / p->steps, 100 * ms / p->step_ms,
           best / p->steps);
}

static void print_kinds(const Cuda *c)
{
    double waits = 0;
    print_kind(c, TITAN_COMMAND_kernel, "kernels");
    print_kind(c, TITAN_COMMAND_gemm, "matrix products");
    print_kind(c, TITAN_COMMAND_copy, "copies");
    print_kind(c, TITAN_COMMAND_zero, "zero fills");
    print_kind(c, TITAN_COMMAND_collective, "collectives");
    const CudaProfile *p = c->profile;
    if (p->idle_ms > 0)
        printf("  %-14s %6s %9.3f ms %5.1f %%\n", "nothing", "",
               p->idle_ms / p->steps, 100 * p->idle_ms / p->step_ms);
    for (uint32_t i = 0; i < c->im->ncommands; i++)
        waits += p->rows[i].waits;
    if (waits > 0)
        printf("  of these      %9.3f ms for other ranks that are not there "
               "yet, where copy engines move\n",
               waits / p->steps);
}

/* What commands that are limited by the same take, and were predicted to. */
static void print_classes(const Cuda *c)
{
    const CudaProfile *p = c->profile;
    double ms[TITAN_CLASS_COUNT] = {0}, said[TITAN_CLASS_COUNT] = {0};
    uint64_t n[TITAN_CLASS_COUNT] = {0};
    if (!machine_named(c->name)) return;
    for (uint32_t i = 0; i < c->im->ncommands; i++) {
        const Row *r = &p->rows[i];
        if (!r->n || !command_works(r->command)) continue;
        TitanClass k = work_of(c->im, r->command).limit;
        n[k] += r->n;
        ms[k] += r->ms;
        said[k] += (double)r->n * 1e3 * cuda_predicted(c, r->command);
    }
    printf("\n%-22s %6s %9s %9s %6s\n", "class", "n", "ms", "predicted",
           "of it");
    for (int k = 0; k < TITAN_CLASS_COUNT; k++)
        if (n[k] && said[k] > 0)
            printf("%-22s %6" PRIu64 " %9.3f %9.3f %6.2f\n",
                   class_words((TitanClass)k), n[k] / p->steps,
                   ms[k] / p->steps, said[k] / p->steps,
                   cuda_rate(said[k], ms[k]));
}

TitanStatus cuda_profile_table(TitanDevice *d)
{
    Cuda *c = (Cuda *)d;
    const CudaProfile *p = c->profile;
    Row *rows = calloc((size_t)c->im->ncommands + 1, sizeof *rows);
    if (!rows) return titan_no_memory(c->story);
    uint32_t n = sorted_rows(c, rows);
    printf("\nprofile: %.3f ms a step, %" PRIu32 " commands, mean of %" PRIu32
           " steps, by %s\n",
           p->step_ms / p->steps, p->n, p->steps, p->how);
    if (p->missed)
        printf("  %" PRIu32 " commands have no time: CUPTI has lost it\n",
               p->missed);
    print_kinds(c);
    print_classes(c);
    printf("\n%-44s %-16s %6s %9s %5s %9s %7s %7s %5s %9s %6s\n", "command",
           "source", "n", "ms", "%", "us each", "GB/s", "TFLOP/s", "roof",
           "predicted", "of it");
    for (uint32_t i = 0; i < n; i++)
        print_row(c, &rows[i]);
    free(rows);
    return TITAN_OK;
}
