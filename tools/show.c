/*
 * show.c: printing reports, remarks and passes by the options that all tools
 * share.
 */
#include "show.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../passes/pass.h"

static bool is_one_of(const char *value, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(value, *words) == 0) return true;
    return false;
}

static bool check_regex(const char *pattern, char error[OPTION_ERROR])
{
    regex_t r;
    if (!pattern) return true;
    int code = regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB);
    if (code == 0) {
        regfree(&r);
        return true;
    }
    char why[128];
    regerror(code, &r, why, sizeof why);
    snprintf(error, OPTION_ERROR, "'%s' is no regular expression: %s", pattern,
             why);
    return false;
}

bool show_options_valid(const Options *o, char error[OPTION_ERROR])
{
    static const char *const formats[] = {"text", "json", NULL};
    static const char *const colors[] = {"auto", "always", "never", NULL};
    const char *format = option_text(o, OPT_diagnostics);
    const char *color = option_text(o, OPT_color);
    if (!is_one_of(format, formats))
        snprintf(error, OPTION_ERROR, "--diagnostics is text or json, not '%s'",
                 format);
    else if (!is_one_of(color, colors))
        snprintf(error, OPTION_ERROR,
                 "--color is auto, always or never, not '%s'", color);
    else
        return check_regex(option_text(o, OPT_remarks), error) &&
               check_regex(option_text(o, OPT_missed), error);
    return false;
}

static DiagFormat format_of(const Options *o)
{
    if (strcmp(option_text(o, OPT_diagnostics), "json") == 0) return DIAG_JSON;
    const char *color = option_text(o, OPT_color);
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    bool able = isatty(STDERR_FILENO) && !(no && *no) && term &&
                strcmp(term, "dumb") != 0;
    bool colored =
        strcmp(color, "always") == 0 || (strcmp(color, "auto") == 0 && able);
    return colored ? DIAG_TEXT_COLOR : DIAG_TEXT;
}

void show_reports(const Diag *d, const Options *o)
{
    Buf b = {0};
    diag_render(d, format_of(o), &b);
    if (b.n) fputs(b.at, stderr);
    buf_release(&b);
}

/* ------------------------------------------------------------- remarks -- */

static bool matches(const char *pattern, const char *pass)
{
    regex_t r;
    if (!pattern || regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    bool yes = regexec(&r, pass, 0, NULL, 0) == 0;
    regfree(&r);
    return yes;
}

static bool wanted(const void *user, const char *pass, bool missed)
{
    const Options *o = user;
    return matches(option_text(o, missed ? OPT_missed : OPT_remarks), pass);
}

void show_ask_remarks(Diag *d, const Options *o)
{
    if (!option_given(o, OPT_remarks) && !option_given(o, OPT_missed)) return;
    d->wanted = wanted;
    d->wanted_by = o;
}

void show_passes(void)
{
    const Pass *p;
    for (uint32_t i = 0; (p = pass_at(i)); i++)
        printf("%-14s %s\n", p->name, p->summary);
    printf("\n");
    for (uint32_t i = 0; pipeline_at(i); i++)
        printf("%-14s %s\n", pipeline_at(i), pipeline_find(pipeline_at(i)));
    printf("\n");
    const Parameter *a;
    for (uint32_t i = 0; (a = parameter_at(i)); i++)
        printf("%s=%-*s %s\n", a->name, 15 - (int)strlen(a->name), a->value,
               a->help);
}
