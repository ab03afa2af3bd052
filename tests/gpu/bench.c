/*
 * Times every kernel of a compiled step alone, on this machine's GPU.
 *
 *     gpu-bench STEP.ptx [-c CUBIN] [-e ENTRY] [-k SYMBOL]...
 *
 * The image says which commands the entry runs, on which places of the arena,
 * how often.  The arena is filled, before each command, with random numbers
 * that are sane as bf16 and as f32, inputs with numbers below their bounds;
 * gemms are left out.  Each kernel is launched from a graph, again and again,
 * on places that move through memory so that nothing is found in the cache that
 * the step would not find there.  Bytes are those that the image counts: every
 * operand once.
 *
 * The table is sorted by the time of a step, and ends with what a plain copy
 * reaches on this card in this run.  Each rate stands beside that of such a
 * copy, and, of one kernel alone, beside that of a copy of as many bytes.
 */
#include <inttypes.h>

#include "runtime/titan.h"
#include "tests/gpu/driver.h"

enum { SHIFTS = 8, MOST_DEPTH = 16, MOST_ROWS = 1024, MOST_ASKED = 64 };
#define SHIFT   (UINT64_C(272) << 20)
#define PATTERN (UINT64_C(64) << 20)

typedef struct Row {
    const TitanCommand *command, *zero; /* what clears words that it counts */
    double runs, us;
    int registers;
} Row;

typedef struct Bench {
    Driver d;
    TitanStory story;
    TitanImage im;
    const char *asked[MOST_ASKED]; /* parts of symbols */
    unsigned nasked;
    void *module, *stream;
    const TitanEntry *entry;
    uint64_t arena, bytes, pattern, base[TITAN_BASE_COUNT];
    int64_t turns[MOST_DEPTH]; /* of the loops around */
    uint32_t depth;
    Row rows[MOST_ROWS];
    uint32_t nrows;
} Bench;

static void stop(const Bench *b, TitanStatus status)
{
    if (status == TITAN_OK) return;
    titan_story_print(&b->story, "gpu-bench");
    exit((int)status);
}

/* ---------------------------------------------------------------- the data */

static uint64_t next(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random * 0x2545F4914F6CDD1Dull;
}

/* Halves of words are bf16 from 1/64 to 1.  None is negative: a second moment
 * is not, and what is rare in a step, such as its root, may take longer. */
static uint64_t pattern_new(const Bench *b)
{
    uint16_t *half = malloc(PATTERN);
    uint64_t random = 88172645463325252ull, at;
    for (uint64_t i = 0; i < PATTERN / 2; i++) {
        uint64_t r = next(&random);
        half[i] = (uint16_t)((r & 0x7f) | ((121 + (r >> 20) % 6) << 7));
    }
    MUST(&b->d, alloc, (&at, PATTERN));
    MUST(&b->d, to, (at, half, PATTERN));
    free(half);
    return at;
}

static void fill_arena(const Bench *b)
{
    for (uint64_t at = 0; at < b->bytes; at += PATTERN) {
        uint64_t left = b->bytes - at, n = left < PATTERN ? left : PATTERN;
        MUST(&b->d, copy, (b->arena + at, b->pattern, n, b->stream));
    }
    MUST(&b->d, sync, ());
}

static void fill_input(const Bench *b, const TitanPort *p)
{
    unsigned w = titan_dtype_bytes(p->dtype);
    if (p->role != TITAN_ROLE_input || !p->bound || w > 8) return;
    size_t n = (size_t)titan_elements(&b->im, p->axes);
    char *bytes = calloc(n, w);
    uint64_t random = 1181783497276652981ull;
    for (size_t i = 0; i < n; i++) {
        uint64_t v = next(&random) % p->bound;
        memcpy(bytes + i * w, &v, w);
    }
    MUST(&b->d, to, (b->base[TITAN_BASE_io] + p->offset, bytes, n * w));
    free(bytes);
}

/* Before each command: those that update in place leave what no step has. */
static void fill(const Bench *b)
{
    fill_arena(b);
    for (uint32_t i = 0; i < b->entry->ports.n; i++)
        fill_input(b, &b->im.ports[b->entry->ports.first + i]);
}

