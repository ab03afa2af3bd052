/*
 * verify.c: `titan verify DIR...`: whether checkpoints are whole.
 */
#include "command.h"
#include "whole.h"

#include "../../runtime/checkpoint/folder.h"
#include "../../runtime/checkpoint/verify.h"

#include <inttypes.h>
#include <stdio.h>

bool is_checkpoint(const char *dir)
{
    char path[FILES_PATH];
    int fd;
    uint64_t size;
    Files *files = files_real();
    if (!path_join(path, dir, MANIFEST_NAME)) return false;
    if (files->class->open(files, path, &fd, &size) != 0) return false;
    files->class->close(files, fd);
    return true;
}

TitanStatus say_whole(TitanStory *s, const char *dir)
{
    Manifest m;
    uint64_t bytes = 0;
    TitanStatus st = manifest_read(s, files_real(), dir, &m);
    if (st != TITAN_OK) {
        printf("%s: not a checkpoint: %s\n", dir, s->line[0]);
        return st;
    }
    st = checkpoint_verify(s, files_real(), dir, &m, stdout);
    for (uint32_t i = 0; i < m.n; i++)
        bytes += m.files[i].bytes;
    if (st == TITAN_OK)
        printf("%s: whole, step %" PRId64 "%s, %" PRIu32 " files, %.1f MB\n",
               dir, m.step, m.model_only ? ", the model alone" : "", m.n,
               (double)bytes * 1e-6);
    else
        printf("%s: damaged\n", dir);
    manifest_free(&m);
    return st;
}

TitanStatus say_all_whole(TitanStory *s, const char *dir, uint32_t *n)
{
    Folder f;
    char path[FILES_PATH];
    TitanStatus worst = TITAN_OK;
    TRY(folder_scan(s, files_real(), dir, &f));
    *n = f.n;
    for (uint32_t i = 0; i < f.n; i++) {
        TitanStory one = {0};
        TitanStatus st = folder_path(&one, dir, f.steps[i], "", path);
        if (st == TITAN_OK) st = say_whole(&one, path);
        if (st == TITAN_OK || worst != TITAN_OK) continue;
        worst = st;
        *s = one;
    }
    folder_free(&f);
    return worst;
}

static TitanStatus verify_one(TitanStory *s, const char *dir)
{
    uint32_t n;
    if (is_checkpoint(dir)) return say_whole(s, dir);
    TRY(say_all_whole(s, dir, &n));
    if (n > 0) return TITAN_OK;
    return titan_fail(s, TITAN_IO, "there is no checkpoint in \"%s\"", dir);
}

TitanStatus command_verify(TitanStory *s, const Options *o)
{
    if (o->arguments.n == 0)
        return titan_fail(s, TITAN_USAGE, "give checkpoints, or their folder");
    for (uint32_t i = 0; i < o->arguments.n; i++)
        TRY(verify_one(s, o->arguments.at[i]));
    return TITAN_OK;
}
