/* convert_config.c - config.json: reading keys strictly, finding the family, the sizes that have letters. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/convert_int.h"

static json_t *get_one(qn__cv *c, const char *key)
{
    json_t *v = json_object_get(c->text, key);
    if (!v || json_is_null(v))
        v = json_object_get(c->config, key);
    return v && !json_is_null(v) ? v : NULL;
}

json_t *qn__cv_get(qn__cv *c, const char *names)
{
    while (*names) {
        size_t n = strcspn(names, "|");
        char key[96];
        (void)snprintf(key, sizeof key, "%.*s", (int)n, names);
        json_t *v = get_one(c, key);
        if (v)
            return v;
        names += n + (names[n] == '|');
    }
    return NULL;
}

int64_t qn__cv_int(qn__cv *c, const char *names, int64_t min, int64_t max, int64_t fallback)
{
    json_t *v = c->status == QN_OK ? qn__cv_get(c, names) : NULL;
    int64_t i = 0;
    if (!v) {
        if (fallback == INT64_MIN)
            (void)qn__cv_bad_key(c, names, "the key is missing");
        return fallback;
    }
    double d = json_number_value(v);
    if (json_is_integer(v)) {
        i = json_integer_value(v);
    } else if (json_is_real(v) && d == floor(d) && fabs(d) < 9e15) {
        i = (int64_t)d;
    } else {
        (void)qn__cv_bad_key(c, names, "is not a whole number");
        return fallback;
    }
    if (i < min || i > max) {
        (void)qn__cv_bad_key(c, names, "is %lld; it must be in %lld..%lld", (long long)i, (long long)min, (long long)max);
        return fallback;
    }
    return i;
}

static double checked(qn__cv *c, const json_t *v, const char *where, double min, double max, double fallback)
{
    double d = json_number_value(v);
    if (!json_is_number(v))
        (void)qn__cv_bad_key(c, where, "is not a number");
    else if (!(d >= min && d <= max))
        (void)qn__cv_bad_key(c, where, "is %g; it must be in %g..%g", d, min, max);
    else
        return d;
    return fallback;
}

double qn__cv_float(qn__cv *c, const char *names, double min, double max, double fallback)
{
    json_t *v = c->status == QN_OK ? qn__cv_get(c, names) : NULL;
    if (!v) {
        if (isnan(fallback))
            (void)qn__cv_bad_key(c, names, "the key is missing");
        return fallback;
    }
    return checked(c, v, names, min, max, fallback);
}

bool qn__cv_bool(qn__cv *c, const char *names, bool fallback)
{
    json_t *v = c->status == QN_OK ? qn__cv_get(c, names) : NULL;
    if (v && !json_is_boolean(v)) {
        (void)qn__cv_bad_key(c, names, "is neither true nor false");
        return fallback;
    }
    return v ? json_is_true(v) : fallback;
}

const char *qn__cv_text(qn__cv *c, const char *names)
{
    json_t *v = c->status == QN_OK ? qn__cv_get(c, names) : NULL;
    if (v && !json_is_string(v))
        (void)qn__cv_bad_key(c, names, "is not a text");
    return json_string_value(v);
}

/* rope_parameters is the newer form; models with two kinds of layers keep one description for each kind. */
json_t *qn__cv_rope(qn__cv *c)
{
    json_t *r = qn__cv_get(c, "rope_parameters|rope_scaling");
    json_t *full = json_object_get(r, "full_attention");
    if (r && !json_is_object(r))
        (void)qn__cv_bad_key(c, "rope_scaling", "is not an object");
    return json_is_object(full) ? full : json_is_object(r) ? r : NULL;
}

double qn__cv_rope_float(qn__cv *c, const json_t *rope, const char *key, double min, double max, double fallback)
{
    char where[64];
    const json_t *v = json_object_get(rope, key);
    (void)snprintf(where, sizeof where, "rope_scaling.%.40s", key);
    if (v && !json_is_null(v))
        return checked(c, v, where, min, max, fallback);
    if (isnan(fallback))
        (void)qn__cv_bad_key(c, where, "the key is missing");
    return fallback;
}

double qn__cv_rope_base(qn__cv *c)
{
    double base = qn__cv_rope_float(c, qn__cv_rope(c), "rope_theta", 1e-3, 1e12, 0);
    double fallback = c->family->rope_base;
    return base > 0 ? base : qn__cv_float(c, "rope_theta|rotary_emb_base", 1e-3, 1e12, fallback > 0 ? fallback : NAN);
}

const char *qn__cv_rope_type(qn__cv *c)
{
    json_t *r = qn__cv_rope(c), *t = json_object_get(r, "rope_type");
    if (!t || json_is_null(t))
        t = json_object_get(r, "type");
    if (t && !json_is_null(t) && !json_is_string(t))
        (void)qn__cv_bad_key(c, "rope_scaling.rope_type", "is not a text");
    const char *s = json_string_value(t);
    return !s || strcmp(s, "default") == 0 ? "" : s;
}

/* ---- the family ---- */

static const qn__cv_family *family_of(const char *name)
{
    const qn__cv_family *f;
    for (size_t i = 0; (f = qn__cv_family_at(i)) != NULL; i++)
        for (size_t k = 0; k < 6 && f->hf[k]; k++)
            if (strcmp(f->hf[k], name) == 0)
                return f;
    return NULL;
}

