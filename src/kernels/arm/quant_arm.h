/* quant_arm.h - the matmul of quantised weights with two tokens or more, at either level; include a step header first.
 * The layouts and sums are those of ref/matmul_q32.c and ref/matmul_q256.c, the results equal theirs to the bit.
 *
 * Eight rows are taken 256 elements at a time: unpacked once to signed bytes,
 *
 *      w[chunk][8 vectors]      16 elements of 8 rows, as the level's step wants them
 *
 * and then every token of a tile is multiplied with them. A unit is the tokens that one vector of sums holds: V vectors
 * hold the sums of 8 rows and UNIT tokens, row i token j at [i*UNIT + j]. A last token without a partner is its own
 * partner, and what comes of that is not stored.
 *
 * Rows of weights come as they lie in the file, or packed (pack.h) in groups of eight: a field of n bytes at `off` of row
 * r then lies at p[0] + 8 * off + n * r, so a load takes a dword of four rows, and a group is one stream instead of eight.
 * What the file's form makes by turning rows into columns is there already. */
#ifndef QN_KERNELS_QUANT_ARM_H
#define QN_KERNELS_QUANT_ARM_H

#include "kernels/act.h"
#include "kernels/arm/arm.h"

enum { ROWS = 8, TOKEN_TILE = 64, FEW = 3 };

/* Tokens for which one after the other (one_token.h) takes fewer instructions than unpacking. */
INLINE bool few(const qn_matmul *a)
{
    return a->tokens <= (a->packed ? FEW : 1);
}

typedef struct panel {
    int8x16_t w[16][8];
    int32x4_t sc[16][V]; /* scales of sub-blocks */
    int32x4_t m[8][V];   /* minima of sub-blocks */
    float32x4_t d[8][V]; /* per block of 32, or d[0] of a block of 256 */
    float32x4_t dmin[V];
} panel;

typedef const unsigned char *const rows_at[ROWS];

/* Where the fields at off of a packed group begin. */
INLINE const unsigned char *packed_at(rows_at p, size_t off)
{
    return p[0] + ROWS * off;
}

/* The dword at off of rows 4h..4h+3 of a packed group. */
INLINE uint8x16_t packed_column(rows_at p, size_t off, const int h)
{
    return vld1q_u8(packed_at(p, off) + 16 * h);
}

/* One half float of each row, at off. */
INLINE vf row_halves(rows_at p, size_t off, const bool packed)
{
    uint16_t h[ROWS];
    if (packed)
        return vf_load_f16(packed_at(p, off));
    UNROLL
    for (int i = 0; i < ROWS; i++)
        memcpy(&h[i], p[i] + off, 2);
    return vf_load_f16(h);
}

/* 16 bytes of each row at off -> a chunk. */
INLINE void take(rows_at p, size_t off, uint8x16_t out[8], const bool packed)
{
    uint8x16_t z[8];
    UNROLL
    for (int i = 0; i < ROWS; i++)
        z[i] = packed ? packed_column(p, off + 4 * (size_t)(i / 2), i % 2) : vld1q_u8(p[i] + off);
    if (packed)
        arrange_columns(z, out);
    else
        arrange(z, out);
}

/* 16 bytes of four rows -> columns of dwords: lane r of out[c] = dword c of row r. */
INLINE void four_columns(const unsigned char *const p[4], size_t off, int32x4_t out[4])
{
    int32x4_t z[4];
    UNROLL
    for (int i = 0; i < 4; i++)
        z[i] = vreinterpretq_s32_u8(vld1q_u8(p[i] + off));
    qn__transpose(z, out);
}

/* The same of eight: out[h][c] lane r = dword c of row 4h + r. */
INLINE void columns(rows_at p, size_t off, int32x4_t out[2][4], const bool packed)
{
    UNROLL
    for (int h = 0; h < 2; h++) {
        if (!packed)
            four_columns(p + 4 * h, off, out[h]);
        UNROLL
        for (int c = 0; c < 4 && packed; c++)
            out[h][c] = vreinterpretq_s32_u8(packed_column(p, off + 4 * (size_t)c, h));
    }
}

