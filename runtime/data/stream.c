/*
 * stream.c: which stream some files make: text without a tokenizer and token
 * files are a sequence, all else are documents.
 */
#include "stream.h"

#include "unpack.h"

/* Its tokens are given, and where documents end is not. */
static bool is_tokens(const DataFile *f)
{
    return f->format == DATA_u16 || f->format == DATA_u32 ||
           f->format == DATA_bin;
}

static bool is_sequence(const StreamOptions *o, const DataFile *f)
{
    bool bytes =
        f->format == DATA_text && !o->tokenizer && !unpack_is_packed(f->path);
    return bytes || is_tokens(f);
}

static TitanStatus check_documents(TitanStory *s, const DataFiles *files)
{
    for (uint32_t i = 0; i < files->n; i++)
        if (is_tokens(&files->at[i]))
            return titan_fail(s, TITAN_USAGE,
                              "\"%s\" has tokens without documents: it goes "
                              "together with files of documents only in a "
                              "mixture, with weights",
                              files->at[i].path);
    return TITAN_OK;
}

TitanStatus stream_open(TitanStory *s, const StreamOptions *o, uint64_t which,
                        DataFiles *files, Stream **out)
{
    Stream base = {.story = s, .o = o, .files = *files, .which = which};
    bool sequence = true;
    *out = NULL;
    for (uint32_t i = 0; i < files->n; i++)
        sequence = sequence && is_sequence(o, &files->at[i]);
    if (!sequence) TRY(check_documents(s, files));
    *files = (DataFiles){0};
    return sequence ? sequence_open(&base, out) : pack_open(&base, out);
}
