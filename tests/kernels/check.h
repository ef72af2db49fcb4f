/* check.h - what the kernel checkers share: memory that ends where a guard page begins, canaries, a generator.
 *
 * A check returns NULL or says in `why` what is wrong, so that the same check can be turned on a kernel with a planted
 * fault. */
#ifndef QN_TESTS_CHECK_H
#define QN_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/kernels.h"

static char why[300];
#define FAIL(...) (snprintf(why, sizeof why, __VA_ARGS__), why)

/* ---- a generator ---- */

static uint64_t seed_state = 1;

static inline uint32_t rnd(void)
{
    uint64_t z = seed_state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)(z >> 32);
}

static inline int rnd_in(int lo, int hi)
{
    return lo + (int)(rnd() % (uint32_t)(hi - lo + 1));
}

/* About normal, variance 1. */
static inline float rnd_normal(void)
{
    float s = 0;
    for (int i = 0; i < 12; i++)
        s += (float)(rnd() >> 8) * 0x1p-24f;
    return s - 6.0f;
}

/* ---- memory: [guard][.....used|][guard], all of it given back by drop_all ---- */

enum { MAX_BLOCKS = 512, GUARD = 4096 };
static struct {
    void *p;
    size_t n;
} blocks[MAX_BLOCKS];
static int n_blocks;

static inline void *guarded(size_t n, size_t align)
{
    size_t room = ((n + align + GUARD - 1) / GUARD + 2) * GUARD;
    unsigned char *p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED && n_blocks < MAX_BLOCKS);
    mprotect(p, GUARD, PROT_NONE);
    mprotect(p + room - GUARD, GUARD, PROT_NONE);
    blocks[n_blocks].p = p;
    blocks[n_blocks++].n = room;
    return p + room - GUARD - (n + align - 1) / align * align;
}

static inline void drop_all(void)
{
    while (n_blocks > 0) {
        n_blocks--;
        munmap(blocks[n_blocks].p, blocks[n_blocks].n);
    }
}

/* ---- outputs: floats among canaries ---- */

enum { CANARIES = 40 };
#define CANARY 0xC0FFEE42u

typedef struct field {
    float *p; /* rows x cols, stride apart */
    int rows, cols, stride;
    uint32_t *all;
    size_t n;
} field;

static inline field field_new(int rows, int cols, int gap)
{
    field f = {.rows = rows, .cols = cols, .stride = cols + gap};
    f.n = (size_t)rows * (size_t)f.stride + 2 * CANARIES;
    f.all = guarded(f.n * 4, 4);
    for (size_t i = 0; i < f.n; i++)
        f.all[i] = CANARY;
    f.p = (float *)(void *)(f.all + CANARIES);
    return f;
}

/* NULL, or what was written outside or left unwritten. */
static inline const char *field_check(const field *f)
{
    for (size_t i = 0; i < f->n; i++) {
        size_t at = i - CANARIES, r = at / (size_t)f->stride, c = at % (size_t)f->stride;
        bool inside = i >= CANARIES && r < (size_t)f->rows && c < (size_t)f->cols;
        if (!inside && f->all[i] != CANARY)
            return FAIL("wrote outside its output of %d x %d, at %zu", f->rows, f->cols, i);
        if (inside && f->all[i] == CANARY)
            return FAIL("left row %zu column %zu unwritten", r, c);
    }
    return NULL;
}

static inline bool field_equal(const field *a, const field *b)
{
    for (int r = 0; r < a->rows; r++)
        if (memcmp(a->p + (size_t)r * (size_t)a->stride, b->p + (size_t)r * (size_t)b->stride, (size_t)a->cols * 4) !=
            0)
            return false;
    return true;
}

static inline int levels(void)
{
    return (int)qn_cpu_levels(NULL, 0);
}

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        const char *bad_ = (call);                                                                                     \
        if (bad_)                                                                                                      \
            fail_msg("%s", bad_);                                                                                      \
    } while (0)

#endif
