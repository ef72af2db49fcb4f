/* Drafting: the guesses themselves; what steps cost; and that no answer differs by a byte because something was drafted, in
 * whatever number, with whatever else a request asks for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/engine.h"

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        qn_err err = {0};                                                                                              \
        if ((x) != QN_OK)                                                                                              \
            fail_msg("%s: %s: %s", #x, err.where, err.what);                                                           \
    } while (0)

/* ---- guesses ---- */

static void copies(void **state)
{
    (void)state;
    int32_t t[600], out[QN_DRAFT_MOST];
    double p[QN_DRAFT_MOST];
    size_t n = 300;
    for (size_t i = 0; i < n; i++)
        t[i] = (int32_t)(i * 7919 % 1009);
    qn_drafter d;
    qn__drafter_init(&d);
    assert_true(qn__drafter_see(&d, t, n));
    assert_int_equal(qn__drafter_guess(&d, t, n, 8, out, p), 0); /* nothing has occurred twice */
    for (size_t i = 0; i < 5; i++) /* a copy begins at 100 */
        t[n++] = t[100 + i];
    assert_true(qn__drafter_see(&d, t, n));
    assert_int_equal(qn__drafter_guess(&d, t, n, 8, out, p), 8);
    assert_memory_equal(out, t + 105, sizeof *out * 8);
    for (int i = 1; i < 8; i++)
        assert_true(p[i] > 0 && p[i] <= p[i - 1] && p[i] <= 1);
    /* One token is another: the guess is lost and found again one token later, at the same place. */
    for (size_t i = 105; i < 120; i++)
        t[n++] = t[i];
    t[n++] = 5000;
    t[n++] = t[121];
    assert_true(qn__drafter_see(&d, t, n));
    assert_int_equal(qn__drafter_guess(&d, t, n, 4, out, p), 4);
    assert_memory_equal(out, t + 122, sizeof *out * 4);
    qn__drafter_free(&d);
}

static void repetitions(void **state)
{
    (void)state;
    int32_t t[64], out[QN_DRAFT_MOST];
    double p[QN_DRAFT_MOST];
    for (size_t i = 0; i < 20; i++)
        t[i] = (int32_t)(i % 3);
    qn_drafter d;
    qn__drafter_init(&d);
    assert_true(qn__drafter_see(&d, t, 20));
    assert_int_equal(qn__drafter_guess(&d, t, 20, 12, out, p), 12);
    for (int i = 0; i < 12; i++)
        assert_int_equal(out[i], (20 + i) % 3);
    qn__drafter_free(&d);
}

/* Bad guesses are counted though nobody tries them, and good ones bring it back. */
static void backs_off(void **state)
{
    (void)state;
    int32_t *t = malloc(20000 * sizeof *t), out[QN_DRAFT_MOST];
    double p[QN_DRAFT_MOST];
    size_t n = 0;
    uint32_t x = 1;
    qn_drafter d;
    qn__drafter_init(&d);
    while (n < 4000) { /* pairs that occur again and again, each time followed by something else */
        x = x * 1664525u + 1013904223u;
        const int32_t some[] = {1, 2, (int32_t)(x >> 8), (int32_t)(x >> 8) + (1 << 25)};
        for (int i = 0; i < 4; i++) {
            t[n++] = some[i];
            assert_true(qn__drafter_see(&d, t, n));
        }
    }
    t[n++] = 1;
    t[n++] = 2;
    assert_true(qn__drafter_see(&d, t, n));
    assert_true(qn__drafter_guess(&d, t, n, 1, out, p) == 1 && p[0] < 0.1);
    for (int i = 0; i < 200; i++) {
        t[n++] = i % 2 ? 2 : 1;
        assert_true(qn__drafter_see(&d, t, n));
    }
    assert_true(qn__drafter_guess(&d, t, n, 8, out, p) == 8 && p[7] > 0.8);
    qn__drafter_free(&d);
    free(t);
}

