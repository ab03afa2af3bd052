/*
 * read.c: modules of PTX: their variables, and their kernels with registers,
 * variables, labels and instructions (operand.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ptx/reader.h"

static bool is_word(const char *text, uint32_t len, const char *word)
{
    return strlen(word) == len && !memcmp(text, word, len);
}

/* Goes on over .WORD when it stands here. */
static bool read_directive(Reader *r, const char *word)
{
    size_t n = strlen(word);
    if (read_peek(r) != '.' || strncmp(r->at + 1, word, n)) return false;
    char c = r->at[1 + n];
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
        (c >= '0' && c <= '9'))
        return false;
    r->at += 1 + n;
    return true;
}

static bool fail_directive(Reader *r)
{
    int n = 0;
    const char *at = r->at;
    while (n < 40 && at[n] > ' ' && at[n] != ';' && at[n] < 127)
        n++;
    return read_fail(r, "'%.*s' is not known here", n, at);
}

static bool read_whole(Reader *r, uint64_t *x)
{
    unsigned bits;
    if (!read_number(r, x, &bits)) return false;
    return !bits || read_fail(r, "a whole number is wanted");
}

/* What the debugger alone reads: to the end of the line. */
static bool skip_notes(Reader *r)
{
    if (!read_directive(r, "loc") && !read_directive(r, "file")) return false;
    while (*r->at && *r->at != '\n')
        r->at++;
    return true;
}

/* .pragma "..."; */
static bool read_pragma(Reader *r)
{
    if (!read_want(r, '"')) return false;
    while (*r->at && *r->at != '"' && *r->at != '\n')
        r->at++;
    return read_want(r, '"') && read_want(r, ';');
}

/* .section name { ... } */
static bool skip_section(Reader *r)
{
    while (*r->at && *r->at != '{' && *r->at != '\n')
        r->at++;
    if (!read_want(r, '{')) return false;
    while (read_peek(r) && *r->at != '}')
        r->at++;
    return read_want(r, '}');
}

/* ----------------------------------------------------------- declarations */

static bool read_type(Reader *r, PtxType *type)
{
    for (unsigned t = 1; t < PT_COUNT; t++) {
        if (!read_directive(r, ptx_types[t].name)) continue;
        *type = (PtxType)t;
        return true;
    }
    return fail_directive(r);
}

/* .align N, where it stands */
static bool read_align(Reader *r, uint64_t *align)
{
    if (!read_directive(r, "align")) return true;
    if (!read_whole(r, align)) return false;
    if (!*align || *align & (*align - 1) || *align > 1 << 20)
        return read_fail(r, "an alignment is a power of two");
    return true;
}

/* [N][M]...: *N is how many, 0 of []; 1 without. */
static bool read_dims(Reader *r, uint64_t *n)
{
    *n = 1;
    while (read_is(r, '[')) {
        uint64_t d = 0;
        if (read_peek(r) != ']' && !read_whole(r, &d)) return false;
        if (!read_want(r, ']')) return false;
        if (d > UINT32_MAX || (*n *= d) > UINT32_MAX)
            return read_fail(r, "an array is too long");
    }
    return true;
}

/* A variable's declaration, behind its space. */
typedef struct Variable {
    const char *text;
    uint32_t len;
    PtxType type;
    uint64_t count, bytes, align; /* of elements; of all */
} Variable;

static bool read_shape(Reader *r, Variable *v)
{
    *v = (Variable){0};
    if (!read_align(r, &v->align) || !read_type(r, &v->type) ||
        !read_name(r, &v->text, &v->len) || !read_dims(r, &v->count))
        return false;
    uint64_t size = ptx_types[v->type].bits / 8;
    if (!size) return read_fail(r, "a predicate is no variable");
    if (!v->align) v->align = size;
    v->bytes = v->count * size;
    return true;
}

static bool add_variable(Reader *r, const Variable *v, NameKind kind,
                         uint64_t value)
{
    Name n = {.text = v->text,
              .len = v->len,
              .kind = kind,
              .align = (uint32_t)v->align,
              .value = value};
    return name_add(r, &n);
}

