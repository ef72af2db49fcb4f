/* calls_grammar.c - from the tools of a conversation to what output has to look like. See calls.h.
 *
 *   auto:      [reasoning] text up to an opening, and from there on a call; or to the end
 *   required:  [reasoning] calls
 *
 * The opening of a call cannot be written but to begin one, names are those that there are, arguments match their schemas, and behind
 * the last call nothing follows. An object whose schema lists properties and does not say whether others may be is taken to allow no
 * others: what a caller did not name is made up. */
#include "text/toolcall/calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"

enum { MAX_NODES = 64 };

typedef struct build {
    const qn_calls *c;
    const qn_calls_want *want;
    const qn_tokenizer *t;
    qn_ir *ir;
    qn_err *err;
    qn_status st; /* the first failure */
} build;

/* A sequence under construction. */
typedef struct seq {
    qn_node n[MAX_NODES];
    size_t count;
} seq;

static void add(seq *s, qn_node n)
{
    if (s->count < MAX_NODES)
        s->n[s->count++] = n;
}

static qn_node done(build *b, const seq *s)
{
    return qn__ir_seq(b->ir, s->n, s->count);
}

static qn_node optional(build *b, qn_node n)
{
    return qn__ir_repeat(b->ir, n, 0, 1);
}

static qn_node either(build *b, qn_node x, qn_node y)
{
    return qn__ir_alt(b->ir, (qn_node[]){x, y}, 2);
}

static qn_node text(build *b, const char *s)
{
    return qn__ir_text(b->ir, s, strlen(s));
}

/* How long the special token at p is; 0: none is there. */
static size_t special_at(const build *b, const char *p, size_t n)
{
    if (!b->t || (*p != '<' && *p != '['))
        return 0;
    for (size_t k = 2; k <= n && k < 64; k++)
        if (p[k - 1] == '>' || p[k - 1] == ']') {
            int32_t id = qn__token_find(b->t, p, k);
            if (id >= 0 && (qn__token_attr(b->t, id) == QN_TOKEN_CONTROL || qn__token_attr(b->t, id) == QN_TOKEN_USER))
                return k;
        }
    return 0;
}

static qn_node id_node(build *b)
{
    static const uint32_t digit[1][2] = {{'0', '9'}}, alnum[3][2] = {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}};
    if (b->c->dialect->id == QN_ID_ALNUM9)
        return qn__ir_repeat(b->ir, qn__ir_class(b->ir, alnum, 3, false), 9, 9);
    return qn__ir_repeat(b->ir, qn__ir_class(b->ir, digit, 1, false), 1, 3);
}

/* A piece of the spelling: special tokens in it are themselves, ids are ids. */
static qn_node lit_n(build *b, const char *p, size_t n)
{
    seq s = {.count = 0};
    size_t from = 0;
    for (size_t i = 0; i <= n;) {
        size_t k = i < n ? special_at(b, p + i, n - i) : 0;
        bool id = i < n && p[i] == QN_ID_HERE;
        if (i < n && !k && !id) {
            i++;
            continue;
        }
        if (i > from)
            add(&s, qn__ir_text(b->ir, p + from, i - from));
        if (k) {
            char special[64];
            memcpy(special, p + i, k);
            special[k] = 0;
            add(&s, qn__ir_special(b->ir, special));
        }
        if (id)
            add(&s, id_node(b));
        i += k ? k : 1;
        from = i;
    }
    return done(b, &s);
}

static qn_node lit(build *b, const char *p)
{
    return lit_n(b, p, strlen(p));
}

static qn_node until(build *b, const char *stop)
{
    return qn__ir_until(b->ir, &stop, 1);
}

/* ---- arguments ---- */

/* Somewhere in s a schema is negated. */
static bool negates(const json_t *s, int depth)
{
    const char *key;
    json_t *v;
    size_t i;
    if (depth > 60)
        return true;
    json_object_foreach((json_t *)(uintptr_t)s, key, v) if (!strcmp(key, "not") || !strcmp(key, "if") || negates(v, depth + 1)) return true;
    json_array_foreach((json_t *)(uintptr_t)s, i, v) if (negates(v, depth + 1)) return true;
    return false;
}

