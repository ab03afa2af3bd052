/* sources: runtime/safetensors.c runtime/status.c runtime/narrow.c
 * runtime/image.c runtime/image_commands.c runtime/image_lists.c
 * runtime/image_tensors.c runtime/parts.c runtime/ranks.c runtime/streams.c */
/* goal: 20000000 */
/*
 * The safetensors header: any bytes are taken or refused, never more.
 */
#include "runtime/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    TitanStory story = {0};
    StFile f;
    uint64_t data = size ? at[0] : 0;
    if (st_parse(&story, (const char *)at + (size > 0), size - (size > 0), data,
                 &f) == TITAN_OK)
        st_close(&f);
    return 0;
}