INLINE int8x16_t low_nibbles(uint8x16_t q)
{
    return vreinterpretq_s8_u8(vandq_u8(q, vdupq_n_u8(15)));
}
INLINE int8x16_t high_nibbles(uint8x16_t q)
{
    return vreinterpretq_s8_u8(vshrq_n_u8(q, 4));
}

/* Bits 4..7 of top above the low, or the high, nibbles of q. */
INLINE int8x16_t above_low(uint8x16_t top, uint8x16_t q)
{
    return vreinterpretq_s8_u8(vbslq_u8(vdupq_n_u8(15), q, top));
}
INLINE int8x16_t above_high(uint8x16_t top, uint8x16_t q)
{
    return vreinterpretq_s8_u8(vsriq_n_u8(top, q, 4));
}

/* ---- blocks of 32 ---- */

INLINE void unpack_q8_0(rows_at p, panel *u, int blocks, const bool packed)
{
    for (int b = 0; b < blocks; b++) {
        size_t off = (size_t)b * 34;
        spread_f(row_halves(p, off, packed), u->d[b]);
        UNROLL
        for (int c = 0; c < 2; c++) {
            uint8x16_t q[8];
            take(p, off + 2 + 16 * (size_t)c, q, packed);
            UNROLL
            for (int i = 0; i < 8; i++)
                u->w[2 * b + c][i] = vreinterpretq_s8_u8(q[i]);
        }
    }
}

INLINE void unpack_q4_0(rows_at p, panel *u, int blocks, const bool packed)
{
    for (int b = 0; b < blocks; b++) {
        size_t off = (size_t)b * 18;
        uint8x16_t q[8];
        spread_f(row_halves(p, off, packed), u->d[b]);
        take(p, off + 2, q, packed);
        UNROLL
        for (int i = 0; i < 8; i++) {
            u->w[2 * b][i] = vsubq_s8(low_nibbles(q[i]), vdupq_n_s8(8));
            u->w[2 * b + 1][i] = vsubq_s8(high_nibbles(q[i]), vdupq_n_s8(8));
        }
    }
}

