/* imatrix.h - importance matrices: for each weight matrix of a model, the mean square of what met each of its columns
 * when the model read some text. In GGUF files as the ecosystem writes them:
 *
 *   general.type "imatrix", imatrix.datasets [str], imatrix.chunk_count, imatrix.chunk_size
 *   NAME.in_sum2  F32 [columns, experts]   sums of squares
 *   NAME.counts   F32 [1, experts]         how many activations were summed; 0: an expert that was never chosen
 */
#ifndef QN_FORMATS_IMATRIX_H
#define QN_FORMATS_IMATRIX_H

#include "formats/gguf.h"

typedef struct qn_imatrix qn_imatrix;

/* Errors: those of qn__gguf_open; QN_EFORMAT: not an importance matrix, a pair that does not fit together. */
qn_status qn__imatrix_open(const char *path, qn_imatrix **out, qn_err *err);
void qn__imatrix_close(qn_imatrix *m);

const char *qn__imatrix_name(const qn_imatrix *m); /* its path */
size_t qn__imatrix_n(const qn_imatrix *m);         /* weight matrices in it */
/* The k-th weight matrix it is about. */
qn_slice qn__imatrix_tensor(const qn_imatrix *m, size_t k);
/* 0 when the file does not say. */
uint32_t qn__imatrix_chunk_count(const qn_imatrix *m);
uint32_t qn__imatrix_chunk_size(const qn_imatrix *m);
/* The first of its datasets; p NULL when there is none. */
qn_slice qn__imatrix_dataset(const qn_imatrix *m);

/* The mean squares for the tensor: out[n * experts], ones for an expert without activations. *found says whether the
 * file has this tensor; if not, out is untouched. One entry for several experts is given to each. Errors: QN_EFORMAT
 * when its shape is another, or a value is negative or not finite. */
qn_status qn__imatrix_get(const qn_imatrix *m, qn_slice tensor, uint64_t n, uint64_t experts, float *out, bool *found,
                          qn_err *err);

/* One weight matrix to be written; nothing is copied until qn__imatrix_write. */
typedef struct qn_imatrix_entry {
    const char *tensor;
    uint64_t n, experts;
    const float *sums;   /* n * experts */
    const float *counts; /* experts */
} qn_imatrix_entry;

/* Atomic: the file appears whole or not at all. */
qn_status qn__imatrix_write(const char *path, const qn_slice *datasets, size_t n_datasets, uint32_t chunk_count,
                            uint32_t chunk_size, const qn_imatrix_entry *entries, size_t n, qn_err *err);

#endif
