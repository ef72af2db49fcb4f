/* world_store.c - a key-value service with versions. In the hardest tier, reads may come from a replica that is behind, which they say;
 * a read may be asked to be fresh. See world.h. */
#include <stdio.h>
#include <string.h>

#include "services/probe/world.h"

enum { LIST, GET, SET, DELETE };

static const qn_tool_spec tools[] = {
    [LIST] = {"list_keys", "Keys that begin with a prefix.", {{"prefix", 's', "\"\" for all"}}},
    [GET] = {"get_value", "The value and the version of a key. From the nearest replica, which may be behind, unless fresh.",
             {{"key", 's', "key"}, {"fresh", 'B', "true: the newest value, for certain"}}},
    [SET] = {"set_value", "Set a key. With a version: only if that is still the key's (0: only if there is none).",
             {{"key", 's', "key"}, {"value", 's', "value"}, {"version", 'I', "the version that was read"}}},
    [DELETE] = {"delete_key", "Delete a key.", {{"key", 's', "key"}}},
};

static int find(const qn_store *s, const char *key)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->k[i].key, key) == 0)
            return (int)i;
    return -1;
}

static void get(const qn_env *e, int i, bool fresh, qn_buf *out)
{
    const qn_store *s = e->store;
    if (e->stale && !fresh && s->k[i].before)
        qn__buf_printf(out, "value: %s\nversion: %d\n(from a replica that may be behind)", s->k[i].before, s->k[i].version - 1);
    else
        qn__buf_printf(out, "value: %s\nversion: %d", s->k[i].value, s->k[i].version);
}

static bool set(qn_env *e, int i, const json_t *args, qn_buf *out)
{
    qn_store *s = e->store;
    const char *key = qn__arg(args, "key"), *value = qn__arg(args, "value");
    const json_t *wanted = json_object_get(args, "version");
    const int now = i >= 0 && !s->k[i].gone ? s->k[i].version : 0;
    if (wanted && json_integer_value(wanted) != now) {
        qn__buf_printf(out, "error: the version is %d, not %lld; read the key again", now, (long long)json_integer_value(wanted));
        return false;
    }
    if (i < 0 && s->n == QN_KEYS) {
        qn__buf_puts(out, "error: the store is full");
        return false;
    }
    if (i < 0) {
        i = (int)s->n++;
        s->k[i].key = qn__env_text(e, key, strlen(key));
    }
    s->k[i].before = NULL;
    s->k[i].value = qn__env_text(e, value, strlen(value));
    s->k[i].gone = false;
    s->k[i].version++;
    qn__env_effect(e, "set %s", key);
    qn__buf_printf(out, "set; version %d", s->k[i].version);
    return true;
}

static bool call(qn_env *e, size_t tool, const json_t *args, qn_buf *out)
{
    qn_store *s = e->store;
    if (tool == LIST) {
        const char *prefix = qn__arg(args, "prefix");
        size_t n = 0;
        for (size_t i = 0; i < s->n; i++)
            if (!s->k[i].gone && strncmp(s->k[i].key, prefix, strlen(prefix)) == 0) {
                qn__buf_printf(out, "%s\n", s->k[i].key);
                n++;
            }
        if (!n)
            qn__buf_puts(out, "no key begins so");
        return true;
    }
    const char *key = qn__arg(args, "key");
    const int i = find(s, key);
    if (tool == SET)
        return set(e, i, args, out);
    if (i < 0 || s->k[i].gone) {
        qn__buf_printf(out, "error: there is no key %.100s", key);
        return false;
    }
    if (tool == GET) {
        get(e, i, json_is_true(json_object_get(args, "fresh")), out);
        return true;
    }
    s->k[i].gone = true;
    qn__env_effect(e, "remove-key %s", key);
    qn__buf_printf(out, "deleted %s", key);
    return true;
}

const qn_world qn__world_store = {tools, sizeof tools / sizeof *tools, call};
