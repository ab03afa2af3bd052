/*
 * trace.c: the file of a profile.
 */
#include "trace.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static TitanStatus fail(const Trace *t)
{
    return titan_fail(t->story, TITAN_IO, "could not write \"%s\": %s", t->path,
                      strerror(errno));
}

TitanStatus trace_begin(TitanStory *s, const char *path, const char *how,
                        Trace *out)
{
    *out = (Trace){.story = s, .path = path, .between = ""};
    json_t *other = json_pack("{s:s}", "timed by", how);
    char *text = json_dumps(other, JSON_COMPACT);
    json_decref(other);
    if (!text) return titan_no_memory(s);
    out->file = fopen(path, "w");
    if (out->file)
        fprintf(out->file,
                "{\"displayTimeUnit\":\"ms\",\"otherData\":%s,"
                "\"traceEvents\":[",
                text);
    free(text);
    return out->file ? TITAN_OK : fail(out);
}

void trace_add(Trace *t, const char *events, size_t n)
{
    if (n == 0) return;
    fputs(t->between, t->file);
    fwrite(events, 1, n, t->file);
    t->between = ",";
}

TitanStatus trace_end(Trace *t)
{
    fputs("]}\n", t->file);
    bool bad = ferror(t->file);
    if (fclose(t->file) == 0 && !bad) return TITAN_OK;
    return fail(t);
}
