/* sources: runtime/checkpoint/manifest.c runtime/checkpoint/digest.c
 * runtime/checkpoint/source.c runtime/checkpoint/shards.c
 * runtime/checkpoint/pump.c runtime/files.c runtime/safetensors.c
 * runtime/status.c runtime/narrow.c runtime/image.c runtime/image_commands.c
 * runtime/image_lists.c runtime/image_tensors.c runtime/parts.c
 * runtime/ranks.c runtime/streams.c */
/* links: -ljansson */
/* seeds: tests/fuzz/corpus/manifest */
/* goal: 1000000 */
/*
 * A checkpoint's manifest whose digest holds: whatever stands in front of it is
 * taken or refused, and what is taken keeps its bounds.
 */
#include "runtime/checkpoint/manifest.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

static void check(const Manifest *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        const ManifestFile *f = &m->files[i];
        uint64_t end = f->header;
        if (strchr(f->name, '/') || f->name[0] == '.') abort();
        for (uint32_t k = 0; k < f->ntensors; k++) {
            if (f->tensors[k].end < end || f->tensors[k].end > f->bytes)
                abort();
            end = f->tensors[k].end;
        }
        for (uint64_t b = 0; b < digest_blocks(f->bytes); b++)
            if (f->blocks[b].at[0] == 1 && f->blocks[b].at[15] == 254) return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    static const char key[] = ", \"digest\": \"", ending[] = "\"}\n";
    TitanStory story = {0};
    Manifest m;
    char *text = malloc(size + 64);
    memcpy(text, at, size);
    memcpy(text + size, key, sizeof key - 1);
    size += sizeof key - 1;
    Digest d = digest_of(text, size);
    digest_print(&d, text + size);
    size += 2 * DIGEST_BYTES;
    memcpy(text + size, ending, sizeof ending - 1);
    size += sizeof ending - 1;
    if (manifest_parse(&story, text, size, &m) == TITAN_OK) {
        check(&m);
        manifest_free(&m);
    }
    free(text);
    return 0;
}