/* A copy in which objects that list properties allow no others; where schemas are combined, nothing is touched. */
static json_t *closed(const json_t *s, int depth)
{
    static const char *const combined[] = {"allOf", "anyOf", "oneOf", "not", "if", "$ref", "patternProperties", "unevaluatedProperties",
                                           "dependentSchemas"};
    json_t *copy = json_copy((json_t *)(uintptr_t)s), *props, *v;
    bool plain = json_object_get(s, "properties") && !json_object_get(s, "additionalProperties");
    const char *key;
    if (!copy || depth > 60)
        return copy;
    for (size_t i = 0; i < sizeof combined / sizeof *combined; i++)
        plain = plain && !json_object_get(s, combined[i]);
    if (plain && json_object_set_new(copy, "additionalProperties", json_false()))
        goto failed;
    /* What a negation refers to stays as it is: closing it would let more in. */
    static const char *const maps[] = {"properties", "$defs", "definitions"};
    const size_t n_maps = (json_object_get(s, "$defs") || json_object_get(s, "definitions")) && negates(s, 0) ? 1 : 3;
    for (size_t i = 0; i < n_maps; i++) {
        if (!json_is_object(json_object_get(s, maps[i])))
            continue;
        if (!(props = json_object()) || json_object_set_new(copy, maps[i], props))
            goto failed;
        json_object_foreach(json_object_get(s, maps[i]), key, v)
        {
            json_t *inner = json_is_object(v) ? closed(v, depth + 1) : json_incref(v);
            if (!inner || json_object_set_new(props, key, inner))
                goto failed;
        }
    }
    if (json_is_object(v = json_object_get(s, "items"))) {
        v = closed(v, depth + 1);
        if (!v || json_object_set_new(copy, "items", v))
            goto failed;
    }
    return copy;
failed:
    json_decref(copy);
    return NULL;
}

static qn_node schema(build *b, const json_t *s, const char *where)
{
    const qn_json_style style = {.compact = b->c->written.compact};
    qn_err why = {0};
    qn_node n = qn__ir_schema(b->ir, s, &style, where, &why);
    if (n < 0 && !b->st) {
        b->st = why.code ? why.code : QN_ENOMEM;
        if (b->err)
            *b->err = why;
    }
    return n;
}

static void no_memory(build *b)
{
    if (!b->st)
        b->st = qn__fail_mem(b->err, "tools");
}

/* The arguments' schema: an object in any case. */
static json_t *arguments_schema(build *b, const qn_tool *t)
{
    json_t *s = t->schema ? closed(t->schema, 0) : json_object();
    if (s && !json_object_get(s, "type") && json_object_set_new(s, "type", json_string("object"))) {
        json_decref(s);
        s = NULL;
    }
    if (!s)
        no_memory(b);
    return s;
}

/* ---- PARAMS ---- */

static const char *word(const build *b, const json_t *v)
{
    const qn_written *w = &b->c->written;
    return json_is_true(v) ? w->yes : json_is_false(v) ? w->no : w->null;
}

/* A value that is one of a list: strings as they are, others as JSON. */
static qn_node one_of(build *b, const json_t *list, bool strings)
{
    size_t n = json_array_size(list);
    qn_node *alt = qn__calloc(n ? n : 1, sizeof *alt);
    if (!alt) {
        no_memory(b);
        return -1;
    }
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (json_is_string(v) != strings)
            continue;
        if (json_is_string(v)) {
            alt[k++] = qn__ir_text(b->ir, json_string_value(v), json_string_length(v));
        } else if (json_is_boolean(v) || json_is_null(v)) {
            alt[k++] = text(b, word(b, v));
        } else {
            char *s = json_dumps(v, JSON_ENCODE_ANY | (b->c->written.compact ? JSON_COMPACT : 0));
            if (!s)
                no_memory(b);
            alt[k++] = text(b, s ? s : "");
            free(s);
        }
    }
    qn_node out = k ? qn__ir_alt(b->ir, alt, k) : -1;
    qn_free(alt);
    return out;
}

/* Raw text that runs up to what may follow a value: another key, or the end of the call. */
static qn_node raw_text(build *b, const qn_tool *t)
{
    const qn_written *w = &b->c->written;
    const json_t *props = t->schema ? json_object_get(t->schema, "properties") : NULL;
    size_t n = json_object_size(props) + 2, k = 0;
    qn_buf buf = {0};
    const char **stops = qn__calloc(n, sizeof *stops);
    size_t *at = qn__calloc(n, sizeof *at);
    qn_node out = -1;
    const char *key;
    json_t *v;
    if (!stops || !at)
        goto out;
    if (!props || qn__tool_open_ended(t)) {
        at[k++] = buf.n;
        qn__buf_printf(&buf, "%s%s", w->value_close, w->key_open);
        qn__buf_putc(&buf, 0);
    } else {
        json_object_foreach((json_t *)(uintptr_t)props, key, v)
        {
            at[k++] = buf.n;
            qn__buf_printf(&buf, "%s%s%s", w->value_close, w->key_open, key);
            qn__buf_putc(&buf, 0);
        }
    }
    at[k++] = buf.n;
    qn__buf_printf(&buf, "%s%s", w->value_close, b->c->dialect->end);
    qn__buf_putc(&buf, 0);
    if (buf.failed)
        goto out;
    for (size_t i = 0; i < k; i++)
        stops[i] = buf.data + at[i];
    out = qn__ir_until(b->ir, stops, k);
out:
    if (!stops || !at || buf.failed)
        no_memory(b);
    qn_free(stops);
    qn_free(at);
    qn__buf_free(&buf);
    return out;
}

