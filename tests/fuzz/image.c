/* sources: runtime/image.c runtime/image_tensors.c runtime/image_commands.c
 * runtime/image_lists.c runtime/parts.c runtime/ranks.c runtime/streams.c
 * runtime/status.c
 * runtime/describe.c runtime/layout.c runtime/narrow.c runtime/ptx.c
 * build/libtitanrt.a */
/* links: -ljansson -ldl -lpthread */
/* goal: 1000000 */
/*
 * The image reader: what it takes can be listed, laid out and dealt out to
 * ranks without a check of its own.  The hash is made to fit, so that the
 * fuzzer gets past it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "runtime/layout.h"
#include "runtime/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

static void seal(TitanHeader *h, size_t size)
{
    XXH128_canonical_t canonical;
    h->magic = TITAN_IMAGE_MAGIC;
    h->version = TITAN_IMAGE_VERSION;
    h->size = size;
    memset(h->hash, 0, sizeof h->hash);
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(h, size));
    memcpy(h->hash, canonical.digest, sizeof h->hash);
}

/* Every run of a part lies in the base of its rank. */
typedef struct Runs {
    PartSink sink; /* first */
    uint64_t room;
    int left;
} Runs;

static TitanStatus take_run(PartSink *sink, const PartRun *r)
{
    Runs *runs = (Runs *)sink;
    if (r->own > runs->room || r->bytes > runs->room - r->own) abort();
    return runs->left-- > 0 ? TITAN_OK : TITAN_UNAVAILABLE;
}

static void use_parts(const TitanImage *im)
{
    for (uint32_t i = 0; i < im->nslots && i < 8; i++) {
        Tensor t = tensor_of_slot(im, &im->slots[i]);
        for (uint32_t r = 0; r < im->header->ranks && r < 8; r++) {
            Runs runs = {{take_run}, stage_of(im, r)->base_bytes[t.base], 1000};
            PartAsk ask = {.rank = r, .to = UINT64_MAX / 2, .first = r % 2};
            tensor_runs(&t, &ask, &runs.sink);
        }
    }
}

static void use_image(const TitanImage *im)
{
    TitanStory story = {0};
    CkptLayout layout;
    FILE *sink = fopen("/dev/null", "w");
    if (sink) {
        titan_describe(im, sink);
        fclose(sink);
    }
    int64_t turns = 0;
    for (uint32_t i = 0; i < im->nslots; i++)
        turns += titan_elements(im, im->slots[i].axes);
    if (im->header->ranks > 1) use_parts(im);
    if (turns < 10000) layout_new(&story, im, &layout), layout_free(&layout);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    TitanStory story = {0};
    TitanImage im;
    void *words;
    size_t bytes;
    if (titan_ptx_image(&story, (const char *)at, size, &words, &bytes) ==
        TITAN_OK)
        free(words);
    if (size < sizeof(TitanHeader)) return 0;
    char *copy = aligned_alloc(16, (size + 15) & ~(size_t)15);
    memcpy(copy, at, size);
    seal((TitanHeader *)(void *)copy, size);
    if (titan_image_open(&story, copy, size, &im) == TITAN_OK) use_image(&im);
    free(copy);
    return 0;
}
