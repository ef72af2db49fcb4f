/* dequant_k.c - the K types: 256 elements in sub-blocks of 16 or 32, whose scales are quantised themselves.
 *
 * Each function opens with its block drawn: field[bytes]. The low bits of a 128-element half lie in 32 bytes, two bits
 * (or four) of each for every run of 32 elements. */
#include "kernels/ref/dequant_impl.h"

/* scale[16] q[64] d[2] dmin[2]: low nibble of scale times d, high nibble times dmin; q scale - min */
void qn__dequant_q2_k(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 84, y += 256) {
        float d = qn__half_at(x + 80), dmin = qn__half_at(x + 82);
        for (int s = 0; s < 16; s++) {
            float scale = d * (float)(x[s] & 15), min = dmin * (float)(x[s] >> 4);
            const unsigned char *q = x + 16 + 32 * (s / 8) + 16 * (s % 2);
            for (int j = 0; j < 16; j++)
                y[16 * s + j] = scale * (float)(q[j] >> (2 * (s / 2 % 4)) & 3) - min;
        }
    }
}

/* Scale s of 16, six bits each in 12 bytes: the low four in nibbles of bytes 0..7, the high two in bytes 8..11. */
static int q3_scale(const unsigned char *p, int s)
{
    int low = s < 8 ? p[s] & 15 : p[s - 8] >> 4;
    return low | (p[8 + s % 4] >> (2 * (s / 4)) & 3) << 4;
}

/* h[32] q[64] scale[12] d[2]: two low bits in q, the third in h (bit e / 32 of byte e % 32); (q - 4) scale */
void qn__dequant_q3_k(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 110, y += 256) {
        float d = qn__half_at(x + 108);
        for (int s = 0; s < 16; s++) {
            float scale = d * (float)(q3_scale(x + 96, s) - 32);
            for (int j = 0; j < 16; j++) {
                int e = 16 * s + j, k = e % 32;
                int q = x[32 + 32 * (e / 128) + k] >> (2 * (e / 32 % 4)) & 3;
                int h = x[k] >> (e / 32) & 1;
                y[e] = scale * (float)(q + 4 * h - 4);
            }
        }
    }
}

/* Scale and min s of 8, six bits each in 12 bytes: s < 4 whole in bytes s and s + 4; s >= 4 the low four bits in the
 * nibbles of byte s + 4, the high two on top of bytes s - 4 and s. */
static void q4_scale(const unsigned char *p, int s, int *scale, int *min)
{
    if (s < 4) {
        *scale = p[s] & 63;
        *min = p[s + 4] & 63;
    } else {
        *scale = (p[s + 4] & 15) | (p[s - 4] >> 6) << 4;
        *min = p[s + 4] >> 4 | (p[s] >> 6) << 4;
    }
}

/* d[2] dmin[2] scale[12] q[128]: 32 bytes hold 64 elements, the first 32 in the low nibbles; q scale - min */
void qn__dequant_q4_k(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 144, y += 256) {
        float d = qn__half_at(x), dmin = qn__half_at(x + 2);
        for (int s = 0; s < 8; s++) {
            int sc, mn;
            q4_scale(x + 4, s, &sc, &mn);
            float scale = d * (float)sc, min = dmin * (float)mn;
            const unsigned char *q = x + 16 + 32 * (s / 2);
            for (int j = 0; j < 32; j++)
                y[32 * s + j] = scale * (float)(q[j] >> (4 * (s % 2)) & 15) - min;
        }
    }
}

/* d[2] dmin[2] scale[12] h[32] q[128]: as Q4_K, the fifth bit of element 32 s + j is bit s of h[j] */
void qn__dequant_q5_k(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 176, y += 256) {
        float d = qn__half_at(x), dmin = qn__half_at(x + 2);
        for (int s = 0; s < 8; s++) {
            int sc, mn;
            q4_scale(x + 4, s, &sc, &mn);
            float scale = d * (float)sc, min = dmin * (float)mn;
            const unsigned char *h = x + 16, *q = x + 48 + 32 * (s / 2);
            for (int j = 0; j < 32; j++)
                y[32 * s + j] = scale * (float)((q[j] >> (4 * (s % 2)) & 15) + (h[j] >> s & 1) * 16) - min;
        }
    }
}

/* q[128] h[64] scale[16] signed d[2]. A half of 128 elements takes 64 bytes of q and 32 of h: its runs r = 0..3 of 32 have
 * their low four bits in q[32 (r % 2) + j], the low nibble for r < 2, and two bits of h[j] from bit 2 r. */
void qn__dequant_q6_k(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 210, y += 256) {
        float d = qn__half_at(x + 208);
        for (int e = 0; e < 256; e++) {
            int half = e / 128, r = e / 32 % 4, j = e % 32;
            int low = x[64 * half + 32 * (r % 2) + j] >> (4 * (r / 2)) & 15;
            int high = x[128 + 32 * half + j] >> (2 * r) & 3;
            float scale = d * (float)(int8_t)x[192 + e / 16];
            y[e] = scale * (float)((low | high << 4) - 32);
        }
    }
}
