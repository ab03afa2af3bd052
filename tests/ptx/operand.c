/*
 * operand.c: an instruction's operands, which must be what ptx.def (PTX_FORM)
 * or alu.c wants behind its name.
 */
#include <stdio.h>
#include <string.h>

#include "tests/ptx/reader.h"

enum { OPERANDS = 16 };

/* The operands of an instruction as they are read: labels have their names
 * beside them until they are settled. */
typedef struct Operands {
    PtxInst *inst;
    PtxArg at[OPERANDS];
    struct {
        const char *text;
        uint32_t len, line;
    } label[OPERANDS];
    uint32_t n;
} Operands;

typedef enum Unit {
    UNIT_alu,
    UNIT_memory,
    UNIT_flow,
    UNIT_async,
    UNIT_tensor,
    UNIT_tmem
} Unit;
static const uint8_t units[PO_COUNT] = {
#define PTX_OP(symbol, text, unit) [PO_##symbol] = UNIT_##unit,
#include "tests/ptx/ptx.def"
#undef PTX_OP
};

uint32_t arg_append(Reader *r, const PtxArg *a)
{
    PtxKernel *k = r->kernel;
    k->args = read_grow(k->args, k->nargs, &r->args_cap, sizeof *k->args);
    k->args[k->nargs] = *a;
    return k->nargs++;
}

/* ----------------------------------------------------------- constants */

/* Bits of a whole number in I: see PtxArg. */
static unsigned width_of(const PtxInst *i)
{
    if (units[i->op] == UNIT_tensor || ptx_has(i, PM_wide)) return 64;
    if (!i->ntypes) return 32;
    bool first = i->op == PO_slct;
    return ptx_types[i->type[first ? 0 : i->ntypes - 1]].bits;
}

static bool has_width(const PtxInst *i, unsigned bits)
{
    for (unsigned t = 0; t < i->ntypes; t++)
        if (ptx_types[i->type[t]].bits == bits) return true;
    return false;
}

static bool read_constant(Reader *r, const PtxInst *i, PtxArg *out)
{
    uint64_t x;
    unsigned bits;
    if (!read_number(r, &x, &bits)) return false;
    if (bits && !has_width(i, bits))
        return read_fail(r, "a constant of %u bits for '%s'", bits,
                         i->ntypes ? ptx_types[i->type[0]].name : "no type");
    unsigned width = bits ? bits : width_of(i);
    if (width < 64) {
        uint64_t above = x >> width;
        bool minus = x >> (width - 1) == UINT64_MAX >> (width - 1);
        if (above && !minus)
            return read_fail(r, "a constant has more than %u bits", width);
        x &= (UINT64_C(1) << width) - 1;
    }
    *out = (PtxArg){.kind = PA_value, .value = x};
    return true;
}

/* ------------------------------------------------------ registers, names */

/* A shared variable of the module has a place in each kernel that names it. */
static bool place_module(Reader *r, Name *n)
{
    if (n->count == r->module->nkernels) return true;
    if (!read_place(&r->shared, n->value, n->align, &n->place))
        return read_fail(r, "too much shared memory");
    n->count = r->module->nkernels;
    if (r->kernel->shared_align < n->align) r->kernel->shared_align = n->align;
    return true;
}

/* Where the variable TEXT is. Of dynamic shared memory the sum's n is 1 until
 * the kernel is read. */
static bool read_variable(Reader *r, const char *text, uint32_t len,
                          PtxArg *out)
{
    Name *n = name_find(r, text, len);
    if (!n)
        return read_fail(r, "'%.*s' was not declared",
                         (int)(len < 200 ? len : 200), text);
    *out = (PtxArg){.kind = PA_value, .value = n->value};
    switch (n->kind) {
    case NAME_param:
    case NAME_local:
    case NAME_global:
        return true;
    case NAME_shared:
        break;
    case NAME_module:
        if (!place_module(r, n)) return false;
        out->value = n->place;
        break;
    case NAME_dynamic:
        if (r->dynamic < n->align) r->dynamic = n->align;
        out->n = 1;
        out->value = 0;
        break;
    case NAME_reg:
    case NAME_label:
    case NAME_targets:
        return read_fail(r, "'%.*s' is not a variable", (int)len, text);
    }
    out->kind = PA_sum;
    out->reg = PR_shared_base;
    return true;
}

