/* matmul_amx.c - Q4_K, Q5_K, Q6_K, Q8_0, Q4_0, Q5_0 of many tokens on AMX: a tile is 16 rows of 64 bytes, one
 * instruction multiplies 16 tokens x 64 elements x 16 rows of weights. The results equal those of the other levels to
 * the bit, for the sums inside a block are exact integers; few tokens go to the AVX-512 kernels.
 *
 * The unpacked panel of quant_vec.h is the layout that a tile of weights wants: 16 lines of 4 elements x 16 rows.
 *
 *   A, activations  [16 tokens][64 elements]       straight from the prepared rows
 *   B, weights      [64/4][16 rows][4 elements]    16 vectors of a panel
 *   C, sums         [16 tokens][16 rows] int32
 *
 * Blocks of 256 have a scale per sub-block, which a tile product cannot apply. So it goes into the weights: q * s does
 * not fit a byte, but its two digits do, and sum(q*s*x) = sum(lo*x) + (sum(hi*x) << shift). Q4_K, Q5_K: s = 8*hi + lo,
 * q*7 <= 217. Q6_K: the bytes of (q - 32) * s. One block is then 8 products and one conversion to float.
 *
 * A call loads the tile configuration and releases it; between calls no tile state exists. */
#include <stddef.h>

#include "kernels/x86/vec_avx512.h"

enum { TILE_T = 4, SPAN = 256, C_TILE = 16 * 16 }; /* SPAN: tokens that one unpacked panel serves */
#define SC_HIGH(i) (i)                             /* a scale stands in both halves of its lane */

#include "kernels/x86/quant_vec.h"
#include "kernels/x86/tiles.h"

/* What a panel of blocks of 256 becomes before it is multiplied. Two of them and two tiles' sums must stay in 48 KB
 * beside the activations, so the panel itself is not kept. */
typedef struct digits {
    vi lo[64], hi[64], pair[4];
    vf d, dmin;
} digits;

typedef struct amx_walk {
    const qn_matmul *a;
    int groups, g, n_groups; /* n_groups: 2, or 1 at the end */
    int t0, tokens;          /* of this span */
    bool prefetch;
    const unsigned char *p[2][VF_N];
    _Alignas(64) float acc[2][SPAN * VF_N];
} amx_walk;

INLINE void walk_begin(amx_walk *w, const qn_matmul *a, int g, int t0, const bool packed)
{
    w->a = a;
    w->g = g;
    w->t0 = t0;
    w->groups = (a->rows + VF_N - 1) / VF_N;
    w->n_groups = w->groups - g < 2 ? 1 : 2;
    w->prefetch = t0 == 0 && g + 4 <= w->groups;
    w->tokens = a->tokens - t0 < SPAN ? a->tokens - t0 : SPAN;
    for (int h = 0; h < w->n_groups; h++) {
        for (int i = 0; i < (packed ? 1 : VF_N); i++) {
            int r = (g + h) * VF_N + i;
            w->p[h][i] = (const unsigned char *)a->w + (size_t)(r < a->rows ? r : a->rows - 1) * a->w_stride;
        }
        memset(w->acc[h], 0, (size_t)w->tokens * VF_N * sizeof *w->acc[h]);
    }
}

/* On to the next blocks of a group. */
INLINE void walk_on(amx_walk *w, int h, size_t bytes, const bool packed)
{
    if (packed)
        bytes *= VF_N;
    for (int i = 0; i < (packed ? 1 : VF_N); i++) {
        for (size_t o = 0; o < bytes && w->prefetch; o += 64) /* the same part of the next two groups */
            _mm_prefetch((const char *)w->p[h][i] + 2 * VF_N * w->a->w_stride + o, _MM_HINT_T1);
        w->p[h][i] += bytes;
    }
}

INLINE void walk_end(const amx_walk *w)
{
    for (int h = 0; h < w->n_groups; h++)
        for (int t = 0; t < w->tokens; t++) {
            int r = (w->g + h) * VF_N, n = w->a->rows - r < VF_N ? w->a->rows - r : VF_N;
            vf_store_n(w->a->y + (size_t)(w->t0 + t) * w->a->y_stride + (size_t)r, vf_load(w->acc[h] + t * VF_N), n);
        }
}

