/*
 * request.c: what titanc is asked for, from its options.
 *
 * The kind of output follows from the suffix of -o unless --emit says it; the
 * target is a GPU for PTX and the host otherwise unless --target says it.
 * Neither depends on the machine that compiles.
 */
#include <stdio.h>
#include <string.h>

#include "show.h"
#include "titanc.h"

static const struct {
    const char *word, *suffix;
    EmitKind kind;
} kinds[] = {
    {"ast", NULL, EMIT_ast},      {"tir", ".tir", EMIT_tir},
    {"html", ".html", EMIT_html}, {"image", NULL, EMIT_image},
    {"llvm", ".ll", EMIT_llvm},   {"ptx", ".ptx", EMIT_ptx},
    {"obj", ".o", EMIT_obj},      {"exe", NULL, EMIT_exe},
};

enum { NKINDS = sizeof kinds / sizeof *kinds };

static bool usage_see(const char *what, const char *value, const char *option)
{
    fprintf(stderr, "titanc: %s%s%s%s (see titanc %s)\n", what,
            value ? " '" : "", value ? value : "", value ? "'" : "", option);
    return false;
}

static bool usage(const char *what, const char *value)
{
    return usage_see(what, value, "--help");
}

static EmitKind kind_of_suffix(const char *path)
{
    const char *dot = strrchr(path, '.');
    for (unsigned i = 0; dot && i < NKINDS; i++)
        if (kinds[i].suffix && !strcmp(kinds[i].suffix, dot))
            return kinds[i].kind;
    return EMIT_exe;
}

static bool is_text(EmitKind k)
{
    return k >= EMIT_ast && k <= EMIT_llvm;
}

static bool read_emit(Request *r)
{
    const char *emit = option_text(r->o, OPT_emit);
    r->output = option_text(r->o, OPT_output);
    bool to_stdout = r->output && !strcmp(r->output, "-");
    if (emit) {
        for (unsigned i = 0; i < NKINDS; i++)
            if (!strcmp(kinds[i].word, emit)) r->emit = kinds[i].kind;
        if (r->emit == EMIT_nothing)
            return usage("--emit is one of ast, tir, html, image, llvm, ptx, "
                         "obj, exe, not",
                         emit);
    } else if (to_stdout) {
        return usage("-o - needs --emit", NULL);
    } else if (r->output) {
        r->emit = kind_of_suffix(r->output);
    }
    if (r->emit && !is_text(r->emit) && !r->output)
        return usage("an artifact needs -o FILE", NULL);
    if (to_stdout && r->emit == EMIT_exe)
        return usage("a program cannot be written to stdout", NULL);
    return true;
}

static bool read_target(Request *r)
{
    const char *target = option_text(r->o, OPT_target);
    if (!target) target = r->emit == EMIT_ptx ? "sm_90a" : "host";
    if (!target_find(target, &r->codegen.target))
        return usage_see("there is no target", target, "--print-targets");
    if (r->emit == EMIT_ptx && !target_is_gpu(r->codegen.target))
        return usage("PTX is made for a GPU, not for", target);
    if (r->emit == EMIT_obj && target_is_gpu(r->codegen.target))
        return usage("an object is made for the host, not for", target);
    const char *cpu = option_text(r->o, OPT_cpu);
    r->codegen.cpu = cpu ? cpu : "x86-64-v3";
    r->codegen.level = (int)option_number(r->o, OPT_level, 2);
    r->codegen.line_info = option_given(r->o, OPT_debug);
    if (r->codegen.level > 3) return usage("-O is 0 to 3", NULL);
    r->codegen.matmul = option_text(r->o, OPT_matmul);
    if (!matmul_maker_known(r->codegen.matmul))
        return usage("matrix products are not made by", r->codegen.matmul);
    int64_t most = option_number(r->o, OPT_processors, 0);
    if (option_given(r->o, OPT_processors) && (most < 2 || most > 65535))
        return usage("--matmul-processors is 2 to 65535", NULL);
    r->codegen.processors = (uint32_t)most;
    return true;
}