static void set_up(Bench *b, const TitanEntry *e)
{
    b->entry = e;
    b->bytes = b->im.header->arena_bytes + SHIFTS * SHIFT;
    MUST(&b->d, stream_new, (&b->stream, 1));
    MUST(&b->d, alloc, (&b->arena, b->bytes));
    b->pattern = pattern_new(b);
    uint64_t at = b->arena;
    for (int i = 0; i < TITAN_BASE_COUNT; i++) {
        b->base[i] = at;
        at += (b->im.stages->base_bytes[i] + 255) & ~UINT64_C(255);
    }
}

/* ------------------------------------------------------------ one command */

static uint64_t word_of(const Bench *b, const TitanOperand *o, uint64_t shift)
{
    if (o->kind == TITAN_OPERAND_counter)
        return (uint64_t)b->turns[b->depth - 1 - o->offset];
    uint64_t at = b->base[o->base] + o->offset;
    for (uint32_t i = 0; i < o->turns.n; i++) {
        const TitanTurn *t = &b->im.turns[o->turns.first + i];
        at += (uint64_t)(t->bytes * b->turns[b->depth - 1 - t->depth]);
    }
    return o->base == TITAN_BASE_io ? at : at + shift;
}

static void launch(Bench *b, const TitanCommand *c, uint64_t shift)
{
    static Shot s;
    const TitanKernel *k = &b->im.kernels[c->index];
    s = (Shot){.blocks = (unsigned)c->items,
               .threads = k->threads,
               .shared = k->shared_bytes,
               .nargs = k->args};
    MUST(&b->d, function, (&s.fn, b->module, titan_string(&b->im, k->name)));
    shot_prepare(&b->d, &s);
    for (uint32_t i = 0; i < k->args; i++)
        s.words[i] = word_of(b, &b->im.operands[c->operands.first + i], shift);
    for (uint32_t i = 0; i < k->maps.n; i++) {
        const TitanMap *m = &b->im.maps[k->maps.first + i];
        map_encode(&b->d, m, s.words[m->arg], s.maps[shot_map(&s)]);
    }
    shot_launch(&b->d, &s, b->stream);
}

static void run_command(Bench *b, const TitanCommand *c, uint64_t shift)
{
    const TitanOperand *o = &b->im.operands[c->operands.first];
    switch ((TitanCommandKind)c->kind) {
    case TITAN_COMMAND_kernel:
        launch(b, c, shift);
        return;
    case TITAN_COMMAND_copy:
        MUST(&b->d, copy,
             (word_of(b, o, shift), word_of(b, o + 1, shift), (size_t)c->items,
              b->stream));
        return;
    case TITAN_COMMAND_zero:
        MUST(&b->d, fill,
             (word_of(b, o, shift), 0, (size_t)c->items, b->stream));
        return;
    case TITAN_COMMAND_gemm:
    case TITAN_COMMAND_collective:
    case TITAN_COMMAND_signal:
    case TITAN_COMMAND_wait: /* all is on one stream */
        return;
    }
}

/* With what it finds cleared: a kernel whose blocks wait for each other counts
 * in words that a command in front of it sets to zero, and would wait for ever
 * on others. */
static void run_row(Bench *b, const Row *r, uint64_t shift)
{
    if (r->zero) run_command(b, r->zero, shift);
    run_command(b, r->command, shift);
}

/* What a stretch of work on the stream takes, in microseconds. */
typedef struct Watch {
    void *from, *to;
} Watch;

static Watch watch_start(Bench *b)
{
    Watch w;
    MUST(&b->d, event_new, (&w.from, 0));
    MUST(&b->d, event_new, (&w.to, 0));
    MUST(&b->d, event, (w.from, b->stream));
    return w;
}

static double watch_stop(Bench *b, Watch w)
{
    float ms;
    MUST(&b->d, event, (w.to, b->stream));
    MUST(&b->d, event_wait, (w.to));
    MUST(&b->d, between, (&ms, w.from, w.to));
    MUST(&b->d, event_free, (w.from));
    MUST(&b->d, event_free, (w.to));
    return (double)ms * 1e3;
}

static double run_graph(Bench *b, void *graph, int times)
{
    Watch w = watch_start(b);
    for (int i = 0; i < times; i++)
        MUST(&b->d, graph_run, (graph, b->stream));
    return watch_stop(b, w) / (SHIFTS * times);
}

static uint64_t bytes_of(const Bench *b, const TitanCommand *c)
{
    if (c->kind == TITAN_COMMAND_kernel) return b->im.kernels[c->index].bytes;
    return (uint64_t)c->items * (c->kind == TITAN_COMMAND_copy ? 2 : 1);
}

