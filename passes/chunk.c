/*
 * chunk.c: collectives in parts, beside the products that they serve.
 *
 *   needs    types of what one device holds
 *   keeps    every sum: parts are rows, and no sum goes over them
 *   result   where rows that devices have parts of are gathered for a product,
 *            or where the sums of a product over devices are scattered by rows,
 *            both are made part by part:
 *
 *                gather 0 | gather 1  | gather 2  |
 *                         | product 0 | product 1 | product 2
 *
 *                product 0 | product 1 | product 2 |
 *                          | sum 0     | sum 1     | sum 2
 *
 * So tensor parallelism with sequence parallelism waits for its first part
 * alone.  What stands between two such collectives is cut with them
 * (chunk/find.c), so a product's first rows are summed, normed, gathered and
 * multiplied again while the others are still made.  How many parts there are
 * follows from what they would take (chunk/choose.c).  Where one is best, large
 * products behind a gather are made of the rows of each device, so that a
 * device begins with its own, while the others' come.  schedule, which knows
 * what runs beside what, puts them in order.
 *
 * Option: `chunks`, how many parts, 1 for none: of all rows, or of those of
 * some axes, as `seq 4, ctx 1`.  What it does not name is made in as many parts
 * as are fastest, on machines with links beside compute.
 * `own`: rows of devices, wherever that can be; `own 2`: what is exchanged in
 * so many steps.
 */
#include "chunk/chunk.h"
#include "repeat.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>

/* The next rows of the function that are not among the N seen. */
static bool next_rows(const Module *m, const Fn *fn, const Rows *seen,
                      uint32_t n, Rows *out)
{
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        bool known = false;
        if (!chunk_rows(m, fn, (Value){i}, out)) continue;
        for (uint32_t k = 0; k < n; k++)
            known |= rows_same(&seen[k], out);
        if (!known) return true;
    }
    return false;
}

/* The most parts up to ASKED that divide what is cut. */
static int64_t divisor(int64_t size, int64_t asked)
{
    int64_t n = asked < size ? asked : size;
    while (size % n != 0)
        n--;
    return n;
}

static void say(const Chunk *c, PassCtx *cx, int64_t n)
{
    uint32_t gathers = 0, sums = 0;
    for (uint32_t i = 0; i < c->fn->ninsts; i++) {
        bool grows = c->fn->insts[i].op == OP_all_gather;
        gathers += c->meets[i] && grows;
        sums += c->meets[i] && !grows;
    }
    pass_remark(c->m, cx, c->fn->loc,
                "'%s': %" PRIu32 " gathers and %" PRIu32
                " sums over devices are made in %" PRId64
                " parts of '%s' beside their products",
                str_of(c->m, c->fn->name), gathers, sums, n,
                axis_name(c->m, c->cut));
}

static void say_own(const Chunk *c, PassCtx *cx)
{
    uint32_t gathers = 0;
    for (uint32_t i = 0; i < c->fn->ninsts; i++)
        gathers += c->meets[i];
    pass_remark(c->m, cx, c->fn->loc,
                "'%s': products of %" PRIu32
                " gathers over devices are made of each device's rows of '%s'",
                str_of(c->m, c->fn->name), gathers,
                axis_name(c->m, c->rows.row));
}

/* What the option says of an axis; 0: nothing. */
static int64_t asked_for(const Module *m, const char *option, Axis row)
{
    const char *name = axis_name(m, row);
    size_t n = strlen(name);
    if (*option >= '0' && *option <= '9') return atoll(option);
    for (const char *p = option; *p; p += strcspn(p, ",")) {
        p += strspn(p, ", ");
        if (!strncmp(p, name, n) && p[n] == ' ') return atoll(p + n);
    }
    return 0;
}

/* How many values the turns of the function hand on; 0 if it is no body, or one
 * of several repeats. */
static uint32_t carried_of(const Module *m, uint32_t body)
{
    uint32_t repeats = 0, carried = 0;
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        for (uint32_t i = 0; i < fn->ninsts; i++) {
            if (fn->insts[i].op != OP_repeat) continue;
            Repeat r = repeat_of(m, &fn->insts[i]);
            if (r.fn.id != body) continue;
            repeats++;
            carried = r.carry;
        }
    }
    return repeats == 1 ? carried : 0;
}

/* Rows of devices, whatever they take. */
static void always_own(Chunk *c, const char *option)
{
    c->always = !strncmp(option, "own", 3);
    c->steps = c->always && option[3] == ' ' ? atoll(option + 4) : 0;
}

