/* dequant_basic.c - types whose blocks have one scale (and perhaps one minimum): floats, Qx_0, Qx_1, ternary, FP4.
 *
 * Each function opens with its block drawn: field[bytes]. Elements of a nibble type lie so that byte j holds elements j
 * (low) and j + half (high). */
#include "kernels/ref/dequant_impl.h"
#include "kernels/ref/iq_tables.h"

void qn__dequant_f32(const unsigned char *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = qn__bits_f32(qn__le32(x + 4 * i));
}

void qn__dequant_f16(const unsigned char *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = qn__half_at(x + 2 * i);
}

void qn__dequant_bf16(const unsigned char *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = qn__bf16_to_f32(qn__le16(x + 2 * i));
}

/* d[2] bits[16]: a set bit is +d, a clear one -d */
void qn__dequant_q1_0(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 18, y += 128) {
        float d = qn__half_at(x);
        for (int i = 0; i < 128; i++)
            y[i] = x[2 + i / 8] >> (i % 8) & 1 ? d : -d;
    }
}

/* d[2] q[16]: four 2-bit values a byte, the lowest bits first: -1, 0, 1, 2 times d */
void qn__dequant_q2_0(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 18, y += 64) {
        float d = qn__half_at(x);
        for (int i = 0; i < 64; i++)
            y[i] = (float)((x[2 + i / 4] >> (2 * (i % 4)) & 3) - 1) * d;
    }
}

/* d[2] q[16]: (q - 8) d */
void qn__dequant_q4_0(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 18, y += 32) {
        float d = qn__half_at(x);
        for (int j = 0; j < 16; j++) {
            y[j] = (float)((x[2 + j] & 15) - 8) * d;
            y[j + 16] = (float)((x[2 + j] >> 4) - 8) * d;
        }
    }
}

/* d[2] m[2] q[16]: q d + m */
void qn__dequant_q4_1(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 20, y += 32) {
        float d = qn__half_at(x), m = qn__half_at(x + 2);
        for (int j = 0; j < 16; j++) {
            y[j] = (float)(x[4 + j] & 15) * d + m;
            y[j + 16] = (float)(x[4 + j] >> 4) * d + m;
        }
    }
}

/* Element i of a 5-bit block: four bits in q, the fifth is bit i of h. */
static int five(const unsigned char *q, uint32_t h, int i)
{
    int low = i < 16 ? q[i] & 15 : q[i - 16] >> 4;
    return low | (int)(h >> i & 1) << 4;
}

/* d[2] h[4] q[16]: (q - 16) d */
void qn__dequant_q5_0(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 22, y += 32) {
        float d = qn__half_at(x);
        for (int i = 0; i < 32; i++)
            y[i] = (float)(five(x + 6, qn__le32(x + 2), i) - 16) * d;
    }
}

/* d[2] m[2] h[4] q[16]: q d + m */
void qn__dequant_q5_1(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 24, y += 32) {
        float d = qn__half_at(x), m = qn__half_at(x + 2);
        for (int i = 0; i < 32; i++)
            y[i] = (float)five(x + 8, qn__le32(x + 4), i) * d + m;
    }
}

/* d[2] q[32] signed */
void qn__dequant_q8_0(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 34, y += 32) {
        float d = qn__half_at(x);
        for (int i = 0; i < 32; i++)
            y[i] = (float)(int8_t)x[2 + i] * d;
    }
}

/* Ternary digit k of a byte. The byte is v = ceil(256 w / 243) for a five-digit number w in base 3, so that the digits
 * come out from the top by multiplying: v 3^k mod 256 is the rest, and its product with 3 overflows into the digit. */
static float trit(unsigned v, int k)
{
    static const uint8_t pow3[5] = {1, 3, 9, 27, 81};
    unsigned rest = v * pow3[k] & 255;
    return (float)((int)(rest * 3 >> 8) - 1);
}

/* q[48] h[4] d[2]: q holds five elements a byte, strided by 32 in its first 32 bytes and by 16 in its last 16; h holds
 * four a byte, strided by 4. */
void qn__dequant_tq1_0(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 54, y += 256) {
        float d = qn__half_at(x + 52);
        for (int k = 0; k < 5; k++) {
            for (int j = 0; j < 32; j++)
                y[32 * k + j] = trit(x[j], k) * d;
            for (int j = 0; j < 16; j++)
                y[160 + 16 * k + j] = trit(x[32 + j], k) * d;
        }
        for (int k = 0; k < 4; k++)
            for (int j = 0; j < 4; j++)
                y[240 + 4 * k + j] = trit(x[48 + j], k) * d;
    }
}

/* q[64] d[2]: each half of q holds 128 elements, strided by 32, 2 bits each: (q - 1) d */
void qn__dequant_tq2_0(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 66, y += 256) {
        float d = qn__half_at(x + 64);
        for (int i = 0; i < 256; i++)
            y[i] = (float)((x[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4)) & 3) - 1) * d;
    }
}

const int8_t qn__fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* e[1] q[16]: scale 2^(e - 127), of which half */
void qn__dequant_mxfp4(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 17, y += 32) {
        float d = qn__half_e8m0(x[0]);
        for (int j = 0; j < 16; j++) {
            y[j] = (float)qn__fp4_values[x[1 + j] & 15] * d;
            y[j + 16] = (float)qn__fp4_values[x[1 + j] >> 4] * d;
        }
    }
}

/* scale[4] q[32]: four groups of 16 elements, each with its scale and 8 bytes */
void qn__dequant_nvfp4(const unsigned char *x, float *y, size_t n)
{
    for (; n--; x += 36, y += 64)
        for (int s = 0; s < 4; s++) {
            float d = qn__half_ue4m3(x[s]);
            const unsigned char *q = x + 4 + 8 * s;
            for (int j = 0; j < 8; j++) {
                y[16 * s + j] = (float)qn__fp4_values[q[j] & 15] * d;
                y[16 * s + j + 8] = (float)qn__fp4_values[q[j] >> 4] * d;
            }
        }
}
