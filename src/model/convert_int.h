/* convert_int.h - what the conversion's files share. Private to src/model/convert*.c.
 *
 *   folder ──> source: config.json, shards, every tensor by its bare name       convert_source.c
 *   config ──> family (a row of tables), sizes by letter                        convert_families.c (_hybrids, _gemma, _encoders), convert_config.c
 *   rules x layers ──> plan: output tensors, each a list of pieces of sources   convert_plan.c
 *   config, tokenizer ──> metadata in the writer                                convert_meta.c, convert_vocab.c, convert_pre.c
 *   plan ──> bytes, some rows at a time                                         convert_write.c
 *
 * Sizes have letters, so that a rule states the shape that config.json promises, outermost first:
 *   V vocabulary  E hidden  L layers  H heads  Q heads * head size  K key-value heads * head size  A Q + 2 K  O heads * value
 *   size  D head size  F feed-forward  G 2 F  X experts  M expert feed-forward  N 2 M  S shared feed-forward  T 2 S
 *   B low rank of queries  C low rank of keys and values  J C + rope  Y heads * (nope + value)  P columns of an MXFP4 row / 32
 *   W the same of a down projection  U 16 bytes  1 one
 * and of layers with a state, of encoders: Z channels of the convolution  R inner  h heads  b 2 h  d values of a head  r taps
 *   z rows of the one projection  g groups  i R / g  q query rows with their gates  l low rank of experts (hidden if none)
 *   p positions  t token types  c labels
 * and where layers differ: w and f head sizes of windowed and of other layers  k and m their key-value heads  e a token's embedding
 *   for a layer  a for all layers
 * "Z1r>Zr": the shape in the checkpoint, and the shape to be written when that is another. */
#ifndef QN_MODEL_CONVERT_INT_H
#define QN_MODEL_CONVERT_INT_H

#include <jansson.h>

#include "base/mem.h"
#include "base/str.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "model/convert.h"

/* What happens to a tensor's numbers on the way. */
typedef enum qn__cv_op {
    QN_CV_COPY,
    QN_CV_NORM,     /* plus one where the family stores norms so */
    QN_CV_Q,        /* rows of a head: halves become neighbours, where the family's rope wants it */
    QN_CV_SKIP,     /* known, and of no use */
    QN_CV_GATE,     /* of [X, 2n, cols] or [2n, cols]: the first n rows (of each expert) */
    QN_CV_UP,       /* the second n */
    QN_CV_EVEN,     /* of [X, 2n, cols]: rows 0, 2, 4... */
    QN_CV_ODD,
    QN_CV_MXFP4,    /* pairs NAME_blocks, NAME_scales; with even or odd rows, or all */
    QN_CV_MXFP4_EVEN,
    QN_CV_MXFP4_ODD,
    QN_CV_K_B,      /* of heads x (nope + value) rows: the first nope of each head, transposed */
    QN_CV_V_B,      /* the rest */
    QN_CV_A,        /* -exp(x): a rate of decay */
    QN_CV_QKV,      /* of rows q, k, v, z for each key head: all q, all k, all v */
    QN_CV_Z,        /* ... all z */
    QN_CV_TILE,     /* value heads: those of one key head together -> the first of each key head, the second of each... What
                       stands before them (queries and keys) stays. */
    QN_CV_TILE_A,   /* both */
    QN_CV_TILE_COLS, /* the same of columns */
    QN_CV_TAIL,     /* rows behind the first c->skip */
} qn__cv_op;

typedef enum qn__cv_need {
    QN_CV_ALWAYS, QN_CV_MAYBE,
    QN_CV_DENSE,    /* layers with a plain feed-forward part */
    QN_CV_MOE,      /* layers with experts */
    QN_CV_MOE_MAYBE,
    QN_CV_HEAD,     /* unless the embeddings are tied */
    QN_CV_PACKED,   /* MOE, when the experts of a layer are one tensor: the rule's `hf` is there */
    QN_CV_ATTN,     /* layers with attention */
    QN_CV_ATTN_MAYBE,
    QN_CV_STATE,    /* layers with a recurrent state */
    QN_CV_STATE_MAYBE,
    QN_CV_KEYS,     /* layers with keys and values of their own */
    QN_CV_VALUES,   /* ... with a matrix for the values, too */
    QN_CV_PLE       /* models with embeddings for each layer */
} qn__cv_need;

/* What a layer has; c->kind[layer], or by c->first_moe when that is NULL: attention and DENSE before it, EXPERTS from it on. */
enum {
    QN_CV_HAS_ATTN = 1, QN_CV_HAS_STATE = 2, QN_CV_HAS_DENSE = 4, QN_CV_HAS_EXPERTS = 8, QN_CV_HAS_KEYS = 16, QN_CV_HAS_VALUES = 32,
    QN_CV_HAS_PLE = 64, QN_CV_HAS_WINDOW = 128
};