/* Sums that nothing covers. */
static Fn *exchange_fn(Module *m, PassCtx *cx, uint32_t f, Fn *fn,
                       const char *option)
{
    Chunk c = {.m = m, .fn = fn, .on = machine_of(m, cx)};
    always_own(&c, option);
    if (!c.on.links && !c.always) return fn;
    c.carried = carried_of(m, f);
    Fn *made = chunk_exchange(&c);
    if (!made) return fn;
    pass_remark(m, cx, fn->loc,
                "'%s': each device adds what the others have of products",
                str_of(m, fn->name));
    return made;
}

/* Axes whose rows are made in parts. */
typedef VEC(Axis) Cuts;

static Fn *chunk_fn(Module *m, PassCtx *cx, uint32_t f, const char *option,
                    Cuts *made)
{
    Fn *fn = m->fns.at[f];
    enum { MOST_ROWS = 8 };
    Rows seen[MOST_ROWS];
    for (uint32_t n = 0; n < MOST_ROWS && next_rows(m, fn, seen, n, &seen[n]);
         n++) {
        Chunk c = {.m = m, .fn = fn, .on = machine_of(m, cx), .rows = seen[n]};
        if (c.on.links) c.carried = carried_of(m, f);
        int64_t asked = asked_for(m, option, c.rows.row);
        always_own(&c, option);
        if (c.always && chunk_find_own(&c)) fn = chunk_emit(&c, c.rows.devices);
        if (c.always) continue;
        if (asked == 1 || (!asked && !c.on.links)) continue;
        bool found = chunk_find(&c);
        int64_t parts = !found  ? 1
                        : asked ? divisor(c.size, asked)
                                : chunk_choose(&c);
        if (parts == 1 && !asked && chunk_find_own(&c)) {
            say_own(&c, cx);
            fn = chunk_emit(&c, c.rows.devices);
            continue;
        }
        if (!found) continue;
        if (parts == 1) {
            pass_missed(m, cx, fn->loc,
                        "'%s': no number of parts of '%s' is faster than one",
                        str_of(m, fn->name), axis_name(m, c.cut));
            continue;
        }
        say(&c, cx, parts);
        vec_push(m->scratch, made, c.rows.row);
        fn = chunk_emit(&c, parts);
    }
    return fn;
}

/* Numbers are from 1 to MOST_CHUNKS. */
static bool check_option(Module *m, const char *option)
{
    for (const char *p = option; *p; p++) {
        if (*p < '0' || *p > '9' || (p > option && p[-1] != ' ')) continue;
        int64_t n = atoll(p);
        if (n >= 1 && n <= MOST_CHUNKS) continue;
        diag_error(m->diag, DIAG_pass_option, (Span){0},
                   "option 'chunks' is from 1 to %d, found %" PRId64,
                   MOST_CHUNKS, n);
        return false;
    }
    return true;
}

static Span place_of(Module *m, Axis a)
{
    return rule_place(
        m, arena_printf(m->scratch, "chunks of %s", axis_name(m, a)));
}

/* Rules of a plan that ask for parts where none is cut. */
static void warn_ignored(Module *m, const char *option, const Cuts *made)
{
    uint32_t said = 0;
    for (uint32_t i = 0; i < m->axes.n && !isdigit((unsigned char)*option);
         i++) {
        int64_t asked = asked_for(m, option, (Axis){i});
        if (asked <= 1) continue;
        Span at = place_of(m, (Axis){i});
        bool used = said && at.first == said - 1;
        for (uint32_t k = 0; k < made->n; k++)
            used |= made->at[k].id == i ||
                    (at.file && place_of(m, made->at[k]).first == at.first);
        if (used) continue;
        said = at.file ? at.first + 1 : 0;
        Report *r = diag_warning(
            m->diag, DIAG_rule_ignored, at,
            "chunks %" PRId64 " has no effect: no product has rows of '%s' "
            "that are gathered for it or summed behind it in so many parts",
            asked, axis_name(m, (Axis){i}));
        report_help(r, "leave it out, or say it in the rule that splits such "
                       "rows, as in shard seq over tp for residual chunks 4");
    }
}

bool pass_chunk(Module *m, PassCtx *cx)
{
    const char *option = pass_option(m, cx, "chunks", "");
    if (!check_option(m, option)) return false;
    Cuts made = {0};
    for (uint32_t f = 0; f < m->fns.n; f++) {
        const Fn *fn = m->fns.at[f];
        if (fn->view == VIEW_local && fn_is(m, fn, FK_none))
            m->fns.at[f] = exchange_fn(
                m, cx, f, chunk_fn(m, cx, f, option, &made), option);
    }
    if (strcmp(option, "own") != 0) warn_ignored(m, option, &made);
    return true;
}
