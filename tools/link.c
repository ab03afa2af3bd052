/*
 * link.c: a training program: the step's object and the runtime, linked by a C
 * compiler.
 *
 * The compiler is the one in CC, else the one that built titanc; it is started
 * without a shell.  The runtime lies beside titanc, or in ../lib of an
 * installation.  For a GPU the object is made of the image, the PTX and, with
 * ptxas, a cubin by the same compiler.  Everything is made in a fresh folder
 * below TMPDIR; the program goes to its place by a rename.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "titanc.h"

extern char **environ;

enum { MOST_WORDS = 64 };

typedef struct Link {
    Job *j;
    const char *folder;
    const char *words[MOST_WORDS + 1];
    unsigned n;
} Link;

static bool failed(Job *j, const char *what, const char *path)
{
    diag_error(&j->diag, DIAG_file_write, (Span){0}, "could not %s \"%s\": %s",
               what, path, strerror(errno));
    return false;
}

static void add(Link *l, const char *word)
{
    if (l->n < MOST_WORDS) l->words[l->n++] = word;
}

/* Adds the words of a text, which blanks separate. */
static void add_words(Link *l, const char *text)
{
    while (*text) {
        text += strspn(text, " ");
        size_t n = strcspn(text, " ");
        if (n) add(l, arena_strndup(&l->j->arena, text, n));
        text += n;
    }
}

static const char *below(Link *l, const char *name)
{
    return arena_printf(&l->j->arena, "%s/%s", l->folder, name);
}

/* ------------------------------------------------------------- programs -- */

static bool report_compiler(Link *l, const char *compiler, int error)
{
    Report *r = diag_error(&l->j->diag, DIAG_no_compiler, (Span){0},
                           "could not start the C compiler \"%s\": %s",
                           compiler, strerror(error));
    report_help(r, "name one in CC, or make an object with --emit=obj");
    return false;
}

/* Runs the words to their end: 0 or the exit status; below 0: they could not
 * be started, -errno. */
static int run_words(Link *l)
{
    pid_t child;
    int status;
    l->words[l->n] = NULL;
    char *const *words = (char *const *)(uintptr_t)l->words;
    if (option_given(l->j->r->o, OPT_verbose)) {
        for (unsigned i = 0; i < l->n; i++)
            fprintf(stderr, "%s%s", i ? " " : "", l->words[i]);
        fputc('\n', stderr);
    }
    int error = posix_spawnp(&child, words[0], NULL, NULL, words, environ);
    if (error) return -error;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return -errno;
    /* where the library has no means to say that exec failed */
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) return -ENOENT;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool run(Link *l)
{
    int status = run_words(l);
    if (status == 0) return true;
    if (status < 0) return report_compiler(l, l->words[0], -status);
    Report *r = diag_error(&l->j->diag, DIAG_link_failed, (Span){0},
                           "the C compiler \"%s\" could not link the program",
                           l->words[0]);
    report_note(r, (Span){0}, "its own message is above");
    return false;
}

static void begin(Link *l)
{
    const char *cc = getenv("CC");
    l->n = 0;
    add_words(l, cc && *cc ? cc : TITAN_CC);
}

/* -------------------------------------------------------------- objects -- */

static bool put(Link *l, const char *name, const void *at, size_t n)
{
    const char *path = below(l, name);
    return write_file(path, at, n, false) || failed(l->j, "write", path);
}

static const char device_assembly[] =
    "        .section .rodata\n"
    "        .globl titan_image, titan_image_size, titan_kernels\n"
    "        .globl titan_ptx, titan_ptx_size\n"
    "        .globl titan_cubin, titan_cubin_size\n"
    "        .balign 16\n"
    "titan_image:\n"
    "        .incbin \"image\"\n"
    "titan_image_end:\n"
    "        .balign 16\n"
    "titan_ptx:\n"
    "        .incbin \"ptx\"\n"
    "titan_ptx_end:\n"
    "        .byte 0\n"
    "        .balign 16\n"
    "titan_cubin:\n"
    "        .incbin \"cubin\"\n"
    "titan_cubin_end:\n"
    "        .balign 8\n"
    "titan_image_size:\n"
    "        .quad titan_image_end - titan_image\n"
    "titan_ptx_size:\n"
    "        .quad titan_ptx_end - titan_ptx\n"
    "titan_cubin_size:\n"
    "        .quad titan_cubin_end - titan_cubin\n"
    "titan_kernels:\n"
    "        .quad 0\n"
    "        .section .note.GNU-stack,\"\",@progbits\n";

