/*
 * check.c: that a schedule has all it needs, and that its commands end.
 *
 * The commands of all ranks are one graph.  A node is an action, or a transfer
 * or collective, which is one node however many ranks launch it; a transfer is
 * known by what it carries, so sends and receives in different orders show.
 * Edges: what runs on one stream of a rank runs in order; what communicates is
 * launched in order, for each may wait for its partner; and a command waits for
 * those that it names.  All of it ends exactly when there is no circle.
 */
#include "schedule.h"

/* ------------------------------------------------------------- complete -- */

typedef struct Count {
    const ScheduleAsk *ask;
    const Schedule *s;
    uint8_t *seen; /* by stage, microbatch: 1 << ActionKind */
} Count;

static Report *broken(const Count *c, const char *what, Action x)
{
    return diag_error(c->ask->diag, DIAG_pipeline_schedule,
                      action_span(c->ask, x), "%s ('%s') %s",
                      action_words(c->ask->arena, x),
                      action_text(c->ask->arena, x), what);
}

static uint8_t *seen_of(const Count *c, Action x)
{
    return &c->seen[(size_t)x.stage * c->s->micros + x.micro];
}

enum {
    SEEN_forward = 1 << ACTION_forward,
    SEEN_backward = 1 << ACTION_backward,
    SEEN_input = 1 << ACTION_input,
    SEEN_weight = 1 << ACTION_weight
};

/* What a rank has done of the same before. */
static void note_first(const Count *c, uint32_t rank, Action x, Report *r)
{
    const ActionVec *row = &c->s->rows[rank];
    for (uint32_t i = 0; i < row->n; i++) {
        Action first = row->at[i];
        bool forward = first.kind == ACTION_forward;
        if (first.kind == ACTION_idle || first.stage != x.stage ||
            first.micro != x.micro || forward != (x.kind == ACTION_forward) ||
            !first.length)
            continue;
        report_note(r, action_span(c->ask, first), "'%s' is here",
                    action_text(c->ask->arena, first));
        return;
    }
}

static bool check_action(const Count *c, uint32_t rank, Action x)
{
    const Schedule *s = c->s;
    if (x.stage >= s->stages || x.micro >= s->micros) {
        Report *r = broken(c, "is of nothing that there is", x);
        report_help(r, "there are %u stages, %u microbatches", s->stages,
                    s->micros);
        return false;
    }
    uint8_t *seen = seen_of(c, x);
    if (s->owner[x.stage] != rank) {
        Report *r = broken(c, "is not on the rank of its stage", x);
        report_help(r, "rank %u has stage %u", s->owner[x.stage], x.stage);
        return false;
    }
    if (*seen & 1 << x.kind ||
        (x.kind == ACTION_backward && *seen & SEEN_input) ||
        (x.kind == ACTION_input && *seen & SEEN_backward) ||
        (x.kind == ACTION_weight && *seen & SEEN_backward)) {
        Report *r = broken(c, "is done twice", x);
        note_first(c, rank, x, r);
        return false;
    }
    if (x.kind != ACTION_forward && !(*seen & SEEN_forward)) {
        Report *r = broken(c, "comes before its forward", x);
        report_help(r, "put '%uF%u' in front of it", x.stage, x.micro);
        return false;
    }
    if (x.kind == ACTION_weight && !(*seen & SEEN_input)) {
        Report *r = broken(c, "comes before that for its inputs", x);
        report_help(r, "put '%uI%u' in front of it", x.stage, x.micro);
        return false;
    }
    *seen = (uint8_t)(*seen | 1 << x.kind);
    return true;
}

/* What is missing stands nowhere: the last that is done of the same. */
static void find_place(const Count *c, Action *x)
{
    const ActionVec *row = &c->s->rows[c->s->owner[x->stage]];
    for (uint32_t i = 0; i < row->n; i++) {
        const Action *y = &row->at[i];
        if (y->kind == ACTION_idle || y->stage != x->stage ||
            y->micro != x->micro)
            continue;
        x->at = y->at;
        x->length = y->length;
    }
}

static bool check_missing(const Count *c)
{
    for (uint32_t i = 0; i < c->s->stages; i++)
        for (uint32_t m = 0; m < c->s->micros; m++) {
            Action x = {.kind = ACTION_forward, .stage = i, .micro = m};
            uint8_t seen = *seen_of(c, x);
            if (seen & SEEN_forward)
                x.kind = seen & SEEN_input ? ACTION_weight : ACTION_backward;
            if (seen & 1 << x.kind) continue;
            find_place(c, &x);
            Report *r = broken(c, "is missing", x);
            report_help(r, "rank %u has stage %u", c->s->owner[i], i);
            return false;
        }
    return true;
}

