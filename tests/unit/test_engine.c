/* The public API on the embedded model: opening, reports, requests and their events, limits, reuse, perplexity. What the
 * model says does not matter here (it may be replaced by a better one): each answer is checked against another way to the
 * same answer. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "engine/embedded.h"
#include "formats/gguf.h"

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        qn_err err = {0};                                                                                              \
        if ((x) != QN_OK)                                                                                              \
            fail_msg("%s: %s: %s", #x, err.where, err.what);                                                           \
    } while (0)

static qn_model *model;

static int open_model(void **state)
{
    (void)state;
    return qn_model_open(NULL, QN_OPEN_FULL, &model, NULL);
}
static int close_model(void **state)
{
    (void)state;
    qn_model_close(model);
    return 0;
}

static qn_engine *engine(int32_t n_ctx, int32_t n_chunk, int32_t max_seqs)
{
    qn_engine_options o;
    qn_engine *e = NULL;
    qn_engine_options_init(&o);
    o.n_ctx = n_ctx;
    o.n_chunk = n_chunk;
    o.max_seqs = max_seqs;
    o.n_threads = 1;
    OK(qn_engine_open(model, &o, &e, &err));
    return e;
}

/* A prompt of n tokens; seed makes it another. */
static int32_t *prompt(size_t n, uint32_t seed)
{
    qn_model_info info;
    qn_model_get_info(model, &info);
    int32_t *t = malloc(n * sizeof *t);
    uint32_t x = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        t[i] = (int32_t)((x >> 8) % (uint32_t)(info.n_vocab - 64));
    }
    return t;
}

typedef struct answer {
    char text[8192];
    size_t n_text;
    int32_t ids[512];
    size_t n_ids;
    int n_prefill;
    int32_t last_done;
    bool ended;
    qn_end_reason reason;
    qn_timings timings;
} answer;

/* One event into the answer; false after END. */
static bool take(qn_request *r, answer *a)
{
    qn_event ev;
    OK(qn_request_next(r, &ev, &err));
    switch (ev.kind) {
    case QN_EVENT_PREFILL:
        assert_true(a->n_ids == 0);
        assert_true(ev.done > a->last_done && ev.done <= ev.total);
        a->last_done = ev.done;
        a->n_prefill++;
        return true;
    case QN_EVENT_TEXT:
        assert_true(a->n_text + ev.n_text < sizeof a->text && a->n_ids + ev.n_tokens < 512);
        memcpy(a->text + a->n_text, ev.text, ev.n_text);
        a->n_text += ev.n_text;
        a->text[a->n_text] = 0;
        memcpy(a->ids + a->n_ids, ev.tokens, ev.n_tokens * sizeof *ev.tokens);
        a->n_ids += ev.n_tokens;
        return true;
    default:
        a->ended = true;
        a->reason = ev.reason;
        a->timings = ev.timings;
        return false;
    }
}

static void run(qn_engine *e, const qn_request_options *o, answer *a)
{
    qn_request *r = NULL;
    qn_event ev;
    memset(a, 0, sizeof *a);
    OK(qn_request_open(e, o, &r, &err));
    while (take(r, a))
        ;
    OK(qn_request_next(r, &ev, &err)); /* END stays */
    assert_int_equal(ev.kind, QN_EVENT_END);
    qn_request_close(r);
}

static qn_request_options options(const int32_t *tokens, size_t n, int32_t max)
{
    qn_request_options o;
    qn_request_options_init(&o);
    o.tokens = tokens;
    o.n_tokens = n;
    o.max_tokens = max;
    o.ignore_eos = true;
    o.show_special = true;
    return o;
}

/* ---- models ---- */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    (void)fwrite(text, 1, strlen(text), f);
    (void)fclose(f);
}

static void refused(const char *path, qn_status want)
{
    qn_model *m = NULL;
    qn_err err = {0};
    for (int how = QN_OPEN_HEADER; how <= QN_OPEN_FULL; how++) {
        assert_int_equal(qn_model_open(path, (qn_open)how, &m, &err), want);
        assert_null(m);
        assert_true(strstr(err.where, path) || strstr(err.what, path));
    }
}

