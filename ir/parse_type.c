/*
 * parse_type.c: types.
 *
 *     type  := dtype '[' axis, ... ']' pending | '(' type, ... ')'
 *     axis  := name [':' size] ('/' mesh axis)* ['zig']
 *     pending := ['+' ['max'] mesh axis] ('+' mesh axis)*
 *
 * Axes may come in any order; a type keeps them in order of declaration.
 */
#include <stdlib.h>

#include "parse.h"

typedef struct AxisText {
    TypeAxis axis;
    MeshVec splits;
} AxisText;

typedef struct TypeText {
    VEC(AxisText) axes;
    MeshVec pending, seen; /* seen: all mesh axes so far */
    PendingKind kind;
} TypeText;

static bool parse_once(Parser *p, TypeText *t, MeshAxis *out)
{
    Token at = p->tok;
    if (!parse_mesh_axis(p, out)) return false;
    for (uint32_t i = 0; i < t->seen.n; i++)
        if (t->seen.at[i].id == out->id)
            return fail(p, DIAG_ir_twice, at,
                        "mesh axis '%s' is twice in this type",
                        mesh_name(p->m, *out));
    vec_push(p->m->scratch, &t->seen, *out);
    return true;
}

static bool parse_axis_size(Parser *p, Token at, TypeAxis *a)
{
    a->size = p->m->axes.at[a->axis.id].size;
    if (take_punct_if(p, ':')) return parse_size(p, &a->size);
    if (a->size > 0) return true;
    const char *name = axis_name(p->m, a->axis);
    return fail(p, DIAG_ir_name, at,
                "axis '%s' is declared without a size: write '%s:N'", name,
                name);
}

static bool parse_type_axis(Parser *p, TypeText *t)
{
    AxisText a = {0};
    Token at = p->tok;
    if (!parse_axis(p, &a.axis.axis)) return false;
    for (uint32_t i = 0; i < t->axes.n; i++)
        if (t->axes.at[i].axis.axis.id == a.axis.axis.id)
            return fail(p, DIAG_ir_twice, at, "axis '%s' is twice in this type",
                        axis_name(p->m, a.axis.axis));
    if (!parse_axis_size(p, at, &a.axis)) return false;
    while (take_punct_if(p, '/')) {
        MeshAxis mesh;
        if (!parse_once(p, t, &mesh)) return false;
        vec_push(p->m->scratch, &a.splits, mesh);
    }
    if (take_word_if(p, "zig")) a.axis.spread = SPREAD_zig;
    vec_push(p->m->scratch, &t->axes, a);
    return true;
}

/* `+max` alone is a sum over a mesh axis of that name. */
static bool parse_pending(Parser *p, TypeText *t)
{
    while (take_punct_if(p, '+')) {
        MeshAxis mesh;
        if (t->pending.n == 0 && at_word(p, "max")) {
            Parser before = *p;
            advance(p);
            bool kind = p->tok.kind == TK_word || p->tok.kind == TK_string;
            if (kind)
                t->kind = PENDING_max;
            else
                *p = before;
        }
        if (!parse_once(p, t, &mesh)) return false;
        vec_push(p->m->scratch, &t->pending, mesh);
    }
    return true;
}

static int axis_order(const void *a, const void *b)
{
    uint32_t x = ((const TypeAxis *)a)->axis.id;
    uint32_t y = ((const TypeAxis *)b)->axis.id;
    return x < y ? -1 : x > y;
}

static Type finish(Parser *p, DType d, TypeText *t)
{
    TypeAxis *axes = NEW_ARRAY(p->m->scratch, TypeAxis, t->axes.n + 1);
    for (uint32_t i = 0; i < t->axes.n; i++) {
        axes[i] = t->axes.at[i].axis;
        axes[i].splits = t->axes.at[i].splits.at;
        axes[i].nsplits = t->axes.at[i].splits.n;
    }
    qsort(axes, t->axes.n, sizeof *axes, axis_order);
    TypeInfo info = {.dtype = d, .axes = axes, .naxes = t->axes.n};
    info.pending = t->pending.at;
    info.npending = t->pending.n;
    if (t->pending.n)
        info.pending_kind = t->kind == PENDING_max ? PENDING_max : PENDING_sum;
    return type_intern(p->m, &info);
}

static bool parse_tensor(Parser *p, Type *out)
{
    DType d;
    TypeText t = {0};
    if (!parse_dtype(p, &d) || !expect_punct(p, '[')) return false;
    while (!at_punct(p, ']')) {
        if (t.axes.n && !expect_punct(p, ',')) return false;
        if (!parse_type_axis(p, &t)) return false;
    }
    advance(p);
    if (!parse_pending(p, &t)) return false;
    *out = finish(p, d, &t);
    return true;
}

static bool parse_tuple(Parser *p, Type *out)
{
    VEC(Type) fields = {0};
    if (!nest(p)) return false;
    advance(p);
    while (!at_punct(p, ')')) {
        Type field;
        if (fields.n && !expect_punct(p, ',')) return false;
        if (!parse_type(p, &field)) return false;
        vec_push(p->m->scratch, &fields, field);
    }
    advance(p);
    unnest(p);
    *out = type_tuple(p->m, fields.at, fields.n);
    return true;
}

bool parse_type(Parser *p, Type *out)
{
    return at_punct(p, '(') ? parse_tuple(p, out) : parse_tensor(p, out);
}