/* What n tokens take, in steps of one row, when a row more costs `price`, chosen as the engine does. next: what comes after t[0..n),
 * of which n_guess are guessed. copy: a recurrent model's, whose drafted steps cost so much more for a second state, and whose rows that
 * were right are computed again when one was wrong; below 0: no recurrent model. */
static double play(size_t tokens, double price, double copy, int32_t (*next)(const int32_t *t, size_t n, const int32_t *guess, int n_guess, bool tried))
{
    int32_t *t = malloc((tokens + 64) * sizeof *t), guess[QN_DRAFT_MOST];
    double p[QN_DRAFT_MOST], spent = 0;
    size_t n = 40;
    int again = 0;
    qn_drafter d;
    qn__drafter_init(&d);
    for (size_t i = 0; i < n; i++)
        t[i] = (int32_t)(i % 20);
    while (n < tokens) {
        assert_true(qn__drafter_see(&d, t, n));
        int k = 0, right = 0, all = qn__drafter_guess(&d, t, n, QN_DRAFT_MOST, guess, p), most = qn__drafter_most(&d);
        for (double expected = 1; k < all && k < most; k++) {
            const double redo = copy >= 0 ? ((k ? p[k - 1] : 1) - p[k]) * k : 0;
            if (p[k] * (1 + (k + again) * price) <= (1 + redo) * price * expected)
                break;
            expected += p[k];
        }
        spent += 1 + (k + again) * price + (copy > 0 && k > 0 ? copy : 0);
        for (;; right++) { /* as the engine's say() */
            int32_t token = next(t, n, guess + right, all - right, k > 0);
            t[n++] = token;
            if (right >= k || guess[right] != token)
                break;
        }
        qn__drafter_paid(&d, again, price);
        qn__drafter_tried(&d, k, right, price + (copy > 0 && k > 0 ? copy / k : 0));
        again = copy >= 0 && right < k ? right : 0;
    }
    spent /= (double)(n - 40);
    qn__drafter_free(&d);
    free(t);
    return spent;
}
/* Says what is guessed as long as nobody stakes anything on it. */
static int32_t contrary(const int32_t *t, size_t n, const int32_t *guess, int n_guess, bool tried)
{
    (void)t;
    return n_guess > 0 ? tried ? 1000 + (int32_t)n : guess[0] : (int32_t)(n % 20);
}
/* Copies, and every so often says something else. */
static int32_t copying(const int32_t *t, size_t n, const int32_t *guess, int n_guess, bool tried)
{
    (void)guess, (void)n_guess, (void)tried;
    return n % 97 == 0 ? 2000 + (int32_t)n : t[n - 20];
}
static int32_t noise(const int32_t *t, size_t n, const int32_t *guess, int n_guess, bool tried)
{
    (void)t, (void)guess, (void)n_guess, (void)tried;
    uint32_t h = (uint32_t)n * 0x9E3779B1u;
    h = (h ^ h >> 15) * 0x85EBCA77u;
    return (int32_t)((h ^ h >> 13) % 32);
}

/* The worst that drafting can cost, at any price of a row; and that it still brings what it can. */
static void little_to_lose(void **state)
{
    (void)state;
    static const double prices[] = {0.05, 0.17, 0.4, 0.9}, copies[] = {-1, 0.1};
    for (size_t c = 0; c < 2; c++)
        for (size_t i = 0; i < sizeof prices / sizeof *prices; i++)
            for (size_t n = 140; n <= 4040; n += 1300) {
                const double lost = play(n, prices[i], copies[c], contrary), chance = play(n, prices[i], copies[c], noise);
                if (n == 1440)
                    printf("figure: drafts%s: a row at %.2f steps: against a contrary text %.3f times the speed, noise %.3f, a copy %.2f\n",
                           c ? ", recurrent" : "", prices[i], 1 / lost, 1 / chance, 1 / play(n, prices[i], copies[c], copying));
                assert_true(lost <= (n < 200 ? 1.05 : 1.03) && chance <= 1.03);
            }
    assert_true(play(2000, 0.17, -1, copying) < 0.4 && play(2000, 0.05, -1, copying) < 0.25);
    assert_true(play(2000, 0.17, 0.1, copying) < 0.5 && play(2000, 0.05, 0.1, copying) < 0.3);
}

