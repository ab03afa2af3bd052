/*
 * value.c: making and copying the values of instructions.
 */
#include <string.h>

#include "run.h"

static int64_t elements_of(const Run *r, Type t)
{
    const TypeInfo *info = type_info(r->m, t);
    int64_t n = 1;
    for (uint32_t i = 0; i < info->naxes; i++)
        n *= axis_extent(r, &info->axes[i]);
    return n;
}

void val_init(Run *r, Val *v, Type t, bool dual)
{
    const TypeInfo *info = type_info(r->m, t);
    *v = (Val){.type = t};
    if (info->is_tuple) {
        v->nfields = info->nfields;
        v->fields = NEW_ARRAY(&r->temp, Val, v->nfields);
        for (uint32_t i = 0; i < v->nfields; i++)
            val_init(r, &v->fields[i], info->fields[i], dual);
        return;
    }
    v->n = elements_of(r, t);
    v->at = NEW_ARRAY(&r->temp, Cell, (size_t)v->n * r->ndev);
    if (dual && dtype_class(info->dtype) == DC_float)
        v->dot = NEW_ARRAY(&r->temp, double, (size_t)v->n * r->ndev);
}

static bool is_active(const Val *v)
{
    for (uint32_t i = 0; i < v->nfields; i++)
        if (is_active(&v->fields[i])) return true;
    return v->dot != NULL;
}

bool args_active(const Frame *f, const Inst *in)
{
    for (uint32_t i = 0; i < in->nargs; i++)
        if (is_active(frame_arg(f, in, i))) return true;
    return false;
}

void val_result(Frame *f, const Inst *in, Val *out)
{
    val_init(f->r, out, in->type, args_active(f, in));
}

/* A tangent that is absent in `from` becomes zero in `to`. */
void val_copy(Run *r, Val *to, const Val *from)
{
    for (uint32_t i = 0; i < to->nfields; i++)
        val_copy(r, &to->fields[i], &from->fields[i]);
    if (to->nfields || !to->n) return;
    size_t n = (size_t)to->n * r->ndev;
    memcpy(to->at, from->at, n * sizeof *to->at);
    if (to->dot && from->dot) memcpy(to->dot, from->dot, n * sizeof *to->dot);
    if (to->dot && !from->dot) memset(to->dot, 0, n * sizeof *to->dot);
}

void val_add(const Run *r, DType acc, Val *out, int64_t to, const Val *x,
             int64_t from)
{
    if (dtype_class(acc) != DC_float) {
        uint64_t sum = (uint64_t)out->at[to].i + (uint64_t)x->at[from].i;
        out->at[to].i = dtype_wrap(acc, sum);
        return;
    }
    out->at[to].f = run_round(r, acc, out->at[to].f + x->at[from].f);
    if (out->dot && x->dot) out->dot[to] += x->dot[from];
}

double run_round(const Run *r, DType d, double x)
{
    return r->o.round ? dtype_round(d, x) : x;
}

DType acc_of(const Run *r, const Inst *in, DType operand)
{
    DType otherwise = operand;
    if (dtype_class(operand) == DC_float && operand != DT_f64)
        otherwise = DT_f32;
    return attr_dtype(r->m, in->attr, AT_acc, otherwise);
}

Tensor tensor_new(Module *m, Type t, uint32_t ndevices, Arena *arena)
{
    Tensor x = {.type = t, .ndevices = ndevices, .n = 1};
    const TypeInfo *info = type_info(m, t);
    for (uint32_t i = 0; i < info->naxes; i++)
        x.n *= ndevices == 1 ? info->axes[i].size
                             : type_local_size(m, &info->axes[i]);
    x.at = NEW_ARRAY(arena, Cell, (size_t)x.n * ndevices);
    return x;
}
