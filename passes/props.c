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
    }
    return "nothing";
}
