/* quant_vec.h - what the matmuls of quantised weights share. The layouts and sums are those of ref/matmul_q32.c and
 * ref/matmul_q256.c, the results equal theirs to the bit.
 *
 * Rows of weights lie across lanes. VF_N rows are taken 256 elements at a time: unpacked once to unsigned bytes, four
 * consecutive k of one row in a lane,
 *
 *      w[c] lane r = elements 4c..4c+3 of row r        c = 0..63
 *
 * and then every token of a tile is multiplied with them: its four activations are broadcast, so there is no horizontal
 * sum, and one accumulator vector holds VF_N outputs of that token. */
#ifndef QN_KERNELS_QUANT_VEC_H
#define QN_KERNELS_QUANT_VEC_H

#include "kernels/act.h"
#include "kernels/x86/x86.h"

enum {
    TOKEN_TILE = 64,
    AHEAD = 512, /* bytes of each row, prefetched */
    FAR = 16 << 10,
    NEAR = 4 << 10 /* packed: of the one stream, to the second and to the first level */
};

typedef struct panel {
    vi w[64];
    vi sc[16];  /* scales of sub-blocks, one int32 a lane */
    vi pair[8]; /* int16 pairs: 4 of minima for the sums of 32, or 8 of scales for the sums of 16 */
    vf d[8];    /* per block of 32, or d[0] of a block of 256 */
    vf dmin;
    vf m[8]; /* blocks of 32: minima, or the scales of their second halves */
} panel;

typedef const unsigned char *const rows_at[VF_N];

INLINE vi broadcast4(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return vi_set1(v);
}

/* Rows of weights come as they lie in the file, or packed (pack.h): a field of n bytes at `off` of row r then lies at
 * p[0] + VF_N * off + n * r. */
INLINE const unsigned char *packed_at(rows_at p, size_t off)
{
    return p[0] + VF_N * off;
}

/* The dword at off of each row. */
INLINE vi packed_column(rows_at p, size_t off)
{
    return vi_load((const int32_t *)(const void *)packed_at(p, off));
}

/* The four dwords at off. Few and far streams are what hardware prefetchers do not follow at the memory's speed. */
INLINE void columns(rows_at p, size_t off, vi out[4], const bool packed)
{
    if (!packed) {
        vi_columns(p, off, out);
        return;
    }
    UNROLL
    for (int c = 0; c < 4; c++) {
        out[c] = packed_column(p, off + 4 * (size_t)c);
        if (sizeof(vi) < 64 && c % 2 == 1)
            continue;
        _mm_prefetch((const char *)packed_at(p, off + 4 * (size_t)c) + FAR, _MM_HINT_T1);
        _mm_prefetch((const char *)packed_at(p, off + 4 * (size_t)c) + NEAR, _MM_HINT_T0);
    }
}

/* One half float of each row, at off. */
INLINE vf row_halves(rows_at p, size_t off, const bool packed)
{
    uint16_t h[VF_N];
    if (packed)
        return vf_load_f16(packed_at(p, off));
    UNROLL
    for (int i = 0; i < VF_N; i++)
        memcpy(&h[i], p[i] + off, 2);
    return vf_load_f16(h);
}

/* ---- blocks of 32 ---- */

INLINE void unpack_q8_0(rows_at p, panel *u, int blocks, const bool packed)
{
    for (int b = 0; b < blocks; b++) {
        size_t off = (size_t)b * 34;
        u->d[b] = row_halves(p, off, packed);
        columns(p, off + 2, u->w + 8 * b, packed);
        columns(p, off + 18, u->w + 8 * b + 4, packed);
    }
}

INLINE void unpack_q4_0(rows_at p, panel *u, int blocks, const bool packed)
{
    vi low = vi_set1(0x0f0f0f0f);
    for (int b = 0; b < blocks; b++) {
        size_t off = (size_t)b * 18;
        vi q[4];
        u->d[b] = row_halves(p, off, packed);
        columns(p, off + 2, q, packed);
        UNROLL
        for (int c = 0; c < 4; c++) {
            u->w[8 * b + c] = vi_and(q[c], low);
            u->w[8 * b + 4 + c] = vi_and(vi_srl(q[c], 4), low);
        }
    }
}

