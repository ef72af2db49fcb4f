/* quant_more_vec.h - the panels (quant_vec.h) of the types with minima, tables of values, ternary digits and odd
 * scales. The integers are those of ref/matmul_q32_more.c and ref/ints.c, made unsigned where a level multiplies
 * unsigned bytes with signed ones. Codebook types are in iq_vec.h. */
#ifndef QN_KERNELS_QUANT_MORE_VEC_H
#define QN_KERNELS_QUANT_MORE_VEC_H

#include "kernels/ref/iq_tables.h"
#include "kernels/x86/quant_vec.h"

/* Scales as the level's 16-bit multiplication wants them: in both halves of a lane, or in the lower one alone. */
INLINE vi scale16(vi sc)
{
    sc = vi_and(sc, vi_set1(0xffff));
    return SC_HIGH(0) < 0 ? sc : vi_or(sc, vi_sll(sc, 16));
}

/* int16 pairs of two vectors of small integers. */
INLINE vi pair16(vi a, vi b)
{
    return vi_or(vi_and(a, vi_set1(0xffff)), vi_sll(b, 16));
}

/* ---- blocks of 32 ---- */

INLINE void nibbles(const vi q[4], vi *w)
{
    vi low = vi_set1(0x0f0f0f0f);
    UNROLL
    for (int c = 0; c < 4; c++) {
        w[c] = vi_and(q[c], low);
        w[c + 4] = vi_and(vi_srl(q[c], 4), low);
    }
}

/* Bits 0..3 of each lane, each to bit `bit` of a byte. */
INLINE vi spread4(vi four, const int bit)
{
    return vi_and(vi_mullo(vi_and(four, vi_set1(15)), vi_set1(0x00204081 << bit)), vi_set1(0x01010101 << bit));
}

INLINE void unpack_q4_1(rows_at p, panel *u, int blocks, const bool packed)
{
    for (int b = 0; b < blocks; b++) {
        size_t off = (size_t)b * 20;
        vi head[4], q[4];
        columns(p, off, head, packed);
        columns(p, off + 4, q, packed);
        u->d[b] = vf_from_half(head[0]);
        u->m[b] = vf_from_half(vi_srl(head[0], 16));
        nibbles(q, u->w + 8 * b);
    }
}

INLINE void unpack_q5_1(rows_at p, panel *u, int blocks, const bool packed)
{
    for (int b = 0; b < blocks; b++) {
        size_t off = (size_t)b * 24;
        vi head[4], q[4], *w = u->w + 8 * b;
        columns(p, off, head, packed);
        columns(p, off + 8, q, packed);
        u->d[b] = vf_from_half(head[0]);
        u->m[b] = vf_from_half(vi_srl(head[0], 16));
        nibbles(q, w);
        UNROLL
        for (int c = 0; c < 8; c++)
            w[c] = vi_or(w[c], spread4(vi_srl(head[1], 4 * c), 4));
    }
}

/* Nibbles are indices into 16 values. */
INLINE void look_up(const vi q[4], vi *w, const int8_t table[16])
{
    nibbles(q, w);
    UNROLL
    for (int c = 0; c < 8; c++)
        w[c] = vi_lookup(table, w[c]);
}

INLINE void unpack_iq4_nl(rows_at p, panel *u, int blocks, const bool packed)
{
    for (int b = 0; b < blocks; b++) {
        vi q[4];
        u->d[b] = row_halves(p, (size_t)b * 18, packed);
        columns(p, (size_t)b * 18 + 2, q, packed);
        look_up(q, u->w + 8 * b, qn__iq4_values);
    }
}

/* 16 more than the values: 4..28. */
INLINE void unpack_mxfp4(rows_at p, panel *u, int blocks, const bool packed)
{
    for (int b = 0; b < blocks; b++) {
        size_t off = (size_t)b * 17;
        vi q[4], *w = u->w + 8 * b, sixteen = vi_set1(0x10101010);
        int32_t e[VF_N];
        UNROLL
        for (int i = 0; i < VF_N; i++)
            e[i] = (packed ? packed_at(p, off)[i] : p[i][off]) - 128;
        u->d[b] = vf_scale2(vf_set1(1.0f), vf_from_i(vi_load(e)));
        columns(p, off + 1, q, packed);
        look_up(q, w, qn__fp4_values);
        UNROLL
        for (int c = 0; c < 8; c++)
            w[c] = vi_add8(w[c], sixteen);
    }
}

