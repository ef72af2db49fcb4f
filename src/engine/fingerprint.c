/* fingerprint.c - what tells one model file from another, cheaply: its size, its metadata, its tensor table, and of each tensor
 * four samples of up to 512 bytes (both ends, and two places in between that depend on the tensor's number).
 *
 * A file of 5 GB costs some thousand reads. Two files with one fingerprint would have to agree in all metadata and in every
 * sample: a model that was trained further, merged or quantised otherwise differs in nearly every block. A file that was edited
 * by hand in few places may not be noticed; such a user removes the cache (quern cache rm). */
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/err.h"
#include "engine/model.h"

/* h = H(h, p[0..n)). */
static void mix(qn_name *h, const void *p, size_t n)
{
    XXH128_hash_t x = XXH3_128bits(p, n);
    const uint64_t both[5] = {h->lo, h->hi, x.low64, x.high64, n};
    x = XXH3_128bits(both, sizeof both);
    *h = (qn_name){.lo = x.low64, .hi = x.high64};
}

static void mix_number(qn_name *h, uint64_t n)
{
    mix(h, &n, sizeof n);
}

static void mix_samples(qn_name *h, const qn_gguf_tensor *t, uint64_t index)
{
    enum { SAMPLE = 512, SAMPLES = 4 };
    if (t->bytes <= SAMPLE * SAMPLES) {
        mix(h, t->data, t->bytes);
        return;
    }
    size_t room = t->bytes - SAMPLE;
    const size_t at[SAMPLES] = {0, (size_t)(index * 0x9E3779B97F4A7C15u >> 16) % room,
                                (size_t)(~index * 0xC2B2AE3D27D4EB4Fu >> 16) % room, room};
    for (int i = 0; i < SAMPLES; i++)
        mix(h, t->data + at[i], SAMPLE);
}

qn_name qn__model_fingerprint(const qn_model *m)
{
    const qn_gguf *g = m->g;
    qn_name h = {0};
    mix_number(&h, qn__gguf_file_bytes(g));
    mix_number(&h, qn__gguf_n_kv(g));
    for (size_t i = 0; i < qn__gguf_n_kv(g); i++) {
        const qn_gguf_kv *kv = qn__gguf_kv_at(g, i);
        mix(&h, kv->key.p, kv->key.n);
        mix_number(&h, (uint64_t)kv->kind << 8 | (uint64_t)kv->elem);
        mix(&h, kv->data, kv->bytes);
    }
    for (size_t i = 0; i < qn__gguf_n_tensors(g); i++) {
        const qn_gguf_tensor *t = qn__gguf_tensor(g, i);
        mix(&h, t->name.p, t->name.n);
        mix_number(&h, (uint64_t)t->type << 8 | t->n_dims);
        mix(&h, t->dims, sizeof t->dims);
        mix_samples(&h, t, i);
    }
    return h;
}

qn_status qn_model_fingerprint(const qn_model *m, char out[QN_FINGERPRINT], qn_err *err)
{
    if (m->how != QN_OPEN_FULL)
        return qn__fail(err, QN_EINVAL, "fingerprint", "needs the weights: open the model whole");
    const qn_name h = qn__model_fingerprint(m);
    (void)snprintf(out, QN_FINGERPRINT, "%016llx%016llx", (unsigned long long)h.hi, (unsigned long long)h.lo);
    return QN_OK;
}
