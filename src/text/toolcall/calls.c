/* calls.c - reading the tools of a conversation. See calls.h.
 *
 * Refuses: more than 1,024 tools, names that are empty, longer than 256 bytes, given twice, or hold what no dialect can write
 * (control characters, quotes, angle brackets, white space); schemas that are not objects. */
#include "text/toolcall/calls.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

enum { MAX_TOOLS = 1024, MAX_NAME = 256 };

static bool name_fits(const char *name, size_t n)
{
    if (!n || n > MAX_NAME)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] <= ' ' || strchr("\"'<>{}[]\\\x7f", name[i]))
            return false;
    return true;
}

static qn_status read_tool(qn_calls *c, size_t i, json_t *tool, qn_err *err)
{
    char where[64];
    json_t *f = json_object_get(tool, "function");
    (void)snprintf(where, sizeof where, "tools[%zu]", i);
    if (!json_is_object(tool))
        return qn__fail(err, QN_EFORMAT, where, "is not an object; it must be {\"type\":\"function\",\"function\":{...}}");
    if (f && !json_is_object(f))
        return qn__fail(err, QN_EFORMAT, where, "its \"function\" is not an object");
    f = f ? f : tool;
    json_t *name = json_object_get(f, "name"), *schema = json_object_get(f, "parameters");
    if (!json_is_string(name) || !name_fits(json_string_value(name), json_string_length(name)))
        return qn__fail(err, QN_EFORMAT, where,
                        "has no usable name: 1 to %d characters without spaces, quotes, brackets and braces", MAX_NAME);
    if (qn__calls_find(c, json_string_value(name), json_string_length(name)))
        return qn__fail(err, QN_EFORMAT, where, "\"%.80s\" is the name of two tools", json_string_value(name));
    if (schema && json_is_null(schema))
        schema = NULL;
    if (schema && !json_is_object(schema)) {
        (void)snprintf(where, sizeof where, "tools[%zu].function.parameters", i);
        return qn__fail(err, QN_EFORMAT, where, "is not an object; it must be a JSON Schema");
    }
    c->tools[c->n_tools++] = (qn_tool){.name = json_string_value(name), .schema = schema};
    return QN_OK;
}

qn_status qn__calls_open(const char *tools_json, qn_calls **out, qn_err *err)
{
    qn_status st;
    json_error_t e;
    qn_calls *c = qn__calloc(1, sizeof *c);
    if (!c)
        return qn__fail_mem(err, "tools");
    qn__arena_init(&c->arena, (size_t)1 << 20);
    c->json = json_loads(tools_json ? tools_json : "[]", JSON_REJECT_DUPLICATES, &e);
    if (!c->json) {
        char where[80];
        (void)snprintf(where, sizeof where, "tools: line %d, column %d", e.line, e.column);
        st = json_error_code(&e) == json_error_out_of_memory ? qn__fail_mem(err, "tools")
                                                             : qn__fail(err, QN_EFORMAT, where, "not valid JSON: %s", e.text);
        goto out;
    }
    size_t n = json_array_size(c->json), i;
    json_t *tool;
    if (!json_is_array(c->json)) {
        st = qn__fail(err, QN_EFORMAT, "tools", "is not an array");
        goto out;
    }
    if (n > MAX_TOOLS) {
        st = qn__fail(err, QN_ELIMIT, "tools", "holds %zu tools; at most %d are read", n, MAX_TOOLS);
        goto out;
    }
    c->tools = qn__calloc(n ? n : 1, sizeof *c->tools);
    st = c->tools ? QN_OK : qn__fail_mem(err, "tools");
    for (i = 0; i < n && !st; i++) {
        tool = json_array_get(c->json, i);
        st = read_tool(c, i, tool, err);
    }
out:
    if (st)
        qn__calls_close(c);
    else
        *out = c;
    return st;
}

void qn__calls_close(qn_calls *c)
{
    if (!c)
        return;
    json_decref(c->json);
    qn__arena_free(&c->arena);
    qn_free(c->tools);
    qn_free(c);
}

const qn_tool *qn__calls_find(const qn_calls *c, const char *name, size_t n)
{
    for (size_t i = 0; c && i < c->n_tools; i++)
        if (strlen(c->tools[i].name) == n && memcmp(c->tools[i].name, name, n) == 0)
            return &c->tools[i];
    return NULL;
}

