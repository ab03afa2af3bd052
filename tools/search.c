/*
 * search.c: --plan auto, a plan that nobody wrote.
 *
 * Plans are written as text, as a person would write them, compiled up to the
 * image and predicted; the fastest that fits the memory is taken.  A plan has a
 * mesh of up to four axes, whose sizes make the number of devices:
 *
 *     pp   the layers, in stages; microbatches are as large as leaves two for
 *          each stage
 *     dp   the batch; with the parameters' widest axis, parameters and states
 *          lie split too, and by what rows choose of them (experts), whose rows
 *          then go to the devices that have it
 *     cp   the rest of the inputs' axes, where the batch has no more to give
 *     tp   of each parameter the axes that others do not have, within a host;
 *          between these, what blocks hand on lies split along the rows
 *
 * Where none fits, what the backward needs is made again, by a budget, in the
 * smallest of them.
 *
 * Which axes these are follows from the parameters alone.  What the rules say
 * of a model that does not take them (an axis that does not divide, a rule that
 * never applies) makes the plan none.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "predict.h"
#include "show.h"
#include "titanc.h"

enum { MOST_SPLITS = 32, MOST_SIDE = 8, MOST_STAGES = 16, BUDGETS = 4 };

/* What of a model a plan may name. */
typedef struct Parts {
    Arena *a;
    const char *train;        /* name of the train block, or empty */
    const char *batch, *rows; /* axes of the inputs */
    int64_t batch_size;
    int64_t accumulate;
    const char *wide;   /* the axis of most bytes of parameters */
    const char *chosen; /* of weights, by rows of the batch; or NULL */
    const char *layers; /* of the repeat with most turns; or NULL */
    int64_t nlayers;
    const char *splits[MOST_SPLITS]; /* "kv", "(kv rep)" */
    uint32_t nsplits;
} Parts;

typedef struct Mesh {
    int64_t pp, dp, cp, tp;
    bool shards, residual; /* parameters lie split; so does what is handed on */
    bool sends;            /* rows go to experts */
    double budget;         /* bytes that a rank's arena may have; 0: any */
} Mesh;

typedef struct Candidate {
    Mesh mesh;
    const char *text;
    bool made;
    double seconds;
    uint64_t bytes, reserve; /* that a rank needs, and those beside its arena */
} Candidate;

typedef struct Search {
    Request *r;
    GuardNote *note;
    Arena *a;
    Parts parts;
    const Machine *machine;
    double room; /* bytes of a device */
    int64_t devices;
    VEC(Candidate) tried;
} Search;

/* ----------------------------------------------------------------- parts -- */

/* Axes of repeats, which pipelines split and nothing else. */
static bool is_repeated(const Module *m, Axis a)
{
    for (uint32_t i = 0; i < m->fns.n; i++)
        for (uint32_t k = 0; k < m->fns.at[i]->ninsts; k++) {
            const Inst *in = &m->fns.at[i]->insts[k];
            if (in->op == OP_repeat &&
                attr_axis(m, in->attr, AT_axis).id == a.id)
                return true;
        }
    return false;
}

/* The axis that takes most bytes of parameters with it when it is split. */
static bool widest(const Module *m, Axis *best)
{
    double most = 0;
    for (uint32_t a = 0; a < m->axes.n; a++) {
        double bytes = 0;
        for (uint32_t i = 0; i < m->slots.n; i++) {
            const Slot *s = &m->slots.at[i];
            if (s->role == ROLE_param && type_axis(m, s->type, (Axis){a}))
                bytes += (double)type_bytes(m, s->type);
        }
        if (bytes <= most || is_repeated(m, (Axis){a})) continue;
        most = bytes;
        best->id = a;
    }
    return most > 0;
}

/* Weights of which each row chooses a matrix, as experts are. */
static void find_chosen(Search *s, const Module *m)
{
    for (uint32_t f = 0; f < m->fns.n && !s->parts.chosen; f++)
        for (uint32_t i = 0; i < m->fns.at[f]->ninsts; i++) {
            const Fn *fn = m->fns.at[f];
            const Inst *in = &fn->insts[i];
            if (in->op != OP_gather) continue;
            Type of = value_type(fn, inst_arg(fn, in, 0));
            Type ids = value_type(fn, inst_arg(fn, in, 1));
            if (inst_arg(fn, in, 0).id >= fn->nparams ||
                type_info(m, of)->naxes < 3 || type_info(m, ids)->naxes < 2)
                continue;
            Axis a = attr_axis(m, in->attr, AT_axis);
            s->parts.chosen = arena_strdup(s->a, axis_name(m, a));
            return;
        }
}

