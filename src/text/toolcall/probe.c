/* probe.c - which dialect a template speaks, and how it spells it to the byte. See calls.h.
 *
 * Why: templates of one family differ in white space, in where ids stand, in how they write `true`. So a conversation whose names,
 * keys and values occur nowhere else is rendered, and what stands between them is the spelling:
 *
 *   ...user text ... first qn_alpha mid {"qn_ka": ...} between qn_beta mid {"qn_ke": ...} last ...
 *
 * What cannot be made out leaves the dialect's own spelling in place. */
#include "text/toolcall/calls.h"

#include <string.h>

#include "base/err.h"
#include "text/toolcall/json_scan.h"

#define USER "qnuserqn"
#define TEXT "qntextqn"
#define ID_1 "callid001"
#define ID_2 "callid002"

static const char tools_json[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"qn_alpha\",\"description\":\"a\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"qn_ka\":{\"type\":\"string\",\"description\":\"a\"},\"qn_kb\":{\"type\":\"boolean\",\"description\":\"b\"},"
    "\"qn_kc\":{\"type\":\"string\",\"description\":\"c\"},\"qn_kd\":{\"type\":\"integer\",\"description\":\"d\"}},"
    "\"required\":[\"qn_ka\"]}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"qn_beta\",\"description\":\"b\",\"parameters\":{\"type\":\"object\","
    "\"properties\":{\"qn_ke\":{\"type\":\"string\",\"description\":\"e\"}},\"required\":[\"qn_ke\"]}}}]";

#define CALL_1 "{\"id\":\"" ID_1 "\",\"type\":\"function\",\"function\":{\"name\":\"qn_alpha\",\"arguments\":{\"qn_ka\":\"qn_va\"," \
               "\"qn_kb\":true,\"qn_kc\":null,\"qn_kd\":7}}}"
#define CALL_2 "{\"id\":\"" ID_2 "\",\"type\":\"function\",\"function\":{\"name\":\"qn_beta\",\"arguments\":{\"qn_ke\":\"qn_ve\"}}}"
#define RESULT(id, name) ",{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"name\":\"" name "\",\"content\":\"qnresult\"}"

/* One rendering of the made-up conversation, behind the user's text; p NULL when the template refuses. */
static qn_status render(const qn_probe *probe, int calls, const char *content, bool results, char **text, qn_slice *out, qn_err *err)
{
    qn_buf b = {0};
    qn_err why = {0};
    size_t n = 0;
    *text = NULL;
    *out = (qn_slice){0};
    qn__buf_printf(&b, "[{\"role\":\"user\",\"content\":\"" USER "\"},{\"role\":\"assistant\",%s\"tool_calls\":[%s%s%s]}%s%s]", content,
                   CALL_1, calls > 1 ? "," : "", calls > 1 ? CALL_2 : "", results ? RESULT(ID_1, "qn_alpha") : "",
                   results && calls > 1 ? RESULT(ID_2, "qn_beta") : "");
    if (b.failed) {
        qn__buf_free(&b);
        return qn__fail_mem(err, "tools");
    }
    qn_chat_input in = probe->in;
    in.messages_json = b.data;
    in.tools_json = tools_json;
    in.add_generation_prompt = false;
    qn_status st = qn__chat_render(probe->template, &in, text, &n, &why);
    qn__buf_free(&b);
    if (st == QN_ENOMEM)
        return qn__fail_mem(err, "tools");
    if (st)
        return QN_OK;
    const char *at = memmem(*text, n, USER, sizeof USER - 1), *next = at;
    while (next) { /* the last one: a template may quote the conversation */
        at = next;
        next = memmem(at + 1, n - (size_t)(at + 1 - *text), USER, sizeof USER - 1);
    }
    if (at)
        *out = (qn_slice){at + sizeof USER - 1, n - (size_t)(at + sizeof USER - 1 - *text)};
    return QN_OK;
}

/* ---- what stands between ---- */

typedef struct span {
    const char *from, *to;
} span;

static const char *find(const char *from, const char *end, const char *what)
{
    return from && from <= end ? memmem(from, (size_t)(end - from), what, strlen(what)) : NULL;
}

static const char *find_last(const char *from, const char *end, const char *what)
{
    const char *at = NULL, *next = find(from, end, what);
    while (next) {
        at = next;
        next = find(at + 1, end, what);
    }
    return at;
}

/* The first or last piece of a marker that white space divides. */
static void piece(const char *marker, bool last, char out[96])
{
    size_t n = strcspn(marker, " \n");
    const char *p = marker;
    if (last && marker[n])
        p = strrchr(marker, '\n') ? strrchr(marker, '\n') + 1 : marker;
    n = strcspn(p, "\n");
    n = n < 95 ? n : 95;
    memcpy(out, p, n);
    out[n] = 0;
}

/* A copy in which ids are QN_ID_HERE. */
static const char *copy(qn_calls *c, span s)
{
    qn_buf b = {0};
    const char *after = c->dialect->index_after;
    size_t n_after = after ? strlen(after) : 0;
    for (const char *p = s.from; p < s.to;) {
        size_t left = (size_t)(s.to - p);
        if (left >= 9 && (memcmp(p, ID_1, 9) == 0 || memcmp(p, ID_2, 9) == 0)) {
            qn__buf_putc(&b, QN_ID_HERE);
            p += 9;
        } else if (n_after && left > n_after && memcmp(p, after, n_after) == 0 && p[n_after] >= '0' && p[n_after] <= '9') {
            qn__buf_put(&b, p, n_after);
            qn__buf_putc(&b, QN_ID_HERE);
            for (p += n_after; p < s.to && *p >= '0' && *p <= '9';)
                p++;
        } else {
            qn__buf_putc(&b, *p++);
        }
    }
    char *out = b.failed ? NULL : qn__arena_strndup(&c->arena, b.data ? b.data : "", b.n);
    qn__buf_free(&b);
    return out;
}

/* Where one call stands in a rendering. */
typedef struct place {
    span name, args;                 /* args: the JSON object; of PARAMS, the first key_open to behind the last value_close */
    const char *key_open, *key, *value; /* PARAMS: of the first argument */
} place;

static bool place_json(place *w, const char *key, const char *end)
{
    const char *at = find(w->name.to, end, key);
    while (at && at > w->name.to && *at != '{')
        at--;
    if (!at || *at != '{')
        return false;
    qn_json_scan s;
    qn__json_scan_init(&s);
    size_t n = qn__json_scan(&s, at, (size_t)(end - at));
    w->args = (span){at, at + n};
    return s.done;
}

static bool place_call(const qn_dialect *d, const char *from, const char *end, const char *name, const char *key, const char *value,
                       place *w)
{
    const char *at = find(from, end, name);
    if (!at)
        return false;
    w->name = (span){at, at + strlen(name)};
    if (d->form != QN_FORM_PARAMS)
        return place_json(w, key, end);
    w->key = find(w->name.to, end, key);
    w->key_open = w->key ? find_last(w->name.to, w->key, d->key_open) : NULL;
    w->value = w->key ? find(w->key, end, value) : NULL;
    w->args = (span){w->key_open, NULL};
    return w->key_open && w->value;
}

/* Where the calls begin: the opening marker that stands last before the name. */
static const char *section(const qn_dialect *d, const char *from, const char *name)
{
    char head[96];
    const char *const marks[] = {d->open, d->begin, d->bare ? "{" : d->array ? "[" : NULL};
    for (size_t i = 0; i < 3; i++)
        if (marks[i]) {
            piece(marks[i], false, head);
            const char *at = find_last(from, name, head);
            if (at)
                return at;
        }
    return NULL;
}

/* Where they end. */
static const char *section_end(const qn_dialect *d, const char *from, const char *end)
{
    const char *at = from;
    if (d->form == QN_FORM_OBJECT) {
        at = find(from, end, "}");
        if (!at)
            return NULL;
        at++;
        if (d->array) {
            at = find(at, end, "]");
            if (!at)
                return NULL;
            at++;
        }
    }
    const char *const marks[] = {d->end, d->end_more, d->close};
    for (size_t i = 0; i < 3; i++) {
        char tail[96];
        if (!marks[i])
            continue;
        piece(marks[i], true, tail);
        const char *next = find(at, end, tail);
        if (next)
            at = next + strlen(tail);
        else if (i == 0)
            return NULL;
    }
    return at;
}

/* ---- PARAMS ---- */

/* The first call's arguments: a string, true, null, 7. Fills what stands around keys and values, and where the arguments end. */
static bool learn_params(qn_calls *c, place *w, const char *end, qn_written *out)
{
    const qn_dialect *d = c->dialect;
    const char *va = w->value + 5, *kb = find(va, end, "qn_kb"), *next = kb ? find_last(va, kb, d->key_open) : NULL;
    if (!next)
        return false;
    span close = {va, next};
    out->key_open = copy(c, (span){w->key_open, w->key});
    out->key_close = copy(c, (span){w->key + 5, w->value});
    out->value_close = copy(c, close);
    const char *kc = find(kb, end, "qn_kc"), *kd = find(kb, end, "qn_kd");
    if (!out->key_open || !out->key_close || !out->value_close || !kc)
        return false;
    size_t n_close = strlen(out->value_close), n_open = strlen(out->key_open);
    const char *yes_end = kc - n_open - n_close, *yes = yes_end;
    while (yes > kb && ((yes[-1] >= 'a' && yes[-1] <= 'z') || (yes[-1] >= 'A' && yes[-1] <= 'Z')))
        yes--;
    if (yes_end - yes != 4)
        return false;
    out->yes = *yes == 'T' ? "True" : "true";
    out->no = *yes == 'T' ? "False" : "false";
    out->key_close_json = copy(c, (span){kb + 5, yes});
    if (!out->key_close_json)
        return false;
    /* A template may leave null out; then its spelling is that of the family. */
    const char *null = kd ? find(kc, kd, "None") : NULL;
    out->null = null ? "None" : kd && find(kc, kd, "null") ? "null" : d->written.null;
    const char *last = kd ? find(kd, end, "7") : NULL;
    if (!last || strncmp(last + 1, out->value_close, n_close) != 0)
        return false;
    w->args.to = last + 1 + n_close;
    return true;
}

/* ---- one rendering ---- */

static bool learn(qn_calls *c, qn_slice t, bool two, qn_written *out)
{
    const qn_dialect *d = c->dialect;
    const char *end = t.p + t.n;
    place a = {0}, b = {0};
    if (!place_call(d, t.p, end, "qn_alpha", "qn_ka", "qn_va", &a))
        return false;
    const char *from = section(d, t.p, a.name.from);
    if (!from || (d->form == QN_FORM_PARAMS && !learn_params(c, &a, end, out)))
        return false;
    const place *last = &a;
    out->first = copy(c, (span){from, a.name.from});
    out->mid = copy(c, (span){a.name.to, a.args.from});
    out->between = NULL;
    if (two && place_call(d, a.args.to, end, "qn_beta", "qn_ke", "qn_ve", &b)) {
        if (d->form == QN_FORM_PARAMS) {
            b.args.to = b.value + 5 + strlen(out->value_close);
            if (b.args.to > end || strncmp(b.value + 5, out->value_close, strlen(out->value_close)) != 0)
                return false;
        }
        out->between = copy(c, (span){a.args.to, b.name.from});
        last = &b;
    }
    const char *to = section_end(d, last->args.to, end);
    out->last = to ? copy(c, (span){last->args.to, to}) : NULL;
    if (d->form != QN_FORM_PARAMS) {
        const char *colon = find(a.args.from, a.args.to, ":");
        out->compact = colon && colon[1] != ' ';
    }
    return out->first && out->mid && out->last && strlen(out->first) < 400 && strlen(out->mid) < 400 &&
           (!out->between || strlen(out->between) < 800) && strlen(out->last) < 400;
}

static qn_status learn_lead(qn_calls *c, const qn_probe *p, qn_err *err)
{
    char *text = NULL;
    qn_slice t;
    qn_status st = render(p, 1, "\"content\":\"" TEXT "\",", false, &text, &t, err);
    if (!st && !t.p) {
        qn_free(text);
        st = render(p, 1, "\"content\":\"" TEXT "\",", true, &text, &t, err);
    }
    if (!st && t.p) {
        const char *end = t.p + t.n, *name = find(t.p, end, "qn_alpha"), *from = name ? section(c->dialect, t.p, name) : NULL,
                   *at = from ? find(t.p, from, TEXT) : NULL;
        span lead = {at ? at + sizeof TEXT - 1 : NULL, from};
        bool white = at != NULL;
        for (const char *s = lead.from; white && s < lead.to; s++)
            white = *s == '\n' || *s == ' ';
        if (white && lead.to - lead.from < 16) {
            c->written.lead = copy(c, lead);
            if (!c->written.lead)
                st = qn__fail_mem(err, "tools");
        }
    }
    qn_free(text);
    return st;
}

/* Try renderings until the template takes one; the first that shows calls of a known dialect decides. */
static qn_status from_rendering(qn_calls *c, const qn_probe *p, qn_err *err)
{
    static const char *const contents[] = {"\"content\":\"\",", "\"content\":null,", ""};
    for (int k = 0; k < 12; k++) {
        int calls = k < 6 ? 2 : 1;
        char *text = NULL;
        qn_slice t;
        qn_status st = render(p, calls, contents[k % 6 / 2], k % 2, &text, &t, err);
        if (st)
            return st;
        const qn_dialect *d = t.p ? qn__dialect_of(t.p, t.n, "qn_alpha") : NULL;
        if (d) {
            qn_written w = d->written;
            c->dialect = d;
            c->written = w;
            if (d->form != QN_FORM_CHANNELS && d->form != QN_FORM_RECIPIENT && d->form != QN_FORM_TERSE && learn(c, t, calls == 2, &w)) {
                c->written = w;
                c->seen = true;
            }
            qn_free(text);
            return c->seen ? learn_lead(c, p, err) : QN_OK;
        }
        qn_free(text);
    }
    return QN_OK;
}

static const qn_dialect *from_source(const char *source, size_t n)
{
    const qn_dialect *d;
    for (size_t i = 0; source && (d = qn__dialect(i)) != NULL; i++) {
        size_t k = 0;
        while (k < 3 && d->sign[k] && memmem(source, n, d->sign[k], strlen(d->sign[k])))
            k++;
        if (!d->bare && (k == 3 || !d->sign[k]))
            return d;
    }
    if (source && memmem(source, n, "<|tool_call|>", 13))
        return &qn__dialect_granite;
    if (source && memmem(source, n, "<tool_call>", 11))
        return &qn__dialect_hermes;
    return NULL;
}

qn_status qn__calls_detect(qn_calls *c, const qn_probe *p, const char *name, qn_err *err)
{
    qn_status st = QN_OK;
    c->dialect = NULL;
    if (name && !qn__dialect_find(name)) {
        char list[400];
        size_t n = 0;
        const qn_dialect *d;
        for (size_t i = 0; (d = qn__dialect(i)) != NULL && n + strlen(d->name) + 3 < sizeof list; i++) {
            memcpy(list + n, i ? ", " : "", i ? 2 : 0);
            n += i ? 2 : 0;
            memcpy(list + n, d->name, strlen(d->name));
            n += strlen(d->name);
        }
        list[n] = 0;
        return qn__fail(err, QN_EUNSUPPORTED, "tools", "there is no dialect \"%.40s\"; there are %s", name, list);
    }
    if (p->template)
        st = from_rendering(c, p, err);
    if (st)
        return st;
    if (!c->dialect)
        c->dialect = from_source(p->source, p->n_source);
    if (name && (!c->dialect || strcmp(c->dialect->name, name) != 0)) {
        c->dialect = qn__dialect_find(name);
        c->seen = false;
    }
    if (!c->dialect)
        c->dialect = &qn__dialect_json;
    if (!c->seen)
        c->written = c->dialect->written;
    return QN_OK;
}
