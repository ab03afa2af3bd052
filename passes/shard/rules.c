/*
 * rules.c: the rules of a plan, as the option `shard` has them.
 *
 *     kv, ff over tp; seq over tp for residual; (kv rep) over tp0, tp1
 *     embed over dp for param, grad, state in attention
 *     seq over cp order zigzag
 *     row over dp of generate
 *     expert over ep bound 2 for param, grad, state
 *     embed over dp each microbatch for param, grad, state
 *
 * They apply in order: in each tensor a mesh axis goes to the first axis that
 * asks for it.  Of a product an axis gets what divides it, the next the rest; a
 * tensor without some of its axes has of the others the parts that it would
 * have with all of them, so it lies as those lie that it meets.
 * Where a mesh axis does not divide what is left of an axis, the last devices
 * have less than the others: some of it, or, of what a rule names by a role
 * that is kept, perhaps nothing.  Head and tail divide.
 * Rules with a path are for parameters and states; what is computed follows.
 * Rules of entries are for what these compute.
 *
 * Where a rule spreads an axis head and tail, so does every other axis that a
 * `rename` makes of it, in all tensors: a mesh axis splits an axis in one way.
 * So it is with parts that are not even: what no rule splits has none.
 */
#include <stdlib.h>

#include "../reach.h"
#include "shard.h"

typedef struct Text {
    Shard *s;
    const char *option; /* whose text it is */
    const char *at;
    char word[128];
    bool failed;
} Text;

static bool fail(Text *t, const char *what)
{
    if (!t->failed)
        diag_error(t->s->m->diag, DIAG_pass_option, (Span){0},
                   "expected %s in option '%s', found '%s'", what, t->option,
                   t->word);
    t->failed = true;
    return false;
}

/* The next word, or one of , ; ( ) alone; empty at the end. */
static const char *next(Text *t)
{
    while (*t->at == ' ')
        t->at++;
    size_t n = strcspn(t->at, " ,;()");
    if (n == 0 && *t->at) n = 1;
    if (n >= sizeof t->word) n = sizeof t->word - 1;
    memcpy(t->word, t->at, n);
    t->word[n] = 0;
    t->at += n;
    return t->word;
}

static bool is(const Text *t, const char *word)
{
    return strcmp(t->word, word) == 0;
}

static bool add_axis(Text *t, ShardRule *r)
{
    Axis a;
    if (!axis_find(t->s->m, module_str(t->s->m, t->word), &a))
        return fail(t, "an axis");
    vec_push(t->s->a, &r->axes, a);
    return true;
}

static bool add_mesh(Text *t, ShardRule *r)
{
    MeshAxis a;
    if (!mesh_find(t->s->m, module_str(t->s->m, t->word), &a))
        return fail(t, "a mesh axis");
    vec_push(t->s->a, &r->mesh, a);
    return true;
}

static bool add_role(Text *t, ShardRule *r)
{
    static const struct {
        const char *word;
        unsigned role;
    } roles[] = {{"param", FOR_param},       {"grad", FOR_grad},
                 {"state", FOR_state},       {"update", FOR_update},
                 {"residual", FOR_residual}, {"activation", FOR_activation}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        if (!is(t, roles[i].word)) continue;
        r->roles |= roles[i].role;
        return true;
    }
    return fail(t, "a role");
}

static bool add_path(Text *t, ShardRule *r)
{
    vec_push(t->s->a, &r->paths, arena_strdup(t->s->a, t->word));
    return *t->word || fail(t, "a path");
}

static bool add_entry(Text *t, ShardRule *r)
{
    vec_push(t->s->a, &r->entries, arena_strdup(t->s->a, t->word));
    return *t->word || fail(t, "an entry");
}

/* One word after another, with commas between; the word behind them is read. */
static bool words(Text *t, ShardRule *r, bool (*add)(Text *, ShardRule *))
{
    do {
        next(t);
        if (!add(t, r)) return false;
        next(t);
    } while (is(t, ","));
    return true;
}

