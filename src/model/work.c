/* work.c - the least that a step of a decoder must read and compute, from the shapes of its weights: what speed is
 * measured against. Says nothing about how a device does it. */
#include <math.h>

#include "model/context.h"

typedef struct tally {
    qn_work *w;
    double tokens;
} tally;

static double bytes_of(const qn_weight *m)
{
    const qn_type_info *t = qn__type_info((uint32_t)m->type);
    return (double)m->rows * (double)m->k / t->block * t->bytes;
}

/* `read` of the matrices are read, each token is multiplied by `used` of them. */
static void count(tally *t, const qn_weight *m, double read, double used, double tokens)
{
    if (m->rows == 0)
        return;
    double ops = 2 * used * (double)m->rows * (double)m->k * tokens;
    bool is_float = m->type == QN_F32 || m->type == QN_F16 || m->type == QN_BF16;
    t->w->bytes += read * bytes_of(m);
    *(is_float ? &t->w->float_ops : &t->w->int8_ops) += ops;
}

static void all(tally *t, const qn_weight *m)
{
    count(t, m, m->count, m->count, t->tokens);
}

static void layer(tally *t, const qn_hparams *h, const qn_layer *l)
{
    const qn_weight *every[] = {&l->q,         &l->k,           &l->v,           &l->o,           &l->head_gate,
                                &l->q_a,       &l->kv_a,        &l->k_b,         &l->v_b,         &l->in,
                                &l->z,         &l->alpha,       &l->beta,        &l->ba,          &l->ssm_out,
                                &l->gate,      &l->up,          &l->down,        &l->router,      &l->gate_shared,
                                &l->up_shared, &l->down_shared, &l->shared_gate, &l->latent_down, &l->latent_up,
                                &l->ple_gate,  &l->ple_proj};
    const qn_weight *experts[] = {&l->gate_exps, &l->up_exps, &l->down_exps};
    for (size_t i = 0; i < sizeof every / sizeof *every; i++)
        all(t, every[i]);
    double n = h->n_experts, used = h->n_used;
    double chosen = n > 0 ? n * (1 - pow(1 - used / n, t->tokens)) : 0; /* expected, each token choosing evenly */
    for (size_t i = 0; i < sizeof experts / sizeof *experts; i++)
        count(t, experts[i], chosen, used, t->tokens);
}

void qn__decoder_work(const qn_decoder *d, qn_kv kv, int n_seqs, int n_tokens, int32_t depth, qn_work *out)
{
    const qn_hparams *h = &d->h;
    const qn_weights *w = &d->w;
    tally t = {.w = out, .tokens = (double)n_seqs * n_tokens};
    *out = (qn_work){0};
    for (int i = 0; i < h->n_layers; i++) {
        const qn_layer *l = &w->layers[i];
        const qn_layer_shape *s = &h->layers[i];
        layer(&t, h, l);
        if (s->mixer != QN_MIX_ATTENTION && s->mixer != QN_MIX_LATENT)
            continue;
        double seen = l->window > 0 && l->window < depth ? l->window : depth;
        double head = (double)(qn__kv_bytes(kv, s->head_k) + qn__kv_bytes(kv, s->head_v)) / QN_PAGE_TOKENS;
        out->bytes += n_seqs * seen * s->n_kv_heads * head;
        double own = (n_tokens + 1) / 2.0, most = l->window > 0 && l->window < depth + own ? l->window : depth + own;
        out->attention_ops += 2 * t.tokens * most * s->n_heads * (s->head_k + s->head_v);
    }
    count(&t, &w->output, 1, 1, n_seqs);
    all(&t, &w->ple_model_proj);
    if (depth > 0)
        out->bytes += (double)n_seqs * (double)w->state_floats * 4;
}
