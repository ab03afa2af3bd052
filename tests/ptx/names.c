/*
 * names.c: the text that is read, and the names in it.  A scope's names hide
 * those around it; a register of a scope that
 * has ended is another one's behind it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ptx/reader.h"

bool read_fail(Reader *r, const char *fmt, ...)
{
    char what[PTX_FAULT - 32];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    snprintf(r->why, PTX_FAULT, "line %u: %s", r->line, what);
    return false;
}

void *read_grow(void *array, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap) return array;
    *cap = *cap ? *cap * 2 : 64;
    void *bigger = realloc(array, *cap * size);
    if (!bigger) abort();
    return bigger;
}

/* ---------------------------------------------------------------- text */

static void skip_line(Reader *r)
{
    while (r->at < r->end && *r->at != '\n')
        r->at++;
}

static void skip_comment(Reader *r)
{
    r->at += 2;
    for (; r->at < r->end; r->at++) {
        if (r->at[0] == '*' && r->at[1] == '/') {
            r->at += 2;
            return;
        }
        if (*r->at == '\n') r->line++;
    }
}

char read_peek(Reader *r)
{
    for (;; r->at++) { /* the text ends with a 0 */
        while (r->at[0] == '/' && (r->at[1] == '/' || r->at[1] == '*'))
            r->at[1] == '/' ? skip_line(r) : skip_comment(r);
        char c = *r->at;
        if (c == '\n')
            r->line++;
        else if (c != ' ' && c != '\t' && c != '\r')
            return c;
    }
}

bool read_is(Reader *r, char c)
{
    if (read_peek(r) != c) return false;
    r->at++;
    return true;
}

bool read_want(Reader *r, char c)
{
    if (read_is(r, c)) return true;
    char is = *r->at;
    if (!is || r->at == r->end)
        return read_fail(r, "'%c' is wanted where the text ends", c);
    return read_fail(r, "'%c' is wanted, not '%c'", c,
                     is > ' ' && is < 127 ? is : '?');
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '$' || c == '%';
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

bool read_name(Reader *r, const char **text, uint32_t *len)
{
    if (!letter(read_peek(r))) return read_fail(r, "a name is wanted");
    const char *from = r->at;
    while (letter(*r->at) || digit(*r->at))
        r->at++;
    /* %tid.x */
    if (*from == '%' && *r->at == '.' && letter(r->at[1]))
        for (r->at++; letter(*r->at);)
            r->at++;
    *text = from;
    *len = (uint32_t)(r->at - from);
    return true;
}

static int digit_of(char c)
{
    if (digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 99;
}

/* Digits of BASE, at most so many where MOST is given. */
static bool read_digits(Reader *r, unsigned base, unsigned exactly,
                        uint64_t *value)
{
    uint64_t x = 0;
    unsigned n = 0;
    for (; digit_of(*r->at) < (int)base; r->at++, n++) {
        unsigned d = (unsigned)digit_of(*r->at);
        if (x > (UINT64_MAX - d) / base)
            return read_fail(r, "a number is too long");
        x = x * base + d;
    }
    if (!n || (exactly && n != exactly)) return read_fail(r, "a broken number");
    *value = x;
    return true;
}

static unsigned base_of(Reader *r)
{
    if (r->at[0] != '0') return 10;
    char c = r->at[1];
    unsigned base = c == 'x' || c == 'X'   ? 16
                    : c == 'b' || c == 'B' ? 2
                    : digit(c)             ? 8
                                           : 10;
    r->at += base == 16 || base == 2 ? 2 : base == 8;
    return base;
}

bool read_number(Reader *r, uint64_t *value, unsigned *bits)
{
    *bits = 0;
    bool minus = read_is(r, '-');
    if (!digit(read_peek(r))) return read_fail(r, "a number is wanted");
    char kind = r->at[0] == '0' ? r->at[1] : 0;
    if (!minus && (kind == 'f' || kind == 'F' || kind == 'd' || kind == 'D')) {
        *bits = kind == 'f' || kind == 'F' ? 32 : 64;
        r->at += 2;
        if (!read_digits(r, 16, *bits / 4, value)) return false;
    } else {
        if (!read_digits(r, base_of(r), 0, value)) return false;
        if (*r->at == 'U') r->at++;
        if (minus) *value = -*value;
    }
    if (letter(*r->at) || digit(*r->at) || *r->at == '.')
        return read_fail(r, "a broken number");
    return true;
}

bool read_place(uint64_t *top, uint64_t n, uint64_t align, uint64_t *at)
{
    *at = (*top + align - 1) / align * align;
    if (n > UINT32_MAX || *at > UINT32_MAX || *at + n > UINT32_MAX)
        return false;
    *top = *at + n;
    return true;
}

/* --------------------------------------------------------------- names */

static uint32_t hash_of(const char *text, uint32_t len)
{
    uint32_t h = 2166136261u;
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)text[i]) * 16777619u;
    return h ^ h >> 15;
}

