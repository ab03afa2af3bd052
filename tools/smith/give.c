/*
 * give.c: a program for a machine that has a GPU and no compiler, with what the
 * interpreter makes of it.
 *
 * The program goes through the whole pipeline to its step.  The interpreter
 * runs what the passes up to the last that changes formats made of it, whose
 * roundings are those of the code.  Sums in f32 bound a result as they do that
 * of compiled code of the host (near.c); narrow numbers that come out on the
 * other side of a rounding do by what moves when every value is off by the unit
 * of its own dtype, but never by more than that of bf16, since what is narrower
 * is rounded from exact values, or from those.  Results that move so far that
 * they would say nothing are left out, and counted.  A program of which every
 * kernel promises the host's bits is held to those.
 *
 * Of several devices the program that is interpreted is the whole, from before
 * it is shared out.  A mesh and a plan are drawn where it has none, and of some
 * seeds the layouts.  Of a step that may find no room for rows it is the one
 * that has room for all.
 *
 * Who makes products, how many streams there are, and in how many parts rows
 * are that several devices have, follows from the seed.
 */
#include "given.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../codegen/codegen.h"
#include "home.h"
#include "task.h"

/* Results that may move by more than this share of themselves say little. */
#define MOST_MOVED 0.125
/* What follows from the seed beside inputs. */
enum { MAKERS = 1 << 20, STREAMS, CHUNKS, LAYOUTS };
enum { MOST_OPS = 300000000 }; /* of a run of the interpreter */
enum { PARTS_OF_ROOM = 32 };   /* what is held is as near as this to it */
/* Of results of more elements so many are held as near as others, and more of
 * them roughly, to a share of the largest. */
enum { MANY = 1024, MORE = 8192, PARTS_OF_LARGEST = 128 };

typedef struct Gift {
    const GiveOpts *o;
    uint64_t seed;
    Unit asked, compiled;
    const Fn *fn;
    double unit;            /* of its sums */
    Tensor *args, *results; /* of the interpreter */
    double *moved;          /* by result */
    bool bits;              /* the results are the host's bits */
    Artifact artifact;
    TitanStory story;
    TitanImage image;
    Homes homes;
    Buf text;
    bool left; /* out: nothing is wrong, and nothing to be given */
    Tally *tally;
    Buf *why;
} Gift;

static bool complain(Gift *g, const Unit *u, const char *what)
{
    return unit_failed(u, g->why, "gpu: %s", what);
}

static bool leave(Gift *g, uint32_t *count)
{
    ++*count;
    g->left = true;
    return false;
}

static const Fn *entry_step(Module *m)
{
    FnRef ref;
    bool found = fn_find(m, module_str(m, "train.worst"), &ref) ||
                 fn_find(m, module_str(m, "train"), &ref);
    return found ? fn_of(m, ref) : NULL;
}

/* ------------------------------------------------------------- compiling -- */

static const char *maker(const Gift *g)
{
    static const char *const makers[] = {"tuned", "generated", "fused",
                                         "library"};
    return makers[given_bits(g->seed, MAKERS) % 4];
}

static void choose(Gift *g, Module *m)
{
    if (target_is_gpu(g->o->target)) {
        option_set(m, "target", target_name(g->o->target));
        option_set(m, "matmul", maker(g));
    }
    uint64_t streams = given_bits(g->seed, STREAMS);
    if (streams % 2) spread_launches(m, streams / 2);
}

/* In front of the first pass that shares a program out. */
static void share_out(Gift *g, Module *m, const char *pass)
{
    static const char *const parts[] = {"", "own", "own 2", "own 4"};
    const char *chunks = parts[given_bits(g->seed, CHUNKS) % 4];
    bool has = mesh_has_devices(m);
    if (g->o->devices <= 1 || !shares_out(pass)) return;
    if (!has)
        mesh_draw(m, entry_step(m), g->seed, g->o->devices);
    else if (*chunks && !*str_of(m, option_get(m, "chunks")))
        option_set(m, "chunks", chunks);
    if (given_bits(g->seed, LAYOUTS) % 4 >= (has ? 3 : 1))
        layouts_draw(m, g->seed);
}

