/* gguf_touch.h - read everything that an opened GGUF handle hands out, and check that it lies inside the bytes it was
 * opened on. For hostile and fuzz tests. */
#ifndef QN_TESTS_GGUF_TOUCH_H
#define QN_TESTS_GGUF_TOUCH_H

#include <stdlib.h>
#include <string.h>

#include "formats/gguf.h"
#include "kernels/dequant.h"

static volatile unsigned gguf_touch_sink;

static inline bool gguf_inside(const void *p, size_t n, const void *base, size_t size)
{
    uintptr_t a = (uintptr_t)p, b = (uintptr_t)base;
    if (a < b || a - b > size || n > size - (a - b))
        return false;
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += ((const unsigned char *)p)[i];
    gguf_touch_sink += sum;
    return true;
}

/* A terminated copy of a name; NULL when out of memory. */
static inline char *gguf_touch_name(qn_slice s)
{
    char *name = malloc(s.n + 1);
    if (name) {
        memcpy(name, s.p, s.n);
        name[s.n] = 0;
    }
    return name;
}

static inline const char *gguf_touch_kv(const qn_gguf *g, const qn_gguf_kv *kv, const void *base, size_t size)
{
    int64_t i;
    double d;
    bool y;
    qn_slice s;
    qn_err err = {0};
    if (!gguf_inside(kv->key.p, kv->key.n, base, size) || !gguf_inside(kv->data, kv->bytes, base, size))
        return "a pair lies outside";
    if (!qn__gguf_kind_name(kv->kind)[0] || !qn__gguf_kind_name(kv->elem)[0])
        return "a kind has no name";
    char *key = gguf_touch_name(kv->key);
    if (!key)
        return NULL;
    const char *bad = qn__gguf_kv(g, key) == kv ? NULL : "a key is not found";
    if ((qn__gguf_int(g, key, -5, 1000, 0, &i, &err) != QN_OK) + (qn__gguf_float(g, key, 0, &d, &err) != QN_OK) +
            (qn__gguf_bool(g, key, false, &y, &err) != QN_OK) + (qn__gguf_str(g, key, &s, &err) != QN_OK) <
        2)
        bad = "a pair is of two kinds";
    if (!err.what[0] || !err.where[0])
        bad = "an error without a sentence";
    free(key);
    if (bad || kv->kind != QN_GGUF_ARR || kv->elem == QN_GGUF_ARR)
        return bad;
    if (kv->elem == QN_GGUF_STR) {
        qn_slice *all = calloc(kv->n ? (size_t)kv->n : 1, sizeof *all);
        if (!all)
            return NULL;
        qn__gguf_arr_strs(kv, all);
        for (uint64_t k = 0; k < kv->n && !bad; k++)
            if (!gguf_inside(all[k].p, all[k].n, kv->data, kv->bytes))
                bad = "a string of an array lies outside";
        free(all);
        return bad;
    }
    for (uint64_t k = 0; k < kv->n; k++)
        gguf_touch_sink += (unsigned)qn__gguf_arr_int(kv, k) + (qn__gguf_arr_float(kv, k) > 1);
    return NULL;
}

static inline const char *gguf_touch_tensor(const qn_gguf *g, const qn_gguf_tensor *t, const void *base, size_t size)
{
    if (!gguf_inside(t->name.p, t->name.n, base, size) || !gguf_inside(t->data, t->bytes, base, size))
        return "a tensor lies outside";
    if (t->n_dims < 1 || t->n_dims > QN_MAX_DIMS || !qn__type_info((uint32_t)t->type))
        return "a tensor has no shape or type";
    uint64_t rows = t->dims[1] * t->dims[2] * t->dims[3];
    if (!t->dims[0] || !rows || t->bytes != rows * t->row_bytes)
        return "a tensor's bytes are not its shape's";
    if (qn__dequant_has(t->type)) {
        float *row = malloc((size_t)t->dims[0] * sizeof *row);
        if (row) {
            qn__dequant_row(t->type, t->data, row, (size_t)t->dims[0]);
            gguf_touch_sink += row[t->dims[0] - 1] > 0;
        }
        free(row);
    }
    char *name = gguf_touch_name(t->name);
    const char *bad = name && qn__gguf_find(g, name) != t ? "a tensor is not found" : NULL;
    free(name);
    return bad;
}

/* NULL, or what is wrong. */
static inline const char *gguf_touch(const qn_gguf *g, const void *base, size_t size)
{
    const char *bad = NULL;
    for (size_t i = 0; i < qn__gguf_n_kv(g) && !bad; i++)
        bad = gguf_touch_kv(g, qn__gguf_kv_at(g, i), base, size);
    for (size_t i = 0; i < qn__gguf_n_tensors(g) && !bad; i++)
        bad = gguf_touch_tensor(g, qn__gguf_tensor(g, i), base, size);
    if (!bad && (qn__gguf_parts(g) != 1 || qn__gguf_file_bytes(g) != size || !qn__gguf_alignment(g)))
        bad = "a number of the file is wrong";
    return bad;
}

/* The largest single request that a file of n bytes may cause: records of pairs and tensors are a few times the size of
 * what they are read from, and arrays grow by doubling. */
static inline size_t gguf_fair_allocation(size_t n)
{
    return 8 * n + 4096;
}

#endif
