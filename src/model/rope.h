/* rope.h - rotary position embedding: the frequencies of a model and the table of a position.
 *
 * Sources: RoPE (Su 2021), linear interpolation (Chen 2023), YaRN (Peng 2023), LongRoPE (Ding 2024), Llama 3's factors,
 * which converters store as the tensor rope_freqs. */
#ifndef QN_MODEL_ROPE_H
#define QN_MODEL_ROPE_H

#include "model/recipe.h"

typedef struct qn_rope {
    int n_rot;        /* 0: no rope */
    float *inv_freq;  /* n_rot/2; radians per position, scaling included */
    float magnitude;  /* multiplies cos and sin */
} qn_rope;

/* inv_freq[n_rot/2] is the caller's. factors: n_rot/2 divisors or NULL. windowed: the variant of sliding-window layers;
 * plain: without scaling. */
void qn__rope_init(const qn_hparams *h, int n_rot, const float *factors, bool windowed, bool plain, float *inv_freq, qn_rope *out);
/* cos_sin[n_rot]: cos and sin of each pair at this position. A function of (rope, pos) alone. */
void qn__rope_table(const qn_rope *r, int32_t pos, float *cos_sin);

#endif
