/*
 * Runs a folder of programs (tools/smith/given.h, made by titan-smith --mode
 * gpu) on this machine's GPU: each three times from the same values, command by
 * command and as the graphs that training runs, whose bits must agree; results
 * against those expected.  Of several devices there is a process for each, or,
 * where they are the host's, a thread.
 *
 *     gpu-programs [OPTIONS] FOLDER [SEED]
 *
 *     --threads, --nccl-alone      ranks are that, or have no copy engines
 *     --registered                 NCCL knows their arenas (--nccl-buffers)
 *     --sync                       one command at a time
 *     --seconds N, --beside N      no program begins later; so many at a time
 *
 * It needs what a training program does.  Programs run in several processes
 * beside each other, so that one that ends badly is one that fails.  The last
 * line counts; the exit code is 1 when a program fails.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/device.h"
#include "tools/smith/given.h"

enum { MOST_PROGRAMS = 4096, WORKERS = 8, RUNS = 3 };
enum { SECONDS = 100 }; /* of a program; then its process ends */
enum { LONGER = 5 };    /* until who waits for that process does */

typedef struct Given {
    GivenPlace at;
    bool wanted;
    Cell *cells;
    double room, step;
    int64_t each;
    int64_t n, span; /* elements; to the end of the last */
    char *first;     /* wanted: bytes behind the first run */
} Given;

typedef struct Program {
    unsigned long long seed;
    Given *values;
    uint32_t nvalues;
    TitanStory story;
    TitanImage image;
    TitanCode code;
    const TitanEntry *entry;
    TitanDevice *device;
} Program;

/* What the processes share. */
typedef struct Board {
    _Atomic uint32_t next, ran, failed, late;
    _Atomic uint64_t opening, running; /* microseconds of all programs */
    _Atomic uint32_t at[WORKERS];      /* the program that each has */
} Board;

static unsigned long long seeds[MOST_PROGRAMS];
static uint32_t nseeds;
static const char *folder;
static bool threads, nccl_alone, registered, in_sync;
static double until = HUGE_VAL;         /* when no program begins any more */
static unsigned long workers = WORKERS; /* at most */
static Board *board;

/* Seconds, by a clock that all processes have. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---------------------------------------------------------------- reading */

static char *whole_file(unsigned long long seed, const char *suffix, size_t *n)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%llu%s", folder, seed, suffix);
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *text = calloc(*n + 8, 1);
    if (text && fread(text, 1, *n, f) != *n) {
        free(text);
        text = NULL;
    }
    fclose(f);
    return text;
}

static void read_place(GivenPlace *p, char **at)
{
    p->base = (uint32_t)strtoul(*at, at, 10);
    p->offset = strtoull(*at, at, 10);
    p->dtype = (uint32_t)strtoul(*at, at, 10);
    p->slot.piece = strtoull(*at, at, 10);
    p->slot.pitch = strtoull(*at, at, 10);
    p->naxes = (uint32_t)strtoul(*at, at, 10);
    for (uint32_t i = 0; i < p->naxes && i < MOST_GIVEN_AXES; i++) {
        p->size[i] = strtoll(*at, at, 10);
        p->stride[i] = strtoll(*at, at, 10);
    }
}

static void read_cells(Given *v, char **at)
{
    bool floats = dtype_class((DType)v->at.dtype) == DC_float;
    for (int64_t k = 0; k < v->n; k += v->each)
        if (floats)
            v->cells[k].f = strtod(*at, at) * (v->step > 0 ? v->step : 1);
        else
            v->cells[k].i = strtoll(*at, at, 10);
}

static void draw_cells(Given *v, char **at)
{
    GivenHow how = (GivenHow)strtoul(*at, at, 10);
    uint64_t state = strtoull(*at, at, 10);
    for (int64_t k = 0; k < v->n; k++)
        v->cells[k] = given_cell(state, k, how, (DType)v->at.dtype);
}

