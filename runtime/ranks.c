/*
 * ranks.c: what an image says of several ranks, checked and read.
 *
 * Sizes of meshes and pieces come from a file, so nothing here trusts them: the
 * product of the mesh is the number of ranks, a group names each axis of it
 * once.
 */
#include "ranks.h"

#include <inttypes.h>

#define BAD(...) titan_fail(story, TITAN_BAD_DATA, "image: " __VA_ARGS__)

enum { EACH = 2, MOST_RANKS = 1 << 20 };

uint32_t ranks_in_group(const TitanImage *im, uint32_t group)
{
    uint32_t n = 1;
    TitanRange levels = im->groups[group].levels;
    for (uint32_t i = 0; i < levels.n; i++)
        n *= im->mesh[im->levels[levels.first + i].mesh].size;
    return n;
}

uint32_t ranks_played(const TitanImage *im)
{
    const TitanHeader *h = im->header;
    return h->rehearses ? h->rehearses : h->ranks;
}

uint32_t ranks_axes_played(const TitanImage *im)
{
    uint32_t n = 1;
    for (uint64_t all = im->header->ranks; all < ranks_played(im); n++)
        all *= im->header->ranks;
    return n;
}

uint32_t ranks_most_members(const TitanImage *im)
{
    uint32_t most = 1;
    for (uint32_t g = 0; g < im->ngroups; g++)
        if (ranks_in_group(im, g) > most) most = ranks_in_group(im, g);
    return most;
}

/* How far two ranks are apart that are neighbours on a row of the mesh. */
static uint32_t mesh_stride(const TitanImage *im, uint32_t mesh)
{
    uint32_t n = 1;
    for (uint32_t i = mesh + 1; i < im->nmesh; i++)
        n *= im->mesh[i].size;
    return n;
}

uint32_t rank_coordinate(const TitanImage *im, uint32_t rank, uint32_t mesh)
{
    return rank / mesh_stride(im, mesh) % im->mesh[mesh].size;
}

uint32_t rank_member(const TitanImage *im, uint32_t group, uint32_t rank)
{
    uint32_t member = 0;
    TitanRange levels = im->groups[group].levels;
    for (uint32_t i = 0; i < levels.n; i++) {
        uint32_t mesh = im->levels[levels.first + i].mesh;
        member = member * im->mesh[mesh].size + rank_coordinate(im, rank, mesh);
    }
    return member;
}

uint32_t rank_of_member(const TitanImage *im, uint32_t group, uint32_t rank,
                        uint32_t member)
{
    TitanRange levels = im->groups[group].levels;
    for (uint32_t i = levels.n; i-- > 0;) {
        uint32_t mesh = im->levels[levels.first + i].mesh;
        uint32_t stride = mesh_stride(im, mesh);
        rank -= rank_coordinate(im, rank, mesh) * stride;
        rank += member % im->mesh[mesh].size * stride;
        member /= im->mesh[mesh].size;
    }
    return rank;
}

uint32_t rank_stage(const TitanImage *im, uint32_t rank)
{
    if (im->nstages == 1) return 0;
    return rank_coordinate(im, rank, im->header->stage_mesh);
}

const TitanEntry *stage_entry(const TitanImage *im, uint32_t stage,
                              const TitanEntry *e)
{
    const TitanEntry *first = &im->entries[im->stages->entries.first];
    return &im->entries[im->stages[stage].entries.first] + (e - first);
}

uint64_t stage_base_at(const TitanStage *s, TitanBase base)
{
    uint64_t at = 0;
    if (base == TITAN_BASE_host) return s->arena_bytes;
    for (int b = 0; b < (int)base; b++)
        at += (s->base_bytes[b] + 255) & ~UINT64_C(255);
    return at;
}

uint32_t collective_pieces(const TitanImage *im, const TitanCollective *x,
                           uint64_t pieces[2])
{
    static const unsigned of[][2] = {
#define COLLECTIVE(name, destination, source) {destination, source},
#include "collectives.def"
#undef COLLECTIVE
    };
    for (int i = 0; i < 2; i++)
        pieces[i] = of[x->kind][i] == EACH ? ranks_in_group(im, x->group)
                                           : of[x->kind][i];
    return (uint32_t)(pieces[0] > 0) + (uint32_t)(pieces[1] > 0);
}

bool collectives_join(const TitanImage *im, const TitanCommand *first,
                      const TitanCommand *cmd)
{
    if (cmd->kind != TITAN_COMMAND_collective || cmd->stream != first->stream)
        return false;
    const TitanCollective *x = &im->collectives[cmd->index];
    bool plain = x->kind == TITAN_COLLECTIVE_all_gather ||
                 x->kind == TITAN_COLLECTIVE_reduce_scatter ||
                 x->kind == TITAN_COLLECTIVE_all_reduce;
    return plain && x->group == im->collectives[first->index].group;
}

uint64_t collective_piece_bytes(const TitanCollective *x)
{
    return (uint64_t)x->count * titan_dtype_bytes(x->dtype);
}

bool collective_has_order(const TitanCollective *x)
{
    bool sums = x->kind == TITAN_COLLECTIVE_reduce_scatter ||
                x->kind == TITAN_COLLECTIVE_all_reduce;
    return sums && x->reduce == TITAN_REDUCE_sum &&
           titan_dtype_is_float(x->dtype);
}