/* The first token of tile i: the last tile may overlap the one before it, whose tokens are then not added again. */
INLINE int tile_start(const amx_walk *w, int i, int lines)
{
    int t = i * lines;
    return t + lines <= w->tokens ? t : w->tokens - lines;
}

INLINE const char *token(const amx_walk *w, int t)
{
    return (const char *)w->a->x + (size_t)(w->t0 + t) * w->a->x_stride;
}

/* ---- blocks of 256 ---- */

/* Rows of one block -> digits; what a type brings. */
typedef void digits_fn(rows_at p, digits *q, const bool packed);

INLINE void take_scales(const panel *u, digits *q)
{
    q->d = u->d[0];
    q->dmin = u->dmin;
    UNROLL
    for (int j = 0; j < 4; j++)
        q->pair[j] = u->pair[j];
}

/* One vector of Q4_K or Q5_K: no product leaves its byte, so 16 bits multiply two at a time. */
INLINE void put_k45(digits *q, int at, vi w, vi sc)
{
    q->lo[at] = _mm512_mullo_epi16(w, vi_and(sc, vi_set1(0x00070007)));
    q->hi[at] = _mm512_mullo_epi16(w, _mm512_srli_epi16(sc, 3));
}

INLINE void digits_q4_k(rows_at p, digits *q, const bool packed)
{
    panel u; /* scales only */
    vi low = vi_set1(0x0f0f0f0f);
    unpack_head(p, &u, packed);
    UNROLL
    for (int j = 0; j < 4; j++)
        q->pair[j] = u.pair[j];
    q->d = u.d[0];
    q->dmin = u.dmin;
    UNROLL
    for (int j = 0; j < 8; j++) {
        vi v[4];
        columns(p, 16 + (size_t)j * 16, v, packed);
        UNROLL
        for (int c = 0; c < 4; c++) {
            put_k45(q, j / 2 * 16 + j % 2 * 4 + c, vi_and(v[c], low), u.sc[j / 2 * 2]);
            put_k45(q, j / 2 * 16 + j % 2 * 4 + c + 8, vi_and(vi_srl(v[c], 4), low), u.sc[j / 2 * 2 + 1]);
        }
    }
}

INLINE void digits_q5_k(rows_at p, digits *q, const bool packed)
{
    panel u;
    unpack_q5_k(p, &u, 1, packed);
    take_scales(&u, q);
    for (int j = 0; j < 8; j++) {
        UNROLL
        for (int c = 0; c < 8; c++)
            put_k45(q, 8 * j + c, u.w[8 * j + c], u.sc[j]);
    }
}

INLINE void digits_q6_k(rows_at p, digits *q, const bool packed)
{
    panel u;
    vi even = vi_set1(0x00ff00ff), offset = vi_set1(0x00200020);
    unpack_q6_k(p, &u, 1, packed);
    take_scales(&u, q);
    for (int j = 0; j < 16; j++) {
        vi s = vi_or(vi_and(u.sc[j], vi_set1(0xffff)), vi_sll(u.sc[j], 16));
        UNROLL
        for (int c = 0; c < 4; c++) {
            vi w = u.w[4 * j + c]; /* q + 32 */
            vi a = _mm512_mullo_epi16(_mm512_sub_epi16(vi_and(w, even), offset), s);
            vi b = _mm512_mullo_epi16(_mm512_sub_epi16(_mm512_srli_epi16(w, 8), offset), s);
            q->lo[4 * j + c] = vi_or(vi_and(a, even), _mm512_slli_epi16(b, 8));
            q->hi[4 * j + c] = vi_or(_mm512_srli_epi16(a, 8), _mm512_andnot_si512(even, b));
        }
    }
}

/* What a block's sums are multiplied with, out of its digits, so that it stays in registers. */
typedef struct scales {
    vi pair[4];
    vf d, dmin;
} scales;

/* Sums of a tile that are to be added up: where those of its first token lie. */
typedef struct due {
    const int32_t *sum; /* [group][digit][token][row]; of blocks of 32 [token][block][group][row] */
    float *acc;
    const char *d, *s2; /* of the prepared rows, one every `stride` bytes */
    size_t stride;
} due;

/* n tokens: acc = fma(d*dx, sum, acc), and with mins acc = fma(-(dmin*dx), msum, acc). What belongs to a token is loaded
 * once for both groups. */
