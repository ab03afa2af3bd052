/*
 * reader.h: what the parts of the reader share: names and where the reader is
 * in the text (names.c), operands (operand.c), modules (read.c).
 */
#ifndef TITAN_TESTS_PTX_READER_H
#define TITAN_TESTS_PTX_READER_H

#include "tests/ptx/machine.h"

typedef enum NameKind {
    NAME_reg,     /* count of them with ranged, from number value on */
    NAME_param,   /* value: where it begins */
    NAME_shared,  /* of a kernel; value: where it begins */
    NAME_module,  /* a shared variable of the module: value bytes at align; in
                     kernel count - 1 it begins at place */
    NAME_dynamic, /* dynamic shared memory */
    NAME_local,   /* value: where it begins */
    NAME_global,  /* value: its address */
    NAME_label,   /* value: an instruction's number */
    NAME_targets  /* value: first of args, count */
} NameKind;

typedef struct Name {
    const char *text;
    uint32_t len, hash;
    uint32_t next, depth; /* in its bucket; of scopes */
    NameKind kind;
    uint8_t bits; /* of a register */
    bool ranged;  /* <count>: text and a number */
    uint32_t count, align;
    uint64_t value, place;
} Name;

/* A label that stands somewhere before what it names was seen. */
typedef struct Pending {
    const char *text;
    uint32_t len, line;
    uint32_t arg; /* kernel->args[arg] */
} Pending;

typedef struct Scope {
    uint32_t names, pending; /* how many there were before it */
} Scope;

/* Registers of so many bits whose scope has ended. */
typedef struct Spare {
    uint8_t bits;
    uint32_t reg;
} Spare;

enum { SPARES = 64, NAME_BUCKETS = 1 << 14, SCOPES_MAX = 64, FORMS = 1 << 12 };

typedef struct Reader {
    const char *at, *end;
    uint32_t line;
    char *why; /* PTX_FAULT bytes */
    PtxModule *module;
    PtxKernel *kernel; /* that is read */
    uint32_t args_cap, insts_cap;

    Name *names;
    uint32_t nnames, names_cap;
    uint32_t bucket[NAME_BUCKETS]; /* 1 + the first of names */
    Pending *pending;
    uint32_t npending, pending_cap;
    Scope scope[SCOPES_MAX];
    uint32_t depth;
    Spare spare[SPARES];
    uint32_t nspares, regs_cap;
    uint32_t kernels_cap;
    uint64_t shared, local; /* bytes of the kernel's variables */
    uint32_t dynamic; /* alignment of its dynamic shared memory, 0: none */

    /* names of instructions that were seen, as they were read */
    struct Form {
        const char *text;
        uint32_t len;
        PtxInst inst;
    } form[FORMS];
} Reader;

/* ------------------------------------------------------------- names.c */

/* Says what, with the line; returns false. */
bool read_fail(Reader *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Grows ARRAY of N things to hold one more. */
void *read_grow(void *array, uint32_t n, uint32_t *cap, size_t size);

/* The next character behind space and comments; 0 at the end. */
char read_peek(Reader *r);
/* Goes on over C when it stands here. */
bool read_is(Reader *r, char c);
bool read_want(Reader *r, char c);
/* A name of letters, digits, _ $ and %, which must be here; false: said. */
bool read_name(Reader *r, const char **text, uint32_t *len);
/* A number: 0x 0b 0 (octal) and decimal ones, 0f and 0d; BITS is 0 for a whole
 * one, else 32 or 64. */
bool read_number(Reader *r, uint64_t *value, unsigned *bits);

bool scope_open(Reader *r);
/* What labels stand for in it is known now. */
bool scope_close(Reader *r);
/* A name in the scope that is open; one that is there already is refused. */
bool name_add(Reader *r, const Name *name);
/* Of the innermost scope that has it; NULL: none. */
Name *name_find(const Reader *r, const char *text, uint32_t len);
/* The register that TEXT says; false: none. */
bool reg_find(const Reader *r, const char *text, uint32_t len, uint32_t *reg,
              uint8_t *bits);
/* COUNT new registers, the first of which is returned; in an inner scope one
 * that another scope had. */
uint32_t reg_new(Reader *r, uint8_t bits, uint32_t count);
/* Where N bytes at ALIGN begin behind *TOP, which goes on; false: too far. */
bool read_place(uint64_t *top, uint64_t n, uint64_t align, uint64_t *at);

/* ----------------------------------------------------------- operand.c */

/* An instruction with its guard and operands, up to its semicolon. */
bool read_inst(Reader *r);
/* An operand's worth behind the kernel's others. */
uint32_t arg_append(Reader *r, const PtxArg *a);

#endif