static bool subject(Text *t, ShardRule *r)
{
    do {
        bool product = *next(t) == '(';
        Product p = {.first = r->axes.n};
        if (product) next(t);
        do {
            if (!add_axis(t, r)) return false;
            next(t);
        } while (product && !is(t, ")") && *t->word);
        if (product && !is(t, ")")) return fail(t, "')'");
        if (product) next(t);
        p.n = r->axes.n - p.first;
        vec_push(t->s->a, &r->products, p);
    } while (is(t, ","));
    return true;
}

static bool rule(Text *t)
{
    ShardRule r = {.roles = 0};
    if (!subject(t, &r)) return false;
    if (!is(t, "over")) return fail(t, "'over'");
    if (!words(t, &r, add_mesh)) return false;
    if (is(t, "order")) {
        r.zig = strcmp(next(t), "zigzag") == 0;
        if (!r.zig) return fail(t, "'zigzag'");
        next(t);
    }
    if (is(t, "bound")) {
        r.bound = strtod(next(t), NULL);
        if (!(r.bound > 0)) return fail(t, "a positive number");
        next(t);
    }
    if (is(t, "each")) {
        r.each = strcmp(next(t), "step") == 0 ? EACH_step : EACH_microbatch;
        if (r.each == EACH_microbatch && !is(t, "microbatch"))
            return fail(t, "'step' or 'microbatch'");
        next(t);
    }
    if (is(t, "for") && !words(t, &r, add_role)) return false;
    if (is(t, "in") && !words(t, &r, add_path)) return false;
    if (is(t, "of") && !words(t, &r, add_entry)) return false;
    if (!r.roles) r.roles = FOR_all;
    vec_push(t->s->a, &t->s->rules.at, r);
    return !*t->word || is(t, ";") || fail(t, "';'");
}

static bool in_order(const Shard *s, MeshAxis m)
{
    for (uint32_t i = 0; i < s->order.n; i++)
        if (s->order.at[i].id == m.id) return true;
    return false;
}

static void add_order(Shard *s, MeshAxis m)
{
    if (mesh_length(s, m) > 1 && !in_order(s, m)) vec_push(s->a, &s->order, m);
}

static size_t pair_at(const Shard *s, MeshAxis m, Axis a)
{
    return (size_t)m.id * s->m->axes.n + a.id;
}

static bool same_over_all(const Shard *s, bool *of, Axis a, Axis b)
{
    bool changed = false;
    for (uint32_t i = 0; i < s->m->mesh.n; i++) {
        bool *x = &of[pair_at(s, (MeshAxis){i}, a)];
        bool *y = &of[pair_at(s, (MeshAxis){i}, b)];
        changed |= *x != *y;
        *x = *y = *x || *y;
    }
    return changed;
}

static bool follow_names(const Shard *s, bool *of, const Fn *fn)
{
    bool changed = false;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op != OP_rename) continue;
        const AttrItem *from = attr_get(s->m, in->attr, AT_from);
        const AttrItem *to = attr_get(s->m, in->attr, AT_to);
        for (uint32_t k = 0; k < from->n; k++)
            changed |= same_over_all(s, of, from->axes[k], to->axes[k]);
    }
    return changed;
}

/* The pairs of a mesh axis and an axis that rules name, head and tail alone or
 * all, and those that come of them by names. */
static bool *pairs(const Shard *s, bool zig)
{
    const Module *m = s->m;
    bool *of = NEW_ARRAY(s->a, bool, (size_t)m->mesh.n * m->axes.n + 1);
    for (uint32_t i = 0; i < s->rules.at.n; i++) {
        const ShardRule *r = &s->rules.at.at[i];
        for (uint32_t k = 0; (r->zig || !zig) && k < r->mesh.n; k++)
            for (uint32_t a = 0; a < r->axes.n; a++)
                of[pair_at(s, r->mesh.at[k], r->axes.at[a])] = true;
    }
    for (bool again = true; again;) {
        again = false;
        for (uint32_t i = 0; i < m->fns.n; i++)
            again |= follow_names(s, of, m->fns.at[i]);
    }
    return of;
}