INLINE void unpack_q5_0(rows_at p, panel *u, int blocks, const bool packed)
{
    vi low = vi_set1(0x0f0f0f0f), top = vi_set1(0x10101010), four = vi_set1(15), spread = vi_set1(0x02040810);
    for (int b = 0; b < blocks; b++) {
        size_t off = (size_t)b * 22;
        vi head[4], q[4], h;
        if (packed) {
            u->d[b] = row_halves(p, off, packed);
            h = packed_column(p, off + 2);
        } else {
            vi_columns(p, off, head); /* d, h, and what of q shares their 16 bytes */
            u->d[b] = vf_from_half(head[0]);
            h = vi_or(vi_srl(head[0], 16), vi_sll(head[1], 16));
        }
        columns(p, off + 6, q, packed);
        UNROLL
        for (int c = 0; c < 4; c++) { /* 4 bits of h, multiplied: to bit 4 of 4 bytes */
            vi even = vi_and(vi_mullo(vi_and(vi_srl(h, 4 * c), four), spread), top);
            vi odd = vi_and(vi_mullo(vi_and(vi_srl(h, 4 * c + 16), four), spread), top);
            u->w[8 * b + c] = vi_or(vi_and(q[c], low), even);
            u->w[8 * b + 4 + c] = vi_or(vi_and(vi_srl(q[c], 4), low), odd);
        }
    }
}

/* ---- blocks of 256 ---- */

/* The 16 bytes that Q4_K and Q5_K begin with. */
INLINE void unpack_head(rows_at p, panel *u, const bool packed)
{
    vi h[4], b6 = vi_set1(0x3f3f3f3f), low = vi_set1(0x0f0f0f0f), top = vi_set1(0x30303030), sc[2], m[2];
    columns(p, 0, h, packed);
    u->d[0] = vf_from_half(h[0]);
    u->dmin = vf_from_half(vi_srl(h[0], 16));
    sc[0] = vi_and(h[1], b6);
    m[0] = vi_and(h[2], b6);
    sc[1] = vi_or(vi_and(h[3], low), vi_and(vi_srl(h[1], 2), top));
    m[1] = vi_or(vi_and(vi_srl(h[3], 4), low), vi_and(vi_srl(h[2], 2), top));
    UNROLL
    for (int i = 0; i < 2; i++) {
        u->sc[4 * i + 0] = vi_bytes(sc[i], 0, -1, SC_HIGH(0), -1);
        u->sc[4 * i + 1] = vi_bytes(sc[i], 1, -1, SC_HIGH(1), -1);
        u->sc[4 * i + 2] = vi_bytes(sc[i], 2, -1, SC_HIGH(2), -1);
        u->sc[4 * i + 3] = vi_bytes(sc[i], 3, -1, SC_HIGH(3), -1);
        u->pair[2 * i + 0] = vi_bytes(m[i], 0, -1, 1, -1);
        u->pair[2 * i + 1] = vi_bytes(m[i], 2, -1, 3, -1);
    }
}

INLINE void unpack_q4_k(rows_at p, panel *u, int blocks, const bool packed)
{
    (void)blocks; /* 1 */
    vi low = vi_set1(0x0f0f0f0f);
    unpack_head(p, u, packed);
    for (int j = 0; j < 8; j++) {
        vi q[4], *w = u->w + j / 2 * 16 + j % 2 * 4;
        columns(p, 16 + (size_t)j * 16, q, packed);
        UNROLL
        for (int c = 0; c < 4; c++) {
            w[c] = vi_and(q[c], low);
            w[c + 8] = vi_and(vi_srl(q[c], 4), low);
        }
    }
}

