/*
 * remark.c: what passes say about what they did.
 */
#include "pass.h"

#include <stdarg.h>

bool pass_remarks(const Module *m, const PassCtx *cx, bool missed)
{
    return diag_wants_remarks(m->diag, cx->pass, missed);
}

PRINTF(5, 0)
static void say(const Module *m, const PassCtx *cx, bool missed, Loc at,
                const char *fmt, va_list args)
{
    Buf b = {0};
    if (!pass_remarks(m, cx, missed)) return;
    buf_vprintf(&b, fmt, args);
    diag_remark(m->diag, cx->pass, missed, loc_span(m, at), "%s", b.at);
    buf_release(&b);
}

void pass_remark(const Module *m, const PassCtx *cx, Loc at, const char *fmt,
                 ...)
{
    va_list args;
    va_start(args, fmt);
    say(m, cx, false, at, fmt, args);
    va_end(args);
}

void pass_missed(const Module *m, const PassCtx *cx, Loc at, const char *fmt,
                 ...)
{
    va_list args;
    va_start(args, fmt);
    say(m, cx, true, at, fmt, args);
    va_end(args);
}