static void find_layers(Search *s, const Module *m)
{
    for (uint32_t f = 0; f < m->fns.n; f++)
        for (uint32_t i = 0; i < m->fns.at[f]->ninsts; i++) {
            const Inst *in = &m->fns.at[f]->insts[i];
            if (in->op != OP_repeat) continue;
            int64_t n = attr_int(m, in->attr, AT_count, 0);
            if (n <= s->parts.nlayers) continue;
            Axis a = attr_axis(m, in->attr, AT_axis);
            s->parts.layers = arena_strdup(s->a, axis_name(m, a));
            s->parts.nlayers = n;
        }
}

/* One side of a parameter as its arrow says; of one without, all its axes. */
typedef struct Side {
    Axis at[MOST_SIDE];
    uint32_t n;
} Side;

static Side side_of(const Module *m, const Slot *s, bool out)
{
    Side side = {.n = 0};
    const TypeInfo *t = type_info(m, s->type);
    uint32_t from = out ? s->nfrom : 0, n = out ? s->nto : s->nfrom;
    bool arrow = s->nfrom + s->nto > 0;
    if (!arrow) n = out ? 0 : t->naxes;
    for (uint32_t i = 0; i < n && side.n < MOST_SIDE; i++) {
        Axis a = arrow ? s->fan[from + i] : t->axes[i].axis;
        if (!is_repeated(m, a)) side.at[side.n++] = a;
    }
    return side;
}

/* The first axes of a side whose product TP divides: "kv", "(kv rep)". */
static const char *split_of(Search *s, const Module *m, const Slot *slot,
                            const Side *side, int64_t tp)
{
    int64_t product = 1;
    Buf b = {0};
    const char *text = NULL;
    for (uint32_t i = 0; i < side->n && !text; i++) {
        product *= type_size(m, slot->type, side->at[i]);
        buf_printf(&b, "%s%s", i ? " " : "", axis_name(m, side->at[i]));
        if (product % tp == 0)
            text = arena_printf(s->a, i ? "(%s)" : "%s", b.at);
    }
    buf_release(&b);
    return text;
}

static void drop_axis(Side *s, Axis a)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++)
        if (s->at[i].id != a.id) s->at[n++] = s->at[i];
    s->n = n;
}

static void add_split(Parts *p, const char *text)
{
    for (uint32_t i = 0; i < p->nsplits; i++)
        if (!strcmp(p->splits[i], text)) return;
    if (p->nsplits < MOST_SPLITS) p->splits[p->nsplits++] = text;
}

static bool is_chosen(const Search *s, const Module *m, Axis a)
{
    return s->parts.chosen && !strcmp(s->parts.chosen, axis_name(m, a));
}

/* A side with the widest axis in it is left to dp, as is what rows choose. */
static void find_splits(Search *s, const Module *m, Axis wide, int64_t tp)
{
    s->parts.nsplits = 0;
    for (uint32_t i = 0; i < m->slots.n; i++) {
        const Slot *slot = &m->slots.at[i];
        if (slot->role != ROLE_param || type_info(m, slot->type)->naxes < 2)
            continue;
        for (int out = 0; out < 2; out++) {
            Side side = side_of(m, slot, out);
            if (slot->nfrom + slot->nto == 0) drop_axis(&side, wide);
            if (side.n == 0 || side.at[0].id == wide.id ||
                is_chosen(s, m, side.at[0]))
                continue;
            const char *text = split_of(s, m, slot, &side, tp);
            if (text) add_split(&s->parts, text);
        }
    }
}

