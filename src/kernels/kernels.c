/* kernels.c - the table of each level: constant. */
#include "kernels/kernels.h"

#include "kernels/pack.h"
#include "kernels/ref/ref.h"
#if defined(__x86_64__)
#include "kernels/x86/x86.h"
#elif defined(__aarch64__)
#include "kernels/arm/arm.h"
#endif

/* The form of activations is the same at every level. */
#define Q32(type) [QN_##type] = QN_ACT_Q8_32
#define Q256(type) [QN_##type] = QN_ACT_Q8_256
#define ACTS                                                                                                           \
    .act = {Q32(Q8_0),    Q32(Q4_0),    Q32(Q4_1),   Q32(Q5_0),    Q32(Q5_1),   Q32(IQ4_NL), Q32(MXFP4),               \
            Q32(NVFP4),   Q32(Q1_0),    Q32(Q2_0),   Q256(Q2_K),   Q256(Q3_K),  Q256(Q4_K),  Q256(Q5_K),               \
            Q256(Q6_K),   Q256(IQ4_XS), Q256(IQ1_S), Q256(IQ1_M),  Q256(TQ1_0), Q256(TQ2_0), Q256(IQ2_XXS),            \
            Q256(IQ2_XS), Q256(IQ2_S),  Q256(IQ3_S), Q256(IQ3_XXS)}

#define REF(type) [QN_##type] = qn__ref_matmul_##type,
#define AVX2(type) [QN_##type] = qn__avx2_matmul_##type,
#define AVXVNNI(type) [QN_##type] = qn__avxvnni_matmul_##type,
#define AVX512(type) [QN_##type] = qn__avx512_matmul_##type,
#define AMX(type) [QN_##type] = qn__amx_matmul_##type,
#define NEON(type) [QN_##type] = qn__neon_matmul_##type,
#define I8MM(type) [QN_##type] = qn__i8mm_matmul_##type,
#define TYPES QN_MATMUL_TYPES

#define OPERATIONS(l)                                                                                                  \
    .prepare = {[QN_ACT_F32] = qn__ref_prepare_f32,                                                                    \
                [QN_ACT_Q8_32] = qn__##l##_prepare_q8_32,                                                              \
                [QN_ACT_Q8_256] = qn__##l##_prepare_q8_256},                                                           \
    .attention = qn__##l##_attention, .kv_store = qn__##l##_kv_store, .rms_norm = qn__##l##_rms_norm,                  \
    .layer_norm = qn__##l##_layer_norm, .rope = qn__##l##_rope, .silu = qn__##l##_silu, .gelu = qn__##l##_gelu,        \
    .relu2 = qn__##l##_relu2, .silu_mul = qn__##l##_silu_mul, .gelu_mul = qn__##l##_gelu_mul, .add = qn__##l##_add,    \
    .scale = qn__##l##_scale, .softcap = qn__##l##_softcap, .oai_mul = qn__##l##_oai_mul,                              \
    .silu_mul_clamped = qn__##l##_silu_mul_clamped, .sigmoid_mul = qn__##l##_sigmoid_mul,                              \
    .add_scaled = qn__##l##_add_scaled, .conv_step = qn__##l##_conv_step, .delta_step = qn__##l##_delta_step,          \
    .ssm_step = qn__##l##_ssm_step

static const qn_kernels tables[] = {
    [QN_CPU_REF] = {.level = QN_CPU_REF, .span = 64, .least = 64, ACTS, .matmul = {TYPES(REF)}, OPERATIONS(ref)},
#if defined(__x86_64__)
    [QN_CPU_AVX2] = {.level = QN_CPU_AVX2, .lanes = 8, .span = 64, .least = 64, ACTS, .matmul = {TYPES(AVX2)}, OPERATIONS(avx2)},
    [QN_CPU_AVX512] =
        {.level = QN_CPU_AVX512, .lanes = 16, .span = 64, .least = 64, ACTS, .matmul = {TYPES(AVX512)}, OPERATIONS(avx512)},
    [QN_CPU_AMX] = {.level = QN_CPU_AMX,
                    .lanes = 16,
                    .span = 256,
                    .least = 128,
                    ACTS,
                    .matmul = {QN_FLOAT_TYPES(AVX512) QN_MAIN_TYPES(AMX) QN_MORE_TYPES(AVX512)},
                    OPERATIONS(avx512)},
#elif defined(__aarch64__)
    [QN_CPU_NEON] = {.level = QN_CPU_NEON,
                     .lanes = 8,
                     .span = 64,
                     .least = 64,
                     ACTS,
                     .matmul = {QN_FLOAT_TYPES(NEON) QN_MAIN_TYPES(NEON) QN_MORE_TYPES(REF)},
                     OPERATIONS(neon)},
    [QN_CPU_I8MM] = {.level = QN_CPU_I8MM,
                     .lanes = 8,
                     .span = 64,
                     .least = 64,
                     ACTS,
                     .matmul = {QN_FLOAT_TYPES(NEON) QN_MAIN_TYPES(I8MM) QN_MORE_TYPES(REF)},
                     OPERATIONS(neon)},
#endif
};

#if defined(__x86_64__)
static const qn_kernels avx2_vnni = {.level = QN_CPU_AVX2,
                                     .lanes = 8,
                                     .span = 64,
                     .least = 64,
                                     ACTS,
                                     .matmul = {QN_FLOAT_TYPES(AVX2) QN_MAIN_TYPES(AVXVNNI) QN_MORE_TYPES(AVXVNNI)},
                                     OPERATIONS(avx2)};
#endif

const qn_kernels *qn__kernels_form(qn_cpu level, int i)
{
#if defined(__x86_64__)
    if (level == QN_CPU_AVX2 && qn__cpu_has_vnni())
        return i == 0 ? &avx2_vnni : i == 1 ? &tables[level] : NULL;
#endif
    return i == 0 ? &tables[level] : NULL;
}

const qn_kernels *qn__kernels(qn_cpu level)
{
    return qn__kernels_form(level, 0);
}

/* What a level takes from ref reads rows as they lie in the file. */
bool qn__kernels_pack(const qn_kernels *k, qn_type type)
{
    return k->lanes > 0 && qn__pack_has(type) && k->matmul[type] != tables[QN_CPU_REF].matmul[type];
}

size_t qn__kv_bytes(qn_kv kv, int head)
{
    size_t n = (size_t)head, groups = (n + QN_KV_GROUP - 1) / QN_KV_GROUP;
    switch (kv) {
    case QN__KV_F16: return n * QN_PAGE_TOKENS * 2;
    case QN__KV_F32: return n * QN_PAGE_TOKENS * 4;
    case QN__KV_Q8_0: return (n + groups * 2) * QN_PAGE_TOKENS;
    case QN__KV__COUNT: break;
    }
    return 0;
}

size_t qn__act_bytes(qn_act act, int k)
{
    size_t n = (size_t)k, bytes = 0;
    switch (act) {
    case QN_ACT_F32: bytes = n * 4; break;
    case QN_ACT_Q8_32: bytes = n + n / 8 + n / 8; break;
    case QN_ACT_Q8_256: bytes = n + n / 8 + n / 4 + n / 64 + n / 16; break;
    case QN_ACT__COUNT: break;
    }
    /* An odd number of lines: rows that many lines apart lie in all sets of a cache. */
    return ((bytes + 63) / 64 | 1) * 64;
}
