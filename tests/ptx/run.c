/*
 * run.c: a launch: blocks that begin one behind the other and go on in turns,
 * warps whose lanes part and meet.
 *
 * Lanes of a warp that stand at one instruction go on together; of several such
 * groups mostly the one that is furthest back, which lets them meet again where
 * paths join, and now and then another, since each must get on.  Blocks run few
 * at a time, as long as that gets on; where blocks wait for others all of them
 * are begun that the GPU would hold.
 */
#include "tests/ptx/run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLICE = 256,       /* instructions of a warp in a turn, at most */
    TURNS = 64,        /* of a block's warps until another block's */
    SM_SHARED = 233472 /* bytes of shared memory of a processor */
};
/* Looks for what others do while nobody does anything, after which nobody ever
 * will. */
#define MOST_IDLE UINT64_C(2000000)

/* ------------------------------------------------------------------- faults */

static void say_all(char *why, size_t *n, const char *fmt, va_list args)
{
    int more = vsnprintf(why + *n, PTX_FAULT - *n, fmt, args);
    *n += more > 0 ? (size_t)more : 0;
    if (*n >= PTX_FAULT) *n = PTX_FAULT - 1;
}

static void say(char *why, size_t *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void say(char *why, size_t *n, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say_all(why, n, fmt, args);
    va_end(args);
}

/* The words of a line of the module. */
static void say_line(char *why, size_t *n, const PtxModule *m, uint32_t line)
{
    const char *at = m->text, *end;
    for (uint32_t k = 1; k < line && at; k++)
        if ((at = strchr(at, '\n')) != NULL) at++;
    if (!at) return;
    at += strspn(at, " \t");
    end = at + strcspn(at, "\n");
    say(why, n, "line %u: %.*s\n", line, end - at > 200 ? 200 : (int)(end - at),
        at);
}

PtxStep ptx_fault(PtxWarp *w, const PtxInst *i, int lane, const char *fmt, ...)
{
    PtxBlock *b = w->block;
    char *why = b->machine->why;
    size_t n = 0;
    va_list args;
    if (why[0]) return PX_fault;
    say(why, &n, "%s: block %u", b->kernel->name, b->at[0]);
    if (b->at[1] || b->at[2]) say(why, &n, ",%u,%u", b->at[1], b->at[2]);
    if (lane >= 0)
        say(why, &n, ", thread %u: ", w->number * PTX_LANES + (unsigned)lane);
    else
        say(why, &n, ", warp %u: ", w->number);
    va_start(args, fmt);
    say_all(why, &n, fmt, args);
    va_end(args);
    say(why, &n, "\n");
    if (i) say_line(why, &n, b->kernel->module, i->line);
    return PX_fault;
}

void ptx_fault_late(PtxBlock *b, uint32_t line, const char *fmt, ...)
{
    char *why = b->machine->why;
    size_t n = 0;
    va_list args;
    if (why[0]) return;
    say(why, &n, "%s: block %u: ", b->kernel->name, b->at[0]);
    va_start(args, fmt);
    say_all(why, &n, fmt, args);
    va_end(args);
    say(why, &n, "\n");
    say_line(why, &n, b->kernel->module, line);
}

/* -------------------------------------------------------------------- draws */

/* Marsaglia, "Xorshift RNGs" (2003), with a product behind it. */
uint32_t ptx_draw(PtxMachine *m, uint32_t n)
{
    m->state ^= m->state >> 12;
    m->state ^= m->state << 25;
    m->state ^= m->state >> 27;
    uint64_t x = m->state * UINT64_C(0x2545F4914F6CDD1D);
    return (uint32_t)((x >> 32) * n >> 32);
}

PtxTally *ptx_tally(PtxMachine *m)
{
    return &m->tally;
}

/* -------------------------------------------------------------- their turns */

typedef PtxStep (*Unit)(PtxWarp *w, const PtxInst *i, uint32_t mask);

static const Unit units[PO_COUNT] = {
#define PTX_OP(symbol, text, unit) [PO_##symbol] = ptx_do_##unit,
#include "tests/ptx/ptx.def"
#undef PTX_OP
};

static const char *const op_names[PO_COUNT] = {
#define PTX_OP(symbol, text, unit) [PO_##symbol] = text,
#include "tests/ptx/ptx.def"
#undef PTX_OP
};

/* Lanes that stand together. */
typedef struct Group {
    uint32_t pc, lanes;
    bool alone; /* no other lane of the warp may go on */
} Group;

static Group group_at(const PtxWarp *w, uint32_t pc)
{
    Group g = {.pc = pc};
    for (unsigned l = 0; l < PTX_LANES; l++)
        if (w->live >> l & 1 && w->pc[l] == pc) g.lanes |= UINT32_C(1) << l;
    g.alone = g.lanes == w->live;
    return g;
}

/* The group that goes on: the one furthest back, or with ANY a drawn one; those
 * that waited last time after the others, mostly. No lanes when all wait for
 * others. */
static Group next_group(PtxWarp *w, bool any)
{
    uint32_t ready = w->live & ~w->held;
    if (!ready) return (Group){0};
    if (!(ready & ~w->waits) || !ptx_draw(w->block->machine, 4)) w->waits = 0;
    ready &= ~w->waits;
    uint32_t pc = UINT32_MAX;
    if (any) {
        unsigned skip =
            ptx_draw(w->block->machine, (uint32_t)__builtin_popcount(ready));
        uint32_t rest = ready;
        while (skip--)
            rest &= rest - 1;
        pc = w->pc[__builtin_ctz(rest)];
    } else {
        for (unsigned l = 0; l < PTX_LANES; l++)
            if (ready >> l & 1 && w->pc[l] < pc) pc = w->pc[l];
    }
    Group g = group_at(w, pc);
    if (g.alone) w->held = 0;
    return g;
}

static void set_pcs(PtxWarp *w, uint32_t lanes, uint32_t pc)
{
    for (unsigned l = 0; l < PTX_LANES; l++)
        if (lanes >> l & 1) w->pc[l] = pc;
}

static uint32_t guarded(const PtxWarp *w, const PtxInst *i, uint32_t lanes)
{
    if (!i->guarded) return lanes;
    const uint64_t *p = w->reg[i->guard];
    uint32_t yes = 0;
    for (unsigned l = 0; l < PTX_LANES; l++)
        yes |= (uint32_t)(p[l] & 1) << l;
    return lanes & (i->unless ? ~yes : yes);
}

/* Sets the pcs of lanes that branch; true when they are still together. */
static bool branch(PtxWarp *w, const PtxInst *i, uint32_t lanes, uint32_t *pc)
{
    const PtxArg *to = ptx_arg(w, i, 0);
    bool together = true;
    uint32_t first = UINT32_MAX;
    if (i->op == PO_bra) {
        *pc = (uint32_t)to->value;
        set_pcs(w, lanes, *pc);
        return true;
    }
    const PtxArg *table = ptx_arg(w, i, 1);
    for (unsigned l = 0; l < PTX_LANES; l++) {
        if (!(lanes >> l & 1)) continue;
        uint64_t k = ptx_get(w, to, l);
        if (k >= table->n) {
            ptx_fault(w, i, (int)l, "jumps to label %llu of %u",
                      (unsigned long long)k, table->n);
            return false;
        }
        w->pc[l] = (uint32_t)ptx_item(w, table, (uint32_t)k)->value;
        if (first == UINT32_MAX) first = w->pc[l];
        together &= w->pc[l] == first;
    }
    *pc = first;
    return together;
}

/* Whether all are there that must be at I together; else those of ON wait. */
static bool all_there(PtxWarp *w, const PtxInst *i, uint32_t on)
{
    uint32_t members = ptx_members(w, i, on);
    if (!(members & ~on)) return true;
    w->held |= on;
    if (!(w->live & ~w->held))
        ptx_fault(w, i, __builtin_ctz(on),
                  "lanes %08x wait here for lanes %08x, which wait elsewhere",
                  on, members & ~on);
    return false;
}

typedef enum Turn { GOES_ON, WAITS, IS_OVER } Turn;

/* Up to MOST instructions of a warp. */
static Turn run_warp(PtxWarp *w, unsigned most)
{
    PtxMachine *m = w->block->machine;
    const PtxKernel *k = w->block->kernel;
    Group g = next_group(w, ptx_draw(m, 4) == 0);
    unsigned done = 0;
    for (; done < most && g.lanes; done++) {
        const PtxInst *i = &k->insts[g.pc];
        uint32_t on = guarded(w, i, g.lanes), pc = g.pc + 1;
        bool together = true;
        PtxStep step = PX_next;
        if (i->op == PO_bra || i->op == PO_brx) {
            if (on != g.lanes) set_pcs(w, g.lanes & ~on, pc);
            if (on) together = branch(w, i, on, &pc) && on == g.lanes;
            step = PX_moved;
            if (m->why[0]) return IS_OVER;
        } else if (on) {
            if (!g.alone || on != g.lanes) {
                set_pcs(w, g.lanes, g.pc);
                if (!all_there(w, i, on)) {
                    if (m->why[0]) return IS_OVER;
                    set_pcs(w, g.lanes & ~on, pc);
                    g = next_group(w, false);
                    continue;
                }
                w->held &= ~on;
            }
            if (w->open && !ptx_tensor_allows(w, i)) return IS_OVER;
            step = units[i->op](w, i, on);
        }
        m->tally.instructions++;
        if (step == PX_fault) return IS_OVER;
        if (step == PX_again) {
            w->waits |= on;
            set_pcs(w, on, g.pc);
            set_pcs(w, g.lanes & ~on, pc);
            return WAITS;
        }
        if (step == PX_ended) {
            set_pcs(w, g.lanes & ~on, pc);
            if (!w->live) return ptx_tensor_end(w) ? GOES_ON : IS_OVER;
            g = next_group(w, false);
            continue;
        }
        if (g.alone && together) {
            g.pc = pc; /* the lanes' own are set when they part */
            if (w->stopped) break;
            continue;
        }
        if (step == PX_next) set_pcs(w, g.lanes, pc);
        if (w->stopped) return GOES_ON;
        g = next_group(w, false);
    }
    set_pcs(w, g.lanes, g.pc);
    return GOES_ON;
}

/* ------------------------------------------------------------------- blocks */

/* Some turns of a block's warps; false when it is over. *moved: it got on. */
static bool run_block(PtxBlock *b, bool *moved)
{
    PtxMachine *m = b->machine;
    unsigned idle = 0;
    for (unsigned turn = 0; turn < TURNS && b->ended < b->nwarps; turn++) {
        uint64_t before = m->tally.instructions;
        unsigned k = ptx_draw(m, b->nwarps);
        PtxWarp *w = NULL;
        for (unsigned n = 0; n < b->nwarps && !w; n++, k = (k + 1) % b->nwarps)
            if (b->warps[k].live && !b->warps[k].stopped) w = &b->warps[k];
        if (w) {
            Turn t = run_warp(w, 1 + ptx_draw(m, SLICE));
            if (t == IS_OVER) return false;
            if (w->live && w->tensor && ptx_draw(m, 4) == 0)
                *moved |= ptx_tensor_turn(w);
            bool alone = t == WAITS && m->tally.instructions - before <= 1;
            idle = alone ? idle + 1 : 0;
            *moved |= !alone;
        }
        if (m->why[0]) return false;
        bool stuck = !w || idle > 2 * b->nwarps;
        if (b->async && (stuck || ptx_draw(m, 4) == 0)) {
            bool did = ptx_async_turn(b, stuck && ptx_draw(m, 2) == 0);
            if (m->why[0]) return false;
            if (did) idle = 0;
            *moved |= did;
            stuck &= !did;
        }
        if (b->tmem && (stuck || ptx_draw(m, 4) == 0)) {
            bool did = ptx_tmem_turn(b);
            if (m->why[0]) return false;
            if (did) idle = 0;
            *moved |= did;
            stuck &= !did;
        }
        if (stuck) break;
    }
    return true;
}

/* What nobody has set may be anything: of half the blocks it is no number. */
static void fill_shared(PtxMachine *m, PtxBlock *b)
{
    bool numbers = ptx_draw(m, 2) == 0;
    memset(b->shared, 0xff, b->shared_bytes);
    for (uint32_t at = 0; numbers && at + 4 <= b->shared_bytes; at += 4) {
        uint32_t x = ptx_draw(m, UINT32_MAX);
        memcpy(b->shared + at, &x, 4);
    }
}

static bool make_block(PtxMachine *m, PtxCluster *c, unsigned rank,
                       uint64_t number)
{
    const PtxLaunch *l = m->launch;
    const PtxKernel *k = l->kernel;
    PtxBlock *b = &c->blocks[rank];
    b->machine = m;
    b->kernel = k;
    b->cluster = c;
    b->rank = rank;
    b->at[0] = (unsigned)(number % l->grid[0]);
    b->at[1] = (unsigned)(number / l->grid[0] % l->grid[1]);
    b->at[2] = (unsigned)(number / l->grid[0] / l->grid[1]);
    b->nthreads = l->block[0] * l->block[1] * l->block[2];
    b->nwarps = (b->nthreads + PTX_LANES - 1) / PTX_LANES;
    b->shared_bytes = k->shared + l->shared;
    b->shared = malloc(b->shared_bytes + 1);
    b->warps = calloc(b->nwarps, sizeof *b->warps);
    if (!b->shared || !b->warps) return false;
    fill_shared(m, b);
    for (unsigned n = 0; n < b->nwarps; n++) {
        PtxWarp *w = &b->warps[n];
        unsigned lanes = b->nthreads - n * PTX_LANES;
        w->block = b;
        w->number = n;
        w->live = lanes >= PTX_LANES ? UINT32_MAX : (UINT32_C(1) << lanes) - 1;
        w->reg = malloc((size_t)k->nregs * sizeof *w->reg);
        w->local = k->local ? calloc(PTX_LANES, k->local) : NULL;
        if (!w->reg || (k->local && !w->local)) return false;
    }
    return true;
}

static uint64_t special(const PtxWarp *w, PtxSpecial r, unsigned lane)
{
    const PtxBlock *b = w->block;
    const PtxLaunch *l = b->machine->launch;
    unsigned t = w->number * PTX_LANES + lane;
    uint64_t one = UINT32_C(1) << lane;
    switch (r) {
    case PR_shared_base:
        return (uint64_t)b->rank << PTX_RANK_SHIFT;
    case PR_tid_x:
        return t % l->block[0];
    case PR_tid_y:
        return t / l->block[0] % l->block[1];
    case PR_tid_z:
        return t / l->block[0] / l->block[1];
    case PR_ntid_x:
        return l->block[0];
    case PR_ntid_y:
        return l->block[1];
    case PR_ntid_z:
        return l->block[2];
    case PR_ctaid_x:
        return b->at[0];
    case PR_ctaid_y:
        return b->at[1];
    case PR_ctaid_z:
        return b->at[2];
    case PR_nctaid_x:
        return l->grid[0];
    case PR_nctaid_y:
        return l->grid[1];
    case PR_nctaid_z:
        return l->grid[2];
    case PR_laneid:
        return lane;
    case PR_warpid:
        return w->number;
    case PR_smid:
        return b->at[0] % b->machine->launch->processors;
    case PR_cluster_rank:
    case PR_cluster_ctaid_x:
        return b->rank;
    case PR_cluster_n:
    case PR_cluster_nctaid_x:
        return b->cluster->n;
    case PR_clusterid_x:
        return b->at[0] / b->cluster->n;
    case PR_nclusterid_x:
        return l->grid[0] / b->cluster->n;
    case PR_dynamic_shared:
        return l->shared;
    case PR_lanemask_lt:
        return one - 1;
    case PR_lanemask_eq:
        return one;
    case PR_lanemask_le:
        return (one << 1) - 1;
    case PR_lanemask_gt:
        return UINT32_MAX & ~((one << 1) - 1);
    case PR_lanemask_ge:
        return UINT32_MAX & ~(one - 1);
    default:
        return 0;
    }
}

static void fill_registers(PtxMachine *m, PtxWarp *w)
{
    const PtxKernel *k = w->block->kernel;
    for (uint32_t r = 0; r < PR_COUNT; r++)
        for (unsigned lane = 0; lane < PTX_LANES; lane++)
            w->reg[r][lane] = special(w, (PtxSpecial)r, lane);
    /* As registers may. */
    for (uint32_t r = PR_COUNT; r < k->nregs; r++) {
        uint64_t x = (uint64_t)ptx_draw(m, UINT32_MAX) * UINT64_C(0x100000001);
        unsigned bits = k->reg_bits[r];
        if (bits < 64) x &= (UINT64_C(1) << bits) - 1;
        for (unsigned lane = 0; lane < PTX_LANES; lane++)
            w->reg[r][lane] = x;
    }
}

static void free_cluster(PtxCluster *c)
{
    for (unsigned r = 0; c && r < c->n; r++) {
        PtxBlock *b = &c->blocks[r];
        for (unsigned n = 0; b->warps && n < b->nwarps; n++) {
            if (b->warps[n].tensor) ptx_tensor_free(&b->warps[n]);
            free(b->warps[n].reg);
            free(b->warps[n].local);
        }
        if (b->async) ptx_async_free(b);
        if (b->tmem) ptx_tmem_free(b);
        free(b->warps);
        free(b->shared);
    }
    if (c) ptx_race_free(c->race);
    if (c) free(c->blocks);
    free(c);
}

static PtxCluster *make_cluster(PtxMachine *m, uint64_t number, unsigned n)
{
    PtxCluster *c = calloc(1, sizeof *c);
    if (c) c->blocks = calloc(n, sizeof *c->blocks);
    if (!c || !c->blocks) {
        free(c);
        return NULL;
    }
    c->n = n;
    for (unsigned r = 0; r < n; r++)
        if (!make_block(m, c, r, number * n + r)) {
            free_cluster(c);
            return NULL;
        }
    if (m->launch->races && (c->race = ptx_race_new(c)) == NULL) {
        free_cluster(c);
        return NULL;
    }
    for (unsigned r = 0; r < n; r++)
        for (unsigned k = 0; k < c->blocks[r].nwarps; k++)
            fill_registers(m, &c->blocks[r].warps[k]);
    return c;
}

/* False after a fault. */
static bool run_cluster(PtxCluster *c, bool *moved)
{
    unsigned from = ptx_draw(c->blocks->machine, c->n);
    for (unsigned n = 0; n < c->n; n++) {
        PtxBlock *b = &c->blocks[(from + n) % c->n];
        bool ran = b->ended < b->nwarps;
        if (ran && !run_block(b, moved)) return false;
        if (ran && b->ended == b->nwarps) {
            c->ended++;
            *moved = true;
        }
    }
    if (c->ended < c->n) return true;
    for (unsigned n = 0; n < c->n; n++) {
        PtxBlock *b = &c->blocks[n];
        if (b->tmem && !ptx_tmem_end(b)) return false;
        if (b->async && !ptx_async_end(b)) return false;
    }
    return true;
}

/* ------------------------------------------------------------------- launch */

/* Clusters that a GPU holds at once: as many as threads and shared memory
 * allow, registers left aside. */
static uint64_t resident(const PtxMachine *m, unsigned n)
{
    const PtxLaunch *l = m->launch;
    uint64_t threads = (uint64_t)l->block[0] * l->block[1] * l->block[2];
    uint64_t bytes = l->kernel->shared + l->shared + 1024;
    uint64_t by = 2048 / threads < 32 ? 2048 / threads : 32;
    if (SM_SHARED / bytes < by) by = SM_SHARED / bytes;
    by = by * l->processors / n;
    return by ? by : 1;
}

/* Where those stand that wait for ever. */
static void tell_stuck(PtxCluster *const *c, uint64_t n)
{
    for (uint64_t k = 0; k < n; k++)
        for (unsigned r = 0; r < c[k]->n; r++)
            for (unsigned j = 0; j < c[k]->blocks[r].nwarps; j++) {
                PtxWarp *w = &c[k]->blocks[r].warps[j];
                if (!w->live) continue;
                unsigned lane = (unsigned)__builtin_ctz(w->live);
                uint32_t pc = w->pc[lane] - w->stopped;
                const PtxInst *i = &w->block->kernel->insts[pc];
                ptx_fault(w, i, (int)lane, "waits for ever at %s",
                          op_names[i->op]);
                return;
            }
}

typedef struct Running {
    PtxCluster **at;
    uint64_t n, most, begun, all;
    uint64_t window; /* so many are begun at once */
} Running;

static bool run_all(PtxMachine *m, Running *r, unsigned per)
{
    unsigned still = 0;
    uint64_t events = 0, since = 0;
    while (r->n || r->begun < r->all) {
        while (r->n < r->window && r->begun < r->all) {
            PtxCluster *c = make_cluster(m, r->begun++, per);
            if (!c) {
                snprintf(m->why, PTX_FAULT, "%s: no memory to run it\n",
                         m->launch->kernel->name);
                return false;
            }
            r->at[r->n++] = c;
        }
        bool moved = false, ended = false;
        uint64_t k = ptx_draw(m, (uint32_t)r->n);
        PtxCluster *c = r->at[k];
        if (!run_cluster(c, &moved)) return false;
        if (c->ended == c->n) {
            free_cluster(c);
            r->at[k] = r->at[--r->n];
            ended = true;
        }
        still = moved ? 0 : still + 1;
        /* Those that were begun may wait for others that were not. */
        if (!ended && r->window < r->most &&
            (still > r->n || ptx_draw(m, 64) == 0))
            r->window++, still = 0;
        if (m->events != events) {
            events = m->events;
            since = m->looks;
        }
        bool spins = m->looks - since > MOST_IDLE;
        if (spins || (still > 64 * (r->n + 1) &&
                      (r->window == r->most || r->begun == r->all))) {
            tell_stuck(r->at, r->n);
            return false;
        }
    }
    return true;
}

static bool refuse(char *why, const PtxKernel *k, const char *what, uint64_t a,
                   uint64_t b)
{
    snprintf(why, PTX_FAULT, "%s: %s (%llu, %llu)\n", k->name, what,
             (unsigned long long)a, (unsigned long long)b);
    return false;
}

bool ptx_run(const PtxLaunch *launch, PtxTally *tally, char why[PTX_FAULT])
{
    PtxLaunch l = *launch;
    const PtxKernel *k = l.kernel;
    unsigned per = k->cluster[0] * k->cluster[1] * k->cluster[2];
    uint64_t threads = (uint64_t)l.block[0] * l.block[1] * l.block[2];
    uint64_t said = (uint64_t)k->threads[0] * (k->threads[1] + !k->threads[1]) *
                    (k->threads[2] + !k->threads[2]);
    if (!l.processors) l.processors = 132;
    why[0] = '\0';
    if (!threads || threads > 1024)
        return refuse(why, k, "threads of a block, of 1 to", threads, 1024);
    if (said && (k->exactly ? threads != said : threads > said))
        return refuse(why, k, "threads of a block, and those it is made for",
                      threads, said);
    if (k->cluster[1] * k->cluster[2] != 1 || l.grid[0] % per)
        return refuse(why, k, "blocks do not fill clusters", l.grid[0], per);
    if (k->shared + (uint64_t)l.shared > 232448)
        return refuse(why, k, "bytes of shared memory, of at most",
                      k->shared + (uint64_t)l.shared, 232448);
    PtxMachine m = {.launch = &l, .why = why};
    m.state = l.seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    if (!m.state) m.state = 1;
    Running r = {.all = (uint64_t)l.grid[0] * l.grid[1] * l.grid[2] / per,
                 .most = resident(&m, per)};
    r.window = 1 + ptx_draw(&m, 4);
    if (r.window > r.most) r.window = r.most;
    r.at = calloc(r.most, sizeof *r.at);
    m.params = malloc(k->param_bytes + 8);
    bool ok = r.at && m.params;
    if (!ok) snprintf(why, PTX_FAULT, "%s: no memory to run it\n", k->name);
    if (ok && k->param_bytes) memcpy(m.params, l.params, k->param_bytes);
    if (l.races) m.globals = ptx_globals_new(k);
    if (ok) ok = run_all(&m, &r, per);
    ptx_globals_free(m.globals);
    for (uint64_t n = 0; r.at && n < r.n; n++)
        free_cluster(r.at[n]);
    free(r.at);
    free(m.params);
    if (tally) {
        tally->instructions += m.tally.instructions;
        tally->products += m.tally.products;
        tally->loaded += m.tally.loaded;
        tally->stored += m.tally.stored;
    }
    return ok;
}
