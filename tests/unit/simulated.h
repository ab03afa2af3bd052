/*
 * simulated.h: a file system in memory that remembers every call, so that a
 * crash behind any of them can be played.
 *
 * What a crash leaves: all that was synced; of what was not, of each folder the
 * changes up to some point, of each file any of the 4 KiB pages that were
 * written, and a size that may be there before the bytes are.
 */
#ifndef TITAN_TESTS_SIMULATED_H
#define TITAN_TESTS_SIMULATED_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/files.h"

enum { SIM_NODES = 4096, SIM_OPS = 16384, SIM_NAME = 64, SIM_OPEN = 64 };

typedef enum SimKind {
    SIM_create,
    SIM_make_dir,
    SIM_rename,
    SIM_remove,
    SIM_write,
    SIM_sync,
    SIM_sync_dir
} SimKind;

typedef struct SimOp {
    SimKind kind;
    int dir, node;
    char name[SIM_NAME], to[SIM_NAME];
    size_t offset, n;
    char *data;
} SimOp;

/* A file, or a folder; where it stands is `dir` and `name`. */
typedef struct SimNode {
    bool folder, linked;
    int dir;
    char name[SIM_NAME];
    char *data;
    size_t size, cap;
} SimNode;

typedef struct SimFile {
    bool used;
    int node;
    size_t at;
    bool locked;
} SimFile;

typedef struct Sim {
    Files files; /* first */
    SimNode *nodes;
    int nnodes;
    SimOp *ops;
    int nops;
    SimFile open[SIM_OPEN];
    int calls, fails_at; /* the call of that number fails; 0: none */
    int fails_with;
    bool fails_on; /* and all changes behind it */
    long room;     /* bytes until the disk is full; negative: no end */
} Sim;

static inline void sim_name(char to[SIM_NAME], const char *name)
{
    size_t n = strlen(name);
    if (n >= SIM_NAME) abort();
    memmove(to, name, n + 1);
}

/* ----------------------------------------------------------------- paths -- */

static inline int sim_child(const Sim *s, int dir, const char *name, size_t n)
{
    for (int i = 1; i < s->nnodes; i++) {
        const SimNode *c = &s->nodes[i];
        if (c->linked && c->dir == dir && strlen(c->name) == n &&
            memcmp(c->name, name, n) == 0)
            return i;
    }
    return -1;
}

/* The folder that the last name of PATH stands in; the root is ".". */
static inline int sim_walk(const Sim *s, const char *path, const char **last)
{
    int dir = 0;
    for (const char *slash; (slash = strchr(path, '/')); path = slash + 1) {
        size_t n = (size_t)(slash - path);
        if (n == 0 || (n == 1 && *path == '.')) continue;
        dir = sim_child(s, dir, path, n);
        if (dir < 0) return -1;
    }
    *last = path;
    return dir;
}

static inline int sim_find(const Sim *s, const char *path)
{
    const char *last;
    int dir = sim_walk(s, path, &last);
    if (dir < 0 || !*last || strcmp(last, ".") == 0) return dir;
    return sim_child(s, dir, last, strlen(last));
}

/* ------------------------------------------------------------------- log -- */

static inline SimOp *sim_log(Sim *s, SimKind kind, int dir, int node,
                             const char *name)
{
    if (s->nops == SIM_OPS) abort();
    SimOp *op = &s->ops[s->nops++];
    *op = (SimOp){.kind = kind, .dir = dir, .node = node};
    if (name) sim_name(op->name, name);
    return op;
}

/* What a call that changes something returns at its beginning. */
static inline int sim_fails(Sim *s)
{
    s->calls++;
    bool now = s->fails_at && (s->calls == s->fails_at ||
                               (s->fails_on && s->calls > s->fails_at));
    return now ? s->fails_with : 0;
}