static void index_without_memory(void **state)
{
    (void)state;
    int32_t t[100] = {0};
    qn_drafter d;
    for (uint64_t i = 1; i <= 4; i++) {
        qn__drafter_init(&d);
        qn__alloc_fail_at(i);
        assert_false(qn__drafter_see(&d, t, 100));
        qn__alloc_fail_at(0);
        assert_true(qn__drafter_see(&d, t, 100));
        qn__drafter_free(&d);
    }
}

/* ---- costs ---- */

static void costs(void **state)
{
    (void)state;
    qn_cost c = {0};
    double seconds, more;
    qn__cost_decode(&c, 1, &seconds, &more);
    assert_true(seconds > 0 && more > 0);
    assert_int_equal(qn__cost_prefill(&c, 0, 0, INFINITY, 16, 512), 512);
    assert_true(qn__cost_prefill(&c, 0, 2, 0.2, 16, 512) <= 64); /* nothing is known yet */
    for (int i = 0; i < 100; i++)
        qn__cost_learn(&c, 0, 0, 1 + i % 8, 0.020 + 0.001 * (1 + i % 8));
    qn__cost_decode(&c, 4, &seconds, &more);
    assert_true(fabs(seconds - 0.024) < 1e-6 && fabs(more - 0.001) < 1e-6);
    for (int i = 0; i < 50; i++) /* 1 ms a token, and 1 us more for each position before it */
        qn__cost_learn(&c, 100, 50 + 100 * i, 0, 100 * (0.001 + 1e-6 * (50 + 100 * i)));
    for (int depth = 0; depth < 8000; depth += 1000) {
        int n = qn__cost_prefill(&c, depth, 4, 0.2, 16, 512);
        double takes = 0.024 + n * (0.001 + 1e-6 * (depth + 0.5 * n));
        assert_true(n > 16 && n < 180 && takes <= 0.2001 && takes > (depth > 3000 ? 0.19 : 0.05)); /* far from what was seen: careful */
    }
    assert_int_equal(qn__cost_prefill(&c, 0, 4, 0.01, 16, 512), 16); /* cannot be kept: a little, all the same */
    assert_int_equal(qn__cost_prefill(&c, 0, 4, 0.2, 16, 10), 10);
    for (int i = 0; i < 500; i++) /* what a row costs is not forgotten when nothing is drafted for long */
        qn__cost_learn(&c, 0, 0, 1, 0.021);
    qn__cost_decode(&c, 1, &seconds, &more);
    assert_true(fabs(seconds - 0.021) < 1e-6 && fabs(more - 0.001) < 1e-5);
}

/* A machine of the speed of a laptop with a 1.5B model: a step of so many rows takes so long. It gets slower and faster on the way, by
 * other programs' doing. No step beside which somebody writes may take longer than the gap, but for the one in which it is found out. */