static void read_value(Program *p, char *line)
{
    char *at = line + 4; /* draw, hold, want */
    Given *v = &p->values[p->nvalues++];
    *v = (Given){.wanted = strncmp(line, "want", 4) == 0, .each = 1};
    read_place(&v->at, &at);
    v->n = given_elements(&v->at);
    v->cells = calloc((size_t)v->n + 1, sizeof *v->cells);
    for (int64_t k = 0; k < v->n; k++) {
        int64_t end = given_place(&v->at, k) + 1;
        if (end > v->span) v->span = end;
    }
    if (v->wanted) {
        v->room = strtod(at, &at);
        v->step = strtod(at, &at);
        v->each = strtoll(at, &at, 10);
    }
    if (strncmp(line, "draw", 4) == 0)
        draw_cells(v, &at);
    else
        read_cells(v, &at);
}

static bool read_values(Program *p)
{
    size_t n;
    char *text = whole_file(p->seed, ".txt", &n);
    if (!text) return false;
    uint32_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += text[i] == '\n';
    p->values = calloc(lines + 1, sizeof *p->values);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        read_value(p, line);
    free(text);
    return true;
}

/* The step of a GPU, or an object of the host that is linked. */
static TitanStatus read_code(Program *p)
{
    size_t n = 0, size;
    void *image = NULL;
    char *ptx = whole_file(p->seed, ".ptx", &n);
    if (ptx) {
        TRY(titan_ptx_image(&p->story, ptx, n, &image, &size));
        p->code = (TitanCode){
            .image = image, .size = size, .ptx = ptx, .ptx_size = n};
        return titan_image_open(&p->story, image, size, &p->image);
    }
    char path[512];
    snprintf(path, sizeof path, "%s/%llu.so", folder, p->seed);
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lib) return titan_fail(&p->story, TITAN_IO, "could not open %s", path);
    p->code.image = dlsym(lib, TITAN_SYMBOL_IMAGE);
    p->code.size = *(const uint64_t *)dlsym(lib, TITAN_SYMBOL_SIZE);
    p->code.kernels = dlsym(lib, TITAN_SYMBOL_KERNELS);
    return titan_image_open(&p->story, p->code.image, p->code.size, &p->image);
}

/* ---------------------------------------------------------------- running */

static size_t bytes_of(const Given *v)
{
    return (size_t)v->span * dtype_bytes((DType)v->at.dtype);
}

/* NULL: the value is a slot. */
static const TitanPort *port_of(const Program *p, const Given *v)
{
    for (uint32_t i = 0; i < p->entry->ports.n; i++) {
        const TitanPort *port = &p->image.ports[p->entry->ports.first + i];
        if (v->at.base == TITAN_BASE_io && port->offset == v->at.offset)
            return port;
    }
    return NULL;
}

static TitanStatus fetch(Program *p, const Given *v, char *to)
{
    const TitanPort *port = port_of(p, v);
    if (port) return device_get(p->device, port, to, bytes_of(v));
    return device_read(p->device, (TitanBase)v->at.base, v->at.offset, to,
                       bytes_of(v));
}

static TitanStatus hand_over(Program *p, const Given *v, const char *from)
{
    const TitanPort *port = port_of(p, v);
    if (port) return device_put(p->device, port, from, bytes_of(v));
    return device_write(p->device, (TitanBase)v->at.base, v->at.offset, from,
                        bytes_of(v));
}

static TitanStatus write_value(Program *p, const Given *v)
{
    DType d = (DType)v->at.dtype;
    char *bytes = calloc(bytes_of(v) + 1, 1);
    if (!bytes) return titan_no_memory(&p->story);
    TitanStatus st = fetch(p, v, bytes);
    for (int64_t k = 0; k < v->n; k++) {
        char *to = bytes + given_place(&v->at, k) * dtype_bytes(d);
        if (v->wanted)
            memset(to, 0xff, dtype_bytes(d));
        else
            dtype_store(d, v->cells[k], to);
    }
    if (!st) st = hand_over(p, v, bytes);
    free(bytes);
    return st;
}

/* Results are poisoned; what is a result of the step and goes into it, too. */
static TitanStatus write_values(Program *p)
{
    for (int wanted = 1; wanted >= 0; wanted--)
        for (uint32_t i = 0; i < p->nvalues; i++)
            if (p->values[i].wanted == (wanted != 0))
                TRY(write_value(p, &p->values[i]));
    return TITAN_OK;
}

static TitanStatus run_once(Program *p, bool graphs)
{
    TRY(write_values(p));
    if (graphs) TRY(device_prepare(p->device, p->entry));
    return device_run(p->device, p->entry);
}

