/* links: titan_runtime
 *
 * cuda_facts.c: the runtime's own declarations of the CUDA driver, of cuBLASLt
 * and of CUPTI against NVIDIA's headers, where those are installed: numbers,
 * sizes, places, and names of entry points.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "runtime/cuda.h"
#include "runtime/cupti.h"
#include "runtime/nccl.h"

#if defined(__has_include)
#if __has_include(<cuda.h>) && __has_include(<cublasLt.h>)
#define HAVE_HEADERS 1
#endif
#endif

#ifdef HAVE_HEADERS
/* the tables, before the headers give the names new meanings */
typedef struct Symbol {
    const char *name, *symbol;
} Symbol;
static const Symbol symbols[] = {
#define CU(name, symbol, ...) {#name, symbol},
#include "runtime/cuda.def"
#undef CU
};

#include <cublasLt.h>
#include <cuda.h>

static void driver_numbers(void **state)
{
    (void)state;
#define SAME(ours, theirs) assert_int_equal((int)(ours), (int)(theirs))
    SAME(CU_attribute_multiprocessors,
         CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    SAME(CU_attribute_major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    SAME(CU_attribute_minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    SAME(CU_function_max_dynamic_shared,
         CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
    SAME(CU_stream_non_blocking, CU_STREAM_NON_BLOCKING);
    SAME(CU_capture_relaxed, CU_STREAM_CAPTURE_MODE_RELAXED);
    SAME(CU_graph_node_priority, CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY);
    SAME(CU_ipc_lazy, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
    SAME(CU_wait_equal, CU_STREAM_WAIT_VALUE_EQ);
    SAME(sizeof(CuIpcHandle), sizeof(CUipcMemHandle));
    SAME(CU_event_default, CU_EVENT_DEFAULT);
    SAME(CU_event_blocking, CU_EVENT_BLOCKING_SYNC);
    SAME(CU_event_no_timing, CU_EVENT_DISABLE_TIMING);
    SAME(CU_event_record_external, CU_EVENT_RECORD_EXTERNAL);
    SAME(CU_error_invalid_ptx, CUDA_ERROR_INVALID_PTX);
    SAME(CU_error_not_found, CUDA_ERROR_NOT_FOUND);
    SAME(CU_jit_error_log, CU_JIT_ERROR_LOG_BUFFER);
    SAME(CU_jit_error_log_bytes, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
    SAME(0, CUDA_SUCCESS);
}

#if __has_include(<nccl.h>)
#include <nccl.h>

static void nccl_numbers(void **state)
{
    (void)state;
    SAME(NCCL_success, ncclSuccess);
    SAME(NCCL_in_progress, ncclInProgress);
    SAME(NCCL_sum, ncclSum);
    SAME(NCCL_max, ncclMax);
    SAME(NCCL_undefined, NCCL_CONFIG_UNDEF_INT);
    SAME(nccl_dtype(1), ncclFloat32);
    SAME(nccl_dtype(2), ncclBfloat16);
    SAME(nccl_dtype(4), ncclFloat8e4m3);
    SAME(nccl_dtype(7), ncclInt32);
    SAME(nccl_dtype(10), ncclUint64);
    SAME(sizeof(NcclId), sizeof(ncclUniqueId));
    SAME(sizeof(NcclConfig), sizeof(ncclConfig_t));
    SAME(offsetof(NcclConfig, blocking), offsetof(ncclConfig_t, blocking));
    SAME(offsetof(NcclConfig, nvlink_centric),
         offsetof(ncclConfig_t, nvlinkCentricSched));
}
#define NCCL_TEST cmocka_unit_test(nccl_numbers),
#else
#define NCCL_TEST
#endif

#if __has_include(<cupti.h>)
#include <cupti.h>

/* The places of a record, in the version of these headers and older ones. */
#define CUPTI_PLACES(kind, their)                                      \
    SAME(kind##_begin, offsetof(their, start));                        \
    SAME(kind##_end, offsetof(their, end));                            \
    SAME(kind##_node, offsetof(their, graphNodeId));                   \
    SAME(sizeof(((their *)0)->start) + sizeof(((their *)0)->end), 16); \
    SAME(sizeof(((their *)0)->graphNodeId), 8)

enum {
#define CUPTI_RECORD(kind, number, begin, end, node) \
    kind##_begin = begin, kind##_end = end, kind##_node = node,
#include "runtime/cupti.def"
#undef CUPTI_RECORD
};

static void cupti_numbers(void **state)
{
    (void)state;
    SAME(CUPTI_resources, CUPTI_CB_DOMAIN_RESOURCE);
    SAME(CUPTI_node_created, CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED);
    SAME(CUPTI_node_cloned, CUPTI_CBID_RESOURCE_GRAPHNODE_CLONED);
    SAME(CUPTI_flush_forced, CUPTI_ACTIVITY_FLAG_FLUSH_FORCED);
    SAME(CUPTI_copy, CUPTI_ACTIVITY_KIND_MEMCPY);
    SAME(CUPTI_fill, CUPTI_ACTIVITY_KIND_MEMSET);
    SAME(CUPTI_kernel, CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
    SAME(CUPTI_peer_copy, CUPTI_ACTIVITY_KIND_MEMCPY2);
    SAME(0, CUPTI_SUCCESS);
    SAME(offsetof(CuptiResource, data),
         offsetof(CUpti_ResourceData, resourceDescriptor));
    SAME(offsetof(CuptiGraphData, graph), offsetof(CUpti_GraphData, graph));
    SAME(offsetof(CuptiGraphData, node), offsetof(CUpti_GraphData, node));
    SAME(offsetof(CuptiGraphData, node_of),
         offsetof(CUpti_GraphData, originalNode));
    SAME(offsetof(CUpti_Activity, kind), 0);
    SAME(sizeof(((CUpti_Activity *)0)->kind), sizeof(int));
    CUPTI_PLACES(copy, CUpti_ActivityMemcpy4);
    CUPTI_PLACES(copy, CUpti_ActivityMemcpy6);
    CUPTI_PLACES(fill, CUpti_ActivityMemset3);
    CUPTI_PLACES(fill, CUpti_ActivityMemset4);
    CUPTI_PLACES(kernel, CUpti_ActivityKernel5);
    CUPTI_PLACES(kernel, CUpti_ActivityKernel10);
    CUPTI_PLACES(peer_copy, CUpti_ActivityMemcpyPtoP3);
    CUPTI_PLACES(peer_copy, CUpti_ActivityMemcpyPtoP4);
}
#define CUPTI_TEST cmocka_unit_test(cupti_numbers),
#else
#define CUPTI_TEST
#endif

static void map_numbers(void **state)
{
    (void)state;
    SAME(CU_swizzle_none, CU_TENSOR_MAP_SWIZZLE_NONE);
    SAME(CU_swizzle_32, CU_TENSOR_MAP_SWIZZLE_32B);
    SAME(CU_swizzle_64, CU_TENSOR_MAP_SWIZZLE_64B);
    SAME(CU_swizzle_128, CU_TENSOR_MAP_SWIZZLE_128B);
    SAME(CU_promotion_256, CU_TENSOR_MAP_L2_PROMOTION_L2_256B);
    SAME(0, CU_TENSOR_MAP_INTERLEAVE_NONE);
    SAME(0, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    SAME(CU_map_u8, CU_TENSOR_MAP_DATA_TYPE_UINT8);
    SAME(CU_map_u16, CU_TENSOR_MAP_DATA_TYPE_UINT16);
    SAME(CU_map_u32, CU_TENSOR_MAP_DATA_TYPE_UINT32);
    SAME(CU_map_i32, CU_TENSOR_MAP_DATA_TYPE_INT32);
    SAME(CU_map_u64, CU_TENSOR_MAP_DATA_TYPE_UINT64);
    SAME(CU_map_i64, CU_TENSOR_MAP_DATA_TYPE_INT64);
    SAME(CU_map_f16, CU_TENSOR_MAP_DATA_TYPE_FLOAT16);
    SAME(CU_map_f32, CU_TENSOR_MAP_DATA_TYPE_FLOAT32);
    SAME(CU_map_f64, CU_TENSOR_MAP_DATA_TYPE_FLOAT64);
    SAME(CU_map_bf16, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16);
    SAME(sizeof(CuTensorMap), sizeof(CUtensorMap));
    assert_true(_Alignof(CuTensorMap) >= _Alignof(CUtensorMap));
    SAME(sizeof(CuPtr), sizeof(CUdeviceptr));
    SAME(sizeof(CuDevice), sizeof(CUdevice));
}

static void library_numbers(void **state)
{
    (void)state;
    SAME(LT_compute_f32, CUBLAS_COMPUTE_32F);
    SAME(LT_compute_f64, CUBLAS_COMPUTE_64F);
    SAME(LT_f32, CUDA_R_32F);
    SAME(LT_f64, CUDA_R_64F);
    SAME(LT_f16, CUDA_R_16F);
    SAME(LT_bf16, CUDA_R_16BF);
    SAME(LT_e4m3, CUDA_R_8F_E4M3);
    SAME(LT_e5m2, CUDA_R_8F_E5M2);
    SAME(LT_op_n, CUBLAS_OP_N);
    SAME(LT_op_t, CUBLAS_OP_T);
    SAME(LT_desc_op_a, CUBLASLT_MATMUL_DESC_TRANSA);
    SAME(LT_desc_op_b, CUBLASLT_MATMUL_DESC_TRANSB);
    SAME(LT_desc_processors, CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET);
    SAME(LT_desc_scale_a, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER);
    SAME(LT_desc_scale_b, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER);
    SAME(LT_desc_fast, CUBLASLT_MATMUL_DESC_FAST_ACCUM);
    SAME(LT_desc_scale_mode_a, CUBLASLT_MATMUL_DESC_A_SCALE_MODE);
    SAME(LT_desc_scale_mode_b, CUBLASLT_MATMUL_DESC_B_SCALE_MODE);
    SAME(LT_scale_row, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
    SAME(LT_scale_row128, CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F);
    SAME(LT_scale_block128, CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F);
    SAME(LT_layout_batch, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
    SAME(LT_layout_batch_stride, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
    SAME(LT_want_workspace, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
    SAME(LT_want_reductions, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
    SAME(LT_want_align_a, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
    SAME(LT_want_align_b, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
    SAME(LT_want_align_c, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
    SAME(LT_want_align_d, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
    SAME(LT_reduction_compute_type, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    SAME(LT_not_supported, CUBLAS_STATUS_NOT_SUPPORTED);
    SAME(sizeof(LtAlgo), sizeof(cublasLtMatmulAlgo_t));
    SAME(sizeof(LtHeuristic), sizeof(cublasLtMatmulHeuristicResult_t));
    SAME(offsetof(LtHeuristic, workspace),
         offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
    SAME(offsetof(LtHeuristic, state),
         offsetof(cublasLtMatmulHeuristicResult_t, state));
}

/* A symbol is the name of its call, perhaps with a version. */
static void driver_symbols(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        size_t n = strlen(symbols[i].name);
        const char *rest = symbols[i].symbol + n;
        assert_memory_equal(symbols[i].symbol, symbols[i].name, n);
        if (*rest && strcmp(rest, "_v2") && strcmp(rest, "WithFlags"))
            fail_msg("%s is no version of %s", symbols[i].symbol,
                     symbols[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NCCL_TEST CUPTI_TEST cmocka_unit_test(driver_numbers),
        cmocka_unit_test(map_numbers),
        cmocka_unit_test(library_numbers),
        cmocka_unit_test(driver_symbols),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
    puts("cuda.h or cublasLt.h is not installed: nothing to compare with");
    return 0;
}
#endif
