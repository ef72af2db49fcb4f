/* grammar_string.c - JSON Schema: strings. Lengths alone are a counter; patterns and formats are automata, crossed with each
 * other and with lengths where they do not imply them. */
#include "text/grammar_schema.h"

enum { LENGTH_MAX = 4000 }; /* a length that is crossed with a pattern: each is a state */
enum { PATTERNS_HELD = 32 };

#define H "[0-9a-fA-F]"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define LABEL "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
#define DATE                                                                                                             \
    "([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|" \
    "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
#define TIME "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define IPV6                                                                                                                  \
    "((" H "{1,4}:){7}" H "{1,4}|(" H "{1,4}:){1,7}:|(" H "{1,4}:){1,6}:" H "{1,4}|(" H "{1,4}:){1,5}(:" H "{1,4}){1,2}|(" H \
    "{1,4}:){1,4}(:" H "{1,4}){1,3}|(" H "{1,4}:){1,3}(:" H "{1,4}){1,4}|(" H "{1,4}:){1,2}(:" H "{1,4}){1,5}|" H             \
    "{1,4}:(:" H "{1,4}){1,6}|:((:" H "{1,4}){1,7}|:))"
#define UNRESERVED "[A-Za-z0-9._~!$&'()*+,;=:@-]|%" H "{2}"

/* Formats that are held to. What matches is valid by the standard; not all that is valid matches (quoted mail names, leap
 * seconds, addresses with a zone). Other formats are annotations. */
static const struct {
    const char *name, *regex;
} formats[] = {
    {"date", DATE},
    {"time", TIME},
    {"date-time", DATE "[Tt]" TIME},
    {"uuid", H "{8}-" H "{4}-" H "{4}-" H "{4}-" H "{12}"},
    {"ipv4", OCTET "(\\." OCTET "){3}"},
    {"ipv6", IPV6},
    {"hostname", LABEL "(\\." LABEL "){0,3}"},
    {"email", "[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@" LABEL "(\\." LABEL "){0,3}"},
    {"uri", "[a-zA-Z][a-zA-Z0-9+.-]*:(//(" LABEL "(\\." LABEL "){0,3})(:[0-9]{1,5})?(/(" UNRESERVED ")*)*|/?(" UNRESERVED ")+(/(" UNRESERVED
            ")*)*)(\\?(" UNRESERVED "|[/?])*)?(#(" UNRESERVED "|[/?])*)?"},
    {"json-pointer", "(/([^~/]|~0|~1)*)*"},
    {"duration", "P([0-9]{1,4}W|([0-9]{1,4}Y([0-9]{1,4}M([0-9]{1,4}D)?)?|[0-9]{1,4}M([0-9]{1,4}D)?|[0-9]{1,4}D)(T([0-9]{1,4}H([0-9]{1,4}M([0-9]{1,4}S)?)?|[0-9]{1,4}M([0-9]{1,4}S)?|[0-9]{1,4}S))?"
                 "|T([0-9]{1,4}H([0-9]{1,4}M([0-9]{1,4}S)?)?|[0-9]{1,4}M([0-9]{1,4}S)?|[0-9]{1,4}S))"},
};

typedef struct strings { /* what a conjunction says of strings */
    uint32_t min, max;
    struct {
        const char *regex, *path;
        bool search, minus;
        json_t *texts; /* instead of a pattern */
    } p[PATTERNS_HELD];
    size_t n;
} strings;

/* What grammar_logic.c makes of complements: texts that are none of these, in which a pattern is not found. */
static bool gather_not(qn_schema *c, const qn_schema_part *p, strings *s)
{
    json_t *texts = qn__part_get(p, "\x01strings"), *pattern = qn__part_get(p, "\x01pattern");
    if ((texts && !json_is_array(texts)) || (pattern && !json_is_string(pattern)))
        return qn__schema_fail(c, QN_EFORMAT, p->path, NULL, "a key that begins with U+0001") >= 0;
    for (int i = 0; i < 2; i++) {
        if (!(i ? pattern : texts))
            continue;
        if (s->n == PATTERNS_HELD)
            return qn__schema_fail(c, QN_ELIMIT, p->path, NULL, "more than 32 patterns hold at one place") >= 0;
        s->p[s->n].minus = s->p[s->n].search = true;
        s->p[s->n].texts = i ? NULL : texts;
        s->p[s->n].regex = i ? json_string_value(pattern) : NULL;
        s->p[s->n++].path = p->path;
    }
    return true;
}