static bool read_tune(Request *r, Arena *a)
{
    const char *path = option_text(r->o, OPT_tune);
    size_t size;
    if (!path) return true;
    const char *text = read_file(a, path, &size);
    if (!text) return usage("there is no table of choices", path);
    uint32_t line = matmul_table_check(text);
    r->codegen.tune = text;
    if (line == 0) return true;
    fprintf(stderr, "titanc: %s:%u: no choice for a matrix product\n", path,
            line);
    return false;
}

static bool one_of(const Options *o, OptionId id, const char *name,
                   const char *words)
{
    const char *value = option_text(o, id);
    if (!value) return true;
    size_t n = strlen(value);
    for (const char *at = words; *at;) {
        size_t len = strcspn(at, "|");
        if (len == n && !memcmp(at, value, n)) return true;
        at += len + (at[len] == '|');
    }
    fprintf(stderr, "titanc: %s is one of %s, not '%s' (see titanc --help)\n",
            name, words, value);
    return false;
}

static bool read_defines(Request *r, Arena *a)
{
    const OptionList *l = option_list(r->o, OPT_define);
    Define *d = NEW_ARRAY(a, Define, l->n + 1);
    for (uint32_t i = 0; i < l->n; i++) {
        const char *equals = strchr(l->at[i], '=');
        if (!equals || equals == l->at[i] || !equals[1])
            return usage("-D takes name=value, not", l->at[i]);
        d[i].name = arena_strndup(a, l->at[i], (size_t)(equals - l->at[i]));
        d[i].value = equals + 1;
    }
    r->defines = d;
    return true;
}

/* Whether anything is asked for. */
static bool has_purpose(const Request *r)
{
    static const OptionId looks[] = {
        OPT_check,         OPT_print_config, OPT_stats,        OPT_why,
        OPT_passes,        OPT_stop_after,   OPT_print_after,  OPT_dump_dir,
        OPT_check_meaning, OPT_time_passes,  OPT_memory_limit, OPT_expected};
    for (unsigned i = 0; i < sizeof looks / sizeof *looks; i++)
        if (option_given(r->o, looks[i])) return true;
    return r->emit != EMIT_nothing;
}

static bool known_passes(const Options *o)
{
    const char *after = option_text(o, OPT_print_after);
    const char *stop = option_text(o, OPT_stop_after);
    if (after && strcmp(after, "all") && strcmp(after, "changed") &&
        !pass_find(after))
        return usage_see("there is no pass", after, "--list-passes");
    if (stop && !pass_find(stop))
        return usage_see("there is no pass", stop, "--list-passes");
    return true;
}

static bool shared_options(const Options *o)
{
    char error[OPTION_ERROR];
    return show_options_valid(o, error) || usage(error, NULL);
}

bool request_read(Request *r, const Options *o, Arena *a)
{
    *r = (Request){.o = o,
                   .arena = a,
                   .inputs = o->arguments.at,
                   .ninputs = o->arguments.n,
                   .plan = option_text(o, OPT_plan)};
    if (option_given(o, OPT_stats)) r->stats = option_text(o, OPT_stats);
    r->memory_limit = option_number(o, OPT_memory_limit, -1);
    if (o->arguments.n == 0) return usage("no input file", NULL);
    if (!read_emit(r) || !read_target(r) || !read_tune(r, a) ||
        !read_defines(r, a) || !known_passes(o))
        return false;
    if (!one_of(o, OPT_dtype, "--dtype", "f32|bf16|bf16-states") ||
        !shared_options(o))
        return false;
    if (r->stats && !one_of(o, OPT_stats, "--stats", "text|json|commands"))
        return false;
    if (option_given(o, OPT_devices) && option_number(o, OPT_devices, 1) < 1)
        return usage("--devices needs at least 1", NULL);
    if (option_given(o, OPT_write_plan) &&
        (!r->plan || strcmp(r->plan, "auto") != 0))
        return usage("--write-plan is for --plan auto", NULL);
    if (!has_purpose(r))
        return usage("nothing to do: give -o FILE, or --check", NULL);
    return true;
}