/* A register or `_`, or a variable where it may be. */
static bool read_named(Reader *r, bool variables, PtxArg *out)
{
    const char *text;
    uint32_t len, reg;
    uint8_t bits;
    if (!read_name(r, &text, &len)) return false;
    *out = (PtxArg){.kind = PA_none};
    if (len == 1 && *text == '_') return true;
    if (reg_find(r, text, len, &reg, &bits)) {
        *out = (PtxArg){.kind = PA_reg, .n = bits, .reg = reg};
        return true;
    }
    if (variables) return read_variable(r, text, len, out);
    return read_fail(r, "'%.*s' is not a register",
                     (int)(len < 200 ? len : 200), text);
}

static bool starts_number(char c)
{
    return (c >= '0' && c <= '9') || c == '-';
}

/* ------------------------------------------------- operands of many parts */

/* {...}, of registers, `_` and numbers */
static bool read_list(Reader *r, const PtxInst *i, PtxArg *out)
{
    *out = (PtxArg){.kind = PA_list, .first = r->kernel->nargs};
    uint32_t n = 0;
    do {
        PtxArg item;
        bool ok = starts_number(read_peek(r)) ? read_constant(r, i, &item)
                                              : read_named(r, false, &item);
        if (!ok) return false;
        arg_append(r, &item);
        if (++n > 256) return read_fail(r, "more than 256 in braces");
    } while (read_is(r, ','));
    out->n = (uint16_t)n;
    return read_want(r, '}');
}

/* [a], [a+n], [n]; and what of [a, {...}] is before the comma */
static bool read_address(Reader *r, PtxArg *out)
{
    uint64_t x = 0;
    unsigned bits = 0;
    if (starts_number(read_peek(r))) {
        *out = (PtxArg){.kind = PA_value};
    } else {
        if (!read_named(r, true, out)) return false;
        if (out->kind == PA_none || (out->kind == PA_reg && out->n < 32))
            return read_fail(r, "this is no address");
        bool plus = read_is(r, '+');
        if (!plus && read_peek(r) != '-') goto done;
    }
    if (!read_number(r, &x, &bits)) return false;
    if (bits) return read_fail(r, "this is no address");
done:
    if (out->kind == PA_reg) out->n = 0;
    if (out->kind == PA_value) out->reg = PR_zero;
    out->kind = PA_sum;
    out->value += x;
    return true;
}

static PtxArg *operand_new(Reader *r, Operands *o)
{
    if (o->n < OPERANDS) return &o->at[o->n++];
    read_fail(r, "more than %d operands", OPERANDS);
    return NULL;
}

static bool read_brackets(Reader *r, Operands *o, PtxArg *out)
{
    if (!read_address(r, out)) return false;
    if (read_is(r, ',')) {
        PtxArg *list = operand_new(r, o);
        if (!list || !read_want(r, '{') || !read_list(r, o->inst, list))
            return false;
    }
    return read_want(r, ']');
}

/* a|b, behind a */
static bool read_pair(Reader *r, PtxArg *out)
{
    PtxArg first = *out, second;
    if (!read_named(r, false, &second)) return false;
    *out = (PtxArg){.kind = PA_list, .n = 2, .first = r->kernel->nargs};
    arg_append(r, &first);
    arg_append(r, &second);
    return true;
}

