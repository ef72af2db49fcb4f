/* safetensors.h - one safetensors file: bytes -> checked views.
 *
 *   file:  header length (u64) | header (JSON: name -> {dtype, shape, data_offsets}, optional __metadata__) | tensor data
 *
 * Hostile until proven otherwise: after qn__st_open every tensor's bytes lie inside the map, their number is what dtype and
 * shape say, and the tensors tile the data exactly: no hole, no overlap, no name twice.
 * Format: the safetensors project's README. */
#ifndef QN_FORMATS_SAFETENSORS_H
#define QN_FORMATS_SAFETENSORS_H

#include "base/str.h"

typedef enum qn_st_dtype {
    QN_ST_BOOL, QN_ST_U8, QN_ST_I8, QN_ST_F8_E4M3, QN_ST_F8_E5M2, QN_ST_F8_E8M0, QN_ST_I16, QN_ST_U16, QN_ST_F16,
    QN_ST_BF16, QN_ST_I32, QN_ST_U32, QN_ST_F32, QN_ST_I64, QN_ST_U64, QN_ST_F64,
    QN_ST__COUNT
} qn_st_dtype;

enum { QN_ST_MAX_DIMS = 8, QN_ST_MAX_NAME = 512 };

typedef struct qn_st_tensor {
    const char *name;  /* terminated; no NUL inside */
    qn_st_dtype dtype;
    uint32_t n_dims;   /* 0: a scalar */
    uint64_t dims[QN_ST_MAX_DIMS]; /* as written: the last is the fastest; absent ones are 1 */
    const unsigned char *data;     /* into the map; unaligned */
    size_t bytes;
} qn_st_tensor;

typedef struct qn_st qn_st;

/* Errors: QN_EIO; QN_EFORMAT with the byte offset or the tensor and the sentence; QN_EUNSUPPORTED for a dtype that is not in
 * the list above; QN_ENOMEM. */
qn_status qn__st_open(const char *path, qn_st **out, qn_err *err);
/* Memory that outlives the handle. Not copied. `name` is used in errors. */
qn_status qn__st_open_memory(const void *data, size_t size, const char *name, qn_st **out, qn_err *err);
void qn__st_close(qn_st *s);

const char *qn__st_name(const qn_st *s);
size_t qn__st_n_tensors(const qn_st *s);
const qn_st_tensor *qn__st_tensor(const qn_st *s, size_t i); /* in the header's order */
const qn_st_tensor *qn__st_find(const qn_st *s, const char *name); /* NULL when absent */
/* The bytes [p, p + n) of a tensor will not be needed soon: their pages leave our memory (a later read fetches them). */
void qn__st_drop(const qn_st *s, const unsigned char *p, size_t n);

const char *qn__st_dtype_name(qn_st_dtype d);
size_t qn__st_dtype_size(qn_st_dtype d);

#endif