/* The texts that s allows a string to be, where it does not allow all (*any): what ends a value is in none of them. */
static qn_node held_text(build *b, const json_t *s, const char *stop, const char *where, bool *any)
{
    qn_err why = {0};
    size_t n = strlen(stop);
    char end[96];
    while (n && (stop[n - 1] == '\n' || stop[n - 1] == ' ')) /* white space behind the marker is not what ends it */
        n--;
    if (n >= sizeof end)
        n = sizeof end - 1;
    memcpy(end, stop, n);
    end[n] = 0;
    const char *const stops[1] = {end};
    qn_node out = qn__ir_schema_text(b->ir, s, stops, 1, where, any, &why);
    if (out < 0 && !b->st) {
        b->st = why.code ? why.code : QN_ENOMEM;
        if (b->err)
            *b->err = why;
    }
    return out;
}

/* Values of s that are of other types, as JSON: where strings are held to a form, text that spells one of these is in it, too. */
static qn_node others_too(build *b, unsigned rest, const json_t *s, const char *where)
{
    static const char *const names[] = {"string", "number", "boolean", "null", "array", "object"};
    json_t *copy = json_copy((json_t *)(uintptr_t)s), *all = json_array(), *list = json_array();
    qn_node out = -1;
    bool ok = copy && all && list && (!json_is_array(json_object_get(s, "allOf")) || !json_array_extend(all, json_object_get(s, "allOf")));
    for (unsigned i = 1; ok && i < 6; i++)
        ok = !(rest >> i & 1) || !json_array_append_new(list, json_string(names[i]));
    ok = ok && !json_array_append_new(all, json_pack("{s:O}", "type", list)) && !json_object_set(copy, "allOf", all);
    if (ok)
        out = schema(b, copy, where);
    else
        no_memory(b);
    json_decref(copy);
    json_decref(all);
    json_decref(list);
    return out;
}

static qn_node string_value(build *b, const qn_tool *t, unsigned types, const json_t *s, const char *where)
{
    const json_t *list = json_object_get(s, "enum"), *one = json_object_get(s, "const");
    unsigned rest = types & ~(unsigned)QN_TYPE_STRING;
    bool any;
    if (json_is_array(list))
        return one_of(b, list, true);
    if (json_is_string(one))
        return qn__ir_text(b->ir, json_string_value(one), json_string_length(one));
    qn_node held = held_text(b, s, b->c->written.value_close, where, &any);
    if (held < 0 || any)
        return any ? raw_text(b, t) : -1;
    return rest && rest != (QN_TYPE_ANY & ~(unsigned)QN_TYPE_STRING) && !b->c->dialect->typed ? either(b, held, others_too(b, rest, s, where)) : held;
}

/* What is no string: JSON, with the words that the family has for true, false and null. */
static qn_node json_value(build *b, unsigned types, const json_t *s, const char *where)
{
    const json_t *list = json_object_get(s, "enum");
    const qn_written *w = &b->c->written;
    if (json_is_array(list))
        return one_of(b, list, false);
    if (json_object_get(s, "const"))
        return schema(b, s, where);
    if (types == QN_TYPE_BOOLEAN)
        return either(b, text(b, w->yes), text(b, w->no));
    if (types == QN_TYPE_NULL)
        return text(b, w->null);
    return schema(b, s, where);
}

