/*
 * option.c: the parser, the help and the manual pages of options.def.
 */
#include "option.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef enum Kind {
    KIND_flag,
    KIND_text,
    KIND_list,
    KIND_maybe,
    KIND_number,
    KIND_real,
    KIND_size
} Kind;

typedef struct Row {
    const char *spelling;
    Kind kind;
    const char *value;
    unsigned programs;
    const char *dflt, *help;
} Row;

enum {
    C = PROGRAM_titanc,
    O = PROGRAM_opt,
    R = PROGRAM_run,
    S = PROGRAM_smith,
    K = PROGRAM_tokenize,
    I = PROGRAM_inspect,
    V = PROGRAM_verify,
    X = PROGRAM_convert,
    P = PROGRAM_report,
    G = PROGRAM_generate,
    L = K | I | V | X | P,
    T = L | G
};

static const Row rows[] = {
#define OPTION(id, spelling, kind, value, programs, dflt, help) \
    {spelling, KIND_##kind, value, programs, dflt, help},
#include "options.def"
#undef OPTION
};

typedef enum NoteKind { NOTE_code, NOTE_variable } NoteKind;

typedef struct Note {
    NoteKind kind;
    unsigned programs;
    const char *word, *what;
} Note;

static const Note notes[] = {
#define NOTE(kind, programs, word, what) {NOTE_##kind, programs, word, what},
#include "codes.def"
#undef NOTE
};
enum { NNOTES = sizeof notes / sizeof *notes };

typedef struct Parser {
    Options *o;
    Program program;
    char *error;
    char **args; /* all arguments, response files spliced in */
    uint32_t n, cap, at;
} Parser;

static bool __attribute__((format(printf, 2, 3)))
fail(Parser *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(p->error, OPTION_ERROR, fmt, args);
    va_end(args);
    return false;
}

static bool push(const char ***at, uint32_t *n, const char *s)
{
    if ((*n & (*n - 1)) == 0) {
        const char **more = realloc(*at, (*n ? *n * 2 : 1) * sizeof **at);
        if (!more) return false;
        *at = more;
    }
    (*at)[(*n)++] = s;
    return true;
}

/* -------------------------------------------------------- response files -- */

static char *read_text(const char *path)
{
    FILE *in = fopen(path, "r");
    char *text = NULL;
    size_t n = 0;
    if (!in) return NULL;
    if (getdelim(&text, &n, '\0', in) < 0 && ferror(in)) {
        free(text);
        text = NULL;
    } else if (!text) {
        text = calloc(1, 1);
    }
    fclose(in);
    return text;
}

static bool keep_file(Options *o, char *text)
{
    char **more = realloc(o->files, (o->nfiles + 1) * sizeof *more);
    if (!more) return false;
    o->files = more;
    o->files[o->nfiles++] = text;
    return true;
}

static bool splice(Parser *p, const char *path)
{
    char *text = read_text(path);
    if (!text)
        return fail(p, "could not read \"%s\": %s", path, strerror(errno));
    if (!keep_file(p->o, text)) return fail(p, "out of memory");
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        if (!push((const char ***)(void *)&p->args, &p->n, line)) return false;
    return true;
}

static bool collect(Parser *p, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool file = argv[i][0] == '@' && argv[i][1];
        if (file && !splice(p, argv[i] + 1)) return false;
        if (!file && !push((const char ***)(void *)&p->args, &p->n, argv[i]))
            return fail(p, "out of memory");
    }
    return true;
}

/* ---------------------------------------------------------------- values -- */

static int64_t unit_bytes(const char *s)
{
    static const struct {
        const char *name;
        int shift;
    } units[] = {{"", 0},     {"B", 0},    {"KiB", 10},
                 {"MiB", 20}, {"GiB", 30}, {"TiB", 40}};
    while (*s == ' ')
        s++;
    for (unsigned i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(s, units[i].name) == 0) return INT64_C(1) << units[i].shift;
    return 0;
}

static bool number_ok(const Row *r, const char *value)
{
    char *end;
    errno = 0;
    if (r->kind == KIND_real) {
        strtod(value, &end);
        return end != value && *end == 0 && errno == 0;
    }
    long long n = strtoll(value, &end, 10);
    if (end == value || errno) return false;
    if (r->kind == KIND_number) return *end == 0 && n >= 0;
    int64_t unit = unit_bytes(end);
    return n >= 0 && unit > 0 && n <= INT64_MAX / unit;
}

static bool store(Parser *p, const Row *r, const char *value)
{
    OptionList *l = &p->o->values[r - rows];
    bool numeric = r->kind >= KIND_number;
    if (numeric && !number_ok(r, value)) {
        if (r->kind == KIND_size)
            return fail(p, "%s needs bytes such as 80GiB, not \"%s\"",
                        r->spelling, value);
        return fail(p, "%s needs a number that is not negative, not \"%s\"",
                    r->spelling, value);
    }
    if (!push(&l->at, &l->n, value)) return fail(p, "out of memory");
    return true;
}

/* ---------------------------------------------------------------- lookup -- */