/* One kind of tensor. '*' in a name stands for the layer, '#' for the expert; a rule with '#' stacks the experts. */
typedef struct qn__cv_rule {
    const char *hf, *gguf, *shape;
    qn__cv_op op;
    qn__cv_need need;
} qn__cv_rule;

/* A key of config.json, names that mean the same separated by '|', and its key in GGUF behind "ARCH.". */
typedef struct qn__cv_key {
    const char *hf, *gguf;
    char kind;  /* i, f, b */
    bool need;
} qn__cv_key;

enum {
    QN_CV_PERMUTES = 1,    /* rope pairs neighbours in GGUF, halves in the checkpoint */
    QN_CV_PLUS_ONE = 2,    /* norms store weight - 1 */
    QN_CV_VISION = 4,      /* other modalities' tensors are left out */
    QN_CV_LAYER_NORM = 8,  /* the norm's epsilon is not RMS's */
    QN_CV_TIED = 16,       /* tied unless config.json says otherwise */
    QN_CV_MLA = 32,        /* the sizes of keys and values are the family's own to write */
    QN_CV_MTP = 64,        /* tensors mtp.*, which guess further tokens, are left out */
    QN_CV_ENCODER = 128,   /* no output matrix, no causal mask; heads of training are left out */
    QN_CV_NO_ROPE = 256,
    QN_CV_MERGES = 512     /* a vocabulary with byte fallback keeps its merges: the tokenizer's model is the family's own */
};

typedef struct qn__cv qn__cv;

typedef struct qn__cv_family {
    const char *hf[6];     /* architectures of config.json */
    const char *arch;
    unsigned flags;
    const qn__cv_rule *rules[6];
    const qn__cv_key *keys[3];
    void (*sizes)(qn__cv *); /* letters that this family alone has; refusals */
    void (*meta)(qn__cv *);  /* keys that are no plain copy */
    double rope_base;        /* when config.json does not say; 0: required */
    int head_dim;            /* likewise; 0: hidden / heads */
    const char *defaults;    /* JSON of keys that published files of the family leave out; NULL: none */
} qn__cv_family;

/* A tensor of the checkpoint. */
typedef struct qn__cv_entry {
    const char *name;      /* without "model." and the like */
    const qn_st_tensor *t;
    const qn_st *file;
    struct qn__cv_entry *scale; /* of FP8 weights; NULL: 1 */
    bool used;
} qn__cv_entry;

/* n rows of a source: row0, row0 + stride, ... */
typedef struct qn__cv_piece {
    qn__cv_entry *from;
    uint64_t row0, stride, n;
} qn__cv_piece;

typedef struct qn__cv_out {
    const char *name;
    qn_type type;
    uint32_t n_dims;
    uint64_t dims[QN_MAX_DIMS]; /* fastest first */
    qn__cv_op op;
    bool plus_one, neg_exp;
    uint64_t cols, swap;        /* elements of a source row; swap: rows of a head whose halves become neighbours, 0: none */
    uint64_t col_block;         /* columns of a value head that move together, 0: none */
    qn__cv_piece *pieces;
    size_t n_pieces;
    const float *made;          /* not from the checkpoint: cols numbers */
} qn__cv_out;

/* The whole conversion. After the first failure `status` stays and every step is a no-op. */
struct qn__cv {
    const qn_convert_options *o;
    qn_convert_result *result;
    qn_err *err;
    qn_status status;
    qn_arena arena;
    char *dir;              /* "" or ending in a slash */
    json_t *config, *text;  /* the whole; the part that describes the language model (may be the same) */
    json_t *tokenizer, *tokenizer_config, *special_map, *generation;
    const qn__cv_family *family;
    qn_st **files;
    size_t n_files, cap_files;
    qn__cv_entry *entries;  /* sorted by name */
    size_t n_entries, cap_entries;
    int64_t size[128];      /* by letter; -1: none */
    int64_t n_layers, first_moe, n_experts, rot; /* first_moe: n_layers when there are no experts */
    int64_t block_rows, block_cols;   /* of FP8 scales */
    uint8_t *kind;          /* per layer, or NULL */
    int32_t *n_heads_of, *n_kv_of, *n_ff_of; /* per layer where they differ, or NULL */
    void (*layer)(qn__cv *, int64_t layer);  /* sets the sizes that differ from layer to layer, or NULL */
    int64_t key_heads, skip;
    int64_t first_shared;   /* layers from it on read others' keys and values; 0: none do */
    qn__cv_out *outs;
    size_t n_outs, cap_outs;
    uint64_t bytes_total, bytes_done;
    qn_gguf_writer *w;
};

