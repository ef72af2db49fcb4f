/* mem.h - memory: checked sizes, an allocator that tests can make fail, arenas, page-aligned blocks.
 *
 * Every allocation of the library goes through here, so that (a) a size is never computed by an overflowing product,
 * (b) a test can let the Nth allocation fail, (c) nothing allocates more than a caller-given bound from hostile input.
 */
#ifndef QN_BASE_MEM_H
#define QN_BASE_MEM_H

#include "quern.h"

/* a*b and a+b in size_t; false when it does not fit (then *out is undefined). */
static inline bool qn__mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool qn__add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* malloc/calloc/realloc semantics; NULL on failure or overflow. A zero size gives a unique pointer. */
void *qn__alloc(size_t n);
void *qn__calloc(size_t count, size_t size);
void *qn__realloc(void *p, size_t n);
/* Grow an array to at least `need` elements of `size`, doubling. On failure returns false and leaves *p and *cap. */
bool qn__grow(void **p, size_t *cap, size_t need, size_t size);
char *qn__strndup(const char *s, size_t n);

/* Test hook: let the allocation number `n` from now (1 = the next) fail, once; 0: never. Not thread-safe. */
void qn__alloc_fail_at(uint64_t n);
/* Allocations made since the process began: what an anomaly test loops up to. */
uint64_t qn__alloc_count(void);
/* Test hook: the largest single request since the last call. */
size_t qn__alloc_peak_take(void);

/* n bytes aligned to 64, or to 2 MiB and advised to use huge pages when n >= 2 MiB. Contents undefined. */
void *qn__alloc_aligned(size_t n);
/* Memory that was not touched yet stays in the system's smallest pages. */
void qn__small_pages(void *p, size_t n);
void qn__free_aligned(void *p);

/* Bytes that may still be taken without swapping, as the system tells: free memory, caches, a container's bound. SIZE_MAX
 * where it does not tell. */
size_t qn__memory_available(void);

/* Arena: many small things with one lifetime.
 *
 *   arena -> [block 2: used ....... free] -> [block 1: full] -> NULL
 *
 * `limit` bounds the total (0: none): a template or a file cannot make us hold more than the caller allows. */
typedef struct qn_arena {
    struct qn__arena_block *head;
    size_t total, limit;
} qn_arena;
void qn__arena_init(qn_arena *a, size_t limit);
/* 16-byte aligned, contents undefined; NULL when memory or the limit is exhausted. */
void *qn__arena_alloc(qn_arena *a, size_t n);
char *qn__arena_strndup(qn_arena *a, const char *s, size_t n);
void qn__arena_free(qn_arena *a);

#endif
