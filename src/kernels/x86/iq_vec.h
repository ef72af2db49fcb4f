/* iq_vec.h - panels (quant_vec.h) of the codebook types and TQ1_0. Indices differ from row to row, so a row is expanded
 * by itself, 32 elements a step, and VF_N rows are then transposed:
 *
 *   row -> u8 v[256], 64 more than the values of ref/ints.c (so 2..126), i8 sc[16], d
 *
 * An entry of 8 lanes of 2 bits: every byte of the output takes the byte of the entry in which its lane lies and keeps
 * two bits of it, in place; what was high nibble is brought low, and a table of 16 knows both places. */
#ifndef QN_KERNELS_IQ_VEC_H
#define QN_KERNELS_IQ_VEC_H

#include "kernels/f16.h"
#include "kernels/ref/iq_tables.h"
#include "kernels/x86/quant_vec.h"

typedef float row_fn(const unsigned char *w, uint8_t *v, int8_t *sc);

INLINE uint16_t le16(const unsigned char *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

INLINE uint32_t le32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

INLINE float half_of(const unsigned char *p)
{
    return _cvtsh_ss(le16(p));
}

INLINE __m256i both(__m128i v)
{
    return _mm256_broadcastsi128_si256(v);
}

/* Byte i = byte i / 8 of x: of four sets of sign bits, for 32 elements. Elements with their bit set are negated: bytes
 * 0xff there. */
INLINE __m256i sign_mask(uint32_t signs)
{
    __m256i which = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    __m256i bits = _mm256_set1_epi64x((int64_t)0x8040201008040201u);
    __m256i s = _mm256_shuffle_epi8(_mm256_set1_epi32((int32_t)signs), which);
    return _mm256_cmpeq_epi8(_mm256_and_si256(s, bits), bits);
}

INLINE __m256i biased(__m256i v, __m256i negative)
{
    v = _mm256_sub_epi8(_mm256_xor_si256(v, negative), negative);
    return _mm256_add_epi8(v, _mm256_set1_epi8(64));
}

/* Four entries of 8 lanes of 2 bits -> the values of a table (see above: a b c . b . . . c). */
INLINE __m256i lanes2(uint64_t entries, int a, int b, int c)
{
    __m256i which =
        _mm256_setr_epi32(0, 0x01010101, 0x02020202, 0x03030303, 0x04040404, 0x05050505, 0x06060606, 0x07070707);
    __m256i t = _mm256_shuffle_epi8(_mm256_set1_epi64x((int64_t)entries), which);
    t = _mm256_and_si256(t, _mm256_set1_epi32((int32_t)0xc0300c03));
    t = _mm256_and_si256(_mm256_or_si256(t, _mm256_srli_epi16(t, 4)), _mm256_set1_epi8(0x0f));
    const char x = (char)a, y = (char)b, z = (char)c;
    return _mm256_shuffle_epi8(both(_mm_setr_epi8(x, y, z, 0, y, 0, 0, 0, z, 0, 0, 0, 0, 0, 0, 0)), t);
}

/* Eight entries of 4 lanes of 3 bits. */
INLINE __m256i lanes3(__m128i entries, __m128i values)
{
    __m256i x = _mm256_cvtepu16_epi32(entries);
    __m256i a = _mm256_and_si256(x, _mm256_set1_epi32(7));
    __m256i b = _mm256_and_si256(_mm256_slli_epi32(x, 5), _mm256_set1_epi32(7 << 8));
    __m256i c = _mm256_and_si256(_mm256_slli_epi32(x, 10), _mm256_set1_epi32(7 << 16));
    __m256i d = _mm256_and_si256(_mm256_slli_epi32(x, 15), _mm256_set1_epi32(7 << 24));
    return _mm256_shuffle_epi8(both(values), _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d)));
}

INLINE void put(uint8_t *v, __m256i x)
{
    _mm256_storeu_si256((__m256i *)(void *)v, x);
}

