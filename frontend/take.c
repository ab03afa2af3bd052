/*
 * take.c: which mesh axes of a tensor go to which of its axes.
 *
 * A mesh axis goes to the first axis that asks for it, in the order of the
 * rules.  Of a product an axis gets what divides it, the next the rest, and in
 * a tensor without some of its axes the others get what they get where it has
 * all.  A mesh axis that does not divide what it gets leaves the last devices
 * less than the others: an error where that were nothing, unless the rule is
 * for what is kept alone (parameters, gradients, states, updates), and of a
 * batch, of which devices have whole rows of one number.
 */
#include "plan.h"

#include "train.h"

/* A mesh axis that the shard wanted and another one had taken. */
static void note_loss(Shard *x, const Shard *winner, Axis to, MeshAxis m,
                      const char *tensor)
{
    x->beaten_by = x->beaten_by ? x->beaten_by : winner;
    if (x->beaten_by != winner) return;
    x->beaten_axis = to;
    x->beaten_mesh = m;
    for (uint32_t i = 0; i < x->nbeaten && i < 4; i++)
        if (strcmp(x->beaten_in[i], tensor) == 0) return;
    if (x->nbeaten < 4) x->beaten_in[x->nbeaten] = tensor;
    x->nbeaten++;
}

/* The size of an axis, what the mesh axes before leave of it, and how many
 * parts of that a device has. */
typedef struct Left {
    int64_t size;
    AxisShare of;
    int64_t each;
    int64_t others; /* in how many parts those have it */
} Left;

/* How much of an axis the tensor has; 0: no such axis. */
static int64_t size_of(const Plan *p, const Splittee *t, Axis a)
{
    int64_t size = type_size(p->s->m, t->type, a);
    int64_t known = p->s->m->axes.at[a.id].size;
    for (const Besides *b = t->besides; b && !size; b = b->next)
        for (uint32_t i = 0; i < b->n; i++)
            if (b->at[i].id == a.id) size = known > 0 ? known : 1;
    return size;
}

/* Behind what other mesh axes have taken, but for factors of EXCEPT. */
static Left left_of(const Plan *p, const Shard *x, Axis a, const Splittee *t,
                    const Taken *taken, const MeshPart *except)
{
    int64_t size = size_of(p, t, a);
    Left left = {size, {size, size}, x->zigzag ? 2 : 1, 1};
    for (uint32_t i = 0; i < taken->n; i++) {
        const TakenRow *row = &taken->at[i];
        if (row->axis.id != a.id) continue;
        if (except && mesh_part(p, row->mesh) == except) continue;
        int64_t parts = p->s->m->mesh.at[row->mesh.id].size;
        left.of = axis_share_cut(left.of, parts);
        left.others = times(left.others, parts);
        if (row->by->zigzag) left.each = 2;
    }
    return left;
}

static bool is_batch(const Plan *p, Axis a)
{
    Str batch = option_get(p->s->m, "batch_axis");
    return batch.id && strcmp(STR(p->s, batch), axis_name(p->s->m, a)) == 0;
}

/* Devices may have parts of different sizes. */
static bool may_be_uneven(const Plan *p, const Shard *x, Axis a, Left left,
                          int64_t parts)
{
    if (left.each > 1 || is_batch(p, a)) return false;
    return axis_share_cut(left.of, parts).last > 0 ||
           !(x->roles & ~(unsigned)ON_kept);
}

/* The axes of a product that the tensor has, as one. */
static Left product_of(Plan *p, const Shard *x, const Product *of,
                       const Splittee *t, const char **name)
{
    const char *text = "";
    int64_t size = 1;
    uint32_t n = 0;
    for (uint32_t i = of->first; i < of->first + of->n; i++) {
        if (!size_of(p, t, x->axes[i])) continue;
        size = times(size, size_of(p, t, x->axes[i]));
        text = arena_printf(p->s->a, "%s%s%s", text, n++ ? " " : "",
                            axis_name(p->s->m, x->axes[i]));
    }
    *name = n > 1 ? arena_printf(p->s->a, "(%s)", text) : text;
    return (Left){size, {size, size}, x->zigzag ? 2 : 1, 1};
}

