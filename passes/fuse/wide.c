/*
 * wide.c: a kernel of attention whose vectors are too wide, as several.
 *
 * A kernel on tensor cores holds the vectors of its rows in registers, and
 * there is room for so many elements of all of them.  Where they are more, each
 * kernel makes some of the vectors and, once more, what is below them: a third
 * more products, but all of them on tensor cores.
 */
#include "fuse.h"

/* Registers of a thread, and what takes them: an element of a vector half a
 * register, the scores of one dot and a step of columns, all else, and where
 * columns end inside a step. */
enum { REGISTERS = 240, DOT = 32, ELSE = 24, BOUNDS = 40, STEP = 64 };

/* Elements of a result's vector; 0: it is one value. */
static int64_t width_of(const Module *m, const Fn *fn, const TileFit *fit,
                        uint32_t result)
{
    Value v = fn->result_values[result];
    if (fit->role[v.id] != TILE_wide) return 0;
    const TypeInfo *ti = type_info(m, value_type(fn, v));
    int64_t n = 1;
    for (uint32_t i = 0; i < ti->naxes; i++)
        if (!axes_have(fit->own, fit->nown, ti->axes[i].axis))
            n *= type_local_size(m, &ti->axes[i]);
    return n;
}

/* The longest of the axes that a kernel sweeps. */
static int64_t columns_of(const Module *m, const TileFit *fit, Type dot)
{
    int64_t most = 1;
    for (uint32_t i = 0; i < fit->nswept; i++) {
        const TypeAxis *a = type_axis(m, dot, fit->swept[i]);
        int64_t n = a ? type_local_size(m, a) : 1;
        if (n > most) most = n;
    }
    return most;
}

/* Elements of vectors for which there is room. */
static int64_t room_of(const Module *m, const Fn *fn, const TileFit *fit)
{
    int64_t left = REGISTERS - ELSE, columns = 0;
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        if (fit->role[i] != TILE_dot) continue;
        left -= DOT;
        columns = columns_of(m, fit, fn->insts[i].type);
    }
    return 2 * (columns % STEP ? left - BOUNDS : left);
}

/* Tensor cores multiply these. */
static bool is_short(const Module *m, const Fn *fn)
{
    for (uint32_t i = 0; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (in->op != OP_einsum) continue;
        DType d = type_dtype(m, value_type(fn, inst_arg(fn, in, 0)));
        if (d != DT_bf16 && d != DT_f16) return false;
    }
    return true;
}

/* What results FIRST to END need. */
static bool *find_needed(Fuse *fx, const Fn *fn, uint32_t first, uint32_t end)
{
    bool *needed = NEW_ARRAY(fx->a, bool, (size_t)fn->ninsts + 1);
    for (uint32_t i = first; i < end; i++)
        needed[fn->result_values[i].id] = true;
    for (uint32_t i = fn->ninsts; i-- > 0;)
        for (uint32_t k = 0; needed[i] && k < fn->insts[i].nargs; k++)
            needed[inst_arg(fn, &fn->insts[i], k).id] = true;
    return needed;
}

/* The function with results FIRST to END alone. */
static Fn *with_results(Fuse *fx, const Fn *fn, uint32_t first, uint32_t end,
                        const bool *needed)
{
    Builder b;
    Value *map = NEW_ARRAY(fx->a, Value, (size_t)fn->ninsts + 1);
    Fn *out = fn_new(fx->m, fn_fresh_name(fx->m, str_of(fx->m, fn->name)),
                     VIEW_local);
    out->kind = fn->kind;
    out->loc = fn->loc;
    builder_init(&b, fx->m, out);
    for (uint32_t i = 0; i < fn->nparams; i++)
        if (needed[i]) map[i] = builder_param(&b, fn->params[i]);
    for (uint32_t i = fn->nparams; i < fn->ninsts; i++) {
        const Inst *in = &fn->insts[i];
        if (!needed[i]) continue;
        Value *args = NEW_ARRAY(fx->a, Value, (size_t)in->nargs + 1);
        for (uint32_t k = 0; k < in->nargs; k++)
            args[k] = map[inst_arg(fn, in, k).id];
        b.loc = in->loc;
        b.phase = (Phase)in->phase;
        map[i] = emit(&b, (Op)in->op, in->type, in->attr, args, in->nargs);
    }
    for (uint32_t i = first; i < end; i++)
        builder_result(&b, map[fn->result_values[i].id], fn->results[i]);
    return out;
}

static void call(Fuse *fx, Builder *b, Fn *fn, const Value *args,
                 Value *results)
{
    Value v = emit_call(b, module_add_fn(fx->m, fn), args, fn->nparams);
    for (uint32_t r = 0; r < fn->nresults; r++)
        results[r] = fn->nresults == 1 ? v : emit_proj(b, v, r);
}

static void call_some(Fuse *fx, Builder *b, const Fn *fn, uint32_t first,
                      uint32_t end, const Value *args, Value *results)
{
    const bool *needed = find_needed(fx, fn, first, end);
    Value *from = NEW_ARRAY(fx->a, Value, (size_t)fn->nparams + 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < fn->nparams; i++)
        if (needed[i]) from[n++] = args[i];
    call(fx, b, with_results(fx, fn, first, end, needed), from,
         results + first);
}

bool fuse_one_kernel(Fuse *fx, const Fn *fn)
{
    TileFit fit;
    if (!tile_fit(fx->m, fn, &fit, fx->a)) return false;
    int64_t sum = 0;
    for (uint32_t i = 0; i < fn->nresults; i++)
        sum += width_of(fx->m, fn, &fit, i);
    return sum <= room_of(fx->m, fn, &fit);
}

void fuse_call_kernel(Fuse *fx, Builder *b, Fn *fn, const Value *args,
                      Value *results)
{
    TileFit fit;
    bool fits =
        is_short(fx->m, fn) && tile_fit(fx->m, fn, &fit, fx->a) && !fit.crosses;
    uint32_t first = 0;
    int64_t sum = 0, room = fits ? room_of(fx->m, fn, &fit) : 0;
    for (uint32_t i = 0; fits && i < fn->nresults; i++) {
        int64_t width = width_of(fx->m, fn, &fit, i);
        if (sum > 0 && sum + width > room) {
            call_some(fx, b, fn, first, i, args, results);
            first = i;
            sum = 0;
        }
        sum += width;
    }
    if (first == 0)
        call(fx, b, fn, args, results);
    else
        call_some(fx, b, fn, first, fn->nresults, args, results);
}