static uint32_t *bucket_of(Reader *r, uint32_t hash)
{
    return &r->bucket[hash % NAME_BUCKETS];
}

static Name *find(const Reader *r, const char *text, uint32_t len, bool ranged)
{
    uint32_t hash = hash_of(text, len);
    for (uint32_t i = r->bucket[hash % NAME_BUCKETS]; i;
         i = r->names[i - 1].next) {
        Name *n = &r->names[i - 1];
        if (n->hash == hash && n->len == len && n->ranged == ranged &&
            !memcmp(n->text, text, len))
            return n;
    }
    return NULL;
}

Name *name_find(const Reader *r, const char *text, uint32_t len)
{
    return find(r, text, len, false);
}

bool name_add(Reader *r, const Name *name)
{
    const Name *old = find(r, name->text, name->len, name->ranged);
    if (old && old->depth == r->depth)
        return read_fail(r, "'%.*s' is there already", (int)name->len,
                         name->text);
    r->names = read_grow(r->names, r->nnames, &r->names_cap, sizeof(Name));
    Name *n = &r->names[r->nnames++];
    *n = *name;
    n->hash = hash_of(name->text, name->len);
    n->depth = r->depth;
    uint32_t *b = bucket_of(r, n->hash);
    n->next = *b;
    *b = r->nnames;
    return true;
}

/* %r12, and %r012, is the register 12 of %r<N>, unless its scope has one of
 * that name. */
bool reg_find(const Reader *r, const char *text, uint32_t len, uint32_t *reg,
              uint8_t *bits)
{
    uint32_t stem = len;
    uint64_t number = 0;
    while (stem && digit(text[stem - 1]))
        stem--;
    bool numbered = stem && stem < len && len - stem < 10;
    for (uint32_t i = stem; numbered && i < len; i++)
        number = number * 10 + (unsigned)(text[i] - '0');
    const Name *range = numbered ? find(r, text, stem, true) : NULL;
    const Name *one = find(r, text, len, false);
    if (range && number >= range->count) range = NULL;
    if (one && range && range->depth > one->depth) one = NULL;
    const Name *is = one ? one : range;
    if (!is || is->kind != NAME_reg) return false;
    *reg = (uint32_t)(is->value + (is == range ? number : 0));
    *bits = is->bits;
    return true;
}

uint32_t reg_new(Reader *r, uint8_t bits, uint32_t count)
{
    PtxKernel *k = r->kernel;
    for (uint32_t i = 0; count == 1 && i < r->nspares; i++) {
        if (r->spare[i].bits != bits) continue;
        uint32_t reg = r->spare[i].reg;
        r->spare[i] = r->spare[--r->nspares];
        return reg;
    }
    uint32_t first = k->nregs;
    for (uint32_t i = 0; i < count; i++) {
        k->reg_bits = read_grow(k->reg_bits, k->nregs, &r->regs_cap, 1);
        k->reg_bits[k->nregs++] = bits;
    }
    return first;
}

/* -------------------------------------------------------------- scopes */

bool scope_open(Reader *r)
{
    if (r->depth + 1 == SCOPES_MAX)
        return read_fail(r, "more than %d scopes in each other",
                         SCOPES_MAX - 1);
    r->scope[++r->depth] = (Scope){r->nnames, r->npending};
    return true;
}

/* Sets the label of P by what this scope calls so; false: it has none. */
static bool settle(Reader *r, const Pending *p)
{
    const Name *n = name_find(r, p->text, p->len);
    if (!n || n->depth != r->depth) return false;
    PtxArg *a = &r->kernel->args[p->arg];
    if (n->kind == NAME_label && a->kind == PA_label) {
        a->value = n->value;
    } else if (n->kind == NAME_targets && a->kind == PA_labels) {
        a->first = (uint32_t)n->value;
        a->n = (uint16_t)n->count;
    } else {
        return false;
    }
    return true;
}

bool scope_close(Reader *r)
{
    const Scope *s = &r->scope[r->depth];
    uint32_t kept = s->pending;
    for (uint32_t i = s->pending; i < r->npending; i++)
        if (!settle(r, &r->pending[i])) r->pending[kept++] = r->pending[i];
    r->npending = kept;
    if (kept && r->depth == 1) {
        const Pending *p = &r->pending[0];
        r->line = p->line;
        return read_fail(r, "there is no label '%.*s'", (int)p->len, p->text);
    }
    while (r->nnames > s->names) {
        const Name *n = &r->names[--r->nnames];
        *bucket_of(r, n->hash) = n->next;
        if (n->kind == NAME_reg && !n->ranged && r->nspares < SPARES)
            r->spare[r->nspares++] = (Spare){n->bits, (uint32_t)n->value};
    }
    r->depth--;
    return true;
}
