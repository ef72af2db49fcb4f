/* Grammars in generation: what comes out matches, with and without drafting it is the same, what is forced is drafted, and a
 * grammar lives as long as a request needs it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/constraint.h"
#include "engine/model.h"
#include "text/grammar.h"

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        qn_err err = {0};                                                                                              \
        if ((x) != QN_OK)                                                                                              \
            fail_msg("%s: %s: %s", #x, err.where, err.what);                                                           \
    } while (0)

enum { MOST = 400 };

static qn_model *model;
static qn_engine *engine;

static int open_all(void **state)
{
    (void)state;
    qn_engine_options o;
    qn_engine_options_init(&o);
    o.n_ctx = 512;
    o.n_threads = 1;
    return qn_model_open(NULL, QN_OPEN_FULL, &model, NULL) || qn_engine_open(model, &o, &engine, NULL);
}
static int close_all(void **state)
{
    (void)state;
    qn_engine_close(engine);
    qn_model_close(model);
    return 0;
}

typedef enum kind { FIXED, JSON, CHOICE, KINDS } kind;
static const char *const FIXED_TEXT = "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}";

static qn_grammar *grammar(kind k)
{
    qn_ir *ir = NULL;
    qn_grammar *g = NULL;
    OK(qn__ir_open(model->tokenizer, &ir, &err));
    const qn_json_style style = {.any_space = true};
    qn_node root;
    if (k == FIXED) {
        root = qn__ir_text(ir, FIXED_TEXT, strlen(FIXED_TEXT));
    } else if (k == JSON) {
        root = qn__ir_json(ir, &style);
    } else {
        static const char *const words[] = {"yes, it is", "no, it is not", "none of these"};
        qn_node of[3];
        for (int i = 0; i < 3; i++)
            of[i] = qn__ir_text(ir, words[i], strlen(words[i]));
        root = qn__ir_repeat(ir, qn__ir_alt(ir, of, 3), 2, 4);
    }
    qn__ir_root(ir, root);
    OK(qn__grammar_compile(ir, model->tokenizer, &g, &err));
    qn__ir_close(ir);
    return g;
}

typedef struct said {
    char text[4096];
    int32_t ids[MOST];
    size_t n, n_text;
    qn_end_reason reason;
    qn_timings timings;
} said;

static void ask(kind k, int i, int32_t draft, said *s)
{
    int32_t *tokens;
    qn_request_options o;
    qn_request *r = NULL;
    qn_event ev = {0};
    qn_grammar *g = grammar(k);
    const char *prompt = "def main():\n    print({\"a\": [1, 2, 3], \"b\": {\"c\": null}})\n";
    memset(s, 0, sizeof *s);
    qn_request_options_init(&o);
    OK(qn_tokenize(model, prompt, strlen(prompt), true, QN_BOS_AUTO, &tokens, &o.n_tokens, &err));
    o.tokens = tokens;
    o.max_tokens = 300;
    o.grammar = g;
    o.draft = draft;
    o.ignore_eos = i % 2; /* makes no difference: an end is where the grammar has one */
    o.sampling.temperature = i ? 0.9f : 0;
    o.sampling.seed = (uint64_t)i;
    o.sampling.repeat_penalty = i % 3 == 2 ? 1.05f : 1;
    OK(qn_request_open(engine, &o, &r, &err));
    qn__grammar_drop(g);
    qn_free(tokens);
    while (ev.kind != QN_EVENT_END) {
        OK(qn_request_next(r, &ev, &err));
        if (ev.kind == QN_EVENT_TEXT) {
            assert_true(s->n + ev.n_tokens <= MOST && s->n_text + ev.n_text <= sizeof s->text);
            memcpy(s->ids + s->n, ev.tokens, ev.n_tokens * sizeof *ev.tokens);
            memcpy(s->text + s->n_text, ev.text, ev.n_text);
            s->n += ev.n_tokens;
            s->n_text += ev.n_text;
        }
    }
    s->reason = ev.reason;
    s->timings = ev.timings;
    qn_request_close(r);
}

