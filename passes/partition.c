/*
 * partition.c: one device's program.
 *
 *   needs    gradless, precise
 *   gives    local
 *   keeps    every instruction but `reshard`, every type
 *   result   functions of the local view, in which collectives do what
 *            `reshard` asks for (partition/bring.c), over as few groups of
 *            devices as do (partition/groups.c)
 *
 * On a mesh of one device the whole tensor is the local one: no split has
 * more than one part and no sum is pending over more than one device.  So the
 * program stays as it is and changes its view alone.  On a larger mesh the pass
 * shard has said which splits each value has.
 *
 * Collectives stand where the value is used first in that form, in program
 * order, which is the same on all devices.  A value that is brought into a
 * form in the forward part is brought there again in the backward part: what
 * is gathered for an op is not kept.
 */
#include <inttypes.h>

#include "partition/partition.h"

static int64_t mesh_devices(const Module *m)
{
    int64_t n = 1;
    for (uint32_t i = 0; i < m->mesh.n; i++)
        if (__builtin_mul_overflow(n, m->mesh.at[i].size, &n)) return INT64_MAX;
    return n;
}

static bool refuse_mesh(Module *m, int64_t devices)
{
    Buf mesh = {0};
    for (uint32_t i = 0; i < m->mesh.n; i++)
        buf_printf(&mesh, "%s%s = %" PRId64, i ? ", " : "",
                   mesh_name(m, (MeshAxis){i}), m->mesh.at[i].size);
    Report *r = diag_error(m->diag, DIAG_partition_mesh, (Span){0},
                           "the mesh (%s) has %" PRId64
                           " devices, and nothing says what is split",
                           mesh.at, devices);
    report_help(r, "run 'shard' before it");
    buf_release(&mesh);
    return false;
}

static void make_local(Module *m, uint32_t i)
{
    Fn *fn = NEW(m->arena, Fn);
    *fn = *m->fns.at[i];
    fn->view = VIEW_local;
    m->fns.at[i] = fn;
}

static Fn *bring_all(Module *m, const Machine *on, const Fn *fn)
{
    Rewrite rw;
    rewrite_begin(&rw, m, fn);
    rw.b.no_fold = true; /* folds know nothing of splits */
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op != OP_reshard) {
            rewrite_copy(&rw, (Value){i});
            continue;
        }
        rw.b.loc = in->loc;
        rw.b.phase = (Phase)in->phase;
        Value v = rewrite_value(&rw, inst_arg(fn, in, 0));
        rewrite_set(&rw, (Value){i}, partition_bring(&rw.b, on, v, in->type));
    }
    return rewrite_end(&rw);
}

bool pass_partition(Module *m, PassCtx *cx)
{
    int64_t devices = mesh_devices(m);
    Machine on = machine_of(m, cx);
    for (uint32_t i = 0; i < m->fns.n; i++) {
        const Fn *fn = m->fns.at[i];
        if (fn->view == VIEW_global && devices != 1)
            return refuse_mesh(m, devices);
        if (fn->view == VIEW_global) make_local(m, i);
        if (fn->view == VIEW_local && fn_has_op(fn, OP_reshard))
            m->fns.at[i] = bring_all(m, &on, fn);
    }
    partition_groups(m);
    return true;
}
