/* convert_vocab.h - a vocabulary on its way: what convert_vocab.c and convert_pieces.c share. */
#ifndef QN_MODEL_CONVERT_VOCAB_H
#define QN_MODEL_CONVERT_VOCAB_H

#include "model/convert_int.h"

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER = 4, UNUSED = 5, BYTE = 6 };
typedef enum vocab_kind { VOCAB_BYTES, VOCAB_SPM, VOCAB_UNIGRAM, VOCAB_WORDPIECE } vocab_kind;

typedef struct vocab {
    qn__cv *c;
    int64_t n;
    qn_slice *text;
    float *score;
    int32_t *type;
    vocab_kind kind;
    bool spm;               /* kind is VOCAB_SPM */
    bool merges;            /* ... and its merges are kept beside the scores made of them */
    json_t *words;          /* tokenizer.json's text -> id; NULL with tokenizer.model and unigram */
    int64_t unk, bos, eos, pad;
    /* unigram: a blank in front; runs of blanks are one; the map of characters */
    bool space_prefix, squeeze;
    unsigned char *charsmap;
    size_t n_charsmap;
} vocab;

/* Fails with a text that may name detail, id and the number of rows; returns false. */
bool qn__vocab_bad(vocab *v, const char *fmt, const char *detail, int64_t id);
bool qn__vocab_set(vocab *v, int64_t id, qn_slice text, int32_t type, float score);
int64_t qn__vocab_find(const vocab *v, const char *text);
/* The part of this type in tokenizer.json's `name`, or in one of its sequences; NULL when there is none. */
json_t *qn__vocab_top(vocab *v, const char *name, const char *type);
bool qn__vocab_read_added(vocab *v);
/* tokenizer.json's model of these types. */
bool qn__vocab_unigram(vocab *v, json_t *model);
bool qn__vocab_wordpiece(vocab *v, json_t *model);
bool qn__vocab_charsmap(vocab *v, const unsigned char *bytes, size_t n);

#endif