static bool same(const said *a, const said *b)
{
    return a->n == b->n && a->reason == b->reason && a->n_text == b->n_text && memcmp(a->ids, b->ids, sizeof a->ids) == 0 &&
           memcmp(a->text, b->text, a->n_text) == 0;
}

static void matches(kind k, const said *s)
{
    qn_grammar *g = grammar(k);
    qn_matcher *m = NULL;
    OK(qn__matcher_open(g, &m, &err));
    for (size_t i = 0; i < s->n; i++)
        assert_true(qn__matcher_accept(m, s->ids[i]));
    assert_true(s->reason == QN_END_STOP ? qn__matcher_may_end(m) : s->reason == QN_END_LENGTH);
    if (k == FIXED) /* planted: it does not match twice over */
        assert_false(qn__matcher_accept(m, s->ids[0]));
    qn__matcher_close(m);
    qn__grammar_drop(g);
}

static void matches_and_is_the_same(void **state)
{
    (void)state;
    static said want, got;
    int ended = 0, answers = 0;
    int64_t drafted = 0, accepted = 0;
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < 5; i++) {
            ask((kind)k, i, -1, &want);
            assert_true(want.n > 0);
            if (want.reason == QN_END_STOP)
                matches((kind)k, &want);
            ended += want.reason == QN_END_STOP;
            static const int32_t drafts[] = {0, 4, 24};
            for (int d = 0; d < 3; d++, answers++) {
                ask((kind)k, i, drafts[d], &got);
                assert_true(same(&got, &want));
                drafted += got.timings.drafted_tokens;
                accepted += got.timings.accepted_tokens;
            }
        }
    assert_true(ended >= 10 && accepted > 0 && drafted > accepted);
    printf("figure: grammars: %d answers with drafts the same as without, %lld of %lld drafted tokens accepted\n", answers,
           (long long)accepted, (long long)drafted);
}

/* What can be but one thing. Its spelling in tokens is free, so not each token is forced; the text is. */
static void fixed(void **state)
{
    (void)state;
    static said s;
    for (int i = 0; i < 4; i++) {
        ask(FIXED, i, 0, &s);
        assert_int_equal(s.reason, QN_END_STOP);
        assert_int_equal(s.n_text, strlen(FIXED_TEXT));
        assert_memory_equal(s.text, FIXED_TEXT, s.n_text);
    }
}

/* A sequence of tokens is allowed, what comes behind is forced. */
static void drafts(void **state)
{
    (void)state;
    qn_grammar *g = grammar(FIXED);
    qn_constraint *c = NULL;
    int32_t *ids, guess[24], only;
    double p[24];
    size_t n;
    qn_model_info info;
    qn_model_get_info(model, &info);
    float *logits = calloc((size_t)info.n_vocab, sizeof *logits);
    OK(qn__constraint_open(g, model->tokenizer, &c, &err));
    qn__grammar_drop(g);
    OK(qn_tokenize(model, FIXED_TEXT, strlen(FIXED_TEXT), false, QN_BOS_NO, &ids, &n, &err));
    assert_true(n > 4 && n < 30);
    for (size_t i = 0; i < 4; i++) {
        guess[i] = ids[i];
        p[i] = 0.5;
    }
    assert_true(qn__constraint_draft(c, guess, p, 4, 4) == 4);
    guess[2] = ids[0];
    assert_true(qn__constraint_draft(c, guess, p, 4, 2) == 2); /* ids[0] cannot stand there */
    for (size_t i = 0; i < n; i++) { /* nothing of that was accepted */
        memset(logits, 0, (size_t)info.n_vocab * sizeof *logits);
        OK(qn__constraint_mask(c, logits, info.n_vocab, &only, &err));
        assert_true(logits[ids[i]] == 0 && (only < 0 || only == ids[i]));
        OK(qn__constraint_accept(c, ids[i], &err));
    }
    assert_int_equal(qn__constraint_draft(c, guess, p, 0, 8), 0); /* an end is not drafted */
    qn_free(ids);
    free(logits);
    qn__constraint_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_and_is_the_same), cmocka_unit_test(fixed), cmocka_unit_test(drafts),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
