/*
 * text.h: a tokenizer in memory, and what its parts call one another.
 *
 *     text -> added.c      added tokens cut out, before and after
 *          -> normal.c     normalisers
 *          -> split.c      pre-tokenizers, step by step, depth first
 *          -> model.c      words to ids: bpe.c, or the vocabulary alone
 *          -> encode.c     puts BOS, EOS and templates around them
 *
 * Nothing is gathered on the way: a piece is handed on as soon as it is found,
 * so that memory is the text's and that of its ids.
 */
#ifndef TITAN_TEXT_H
#define TITAN_TEXT_H

#include "bytes.h"
#include "json.h"
#include "match.h"
#include "unicode.h"

/* ------------------------------------------------------------ vocabulary -- */

enum { MAX_TOKENS = 1 << 22 };

typedef enum TokenFlag {
    TOKEN_THERE = 1,  /* the id is taken */
    TOKEN_MODEL = 2,  /* by the model's vocabulary */
    TOKEN_SPECIAL = 4 /* left out of texts for people */
} TokenFlag;

typedef struct Token {
    uint32_t at, size; /* in texts, a NUL behind it */
    uint32_t shown;    /* what a decoder reads in its stead; 0: itself */
    uint32_t shown_size;
    uint32_t
        added; /* index among the loader's added tokens, and one; 0: none */
    uint32_t flags;
} Token;

typedef struct Vocab {
    Token *tokens; /* by id */
    uint32_t n, cap;
    uint32_t count;  /* ids of the model's vocabulary */
    TokenText texts; /* the first byte is no token's */
    uint32_t *slots; /* by hash of the text: id + 1 */
    uint32_t nslots; /* a power of two */
    uint32_t used;
} Vocab;

/* Adds a token, whose text no other has, under an id that none has. */
TitanStatus vocab_add(TitanStory *s, Vocab *v, const char *text, size_t size,
                      uint32_t id, uint32_t flags);
/* -1: there is none. */
int64_t vocab_find(const Vocab *v, const char *text, size_t size);
/* Among the model's own tokens. */
int64_t vocab_find_model(const Vocab *v, const char *text, size_t size);
void vocab_release(Vocab *v);
static inline const char *vocab_text(const Vocab *v, uint32_t id)
{
    return v->texts.at + v->tokens[id].at;
}

/* ---------------------------------------------------------- added tokens -- */

typedef struct Added {
    const char *text; /* what is looked for, a NUL behind it */
    size_t size;
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized;
} Added;

/* Added tokens in the order of their texts, and where each first byte begins
 * among them. */
typedef struct AddedSet {
    Added *at;
    uint32_t n, cap;
    uint32_t first[257];
} AddedSet;

TitanStatus added_put(TitanStory *s, AddedSet *set, const Added *token);
/* Sorts; two of the same text are BAD_DATA. */
TitanStatus added_seal(TitanStory *s, AddedSet *set);
void added_release(AddedSet *set);

/* A stretch of a text: an added token, or what lies between them (id < 0). */
typedef struct Stretch {
    size_t begin, end;
    int64_t id;
} Stretch;

typedef struct AddedWalk {
    const AddedSet *set;
    const unsigned char *classes;
    const char *text;
    size_t bytes;
    size_t at;    /* where the search goes on */
    size_t start; /* what has been given ends here */
    Stretch next; /* a token that waits behind the stretch before it */
    bool waits;
} AddedWalk;

/* The next stretch that is not empty; false: the text has ended. */
bool added_next(AddedWalk *w, Stretch *out);

/* ----------------------------------------------------------- normalisers -- */

typedef enum NormalKind {
    NORMAL_nfc,
    NORMAL_nfd,
    NORMAL_nfkc,
    NORMAL_nfkd,
    NORMAL_prepend,
    NORMAL_replace,
    NORMAL_strip,
    NORMAL_byte_level
} NormalKind;

typedef struct Normal {
    NormalKind kind;
    Matcher match;    /* replace */
    TokenText text;   /* replace, prepend */
    bool left, right; /* strip */
} Normal;

