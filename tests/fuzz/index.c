/* sources: runtime/checkpoint/source.c runtime/files.c runtime/safetensors.c
 * runtime/status.c runtime/narrow.c runtime/image.c runtime/image_commands.c
 * runtime/image_lists.c runtime/image_tensors.c runtime/parts.c
 * runtime/ranks.c runtime/streams.c */
/* links: -ljansson */
/* seeds: tests/fuzz/corpus/index */
/* goal: 20000000 */
/*
 * The index of sharded weights: what it names are plain file names, each once.
 */
#include "runtime/checkpoint/source.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    TitanStory story = {0};
    SourceIndex x;
    if (source_index(&story, (const char *)at, size, &x) != TITAN_OK) return 0;
    for (uint32_t i = 0; i < x.n; i++) {
        if (strchr(x.shards[i], '/') || strcmp(x.shards[i], "..") == 0) abort();
        if (i > 0 && strcmp(x.shards[i - 1], x.shards[i]) >= 0) abort();
    }
    source_index_free(&x);
    return 0;
}
