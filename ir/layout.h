/*
 * layout.h: where the elements of a value lie, in the kernel view.
 *
 * A layout is a type with one stride, in elements, per axis of the type in its
 * order.  A spot is a layout at so many bytes into a buffer, with the bytes
 * that each turn of the loops around adds.  Sizes are those of one device.
 */
#ifndef TITAN_LAYOUT_H
#define TITAN_LAYOUT_H

enum { MOST_LOOPS = 8, MOST_GEMM_BATCHES = 4 };

typedef struct Layout {
    Type type;
    const int64_t *stride; /* type_info(type)->naxes of them */
} Layout;

/* Row-major in the order of the type's axes. */
Layout layout_dense(Module *m, Type t, Arena *a);
/* Row-major with the axes of ORDER outermost, then the others in their
 * order.  Axes of ORDER that the type lacks are passed over. */
Layout layout_ordered(Module *m, Type t, const Axis *order, uint32_t n,
                      Arena *a);
bool layout_same(const Module *m, Layout x, Layout y);
/* Strides count without gaps, in any order of the axes. */
bool layout_is_packed(const Module *m, Layout x);
/* Bytes from the first element to the end of the last; saturates. */
int64_t layout_bytes(const Module *m, Layout x);
int64_t layout_stride(const Module *m, Layout x, Axis axis); /* 0: no such */
/* Elements behind each *LINE, which are those that lie side by side along an
 * axis, before the next begins; 0: there are none, or no such axis. */
int64_t layout_pad(const Module *m, Layout x, int64_t *line);
/* The axes, outermost first; returns their number. */
uint32_t layout_order(const Module *m, Layout x, Axis *out);
/* The stride attribute of a buffer, arg or view; dense when absent. */
Layout layout_of(Module *m, const Fn *fn, Value v, Arena *a);
void layout_put_stride(const Module *m, Layout x, AttrList *out);
Attr layout_stride_attr(Module *m, Layout x); /* that alone */

/* The innermost loop counts c, the place moves by (c + shift) mod n turns: the
 * rows of a buffer with n of them are used over and over. */
typedef struct TurnRing {
    int64_t n, shift; /* n: 0: it is no ring */
} TurnRing;
TurnRing ring_of(const Module *m, const Inst *view);
/* The turn of the ring in turn C of the loop. */
static inline int64_t ring_turn(TurnRing r, int64_t c)
{
    return r.n ? (c + r.shift) % r.n : c;
}

typedef struct Spot {
    Value root; /* an arg or a buffer */
    Layout layout;
    int64_t offset;           /* bytes from the root */
    int64_t turn[MOST_LOOPS]; /* bytes per turn, innermost loop first */
    uint32_t nturns;
    TurnRing ring;
} Spot;

/* The spot that an arg, a buffer or a view (of views) names; of an arg within
 * another, in the other. */
Spot spot_of(Module *m, const Fn *fn, Value v, Arena *a);

/* ---------------------------------------------------------------- gemms -- */

/* What blocks of an operand of a gemm are multiplied by. */
enum { GEMM_SCALE_BLOCK = 128, GEMM_SCALE_UNIT = 4 };
typedef enum GemmScale {
    GEMM_SCALE_none,
    GEMM_SCALE_row128,   /* each 128 of K of a row: f32, rows side by side */
    GEMM_SCALE_block128, /* each 128 of K of 128 rows: f32, K side by side, in
                            fours */
    GEMM_SCALE_row,      /* all of K of a row: f32 */
    GEMM_SCALE_tile32    /* each 32 of K of a row: e8m0, 128 rows by four of
                            them in 512 bytes (codegen/sm100.h) */
} GemmScale;

/* D[m, n] (+)= sum over k of A[m, k] * B[k, n], with batches.  Strides in
 * elements; one of each pair of row and column strides is 1. */
typedef struct Gemm {
    DType a, b, d, acc;
    int64_t m, n, k;
    int64_t a_row, a_col, b_row, b_col, d_row, d_col;
    bool accumulate;
    bool scaled; /* the third operand is a scale of the sums, f32[] */
    GemmScale scale_a, scale_b;
    bool fast;      /* fewer bits than those of `acc` may hold the sums */
    int64_t pieces; /* of K, which lie apart; usually 1 */
    uint32_t nbatch;
    int64_t batch[MOST_GEMM_BATCHES], a_batch[MOST_GEMM_BATCHES],
        b_batch[MOST_GEMM_BATCHES], d_batch[MOST_GEMM_BATCHES];
} Gemm;