/* -------------------------------------------------------- pre-tokenizers -- */

typedef enum StepKind { STEP_split, STEP_metaspace, STEP_byte_level } StepKind;
typedef enum Behaviour {
    CUT_removed,
    CUT_isolated,
    CUT_previous,
    CUT_next,
    CUT_contiguous
} Behaviour;
typedef enum Scheme { PREPEND_never, PREPEND_first, PREPEND_always } Scheme;

typedef struct Step {
    StepKind kind;
    bool split;    /* cuts by match */
    bool invert;   /* what does not match is the delimiter */
    bool prefix;   /* byte_level: a blank in front */
    Scheme scheme; /* metaspace */
    Behaviour cut;
    Matcher match;
    TokenText mark; /* metaspace: what a blank becomes */
} Step;

/* ----------------------------------------------------------------- model -- */

typedef enum ModelKind { MODEL_bpe, MODEL_word_level } ModelKind;

typedef struct Merge {
    uint32_t left, right, rank, id;
} Merge;

typedef struct Model {
    ModelKind kind;
    bool bytes;     /* words are bytes, the vocabulary is of their alphabet, */
    bool all_bytes; /* and has all of it, so that no character is unknown */
    bool ignore_merges, fuse_unknown, byte_fallback;
    int64_t unknown;      /* -1: none */
    int32_t byte_id[256]; /* all_bytes: of a byte of a word */
    int32_t spelled[256]; /* of "<0x41>"; -1: none */
    Merge *merges;        /* open addressing; rank UINT32_MAX: free */
    uint32_t nmerges;     /* a power of two */
} Model;

/* Room for so many merges. */
TitanStatus merges_open(TitanStory *s, Model *m, uint32_t n);
/* A later merge of the same two takes the place of the one before. */
void merges_put(Model *m, const Merge *merge);

/* Pairs of characters that stand side by side in tokens. */
typedef struct Cuts {
    uint64_t *pairs; /* open addressing; 0: free */
    uint32_t n, used;
} Cuts;

/* -------------------------------------------------------------- decoders -- */

typedef enum DecodeKind {
    DECODE_byte_level,
    DECODE_metaspace,
    DECODE_replace,
    DECODE_byte_fallback,
    DECODE_strip
} DecodeKind;

typedef struct Decode {
    DecodeKind kind;
    bool prefix;          /* metaspace: the first token's mark is none */
    Matcher match;        /* replace, metaspace: the mark */
    TokenText text;       /* replace: what comes instead */
    uint32_t code;        /* strip: this character, */
    uint32_t start, stop; /* so many at most, of each side */
} Decode;

/* ------------------------------------------------------------- tokenizer -- */

enum { MAX_STEPS = 16 };

typedef struct Tokenizer {
    unsigned char *classes; /* CODES of them */
    Vocab vocab;
    AddedSet raw, normalized; /* looked for before and after normalising */
    Normal normals[MAX_STEPS];
    unsigned nnormals;
    Step steps[MAX_STEPS];
    unsigned nsteps;
    Model model;
    Cuts cuts;
    TokenIds before, after; /* of the post-processor */
    Decode decodes[MAX_STEPS];
    unsigned ndecodes;
    bool joined;      /* no decoder: tokens are words, blanks between them */
    bool fused;       /* decoders from here on see one text: */
    Decode whole;     /* a strip at its start */
    int64_t bos, eos; /* -1: none */
    unsigned ends;
    uint64_t hash; /* of what it was made of: others have other caches */
} Tokenizer;

/* A cache of words; clears itself when it is full. */
typedef struct WordCache {
    struct CacheSlot *slots;
    uint32_t used;
    TokenText words;
    TokenIds ids;
} WordCache;

typedef struct Symbol {
    uint32_t id;
    int32_t previous, next; /* -1: none */
} Symbol;
typedef struct Candidate {
    uint32_t rank, place, id;
} Candidate;