static inline int sim_node(Sim *s, bool folder, int dir, const char *name)
{
    if (s->nnodes == SIM_NODES) abort();
    SimNode *n = &s->nodes[s->nnodes];
    *n = (SimNode){.folder = folder, .linked = true, .dir = dir};
    sim_name(n->name, name);
    return s->nnodes++;
}

static inline void sim_store(SimNode *f, size_t at, const char *data, size_t n)
{
    if (at + n > f->cap) {
        f->cap = 2 * (at + n);
        f->data = realloc(f->data, f->cap);
    }
    if (at > f->size) memset(f->data + f->size, 0, at - f->size);
    memcpy(f->data + at, data, n);
    if (at + n > f->size) f->size = at + n;
}

static inline int sim_handle(Sim *s, int node, int *fd)
{
    for (*fd = 0; *fd < SIM_OPEN; ++*fd)
        if (!s->open[*fd].used) {
            s->open[*fd] = (SimFile){true, node, 0, false};
            return 0;
        }
    return EMFILE;
}

/* ----------------------------------------------------------------- calls -- */

static inline int sim_create(Files *files, const char *path, int *fd)
{
    Sim *s = (Sim *)files;
    const char *name;
    int error = sim_fails(s), dir = sim_walk(s, path, &name);
    if (error || dir < 0) return error ? error : ENOENT;
    int old = sim_child(s, dir, name, strlen(name));
    if (old >= 0) s->nodes[old].linked = false; /* nobody empties a file here */
    int node = sim_node(s, false, dir, name);
    sim_log(s, SIM_create, dir, node, name);
    return sim_handle(s, node, fd);
}

/* At most 5000 bytes at a time: short writes are part of life. */
static inline int sim_write(Files *files, int fd, const void *at, size_t n,
                            size_t *done)
{
    Sim *s = (Sim *)files;
    SimFile *f = &s->open[fd];
    int error = sim_fails(s);
    if (error) return error;
    if (n > 5000) n = 5000;
    if (s->room >= 0 && n > (size_t)s->room) n = (size_t)s->room;
    if (s->room == 0) return ENOSPC;
    if (s->room > 0) s->room -= (long)n;
    SimOp *op = sim_log(s, SIM_write, -1, f->node, NULL);
    op->offset = f->at;
    op->n = n;
    op->data = malloc(n);
    memcpy(op->data, at, n);
    sim_store(&s->nodes[f->node], f->at, at, n);
    f->at += n;
    *done = n;
    return 0;
}

static inline int sim_sync(Files *files, int fd)
{
    Sim *s = (Sim *)files;
    int error = sim_fails(s);
    if (!error) sim_log(s, SIM_sync, -1, s->open[fd].node, NULL);
    return error;
}

static inline int sim_open(Files *files, const char *path, int *fd,
                           uint64_t *size)
{
    Sim *s = (Sim *)files;
    int node = sim_find(s, path);
    if (node < 0) return ENOENT;
    if (s->nodes[node].folder) return EINVAL;
    *size = s->nodes[node].size;
    return sim_handle(s, node, fd);
}

static inline int sim_read(Files *files, int fd, uint64_t offset, void *to,
                           size_t n, size_t *done)
{
    Sim *s = (Sim *)files;
    const SimNode *f = &s->nodes[s->open[fd].node];
    size_t left = offset < f->size ? f->size - (size_t)offset : 0;
    *done = n < left ? n : left;
    if (*done) memcpy(to, f->data + offset, *done);
    return 0;
}

static inline int sim_close(Files *files, int fd)
{
    ((Sim *)files)->open[fd].used = false;
    return 0;
}

static inline int sim_lock(Files *files, const char *path, int *fd,
                           int64_t *holder)
{
    Sim *s = (Sim *)files;
    int node = sim_find(s, path);
    *holder = 0;
    if (node < 0) return ENOENT;
    for (int i = 0; i < SIM_OPEN; i++)
        if (s->open[i].used && s->open[i].locked && s->open[i].node == node) {
            *holder = 7;
            return EWOULDBLOCK;
        }
    int error = sim_handle(s, node, fd);
    if (!error) s->open[*fd].locked = true;
    return error;
}