INLINE void add_up(due *f, const scales *s, const int n, const bool two, const bool mins)
{
    UNROLL
    for (int t = 0; t < n; t++) {
        const vf dx = vf_set1(*(const float *)(const void *)f->d);
        vi x[4];
        vf r[2];
        UNROLL
        for (int j = 0; j < 4; j++)
            x[j] = broadcast4(f->s2 + 4 * j);
        UNROLL
        for (int h = 0; h < 2; h++) {
            if (h && !two)
                continue;
            const int32_t *lo = f->sum + 2 * C_TILE * h;
            vi v = vi_add(vi_load(lo), vi_sll(vi_load(lo + C_TILE), mins ? 3 : 8));
            r[h] = vf_fma(vf_mul(s[h].d, dx), vf_from_i(v), vf_load(f->acc + SPAN * VF_N * h));
            if (mins) {
                vi m = _mm512_madd_epi16(s[h].pair[0], x[0]);
                UNROLL
                for (int j = 1; j < 4; j++)
                    m = _mm512_dpwssd_epi32(m, s[h].pair[j], x[j]);
                r[h] = vf_fnma(vf_mul(s[h].dmin, dx), vf_from_i(m), r[h]);
            }
        }
        vf_store(f->acc, r[0]);
        if (two)
            vf_store(f->acc + SPAN * VF_N, r[1]);
        f->sum += 16;
        f->acc += VF_N;
        f->d += f->stride;
        f->s2 += f->stride;
    }
}

/* An address computed where it is used: kept, it ends in a vector register, and the way back from there is through the
 * port that add_up fills. */
INLINE void *here(const void *p, size_t off)
{
    uintptr_t at = (uintptr_t)p;
    __asm__ volatile("" : "+r"(at));
    return (void *)(at + off);
}

/* 64 elements of one digit of group h, from 64*k. */
INLINE void *digit(const digits *q, int h, bool high, int k)
{
    const size_t tile = 16 * sizeof(vi);
    return here(q, (size_t)h * sizeof *q + (high ? offsetof(digits, hi) : offsetof(digits, lo)) + (size_t)k * tile);
}

/* One tile, both groups: -> c[group][digit][token][row]. Meanwhile the 16 tokens of the tile before are added up, four
 * after each quarter of the products: those keep one of the two vector ports busy and wait for none of this. */
INLINE void multiply_256(const digits *q, const char *x, size_t stride, int32_t (*c)[2][C_TILE], due *before,
                         const scales *s, const bool two, const bool mins)
{
    _tile_zero(0);
    _tile_zero(1);
    if (two) {
        _tile_zero(2);
        _tile_zero(3);
    }
    memory_seen();
    UNROLL
    for (int k = 0; k < 4; k++) {
        _tile_loadd(4, here(x, (size_t)k * 64), stride);
        _tile_loadd(5, digit(q, 0, false, k), 64);
        _tile_dpbsud(0, 4, 5);
        _tile_loadd(6, digit(q, 0, true, k), 64);
        if (mins)
            _tile_dpbsud(1, 4, 6);
        else
            _tile_dpbssd(1, 4, 6);
        if (two) {
            _tile_loadd(7, digit(q, 1, false, k), 64);
            _tile_dpbsud(2, 4, 7);
            _tile_loadd(5, digit(q, 1, true, k), 64);
            if (mins)
                _tile_dpbsud(3, 4, 5);
            else
                _tile_dpbssd(3, 4, 5);
        }
        memory_seen();
        if (before)
            add_up(before, s, 4, two, mins);
    }
    memory_seen();
    _tile_stored(0, here(c, 0), 64);
    _tile_stored(1, here(c, sizeof **c), 64);
    if (two) {
        _tile_stored(2, here(c, sizeof *c), 64);
        _tile_stored(3, here(c, sizeof *c + sizeof **c), 64);
    }
    memory_seen();
}