struct TokenScratch {
    uint64_t owner; /* hash of the tokenizer whose words are in the cache */
    WordCache cache;
    TokenText normal[2];       /* normalisers, in turns */
    TokenText step[MAX_STEPS]; /* a step's own text */
    TokenText word;            /* a word in the byte-level alphabet */
    TokenIds ids;              /* of a word */
    TokenIds codes;            /* of a stretch to be composed */
    Symbol *symbols;           /* of a long word */
    size_t symbols_cap;
    Candidate *heap;
    size_t heap_n, heap_cap;
    MatchScratch match;
};

/* What a document is encoded with. */
typedef struct Run {
    TitanStory *story;
    const Tokenizer *t;
    TokenScratch *scratch;
    TokenIds *out;
} Run;

/* A piece of text on its way. */
typedef struct Piece {
    const char *text;
    size_t bytes;
    bool first; /* it is the beginning of the document */
} Piece;

/* The text after all normalisers, in scratch, or TEXT itself. */
TitanStatus normalize(Run *r, const char *text, size_t bytes, Piece *out);
TitanStatus split_piece(Run *r, unsigned step, Piece piece);
TitanStatus model_encode(Run *r, const char *word, size_t bytes);
/* Appends the ids of a word: of bytes (all_bytes), else of characters. */
TitanStatus bpe_encode(Run *r, const char *word, size_t bytes, TokenIds *out);
/* Where a word, which is not empty, may be cut first; its length: nowhere. */
size_t cuts_next(const Tokenizer *t, const char *word, size_t bytes);
/* Finds out, when the vocabulary is there. */
TitanStatus cuts_open(TitanStory *s, Tokenizer *t);
/* Empties a cache; it can be used again. */
void cache_release(WordCache *c);

/* Reading the files. */
typedef struct Loader {
    TitanStory *story;
    Json json;
    Tokenizer *t;
    TokenText text; /* a string of the file */
    AddedSet added; /* in order; their texts are the vocabulary's */
} Loader;

/* What a tokenizer is made of; NULL: there is no such file. */
typedef struct Texts {
    const TokenText *json; /* tokenizer.json; without it: */
    const TokenText *object, *lines, *merges;
    const TokenText *config;
} Texts;

/* A vocabulary as JSON or as lines, and merges. */
TitanStatus load_plain(Loader *l, const Texts *from);
TitanStatus load_vocab(Loader *l, uint32_t vocab);
/* A merge, whose parts and whole are tokens. */
TitanStatus load_pair(Loader *l, uint32_t rank, const char *left, size_t nleft,
                      const char *right, size_t nright);
/* Looks up bytes, when the vocabulary is there. */
void find_bytes(Tokenizer *t);
/* GPT-2's pre-tokenizer. */
TitanStatus load_bytes(Loader *l, bool prefix);

TitanStatus load_model(Loader *l, uint32_t model);
TitanStatus load_normalizer(Loader *l, uint32_t value);
TitanStatus load_pre_tokenizer(Loader *l, uint32_t value);
TitanStatus load_post_processor(Loader *l, uint32_t value);
TitanStatus load_decoder(Loader *l, uint32_t value);
/* "added_tokens" of a tokenizer.json. */
TitanStatus load_added(Loader *l, uint32_t list);
/* Tokens of a tokenizer_config.json, BOS, EOS and what it says of them. */
TitanStatus load_config(Loader *l, uint32_t config);
/* Makes the sets that are looked for, when all tokens are known. */
TitanStatus seal_added(Loader *l);

/* A string of the file, in the loader's text until the next one. */
TitanStatus load_text(Loader *l, uint32_t value);
/* A member that is true or false; OTHERWISE where there is none, or null. */
TitanStatus load_flag(Loader *l, uint32_t object, const char *name,
                      bool otherwise, bool *out);
/* Refuses members beside "type" and those of a list that ends with NULL. */
TitanStatus check_members(Loader *l, uint32_t object,
                          const char *const names[]);
#define BAD(l, ...) titan_fail((l)->story, TITAN_BAD_DATA, __VA_ARGS__)

#endif
