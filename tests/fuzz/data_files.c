/* sources: runtime/data/documents.c runtime/data/jsonl.c
 * runtime/data/json_line.c runtime/data/unpack.c runtime/data/text.c
 * runtime/data/megatron.c runtime/data/mds.c runtime/data/mds_index.c
 * runtime/data/mapped.c runtime/data/hash.c runtime/data/paths.c
 * runtime/status.c */
/* links: -ljansson -lutf8proc -lz -lzstd */
/* goal: 6000000 */
/*
 * Files of data, by the first byte: JSONL, text, both packed, a pair of
 * Megatron, and an MDS data set.  Whatever is in them, all documents are given
 * or the file is refused, and where reading stood it can go on.
 */
#include "runtime/data/documents.h"

#include <string.h>

#include "tests/fuzz/folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size);

static const char *const names[] = {"a.jsonl", "a.txt", "a.jsonl.gz",
                                    "a.txt.zst"};

static char *write_file(const char *name, const uint8_t *at, size_t n)
{
    char *path = paths_join(folder, name);
    folder_write(path, at, n);
    return path;
}

/* All bytes are looked at. */
static unsigned sum(const Piece *p)
{
    unsigned s = 0;
    for (size_t i = 0; i < p->bytes; i++)
        s += ((const unsigned char *)p->at)[i];
    return s;
}

/* The pieces from the front, and again from the place of the third. */
static void read_file(const DataFile *file)
{
    TitanStory s = {0};
    DocFile *f;
    Piece p;
    Place place = {0};
    unsigned third = 0, n = 0;
    bool more = true;
    if (documents_open(&s, file, NULL, &f) != TITAN_OK) return;
    while (more && n < 1000) {
        if (n == 2) place = f->at;
        if (f->class->next(f, &p, &more) != TITAN_OK) break;
        if (more && n++ == 2) third = sum(&p);
    }
    documents_close(f);
    if (n < 3 || documents_open(&s, file, NULL, &f) != TITAN_OK) return;
    if (f->class->seek(f, place) != TITAN_OK ||
        f->class->next(f, &p, &more) != TITAN_OK || !more || sum(&p) != third)
        abort();
    documents_close(f);
}

static void read_path(const char *path)
{
    TitanStory s = {0};
    DataFiles files = {0};
    if (paths_expand(&s, path, &files) == TITAN_OK)
        for (uint32_t i = 0; i < files.n && i < 8; i++)
            read_file(&files.at[i]);
    paths_release(&files);
}

static void read_one(const char *name, const uint8_t *at, size_t n)
{
    char *path = write_file(name, at, n);
    read_path(path);
    unlink(path);
    free(path);
}

/* "m.bin" is as long as a small index needs. */
static void read_pair(const uint8_t *at, size_t n)
{
    static const uint8_t tokens[64] = {1, 0, 2};
    char *idx = write_file("m.idx", at, n);
    char *bin = write_file("m.bin", tokens, n > 0 ? at[n - 1] % 64 : 0);
    read_path(idx);
    unlink(idx);
    unlink(bin);
    free(idx);
    free(bin);
}

/* The index in front of the first zero byte, the shard behind it. */
static void read_mds(const uint8_t *at, size_t n)
{
    const uint8_t *zero = memchr(at, 0, n);
    size_t text = zero ? (size_t)(zero - at) : n;
    size_t behind = zero ? text + 1 : n;
    char *index = write_file("index.json", at, text);
    char *shard = write_file("s.mds", at + behind, n - behind);
    read_path(folder);
    unlink(index);
    unlink(shard);
    free(index);
    free(shard);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t size)
{
    if (size == 0) return 0;
    folder_make();
    unsigned kind = at[0] % 6;
    if (kind < 4) read_one(names[kind], at + 1, size - 1);
    if (kind == 4) read_pair(at + 1, size - 1);
    if (kind == 5) read_mds(at + 1, size - 1);
    return 0;
}
