/* dequant_iq.c - the IQ types: indices into codebooks of 8 or 4 magnitudes (iq_tables.c), signs apart, small scales.
 *
 * Each function opens with its block drawn: field[bytes]. A group is 32 elements. */
#include "kernels/ref/dequant_impl.h"
#include "kernels/ref/iq_tables.h"

const int8_t qn__iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* 8 elements of a 2-bit codebook entry, with sign bits. */
static void put8(float *y, unsigned entry, unsigned signs, float scale)
{
    static const float value[4] = {8, 25, 43, 0};
    for (int j = 0; j < 8; j++) {
        float v = scale * value[entry >> (2 * j) & 3];
        y[j] = signs >> j & 1 ? -v : v;
    }
}

/* 4 elements of a 3-bit codebook entry. */
static void put4(float *y, unsigned entry, unsigned signs, float scale, const uint8_t value[8])
{
    for (int j = 0; j < 4; j++) {
        float v = scale * (float)value[entry >> (3 * j) & 7];
        y[j] = signs >> j & 1 ? -v : v;
    }
}

/* 8 elements of a ternary codebook entry, shifted by delta. */
static void put_ternary(float *y, unsigned entry, float delta, float scale)
{
    for (int j = 0; j < 8; j++)
        y[j] = scale * ((float)((int)(entry >> (2 * j) & 3) - 1) + delta);
}

/* d[2] group[8][8]: a group is four indices, then a word of four 7-bit sign sets and, on top, a 4-bit scale */
void qn__dequant_iq2_xxs(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 66, y += 256) {
        float d = qn__half_at(x);
        for (int g = 0; g < 8; g++) {
            const unsigned char *q = x + 2 + 8 * g;
            uint32_t w = qn__le32(q + 4);
            float scale = d * (0.5f + (float)(w >> 28)) * 0.25f;
            for (int l = 0; l < 4; l++)
                put8(y + 32 * g + 8 * l, qn__iq2xxs_grid[q[l]], qn__iq_signs(w >> (7 * l) & 127), scale);
        }
    }
}

/* d[2] q[32][2] scale[8]: q is a 9-bit index and 7 signs; a nibble of scale for 16 elements */
void qn__dequant_iq2_xs(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 74, y += 256) {
        float d = qn__half_at(x);
        for (int i = 0; i < 32; i++) {
            unsigned q = qn__le16(x + 2 + 2 * i);
            float scale = d * (0.5f + (float)(x[66 + i / 4] >> (4 * (i / 2 % 2)) & 15)) * 0.25f;
            put8(y + 8 * i, qn__iq2xs_grid[q & 511], qn__iq_signs(q >> 9), scale);
        }
    }
}

/* d[2] q[32] sign[32] h[8] scale[8]: a 10-bit index with its top two bits in h */
void qn__dequant_iq2_s(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 82, y += 256) {
        float d = qn__half_at(x);
        for (int i = 0; i < 32; i++) {
            unsigned index = x[2 + i] | (unsigned)(x[66 + i / 4] >> (2 * (i % 4)) & 3) << 8;
            float scale = d * (0.5f + (float)(x[74 + i / 4] >> (4 * (i / 2 % 2)) & 15)) * 0.25f;
            put8(y + 8 * i, qn__iq2s_grid[index], x[34 + i], scale);
        }
    }
}

/* d[2] q[64] word[8][4]: eight indices a group; its word as in IQ2_XXS */
void qn__dequant_iq3_xxs(const unsigned char *x, float *y, size_t n)
{
    static const uint8_t value[8] = {4, 12, 20, 28, 36, 44, 52, 62};
    for (; n--; x += 98, y += 256) {
        float d = qn__half_at(x);
        for (int g = 0; g < 8; g++) {
            uint32_t w = qn__le32(x + 66 + 4 * g);
            float scale = d * (0.5f + (float)(w >> 28)) * 0.5f;
            for (int l = 0; l < 8; l++) {
                unsigned signs = qn__iq_signs(w >> (7 * (l / 2)) & 127) >> (4 * (l % 2));
                put4(y + 32 * g + 4 * l, qn__iq3xxs_grid[x[2 + 8 * g + l]], signs, scale, value);
            }
        }
    }
}