static bool read_operand(Reader *r, Operands *o)
{
    const PtxInst *i = o->inst;
    uint32_t k = o->n;
    PtxArg *a = operand_new(r, o);
    if (!a) return false;
    if (i->op == PO_bra || (i->op == PO_brx && k == 1)) {
        *a = (PtxArg){.kind = i->op == PO_bra ? PA_label : PA_labels};
        o->label[k].line = r->line;
        return read_name(r, &o->label[k].text, &o->label[k].len);
    }
    if (starts_number(read_peek(r))) return read_constant(r, i, a);
    if (read_is(r, '{')) return read_list(r, i, a);
    if (units[i->op] != UNIT_alu && read_is(r, '['))
        return read_brackets(r, o, a);
    if (read_is(r, '!')) {
        if (!read_named(r, false, a)) return false;
        a->negated = true;
        return (a->kind == PA_reg && a->n == 1) ||
               read_fail(r, "'!' is for predicates");
    }
    if (!read_named(r, i->op == PO_mov || i->op == PO_cvta, a)) return false;
    return !read_is(r, '|') || read_pair(r, a);
}

/* ------------------------------------------------------------ their form */

static bool is_reg(const PtxArg *a)
{
    return a->kind == PA_reg && a->n > 1 && !a->negated;
}

static bool is_pred(const PtxArg *a)
{
    return a->kind == PA_reg && a->n == 1;
}

/* How many a list has: 0: no list; UINT_MAX: any. */
static unsigned list_of(const PtxInst *i)
{
    static const struct {
        uint8_t mod, n;
    } counts[] = {{PM_v2, 2},   {PM_v4, 4},    {PM_x1, 1},   {PM_x2, 2},
                  {PM_x4, 4},   {PM_x8, 8},    {PM_x16, 16}, {PM_x32, 32},
                  {PM_x64, 64}, {PM_x128, 128}};
    bool any = i->op == PO_wgmma;
    for (unsigned k = 0; k < sizeof counts / sizeof *counts; k++)
        if (ptx_has(i, (PtxMod)counts[k].mod)) return counts[k].n;
    return any ? ~0u : 0;
}

static bool list_fits(const PtxKernel *k, const PtxInst *i, const PtxArg *a,
                      bool result)
{
    unsigned want = list_of(i);
    bool one = is_reg(a) || (result ? a->kind == PA_none : a->kind == PA_value);
    if (a->kind != PA_list) return one && (!want || want == ~0u || want == 1);
    if (!want || (want != ~0u && a->n != want)) return false;
    for (uint32_t l = 0; l < a->n; l++) {
        const PtxArg *item = &k->args[a->first + l];
        if (!is_reg(item) && item->kind != (result ? PA_none : PA_value))
            return false;
    }
    return true;
}

static bool coordinates_fit(const PtxKernel *k, const PtxInst *i,
                            const PtxArg *a)
{
    if (a->kind != PA_list || a->n > 5) return false;
    if (!ptx_has(i, (PtxMod)(PM_d1 + a->n - 1))) return false;
    for (uint32_t l = 0; l < a->n; l++)
        if (k->args[a->first + l].kind == PA_none) return false;
    return true;
}

static bool pair_fits(const PtxKernel *k, const PtxArg *a)
{
    if (a->kind != PA_list) return is_reg(a) || a->kind == PA_none;
    const PtxArg *both = &k->args[a->first];
    return a->n == 2 && (is_reg(both) || both->kind == PA_none) &&
           (is_pred(both + 1) || both[1].kind == PA_none);
}

static bool operand_fits(const PtxKernel *k, const PtxInst *i, const PtxArg *a,
                         char letter)
{
    switch (letter) {
    case 'd':
        return is_reg(a) || a->kind == PA_none;
    case 'p':
        return is_pred(a);
    case 'x':
        return is_reg(a) || a->kind == PA_value;
    case 'i':
        return a->kind == PA_value;
    case 'm':
        return a->kind == PA_sum;
    case 'v':
        return list_fits(k, i, a, false);
    case 'w':
        return list_fits(k, i, a, true);
    case 'c':
        return coordinates_fit(k, i, a);
    case 'b':
        return pair_fits(k, a);
    case 'l':
        return a->kind == PA_label;
    case 't':
        return a->kind == PA_labels;
    }
    return false;
}

