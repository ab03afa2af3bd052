/*
 * lanes.c: the functions of lanes.def.  LANES_AVX2 is defined where the
 * compiler may use AVX2 and FMA: there a fused product is one instruction;
 * elsewhere it is libm's, which is as exact.
 */
#include <math.h>

#include "tests/ptx/lanes.h"
#include "tests/ptx/number.h"

__extension__ typedef unsigned __int128 Uint128;
__extension__ typedef __int128 Int128;

/* ------------------------------------------------ bits as numbers, and back */

#define WHOLE(t, type, same)                   \
    static inline type get_##t(uint64_t bits)  \
    {                                          \
        return (type)bits;                     \
    }                                          \
    static inline uint64_t put_##t(uint64_t x) \
    {                                          \
        return (same)x;                        \
    }
WHOLE(u8, uint8_t, uint8_t)
WHOLE(s8, int8_t, uint8_t)
WHOLE(u16, uint16_t, uint16_t)
WHOLE(s16, int16_t, uint16_t)
WHOLE(u32, uint32_t, uint32_t)
WHOLE(s32, int32_t, uint32_t)
WHOLE(u64, uint64_t, uint64_t)
WHOLE(s64, int64_t, uint64_t)
WHOLE(pred, uint64_t, uint64_t)
#undef WHOLE

static inline float get_f32(uint64_t bits)
{
    return float_of((uint32_t)bits);
}

static inline uint64_t put_f32(float x)
{
    return x != x ? 0x7fffffff : float_bits(x);
}

static inline double get_f64(uint64_t bits)
{
    return double_of(bits);
}

static inline uint64_t put_f64(double x)
{
    return x != x ? UINT64_C(0x7ff8000000000000) : double_bits(x);
}

static inline double get_f16(uint64_t bits)
{
    return (double)f16_float((uint16_t)bits);
}

static inline double get_bf16(uint64_t bits)
{
    return (double)bf16_float((uint16_t)bits);
}

static inline uint64_t put_f16(double x)
{
    return ptx_bits(PT_f16, x);
}

static inline uint64_t put_bf16(double x)
{
    return ptx_bits(PT_bf16, x);
}

#ifdef LANES_AVX2
#define LANES lanes_avx2
#else
#define LANES lanes_plain
#endif
#define FMA_f32(x, y, z) fmaf(x, y, z)
#define FMA_f64(x, y, z) fma(x, y, z)
#define SQRT_f32(x)      sqrtf(x)
#define SQRT_f64(x)      sqrt(x)

/* ------------------------------------------------------------ whole numbers */

/* By 0: all ones, and the dividend. */
#define DIVIDE_UNSIGNED(t, type)                  \
    static inline type divide_##t(type x, type y) \
    {                                             \
        return y ? (type)(x / y) : (type)-1;      \
    }                                             \
    static inline type remain_##t(type x, type y) \
    {                                             \
        return y ? (type)(x % y) : x;             \
    }
DIVIDE_UNSIGNED(u16, uint16_t)
DIVIDE_UNSIGNED(u32, uint32_t)
DIVIDE_UNSIGNED(u64, uint64_t)
#undef DIVIDE_UNSIGNED

static inline int64_t divide_s64(int64_t x, int64_t y)
{
    return !y ? -1 : y == -1 ? (int64_t) - (uint64_t)x : x / y;
}

static inline int64_t remain_s64(int64_t x, int64_t y)
{
    return !y ? x : y == -1 ? 0 : x % y;
}

static inline int32_t divide_s32(int32_t x, int32_t y)
{
    return (int32_t)divide_s64(x, y);
}

static inline int32_t remain_s32(int32_t x, int32_t y)
{
    return (int32_t)remain_s64(x, y);
}

static inline int16_t divide_s16(int16_t x, int16_t y)
{
    return (int16_t)divide_s64(x, y);
}

static inline int16_t remain_s16(int16_t x, int16_t y)
{
    return (int16_t)remain_s64(x, y);
}

static inline int32_t clamp_s32(int64_t x)
{
    return (int32_t)(x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : x);
}

