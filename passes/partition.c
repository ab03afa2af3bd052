/*
 * partition.c: one device's program.
 *
 *   needs    gradless, precise
 *   gives    local
 *   keeps    every instruction and every type
 *   result   functions of the global view are in the local view
 *
 * On a mesh of one device the whole tensor is the local one: no split has
 * more than one part and no sum is pending over more than one device.  So the
 * program stays as it is and changes its view alone.  A mesh of several
 * devices is refused.
 */
#include <inttypes.h>

#include "pass.h"

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
                           " devices, programs are made for one",
                           mesh.at, devices);
    report_help(r, "leave out the plan, or give every mesh axis size 1");
    buf_release(&mesh);
    return false;
}

bool pass_partition(Module *m, PassCtx *cx)
{
    (void)cx;
    int64_t devices = mesh_devices(m);
    if (devices != 1) return refuse_mesh(m, devices);
    for (uint32_t i = 0; i < m->fns.n; i++) {
        const Fn *old = m->fns.at[i];
        if (!old || old->view != VIEW_global) continue;
        Fn *fn = NEW(m->arena, Fn);
        *fn = *old;
        fn->view = VIEW_local;
        m->fns.at[i] = fn;
    }
    return true;
}
