/* json.c - see json.h. */
#include "services/api/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

enum { DEPTH_MAX = 200, VALUES_MAX = 1 << 20 };

/* ---- parsing ---- */

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        const char c = p[i];
        const int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* At text[i] stands a backslash inside a string: mend half pairs; returns where to go on. */
static size_t escape(char *text, size_t n, size_t i)
{
    if (i + 6 > n || text[i + 1] != 'u')
        return i + 2;
    const int v = hex4(text + i + 2);
    if (v < 0xd800 || v > 0xdfff)
        return v < 0 ? i + 2 : i + 6;
    if (v < 0xdc00 && i + 12 <= n && text[i + 6] == '\\' && text[i + 7] == 'u') {
        const int low = hex4(text + i + 8);
        if (low >= 0xdc00 && low <= 0xdfff)
            return i + 12;
    }
    memcpy(text + i + 2, "fffd", 4);
    return i + 6;
}

/* Walk the text without building anything: depth, number of values, half pairs. */
static qn_status survey(char *text, size_t n, qn_err *err)
{
    size_t depth = 0, values = 0;
    bool in_string = false;
    for (size_t i = 0; i < n;) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') {
                i = escape(text, n, i);
                continue;
            }
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            values++;
            if (++depth > DEPTH_MAX)
                return qn__fail(err, QN_ELIMIT, "body", "the JSON is nested deeper than %d levels", DEPTH_MAX);
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else if (c == ',') {
            values++;
        }
        if (values > VALUES_MAX)
            return qn__fail(err, QN_ELIMIT, "body", "the JSON holds more than %d values", VALUES_MAX);
        i++;
    }
    return QN_OK;
}

qn_status api_json_parse(char *text, size_t n, json_t **out, qn_err *err)
{
    json_error_t e;
    qn_status st = survey(text, n, err);
    if (st)
        return st;
    json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (j) {
        *out = j;
        return QN_OK;
    }
    if (json_error_code(&e) == json_error_out_of_memory)
        return qn__fail_mem(err, "body");
    return qn__fail(err, QN_EFORMAT, "body", "not valid JSON: line %d, column %d: %s", e.line, e.column, e.text);
}

/* ---- walking ---- */

api_at api_root(json_t *j, qn_err *err)
{
    *err = (qn_err){0};
    api_at at = {.j = j, .err = err, .key = ""};
    if (!json_is_object(j))
        (void)qn__fail(err, QN_EFORMAT, "body", "is %s; it must be an object", api_type_name(j));
    return at;
}

api_at api_field(const api_at *at, const char *key)
{
    return (api_at){.up = at, .key = key, .j = json_is_object(at->j) ? json_object_get(at->j, key) : NULL, .err = at->err};
}

api_at api_item(const api_at *at, size_t index)
{
    return (api_at){.up = at, .index = index, .j = json_is_array(at->j) ? json_array_get(at->j, index) : NULL,
                    .err = at->err};
}

bool api_is_ok(const api_at *at)
{
    return at->err->code == QN_OK;
}

const char *api_type_name(const json_t *j)
{
    static const char *const names[] = {"an object", "an array", "a string", "an integer",
                                        "a number",  "true",     "false",    "null"};
    return j ? names[json_typeof(j)] : "missing";
}

/* The way to `at`, from the root. */
static size_t way(const api_at *at, char *out, size_t cap)
{
    if (!at->up)
        return 0;
    size_t n = way(at->up, out, cap);
    const size_t left = n < cap ? cap - n : 0;
    const int k = at->key ? snprintf(out + (left ? n : 0), left, "%s%.64s", n ? "." : "", at->key)
                          : snprintf(out + (left ? n : 0), left, "[%zu]", at->index);
    n += k > 0 ? (size_t)k : 0;
    return n < cap ? n : cap - 1;
}

static void refuse(const api_at *at, const char *fmt, va_list ap)
{
    char where[160] = "", what[400];
    if (at->err->code)
        return;
    (void)way(at, where, sizeof where);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    (void)qn__fail(at->err, QN_EINVAL, where[0] ? where : "body", "%s", what);
}

void api_refuse(const api_at *at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    refuse(at, fmt, ap);
    va_end(ap);
}

void api_refuse_field(const api_at *at, const char *key, const char *fmt, ...)
{
    const api_at field = api_field(at, key);
    va_list ap;
    va_start(ap, fmt);
    refuse(&field, fmt, ap);
    va_end(ap);
}

/* ---- getters ---- */

/* The field, or false when there is nothing to read. */
static bool present(const api_at *at, const char *key, api_at *field)
{
    *field = api_field(at, key);
    return field->j && !json_is_null(field->j);
}

bool api_get_bool(const api_at *at, const char *key, bool *out)
{
    api_at f;
    if (!present(at, key, &f))
        return false;
    if (!json_is_boolean(f.j)) {
        api_refuse(&f, "is %s; it must be true or false", api_type_name(f.j));
        return false;
    }
    *out = json_is_true(f.j);
    return true;
}