const char *qn__convert_name(size_t i)
{
    const qn__cv_family *f;
    for (size_t at = 0; (f = qn__cv_family_at(at)) != NULL; at++)
        for (size_t k = 0; k < 6 && f->hf[k]; k++)
            if (i-- == 0)
                return f->hf[k];
    return NULL;
}

static bool unknown_family(qn__cv *c, const char *name)
{
    char known[400] = "";
    size_t n = 0;
    const qn__cv_family *f;
    for (size_t i = 0; (f = qn__cv_family_at(i)) != NULL; i++) {
        int got = snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", f->arch);
        if (got < 0 || (size_t)got >= sizeof known - n)
            break;
        n += (size_t)got;
    }
    return qn__cv_fail(c, QN_EUNSUPPORTED, "config.json: architectures", "%.60s is not known to this build; it converts the families %s", name, known);
}

static bool check_quantisation(qn__cv *c)
{
    json_t *q = qn__cv_get(c, "quantization_config"), *b = json_object_get(q, "weight_block_size");
    const char *method = json_string_value(json_object_get(q, "quant_method"));
    c->block_rows = c->block_cols = 128;
    if (q && (!method || (strcmp(method, "fp8") && strcmp(method, "mxfp4") && strcmp(method, "compressed-tensors") && strcmp(method, "fbgemm_fp8"))))
        return qn__cv_fail(c, QN_EUNSUPPORTED, "config.json: quantization_config", "the weights are quantised by \"%.40s\"; take the original checkpoint (F32, F16, BF16 or FP8 with scales)", method ? method : "?");
    if (b && !json_is_null(b)) {
        c->block_rows = json_integer_value(json_array_get(b, 0));
        c->block_cols = json_integer_value(json_array_get(b, 1));
        if (json_array_size(b) != 2 || c->block_rows < 1 || c->block_rows > 65536 || c->block_cols < 1 || c->block_cols > 65536)
            return qn__cv_bad_key(c, "quantization_config.weight_block_size", "is not two numbers in 1..65536");
    }
    return true;
}

static bool fill_in(qn__cv *c)
{
    json_t *d = c->family->defaults ? json_loads(c->family->defaults, 0, NULL) : json_object();
    const char *key;
    json_t *v;
    bool ok = d != NULL;
    json_object_foreach(d, key, v)
        ok = ok && (qn__cv_get(c, key) || json_object_set(c->text, key, v) == 0);
    json_decref(d);
    return ok || qn__cv_memory(c);
}

bool qn__cv_config_open(qn__cv *c)
{
    json_t *a = json_object_get(c->config, "architectures"), *text;
    const char *name = json_string_value(json_array_get(a, 0));
    c->text = c->config;
    text = json_object_get(c->config, "text_config");
    if (json_is_object(text))
        c->text = text;
    if (!name)
        return qn__cv_bad_key(c, "architectures", "is missing or not a list of texts: what the model is cannot be told");
    c->family = family_of(name);
    if (c->family)
        c->family = qn__cv_variant(c, c->family);
    return (c->family || unknown_family(c, name)) && check_quantisation(c) && fill_in(c);
}

/* ---- sizes ---- */

static void set(qn__cv *c, char letter, int64_t v)
{
    c->size[(unsigned char)letter] = v;
}

bool qn__cv_sizes(qn__cv *c)
{
    const qn__cv_family *f = c->family;
    for (size_t i = 0; i < sizeof c->size / sizeof *c->size; i++)
        c->size[i] = -1;
    int64_t embd = qn__cv_int(c, "hidden_size|n_embd", 1, 1 << 20, INT64_MIN);
    int64_t heads = qn__cv_int(c, "num_attention_heads|n_head", 1, 1 << 12, INT64_MIN);
    int64_t kv = qn__cv_int(c, "num_key_value_heads|num_attention_groups", 1, 1 << 12, heads);
    if (c->status != QN_OK)
        return false;
    int64_t head = qn__cv_int(c, "head_dim|attention_head_dim", 1, 1 << 12, f->head_dim ? f->head_dim : embd / heads);
    if (c->status == QN_OK && heads % kv)
        return qn__cv_bad_key(c, "num_key_value_heads", "%lld does not divide the %lld heads", (long long)kv, (long long)heads);
    if (c->status == QN_OK && head < 1)
        return qn__cv_bad_key(c, "num_attention_heads", "there are more heads than hidden elements");
    int64_t ff = qn__cv_int(c, "intermediate_size|shared_intermediate_size|n_inner", 1, 1 << 22, 0);
    c->n_layers = qn__cv_int(c, "num_hidden_layers|n_layer", 1, 1024, INT64_MIN);
    c->first_moe = c->n_layers;
    c->rot = head;
    set(c, 'V', qn__cv_int(c, "vocab_size", 1, 1 << 28, INT64_MIN));
    set(c, 'E', embd);
    set(c, 'H', heads);
    set(c, 'D', head);
    set(c, 'Q', heads * head);
    set(c, 'O', heads * head);
    set(c, 'K', kv * head);
    set(c, 'A', (heads + 2 * kv) * head);
    set(c, 'F', ff);
    set(c, 'G', 2 * ff);
    set(c, 'U', 16);
    set(c, '1', 1);
    if (c->status == QN_OK && f->sizes)
        f->sizes(c);
    if (c->status == QN_OK && (c->rot < 2 || c->rot % 2))
        (void)qn__cv_bad_key(c, "head_dim", "the rope would turn %lld elements of a head; their number must be even", (long long)c->rot);
    return c->status == QN_OK;
}