/* key_open KEY key_close VALUE value_close */
static qn_node argument(build *b, const qn_tool *t, const char *key, const json_t *s, const char *where)
{
    const qn_written *w = &b->c->written;
    bool known;
    unsigned types = qn__tool_types(t, key, strlen(key), &known);
    qn_node alt[2];
    size_t k = 0;
    if (types & QN_TYPE_STRING) {
        qn_node v = string_value(b, t, types, s, where);
        if (v >= 0)
            alt[k++] = qn__ir_seq(b->ir, (qn_node[]){lit(b, w->key_close), v}, 2);
    }
    /* Untagged text that may be a string may be anything: only where the key says which, or no string is allowed, is the rest JSON. */
    bool said = b->c->dialect->typed;
    unsigned rest = types & ~(unsigned)QN_TYPE_STRING;
    const json_t *list = json_object_get(s, "enum");
    if (rest && (said || !(types & QN_TYPE_STRING) || json_is_array(list))) {
        qn_node v = -1;
        if (!(types & QN_TYPE_STRING) || json_is_array(list))
            v = json_value(b, rest, s, where);
        else
            v = qn__ir_json(b->ir, &(qn_json_style){.compact = w->compact});
        if (v >= 0)
            alt[k++] = qn__ir_seq(b->ir, (qn_node[]){lit(b, w->key_close_json ? w->key_close_json : w->key_close), v}, 2);
    }
    seq q = {.count = 0};
    add(&q, lit(b, w->key_open));
    add(&q, text(b, key));
    add(&q, qn__ir_alt(b->ir, alt, k));
    add(&q, lit(b, w->value_close));
    return done(b, &q);
}

/* An argument that the schema does not name: any key, any text. */
static qn_node any_argument(build *b, const qn_tool *t)
{
    static const uint32_t letters[4][2] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    const qn_written *w = &b->c->written;
    seq q = {.count = 0};
    add(&q, lit(b, w->key_open));
    add(&q, qn__ir_repeat(b->ir, qn__ir_class(b->ir, letters, 4, false), 1, 32));
    add(&q, lit(b, w->key_close));
    add(&q, raw_text(b, t));
    add(&q, lit(b, w->value_close));
    return done(b, &q);
}

static bool in_list(const json_t *list, const char *key)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_is_string(json_array_get(list, i)) && strcmp(json_string_value(json_array_get(list, i)), key) == 0)
            return true;
    return false;
}

static qn_node params(build *b, const qn_tool *t, const json_t *whole, const char *where)
{
    const json_t *props = json_object_get(whole, "properties"), *required = json_object_get(whole, "required");
    size_t n = json_object_size(props), k = 0;
    const char *key;
    json_t *s;
    if (!props) /* anything: one argument at most, lest a key comes twice */
        return optional(b, any_argument(b, t));
    qn_node *parts = qn__calloc(n ? n : 1, sizeof *parts);
    if (!parts) {
        no_memory(b);
        return -1;
    }
    json_object_foreach((json_t *)(uintptr_t)props, key, s)
    {
        char at[160];
        if (!*key || strpbrk(key, "<>\"\n") || strlen(key) > 256) {
            if (!b->st)
                b->st = qn__fail(b->err, QN_EUNSUPPORTED, where, "the argument \"%.60s\" cannot be written in the dialect %s", key,
                                 b->c->dialect->name);
            break;
        }
        (void)snprintf(at, sizeof at, "%.80s.properties.%.60s", where, key);
        /* References point into the whole: it comes along. */
        json_t *own = json_is_object(s) ? json_copy(s) : json_object();
        static const char *const defs[] = {"$defs", "definitions"};
        for (size_t i = 0; own && i < 2; i++)
            if (json_object_get(whole, defs[i]) && !json_object_get(own, defs[i]))
                (void)json_object_set(own, defs[i], json_object_get(whole, defs[i]));
        if (!own) {
            no_memory(b);
            break;
        }
        qn_node a = argument(b, t, key, own, at);
        json_decref(own);
        parts[k++] = in_list(required, key) ? a : optional(b, a);
    }
    qn_node out = qn__ir_seq(b->ir, parts, k);
    qn_free(parts);
    return out;
}

/* ---- TERSE: keys are bare and in order of the alphabet, strings in quotes of their own ---- */

static qn_node terse_value(build *b, const json_t *root, const json_t *s, int depth);

static qn_node terse_string(build *b)
{
    static const char quote[] = "<|\"|>";
    return qn__ir_seq(b->ir, (qn_node[]){lit(b, quote), until(b, quote), lit(b, quote)}, 3);
}

/* A string of s. References point into root. */
static qn_node terse_held(build *b, const json_t *root, const json_t *s)
{
    static const char quote[] = "<|\"|>";
    static const char *const defs[] = {"$defs", "definitions"};
    bool any = true;
    json_t *own = json_is_object(s) ? json_copy((json_t *)(uintptr_t)s) : json_object();
    for (size_t i = 0; own && i < 2; i++)
        if (json_object_get(root, defs[i]))
            (void)json_object_set(own, defs[i], json_object_get(root, defs[i]));
    qn_node held = own ? held_text(b, own, quote, "tools", &any) : -1;
    if (!own)
        no_memory(b);
    json_decref(own);
    return any || held < 0 ? terse_string(b) : qn__ir_seq(b->ir, (qn_node[]){lit(b, quote), held, lit(b, quote)}, 3);
}

