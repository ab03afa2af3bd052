/*
 * engines.h: which collectives of an image copy engines make, and the room that
 * this takes, as cuda_peers.c has it; the image alone is asked, so titanc knows
 * it too.
 */
#ifndef TITAN_ENGINES_H
#define TITAN_ENGINES_H

#include "titan.h"

/* Bytes of the words that ranks write to each other: an allocation of its own,
 * whose handle is whole. */
#define ENGINES_WORDS (UINT64_C(2) << 20)
enum { ENGINES_ALIGNED = 256 }; /* bytes: where pieces begin in the room */

/* Whether they can make it, where all members of its group are of one machine.
 */
bool engines_take(const TitanImage *im, const TitanCommand *cmd);
/* Whether what is exchanged may lie where what comes goes; others would read
 * what is written over. */
bool engines_in_place(const TitanImage *im, const TitanCommand *cmd);
/* Whether they can for anything of a group, which is not one of stages. */
bool engines_use(const TitanImage *im, uint32_t group);
/* From piece to piece in the room. */
uint64_t engines_pitch(uint64_t bytes);
/* Bytes of a stream's room: for its largest sum, larger ones come in parts.
 * The same for all ranks, for members must agree on when it is full. */
uint64_t engines_room(const TitanImage *im, uint32_t stream);
/* Whether the parts of an exchange are taken to their members while the product
 * that it is of is made, where all members are of one machine. */
bool engines_fed(const TitanImage *im, const TitanCommand *cmd);
/* Nodes of a graph, or more, that it is at most. */
uint64_t engines_nodes(const TitanImage *im, const TitanCommand *cmd);

#endif