/* 16 nibbles and 16 bits -> nibble + 16 * bit - 16. */
INLINE int8x16_t join5(int8x16_t low, uint16_t bits)
{
    static const uint8_t each[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t b = vcombine_u8(vdup_n_u8((uint8_t)bits), vdup_n_u8((uint8_t)(bits >> 8)));
    uint8x16_t set = vtstq_u8(b, vld1q_u8(each));
    return vsubq_s8(low, vreinterpretq_s8_u8(vbicq_u8(vdupq_n_u8(16), set)));
}

/* A block of Q5_0. */
INLINE void row_q5_0(const unsigned char *p, int8x16_t out[2])
{
    uint16_t h[2];
    uint8x16_t q = vld1q_u8(p + 6);
    memcpy(h, p + 2, sizeof h);
    out[0] = join5(low_nibbles(q), h[0]);
    out[1] = join5(high_nibbles(q), h[1]);
}

/* The same of four packed rows: q their dword c of nibbles, missing their 32 bits, inverted -> elements 4c..4c+3 and 16 +
 * 4c... A set bit is 16 - 16, one that is missing 0xf0 above the nibble. */
INLINE void column_q5_0(uint8x16_t q, uint8x16_t missing, const int c, int8x16_t *low, int8x16_t *high)
{
    static const uint8_t lanes[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    static const uint8_t bits[2][16] = {{1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8},
                                        {16, 32, 64, 128, 16, 32, 64, 128, 16, 32, 64, 128, 16, 32, 64, 128}};
    uint8x16_t at = vld1q_u8(lanes), bit = vld1q_u8(bits[c % 2]);
    uint8x16_t l = vqtbl1q_u8(missing, vaddq_u8(at, vdupq_n_u8((uint8_t)(c / 2))));
    uint8x16_t h = vqtbl1q_u8(missing, vaddq_u8(at, vdupq_n_u8((uint8_t)(2 + c / 2))));
    *low = above_low(vtstq_u8(l, bit), q);
    *high = above_high(vtstq_u8(h, bit), q);
}

/* A block of Q5_0 of a packed group: its two chunks, by columns. */
INLINE void group_q5_0(rows_at p, size_t off, int8x16_t out[2][8])
{
    UNROLL
    for (int h = 0; h < 2; h++) {
        uint8x16_t missing = vmvnq_u8(packed_column(p, off + 2, h));
        UNROLL
        for (int c = 0; c < 4; c++)
            column_q5_0(packed_column(p, off + 6 + 4 * (size_t)c, h), missing, c, &out[0][2 * c + h], &out[1][2 * c + h]);
    }
}

INLINE void unpack_q5_0(rows_at p, panel *u, int blocks, const bool packed)
{
    for (int b = 0; b < blocks; b++) {
        size_t off = (size_t)b * 22;
        int8x16_t z[2][8];
        uint8x16_t rows[8], q[8];
        spread_f(row_halves(p, off, packed), u->d[b]);
        if (packed)
            group_q5_0(p, off, z);
        UNROLL
        for (int i = 0; i < ROWS && !packed; i++) {
            int8x16_t w[2];
            row_q5_0(p[i] + off, w);
            z[0][i] = w[0];
            z[1][i] = w[1];
        }
        UNROLL
        for (int c = 0; c < 2; c++) {
            UNROLL
            for (int i = 0; i < 8; i++)
                rows[i] = vreinterpretq_u8_s8(z[c][i]);
            if (packed)
                arrange_columns(rows, q);
            else
                arrange(rows, q);
            UNROLL
            for (int i = 0; i < 8; i++)
                u->w[2 * b + c][i] = vreinterpretq_s8_u8(q[i]);
        }
    }
}

/* ---- blocks of 256 ---- */

/* Four numbers of 8 rows, one in each byte of a lane -> out[0..4). */
INLINE void spread_bytes(const uint32x4_t rows[2], int32x4_t (*out)[V])
{
    UNROLL
    for (int j = 0; j < 4; j++) {
        int32x4_t v[2];
        UNROLL
        for (int h = 0; h < 2; h++)
            v[h] = vreinterpretq_s32_u32(vandq_u32(vshlq_u32(rows[h], vdupq_n_s32(-8 * j)), vdupq_n_u32(255)));
        spread(v, out[j]);
    }
}

/* The 16 bytes that Q4_K and Q5_K begin with, as columns of four rows: sc[0] byte j of lane r = scale j of row r, sc[1]
 * scale 4 + j; so m. */
INLINE void heads(const int32x4_t c[4], float32x4_t *d, float32x4_t *dmin, uint32x4_t sc[2], uint32x4_t m[2])
{
    const uint32x4_t b6 = vdupq_n_u32(0x3f3f3f3f), low = vdupq_n_u32(0x0f0f0f0f), top = vdupq_n_u32(0x30303030);
    uint32x4_t h = vreinterpretq_u32_s32(c[0]), s0 = vreinterpretq_u32_s32(c[1]), s1 = vreinterpretq_u32_s32(c[2]),
               s2 = vreinterpretq_u32_s32(c[3]);
    *d = vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(h)));
    *dmin = vcvt_f32_f16(vreinterpret_f16_u16(vshrn_n_u32(h, 16)));
    sc[0] = vandq_u32(s0, b6);
    m[0] = vandq_u32(s1, b6);
    sc[1] = vorrq_u32(vandq_u32(s2, low), vandq_u32(vshrq_n_u32(s0, 2), top));
    m[1] = vorrq_u32(vandq_u32(vshrq_n_u32(s2, 4), low), vandq_u32(vshrq_n_u32(s1, 2), top));
}

INLINE void unpack_head(rows_at p, panel *u, const bool packed)
{
    uint32x4_t sc[2][2], m[2][2];
    int32x4_t c[2][4];
    vf d, dmin;
    columns(p, 0, c, packed);
    heads(c[0], &d.a, &dmin.a, sc[0], m[0]);
    heads(c[1], &d.b, &dmin.b, sc[1], m[1]);
    spread_f(d, u->d[0]);
    spread_f(dmin, u->dmin);
    UNROLL
    for (int i = 0; i < 2; i++) {
        const uint32x4_t sc8[2] = {sc[0][i], sc[1][i]}, m8[2] = {m[0][i], m[1][i]};
        spread_bytes(sc8, u->sc + 4 * i);
        spread_bytes(m8, u->m + 4 * i);
    }
}