/* How far the places of one run lie from those of the last: what moves more
 * than that finds nothing in the cache, and stays, lest it reads of its own
 * results as other operands. */
static uint64_t shift_of(const Bench *b, const TitanCommand *c)
{
    return bytes_of(b, c) < SHIFT ? SHIFT : 0;
}

/* Microseconds of one run, from about 40 ms of runs; of what takes long, from
 * one. */
static double time_runs(Bench *b, const Row *r)
{
    enum { LONG = 20000, SPAN = 40000 };
    void *graph, *ready;
    uint64_t shift = shift_of(b, r->command);
    run_row(b, r, 0);
    Watch w = watch_start(b);
    run_row(b, r, shift);
    double once = watch_stop(b, w);
    if (once > LONG) return once;
    MUST(&b->d, capture, (b->stream, 2));
    for (uint64_t i = 0; i < SHIFTS; i++)
        run_row(b, r, i * shift);
    MUST(&b->d, captured, (b->stream, &graph));
    MUST(&b->d, graph_ready, (&ready, graph, 0));
    once = run_graph(b, ready, 1);
    int times = (int)(SPAN / (SHIFTS * (once + 1))) + 1;
    double us = run_graph(b, ready, times);
    MUST(&b->d, ready_free, (ready));
    MUST(&b->d, graph_free, (graph));
    return us;
}

/* Less what the clearing takes by itself. */
static double time_row(Bench *b, const Row *r)
{
    fill(b);
    double us = time_runs(b, r);
    return r->zero ? us - time_runs(b, &(Row){.command = r->zero}) : us;
}

/* ----------------------------------------------------------------- the walk */

static bool alike(const TitanCommand *x, const TitanCommand *y)
{
    if (x->kind != y->kind) return false;
    return x->kind == TITAN_COMMAND_kernel ? x->index == y->index
                                           : x->items == y->items;
}

/* Whether a -k leaves it: others are not run at all, for they would read what
 * no command in front of them has made. */
static bool is_asked_for(const Bench *b, const TitanCommand *c)
{
    if (b->nasked == 0) return true;
    if (c->kind != TITAN_COMMAND_kernel) return false;
    const char *name = titan_string(&b->im, b->im.kernels[c->index].name);
    for (unsigned i = 0; i < b->nasked; i++)
        if (strstr(name, b->asked[i])) return true;
    return false;
}

static const char *name_of(const Bench *b, const TitanCommand *c)
{
    return c->kind == TITAN_COMMAND_copy ? "copy"
           : c->kind == TITAN_COMMAND_zero
               ? "zero"
               : titan_string(&b->im, b->im.kernels[c->index].name);
}

/* At once: a kernel that counts by what it reads may take long on words that
 * were drawn, and is to be named then. */
static void tell(const Bench *b, const Row *r)
{
    fprintf(stderr, "%s ...", name_of(b, r->command));
}

static void told(const Row *r)
{
    fprintf(stderr, " %.2f us\n", r->us);
}

/* The command of P in front of C that clears what C has; NULL: none. */
static const TitanCommand *zero_of(const Bench *b, const TitanProgram *p,
                                   const TitanCommand *c)
{
    const TitanCommand *first = &b->im.commands[p->commands.first];
    if (c->kind != TITAN_COMMAND_kernel) return NULL;
    for (const TitanCommand *z = c; z-- > first;) {
        if (z->kind != TITAN_COMMAND_zero) continue;
        const TitanOperand *o = &b->im.operands[z->operands.first];
        for (uint32_t i = 0; i < c->operands.n; i++) {
            const TitanOperand *own = &b->im.operands[c->operands.first + i];
            if (own->kind == TITAN_OPERAND_memory && own->base == o->base &&
                own->offset == o->offset)
                return z;
        }
    }
    return NULL;
}

static void meet(Bench *b, const Row *met)
{
    if (met->command->kind == TITAN_COMMAND_gemm) return;
    for (uint32_t i = 0; i < b->nrows; i++)
        if (alike(b->rows[i].command, met->command)) {
            b->rows[i].runs += met->runs;
            return;
        }
    if (b->nrows == MOST_ROWS) return;
    Row *r = &b->rows[b->nrows++];
    *r = *met;
    tell(b, r);
    r->us = time_row(b, r);
    told(r);
}