/* In a kernel, of which LOCAL says: .local. */
static bool read_kernel_variable(Reader *r, bool local)
{
    Variable v;
    uint64_t at;
    if (!read_shape(r, &v) || !read_want(r, ';')) return false;
    if (!v.bytes ||
        !read_place(local ? &r->local : &r->shared, v.bytes, v.align, &at))
        return read_fail(r, "a variable of %llu bytes",
                         (unsigned long long)v.bytes);
    if (!local && r->kernel->shared_align < v.align)
        r->kernel->shared_align = (uint32_t)v.align;
    return add_variable(r, &v, local ? NAME_local : NAME_shared, at);
}

/* .shared of the module: of all its kernels that name it; without a size it is
 * dynamic. */
static bool read_module_shared(Reader *r, bool external)
{
    Variable v;
    if (!read_shape(r, &v) || !read_want(r, ';')) return false;
    if (external != !v.bytes)
        return read_fail(r, "shared memory is of a size, or of others");
    return add_variable(r, &v, external ? NAME_dynamic : NAME_module, v.bytes);
}

static bool read_value(Reader *r, const Variable *v, unsigned char *to)
{
    uint64_t x;
    unsigned bits, width = ptx_types[v->type].bits;
    if (!read_number(r, &x, &bits)) return false;
    if (bits && bits != width)
        return read_fail(r, "a constant of %u bits for '%s'", bits,
                         ptx_types[v->type].name);
    for (unsigned b = 0; b < width / 8; b++)
        to[b] = (unsigned char)(x >> 8 * b);
    return true;
}

/* = {...} or = x, for the bytes at TO */
static bool read_initialiser(Reader *r, const Variable *v, unsigned char *to)
{
    uint64_t size = ptx_types[v->type].bits / 8, n = 0;
    if (!read_is(r, '{')) return read_value(r, v, to);
    do {
        if (n == v->count) return read_fail(r, "more values than elements");
        if (!read_value(r, v, to + n++ * size)) return false;
    } while (read_is(r, ','));
    return read_want(r, '}');
}

/* .global and .const */
static bool read_global(Reader *r)
{
    PtxModule *m = r->module;
    Variable v;
    if (!read_shape(r, &v)) return false;
    uint64_t top = m->global_bytes, at;
    if (!v.bytes || !read_place(&top, v.bytes, v.align, &at))
        return read_fail(r, "a variable of %llu bytes",
                         (unsigned long long)v.bytes);
    unsigned char *bytes = realloc(m->globals, top);
    if (!bytes) return read_fail(r, "no memory for variables");
    memset(bytes + m->global_bytes, 0, top - m->global_bytes);
    m->globals = bytes;
    m->global_bytes = top;
    if (read_is(r, '=') && !read_initialiser(r, &v, bytes + at)) return false;
    return read_want(r, ';') &&
           add_variable(r, &v, NAME_global, PTX_GLOBALS + at);
}

/* --------------------------------------------------------------- registers */

/* NAME or NAME<N>, of so many bits */
static bool read_register(Reader *r, uint8_t bits)
{
    Name n = {.kind = NAME_reg, .bits = bits, .count = 1};
    if (!read_name(r, &n.text, &n.len)) return false;
    if (read_is(r, '<')) {
        uint64_t count;
        if (!read_whole(r, &count) || !read_want(r, '>')) return false;
        if (!count || count > 1 << 20)
            return read_fail(r, "%llu registers", (unsigned long long)count);
        n.ranged = true;
        n.count = (uint32_t)count;
    }
    if (r->kernel->nregs + n.count > 1 << 22)
        return read_fail(r, "too many registers");
    n.value = reg_new(r, bits, n.count);
    return name_add(r, &n);
}

static bool read_registers(Reader *r)
{
    PtxType type = PT_none;
    if (!read_type(r, &type)) return false;
    do
        if (!read_register(r, ptx_types[type].bits)) return false;
    while (read_is(r, ','));
    return read_want(r, ';');
}