/* item, item, ... between brackets */
static qn_node terse_list(build *b, qn_node item, const char *open, const char *close)
{
    qn_node more = qn__ir_repeat(b->ir, qn__ir_seq(b->ir, (qn_node[]){text(b, ","), item}, 2), 0, UINT32_MAX);
    qn_node items = optional(b, qn__ir_seq(b->ir, (qn_node[]){item, more}, 2));
    return qn__ir_seq(b->ir, (qn_node[]){text(b, open), items, text(b, close)}, 3);
}

static qn_node terse_constant(build *b, const json_t *v)
{
    static const char quote[] = "<|\"|>";
    if (json_is_string(v))
        return qn__ir_seq(b->ir, (qn_node[]){lit(b, quote), text(b, json_string_value(v)), lit(b, quote)}, 3);
    if (json_is_boolean(v) || json_is_null(v))
        return text(b, word(b, v));
    char *s = json_is_number(v) ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
    qn_node n = s ? text(b, s) : -1;
    free(s);
    return n;
}

static int by_key(const void *x, const void *y)
{
    return strcasecmp(*(const char *const *)x, *(const char *const *)y);
}

static bool in_list(const json_t *list, const char *key);

/* {k:v,...}: what is required, and what may be left out, without a comma too many. */
static qn_node terse_object(build *b, const json_t *root, const json_t *s, int depth)
{
    const json_t *props = json_object_get(s, "properties"), *required = json_object_get(s, "required");
    size_t n = json_object_size(props), k = 0;
    const char **keys = qn__calloc(n ? n : 1, sizeof *keys), *key;
    json_t *v;
    if (!keys) {
        no_memory(b);
        return -1;
    }
    json_object_foreach((json_t *)(uintptr_t)props, key, v) keys[k++] = key;
    if (n)
        qsort(keys, n, sizeof *keys, by_key);
    qn_node started = qn__ir_seq(b->ir, NULL, 0), fresh = started;
    for (size_t i = n; i-- > 0;) {
        if (!*keys[i] || strpbrk(keys[i], ":,{}<\n")) {
            if (!b->st)
                b->st = qn__fail(b->err, QN_EUNSUPPORTED, "tools", "the argument \"%.60s\" cannot be written in the dialect %s", keys[i],
                                 b->c->dialect->name);
            break;
        }
        qn_node value = terse_value(b, root, json_object_get(props, keys[i]), depth + 1);
        qn_node member = qn__ir_seq(b->ir, (qn_node[]){text(b, keys[i]), text(b, ":"), value}, 3);
        qn_node behind = qn__ir_seq(b->ir, (qn_node[]){text(b, ","), member}, 2), first = qn__ir_seq(b->ir, (qn_node[]){member, started}, 2);
        bool need = in_list(required, keys[i]);
        fresh = need ? first : either(b, first, fresh);
        started = qn__ir_seq(b->ir, (qn_node[]){need ? behind : optional(b, behind), started}, 2);
    }
    qn_free(keys);
    return qn__ir_seq(b->ir, (qn_node[]){text(b, "{"), fresh, text(b, "}")}, 3);
}

/* Any value, up to a depth. */
static qn_node terse_any(build *b, int depth)
{
    static const uint32_t letters[4][2] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    json_t *number = json_pack("{s:s}", "type", "number");
    qn_node alt[7];
    size_t k = 0;
    if (!number) {
        no_memory(b);
        return -1;
    }
    alt[k++] = terse_string(b);
    alt[k++] = schema(b, number, "tools");
    alt[k++] = text(b, b->c->written.yes);
    alt[k++] = text(b, b->c->written.no);
    alt[k++] = text(b, b->c->written.null);
    if (depth < 3) {
        qn_node inner = terse_any(b, depth + 1), key = qn__ir_repeat(b->ir, qn__ir_class(b->ir, letters, 4, false), 1, 32);
        alt[k++] = terse_list(b, inner, "[", "]");
        /* One member at most, lest a key comes twice. */
        alt[k++] = qn__ir_seq(b->ir,
                              (qn_node[]){text(b, "{"), optional(b, qn__ir_seq(b->ir, (qn_node[]){key, text(b, ":"), inner}, 3)), text(b, "}")}, 3);
    }
    json_decref(number);
    return qn__ir_alt(b->ir, alt, k);
}