/* --------------------------------------------------------------------- bits */

static inline uint64_t reverse(uint64_t x)
{
    x = (x >> 1 & UINT64_C(0x5555555555555555)) |
        (x & UINT64_C(0x5555555555555555)) << 1;
    x = (x >> 2 & UINT64_C(0x3333333333333333)) |
        (x & UINT64_C(0x3333333333333333)) << 2;
    x = (x >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f)) |
        (x & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4;
    return __builtin_bswap64(x);
}

/* LEN bits of X from POS on; above what X has of them, and above them, the last
 * one where it is a sign. */
static inline uint64_t extract(uint64_t x, uint64_t pos, uint64_t len,
                               unsigned bits, bool sign)
{
    pos &= 255;
    len &= 255;
    if (!len) return 0;
    uint64_t last = pos + len > bits ? bits - 1 : pos + len - 1;
    uint64_t fill = sign && x >> last & 1 ? ~UINT64_C(0) : 0;
    uint64_t n = pos < bits ? last + 1 - pos : 0;
    if (n == 64) return x;
    uint64_t below = (UINT64_C(1) << n) - 1;
    return ((n ? x >> pos : 0) & below) | (fill & ~below);
}

/* So many of Y's lower bits at POS of X. */
static inline uint64_t insert(uint64_t y, uint64_t x, uint64_t pos,
                              uint64_t len, unsigned bits)
{
    pos &= 255;
    len &= 255;
    if (!len || pos >= bits) return x;
    uint64_t field = len >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << len) - 1;
    return (x & ~(field << pos)) | (y & field) << pos;
}

/* Bytes of {y, x} by nibbles of HOW, with 8 added: eight of its sign. */
static inline uint32_t permute(uint32_t x, uint32_t y, uint32_t how)
{
    uint64_t both = (uint64_t)y << 32 | x;
    uint32_t out = 0;
    for (unsigned b = 0; b < 4; b++) {
        uint32_t nibble = how >> 4 * b & 15;
        uint32_t byte = (uint32_t)(both >> 8 * (nibble & 7)) & 255;
        uint32_t sign = byte & 128 ? 255 : 0;
        out |= (nibble & 8 ? sign : byte) << 8 * b;
    }
    return out;
}

/* The modes of prmt, as nibbles: b4e, ecl, ecr. */
static inline uint32_t backward(uint32_t at)
{
    return at == 0 ? 0x5670 : at == 1 ? 0x6701 : at == 2 ? 0x7012 : 0x0123;
}

static inline uint32_t edge_left(uint32_t at)
{
    return at == 0 ? 0x3210 : at == 1 ? 0x3211 : at == 2 ? 0x3222 : 0x3333;
}

static inline uint32_t edge_right(uint32_t at)
{
    return at == 0 ? 0x0000 : at == 1 ? 0x1110 : at == 2 ? 0x2210 : 0x3210;
}

/* ------------------------------------------------------------------- floats */

/* Of a number and what is none, the number; -0 is less than 0. */
static inline float least_f32(float x, float y)
{
    float zero = float_of(float_bits(x) | float_bits(y));
    float less = x < y ? x : x == y ? zero : y;
    return y != y ? x : less;
}

static inline float greatest_f32(float x, float y)
{
    float zero = float_of(float_bits(x) & float_bits(y));
    float more = x > y ? x : x == y ? zero : y;
    return y != y ? x : more;
}

static inline double least_f64(double x, double y)
{
    double zero = double_of(double_bits(x) | double_bits(y));
    double less = x < y ? x : x == y ? zero : y;
    return y != y ? x : less;
}

static inline double greatest_f64(double x, double y)
{
    double zero = double_of(double_bits(x) & double_bits(y));
    double more = x > y ? x : x == y ? zero : y;
    return y != y ? x : more;
}

static inline double least_nan(double x, double y)
{
    return x != x || y != y ? x + y : least_f64(x, y);
}

static inline double greatest_nan(double x, double y)
{
    return x != x || y != y ? x + y : greatest_f64(x, y);
}

