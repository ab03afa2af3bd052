/*
 * gpu_both_plan.c: which kernels of a matrix in both orders are made in tiles
 * (gpu_both.c), and what lies where in shared memory.
 *
 *     maxima, loop by loop         then what crosses: results along the rows
 *     values of lanes              what the sweep reads of a block of rows
 *     values of rows               what it reads of a block of columns
 */
#include "gpu_both.h"

enum { MOST_ROOM = 48 << 10, MOST_HELD = 256 };

/* --------------------------------------------------------------- the loops */

/* The element of the matrix that a loop asks for. */
static Node element_of(const Kir *k, LoopId loop)
{
    for (uint32_t i = 0; i < k->elements.n; i++)
        if (node_info(k, k->elements.at[i])->loop == loop)
            return k->elements.at[i];
    return (Node){0};
}

static bool has_loops(const Kir *k)
{
    if (k->loops.n < MAXIMA_LOOPS || k->loops.n > MOST_LOOP) return false;
    for (LoopId i = MAXIMA_LOOPS; i < k->loops.n; i++) {
        const Loop *l = &k->loops.at[i];
        bool inside = l->parent == LANES_LOOP || l->parent == SWEEP_LOOP;
        if (l->kind != LOOP_seq || !inside || !element_of(k, i).id)
            return false;
        for (uint32_t a = 0; a < l->accs.n; a++)
            if (l->accs.at[a].kind != ACC_max || l->accs.at[a].dtype != DT_f32)
                return false;
    }
    return element_of(k, SWEEP_LOOP).id &&
           k->elements.n + MAXIMA_LOOPS == k->loops.n + 1;
}

static Way way_of(const Both *b, const Loop *l)
{
    if (l->parent == SWEEP_LOOP) return WAY_rows;
    return l->hi == b->block ? WAY_columns : WAY_both;
}

/* Blocks of columns are whole in a tile, and lie in whole threads. */
static bool find_way(const Both *b, LoopId loop, Maxima *x)
{
    const Loop *l = &b->k->loops.at[loop];
    *x = (Maxima){.way = way_of(b, l), .element = element_of(b->k, loop)};
    x->columns = x->way == WAY_rows ? l->hi : l->hi / b->block;
    return x->way == WAY_columns ||
           (x->columns % b->k->width == 0 && LANES % x->columns == 0);
}

/* Whether X, of a loop, is of its element what Y is of that of another. */
static bool is_same_of(const Both *b, LoopId from, Node x, LoopId to, Node y)
{
    const NodeInfo *p = node_info(b->k, x), *q = node_info(b->k, y);
    if (x.id == y.id) return true;
    if (!x.id || !y.id || p->op != q->op || p->dtype != q->dtype) return false;
    if (x.id == b->maxima[from].element.id)
        return y.id == b->maxima[to].element.id;
    return (p->op == KN_scalar || p->op == KN_cast) && p->loop == from &&
           q->loop == to && p->sc == q->sc &&
           is_same_of(b, from, p->a, to, q->a) &&
           is_same_of(b, from, p->b, to, q->b) &&
           is_same_of(b, from, p->c, to, q->c);
}

/* A block of rows and columns has the same maxima in either order. */
static bool has_same_maxima(const Both *b, LoopId from, LoopId to)
{
    const Maxima *x = &b->maxima[from], *y = &b->maxima[to];
    const Loop *p = &b->k->loops.at[from], *q = &b->k->loops.at[to];
    if (x->way != WAY_both || y->way != WAY_both || x->columns != y->columns ||
        p->accs.n != q->accs.n)
        return false;
    for (uint32_t a = 0; a < p->accs.n; a++)
        if (!is_same_of(b, from, p->accs.at[a].value, to, q->accs.at[a].value))
            return false;
    return true;
}

static LoopId first_of_same(const Both *b, LoopId loop)
{
    for (LoopId i = MAXIMA_LOOPS; i < loop; i++)
        if (has_same_maxima(b, i, loop)) return i;
    return loop;
}

/* Maxima of rows are all of as many columns. */
static bool find_maxima(Both *b)
{
    int64_t at = 0;
    for (LoopId i = MAXIMA_LOOPS; i < b->k->loops.n; i++) {
        Maxima *x = &b->maxima[i];
        if (!find_way(b, i, x)) return false;
        if (x->way == WAY_rows && !b->rows) b->rows = i;
        if (x->way == WAY_rows && x->columns != b->maxima[b->rows].columns)
            return false;
        x->n = LANES / x->columns;
        x->rows = x->way == WAY_rows ? ROWS : ROWS / b->turns;
        x->same = first_of_same(b, i);
        x->at = x->same == i ? at : b->maxima[x->same].at;
        if (x->same == i)
            at += x->n * x->rows * SLOT * b->k->loops.at[i].accs.n;
    }
    b->room = at;
    return true;
}

/* ------------------------------------------------------------------ nodes */

static void mark_below(const Kir *k, Node n, bool *below);