static bool gather(qn_schema *c, const qn_conj *k, strings *s)
{
    *s = (strings){.max = UINT32_MAX};
    for (size_t i = 0; i < k->n; i++) {
        const qn_schema_part *p = &k->v[i];
        bool have;
        uint32_t v;
        if (!qn__schema_count(c, p, "minLength", &have, &v))
            return false;
        s->min = have && v > s->min ? v : s->min;
        if (!qn__schema_count(c, p, "maxLength", &have, &v))
            return false;
        s->max = have && v < s->max ? v : s->max;
        for (int f = 0; f < 2; f++) {
            const char *key = f ? "format" : "pattern", *text = json_string_value(qn__part_get(p, key));
            bool search = !f;
            if (!qn__part_get(p, key) || qn__part_ignores(p, key))
                continue;
            if (!text)
                return qn__schema_fail(c, QN_EFORMAT, p->path, key, "a text is expected") >= 0;
            if (f) {
                const char *regex = NULL;
                for (size_t j = 0; j < sizeof formats / sizeof *formats; j++)
                    if (!strcmp(text, formats[j].name))
                        regex = formats[j].regex;
                if (!regex)
                    continue;
                text = regex;
            }
            if (s->n == PATTERNS_HELD)
                return qn__schema_fail(c, QN_ELIMIT, p->path, key, "more than 32 patterns hold at one place") >= 0;
            s->p[s->n].regex = text;
            s->p[s->n].search = search;
            s->p[s->n++].path = qn__schema_path(c, p->path, key);
        }
        if (!gather_not(c, p, s))
            return false;
    }
    return true;
}

static qn_node regex(qn_schema *c, const strings *s, size_t i)
{
    return qn__regex_node(c->ir, s->p[i].regex, strlen(s->p[i].regex), true, s->p[i].search, s->p[i].path);
}

static bool of_texts(qn_schema *c, json_t *list, qn_fa *out);

/* The automaton of one entry. */
static bool entry_fa(qn_schema *c, const strings *s, size_t i, qn_fa *out)
{
    return s->p[i].texts ? of_texts(c, s->p[i].texts, out) : qn__regex_fa(c->ir, regex(c, s, i), s->p[i].path, out);
}

/* *to becomes `*to op other`; other is freed. */
static bool cross(qn_schema *c, qn_fa *to, qn_fa *other, qn_fa_op op, const char *path)
{
    qn_fa both = {0};
    qn_err err = {0};
    if (qn__fa_product(to, other, op, &c->ir->work, path, &both, &err)) {
        (void)qn__ir_fail(c->ir, err.code, err.where, "%s", err.what);
        qn__fa_free(other);
        return false;
    }
    qn__fa_free(other);
    qn__fa_free(to);
    *to = both;
    return true;
}

