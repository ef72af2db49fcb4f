/* half.h - 16-bit floats, scalar. */
#ifndef QN_KERNELS_HALF_H
#define QN_KERNELS_HALF_H

#include <stdint.h>
#include <string.h>

static inline float qn__f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exp = h >> 10 & 31u, man = h & 1023u, bits;
    if (exp == 31)
        bits = sign | 0x7f800000u | man << 13;
    else if (exp)
        bits = sign | (exp + 112) << 23 | man << 13;
    else {
        float f = (float)man * 0x1p-24f;
        memcpy(&bits, &f, 4);
        bits |= sign;
    }
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static inline float qn__bf16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* Nearest, halves to even; a NaN keeps its top bits and becomes quiet. */
static inline uint16_t qn__f32_to_f16(float f)
{
    uint32_t b;
    memcpy(&b, &f, 4);
    uint32_t sign = b >> 16 & 0x8000u, a = b & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu));
    if (a >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) { /* denormal: adding 0.5 rounds at 2^-24 */
        float v;
        memcpy(&v, &a, 4);
        v += 0.5f;
        memcpy(&a, &v, 4);
        return (uint16_t)(sign | (a - 0x3f000000u));
    }
    a += 0xfffu + (a >> 13 & 1u);
    return (uint16_t)(sign | ((a >> 13) - (112u << 10)));
}

#endif