INLINE void unpack_q4_k(rows_at p, panel *u, int blocks, const bool packed)
{
    (void)blocks; /* 1 */
    unpack_head(p, u, packed);
    for (int j = 0; j < 8; j++) {
        int8x16_t(*w)[8] = u->w + j / 2 * 4 + j % 2;
        uint8x16_t q[8];
        take(p, 16 + (size_t)j * 16, q, packed);
        UNROLL
        for (int i = 0; i < 8; i++) {
            w[0][i] = low_nibbles(q[i]);
            w[2][i] = high_nibbles(q[i]);
        }
    }
}

INLINE void unpack_q5_k(rows_at p, panel *u, int blocks, const bool packed)
{
    (void)blocks; /* 1 */
    uint8x16_t h[2][8], bit = vdupq_n_u8(16);
    unpack_head(p, u, packed);
    take(p, 16, h[0], packed);
    take(p, 32, h[1], packed);
    for (int j = 0; j < 8; j++) { /* 16 bytes: half of the elements of sub-blocks e and e+1 */
        const int e = j / 2 * 2;
        int8x16_t(*w)[8] = u->w + j / 2 * 4 + j % 2;
        uint8x16_t q[8];
        take(p, 48 + (size_t)j * 16, q, packed);
        UNROLL
        for (int i = 0; i < 8; i++) {
            uint8x16_t even = vandq_u8(vshlq_u8(h[j % 2][i], vdupq_n_s8((int8_t)(4 - e))), bit);
            uint8x16_t odd = vandq_u8(vshlq_u8(h[j % 2][i], vdupq_n_s8((int8_t)(3 - e))), bit);
            w[0][i] = vorrq_s8(low_nibbles(q[i]), vreinterpretq_s8_u8(even));
            w[2][i] = vorrq_s8(high_nibbles(q[i]), vreinterpretq_s8_u8(odd));
        }
    }
}

/* Four bits and, two at 0x30, the others: less the offset. */
INLINE int8x16_t join6(int8x16_t low, uint8x16_t high)
{
    return vsubq_s8(vorrq_s8(low, vreinterpretq_s8_u8(vandq_u8(high, vdupq_n_u8(0x30)))), vdupq_n_s8(32));
}

INLINE void unpack_q6_k(rows_at p, panel *u, int blocks, const bool packed)
{
    (void)blocks; /* 1 */
    int32x4_t sc[2][4];
    spread_f(row_halves(p, 208, packed), u->d[0]);
    columns(p, 192, sc, packed);
    for (int j = 0; j < 16; j++) {
        int32x4_t left = vdupq_n_s32(24 - j % 4 * 8), v[2];
        UNROLL
        for (int h = 0; h < 2; h++)
            v[h] = vshrq_n_s32(vshlq_s32(sc[h][j / 4], left), 24);
        spread(v, u->sc[j]);
    }
    for (int half = 0; half < 2; half++)
        for (int c = 0; c < 2; c++) { /* 16 of the 32 elements of each quarter */
            int8x16_t(*w)[8] = u->w + half * 8 + c;
            uint8x16_t a[8], b[8], h[8];
            take(p, (size_t)(half * 64 + c * 16), a, packed);
            take(p, (size_t)(half * 64 + 32 + c * 16), b, packed);
            take(p, (size_t)(128 + half * 32 + c * 16), h, packed);
            UNROLL
            for (int i = 0; i < 8; i++) {
                w[0][i] = join6(low_nibbles(a[i]), vshlq_n_u8(h[i], 4));
                w[2][i] = join6(low_nibbles(b[i]), vshlq_n_u8(h[i], 2));
                w[4][i] = join6(high_nibbles(a[i]), h[i]);
                w[6][i] = join6(high_nibbles(b[i]), vshrq_n_u8(h[i], 2));
            }
        }
}

/* ---- the panel against U units, UNIT * x_stride bytes and V vectors of acc apart ---- */

typedef struct panel_dot {
    const panel *u;
    const char *x;
    size_t x_stride;
    int k, first, blocks; /* first: of the panel's blocks */
    float32x4_t *acc;
} panel_dot;

typedef void unpack_fn(rows_at p, panel *u, int blocks, const bool packed);
typedef void dot_fn(const panel_dot *p, const int U);