/* The automaton of s, which has at least one pattern. */
static bool automaton(qn_schema *c, const strings *s, qn_fa *out)
{
    qn_err err = {0};
    const char *path = s->p[0].path;
    *out = (qn_fa){0};
    for (size_t i = 0; i < s->n; i++) {
        qn_fa f = {0};
        if (i == 0 && s->p[0].minus && qn__fa_any(0, UINT32_MAX, out, &err)) {
            (void)qn__ir_fail(c->ir, err.code, err.where, "%s", err.what);
            goto bad;
        }
        if (!entry_fa(c, s, i, &f))
            goto bad;
        if (i == 0 && !s->p[0].minus)
            *out = f;
        else if (!cross(c, out, &f, s->p[i].minus ? QN_FA_MINUS : QN_FA_AND, s->p[i].path))
            goto bad;
    }
    if (!qn__fa_empty(out) && (s->min || s->max != UINT32_MAX)) {
        uint32_t least, most;
        qn_fa any = {0};
        if (qn__fa_lengths(out, &least, &most, &err)) {
            (void)qn__ir_fail(c->ir, err.code, err.where, "%s", err.what);
            goto bad;
        }
        uint32_t min = least >= s->min ? 0 : s->min, max = most <= s->max ? UINT32_MAX : s->max;
        if (!min && max == UINT32_MAX)
            return true;
        if (min > LENGTH_MAX || (max != UINT32_MAX && max > LENGTH_MAX)) {
            (void)qn__schema_fail(c, QN_EUNSUPPORTED, path, NULL, "a pattern together with a length of more than 4000 characters is not supported");
            goto bad;
        }
        if (qn__fa_any(min, max, &any, &err)) {
            (void)qn__ir_fail(c->ir, err.code, err.where, "%s", err.what);
            goto bad;
        }
        if (!cross(c, out, &any, QN_FA_AND, path))
            goto bad;
    }
    return true;
bad:
    qn__fa_free(out);
    return false;
}

qn_node qn__schema_string(qn_schema *c, const qn_conj *k)
{
    strings s;
    qn_ir *ir = c->ir;
    qn_node body;
    if (!gather(c, k, &s))
        return -1;
    if (s.min > s.max)
        return qn__ir_alt(ir, NULL, 0);
    if (!s.n)
        return qn__json_string(ir, s.min, s.max);
    if (s.n == 1 && s.min == 0 && s.max == UINT32_MAX && !s.p[0].minus) {
        body = regex(c, &s, 0);
    } else {
        qn_fa f;
        if (!automaton(c, &s, &f))
            return -1;
        body = qn__ir_fa(ir, &f, true);
    }
    return body < 0 ? -1 : qn__schema_share(c, QN_SEQ(ir, qn__ir_puts(ir, "\""), body, qn__json_quote(ir)));
}

/* The automaton of some texts. */
static bool of_texts(qn_schema *c, json_t *list, qn_fa *out)
{
    qn_nfa a = {.limit = QN_GRAMMAR_STATES_MAX / 4};
    int32_t start = qn__nfa_node(&a), end = qn__nfa_node(&a);
    json_t *v;
    size_t i;
    qn_err err = {0};
    json_array_foreach(list, i, v)
    {
        const char *s = json_string_value(v);
        size_t n = json_string_length(v);
        int32_t at = start, cp;
        if (!s)
            continue;
        for (size_t p = 0; p < n && !a.failed;) {
            p += qn__utf8_decode(s + p, n - p, &cp);
            int32_t to = qn__nfa_node(&a);
            qn__nfa_step(&a, at, (uint32_t)cp, (uint32_t)cp, to);
            at = to;
        }
        qn__nfa_eps(&a, at, end);
    }
    qn_status st = qn__nfa_determinise(&a, start, end, &c->ir->work, "schema", out, &err);
    if (!st)
        st = qn__fa_trim(out, &err);
    qn__nfa_free(&a);
    if (st) {
        qn__fa_free(out);
        (void)qn__ir_fail(c->ir, err.code, err.where, "%s", err.what);
    }
    return !st;
}

bool qn__schema_names_fa(qn_schema *c, json_t *list, qn_fa *out)
{
    return of_texts(c, list, out);
}

bool qn__schema_cross(qn_schema *c, qn_fa *to, qn_fa *other, bool minus, const char *path)
{
    return cross(c, to, other, minus ? QN_FA_MINUS : QN_FA_AND, path);
}

bool qn__schema_pattern_fa(qn_schema *c, const char *pattern, const char *path, qn_fa *out)
{
    return qn__regex_fa(c->ir, qn__regex_node(c->ir, pattern, strlen(pattern), true, true, path), path, out);
}