/* One block of both groups against every token. Each tile but the last has 16 tokens, or there is but one. */
INLINE void block_256(amx_walk *w, const digits *q, int b, int lines, const bool two, const bool mins)
{
    _Alignas(64) int32_t c[2][2][2][C_TILE];
    const size_t stride = w->a->x_stride;
    const int tiles = (w->tokens + lines - 1) / lines;
    due f = {0};
    scales s[2];
    UNROLL
    for (int h = 0; h < 2; h++) {
        s[h].d = q[h].d;
        s[h].dmin = q[h].dmin;
        UNROLL
        for (int j = 0; j < 4; j++)
            s[h].pair[j] = q[h].pair[j];
    }
    for (int i = 0; i < tiles; i++) {
        const int start = tile_start(w, i, lines), skip = i * lines - start; /* tokens that were in the tile before */
        const char *x = token(w, start), *first = token(w, start + skip);
        if (i == 0)
            multiply_256(q, x + (size_t)b * 256, stride, c[0], NULL, s, two, mins);
        else
            multiply_256(q, x + (size_t)b * 256, stride, c[i % 2], &f, s, two, mins);
        f = (due){c[i % 2][0][0] + skip * 16, w->acc[0] + (start + skip) * VF_N, (const char *)(qn__q256_d(first, w->a->k) + b),
                  (const char *)(qn__q256_s2(first, w->a->k) + b * 8), stride};
    }
    for (int t = (tiles - 1) * lines; t < w->tokens; t++)
        add_up(&f, s, 1, two, mins);
}

INLINE void matmul_256(const qn_matmul *a, size_t bytes, digits_fn *take, const bool mins, const bool packed)
{
    digits q[2];
    amx_walk w;
    int lines = a->tokens < 16 ? a->tokens : 16;
    configure(lines, 64, 4, 1);
    for (int t0 = 0; t0 < a->tokens; t0 += SPAN)
        for (int g = 0; g < (a->rows + VF_N - 1) / VF_N; g += 2) {
            walk_begin(&w, a, g, t0, packed);
            if (w.tokens < lines)
                configure(lines = w.tokens, 64, 4, 1);
            for (int b = 0; b < a->k / 256; b++) {
                for (int h = 0; h < w.n_groups; h++) {
                    take(w.p[h], &q[h], packed);
                    walk_on(&w, h, bytes, packed);
                }
                if (w.n_groups == 2)
                    block_256(&w, q, b, lines, true, mins);
                else
                    block_256(&w, q, b, lines, false, mins);
            }
            walk_end(&w);
        }
    _tile_release();
}

/* few: so many tokens are done sooner without tiles */
#define TYPE_256(type, few, bytes, take, mins)                                                                         \
    void qn__amx_matmul_##type(const qn_matmul *a)                                                                     \
    {                                                                                                                  \
        if (a->tokens <= few)                                                                                          \
            qn__avx512_matmul_##type(a);                                                                               \
        else if (a->packed)                                                                                            \
            matmul_256(a, bytes, take, mins, true);                                                                    \
        else                                                                                                           \
            matmul_256(a, bytes, take, mins, false);                                                                   \
    }
TYPE_256(Q4_K, 8, 144, digits_q4_k, true)
TYPE_256(Q5_K, 8, 176, digits_q5_k, true)
TYPE_256(Q6_K, 31, 210, digits_q6_k, false)

/* ---- blocks of 32: 8 of them at a time, the weights signed ---- */

INLINE void unpack_q4_0_signed(rows_at p, panel *u, int blocks, const bool packed)
{
    unpack_q4_0(p, u, blocks, packed);
    for (int c = 0; c < 8 * blocks; c++)
        u->w[c] = _mm512_sub_epi8(u->w[c], _mm512_set1_epi8(8));
}

INLINE void unpack_q5_0_signed(rows_at p, panel *u, int blocks, const bool packed)
{
    unpack_q5_0(p, u, blocks, packed);
    for (int c = 0; c < 8 * blocks; c++)
        u->w[c] = _mm512_sub_epi8(u->w[c], _mm512_set1_epi8(16));
}

/* Scales of the blocks of both groups, out of their panels, so that they stay in registers. */
typedef struct scales_32 {
    vf d[2][8];
} scales_32;

