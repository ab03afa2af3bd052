/*
 * titan-run.c: runs a compiled step.
 *
 * A training program is started in place of this process, with the same
 * arguments; a step.ptx is run here, on a GPU.  Either can be listed on any
 * machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../runtime/option.h"
#include "../runtime/titan.h"

static const ProgramText text = {
    PROGRAM_run, "titan-run", "FILE [options]",
    "Runs a step.ptx or a training program, or lists what is in it."};

typedef struct File {
    const char *path;
    char *at;
    size_t size;
} File;

static TitanStatus read_whole(TitanStory *s, const char *path, File *out)
{
    *out = (File){.path = path};
    FILE *in = fopen(path, "rb");
    if (!in)
        return titan_fail(s, TITAN_IO, "could not open \"%s\": %s", path,
                          strerror(errno));
    struct stat st;
    bool regular = fstat(fileno(in), &st) == 0 && S_ISREG(st.st_mode);
    out->size = regular ? (size_t)st.st_size : 0;
    out->at = malloc(out->size + 1);
    bool ok =
        regular && out->at && fread(out->at, 1, out->size, in) == out->size;
    fclose(in);
    if (ok) {
        out->at[out->size] = 0;
        return TITAN_OK;
    }
    return titan_fail(s, TITAN_IO, "could not read \"%s\"", path);
}

static bool is_program(const File *f)
{
    static const uint64_t magic = TITAN_IMAGE_MAGIC;
    return f->size > 4 && memcmp(f->at, "\177ELF", 4) == 0 &&
           memmem(f->at, f->size, &magic, sizeof magic);
}

/* The arguments without the file; argv[0] is the file's name. */
static char **arguments(int argc, char **argv, const char *path, int *n)
{
    char **args = calloc((size_t)argc + 1, sizeof *args);
    bool dropped = false;
    *n = 0;
    for (int i = 0; args && i < argc; i++) {
        bool file = i > 0 && !dropped && strcmp(argv[i], path) == 0;
        dropped = dropped || file;
        if (!file) args[(*n)++] = argv[i];
    }
    return args;
}

/* Does not return when the program could be started. */
static TitanStatus start_program(TitanStory *s, const File *f, int argc,
                                 char **argv)
{
    int n;
    char **args = arguments(argc, argv, f->path, &n);
    if (!args) return titan_fail(s, TITAN_UNAVAILABLE, "out of memory");
    args[0] = (char *)(uintptr_t)f->path;
    execv(f->path, args);
    free(args);
    return titan_fail(s, TITAN_IO, "could not start \"%s\": %s", f->path,
                      strerror(errno));
}

/* A step.ptx holds what a training program holds, but for machine code. */
static TitanStatus run_ptx(TitanStory *s, const File *f, int argc, char **argv,
                           int *code)
{
    void *image;
    TitanCode step = {.ptx = f->at, .ptx_size = f->size};
    TRY(titan_while(s, titan_ptx_image(s, f->at, f->size, &image, &step.size),
                    "reading \"%s\"", f->path));
    step.image = image;
    int n;
    char **args = arguments(argc, argv, f->path, &n);
    if (args) *code = titan_main(n, args, &step);
    free(image);
    free(args);
    return args ? TITAN_OK : titan_fail(s, TITAN_UNAVAILABLE, "out of memory");
}

static TitanStatus run(TitanStory *s, const Options *o, int argc, char **argv,
                       int *code)
{
    if (o->arguments.n != 1)
        return titan_fail(s, TITAN_USAGE,
                          "give one FILE, a step.ptx or a training program");
    File f;
    TitanStatus st = read_whole(s, o->arguments.at[0], &f);
    if (st == TITAN_OK)
        st = is_program(&f) ? start_program(s, &f, argc, argv)
                            : run_ptx(s, &f, argc, argv, code);
    free(f.at);
    return st;
}

int main(int argc, char **argv)
{
    char error[OPTION_ERROR];
    Options o;
    TitanStory story = {0};
    TitanStatus st = TITAN_OK;
    int code = 0;
    if (!options_parse(&o, PROGRAM_run, argc, argv, error)) {
        fprintf(stderr, "titan-run: error: %s\n", error);
        return TITAN_USAGE;
    }
    bool file = o.arguments.n > 0;
    if (!file && option_given(&o, OPT_help))
        options_help(&text, stdout);
    else if (!file && option_given(&o, OPT_manual))
        options_man(&text, stdout);
    else if (!file && option_given(&o, OPT_version))
        printf("image version %d\n", TITAN_IMAGE_VERSION);
    else
        st = run(&story, &o, argc, argv, &code);
    if (st != TITAN_OK) titan_story_print(&story, "titan-run");
    options_release(&o);
    return st == TITAN_OK ? code : (int)st;
}
