/*
 * Which way of making a matrix product is the fastest on this machine's GPU.
 *
 *     gpu-tune DIR [MILLISECONDS [ROUNDS]]
 *
 * DIR has what make-matmul makes (tests/gpu/products.h), each .ptx assembled to
 * a .cubin.  All kernels of a product, and for a plain one the ways that
 * cuBLASLt offers, run in turn, there and back, each for so long, on a card
 * that was warmed.  Prints a line of a table of choices
 * (codegen/matmul_table.c) for each product; its note says what everything
 * reached: TFLOP/s, and the clock and the power at which it did.
 */
#include "tests/gpu/power.h"
#include "tests/gpu/products.h"

/* What a kernel must gain to be chosen before the library, and what one must
 * gain over an earlier one of the list. */
#define OVER_LIBRARY 1.01
#define OVER_EARLIER 1.003

enum { WARM_MS = 300 };

typedef struct Score {
    double rate, mhz, watts; /* sums over the measurements */
    int n;
} Score;

typedef struct Tune {
    Library lib;
    Power power;
    bool has_library;
    void *start, *stop;
    double ms;
    int rounds;
} Tune;

/* One way to make a product: a kernel, or the library's number `way`. */
typedef struct Way {
    World *w;
    Tune *t;
    Product *p;
    Candidate *k; /* NULL: the library */
    const Plan *plan;
    int way;
} Way;

static bool is_plain(const Product *p)
{
    return strncmp(p->key, "matmul ", 7) == 0;
}

static double flops_of(const Product *p)
{
    double each = 2.0 * (double)p->g.m * (double)p->g.n * (double)p->g.k;
    return strncmp(p->key, "product2", 8) == 0 ? 2 * each : each;
}

/* False: the library does not go this way. */
static bool launch(const Way *x)
{
    const Product *p = x->p;
    if (x->k) {
        shot_launch(&x->w->d, &x->k->shot, x->w->stream);
        return true;
    }
    uint64_t to = p->args[p->nargs - 1].at;
    const uint64_t at[] = {p->args[0].at, p->args[1].at,
                           p->nargs > 3 ? p->args[2].at : to, to};
    return library_run(&x->t->lib, x->plan, &p->g, x->way, at, x->w->stream) ==
           0;
}

/* Milliseconds of n launches; the clock and the power towards their end. */
static double time_of(const Way *x, int n, double *mhz, double *watts)
{
    const Driver *d = &x->w->d;
    Tune *t = x->t;
    float ms;
    double joules = power_joules(&t->power);
    MUST(d, event, (t->start, x->w->stream));
    for (int i = 0; i < n; i++)
        launch(x);
    MUST(d, event, (t->stop, x->w->stream));
    *mhz = power_clock(&t->power);
    MUST(d, event_wait, (t->stop));
    MUST(d, between, (&ms, t->start, t->stop));
    *watts = (power_joules(&t->power) - joules) / (ms * 1e-3);
    return ms;
}

/* TFLOP/s of so long a run. */
static double measure(const Way *x, double ms, Score *s)
{
    double mhz, watts;
    double one = time_of(x, 3, &mhz, &watts) / 3;
    int n = (int)(ms / one) + 1;
    double rate = flops_of(x->p) * n / time_of(x, n, &mhz, &watts) * 1e-9;
    s->rate += rate;
    s->mhz += mhz;
    s->watts += watts;
    s->n++;
    return rate;
}

/* The library's best, each for a moment; -1: there is none. */
static int best_way(Way x)
{
    int best = -1;
    double most = 0;
    for (x.way = 0; x.way < x.plan->n; x.way++) {
        Score s = {0};
        if (!launch(&x)) continue;
        double rate = measure(&x, 30, &s);
        if (rate > most) best = x.way;
        if (rate > most) most = rate;
    }
    return best;
}

static const char *tile_of(const Candidate *k)
{
    return strrchr(k->name, '_') + 1;
}

static void print_score(const char *name, const Score *s)
{
    printf(" %s %.0f@%.0f,%.0fW", name, s->rate / s->n, s->mhz / s->n,
           s->watts / s->n);
}

/* Scores: of the kernels, then the library's, if it was asked. */
static const char *choice_of(const Product *p, const Score *s)
{
    const Score *lib = &s[p->n];
    uint32_t best = 0;
    for (uint32_t i = 1; i < p->n; i++)
        if (s[i].rate > OVER_EARLIER * s[best].rate) best = i;
    if (lib->n && s[best].rate / s[best].n < OVER_LIBRARY * lib->rate / lib->n)
        return "library";
    return tile_of(&p->at[best]);
}

static void tune_product(World *w, Product *p, void *context)
{
    Tune *t = context;
    Score s[MOST_KERNELS + 1] = {{0}}, warm = {0};
    Plan plan = {0};
    if (t->has_library && is_plain(p)) library_plan(&t->lib, &p->g, &plan);
    Way lib = {w, t, p, NULL, &plan, 0};
    measure(&(Way){w, t, p, &p->at[0], NULL, 0}, WARM_MS, &warm);
    lib.way = best_way(lib);
    if (lib.way < 0) plan.n = 0;
    for (int r = 0; r < t->rounds; r++) {
        if (plan.n) measure(&lib, t->ms, &s[p->n]);
        for (uint32_t i = 0; i < p->n; i++) {
            uint32_t at = r % 2 ? p->n - 1 - i : i;
            measure(&(Way){w, t, p, &p->at[at], NULL, 0}, t->ms, &s[at]);
        }
        if (plan.n) measure(&lib, t->ms, &s[p->n]);
    }
    printf("%s = %s #", p->key, choice_of(p, s));
    if (plan.n) print_score("library", &s[p->n]);
    for (uint32_t i = 0; i < p->n; i++)
        print_score(tile_of(&p->at[i]), &s[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    static World w;
    static Product p;
    if (argc < 2)
        return fputs("usage: gpu-tune DIR [MILLISECONDS [ROUNDS]]\n", stderr),
               1;
    Tune t = {.ms = argc > 2 ? atof(argv[2]) : 200,
              .rounds = argc > 3 ? atoi(argv[3]) : 2};
    if (!world_open(&w, argv[1])) return fputs("no GPU\n", stderr), 1;
    t.has_library = library_open(&w.d, &t.lib);
    power_open(&t.power);
    MUST(&w.d, event_new, (&t.start, 0));
    MUST(&w.d, event_new, (&t.stop, 0));
    return !visit_products(&w, &p, tune_product, &t);
}
