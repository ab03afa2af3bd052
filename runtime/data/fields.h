/*
 * fields.h: what a model can read of a row, by the names of its inputs.
 */
#ifndef TITAN_DATA_FIELDS_H
#define TITAN_DATA_FIELDS_H

#include "stream.h"

/* Each i32[rows, T].
 *   tokens     what the model sees
 *   labels     the next tokens; LABEL_none where none counts
 *   documents  0, 1, ...: which document of the row a token is of
 *   positions  0, 1, ...: of a token in what the row has of its document */
#define DATA_FIELDS(X) X(tokens) X(labels) X(documents) X(positions)

typedef enum DataField {
#define FIELD(name) FIELD_##name,
    DATA_FIELDS(FIELD)
#undef FIELD
        FIELDS
} DataField;

enum { LABEL_none = -100 };

extern const char *const field_names[FIELDS];

/* A place for T values of each field, NULL where it is not wanted. */
typedef struct FieldRow {
    int32_t *at[FIELDS];
} FieldRow;

/* What a row says; what is not there are tokens 0 of a document that predicts
 * nothing.  APART: nor does the last token of any document. */
void fields_of(const Row *row, int64_t length, bool apart, FieldRow *out);
/* A row of which nothing counts. */
void fields_empty(int64_t length, FieldRow *out);

#endif
