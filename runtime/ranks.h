/*
 * ranks.h: the ranks of an image: their mesh, its groups, their collectives.
 */
#ifndef TITAN_RANKS_H
#define TITAN_RANKS_H

#include "titan.h"

/* Of an image whose tables are open and whose slots and ports are not looked
 * at yet: the mesh, groups, collectives and splits make sense. */
TitanStatus ranks_check(TitanStory *story, const TitanImage *im);

/* What a rank has of an axis of SIZE: of a part, and of its axis AXIS. */
int64_t part_axis_size(const TitanImage *im, const TitanPart *p, uint32_t axis,
                       int64_t size);

enum { TITAN_MOST_AXES = 32 }; /* of a slot or port that has parts */

/* The stage that a rank runs: a row of `stages`. */
uint32_t rank_stage(const TitanImage *im, uint32_t rank);
static inline const TitanStage *stage_of(const TitanImage *im, uint32_t rank)
{
    return &im->stages[rank_stage(im, rank)];
}
/* What E, an entry of the first stage, is in another. */
const TitanEntry *stage_entry(const TitanImage *im, uint32_t stage,
                              const TitanEntry *e);
/* Where a base begins in the memory of a rank: in its arena, or behind it. */
uint64_t stage_base_at(const TitanStage *s, TitanBase base);

/* Members of a group. */
uint32_t ranks_in_group(const TitanImage *im, uint32_t group);
/* Devices of the mesh that the program is of: its ranks, but in a rehearsal. */
uint32_t ranks_played(const TitanImage *im);
/* Mesh axes of that which one row of the mesh is: 1, but in a rehearsal. */
uint32_t ranks_axes_played(const TitanImage *im);
/* Of the largest group; 1 where there is none. */
uint32_t ranks_most_members(const TitanImage *im);
/* A rank's coordinate on a row of the mesh. */
uint32_t rank_coordinate(const TitanImage *im, uint32_t rank, uint32_t mesh);
/* Which member of its group a rank is. */
uint32_t rank_member(const TitanImage *im, uint32_t group, uint32_t rank);
/* The rank that is MEMBER of the group that RANK is in. */
uint32_t rank_of_member(const TitanImage *im, uint32_t group, uint32_t rank,
                        uint32_t member);

/* Pieces of destination and source; returns how many operands it has. */
uint32_t collective_pieces(const TitanImage *im, const TitanCollective *x,
                           uint64_t pieces[2]);
/* Bytes of a piece. */
uint64_t collective_piece_bytes(const TitanCollective *x);
const char *collective_name(uint32_t kind);
/* A sum of floats, which depends on the order of the ranks. */
bool collective_has_order(const TitanCollective *x);
/* Whether a command is a collective that may be one with another, which it
 * follows on its stream, as long as neither touches what the other does. */
bool collectives_join(const TitanImage *im, const TitanCommand *first,
                      const TitanCommand *cmd);
/* From one rank to another. */
static inline bool collective_is_message(uint32_t kind)
{
    return kind == TITAN_COLLECTIVE_send || kind == TITAN_COLLECTIVE_receive;
}

#endif
