/*
 * report.c: --stats, --why, and whether the program keeps to --memory-limit.
 *
 * Memory and kernels are read back from the image, so that what is printed is
 * what will run.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "predict.h"
#include "titanc.h"

bool image_open(Job *j, TitanImage *im)
{
    TitanStory story = {0};
    if (!titan_image_open(&story, j->made.image, j->made.image_size, im))
        return true;
    diag_error(&j->diag, DIAG_too_many, (Span){0},
               "the program is too large for an image: %s", story.line[0]);
    return false;
}

uint64_t products_room(const TitanImage *im, uint64_t *offset)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < im->ncommands; i++) {
        const TitanCommand *c = &im->commands[i];
        if (c->kind != TITAN_COMMAND_gemm) continue;
        const TitanOperand *last =
            &im->operands[c->operands.first + c->operands.n - 1];
        uint64_t bytes = im->gemms[c->index].workspace;
        if (bytes <= most || last->base != TITAN_BASE_frame) continue;
        most = bytes;
        *offset = last->offset;
    }
    return most;
}

/* "12.3 GiB", with the exact number when it is small */
static const char *size_str(Arena *a, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes;
    unsigned u = 0;
    while (x >= 1024 && u < 4) {
        x /= 1024;
        u++;
    }
    return arena_printf(a, u ? "%.1f %s" : "%.0f %s", x, units[u]);
}

/* "1,235,814,400" */
static const char *grouped(Arena *a, double x)
{
    char digits[40], out[60];
    snprintf(digits, sizeof digits, "%.0f", x);
    size_t n = strlen(digits), k = 0;
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) out[k++] = ',';
        out[k++] = digits[i];
    }
    out[k] = 0;
    return arena_strdup(a, out);
}

static int64_t count_parameters(const Module *m)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < m->slots.n; i++)
        if (m->slots.at[i].role == ROLE_param)
            sum += type_elements(m, m->slots.at[i].type);
    return sum;
}

static uint32_t count_collectives(const Module *m)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->fns.n; i++)
        for (uint32_t k = 0; k < m->fns.at[i]->ninsts; k++)
            n +=
                (op_info((Op)m->fns.at[i]->insts[k].op)->flags & OPF_COMM) != 0;
    return n;
}

/* ---------------------------------------------------------------- stats -- */

typedef struct Stats {
    int64_t parameters;
    double flops_per_token;
    uint64_t peak_bytes, lower_bound;
    uint64_t reserve; /* beside the peak; 0: the target has none */
    uint32_t kernels, collectives, ranks;
    bool trains;
    Prediction step; /* of `train`; without a machine: nothing */
    StageMoves moves;
    const char *bubble; /* "11.1 %", by the schedule alone; NULL: predicted,
                           or no pipeline */
} Stats;

static Stats stats_of(Job *j, const TitanImage *im)
{
    Stats s = {
        .parameters = count_parameters(&j->m),
        .flops_per_token = titan_fact(im, "flops_per_token", 0),
        .peak_bytes = im->header->arena_bytes,
        .lower_bound = (uint64_t)titan_fact(im, "lower_bound", 0),
        .kernels = im->nkernels,
        .collectives = count_collectives(&j->m),
        .ranks = im->header->ranks,
    };
    Str bubble = option_get(&j->m, "bubble");
    s.trains = titan_entry(im, "train") != NULL;
    rank_needs(im, &s.reserve);
    Arena *a = &j->scratch;
    s.moves = predict(a, im, "train", &s.step)
                  ? stage_moves(a, im, "train", s.step.stage)
                  : most_moves(a, im, "train");
    if (bubble.id && !s.step.machine) s.bubble = str_of(&j->m, bubble);
    return s;
}

static void print_json(const TitanImage *im, const Stats *s)
{
    printf("{\"parameters\": %" PRId64 ", \"flops_per_token\": %.0f, "
           "\"peak_bytes\": %" PRIu64 ", \"kernels\": %" PRIu32
           ", \"collectives\": %" PRIu32 ", \"ranks\": %" PRIu32,
           s->parameters, s->flops_per_token, s->peak_bytes, s->kernels,
           s->collectives, s->ranks);
    const Prediction *p = &s->step;
    if (s->reserve) printf(", \"reserve_bytes\": %" PRIu64, s->reserve);
    if (p->machine)
        printf(", \"step_seconds\": %.6g, \"exposed_seconds\": %.6g, "
               "\"link_bytes\": %.0f, \"network_bytes\": %.0f",
               p->seconds, p->exposed, p->link, p->network);
    if (im->nstages > 1 && p->machine) printf(", \"bubble\": %.4g", p->bubble);
    if (s->bubble) printf(", \"schedule_bubble\": %.4g", atof(s->bubble) / 100);
    for (uint32_t i = 0; i < s->moves.over.n; i++)
        printf("%s\"%s\": %.0f%s", i ? ", " : ", \"moved_bytes\": {",
               s->moves.over.at[i].over, s->moves.over.at[i].bytes,
               i + 1 < s->moves.over.n ? "" : "}");
    for (uint32_t i = 0; i < im->nstages && im->nstages > 1; i++)
        printf("%s%" PRIu64 "%s", i ? ", " : ", \"stage_bytes\": [",
               im->stages[i].arena_bytes, i + 1 < im->nstages ? "" : "]");
    printf("}\n");
}