INLINE uint64_t four(const uint16_t *grid, unsigned a, unsigned b, unsigned c, unsigned d)
{
    return grid[a] | (uint64_t)grid[b] << 16 | (uint64_t)grid[c] << 32 | (uint64_t)grid[d] << 48;
}

INLINE __m128i eight(const uint16_t *grid, const unsigned i[8])
{
    __m128i e = _mm_cvtsi32_si128(grid[i[0]]);
    e = _mm_insert_epi16(e, grid[i[1]], 1);
    e = _mm_insert_epi16(e, grid[i[2]], 2);
    e = _mm_insert_epi16(e, grid[i[3]], 3);
    e = _mm_insert_epi16(e, grid[i[4]], 4);
    e = _mm_insert_epi16(e, grid[i[5]], 5);
    e = _mm_insert_epi16(e, grid[i[6]], 6);
    return _mm_insert_epi16(e, grid[i[7]], 7);
}

/* Four sets of seven sign bits, each made eight. */
INLINE uint32_t all_signs(uint32_t word)
{
    uint32_t s = (word & 0x7f) | (word & 0x3f80) << 1 | (word & 0x1fc000) << 2 | (word & 0xfe00000) << 3;
    uint32_t odd = s ^ s >> 4;
    odd ^= odd >> 2;
    odd ^= odd >> 1;
    return s | (odd & 0x01010101) << 7;
}

/* 16 odd scales from 16 nibbles. */
INLINE void odd_scales16(const unsigned char *p, int8_t *sc)
{
    __m128i x = _mm_loadl_epi64((const __m128i *)(const void *)p), low = _mm_set1_epi8(15);
    x = _mm_unpacklo_epi8(_mm_and_si128(x, low), _mm_and_si128(_mm_srli_epi16(x, 4), low));
    x = _mm_add_epi8(_mm_add_epi8(x, x), _mm_set1_epi8(1));
    _mm_storeu_si128((__m128i *)(void *)sc, x);
}

INLINE float row_iq2_xxs(const unsigned char *w, uint8_t *v, int8_t *sc)
{
    for (int g = 0; g < 8; g++) {
        const unsigned char *q = w + 2 + 8 * g;
        uint32_t word = le32(q + 4);
        sc[2 * g] = sc[2 * g + 1] = (int8_t)(1 + 2 * (word >> 28));
        put(v + 32 * g,
            biased(lanes2(four(qn__iq2xxs_grid, q[0], q[1], q[2], q[3]), 8, 25, 43), sign_mask(all_signs(word))));
    }
    return half_of(w) * 0.125f;
}

INLINE float row_iq2_xs(const unsigned char *w, uint8_t *v, int8_t *sc)
{
    odd_scales16(w + 66, sc);
    for (int g = 0; g < 8; g++) {
        unsigned q[4];
        for (int l = 0; l < 4; l++)
            q[l] = le16(w + 2 + 8 * g + 2 * l);
        uint32_t seven = q[0] >> 9 | (q[1] >> 9) << 7 | (q[2] >> 9) << 14 | (q[3] >> 9) << 21;
        put(v + 32 * g, biased(lanes2(four(qn__iq2xs_grid, q[0] & 511, q[1] & 511, q[2] & 511, q[3] & 511), 8, 25, 43),
                               sign_mask(all_signs(seven))));
    }
    return half_of(w) * 0.125f;
}

INLINE float row_iq2_s(const unsigned char *w, uint8_t *v, int8_t *sc)
{
    odd_scales16(w + 74, sc);
    for (int g = 0; g < 8; g++) {
        const unsigned char *q = w + 2 + 4 * g;
        unsigned h = w[66 + g];
        uint64_t e =
            four(qn__iq2s_grid, q[0] | (h & 3) << 8, q[1] | (h & 12) << 6, q[2] | (h & 48) << 4, q[3] | (h & 192) << 2);
        put(v + 32 * g, biased(lanes2(e, 8, 25, 43), sign_mask(le32(w + 34 + 4 * g))));
    }
    return half_of(w) * 0.125f;
}