/* --------------------------------------------------------------- comparing */

static bool is_near(DType d, Cell got, Cell want, double room)
{
    if (dtype_class(d) != DC_float) return got.i == want.i;
    if (room == GIVEN_BITS && got.f == want.f)
        return signbit(got.f) == signbit(want.f);
    return got.f == want.f || fabs(got.f - want.f) <= room ||
           (isnan(got.f) && isnan(want.f));
}

/* False: an element is another; the first one is told. */
static bool compare(const Program *p, uint32_t i)
{
    const Given *v = &p->values[i];
    DType d = (DType)v->at.dtype;
    int64_t wrong = 0;
    for (int64_t k = 0; k < v->n; k += v->each) {
        Cell want = v->cells[k], got;
        got = dtype_load(d, v->first + given_place(&v->at, k) * dtype_bytes(d));
        if (is_near(d, got, want, v->room) || wrong++) continue;
        bool floats = dtype_class(d) == DC_float;
        printf("seed %llu: value %u (%s), element %lld is %.9g, not %.9g; the "
               "bound is %.3g\n",
               p->seed, i, dtype_name(d), (long long)k,
               floats ? got.f : (double)got.i, floats ? want.f : (double)want.i,
               v->room);
    }
    if (wrong)
        printf("seed %llu: %lld of %lld elements of value %u\n", p->seed,
               (long long)wrong, (long long)v->n, i);
    return wrong == 0;
}

/* Results behind run RUN; false: they are not what they must be. */
static TitanStatus look(Program *p, int run, bool *ok)
{
    for (uint32_t i = 0; i < p->nvalues; i++) {
        Given *v = &p->values[i];
        size_t n = bytes_of(v);
        if (!v->wanted) continue;
        char *bytes = calloc(n + 1, 1);
        if (!bytes) return titan_no_memory(&p->story);
        TRY(fetch(p, v, bytes));
        if (run == 0) {
            v->first = bytes;
            *ok &= compare(p, i);
            continue;
        }
        if (memcmp(bytes, v->first, n) != 0 && *ok) {
            printf("seed %llu: value %u has other bits in run %d\n", p->seed, i,
                   run + 1);
            *ok = false;
        }
        free(bytes);
    }
    return TITAN_OK;
}

/* Where rows may find no room: the step that has room for all. */
static TitanStatus find_entry(Program *p)
{
    p->entry = titan_entry(&p->image, "train.worst");
    if (!p->entry) p->entry = titan_entry(&p->image, "train");
    return p->entry ? TITAN_OK
                    : titan_fail(&p->story, TITAN_BAD_DATA, "it has no entry");
}

static TitanStatus run_program(Program *p, bool *ok)
{
    DeviceOptions o = {.threads = 2,
                       .processes = p->code.ptx && !threads,
                       .nccl_alone = nccl_alone,
                       .nccl_copies = !registered,
                       .sync = in_sync};
    double begun = now();
    TRY(find_entry(p));
    TRY(device_new(&p->story, &p->image, &p->code, &o, &p->device));
    double opened = now();
    for (int run = 0; run < RUNS; run++) {
        TRY(run_once(p, run > 0));
        TRY(look(p, run, ok));
    }
    board->opening += (uint64_t)(1e6 * (opened - begun));
    board->running += (uint64_t)(1e6 * (now() - opened));
    return TITAN_OK;
}

static bool run_here(Program *p)
{
    bool ok = true;
    TitanStatus st = run_program(p, &ok);
    for (uint32_t i = 0; st && i < p->story.n; i++)
        printf("seed %llu: %s\n", p->seed, p->story.line[i]);
    device_free(p->device);
    return ok && st == TITAN_OK;
}

/* A process that has used a GPU starts none that does. */
static bool run_apart(Program *p)
{
    int status;
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        alarm(SECONDS);
        bool ok = run_here(p);
        fflush(NULL);
        _exit(!ok);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0) return false;
    bool ended = WIFEXITED(status) && WEXITSTATUS(status) <= 1;
    if (!ended)
        printf("seed %llu: ended by %s %d\n", p->seed,
               WIFSIGNALED(status) ? "signal" : "status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return ended && WEXITSTATUS(status) == 0;
}

