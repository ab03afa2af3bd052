/*
 * stream.c: which stream some files make: text without a tokenizer and token
 * files are a sequence, all else are documents.
 */
#include "stream.h"

#include "unpack.h"

static bool is_sequence(const StreamOptions *o, const DataFile *f)
{
    switch (f->format) {
    case DATA_u16:
    case DATA_u32:
    case DATA_bin:
        return true;
    case DATA_text:
        return !o->tokenizer && !unpack_is_packed(f->path);
    case DATA_jsonl:
    case DATA_megatron:
    case DATA_mds:
        return false;
    }
    return false;
}

TitanStatus stream_open(TitanStory *s, const StreamOptions *o, uint64_t which,
                        DataFiles *files, Stream **out)
{
    Stream base = {.story = s, .o = o, .files = *files, .which = which};
    bool sequence = true;
    for (uint32_t i = 0; i < files->n; i++)
        sequence = sequence && is_sequence(o, &files->at[i]);
    *files = (DataFiles){0};
    *out = NULL;
    return sequence ? sequence_open(&base, out) : pack_open(&base, out);
}
