/*
 * rule.c: what the plan asks of a pipeline, from the option `pipeline`.
 *
 *     layer over pp schedule 1f1b chunks 2 layers 3, 5 ends 1, 1
 */
#include <stdlib.h>

#include "cut.h"

typedef struct Words {
    Cut *c;
    const char *text, *at;
} Words;

static bool fail(Words *w, const char *what)
{
    Report *r = diag_error(w->c->m->diag, DIAG_pipeline_rule,
                           rule_place(w->c->m, w->text),
                           "option 'pipeline' is '%s': %s", w->text, what);
    report_help(r, "write layer over pp schedule 1f1b");
    return false;
}

/* The next word or quoted text; NULL: none. */
static const char *word(Words *w)
{
    w->at += strspn(w->at, " ,");
    bool quoted = *w->at == '"';
    size_t n = quoted ? strcspn(w->at + 1, "\"") : strcspn(w->at, " ,");
    if (!n) return NULL;
    const char *text = arena_strndup(w->c->a, w->at + quoted, n);
    w->at += n + 2 * quoted;
    return text;
}

static bool is_list(const Words *w)
{
    return w->at[strspn(w->at, " ")] == ',';
}

static bool number(Words *w, int64_t least, int64_t *out)
{
    char *end;
    const char *text = word(w);
    if (!text) return fail(w, "a number is missing");
    *out = strtoll(text, &end, 10);
    if (*end || *out < least || *out > 1 << 20)
        return fail(w, arena_printf(w->c->a, "'%s' is no number of at least %d",
                                    text, (int)least));
    return true;
}

static bool axes(Words *w)
{
    Cut *c = w->c;
    do {
        Axis a;
        const char *text = word(w);
        if (!text || !axis_find(c->m, module_str(c->m, text), &a))
            return fail(w, "there is no such axis");
        vec_push(c->a, &c->rule.axes, a);
    } while (is_list(w));
    const char *over = word(w), *mesh = over ? word(w) : NULL;
    if (!mesh || strcmp(over, "over") != 0 ||
        !mesh_find(c->m, module_str(c->m, mesh), &c->rule.mesh))
        return fail(w, "there is no such mesh axis");
    return !is_list(w) || fail(w, "stages go over one mesh axis");
}

static bool clause(Words *w, const char *name)
{
    PipelineRule *r = &w->c->rule;
    int64_t n;
    if (!strcmp(name, "schedule")) {
        r->quoted = w->at[strspn(w->at, " ")] == '"';
        r->schedule = word(w);
        return r->schedule || fail(w, "the schedule is missing");
    }
    if (!strcmp(name, "chunks")) {
        if (!number(w, 1, &n)) return false;
        r->chunks = (uint32_t)n;
        return true;
    }
    if (!strcmp(name, "ends"))
        return number(w, 0, &r->first) && number(w, 0, &r->last);
    if (strcmp(name, "layers") != 0) return fail(w, "a word is unknown");
    do {
        if (!number(w, 0, &n)) return false;
        vec_push(w->c->a, &r->layers, n);
    } while (is_list(w));
    return true;
}

bool rule_read(Cut *c, const char *text)
{
    Words w = {.c = c, .text = text, .at = text};
    c->rule = (PipelineRule){.first = 1, .last = 1, .schedule = "1f1b"};
    if (!axes(&w)) return false;
    for (const char *name; (name = word(&w));)
        if (!clause(&w, name)) return false;
    if (c->rule.quoted) c->rule.file = pass_option(c->m, c->cx, "schedule", "");
    return true;
}
