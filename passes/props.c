/*
 * props.c: what holds of a module, seen in the module itself.
 *
 * A pass may be run alone on a file that somebody wrote, so what it needs is
 * looked for rather than remembered.  Some properties leave no mark in the
 * text; of those the driver checks the order of passes alone.
 */
#include "driver.h"

static bool is_module_call(const Module *m, const Inst *in)
{
    return in->op == OP_call &&
           fn_of(m, attr_fn(m, in->attr, AT_fn))->kind.id == 0;
}

static bool is_unplanned(const Module *m, const Inst *in)
{
    return in->op == OP_buffer && !attr_get(m, in->attr, AT_base);
}

/* A type that one device holds a part of, on a mesh of several. */
static bool is_split(const Module *m, Type t)
{
    const TypeInfo *info = type_info(m, t);
    for (uint32_t i = 0; i < info->nfields; i++)
        if (is_split(m, info->fields[i])) return true;
    for (uint32_t i = 0; i < info->naxes; i++)
        if (group_size(m, info->axes[i].splits, info->axes[i].nsplits) > 1)
            return true;
    return group_size(m, info->pending, info->npending) > 1;
}

/* What one function takes away. */
static uint32_t fn_lacks(const Module *m, const Fn *fn)
{
    uint32_t lacks = 0;
    bool group = fn->kind.id != 0; /* stays local in the kernel view */
    if (fn->view != VIEW_local) lacks |= PROP_local;
    if (fn->view != VIEW_kernel && !group) lacks |= PROP_kernel | PROP_planned;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op == OP_grad) lacks |= PROP_gradless;
        if (in->op == OP_reshard) lacks |= PROP_local;
        if (is_module_call(m, in)) lacks |= PROP_inlined;
        if (in->type.id && is_split(m, in->type)) lacks |= PROP_own;
        if (is_unplanned(m, in)) lacks |= PROP_planned;
    }
    return lacks;
}

uint32_t module_props(const Module *m)
{
    uint32_t props = PROPS_SEEN;
    for (uint32_t i = 0; i < m->fns.n; i++)
        if (m->fns.at[i]) props &= ~fn_lacks(m, m->fns.at[i]);
    return props;
}

const char *prop_text(uint32_t prop)
{
    switch (prop) {
    case PROP_inlined:
        return "modules inlined";
    case PROP_gradless:
        return "derivatives made";
    case PROP_micro:
        return "the batch split";
    case PROP_precise:
        return "dtypes chosen";
    case PROP_local:
        return "one device's program";
    case PROP_grouped:
        return "ops in groups";
    case PROP_kernel:
        return "launches and buffers";
    case PROP_planned:
        return "buffers placed";
    case PROP_own:
        return "the sizes of one device";
    }
    return "nothing";
}
