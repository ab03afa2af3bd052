/*
 * named.c: `update.m`, what optimizers have bound to the name `m`.
 *
 *     update = adamw(lr = 1e-3)
 *     record moment = norm(update.m)
 *     record change = norm(update.p - params)
 *
 * One value a parameter, in the order of parameters: the last that the
 * optimizer's body bound, of a state its next value.  Where each parameter has
 * one it is a bundle, as `grads` is; where an optimizer has none, a list of
 * those that there are.  A parameter that stands in a repeat has one with the
 * axis of the repeat.  The scopes of the bodies are kept, so a name that nobody
 * asks for makes no instruction.
 */
#include "train.h"

bool names_updates(Sema *s, const Node *base)
{
    return base->kind == N_name && strcmp(STR(s, base->name), "update") == 0 &&
           !scope_find(s->scope, base->name) &&
           !scope_find(s->scope->unit->scope, base->name) &&
           !config_here(s, base->name);
}

static bool updates_ran(Sema *s, const Name *name)
{
    const char *text = STR(s, name->text);
    if (s->train && s->frame->up) {
        sema_error(s, DIAG_no_loss, name->span,
                   "'update.%s' is known in the train block itself", text);
        return false;
    }
    if (!train_params_known(s, name->span)) return false;
    for (uint32_t k = 0; k < s->trained.n; k++) {
        if (s->train->taken[k]) continue;
        Report *r = sema_error(s, DIAG_no_update, name->span,
                               "'update.%s' is known behind all updates, "
                               "parameter '%s' has had none yet",
                               text, mem_words(s, s->trained.at[k]));
        report_help(r, "write this behind update = ...");
        return false;
    }
    return true;
}

static void unknown_value(Sema *s, const Name *name)
{
    const char *words[512];
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->trained.n; k++) {
        const Scope *sc = s->train->bodies[k];
        for (uint32_t i = 0; i < sc->vars.n && n < 512; i++)
            if (sc->vars.at[i].value.kind == VAL_tensor ||
                sc->vars.at[i].value.kind == VAL_state)
                words[n++] = STR(s, sc->vars.at[i].name);
    }
    const char *text = STR(s, name->text);
    Report *r =
        sema_error(s, DIAG_unknown_name, name->span,
                   "no optimizer of these updates binds a tensor '%s'", text);
    const char *near = nearest(text, words, n);
    if (near) report_help(r, "did you mean 'update.%s'?", near);
}

/* Of trained parameter K; false: its optimizer has none. */
static bool named_value(Sema *s, uint32_t k, Str name, Val *out)
{
    const Train *t = s->train;
    Scope *body = t->bodies[k];
    const Binding *b = scope_find(body, name);
    if (!b) return false;
    *out = b->value;
    if (str_eq(name, body->decl->decl.targets.at[0].name.text))
        *out = t->next[k]; /* with all axes of the parameter */
    if (out->kind == VAL_state)
        *out = val_tensor(s, mem_read(s, s->frame, out->mem));
    return val_is_elementary(out);
}

Val named_values(Sema *s, const Name *name)
{
    if (!updates_ran(s, name)) return val_error();
    Val out = {.kind = VAL_bundle};
    out.tuple.at = NEW_ARRAY(s->a, Val, s->trained.n + 1);
    for (uint32_t k = 0; k < s->trained.n; k++)
        if (named_value(s, k, name->text, &out.tuple.at[out.tuple.n]))
            out.tuple.n++;
    if (out.tuple.n < s->trained.n) out.kind = VAL_tuple;
    out.name = str_printf(&s->m->strs, "update.%s", STR(s, name->text));
    if (out.tuple.n) return out;
    unknown_value(s, name);
    return val_error();
}
