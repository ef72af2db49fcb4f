/* sessions.c - who asks, and for which conversation, as far as clients let it be known. Hints only: they decide whose turn it
 * is and whose pages stay, never what is answered. */
#include <string.h>

#include "services/api/ask_int.h"

static uint64_t number(const char *s, size_t n)
{
    const uint64_t h = qn__hash(s, n);
    return h ? h : 1;
}

uint64_t api_client_of(const api_ask *a)
{
    const char *key = http_header(a->x, "authorization");
    if (!key)
        key = http_header(a->x, "x-api-key");
    uint64_t h = key ? number(key, strlen(key)) : 0;
    const uint64_t session = api_session_of(a);
    return session ? session ^ h : h;
}

uint64_t api_session_of(const api_ask *a)
{
    static const char *const headers[] = {"x-session-id", "x-session-affinity", "x-claude-code-session-id", "session-id",
                                          "session_id"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        const char *v = http_header(a->x, headers[i]);
        if (v && *v)
            return number(v, strlen(v));
    }
    static const char *const fields[] = {"prompt_cache_key", "session_id", "user"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const json_t *v = json_object_get(a->body, fields[i]);
        if (json_is_string(v) && json_string_length(v))
            return number(json_string_value(v), json_string_length(v));
    }
    return 0;
}