/* Of a step: all inputs have the same, a row each of the batch. */
static double tokens_of(const TitanImage *im)
{
    const TitanEntry *e = titan_entry(im, "train");
    int64_t most = 0;
    for (uint32_t i = 0; i < e->ports.n; i++) {
        const TitanPort *p = &im->ports[e->ports.first + i];
        int64_t n = titan_elements(im, p->axes);
        if (p->role == TITAN_ROLE_input && n > most) most = n;
    }
    return (double)most;
}

/* The share of the peak of all ranks. */
static double mfu_of(const TitanImage *im, const Stats *s)
{
    return s->flops_per_token * tokens_of(im) /
           (s->step.seconds * s->step.machine->f16 * s->ranks);
}

static void print_time(const TitanImage *im, const Stats *s)
{
    const Prediction *p = &s->step;
    printf("predicted step   %.2f ms on %s, mfu %.1f %%", 1e3 * p->seconds,
           p->machine->name, 100 * mfu_of(im, s));
    if (im->nstages > 1) printf(", bubble %.1f %%", 100 * p->bubble);
    printf("\n");
    printf("  %-22s %9.2f ms\n", "library products", 1e3 * p->products);
    printf("  %-22s %9.2f ms\n", "kernels", 1e3 * p->rest);
    if (s->ranks > 1)
        printf("  %-22s %9.2f ms, %.2f of them exposed\n", "collectives",
               1e3 * p->collectives, 1e3 * p->exposed);
}

/* In all, and over each mesh axis. */
static void print_moves(Arena *a, const TitanImage *im, const Stats *s)
{
    const Prediction *p = &s->step;
    const StageMoves *x = &s->moves;
    if (p->machine)
        printf("moved by a rank  %s in its host, %s to others\n",
               size_str(a, (uint64_t)p->link),
               size_str(a, (uint64_t)p->network));
    else
        printf("moved by a rank  %s\n", size_str(a, (uint64_t)x->bytes));
    if (im->nstages > 1) printf("  by one of stage %" PRIu32 "\n", x->stage);
    for (uint32_t i = 0; i < x->over.n; i++) {
        const MovedOver *row = &x->over.at[i];
        printf("  %-22s %12s in %" PRIu64 " collective%s\n",
               arena_printf(a, "over %s", row->over),
               size_str(a, (uint64_t)row->bytes), row->times,
               row->times == 1 ? "" : "s");
    }
}

static void print_step(Arena *a, const TitanImage *im, const Stats *s)
{
    if (!s->trains) return;
    if (s->step.machine)
        print_time(im, s);
    else
        printf("predicted step   not known: there are figures of GPUs alone\n");
    if (s->bubble)
        printf("bubble           %s by the schedule, where a backward takes "
               "twice as long as its forward\n",
               s->bubble);
    if (s->ranks > 1) print_moves(a, im, s);
}

/* What each stage of a pipeline has in memory, and for how long it is busy. */
static void print_stages(Arena *a, const TitanImage *im, const Stats *s)
{
    const Prediction *p = &s->step;
    for (uint32_t i = 0; i < im->nstages && im->nstages > 1; i++) {
        printf("stage %-10" PRIu32 " %s", i,
               size_str(a, im->stages[i].arena_bytes));
        if (p->machine) printf(", busy %.2f ms", 1e3 * p->stages.at[i]);
        printf("\n");
    }
}

static void print_text(Job *j, const TitanImage *im, const Stats *s)
{
    Arena *a = &j->scratch;
    const TitanStage *most = titan_largest_stage(im);
    uint64_t offset, room = products_room(im, &offset);
    printf("parameters       %s\n", grouped(a, (double)s->parameters));
    printf("FLOPs per token  %s\n", grouped(a, s->flops_per_token));
    printf("kernels          %" PRIu32 "\n", s->kernels);
    printf("collectives      %" PRIu32 "\n", s->collectives);
    if (s->ranks > 1) printf("ranks            %" PRIu32 "\n", s->ranks);
    Str held = option_get(&j->m, "held");
    if (held.id) printf("held for a step  %s\n", str_of(&j->m, held));
    printf("peak memory      %s bytes (%s)\n",
           grouped(a, (double)s->peak_bytes), size_str(a, s->peak_bytes));
    static const char *const names[] = {
        "parameters and states", "inputs and results", "values of a step",
        "scratch of a thread", "memory of the host"};
    for (int b = 0; b < TITAN_BASE_COUNT; b++) {
        if (b == TITAN_BASE_host && most->base_bytes[b] == 0) continue;
        printf("  %-22s %12s", names[b], size_str(a, most->base_bytes[b]));
        if (b == TITAN_BASE_lane)
            printf(" for each of %" PRIu32, im->header->lanes);
        printf("\n");
        if (b == TITAN_BASE_frame && room)
            printf("    %-20s %12s\n", "to widen operands", size_str(a, room));
    }
    if (s->reserve)
        printf("reserve          %s beside that, of a GPU\n",
               size_str(a, s->reserve));
    if (s->lower_bound)
        printf("lower bound      %s bytes\n",
               grouped(a, (double)s->lower_bound));
}

