/*
 * config_json.c: numbers and words of config.json beside those of the program.
 *
 * Shapes of weights show when they belong to another model, numbers such as an
 * epsilon and words such as the name of an activation do not.  The fact
 * `config.norm_eps.rms_norm_eps` is the value of norm_eps, which has that name
 * there; behind it dots lead into objects.
 */
#include "config_json.h"

#include "files.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const json_t *find(const json_t *in, const char *key)
{
    char name[256];
    while (in && *key) {
        size_t n = strcspn(key, ".");
        snprintf(name, sizeof name, "%.*s", (int)n, key);
        in = json_object_get(in, name);
        key += n + (key[n] == '.');
    }
    return in;
}

/* What versions of the library call otherwise. */
static const json_t *find_either(const json_t *in, const char *key)
{
    static const struct {
        const char *was, *is;
    } renamed[] = {{"rope_scaling.rope_type", "rope_scaling.type"},
                   {"rope_scaling.", "rope_parameters."},
                   {"rope_theta", "rope_parameters.rope_theta"}};
    char other[512];
    const json_t *v = find(in, key);
    for (unsigned i = 0; !v && i < sizeof renamed / sizeof *renamed; i++) {
        size_t n = strlen(renamed[i].was);
        if (strncmp(key, renamed[i].was, n) != 0) continue;
        snprintf(other, sizeof other, "%s%s", renamed[i].is, key + n);
        v = find(in, other);
    }
    return v;
}

static bool number_of(const json_t *v, double *out)
{
    if (!json_is_number(v) && !json_is_boolean(v)) return false;
    *out = json_is_boolean(v) ? json_is_true(v) : json_number_value(v);
    return true;
}

/* Files have some numbers in the digits of f32. */
static bool is_same(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fmax(fabs(a), fabs(b));
}

/* A config value of the program, and what the file has for it. */
typedef struct Pair {
    const char *path, *key; /* of the file, in it */
    const char *name;       /* in the program, of so many bytes: */
    int bytes;
    const json_t *value;
} Pair;

static void compare_number(const Pair *p, double ours)
{
    double theirs;
    if (!number_of(p->value, &theirs) || is_same(ours, theirs)) return;
    fprintf(stderr,
            "warning: \"%s\" says %s = %.9g, the program is compiled with %.9g "
            "(-D %.*s=%.9g)\n",
            p->path, p->key, theirs, ours, p->bytes, p->name, theirs);
}

static void compare_text(const Pair *p, const char *ours)
{
    const char *theirs = json_string_value(p->value);
    if (!theirs || strcmp(ours, theirs) == 0) return;
    fprintf(stderr,
            "warning: \"%s\" says %s = \"%s\", the program is compiled with "
            "\"%s\" (-D %.*s=%s)\n",
            p->path, p->key, theirs, ours, p->bytes, p->name, theirs);
}

static void compare(const TitanImage *im, const TitanFact *f, const char *name,
                    const char *path, const json_t *config)
{
    size_t n = strcspn(name, ".");
    Pair p = {.path = path,
              .key = name + n + (name[n] == '.'),
              .name = name,
              .bytes = (int)n};
    p.value = find_either(config, p.key);
    if (f->text)
        compare_text(&p, titan_string(im, f->text));
    else
        compare_number(&p, f->value);
}

void config_json_compare(const TitanImage *im, const char *dir)
{
    static const char prefix[] = "config.";
    char path[FILES_PATH];
    if (!path_join(path, dir, "config.json")) return;
    json_t *config = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    for (uint32_t i = 0; config && i < im->nfacts; i++) {
        const char *name = titan_string(im, im->facts[i].name);
        if (strncmp(name, prefix, sizeof prefix - 1) == 0)
            compare(im, &im->facts[i], name + sizeof prefix - 1, path, config);
    }
    json_decref(config);
}