INLINE const char *unit_at(const panel_dot *p, int i)
{
    return p->x + (size_t)(i * UNIT) * p->x_stride;
}

INLINE void clear(int32x4_t (*s)[V], const int U)
{
    UNROLL
    for (int i = 0; i < U; i++) {
        UNROLL
        for (int v = 0; v < V; v++)
            s[i][v] = vdupq_n_s32(0);
    }
}

/* s += 16 elements, from element `at` of the row. */
INLINE void chunk(const panel_dot *p, int c, int at, int32x4_t (*s)[V], const int U)
{
    UNROLL
    for (int i = 0; i < U; i++)
        step(s[i], p->u->w[c], load_x(unit_at(p, i) + at, p->x_stride));
}

/* acc = fma(d*dx, sum, acc) */
INLINE void finish(const panel_dot *p, int i, const float *dx, const float32x4_t d[V], const int32x4_t sum[V])
{
    float32x4_t x = unit_f(dx, p->x_stride);
    UNROLL
    for (int v = 0; v < V; v++)
        p->acc[i * V + v] = vfmaq_f32(p->acc[i * V + v], vmulq_f32(d[v], x), vcvtq_f32_s32(sum[v]));
}

/* acc = fma(-(dmin*dx), msum, acc), where msum is the minima times the sums of 32 activations. */
INLINE void minima(const panel_dot *p, int i, const float *dx)
{
    int32x4_t sum[V];
    UNROLL
    for (int v = 0; v < V; v++)
        sum[v] = vdupq_n_s32(0);
    UNROLL
    for (int half = 0; half < 2; half++) {
        int32x4_t tokens[UNIT], s[4];
        UNROLL
        for (int j = 0; j < UNIT; j++) {
            const int16_t *s16 = qn__q256_s(unit_at(p, i) + (size_t)j * p->x_stride, p->k) + p->first * 16 + half * 8;
            tokens[j] = vpaddlq_s16(vld1q_s16(s16));
        }
        unit_i(tokens, s);
        UNROLL
        for (int j = 0; j < 4; j++) {
            UNROLL
            for (int v = 0; v < V; v++)
                sum[v] = vmlaq_s32(sum[v], p->u->m[half * 4 + j][v], s[j]);
        }
    }
    float32x4_t x = unit_f(dx, p->x_stride);
    UNROLL
    for (int v = 0; v < V; v++)
        p->acc[i * V + v] = vfmsq_f32(p->acc[i * V + v], vmulq_f32(p->u->dmin[v], x), vcvtq_f32_s32(sum[v]));
}

INLINE void dot_q32(const panel_dot *p, const int U)
{
    for (int b = 0; b < p->blocks; b++) {
        int32x4_t s[TILE_U][V];
        const int at = (p->first + b) * 32;
        clear(s, U);
        chunk(p, 2 * b, at, s, U);
        chunk(p, 2 * b + 1, at + 16, s, U);
        UNROLL
        for (int i = 0; i < U; i++)
            finish(p, i, qn__q32_d(unit_at(p, i), p->k) + p->first + b, p->u->d[b], s[i]);
    }
}

/* Sub-blocks of `chunks` times 16 elements. */
INLINE void dot_q256(const panel_dot *p, const int chunks, const bool has_min, const int U)
{
    int32x4_t sum[TILE_U][V];
    const int at = p->first * 256;
    clear(sum, U);
    for (int j = 0; j < 16 / chunks; j++) {
        int32x4_t s[TILE_U][V];
        clear(s, U);
        UNROLL
        for (int c = 0; c < chunks; c++)
            chunk(p, j * chunks + c, at + (j * chunks + c) * 16, s, U);
        UNROLL
        for (int i = 0; i < U; i++) {
            UNROLL
            for (int v = 0; v < V; v++)
                sum[i][v] = vmlaq_s32(sum[i][v], s[i][v], p->u->sc[j][v]);
        }
    }
    UNROLL
    for (int i = 0; i < U; i++) {
        const float *dx = qn__q256_d(unit_at(p, i), p->k) + p->first;
        finish(p, i, dx, p->u->d[0], sum[i]);
        if (has_min)
            minima(p, i, dx);
    }
}