static void walk_program(Bench *b, const TitanProgram *p, double runs)
{
    for (uint32_t i = 0; i < p->commands.n; i++) {
        const TitanCommand *c = &b->im.commands[p->commands.first + i];
        if (!is_asked_for(b, c)) continue;
        Row r = {.command = c, .zero = zero_of(b, p, c), .runs = runs};
        meet(b, &r);
        run_row(b, &r, 0);
    }
    MUST(&b->d, sync, ());
}

static void walk(Bench *b, const TitanEntry *e)
{
    double runs[MOST_DEPTH + 1] = {1};
    for (uint32_t i = 0; i < e->runs.n; i++) {
        const TitanRun *r = &b->im.runs[e->runs.first + i];
        if (r->kind == TITAN_RUN_loop && b->depth < MOST_DEPTH) {
            b->turns[b->depth++] = 0;
            runs[b->depth] = runs[b->depth - 1] * (double)r->count;
        } else if (r->kind == TITAN_RUN_end) {
            b->depth--;
        } else if (r->kind == TITAN_RUN_program) {
            walk_program(b, &b->im.programs[r->program], runs[b->depth]);
        }
    }
}

/* ----------------------------------------------------------------- a copy */

/* 16 bytes a load, four loads of a thread in flight. */
static const char copy_ptx[] =
    ".version 8.0\n.target sm_90\n.address_size 64\n"
    ".visible .entry plain(.param .u64 to, .param .u64 from)\n"
    ".reqntid 256, 1, 1\n{\n"
    ".reg .b32 %a<17>;\n.reg .b64 %p<6>;\n.reg .b32 %t<4>;\n"
    "ld.param.u64 %p1, [to];\nld.param.u64 %p2, [from];\n"
    "mov.u32 %t1, %ctaid.x;\nmov.u32 %t2, %tid.x;\n"
    "shl.b32 %t1, %t1, 10;\nadd.u32 %t1, %t1, %t2;\n"
    "mul.wide.u32 %p3, %t1, 16;\n"
    "add.u64 %p1, %p1, %p3;\nadd.u64 %p2, %p2, %p3;\n"
    "ld.global.nc.v4.b32 {%a1, %a2, %a3, %a4}, [%p2];\n"
    "ld.global.nc.v4.b32 {%a5, %a6, %a7, %a8}, [%p2+4096];\n"
    "ld.global.nc.v4.b32 {%a9, %a10, %a11, %a12}, [%p2+8192];\n"
    "ld.global.nc.v4.b32 {%a13, %a14, %a15, %a16}, [%p2+12288];\n"
    "st.global.v4.b32 [%p1], {%a1, %a2, %a3, %a4};\n"
    "st.global.v4.b32 [%p1+4096], {%a5, %a6, %a7, %a8};\n"
    "st.global.v4.b32 [%p1+8192], {%a9, %a10, %a11, %a12};\n"
    "st.global.v4.b32 [%p1+12288], {%a13, %a14, %a15, %a16};\n"
    "ret;\n}\n";

/* GB/s of a copy of so many bytes. */
static double time_copy(Bench *b, uint64_t bytes)
{
    Shot s = {.threads = 256, .blocks = (unsigned)(bytes / 16384), .nargs = 2};
    void *module, *graph, *ready;
    MUST(&b->d, load, (&module, copy_ptx));
    MUST(&b->d, function, (&s.fn, module, "plain"));
    MUST(&b->d, capture, (b->stream, 2));
    for (uint64_t i = 0; i < SHIFTS; i++) {
        s.words[0] = b->arena + i * SHIFT;
        s.words[1] = s.words[0] + (SHIFT << 3) / 2;
        shot_launch(&b->d, &s, b->stream);
    }
    MUST(&b->d, captured, (b->stream, &graph));
    MUST(&b->d, graph_ready, (&ready, graph, 0));
    run_graph(b, ready, 4);
    double us = run_graph(b, ready, 40);
    MUST(&b->d, unload, (module));
    return 2e-3 * (double)bytes / us;
}

/* ----------------------------------------------------------------- the table
 */

static int by_total(const void *x, const void *y)
{
    const Row *a = x, *b = y;
    double s = a->runs * a->us, t = b->runs * b->us;
    return s < t ? 1 : s > t ? -1 : 0;
}

