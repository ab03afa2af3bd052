/* sources: runtime/ptx.c runtime/image.c runtime/image_commands.c
 * runtime/image_lists.c runtime/image_tensors.c runtime/parts.c
 * runtime/ranks.c runtime/status.c runtime/narrow.c runtime/streams.c */
/* goal: 1000000 */
/*
 * The image in the text of a step.ptx: any bytes behind its first line, and
 * what is found there is taken or refused.
 */
#include <stdlib.h>
#include <string.h>

#include "runtime/titan.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    static const char magic[] = TITAN_PTX_MAGIC
        "\n.visible .global .align 8 .b64 " TITAN_SYMBOL_IMAGE "[";
    TitanStory s = {0};
    void *image = NULL;
    size_t n = sizeof magic - 1, bytes;
    char *text = malloc(n + size);
    TitanImage im;
    if (!text) return 0;
    memcpy(text, magic, n);
    memcpy(text + n, at, size);
    if (titan_ptx_image(&s, text, n + size, &image, &bytes) == TITAN_OK)
        (void)titan_image_open(&s, image, bytes, &im);
    free(image);
    free(text);
    return 0;
}
