/*
 * frontend.h: from .tt texts to a checked module in the global view.
 */
#ifndef TITAN_FRONTEND_H
#define TITAN_FRONTEND_H

#include "../ir/ir.h"

typedef struct Define {
    const char *name, *value; /* -D name=value */
} Define;

typedef struct FrontendOpts {
    const char *const *inputs; /* paths; "-" is stdin */
    uint32_t ninputs;
    const char *const *include_dirs; /* -I, searched before the library */
    uint32_t ninclude_dirs;
    const Define *defines;
    uint32_t ndefines;
    const char *config, *train, *plan; /* names, or NULL: the defaults */
    const char *entries;               /* --entries; NULL: the default */
    const char *dtype;                 /* "f32", "bf16", "bf16-states" */
    int64_t devices;                   /* --devices, 0: not given */
    const char *why;                   /* --why: a path, or NULL */
    bool check; /* modules alone are a program too */
} FrontendOpts;

typedef struct Frontend Frontend;

/* Reads and parses all inputs and their imports.  NULL: errors reported.  The
 * result lives in the module's arena. */
Frontend *frontend_parse(Module *m, const FrontendOpts *o);
/* The syntax trees as text (--emit=ast): canonical source. */
void frontend_print_ast(Frontend *f, Buf *out);
/* Every config value in force, and where it was set (--print-config). */
bool frontend_print_config(Frontend *f, Buf *out);
/* Checks everything and fills the module: slots, options, and the entries
 * `init`, the train block (named "train"), and each entry block. */
bool frontend_lower(Frontend *f);
/* After lowering: lines that say which rules of the plan split the tensors at
 * the path of --why; none without a plan. */
uint32_t frontend_why(const Frontend *f, const char *const **lines);
/* Paths of all files read, for -MD. */
uint32_t frontend_files(const Frontend *f, const char *const **paths);

#endif