static void mark_index(const Kir *k, Ix x, bool *below)
{
    const IxInfo *of = ix_info(k, x);
    for (uint32_t i = 0; i < of->n; i++) {
        const Atom *a = &k->atoms.at[of->terms[i].atom];
        if (a->kind == ATOM_node) mark_below(k, a->node, below);
        if (a->kind == ATOM_div || a->kind == ATOM_mod)
            mark_index(k, a->of, below);
    }
}

static void mark_below(const Kir *k, Node n, bool *below)
{
    if (!n.id || below[n.id]) return;
    const NodeInfo *in = node_info(k, n);
    below[n.id] = true;
    mark_below(k, in->a, below);
    mark_below(k, in->b, below);
    mark_below(k, in->c, below);
    mark_index(k, in->ix, below);
}

/* By node, what elements are made of and they themselves. */
static bool *find_below(const Kir *k)
{
    bool *below = NEW_ARRAY(k->arena, bool, k->nodes.n);
    for (uint32_t i = 0; i < k->elements.n; i++)
        mark_below(k, k->elements.at[i], below);
    return below;
}

bool both_stores_elements(const Kir *k, uint32_t node)
{
    const NodeInfo *in = &k->nodes.at[node];
    return in->op == KN_store && in->loop == SWEEP_LOOP && !in->a.id;
}

/* Loads of neighbours, or of one for all lanes of a thread; stores of
 * neighbours in either order. */
static bool fits(const Kir *k, uint32_t node)
{
    const NodeInfo *in = &k->nodes.at[node];
    int64_t coef;
    if (in->op == KN_total || in->op == KN_scan) return false;
    if (in->op == KN_load) {
        if (in->a.id || ix_chosen(k, in->ix)) return false;
        if (in->loop > SWEEP_LOOP) return true; /* at hand */
        return ix_steps(k, in->ix, LANES_LOOP, k->width, &coef) &&
               (coef == 0 || (coef == 1 && gpu_is_whole(k, in, LANES_LOOP)));
    }
    if (!both_stores_elements(k, node) || turned_crosses(k, node)) return true;
    Emit e = {.k = k};
    return emit_stores_whole(&e, (Node){node}, LANES_LOOP, (unsigned)k->width);
}

static bool is_of_rows(const MadeWhen *when, Node n)
{
    return !n.id || when[n.id] == MADE_before || when[n.id] == MADE_rows;
}

/* Operands have smaller numbers. */
static MadeWhen *find_when(const Kir *k)
{
    const bool *below = find_below(k);
    MadeWhen *when = NEW_ARRAY(k->arena, MadeWhen, k->nodes.n);
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        bool rows = is_of_rows(when, in->b) && is_of_rows(when, in->c) &&
                    (in->op == KN_store || is_of_rows(when, in->a));
        bool element = in->op == KN_store && !in->a.id;
        when[i] = in->loop < ITEMS_LOOP    ? MADE_before
                  : below[i]               ? MADE_below
                  : in->loop < SWEEP_LOOP  ? MADE_lanes
                  : in->loop != SWEEP_LOOP ? MADE_last
                  : rows && !element       ? MADE_rows
                                           : MADE_last;
    }
    return when;
}

/* Whether two values of a lane are the same of others that are. */
static bool is_same(const Both *b, const uint32_t *same, uint32_t x, uint32_t y)
{
    const NodeInfo *p = node_info(b->k, (Node){x});
    const NodeInfo *q = node_info(b->k, (Node){y});
    if (p->op != q->op || p->dtype != q->dtype || p->loop != q->loop)
        return false;
    if (p->op == KN_result)
        return p->n == q->n &&
               b->maxima[p->inner].same == b->maxima[q->inner].same;
    return (p->op == KN_scalar || p->op == KN_cast) && p->sc == q->sc &&
           same[p->a.id] == same[q->a.id] && same[p->b.id] == same[q->b.id] &&
           same[p->c.id] == same[q->c.id];
}

static uint32_t *find_same(const Both *b)
{
    uint32_t n = b->k->nodes.n, *same = NEW_ARRAY(b->k->arena, uint32_t, n);
    for (uint32_t i = 1; i < n; i++) {
        same[i] = i;
        for (uint32_t j = 1; j < i && b->when[i] == MADE_lanes; j++)
            if (b->when[j] == MADE_lanes && same[j] == j &&
                is_same(b, same, j, i))
                same[i] = j;
    }
    return same;
}

/* What is read of a lane, or of a row, by what is made last. */
static bool *find_shared(const Kir *k, const MadeWhen *when,
                         const uint32_t *same)
{
    bool *shared = NEW_ARRAY(k->arena, bool, k->nodes.n);
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        if (in->loop != SWEEP_LOOP || when[i] != MADE_last || in->op == KN_loop)
            continue;
        const Node read[] = {in->a, in->b, in->c};
        for (uint32_t a = 0; a < sizeof read / sizeof *read; a++)
            shared[same[read[a].id]] |=
                when[read[a].id] == MADE_lanes || when[read[a].id] == MADE_rows;
    }
    return shared;
}