static void gaps(void **state)
{
    (void)state;
    const double gap = 0.25, margin = 0.8; /* as in deal() */
    int late = 0, steps = 0, chunks = 0, surprises = 0;
    uint32_t x = 1;
    qn_cost c = {0};
    double speed = 1, worst = 0;
    for (int prompt = 0; prompt < 40; prompt++) {
        if (prompt % 8 == 7) {
            speed = prompt % 16 == 7 ? 2.5 : 1;
            surprises++;
        }
        for (double depth = 0; depth < 6000; steps++) {
            const int decode = 1 + steps % 4, n = qn__cost_prefill(&c, depth, decode, margin * gap, 16, 512);
            x = x * 1664525u + 1013904223u;
            const double noise = 0.95 + 0.1 * (x >> 8) / (1 << 24);
            const double seconds = noise * speed * (0.040 + 0.006 * decode + n * (0.0037 + 1e-7 * (depth + 0.5 * n)));
            qn__cost_learn(&c, n, depth + 0.5 * n, decode, seconds);
            qn__cost_learn(&c, 0, 0, decode, noise * speed * (0.040 + 0.006 * decode)); /* now and then nobody reads */
            late += seconds > gap && n > 16;
            if (getenv("VERBOSE") && seconds > gap && n > 16)
                printf("prompt %d depth %.0f n %d decode %d: %.3f\n", prompt, depth, n, decode, seconds);
            worst = seconds > worst ? seconds : worst;
            depth += n;
            chunks += n;
        }
    }
    printf("figure: gap: simulated 1.5B model that gets 2.5 times slower %d times: %d of %d steps over 250 ms, worst %.0f ms, %.0f prompt "
           "tokens a step\n", surprises / 2 + surprises % 2, late, steps, 1e3 * worst, (double)chunks / steps);
    assert_true(late <= 1 + surprises && (double)chunks / steps > 16);
}

/* The same model beside writers whose steps are known, reading nothing yet, on a machine of its own and on one that others keep busy: a
 * tenth of the steps take 1.2 to 1.6 times as long. `first`: steps over the gap that were the first of all that read; returns the others. */
static int busy(bool others, int *first, int *steps, double *worst)
{
    const double gap = 0.25, margin = 0.8;
    int late = 0;
    uint32_t x = 1;
    *first = *steps = 0;
    *worst = 0;
    for (int run = 0; run < 20; run++) {
        qn_cost c = {0};
        int k = 0;
        for (int i = 0; i < 20; i++)
            qn__cost_learn(&c, 0, 0, 1 + i % 2, 0.040 + 0.006 * (1 + i % 2));
        for (int prompt = 0; prompt < 20; prompt++)
            for (double depth = 0; depth < 2000; k++) {
                double u[3];
                for (int i = 0; i < 3; i++) {
                    x = x * 1664525u + 1013904223u;
                    u[i] = (double)(x >> 8) / (1 << 24);
                }
                const int decode = 1 + k % 4, n = qn__cost_prefill(&c, depth, decode, margin * gap, 16, 512);
                const double noise = (0.95 + 0.1 * u[0]) * (others && u[1] < 0.1 ? 1.2 + 0.4 * u[2] : 1);
                const double seconds = noise * (0.040 + 0.006 * decode + n * (0.0037 + 1e-7 * (depth + 0.5 * n)));
                qn__cost_learn(&c, n, depth + 0.5 * n, decode, seconds);
                qn__cost_learn(&c, 0, 0, decode, 0.040 + 0.006 * decode);
                *(k ? &late : first) += seconds > gap;
                *worst = seconds > *worst ? seconds : *worst;
                depth += n;
                ++*steps;
            }
    }
    return late;
}

static void busy_machine(void **state)
{
    (void)state;
    for (int others = 0; others < 2; others++) {
        int first, steps;
        double worst;
        const int late = busy(others, &first, &steps, &worst);
        printf("figure: gap: simulated 1.5B model%s: %d of 20 first and %d of %d further steps over 250 ms, worst %.0f ms\n",
               others ? ", a tenth of the steps delayed" : "", first, late, steps - 20, 1e3 * worst);
        assert_true(first <= others && late <= (others ? steps / 25 : 0));
    }
}

/* ---- same bytes ---- */

#ifdef QN_SANITIZED /* many times slower */
enum { KINDS = 5, KVS = 1, MOST = 160 };
#else
enum { KINDS = 10, KVS = 3, MOST = 160 };
#endif

typedef struct said {
    int32_t ids[MOST];
    char text[4096];
    qn_prob probs[MOST * 4];
    size_t n, n_text;
    qn_end_reason reason;
    qn_timings timings;
} said;