/* "'d_wg' of models/llama3.tt:62" */
static const char *peak_str(Arena *a, const TitanImage *im, const TitanPeak *p)
{
    const char *name = titan_string(im, p->name);
    const char *quoted = *name ? arena_printf(a, "'%s'", name) : "a value";
    if (!p->line) return quoted;
    return arena_printf(a, "%s of %s:%" PRIu32, quoted,
                        titan_string(im, p->file), p->line);
}

enum { MOST_PEAKS = 20 };

static void print_peaks(Job *j, const TitanImage *im)
{
    uint64_t rest = 0;
    TitanRange peaks = titan_largest_stage(im)->peaks;
    if (peaks.n && im->nstages == 1) printf("live at the peak\n");
    if (peaks.n && im->nstages > 1)
        printf("live at the peak of stage %d\n",
               (int)(titan_largest_stage(im) - im->stages));
    for (uint32_t i = 0; i < peaks.n; i++) {
        const TitanPeak *p = &im->peaks[peaks.first + i];
        if (i >= MOST_PEAKS)
            rest += p->bytes;
        else
            printf("  %12s  %s\n", size_str(&j->scratch, p->bytes),
                   peak_str(&j->scratch, im, p));
    }
    if (rest)
        printf("  %12s  in %" PRIu32 " others\n", size_str(&j->scratch, rest),
               peaks.n - MOST_PEAKS);
}

bool stats_print(Job *j)
{
    TitanImage im;
    if (!image_open(j, &im)) return false;
    Stats s = stats_of(j, &im);
    if (!strcmp(j->r->stats, "json")) {
        print_json(&im, &s);
        return true;
    }
    print_text(j, &im, &s);
    print_step(&j->scratch, &im, &s);
    print_stages(&j->scratch, &im, &s);
    print_peaks(j, &im);
    if (!strcmp(j->r->stats, "commands"))
        costs_print(&j->scratch, &im, &s.step);
    return true;
}

/* ---------------------------------------------------------------- limit -- */

bool within_limit(Job *j)
{
    if (j->r->memory_limit < 0) return true;
    TitanImage im;
    if (!image_open(j, &im)) return false;
    uint64_t reserve, needs = rank_needs(&im, &reserve);
    uint64_t limit = (uint64_t)j->r->memory_limit;
    if (needs <= limit) return true;
    Arena *a = &j->scratch;
    Report *r = diag_error(&j->diag, DIAG_memory_limit, (Span){0},
                           "a rank needs %s, the memory limit is %s",
                           size_str(a, needs), size_str(a, limit));
    if (reserve)
        report_note(r, (Span){0},
                    "%s of them are the reserve of a GPU, for its driver and "
                    "libraries",
                    size_str(a, reserve));
    TitanRange peaks = titan_largest_stage(&im)->peaks;
    for (uint32_t i = 0; i < peaks.n && i < 3; i++)
        report_note(r, (Span){0}, "%s takes %s at the peak",
                    peak_str(a, &im, &im.peaks[peaks.first + i]),
                    size_str(a, im.peaks[peaks.first + i].bytes));
    report_help(r, "a smaller batch, or more recomputation, needs less");
    return false;
}

/* ------------------------------------------------------------------ why -- */

static void print_slot(Job *j, const Slot *s)
{
    Module *m = &j->m;
    printf("%s %s: %s\n  whole on one device: there is no plan\n",
           role_name(s->role), str_of(m, s->path), type_str(m, s->type));
}

/* The nearest path, or end of one. */
static void try_ends(Nearest *near, const char *path)
{
    for (; path; path = strchr(path, '.') ? strchr(path, '.') + 1 : NULL)
        nearest_try(near, path);
}

bool why_print(Job *j)
{
    const char *wanted = option_text(j->r->o, OPT_why);
    Nearest near = nearest_to(wanted);
    bool any = false;
    const char *const *lines;
    uint32_t n = frontend_why(j->frontend, &lines);
    for (uint32_t i = 0; i < j->m.slots.n; i++) {
        const Slot *s = &j->m.slots.at[i];
        try_ends(&near, str_of(&j->m, s->path));
        if (!path_ends(str_of(&j->m, s->path), wanted)) continue;
        any = true;
        if (n == 0) print_slot(j, s);
    }
    for (uint32_t i = 0; i < n; i++)
        printf("%s\n", lines[i]);
    if (any || n) return true;
    Report *r = diag_error(&j->diag, DIAG_no_such_path, (Span){0},
                           "the model has no parameter or state '%s'", wanted);
    if (near.best) report_help(r, "did you mean '%s'?", near.best);
    return false;
}