/* What is stored once is made of rows. */
static bool takes_nodes(const Both *b)
{
    const Kir *k = b->k;
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        bool once = in->op == KN_store && in->loop == SWEEP_LOOP && in->a.id;
        if (!fits(k, i) || (b->shared[i] && in->dtype != DT_f32) ||
            (once && b->when[i] != MADE_rows))
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------- room */

static int64_t held_bytes(const Both *b)
{
    DType d = (DType)node_info(b->k, b->element)->dtype;
    return dtype_bytes(d) * b->k->width * b->turns;
}

/* Behind the maxima, and what crosses later. */
static void find_room(Both *b)
{
    int64_t crossing = turned_room(b->k, SWEEP_LOOP, ROWS * LANES);
    if (crossing > b->room) b->room = crossing;
    b->n[MADE_lanes] = ROWS / b->block * LANES;
    b->n[MADE_rows] = b->rows ? ROWS * b->maxima[b->rows].n : 0;
    for (MadeWhen of = MADE_lanes; of <= MADE_rows; of++) {
        b->at[of] = b->room;
        for (uint32_t i = 1; i < b->k->nodes.n; i++)
            if (b->shared[i] && b->when[i] == of) b->room += b->n[of] * SLOT;
    }
}

static int64_t tiles_of(const Kir *k)
{
    int64_t rows = k->rows * k->loops.at[SWEEP_LOOP].hi;
    return (rows + ROWS - 1) / ROWS *
           ((k->loops.at[LANES_LOOP].hi + LANES - 1) / LANES);
}

static bool find_with(const Kir *k, int64_t threads, Both *b)
{
    *b = (Both){.k = k,
                .block = k->loops.at[SWEEP_LOOP].hi,
                .turns = ROWS * LANES / k->width / threads,
                .tiles = tiles_of(k),
                .threads = threads,
                .element = element_of(k, SWEEP_LOOP)};
    if (ROWS % b->block || b->block % b->turns || held_bytes(b) > MOST_HELD ||
        !find_maxima(b))
        return false;
    b->when = find_when(k);
    b->same = find_same(b);
    b->shared = find_shared(k, b->when, b->same);
    find_room(b);
    return takes_nodes(b) && b->room <= MOST_ROOM;
}

/* Registers hold the elements, or all that they are made of; beside that what a
 * lane has, what is stored of an element, and where tiles are cut which rows
 * exist. */
static int64_t registers_of(const Both *b)
{
    enum { BESIDES = 16, CUT = 24, EACH = 8 };
    const Kir *k = b->k;
    int64_t n = k->loops.at[LANES_LOOP].hi;
    int64_t besides = k->rows * b->block % ROWS || n % LANES ? CUT : 0;
    int64_t loaded = 0, held = held_bytes(b);
    for (uint32_t i = 1; i < k->nodes.n; i++) {
        const NodeInfo *in = &k->nodes.at[i];
        bool load = in->op == KN_load && ix_uses(k, in->ix, LANES_LOOP);
        bool lane = load && in->loop == LANES_LOOP;
        besides += lane || both_stores_elements(k, i) ? EACH : 0;
        if (load && in->loop == SWEEP_LOOP)
            loaded += dtype_bytes((DType)in->dtype) * k->width * b->turns;
    }
    if (loaded > held) held = loaded;
    return held / SLOT + BESIDES + besides;
}

static int at_a_time(const Both *b)
{
    int blocks = turned_at_a_time(b->threads, registers_of(b));
    bool most = b->threads == MORE_THREADS && blocks > MOST_AT_ONCE;
    return most ? MOST_AT_ONCE : blocks;
}

static bool find(const Kir *k, Both *b)
{
    if (k->width < 4 || !has_loops(k)) return false;
    bool more = find_with(k, MORE_THREADS, b) &&
                turned_has_words(k, SWEEP_LOOP, b->turns) &&
                turned_are_few(k, b->tiles, at_a_time(b));
    return more || find_with(k, THREADS, b);
}

Both both_of(const Kir *k)
{
    Both b;
    CHECK(find(k, &b));
    return b;
}

bool gpu_both_grid(Kir *k, Grid *out)
{
    Both b;
    int64_t was = k->width;
    k->width = gpu_lanes_of_thread(k);
    if (!find(k, &b)) {
        k->width = was;
        return false;
    }
    *out = (Grid){.map = MAP_both,
                  .blocks = b.tiles,
                  .threads = (uint32_t)b.threads,
                  .beside = ROWS,
                  .tile_lanes = LANES};
    return true;
}

int gpu_both_at_a_time(const Kir *k)
{
    Both b = both_of(k);
    return at_a_time(&b);
}

uint32_t gpu_both_places(const Kir *k)
{
    return (uint32_t)(both_of(k).room / (int64_t)sizeof(uint64_t));
}
