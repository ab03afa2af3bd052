/*
 * words.c: instructions' names.  Each word of one is a type, a state space, a
 * shape or a flag that ptx.def has; a name with another word is refused.
 */
#include <stdio.h>
#include <string.h>

#include "tests/ptx/machine.h"

const PtxTypeRow ptx_types[PT_COUNT] = {
#define PTX_TYPE(name, bits, kind) [PT_##name] = {#name, bits, PK_##kind},
#include "tests/ptx/ptx.def"
#undef PTX_TYPE
};

static const char *const mods[PM_COUNT] = {
#define PTX_MOD(name) [PM_##name] = #name,
#include "tests/ptx/ptx.def"
#undef PTX_MOD
};

typedef struct Row {
    const char *text;
    uint16_t is;
} Row;

static const Row ops[] = {
#define PTX_OP(symbol, text, unit) {text, PO_##symbol},
#include "tests/ptx/ptx.def"
#undef PTX_OP
};

/* Words that mean nothing for the instruction. */
static const Row skipped[] = {
#define PTX_WORD(symbol, word) {word, PO_##symbol},
#include "tests/ptx/ptx.def"
#undef PTX_WORD
};

static const Row spaces[] = {
    {"global", PS_global},      {"shared", PS_shared},
    {"shared::cta", PS_shared}, {"shared::cluster", PS_cluster},
    {"local", PS_local},        {"param", PS_param},
    {"param::entry", PS_param},
};

/* Words that are spelled otherwise in ptx.def. */
static const Row spelled[] = {
    {"mbarrier::complete_tx::bytes", PM_complete_tx},
    {"multicast::cluster", PM_multicast},
    {"32x32b", PM_lanes_32},
    {"L2::cache_hint", PM_cache_hint},
    {"1d", PM_d1},
    {"2d", PM_d2},
    {"3d", PM_d3},
    {"4d", PM_d4},
    {"5d", PM_d5},
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

static bool same(const char *text, const char *w, size_t n)
{
    return strlen(text) == n && !memcmp(text, w, n);
}

static const Row *find(const Row *rows, size_t nrows, const char *w, size_t n)
{
    for (size_t i = 0; i < nrows; i++)
        if (same(rows[i].text, w, n)) return &rows[i];
    return NULL;
}

/* The instruction whose words NAME begins with, the longest of them. */
static const Row *find_op(const char *name, size_t n)
{
    const Row *best = NULL;
    size_t longest = 0;
    for (size_t i = 0; i < COUNT(ops); i++) {
        size_t len = strlen(ops[i].text);
        if (len > n || len <= longest || memcmp(ops[i].text, name, len))
            continue;
        if (len < n && name[len] != '.') continue;
        best = &ops[i];
        longest = len;
    }
    return best;
}

static bool take_flag(PtxInst *out, uint16_t m)
{
    if (ptx_has(out, m)) return false;
    out->mods[m / 64] |= UINT64_C(1) << m % 64;
    return true;
}

static bool take_type(PtxInst *out, const char *w, size_t n)
{
    for (unsigned t = 1; t < PT_COUNT; t++) {
        if (!same(ptx_types[t].name, w, n)) continue;
        if (out->ntypes == 4) return false;
        out->type[out->ntypes++] = (uint8_t)t;
        return true;
    }
    return false;
}

static bool take_space(PtxInst *out, const char *w, size_t n)
{
    const Row *s = find(spaces, COUNT(spaces), w, n);
    if (!s || out->nspaces == 2) return false;
    out->space[out->nspaces++] = (uint8_t)s->is;
    return true;
}

/* m64n128k16 */
static bool take_shape(PtxInst *out, const char *w, size_t n)
{
    unsigned at[3] = {0};
    size_t i = 0;
    for (unsigned d = 0; d < 3; d++) {
        if (i == n || w[i++] != "mnk"[d]) return false;
        size_t from = i;
        for (; i < n && w[i] >= '0' && w[i] <= '9' && i < from + 4; i++)
            at[d] = at[d] * 10 + (unsigned)(w[i] - '0');
        if (i == from) return false;
    }
    if (i < n || out->shape[0]) return false;
    for (unsigned d = 0; d < 3; d++)
        out->shape[d] = (uint16_t)at[d];
    return true;
}

static bool take_mod(PtxInst *out, const char *w, size_t n)
{
    const Row *s = find(spelled, COUNT(spelled), w, n);
    if (s) return take_flag(out, s->is);
    unsigned m = 0;
    while (m < PM_COUNT && !same(mods[m], w, n))
        m++;
    for (size_t i = 0; i < COUNT(spelled); i++)
        if (spelled[i].is == m) return false;
    return m < PM_COUNT && take_flag(out, (uint16_t)m);
}

static bool take_word(PtxInst *out, const char *w, size_t n)
{
    for (size_t i = 0; i < COUNT(skipped); i++)
        if (skipped[i].is == out->op && same(skipped[i].text, w, n))
            return true;
    return take_type(out, w, n) || take_space(out, w, n) ||
           take_shape(out, w, n) || take_mod(out, w, n);
}

bool ptx_words(const char *name, size_t n, PtxInst *out, char why[PTX_FAULT])
{
    *out = (PtxInst){0};
    const Row *op = find_op(name, n);
    if (!op) {
        snprintf(why, PTX_FAULT, "there is no instruction '%.*s'",
                 (int)(n < 80 ? n : 80), name);
        return false;
    }
    out->op = op->is;
    for (size_t at = strlen(op->text); at < n;) {
        const char *w = name + at + 1; /* behind the dot */
        size_t len = 0;
        while (at + 1 + len < n && w[len] != '.')
            len++;
        if (!take_word(out, w, len)) {
            snprintf(why, PTX_FAULT, "'%.*s' is not known of '%s'",
                     (int)(len < 80 ? len : 80), w, op->text);
            return false;
        }
        at += 1 + len;
    }
    return true;
}
