/*
 * nccl.h: NCCL, opened at run time.
 *
 * The declarations are our own, of version 2.28; constants have NCCL's names in
 * lower case.
 */
#ifndef TITAN_NCCL_H
#define TITAN_NCCL_H

#include "cuda.h"

typedef struct NcclCommRow *NcclComm;

typedef struct NcclId {
    char byte[128];
} NcclId;

typedef struct NcclConfig {
    size_t size;
    unsigned magic, version;
    int blocking, cga, least_blocks, most_blocks;
    const char *net;
    int split_share, traffic_class;
    const char *name;
    int collnet, policy, shrink_share, nvls_blocks, channels, nvlink_centric;
} NcclConfig;

enum {
    NCCL_success = 0,
    NCCL_in_progress = 7,
    NCCL_undefined = INT32_MIN,
    NCCL_sum = 0,
    NCCL_max = 2
};

typedef struct NcclApi {
    void *library;
    const char *(*error_string)(int result);
    const char *(*last_error)(NcclComm comm);
    int version; /* 22809 is 2.28.9 */
#define NCCL(name, ...) int (*name)(__VA_ARGS__);
#include "nccl.def"
#undef NCCL
} NcclApi;

/* UNAVAILABLE: not installed where it was looked for. */
TitanStatus nccl_open(TitanStory *s, NcclApi *out);

/* Several communicators of a GPU begin in the order in which they are asked to,
 * unless the environment says something else.  Before there are threads. */
void nccl_keep_order(void);
/* NCCL opens memory of cuMemAlloc that is registered, and registers none by
 * itself where it is captured, unless the environment says something else.
 * Before there are threads. */
void nccl_open_registered(void);
/* Of ranks that are threads, whose arenas are not mapped for the GPUs of others
 * where NCCL looks for them: it goes through its own buffers, unless the
 * environment says something else.  Where there is no NCCL, who needs it says
 * so.  Before there are threads. */
void nccl_keep_buffers(void);

/* The number of a dtype there, -1: it has none. */
int nccl_dtype(uint32_t dtype);
/* CHANNELS: at most so many; 0: as many as NCCL likes. */
NcclConfig nccl_config(const NcclApi *n, int channels);

#endif