/* The machine code for the exact GPU, where ptxas is at hand: the one in
 * PTXAS, else the one that the build found, else on the path.  Without it the
 * file is empty, and the driver compiles the PTX when it loads it. */
static bool put_cubin(Link *l)
{
    const char *ptxas = getenv("PTXAS");
    const char *target = target_name(l->j->r->codegen.target);
    if (!ptxas || !*ptxas) ptxas = *TITAN_PTXAS ? TITAN_PTXAS : "ptxas";
    l->n = 0;
    add(l, ptxas);
    add(l, arena_printf(&l->j->arena, "-arch=%s", target));
    add(l, "-o");
    add(l, below(l, "cubin"));
    add(l, below(l, "ptx"));
    if (run_words(l) == 0) return true;
    return put(l, "cubin", "", 0);
}

/* Image, PTX and cubin as an object, for a GPU. */
static bool put_device(Link *l)
{
    const Artifact *a = &l->j->made;
    if (!put(l, "image", a->image, a->image_size) ||
        !put(l, "ptx", a->text, a->text_size) || !put_cubin(l) ||
        !put(l, "step.s", device_assembly, sizeof device_assembly - 1))
        return false;
    begin(l);
    add(l, "-c");
    add(l, arena_printf(&l->j->arena, "-Wa,-I,%s", l->folder));
    add(l, "-o");
    add(l, below(l, "step.o"));
    add(l, below(l, "step.s"));
    return run(l);
}

static bool put_object(Link *l)
{
    if (target_is_gpu(l->j->r->codegen.target)) return put_device(l);
    return put(l, "step.o", l->j->made.object, l->j->made.object_size);
}

/* -------------------------------------------------------------- linking -- */

/* libtitanrt.a, beside this program or in the lib folder next to its own. */
static const char *runtime_library(Job *j)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash) *slash = 0;
    const char *beside = arena_printf(&j->arena, "%s/libtitanrt.a", self);
    if (access(beside, R_OK) == 0) return beside;
    const char *installed =
        arena_printf(&j->arena, "%s/../lib/libtitanrt.a", self);
    if (access(installed, R_OK) == 0) return installed;
    Report *r = diag_error(&j->diag, DIAG_no_runtime, (Span){0},
                           "could not find the runtime library \"%s\"", beside);
    report_help(r, "it is made with titanc, and belongs beside it");
    return NULL;
}

static bool link_it(Link *l, const char *runtime)
{
    const char *made = below(l, "program");
    begin(l);
    add_words(l, TITAN_LINK_FLAGS);
    add(l, "-o");
    add(l, made);
    add(l, below(l, "step.o"));
    add(l, runtime);
    add_words(l, TITAN_LINK_LIBS);
    if (!run(l)) return false;
    size_t n;
    char *bytes = read_file(&l->j->arena, made, &n);
    if (!bytes) return failed(l->j, "read", made);
    return write_file(l->j->r->output, bytes, n, true) ||
           failed(l->j, "write", l->j->r->output);
}

static void clean(Link *l)
{
    static const char *const names[] = {"image",  "ptx",    "cubin",
                                        "step.s", "step.o", "program"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        unlink(below(l, names[i]));
    rmdir(l->folder);
}

bool link_program(Job *j)
{
    const char *runtime = runtime_library(j);
    if (!runtime) return false;
    const char *tmp = getenv("TMPDIR");
    char *folder =
        arena_printf(&j->arena, "%s/titanc-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) return failed(j, "make the folder", folder);
    Link l = {.j = j, .folder = folder};
    bool ok = put_object(&l) && link_it(&l, runtime);
    clean(&l);
    return ok;
}