static qn_node terse_value(build *b, const json_t *root, const json_t *s, int depth)
{
    const json_t *list = json_object_get(s, "enum"), *one = json_object_get(s, "const");
    unsigned types = qn__tool_schema_types(root, s);
    qn_node alt[8];
    size_t k = 0;
    if (one)
        return terse_constant(b, one);
    if (json_is_array(list)) {
        qn_node *all = qn__calloc(json_array_size(list) + 1, sizeof *all);
        if (!all) {
            no_memory(b);
            return -1;
        }
        for (size_t i = 0; i < json_array_size(list); i++)
            if ((all[k] = terse_constant(b, json_array_get(list, i))) >= 0)
                k++;
        qn_node n = qn__ir_alt(b->ir, all, k);
        qn_free(all);
        return n;
    }
    if (types == QN_TYPE_ANY || depth > 20 || json_object_get(s, "$ref") || json_object_get(s, "anyOf") || json_object_get(s, "oneOf"))
        if (types & (QN_TYPE_ARRAY | QN_TYPE_OBJECT))
            return terse_any(b, depth > 20 ? 3 : 0);
    if (types & QN_TYPE_STRING)
        alt[k++] = terse_held(b, root, s);
    if (types & QN_TYPE_NUMBER) {
        const char *type = json_string_value(json_object_get(s, "type"));
        json_t *plain = type ? json_incref((json_t *)(uintptr_t)s) : json_pack("{s:s}", "type", "number");
        alt[k++] = plain ? schema(b, plain, "tools") : -1;
        json_decref(plain);
    }
    if (types & QN_TYPE_BOOLEAN) {
        alt[k++] = text(b, b->c->written.yes);
        alt[k++] = text(b, b->c->written.no);
    }
    if (types & QN_TYPE_NULL)
        alt[k++] = text(b, b->c->written.null);
    if (types & QN_TYPE_ARRAY) {
        const json_t *items = json_object_get(s, "items");
        alt[k++] = terse_list(b, json_is_object(items) ? terse_value(b, root, items, depth + 1) : terse_any(b, 1), "[", "]");
    }
    if (types & QN_TYPE_OBJECT)
        alt[k++] = json_object_get(s, "properties") ? terse_object(b, root, s, depth)
                                                    : qn__ir_seq(b->ir,
                                                                 (qn_node[]){text(b, "{"), optional(b, qn__ir_seq(b->ir, (qn_node[]){text(b, "value:"), terse_any(b, 1)}, 2)), text(b, "}")},
                                                                 3);
    return qn__ir_alt(b->ir, alt, k);
}

/* ---- calls ---- */

/* NAME mid ARGUMENTS of each tool that may be called. */
static qn_node any_call(build *b, const char *name_prefix, qn_node mid)
{
    const qn_calls *c = b->c;
    qn_node *alt = qn__calloc(c->n_tools + 1, sizeof *alt);
    size_t k = 0;
    if (!alt) {
        no_memory(b);
        return -1;
    }
    for (size_t i = 0; i < c->n_tools && !b->st; i++) {
        char where[80];
        const qn_tool *t = &c->tools[i];
        if (b->want->only && strcmp(t->name, b->want->only) != 0)
            continue;
        (void)snprintf(where, sizeof where, "tools[%zu].function.parameters", i);
        json_t *s = arguments_schema(b, t);
        if (!s)
            break;
        seq q = {.count = 0};
        add(&q, text(b, name_prefix));
        add(&q, text(b, t->name));
        add(&q, mid >= 0 ? mid : lit(b, c->written.mid));
        add(&q, c->dialect->form == QN_FORM_PARAMS  ? params(b, t, s, where)
                : c->dialect->form == QN_FORM_TERSE ? terse_value(b, s, s, 0)
                                                    : schema(b, s, where));
        json_decref(s);
        alt[k++] = done(b, &q);
    }
    qn__ir_define(b->ir, "\x05" "call", qn__ir_alt(b->ir, alt, k));
    qn_free(alt);
    return qn__ir_rule(b->ir, "\x05" "call");
}

static qn_node line_breaks(build *b)
{
    return qn__ir_repeat(b->ir, text(b, "\n"), 0, 2);
}

