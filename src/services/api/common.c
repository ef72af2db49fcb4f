/* common.c - fields that have one meaning in all protocols of OpenAI's family. See ask.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/api/ask.h"

enum { STOPS_MAX = 256, BIASES_MAX = 4096 };

static void add_bias(api_ask *a, const api_at *at, const char *id, const json_t *value)
{
    char *end = NULL;
    const long token = id ? strtol(id, &end, 10) : 0;
    if (!id || !*id || *end || token < 0 || token > INT32_MAX) {
        api_refuse(at, "'%.40s' is no token id", id ? id : "");
        return;
    }
    float bias = -INFINITY; /* false: never */
    if (json_is_number(value)) {
        const double v = json_number_value(value);
        if (!(v >= -1000 && v <= 1000)) {
            api_refuse(at, "%g is out of range; give -100 to 100", v);
            return;
        }
        bias = (float)v;
    } else if (!json_is_false(value)) {
        api_refuse(at, "is %s; it must be a number", api_type_name(value));
        return;
    }
    a->bias[a->sampling.n_bias++] = (qn_logit_bias){.token = (int32_t)token, .bias = bias};
}

/* {"15": -100} or [[15, -100]] */
static void read_bias(api_ask *a, const api_at *body)
{
    const api_at f = api_field(body, "logit_bias");
    const size_t n = json_is_object(f.j) ? json_object_size(f.j) : json_array_size(f.j);
    if (!f.j || json_is_null(f.j))
        return;
    if (!json_is_object(f.j) && !json_is_array(f.j)) {
        api_refuse(&f, "is %s; it must be an object of token ids and numbers", api_type_name(f.j));
        return;
    }
    if (n > BIASES_MAX) {
        api_refuse(&f, "%zu entries are too many; give at most %d", n, BIASES_MAX);
        return;
    }
    a->bias = n ? api_keep(a, n * sizeof *a->bias) : NULL;
    if (!a->bias)
        return;
    const char *key;
    json_t *v;
    if (json_is_object(f.j)) {
        json_object_foreach(f.j, key, v)
        {
            const api_at at = api_field(&f, key);
            add_bias(a, &at, key, v);
        }
    }
    for (size_t i = 0; json_is_array(f.j) && i < n; i++) {
        const api_at at = api_item(&f, i);
        const json_t *id = json_array_get(at.j, 0);
        char text[24] = "";
        if (json_is_integer(id))
            (void)snprintf(text, sizeof text, "%lld", (long long)json_integer_value(id));
        add_bias(a, &at, text, json_array_get(at.j, 1));
    }
    a->sampling.bias = a->bias;
}

void api_read_sampling(api_ask *a, const api_at *body)
{
    qn_sampling *s = &a->sampling;
    int64_t seed;
    (void)api_get_float(body, "temperature", 0, 100, &s->temperature);
    if (api_get_int32(body, "top_k", -1, INT32_MAX, &s->top_k) && s->top_k < 0)
        s->top_k = 0;
    (void)api_get_float(body, "top_p", 0, 1, &s->top_p);
    (void)api_get_float(body, "min_p", 0, 1, &s->min_p);
    (void)api_get_float(body, "typical_p", 0, 1, &s->typical_p);
    (void)api_get_float(body, "repetition_penalty", 0.01, 100, &s->repeat_penalty);
    (void)api_get_float(body, "repeat_penalty", 0.01, 100, &s->repeat_penalty);
    bool all = api_get_float(body, "frequency_penalty", -10, 10, &s->frequency_penalty);
    all = api_get_float(body, "presence_penalty", -10, 10, &s->presence_penalty) || all;
    if (all)
        s->penalty_last_n = -1;
    (void)api_get_int32(body, "repeat_last_n", -1, INT32_MAX, &s->penalty_last_n);
    (void)api_get_float(body, "dry_multiplier", 0, 100, &s->dry_multiplier);
    (void)api_get_float(body, "dry_base", 1, 100, &s->dry_base);
    (void)api_get_int32(body, "dry_allowed_length", 0, INT32_MAX, &s->dry_allowed_length);
    (void)api_get_int32(body, "dry_penalty_last_n", -1, INT32_MAX, &s->dry_last_n);
    (void)api_get_bool(body, "ignore_eos", &a->ignore_eos);
    if (api_get_int(body, "seed", INT64_MIN, INT64_MAX, &seed) && seed != -1) { /* -1: any, say some */
        a->has_seed = true;
        s->seed = (uint64_t)seed;
    }
    api_read_loop(a, body);
    read_bias(a, body);
}

void api_read_stop(api_ask *a, const api_at *body, const char *key)
{
    const api_at f = api_field(body, key);
    const char *one;
    if (!f.j || json_is_null(f.j))
        return;
    if (json_is_string(f.j)) {
        if (api_get_text(body, key, &one) && *one && (a->stop = api_keep(a, sizeof *a->stop)) != NULL) {
            a->stop[0] = one;
            a->n_stop = 1;
        }
        return;
    }
    if (!json_is_array(f.j) || json_array_size(f.j) > STOPS_MAX) {
        api_refuse(&f, json_is_array(f.j) ? "has more than %d strings" : "must be a string or an array of at most %d strings",
                   STOPS_MAX);
        return;
    }
    const size_t n = json_array_size(f.j);
    a->stop = n ? api_keep(a, n * sizeof *a->stop) : NULL;
    for (size_t i = 0; a->stop && i < n; i++) {
        const api_at item = api_item(&f, i);
        const char *s = json_string_value(item.j);
        if (!s || strlen(s) != json_string_length(item.j))
            api_refuse(&item, "is %s; it must be a string without NUL", api_type_name(item.j));
        else if (*s)
            a->stop[a->n_stop++] = s;
    }
}

void api_keep_schema(api_ask *a, const json_t *schema, const char *path)
{
    qn_buf b = {0};
    api_put_json(&b, schema);
    char *kept = b.failed ? NULL : api_keep(a, b.n + 1);
    if (kept) {
        memcpy(kept, b.data, b.n);
        a->format_text = kept;
        a->n_format = b.n;
        a->format = QN_GRAMMAR_SCHEMA;
        a->format_path = path;
        a->has_format = true;
    }
    qn__buf_free(&b);
}

void api_keep_object(api_ask *a, const char *path)
{
    static const char any[] = "{\"type\":\"object\"}";
    a->format_text = any;
    a->n_format = sizeof any - 1;
    a->format = QN_GRAMMAR_SCHEMA;
    a->format_path = path;
    a->has_format = true;
}