/* d[b], m[b]: scales of the halves of the b-th 32 elements. Signed. */
INLINE void unpack_nvfp4(rows_at p, panel *u, int blocks, const bool packed)
{
    for (int b = 0; b < blocks; b++) {
        size_t off = (size_t)b * 36;
        vi head[4], q[8], low = vi_set1(0x0f0f0f0f), *w = u->w + 16 * b;
        columns(p, off, head, packed);
        columns(p, off + 4, q, packed);
        columns(p, off + 20, q + 4, packed);
        vi s[4] = {head[0], vi_srl(head[0], 8), vi_srl(head[0], 16), vi_srl(head[0], 24)};
        UNROLL
        for (int i = 0; i < 4; i++) { /* as a half float it is 2^7 too small; 0x7f (then 240) stands for zero */
            vf d = vf_mul(vf_from_half(vi_sll(vi_and(s[i], vi_set1(0x7f)), 7)), vf_set1(128.0f));
            d = vf_eq_select(d, vf_set1(240.0f), vf_zero(), d);
            *(i % 2 ? &u->m[2 * b + i / 2] : &u->d[2 * b + i / 2]) = d;
            UNROLL
            for (int c = 0; c < 2; c++) {
                w[4 * i + c] = vi_lookup(qn__fp4_values, vi_and(q[2 * i + c], low));
                w[4 * i + 2 + c] = vi_lookup(qn__fp4_values, vi_and(vi_srl(q[2 * i + c], 4), low));
            }
        }
    }
}

/* One more than the values: 0 or 2. */
INLINE void unpack_q1_0(rows_at p, panel *u, int blocks, const bool packed)
{
    for (int b = 0; b < blocks; b++) {
        size_t off = (size_t)b * 18;
        vi q[4];
        vf d = row_halves(p, off, packed);
        columns(p, off + 2, q, packed);
        UNROLL
        for (int g = 0; g < 4; g++) {
            u->d[4 * b + g] = d;
            UNROLL
            for (int c = 0; c < 8; c++)
                u->w[32 * b + 8 * g + c] = spread4(vi_srl(q[g], 4 * c), 1);
        }
    }
}

/* One more than the values: 0..3. */
INLINE void unpack_q2_0(rows_at p, panel *u, int blocks, const bool packed)
{
    for (int b = 0; b < blocks; b++) {
        size_t off = (size_t)b * 18;
        vi q[4];
        u->d[2 * b] = u->d[2 * b + 1] = row_halves(p, off, packed);
        columns(p, off + 2, q, packed);
        UNROLL
        for (int c = 0; c < 16; c++) { /* a byte is four elements */
            vi t = vi_srl(q[c / 4], 8 * (c % 4));
            t = vi_or(vi_and(t, vi_set1(0x0f)), vi_sll(vi_and(t, vi_set1(0xf0)), 12));
            u->w[16 * b + c] = vi_and(vi_or(t, vi_sll(t, 6)), vi_set1(0x03030303));
        }
    }
}

/* ---- blocks of 256 ---- */

/* 64 bytes at off: elements of two bits as Q2_K, Q3_K and TQ2_0 lay them out. */
INLINE void two_bits(rows_at p, size_t off, panel *u, const bool packed)
{
    vi three = vi_set1(0x03030303);
    for (int i = 0; i < 4; i++) { /* 16 bytes: half of the elements of four runs of 32 */
        vi q[4], *w = u->w + i / 2 * 32 + i % 2 * 4;
        columns(p, off + (size_t)i * 16, q, packed);
        UNROLL
        for (int c = 0; c < 4; c++) {
            w[c] = vi_and(q[c], three);
            w[c + 8] = vi_and(vi_srl(q[c], 2), three);
            w[c + 16] = vi_and(vi_srl(q[c], 4), three);
            w[c + 24] = vi_and(vi_srl(q[c], 6), three);
        }
    }
}

