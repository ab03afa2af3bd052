/*
 * map.c: the driver without a GPU: tensor maps.
 *
 * What the driver refuses is refused, and the machine for PTX finds in a map
 * what was said of it.
 */
#include "driver.h"

#include <string.h>

enum { MOST_RANK = 5, MOST_BOX = 256, MOST_STEP = 8, SIXTEEN = 16 };

typedef struct MapType {
    unsigned bytes;
    bool floats;
} MapType;

static const MapType types[] = {
    [CU_map_u8] = {1, false},  [CU_map_u16] = {2, false},
    [CU_map_u32] = {4, false}, [CU_map_i32] = {4, false},
    [CU_map_u64] = {8, false}, [CU_map_i64] = {8, false},
    [CU_map_f16] = {2, true},  [CU_map_f32] = {4, true},
    [CU_map_f64] = {8, true},  [CU_map_bf16] = {2, true}};

/* Bytes of the innermost line of a box, at most; 0: as many as there are. */
static const unsigned swizzles[] = {[CU_swizzle_none] = 0,
                                    [CU_swizzle_32] = 32,
                                    [CU_swizzle_64] = 64,
                                    [CU_swizzle_128] = 128};

static bool is_side(uint64_t size, uint32_t box, uint32_t step)
{
    return size > 0 && size <= UINT64_C(1) << 32 && box > 0 &&
           box <= MOST_BOX && step > 0 && step <= MOST_STEP;
}

/* By what the driver's documentation says of cuTensorMapEncodeTiled. */
static bool is_right(const PtxMap *m, const CuTensorMap *to)
{
    unsigned line = m->box[0] * (unsigned)m->stride[0];
    if ((uintptr_t)to % 64 || m->at % SIXTEEN || line % SIXTEEN) return false;
    if (m->swizzle && line > m->swizzle) return false;
    if (m->fill && !types[m->dtype].floats) return false;
    for (unsigned i = 0; i < m->rank; i++) {
        if (!is_side(m->size[i], m->box[i], m->step[i])) return false;
        if (i && (m->stride[i] % SIXTEEN || m->stride[i] >> 40)) return false;
    }
    return true;
}

static void write_log(const PtxMap *m, int swizzle)
{
    fake_log("map dtype %d at %lld swizzle %d:", m->dtype, fake_place(m->at),
             swizzle);
    for (unsigned i = 0; i < m->rank; i++)
        fake_log(" %llu/%llu/%u", (unsigned long long)m->size[i],
                 i ? (unsigned long long)m->stride[i] : 0ull, m->box[i]);
    fake_log("\n");
}

CuResult cuTensorMapEncodeTiled(CuTensorMap *map, int dtype, unsigned rank,
                                void *at, const uint64_t *size,
                                const uint64_t *stride, const uint32_t *box,
                                const uint32_t *step, int interleave,
                                int swizzle, int promotion, int fill_with)
{
    (void)promotion;
    BEGIN();
    if (dtype < 0 || dtype > CU_map_bf16 || rank < 1 || rank > MOST_RANK ||
        interleave || swizzle < 0 || swizzle > CU_swizzle_128)
        return 1;
    PtxMap m = {.at = (CuPtr)(uintptr_t)at,
                .rank = (uint8_t)rank,
                .dtype = (uint8_t)dtype,
                .swizzle = (uint8_t)swizzles[swizzle],
                .fill = fill_with != 0,
                .sign = PTX_MAP};
    for (unsigned i = 0; i < rank; i++) {
        m.size[i] = size[i];
        m.stride[i] = i ? stride[i - 1] : types[dtype].bytes;
        m.box[i] = (uint16_t)(box[i] > UINT16_MAX ? UINT16_MAX : box[i]);
        m.step[i] = (uint16_t)(step[i] > UINT16_MAX ? UINT16_MAX : step[i]);
    }
    write_log(&m, swizzle);
    *map = (CuTensorMap){{0}};
    _Static_assert(sizeof m <= sizeof *map, "it lies in the driver's");
    memcpy(map, &m, sizeof m);
    return is_right(&m, map) ? 0 : 1;
}