/* Refused plans are left out. */
static bool run_passes(Gift *g, Unit *u, const char *last)
{
    char name[32];
    for (uint32_t i = 0; check_step(i, name); i++) {
        share_out(g, &u->m, name);
        if (pass_find(name) && !pipeline_run(&u->m, name, &(PipelineOpts){0})) {
            if (g->o->devices > 1 && plan_is_refused(&u->diag))
                return leave(g, &g->tally->refused);
            return complain(g, u, arena_printf(&u->arena, "pass %s", name));
        }
        if (last && !strcmp(name, last)) break;
    }
    return true;
}

static bool compile(Gift *g)
{
    Module *m = &g->compiled.m;
    bool gpu = target_is_gpu(g->o->target);
    CodegenOpts o = {
        .target = g->o->target, .level = gpu ? 2 : 1, .matmul = maker(g)};
    if (!run_passes(g, &g->compiled, NULL)) return false;
    if (!codegen_run(m, &o, WANT_image | (gpu ? WANT_ptx : WANT_object),
                     &g->artifact))
        return complain(g, &g->compiled, "code generation");
    TitanStatus st = titan_image_open(&g->story, g->artifact.image,
                                      g->artifact.image_size, &g->image);
    g->homes = (Homes){m, &g->image, titan_entry(&g->image, "train.worst")};
    if (!g->homes.entry) g->homes.entry = titan_entry(&g->image, "train");
    if (st || !g->homes.entry) return complain(g, &g->compiled, "no image");
    return true;
}

/* ---------------------------------------------------------- interpreting -- */

static GivenHow how_of(Role role)
{
    if (role == ROLE_param) return GIVEN_weight;
    return role == ROLE_state ? GIVEN_positive : GIVEN_plain;
}

static bool is_drawn(DType d)
{
    return dtype_class(d) == DC_float || d == DT_bool;
}

static uint64_t state_of(const Gift *g, uint32_t param)
{
    return given_bits(g->seed, param);
}

static void draw_args(Gift *g, Module *m)
{
    g->args = inputs_random(m, g->fn, g->seed, &g->asked.arena);
    for (uint32_t i = 0; i < g->fn->nparams; i++) {
        Tensor *t = &g->args[i];
        DType d = type_dtype(m, t->type);
        for (int64_t k = 0; is_drawn(d) && k < t->n; k++)
            t->at[k] =
                given_cell(state_of(g, i), k, how_of(g->fn->params[i].role), d);
    }
}

static bool gave_up(const Diag *d)
{
    ReportView v;
    const Report *r = diag_next(d, NULL, &v);
    return r && v.id == DIAG_interp_limit;
}

/* What the program gives, and how far that moves; one that takes too much is
 * left out. */
static bool interpret(Gift *g)
{
    Module *m = &g->asked.m;
    InterpOpts o = {.round = true, .once = true, .limit = MOST_OPS};
    g->unit = fmin(program_unit(m, unit_entry(&g->asked)), dtype_unit(DT_f32));
    if (!run_passes(g, &g->asked, "once")) return false;
    g->fn = entry_step(m);
    if (!g->fn) return complain(g, &g->asked, "no entry");
    draw_args(g, m);
    g->results = NEW_ARRAY(&g->asked.arena, Tensor, g->fn->nresults);
    g->moved = NEW_ARRAY(&g->asked.arena, double, g->fn->nresults);
    bool ok = interp_fn(m, g->fn, &o, g->args, g->results, &g->asked.arena);
    o.jitter = dtype_unit(DT_bf16);
    o.own = true;
    ok = ok && program_moved(m, g->fn, &o, g->args, g->results, g->moved);
    if (!ok && gave_up(&g->asked.diag)) return leave(g, &g->tally->skipped);
    return ok || complain(g, &g->asked, "it does not run");
}

