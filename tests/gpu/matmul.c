/*
 * Generated matmuls on this machine's GPU: right, and equal from run to run.
 *
 *     gpu-matmul DIR [PREFIX]
 *
 * DIR has what make-matmul makes (tests/gpu/products.h), each .ptx assembled to
 * a .cubin.  Runs every kernel twice on fresh normal numbers over poisoned
 * results, and holds sampled elements against sums in double.
 */
#include "tests/gpu/products.h"

enum { SAMPLES = 1000 };

typedef struct Check {
    const char *only;
    int failed, ran;
} Check;

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

enum { MOST_RESULTS = 5 };
typedef struct Sample {
    int64_t i, j;
    double want[MOST_RESULTS];
} Sample;

/* Maps of a product that came by its key: each of all values, which are those
 * that are read and then the products (tests/gpu/make/matmul.c). */
static void expect_maps(const Product *p, Sample *s)
{
    uint32_t products = strncmp(p->key, "product2 ", 9) == 0 ? 2 : 1, n = 0;
    double v[MOST_ARGS], sum = 0;
    for (uint32_t a = 1 + products; a < p->nargs && !p->args[a].written; a++)
        v[n++] = element(&p->args[a], p->args[a].before, s->i, s->j);
    for (uint32_t b = 1; b <= products; b++)
        v[n++] = rounded(product_at(p, b, s->i, s->j));
    for (uint32_t i = 0; i < n; i++)
        sum += v[i];
    for (uint32_t r = 0; r < MOST_RESULTS; r++)
        s->want[r] = v[r % n] / (1 + exp(-v[(r + 1) % n])) + sum;
}

/* What the results are at (i, j). */
static void expect(const Product *p, Sample *s)
{
    if (strncmp(p->key, "product", 7) == 0 && strcmp(p->body, "key") == 0) {
        expect_maps(p, s);
        return;
    }
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

static bool check_kernel(World *w, Product *p, Candidate *k, const Sample *s,
                         uint8_t **one, uint8_t **two)
{
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
    return good;
}

static void check_product(World *w, Product *p, void *context)
{
    Check *c = context;
    uint8_t *one[MOST_ARGS], *two[MOST_ARGS];
    for (uint32_t i = 0; i < p->nargs; i++) {
        one[i] = malloc(p->args[i].bytes + GUARD);
        two[i] = malloc(p->args[i].bytes + GUARD);
    }
    Sample *s = make_samples(w, p);
    for (uint32_t i = 0; i < p->n; i++)
        if (!c->only || strncmp(c->only, p->at[i].name, strlen(c->only)) == 0) {
            c->failed += !check_kernel(w, p, &p->at[i], s, one, two);
            c->ran++;
        }
    for (uint32_t i = 0; i < p->nargs; i++)
        free(one[i]), free(two[i]);
    free(s);
}

int main(int argc, char **argv)
{
    static World w;
    static Product p;
    if (argc < 2) return fputs("usage: gpu-matmul DIR [PREFIX]\n", stderr), 1;
    Check c = {.only = argc > 2 ? argv[2] : NULL};
    if (!world_open(&w, argv[1])) return fputs("no GPU\n", stderr), 1;
    if (!visit_products(&w, &p, check_product, &c)) return 1;
    printf("%d kernels, %d wrong\n", c.ran, c.failed);
    return c.failed != 0;
}