/* The batch, and the other axis that all inputs have. */
static bool find_inputs(Search *s, Module *m)
{
    Parts *p = &s->parts;
    FnRef ref;
    if (!fn_find(m, module_str(m, "train"), &ref)) return false;
    p->train = arena_strdup(s->a, str_of(m, option_get(m, "train")));
    p->batch = arena_strdup(s->a, str_of(m, option_get(m, "batch_axis")));
    const Fn *fn = fn_of(m, ref);
    for (uint32_t i = 0; i < fn->nparams; i++) {
        const TypeInfo *t = type_info(m, fn->params[i].type);
        if (fn->params[i].role != ROLE_input) continue;
        for (uint32_t k = 0; k < t->naxes; k++) {
            const char *name = axis_name(m, t->axes[k].axis);
            bool batch = !strcmp(name, p->batch);
            if (batch)
                p->batch_size = t->axes[k].size;
            else
                p->rows = arena_strdup(s->a, name);
        }
    }
    return p->batch_size > 0;
}

/* ----------------------------------------------------------------- texts -- */

static void put_mesh(Buf *b, const char *name, int64_t size, bool *any)
{
    if (size == 1) return;
    buf_printf(b, "%s%s = %" PRId64, *any ? ", " : "    mesh ", name, size);
    *any = true;
}

/* Rows of a device that go through the stages together: the most of which there
 * are two for each stage. */
static int64_t microbatch(const Parts *p, const Mesh *x)
{
    int64_t rows = p->batch_size / x->dp, n = rows;
    while (n > 1 && (rows % n || p->accumulate * (rows / n) < 2 * x->pp))
        n--;
    return n;
}

static const char *plan_text(Search *s, const Mesh *x)
{
    const Parts *p = &s->parts;
    Buf b = {0};
    bool any = false;
    buf_printf(&b, "plan auto of %s {\n", p->train);
    put_mesh(&b, "pp", x->pp, &any);
    put_mesh(&b, "dp", x->dp, &any);
    put_mesh(&b, "cp", x->cp, &any);
    put_mesh(&b, "tp", x->tp, &any);
    buf_puts(&b, "\n");
    if (x->dp > 1) buf_printf(&b, "    shard %s over dp\n", p->batch);
    if (x->cp > 1) buf_printf(&b, "    shard %s over cp\n", p->rows);
    for (uint32_t i = 0; x->tp > 1 && i < p->nsplits; i++)
        buf_printf(&b, "%s%s", i ? ", " : "    shard ", p->splits[i]);
    if (x->tp > 1) buf_puts(&b, " over tp\n");
    if (x->residual)
        buf_printf(&b, "    shard %s over tp for residual\n", p->rows);
    if (x->sends)
        buf_printf(&b,
                   "    shard %s over dp bound 2 for param, grad, state, "
                   "update\n",
                   p->chosen);
    if (x->shards)
        buf_printf(&b, "    shard %s over dp for param, grad, state, update\n",
                   p->wide);
    if (x->pp > 1)
        buf_printf(
            &b, "    shard %s over pp schedule 1f1b microbatch %" PRId64 "\n",
            p->layers, microbatch(p, x));
    if (x->budget > 0)
        buf_printf(&b, "    remat repeat budget %.0f MiB\n",
                   floor(x->budget / (1 << 20)));
    buf_puts(&b, "}\n");
    const char *text = arena_strdup(s->a, b.at);
    buf_release(&b);
    return text;
}

/* ---------------------------------------------------------------- trials -- */

/* The request with one file more, which has the plan. */
static Request with_plan(Search *s, const char *path)
{
    Request r = *s->r;
    const char **inputs = NEW_ARRAY(s->a, const char *, r.ninputs + 1);
    memcpy(inputs, r.inputs, r.ninputs * sizeof *inputs);
    inputs[r.ninputs] = path;
    r.inputs = inputs;
    r.ninputs++;
    r.plan = "auto";
    return r;
}

static void try_plan(Search *s, const char *path, const Mesh *x)
{
    Candidate c = {.mesh = *x, .text = plan_text(s, x)};
    Request r = with_plan(s, path);
    Job j;
    TitanImage im;
    Prediction p;
    if (!write_file(path, c.text, strlen(c.text), false)) return;
    job_init(&j, &r, s->note);
    c.made = job_trial(&j, &im) && predict(&j.scratch, &im, "train", &p);
    if (c.made) {
        c.seconds = p.seconds;
        c.bytes = rank_needs(&im, &c.reserve);
    }
    job_release(&j);
    vec_push(s->a, &s->tried, c);
}

