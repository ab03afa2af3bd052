/*
 * matmul_table.c: what was measured as the fastest way to make a product.
 *
 * One line an entry, `#` begins a comment:
 *
 *     product bf16 kn 16384x8192x2048 reads bf16 bf16 writes bf16 = 128x192tv
 *
 * What stands before `=` names the product: group kind and number of einsums,
 * dtype of the operands, whether A is dense along k or m and B along k or n,
 * the size of the result and of the sum, batches, how many matrices blocks of
 * rows choose from or blocks of terms go into, pieces of K, columns of a part
 * where maps are of parts, or of those that share a number, and the values that
 * run along: read, written where one was read, written elsewhere.  After it
 * stands a tile, or `library`.  A product that is not there takes the choice of
 * its nearest neighbour that differs in sizes alone, none of them more than
 * twice its own: what fills the card goes on as it does when it is larger
 * still, what is smaller may not fill it.
 */
#include "matmul.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIZES = 3 };

static void print_values(const Matmul *p, bool written, bool over,
                         const char *word, Buf *out)
{
    for (uint32_t i = 0; i < p->nvalues; i++) {
        const MatmulValue *v = &p->value[i];
        if (v->written != written || v->over != over) continue;
        buf_printf(out, "%s %s%s", word, dtype_name(v->dtype),
                   v->view < 0 ? "*" : "");
        word = "";
    }
}

void matmul_key(const Matmul *p, Buf *out)
{
    const Gemm *g = &p->g;
    buf_printf(out, "%s",
               fn_is(p->m, p->group, FK_matmul) ? "matmul" : "product");
    if (p->products > 1) buf_printf(out, "%u", p->products);
    buf_printf(out, " %s %c%c %lldx%lldx%lld", dtype_name(g->a),
               p->view[0].across ? 'm' : 'k', p->view[1].across ? 'n' : 'k',
               (long long)g->m, (long long)g->n, (long long)g->k);
    for (uint32_t i = 0; i < g->nbatch; i++)
        buf_printf(out, " of %lld", (long long)g->batch[i]);
    if (g->pieces > 1) buf_printf(out, " pieces %lld", (long long)g->pieces);
    if (p->shares)
        buf_printf(out, " shares %u", p->whole);
    else if (p->whole)
        buf_printf(out, " parts %u", p->part);
    if (matmul_is_blocked(p))
        buf_printf(out, " %s %lld", p->blocked.chosen ? "from" : "into",
                   (long long)p->blocked.of);
    print_values(p, false, false, " reads", out);
    print_values(p, true, true, " rewrites", out);
    print_values(p, true, false, " writes", out);
}

/* --------------------------------------------------------------- entries -- */

/* The sizes in a name, and where they stand. */
typedef struct Sizes {
    double at[SIZES];
    size_t from, to;
} Sizes;

/* After the third word. */
static bool sizes_of(const char *key, Sizes *out)
{
    const char *at = key;
    for (int i = 0; i < SIZES; i++) {
        at = strchr(at, ' ');
        if (!at) return false;
        at++;
    }
    out->from = (size_t)(at - key);
    for (int i = 0; i < SIZES; i++) {
        char *end;
        out->at[i] = strtod(at, &end);
        if (end == at || !(out->at[i] >= 1)) return false;
        if (i + 1 < SIZES && *end++ != 'x') return false;
        at = end;
    }
    out->to = (size_t)(at - key);
    return true;
}

/* How far a product is from an entry in powers of two, all sizes together;
 * below 0: not neighbours. */
static double distance(const char *a, size_t na, const char *b, size_t nb)
{
    Sizes x, y;
    if (!sizes_of(a, &x) || !sizes_of(b, &y) || x.from != y.from ||
        na - x.to != nb - y.to || memcmp(a, b, x.from) != 0 ||
        memcmp(a + x.to, b + y.to, na - x.to) != 0)
        return -1;
    double sum = 0;
    for (int i = 0; i < SIZES; i++) {
        double d = log2(x.at[i] / y.at[i]);
        if (d < -1) return -1;
        sum += fabs(d);
    }
    return sum;
}

/* The parts of a line, without spaces around. */
typedef struct Entry {
    const char *key, *choice;
    size_t key_size, choice_size;
} Entry;

static void trim(const char **at, size_t *n)
{
    while (*n && **at == ' ')
        ++*at, --*n;
    while (*n && (*at)[*n - 1] == ' ')
        --*n;
}

/* False: the line has no entry. */
static bool entry_of(const char *line, size_t n, Entry *e)
{
    const char *note = memchr(line, '#', n);
    if (note) n = (size_t)(note - line);
    const char *is = memchr(line, '=', n);
    if (!is) return false;
    *e =
        (Entry){line, is + 1, (size_t)(is - line), n - (size_t)(is - line) - 1};
    trim(&e->key, &e->key_size);
    trim(&e->choice, &e->choice_size);
    return true;
}

static size_t line_size(const char *at)
{
    return strcspn(at, "\n");
}

bool matmul_table_find(const char *table, const char *key, MatmulChoice *out)
{
    double best = -1;
    size_t size = strlen(key);
    for (const char *at = table; *at; at += *at == '\n') {
        size_t n = line_size(at);
        Entry e;
        if (entry_of(at, n, &e) && e.choice_size < sizeof out->maker) {
            double d = distance(key, size, e.key, e.key_size);
            if (d >= 0 && (best < 0 || d < best)) {
                best = d;
                memcpy(out->maker, e.choice, e.choice_size);
                out->maker[e.choice_size] = 0;
            }
        }
        at += n;
    }
    out->exact = best == 0;
    return best >= 0;
}

/* -------------------------------------------------------------- checking -- */

static bool is_maker(const char *maker)
{
    return strcmp(maker, "library") == 0 ||
           matmul_tile(maker, &(MatmulTile){.m = 0});
}

static bool line_holds(const char *line, size_t n)
{
    const char *note = memchr(line, '#', n);
    size_t used = note ? (size_t)(note - line) : n;
    const char *at = line;
    trim(&at, &used);
    if (used == 0) return true;
    Entry e;
    Sizes s;
    char maker[sizeof((MatmulChoice *)0)->maker];
    char key[256];
    if (!entry_of(line, n, &e) || e.choice_size >= sizeof maker ||
        e.key_size >= sizeof key)
        return false;
    memcpy(maker, e.choice, e.choice_size);
    maker[e.choice_size] = 0;
    memcpy(key, e.key, e.key_size);
    key[e.key_size] = 0;
    return is_maker(maker) && sizes_of(key, &s);
}

uint32_t matmul_table_check(const char *table)
{
    uint32_t line = 1;
    for (const char *at = table; *at; line++) {
        size_t n = line_size(at);
        if (!line_holds(at, n)) return line;
        at += n + (at[n] == '\n');
    }
    return 0;
}
