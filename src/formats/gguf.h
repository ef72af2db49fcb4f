/* gguf.h - GGUF v2/v3: bytes -> checked views, and writing.
 *
 * A model file is hostile until proven otherwise: each count, offset, size, dimension, string and type is checked before
 * use; after qn__gguf_open everything that the accessors return lies inside the map.
 *
 *   file:  "GGUF" version n_tensors n_kv | key-value pairs | tensor infos | padding | tensor data (aligned)
 *
 * Split files (NAME-00001-of-0000N.gguf): opening any part named so with split.count > 1 opens all parts; tensors of all
 * parts are listed in order, metadata come from the first.
 *
 * Format: the ggml project's docs/gguf.md. Big-endian files are refused with a sentence. */
#ifndef QN_FORMATS_GGUF_H
#define QN_FORMATS_GGUF_H

#include "base/str.h"
#include "formats/types.h"

typedef enum qn_gguf_kind {
    QN_GGUF_U8 = 0, QN_GGUF_I8, QN_GGUF_U16, QN_GGUF_I16, QN_GGUF_U32, QN_GGUF_I32, QN_GGUF_F32, QN_GGUF_BOOL,
    QN_GGUF_STR, QN_GGUF_ARR, QN_GGUF_U64, QN_GGUF_I64, QN_GGUF_F64
} qn_gguf_kind;

enum { QN_MAX_DIMS = 4 };

typedef struct qn_gguf_tensor {
    qn_slice name;             /* into the map */
    qn_type type;
    uint32_t n_dims;           /* 1..4 as written */
    uint64_t dims[QN_MAX_DIMS]; /* dims[0] is the fastest; absent ones are 1 */
    uint64_t offset;           /* absolute, in its part's file */
    size_t bytes;
    size_t row_bytes;          /* of dims[0] elements */
    uint32_t part;
    const unsigned char *data; /* into the map of its part */
} qn_gguf_tensor;

typedef struct qn_gguf_kv {
    qn_slice key;
    qn_gguf_kind kind;         /* ARR: of elem */
    qn_gguf_kind elem;         /* element kind of an array (never ARR: nested arrays are skipped over, elem = ARR, n = count) */
    uint64_t n;                /* array elements; 1 for a scalar */
    const unsigned char *data; /* the scalar's or first element's bytes (little-endian, unaligned); STR scalar: its bytes */
    size_t bytes;              /* of the value: STR scalar: length of the string; array: whole payload */
} qn_gguf_kv;

typedef struct qn_gguf qn_gguf;

/* Errors: QN_EIO; QN_EFORMAT with the byte offset and the sentence; QN_ENOMEM. `path` of a split's part opens all. */
qn_status qn__gguf_open(const char *path, qn_gguf **out, qn_err *err);
/* Memory that outlives the handle (embedded model, fuzzing). Not copied. `name` is used in errors. */
qn_status qn__gguf_open_memory(const void *data, size_t size, const char *name, qn_gguf **out, qn_err *err);
void qn__gguf_close(qn_gguf *g);

/* [p, p+n) of a tensor's data is not needed soon: the whole pages in it leave memory, if a file stands behind them. */
void qn__gguf_done(const qn_gguf *g, const unsigned char *p, size_t n);

const char *qn__gguf_name(const qn_gguf *g); /* path or name, for errors */
uint32_t qn__gguf_version(const qn_gguf *g);
uint32_t qn__gguf_alignment(const qn_gguf *g);
uint64_t qn__gguf_file_bytes(const qn_gguf *g); /* of all parts */
uint32_t qn__gguf_parts(const qn_gguf *g);
const char *qn__gguf_part_name(const qn_gguf *g, uint32_t part); /* its path */
size_t qn__gguf_n_tensors(const qn_gguf *g);
const qn_gguf_tensor *qn__gguf_tensor(const qn_gguf *g, size_t i);
const qn_gguf_tensor *qn__gguf_find(const qn_gguf *g, const char *name); /* hashed; NULL when absent */
size_t qn__gguf_n_kv(const qn_gguf *g);
const qn_gguf_kv *qn__gguf_kv_at(const qn_gguf *g, size_t i);
const qn_gguf_kv *qn__gguf_kv(const qn_gguf *g, const char *key); /* NULL when absent */

