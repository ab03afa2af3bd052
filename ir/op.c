/*
 * op.c: the tables of the .def files as data, and names to rows.
 *
 * The lists are short (the longest has about fifty rows), so a name is found
 * by walking: only the parser asks.
 */
#include "ir.h"

#include <math.h>
#include <string.h>

#define B(k)                 (UINT64_C(1) << AT_##k)
#define A0                   0
#define A1(a)                B(a)
#define A2(a, b)             (B(a) | B(b))
#define A3(a, b, c)          (B(a) | B(b) | B(c))
#define A4(a, b, c, d)       (B(a) | B(b) | B(c) | B(d))
#define A5(a, b, c, d, e)    (B(a) | B(b) | B(c) | B(d) | B(e))
#define A6(a, b, c, d, e, f) (A3(a, b, c) | A3(d, e, f))
#define G                    (1u << VIEW_global)
#define L                    (1u << VIEW_local)
#define K                    (1u << VIEW_kernel)
#define PURE                 OPF_PURE
#define LINEAR               OPF_LINEAR
#define COMM                 OPF_COMM
#define FREE                 OPF_FREE
#define MOVE                 OPF_MOVE
#define SAME                 OPF_SAME

static const OpInfo op_table[] = {
#define OP(name, least, most, flags, views, required, optional) \
    [OP_##name] = {#name, least, most, flags, views, required, optional},
#include "ops.def"
#undef OP
};

#undef G
#undef L
#undef K
#undef PURE
#undef LINEAR
#undef COMM
#undef FREE
#undef MOVE
#undef SAME

_Static_assert(ATTR_COUNT <= 64, "attribute sets are 64-bit masks");
_Static_assert(sizeof(Inst) == 20, "instructions stay small");

static const struct {
    const char *name;
    AttrKind kind;
} attr_table[] = {
#define ATTR(name, kind) [AT_##name] = {#name, AK_##kind},
#include "attrs.def"
#undef ATTR
};

static const ScalarInfo scalar_table[] = {
    [SC_arg] = {"arg", "", 0},
    [SC_const] = {"const", "", 0},
    [SC_index] = {"index", "", 0},
    [SC_cast] = {"cast", "", 1},
#define SCALAR(name, args, form, operands, result) \
    [SC_##name] = {#name, form, args},
#include "scalar.def"
#undef SCALAR
};

static const struct {
    const char *name;
    unsigned bytes;
    DClass class;
} dtype_table[] = {
#define DTYPE(name, bytes, cls, st) [DT_##name] = {#name, bytes, DC_##cls},
#include "../runtime/dtypes.def"
#undef DTYPE
};

const OpInfo *op_info(Op op)
{
    return &op_table[op];
}

bool op_find(const char *name, Op *out)
{
    for (uint32_t i = 0; i < OP_count; i++) {
        if (strcmp(op_table[i].name, name)) continue;
        *out = (Op)i;
        return true;
    }
    return false;
}

const char *attr_name(AttrKey k)
{
    return attr_table[k].name;
}

AttrKind attr_kind(AttrKey k)
{
    return attr_table[k].kind;
}

const ScalarInfo *scalar_info(ScalarOp op)
{
    return &scalar_table[op];
}

bool scalar_find(const char *name, ScalarOp *out)
{
    for (uint32_t i = SC_cast + 1; i < SC_count; i++) {
        if (strcmp(scalar_table[i].name, name)) continue;
        *out = (ScalarOp)i;
        return true;
    }
    return false;
}

const char *dtype_name(DType d)
{
    return dtype_table[d].name;
}

unsigned dtype_bytes(DType d)
{
    return dtype_table[d].bytes;
}

const Format *dtype_format(DType d)
{
    static const Format formats[DT_count] = {
#define FORMAT(name, sign, exponent, mantissa, bias, top, over, nan) \
    [DT_##name] = {sign, exponent, mantissa, bias, TOP_##top, OVER_##over, nan},
#include "../runtime/formats.def"
#undef FORMAT
    };
    return dtype_class(d) == DC_float ? &formats[d] : NULL;
}

double dtype_unit(DType d)
{
    const Format *f = dtype_format(d);
    return f ? ldexp(1, -(int)f->mantissa - 1) : 0;
}

DClass dtype_class(DType d)
{
    return dtype_table[d].class;
}

bool dtype_find(const char *name, DType *out)
{
    for (uint32_t i = 0; i < DT_count; i++) {
        if (strcmp(dtype_table[i].name, name)) continue;
        *out = (DType)i;
        return true;
    }
    return false;
}

bool dtype_computes(DType d)
{
    return dtype_class(d) != DC_float || d == DT_f32 || d == DT_f64;
}

DType dtype_acc(DType d)
{
    bool narrow = dtype_class(d) == DC_float && d != DT_f64;
    return narrow ? DT_f32 : d;
}

int64_t dtype_wrap(DType d, uint64_t bits)
{
    unsigned spare = 64 - 8 * dtype_bytes(d);
    switch (dtype_class(d)) {
    case DC_bool:
        return bits != 0;
    case DC_uint:
        return (int64_t)(bits << spare >> spare);
    case DC_int:
        return (int64_t)(bits << spare) >> spare;
    case DC_float:
        break;
    }
    return (int64_t)bits;
}

const char *role_name(Role r)
{
    static const char *const names[] = {
        [ROLE_none] = "",         [ROLE_param] = "param",
        [ROLE_state] = "state",   [ROLE_input] = "input",
        [ROLE_scalar] = "scalar", [ROLE_record] = "record",
        [ROLE_check] = "check",   [ROLE_output] = "output",
        [ROLE_skip] = "skip",
    };
    return names[r];
}

bool role_is_slot(Role r)
{
    return r == ROLE_param || r == ROLE_state;
}

const char *base_name(Base b)
{
    static const char *const names[] = {"persistent", "io", "frame", "lane",
                                        "host"};
    return names[b];
}

bool scalar_is_cheap(ScalarOp op)
{
    switch (op) {
    case SC_arg:
    case SC_const:
    case SC_index:
    case SC_cast:
    case SC_add:
    case SC_sub:
    case SC_mul:
    case SC_min:
    case SC_max:
    case SC_fma:
    case SC_neg:
    case SC_abs:
    case SC_sign:
    case SC_lt:
    case SC_le:
    case SC_eq:
    case SC_ne:
    case SC_and:
    case SC_or:
    case SC_not:
    case SC_bitand:
    case SC_bitor:
    case SC_bitxor:
    case SC_where:
    case SC_stop:
    case SC_isfinite:
        return true;
    default:
        return false;
    }
}