static bool check(unsigned long long seed)
{
    Program p = {.seed = seed};
    bool ok = false;
    if (!read_values(&p))
        printf("seed %llu: there is no such program\n", seed);
    else if (read_code(&p) != TITAN_OK)
        printf("seed %llu: %s\n", seed, p.story.line[0]);
    else
        ok = p.image.header->ranks > 1 ? run_apart(&p) : run_here(&p);
    for (uint32_t i = 0; i < p.nvalues; i++) {
        free(p.values[i].cells);
        free(p.values[i].first);
    }
    free(p.values);
    return ok;
}

/* ---------------------------------------------------------------- the list */

static int by_seed(const void *a, const void *b)
{
    unsigned long long x = *(const unsigned long long *)a,
                       y = *(const unsigned long long *)b;
    return (x > y) - (x < y);
}

static bool list_seeds(void)
{
    DIR *d = opendir(folder);
    if (!d) return false;
    for (struct dirent *e; (e = readdir(d)) && nseeds < MOST_PROGRAMS;) {
        char *end;
        unsigned long long seed = strtoull(e->d_name, &end, 10);
        if (end != e->d_name && strcmp(end, ".txt") == 0)
            seeds[nseeds++] = seed;
    }
    closedir(d);
    qsort(seeds, nseeds, sizeof *seeds, by_seed);
    return true;
}

static void work(uint32_t worker)
{
    Board *b = board;
    for (uint32_t i; (i = b->next++) < nseeds; fflush(stdout)) {
        if (now() > until) {
            b->late++;
            continue;
        }
        b->at[worker] = i + 1;
        alarm(SECONDS + LONGER);
        b->failed += !check(seeds[i]);
        b->ran++;
        b->at[worker] = 0;
    }
}

static void wait_for_all(const pid_t *pids)
{
    Board *b = board;
    for (uint32_t w = 0; w < workers; w++) {
        int status = 0;
        waitpid(pids[w], &status, 0);
        if (!b->at[w]) continue;
        printf("seed %llu: ended by %s %d\n", seeds[b->at[w] - 1],
               WIFSIGNALED(status) ? "signal" : "status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        b->failed++;
        b->ran++;
    }
}

/* Words that it is; 0: it is none. */
static int take_option(char **words)
{
    bool of_threads = strcmp(words[0], "--threads") == 0;
    bool by_nccl = strcmp(words[0], "--nccl-alone") == 0;
    bool known = strcmp(words[0], "--registered") == 0;
    bool sync = strcmp(words[0], "--sync") == 0;
    bool in_time = strcmp(words[0], "--seconds") == 0 && words[1];
    bool beside = strcmp(words[0], "--beside") == 0 && words[1];
    threads |= of_threads;
    nccl_alone |= by_nccl;
    registered |= known;
    in_sync |= sync;
    if (in_time) until = now() + strtod(words[1], NULL);
    if (beside) workers = strtoul(words[1], NULL, 10);
    if (workers < 1 || workers > WORKERS) workers = WORKERS;
    return in_time || beside ? 2 : of_threads || by_nccl || known || sync;
}

int main(int argc, char **argv)
{
    pid_t pids[WORKERS];
    for (int n; argc > 1 && (n = take_option(argv + 1)) > 0;) {
        argc -= n;
        argv += n;
    }
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: gpu-programs [--threads] [--nccl-alone] "
                        "[--registered] [--sync] [--seconds N] [--beside N] "
                        "FOLDER [SEED]\n");
        return 64;
    }
    folder = argv[1];
    if (argc > 2) seeds[nseeds++] = strtoull(argv[2], NULL, 10);
    if (argc == 2 && !list_seeds()) {
        perror(folder);
        return 74;
    }
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) return 70;
    for (uint32_t w = 0; w < workers; w++) {
        fflush(NULL);
        pids[w] = fork();
        if (pids[w] == 0) {
            work(w);
            fflush(NULL);
            _exit(0);
        }
    }
    wait_for_all(pids);
    if (board->late) printf("%u programs did not begin\n", board->late);
    printf("opened in %.1f s, ran in %.1f s\n", (double)board->opening / 1e6,
           (double)board->running / 1e6);
    printf("%u programs, %u failed\n", board->ran, board->failed);
    return board->failed > 0 || board->ran + board->late < nseeds;
}