/* Typed reads. Present with another kind: QN_EFORMAT naming the key and both kinds. Absent: *out = fallback, or, with the
 * _req forms, QN_EFORMAT "key ... is missing". Integer reads accept every integer kind that holds a value in range
 * [min, max]; f32 accepts F32, F64 and integers; NaN and infinities are refused. */
qn_status qn__gguf_int(const qn_gguf *g, const char *key, int64_t min, int64_t max, int64_t fallback, int64_t *out, qn_err *err);
qn_status qn__gguf_int_req(const qn_gguf *g, const char *key, int64_t min, int64_t max, int64_t *out, qn_err *err);
qn_status qn__gguf_float(const qn_gguf *g, const char *key, double fallback, double *out, qn_err *err);
qn_status qn__gguf_bool(const qn_gguf *g, const char *key, bool fallback, bool *out, qn_err *err);
/* out->p NULL when absent. Not terminated; may hold any bytes. */
qn_status qn__gguf_str(const qn_gguf *g, const char *key, qn_slice *out, qn_err *err);

/* Array elements. The caller has checked kind/elem/n. Integer of any integer or bool kind; float of F32/F64/integer. */
int64_t qn__gguf_arr_int(const qn_gguf_kv *kv, uint64_t i);
double qn__gguf_arr_float(const qn_gguf_kv *kv, uint64_t i);
/* Strings of an array lie one after another: fill out[0..kv->n) in one pass (the caller allocates). */
void qn__gguf_arr_strs(const qn_gguf_kv *kv, qn_slice *out);

const char *qn__gguf_kind_name(qn_gguf_kind k);

/* ---- writing (v3, little-endian). Declare all metadata and tensors, then stream the data in declared order. ---- */
typedef struct qn_gguf_writer qn_gguf_writer;
qn_status qn__gguf_create(const char *path, qn_gguf_writer **out, qn_err *err);
void qn__gguf_put_int(qn_gguf_writer *w, const char *key, qn_gguf_kind kind, int64_t v);
void qn__gguf_put_float(qn_gguf_writer *w, const char *key, qn_gguf_kind kind, double v);
void qn__gguf_put_bool(qn_gguf_writer *w, const char *key, bool v);
void qn__gguf_put_str(qn_gguf_writer *w, const char *key, const char *s, size_t n);
/* payload: n elements as they stand in a file (for STR: use put_strs). */
void qn__gguf_put_arr(qn_gguf_writer *w, const char *key, qn_gguf_kind elem, uint64_t n, const void *payload, size_t bytes);
void qn__gguf_put_strs(qn_gguf_writer *w, const char *key, const qn_slice *s, uint64_t n);
/* Copy a pair of another file as it stands. */
void qn__gguf_put_kv(qn_gguf_writer *w, const qn_gguf_kv *kv);
void qn__gguf_put_tensor(qn_gguf_writer *w, const char *name, qn_type type, uint32_t n_dims, const uint64_t *dims);
/* Write the header; reports any failure of the puts. Then exactly the declared tensors' bytes in order, in pieces. */
qn_status qn__gguf_begin_data(qn_gguf_writer *w, qn_err *err);
qn_status qn__gguf_write(qn_gguf_writer *w, const void *p, size_t n, qn_err *err);
/* Atomic: the file appears whole or not at all; QN_EINVAL if tensors are missing. Frees w in every case. */
qn_status qn__gguf_commit(qn_gguf_writer *w, qn_err *err);
void qn__gguf_abort(qn_gguf_writer *w);

#endif