/* The embedded model with another name and template. */
static void write_variant(const char *path, const char *name, const char *template_text, bool break_vocab)
{
    size_t size;
    const unsigned char *data = qn__embedded_model(&size);
    qn_gguf *g = NULL;
    qn_gguf_writer *w = NULL;
    OK(qn__gguf_open_memory(data, size, "embedded", &g, &err));
    OK(qn__gguf_create(path, &w, &err));
    for (size_t i = 0; i < qn__gguf_n_kv(g); i++) {
        const qn_gguf_kv *kv = qn__gguf_kv_at(g, i);
        if (kv->key.n == 12 && memcmp(kv->key.p, "general.name", 12) == 0)
            qn__gguf_put_str(w, "general.name", name, strlen(name));
        else if (kv->key.n == 23 && memcmp(kv->key.p, "tokenizer.chat_template", 23) == 0)
            qn__gguf_put_str(w, "tokenizer.chat_template", template_text, strlen(template_text));
        else if (break_vocab && kv->key.n == 20 && memcmp(kv->key.p, "tokenizer.ggml.model", 20) == 0)
            qn__gguf_put_str(w, "tokenizer.ggml.model", "no-such-kind", 12);
        else
            qn__gguf_put_kv(w, kv);
    }
    for (size_t i = 0; i < qn__gguf_n_tensors(g); i++) {
        const qn_gguf_tensor *t = qn__gguf_tensor(g, i);
        char *n = qn__strndup(t->name.p, t->name.n);
        qn__gguf_put_tensor(w, n, t->type, t->n_dims, t->dims);
        qn_free(n);
    }
    OK(qn__gguf_begin_data(w, &err));
    for (size_t i = 0; i < qn__gguf_n_tensors(g); i++)
        OK(qn__gguf_write(w, qn__gguf_tensor(g, i)->data, qn__gguf_tensor(g, i)->bytes, &err));
    OK(qn__gguf_commit(w, &err));
    qn__gguf_close(g);
}

