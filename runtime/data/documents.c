/*
 * documents.c: which format opens a file.
 */
#include "documents.h"

TitanStatus documents_open(TitanStory *s, const DataFile *file,
                           const char *text_key, DocFile **out)
{
    *out = NULL;
    switch (file->format) {
    case DATA_jsonl:
        return lines_open(s, file, text_key, out);
    case DATA_megatron:
        return megatron_open(s, file, out);
    case DATA_mds:
        return mds_open(s, file, text_key, out);
    case DATA_text:
        return text_open(s, file, out);
    case DATA_u16:
    case DATA_u32:
    case DATA_bin:
        break;
    }
    return titan_fail(s, TITAN_INTERNAL, "\"%s\" has no documents", file->path);
}