INLINE void dot_q45_k(const panel_dot *p, const int U)
{
    dot_q256(p, 2, true, U);
}

INLINE void dot_q6_k(const panel_dot *p, const int U)
{
    dot_q256(p, 1, false, U);
}

/* ---- the walk ---- */

/* 256 elements of eight rows against nt tokens. */
INLINE void panel_tokens(panel_dot p, int nt, dot_fn *dot)
{
    int t = 0;
    for (; t + TILE_U * UNIT <= nt; t += TILE_U * UNIT, p.x += TILE_U * UNIT * p.x_stride, p.acc += TILE_U * V)
        dot(&p, TILE_U);
    for (; t + UNIT <= nt; t += UNIT, p.x += UNIT * p.x_stride, p.acc += V)
        dot(&p, 1);
    if (t < nt) {
        p.x_stride = 0;
        dot(&p, 1);
    }
}

/* Blocks of `size` elements in `bytes` bytes. Packed, lane i takes row 8*g + i. As the rows lie in the file, lane i takes
 * rows i*groups .. i*groups + groups-1 one after the other: streams that each run on through memory without a gap; lanes
 * whose rows are past the end repeat the last row and are not stored. */
INLINE void panels_begin(const qn_matmul *a, int g, int groups, const unsigned char *p[ROWS], const bool packed)
{
    p[0] = (const unsigned char *)a->w + (size_t)g * ROWS * a->w_stride;
    for (int i = 0; i < ROWS && !packed; i++) {
        int r = i * groups + g;
        p[i] = (const unsigned char *)a->w + (size_t)(r < a->rows ? r : a->rows - 1) * a->w_stride;
    }
}

INLINE void panels_end(const qn_matmul *a, int g, int groups, int t0, int nt, const float32x4_t *acc, const bool packed)
{
    for (int t = 0; t < nt; t++) {
        float out[ROWS * UNIT], *y = a->y + (size_t)(t0 + t) * a->y_stride + (size_t)g * (packed ? ROWS : 1);
        UNROLL
        for (int v = 0; v < V; v++)
            vst1q_f32(out + 4 * v, acc[t / UNIT * V + v]);
        UNROLL
        for (int i = 0; i < ROWS && packed; i++)
            y[i] = out[i * UNIT + t % UNIT];
        for (int i = 0; i < ROWS && !packed && i * groups + g < a->rows; i++)
            y[(size_t)i * (size_t)groups] = out[i * UNIT + t % UNIT];
    }
}

INLINE void matmul_panels_of(const qn_matmul *a, int size, size_t bytes, unpack_fn *unpack, dot_fn *dot,
                             const bool packed)
{
    float32x4_t acc[TOKEN_TILE / UNIT * V];
    panel u;
    const int n_blocks = a->k / size, per = 256 / size, groups = (a->rows + ROWS - 1) / ROWS;
    for (int g = 0; g < groups; g++)
        for (int t0 = 0; t0 < a->tokens; t0 += TOKEN_TILE) {
            int nt = a->tokens - t0 < TOKEN_TILE ? a->tokens - t0 : TOKEN_TILE;
            const unsigned char *p[ROWS];
            panels_begin(a, g, groups, p, packed);
            memset(acc, 0, (size_t)((nt + UNIT - 1) / UNIT * V) * sizeof *acc);
            for (int first = 0; first < n_blocks; first += per) {
                int blocks = n_blocks - first < per ? n_blocks - first : per;
                unpack(p, &u, blocks, packed);
                for (int i = 0; i < (packed ? 1 : ROWS); i++)
                    p[i] += (size_t)blocks * bytes * (packed ? ROWS : 1);
                panel_tokens((panel_dot){&u, (const char *)a->x + (size_t)t0 * a->x_stride, a->x_stride, a->k, first,
                                         blocks, acc},
                             nt, dot);
            }
            panels_end(a, g, groups, t0, nt, acc, packed);
        }
}

INLINE void matmul_panels(const qn_matmul *a, int size, size_t bytes, unpack_fn *unpack, dot_fn *dot)
{
    if (a->packed)
        matmul_panels_of(a, size, bytes, unpack, dot, true);
    else
        matmul_panels_of(a, size, bytes, unpack, dot, false);
}

#endif