static void note_sizes(Plan *p, Report *r, const Shard *x, const Product *of)
{
    for (uint32_t i = of->first; i < of->first + of->n; i++) {
        Sema *s = p->s;
        const char *name = axis_name(s->m, x->axes[i]);
        ConfigValue *c = config_find(s, s->main, module_str(s->m, name));
        if (c && c->overridden)
            report_note(r, (Span){0}, "'%s' is set by -D %s=%lld", name, name,
                        (long long)c->value.number);
        else if (c)
            report_note(r, c->at, "'%s' is set here", name);
    }
}

/* Those of a mesh: of large axes the others would take too long to find. */
static void help_divisors(Report *r, int64_t most)
{
    enum { MOST_DEVICES = 1 << 20 };
    Buf b = {0};
    int64_t last = most < MOST_DEVICES ? most : MOST_DEVICES;
    for (int64_t d = 1, n = 0; d <= last && n < 24; d++) {
        if (most % d) continue;
        buf_printf(&b, "%s%lld", n++ ? ", " : "", (long long)d);
    }
    report_help(r, "divisors of %lld: %s", (long long)most, b.at);
    buf_release(&b);
}

/* What the mesh axis could be; of an axis that leaves it nothing in zigzag
 * order, being odd, what that could be. */
static void help_repair(Report *r, const char *axis, Left left, int64_t parts)
{
    bool even = left.of.first == left.of.last && left.of.first % 2 == 0;
    if (left.each == 1 || even)
        help_divisors(r, left.of.first / left.each);
    else
        report_help(r, "make '%s' a multiple of %lld", axis,
                    (long long)times(times(left.each, parts), left.others));
}

/* The mesh axis, or what it is a factor of, does not divide the axis. */
static bool not_divisible(Plan *p, const Shard *x, uint32_t axis,
                          const Product *of, MeshAxis m, const Splittee *t,
                          const Taken *taken)
{
    Sema *s = p->s;
    const MeshPart *part = mesh_part(p, m);
    int64_t parts = part ? part->size : s->m->mesh.at[m.id].size;
    const char *name = axis_name(s->m, x->axes[axis]);
    bool product = of->n > 1;
    Left left = product ? product_of(p, x, of, t, &name)
                        : left_of(p, x, x->axes[axis], t, taken, part);
    const char *rest = "";
    if (left.of.first != left.size)
        rest = arena_printf(s->a, ", of which other mesh axes leave %lld",
                            (long long)left.of.first);
    Report *r = sema_error(
        s, DIAG_not_divisible, x->axis_at[axis],
        "mesh axis '%s' (%lld) does not divide axis '%s' (%lld%s)",
        mesh_plain(p, m), (long long)parts, name, (long long)left.size, rest);
    AxisShare share = axis_share_cut(left.of, parts);
    if (left.each == 1 && !is_batch(p, x->axes[axis]) && share.first > 1 &&
        share.last <= 0 && !product)
        report_note(r, (Span){0},
                    "a part is %lld, rounded up, so the last device would "
                    "have none",
                    (long long)share.first);
    if (left.each > 1)
        report_note(r, (Span){0},
                    "in zigzag order a device has two parts, one from either "
                    "end");
    note_sizes(p, r, x, of);
    help_repair(r, axis_name(s->m, x->axes[of->first + of->n - 1]), left,
                parts);
    return false;
}

static bool take_by(Plan *p, const Splittee *t, const Shard *last,
                    Taken *taken);

static uint32_t axes_had(const Plan *p, const Splittee *t, const Axis *at,
                         uint32_t n)
{
    uint32_t had = 0;
    for (uint32_t i = 0; i < n; i++)
        had += size_of(p, t, at[i]) > 0;
    return had;
}

static const TakenRow *row_of(const Taken *taken, MeshAxis m)
{
    for (uint32_t i = 0; i < taken->n; i++)
        if (taken->at[i].mesh.id == m.id) return &taken->at[i];
    return NULL;
}

/* Which axis of the product would have the mesh axis if the tensor had them
 * all; NO_AXIS: none of them. */
