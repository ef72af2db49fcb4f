/* test_audit_remote.c - the same audit of the same model, in this process and over HTTP, gives the same scores: every kind, every length,
 * every cell of the map. Planted fault: with another seed the samples must differ. */
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

#include "ledger_path.h"
#include "quern.h"

static json_t *audit(const char *endpoint, uint64_t seed)
{
    qn_audit_options o;
    char *text = NULL;
    qn_err err = {0};
    qn_audit_options_init(&o);
    o.probe.endpoint = endpoint;
    o.probe.model = endpoint ? "embedded" : NULL;
    o.probe.ledger = ledger_path;
    o.probe.seed = seed;
    o.probe.fresh = true;
    o.kinds = "plain,needle,tool-result";
    o.fillers = "c,prose";
    o.max_length = 1200;
    o.samples = 1;
    o.max_tokens = 48;
    if (qn_audit(&o, &text, &err))
        fail_msg("%s: %s", err.where, err.what);
    json_t *r = json_loads(text, 0, NULL);
    qn_free(text);
    assert_non_null(r);
    return r;
}

static bool keep_answer(void *arg, const char *sample)
{
    json_t *s = json_loads(sample, 0, NULL), *d = json_object_get(s, "data");
    (void)json_object_set(arg, json_string_value(json_object_get(s, "item")), json_object_get(d, "answer"));
    json_decref(s);
    return true;
}

static json_t *answers(const json_t *report)
{
    json_t *all = json_object();
    assert_int_equal(qn_ledger_samples(ledger_path, json_integer_value(json_object_get(report, "run")), keep_answer, all, NULL), QN_OK);
    return all;
}

static void test_same_scores(void **state)
{
    (void)state;
    qn_server_options so;
    qn_server *s = NULL;
    qn_err err = {0};
    char url[64];
    qn_server_options_init(&so);
    so.port = 0;
    so.ollama_port = -1;
    if (qn_server_open(&so, &s, &err))
        fail_msg("%s: %s", err.where, err.what);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", qn_server_port(s, NULL));
    json_t *here = audit(NULL, 1), *there = audit(url, 1), *other = audit(NULL, 2);
    static const char *const same[] = {"verdict", "kinds", "heat_map", "depth_scores", "planted", "absent", "guess", "outcomes", "exact", "overhead", "tools"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (!json_equal(json_object_get(here, same[i]), json_object_get(there, same[i])))
            fail_msg("%s differs", same[i]);
    json_t *a = answers(here), *b = answers(there), *c = answers(other);
    assert_true(json_object_size(a) > 60);
    assert_true(json_equal(a, b));
    assert_false(json_equal(a, c)); /* planted */
    print_message("figure: audit: %zu answers over HTTP are those in this process, to the byte; over HTTP %.0f %% of the prompts' tokens were reused\n",
                  json_object_size(a), 100 * json_number_value(json_object_get(json_object_get(there, "cost"), "reused")));
    json_decref(a);
    json_decref(b);
    json_decref(c);
    json_decref(here);
    json_decref(there);
    json_decref(other);
    qn_server_stop(s);
    qn_server_wait(s);
    qn_server_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_scores)};
    return cmocka_run_group_tests(tests, make_ledger_path, drop_ledger);
}
