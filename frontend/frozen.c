/*
 * frozen.c: parameters that the updates of a train block leave as they are.
 *
 *     update lora = adamw(lr = 1e-4)
 *     update = frozen
 *
 * What is frozen has no gradient and no state, so it must be known before the
 * first look at `grads`, while the rules stand behind that.  The block is read
 * ahead for them: each parameter has the first rule that takes it, as in
 * exec_update, and an `if` is decided where it holds one.  A block without such
 * a rule is not read ahead.
 */
#include "train.h"

#include <string.h>

bool update_freezes(Sema *s, const Node *n)
{
    const Node *v = n->update.value;
    return v->kind == N_name && strcmp(STR(s, v->name), "frozen") == 0;
}

/* The block has an update; FREEZING: one that freezes. */
static bool has_update(Sema *s, const Node *n, bool freezing)
{
    if (!n) return false;
    bool found = false;
    switch ((NodeKind)n->kind) {
    case N_block:
        for (uint32_t i = 0; i < n->block.n && !found; i++)
            found = has_update(s, n->block.at[i], freezing);
        return found;
    case N_if:
        return has_update(s, n->branch.then, freezing) ||
               has_update(s, n->branch.otherwise, freezing);
    case N_update:
        return !freezing || update_freezes(s, n);
    default:
        return false;
    }
}

/* Whether the optimizer of an update is for maps alone. */
static bool for_maps(Sema *s, const Node *n, bool *maps)
{
    const Node *call = n->update.value;
    *maps = false;
    if (call->kind != N_call) return true; /* exec_update says so */
    Val f = eval_node(s, call->call.fn);
    if (val_failed(&f)) return false;
    if (f.kind != VAL_callee || !f.callee.decl ||
        f.callee.decl->kind != N_optimizer)
        return true;
    const Node *type = f.callee.decl->decl.targets.at[0].type;
    *maps = type && type->type.has_arrow;
    return true;
}

static bool read_update(Sema *s, const Node *n, Mem *const *all, uint32_t nall,
                        const Node **by)
{
    bool maps = false, freezes = update_freezes(s, n);
    if (!freezes && !for_maps(s, n, &maps)) return false;
    for (uint32_t k = 0; k < nall; k++) {
        bool is_map = all[k]->from && all[k]->to;
        if (!by[k] && (!maps || is_map) && rule_matches(s, n, all[k]))
            by[k] = n;
    }
    return true;
}

static bool read_ahead(Sema *s, const Node *n, Mem *const *all, uint32_t nall,
                       const Node **by)
{
    bool yes;
    if (!has_update(s, n, false)) return true;
    switch ((NodeKind)n->kind) {
    case N_block:
        for (uint32_t i = 0; i < n->block.n; i++)
            if (!read_ahead(s, n->block.at[i], all, nall, by)) return false;
        return true;
    case N_if:
        if (!eval_condition(s, n->branch.cond, &yes)) return false;
        return read_ahead(s, yes ? n->branch.then : n->branch.otherwise, all,
                          nall, by);
    default:
        return read_update(s, n, all, nall, by);
    }
}

/* What an update freezes is trained no more. */
static void take_out(Sema *s, Mem *const *all, uint32_t nall, const Node **by)
{
    s->trained.n = 0;
    for (uint32_t k = 0; k < nall; k++) {
        if (!by[k] || !update_freezes(s, by[k])) {
            vec_push(s->a, &s->trained, all[k]);
            continue;
        }
        all[k]->frozen = true;
        s->m->slots.at[all[k]->slot].frozen = true;
        Frozen f = {all[k], by[k]};
        vec_push(s->a, &s->train->frozen, f);
    }
}

bool train_freeze(Sema *s)
{
    const Node *block = s->train->block;
    if (!has_update(s, block, true)) return true;
    uint32_t nall = s->trained.n;
    Mem **all = NEW_ARRAY(s->a, Mem *, nall + 1);
    const Node **by = NEW_ARRAY(s->a, const Node *, nall + 1);
    if (nall) memcpy(all, s->trained.at, nall * sizeof *all);
    Scope *now = s->scope;
    s->scope = s->train->scope;
    bool ok = read_ahead(s, block, all, nall, by);
    s->scope = now;
    if (ok) take_out(s, all, nall, by);
    return ok;
}
