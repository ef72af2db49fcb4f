/* gguf_bytes.h - build a GGUF file byte by byte, right or wrong: for tests. Header-only; uses plain malloc so that the
 * library's allocation hooks see only the library.
 *
 *   gb b;
 *   gb_begin(&b, 3);                                     counts in the header are kept up to date by what follows
 *   gb_kv_str(&b, "general.architecture", "llama");
 *   gb_kv_arr(&b, "tokenizer.ggml.tokens", QN_GGUF_STR, 2); gb_str(&b, "a"); gb_str(&b, "b");
 *   gb_tensor(&b, "output.weight", QN_F32, 2, 32, 4);    placed behind the tensors before it
 *   gb_data(&b);                                         padding, then the tensors' bytes (a fixed pattern)
 *   ... b.p, b.n ...
 *   gb_free(&b);
 */
#ifndef QN_TESTS_GGUF_BYTES_H
#define QN_TESTS_GGUF_BYTES_H

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "formats/gguf.h"

typedef struct gb {
    unsigned char *p;
    size_t n, cap;
    uint64_t n_tensors, n_kv;
    uint64_t data;      /* bytes of the tensors declared so far, aligned */
    uint32_t alignment; /* 32 unless set before the first tensor; gb_kv_u32("general.alignment") is the caller's to add */
} gb;

static inline void gb_put(gb *b, const void *p, size_t n)
{
    if (b->n + n > b->cap) {
        b->cap = (b->n + n) * 2 + 256;
        b->p = realloc(b->p, b->cap);
        if (!b->p)
            abort();
    }
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}
static inline void gb_le(gb *b, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)(v >> (8 * i));
        gb_put(b, &c, 1);
    }
}
static inline void gb_u8(gb *b, uint8_t v) { gb_le(b, v, 1); }
static inline void gb_u16(gb *b, uint16_t v) { gb_le(b, v, 2); }
static inline void gb_u32(gb *b, uint32_t v) { gb_le(b, v, 4); }
static inline void gb_u64(gb *b, uint64_t v) { gb_le(b, v, 8); }
static inline void gb_f32(gb *b, float v)
{
    uint32_t u;
    memcpy(&u, &v, 4);
    gb_u32(b, u);
}
static inline void gb_f64(gb *b, double v)
{
    uint64_t u;
    memcpy(&u, &v, 8);
    gb_u64(b, u);
}
static inline void gb_strn(gb *b, const char *s, size_t n)
{
    gb_u64(b, n);
    gb_put(b, s, n);
}
static inline void gb_str(gb *b, const char *s) { gb_strn(b, s, strlen(s)); }
/* Overwrite what stands at byte `at`. */
static inline void gb_patch(gb *b, size_t at, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        b->p[at + i] = (unsigned char)(v >> (8 * i));
}

static inline void gb_begin(gb *b, uint32_t version)
{
    *b = (gb){.alignment = 32};
    gb_put(b, "GGUF", 4);
    gb_u32(b, version);
    gb_u64(b, 0);
    gb_u64(b, 0);
}
static inline void gb_free(gb *b)
{
    free(b->p);
    *b = (gb){0};
}

/* Key and kind of a pair; the value follows by hand. */
static inline void gb_key(gb *b, const char *key, uint32_t kind)
{
    gb_patch(b, 16, ++b->n_kv, 8);
    gb_str(b, key);
    gb_u32(b, kind);
}
static inline void gb_kv_u32(gb *b, const char *key, uint32_t v) { gb_key(b, key, QN_GGUF_U32); gb_u32(b, v); }
static inline void gb_kv_i32(gb *b, const char *key, int32_t v) { gb_key(b, key, QN_GGUF_I32); gb_u32(b, (uint32_t)v); }
static inline void gb_kv_u16(gb *b, const char *key, uint16_t v) { gb_key(b, key, QN_GGUF_U16); gb_u16(b, v); }
static inline void gb_kv_u64(gb *b, const char *key, uint64_t v) { gb_key(b, key, QN_GGUF_U64); gb_u64(b, v); }
static inline void gb_kv_f32(gb *b, const char *key, float v) { gb_key(b, key, QN_GGUF_F32); gb_f32(b, v); }
static inline void gb_kv_bool(gb *b, const char *key, bool v) { gb_key(b, key, QN_GGUF_BOOL); gb_u8(b, v); }
static inline void gb_kv_str(gb *b, const char *key, const char *v) { gb_key(b, key, QN_GGUF_STR); gb_str(b, v); }
/* Head of an array; its n elements follow by hand. */
static inline void gb_kv_arr(gb *b, const char *key, uint32_t elem, uint64_t n)
{
    gb_key(b, key, QN_GGUF_ARR);
    gb_u32(b, elem);
    gb_u64(b, n);
}
static inline void gb_kv_strs(gb *b, const char *key, const char *const *v, size_t n)
{
    gb_kv_arr(b, key, QN_GGUF_STR, n);
    for (size_t i = 0; i < n; i++)
        gb_str(b, v[i]);
}

/* A tensor's info just as said. */
static inline void gb_tensor_at(gb *b, const char *name, uint32_t type, uint32_t n_dims, const uint64_t *dims, uint64_t offset)
{
    gb_patch(b, 8, ++b->n_tensors, 8);
    gb_str(b, name);
    gb_u32(b, n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        gb_u64(b, dims[i]);
    gb_u32(b, type);
    gb_u64(b, offset);
}
/* Dimensions follow as ints, the fastest first. */
static inline void gb_tensor(gb *b, const char *name, qn_type type, int n_dims, ...)
{
    uint64_t dims[QN_MAX_DIMS] = {1, 1, 1, 1};
    size_t bytes;
    va_list ap;
    va_start(ap, n_dims);
    for (int i = 0; i < n_dims && i < QN_MAX_DIMS; i++)
        dims[i] = (uint64_t)va_arg(ap, int);
    va_end(ap);
    if (!qn__type_row_bytes(type, dims[0], &bytes))
        abort();
    bytes *= (size_t)(dims[1] * dims[2] * dims[3]);
    gb_tensor_at(b, name, (uint32_t)type, (uint32_t)n_dims, dims, b->data);
    b->data = (b->data + bytes + b->alignment - 1) / b->alignment * b->alignment;
}
static inline void gb_pad(gb *b)
{
    while (b->n % b->alignment)
        gb_u8(b, 0);
}
/* Padding and the bytes of all tensors declared with gb_tensor: byte i is i * 31 + 7. Returns where they begin. */
static inline size_t gb_data(gb *b)
{
    gb_pad(b);
    size_t start = b->n;
    for (uint64_t i = 0; i < b->data; i++)
        gb_u8(b, (uint8_t)(i * 31 + 7));
    return start;
}

#endif