/* n tokens, of `blocks` blocks from `first`: acc = fma(d*dx, sum, acc), block by block. */
INLINE void add_up_32(due *f, const scales_32 *s, const int n, const int first, const int blocks, const bool two)
{
    UNROLL
    for (int t = 0; t < n; t++) {
        vf r[2];
        UNROLL
        for (int h = 0; h < 2; h++)
            if (!h || two)
                r[h] = vf_load(f->acc + SPAN * VF_N * h);
        UNROLL
        for (int b = 0; b < blocks; b++) {
            const vf dx = vf_set1(((const float *)(const void *)f->d)[b]);
            UNROLL
            for (int h = 0; h < 2; h++)
                if (!h || two)
                    r[h] = vf_fma(vf_mul(s->d[h][first + b], dx), vf_from_i(vi_load(f->sum + (2 * b + h) * 16)), r[h]);
        }
        vf_store(f->acc, r[0]);
        if (two)
            vf_store(f->acc + SPAN * VF_N, r[1]);
        f->sum += 128;
        f->acc += VF_N;
        f->d += f->stride;
    }
}

/* Block b of the panels into tiles sum and sum2; activations in 6, weights in 7. */
#define PRODUCT(sum, h, b)                                                                                             \
    _tile_zero(sum);                                                                                                   \
    _tile_loadd(7, here(u, (size_t)(h) * sizeof *u + offsetof(panel, w) + (size_t)(b) * 8 * sizeof(vi)), 64);          \
    _tile_dpbssd(sum, 6, 7);
#define BLOCK(sum, sum2, b)                                                                                            \
    _tile_loadd(6, here(x, (size_t)(b) * 32), stride);                                                                 \
    PRODUCT(sum, 0, b)                                                                                                 \
    if (two) {                                                                                                         \
        PRODUCT(sum2, 1, b)                                                                                            \
    }                                                                                                                  \
    memory_seen();
#define STORE(sum, sum2, b)                                                                                            \
    _tile_stored(sum, here(c, (size_t)(b) * sizeof **c), sizeof *c);                                                           \
    if (two)                                                                                                           \
        _tile_stored(sum2, here(c, (size_t)(b) * sizeof **c + sizeof ***c), sizeof *c);                                         \
    memory_seen();
#define ADD_UP                                                                                                         \
    if (before) {                                                                                                      \
        add_up_32(before, s, 4, due_first, 4, two);                                                                    \
        memory_seen();                                                                                                 \
    }

/* Half of a panel, four blocks from `first`, 0 or 4, of one tile -> c[token][block][group][row]. Meanwhile the 16 tokens of
 * the half before are added up, four after each block's products. A product takes three times as long as it keeps the
 * unit busy, so sums are stored a block later. */
INLINE void multiply_32(const panel *u, const char *x, size_t stride, int32_t (*c)[4][2][16], due *before,
                        const scales_32 *s, const int first, const int due_first, const bool two)
{
    memory_seen();
    BLOCK(0, 1, first)
    ADD_UP
    BLOCK(2, 3, first + 1)
    ADD_UP
    STORE(0, 1, 0)
    BLOCK(4, 5, first + 2)
    ADD_UP
    STORE(2, 3, 1)
    BLOCK(0, 1, first + 3)
    ADD_UP
    STORE(4, 5, 2)
    STORE(0, 1, 3)
}

/* Panels of 8 blocks, or of 4 at the end of a row, against every token. Each tile but the last has 16 tokens, or there is but
 * one. */
INLINE void panels_32(amx_walk *w, const panel *u, int b, int lines, const int blocks, const bool two)
{
    _Alignas(64) int32_t c[2][16][4][2][16];
    const size_t stride = w->a->x_stride;
    const int tiles = (w->tokens + lines - 1) / lines, last = blocks - 4;
    due f = {0};
    scales_32 s;
    UNROLL
    for (int i = 0; i < blocks; i++) {
        s.d[0][i] = u[0].d[i];
        s.d[1][i] = u[two].d[i];
    }
    for (int i = 0; i < tiles; i++) {
        const int start = tile_start(w, i, lines), skip = i * lines - start; /* tokens that were in the tile before */
        const char *x = token(w, start) + (size_t)b * 32;
        float *acc = w->acc[0] + (start + skip) * VF_N;
        const char *d = (const char *)(qn__q32_d(token(w, start + skip), w->a->k) + b);
        int32_t(*to)[4][2][16] = c[last ? 0 : i % 2];
        if (i == 0)
            multiply_32(u, x, stride, to, NULL, &s, 0, last, two);
        else
            multiply_32(u, x, stride, to, &f, &s, 0, last, two);
        f = (due){to[skip][0][0], acc, d, NULL, stride};
        if (!last)
            continue;
        if (i == tiles - 1) {
            for (int t = i * lines; t < w->tokens; t++)
                add_up_32(&f, &s, 1, 0, 4, two);
            multiply_32(u, x, stride, c[1], NULL, &s, 4, 0, two);
        } else {
            multiply_32(u, x, stride, c[1], &f, &s, 4, 0, two);
        }
        f = (due){c[1][skip][0][0], acc, d + 4 * sizeof(float), NULL, stride};
    }
    for (int t = (tiles - 1) * lines; t < w->tokens; t++)
        add_up_32(&f, &s, 1, last, 4, two);
}

