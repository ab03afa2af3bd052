/*
 * cuda.h: the CUDA driver and cuBLASLt, opened at run time.
 *
 * The declarations are our own, so that the runtime is built, and describes
 * steps, on machines without CUDA; tests/unit/cuda_facts.c holds the numbers
 * and sizes against NVIDIA's headers where those are installed.  Names of
 * functions are the driver's; constants have its name in lower case.
 */
#ifndef TITAN_CUDA_H
#define TITAN_CUDA_H

#include "titan.h"

/* ---------------------------------------------------------------- driver -- */

typedef int CuResult;
typedef int CuDevice;
typedef uint64_t CuPtr;
typedef struct CuContextRow *CuContext;
typedef struct CuLibraryRow *CuLibrary;
typedef struct CuModuleRow *CuModule;
typedef struct CuFunctionRow *CuFunction;
typedef struct CuStreamRow *CuStream;
typedef struct CuEventRow *CuEvent;
typedef struct CuGraphRow *CuGraph;
typedef struct CuGraphExecRow *CuGraphExec;
typedef struct CuTensorMap {
    _Alignas(128) uint64_t word[16];
} CuTensorMap;
typedef struct CuIpcHandle {
    char byte[64];
} CuIpcHandle;
/* Memory without an address, of one GPU; each that is mapped to it may have
 * several, for some GPUs each. */
typedef unsigned long long CuMemory;
typedef struct CuPlace {
    int type, id; /* CU_place_device; its number */
} CuPlace;
typedef struct CuMemoryKind {
    int type, handles; /* CU_memory_pinned; 0: no other process gets it */
    CuPlace place;
    void *windows;
    unsigned char flags[8];
} CuMemoryKind;
typedef struct CuMemoryAccess {
    CuPlace place;
    int flags;
} CuMemoryAccess;

enum {
    CU_attribute_multiprocessors = 16,
    CU_attribute_major = 75,
    CU_attribute_minor = 76,
    CU_function_max_dynamic_shared = 8,
    CU_stream_non_blocking = 1,
    CU_capture_relaxed = 2,
    CU_graph_node_priority = 8, /* nodes have that of their streams */
    CU_event_default = 0,
    CU_event_blocking = 1, /* who waits for it sleeps */
    CU_event_no_timing = 2,
    CU_event_record_external = 1,
    CU_error_invalid_ptx = 218,
    CU_error_not_found = 500,
    CU_error_not_ready = 600,
    CU_error_not_supported = 801,
    CU_ipc_lazy = 1,
    CU_memory_pinned = 1,
    CU_place_device = 1,
    CU_access_read_write = 3,
    CU_wait_equal = 1,
    CU_jit_error_log = 5,
    CU_jit_error_log_bytes = 6,
    CU_swizzle_none = 0,
    CU_swizzle_32 = 1,
    CU_swizzle_64 = 2,
    CU_swizzle_128 = 3,
    CU_promotion_256 = 3,
    CU_map_u8 = 0,
    CU_map_u16 = 1,
    CU_map_u32 = 2,
    CU_map_i32 = 3,
    CU_map_u64 = 4,
    CU_map_i64 = 5,
    CU_map_f16 = 6,
    CU_map_f32 = 7,
    CU_map_f64 = 8,
    CU_map_bf16 = 9
};

typedef struct CuApi {
    void *library;
#define CU(name, symbol, ...) CuResult (*name)(__VA_ARGS__);
#include "cuda.def"
#undef CU
} CuApi;

/* A function of a library into a variable that points to one; false: there is
 * none of that name. */
bool symbol_find(void *library, const char *symbol, void *out);
/* The first of N names of a library that comes with the toolkit; NULL: it is
 * not installed where it was looked for. */
void *toolkit_open(const char *const *names, size_t n);
/* UNAVAILABLE: no driver here, or one without an entry point. */
TitanStatus cu_open(TitanStory *s, CuApi *out);
void cu_close(CuApi *cu);
/* CALL is the text of the call: its name goes into the story. */
TitanStatus cu_fail(TitanStory *s, const CuApi *cu, const char *call,
                    CuResult r);

/* For a struct with members `story` and `cu`. */
#define CU_TRY(c, call)                                             \
    do {                                                            \
        CuResult cu_result = (c)->cu.call;                          \
        if (cu_result != 0)                                         \
            return cu_fail((c)->story, &(c)->cu, #call, cu_result); \
    } while (0)

/* -------------------------------------------------------------- cuBLASLt -- */

typedef int LtStatus;
typedef struct LtHandleRow *LtHandle;
typedef struct LtDescRow *LtDesc;
typedef struct LtLayoutRow *LtLayout;
typedef struct LtPreferenceRow *LtPreference;
typedef struct LtAlgo {
    uint64_t word[8];
} LtAlgo;
typedef struct LtHeuristic {
    LtAlgo algo;
    size_t workspace;
    LtStatus state;
    float waves;
    int reserved[4];
} LtHeuristic;

enum {
    LT_compute_f32 = 68,
    LT_compute_f64 = 70,
    LT_f32 = 0,
    LT_f64 = 1,
    LT_f16 = 2,
    LT_bf16 = 14,
    LT_e4m3 = 28,
    LT_e5m2 = 29,
    LT_op_n = 0,
    LT_op_t = 1,
    LT_desc_op_a = 3,
    LT_desc_op_b = 4,
    LT_desc_processors = 15,
    LT_desc_scale_a = 17,
    LT_desc_scale_b = 18,
    LT_desc_fast = 25,
    LT_desc_scale_mode_a = 31,
    LT_desc_scale_mode_b = 32,
    LT_scale_row = 3,
    LT_scale_row128 = 4,
    LT_scale_block128 = 5,
    LT_layout_batch = 5,
    LT_layout_batch_stride = 6,
    LT_want_workspace = 1,
    LT_want_reductions = 3,
    LT_want_align_a = 5,
    LT_want_align_b = 6,
    LT_want_align_c = 7,
    LT_want_align_d = 8,
    LT_reduction_compute_type = 2,
    LT_not_supported = 15
};

typedef struct LtApi {
    void *library;
    size_t (*version)(void);
    const char *(*status_name)(LtStatus st);
#define LT(name, symbol, ...) LtStatus (*name)(__VA_ARGS__);
#include "cublaslt.def"
#undef LT
} LtApi;

/* UNAVAILABLE: not installed where it was looked for. */
TitanStatus lt_open(TitanStory *s, LtApi *out);
TitanStatus lt_fail(TitanStory *s, const LtApi *lt, const char *call,
                    LtStatus st);

#define LT_TRY(c, call)                                             \
    do {                                                            \
        LtStatus lt_status = (c)->lt.call;                          \
        if (lt_status != 0)                                         \
            return lt_fail((c)->story, &(c)->lt, #call, lt_status); \
    } while (0)

#endif