/* Of the stages of a pipeline both, where no rule says what their turns keep
 * gathered. */
static bool usually_held(Shard *s, const char **roles)
{
    Module *m = s->m;
    RematRules remat;
    bool stages =
        *pass_option(m, s->cx, "pipeline", "") || option_get(m, "rank-axis").id;
    if (!remat_read(m, pass_option(m, s->cx, "remat", ""), &remat))
        return false;
    *roles = !stages                       ? "none"
             : remat_says_gathered(&remat) ? "grad"
                                           : "param grad";
    return true;
}

/* The roles that the option `hold` says: param, grad, both, or none. */
static bool held_roles(Shard *s, unsigned *out)
{
    const char *usual;
    *out = 0;
    if (!usually_held(s, &usual)) return false;
    Text t = {.s = s, .option = "hold"};
    t.at = pass_option(s->m, s->cx, "hold", usual);
    while (*next(&t)) {
        if (is(&t, "param"))
            *out |= FOR_param;
        else if (is(&t, "grad"))
            *out |= FOR_grad;
        else if (!is(&t, "none"))
            return fail(&t, "'param', 'grad' or 'none'");
    }
    return true;
}

bool shard_rules_read(Shard *s, const char *text)
{
    Text t = {.s = s, .option = "shard", .at = text};
    if (!held_roles(s, &s->rules.held)) return false;
    while (*t.at)
        if (!rule(&t)) return false;
    for (uint32_t i = 0; i < s->rules.at.n; i++)
        for (uint32_t k = 0; k < s->rules.at.at[i].mesh.n; k++)
            add_order(s, s->rules.at.at[i].mesh.at[k]);
    for (uint32_t i = 0; i < s->m->mesh.n; i++)
        add_order(s, (MeshAxis){i});
    s->zig = pairs(s, true);
    s->named = pairs(s, false);
    return true;
}

/* ------------------------------------------------------------- applying -- */

/* The words of the path stand in a row somewhere in the slot's path, at whose
 * end a stage's part has its layers: wq[0..2]. */
static bool path_is_in(const char *words, const char *path)
{
    size_t n = strlen(words);
    for (const char *p = path; (p = strstr(p, words)); p++)
        if ((p == path || p[-1] == '.') &&
            (!p[n] || p[n] == '.' || p[n] == '['))
            return true;
    return false;
}

/* A group is all of its entries. */
static bool is_of(const ShardRule *r, const char *entry)
{
    bool is = r->entries.n == 0;
    for (uint32_t i = 0; entry && i < r->entries.n; i++) {
        size_t n = strlen(r->entries.at[i]);
        is |= strncmp(r->entries.at[i], entry, n) == 0 &&
              (!entry[n] || entry[n] == '.');
    }
    return is;
}

/* The rule says where what is kept lies, and that is whole over the
 * microbatches of a step. */
static bool holds(const Shard *s, const ShardRule *r, unsigned role)
{
    if ((r->roles & ~(unsigned)FOR_kept) || !(r->roles & role) || r->bound > 0)
        return false;
    return r->each == EACH_step ||
           (r->each == EACH_usual && (s->rules.held & role));
}

static bool applies(const Shard *s, const ShardRule *r, const Ruled *t)
{
    const char *path = t->path;
    unsigned roles = r->roles;
    if (holds(s, r, FOR_grad)) roles &= ~(unsigned)FOR_grad;
    if (!(roles & t->roles) || !is_of(r, t->entry)) return false;
    for (uint32_t i = 0; i < r->paths.n; i++)
        if (*path && path_is_in(r->paths.at[i], path)) return true;
    return r->paths.n == 0;
}