static int registers(Bench *b, const TitanCommand *c)
{
    enum { REGISTERS = 4 };
    int n = 0;
    void *fn;
    if (c->kind != TITAN_COMMAND_kernel) return 0;
    const TitanKernel *k = &b->im.kernels[c->index];
    MUST(&b->d, function, (&fn, b->module, titan_string(&b->im, k->name)));
    MUST(&b->d, function_has, (&n, REGISTERS, fn));
    return n;
}

/* Bytes that are read and as many that are written, in whole blocks; far more
 * than one place has are copied as fast as a part of them. */
static double copy_of(Bench *b, uint64_t bytes)
{
    enum { BLOCK = 16384 };
    uint64_t half = bytes / 2 < SHIFT ? bytes / 2 : SHIFT;
    return time_copy(b, (half + BLOCK - 1) / BLOCK * BLOCK);
}

static void print_row(Bench *b, const Row *r, double copy)
{
    const TitanCommand *c = r->command;
    uint64_t bytes = bytes_of(b, c);
    double rate = (double)bytes * 1e-3 / r->us;
    printf("%-36.36s %8" PRId64 " %3d %9.1f %9.2f %7.0f %5.1f %5.0f %8.2f  "
           "%s:%" PRIu32 "\n",
           name_of(b, c), c->kind == TITAN_COMMAND_kernel ? c->items : 0,
           registers(b, c), (double)bytes * 1e-6, r->us, rate,
           100 * rate / copy, r->runs, r->runs * r->us * 1e-3,
           titan_string(&b->im, c->file), c->line);
    if (b->nasked == 0 || bytes < 2) return;
    double same = copy_of(b, bytes);
    printf("%36s a copy of as many bytes: %.0f GB/s, of which %.1f %%\n", "",
           same, 100 * rate / same);
}

static void print_table(Bench *b)
{
    double copy = time_copy(b, UINT64_C(128) << 20), all = 0, at_copy = 0;
    printf("%-36s %8s %3s %9s %9s %7s %5s %5s %8s  %s\n", "kernel", "blocks",
           "reg", "MB", "us", "GB/s", "%", "runs", "ms", "source");
    qsort(b->rows, b->nrows, sizeof *b->rows, by_total);
    for (uint32_t i = 0; i < b->nrows; i++) {
        Row *r = &b->rows[i];
        if (r->us == 0) continue;
        print_row(b, r, copy);
        all += r->runs * r->us * 1e-3;
        at_copy += r->runs * (double)bytes_of(b, r->command) * 1e-6 / copy;
    }
    printf("%.2f ms in all; %.2f ms at the rate of a copy\n", all, at_copy);
    printf("a copy of 128 MiB: %.0f GB/s\n", copy);
}

/* ------------------------------------------------------------------- main */

static int usage(void)
{
    fprintf(stderr, "usage: gpu-bench STEP.ptx [-c CUBIN] [-e ENTRY] "
                    "[-k SYMBOL]...\n");
    return TITAN_USAGE;
}

int main(int argc, char **argv)
{
    static Bench b;
    const char *step = NULL, *cubin = NULL, *entry = "train";
    for (int i = 1; i < argc; i++) {
        bool option = argv[i][0] == '-';
        if (option && i + 1 == argc) return usage();
        if (!option)
            step = argv[i];
        else if (argv[i][1] == 'c')
            cubin = argv[++i];
        else if (argv[i][1] == 'e')
            entry = argv[++i];
        else if (argv[i][1] == 'k' && b.nasked < MOST_ASKED)
            b.asked[b.nasked++] = argv[++i];
        else
            return usage();
    }
    if (!step) return usage();
    size_t size, image_size;
    void *image;
    char *text = whole_file(step, &size);
    stop(&b, titan_ptx_image(&b.story, text, size, &image, &image_size));
    stop(&b, titan_image_open(&b.story, image, image_size, &b.im));
    const TitanEntry *e = titan_entry(&b.im, entry);
    if (!e) return usage();
    if (!driver_open(&b.d)) {
        fprintf(stderr, "no CUDA driver, or no device\n");
        return TITAN_UNAVAILABLE;
    }
    MUST(&b.d, load, (&b.module, cubin ? whole_file(cubin, NULL) : text));
    set_up(&b, e);
    walk(&b, e);
    print_table(&b);
    return 0;
}
