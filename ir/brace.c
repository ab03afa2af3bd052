/*
 * brace.c: indices in the names of checkpoint tensors.
 *
 *     brace := '{' term ('+' term)* [('+' | '-') number] '}'
 *     term  := axis ['*' number]
 */
#include "ir.h"

#include <stdlib.h>
#include <string.h>

static bool read_term(Module *m, const char **p, CkptBrace *b)
{
    size_t n = strcspn(*p, "*+-}");
    Axis axis;
    if (b->n == CKPT_TERMS || n == 0) return false;
    if (!axis_find(m, str_intern_n(&m->strs, *p, n), &axis)) return false;
    *p += n;
    int64_t times = 1;
    if (**p == '*') {
        char *end;
        times = strtoll(*p + 1, &end, 10);
        *p = end;
    }
    b->axes[b->n] = axis;
    b->times[b->n++] = times;
    return true;
}

static bool is_number(const char *p)
{
    return *p == '-' || (*p == '+' && p[1] >= '0' && p[1] <= '9');
}

const char *brace_read(Module *m, const char *p, CkptBrace *out)
{
    *out = (CkptBrace){.n = 0};
    for (p++; read_term(m, &p, out) && *p == '+' && !is_number(p); p++) {
    }
    if (is_number(p)) {
        char *end;
        out->plus = strtoll(p, &end, 10);
        p = end;
    }
    return out->n && *p == '}' ? p + 1 : NULL;
}

void brace_print(const Module *m, const CkptBrace *b, Buf *out)
{
    for (uint32_t i = 0; i < b->n; i++) {
        buf_printf(out, "%c%s", i ? '+' : '{', axis_name(m, b->axes[i]));
        if (b->times[i] != 1) buf_printf(out, "*%lld", (long long)b->times[i]);
    }
    if (b->plus) buf_printf(out, "%+lld", (long long)b->plus);
    buf_putc(out, '}');
}

bool brace_has(const CkptBrace *b, Axis a)
{
    for (uint32_t i = 0; i < b->n; i++)
        if (b->axes[i].id == a.id) return true;
    return false;
}
