/* kernels.c - the table of each level, constant: a level names its own kernels and takes the rest from the one below. */
#include "kernels/kernels.h"

#include "kernels/ref/ref.h"

#define GENERIC(type) [QN_##type] = qn__ref_matmul_##type,

/* The form of activations is the same at every level. */
#define ACTS                                                                                                                   \
    .act = {[QN_Q8_0] = QN_ACT_Q8_32, [QN_Q4_0] = QN_ACT_Q8_32, [QN_Q4_K] = QN_ACT_Q8_256, [QN_Q5_K] = QN_ACT_Q8_256,           \
            [QN_Q6_K] = QN_ACT_Q8_256}

static const qn_kernels ref = {
    .level = QN_CPU_REF,
    ACTS,
    .matmul = {QN_GENERIC_TYPES(GENERIC) GENERIC(F32) GENERIC(F16) GENERIC(BF16) GENERIC(Q8_0) GENERIC(Q4_0) GENERIC(Q4_K)
                   GENERIC(Q5_K) GENERIC(Q6_K)},
    .prepare = {[QN_ACT_F32] = qn__ref_prepare_f32,
                [QN_ACT_Q8_32] = qn__ref_prepare_q8_32,
                [QN_ACT_Q8_256] = qn__ref_prepare_q8_256},
    .attention = qn__ref_attention,
    .kv_store = qn__ref_kv_store,
    .rms_norm = qn__ref_rms_norm,
    .layer_norm = qn__ref_layer_norm,
    .rope = qn__ref_rope,
    .silu = qn__ref_silu,
    .gelu = qn__ref_gelu,
    .relu2 = qn__ref_relu2,
    .silu_mul = qn__ref_silu_mul,
    .gelu_mul = qn__ref_gelu_mul,
    .add = qn__ref_add,
    .scale = qn__ref_scale,
    .softcap = qn__ref_softcap,
};

const qn_kernels *qn__kernels(qn_cpu level)
{
    (void)level;
    return &ref;
}

size_t qn__act_bytes(qn_act act, int k)
{
    size_t n = (size_t)k, bytes = 0;
    switch (act) {
    case QN_ACT_F32: bytes = n * 4; break;
    case QN_ACT_Q8_32: bytes = n + n / 8 + n / 8; break;
    case QN_ACT_Q8_256: bytes = n + n / 8 + n / 64; break;
    case QN_ACT__COUNT: break;
    }
    return (bytes + 63) & ~(size_t)63;
}