/* What the mesh axes that have an axis already leave of it. */
static AxisShare share_left(const Shard *s, const Where *out, const TypeAxis *a)
{
    AxisShare x = {a->size, a->size};
    for (uint32_t i = 0; i < s->order.n; i++)
        if (out[s->order.at[i].id] == where_axis(a->axis))
            x = axis_share_cut(x, mesh_length(s, s->order.at[i]));
    return x;
}

/* One of the splits of an axis, M among them, is head and tail. */
static bool is_zig_with(const Shard *s, const Where *out, MeshAxis m, Axis a)
{
    bool zig = is_zig(s, m, a);
    for (uint32_t i = 0; i < s->m->mesh.n; i++)
        zig |= out[i] == where_axis(a) && is_zig(s, (MeshAxis){i}, a);
    return zig;
}

/* Whether a product had a say about a mesh axis: others of its rule then have
 * none. */
typedef enum Asked { ASKED_none, ASKED_settled, ASKED_refused } Asked;

/* LEFT: what the mesh axes before it leave of the axis. */
static Asked refuse(Shard *s, MeshAxis m, const TypeAxis *a, AxisShare left,
                    bool zig)
{
    const char *of = "";
    int64_t size = mesh_length(s, m);
    if (left.first != a->size)
        of = arena_printf(s->a, ", of which other mesh axes leave %lld",
                          (long long)left.first);
    Report *r =
        diag_error(s->m->diag, DIAG_not_divisible, (Span){0},
                   "mesh axis '%s' (%lld) does not divide axis '%s' (%lld%s)",
                   mesh_name(s->m, m), (long long)size,
                   axis_name(s->m, a->axis), (long long)a->size, of);
    if (zig)
        report_note(r, (Span){0}, "head and tail are two parts on each device");
    else
        report_note(r, (Span){0},
                    "parts of %lld would leave nothing for the last device",
                    (long long)axis_share_cut(left, mesh_length(s, m)).first);
    return ASKED_refused;
}

/* The rule may cut what is left of an axis for this tensor. */
static bool may_cut(const Shard *s, const ShardRule *r, const Ruled *t,
                    AxisShare left, MeshAxis m)
{
    bool kept = !(r->roles & ~(unsigned)FOR_kept) && (t->roles & FOR_kept);
    return kept || axis_share_cut(left, mesh_length(s, m)).last > 0;
}

/* Whether the tensor has the axis, and as much of it as it has. */
static bool axis_of_tensor(const Shard *s, const Ruled *t, Axis a,
                           TypeAxis *out)
{
    const TypeAxis *own = type_axis(s->m, t->type, a);
    *out = own ? *own : (TypeAxis){.axis = a};
    int64_t known = s->m->axes.at[a.id].size;
    for (const Besides *b = t->besides; b && !out->size; b = b->next)
        for (uint32_t i = 0; i < b->n; i++)
            if (b->at[i].id == a.id) out->size = known > 0 ? known : 1;
    return out->size > 0;
}

static uint32_t axes_had(const Shard *s, const Ruled *t, const Axis *at,
                         uint32_t n)
{
    TypeAxis a;
    uint32_t had = 0;
    for (uint32_t i = 0; i < n; i++)
        had += axis_of_tensor(s, t, at[i], &a);
    return had;
}

static bool place_by(Shard *s, const Ruled *t, const ShardRule *last,
                     Where *out);

/* Where the mesh axis would be if the tensor had all axes of the product;
 * WHERE_none: at none of them. */
static Where home(Shard *s, const ShardRule *r, const Product *p,
                  const Ruled *t, MeshAxis m)
{
    Besides all = {r->axes.at + p->first, p->n, t->besides};
    Ruled whole = *t;
    whole.strict = false;
    whole.besides = &all;
    Where *out = NEW_ARRAY(s->a, Where, s->m->mesh.n);
    place_by(s, &whole, r, out);
    for (uint32_t i = 0; i < p->n; i++)
        if (out[m.id] == where_axis(all.at[i])) return out[m.id];
    return WHERE_none;
}