bool api_get_int(const api_at *at, const char *key, int64_t min, int64_t max, int64_t *out)
{
    api_at f;
    int64_t v = 0;
    if (!present(at, key, &f))
        return false;
    if (json_is_integer(f.j)) {
        v = json_integer_value(f.j);
    } else if (json_is_real(f.j) && json_real_value(f.j) == floor(json_real_value(f.j)) &&
               fabs(json_real_value(f.j)) < 9007199254740992.0) {
        v = (int64_t)json_real_value(f.j);
    } else {
        api_refuse(&f, "is %s; it must be a whole number", json_is_real(f.j) ? "no whole number" : api_type_name(f.j));
        return false;
    }
    if (v < min || v > max) {
        api_refuse(&f, "%lld is out of range; give %lld to %lld", (long long)v, (long long)min, (long long)max);
        return false;
    }
    *out = v;
    return true;
}

bool api_get_int32(const api_at *at, const char *key, int32_t min, int32_t max, int32_t *out)
{
    int64_t v;
    if (!api_get_int(at, key, min, max, &v))
        return false;
    *out = (int32_t)v;
    return true;
}

bool api_get_float(const api_at *at, const char *key, double min, double max, float *out)
{
    api_at f;
    if (!present(at, key, &f))
        return false;
    if (!json_is_number(f.j)) {
        api_refuse(&f, "is %s; it must be a number", api_type_name(f.j));
        return false;
    }
    const double v = json_number_value(f.j);
    if (!(v >= min && v <= max)) {
        api_refuse(&f, "%g is out of range; give %g to %g", v, min, max);
        return false;
    }
    *out = (float)v;
    return true;
}

bool api_get_bytes(const api_at *at, const char *key, const char **out, size_t *n)
{
    api_at f;
    if (!present(at, key, &f))
        return false;
    if (!json_is_string(f.j)) {
        api_refuse(&f, "is %s; it must be a string", api_type_name(f.j));
        return false;
    }
    *out = json_string_value(f.j);
    *n = json_string_length(f.j);
    return true;
}

bool api_get_text(const api_at *at, const char *key, const char **out)
{
    const char *s;
    size_t n;
    if (!api_get_bytes(at, key, &s, &n))
        return false;
    if (strlen(s) != n) {
        api_refuse_field(at, key, "has a NUL character inside");
        return false;
    }
    *out = s;
    return true;
}

static bool get_container(const api_at *at, const char *key, json_type type, api_at *out)
{
    api_at f;
    const bool there = present(at, key, &f);
    if (there && json_typeof(f.j) != type)
        api_refuse(&f, "is %s; it must be %s", api_type_name(f.j), type == JSON_OBJECT ? "an object" : "an array");
    *out = f;
    if (!there || json_typeof(f.j) != type)
        out->j = NULL;
    return out->j != NULL;
}

bool api_get_object(const api_at *at, const char *key, api_at *out)
{
    return get_container(at, key, JSON_OBJECT, out);
}

bool api_get_array(const api_at *at, const char *key, api_at *out)
{
    return get_container(at, key, JSON_ARRAY, out);
}

/* ---- writing ---- */

void api_put_string(qn_buf *b, const char *s, size_t n)
{
    size_t from = 0;
    qn__buf_putc(b, '"');
    for (size_t i = 0; i < n;) {
        const unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            i++;
            continue;
        }
        int32_t cp;
        const size_t k = c < 0x80 ? 1 : qn__utf8_decode(s + i, n - i, &cp);
        if (c >= 0x80 && cp >= 0) {
            i += k;
            continue;
        }
        qn__buf_put(b, s + from, i - from);
        switch (c) {
        case '"': qn__buf_puts(b, "\\\""); break;
        case '\\': qn__buf_puts(b, "\\\\"); break;
        case '\n': qn__buf_puts(b, "\\n"); break;
        case '\r': qn__buf_puts(b, "\\r"); break;
        case '\t': qn__buf_puts(b, "\\t"); break;
        default:
            if (c >= 0x80)
                qn__buf_puts(b, "\xef\xbf\xbd");
            else
                qn__buf_printf(b, "\\u%04x", c);
        }
        i += k;
        from = i;
    }
    qn__buf_put(b, s + from, n - from);
    qn__buf_putc(b, '"');
}

void api_put_text(qn_buf *b, const char *s)
{
    if (s)
        api_put_string(b, s, strlen(s));
    else
        qn__buf_puts(b, "null");
}

void api_put_float(qn_buf *b, double v)
{
    if (isfinite(v))
        qn__buf_printf(b, "%.9g", v);
    else
        qn__buf_puts(b, "null");
}

static int dump(const char *text, size_t n, void *arg)
{
    qn__buf_put(arg, text, n);
    return 0;
}

void api_put_json(qn_buf *b, const json_t *j)
{
    if (!j)
        qn__buf_puts(b, "null");
    else if (json_dump_callback(j, dump, b, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
        b->failed = true;
}
