/*
 * titan-run.c: runs a training program, or lists a compiled step.
 *
 * A training program is started in place of this process, with the same
 * arguments.  The image of a step.ptx can be listed on any machine.
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
    "Runs a training program, or lists what is in it or in a step.ptx."};

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
    if (ok) return TITAN_OK;
    return titan_fail(s, TITAN_IO, "could not read \"%s\"", path);
}

static bool is_program(const File *f)
{
    static const uint64_t magic = TITAN_IMAGE_MAGIC;
    return f->size > 4 && memcmp(f->at, "\177ELF", 4) == 0 &&
           memmem(f->at, f->size, &magic, sizeof magic);
}

/* Does not return when the program could be started. */
static TitanStatus start_program(TitanStory *s, const File *f, int argc,
                                 char **argv, const char *path)
{
    char **args = calloc((size_t)argc + 1, sizeof *args);
    if (!args) return titan_fail(s, TITAN_UNAVAILABLE, "out of memory");
    int n = 0;
    bool dropped = false;
    for (int i = 0; i < argc; i++) {
        bool file = i > 0 && !dropped && strcmp(argv[i], path) == 0;
        dropped = dropped || file;
        if (!file) args[n++] = argv[i];
    }
    args[0] = (char *)(uintptr_t)path;
    execv(f->path, args);
    free(args);
    return titan_fail(s, TITAN_IO, "could not start \"%s\": %s", f->path,
                      strerror(errno));
}

/* There is no executor for GPUs yet. */
static TitanStatus no_executor(TitanStory *s, const TitanImage *im)
{
    return titan_fail(s, TITAN_UNAVAILABLE,
                      "the step is compiled for %s, and this runtime executes "
                      "steps of the host alone; compile a training program "
                      "with -o train, or list this one with --describe",
                      im->header->target == TITAN_TARGET_sm_90a ? "sm_90a"
                                                                : "sm_100a");
}

static TitanStatus run_ptx(TitanStory *s, const Options *o, const File *f)
{
    void *image;
    size_t size;
    TitanImage im;
    TRY(titan_while(s, titan_ptx_image(s, f->at, f->size, &image, &size),
                    "reading \"%s\"", f->path));
    TitanStatus st = titan_image_open(s, image, size, &im);
    if (st == TITAN_OK && option_given(o, OPT_describe))
        titan_describe(&im, stdout);
    else if (st == TITAN_OK)
        st = no_executor(s, &im);
    free(image);
    return titan_while(s, st, "reading \"%s\"", f->path);
}

static TitanStatus run(TitanStory *s, const Options *o, int argc, char **argv)
{
    if (o->arguments.n != 1)
        return titan_fail(s, TITAN_USAGE,
                          "give one FILE, a step.ptx or a training program");
    File f;
    TitanStatus st = read_whole(s, o->arguments.at[0], &f);
    if (st == TITAN_OK)
        st = is_program(&f)
                 ? start_program(s, &f, argc, argv, o->arguments.at[0])
                 : run_ptx(s, o, &f);
    free(f.at);
    return st;
}

int main(int argc, char **argv)
{
    char error[OPTION_ERROR];
    Options o;
    TitanStory story = {0};
    TitanStatus st = TITAN_OK;
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
        st = run(&story, &o, argc, argv);
    if (st != TITAN_OK) titan_story_print(&story, "titan-run");
    options_release(&o);
    return st;
}
