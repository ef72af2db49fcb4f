/* fuzz_body.c - request bodies: parsing, getters with paths, the canonical form of conversations and its bending. What is accepted
 * must be valid JSON again, and canonical already. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "services/api/canon.h"
#include "services/api/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void walk(json_t *root)
{
    qn_err err;
    const api_at body = api_root(root, &err);
    api_at list, tools;
    int64_t i = 0;
    float f = 0;
    bool b = false;
    const char *s = "";
    size_t k = 0;
    (void)api_get_int(&body, "n", -1, 128, &i);
    (void)api_get_float(&body, "temperature", 0, 2, &f);
    (void)api_get_bool(&body, "stream", &b);
    (void)api_get_text(&body, "model", &s);
    (void)api_get_bytes(&body, "prompt", &s, &k);
    if (!(f >= 0 && f <= 2) || i < -1 || i > 128 || strlen(err.where) >= sizeof err.where)
        abort();
    json_t *canon = NULL, *again = NULL;
    if (api_get_array(&body, "messages", &list) && api_canon_messages(list.j, &canon, &err) == QN_OK) {
        if (api_canon_messages(canon, &again, &err) != QN_OK || !json_equal(canon, again))
            abort();
        for (int how = 0; how < API_BENDS; how++)
            json_decref(api_canon_bend(canon, (api_bend)how));
    }
    if (api_get_array(&body, "tools", &tools))
        json_decref(api_canon_tools(tools.j));
    json_decref(canon);
    json_decref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    json_t *j = NULL;
    qn_err err;
    qn_buf out = {0};
    char *text = qn__strndup((const char *)data, n);
    if (!text)
        return 0;
    api_put_string(&out, text, n);
    json_t *back = out.failed ? NULL : json_loadb(out.data, out.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!out.failed && !json_is_string(back)) /* what is written is JSON, whatever the bytes */
        abort();
    json_decref(back);
    qn__buf_free(&out);
    if (api_json_parse(text, n, &j, &err) == QN_OK) {
        walk(j);
        json_decref(j);
    }
    qn_free(text);
    return 0;
}