unsigned edit_distance(const char *a, const char *b)
{
    enum { MOST = 40 };
    size_t n = strlen(a), m = strlen(b);
    unsigned d[MOST + 1][MOST + 1];
    if (n > MOST || m > MOST) return MOST;
    for (unsigned i = 0; i <= n; i++)
        d[i][0] = i;
    for (unsigned j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
            bool swap =
                i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swap && d[i - 2][j - 2] + 1 < best) best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

static bool unknown(Parser *p, const char *arg, size_t len)
{
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)(len < 63 ? len : 63), arg);
    const Row *best = NULL;
    unsigned distance = (unsigned)len / 3 + 1;
    for (unsigned i = 0; i < OPT_COUNT; i++) {
        if (!(rows[i].programs & p->program)) continue;
        unsigned d = edit_distance(word, rows[i].spelling);
        if (d < distance) {
            distance = d;
            best = &rows[i];
        }
    }
    if (best)
        return fail(p, "there is no option %s; did you mean %s?", word,
                    best->spelling);
    return fail(p, "there is no option %s; --help lists them", word);
}

/* "-D" also takes "-Dname=1", "-O2" is "-O 2"; long names match whole. */
static bool matches(const Row *r, const char *arg, size_t len)
{
    size_t n = strlen(r->spelling);
    if (n == len && strncmp(arg, r->spelling, n) == 0) return true;
    bool joined = n == 2 && r->kind != KIND_flag;
    return joined && arg[1] != '-' && strncmp(arg, r->spelling, 2) == 0;
}

static const Row *find_row(const Parser *p, const char *arg, size_t len)
{
    const Row *joined = NULL;
    for (unsigned i = 0; i < OPT_COUNT; i++) {
        const Row *r = &rows[i];
        if (!(r->programs & p->program) || !matches(r, arg, len)) continue;
        if (strlen(r->spelling) == len) return r;
        joined = r;
    }
    return joined;
}

static bool take_option(Parser *p, const char *arg)
{
    const char *equals = strchr(arg, '=');
    size_t len = equals ? (size_t)(equals - arg) : strlen(arg);
    const Row *r = find_row(p, arg, len);
    if (!r) return unknown(p, arg, len);
    bool joined = strlen(r->spelling) < len;
    if (r->kind == KIND_flag) {
        if (equals) return fail(p, "%s takes no value", r->spelling);
        return store(p, r, "");
    }
    if (joined) return store(p, r, arg + strlen(r->spelling));
    if (equals) return store(p, r, equals + 1);
    if (r->kind == KIND_maybe) return store(p, r, r->dflt);
    if (p->at == p->n)
        return fail(p, "%s needs a value: %s", r->spelling, r->value);
    return store(p, r, p->args[p->at++]);
}

static bool take_all(Parser *p)
{
    bool options = true;
    while (p->at < p->n) {
        const char *arg = p->args[p->at++];
        if (options && strcmp(arg, "--") == 0) {
            options = false;
        } else if (options && arg[0] == '-' && arg[1]) {
            if (!take_option(p, arg)) return false;
        } else if (!push(&p->o->arguments.at, &p->o->arguments.n, arg)) {
            return fail(p, "out of memory");
        }
    }
    return true;
}

bool options_parse(Options *o, Program program, int argc, char **argv,
                   char error[OPTION_ERROR])
{
    *o = (Options){0};
    Parser p = {.o = o, .program = program, .error = error};
    error[0] = 0;
    bool ok = collect(&p, argc, argv) && take_all(&p);
    free(p.args);
    if (!ok) options_release(o);
    return ok;
}

void options_release(Options *o)
{
    for (unsigned i = 0; i < OPT_COUNT; i++)
        free(o->values[i].at);
    free(o->arguments.at);
    for (uint32_t i = 0; i < o->nfiles; i++)
        free(o->files[i]);
    free(o->files);
    *o = (Options){0};
}

/* --------------------------------------------------------------- reading -- */

bool option_given(const Options *o, OptionId id)
{
    return o->values[id].n > 0;
}

const char *option_text(const Options *o, OptionId id)
{
    const OptionList *l = &o->values[id];
    return l->n ? l->at[l->n - 1] : rows[id].dflt;
}

int64_t option_number(const Options *o, OptionId id, int64_t otherwise)
{
    const char *text = option_text(o, id);
    if (!text) return otherwise;
    char *end;
    long long n = strtoll(text, &end, 10);
    return rows[id].kind == KIND_size ? n * unit_bytes(end) : n;
}

double option_real(const Options *o, OptionId id, double otherwise)
{
    const char *text = option_text(o, id);
    return text ? strtod(text, NULL) : otherwise;
}

const OptionList *option_list(const Options *o, OptionId id)
{
    return &o->values[id];
}

static char *spelled(const Row *r, const char *value)
{
    size_t size = strlen(r->spelling) + strlen(value) + 2;
    char *text = malloc(size);
    bool flag = r->kind == KIND_flag;
    if (text)
        snprintf(text, size, "%s%s%s", r->spelling, flag ? "" : "=", value);
    return text;
}