/* With each of the choices that a mesh leaves; in stages but the leanest. */
static void try_choices(Search *s, const char *path, Mesh x)
{
    const Parts *p = &s->parts;
    bool shards = x.dp > 1, residual = x.tp > 1 && p->rows;
    bool sends = x.dp > 1 && p->chosen;
    for (int k = 0; k < 8; k++) {
        x.shards = k & 1;
        x.residual = k >> 1 & 1;
        x.sends = k >> 2;
        if ((x.shards && !shards) || (x.residual && !residual) ||
            (x.sends && !sends))
            continue;
        bool leanest = x.shards == shards && x.residual == residual;
        if (x.pp == 1 || leanest) try_plan(s, path, &x);
    }
}

static void try_meshes(Search *s, const char *path, Module *m, Axis wide,
                       int64_t pp)
{
    const Parts *p = &s->parts;
    int64_t devices = s->devices / pp;
    for (int64_t tp = 1; tp <= devices && tp <= s->machine->host; tp++) {
        if (devices % tp) continue;
        Mesh x = {.pp = pp, .tp = tp, .dp = devices / tp, .cp = 1};
        while (p->batch_size % x.dp && x.dp > 1) {
            x.dp /= 2;
            x.cp *= 2;
        }
        if (x.dp * x.cp * tp != devices || (x.cp > 1 && !p->rows)) continue;
        find_splits(s, m, wide, tp);
        if (tp > 1 && p->nsplits == 0) continue;
        try_choices(s, path, x);
    }
}

static void try_stages(Search *s, const char *path, Module *m, Axis wide)
{
    const Parts *p = &s->parts;
    for (int64_t pp = 1; pp <= s->devices && pp <= MOST_STAGES; pp *= 2)
        if (s->devices % pp == 0 && (pp == 1 || pp <= p->nlayers))
            try_meshes(s, path, m, wide, pp);
}

/* The smallest that was made and has no budget yet, or NULL. */
static const Candidate *smallest(const Search *s)
{
    const Candidate *least = NULL;
    for (uint32_t i = 0; i < s->tried.n; i++) {
        const Candidate *c = &s->tried.at[i];
        bool again = c->mesh.budget > 0;
        for (uint32_t k = 0; k < s->tried.n && !again; k++) {
            const Mesh *x = &s->tried.at[k].mesh;
            again = x->budget > 0 && x->pp == c->mesh.pp && x->tp == c->mesh.tp;
        }
        if (c->made && !again && (!least || c->bytes < least->bytes)) least = c;
    }
    return least;
}

static void try_budgets(Search *s, const char *path, Module *m, Axis wide)
{
    const Candidate *c;
    for (int i = 0; i < BUDGETS && (c = smallest(s)); i++) {
        Mesh x = c->mesh;
        x.budget = s->room - (double)c->reserve;
        if (x.budget < 1 << 20) return;
        find_splits(s, m, wide, x.tp);
        try_plan(s, path, &x);
    }
}

static const Candidate *fastest(const Search *s)
{
    const Candidate *best = NULL;
    for (uint32_t i = 0; i < s->tried.n; i++) {
        const Candidate *c = &s->tried.at[i];
        if (!c->made || (double)c->bytes > s->room) continue;
        if (!best || c->seconds < best->seconds) best = c;
    }
    return best;
}

/* What was tried, for --stats. */
static void print_tried(const Search *s, const Candidate *best)
{
    for (uint32_t i = 0; i < s->tried.n; i++) {
        const Candidate *c = &s->tried.at[i];
        if (!c->made) continue;
        fprintf(stderr,
                "%s %9.2f ms %8.2f GiB of a rank, %.2f of them reserve\n",
                c == best ? "*" : " ", 1e3 * c->seconds,
                (double)c->bytes / (1 << 30), (double)c->reserve / (1 << 30));
        for (const char *t = strstr(c->text, "{\n") + 2; *t != '}';
             t = strchr(t, '\n') + 1)
            fprintf(stderr, "%.*s\n", (int)strcspn(t, "\n"), t);
    }
}

/* ---------------------------------------------------------------- search -- */

