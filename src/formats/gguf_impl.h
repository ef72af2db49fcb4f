/* gguf_impl.h - what the GGUF files share: the handle's inside, the name index, error places, little-endian loads.
 * Private to src/formats/gguf*.c.
 *
 *   qn_gguf
 *     parts ──> [part 0: map, alignment] [part 1: ...]      one unless the model is split
 *     kv    ──> pairs of part 0, in file order              kv_index  ──> {hash of key, i}  sorted
 *     tensors > of part 0, then of part 1, ...              tensor_index > {hash of name, i} sorted
 *
 * The indexes are sorted arrays of hashes, not hash tables: names come from hostile files, and no choice of names makes
 * sorting slower than n log n. */
#ifndef QN_FORMATS_GGUF_IMPL_H
#define QN_FORMATS_GGUF_IMPL_H

#include <string.h>

#include "base/file.h"
#include "formats/gguf.h"

/* Bounds on what a header may claim; well above any model, well below what would hurt. */
enum {
    QN_GGUF_MAX_COUNT = 1 << 20,    /* pairs, tensors */
    QN_GGUF_MAX_KEY = 65535,        /* the format's own bound */
    QN_GGUF_MAX_NAME = 255,         /* tensor names; the format says 64 */
    QN_GGUF_MAX_DEPTH = 8,          /* arrays in arrays */
    QN_GGUF_MAX_ALIGNMENT = 1 << 24,
    QN_GGUF_DEFAULT_ALIGNMENT = 32,
    QN_GGUF_MAX_PARTS = 65535       /* split.count is a u16 */
};

typedef struct qn__gguf_index_entry {
    uint64_t hash;
    uint32_t i;
} qn__gguf_index_entry;

/* One parsed file. */
typedef struct qn__gguf_part {
    qn_map map;               /* empty when the bytes are the caller's */
    const unsigned char *data;
    size_t size;
    char *name;
    uint32_t version, alignment;
    size_t data_start;        /* where tensor offsets count from */
    qn_gguf_kv *kv;
    size_t n_kv, cap_kv;
    qn__gguf_index_entry *kv_index;
    qn_gguf_tensor *tensors;
    size_t n_tensors, cap_tensors;
} qn__gguf_part;

struct qn_gguf {
    char *name;               /* as the caller gave it */
    qn__gguf_part *parts;
    uint32_t n_parts;
    qn_gguf_tensor *tensors;  /* owned; parts[].tensors are NULL once moved here */
    size_t n_tensors;
    qn__gguf_index_entry *tensor_index;
    uint64_t file_bytes;
};

/* Parse p->data[0..size), p->name set. On failure the caller frees with qn__gguf_part_free all the same. */
qn_status qn__gguf_part_parse(qn__gguf_part *p, qn_err *err);
void qn__gguf_part_free(qn__gguf_part *p);

/* Pair `key` of a part; NULL when absent. Part 0's pairs are the model's. */
const qn_gguf_kv *qn__gguf_part_kv(const qn__gguf_part *p, const char *key, size_t n);

/* The magic is wrong: a phrase for what the file looks like. */
const char *qn__gguf_sniff(const unsigned char *p, size_t n);

/* Build an index over n names, name(ctx, i). *duplicate is the index of a name that stood before, or n when all differ.
 * False: out of memory. */
bool qn__gguf_index_build(qn__gguf_index_entry **out, size_t n, qn_slice (*name)(const void *ctx, size_t i), const void *ctx,
                          size_t *duplicate);
/* First position in the index with this hash, then walk while equal. Returns i, or n when absent. */
size_t qn__gguf_index_find(const qn__gguf_index_entry *index, size_t n, qn_slice (*name)(const void *ctx, size_t i),
                           const void *ctx, qn_slice want);
/* In-place heap sort of n values by less(ctx, a, b): no memory, no worst case. */
void qn__gguf_sort(uint32_t *v, size_t n, bool (*less)(const void *ctx, uint32_t a, uint32_t b), const void *ctx);

/* Does path end in -KKKKK-of-NNNNN.gguf? Then *no (from 1), *count. */
bool qn__gguf_split_name(const char *path, uint32_t *no, uint32_t *count);
/* g->parts[0] is parsed and says split.count > 1: open the others, in order. */
qn_status qn__gguf_open_split(qn_gguf *g, qn_err *err);

/* Scalar integer of any integer kind; false when kind differs or the value exceeds int64. */
bool qn__gguf_kv_int(const qn_gguf_kv *kv, int64_t *out);

/* Fail with where = "NAME: what ITEM, byte AT"; item.p may be NULL; at SIZE_MAX: no byte. */
qn_status qn__gguf_fail(const char *file, const char *what, qn_slice item, size_t at, qn_err *err, qn_status code,
                        const char *fmt, ...) QN_PRINTF(7, 8);

/* Bytes of an element of a fixed size; 0 for STR, ARR and ids that name no kind. */
size_t qn__gguf_kind_size(uint32_t kind);

static inline uint32_t qn__ld32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t qn__ld64(const unsigned char *p)
{
    return (uint64_t)qn__ld32(p) | (uint64_t)qn__ld32(p + 4) << 32;
}
static inline uint16_t qn__ld16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline bool qn__slice_eq(qn_slice a, qn_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

#endif
