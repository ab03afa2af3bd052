/*
 * mpi.h: processes that mpirun has started, as ranks.
 *
 * Open MPI is opened at run time, with declarations of our own; it moves bytes
 * and makes no sum.  One thread of a process uses it.
 */
#ifndef TITAN_MPI_H
#define TITAN_MPI_H

#include "board.h"
#include "transport.h"

typedef struct MpiCommRow *MpiComm;
typedef struct MpiTypeRow *MpiType;
typedef struct MpiRequestRow *MpiRequest;

typedef struct Mpi {
    void *library;
    MpiComm world;
    MpiType byte;
    uint32_t rank, ranks, local; /* of these, on this machine */
    Board *board; /* of this process: for whom it waits; or NULL */
    size_t room;  /* a message of so many bytes is sent from a copy */
#define MPI(name, ...) int (*name)(__VA_ARGS__);
#include "mpi.def"
#undef MPI
} Mpi;

/* Whether mpirun has started this process. */
bool mpi_is_there(void);
/* UNAVAILABLE: no library, and OUT is empty. */
TitanStatus mpi_open(TitanStory *s, Mpi *out);
/* All ranks come here. */
void mpi_close(Mpi *m);

/* Messages between two ranks with one tag are in order. */
enum { MPI_tag_order = 1, MPI_tag_group = 16, MPI_tag_channel = 16384 };

typedef enum MpiWay { MPI_send, MPI_meet, MPI_receive } MpiWay;

/* Meet: sent when the receiver is there, and not before. */
typedef struct MpiMessage {
    MpiWay way;
    uint32_t rank;
    int tag;
    char *at; /* it stays until it is waited for */
    size_t bytes;
} MpiMessage;

/* What is under way. */
typedef struct MpiMail {
    MpiRequest *at;
    uint32_t *peers;
    size_t n, room;
} MpiMail;

TitanStatus mpi_post(TitanStory *s, Mpi *m, MpiMail *mail, MpiMessage what);
/* Until all of it has gone and come. */
void mpi_wait(Mpi *m, MpiMail *mail);
/* Posts and waits. */
TitanStatus mpi_pass(TitanStory *s, Mpi *m, MpiMail *mail, MpiMessage what);
void mail_free(MpiMail *mail);

TitanStatus mpi_transport(TitanStory *s, const TitanImage *im, Mpi *m,
                          Transport **out);

#endif
