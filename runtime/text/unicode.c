/*
 * unicode.c: the table of classes, UTF-8, and the alphabet of byte-level
 * vocabularies.
 */
#include "unicode.h"

#include <string.h>

enum { WORD = UC_WORD, LATE = UC_LATE };

typedef struct Range {
    uint32_t first;
    unsigned char class;
} Range;

enum {
    Cn = UC_Cn,
    Lu = UC_Lu,
    Ll = UC_Ll,
    Lt = UC_Lt,
    Lm = UC_Lm,
    Lo = UC_Lo,
    Mn = UC_Mn,
    Mc = UC_Mc,
    Me = UC_Me,
    Nd = UC_Nd,
    Nl = UC_Nl,
    No = UC_No,
    Pc = UC_Pc,
    Pd = UC_Pd,
    Ps = UC_Ps,
    Pe = UC_Pe,
    Pi = UC_Pi,
    Pf = UC_Pf,
    Po = UC_Po,
    Sm = UC_Sm,
    Sc = UC_Sc,
    Sk = UC_Sk,
    So = UC_So,
    Zs = UC_Zs,
    Zl = UC_Zl,
    Zp = UC_Zp,
    Cc = UC_Cc,
    Ws = UC_Ws,
    Cf = UC_Cf,
    Co = UC_Co
};

static const Range ranges[] = {
#define R(first, class) {first, class},
#include "unicode.def"
#undef R
};
enum { RANGES = sizeof ranges / sizeof *ranges };

void unicode_classes(unsigned char classes[CODES])
{
    for (unsigned i = 0; i < RANGES; i++) {
        uint32_t end = i + 1 < RANGES ? ranges[i + 1].first : CODE_BYTE;
        memset(classes + ranges[i].first, ranges[i].class,
               end - ranges[i].first);
    }
    classes[CODE_BYTE] = UC_Cn;
}

uint32_t unicode_row(unsigned i)
{
    return i < RANGES ? ranges[i].first : CODE_BYTE;
}

size_t utf8_read_long(const unsigned char *p, const unsigned char *end,
                      uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned n = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc0 ? 2 : 0;
    *code = CODE_BYTE;
    if (n == 0 || *p > 0xf4 || (size_t)(end - p) < n) return 1;
    uint32_t c = *p & (0x7fu >> n);
    for (unsigned i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 1;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 1;
    *code = c;
    return n;
}

size_t utf8_write(uint32_t code, char *to)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 0x3f));
    to[0] = (char)(lead[n] | code);
    return n;
}

size_t utf8_valid(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + n;
    uint32_t code;
    while (p < end) {
        size_t length = utf8_read(p, end, &code);
        if (code == CODE_BYTE) break;
        p += length;
    }
    return (size_t)(p - (const unsigned char *)text);
}

/* The alphabet: bytes that print stand for themselves, the other 68 for the
 * code points from 256 on, in order. */
static bool stands_for_itself(uint32_t c)
{
    return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xff && c != 0xad);
}

int byte_level_byte(uint32_t code)
{
    if (code < 256) return stands_for_itself(code) ? (int)code : -1;
    uint32_t i = code - 256;
    if (i < 0x21) return (int)i;
    if (i < 0x43) return (int)(i - 0x21 + 0x7f);
    return i == 0x43 ? 0xad : -1;
}

uint32_t byte_level_code(unsigned char byte)
{
    if (stands_for_itself(byte)) return byte;
    if (byte < 0x21) return 256u + byte;
    return byte == 0xad ? 256u + 0x43 : 256u + 0x21 + byte - 0x7f;
}
