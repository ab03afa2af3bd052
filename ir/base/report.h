/*
 * report.h: what a report is made of, for diag.c and diag_render.c.
 */
#ifndef TITAN_BASE_REPORT_H
#define TITAN_BASE_REPORT_H

#include "diag.h"
#include "vec.h"

typedef enum PartKind { PART_label, PART_note, PART_help } PartKind;

typedef struct Part {
    PartKind kind;
    Span at; /* file 0: no place */
    const char *text;
} Part;

struct Report {
    Report *next;
    Arena *arena;
    Severity severity;
    DiagId id;
    Span at;
    const char *message;
    const char *pass; /* of a remark */
    bool missed;
    uint32_t times;   /* that the remark was made */
    VEC(Part) parts; /* in the order in which they were added */
};

#endif