bool schedule_complete(const ScheduleAsk *ask, const Schedule *s)
{
    Count c = {.ask = ask, .s = s};
    c.seen = NEW_ARRAY(ask->arena, uint8_t, (size_t)s->stages * s->micros + 1);
    for (uint32_t r = 0; r < s->ranks; r++)
        for (uint32_t i = 0; i < s->rows[r].n; i++) {
            Action x = s->rows[r].at[i];
            if (x.kind != ACTION_idle && !check_action(&c, r, x)) return false;
        }
    return check_missing(&c);
}

/* ---------------------------------------------------------------- graph -- */

typedef struct Edge {
    uint32_t to, next; /* next: in the list of its node; 0: none */
    uint32_t rank;     /* that says so */
} Edge;

typedef struct Graph {
    const ScheduleAsk *ask;
    const CommandList *lists;
    uint32_t nlists;
    uint32_t **node; /* by rank, command */
    VEC(const Command *) nodes;
    VEC(Edge) edges; /* the first is none */
    uint32_t *first; /* by node */
} Graph;

static const char *stage_pair(const Graph *g, const Command *c)
{
    return arena_printf(g->ask->arena, "from stage %u to stage %u",
                        c->action.stage, c->to_stage);
}

static const char *command_words(const Graph *g, const Command *c)
{
    Arena *a = g->ask->arena;
    if (c->text) return c->text;
    if (c->kind == COMMAND_action) return action_words(a, c->action);
    const char *what =
        c->action.kind == ACTION_forward ? "activations" : "gradients";
    return arena_printf(a, "the %s of microbatch %u %s", what, c->action.micro,
                        stage_pair(g, c));
}

static bool same_node(const Command *a, uint32_t ra, const Command *b,
                      uint32_t rb)
{
    if (a->tag != b->tag || a->channel != b->channel) return false;
    if (a->kind == COMMAND_together) return b->kind == COMMAND_together;
    return a->kind != b->kind && b->kind != COMMAND_action &&
           b->kind != COMMAND_together && a->peer == rb && b->peer == ra;
}

/* The node that a rank in front has made of the same transfer. */
static bool node_find(const Graph *g, uint32_t rank, const Command *c,
                      uint32_t *out)
{
    for (uint32_t r = 0; r < rank; r++) {
        const CommandList *l = &g->lists[r];
        if (c->kind != COMMAND_together && r != c->peer) continue;
        for (uint32_t i = 0; i < l->rows.n; i++)
            if (l->rows.at[i].kind != COMMAND_action &&
                same_node(c, rank, &l->rows.at[i], r)) {
                *out = g->node[r][i];
                return true;
            }
    }
    return false;
}

static void make_nodes(Graph *g)
{
    Arena *a = g->ask->arena;
    g->node = NEW_ARRAY(a, uint32_t *, g->nlists + 1);
    for (uint32_t r = 0; r < g->nlists; r++) {
        const CommandList *l = &g->lists[r];
        g->node[r] = NEW_ARRAY(a, uint32_t, l->rows.n + 1);
        for (uint32_t i = 0; i < l->rows.n; i++) {
            const Command *c = &l->rows.at[i];
            if (c->kind != COMMAND_action && node_find(g, r, c, &g->node[r][i]))
                continue;
            g->node[r][i] = g->nodes.n;
            vec_push(a, &g->nodes, c);
        }
    }
    g->first = NEW_ARRAY(a, uint32_t, g->nodes.n + 1);
}

static void add_edge(Graph *g, uint32_t rank, uint32_t from, uint32_t to)
{
    uint32_t a = g->node[rank][from], b = g->node[rank][to];
    if (a == b) return;
    Edge e = {.to = b, .next = g->first[a], .rank = rank};
    g->first[a] = g->edges.n;
    vec_push(g->ask->arena, &g->edges, e);
}

/* The last command in front of `at` that runs on its stream, or else one that
 * communicates and runs on another. */
static bool before(const CommandList *l, uint32_t at, bool launches,
                   uint32_t *out)
{
    const Command *c = &l->rows.at[at];
    for (*out = at; (*out)-- > 0;) {
        const Command *x = &l->rows.at[*out];
        if (launches && x->kind != COMMAND_action)
            return x->stream != c->stream;
        if (!launches && x->stream == c->stream) return true;
    }
    return false;
}