static Axis home(Plan *p, const Shard *x, const Product *of, const Splittee *t,
                 MeshAxis m)
{
    Besides all = {x->axes + of->first, of->n, t->besides};
    Splittee whole = *t;
    Taken taken = {.n = 0};
    whole.besides = &all;
    take_by(p, &whole, x, &taken);
    const TakenRow *row = row_of(&taken, m);
    for (uint32_t i = 0; row && i < of->n; i++)
        if (all.at[i].id == row->axis.id) return row->axis;
    return NO_AXIS;
}

static void note_elsewhere(Shard *x, const Splittee *t, const Product *of,
                           Axis home, MeshAxis m, const Plan *p)
{
    if (x->elsewhere.tensor || t->besides) return;
    x->elsewhere = (Elsewhere){.tensor = t->name, .mesh = m, .lacks = home};
    for (uint32_t i = of->n; i-- > 0;)
        if (size_of(p, t, x->axes[of->first + i]))
            x->elsewhere.has = x->axes[of->first + i];
}

/* An axis of a product gets a mesh axis, as passes/shard/rules.c has it;
 * ASKED: whether there is such an axis; false: an error. */
static bool try_product(Plan *p, Shard *x, const Splittee *t, const Product *of,
                        MeshAxis m, Taken *taken, bool *asked)
{
    const Axis *axes = x->axes + of->first;
    int64_t parts = p->s->m->mesh.at[m.id].size;
    uint32_t had = axes_had(p, t, axes, of->n);
    Axis at = had && had < of->n ? home(p, x, of, t, m) : NO_AXIS;
    bool homed = at.id != NO_AXIS.id;
    if (homed && !size_of(p, t, at)) note_elsewhere(x, t, of, at, m, p);
    for (uint32_t i = 0; i < of->n; i++) {
        Axis a = axes[i];
        if (!size_of(p, t, a) || (homed && at.id != a.id)) continue;
        Left left = left_of(p, x, a, t, taken, NULL);
        bool divides = left.of.first == left.of.last &&
                       left.of.first % times(left.each, parts) == 0;
        if (!divides && !homed && i + 1 < of->n) continue;
        *asked = true;
        if (!divides && !may_be_uneven(p, x, a, left, parts))
            return t->besides ||
                   not_divisible(p, x, of->first + i, of, m, t, taken);
        x->used |= !t->besides;
        if (taken->n < 32) taken->at[taken->n++] = (TakenRow){m, a, x};
        return true;
    }
    return true;
}

/* The rule wants a mesh axis that another one has given away. */
static void note_losses(const Plan *p, Shard *x, const Splittee *t,
                        const TakenRow *row)
{
    for (uint32_t i = 0; i < x->naxes && row->by != x && !t->besides; i++)
        if (size_of(p, t, x->axes[i]))
            note_loss(x, row->by, row->axis, row->mesh, t->name);
}

static bool try_rule(Plan *p, Shard *x, const Splittee *t, Taken *taken)
{
    for (uint32_t k = 0; k < x->natoms; k++) {
        const TakenRow *row = row_of(taken, x->atoms[k]);
        if (row) note_losses(p, x, t, row);
        bool asked = row != NULL;
        for (uint32_t i = 0; i < x->nproducts && !asked; i++)
            if (!try_product(p, x, t, &x->products[i], x->atoms[k], taken,
                             &asked))
                return false;
    }
    return true;
}

bool shard_applies(Plan *p, const Shard *x, const Splittee *t)
{
    if (!(x->roles & t->role) || x->pipeline) return false;
    if (!entry_applies(x, t->entry)) return false;
    if (!x->in) return true;
    if (!t->mem) return false; /* what is computed follows the parameters */
    for (uint32_t k = 0; k < x->in->terms.n; k++)
        if (path_matches(p->s, STR(p->s, x->in->terms.at[k]->name), t->mem))
            return true;
    return false;
}

/* By the rules up to LAST; NULL: by all. */
static bool take_by(Plan *p, const Splittee *t, const Shard *last, Taken *taken)
{
    for (uint32_t i = 0; i < p->shards.n; i++) {
        Shard *x = p->shards.at[i];
        if (shard_applies(p, x, t) && !try_rule(p, x, t, taken)) return false;
        if (x == last) break;
    }
    return true;
}

bool shard_take(Plan *p, const Splittee *t, Taken *taken)
{
    return take_by(p, t, NULL, taken);
}