static json_t *report(const qn_model *m, bool tensors)
{
    char *s = NULL;
    json_error_t e;
    OK(qn_model_report(m, tensors, &s, &err));
    json_t *j = json_loads(s, 0, &e);
    assert_non_null(j);
    qn_free(s);
    return j;
}
static const char *str(const json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

static void opening(void **state)
{
    (void)state;
    char path[] = "/tmp/quern-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)fclose(fdopen(fd, "w"));
    refused("/nonexistent/model.gguf", QN_EIO);
    refused("/tmp", QN_EIO);
    write_file(path, "this is a text, not a model\n");
    refused(path, QN_EFORMAT);

    for (int how = QN_OPEN_HEADER; how <= QN_OPEN_FULL; how++) {
        qn_model *m = NULL;
        qn_model_info i;
        OK(qn_model_open("embedded", (qn_open)how, &m, &err));
        qn_model_get_info(m, &i);
        assert_true(i.embedded && i.has_chat_template);
        assert_string_equal(i.architecture, "qwen2");
        assert_int_equal(i.n_vocab, 2048);
        assert_int_equal(i.n_ctx_train, 2048);
        assert_true(i.eos >= 0 && i.eos < i.n_vocab);
        json_t *j = report(m, true);
        assert_string_equal(str(j, "architecture"), "qwen2");
        assert_true(json_is_true(json_object_get(j, "supported")));
        assert_string_equal(str(json_object_get(j, "quantisation"), "label"), "Q8_0");
        assert_true(json_array_size(json_object_get(j, "tensors")) > 40);
        assert_int_equal(json_integer_value(json_object_get(j, "kv_bytes_per_token")), 2048);
        json_t *eos = json_object_get(json_object_get(json_object_get(j, "tokenizer"), "special"), "eos");
        assert_int_equal(json_integer_value(json_object_get(eos, "id")), i.eos);
        assert_string_equal(str(eos, "text"), "<|im_end|>");
        json_decref(j);
        qn_engine *e = NULL;
        qn_err err = {0};
        if (how != QN_OPEN_FULL)
            assert_int_equal(qn_engine_open(m, NULL, &e, &err), QN_EINVAL);
        qn_model_close(m);
    }

    /* A broken template and a broken vocabulary are errors of those who need them. */
    write_variant(path, "n\xff\x01\xc3", "{% if %}", true);
    qn_model *m = NULL;
    qn_err why = {0};
    assert_int_equal(qn_model_open(path, QN_OPEN_VOCAB, &m, &why), QN_EUNSUPPORTED);
    OK(qn_model_open(path, QN_OPEN_FULL, &m, &err));
    qn_model_info i;
    qn_model_get_info(m, &i);
    assert_string_equal(i.name, "n???");
    json_t *j = report(m, false);
    assert_non_null(str(json_object_get(j, "chat_template"), "error"));
    json_decref(j);
    qn_render_options ro = {.model = m, .messages_json = "[{\"role\":\"user\",\"content\":\"hi\"}]"};
    char *text = NULL;
    size_t n;
    assert_int_equal(qn_render(&ro, &text, &n, &why), QN_EFORMAT);
    assert_non_null(strstr(why.where, path));
    int32_t *ids;
    assert_int_equal(qn_tokenize(m, "x", 1, true, QN_BOS_AUTO, &ids, &n, &why), QN_EUNSUPPORTED);
    float *logits = malloc(2048 * sizeof *logits);
    qn_engine *e = NULL;
    const int32_t one = 5;
    OK(qn_engine_open(m, NULL, &e, &err));
    OK(qn_logits(e, &one, 1, 1, logits, &err));
    free(logits);
    qn_engine_close(e);
    qn_model_close(m);
    (void)remove(path);
}

static void text(void **state)
{
    (void)state;
    const char *s = "def add(a, b):\n    return a + b\n";
    int32_t *ids = NULL;
    char *back = NULL, *prompt_text = NULL;
    size_t n = 0, n_back = 0;
    OK(qn_tokenize(model, s, strlen(s), true, QN_BOS_NO, &ids, &n, &err));
    assert_true(n > 0);
    OK(qn_detokenize(model, ids, n, true, &back, &n_back, &err));
    assert_int_equal(n_back, strlen(s));
    assert_memory_equal(back, s, n_back);
    qn_free(back);
    ids[0] = 1 << 20;
    assert_int_equal(qn_detokenize(model, ids, n, true, &back, &n_back, NULL), QN_EINVAL);
    qn_free(ids);
    qn_render_options ro = {.model = model, .messages_json = "[{\"role\":\"user\",\"content\":\"hi\"}]"};
    OK(qn_render(&ro, &prompt_text, &n, &err));
    assert_string_equal(prompt_text, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    qn_free(prompt_text);
    ro.template_text = "{{ messages[0].content }}!";
    OK(qn_render(&ro, &prompt_text, NULL, &err));
    assert_string_equal(prompt_text, "hi!");
    qn_free(prompt_text);
    ro.messages_json = NULL;
    assert_int_equal(qn_render(&ro, &prompt_text, &n, NULL), QN_EINVAL);
}

/* ---- requests ---- */

/* Greedy output is the chain of the largest logits, each computed from nothing. */
static void greedy_chain(void **state)
{
    (void)state;
    enum { N = 70, OUT = 10 };
    qn_engine *e = engine(256, 16, 2);
    int32_t *t = prompt(N + OUT, 1);
    qn_request_options o = options(t, N, OUT);
    answer a;
    run(e, &o, &a);
    assert_int_equal(a.n_ids, OUT);
    assert_int_equal(a.reason, QN_END_LENGTH);
    assert_int_equal(a.n_prefill, 5); /* 16 + 16 + 16 + 16 + 6 */
    assert_int_equal(a.last_done, N);
    assert_int_equal(a.timings.prompt_tokens, N);
    assert_int_equal(a.timings.cached_tokens, 0);
    assert_int_equal(a.timings.generated_tokens, OUT);
    qn_engine_info info;
    qn_engine_get_info(e, &info);
    float *logits = malloc((size_t)info.n_vocab * sizeof *logits);
    for (size_t k = 0; k < OUT; k++) {
        OK(qn_logits(e, t, N + k, 1, logits, &err));
        int32_t best = 0;
        for (int32_t i = 0; i < info.n_vocab; i++)
            best = logits[i] > logits[best] ? i : best;
        assert_int_equal(best, a.ids[k]);
        t[N + k] = best;
    }
    free(logits);
    free(t);
    qn_engine_close(e);
}

static void limits(void **state)
{
    (void)state;
    qn_engine *e = engine(100, 32, 2);
    int32_t *t = prompt(200, 2);
    answer a;
    qn_err err = {0};
    qn_request *r = NULL;
    qn_request_options o = options(t, 90, -1);
    run(e, &o, &a);
    assert_int_equal(a.reason, QN_END_CONTEXT);
    assert_int_equal(a.n_ids, 10);
    o = options(t, 100, -1);
    run(e, &o, &a);
    assert_int_equal(a.reason, QN_END_CONTEXT);
    assert_int_equal(a.n_ids, 0);
    assert_int_equal(a.last_done, 100);
    o = options(t, 50, 0);
    run(e, &o, &a);
    assert_int_equal(a.reason, QN_END_LENGTH);
    assert_int_equal(a.n_ids, 0);
    assert_int_equal(a.last_done, 50);

    o = options(t, 101, 1);
    assert_int_equal(qn_request_open(e, &o, &r, &err), QN_ECONTEXT);
    assert_non_null(strstr(err.what, "101"));
    assert_non_null(strstr(err.what, "100"));
    o = options(t, 0, 1);
    assert_int_equal(qn_request_open(e, &o, &r, &err), QN_EINVAL);
    t[3] = 1 << 30;
    o = options(t, 10, 1);
    assert_int_equal(qn_request_open(e, &o, &r, &err), QN_EINVAL);
    t[3] = -1;
    assert_int_equal(qn_request_open(e, &o, &r, &err), QN_EINVAL);
    t[3] = 0;
    o.max_tokens = -2;
    assert_int_equal(qn_request_open(e, &o, &r, &err), QN_EINVAL);
    o.max_tokens = 1;
    o.sampling.top_p = 7;
    assert_int_equal(qn_request_open(e, &o, &r, &err), QN_EINVAL);
    o.sampling.top_p = 1;
    const char *empty = "";
    o.stop = &empty;
    o.n_stop = 1;
    assert_int_equal(qn_request_open(e, &o, &r, &err), QN_EINVAL);
    float x;
    assert_int_equal(qn_logits(e, t, 101, 1, &x, &err), QN_ECONTEXT);
    assert_int_equal(qn_logits(e, t, 10, 11, &x, &err), QN_EINVAL);
    assert_int_equal(qn_logits(e, t, 10, 0, &x, &err), QN_EINVAL);
    qn_engine_close(e);
    free(t);

    qn_engine_options eo;
    qn_engine_options_init(&eo);
    eo.kv = (qn_kv_type)3;
    assert_int_equal(qn_engine_open(model, &eo, &e, &err), QN_EINVAL);
    qn_engine_options_init(&eo);
    eo.n_threads = -1;
    assert_int_equal(qn_engine_open(model, &eo, &e, &err), QN_EINVAL);
    qn_engine_options_init(&eo);
    eo.cpu = "z80";
    assert_int_equal(qn_engine_open(model, &eo, &e, &err), QN_EINVAL);
}

static void check_stop(qn_engine *e, const int32_t *t, const answer *whole, const char *const *stops, size_t n, size_t want)
{
    answer a;
    qn_request_options o = options(t, 40, 40);
    o.stop = stops;
    o.n_stop = n;
    run(e, &o, &a);
    assert_int_equal(a.reason, want < whole->n_text ? QN_END_STOP_STRING : QN_END_LENGTH);
    assert_int_equal(a.n_text, want);
    assert_memory_equal(a.text, whole->text, want);
}

static void stop_strings(void **state)
{
    (void)state;
    qn_engine *e = engine(256, 64, 2);
    int32_t *t = prompt(40, 3);
    answer whole;
    qn_request_options o = options(t, 40, 40);
    o.sampling.temperature = 0;
    run(e, &o, &whole);
    assert_true(whole.n_text > 8);
    int cut = 0, spared = 0;
    for (size_t at = 0; at + 1 < whole.n_text; at += 1 + whole.n_text / 11) {
        for (size_t len = 1; len < 12 && at + len <= whole.n_text; len += 4) {
            char stop[16] = {0}, longer[20] = {0};
            memcpy(stop, whole.text + at, len);
            if (strlen(stop) != len)
                continue;
            const char *const stops[] = {"\x01never", stop};
            const char *first = memmem(whole.text, whole.n_text, stop, len);
            check_stop(e, t, &whole, stops, 2, (size_t)(first - whole.text));
            cut++;
            /* Begins like the text and does not go on like it: nothing may be lost. */
            memcpy(longer, stop, len);
            longer[len] = '\x01';
            const char *const almost[] = {longer};
            check_stop(e, t, &whole, almost, 1, whole.n_text);
            spared++;
        }
    }
    assert_true(cut > 10);
    /* Planted: a text that differs by a byte must not pass. */
    answer wrong = whole;
    wrong.text[wrong.n_text / 2] ^= 1;
    assert_memory_not_equal(wrong.text, whole.text, whole.n_text);
    printf("figure: stop strings: %d cut exactly, %d near misses lost nothing\n", cut, spared);
    free(t);
    qn_engine_close(e);
}

/* Alone, or among others, in whatever chunks: the same answer. */
static void together(void **state)
{
    (void)state;
    enum { R = 12 };
    answer *alone = calloc(R, sizeof *alone), *crowd = calloc(R, sizeof *crowd);
    int32_t *t[R];
    qn_request_options o[R];
    qn_engine *e = engine(256, 512, 1);
    for (uint32_t i = 0; i < R; i++) {
        size_t n = 5 + i * 13;
        t[i] = prompt(n, i % 3 ? 4 : 5 + i); /* two of three share prefixes */
        o[i] = options(t[i], n, 8 + (int32_t)i);
        o[i].sampling.temperature = i % 2 ? 1.0f : 0;
        o[i].sampling.top_p = i % 4 == 1 ? 0.9f : 1;
        o[i].sampling.seed = i;
        run(e, &o[i], &alone[i]);
    }
    qn_engine_close(e);
    static const int32_t chunks[] = {1, 7, 64};
    int32_t cached = 0;
    for (size_t c = 0; c < 3; c++) {
        qn_request *r[R];
        e = engine(256, chunks[c], c == 1 ? 3 : 8);
        memset(crowd, 0, R * sizeof *crowd);
        for (size_t i = 0; i < R; i++)
            OK(qn_request_open(e, &o[i], &r[i], &err));
        for (bool more = true; more;) {
            more = false;
            for (size_t i = 0; i < R; i++)
                if (!crowd[i].ended)
                    more |= take(r[i], &crowd[i]);
        }
        for (size_t i = 0; i < R; i++) {
            assert_int_equal(crowd[i].n_ids, alone[i].n_ids);
            assert_memory_equal(crowd[i].ids, alone[i].ids, alone[i].n_ids * sizeof(int32_t));
            assert_string_equal(crowd[i].text, alone[i].text);
            assert_int_equal(crowd[i].reason, alone[i].reason);
            cached += crowd[i].timings.cached_tokens;
            qn_request_close(r[i]);
        }
        qn_engine_close(e);
    }
    assert_true(cached > 0);
    /* Planted: another seed must not give the same answer. */
    e = engine(256, 512, 1);
    o[11].sampling.seed = 999;
    run(e, &o[11], &crowd[11]);
    assert_true(crowd[11].n_ids != alone[11].n_ids ||
                memcmp(crowd[11].ids, alone[11].ids, alone[11].n_ids * sizeof(int32_t)) != 0);
    qn_engine_close(e);
    for (size_t i = 0; i < R; i++)
        free(t[i]);
    free(alone);
    free(crowd);
}

static void reuse(void **state)
{
    (void)state;
    qn_engine *e = engine(512, 50, 4);
    int32_t *t = prompt(300, 6);
    answer a, b;
    qn_request_options o = options(t, 200, 6);
    run(e, &o, &a);
    run(e, &o, &b); /* all but the last prompt token */
    assert_int_equal(b.timings.cached_tokens, 199);
    assert_memory_equal(a.ids, b.ids, sizeof a.ids);
    memcpy(t + 200, a.ids, 6 * sizeof *t); /* the next turn: prompt, answer, more. The answer's last token was not computed */
    o = options(t, 230, 3);
    run(e, &o, &b);
    assert_int_equal(b.timings.cached_tokens, 205);
    int32_t old = t[130];
    t[130] = old + 1;
    o = options(t, 200, 6);
    run(e, &o, &b);
    assert_int_equal(b.timings.cached_tokens, 130);
    qn_engine_close(e);

    /* Opened together: the prefix is computed once. */
    e = engine(512, 50, 4);
    qn_request *r[3];
    answer *c = calloc(3, sizeof *c);
    t[130] = old;
    o = options(t, 200, 6);
    for (size_t i = 0; i < 3; i++)
        OK(qn_request_open(e, &o, &r[i], &err));
    for (size_t i = 3; i-- > 0;)
        while (take(r[i], &c[i]))
            ;
    assert_int_equal(c[0].timings.cached_tokens, 0);
    assert_true(c[1].timings.cached_tokens >= 128 && c[2].timings.cached_tokens >= 128);
    for (size_t i = 0; i < 3; i++) {
        assert_memory_equal(c[i].ids, a.ids, sizeof a.ids);
        qn_request_close(r[i]);
    }
    free(c);
    free(t);
    qn_engine_close(e);
}

static void cancel(void **state)
{
    (void)state;
    qn_engine *e = engine(512, 20, 1);
    int32_t *t = prompt(300, 7);
    qn_request_options o = options(t, 300, 50);
    qn_request *r = NULL, *queued = NULL;
    answer a = {0}, b = {0};
    OK(qn_request_open(e, &o, &r, &err));
    OK(qn_request_open(e, &o, &queued, &err));
    assert_true(take(r, &a) && take(r, &a)); /* 40 tokens are read */
    qn_request_cancel(r);
    qn_request_cancel(queued);
    while (take(r, &a))
        ;
    assert_int_equal(a.reason, QN_END_CANCELLED);
    assert_int_equal(a.n_ids, 0);
    assert_true(a.last_done >= 40 && a.last_done < 100);
    while (take(queued, &b))
        ;
    assert_int_equal(b.reason, QN_END_CANCELLED);
    assert_int_equal(b.last_done, 0);
    qn_request_close(r);
    qn_request_close(queued);
    /* What was read stays. */
    memset(&a, 0, sizeof a);
    OK(qn_request_open(e, &o, &r, &err));
    while (a.n_ids < 5)
        assert_true(take(r, &a));
    qn_request_cancel(r);
    while (take(r, &a))
        ;
    assert_int_equal(a.reason, QN_END_CANCELLED);
    assert_true(a.timings.cached_tokens >= 40);
    assert_true(a.n_ids >= 5 && a.n_ids < 8);
    qn_request_close(r);
    /* Closed before it was asked anything, in the middle, and by the engine. */
    OK(qn_request_open(e, &o, &r, &err));
    qn_request_close(r);
    OK(qn_request_open(e, &o, &r, &err));
    memset(&a, 0, sizeof a);
    assert_true(take(r, &a));
    qn_request_close(r);
    OK(qn_request_open(e, &o, &r, &err));
    OK(qn_request_open(e, &o, &queued, &err));
    memset(&a, 0, sizeof a);
    assert_true(take(r, &a));
    free(t);
    qn_engine_close(e);
}

/* An end token ends, is not emitted, and can be ignored. */
static void end_token(void **state)
{
    (void)state;
    qn_model_info info;
    qn_model_get_info(model, &info);
    qn_engine *e = engine(128, 64, 1);
    int32_t *t = prompt(20, 8);
    const qn_logit_bias bias = {info.eos, 1000};
    qn_request_options o = options(t, 20, 5);
    o.sampling.bias = &bias;
    o.sampling.n_bias = 1;
    answer a;
    run(e, &o, &a); /* ignored */
    assert_int_equal(a.reason, QN_END_LENGTH);
    assert_int_equal(a.n_ids, 5);
    assert_int_equal(a.ids[0], info.eos);
    o.ignore_eos = false;
    run(e, &o, &a);
    assert_int_equal(a.reason, QN_END_STOP);
    assert_int_equal(a.n_ids, 0);
    assert_int_equal(a.n_text, 0);
    assert_int_equal(a.timings.generated_tokens, 1);
    free(t);
    qn_engine_close(e);
}

/* ---- measuring ---- */

static bool stop_at_once(void *arg, size_t done, size_t total, double ppl)
{
    (void)total;
    (void)ppl;
    *(size_t *)arg = done;
    return false;
}

static void perplexity(void **state)
{
    (void)state;
    enum { N = 100, W = 30 };
    qn_engine *e = engine(64, 7, 1);
    int32_t *t = prompt(N, 9);
    qn_engine_info info;
    qn_engine_get_info(e, &info);
    size_t v = (size_t)info.n_vocab, n = 0;
    float *logits = malloc(W * v * sizeof *logits);
    double sum = 0, sum2 = 0;
    for (size_t w = 0; w + W <= N; w += W) {
        OK(qn_logits(e, t + w, W, W, logits, &err));
        for (size_t i = W / 2; i < W; i++, n++) {
            double z = 0;
            for (size_t k = 0; k < v; k++)
                z += exp((double)logits[(i - 1) * v + k]);
            double x = log(z) - (double)logits[(i - 1) * v + (size_t)t[w + i]];
            sum += x;
            sum2 += x * x;
        }
    }
    qn_perplexity p;
    OK(qn_measure_perplexity(e, t, N, W, NULL, NULL, &p, &err));
    double mean = sum / (double)n, se = sqrt((sum2 / (double)n - mean * mean) / (double)(n - 1));
    assert_int_equal(p.n_scored, n);
    assert_int_equal(p.n_tokens, N);
    assert_true(fabs(p.nll - mean) < 1e-9 && fabs(p.ppl - exp(mean)) < 1e-6 * p.ppl);
    assert_true(fabs(p.error - p.ppl * se) < 1e-6 * p.error);
    assert_true(fabs(p.nll - (mean + 0.001)) > 1e-9); /* planted */
    OK(qn_measure_perplexity(e, t, 20, 0, NULL, NULL, &p, &err)); /* shorter than a window */
    assert_int_equal(p.n_scored, 10);
    OK(qn_measure_perplexity(e, t, 2, 0, NULL, NULL, &p, &err));
    assert_int_equal(p.n_scored, 1);
    size_t done = 0;
    assert_int_equal(qn_measure_perplexity(e, t, N, W, stop_at_once, &done, &p, NULL), QN_ECANCELLED);
    assert_int_equal(done, 1);
    assert_int_equal(qn_measure_perplexity(e, t, 1, 0, NULL, NULL, &p, NULL), QN_EINVAL);
    assert_int_equal(qn_measure_perplexity(e, t, N, 65, NULL, NULL, &p, NULL), QN_EINVAL);
    free(logits);
    free(t);
    qn_engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening), cmocka_unit_test(text), cmocka_unit_test(greedy_chain), cmocka_unit_test(limits),
        cmocka_unit_test(stop_strings), cmocka_unit_test(together), cmocka_unit_test(reuse), cmocka_unit_test(cancel),
        cmocka_unit_test(end_token), cmocka_unit_test(perplexity),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
