/* tokenizer_internal.h - what the tokenizer's files share: the vocabulary, its maps, the scratch memory of one call.
 *
 *   text ── special tokens cut out (trie) ──> fragments ── pre-tokenizer ──> words ── merges / Viterbi / greedy ──> ids
 *            tokenizer.c                                   pretok.c                   bpe.c spm.c unigram.c wordpiece.c
 *
 * Everything in qn_tokenizer is read-only after open; what a call needs to write lies in qn_tok_run. */
#ifndef QN_TEXT_TOKENIZER_INTERNAL_H
#define QN_TEXT_TOKENIZER_INTERNAL_H

#include <stdatomic.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "text/pretok.h"
#include "text/tokenizer.h"

typedef enum qn_tok_kind { QN_TOK_BPE, QN_TOK_SPM, QN_TOK_UNIGRAM, QN_TOK_WORDPIECE } qn_tok_kind;

/* Longest token text that is accepted, and longest one that is looked for in running text as a special token: bounds on
 * the work per input byte that a hostile vocabulary can cause. The longest known ones have 1,024 and about 100 bytes.
 */
enum { QN_TOKEN_BYTES_MAX = 16384, QN_SPECIAL_BYTES_MAX = 512 };

/* Text -> id. Open addressing; a slot is (hash, id), id -1 when free; n_slots is a power of two, at most half full. The
 * seed changes when an unlucky or hostile set of texts makes a long cluster. */
typedef struct qn_tok_map {
    struct qn_tok_slot {
        uint32_t hash;
        int32_t id;
    } * slots;
    uint32_t mask;
    uint64_t seed;
} qn_tok_map;

/* Prefix tree over bytes; node 0 is the root. Edges in one open-addressed table keyed by (node, byte), at most 3/4
 * full.
 *
 *   edges: (node << 8 | byte) -> child        value[node]: the id whose text ends here, or -1 */
typedef struct qn_trie {
    struct qn_trie_edge {
        uint32_t key; /* UINT32_MAX: free; so a tree has less than 2^24 nodes */
        uint32_t child;
    } * edges;
    uint32_t mask, n_edges;
    int32_t *value;
    size_t n_nodes, cap_nodes;
    int32_t root[256]; /* the root's children, -1 when none */
    uint64_t seed;
} qn_trie;

typedef struct qn_tok_pair { /* one merge: slots of an open-addressed table, rank UINT32_MAX when free */
    uint64_t key;            /* left << 32 | right */
    uint32_t rank;
    int32_t id;
} qn_tok_pair;

/* token flags, beside the attribute */
enum { QN_TF_ENDS = 1, QN_TF_LSTRIP = 2, QN_TF_RSTRIP = 4, QN_TF_SPECIAL = 8 /* in the trie of special tokens */ };

struct qn_tokenizer {
    qn_tokenizer_info info;
    qn_tok_kind kind;
    int32_t tail; /* what AUTO appends: eos, or a separator; -1 for none */
    char model[16], pre[64];

    qn_slice *text;   /* [n_vocab], into the GGUF */
    uint8_t *attr;    /* [n_vocab] qn_token_attr */
    uint8_t *flags;   /* [n_vocab] QN_TF_ */
    float *score;     /* [n_vocab], SPM and unigram */
    size_t max_bytes; /* of the longest text */
    qn_tok_map map;
    qn_trie special;      /* control, user-defined and unknown tokens' texts */
    bool has_user;        /* some of them are user-defined: matched even in plain text */
    int32_t byte_id[256]; /* the id that stands for one raw byte, -1 when none */

    /* BPE */
    qn_pretok *pretok;
    qn_tok_pair *pairs;
    uint32_t pair_mask;
    bool raw_utf8; /* symbols are characters, space is U+2581 (gemma4); otherwise mapped bytes */

    /* SPM */
    bool word_starts; /* no text has U+2581 behind another character: words can be merged one by one */

    /* WordPiece */
    bool hashes; /* continuations are written ##x, beginnings x; otherwise x and U+2581 x */
    bool lowercase, strip_accents;

    /* unigram; WordPiece: all texts, beginnings with U+2581 in front */
    qn_trie pieces;
    float unk_score;
    const uint32_t *charsmap; /* SentencePiece's double-array trie, copied (n_charsmap units) */
    size_t n_charsmap;
    const char *replacements; /* NUL-terminated strings; into charsmap's copy */
    size_t n_replacements;
    bool squeeze_spaces, space_suffix;

    _Atomic(void *) kept; /* qn__tokenizer_keep */
    void (*_Atomic drop)(void *);
};

/* Words already seen in this call: where, and where their ids stand in the output. Direct-mapped. */
typedef struct qn_tok_seen {
    uint32_t hash, n_text, n_ids;
    uint32_t at_ids, epoch; /* epoch: of the buffer that text points into */
    const char *text;
} qn_tok_seen;

/* A stretch of a word while its neighbours are merged; a doubly linked list in an array, in text order. */
typedef struct qn_tok_sym {
    int32_t id, prev, next; /* id -1: not in the vocabulary; prev, next -1: none; next -2: merged away */
    uint32_t rank;          /* of the pair with the next one: smaller is sooner; UINT32_MAX: no merge */
    int32_t merged;         /* what that pair becomes */
    uint32_t at;            /* where its bytes begin */
} qn_tok_sym;