/* What goes into *out, which holds everything while *any; f is taken. */
static bool narrow(qn_schema *c, qn_fa *out, bool *any, qn_fa *f, const char *path)
{
    if (!*any)
        return cross(c, out, f, QN_FA_AND, path);
    *out = *f;
    *any = false;
    return true;
}

static bool conj_fa(qn_schema *c, const qn_conj *k, int depth, qn_fa *out, bool *any);

/* The texts of one alternative or another. */
static bool union_fa(qn_schema *c, const qn_schema_part *p, const char *key, int depth, qn_fa *out, bool *any)
{
    json_t *list = qn__part_get(p, key), *v;
    const char *path = qn__schema_path(c, p->path, key);
    size_t i, j;
    if (!json_is_array(list))
        return qn__schema_fail(c, QN_EFORMAT, p->path, key, "a list of schemas is expected") >= 0;
    for (i = 0; !strcmp(key, "oneOf") && i < json_array_size(list); i++)
        for (j = i + 1; j < json_array_size(list); j++)
            if (!qn__schema_disjoint(c, json_array_get(list, i), json_array_get(list, j), QN_T_STR, path, 0))
                return qn__schema_fail(c, QN_EUNSUPPORTED, p->path, key, "it is not supported for names of properties, unless no name matches two alternatives") >= 0;
    json_array_foreach(list, i, v)
    {
        qn_conj one = {0};
        qn_fa f = {0};
        bool every = false;
        if (!qn__conj_add(c, &one, v, path) || !conj_fa(c, &one, depth + 1, &f, &every))
            return false;
        if (every) {
            qn__fa_free(out);
            *any = true;
            return true;
        }
        if (!cross(c, out, &f, QN_FA_OR, path))
            return false;
    }
    return true;
}

static bool part_fa(qn_schema *c, const qn_schema_part *p, int depth, qn_fa *out, bool *any)
{
    static const char *const unions[] = {"anyOf", "oneOf"};
    json_t *e = qn__part_ignores(p, "enum") ? NULL : qn__part_get(p, "enum"), *v = qn__part_ignores(p, "const") ? NULL : qn__part_get(p, "const");
    for (int i = 0; i < 2; i++) {
        json_t *list = i && v ? json_pack("[O]", v) : i ? NULL : json_incref(e);
        qn_fa f = {0};
        if (!list)
            continue;
        bool ok = of_texts(c, list, &f);
        json_decref(list);
        if (!ok || !narrow(c, out, any, &f, p->path))
            return false;
    }
    for (int i = 0; i < 2; i++) {
        qn_fa f = {0};
        bool every = false;
        if (!qn__part_get(p, unions[i]) || qn__part_ignores(p, unions[i]))
            continue;
        if (!union_fa(c, p, unions[i], depth, &f, &every) || (!every && !narrow(c, out, any, &f, p->path))) {
            qn__fa_free(&f);
            return false;
        }
    }
    return true;
}

static bool lengths_fa(qn_schema *c, const strings *s, const char *path, qn_fa *out, bool *any)
{
    qn_fa f = {0};
    qn_err err = {0};
    if (!s->min && s->max == UINT32_MAX)
        return true;
    if (s->min > LENGTH_MAX || (s->max != UINT32_MAX && s->max > LENGTH_MAX))
        return qn__schema_fail(c, QN_EUNSUPPORTED, path, NULL, "texts of more than 4000 characters are not supported here") >= 0;
    if (s->min <= s->max && qn__fa_any(s->min, s->max, &f, &err))
        return qn__ir_fail(c->ir, err.code, err.where, "%s", err.what) >= 0;
    return narrow(c, out, any, &f, path);
}