static bool add_special(Reader *r, const char *text, uint32_t reg)
{
    if (!*text) return true;
    Name n = {.kind = NAME_reg,
              .text = text,
              .len = (uint32_t)strlen(text),
              .bits = 32,
              .count = 1,
              .value = reg};
    return name_add(r, &n);
}

static bool add_specials(Reader *r)
{
    return true
#define PTX_SPECIAL(symbol, text) &&add_special(r, text, PR_##symbol)
#include "tests/ptx/ptx.def"
#undef PTX_SPECIAL
        ;
}

/* ------------------------------------------------------------------- bodies */

/* .branchtargets a, b, ...; behind its label TEXT */
static bool read_targets(Reader *r, const char *text, uint32_t len)
{
    Name n = {.text = text,
              .len = len,
              .kind = NAME_targets,
              .value = r->kernel->nargs};
    do {
        PtxArg a = {.kind = PA_label};
        Pending p = {.line = r->line, .arg = arg_append(r, &a)};
        if (!read_name(r, &p.text, &p.len)) return false;
        r->pending =
            read_grow(r->pending, r->npending, &r->pending_cap, sizeof p);
        r->pending[r->npending++] = p;
    } while (++n.count < UINT16_MAX && read_is(r, ','));
    return read_want(r, ';') && name_add(r, &n);
}

/* NAME: when one stands here, and what belongs to it; *IS says whether. */
static bool read_label(Reader *r, bool *is)
{
    const char *text, *from = r->at;
    uint32_t len;
    if (!read_name(r, &text, &len)) return false;
    *is = *r->at == ':' && r->at[1] != ':';
    if (!*is) {
        r->at = from;
        return true;
    }
    r->at++;
    if (read_directive(r, "branchtargets")) return read_targets(r, text, len);
    Name n = {.text = text,
              .len = len,
              .kind = NAME_label,
              .value = r->kernel->ninsts};
    return name_add(r, &n);
}

static bool read_body_directive(Reader *r)
{
    if (read_directive(r, "reg")) return read_registers(r);
    if (read_directive(r, "shared")) return read_kernel_variable(r, false);
    if (read_directive(r, "local")) return read_kernel_variable(r, true);
    if (read_directive(r, "pragma")) return read_pragma(r);
    return skip_notes(r) || fail_directive(r);
}

static bool read_statement(Reader *r)
{
    char c = read_peek(r);
    if (c == '{') {
        r->at++;
        return scope_open(r);
    }
    if (c == '.') return read_body_directive(r);
    if (c == '@') return read_inst(r);
    bool label;
    return read_label(r, &label) && (label || read_inst(r));
}

