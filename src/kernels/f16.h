/* f16.h - scalar conversions between binary32 and the two 16-bit formats, in integer arithmetic: exact, no rounding mode,
 * no instruction set. The truth that every vector level must equal.
 *
 * Narrowing rounds to nearest, ties to even; overflow gives infinity; denormals are kept. A NaN becomes quiet and keeps
 * its sign and the high bits of its payload, as VCVTPS2PH and VCVTPH2PS do. bf16 -> f32 only shifts. */
#ifndef QN_KERNELS_F16_H
#define QN_KERNELS_F16_H

#include <stdint.h>
#include <string.h>

static inline float qn__bits_f32(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
static inline uint32_t qn__f32_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float qn__f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 0x1F, man = h & 0x3FF;
    if (exp == 0x1F) /* infinity; NaN: quiet */
        return qn__bits_f32(sign | 0x7F800000 | man << 13 | (man ? 0x400000 : 0));
    if (exp)
        return qn__bits_f32(sign | (exp + 112) << 23 | man << 13);
    /* Zero and denormals: man * 2^-24 is exact in binary32. */
    float f = (float)man * 0x1p-24f;
    return qn__bits_f32(sign | qn__f32_bits(f));
}

static inline uint16_t qn__f32_to_f16(float f)
{
    uint32_t u = qn__f32_bits(f), a = u & 0x7FFFFFFF;
    uint32_t sign = u >> 16 & 0x8000;
    if (a > 0x7F800000)
        return (uint16_t)(sign | 0x7E00 | (a >> 13 & 0x3FF));
    if (a >= 0x477FF000) /* 65520, halfway to what would be 65536: infinity */
        return (uint16_t)(sign | 0x7C00);
    if (a >= 0x38800000) { /* 2^-14 and above: normal */
        uint32_t r = a - (112u << 23);
        r += 0xFFF + (r >> 13 & 1);
        return (uint16_t)(sign | r >> 13);
    }
    if (a <= 0x33000000) /* 2^-25 and below: half of the smallest denormal rounds to even, zero */
        return (uint16_t)sign;
    /* Denormal: the significand shifted down to units of 2^-24. */
    uint32_t m = (a & 0x7FFFFF) | 0x800000, shift = 126 - (a >> 23); /* 14..24 */
    uint32_t half = 1u << (shift - 1), q = m >> shift, rest = m & ((1u << shift) - 1);
    q += rest > half || (rest == half && (q & 1));
    return (uint16_t)(sign | q);
}

static inline float qn__bf16_to_f32(uint16_t b)
{
    return qn__bits_f32((uint32_t)b << 16);
}

static inline uint16_t qn__f32_to_bf16(float f)
{
    uint32_t u = qn__f32_bits(f);
    if ((u & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

#endif
