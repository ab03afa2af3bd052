/*
 * alike.c: commands that nobody who reads of a step tells apart.
 *
 * A pipeline has the commands of a microbatch once for each of them, and for
 * each stage: in tables they are one row.
 */
#include <inttypes.h>

#include "predict.h"

/* What a row of a table says of it. */
static Str looks_of(StrTable *names, const TitanImage *im,
                    const TitanCommand *cmd)
{
    char name[200];
    Work w = work_of(im, cmd);
    command_name(im, cmd, name, sizeof name);
    return str_printf(names, "%s %" PRIu32 ":%" PRIu32 " %d %a %a %a", name,
                      cmd->file, cmd->line, (int)w.limit, w.bytes, w.flops,
                      w.scalars);
}

uint32_t *commands_alike(Arena *a, const TitanImage *im)
{
    uint32_t *first = NEW_ARRAY(a, uint32_t, (size_t)im->ncommands + 1);
    StrTable names;
    Map by_looks;
    str_init(&names, a);
    map_init(&by_looks, a);
    for (uint32_t i = 0; i < im->ncommands; i++) {
        Str looks = looks_of(&names, im, &im->commands[i]);
        if (map_find(&by_looks, looks.id, &first[i])) continue;
        map_add(&by_looks, looks.id, i);
        first[i] = i;
    }
    return first;
}