/* --------------------------------------------------------------- writing -- */

static void print_place(Gift *g, const char *what, const Home *at, Type t)
{
    const TypeInfo *info = type_info(&g->asked.m, t);
    uint64_t piece = at->slot ? at->slot->piece : 0,
             pitch = at->slot ? at->slot->pitch : 0;
    buf_printf(&g->text, "%s %u %llu %u %llu %llu %u", what, at->base,
               (unsigned long long)at->offset, at->dtype,
               (unsigned long long)piece, (unsigned long long)pitch,
               info->naxes);
    for (uint32_t i = 0; i < info->naxes; i++)
        buf_printf(&g->text, "  %lld %lld", (long long)info->axes[i].size,
                   (long long)at->stride[i]);
}

/* Each EACH-th element; floats as multiples of STEP, so that no digit is
 * carried that nobody looks at; 0: they are as they are. */
static void print_cells(Gift *g, const Tensor *t, double step, int64_t each)
{
    bool floats = tensor_is_floats(&g->asked.m, t);
    for (int64_t k = 0; k < t->n; k += each)
        if (floats && step > 0)
            buf_printf(&g->text, " %.0f", nearbyint(t->at[k].f / step));
        else if (floats)
            buf_printf(&g->text, " %a", t->at[k].f);
        else
            buf_printf(&g->text, " %lld", (long long)t->at[k].i);
    buf_putc(&g->text, '\n');
}

/* What the entry does not read has no place. */
static void print_given(Gift *g, uint32_t i)
{
    Home at;
    const Port *p = &g->fn->params[i];
    const Tensor *t = &g->args[i];
    g->homes.m = &g->asked.m;
    if (!home_of(&g->homes, p, &at)) return;
    if (!is_drawn((DType)at.dtype)) {
        print_place(g, "hold", &at, p->type);
        print_cells(g, t, 0, 1);
        return;
    }
    print_place(g, "draw", &at, p->type);
    buf_printf(&g->text, " %d %llu\n", (int)how_of(p->role),
               (unsigned long long)state_of(g, i));
}

static bool is_sum(const TitanCollective *x)
{
    return (x->kind == TITAN_COLLECTIVE_all_reduce ||
            x->kind == TITAN_COLLECTIVE_reduce_scatter) &&
           x->reduce == TITAN_REDUCE_sum;
}

/* All that runs gives the host's bits. */
static bool is_exact(const Gift *g)
{
    for (uint32_t i = 0; i < g->image.ncommands; i++)
        if (g->image.commands[i].kind == TITAN_COMMAND_gemm) return false;
    for (uint32_t i = 0; i < g->image.ncollectives; i++)
        if (is_sum(&g->image.collectives[i])) return false;
    return g->artifact.exact && target_is_gpu(g->o->target) &&
           !mesh_has_devices(&g->asked.m);
}

/* False: the result moves too far to say something. */
static bool room_of(Gift *g, uint32_t i, double *room)
{
    const Tensor *t = &g->results[i];
    *room = GIVEN_BITS;
    if (g->bits) return true;
    double largest = tensor_largest(t);
    *room = 0;
    if (!tensor_is_floats(&g->asked.m, t)) return g->moved[i] == 0;
    *room = fmax(program_bound(&g->asked.m, g->unit) * largest,
                 MAGNIFIED * g->moved[i]);
    return isfinite(*room) && *room <= MOST_MOVED * largest;
}

/* MOST elements, or about as many. */
static void print_want(Gift *g, const Home *at, uint32_t i, double room,
                       int64_t most)
{
    int power;
    int64_t n = g->results[i].n, each = n > most ? n / most * 2 + 1 : 1;
    frexp(room / PARTS_OF_ROOM, &power);
    double step = room > 0 ? ldexp(1, power - 1) : 0;
    print_place(g, "want", at, g->fn->results[i].type);
    buf_printf(&g->text, " %a %a %lld", room + step, step, (long long)each);
    print_cells(g, &g->results[i], step, each);
}

