/*
 * nccl.c: opens NCCL, and speaks of its types.
 */
#include "nccl.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* The first symbol that the library does not have, or NULL. */
static const char *find_all(NcclApi *n)
{
    if (!symbol_find(n->library, "ncclGetErrorString", &n->error_string))
        return "ncclGetErrorString";
    if (!symbol_find(n->library, "ncclGetLastError", &n->last_error))
        return "ncclGetLastError";
#define NCCL(name, ...) \
    if (!symbol_find(n->library, #name, &n->name)) return #name;
#include "nccl.def"
#undef NCCL
    return NULL;
}

static void nccl_close(NcclApi *n)
{
    if (n->library) dlclose(n->library);
    *n = (NcclApi){0};
}

TitanStatus nccl_open(TitanStory *s, NcclApi *out)
{
    /* TITAN_NCCL says where it is, where that is not on the loader's path */
    const char *path = getenv("TITAN_NCCL");
    const char *name = path && *path ? path : "libnccl.so.2";
    *out = (NcclApi){.library = dlopen(name, RTLD_NOW | RTLD_LOCAL)};
    if (!out->library)
        return titan_fail(s, TITAN_UNAVAILABLE,
                          "could not open NCCL (%s), which a step for several "
                          "GPUs needs; install it, or say with TITAN_NCCL "
                          "where it is",
                          name);
    const char *missing = find_all(out);
    if (!missing) {
        out->ncclGetVersion(&out->version);
        return TITAN_OK;
    }
    nccl_close(out);
    return titan_fail(s, TITAN_UNAVAILABLE,
                      "NCCL has no %s; version 2.19 or newer is needed",
                      missing);
}

void nccl_keep_order(void)
{
    setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", 0);
}

void nccl_open_registered(void)
{
    setenv("NCCL_LEGACY_CUDA_REGISTER", "1", 0);
    setenv("NCCL_GRAPH_REGISTER", "0", 0);
}

/* Older ones write from rank to rank of a process without their own buffers:
 * conn.flags of NCCL's p2p.cc, which later ones set for what is registered. */
enum { WRITES_STRAIGHT = 22300 };

/* Opened once, it stays. */
void nccl_keep_buffers(void)
{
    NcclApi n;
    if (nccl_open(&(TitanStory){0}, &n) != TITAN_OK) return;
    if (n.version < WRITES_STRAIGHT) setenv("NCCL_P2P_DIRECT_DISABLE", "1", 0);
}

int nccl_dtype(uint32_t dtype)
{
    static const struct {
        const char *name;
        int number;
    } types[] = {{"i8", 0},   {"u8", 1},    {"bool", 1}, {"i32", 2}, {"u32", 3},
                 {"i64", 4},  {"u64", 5},   {"f16", 6},  {"f32", 7}, {"f64", 8},
                 {"bf16", 9}, {"e4m3", 10}, {"e5m2", 11}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(titan_dtype_name(dtype), types[i].name) == 0)
            return types[i].number;
    return -1;
}

/* Calls return at once, so that a rank that is lost holds nobody. */
NcclConfig nccl_config(const NcclApi *n, int channels)
{
    enum { U = NCCL_undefined };
    return (NcclConfig){.size = sizeof(NcclConfig),
                        .magic = 0xcafebeef,
                        .version = (unsigned)n->version,
                        .blocking = 0,
                        .cga = U,
                        .least_blocks = U,
                        .most_blocks = channels ? channels : U,
                        .split_share = U,
                        .traffic_class = U,
                        .collnet = U,
                        .policy = U,
                        .shrink_share = U,
                        .nvls_blocks = U,
                        .channels = U,
                        .nvlink_centric = U};
}
