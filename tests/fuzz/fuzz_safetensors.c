/* fuzz_safetensors.c - any bytes as a safetensors file: opened and read through, or refused with a sentence. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void broken(const char *what)
{
    (void)fprintf(stderr, "fuzz_safetensors: %s\n", what);
    abort();
}

/* Reads every byte of every tensor, so that a sanitizer sees one outside. */
static void touch(const qn_st *s)
{
    unsigned sum = 0;
    for (size_t i = 0; i < qn__st_n_tensors(s); i++) {
        const qn_st_tensor *t = qn__st_tensor(s, i);
        uint64_t n = qn__st_dtype_size(t->dtype);
        for (uint32_t d = 0; d < t->n_dims; d++)
            n *= t->dims[d];
        if (n != t->bytes)
            broken("bytes are not what the shape says");
        for (size_t k = 0; k < t->bytes; k++)
            sum += t->data[k];
        if (qn__st_find(s, t->name) != t)
            broken("a tensor is not found by its name");
    }
    volatile unsigned used = sum; /* else the reads would be left out */
    (void)used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_st *s = NULL;
    qn_err err = {0};
    (void)qn__alloc_peak_take();
    qn_status st = qn__st_open_memory(data, size, "fuzz", &s, &err);
    if (qn__alloc_peak_take() > 65536 + 64 * size)
        broken("an allocation larger than the file warrants");
    if (st == QN_OK)
        touch(s);
    else if (s || err.code != st || !err.what[0] || !err.where[0])
        broken("refused without a sentence");
    qn__st_close(s);
    return 0;
}
