/*
 * events.c: an event file of TensorBoard.
 *
 * A file is a sequence of records, little-endian, with masked CRC-32C:
 *
 *     u64 length | u32 crc(length) | bytes | u32 crc(bytes)
 *
 * and the bytes of each are a message `Event` in protobuf's encoding:
 *
 *     1 wall_time    double        5 summary { 1 value { 1 tag    string
 *     2 step         int64                               2 simple_value float
 * }} 3 file_version string        7 session_log { 1 status enum }
 *
 * The first event is the version.  The second says that a session starts at a
 * step: what other files of the folder have of that step and later ones was
 * taken back, and is not shown.
 */
#include "events.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "files.h"

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };
enum {
    EVENT_time = 1,
    EVENT_step = 2,
    EVENT_version = 3,
    EVENT_summary = 5,
    EVENT_session = 7
};

/* ---------------------------------------------------------------- bytes -- */

static void put_byte(Bytes *b, unsigned char c)
{
    if (b->n == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 512;
        unsigned char *at = realloc(b->at, cap);
        if (!at) {
            b->failed = true;
            return;
        }
        b->at = at;
        b->cap = cap;
    }
    b->at[b->n++] = c;
}

static void put_bytes(Bytes *b, const void *from, size_t n)
{
    const unsigned char *at = from;
    for (size_t i = 0; i < n; i++)
        put_byte(b, at[i]);
}

static void put_fixed(Bytes *b, uint64_t x, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        put_byte(b, (unsigned char)(x >> 8 * i));
}

static void put_varint(Bytes *b, uint64_t x)
{
    for (; x >= 0x80; x >>= 7)
        put_byte(b, (unsigned char)(x | 0x80));
    put_byte(b, (unsigned char)x);
}

static void put_key(Bytes *b, unsigned field, unsigned kind)
{
    put_varint(b, field << 3 | kind);
}

static void put_block(Bytes *b, unsigned field, const void *at, size_t n)
{
    put_key(b, field, LENGTH);
    put_varint(b, n);
    put_bytes(b, at, n);
}

static void put_double(Bytes *b, unsigned field, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_key(b, field, FIXED64);
    put_fixed(b, bits, 8);
}

static void put_float(Bytes *b, unsigned field, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_key(b, field, FIXED32);
    put_fixed(b, bits, 4);
}

/* --------------------------------------------------------------- records -- */

/* CRC-32C, four bits at a time. */
static uint32_t crc32c(const unsigned char *at, size_t n)
{
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

/* A CRC of bytes that hold CRCs says little; hence the mask. */
static uint32_t masked(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + UINT32_C(0xa282ead8);
}

/* Frames the event that stands behind the first twelve bytes. */
enum { FRAME = 12 };
static TitanStatus write_record(TitanStory *s, Events *e)
{
    Bytes *r = &e->record;
    if (r->failed || e->summary.failed) return titan_no_memory(s);
    size_t n = r->n - FRAME;
    uint32_t crc = masked(crc32c(r->at + FRAME, n));
    r->n = 0;
    put_fixed(r, n, 8);
    put_fixed(r, masked(crc32c(r->at, 8)), 4);
    r->n = FRAME + n;
    put_fixed(r, crc, 4);
    return sink_write(s, &e->sink, r->at, r->n);
}

static void begin_event(Events *e, int64_t step)
{
    e->record.n = 0;
    e->record.failed = false;
    put_fixed(&e->record, 0, 8);
    put_fixed(&e->record, 0, FRAME - 8);
    put_double(&e->record, EVENT_time, (double)clock_ns(CLOCK_REALTIME) * 1e-9);
    if (step == 0) return;
    put_key(&e->record, EVENT_step, VARINT);
    put_varint(&e->record, (uint64_t)step);
}

static TitanStatus write_head(TitanStory *s, Events *e, int64_t done)
{
    static const char version[] = "brain.Event:2";
    static const unsigned char started[] = {1 << 3 | VARINT, 1};
    begin_event(e, 0);
    put_block(&e->record, EVENT_version, version, sizeof version - 1);
    TRY(write_record(s, e));
    begin_event(e, done + 1);
    put_block(&e->record, EVENT_session, started, sizeof started);
    return write_record(s, e);
}

/* ---------------------------------------------------------------- public -- */

/* The name sorts by time, and no two runs have the same. */
static void file_name(char *out, size_t size, const char *folder)
{
    char host[128] = "host";
    const int64_t second = 1000000000, t = clock_ns(CLOCK_REALTIME);
    gethostname(host, sizeof host - 1);
    snprintf(out, size, "%s/events.out.tfevents.%010" PRId64 ".%s.%ld.%ld",
             folder, t / second, host, (long)getpid(), (long)(t % second));
}

TitanStatus events_open(TitanStory *s, Events *e, const char *folder,
                        int64_t done)
{
    char path[4096];
    TRY(files_need_dir(s, files_real(), folder));
    file_name(path, sizeof path, folder);
    TRY(sink_open(s, &e->sink, path, SINK_anew));
    return write_head(s, e, done);
}

TitanStatus events_close(TitanStory *s, Events *e)
{
    free(e->summary.at);
    free(e->record.at);
    e->summary = e->record = (Bytes){0};
    return sink_close(s, &e->sink);
}

void events_begin(Events *e, int64_t step)
{
    e->step = step;
    e->summary.n = 0;
    e->summary.failed = false;
}

/* The value's message is made behind the record's place, where it is needed
 * last. */
void events_scalar(Events *e, const char *tag, double x)
{
    Bytes *value = &e->record;
    value->n = 0;
    put_block(value, 1, tag, strlen(tag));
    put_float(value, 2, (float)x);
    put_block(&e->summary, 1, value->at, value->n);
}

TitanStatus events_end(TitanStory *s, Events *e)
{
    begin_event(e, e->step);
    put_block(&e->record, EVENT_summary, e->summary.at, e->summary.n);
    return write_record(s, e);
}
