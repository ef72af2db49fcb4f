/* mem.c - see mem.h. */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* The only mutable globals of the library: counters for tests. Relaxed: they order nothing. */
static _Atomic uint64_t alloc_count;
static _Atomic uint64_t fail_at;
static _Atomic size_t alloc_peak;

static bool allowed(size_t n)
{
    uint64_t now = atomic_fetch_add_explicit(&alloc_count, 1, memory_order_relaxed) + 1;
    size_t peak = atomic_load_explicit(&alloc_peak, memory_order_relaxed);
    while (n > peak &&
           !atomic_compare_exchange_weak_explicit(&alloc_peak, &peak, n, memory_order_relaxed, memory_order_relaxed))
        ;
    uint64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    return at == 0 || now != at;
}

void qn__alloc_fail_at(uint64_t n)
{
    uint64_t now = atomic_load_explicit(&alloc_count, memory_order_relaxed);
    atomic_store_explicit(&fail_at, n ? now + n : 0, memory_order_relaxed);
}

uint64_t qn__alloc_count(void)
{
    return atomic_load_explicit(&alloc_count, memory_order_relaxed);
}

size_t qn__alloc_peak_take(void)
{
    return atomic_exchange_explicit(&alloc_peak, 0, memory_order_relaxed);
}

void *qn__alloc(size_t n)
{
    return allowed(n) ? malloc(n ? n : 1) : NULL;
}

void *qn__calloc(size_t count, size_t size)
{
    size_t n;
    if (!qn__mul(count, size, &n) || !allowed(n))
        return NULL;
    return calloc(1, n ? n : 1);
}

void *qn__realloc(void *p, size_t n)
{
    return allowed(n) ? realloc(p, n ? n : 1) : NULL;
}

void qn_free(void *p)
{
    free(p);
}

bool qn__grow(void **p, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return true;
    size_t want = *cap ? *cap : 16, bytes;
    while (want < need) {
        if (want > SIZE_MAX / 2)
            return false;
        want *= 2;
    }
    if (!qn__mul(want, size, &bytes))
        return false;
    void *q = qn__realloc(*p, bytes);
    if (!q)
        return false;
    *p = q;
    *cap = want;
    return true;
}

char *qn__strndup(const char *s, size_t n)
{
    size_t bytes;
    if (!qn__add(n, 1, &bytes))
        return NULL;
    char *p = qn__alloc(bytes);
    if (p) {
        memcpy(p, s, n);
        p[n] = 0;
    }
    return p;
}

void *qn__alloc_aligned(size_t n)
{
    const size_t huge = (size_t)2 << 20;
    size_t align = n >= huge ? huge : 64, bytes;
    if (!qn__add(n, align - 1, &bytes) || !allowed(n))
        return NULL;
    bytes &= ~(align - 1);
    void *p = aligned_alloc(align, bytes ? bytes : align);
#ifdef MADV_HUGEPAGE
    if (p && n >= huge)
        (void)madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return p;
}

void qn__small_pages(void *p, size_t n)
{
#ifdef MADV_NOHUGEPAGE
    (void)madvise(p, n, MADV_NOHUGEPAGE);
#else
    (void)p;
    (void)n;
#endif
}

void qn__free_aligned(void *p)
{
    free(p);
}

/* The number after `key` in a small file of the system's; SIZE_MAX when there is none. */
static size_t system_number(const char *path, const char *key)
{
    char text[2048];
    unsigned long long v;
    FILE *f = fopen(path, "re");
    if (!f)
        return SIZE_MAX;
    size_t n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = 0;
    const char *at = strstr(text, key);
    return at && sscanf(at + strlen(key), "%llu", &v) == 1 && v <= SIZE_MAX / 1024 ? (size_t)v : SIZE_MAX;
}

size_t qn__memory_available(void)
{
    size_t kib = system_number("/proc/meminfo", "MemAvailable:"), bound = system_number("/sys/fs/cgroup/memory.max", "");
    size_t free_bytes = kib == SIZE_MAX ? SIZE_MAX : kib * 1024;
    return free_bytes < bound ? free_bytes : bound;
}

struct qn__arena_block {
    struct qn__arena_block *next;
    size_t used, size; /* of data[] */
    _Alignas(16) unsigned char data[];
};

void qn__arena_init(qn_arena *a, size_t limit)
{
    *a = (qn_arena){.limit = limit};
}

void *qn__arena_alloc(qn_arena *a, size_t n)
{
    size_t need;
    if (!qn__add(n, 15, &need))
        return NULL;
    need &= ~(size_t)15;
    if (!need)
        need = 16;
    struct qn__arena_block *b = a->head;
    if (!b || b->size - b->used < need) {
        /* Blocks double from 4 KiB to 1 MiB; a larger request gets a block of its own, behind the head, so that the
         * head's free space is not lost. */
        size_t size = b ? b->size * 2 : 4096, bytes;
        if (size > ((size_t)1 << 20))
            size = (size_t)1 << 20;
        bool own = need > size / 2;
        if (own)
            size = need;
        if (!qn__add(size, sizeof *b, &bytes) || (a->limit && (size > a->limit || a->total > a->limit - size)))
            return NULL;
        struct qn__arena_block *nb = qn__alloc(bytes);
        if (!nb)
            return NULL;
        nb->used = 0;
        nb->size = size;
        a->total += size;
        if (own && b) {
            nb->next = b->next;
            b->next = nb;
        } else {
            nb->next = b;
            a->head = nb;
        }
        b = nb;
    }
    void *p = b->data + b->used;
    b->used += need;
    return p;
}

char *qn__arena_strndup(qn_arena *a, const char *s, size_t n)
{
    size_t bytes;
    if (!qn__add(n, 1, &bytes))
        return NULL;
    char *p = qn__arena_alloc(a, bytes);
    if (p) {
        if (n)
            memcpy(p, s, n);
        p[n] = 0;
    }
    return p;
}

void qn__arena_free(qn_arena *a)
{
    for (struct qn__arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    a->head = NULL;
    a->total = 0;
}