static void make_edges(Graph *g)
{
    vec_push(g->ask->arena, &g->edges, (Edge){0});
    for (uint32_t r = 0; r < g->nlists; r++)
        for (uint32_t i = 0; i < g->lists[r].rows.n; i++) {
            const Command *c = &g->lists[r].rows.at[i];
            bool launches = c->kind != COMMAND_action;
            uint32_t k;
            if (before(&g->lists[r], i, false, &k)) add_edge(g, r, k, i);
            if (launches && before(&g->lists[r], i, true, &k))
                add_edge(g, r, k, i);
            for (uint32_t w = 0; w < c->nwaits; w++)
                add_edge(g, r, c->waits[w], i);
        }
}

/* ---------------------------------------------------------------- circle -- */

enum { WHITE, GREY, BLACK };

typedef struct Walk {
    uint32_t *path, *by; /* nodes; the edge that leads on from each */
    uint32_t n;
    uint8_t *colour;
} Walk;

/* Depth first; true: the path ends in a circle, which begins at *start. */
static bool find_circle(const Graph *g, Walk *w, uint32_t root, uint32_t *start)
{
    w->n = 0;
    w->path[w->n] = root;
    w->by[w->n++] = g->first[root];
    w->colour[root] = GREY;
    while (w->n) {
        uint32_t e = w->by[w->n - 1];
        if (!e) {
            w->colour[w->path[--w->n]] = BLACK;
            if (w->n) w->by[w->n - 1] = g->edges.at[w->by[w->n - 1]].next;
            continue;
        }
        uint32_t to = g->edges.at[e].to;
        if (w->colour[to] == GREY) {
            for (*start = 0; w->path[*start] != to; (*start)++)
                continue;
            return true;
        }
        if (w->colour[to] == BLACK) {
            w->by[w->n - 1] = g->edges.at[e].next;
            continue;
        }
        w->colour[to] = GREY;
        w->path[w->n] = to;
        w->by[w->n++] = g->first[to];
    }
    return false;
}

static void report_circle(const Graph *g, const Walk *w, uint32_t start)
{
    enum { MOST_NOTES = 16 };
    Report *r = diag_error(g->ask->diag, DIAG_pipeline_deadlock, g->ask->at,
                           "the ranks of the pipeline wait for one another");
    for (uint32_t i = start; i < w->n && i < start + MOST_NOTES; i++) {
        const Edge *e = &g->edges.at[w->by[i]];
        const Command *to = g->nodes.at[e->to];
        bool written = to->kind == COMMAND_action && to->action.length;
        report_note(r, written ? action_span(g->ask, to->action) : (Span){0},
                    "rank %u: %s comes behind %s", e->rank,
                    command_words(g, to),
                    command_words(g, g->nodes.at[w->path[i]]));
    }
}

/* A transfer that one side alone has. */
static bool check_pairs(const Graph *g)
{
    uint32_t *n = NEW_ARRAY(g->ask->arena, uint32_t, g->nodes.n + 1);
    for (uint32_t r = 0; r < g->nlists; r++)
        for (uint32_t i = 0; i < g->lists[r].rows.n; i++)
            n[g->node[r][i]]++;
    for (uint32_t i = 0; i < g->nodes.n; i++) {
        const Command *c = g->nodes.at[i];
        bool transfer = c->kind == COMMAND_send || c->kind == COMMAND_receive;
        if (!transfer || n[i] == 2) continue;
        Report *r = diag_error(g->ask->diag, DIAG_pipeline_deadlock, g->ask->at,
                               c->kind == COMMAND_send
                                   ? "%s are sent and never received"
                                   : "%s are received and never sent",
                               command_words(g, c));
        report_note(r, (Span){0, 0, 0}, "the other side is rank %u", c->peer);
        return false;
    }
    return true;
}

bool commands_check(const ScheduleAsk *ask, const CommandList *lists,
                    uint32_t n)
{
    Graph g = {.ask = ask, .lists = lists, .nlists = n};
    make_nodes(&g);
    if (!check_pairs(&g)) return false;
    make_edges(&g);
    Walk w = {.path = NEW_ARRAY(ask->arena, uint32_t, g.nodes.n + 1),
              .by = NEW_ARRAY(ask->arena, uint32_t, g.nodes.n + 1),
              .colour = NEW_ARRAY(ask->arena, uint8_t, g.nodes.n + 1)};
    uint32_t start;
    for (uint32_t i = 0; i < g.nodes.n; i++) {
        if (w.colour[i] != WHITE || !find_circle(&g, &w, i, &start)) continue;
        report_circle(&g, &w, start);
        return false;
    }
    return true;
}