static inline int sim_map(Files *files, const char *path, const void **at,
                          size_t *size)
{
    Sim *s = (Sim *)files;
    int node = sim_find(s, path);
    if (node < 0) return ENOENT;
    *at = s->nodes[node].data;
    *size = s->nodes[node].size;
    return 0;
}

static inline void sim_unmap(Files *files, const void *at, size_t size)
{
    (void)files, (void)at, (void)size;
}

/* Of a file or folder, over a file or nothing. */
static inline void sim_move(Sim *s, int dir, const char *from, const char *to)
{
    int node = sim_child(s, dir, from, strlen(from));
    int old = sim_child(s, dir, to, strlen(to));
    if (node < 0) return;
    if (old >= 0) s->nodes[old].linked = false;
    sim_name(s->nodes[node].name, to);
}

static inline int sim_rename(Files *files, const char *from, const char *to)
{
    Sim *s = (Sim *)files;
    const char *a, *b;
    int error = sim_fails(s), dir = sim_walk(s, from, &a);
    if (error || dir < 0) return error ? error : ENOENT;
    if (sim_walk(s, to, &b) != dir) return EXDEV;
    if (sim_child(s, dir, a, strlen(a)) < 0) return ENOENT;
    int old = sim_find(s, to);
    if (old >= 0 && s->nodes[old].folder) return ENOTEMPTY;
    SimOp *op = sim_log(s, SIM_rename, dir, -1, a);
    sim_name(op->to, b);
    sim_move(s, dir, a, b);
    return 0;
}

static inline int sim_remove(Files *files, const char *path)
{
    Sim *s = (Sim *)files;
    int node = sim_find(s, path), error = sim_fails(s);
    if (error || node < 0) return error ? error : ENOENT;
    for (int i = 1; i < s->nnodes; i++)
        if (s->nodes[i].linked && s->nodes[i].dir == node) return ENOTEMPTY;
    s->nodes[node].linked = false;
    sim_log(s, SIM_remove, s->nodes[node].dir, node, s->nodes[node].name);
    return 0;
}

static inline int sim_make_dir(Files *files, const char *path)
{
    Sim *s = (Sim *)files;
    const char *name;
    int error = sim_fails(s), dir = sim_walk(s, path, &name);
    if (error || dir < 0) return error ? error : ENOENT;
    if (sim_find(s, path) >= 0) return EEXIST;
    sim_log(s, SIM_make_dir, dir, sim_node(s, true, dir, name), name);
    return 0;
}

static inline int sim_sync_dir(Files *files, const char *path)
{
    Sim *s = (Sim *)files;
    int node = sim_find(s, path), error = sim_fails(s);
    if (error || node < 0) return error ? error : ENOENT;
    sim_log(s, SIM_sync_dir, node, node, NULL);
    return 0;
}

static inline int sim_list(Files *files, const char *path,
                           void (*each)(void *user, const char *name),
                           void *user)
{
    Sim *s = (Sim *)files;
    int dir = sim_find(s, path), last = s->nnodes;
    if (dir < 0) return ENOENT;
    if (!s->nodes[dir].folder) return ENOTDIR;
    for (int i = 1; i < last; i++)
        if (s->nodes[i].linked && s->nodes[i].dir == dir)
            each(user, s->nodes[i].name);
    return 0;
}