/* Prompts that repeat themselves with changes, as edits do, and what a request may ask for, one thing each. */
static void ask(qn_engine *e, int kind, int32_t draft, said *s)
{
    int32_t tokens[200];
    uint32_t x = (uint32_t)kind + 3;
    for (size_t i = 0; i < 200; i++) {
        x = x * 1664525u + 1013904223u;
        tokens[i] = i >= 40 && i % 17 ? tokens[i - 40] : (int32_t)((x >> 8) % 2000);
    }
    qn_request_options o;
    qn_request_options_init(&o);
    o.tokens = tokens;
    o.n_tokens = 60 + (size_t)kind * 13;
    o.max_tokens = 100;
    o.draft = draft;
    o.ignore_eos = kind != 1;
    o.probs = kind % 3 == 0;
    o.top_probs = o.probs ? 3 : 0;
    if (kind >= 3)
        o.sampling.seed = (uint64_t)kind;
    o.sampling.temperature = kind < 3 ? 0 : kind == 3 ? 0.3f : 0.7f;
    o.sampling.repeat_penalty = kind == 4 ? 1.1f : 1;
    o.sampling.frequency_penalty = kind == 5 ? 0.2f : 0;
    o.sampling.dry_multiplier = kind == 6 ? 0.3f : 0;
    o.sampling.top_k = kind == 7 ? 5 : 0;
    o.sampling.top_p = kind == 8 ? 0.8f : 1;
    const char *const stop[] = {"\n\n", "the end", "ee"};
    o.stop = stop;
    o.n_stop = kind == 2 || kind == 9 ? 3 : 0;
    qn_request *r = NULL;
    qn_event ev = {0};
    memset(s, 0, sizeof *s);
    OK(qn_request_open(e, &o, &r, &err));
    while (ev.kind != QN_EVENT_END) {
        OK(qn_request_next(r, &ev, &err));
        if (ev.kind != QN_EVENT_TEXT)
            continue;
        assert_true(s->n + ev.n_tokens <= MOST && s->n_text + ev.n_text <= sizeof s->text);
        memcpy(s->ids + s->n, ev.tokens, ev.n_tokens * sizeof *ev.tokens);
        memcpy(s->text + s->n_text, ev.text, ev.n_text);
        assert_true((ev.probs != NULL) == (o.probs && ev.n_tokens));
        if (ev.probs)
            memcpy(s->probs + s->n * 4, ev.probs, ev.n_tokens * 4 * sizeof *ev.probs);
        s->n += ev.n_tokens;
        s->n_text += ev.n_text;
    }
    s->reason = ev.reason;
    s->timings = ev.timings;
    qn_request_close(r);
}

static bool same(const said *a, const said *b)
{
    return a->n == b->n && a->n_text == b->n_text && a->reason == b->reason && memcmp(a->ids, b->ids, sizeof a->ids) == 0 &&
           memcmp(a->text, b->text, a->n_text) == 0 && memcmp(a->probs, b->probs, sizeof a->probs) == 0 &&
           a->timings.generated_tokens == b->timings.generated_tokens;
}

static void same_bytes(void **state)
{
    (void)state;
    static said want, got;
    qn_model *m = NULL;
    int64_t drafted = 0, accepted = 0;
    OK(qn_model_open(NULL, QN_OPEN_FULL, &m, &err));
    for (int kv = 0; kv < KVS; kv += 2) {
        qn_engine_options eo;
        qn_engine *e = NULL, *alone = NULL;
        qn_engine_options_init(&eo);
        eo.n_ctx = 512;
        eo.n_threads = 1;
        eo.kv = (qn_kv_type)kv;
        OK(qn_engine_open(m, &eo, &e, &err));
        for (int kind = 0; kind < KINDS; kind++) {
            OK(qn_engine_open(m, &eo, &alone, &err));
            ask(alone, kind, -1, &want);
            qn_engine_close(alone);
            assert_int_equal(want.timings.drafted_tokens, 0);
            static const int32_t drafts[] = {0, 1, 5, 24, -1};
            for (size_t i = 0; i < sizeof drafts / sizeof *drafts; i++) {
                ask(e, kind, drafts[i], &got); /* on what the one before left behind, too */
                if (!same(&got, &want))
                    fail_msg("kind %d: drafting %d at a time changes the answer", kind, drafts[i]);
                drafted += got.timings.drafted_tokens;
                accepted += got.timings.accepted_tokens;
            }
        }
        qn_engine_close(e);
    }
    assert_true(accepted > 50 * KINDS && drafted > accepted + 50 * KINDS); /* both outcomes were met, often */
    want.ids[want.n / 2] ^= 1; /* planted */
    assert_false(same(&got, &want));
    printf("figure: drafting: %d answers the same, %lld of %lld drafted tokens accepted\n", (KVS + 1) / 2 * KINDS * 5, (long long)accepted,
           (long long)drafted);
    qn_model_close(m);
}

