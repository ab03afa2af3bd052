/*
 * Generated matmuls on this machine's GPU: right, equal from run to run, and
 * how fast beside cuBLASLt.
 *
 *     gpu-matmul check DIR [PREFIX]
 *     gpu-matmul time DIR [MILLISECONDS [ROUNDS]]
 *
 * DIR has what make-matmul makes, each .ptx assembled to a .cubin.  `check`
 * runs every kernel twice on fresh normal numbers over poisoned results, and
 * holds sampled elements against sums in double.  `time` runs all kernels of a
 * product and the library's best algorithm in turn, there and back, each for so
 * long, and prints mean TFLOP/s.  matmuls.txt is
 *
 *     product NAME BODY M N K
 *     arg DTYPE WRITTEN SAME SIZE STRIDE SIZE STRIDE     same: an argument; -1
 *     kernel SYMBOL BLOCKS THREADS SHARED
 *     map ARG DTYPE RANK SWIZZLE SIZE STRIDE BOX ...     for each dimension
 *
 * The body says what the results are (tests/gpu/make/matmul.c).
 */
#include <inttypes.h>
#include <math.h>

#include "tests/gpu/library.h"

enum { MOST_KERNELS = 32, MOST_ARGS = 12 };
enum { SAMPLES = 1000, GUARD = 4096 };
enum { PATTERN = 1 << 24 }; /* numbers that operands are made of */

typedef struct Candidate {
    char name[128];
    Shot shot;
    TitanMap maps[MOST_MAPS];
    double sum; /* of rates */
} Candidate;

typedef struct Arg {
    bool wide, written; /* f32, else bf16 */
    int same;
    int64_t size[2], stride[2];
    size_t bytes;
    uint64_t at;
    uint8_t *before; /* what it holds at first; poison where it is written */
} Arg;

typedef struct Product {
    char name[64], body[32];
    Gemm3 g;
    Arg args[MOST_ARGS];
    uint32_t nargs;
    Candidate at[MOST_KERNELS];
    uint32_t n;
} Product;

typedef struct World {
    Driver d;
    Library lib;
    bool has_library;
    const char *folder, *only;
    void *stream, *start, *stop, *module;
    uint16_t *pattern; /* normal numbers in bf16 */
    uint64_t random;
    int failed, ran;
} World;

static uint64_t draw(World *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random * 0x2545F4914F6CDD1Dull;
}