/* d[2] q[64] h[8] sign[32] scale[4]: a 9-bit index with its top bit in h; a nibble of scale a group */
void qn__dequant_iq3_s(const unsigned char *x, float *y, size_t n)
{
    static const uint8_t value[8] = {1, 3, 5, 7, 9, 11, 13, 15};
    for (; n--; x += 110, y += 256) {
        float d = qn__half_at(x);
        for (int i = 0; i < 64; i++) {
            int g = i / 8;
            unsigned index = x[2 + i] | (unsigned)(x[66 + g] >> (i % 8) & 1) << 8;
            float scale = d * (float)(1 + 2 * (x[106 + g / 2] >> (4 * (g % 2)) & 15));
            put4(y + 4 * i, qn__iq3s_grid[index], (unsigned)x[74 + i / 2] >> (4 * (i % 2)), scale, value);
        }
    }
}

/* d[2] q[32] h[8][2]: h of a group: four times three index bits, a 3-bit scale, the sign of delta */
void qn__dequant_iq1_s(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 50, y += 256) {
        float d = qn__half_at(x);
        for (int g = 0; g < 8; g++) {
            unsigned h = qn__le16(x + 34 + 2 * g);
            float scale = d * (float)(2 * (h >> 12 & 7) + 1), delta = h & 0x8000 ? -0.125f : 0.125f;
            for (int l = 0; l < 4; l++)
                put_ternary(y + 32 * g + 8 * l, qn__iq1s_grid[x[2 + 4 * g + l] | (h >> (3 * l) & 7) << 8], delta, scale);
        }
    }
}

/* q[32] h[16] scale[4][2]: a nibble of h has three index bits and the sign of delta; a 16-bit word of scale has four
 * 3-bit scales, for 16 elements each, and on top four bits of d */
void qn__dequant_iq1_m(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 56, y += 256) {
        unsigned bits = 0;
        for (int k = 0; k < 4; k++)
            bits |= (unsigned)(qn__le16(x + 48 + 2 * k) >> 12) << (4 * k);
        float d = qn__f16_to_f32((uint16_t)bits);
        for (int i = 0; i < 32; i++) {
            unsigned h = (unsigned)x[32 + i / 2] >> (4 * (i % 2)) & 15;
            unsigned s = qn__le16(x + 48 + 2 * (i / 8)) >> (3 * (i / 2 % 4)) & 7;
            put_ternary(y + 8 * i, qn__iq1s_grid[x[i] | (h & 7) << 8], h & 8 ? -0.125f : 0.125f, d * (float)(2 * s + 1));
        }
    }
}

/* d[2] q[16] */
void qn__dequant_iq4_nl(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 18, y += 32) {
        float d = qn__half_at(x);
        for (int j = 0; j < 16; j++) {
            y[j] = d * (float)qn__iq4_values[x[2 + j] & 15];
            y[j + 16] = d * (float)qn__iq4_values[x[2 + j] >> 4];
        }
    }
}

/* d[2] high[2] low[4] q[128]: a group's scale has four bits in low and two in high; (scale - 32) d */
void qn__dequant_iq4_xs(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 136, y += 256) {
        float d = qn__half_at(x);
        unsigned high = qn__le16(x + 2);
        for (int g = 0; g < 8; g++) {
            int s = (x[4 + g / 2] >> (4 * (g % 2)) & 15) | (int)(high >> (2 * g) & 3) << 4;
            float scale = d * (float)(s - 32);
            const unsigned char *q = x + 8 + 16 * g;
            for (int j = 0; j < 16; j++) {
                y[32 * g + j] = scale * (float)qn__iq4_values[q[j] & 15];
                y[32 * g + j + 16] = scale * (float)qn__iq4_values[q[j] >> 4];
            }
        }
    }
}
