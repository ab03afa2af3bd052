/*
 * mesh.c: a random program on a random mesh.
 *
 * The passes up to `shard` run on it as on any program.  Then up to three mesh
 * axes of two or four devices are declared and a plan is drawn: for most of
 * them a rule that splits an axis of the program, everywhere or for some roles,
 * often one that its mesh axis does not divide.
 * One device's program, on all devices together, computes what the whole one
 * does, after each pass from `shard` on.
 */
#include "smith.h"

#include <string.h>

enum { MOST_MESH = 3 };

typedef struct Plan {
    Module *m;
    World w; /* for its random numbers */
    Buf rules;
    int64_t parts[64]; /* by axis: what it is cut into so far */
    bool zigzag[64];   /* by axis: head and tail */
} Plan;

/* Every port of the entry that has the axis can be cut that often: in parts of
 * one size, or so that each has something. */
static bool divides(const Plan *p, const Fn *fn, Axis a, int64_t parts,
                    bool even)
{
    bool any = false;
    for (uint32_t i = 0; i < fn->nparams + fn->nresults; i++) {
        Type t = i < fn->nparams ? fn->params[i].type
                                 : fn->results[i - fn->nparams].type;
        int64_t size = type_size(p->m, t, a);
        if (size % parts && even) return false;
        int64_t part = (size + parts - 1) / parts;
        if (size && (parts - 1) * part >= size) return false;
        any |= size > 0;
    }
    return any;
}

/* Head and tail are two parts on each device, all of one size. */
static bool pick_axis(Plan *p, const Fn *fn, int64_t devices, bool zigzag,
                      Axis *out)
{
    uint32_t n = p->m->axes.n < 64 ? p->m->axes.n : 64;
    for (int tries = 0; tries < 16; tries++) {
        Axis a = {draw_below(&p->w, n)};
        bool even = zigzag || p->zigzag[a.id];
        if (!divides(p, fn, a, p->parts[a.id] * devices, even)) continue;
        p->zigzag[a.id] |= zigzag;
        p->parts[a.id] *= devices;
        *out = a;
        return true;
    }
    return false;
}

static void draw_rule(Plan *p, const Fn *fn, MeshAxis mesh)
{
    static const char *const roles[] = {"",
                                        "",
                                        "",
                                        " for param, state",
                                        " for param",
                                        " for grad",
                                        " for activation",
                                        " for residual"};
    Axis a;
    bool zigzag = draw_chance(&p->w, 25);
    int64_t parts = p->m->mesh.at[mesh.id].size * (zigzag ? 2 : 1);
    if (!pick_axis(p, fn, parts, zigzag, &a)) return;
    buf_printf(&p->rules, "%s%s over %s%s%s", p->rules.n ? "; " : "",
               axis_name(p->m, a), mesh_name(p->m, mesh),
               zigzag ? " order zigzag" : "",
               roles[draw_below(&p->w, sizeof roles / sizeof *roles)]);
}

/* Of so many devices, 0: as many as come.  How many mesh axes there are. */
static uint32_t draw_axes(Plan *p, int64_t devices)
{
    static const char *const names[] = {"x", "y", "z"};
    uint32_t n = devices ? MOST_MESH : 1 + draw_below(&p->w, MOST_MESH);
    for (uint32_t i = 0; i < n; i++) {
        int64_t size = n < 3 && draw_chance(&p->w, 20) ? 4 : 2;
        if (devices) {
            size = devices % 4 == 0 && draw_chance(&p->w, 50) ? 4 : 2;
            if (i == MOST_MESH - 1 || devices % size) size = devices;
            devices /= size;
        }
        mesh_of(p->m, module_str(p->m, names[i]), size);
        if (devices == 1) return i + 1;
    }
    return n;
}

void mesh_draw(Module *m, const Fn *fn, uint64_t seed, int64_t devices)
{
    static const char *const chunks[] = {"2", "4", "own", "own 2"};
    Plan p = {.m = m, .w = {.m = m, .random = seed * 77 + 5}};
    for (uint32_t i = 0; i < 64; i++)
        p.parts[i] = 1;
    uint32_t n = draw_axes(&p, devices);
    for (uint32_t i = 0; i < n; i++)
        if (draw_chance(&p.w, 85) || devices) draw_rule(&p, fn, (MeshAxis){i});
    if (p.rules.n) option_set(m, "shard", p.rules.at);
    option_set(m, "chunks", chunks[draw_below(&p.w, 4)]);
    buf_release(&p.rules);
}

/* The meaning is compared when the text changed. */
static bool same_after(Unit *u, const char *pass, uint32_t step, uint64_t seed,
                       Tally *t, Buf *why)
{
    Buf before = {0}, after = {0};
    Unit old;
    module_print(&u->m, NULL, &before);
    bool ok = pipeline_run(&u->m, pass, &(PipelineOpts){0});
    if (!ok) {
        unit_failed(u, why, "pass %s fails", pass);
        buf_release(&before);
        return false;
    }
    module_print(&u->m, NULL, &after);
    bool same = strcmp(before.at, after.at) == 0;
    buf_release(&after);
    if (same) {
        buf_release(&before);
        return true;
    }
    t->checked[step]++;
    ok = unit_read(&old, before.at, before.n) &&
         meaning_same(&old.m, &u->m, pass_find(pass)->contract, seed);
    if (!ok) unit_failed(u, why, "pass %s changes results", pass);
    if (!ok) buf_printf(why, "of\n%s", before.at);
    unit_release(&old);
    buf_release(&before);
    return ok;
}

bool check_mesh(const char *text, size_t n, uint64_t seed, Tally *t, Buf *why)
{
    Unit u;
    char name[32];
    bool ok = unit_read(&u, text, n), apart = false;
    for (uint32_t i = 0; ok && check_step(i, name); i++) {
        bool shard = !strcmp(name, "shard");
        if (shard) mesh_draw(&u.m, unit_entry(&u), seed, 0);
        if (shard) spread_launches(&u.m, seed);
        if (shard) pad_lines(&u.m, seed);
        apart |= shard;
        if (apart)
            ok = same_after(&u, name, i, seed, t, why);
        else if (!pipeline_run(&u.m, name, &(PipelineOpts){0}))
            ok = unit_failed(&u, why, "pass %s fails", name);
    }
    unit_release(&u);
    return ok;
}