static inline Sim *sim_new(void)
{
    static const FilesClass class = {.create = sim_create,
                                     .write = sim_write,
                                     .sync = sim_sync,
                                     .open = sim_open,
                                     .read = sim_read,
                                     .close = sim_close,
                                     .map = sim_map,
                                     .unmap = sim_unmap,
                                     .rename = sim_rename,
                                     .remove = sim_remove,
                                     .make_dir = sim_make_dir,
                                     .sync_dir = sim_sync_dir,
                                     .lock = sim_lock,
                                     .list = sim_list};
    Sim *s = calloc(1, sizeof *s);
    s->files.class = &class;
    s->nodes = calloc(SIM_NODES, sizeof *s->nodes);
    s->ops = calloc(SIM_OPS, sizeof *s->ops);
    s->nodes[s->nnodes++] = (SimNode){.folder = true, .linked = true};
    s->room = -1;
    return s;
}

static inline void sim_free(Sim *s)
{
    for (int i = 0; i < s->nnodes; i++)
        free(s->nodes[i].data);
    for (int i = 0; i < s->nops; i++)
        free(s->ops[i].data);
    free(s->nodes);
    free(s->ops);
    free(s);
}

/* ----------------------------------------------------------------- crash -- */

static inline unsigned sim_draw(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(*seed >> 33);
}

static inline bool is_of_dir(const SimOp *op)
{
    return op->kind <= SIM_remove;
}

/* Whether what op I did is on the disk for sure when the first N are done. */
static inline bool is_synced(const Sim *s, int i, int n)
{
    const SimOp *op = &s->ops[i];
    for (int k = i + 1; k < n; k++) {
        const SimOp *o = &s->ops[k];
        if (is_of_dir(op) && o->kind == SIM_sync_dir && o->dir == op->dir)
            return true;
        if (op->kind == SIM_write && o->kind == SIM_sync && o->node == op->node)
            return true;
    }
    return false;
}

static inline void replay_dir(Sim *to, const SimOp *op)
{
    SimNode *n = op->node >= 0 ? &to->nodes[op->node] : NULL;
    switch (op->kind) {
    case SIM_create:
    case SIM_make_dir: {
        int old = sim_child(to, op->dir, op->name, strlen(op->name));
        if (old >= 0) to->nodes[old].linked = false;
        n->linked = true;
        n->dir = op->dir;
        sim_name(n->name, op->name);
        return;
    }
    case SIM_rename:
        sim_move(to, op->dir, op->name, op->to);
        return;
    case SIM_remove:
        n->linked = false;
        return;
    case SIM_write:
    case SIM_sync:
    case SIM_sync_dir:
        return;
    }
}

/* Page by page; a page that is not there may still have made the file longer.
 */
static inline void replay_write(Sim *to, const SimOp *op, bool all,
                                uint64_t *seed)
{
    enum { PAGE = 4096 };
    SimNode *f = &to->nodes[op->node];
    for (size_t at = op->offset; at < op->offset + op->n;) {
        size_t end = (at / PAGE + 1) * PAGE;
        if (end > op->offset + op->n) end = op->offset + op->n;
        unsigned how = all ? 0 : sim_draw(seed) % 3;
        if (how == 0) sim_store(f, at, op->data + (at - op->offset), end - at);
        if (how == 1 && end > f->size) sim_store(f, end - 1, "", 1);
        at = end;
    }
}

/* What may be on the disk when the power goes behind the first N changes. */
static inline Sim *sim_crash(const Sim *s, int n, uint64_t *seed)
{
    Sim *to = sim_new();
    bool *lost = calloc((size_t)s->nnodes, sizeof *lost); /* by folder */
    for (int i = 1; i < s->nnodes; i++)
        to->nodes[i] = (SimNode){.folder = s->nodes[i].folder};
    to->nnodes = s->nnodes;
    for (int i = 0; i < n; i++) {
        const SimOp *op = &s->ops[i];
        bool synced = is_synced(s, i, n);
        if (op->kind == SIM_write) replay_write(to, op, synced, seed);
        if (!is_of_dir(op)) continue;
        if (!synced && sim_draw(seed) % 4 == 0) lost[op->dir] = true;
        if (!lost[op->dir]) replay_dir(to, op);
    }
    free(lost);
    return to;
}

#endif