static bool print_wanted(Gift *g, uint32_t i)
{
    Home at;
    const Port *p = &g->fn->results[i];
    const Tensor *t = &g->results[i];
    double room, rough = tensor_largest(t) / PARTS_OF_LARGEST;
    g->homes.m = &g->asked.m;
    if (!home_of(&g->homes, p, &at))
        return complain(g, &g->compiled, "the image lacks a result");
    if (!room_of(g, i, &room)) {
        g->tally->skipped++;
        return true;
    }
    bool many = t->n > MANY && !g->bits && room < rough &&
                tensor_is_floats(&g->asked.m, t);
    print_want(g, &at, i, room, many ? MANY : MORE);
    if (many) print_want(g, &at, i, rough, MORE);
    return true;
}

static const char *path_of(Gift *g, const char *suffix)
{
    return arena_printf(&g->asked.arena, "%s/%llu%s", g->o->folder,
                        (unsigned long long)g->seed, suffix);
}

static bool write_at(Gift *g, const char *suffix, const void *at, size_t n)
{
    const char *path = path_of(g, suffix);
    return write_file(path, at, n, false) ||
           unit_failed(&g->asked, g->why, "gpu: could not write %s: %s", path,
                       strerror(errno));
}

static bool write_shared(Gift *g)
{
    const Artifact *a = &g->artifact;
    bool ok = write_at(g, ".o", a->object, a->object_size) &&
              (link_shared(path_of(g, ".o"), path_of(g, ".so")) ||
               complain(g, &g->compiled, "the object does not link"));
    unlink(path_of(g, ".o"));
    return ok;
}

static bool write_step(Gift *g)
{
    if (!target_is_gpu(g->o->target)) return write_shared(g);
    Buf ptx = {0};
    CodegenOpts o = {.target = g->o->target, .level = 2, .matmul = maker(g)};
    ptx_container(&g->compiled.m, &o, &g->artifact, &ptx);
    bool ok = write_at(g, ".ptx", ptx.at, ptx.n);
    buf_release(&ptx);
    return ok;
}

static bool write_all(Gift *g)
{
    for (uint32_t i = 0; i < g->fn->nparams; i++)
        print_given(g, i);
    for (uint32_t i = 0; i < g->fn->nresults; i++)
        if (!print_wanted(g, i)) return false;
    if (!g->o->folder) return true;
    return write_step(g) && write_at(g, ".txt", g->text.at, g->text.n);
}

/* What stands for one device alone was seen there. */
static bool is_alone(const Gift *g)
{
    return g->o->devices > 1 && g->image.ncollectives == 0;
}

static bool make(Gift *g, const char *text, size_t n)
{
    bool ok = unit_read(&g->asked, text, n);
    ok &= unit_read(&g->compiled, text, n);
    if (!ok) return false;
    choose(g, &g->asked.m);
    choose(g, &g->compiled.m);
    if (!interpret(g) || !compile(g)) return false;
    if (is_alone(g)) return leave(g, &g->tally->alone);
    g->bits = is_exact(g);
    if (g->bits &&
        !host_results(&g->asked, g->fn, g->args, text, n, g->results, g->why))
        return false;
    if (!write_all(g)) return false;
    g->tally->exact += g->bits;
    return true;
}

bool give_program(const GiveOpts *o, const char *text, size_t n, uint64_t seed,
                  Tally *tally, Buf *why)
{
    Gift g = {.o = o, .seed = seed, .tally = tally, .why = why};
    bool ok = make(&g, text, n);
    tally->given += ok;
    unit_release(&g.asked);
    unit_release(&g.compiled);
    buf_release(&g.text);
    return ok || g.left;
}