/* What an axis is to an einsum. */
typedef enum EinsumRole {
    EINSUM_batch, /* in both operands and the result */
    EINSUM_row,   /* in the first operand and the result */
    EINSUM_column,
    EINSUM_sum
} EinsumRole;
EinsumRole einsum_role(const Module *m, const Fn *fn, const Inst *in,
                       Axis axis);

/* The parameters of a matmul group. */
#define NO_PARAM UINT32_MAX
enum { MOST_GEMM_PARAMS = 5 };
typedef struct GemmParams {
    uint32_t a, b;
    uint32_t scale[2]; /* of blocks of a, of b */
    uint32_t third;    /* what is added, or one number that scales the sums */
} GemmParams;
GemmParams group_gemm(const Fn *group);
/* A matmul group multiplies its product by its third parameter, one number. */
bool group_is_scaled(const Module *m, const Fn *group);
/* Where the scales of operand WHICH, 0 or 1, that lies as OPERAND says, lie as
 * a gemm reads them.  False: no gemm takes scales of such blocks. */
bool gemm_scale_layout(Module *m, const Fn *group, Layout operand,
                       uint32_t which, Arena *a, Layout *out, GemmScale *scale);
/* The einsum of a matmul group. */
const Inst *group_einsum(const Fn *group);
/* What makes V, or what V is gathered from. */
const Inst *below_gather(const Fn *fn, Value v);
/* MAP multiplies its two operands in f32, each widened or not, and rounds the
 * product or not: { bf16(f32(_0) * _1) }. */
bool map_multiplies(const Module *m, const Inst *map);
/* The parameter that operand I of an einsum is, or is gathered from, or is made
 * of with its scales. */
uint32_t einsum_param(const Fn *group, const Inst *in, uint32_t i);

/* A product whose second matrix each block of rows chooses (a gather), or whose
 * blocks of terms go to one of several results (a scatter), by i32 ids. */
typedef struct ProductBlocks {
    bool scattered;
    uint32_t ids; /* the parameter: one for each block */
    Axis axis;    /* what they choose along */
    Axis block;
} ProductBlocks;
/* False: the group has no such. */
bool group_blocks(const Module *m, const Fn *group, ProductBlocks *out);

/* The op of a collective group. */
const Inst *group_collective(const Fn *group);
/* What one rank of a pipeline sends another. */
static inline bool is_message(const Inst *in)
{
    return in->op == OP_send || in->op == OP_recv;
}
/* The message that an instruction of the kernel view launches; NULL: none. */
const Inst *launched_message(const Module *m, const Inst *in);
/* Dense, with what is of different devices one behind the other. */
bool pieces_lie_apart(const Module *m, Layout l, Axis group);
/* The two places lie so that a collective group can be one command. */
bool collective_takes(const Module *m, const Fn *group, Layout from, Layout to);

/* The scatter or put of a scatter group. */
Value group_scatter(const Fn *group);
/* The parameter to which the sums of a scatter group are added, at the same
 * index; NO_VALUE: none. */
Value group_base(const Fn *group);

/* The one gemm that a matmul group is with the layouts of its two operands
 * and its result; false: there is none, an operand has to be copied. */
bool gemm_fit(Module *m, const Fn *group, const Layout layouts[3], Gemm *out);

/* The strides of a launch's operand along the matrix and the batches; 0 where
 * it stands still. */
enum { MOST_PRODUCT_PLACES = 16 };
typedef struct GemmPlace {
    int64_t row, col, sum, piece, batch[MOST_GEMM_BATCHES];
} GemmPlace;

/* The same where K may lie in pieces of one size, as what several devices had
 * does once it is gathered. */
enum { GEMM_PIECE_UNIT = 64 /* which divides a piece */ };
bool gemm_fit_pieces(Module *m, const Fn *group, const Layout layouts[3],
                     Gemm *out);

/* The same where every operand of the launch runs along: LAYOUTS and PLACES are
 * those of the group's parameters and then its results, of which the first has
 * all axes of the product.  Of a tally (ir/column.h) it is `turns` times the
 * strides. */
bool product_fit(Module *m, const Fn *group, const Layout *layouts, Gemm *out,
                 GemmPlace *places);

#endif