INLINE float row_iq3_xxs(const unsigned char *w, uint8_t *v, int8_t *sc)
{
    __m128i values = _mm_setr_epi8(4, 12, 20, 28, 36, 44, 52, 62, 0, 0, 0, 0, 0, 0, 0, 0);
    for (int g = 0; g < 8; g++) {
        uint32_t word = le32(w + 66 + 4 * g);
        unsigned q[8];
        sc[2 * g] = sc[2 * g + 1] = (int8_t)(1 + 2 * (word >> 28));
        UNROLL
        for (int l = 0; l < 8; l++)
            q[l] = w[2 + 8 * g + l];
        put(v + 32 * g, biased(lanes3(eight(qn__iq3xxs_grid, q), values), sign_mask(all_signs(word))));
    }
    return half_of(w) * 0.25f;
}

INLINE float row_iq3_s(const unsigned char *w, uint8_t *v, int8_t *sc)
{
    __m128i values = _mm_setr_epi8(1, 3, 5, 7, 9, 11, 13, 15, 0, 0, 0, 0, 0, 0, 0, 0);
    for (int g = 0; g < 8; g++) {
        unsigned q[8];
        sc[2 * g] = sc[2 * g + 1] = (int8_t)(1 + 2 * (w[106 + g / 2] >> (4 * (g % 2)) & 15));
        UNROLL
        for (int l = 0; l < 8; l++)
            q[l] = w[2 + 8 * g + l] | ((unsigned)w[66 + g] << (8 - l) & 256);
        put(v + 32 * g, biased(lanes3(eight(qn__iq3s_grid, q), values), sign_mask(le32(w + 74 + 4 * g))));
    }
    return half_of(w);
}

INLINE float row_iq1_s(const unsigned char *w, uint8_t *v, int8_t *sc)
{
    for (int g = 0; g < 8; g++) {
        const unsigned char *q = w + 2 + 4 * g;
        unsigned h = le16(w + 34 + 2 * g);
        uint64_t e = four(qn__iq1s_grid, q[0] | (h & 7) << 8, q[1] | (h & 0x38) << 5, q[2] | (h & 0x1c0) << 2,
                          q[3] | (h & 0xe00) >> 1);
        sc[2 * g] = sc[2 * g + 1] = (int8_t)(1 + 2 * (h >> 12 & 7));
        put(v + 32 * g, _mm256_add_epi8(lanes2(e, 56, 64, 72), _mm256_set1_epi8(h & 0x8000 ? -1 : 1)));
    }
    return half_of(w) * 0.125f;
}

INLINE float row_iq1_m(const unsigned char *w, uint8_t *v, int8_t *sc)
{
    uint32_t bits = 0;
    for (int k = 0; k < 4; k++) {
        unsigned s = le16(w + 48 + 2 * k);
        bits |= s >> 12 << (4 * k);
        for (int j = 0; j < 4; j++)
            sc[4 * k + j] = (int8_t)(1 + 2 * (s >> (3 * j) & 7));
    }
    __m256i minus = _mm256_setr_epi64x(0x0808080808080808, (int64_t)0x8080808080808080u, 0x0808080808080808,
                                       (int64_t)0x8080808080808080u);
    __m256i which = _mm256_setr_epi64x(0, 0, 0x0101010101010101, 0x0101010101010101);
    for (int g = 0; g < 8; g++) {
        const unsigned char *q = w + 4 * g;
        unsigned h = le16(w + 32 + 2 * g);
        uint64_t e = four(qn__iq1s_grid, q[0] | (h & 7) << 8, q[1] | (h & 0x70) << 4, q[2] | (h & 0x700),
                          q[3] | (h & 0x7000) >> 4);
        __m256i s = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi16((short)h), which), minus);
        __m256i delta = _mm256_or_si256(_mm256_cmpeq_epi8(s, minus), _mm256_set1_epi8(1)); /* -1 or 1 */
        put(v + 32 * g, _mm256_add_epi8(lanes2(e, 56, 64, 72), delta));
    }
    return _cvtsh_ss((uint16_t)bits) * 0.125f;
}

