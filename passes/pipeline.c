/*
 * pipeline.c: the tables of passes and pipelines, and pipeline texts.
 *
 *     text  := step (',' step)*
 *     step  := name ['{' key '=' value (';' key '=' value)* '}']
 *
 * A name is that of a pass or, without options, of a pipeline, which stands
 * for its text.
 */
#include <errno.h>
#include <stdlib.h>

#include "driver.h"

static const Pass passes[] = {
#define PASS(name, needs, gives, drops, contract, summary) \
    {#name, pass_##name, needs, gives, drops, contract, summary},
#include "passes.def"
#undef PASS
    {0}};

static const struct {
    const char *name, *text;
} pipelines[] = {
#define PIPELINE(name, text) {#name, text},
#include "pipelines.def"
#undef PIPELINE
};

const Pass *pass_at(uint32_t i)
{
    return i + 1 < sizeof passes / sizeof *passes ? &passes[i] : NULL;
}

const Pass *pass_find(const char *name)
{
    const Pass *p;
    for (uint32_t i = 0; (p = pass_at(i)); i++)
        if (strcmp(p->name, name) == 0) return p;
    return NULL;
}

const char *pipeline_find(const char *name)
{
    for (size_t i = 0; i < sizeof pipelines / sizeof *pipelines; i++)
        if (strcmp(pipelines[i].name, name) == 0) return pipelines[i].text;
    return NULL;
}

const char *pipeline_at(uint32_t i)
{
    return i < sizeof pipelines / sizeof *pipelines ? pipelines[i].name : NULL;
}

/* ------------------------------------------------------------- options -- */

static const Parameter parameters[] = {
#define PARAMETER(name, value, help) {name, value, help},
#include "parameters.def"
#undef PARAMETER
};

const Parameter *parameter_at(uint32_t i)
{
    return i < sizeof parameters / sizeof *parameters ? &parameters[i] : NULL;
}

static bool is_parameter(const char *name)
{
    const Parameter *p;
    for (uint32_t i = 0; (p = parameter_at(i)); i++)
        if (strcmp(p->name, name) == 0) return true;
    return false;
}

const char *pass_option(const Module *m, const PassCtx *cx, const char *name,
                        const char *otherwise)
{
    if (!is_parameter(name)) BUG("'%s' is not in parameters.def", name);
    for (uint32_t i = 0; i < cx->noptions; i++) {
        if (strcmp(cx->keys[i], name) != 0) continue;
        cx->asked[i] = true;
        return cx->values[i];
    }
    Str s = option_get(m, name);
    return s.id ? str_of(m, s) : otherwise;
}

int64_t pass_option_int(const Module *m, const PassCtx *cx, const char *name,
                        int64_t otherwise)
{
    const char *text = pass_option(m, cx, name, "");
    char *end;
    errno = 0;
    int64_t i = strtoll(text, &end, 10);
    if (*text && !*end && errno != ERANGE) return i;
    if (*text)
        diag_error(m->diag, DIAG_pass_option, (Span){0},
                   "option '%s' is a whole number, found '%s'", name, text);
    return otherwise;
}

/* ---------------------------------------------------------------- text -- */

typedef struct TextParser {
    Module *m;
    const char *at;
    bool nested; /* the text of a named pipeline */
    StepVec *out;
} TextParser;

static void skip_space(TextParser *t)
{
    while (*t->at == ' ' || *t->at == '\n' || *t->at == '\t')
        t->at++;
}

static bool take(TextParser *t, char c)
{
    skip_space(t);
    if (*t->at != c) return false;
    t->at++;
    return true;
}

static bool text_fail(TextParser *t, const char *what)
{
    diag_error(t->m->diag, DIAG_pass_text, (Span){0},
               "expected %s in the list of passes, found %s", what,
               *t->at ? arena_printf(t->m->arena, "'%.20s'", t->at)
                      : "its end");
    return false;
}

/* Text up to one of `ends`, without spaces around it. */
static const char *take_text(TextParser *t, const char *ends)
{
    skip_space(t);
    size_t n = strcspn(t->at, ends);
    const char *s = t->at;
    t->at += n;
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\n'))
        n--;
    return arena_strndup(t->m->arena, s, n);
}

static bool parse_options(TextParser *t, Step *s)
{
    VEC(const char *) keys = {0}, values = {0};
    do {
        const char *key = take_text(t, "={};,");
        if (!*key) return text_fail(t, "the name of an option");
        if (!take(t, '=')) return text_fail(t, "'='");
        const char *value = take_text(t, "{};");
        vec_push(t->m->arena, &keys, key);
        vec_push(t->m->arena, &values, value);
    } while (take(t, ';'));
    s->keys = keys.at;
    s->values = values.at;
    s->noptions = keys.n;
    return take(t, '}') || text_fail(t, "';' or '}'");
}

static bool unknown_pass(TextParser *t, const char *name)
{
    Buf names = {0};
    const Pass *p;
    for (uint32_t i = 0; (p = pass_at(i)); i++)
        buf_printf(&names, "%s%s", i ? ", " : "", p->name);
    Report *r = diag_error(t->m->diag, DIAG_pass_unknown, (Span){0},
                           "no pass or pipeline is called '%s'", name);
    if (names.n) report_help(r, "passes: %s", names.at);
    buf_release(&names);
    return false;
}

static bool parse_steps(TextParser *t);

static bool parse_step(TextParser *t)
{
    const char *name = take_text(t, "{},;=");
    if (!*name) return text_fail(t, "the name of a pass");
    Step s = {.pass = pass_find(name)};
    const char *text = s.pass || t->nested ? NULL : pipeline_find(name);
    if (!s.pass && !text) return unknown_pass(t, name);
    if (text) {
        TextParser inner = {t->m, text, true, t->out};
        return parse_steps(&inner);
    }
    if (take(t, '{') && !parse_options(t, &s)) return false;
    vec_push(t->m->arena, t->out, s);
    return true;
}

static bool parse_steps(TextParser *t)
{
    skip_space(t);
    if (!*t->at) return true;
    do {
        if (!parse_step(t)) return false;
    } while (take(t, ','));
    skip_space(t);
    return !*t->at || text_fail(t, "','");
}

bool pipeline_parse(Module *m, const char *text, StepVec *out)
{
    TextParser t = {m, text, false, out};
    return parse_steps(&t);
}

void step_print(const Step *s, Buf *out)
{
    buf_puts(out, s->pass->name);
    for (uint32_t i = 0; i < s->noptions; i++)
        buf_printf(out, "%c%s=%s", i ? ';' : '{', s->keys[i], s->values[i]);
    if (s->noptions) buf_putc(out, '}');
}
