/* fuzz_template.c - the input is a template; a small conversation is rendered with it, under small limits. */
#include <stdio.h>
#include <stdlib.h>

#include "text/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char conversation[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"h\u00e9 <b> "
    "'q'\\n\"},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":{"
    "\"name\":\"f\","
    "\"arguments\":\"{\\\"a\\\": [1, 2.5, null]}\"}}]},{\"role\":\"tool\",\"name\":\"f\",\"content\":\"{}\"}],"
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":"
    "{\"a\":"
    "{\"type\":\"array\"}}}}}]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const qn_jinja_limits lim = {.steps = 200000, .depth = 60, .memory = (size_t)4 << 20};
    qn_chat_input in = {
        .messages_json = conversation, .bos = "<s>", .eos = "</s>", .add_generation_prompt = true, .now = 1767355200};
    qn_jinja *t = NULL;
    qn_err err = {0};
    char *text = NULL;
    size_t n = 0;
    qn_status s = qn__jinja_parse((const char *)data, size, &lim, &t, &err);
    if (s == QN_OK)
        s = qn__chat_render(t, &in, &text, &n, &err);
    if (s == QN_OK ? !text || text[n] : !err.what[0] || err.code != s) {
        (void)fprintf(stderr, "status %d without what it promises\n", (int)s);
        abort();
    }
    qn_free(text);
    qn__jinja_free(t);
    return 0;
}