static float from_bf16(uint16_t x)
{
    uint32_t u = (uint32_t)x << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint16_t to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static double uniform(World *w)
{
    return ((double)(draw(w) >> 11) + 0.5) * 0x1p-53;
}

static void make_pattern(World *w)
{
    w->pattern = malloc(PATTERN * sizeof *w->pattern);
    uint16_t normal[1 << 14];
    for (size_t i = 0; i < sizeof normal / sizeof *normal; i++)
        normal[i] = to_bf16((float)(sqrt(-2 * log(uniform(w))) *
                                    cos(6.283185307179586 * uniform(w))));
    for (size_t i = 0; i < PATTERN; i += 4) {
        uint64_t r = draw(w);
        for (int j = 0; j < 4; j++)
            w->pattern[i + (size_t)j] = normal[r >> (16 * j) & 0x3fff];
    }
}

/* The pattern from another place on, again and again. */
static void fill(World *w, Arg *x)
{
    size_t n = x->bytes / (x->wide ? 4 : 2), from = draw(w) % PATTERN;
    for (size_t i = 0; i < n; i++) {
        uint16_t v = w->pattern[(from + i + i / PATTERN * 977) % PATTERN];
        uint32_t word = (uint32_t)v << 16;
        if (x->wide)
            memcpy(x->before + 4 * i, &word, 4);
        else
            memcpy(x->before + 2 * i, &v, 2);
    }
}

/* Places for the arguments, here and there. */
static void make_args(World *w, Product *p)
{
    for (uint32_t i = 0; i < p->nargs; i++) {
        Arg *x = &p->args[i];
        x->bytes = (size_t)((x->size[0] - 1) * x->stride[0] +
                            (x->size[1] - 1) * x->stride[1] + 1) *
                   (x->wide ? 4 : 2);
        if (x->same >= 0) {
            x->at = p->args[x->same].at;
            x->before = p->args[x->same].before;
            continue;
        }
        x->before = malloc(x->bytes + GUARD);
        memset(x->before, 0xff, x->bytes + GUARD);
        if (!x->written) fill(w, x);
        MUST(&w->d, alloc, (&x->at, x->bytes + GUARD));
        MUST(&w->d, to, (x->at, x->before, x->bytes + GUARD));
    }
}

static void free_args(World *w, Product *p)
{
    for (uint32_t i = 0; i < p->nargs; i++) {
        if (p->args[i].same >= 0) continue;
        MUST(&w->d, release, (p->args[i].at));
        free(p->args[i].before);
    }
}

/* ------------------------------------------------------------------ index */

static void read_map(const char *line, TitanMap *m)
{
    int used = 0;
    sscanf(line, "map %u %u %u %u%n", &m->arg, &m->dtype, &m->rank, &m->swizzle,
           &used);
    for (uint32_t i = 0; i < m->rank && i < TITAN_MAP_DIMS; i++) {
        int more = 0;
        sscanf(line + used, "%" SCNd64 " %" SCNd64 " %u%n", &m->size[i],
               &m->stride[i], &m->box[i], &more);
        used += more;
    }
}

static void read_product(const char *line, Product *p)
{
    Gemm3 *g = &p->g;
    *p = (Product){0};
    sscanf(line, "product %63s %31s %" SCNd64 " %" SCNd64 " %" SCNd64, p->name,
           p->body, &g->m, &g->n, &g->k);
}

static void read_arg(const char *line, Product *p)
{
    char dtype[8];
    int written;
    Arg *x = &p->args[p->nargs];
    if (p->nargs == MOST_ARGS) return;
    sscanf(line, "arg %7s %d %d %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64,
           dtype, &written, &x->same, &x->size[0], &x->stride[0], &x->size[1],
           &x->stride[1]);
    x->wide = strcmp(dtype, "f32") == 0;
    x->written = written;
    if (written && p->g.d_row == 0) {
        p->g.d_row = x->stride[0];
        p->g.wide = x->wide;
        p->g.add = x->same >= 0 && strncmp(p->body, "add", 3) == 0;
    }
    if (p->nargs == 0) p->g.a_row = x->stride[0], p->g.a_col = x->stride[1];
    if (p->nargs == 1) p->g.b_col = x->stride[0], p->g.b_row = x->stride[1];
    p->nargs++;
}

static void load_product(World *w, const Product *p)
{
    char path[512];
    size_t size;
    snprintf(path, sizeof path, "%s/%s.cubin", w->folder, p->name);
    char *bytes = whole_file(path, &size);
    MUST(&w->d, load, (&w->module, bytes));
    free(bytes);
}

static void prepare(World *w, Product *p, Candidate *k)
{
    MUST(&w->d, function, (&k->shot.fn, w->module, k->name));
    shot_prepare(&w->d, &k->shot);
    k->shot.nargs = p->nargs;
    for (uint32_t i = 0; i < p->nargs; i++)
        k->shot.words[i] = p->args[i].at;
    for (uint32_t i = 0; i < k->shot.nmaps; i++)
        map_encode(&w->d, &k->maps[i], p->args[k->maps[i].arg].at,
                   k->shot.maps[i]);
}

/* ------------------------------------------------------------------ check */

static double element(const Arg *x, const uint8_t *from, int64_t i, int64_t j)
{
    int64_t at = i * x->stride[0] + j * x->stride[1];
    float f;
    uint16_t h;
    memcpy(&f, from + 4 * at * x->wide, 4);
    memcpy(&h, from + 2 * at * !x->wide, 2);
    return x->wide ? f : from_bf16(h);
}

static double product_at(const Product *p, uint32_t b, int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t k = 0; k < p->g.k; k++)
        sum += element(&p->args[0], p->args[0].before, i, k) *
               element(&p->args[b], p->args[b].before, j, k);
    return sum;
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static double rounded(double x)
{
    return from_bf16(to_bf16((float)x));
}

enum { MOST_RESULTS = 4 };
typedef struct Sample {
    int64_t i, j;
    double want[MOST_RESULTS];
} Sample;

/* What the results are at (i, j). */
static void expect(const Product *p, Sample *s)
{
    double x = product_at(p, 1, s->i, s->j), v[MOST_ARGS] = {0};
    for (uint32_t a = 2; a < p->nargs; a++)
        if (!p->args[a].written && strcmp(p->body, "swiglu") != 0 &&
            strcmp(p->body, "bias") != 0)
            v[a] = element(&p->args[a], p->args[a].before, s->i, s->j);
    s->want[0] = x + v[2];
    if (strcmp(p->body, "swiglu") == 0) {
        s->want[0] = x;
        s->want[1] = product_at(p, 2, s->i, s->j);
        s->want[2] = silu(rounded(x)) * rounded(s->want[1]);
    } else if (strcmp(p->body, "dswiglu") == 0) {
        double d = rounded(x), a = v[2], b = v[3], g = 1 / (1 + exp(-a));
        s->want[0] = d * b * (g + silu(a) * (1 - g));
        s->want[1] = d * silu(a);
        s->want[2] = silu(a) * b;
    } else if (strcmp(p->body, "bias") == 0) {
        s->want[0] =
            (rounded(x) + element(&p->args[2], p->args[2].before, s->j, 0)) *
            element(&p->args[3], p->args[3].before, s->i, 0);
    }
}

/* Elements at random, and the corners. */
static Sample *make_samples(World *w, const Product *p)
{
    Sample *s = malloc(SAMPLES * sizeof *s);
    for (int x = 0; x < SAMPLES; x++) {
        s[x].i = x < 4 ? (p->g.m - 1) * (x & 1)
                       : (int64_t)(draw(w) % (uint64_t)p->g.m);
        s[x].j = x < 4 ? (p->g.n - 1) * (x >> 1)
                       : (int64_t)(draw(w) % (uint64_t)p->g.n);
        expect(p, &s[x]);
    }
    return s;
}

/* Bytes between rows and behind the result are as they were. */
static bool is_kept(const Arg *x, const uint8_t *d)
{
    size_t e = x->wide ? 4 : 2, row = (size_t)x->stride[0] * e;
    size_t used = (size_t)x->size[1] * e;
    for (int64_t i = 0; i + 1 < x->size[0]; i++) {
        size_t at = (size_t)i * row + used;
        if (memcmp(d + at, x->before + at, row - used) != 0) return false;
    }
    return memcmp(d + x->bytes, x->before + x->bytes, GUARD) == 0;
}

static bool is_right(const Product *p, const Arg *x, uint32_t result,
                     const Sample *s, const uint8_t *got, double *off)
{
    double error = 0, norm = 0, worst = 0;
    for (int i = 0; i < SAMPLES; i++) {
        double want = s[i].want[result];
        double e = fabs(element(x, got, s[i].i, s[i].j) - want);
        error += e * e;
        norm += want * want;
        if (!(e <= worst)) worst = e;
    }
    double mean = sqrt(norm / SAMPLES);
    *off = sqrt(error / norm);
    (void)p;
    return *off < (x->wide ? 5e-5 : 6e-3) && worst < mean / 4;
}

static void run_once(World *w, Product *p, Candidate *k, uint8_t **after)
{
    for (uint32_t i = 0; i < p->nargs; i++)
        MUST(&w->d, to,
             (p->args[i].at, p->args[i].before, p->args[i].bytes + GUARD));
    shot_launch(&w->d, &k->shot, w->stream);
    MUST(&w->d, sync, ());
    for (uint32_t i = 0; i < p->nargs; i++)
        if (p->args[i].written)
            MUST(&w->d, from,
                 (after[i], p->args[i].at, p->args[i].bytes + GUARD));
}

static void check_kernel(World *w, Product *p, Candidate *k, const Sample *s,
                         uint8_t **one, uint8_t **two)
{
    prepare(w, p, k);
    run_once(w, p, k, one);
    run_once(w, p, k, two);
    uint32_t result = 0;
    bool good = true;
    for (uint32_t i = 0; i < p->nargs; i++) {
        const Arg *x = &p->args[i];
        double off;
        if (!x->written) continue;
        bool right = is_right(p, x, result, s, one[i], &off);
        bool same = memcmp(one[i], two[i], x->bytes) == 0;
        bool kept = is_kept(x, one[i]);
        good &= right && same && kept;
        if (!right || !same || !kept)
            printf("WRONG %s result %u: error %.2e%s%s\n", k->name, result, off,
                   same ? "" : ", runs differ",
                   kept ? "" : ", writes elsewhere");
        result++;
    }
    w->ran++;
    w->failed += !good;
}

static void check_product(World *w, Product *p)
{
    uint8_t *one[MOST_ARGS], *two[MOST_ARGS];
    make_args(w, p);
    for (uint32_t i = 0; i < p->nargs; i++) {
        one[i] = malloc(p->args[i].bytes + GUARD);
        two[i] = malloc(p->args[i].bytes + GUARD);
    }
    Sample *s = make_samples(w, p);
    for (uint32_t i = 0; i < p->n; i++)
        if (!w->only || strncmp(w->only, p->at[i].name, strlen(w->only)) == 0)
            check_kernel(w, p, &p->at[i], s, one, two);
    for (uint32_t i = 0; i < p->nargs; i++)
        free(one[i]), free(two[i]);
    free(s);
    free_args(w, p);
}

/* ------------------------------------------------------------------- time */

static uint64_t written_of(const Product *p)
{
    uint32_t i = 0;
    while (!p->args[i].written)
        i++;
    return p->args[i].at;
}

static void launch(World *w, const Product *p, Candidate *k, const Plan *plan,
                   int algorithm)
{
    if (k)
        shot_launch(&w->d, &k->shot, w->stream);
    else
        library_run(&w->lib, plan, &p->g, algorithm, p->args[0].at,
                    p->args[1].at, written_of(p), w->stream);
}

/* Milliseconds of n launches. */
static double time_of(World *w, const Product *p, Candidate *k,
                      const Plan *plan, int algorithm, int n)
{
    float ms;
    MUST(&w->d, event, (w->start, w->stream));
    for (int i = 0; i < n; i++)
        launch(w, p, k, plan, algorithm);
    MUST(&w->d, event, (w->stop, w->stream));
    MUST(&w->d, event_wait, (w->stop));
    MUST(&w->d, between, (&ms, w->start, w->stop));
    return ms;
}

/* Products of a kernel; the library's call makes one. */
static double products_of(const Product *p)
{
    return strcmp(p->body, "swiglu") == 0 ? 2 : 1;
}

static double rate_of(World *w, const Product *p, Candidate *k,
                      const Plan *plan, int algorithm, double ms)
{
    double flops = 2.0 * (double)p->g.m * (double)p->g.n * (double)p->g.k;
    if (k) flops *= products_of(p);
    double one = time_of(w, p, k, plan, algorithm, 3) / 3;
    int n = (int)(ms / one) + 1;
    return flops * n / time_of(w, p, k, plan, algorithm, n) * 1e-9;
}

/* The library's best, each for a moment on a card that is warm. */
static int best_algorithm(World *w, Product *p, const Plan *plan)
{
    int best = 0;
    double most = 0;
    if (plan->n) rate_of(w, p, NULL, plan, 0, 200);
    for (int i = 0; i < plan->n; i++) {
        double rate = rate_of(w, p, NULL, plan, i, 30);
        if (rate > most) best = i;
        if (rate > most) most = rate;
    }
    return best;
}

static void time_product(World *w, Product *p, double ms, int rounds)
{
    const Gemm3 *g = &p->g;
    make_args(w, p);
    Plan plan = {0};
    double sum = 0;
    int best = 0;
    if (w->has_library) library_plan(&w->lib, g, &plan);
    for (uint32_t i = 0; i < p->n; i++)
        prepare(w, p, &p->at[i]);
    best = best_algorithm(w, p, &plan);
    for (int r = 0; r < rounds; r++) {
        if (plan.n) sum += rate_of(w, p, NULL, &plan, best, ms);
        for (uint32_t i = 0; i < p->n; i++) {
            Candidate *k = &p->at[r % 2 ? p->n - 1 - i : i];
            k->sum += rate_of(w, p, k, NULL, 0, ms);
        }
        if (plan.n) sum += rate_of(w, p, NULL, &plan, best, ms);
    }
    printf("%-10s lib %4.0f |", p->name, sum / (2 * rounds));
    for (uint32_t i = 0; i < p->n; i++)
        printf(" %s %4.0f", strrchr(p->at[i].name, '_') + 1,
               p->at[i].sum / rounds);
    printf("\n");
    free_args(w, p);
}

/* -------------------------------------------------------------------- main */

typedef struct Wish {
    bool check;
    double ms;
    int rounds;
} Wish;

static void do_product(World *w, Product *p, const Wish *wish)
{
    if (!p->n) return;
    load_product(w, p);
    if (wish->check)
        check_product(w, p);
    else
        time_product(w, p, wish->ms, wish->rounds);
    MUST(&w->d, unload, (w->module));
}

static void read_line(Product *p, const char *line)
{
    Candidate *k = p->n ? &p->at[p->n - 1] : NULL;
    if (strncmp(line, "arg ", 4) == 0) {
        read_arg(line, p);
    } else if (strncmp(line, "kernel ", 7) == 0 && p->n < MOST_KERNELS) {
        k = &p->at[p->n++];
        sscanf(line, "kernel %127s %u %u %u", k->name, &k->shot.blocks,
               &k->shot.threads, &k->shot.shared);
    } else if (strncmp(line, "map ", 4) == 0 && k) {
        read_map(line, &k->maps[shot_map(&k->shot)]);
    }
}

int main(int argc, char **argv)
{
    static World w = {.random = 88172645463325252ull};
    static Product p;
    if (argc < 3) return fputs("usage: gpu-matmul check|time DIR\n", stderr), 1;
    Wish wish = {.check = strcmp(argv[1], "check") == 0,
                 .ms = argc > 3 ? atof(argv[3]) : 200,
                 .rounds = argc > 4 ? atoi(argv[4]) : 2};
    w.folder = argv[2];
    if (wish.check && argc > 3) w.only = argv[3];
    setvbuf(stdout, NULL, _IOLBF, 1 << 12);
    if (!driver_open(&w.d)) return fputs("no GPU\n", stderr), 1;
    w.has_library = !wish.check && library_open(&w.d, &w.lib);
    MUST(&w.d, stream_new, (&w.stream, 0));
    MUST(&w.d, event_new, (&w.start, 0));
    MUST(&w.d, event_new, (&w.stop, 0));
    make_pattern(&w);
    char path[512], line[1024];
    snprintf(path, sizeof path, "%s/matmuls.txt", w.folder);
    FILE *in = fopen(path, "r");
    if (!in) return perror(path), 1;
    while (fgets(line, sizeof line, in)) {
        if (strncmp(line, "product ", 8) == 0) {
            do_product(&w, &p, &wish);
            read_product(line, &p);
        } else {
            read_line(&p, line);
        }
    }
    do_product(&w, &p, &wish);
    fclose(in);
    if (wish.check) printf("%d kernels, %d wrong\n", w.ran, w.failed);
    return w.failed != 0;
}
