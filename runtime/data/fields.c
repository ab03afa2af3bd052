/*
 * fields.c: from a row to the inputs of a model.
 */
#include "fields.h"

const char *const field_names[FIELDS] = {
#define FIELD(name) #name,
    DATA_FIELDS(FIELD)
#undef FIELD
};

static void put(FieldRow *out, DataField f, int64_t j, int32_t value)
{
    if (out->at[f]) out->at[f][j] = value;
}

static int32_t label_of(const Row *row, int64_t j, bool apart)
{
    if (j + 1 >= row->n || (apart && row->starts[j + 1])) return LABEL_none;
    return row->tokens[j + 1];
}

void fields_of(const Row *row, int64_t length, bool apart, FieldRow *out)
{
    int32_t document = 0, position = 0;
    for (int64_t j = 0; j < length; j++, position++) {
        bool there = j < row->n;
        if (j > 0 && (there ? row->starts[j] : j == row->n)) {
            document++;
            position = 0;
        }
        put(out, FIELD_tokens, j, there ? row->tokens[j] : 0);
        put(out, FIELD_labels, j, label_of(row, j, apart));
        put(out, FIELD_documents, j, document);
        put(out, FIELD_positions, j, position);
    }
}

void fields_empty(int64_t length, FieldRow *out)
{
    fields_of(&(Row){0}, length, false, out);
}