/* ---- types ---- */

static unsigned type_named(const char *name)
{
    static const char *const names[] = {"string", "number", "boolean", "null", "array", "object"};
    for (unsigned i = 0; i < 6; i++)
        if (strcmp(names[i], name) == 0)
            return 1u << i;
    return strcmp(name, "integer") == 0 ? QN_TYPE_NUMBER : QN_TYPE_ANY;
}

static unsigned type_of_value(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_STRING: return QN_TYPE_STRING;
    case JSON_INTEGER:
    case JSON_REAL: return QN_TYPE_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE: return QN_TYPE_BOOLEAN;
    case JSON_NULL: return QN_TYPE_NULL;
    case JSON_ARRAY: return QN_TYPE_ARRAY;
    default: return QN_TYPE_OBJECT;
    }
}

/* "#/$defs/name": what it points to, NULL when not there. */
static const json_t *resolve(const json_t *root, const char *ref)
{
    const json_t *at = root;
    if (ref[0] != '#')
        return NULL;
    for (ref++; at && *ref == '/';) {
        char key[256];
        size_t n = 0;
        for (ref++; *ref && *ref != '/' && n < sizeof key - 1; ref++) {
            if (*ref == '~' && (ref[1] == '0' || ref[1] == '1'))
                key[n++] = *++ref == '0' ? '~' : '/';
            else
                key[n++] = *ref;
        }
        key[n] = 0;
        at = json_object_get(at, key);
    }
    return *ref ? NULL : at;
}

static unsigned types_of(const json_t *root, const json_t *s, int *budget)
{
    unsigned types = QN_TYPE_ANY, some;
    const json_t *j;
    if (!json_is_object(s) || --*budget < 0)
        return QN_TYPE_ANY;
    if ((j = json_object_get(s, "$ref")) && json_is_string(j))
        types &= types_of(root, resolve(root, json_string_value(j)), budget);
    j = json_object_get(s, "type");
    if (json_is_string(j))
        types &= type_named(json_string_value(j));
    if (json_is_array(j)) {
        some = 0;
        for (size_t i = 0; i < json_array_size(j); i++)
            if (json_is_string(json_array_get(j, i)))
                some |= type_named(json_string_value(json_array_get(j, i)));
        types &= some;
    }
    if ((j = json_object_get(s, "const")))
        types &= type_of_value(j);
    if (json_is_array(j = json_object_get(s, "enum"))) {
        some = 0;
        for (size_t i = 0; i < json_array_size(j); i++)
            some |= type_of_value(json_array_get(j, i));
        types &= some;
    }
    static const char *const any[] = {"anyOf", "oneOf"};
    for (size_t k = 0; k < 2; k++)
        if (json_is_array(j = json_object_get(s, any[k]))) {
            some = 0;
            for (size_t i = 0; i < json_array_size(j); i++)
                some |= types_of(root, json_array_get(j, i), budget);
            types &= some;
        }
    if (json_is_array(j = json_object_get(s, "allOf")))
        for (size_t i = 0; i < json_array_size(j); i++)
            types &= types_of(root, json_array_get(j, i), budget);
    return types;
}

unsigned qn__tool_schema_types(const json_t *root, const json_t *s)
{
    int budget = 1000;
    return types_of(root, s, &budget);
}

unsigned qn__tool_types(const qn_tool *t, const char *key, size_t n, bool *known)
{
    *known = false;
    if (!t || !t->schema)
        return QN_TYPE_ANY;
    const json_t *p = json_object_getn(json_object_get(t->schema, "properties"), key, n);
    if (!p) {
        p = json_object_get(t->schema, "additionalProperties");
        if (!json_is_object(p))
            return QN_TYPE_ANY;
    } else {
        *known = true;
    }
    int budget = 1000;
    unsigned types = types_of(t->schema, p, &budget);
    return types ? types : QN_TYPE_ANY;
}

bool qn__tool_open_ended(const qn_tool *t)
{
    if (!t || !t->schema)
        return true;
    const json_t *a = json_object_get(t->schema, "additionalProperties");
    return !json_object_get(t->schema, "properties") || json_is_true(a) || json_is_object(a) ||
           json_object_get(t->schema, "patternProperties");
}