INLINE void unpack_q5_k(rows_at p, panel *u, int blocks, const bool packed)
{
    (void)blocks; /* 1 */
    vi low = vi_set1(0x0f0f0f0f), bit = vi_set1(0x10101010), h[8];
    unpack_head(p, u, packed);
    columns(p, 16, h, packed);
    columns(p, 32, h + 4, packed);
    UNROLL
    for (int c = 0; c < 8; c++) /* bit 0 of h to bit 4; from here on the shifts go right */
        h[c] =
            vi_or(vi_sll(vi_and(h[c], vi_set1(0x0f0f0f0f)), 4), vi_srl(vi_and(h[c], vi_set1((int32_t)0xf0f0f0f0)), 4));
    UNROLL
    for (int j = 0; j < 8; j++) { /* 16 bytes: half of the elements of sub-blocks e and e+1 */
        const int e = j / 2 * 2;
        vi q[4], *w = u->w + j / 2 * 16 + j % 2 * 4, *hh = h + j % 2 * 4;
        columns(p, 48 + (size_t)j * 16, q, packed);
        UNROLL
        for (int c = 0; c < 4; c++) {
            /* after the swap of nibbles: bits 0..3 lie at 4..7, bits 4..7 at 0..3 */
            vi even = e < 4 ? vi_srl(hh[c], e & 3) : vi_sll(hh[c], 4 - (e & 3));
            vi odd = e < 4 ? vi_srl(hh[c], (e & 3) + 1) : vi_sll(hh[c], 3 - (e & 3));
            w[c] = vi_or(vi_and(q[c], low), vi_and(even, bit));
            w[c + 8] = vi_or(vi_and(vi_srl(q[c], 4), low), vi_and(odd, bit));
        }
    }
}

INLINE void unpack_q6_k(rows_at p, panel *u, int blocks, const bool packed)
{
    (void)blocks; /* 1 */
    vi low = vi_set1(0x0f0f0f0f), two = vi_set1(0x30303030), sc[4];
    u->d[0] = row_halves(p, 208, packed);
    columns(p, 192, sc, packed);
    UNROLL
    for (int i = 0; i < 4; i++) {
        u->pair[2 * i] = vi_sra16(vi_bytes(sc[i], -1, 0, -1, 1), 8);
        u->pair[2 * i + 1] = vi_sra16(vi_bytes(sc[i], -1, 2, -1, 3), 8);
        u->sc[4 * i] = vi_sra(vi_sll(sc[i], 24), 24);
        u->sc[4 * i + 1] = vi_sra(vi_sll(sc[i], 16), 24);
        u->sc[4 * i + 2] = vi_sra(vi_sll(sc[i], 8), 24);
        u->sc[4 * i + 3] = vi_sra(sc[i], 24);
    }
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < 2; i++) { /* 16 of the 32 elements of each quarter */
            vi a[4], b[4], h[4], *w = u->w + half * 32 + i * 4;
            columns(p, (size_t)(half * 64 + i * 16), a, packed);
            columns(p, (size_t)(half * 64 + 32 + i * 16), b, packed);
            columns(p, (size_t)(128 + half * 32 + i * 16), h, packed);
            UNROLL
            for (int c = 0; c < 4; c++) {
                w[c] = vi_or(vi_and(a[c], low), vi_and(vi_sll(h[c], 4), two));
                w[c + 8] = vi_or(vi_and(b[c], low), vi_and(vi_sll(h[c], 2), two));
                w[c + 16] = vi_or(vi_and(vi_srl(a[c], 4), low), vi_and(h[c], two));
                w[c + 24] = vi_or(vi_and(vi_srl(b[c], 4), low), vi_and(vi_srl(h[c], 2), two));
            }
        }
}

/* ---- the walk ---- */

/* What a level brings: the panel against T tokens, x_stride bytes and VF_N accumulators apart. */
typedef struct panel_dot {
    const panel *u;
    const char *x;
    size_t x_stride;
    int k, first, blocks;
    float *acc;
} panel_dot;

typedef void unpack_fn(rows_at p, panel *u, int blocks, const bool packed);
typedef void dot_fn(const panel_dot *d, const int T);

/* Blocks of `size` elements in `bytes` bytes, 256 elements a panel. Packed, lane i takes row g*VF_N + i and a group is
 * one stream. As the rows lie in the file, lane i takes rows i*groups .. i*groups + groups-1 one after the other: VF_N
 * streams that each run on through memory without a gap, as the hardware's prefetchers like it; lanes whose rows are
 * past the end repeat the last row and are not stored. */