/* One call's memory. */
typedef struct qn_tok_run {
    const qn_tokenizer *t;
    qn_err *err;
    int32_t *ids;
    size_t n_ids, cap_ids;
    qn_tok_seen *seen;
    uint32_t seen_mask, epoch;
    /* long words */
    qn_tok_sym *sym;
    size_t cap_sym;
    uint64_t *heap;
    size_t cap_heap;
    qn_pretok_run pre;
    qn_buf norm; /* a fragment's normalised text */
    /* unigram */
    struct qn_uni_best {
        float score;
        int32_t id;
        uint32_t prev;
    } * best;
    size_t cap_best;
} qn_tok_run;

/* Texts longer than this are not remembered. */
enum { QN_SEEN_BYTES = 64 };

bool qn__tok_emit(qn_tok_run *r, int32_t id);

static inline uint64_t qn__tok_hash(uint64_t seed, const char *p, size_t n)
{
    uint64_t h = seed ^ (n * 0x9E3779B97F4A7C15u), v;
    for (; n >= 8; n -= 8, p += 8) {
        __builtin_memcpy(&v, p, 8);
        h = (h ^ v) * 0xD6E8FEB86659FD93u;
        h ^= h >> 32;
    }
    v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)(unsigned char)p[i] << (8 * i);
    h = (h ^ v) * 0xD6E8FEB86659FD93u;
    h ^= h >> 29;
    h *= 0x9FB21C651E98DF25u;
    return h ^ (h >> 32);
}

/* Hash of a small key. The seed comes from an address, so that no file can be made to collide. */
static inline uint32_t qn__tok_mix(uint64_t seed, uint64_t key)
{
    uint64_t h = (key ^ seed) * 0x9FB21C651E98DF25u;
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
    return (uint32_t)(h >> 32);
}

static inline const qn_tok_pair *qn__tok_pair(const qn_tokenizer *t, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    for (uint32_t i = qn__tok_mix(t->map.seed, key) & t->pair_mask;; i = (i + 1) & t->pair_mask) {
        const qn_tok_pair *p = &t->pairs[i];
        if (p->key == key || p->rank == UINT32_MAX)
            return p;
    }
}

/* Binary heap of ascending keys, shared by the merging algorithms: (priority << 32 | position). */
bool qn__heap_push(qn_tok_run *r, size_t *n, uint64_t key);
uint64_t qn__heap_pop(uint64_t *h, size_t *n);

/* tokenizer_map.c */
qn_status qn__tok_map_build(qn_tokenizer *t, const char *where, qn_err *err);
int32_t qn__tok_map_find(const qn_tokenizer *t, const char *p, size_t n);
bool qn__trie_init(qn_trie *t);
void qn__trie_free(qn_trie *t);
bool qn__trie_add(qn_trie *t, const char *p, size_t n, int32_t id);
/* The child of `node` by byte b, -1 when none. */
int32_t qn__trie_step(const qn_trie *t, int32_t node, unsigned char b);
/* Bytes 0..255 <-> the printable characters that byte-level vocabularies write for them. */
int32_t qn__byte_to_char(unsigned char b);
int32_t qn__char_to_byte(int32_t cp); /* -1: stands for no byte */
/* The id of <0x00> .. <0xFF>, -1 when there is none. */
int32_t qn__byte_token_find(const qn_tokenizer *t, int b);

/* tokenizer_vocab.c */
qn_status qn__tok_vocab_open(qn_tokenizer *t, const qn_gguf *g, qn_err *err);
qn_status qn__tok_specials_open(qn_tokenizer *t, const qn_gguf *g, qn_err *err);

/* Open: read what the kind needs. Encode: one fragment without special tokens -> r->ids. */
qn_status qn__bpe_open(qn_tokenizer *t, const qn_gguf *g, qn_err *err);
qn_status qn__bpe_encode(qn_tok_run *r, const char *text, size_t n);
qn_status qn__spm_open(qn_tokenizer *t, const qn_gguf *g, qn_err *err);
qn_status qn__spm_encode(qn_tok_run *r, const char *text, size_t n, bool prefix);
qn_status qn__unigram_open(qn_tokenizer *t, const qn_gguf *g, qn_err *err);
qn_status qn__unigram_encode(qn_tok_run *r, const char *text, size_t n, bool prefix);
qn_status qn__wordpiece_open(qn_tokenizer *t, const qn_gguf *g, qn_err *err);
qn_status qn__wordpiece_encode(qn_tok_run *r, const char *text, size_t n);

/* U+2581, which stands for a space. */
#define QN_BLOCK "\xE2\x96\x81"
static inline bool qn__is_block(const char *p, const char *end)
{
    return end - p >= 3 && !memcmp(p, QN_BLOCK, 3);
}
/* text with each space written as U+2581 */
void qn__put_blocks(qn_buf *b, const char *text, size_t n);

/* A remembered word's ids are appended again; false when it was not seen. The slot to fill is handed back. */
bool qn__tok_seen(qn_tok_run *r, const char *p, size_t n, qn_tok_seen **slot, bool *failed);
void qn__tok_remember(qn_tok_run *r, qn_tok_seen *slot, const char *p, size_t n, size_t ids_before);

#endif