static bool conj_fa(qn_schema *c, const qn_conj *k, int depth, qn_fa *out, bool *any)
{
    strings s;
    qn_conj *flat = qn__alloc(sizeof *flat);
    bool ok = flat && depth < 30;
    *any = false;
    *out = (qn_fa){0};
    if (!flat)
        (void)qn__ir_fail(c->ir, QN_ENOMEM, "schema", "out of memory");
    else if (!ok)
        (void)qn__schema_fail(c, QN_ELIMIT, k->n ? k->v[0].path : "#", NULL, "schemas of names are nested too deeply");
    ok = ok && qn__schema_flatten(c, k, flat);
    if (!ok || flat->never || !(qn__schema_types(flat) & QN_T_STR))
        goto out;
    *any = true;
    ok = gather(c, flat, &s);
    for (size_t i = 0; ok && i < flat->n; i++)
        ok = part_fa(c, &flat->v[i], depth, out, any);
    if (ok && s.n) {
        qn_fa f = {0};
        ok = automaton(c, &s, &f) && narrow(c, out, any, &f, flat->v[0].path);
    } else if (ok) {
        ok = lengths_fa(c, &s, flat->n ? flat->v[0].path : "#", out, any);
    }
out:
    qn_free(flat);
    if (!ok)
        qn__fa_free(out);
    return ok;
}

bool qn__schema_string_fa(qn_schema *c, const qn_conj *k, qn_fa *out, bool *any)
{
    return conj_fa(c, k, 0, out, any);
}

/* ---- texts without quotes ---- */

/* The stops as a pattern that is found anywhere. */
static bool stops_fa(qn_schema *c, const char *const *stops, size_t n, const char *where, qn_fa *out)
{
    qn_buf b = {0};
    for (size_t i = 0; i < n; i++) {
        qn__buf_puts(&b, i ? "|" : "");
        for (const char *p = stops[i]; *p; p++) {
            if (strchr("\\^$.|?*+()[]{}/-", *p))
                qn__buf_putc(&b, '\\');
            qn__buf_putc(&b, *p);
        }
    }
    qn__buf_putc(&b, 0);
    bool ok = !b.failed ? qn__schema_pattern_fa(c, b.data, where, out) : qn__schema_no_memory(c);
    qn__buf_free(&b);
    return ok;
}

/* A maximum that would need too many states is let go. */
static json_t *without_far(qn_schema *c, json_t *s)
{
    json_t *far = json_object_get(s, "maxLength");
    if (!json_is_number(far) || json_number_value(far) <= LENGTH_MAX)
        return s;
    json_t *copy = json_copy(s);
    if (!copy || json_array_append_new(c->owned, copy)) {
        (void)qn__schema_no_memory(c);
        return NULL;
    }
    (void)json_object_del(copy, "maxLength");
    return copy;
}

qn_node qn__ir_schema_text(qn_ir *ir, const json_t *schema, const char *const *stops, size_t n, const char *where, bool *any, qn_err *err)
{
    qn_schema c = {.ir = ir, .root = (json_t *)(uintptr_t)schema, .owned = json_array(), .made = json_object(), .id = ir->n_schemas++};
    qn_conj k = {0};
    qn_fa f = {0}, stop = {0};
    qn_node out = -1;
    json_t *s;
    qn__arena_init(&c.paths, (size_t)1 << 20);
    *any = false;
    if (!c.owned || !c.made)
        (void)qn__schema_no_memory(&c);
    else if (!(s = without_far(&c, c.root)) || !qn__conj_add(&c, &k, s, where) || !qn__schema_string_fa(&c, &k, &f, any))
        out = -1;
    else if (*any)
        out = 0;
    else if (!stops_fa(&c, stops, n, where, &stop) || !cross(&c, &f, &stop, QN_FA_MINUS, where))
        qn__fa_free(&f);
    else
        out = qn__fa_empty(&f) ? qn__ir_alt(ir, NULL, 0) : qn__ir_fa(ir, &f, false);
    json_decref(c.owned);
    json_decref(c.made);
    qn__arena_free(&c.paths);
    if (out < 0)
        (void)qn__ir_check(ir, err);
    return out;
}