INLINE void panels_begin(const qn_matmul *a, int g, int groups, const unsigned char *p[VF_N], const bool packed)
{
    if (packed)
        p[0] = (const unsigned char *)a->w + (size_t)g * VF_N * a->w_stride;
    for (int i = 0; i < VF_N && !packed; i++) {
        int r = i * groups + g;
        p[i] = (const unsigned char *)a->w + (size_t)(r < a->rows ? r : a->rows - 1) * a->w_stride;
    }
}

INLINE void panels_on(const unsigned char *p[VF_N], size_t bytes, bool prefetch, const bool packed)
{
    if (packed)
        p[0] += VF_N * bytes;
    for (int i = 0; i < VF_N && !packed; i++) {
        for (size_t o = AHEAD; o < AHEAD + bytes && prefetch; o += 64)
            _mm_prefetch((const char *)p[i] + o, _MM_HINT_T1);
        p[i] += bytes;
    }
}

INLINE void panels_end(const qn_matmul *a, int g, int groups, int t0, int nt, const float *acc, const bool packed)
{
    for (int t = 0; t < nt; t++) {
        float *y = a->y + (size_t)(t0 + t) * a->y_stride + (size_t)g * (packed ? VF_N : 1);
        if (packed)
            vf_store(y, vf_load(acc + t * VF_N));
        for (int i = 0; i < VF_N && !packed && i * groups + g < a->rows; i++)
            y[(size_t)i * (size_t)groups] = acc[t * VF_N + i];
    }
}

INLINE void matmul_panels_of(const qn_matmul *a, int size, size_t bytes, unpack_fn *unpack, dot_fn *dot,
                             const bool packed)
{
    _Alignas(64) float acc[TOKEN_TILE * VF_N];
    panel u;
    const int n_blocks = a->k / size, per = 256 / size, groups = (a->rows + VF_N - 1) / VF_N;
    for (int g = 0; g < groups; g++)
        for (int t0 = 0; t0 < a->tokens; t0 += TOKEN_TILE) {
            int nt = a->tokens - t0 < TOKEN_TILE ? a->tokens - t0 : TOKEN_TILE;
            const unsigned char *p[VF_N];
            panels_begin(a, g, groups, p, packed);
            memset(acc, 0, (size_t)nt * VF_N * sizeof *acc);
            for (int first = 0; first < n_blocks; first += per) {
                int blocks = n_blocks - first < per ? n_blocks - first : per, t = 0;
                unpack(p, &u, blocks, packed);
                panels_on(p, (size_t)blocks * bytes, t0 == 0, packed);
                panel_dot d = {&u, (const char *)a->x + (size_t)t0 * a->x_stride, a->x_stride, a->k, first, blocks,
                               acc};
                for (; t + TILE_T <= nt; t += TILE_T, d.x += TILE_T * a->x_stride, d.acc += TILE_T * VF_N)
                    dot(&d, TILE_T);
                for (; TILE_T > 4 && t + 4 <= nt; t += 4, d.x += 4 * a->x_stride, d.acc += 4 * VF_N)
                    dot(&d, 4);
                for (; TILE_T > 2 && t + 2 <= nt; t += 2, d.x += 2 * a->x_stride, d.acc += 2 * VF_N)
                    dot(&d, 2);
                for (; t < nt; t++, d.x += a->x_stride, d.acc += VF_N)
                    dot(&d, 1);
            }
            panels_end(a, g, groups, t0, nt, acc, packed);
        }
}

/* Of a type that is never packed. */
INLINE void matmul_rows(const qn_matmul *a, int size, size_t bytes, unpack_fn *unpack, dot_fn *dot)
{
    matmul_panels_of(a, size, bytes, unpack, dot, false);
}

INLINE void matmul_panels(const qn_matmul *a, int size, size_t bytes, unpack_fn *unpack, dot_fn *dot)
{
    if (a->packed)
        matmul_panels_of(a, size, bytes, unpack, dot, true);
    else
        matmul_panels_of(a, size, bytes, unpack, dot, false);
}

#endif