/* ---- failing ---- */
/* where: "config.json: key", "tensor NAME"; returns false, so that `return qn__cv_fail(...)` reads well. */
bool qn__cv_fail(qn__cv *c, qn_status code, const char *where, const char *fmt, ...) QN_PRINTF(4, 5);
bool qn__cv_memory(qn__cv *c);
/* "config.json: KEY" */
bool qn__cv_bad_key(qn__cv *c, const char *key, const char *fmt, ...) QN_PRINTF(3, 4);
void *qn__cv_alloc(qn__cv *c, size_t n); /* in the arena, zeroed */
char *qn__cv_printf(qn__cv *c, const char *fmt, ...) QN_PRINTF(2, 3);

/* ---- config.json ---- */
/* Look a key up (names separated by '|'), in the text model's part, then in the whole; NULL when absent or null. */
json_t *qn__cv_get(qn__cv *c, const char *names);
int64_t qn__cv_int(qn__cv *c, const char *names, int64_t min, int64_t max, int64_t fallback); /* fallback INT64_MIN: required */
double qn__cv_float(qn__cv *c, const char *names, double min, double max, double fallback);   /* fallback NaN: required */
bool qn__cv_bool(qn__cv *c, const char *names, bool fallback);
/* A text, or NULL when absent; another kind of value is a failure. */
const char *qn__cv_text(qn__cv *c, const char *names);
/* The member of the rope's description (rope_parameters or rope_scaling), NULL when there is none. */
json_t *qn__cv_rope(qn__cv *c);
double qn__cv_rope_float(qn__cv *c, const json_t *rope, const char *key, double min, double max, double fallback);
double qn__cv_rope_base(qn__cv *c);
/* "rope_type" of the description: "" when none or default. */
const char *qn__cv_rope_type(qn__cv *c);
bool qn__cv_config_open(qn__cv *c);  /* config, family */
bool qn__cv_sizes(qn__cv *c);

/* ---- the folder ---- */
/* Read DIR/name as JSON; *out stays NULL when the file is not there and `need` is false. */
bool qn__cv_json(qn__cv *c, const char *name, size_t limit, bool need, json_t **out);
/* The same of any kind of JSON, which need not be there. */
bool qn__cv_json_any(qn__cv *c, const char *name, size_t limit, json_t **out);
bool qn__cv_exists(qn__cv *c, const char *name);
bool qn__cv_source_open(qn__cv *c);
qn__cv_entry *qn__cv_find(qn__cv *c, const char *name); /* NULL when absent */
void qn__cv_source_close(qn__cv *c);

/* ---- the rest ---- */
/* Tables of families, each ended by a row without an architecture. */
extern const qn__cv_family qn__cv_decoders[], qn__cv_hybrids[], qn__cv_gemmas[], qn__cv_encoders[];
/* The i-th of all of them; NULL past the end. */
const qn__cv_family *qn__cv_family_at(size_t i);
bool qn__cv_plan(qn__cv *c);
/* Add a tensor that is not in the checkpoint. */
bool qn__cv_plan_made(qn__cv *c, const char *name, const float *v, uint64_t n);
bool qn__cv_meta(qn__cv *c);
bool qn__cv_vocab(qn__cv *c);
/* How a text's vectors become one, where the folder says it. */
bool qn__cv_pooling(qn__cv *c);
/* The row that this config.json means, of those that share its architecture's name. */
const qn__cv_family *qn__cv_variant(qn__cv *c, const qn__cv_family *f);
/* tokenizer.ggml.pre of a byte-level tokenizer.json; NULL after a failure. */
const char *qn__cv_pre(qn__cv *c);
bool qn__cv_write(qn__cv *c);

/* ---- keys of the file to be written: "ARCH." is put before ---- */
void qn__cv_put_int(qn__cv *c, const char *key, int64_t v);
void qn__cv_put_float(qn__cv *c, const char *key, double v);
void qn__cv_put_bool(qn__cv *c, const char *key, bool v);
void qn__cv_put_text(qn__cv *c, const char *key, const char *v);
void qn__cv_put_ints(qn__cv *c, const char *key, const int32_t *v, int64_t n);
void qn__cv_put_floats(qn__cv *c, const char *key, const float *v, int64_t n);
void qn__cv_put_bools(qn__cv *c, const char *key, const uint8_t *v, int64_t n);

/* ---- what families share ---- */
/* `letter` stands for n elements (none unless n is positive), `twice` for the double; 0: no letter. */
void qn__cv_size(qn__cv *c, char letter, char twice, int64_t n);
/* Refuse a switch of config.json that GGUF has no place for. */
void qn__cv_must_be(qn__cv *c, const char *key, bool want, bool fallback);
/* Experts from layer `first` on; ff: the key of their size. */
void qn__cv_experts(qn__cv *c, int64_t first, const char *ff);
/* c->rot, when only a part of each head turns. */
void qn__cv_partial_rope(qn__cv *c, double fallback);
/* How far a rope of so many turning elements and this base is stretched (Llama 3.1); NULL after a failure. n: rot / 2. */
float *qn__cv_llama3(qn__cv *c, const json_t *rope, double base, int64_t rot, int64_t n);

#endif