static bool none_fits(const Search *s)
{
    const Candidate *least = NULL;
    for (uint32_t i = 0; i < s->tried.n; i++) {
        const Candidate *c = &s->tried.at[i];
        if (c->made && (!least || c->bytes < least->bytes)) least = c;
    }
    if (!least)
        fprintf(stderr,
                "titanc: of %" PRIu32 " plans for %" PRId64
                " devices the model takes none (try one by hand: its message "
                "says why)\n",
                s->tried.n, s->devices);
    else
        fprintf(stderr,
                "titanc: no plan for %" PRId64
                " devices fits %.1f GiB; the smallest takes %.1f GiB of a rank "
                "(more devices, a smaller batch, or a plan with 'remat')\n",
                s->devices, s->room / (1 << 30),
                (double)least->bytes / (1 << 30));
    return false;
}

/* The parts of the model without any plan. */
static bool read_model(Search *s, Job *j, Axis *wide)
{
    if (!job_lower(j)) return false;
    if (find_inputs(s, &j->m) && widest(&j->m, wide)) {
        const char *n = option_get(&j->m, "accumulate").id
                            ? str_of(&j->m, option_get(&j->m, "accumulate"))
                            : "1";
        s->parts.accumulate = strtoll(n, NULL, 10);
        s->parts.wide = arena_strdup(s->a, axis_name(&j->m, *wide));
        find_chosen(s, &j->m);
        find_layers(s, &j->m);
        return true;
    }
    fprintf(stderr, "titanc: --plan auto is for a model with a train block, "
                    "parameters and a batch\n");
    return false;
}

static bool can_search(Search *s)
{
    s->devices = option_number(s->r->o, OPT_devices, 0);
    if (s->devices < 1) {
        fprintf(stderr, "titanc: --plan auto needs --devices N\n");
        return false;
    }
    s->machine = machine_of_target(target_in_image(s->r->codegen.target));
    if (s->machine) {
        s->room = s->r->memory_limit >= 0 ? (double)s->r->memory_limit
                                          : s->machine->room;
        return true;
    }
    fprintf(stderr,
            "titanc: --plan auto compares predicted steps, and there are no "
            "figures of a machine for target %s (give --target)\n",
            target_name(s->r->codegen.target));
    return false;
}

/* The plan goes where --write-plan says; else it stays where the tries were. */
static bool take(Search *s, const Candidate *c)
{
    const char *path = option_text(s->r->o, OPT_write_plan);
    if (!path) path = s->r->plan_file;
    if (write_file(path, c->text, strlen(c->text), false)) {
        *s->r = with_plan(s, path);
        return true;
    }
    fprintf(stderr, "titanc: could not write \"%s\": %s\n", path,
            strerror(errno));
    return false;
}

static bool search(Search *s, Job *j)
{
    Axis wide = {0};
    if (!read_model(s, j, &wide)) return false;
    try_stages(s, s->r->plan_file, &j->m, wide);
    if (!fastest(s)) try_budgets(s, s->r->plan_file, &j->m, wide);
    const Candidate *best = fastest(s);
    if (!best) return none_fits(s);
    if (s->r->stats) print_tried(s, best);
    return take(s, best);
}

void plan_forget(const Request *r)
{
    if (*r->plan_file) unlink(r->plan_file);
}

bool plan_search(Request *r, Arena *a, GuardNote *note)
{
    Search s = {.r = r, .a = a, .note = note};
    if (!can_search(&s)) return false;
    strcpy(r->plan_file, "/tmp/titan-plan-XXXXXX.tt");
    int fd = mkstemps(r->plan_file, 3);
    if (fd < 0 || close(fd) != 0) {
        fprintf(stderr, "titanc: could not make \"%s\": %s\n", r->plan_file,
                strerror(errno));
        return false;
    }
    /* The model may have plans, so one is said: it has no rules. */
    const char *bare = arena_printf(
        a, "plan auto {\n    mesh dp = %" PRId64 "\n}\n", s.devices);
    if (!write_file(r->plan_file, bare, strlen(bare), false)) return false;
    Request whole = with_plan(&s, r->plan_file);
    Job j;
    job_init(&j, &whole, note);
    bool ok = search(&s, &j);
    /* That it splits nothing is no news; warnings of the program come with the
     * plan that is found. */
    if (j.diag.nerrors) show_reports(&j.diag, r->o);
    job_release(&j);
    return ok;
}