const char *collective_name(uint32_t kind)
{
    static const char *const names[] = {
#define COLLECTIVE(name, destination, source) #name,
#include "collectives.def"
#undef COLLECTIVE
    };
    return kind < TITAN_COLLECTIVE_COUNT ? names[kind] : "?";
}

int64_t part_axis_size(const TitanImage *im, const TitanPart *p, uint32_t axis,
                       int64_t size)
{
    if (p->n && p->axis == axis) size = p->n;
    for (uint32_t i = 0; i < p->splits.n; i++) {
        const TitanSplit *s = &im->splits[p->splits.first + i];
        if (s->axis != axis) continue;
        int64_t n = im->mesh[s->mesh].size;
        size = s->spread == TITAN_SPREAD_zig
                   ? 2 * ((size + 2 * n - 1) / (2 * n))
                   : (size + n - 1) / n;
    }
    return size;
}

/* ---------------------------------------------------------------- checks -- */

static bool fits(TitanRange r, uint32_t n)
{
    return r.first <= n && r.n <= n - r.first;
}

static bool is_string(const TitanImage *im, uint32_t at)
{
    return at < im->header->strings_size;
}

/* One row of a mesh, and a power of its ranks. */
static bool can_rehearse(const TitanImage *im)
{
    const TitanHeader *h = im->header;
    uint64_t n = h->ranks;
    if (h->ranks < 2 || im->nmesh != 1 || im->nstages != 1) return false;
    while (n < h->rehearses)
        n *= h->ranks;
    return n == h->rehearses;
}

static TitanStatus check_mesh(TitanStory *story, const TitanImage *im)
{
    uint64_t ranks = 1;
    for (uint32_t i = 0; i < im->nmesh; i++) {
        const TitanMeshAxis *a = &im->mesh[i];
        if (!is_string(im, a->name) || a->size == 0 || a->size > MOST_RANKS)
            return BAD("mesh axis %" PRIu32 " is damaged", i);
        ranks *= a->size;
        if (ranks > MOST_RANKS) return BAD("the mesh has too many ranks");
    }
    if (ranks != im->header->ranks)
        return BAD("a mesh of %" PRIu64 " ranks, and the header says %" PRIu32,
                   ranks, im->header->ranks);
    if (im->header->rehearses && !can_rehearse(im))
        return BAD("%" PRIu32 " ranks cannot play %" PRIu32, im->header->ranks,
                   im->header->rehearses);
    uint32_t over = im->header->stage_mesh;
    if (im->nstages > 1 &&
        (over >= im->nmesh || im->mesh[over].size != im->nstages))
        return BAD("%" PRIu32 " stages, and no mesh axis of that size for them",
                   im->nstages);
    return TITAN_OK;
}

static TitanStatus check_group(TitanStory *story, const TitanImage *im,
                               uint32_t i)
{
    const TitanGroup *g = &im->groups[i];
    if (!is_string(im, g->name) || !fits(g->levels, im->nlevels) ||
        g->levels.n > im->nmesh)
        return BAD("group %" PRIu32 " is damaged", i);
    for (uint32_t k = 0; k < g->levels.n; k++) {
        uint32_t mesh = im->levels[g->levels.first + k].mesh;
        if (mesh >= im->nmesh) return BAD("group %" PRIu32 " without mesh", i);
        for (uint32_t j = 0; j < k; j++)
            if (im->levels[g->levels.first + j].mesh == mesh)
                return BAD("group %" PRIu32 " names a mesh axis twice", i);
    }
    return TITAN_OK;
}

static TitanStatus check_collective(TitanStory *story, const TitanImage *im,
                                    uint32_t i)
{
    const TitanCollective *x = &im->collectives[i];
    if (x->kind >= TITAN_COLLECTIVE_COUNT || !titan_dtype_bytes(x->dtype) ||
        x->group >= im->ngroups || x->reduce > TITAN_REDUCE_max ||
        x->count < 0 || x->count > INT64_C(1) << 48)
        return BAD("collective %" PRIu32 " is damaged", i);
    if (collective_is_message(x->kind) &&
        x->peer >= ranks_in_group(im, x->group))
        return BAD("collective %" PRIu32 " has no peer %" PRIu32, i, x->peer);
    return TITAN_OK;
}

TitanStatus ranks_check(TitanStory *story, const TitanImage *im)
{
    TRY(check_mesh(story, im));
    for (uint32_t i = 0; i < im->ngroups; i++)
        TRY(check_group(story, im, i));
    for (uint32_t i = 0; i < im->ncollectives; i++)
        TRY(check_collective(story, im, i));
    for (uint32_t i = 0; i < im->nsplits; i++)
        if (im->splits[i].mesh >= im->nmesh ||
            im->splits[i].spread > TITAN_SPREAD_zig)
            return BAD("split %" PRIu32 " is damaged", i);
    for (uint32_t i = 0; i < im->nparts; i++)
        if (!fits(im->parts[i].splits, im->nsplits))
            return BAD("part %" PRIu32 " has no splits", i);
    return TITAN_OK;
}