/* A kernel's body, behind its first brace and up to the one that ends it. */
static bool read_body(Reader *r)
{
    uint32_t outer = r->depth;
    if (!scope_open(r)) return false;
    while (r->depth > outer) {
        if (read_is(r, '}')) {
            if (!scope_close(r)) return false;
        } else if (!read_statement(r)) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ kernels */

/* .param .u64 .ptr .global .align 1 name */
static bool read_param(Reader *r)
{
    PtxKernel *k = r->kernel;
    Variable v = {0};
    uint64_t points = 1, top = k->param_bytes, at;
    if (!read_directive(r, "param")) return fail_directive(r);
    if (!read_align(r, &v.align) || !read_type(r, &v.type)) return false;
    if (read_directive(r, "ptr")) {
        (void)(read_directive(r, "global") || read_directive(r, "shared") ||
               read_directive(r, "const") || read_directive(r, "local"));
        if (!read_align(r, &points)) return false;
    }
    if (!read_name(r, &v.text, &v.len) || !read_dims(r, &v.count)) return false;
    uint64_t size = ptx_types[v.type].bits / 8;
    if (!v.align) v.align = size;
    if (!size || !v.count || v.count * size > 1 << 15)
        return read_fail(r, "a parameter of %llu bytes",
                         (unsigned long long)(v.count * size));
    if (!read_place(&top, v.count * size, v.align, &at) || top > 1 << 15)
        return read_fail(r, "too many parameters");
    PtxParam *params = realloc(k->params, (k->nparams + 1) * sizeof *params);
    if (!params) abort();
    k->params = params;
    params[k->nparams++] = (PtxParam){(size_t)at, (size_t)(v.count * size)};
    k->param_bytes = (size_t)top;
    return add_variable(r, &v, NAME_param, at);
}

static bool read_params(Reader *r)
{
    if (!read_is(r, '(') || read_is(r, ')')) return true;
    do
        if (!read_param(r)) return false;
    while (read_is(r, ','));
    return read_want(r, ')');
}

/* x[, y[, z]] */
static bool read_extent(Reader *r, unsigned out[3])
{
    for (unsigned d = 0; d < 3; d++) {
        uint64_t x = 1;
        if ((!d || read_is(r, ',')) && !read_whole(r, &x)) return false;
        if (!x || x > 1 << 16) return read_fail(r, "an extent of 0 or too far");
        out[d] = (unsigned)x;
    }
    return true;
}

static bool read_bounds(Reader *r)
{
    PtxKernel *k = r->kernel;
    uint64_t ignored;
    while (read_peek(r) == '.') {
        bool ok;
        if (read_directive(r, "reqntid"))
            ok = k->exactly = read_extent(r, k->threads);
        else if (read_directive(r, "maxntid"))
            ok = read_extent(r, k->threads);
        else if (read_directive(r, "reqnctapercluster"))
            ok = read_extent(r, k->cluster);
        else if (read_directive(r, "explicitcluster"))
            ok = true;
        else if (read_directive(r, "minnctapersm") ||
                 read_directive(r, "maxnreg") ||
                 read_directive(r, "maxclusterrank"))
            ok = read_whole(r, &ignored);
        else if (read_directive(r, "pragma"))
            ok = read_pragma(r);
        else
            ok = fail_directive(r);
        if (!ok) return false;
    }
    return true;
}

/* Dynamic shared memory begins behind the kernel's own. */
static bool place_dynamic(Reader *r)
{
    PtxKernel *k = r->kernel;
    uint64_t at;
    if (r->dynamic && !read_place(&r->shared, 0, r->dynamic, &at))
        return read_fail(r, "too much shared memory");
    if (r->dynamic) r->shared = at;
    k->shared = (uint32_t)r->shared;
    k->local = (uint32_t)r->local;
    if (k->shared_align < r->dynamic) k->shared_align = r->dynamic;
    for (uint32_t a = 0; r->dynamic && a < k->nargs; a++) {
        if (k->args[a].kind != PA_sum || !k->args[a].n) continue;
        k->args[a].n = 0;
        k->args[a].value += k->shared;
    }
    return true;
}

/* A kernel's end is a return. */
static void add_return(Reader *r)
{
    PtxKernel *k = r->kernel;
    PtxInst ret = {.op = PO_ret, .first = k->nargs, .line = r->line};
    k->insts = read_grow(k->insts, k->ninsts, &r->insts_cap, sizeof ret);
    k->insts[k->ninsts++] = ret;
}

static void kernel_new(Reader *r, const char *name, uint32_t len)
{
    PtxModule *m = r->module;
    m->kernels =
        read_grow(m->kernels, m->nkernels, &r->kernels_cap, sizeof *m->kernels);
    PtxKernel *k = r->kernel = &m->kernels[m->nkernels++];
    *k = (PtxKernel){.module = m, .shared_align = 16, .cluster = {1, 1, 1}};
    k->name = calloc(1, (size_t)len + 1);
    if (!k->name) abort();
    memcpy(k->name, name, len);
    r->args_cap = r->insts_cap = r->regs_cap = r->nspares = 0;
    reg_new(r, 32, PR_COUNT);
    r->shared = r->local = r->dynamic = 0;
}

/* .entry NAME (params) bounds { body } */
static bool read_entry(Reader *r)
{
    const char *name;
    uint32_t len;
    if (!read_name(r, &name, &len)) return false;
    kernel_new(r, name, len);
    for (uint32_t k = 0; k + 1 < r->module->nkernels; k++)
        if (is_word(name, len, r->module->kernels[k].name))
            return read_fail(r, "'%.*s' is there already", (int)len, name);
    if (!scope_open(r)) return false;
    if (!read_params(r) || !read_bounds(r) || !read_want(r, '{') ||
        !read_body(r) || !place_dynamic(r))
        return false;
    add_return(r);
    return scope_close(r);
}

/* ------------------------------------------------------------------ modules */

/* 8.0 */
static bool read_version(Reader *r)
{
    char c = read_peek(r);
    if (c < '0' || c > '9') return read_fail(r, "a version is wanted");
    while ((*r->at >= '0' && *r->at <= '9') || *r->at == '.')
        r->at++;
    return true;
}

/* .version 8.0 .target sm_90a .address_size 64 */
static bool read_head(Reader *r)
{
    const char *text;
    uint32_t len;
    uint64_t n;
    if (!read_directive(r, "version"))
        return read_fail(r, "'.version' is wanted");
    if (!read_version(r)) return false;
    if (!read_directive(r, "target"))
        return read_fail(r, "'.target' is wanted");
    do
        if (!read_name(r, &text, &len)) return false;
    while (read_is(r, ','));
    if (!read_directive(r, "address_size"))
        return read_fail(r, "'.address_size' is wanted");
    if (!read_whole(r, &n)) return false;
    return n == 64 || read_fail(r, "addresses have 64 bits");
}

static bool read_item(Reader *r)
{
    bool external = false;
    for (;;) {
        if (read_directive(r, "extern"))
            external = true;
        else if (!read_directive(r, "visible") && !read_directive(r, "weak"))
            break;
    }
    if (read_directive(r, "shared")) return read_module_shared(r, external);
    if (external) return fail_directive(r);
    if (read_directive(r, "entry")) return read_entry(r);
    if (read_directive(r, "global") || read_directive(r, "const"))
        return read_global(r);
    if (read_directive(r, "section")) return skip_section(r);
    if (read_directive(r, "pragma")) return read_pragma(r);
    return skip_notes(r) || fail_directive(r);
}

static bool read_module(Reader *r)
{
    if (!add_specials(r) || !read_head(r)) return false;
    while (read_peek(r))
        if (!read_item(r)) return false;
    return r->at == r->end || read_fail(r, "a zero in the text");
}

PtxModule *ptx_read(const char *text, size_t n, char why[PTX_FAULT])
{
    Reader *r = calloc(1, sizeof *r);
    PtxModule *m = calloc(1, sizeof *m);
    if (!r || !m || !(m->text = malloc(n + 1))) abort();
    memcpy(m->text, text, n);
    m->text[n] = 0;
    m->n = n;
    r->at = m->text;
    r->end = m->text + n;
    r->line = 1;
    r->why = why;
    r->module = m;
    bool ok = read_module(r);
    free(r->names);
    free(r->pending);
    free(r);
    if (ok) return m;
    ptx_free(m);
    return NULL;
}

void ptx_free(PtxModule *m)
{
    if (!m) return;
    for (uint32_t k = 0; k < m->nkernels; k++) {
        free(m->kernels[k].name);
        free(m->kernels[k].insts);
        free(m->kernels[k].args);
        free(m->kernels[k].reg_bits);
        free(m->kernels[k].params);
    }
    free(m->kernels);
    free(m->globals);
    free(m->text);
    free(m);
}

const PtxKernel *ptx_kernel(const PtxModule *m, const char *name)
{
    for (uint32_t k = 0; k < m->nkernels; k++)
        if (!strcmp(m->kernels[k].name, name)) return &m->kernels[k];
    return NULL;
}

const char *ptx_kernel_name(const PtxKernel *k)
{
    return k->name;
}

size_t ptx_kernel_params(const PtxKernel *k)
{
    return k->param_bytes;
}

bool ptx_kernel_param(const PtxKernel *k, unsigned i, size_t *at, size_t *n)
{
    if (i >= k->nparams) return false;
    *at = k->params[i].at;
    *n = k->params[i].n;
    return true;
}

size_t ptx_kernel_shared(const PtxKernel *k)
{
    return k->shared;
}
