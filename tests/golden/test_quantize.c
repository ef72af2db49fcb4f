/* test_quantize.c - whole files: quantised by us beside what the ecosystem's tool made of the same file. The type of
 * every tensor, the metadata and the size must be equal; the logits' error is printed beside theirs.
 *
 * For the logits both files are turned back into F32 (exact), so that only the weights' error is compared and no
 * rounding of activations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <jansson.h>

#include "formats/gguf.h"
#include "kernels/dequant.h"

static char dir[64], models[512];

static void make(const char *in, const char *out, const char *type, qn_quantize_result *r)
{
    qn_quantize_options o;
    qn_err err = {0};
    qn_quantize_options_init(&o);
    o.type = type;
    o.n_threads = 2;
    o.allow_requantize = true;
    if (qn_quantize(in, out, &o, r, &err) != QN_OK)
        fail_msg("%s to %s: %s: %s", in, type, err.where, err.what);
}

static qn_gguf *open_file(const char *path)
{
    qn_gguf *g = NULL;
    qn_err err = {0};
    if (qn__gguf_open(path, &g, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    return g;
}

/* Differences between two files: tensors' names, order, types, shapes; pairs; the size. `plant` alters one type. */
static int differences(const qn_gguf *a, const qn_gguf *b, bool plant)
{
    int bad = qn__gguf_n_tensors(a) != qn__gguf_n_tensors(b) || qn__gguf_n_kv(a) != qn__gguf_n_kv(b) ||
              qn__gguf_file_bytes(a) != qn__gguf_file_bytes(b);
    for (size_t i = 0; !bad && i < qn__gguf_n_tensors(a); i++) {
        const qn_gguf_tensor *x = qn__gguf_tensor(a, i), *y = qn__gguf_tensor(b, i);
        qn_type type = plant && i == 3 ? QN_I64 : x->type;
        if (type != y->type || x->name.n != y->name.n || memcmp(x->name.p, y->name.p, x->name.n) != 0 ||
            memcmp(x->dims, y->dims, sizeof x->dims) != 0) {
            if (!plant)
                printf("tensor %zu: ours %.*s %s, theirs %.*s %s\n", i, (int)x->name.n, x->name.p,
                       qn__type_info((uint32_t)x->type)->name, (int)y->name.n, y->name.p,
                       qn__type_info((uint32_t)y->type)->name);
            bad++;
        }
    }
    for (size_t i = 0; !bad && i < qn__gguf_n_kv(a); i++) {
        const qn_gguf_kv *x = qn__gguf_kv_at(a, i), *y = qn__gguf_kv_at(b, i);
        if (x->key.n != y->key.n || memcmp(x->key.p, y->key.p, x->key.n) != 0 || x->kind != y->kind ||
            x->bytes != y->bytes || memcmp(x->data, y->data, x->bytes) != 0) {
            printf("pair %zu: ours %.*s, theirs %.*s\n", i, (int)x->key.n, x->key.p, (int)y->key.n, y->key.p);
            bad++;
        }
    }
    return bad;
}

/* Square error of all matrices of `made` against `exact`, relative to their squares. */
static double weights_error(const qn_gguf *exact, const qn_gguf *made)
{
    double num = 0, den = 0;
    for (size_t i = 0; i < qn__gguf_n_tensors(made); i++) {
        const qn_gguf_tensor *y = qn__gguf_tensor(made, i);
        char name[256];
        (void)snprintf(name, sizeof name, "%.*s", (int)y->name.n, y->name.p);
        const qn_gguf_tensor *x = qn__gguf_find(exact, name);
        assert_non_null(x);
        if (x->type == y->type)
            continue;
        size_t n = (size_t)x->dims[0];
        float *a = malloc(n * sizeof *a), *b = malloc(n * sizeof *b);
        assert_true(a && b);
        for (size_t r = 0; r < x->bytes / x->row_bytes; r++) {
            qn__dequant_row(x->type, x->data + r * x->row_bytes, a, n);
            qn__dequant_row(y->type, y->data + r * y->row_bytes, b, n);
            for (size_t k = 0; k < n; k++) {
                double d = (double)b[k] - (double)a[k];
                num += d * d;
                den += (double)a[k] * (double)a[k];
            }
        }
        free(a);
        free(b);
    }
    return num / den;
}