INLINE void unpack_q2_k(rows_at p, panel *u, int blocks, const bool packed)
{
    (void)blocks; /* 1 */
    vi s[4], end[4], low = vi_set1(0x0f0f0f0f);
    columns(p, 68, end, packed);
    u->d[0] = vf_from_half(end[3]);
    u->dmin = vf_from_half(vi_srl(end[3], 16));
    columns(p, 0, s, packed);
    UNROLL
    for (int i = 0; i < 4; i++) {
        vi sc = vi_and(s[i], low), m = vi_and(vi_srl(s[i], 4), low);
        u->sc[4 * i + 0] = vi_bytes(sc, 0, -1, SC_HIGH(0), -1);
        u->sc[4 * i + 1] = vi_bytes(sc, 1, -1, SC_HIGH(1), -1);
        u->sc[4 * i + 2] = vi_bytes(sc, 2, -1, SC_HIGH(2), -1);
        u->sc[4 * i + 3] = vi_bytes(sc, 3, -1, SC_HIGH(3), -1);
        u->pair[2 * i] = vi_bytes(m, 0, -1, 1, -1);
        u->pair[2 * i + 1] = vi_bytes(m, 2, -1, 3, -1);
    }
    two_bits(p, 16, u, packed);
}

/* Four more than the values: 0..7. */
INLINE void unpack_q3_k(rows_at p, panel *u, int blocks, const bool packed)
{
    (void)blocks; /* 1 */
    vi s[4], h[8], low = vi_set1(0x0f0f0f0f), top = vi_set1(0x30303030), four = vi_set1(0x04040404), sc[4];
    u->d[0] = row_halves(p, 108, packed);
    columns(p, 92, s, packed);
    sc[0] = vi_or(vi_and(s[1], low), vi_and(vi_sll(s[3], 4), top));
    sc[1] = vi_or(vi_and(s[2], low), vi_and(vi_sll(s[3], 2), top));
    sc[2] = vi_or(vi_and(vi_srl(s[1], 4), low), vi_and(s[3], top));
    sc[3] = vi_or(vi_and(vi_srl(s[2], 4), low), vi_and(vi_srl(s[3], 2), top));
    UNROLL
    for (int i = 0; i < 4; i++) {
        vi v[4] = {vi_bytes(sc[i], 0, -1, -1, -1), vi_bytes(sc[i], 1, -1, -1, -1), vi_bytes(sc[i], 2, -1, -1, -1),
                   vi_bytes(sc[i], 3, -1, -1, -1)};
        UNROLL
        for (int j = 0; j < 4; j++) {
            v[j] = vi_sub(v[j], vi_set1(32));
            u->sc[4 * i + j] = scale16(v[j]);
        }
        u->pair[2 * i] = pair16(v[0], v[1]);
        u->pair[2 * i + 1] = pair16(v[2], v[3]);
    }
    two_bits(p, 32, u, packed);
    columns(p, 0, h, packed);
    columns(p, 16, h + 4, packed);
    UNROLL
    for (int c = 0; c < 8; c++) {
        UNROLL
        for (int g = 0; g < 8; g++) { /* bit g of h is bit 2 of the element in run g */
            vi bit = g < 2 ? vi_sll(h[c], 2 - (g & 1)) : vi_srl(h[c], (g - 2) & 7);
            u->w[8 * g + c] = vi_or(u->w[8 * g + c], vi_and(bit, four));
        }
    }
}

/* Scales in sc[0..7], for 32 elements each. Signed. */
INLINE void unpack_iq4_xs(rows_at p, panel *u, int blocks, const bool packed)
{
    (void)blocks; /* 1 */
    vi h[4];
    columns(p, 0, h, packed);
    u->d[0] = vf_from_half(h[0]);
    UNROLL
    for (int g = 0; g < 8; g++) {
        vi low = vi_and(vi_srl(h[1], 4 * g), vi_set1(15)), high = vi_and(vi_srl(h[0], 16 + 2 * g), vi_set1(3));
        vi sc = vi_sub(vi_or(low, vi_sll(high, 4)), vi_set1(32));
        u->sc[g] = sc;
        u->pair[g] = pair16(sc, sc);
    }
    for (int g = 0; g < 8; g++) {
        vi q[4];
        columns(p, 8 + (size_t)g * 16, q, packed);
        look_up(q, u->w + 8 * g, qn__iq4_values);
    }
}

/* One more than the values: 0..3; every scale is 1. */
INLINE void unpack_tq2_0(rows_at p, panel *u, int blocks, const bool packed)
{
    (void)blocks; /* 1 */
    u->d[0] = row_halves(p, 64, packed);
    UNROLL
    for (int j = 0; j < 16; j++)
        u->sc[j] = scale16(vi_set1(1));
    UNROLL
    for (int j = 0; j < 8; j++)
        u->pair[j] = vi_set1(0x00010001);
    two_bits(p, 0, u, packed);
}

#endif