/* first call (between call)* last */
static qn_node calls(build *b)
{
    const qn_written *w = &b->c->written;
    qn_node call = any_call(b, "", -1);
    seq q = {.count = 0};
    add(&q, lit(b, w->first));
    add(&q, call);
    if (w->between && !b->want->single)
        add(&q, qn__ir_repeat(b->ir, qn__ir_seq(b->ir, (qn_node[]){lit(b, w->between), call}, 2), 0, UINT32_MAX));
    add(&q, lit(b, w->last));
    add(&q, line_breaks(b));
    return done(b, &q);
}

/* ---- text and reasoning ---- */

static size_t openings(const build *b, const char *out[8])
{
    const qn_dialect *d = b->c->dialect;
    const char *const all[] = {d->open, d->begin, d->other};
    size_t n = 0;
    for (size_t i = 0; i < 3; i++)
        if (all[i])
            out[n++] = all[i];
    return n;
}

/* Any text that does not begin as a call without markers would: with a brace and then a quote or white space. */
static qn_node not_bare(build *b, const char *const *stops, size_t n)
{
    static const uint32_t first[5][2] = {{'\t', '\t'}, {'\n', '\n'}, {'\r', '\r'}, {' ', ' '}, {'{', '{'}},
                          second[5][2] = {{'\t', '\t'}, {'\n', '\n'}, {'\r', '\r'}, {' ', ' '}, {'"', '"'}};
    qn_node rest = n ? qn__ir_until(b->ir, stops, n) : until(b, "\x01\x02");
    qn_node plain = qn__ir_seq(b->ir, (qn_node[]){qn__ir_class(b->ir, first, 5, true), rest}, 2);
    qn_node brace = qn__ir_seq(b->ir, (qn_node[]){text(b, "{"), qn__ir_class(b->ir, second, 5, true), rest}, 3);
    return optional(b, either(b, plain, brace));
}

/* An answer of the form that was asked for, between the markers that Cohere's models write around text. */
static qn_node framed_answer(build *b)
{
    static const char *const marks[2][2] = {{"<|START_RESPONSE|>", "<|END_RESPONSE|>"}, {"<|START_TEXT|>", "<|END_TEXT|>"}};
    qn_node alt[3] = {b->want->answer};
    if (b->c->dialect != &qn__dialect_cohere)
        return alt[0];
    for (size_t i = 0; i < 2; i++)
        alt[i + 1] = qn__ir_seq(b->ir, (qn_node[]){lit(b, marks[i][0]), b->want->answer, optional(b, lit(b, marks[i][1]))}, 3);
    return qn__ir_alt(b->ir, alt, 3);
}

/* Text, then calls if there are any; or calls alone. */
static qn_node body(build *b)
{
    const qn_dialect *d = b->c->dialect;
    const char *stops[8];
    if (b->want->has_answer && !b->c->n_tools)
        return framed_answer(b);
    size_t n = openings(b, stops);
    qn_node call = calls(b);
    if (b->want->required)
        return d->bare ? call : qn__ir_seq(b->ir, (qn_node[]){line_breaks(b), call}, 2);
    if (b->want->has_answer)
        return either(b, framed_answer(b), d->bare ? call : qn__ir_seq(b->ir, (qn_node[]){line_breaks(b), call}, 2));
    if (d->bare)
        return either(b, call, not_bare(b, stops, n));
    qn_node free_text = qn__ir_seq(b->ir, (qn_node[]){qn__ir_until(b->ir, stops, n), optional(b, call)}, 2);
    if (d != &qn__dialect_cohere)
        return free_text;
    static const char *const marks[2][2] = {{"<|START_RESPONSE|>", "<|END_RESPONSE|>"}, {"<|START_TEXT|>", "<|END_TEXT|>"}};
    qn_node alt[3] = {free_text};
    for (size_t i = 0; i < 2; i++)
        alt[i + 1] = qn__ir_seq(b->ir, (qn_node[]){lit(b, marks[i][0]), until(b, marks[i][1]), optional(b, lit(b, marks[i][1]))}, 3);
    return qn__ir_alt(b->ir, alt, 3);
}

static qn_node with_reasoning(build *b, qn_node rest)
{
    const qn_calls_want *w = b->want;
    qn_node alt[QN_MAX_THINKING + 1];
    if (w->inside >= 0) {
        const char *close = w->thinking[w->inside].close;
        qn_node thought = qn__ir_seq(b->ir, (qn_node[]){until(b, close), lit(b, close)}, 2);
        /* Without a call a reply may also end inside its reasoning. */
        qn_node whole = qn__ir_seq(b->ir, (qn_node[]){thought, line_breaks(b), rest}, 3);
        return w->required || w->has_answer ? whole : either(b, whole, until(b, close));
    }
    size_t k = 0;
    for (size_t i = 0; i < w->n_thinking; i++)
        alt[k++] = qn__ir_seq(b->ir, (qn_node[]){lit(b, w->thinking[i].open), until(b, w->thinking[i].close), lit(b, w->thinking[i].close)},
                              3);
    if (!k)
        return rest;
    qn_node before = qn__ir_seq(b->ir, (qn_node[]){qn__ir_alt(b->ir, alt, k), line_breaks(b)}, 2);
    return qn__ir_seq(b->ir, (qn_node[]){optional(b, before), rest}, 2);
}