static const struct {
    uint16_t op;
    const char *letters;
} rows[] = {
#define PTX_FORM(symbol, operands) {PO_##symbol, operands},
#include "tests/ptx/ptx.def"
#undef PTX_FORM
};

static bool form_fits(const PtxKernel *k, const PtxInst *i)
{
    const PtxArg *a = k->args + i->first;
    for (size_t f = 0; f < sizeof rows / sizeof *rows; f++) {
        if (rows[f].op != i->op || strlen(rows[f].letters) != i->nargs)
            continue;
        uint32_t n = 0;
        while (n < i->nargs && operand_fits(k, i, &a[n], rows[f].letters[n]))
            n++;
        if (n == i->nargs) return true;
    }
    return false;
}

/* --------------------------------------------------------- instructions */

static bool word_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '.' || c == ':';
}

/* Its name; what was read before is not read again. */
static bool read_words(Reader *r, PtxInst *out)
{
    const char *text = r->at;
    uint32_t len = 0, hash = 2166136261u;
    for (; word_letter(text[len]); len++)
        hash = (hash ^ (unsigned char)text[len]) * 16777619u;
    struct Form *f = &r->form[(hash ^ hash >> 15) % FORMS];
    if (!f->text || f->len != len || memcmp(f->text, text, len)) {
        char why[PTX_FAULT];
        f->text = NULL;
        if (!ptx_words(text, len, &f->inst, why))
            return read_fail(r, "%s", why);
        if (units[f->inst.op] == UNIT_alu &&
            !(f->inst.form = ptx_alu_form(&f->inst)))
            return read_fail(r, "there is no '%.*s'",
                             (int)(len < 80 ? len : 80), text);
        f->text = text;
        f->len = len;
    }
    *out = f->inst;
    r->at += len;
    return true;
}

static bool read_guard(Reader *r, PtxInst *i)
{
    PtxArg p;
    bool unless = read_is(r, '!');
    if (!read_named(r, false, &p)) return false;
    if (!is_pred(&p)) return read_fail(r, "a guard is a predicate");
    i->guarded = true;
    i->unless = unless;
    i->guard = p.reg;
    return true;
}

/* Puts the operands behind the lists that they have, and the labels where they
 * wait. */
static void put_operands(Reader *r, Operands *o)
{
    o->inst->first = r->kernel->nargs;
    o->inst->nargs = o->n;
    for (uint32_t k = 0; k < o->n; k++) {
        uint32_t at = arg_append(r, &o->at[k]);
        if (o->at[k].kind != PA_label && o->at[k].kind != PA_labels) continue;
        r->pending = read_grow(r->pending, r->npending, &r->pending_cap,
                               sizeof *r->pending);
        r->pending[r->npending++] =
            (Pending){o->label[k].text, o->label[k].len, o->label[k].line, at};
    }
}

bool read_inst(Reader *r)
{
    PtxInst guard = {0}, i;
    if (read_is(r, '@') && !read_guard(r, &guard)) return false;
    read_peek(r);
    uint32_t line = r->line;
    if (!read_words(r, &i)) return false;
    i.guarded = guard.guarded;
    i.unless = guard.unless;
    i.guard = guard.guard;
    i.line = line;

    Operands o = {.inst = &i};
    if (!read_is(r, ';')) {
        do
            if (!read_operand(r, &o)) return false;
        while (read_is(r, ','));
        if (!read_want(r, ';')) return false;
    }
    put_operands(r, &o);
    PtxKernel *k = r->kernel;
    const char *wrong = units[i.op] == UNIT_alu ? ptx_alu_takes(k, &i)
                        : form_fits(k, &i)      ? NULL
                                                : "its operands are not known";
    if (wrong) {
        r->line = line;
        return read_fail(r, "%s", wrong);
    }
    k->insts = read_grow(k->insts, k->ninsts, &r->insts_cap, sizeof i);
    k->insts[k->ninsts++] = i;
    return true;
}
