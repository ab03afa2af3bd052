/*
 * start.c: starting what was compiled.
 *
 * A training program is a process of its own; a step.ptx, which holds what a
 * training program holds but for machine code, is run here, on a GPU.
 */
#include "start.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

static TitanStatus not_started(TitanStory *s, const char *path, int error)
{
    return titan_fail(s, TITAN_IO, "could not start \"%s\": %s", path,
                      strerror(error));
}

/* One that a signal has ended has the exit code that a shell would say. */
static TitanStatus wait_for(TitanStory *s, const char *path, pid_t child,
                            int *code)
{
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return not_started(s, path, errno);
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return TITAN_OK;
}

static TitanStatus start_program(TitanStory *s, const char *path, bool stays,
                                 char **argv, int *code)
{
    extern char **environ;
    if (!stays) {
        execv(path, argv);
        return not_started(s, path, errno);
    }
    pid_t child;
    int error = posix_spawn(&child, path, NULL, NULL, argv, environ);
    if (error) return not_started(s, path, error);
    return wait_for(s, path, child, code);
}

static TitanStatus run_ptx(TitanStory *s, const File *f, int argc, char **argv,
                           int *code)
{
    void *image;
    TitanCode step = {.ptx = f->at, .ptx_size = f->size};
    TRY(titan_while(s, titan_ptx_image(s, f->at, f->size, &image, &step.size),
                    "reading \"%s\"", f->path));
    step.image = image;
    *code = titan_main(argc, argv, &step);
    free(image);
    return TITAN_OK;
}

TitanStatus start_file(TitanStory *s, const char *path, bool stays, int argc,
                       char **argv, int *code)
{
    File f;
    TitanStatus st = read_whole(s, path, &f);
    if (st == TITAN_OK && is_program(&f)) {
        argv[0] = (char *)(uintptr_t)path;
        st = start_program(s, path, stays, argv, code);
    } else if (st == TITAN_OK) {
        st = run_ptx(s, &f, argc, argv, code);
    }
    free(f.at);
    return st;
}
