/*
 * titanc.h: what the files of the compiler's main program share.
 */
#ifndef TITAN_TOOLS_TITANC_H
#define TITAN_TOOLS_TITANC_H

#include "../codegen/codegen.h"
#include "../frontend/frontend.h"
#include "../passes/pass.h"
#include "../runtime/option.h"
#include "../runtime/titan.h"
#include "guard.h"

enum { EXIT_OK = 0, EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_OVER_LIMIT = 3 };

typedef enum EmitKind {
    EMIT_nothing,
    EMIT_ast,
    EMIT_tir,
    EMIT_html,
    EMIT_image,
    EMIT_llvm,
    EMIT_ptx,
    EMIT_obj,
    EMIT_exe
} EmitKind;

/* What the command line asks for. */
typedef struct Request {
    const Options *o;
    Arena *arena; /* of the session */
    const char *const *inputs;
    uint32_t ninputs;
    const char *plan;   /* or NULL */
    char plan_file[32]; /* of --plan auto: to remove; or empty */
    EmitKind emit;
    const char *output; /* NULL: stdout, for what is text */
    CodegenOpts codegen;
    const char *stats; /* "text", "json" or NULL */
    int64_t memory_limit;
    const Define *defines;
} Request;

/* One compilation. */
typedef struct Job {
    const Request *r;
    GuardNote *note;
    Arena arena, scratch;
    Diag diag;
    Module m;
    Frontend *frontend;
    Artifact made;
    struct json_t
        *functions; /* --emit=html: of the program before its passes */
} Job;

/* job.c: one compilation, step by step.  False: an error was reported. */
void job_init(Job *j, const Request *r, GuardNote *note);
void job_release(Job *j);
bool job_parse(Job *j);
/* The passes that are asked for of the lowered program, or NULL; MOST: of them,
 * 0: all. */
const char *job_pipeline(const Job *j);
bool job_passes(Job *j, const char *pipeline, uint32_t most);
/* Parsed, and as IR in front of all passes. */
bool job_lower(Job *j);
/* All of it up to the image, and nothing is printed. */
bool job_trial(Job *j, TitanImage *im);
/* All that was asked for. */
bool job_make(Job *j);

/* search.c: --plan auto: R takes a plan of its own for --devices, the fastest
 * by prediction that fits.  False: an error was printed. */
bool plan_search(Request *r, Arena *a, GuardNote *note);
/* Removes the file of a plan that nobody asked to see. */
void plan_forget(const Request *r);

/* request.c: false: the command line is wrong; one line is on stderr. */
bool request_read(Request *r, const Options *o, Arena *a);

/* artifact.c: writes what was made.  False: an error was reported. */
bool artifact_write(Job *j);
/* The make rule of -MD. */
bool depfile_write(Job *j);
/* Text to -o or stdout. */
bool text_write(Job *j, const Buf *b);

/* link.c: a training program from an object file's bytes. */
bool link_program(Job *j);

/* explain.c: prints the page of an id, or the list of all. */
int explain(const char *id);

/* The image as the runtime sees it.  False: it takes none of this size. */
bool image_open(Job *j, TitanImage *im);
/* The room behind the values of a step in which a host widens what its products
 * read, one for all of them: its bytes, 0 where none needs it. */
uint64_t products_room(const TitanImage *im, uint64_t *offset);
/* report.c: --stats, and whether the program keeps to --memory-limit. */
bool stats_print(Job *j);
bool within_limit(Job *j);
/* --why: where a parameter or state lies, and which rules put it there. */
bool why_print(Job *j);

#endif