/* The leading ternary digit of each byte of x, 63 more; and x moved on by a digit. */
INLINE __m256i digit(__m256i *x)
{
    __m256i one = _mm256_set1_epi8(86), two = _mm256_set1_epi8((char)171), v = _mm256_set1_epi8(63);
    v = _mm256_sub_epi8(v, _mm256_cmpeq_epi8(_mm256_max_epu8(*x, one), *x));
    v = _mm256_sub_epi8(v, _mm256_cmpeq_epi8(_mm256_max_epu8(*x, two), *x));
    *x = _mm256_add_epi8(_mm256_add_epi8(*x, *x), *x);
    return v;
}

INLINE float row_tq1_0(const unsigned char *w, uint8_t *v, int8_t *sc)
{
    __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)w);
    __m256i b = both(_mm_loadu_si128((const __m128i *)(const void *)(w + 32)));
    __m256i c = _mm256_set1_epi32((int32_t)le32(w + 48));
    memset(sc, 1, 16);
    for (int k = 0; k < 5; k++) {
        put(v + 32 * k, digit(&a));
        _mm_storeu_si128((__m128i *)(void *)(v + 160 + 16 * k), _mm256_castsi256_si128(digit(&b)));
        if (k < 4) {
            int32_t four_bytes = _mm256_cvtsi256_si32(digit(&c));
            memcpy(v + 240 + 4 * k, &four_bytes, 4);
        }
    }
    return half_of(w + 52);
}

/* VF_N rows, expanded and transposed; scales as the level's 16-bit multiplication wants them are made by `scale`. */
INLINE void unpack_rows(rows_at p, panel *u, row_fn *row)
{
    _Alignas(64) uint8_t v[VF_N][256];
    int8_t sc[VF_N][16];
    float d[VF_N];
    const unsigned char *at[VF_N];
    vi s[4];
    for (int i = 0; i < VF_N; i++)
        d[i] = row(p[i], v[i], sc[i]);
    u->d[0] = vf_load(d);
    for (int i = 0; i < VF_N; i++)
        at[i] = v[i];
    for (int j = 0; j < 16; j++)
        vi_columns(at, (size_t)j * 16, u->w + 4 * j);
    for (int i = 0; i < VF_N; i++)
        at[i] = (const unsigned char *)sc[i];
    vi_columns(at, 0, s);
    UNROLL
    for (int i = 0; i < 4; i++) { /* 1..31 */
        u->pair[2 * i] = vi_bytes(s[i], 0, -1, 1, -1);
        u->pair[2 * i + 1] = vi_bytes(s[i], 2, -1, 3, -1);
        u->sc[4 * i + 0] = vi_bytes(s[i], 0, -1, SC_HIGH(0), -1);
        u->sc[4 * i + 1] = vi_bytes(s[i], 1, -1, SC_HIGH(1), -1);
        u->sc[4 * i + 2] = vi_bytes(s[i], 2, -1, SC_HIGH(2), -1);
        u->sc[4 * i + 3] = vi_bytes(s[i], 3, -1, SC_HIGH(3), -1);
    }
}

#define ROWS(name)                                                                                                     \
    INLINE void unpack_##name(rows_at p, panel *u, int blocks, const bool packed)                                      \
    {                                                                                                                  \
        (void)blocks; /* 1 */                                                                                          \
        (void)packed; /* these lie as in the file */                                                                   \
        unpack_rows(p, u, row_##name);                                                                                 \
    }
ROWS(iq2_xxs)
ROWS(iq2_xs)
ROWS(iq2_s)
ROWS(iq3_xxs)
ROWS(iq3_s)
ROWS(iq1_s)
ROWS(iq1_m)
ROWS(tq1_0)
#undef ROWS

#endif
