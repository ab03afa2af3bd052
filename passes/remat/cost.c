/*
 * cost.c: how long it takes to make a value again.
 *
 * A roofline of one H200: an op computes and moves bytes at the same time, and
 * the longer of the two counts.  What lies inside a region moves nothing.  The
 * figures only weigh values against each other.
 */
#include "remat.h"

#include <math.h>

static const struct {
    double flops, bytes, launch; /* per nanosecond; nanoseconds */
    double link; /* bytes per nanosecond between it and its host, each way */
    double near, far, meet; /* between devices of one host, of several;
                               nanoseconds until all of them are there */
} rates = {.flops = 680e3,
           .bytes = 3.8e3,
           .launch = 2e3,
           .link = 50,
           .near = 250,
           .far = 27,
           .meet = 20e3};

enum { HOST = 8 }; /* devices of one */

static double elements(Module *m, Type t)
{
    return type_info(m, t)->is_tuple ? 0 : (double)type_local_elements(m, t);
}

static double inst_flops(Module *m, const Fn *fn, const Inst *in);

static double fn_flops(Module *m, const Fn *fn)
{
    double flops = 0;
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++)
        flops += inst_flops(m, fn, &fn->insts[i]);
    return flops;
}

static double inst_flops(Module *m, const Fn *fn, const Inst *in)
{
    switch ((Op)in->op) {
    case OP_einsum: {
        Type t = type_union(m, value_type(fn, inst_arg(fn, in, 0)),
                            value_type(fn, inst_arg(fn, in, 1)));
        return 2 * elements(m, t);
    }
    case OP_call:
        return fn_flops(m, fn_of(m, attr_fn(m, in->attr, AT_fn)));
    case OP_repeat:
        return (double)attr_int(m, in->attr, AT_count, 1) *
               fn_flops(m, fn_of(m, attr_fn(m, in->attr, AT_fn)));
    default:
        return 0;
    }
}

static double bytes_of(const Module *m, Type t)
{
    const TypeInfo *info = type_info(m, t);
    if (!info->is_tuple) return (double)type_bytes(m, t);
    double bytes = 0;
    for (uint32_t i = 0; i < info->nfields; i++)
        bytes += (double)type_bytes(m, info->fields[i]);
    return bytes;
}

/* Of a value, the part that is in memory: a product whose rows choose matrices
 * reads these where they are (route.c), however many rows choose each. */
static double part_there(Module *m, const Fn *of, Value v, unsigned depth)
{
    const Inst *in = inst_of(of, v);
    double part = 1, all = bytes_of(m, in->type);
    if (all == 0) return 1;
    if (in->op == OP_gather)
        part = bytes_of(m, value_type(of, inst_arg(of, in, 0))) / all;
    for (uint32_t k = 0; k < in->nargs; k++) {
        Value x = inst_arg(of, in, k);
        if (depth > 0 && (in->op == OP_rename || in->op == OP_map) &&
            elements(m, value_type(of, x)) == elements(m, in->type))
            part = fmin(part, part_there(m, of, x, depth - 1));
    }
    return fmin(part, 1);
}

/* Scales and casts may stand between. */
static double bytes_there(Module *m, const Fn *of, Value v)
{
    enum { DEPTH = 4 };
    return part_there(m, of, v, DEPTH) * bytes_of(m, value_type(of, v));
}

double remake_time(Module *m, const Fn *of, Value v)
{
    const Inst *in = inst_of(of, v);
    if (remade_cheaply((Op)in->op) || in->op == OP_arg) return 0;
    double move = bytes_there(m, of, v);
    for (uint32_t k = 0; k < in->nargs; k++)
        move += bytes_there(m, of, inst_arg(of, in, k));
    double compute = inst_flops(m, of, in) / rates.flops;
    move /= rates.bytes;
    return rates.launch + (compute > move ? compute : move);
}

double copy_time(Module *m, const Fn *of, Value v)
{
    return rates.launch + 2 * bytes_of(m, value_type(of, v)) / rates.bytes;
}

/* Devices from the first of a group of these mesh axes to behind its last, and
 * how many are in it. */
static int64_t span_of(const Module *m, const AttrItem *over, int64_t *members)
{
    int64_t stride = 1, span = 1;
    *members = 1;
    for (uint32_t i = m->mesh.n; i-- > 0; stride *= m->mesh.at[i].size) {
        MeshAxis axis = {i};
        if (!mesh_axes_have(over->mesh, over->n, axis)) continue;
        *members *= m->mesh.at[i].size;
        span = stride * m->mesh.at[i].size;
    }
    return span;
}

double collective_time(Module *m, const Fn *of, Value v)
{
    const Inst *in = inst_of(of, v);
    const AttrItem *over = attr_get(m, in->attr, AT_over);
    int64_t members = 1;
    if (!over || !in->nargs) return 0;
    bool near = span_of(m, over, &members) <= HOST;
    double bytes = bytes_of(m, in->type);
    double from = bytes_of(m, value_type(of, inst_arg(of, in, 0)));
    if (from > bytes) bytes = from;
    if (in->op == OP_all_reduce) bytes *= 2;
    double part = 1 - 1 / (double)members;
    return rates.meet + bytes * part / (near ? rates.near : rates.far);
}

double link_time(double bytes)
{
    return bytes / rates.link;
}
