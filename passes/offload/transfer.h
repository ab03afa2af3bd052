/*
 * transfer.h: launches that copy between the host's memory and the frame.
 */
#ifndef TITAN_TRANSFER_H
#define TITAN_TRANSFER_H

#include "../pass.h"

typedef struct Transfers {
    Module *m;
    Map groups[2]; /* out, in: type of what is copied -> its group */
} Transfers;

void transfers_init(Transfers *t, Module *m);
/* Copies from THERE, on the host, to HERE (IN), or back. */
void transfer_emit(Transfers *t, Builder *b, bool in, Value there, Value here);

#endif