static float *logits_of(const char *path, const int32_t *prompt, size_t n, size_t *count)
{
    char exact[128];
    qn_model *m = NULL;
    qn_engine *e = NULL;
    qn_model_info info;
    qn_engine_options o;
    qn_err err = {0};
    (void)snprintf(exact, sizeof exact, "%s/exact.gguf", dir);
    make(path, exact, "F32", NULL);
    if (qn_model_open(exact, QN_OPEN_FULL, &m, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    qn_engine_options_init(&o);
    o.kv = QN_KV_F32;
    if (qn_engine_open(m, &o, &e, &err) != QN_OK)
        fail_msg("%s: %s", err.where, err.what);
    qn_model_get_info(m, &info);
    *count = n * (size_t)info.n_vocab;
    float *out = malloc(*count * sizeof *out);
    assert_non_null(out);
    assert_int_equal(qn_logits(e, prompt, n, n, out, &err), QN_OK);
    qn_engine_close(e);
    qn_model_close(m);
    (void)unlink(exact);
    return out;
}

static double nmse(const float *got, const float *want, size_t n)
{
    double num = 0, den = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - (double)want[i];
        num += d * d;
        den += (double)want[i] * (double)want[i];
    }
    return num / den;
}

static size_t read_prompt(const char *json, int32_t *out, size_t cap)
{
    json_t *root = json_load_file(json, 0, NULL), *a = json_object_get(root, "prompt");
    size_t n = json_array_size(a);
    assert_true(root && n > 0 && n <= cap);
    for (size_t i = 0; i < n; i++)
        out[i] = (int32_t)json_integer_value(json_array_get(a, i));
    json_decref(root);
    return n;
}

static const struct {
    const char *from, *to, *type;
    bool logits;
} cases[] = {
    {"llama-256", "llama-256-q8_0", "Q8_0", true},     {"llama-256", "llama-256-q6_k", "Q6_K", true},
    {"llama-256", "llama-256-q5_k_m", "Q5_K_M", true}, {"llama-256", "llama-256-q4_k_m", "Q4_K_M", true},
    {"llama-256", "llama-256-q4_0", "Q4_0", true},     {"llama-256", "llama-256-iq4_nl", "IQ4_NL", true},
    {"llama-256", "llama-256-iq4_xs", "IQ4_XS", true}, {"llama-256", "llama-256-q3_k_m", "Q3_K_M", true},
    {"llama-256", "llama-256-q2_k", "Q2_K", true},     {"qwen3moe", "qwen3moe-mxfp4_moe", "MXFP4", false},
};
enum { N_CASES = sizeof cases / sizeof *cases };

static bool there(const char *name, const char *end, char *path, size_t cap)
{
    (void)snprintf(path, cap, "%s/%s%s", models, name, end);
    return access(path, R_OK) == 0;
}

static void test_files(void **state)
{
    (void)state;
    char from[600], theirs[600], ours[128];
    size_t done = 0, equal = 0;
    double worst = 0;
    (void)snprintf(ours, sizeof ours, "%s/ours.gguf", dir);
    for (size_t i = 0; i < N_CASES; i++) {
        if (!there(cases[i].from, ".gguf", from, sizeof from) || !there(cases[i].to, ".gguf", theirs, sizeof theirs))
            continue;
        qn_quantize_result r;
        make(from, ours, cases[i].type, &r);
        qn_gguf *a = open_file(ours), *b = open_file(theirs);
        assert_int_equal(r.bytes_out, qn__gguf_file_bytes(a));
        done++;
        int bad = differences(a, b, false);
        equal += bad == 0;
        if (bad)
            printf("%s: ours is %llu bytes, theirs %llu\n", cases[i].type, (unsigned long long)qn__gguf_file_bytes(a),
                   (unsigned long long)qn__gguf_file_bytes(b));
        assert_true(differences(a, b, true) > 0); /* the planted fault */
        qn_gguf *exact = open_file(from);
        double x = weights_error(exact, a), y = weights_error(exact, b);
        printf("%-6s weights' relative square error: ours %.3e, the reference's %.3e, ratio %.3f\n", cases[i].type, x,
               y, x / y);
        assert_true(x <= 1.02 * y);
        worst = x / y > worst ? x / y : worst;
        qn__gguf_close(exact);
        qn__gguf_close(a);
        qn__gguf_close(b);
    }
    (void)unlink(ours);
    if (!done) {
        printf("skipped: no models in %s (set SHARED)\n", models);
        skip();
        return;
    }
    printf(
        "figure: quantised files %zu of %zu equal to the reference's in size, metadata and the type of every tensor; "
        "square error of the weights at most %.3f of its\n",
        equal, done, worst);
    assert_int_equal(equal, done);
}

static void test_logits(void **state)
{
    (void)state;
    char from[600], theirs[600], ours[128], json[600];
    int32_t prompt[64];
    size_t done = 0, n, prompt_n = 0;
    float *want = NULL;
    (void)snprintf(ours, sizeof ours, "%s/ours.gguf", dir);
    for (size_t i = 0; i < N_CASES; i++) {
        if (!cases[i].logits || !there(cases[i].from, ".gguf", from, sizeof from) ||
            !there(cases[i].to, ".gguf", theirs, sizeof theirs) || !there(cases[i].from, ".json", json, sizeof json))
            continue;
        if (!want) {
            prompt_n = read_prompt(json, prompt, 64);
            want = logits_of(from, prompt, prompt_n, &n);
        }
        make(from, ours, cases[i].type, NULL);
        float *a = logits_of(ours, prompt, prompt_n, &n), *b = logits_of(theirs, prompt, prompt_n, &n);
        double x = nmse(a, want, n), y = nmse(b, want, n);
        printf("figure: %-6s logits' NMSE against F16: ours %.3e, the reference's %.3e, ratio %.2f\n", cases[i].type, x,
               y, x / y);
        assert_true(x <= 1.1 * y);
        free(a);
        free(b);
        done++;
    }
    free(want);
    (void)unlink(ours);
    if (!done) {
        printf("skipped: no models in %s (set SHARED)\n", models);
        skip();
    }
}

static int set_up(void **state)
{
    (void)state;
    const char *shared = getenv("SHARED");
    (void)snprintf(models, sizeof models, "%s/golden/models", shared ? shared : "../shared");
    (void)snprintf(dir, sizeof dir, "/tmp/quern-quantize-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

/* Fails when a test left anything behind: also temporary files of writers. */
static int tear_down(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files), cmocka_unit_test(test_logits)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