/* ---- messages with headers ---- */

static qn_node channels(build *b)
{
    static const char *const ends[] = {"<|end|>", "<|start|>", "<|channel|>", "<|call|>", "<|return|>", "<|message|>"};
    qn_node message = lit(b, "<|message|>"), any = qn__ir_until(b->ir, ends, 6);
    qn_node next = lit(b, "<|end|><|start|>assistant"), json = lit(b, " <|constrain|>json"), plain = text(b, " json");
    qn_node kind = optional(b, either(b, json, plain));
    qn_node analysis = qn__ir_seq(b->ir, (qn_node[]){lit(b, "<|channel|>analysis<|message|>"), any, next}, 3);
    qn_node preamble = qn__ir_seq(b->ir, (qn_node[]){lit(b, "<|channel|>commentary<|message|>"), any, next}, 3);
    qn_node final = b->want->has_answer
                        ? qn__ir_seq(b->ir, (qn_node[]){lit(b, "<|channel|>final"), kind, message, b->want->answer}, 4)
                        : qn__ir_seq(b->ir, (qn_node[]){lit(b, "<|channel|>final<|message|>"), any}, 2);
    if (b->want->has_answer && !b->c->n_tools)
        return qn__ir_seq(b->ir, (qn_node[]){qn__ir_repeat(b->ir, analysis, 0, UINT32_MAX), final}, 2);
    /* The recipient stands before or behind the channel; the name and arguments are one rule. */
    qn_node mid = qn__ir_alt(b->ir,
                             (qn_node[]){qn__ir_seq(b->ir, (qn_node[]){lit(b, "<|channel|>commentary"), kind, message}, 3),
                                         qn__ir_seq(b->ir, (qn_node[]){kind, message}, 2)},
                             2);
    qn_node call = any_call(b, "functions.", mid);
    qn_node either_call = either(b, qn__ir_seq(b->ir, (qn_node[]){text(b, " to="), call}, 2),
                                 qn__ir_seq(b->ir, (qn_node[]){lit(b, "<|channel|>commentary"), text(b, " to="), call}, 3));
    qn_node before = qn__ir_repeat(b->ir, b->want->required || b->want->has_answer ? analysis : either(b, analysis, preamble), 0, UINT32_MAX);
    return qn__ir_seq(b->ir, (qn_node[]){before, b->want->required ? either_call : either(b, either_call, final)}, 2);
}

static qn_node recipients(build *b)
{
    const char *const stop = ">>>";
    qn_node answer = b->want->has_answer ? qn__ir_seq(b->ir, (qn_node[]){text(b, "all\n"), b->want->answer}, 2) : -1;
    if (b->want->has_answer && !b->c->n_tools)
        return answer;
    qn_node call = any_call(b, "", -1), more = qn__ir_seq(b->ir, (qn_node[]){text(b, stop), call}, 2);
    qn_node all = b->want->single ? call
                                  : qn__ir_seq(b->ir, (qn_node[]){call, qn__ir_repeat(b->ir, more, 0, UINT32_MAX)}, 2);
    if (b->want->has_answer)
        return b->want->required ? all : either(b, all, answer);
    qn_node spoken = qn__ir_seq(b->ir, (qn_node[]){text(b, "all\n"), until(b, stop), optional(b, qn__ir_seq(b->ir, (qn_node[]){text(b, stop), all}, 2))}, 3);
    return b->want->required ? all : either(b, all, spoken);
}

qn_status qn__calls_grammar(const qn_calls *c, const qn_calls_want *want, const qn_tokenizer *t, qn_ir *ir, qn_err *err)
{
    build b = {.c = c, .want = want, .t = t, .ir = ir, .err = err};
    qn_node root;
    switch (c->dialect->form) {
    case QN_FORM_CHANNELS: root = channels(&b); break;
    case QN_FORM_RECIPIENT: root = recipients(&b); break;
    default: root = with_reasoning(&b, body(&b)); break;
    }
    if (b.st)
        return b.st;
    qn__ir_root(ir, root);
    return qn__ir_check(ir, err);
}