/* Fewer blocks, at the end of a row. */
INLINE void rest_32(amx_walk *w, const panel *u, int b, int blocks, int lines, const bool two)
{
    _Alignas(64) int32_t c[16][4][2][16];
    const size_t stride = w->a->x_stride;
    for (int i = 0; i * lines < w->tokens; i++) {
        const int start = tile_start(w, i, lines), skip = i * lines - start;
        const char *x = token(w, start) + (size_t)b * 32;
        for (int j = 0; j < blocks; j++) {
            const char *d = (const char *)(qn__q32_d(token(w, start + skip), w->a->k) + b + j);
            due f = {c[skip][0][0], w->acc[0] + (start + skip) * VF_N, d, NULL, stride};
            const scales_32 s = {.d = {{u[0].d[j]}, {u[two].d[j]}}};
            BLOCK(0, 1, j)
            STORE(0, 1, 0)
            for (int t = i * lines; t < start + lines; t++)
                add_up_32(&f, &s, 1, 0, 1, two);
        }
    }
}

/* One copy serves every type: the panels are alike. */
static void __attribute__((noinline)) parts_32(amx_walk *w, const panel *u, int b, int blocks, int lines)
{
    const bool two = w->n_groups == 2;
    if (blocks == 8 && two)
        panels_32(w, u, b, lines, 8, true);
    else if (blocks == 8)
        panels_32(w, u, b, lines, 8, false);
    else if (blocks == 4 && two) /* rows of 896 */
        panels_32(w, u, b, lines, 4, true);
    else if (two)
        rest_32(w, u, b, blocks, lines, true);
    else
        rest_32(w, u, b, blocks, lines, false);
}

INLINE void matmul_32(const qn_matmul *a, size_t bytes, unpack_fn *unpack, const bool packed)
{
    panel u[2];
    amx_walk w;
    int lines = a->tokens < 16 ? a->tokens : 16;
    configure(lines, 32, 6, 1);
    for (int t0 = 0; t0 < a->tokens; t0 += SPAN)
        for (int g = 0; g < (a->rows + VF_N - 1) / VF_N; g += 2) {
            walk_begin(&w, a, g, t0, packed);
            if (w.tokens < lines)
                configure(lines = w.tokens, 32, 6, 1);
            for (int first = 0; first < a->k / 32; first += 8) {
                const int blocks = a->k / 32 - first < 8 ? a->k / 32 - first : 8;
                for (int h = 0; h < w.n_groups; h++) {
                    unpack(w.p[h], &u[h], blocks, packed);
                    walk_on(&w, h, (size_t)blocks * bytes, packed);
                }
                parts_32(&w, u, first, blocks, lines);
            }
            walk_end(&w);
        }
    _tile_release();
}

#define TYPE_32(type, few, bytes, unpack)                                                                              \
    void qn__amx_matmul_##type(const qn_matmul *a)                                                                     \
    {                                                                                                                  \
        if (a->tokens <= few)                                                                                          \
            qn__avx512_matmul_##type(a);                                                                               \
        else if (a->packed)                                                                                            \
            matmul_32(a, bytes, unpack, true);                                                                         \
        else                                                                                                           \
            matmul_32(a, bytes, unpack, false);                                                                        \
    }
TYPE_32(Q8_0, 31, 34, unpack_q8_0)
TYPE_32(Q4_0, 31, 18, unpack_q4_0_signed)
TYPE_32(Q5_0, 31, 22, unpack_q5_0_signed)