/* A draft model; the model itself is one of the same vocabulary, and agrees with itself where nothing is drawn. */
static void draft_model(void **state)
{
    (void)state;
    static said want, got;
    qn_model *m = NULL, *header = NULL;
    qn_engine_options eo;
    qn_engine *e = NULL, *alone = NULL;
    OK(qn_model_open(NULL, QN_OPEN_FULL, &m, &err));
    OK(qn_model_open(NULL, QN_OPEN_HEADER, &header, &err));
    qn_engine_options_init(&eo);
    eo.n_ctx = 512;
    eo.n_threads = 1;
    eo.draft_model = header;
    assert_int_equal(qn_engine_open(m, &eo, &e, NULL), QN_EINVAL);
    eo.draft_model = m;
    OK(qn_engine_open(m, &eo, &e, &err));
    eo.draft_model = NULL;
    int64_t drafted = 0, accepted = 0;
    for (int kind = 0; kind < KINDS; kind++) {
        OK(qn_engine_open(m, &eo, &alone, &err));
        ask(alone, kind, -1, &want);
        qn_engine_close(alone);
        for (int32_t draft = 0; draft < 8; draft += 3) {
            ask(e, kind, draft, &got);
            assert_true(same(&got, &want));
            drafted += got.timings.drafted_tokens;
            accepted += got.timings.accepted_tokens;
            if (kind < 2 && draft == 6) /* greedy */
                assert_true(got.timings.accepted_tokens * 10 >= got.timings.drafted_tokens * 7);
        }
    }
    assert_true(accepted > 0 && drafted > accepted);
    printf("figure: draft model: %d answers the same, %lld of %lld drafted tokens accepted\n", 3 * KINDS, (long long)accepted,
           (long long)drafted);
    qn_engine_close(e);
    qn_model_close(header);
    qn_model_close(m);
}

/* Log-probabilities: of the model's own distribution, whatever the sampler makes of it. */
static void probabilities(void **state)
{
    (void)state;
    enum { V = 5 };
    const float logits[V] = {1, 3, 3, -INFINITY, NAN};
    double sum = exp(1) + 2 * exp(3);
    qn_prob p[6];
    qn__sampler_probs(logits, V, 0, 5, p);
    const int32_t order[] = {0, 1, 2, 0, -1, -1};
    const double value[] = {1 - log(sum), 3 - log(sum), 3 - log(sum), 1 - log(sum), 0, 0};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(p[i].token, order[i]);
        assert_true(fabs((double)p[i].logprob - value[i]) < 1e-6);
    }
    qn__sampler_probs(logits, V, 3, 1, p);
    assert_true(p[0].logprob == -9999 && p[1].token == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies), cmocka_unit_test(repetitions), cmocka_unit_test(backs_off),
        cmocka_unit_test(little_to_lose), cmocka_unit_test(index_without_memory), cmocka_unit_test(costs), cmocka_unit_test(gaps), cmocka_unit_test(busy_machine), cmocka_unit_test(probabilities),
        cmocka_unit_test(same_bytes), cmocka_unit_test(draft_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
