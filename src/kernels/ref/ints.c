/* ints.c - blocks of 256 weights as integers; see ints.h. The layouts are drawn in dequant_k.c, dequant_iq.c and
 * dequant_basic.c. Scales that are odd multiples of d/8 or d/4 there have that fraction in d here (a power of two:
 * exact), and the ternary codebooks' shift of 1/8 makes values of 8 v + 1 or 8 v - 1. */
#include "kernels/ref/ints.h"

#include <string.h>

#include "kernels/ref/dequant_impl.h"
#include "kernels/ref/iq_tables.h"

void qn__ints_q2_k(const unsigned char *w, qn_ints *out)
{
    out->d = qn__half_at(w + 80);
    out->dmin = qn__half_at(w + 82);
    for (int s = 0; s < 16; s++) {
        out->sc[s] = w[s] & 15;
        out->m[s] = (int8_t)(w[s] >> 4);
    }
    for (int i = 0; i < 256; i++)
        out->v[i] = w[16 + 32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3;
}

void qn__ints_q3_k(const unsigned char *w, qn_ints *out)
{
    const unsigned char *p = w + 96;
    *out = (qn_ints){.d = qn__half_at(w + 108)};
    for (int s = 0; s < 16; s++) {
        int low = s < 8 ? p[s] & 15 : p[s - 8] >> 4;
        out->sc[s] = (int8_t)((low | (p[8 + s % 4] >> (2 * (s / 4)) & 3) << 4) - 32);
    }
    for (int i = 0; i < 256; i++) {
        int q = w[32 + 32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3, h = w[i % 32] >> (i / 32) & 1;
        out->v[i] = (int8_t)(q + 4 * h - 4);
    }
}

void qn__ints_iq4_xs(const unsigned char *w, qn_ints *out)
{
    unsigned high = qn__le16(w + 2);
    *out = (qn_ints){.d = qn__half_at(w)};
    for (int g = 0; g < 8; g++) {
        int s = (w[4 + g / 2] >> (4 * (g % 2)) & 15) | (int)(high >> (2 * g) & 3) << 4;
        out->sc[2 * g] = out->sc[2 * g + 1] = (int8_t)(s - 32);
        for (int j = 0; j < 32; j++)
            out->v[32 * g + j] = qn__iq4_values[w[8 + 16 * g + j % 16] >> (j / 16 * 4) & 15];
    }
}

/* 8 elements of a 2-bit codebook entry, with sign bits. */
static void put8(int8_t *v, unsigned entry, unsigned signs)
{
    static const int8_t value[4] = {8, 25, 43, 0};
    for (int j = 0; j < 8; j++) {
        int a = value[entry >> (2 * j) & 3];
        v[j] = (int8_t)(signs >> j & 1 ? -a : a);
    }
}

/* 4 elements of a 3-bit codebook entry. */
static void put4(int8_t *v, unsigned entry, unsigned signs, const int8_t value[8])
{
    for (int j = 0; j < 4; j++) {
        int a = value[entry >> (3 * j) & 7];
        v[j] = (int8_t)(signs >> j & 1 ? -a : a);
    }
}

static void put_ternary(int8_t *v, unsigned entry, int delta)
{
    for (int j = 0; j < 8; j++)
        v[j] = (int8_t)(8 * ((int)(entry >> (2 * j) & 3) - 1) + delta);
}

static int odd_nibble(const unsigned char *p, int i)
{
    return 1 + 2 * (p[i / 2] >> (4 * (i % 2)) & 15);
}

void qn__ints_iq2_xxs(const unsigned char *w, qn_ints *out)
{
    *out = (qn_ints){.d = qn__half_at(w) * 0.125f};
    for (int g = 0; g < 8; g++) {
        const unsigned char *q = w + 2 + 8 * g;
        uint32_t word = qn__le32(q + 4);
        out->sc[2 * g] = out->sc[2 * g + 1] = (int8_t)(1 + 2 * (word >> 28));
        for (int l = 0; l < 4; l++)
            put8(out->v + 32 * g + 8 * l, qn__iq2xxs_grid[q[l]], qn__iq_signs(word >> (7 * l) & 127));
    }
}

void qn__ints_iq2_xs(const unsigned char *w, qn_ints *out)
{
    *out = (qn_ints){.d = qn__half_at(w) * 0.125f};
    for (int i = 0; i < 32; i++) {
        unsigned q = qn__le16(w + 2 + 2 * i);
        out->sc[i / 2] = (int8_t)odd_nibble(w + 66, i / 2);
        put8(out->v + 8 * i, qn__iq2xs_grid[q & 511], qn__iq_signs(q >> 9));
    }
}

void qn__ints_iq2_s(const unsigned char *w, qn_ints *out)
{
    *out = (qn_ints){.d = qn__half_at(w) * 0.125f};
    for (int i = 0; i < 32; i++) {
        unsigned index = w[2 + i] | (unsigned)(w[66 + i / 4] >> (2 * (i % 4)) & 3) << 8;
        out->sc[i / 2] = (int8_t)odd_nibble(w + 74, i / 2);
        put8(out->v + 8 * i, qn__iq2s_grid[index], w[34 + i]);
    }
}

void qn__ints_iq3_xxs(const unsigned char *w, qn_ints *out)
{
    static const int8_t value[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    *out = (qn_ints){.d = qn__half_at(w) * 0.25f};
    for (int g = 0; g < 8; g++) {
        uint32_t word = qn__le32(w + 66 + 4 * g);
        out->sc[2 * g] = out->sc[2 * g + 1] = (int8_t)(1 + 2 * (word >> 28));
        for (int l = 0; l < 8; l++) {
            unsigned signs = qn__iq_signs(word >> (7 * (l / 2)) & 127) >> (4 * (l % 2));
            put4(out->v + 32 * g + 4 * l, qn__iq3xxs_grid[w[2 + 8 * g + l]], signs, value);
        }
    }
}

void qn__ints_iq3_s(const unsigned char *w, qn_ints *out)
{
    static const int8_t value[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    *out = (qn_ints){.d = qn__half_at(w)};
    for (int i = 0; i < 64; i++) {
        unsigned index = w[2 + i] | (unsigned)(w[66 + i / 8] >> (i % 8) & 1) << 8;
        out->sc[i / 4] = (int8_t)odd_nibble(w + 106, i / 8);
        put4(out->v + 4 * i, qn__iq3s_grid[index], (unsigned)w[74 + i / 2] >> (4 * (i % 2)), value);
    }
}

void qn__ints_iq1_s(const unsigned char *w, qn_ints *out)
{
    *out = (qn_ints){.d = qn__half_at(w) * 0.125f};
    for (int g = 0; g < 8; g++) {
        unsigned h = qn__le16(w + 34 + 2 * g);
        out->sc[2 * g] = out->sc[2 * g + 1] = (int8_t)(1 + 2 * (h >> 12 & 7));
        for (int l = 0; l < 4; l++)
            put_ternary(out->v + 32 * g + 8 * l, qn__iq1s_grid[w[2 + 4 * g + l] | (h >> (3 * l) & 7) << 8],
                        h & 0x8000 ? -1 : 1);
    }
}

void qn__ints_iq1_m(const unsigned char *w, qn_ints *out)
{
    unsigned bits = 0;
    for (int k = 0; k < 4; k++)
        bits |= (unsigned)(qn__le16(w + 48 + 2 * k) >> 12) << (4 * k);
    *out = (qn_ints){.d = qn__f16_to_f32((uint16_t)bits) * 0.125f};
    for (int i = 0; i < 32; i++) {
        unsigned h = (unsigned)w[32 + i / 2] >> (4 * (i % 2)) & 15;
        out->sc[i / 2] = (int8_t)(1 + 2 * (qn__le16(w + 48 + 2 * (i / 8)) >> (3 * (i / 2 % 4)) & 7));
        put_ternary(out->v + 8 * i, qn__iq1s_grid[w[i] | (h & 7) << 8], h & 8 ? -1 : 1);
    }
}

static void ones(qn_ints *out, float d)
{
    *out = (qn_ints){.d = d};
    memset(out->sc, 1, sizeof out->sc);
}

void qn__ints_tq1_0(const unsigned char *w, qn_ints *out)
{
    static const uint8_t pow3[5] = {1, 3, 9, 27, 81};
    ones(out, qn__half_at(w + 52));
    for (int k = 0; k < 5; k++) {
        int8_t *v = out->v;
        for (int j = 0; j < 32; j++)
            v[32 * k + j] = (int8_t)(((uint8_t)(w[j] * pow3[k]) * 3 >> 8) - 1);
        for (int j = 0; j < 16; j++)
            v[160 + 16 * k + j] = (int8_t)(((uint8_t)(w[32 + j] * pow3[k]) * 3 >> 8) - 1);
        for (int j = 0; j < 4 && k < 4; j++)
            v[240 + 4 * k + j] = (int8_t)(((uint8_t)(w[48 + j] * pow3[k]) * 3 >> 8) - 1);
    }
}

void qn__ints_tq2_0(const unsigned char *w, qn_ints *out)
{
    ones(out, qn__half_at(w + 64));
    for (int i = 0; i < 256; i++)
        out->v[i] = (int8_t)((w[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3) - 1);
}