/* The first axis of the product that it divides, or the last, gets the mesh
 * axis; of those that the tensor has not all, the one that is its home. */
static Asked place_in(Shard *s, const ShardRule *r, const Product *p,
                      const Ruled *t, MeshAxis m, Where *out)
{
    const Axis *axes = r->axes.at + p->first;
    uint32_t had = axes_had(s, t, axes, p->n);
    bool some = had > 0 && had < p->n;
    Where at = some ? home(s, r, p, t, m) : WHERE_none;
    for (uint32_t i = 0; i < p->n; i++) {
        TypeAxis a;
        bool only = at == where_axis(axes[i]);
        if (!axis_of_tensor(s, t, axes[i], &a) || (at != WHERE_none && !only))
            continue;
        AxisShare left = share_left(s, out, &a);
        bool zig = is_zig_with(s, out, m, a.axis);
        int64_t need = mesh_length(s, m) * (zig ? 2 : 1);
        bool divides = left.first == left.last && left.first % need == 0;
        if (!divides && !only && i + 1 < p->n) continue;
        if (!divides && (zig || !may_cut(s, r, t, left, m)))
            return t->strict ? refuse(s, m, &a, left, zig) : ASKED_settled;
        out[m.id] = where_axis(a.axis);
        return ASKED_settled;
    }
    return ASKED_none;
}

/* The first product of the rule that asks for the mesh axis; false: an error
 * was reported. */
static bool place_one(Shard *s, const ShardRule *r, const Ruled *t, MeshAxis m,
                      Where *out)
{
    Asked asked = ASKED_none;
    for (uint32_t i = 0; i < r->products.n && asked == ASKED_none; i++)
        asked = place_in(s, r, &r->products.at[i], t, m, out);
    return asked != ASKED_refused;
}

/* By the rules up to LAST; NULL: by all. */
static bool place_by(Shard *s, const Ruled *t, const ShardRule *last,
                     Where *out)
{
    for (uint32_t i = 0; i < s->m->mesh.n; i++)
        out[i] = WHERE_none;
    for (uint32_t i = 0; i < s->rules.at.n; i++) {
        const ShardRule *r = &s->rules.at.at[i];
        for (uint32_t k = 0; applies(s, r, t) && k < r->mesh.n; k++) {
            MeshAxis m = r->mesh.at[k];
            if (out[m.id] != WHERE_none || mesh_length(s, m) == 1) continue;
            if (!place_one(s, r, t, m, out)) return false;
        }
        if (r == last) break;
    }
    return true;
}

bool rules_place(Shard *s, const Ruled *t, Where *out)
{
    return place_by(s, t, NULL, out);
}

uint64_t rules_hold(const Shard *s, const Ruled *t)
{
    uint64_t over = 0;
    for (uint32_t i = 0; i < s->rules.at.n; i++) {
        const ShardRule *r = &s->rules.at.at[i];
        if (!holds(s, r, FOR_param) || !applies(s, r, t)) continue;
        for (uint32_t k = 0; k < r->mesh.n; k++)
            over |= UINT64_C(1) << r->mesh.at[k].id;
    }
    return over;
}

bool rule_leaves_open(const Shard *s, const ShardRule *r)
{
    return r->each == EACH_usual && holds(s, r, s->rules.held);
}

const char *rules_held(const Shard *s)
{
    bool param = false, grad = false;
    for (uint32_t i = 0; i < s->rules.at.n; i++) {
        const ShardRule *r = &s->rules.at.at[i];
        bool splits = false;
        for (uint32_t k = 0; k < r->mesh.n; k++)
            splits |= mesh_length(s, r->mesh.at[k]) > 1;
        param |= splits && holds(s, r, FOR_param);
        grad |= splits && holds(s, r, FOR_grad);
    }
    return param && grad ? "parameters, gradients"
           : param       ? "parameters"
           : grad        ? "gradients"
                         : "";
}