void options_spelled_free(char **args, int lead)
{
    for (int i = lead; args && args[i]; i++)
        free(args[i]);
    free(args);
}

char **options_spelled(const Options *o, int lead, int *n)
{
    size_t most = (size_t)lead + 1;
    for (unsigned i = 0; i < OPT_COUNT; i++)
        most += o->values[i].n;
    char **args = calloc(most, sizeof *args);
    *n = lead;
    for (unsigned i = 0; args && i < OPT_COUNT; i++)
        for (uint32_t k = 0; k < o->values[i].n; k++) {
            args[*n] = spelled(&rows[i], o->values[i].at[k]);
            if (!args[(*n)++]) {
                options_spelled_free(args, lead);
                return NULL;
            }
        }
    return args;
}

/* ------------------------------------------------------------------ help -- */

static void spell(const Row *r, char *out, size_t size)
{
    if (r->kind == KIND_flag)
        snprintf(out, size, "%s", r->spelling);
    else if (r->kind == KIND_maybe)
        snprintf(out, size, "%s[=%s]", r->spelling, r->value);
    else
        snprintf(out, size, "%s %s", r->spelling, r->value);
}

/* Help text from column 28, wrapped at 80. */
static void put_wrapped(const char *text, FILE *out)
{
    enum { FROM = 28, WIDTH = 52 };
    while (strlen(text) > WIDTH) {
        int cut = WIDTH;
        while (cut > 0 && text[cut] != ' ')
            cut--;
        if (cut == 0) break;
        fprintf(out, "%.*s\n%*s", cut, text, FROM, "");
        text += cut + 1;
    }
    fprintf(out, "%s", text);
}

/* A line that begins with words, and says behind them what they are. */
static void put_line(const char *left, const char *what, FILE *out)
{
    int n = fprintf(out, "  %s", left);
    fprintf(out, n < 27 ? "%*s" : "\n%*s", n < 27 ? 28 - n : 28, "");
    put_wrapped(what, out);
}

/* The first note of a kind behind ONE (NULL: of all); NULL: there is none. */
static const Note *next_note(const ProgramText *t, NoteKind kind,
                             const Note *one)
{
    for (one = one ? one + 1 : notes; one < notes + NNOTES; one++)
        if (one->kind == kind && one->programs & t->program) return one;
    return NULL;
}

static void put_notes(const ProgramText *t, NoteKind kind, const char *head,
                      FILE *out)
{
    const Note *n = next_note(t, kind, NULL);
    if (n) fprintf(out, "\n%s\n", head);
    for (; n; n = next_note(t, kind, n)) {
        put_line(n->word, n->what, out);
        fputc('\n', out);
    }
}

void options_help(const ProgramText *t, FILE *out)
{
    char left[64];
    fprintf(out, "usage: %s %s\n\n%s\n\noptions\n", t->name, t->usage,
            t->summary);
    for (unsigned i = 0; i < OPT_COUNT; i++) {
        const Row *r = &rows[i];
        if (!(r->programs & t->program)) continue;
        spell(r, left, sizeof left);
        put_line(left, r->help, out);
        if (r->dflt && r->kind != KIND_maybe)
            fprintf(out, " (default: %s)", r->dflt);
        fputc('\n', out);
    }
    put_notes(t, NOTE_code, "exit codes", out);
    put_notes(t, NOTE_variable, "environment", out);
}

static void put_roff(const char *s, FILE *out)
{
    for (; *s; s++) {
        if (*s == '-' || *s == '\\') fputc('\\', out);
        fputc(*s, out);
    }
}

static void man_notes(const ProgramText *t, NoteKind kind, const char *head,
                      FILE *out)
{
    const Note *n = next_note(t, kind, NULL);
    if (n) fprintf(out, ".SH %s\n", head);
    for (; n; n = next_note(t, kind, n)) {
        fprintf(out, ".TP\n.B ");
        put_roff(n->word, out);
        fputc('\n', out);
        put_roff(n->what, out);
        fputc('\n', out);
    }
}

void options_man(const ProgramText *t, FILE *out)
{
    char left[64];
    fprintf(out, ".TH %s 1 \"\" Titan\n.SH NAME\n%s \\- ", t->name, t->name);
    put_roff(t->summary, out);
    fprintf(out, "\n.SH SYNOPSIS\n.B %s\n", t->name);
    put_roff(t->usage, out);
    fprintf(out, "\n.SH OPTIONS\n");
    for (unsigned i = 0; i < OPT_COUNT; i++) {
        const Row *r = &rows[i];
        if (!(r->programs & t->program)) continue;
        spell(r, left, sizeof left);
        fprintf(out, ".TP\n.B ");
        put_roff(left, out);
        fputc('\n', out);
        put_roff(r->help, out);
        if (r->dflt && r->kind != KIND_maybe) {
            fprintf(out, " (default: ");
            put_roff(r->dflt, out);
            fputc(')', out);
        }
        fputc('\n', out);
    }
    man_notes(t, NOTE_code, "EXIT STATUS", out);
    man_notes(t, NOTE_variable, "ENVIRONMENT", out);
}