/* x + y, which is odd where it is not exact: rounded again to less than half as
 * many bits it is as if it were rounded once. */
static inline double add_odd(double x, double y)
{
    double sum = x + y, part = sum - x;
    double left = (x - (sum - part)) + (y - part);
    uint64_t bits = double_bits(sum);
    if (!(left < 0 || left > 0) || bits & 1) return sum;
    return double_of((left > 0) == (sum > 0) ? bits + 1 : bits - 1);
}

/* To 0, and to what there is; what is no number is 0. */
static inline int32_t whole_s32(float x)
{
    bool in = x > -0x1p31f && x < 0x1p31f;
    int32_t beyond = x > 0 ? INT32_MAX : x < 0 ? INT32_MIN : 0;
    return in ? (int32_t)x : beyond;
}

static inline uint32_t whole_u32(float x)
{
    bool in = x > 0 && x < 0x1p32f;
    return in ? (uint32_t)(int64_t)x : x > 0 ? UINT32_MAX : 0;
}

/* The upper half of an f64; what is subnormal is 0 of its sign. */
static inline uint64_t coarse(double x)
{
    uint64_t bits = double_bits(x), sign = bits & UINT64_C(1) << 63;
    if (x != x) return UINT64_C(0x7fffffff00000000);
    if (!(bits << 1 >> 53)) return sign;
    return bits & UINT64_C(0xffffffff00000000);
}

/* -------------------------------------------------------------------- lanes */

#define T_u8   uint8_t
#define T_s8   int8_t
#define T_u16  uint16_t
#define T_s16  int16_t
#define T_u32  uint32_t
#define T_s32  int32_t
#define T_u64  uint64_t
#define T_s64  int64_t
#define T_pred uint64_t
#define T_f16  double
#define T_bf16 double
#define T_f32  float
#define T_f64  double

/* Bits of one of a pair. */
#define HALF_u16  16
#define HALF_s16  16
#define HALF_f16  16
#define HALF_bf16 16
#define HALF_f32  32

#define ROW(op, type, from, first, second, may, n, out, in, value)        \
    static void lane_##op##_##type##_##from##_##first##_##second(         \
        uint64_t *restrict d, const uint64_t *const *s)                   \
    {                                                                     \
        const uint64_t *sx = s[0], *sy = s[1], *sz = s[2];                \
        for (unsigned l = 0; l < PTX_LANES; l++) {                        \
            uint64_t q = sy[l], r = sz[l];                                \
            T_##in x = get_##in(sx[l]), y = get_##in(q), z = get_##in(r); \
            (void)x, (void)y, (void)z;                                    \
            d[l] = put_##out(value);                                      \
        }                                                                 \
    }
#define PAIR(op, type, first, may, n, as, value)                           \
    static void lane_##op##_##type##_##first(uint64_t *restrict d,         \
                                             const uint64_t *const *s)     \
    {                                                                      \
        const uint64_t *sx = s[0], *sy = s[1], *sz = s[2];                 \
        for (unsigned l = 0; l < PTX_LANES; l++) {                         \
            uint64_t both = 0;                                             \
            for (unsigned h = 0; h < 2 * HALF_##as; h += HALF_##as) {      \
                T_##as x = get_##as(sx[l] >> h), y = get_##as(sy[l] >> h); \
                T_##as z = get_##as(sz[l] >> h);                           \
                (void)x, (void)y, (void)z;                                 \
                both |= put_##as(value) << h;                              \
            }                                                              \
            d[l] = both;                                                   \
        }                                                                  \
    }
#include "tests/ptx/lanes.def"
#undef ROW
#undef PAIR

LaneFn *const LANES[LANE_ROWS] = {
#define ROW(op, type, from, first, second, may, n, out, in, value) \
    lane_##op##_##type##_##from##_##first##_##second,
#define PAIR(op, type, first, may, n, as, value) lane_##op##_##type##_##first,
#include "tests/ptx/lanes.def"
#undef ROW
#undef PAIR
};
