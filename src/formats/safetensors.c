/* safetensors.c - see safetensors.h.
 *
 * The header is JSON of one fixed form, at most 100 MB of it. It is read in place by a small parser of exactly that form
 * rather than into a tree: a tree costs thirty times its text, which a hostile header would make gigabytes; this costs
 * what the tensors that it names are worth. Only the skipped __metadata__ may hold anything else than a tensor, and it is
 * strings. */
#include "formats/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

enum { MAX_HEADER = 100000000, MAX_TENSORS = 1 << 20 };

struct qn_st {
    qn_map map; /* empty when the bytes are the caller's */
    char *name;
    qn_arena names;
    qn_st_tensor *tensors;
    size_t n, cap;
    const qn_st_tensor **by_name; /* sorted */
};

static const struct dtype {
    const char *name;
    uint8_t size;
} dtypes[QN_ST__COUNT] = {
    [QN_ST_BOOL] = {"BOOL", 1},       [QN_ST_U8] = {"U8", 1},   [QN_ST_I8] = {"I8", 1},
    [QN_ST_F8_E4M3] = {"F8_E4M3", 1}, [QN_ST_F8_E5M2] = {"F8_E5M2", 1}, [QN_ST_F8_E8M0] = {"F8_E8M0", 1},
    [QN_ST_I16] = {"I16", 2},         [QN_ST_U16] = {"U16", 2}, [QN_ST_F16] = {"F16", 2}, [QN_ST_BF16] = {"BF16", 2},
    [QN_ST_I32] = {"I32", 4},         [QN_ST_U32] = {"U32", 4}, [QN_ST_F32] = {"F32", 4},
    [QN_ST_I64] = {"I64", 8},         [QN_ST_U64] = {"U64", 8}, [QN_ST_F64] = {"F64", 8},
};

const char *qn__st_dtype_name(qn_st_dtype d)
{
    return dtypes[d].name;
}

size_t qn__st_dtype_size(qn_st_dtype d)
{
    return dtypes[d].size;
}

/* The parser: at..end of the header. After the first failure `status` stays. */
typedef struct parser {
    qn_st *s;
    const char *base, *at, *end;
    const unsigned char *data; /* behind the header */
    size_t n_data;
    qn_err *err;
    qn_status status;
} parser;

static bool bad(parser *p, const char *sentence)
{
    if (p->status == QN_OK) {
        char where[160];
        (void)snprintf(where, sizeof where, "%.100s: header, byte %zu", p->s->name, (size_t)(p->at - p->base) + 8);
        p->status = qn__fail(p->err, QN_EFORMAT, where, "%s", sentence);
    }
    return false;
}

static bool bad_tensor(parser *p, const char *name, qn_status code, const char *sentence, const char *detail)
{
    if (p->status == QN_OK) {
        char where[160];
        (void)snprintf(where, sizeof where, "%.70s: tensor %.70s", p->s->name, name);
        p->status = qn__fail(p->err, code, where, sentence, detail);
    }
    return false;
}

static bool no_memory(parser *p)
{
    if (p->status == QN_OK)
        p->status = qn__fail_mem(p->err, p->s->name);
    return false;
}

static void blanks(parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
        p->at++;
}

static bool next_is(parser *p, char c)
{
    blanks(p);
    return p->at < p->end && *p->at == c;
}

static bool take(parser *p, char c)
{
    if (!next_is(p, c)) {
        char sentence[] = "the header is not the JSON of a safetensors file: expected '?'";
        sentence[sizeof sentence - 3] = c;
        return bad(p, sentence);
    }
    p->at++;
    return true;
}

static int hex4(const char *s)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* One escape behind the backslash: its character in out[4]; bytes written, 0 when malformed. */
static size_t escape(parser *p, char out[4])
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (p->at == p->end)
        return 0;
    char c = *p->at++;
    const char *i = c ? strchr(from, c) : NULL;
    if (i) {
        out[0] = to[i - from];
        return 1;
    }
    if (c != 'u' || p->end - p->at < 4)
        return 0;
    int32_t cp = hex4(p->at);
    if (cp <= 0) /* NUL has no place in a name either */
        return 0;
    p->at += 4;
    if (cp >= 0xD800 && cp < 0xDC00) {
        int32_t low = p->end - p->at >= 6 && p->at[0] == '\\' && p->at[1] == 'u' ? hex4(p->at + 2) : -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return 0;
        p->at += 6;
        cp = 0x10000 + (cp - 0xD800) * 0x400 + (low - 0xDC00);
    } else if (cp >= 0xDC00 && cp < 0xE000) {
        return 0;
    }
    return qn__utf8_encode(cp, out);
}

/* A string; out NULL: skip it. Otherwise at most cap - 1 bytes, terminated. */
static bool string(parser *p, char *out, size_t cap, size_t *n)
{
    size_t used = 0;
    if (!take(p, '"'))
        return false;
    for (;;) {
        char bytes[4];
        size_t got;
        if (p->at == p->end)
            return bad(p, "a string of the header does not end");
        if (*p->at == '"')
            break;
        if (*p->at == '\\') {
            p->at++;
            if ((got = escape(p, bytes)) == 0)
                return bad(p, "a string of the header has a malformed escape");
        } else {
            int32_t cp;
            got = qn__utf8_decode(p->at, (size_t)(p->end - p->at), &cp);
            if (cp < 0x20)
                return bad(p, "a string of the header holds a control character or is not UTF-8");
            memcpy(bytes, p->at, got);
            p->at += got;
        }
        if (out) {
            if (used + got >= cap)
                return bad(p, "a name or word of the header is too long");
            memcpy(out + used, bytes, got);
        }
        used += got;
    }
    p->at++;
    if (out) {
        out[used] = 0;
        *n = used;
    }
    return true;
}

/* A whole number without sign, fraction or exponent. */
static bool number(parser *p, uint64_t *out)
{
    uint64_t v = 0;
    blanks(p);
    if (p->at == p->end || *p->at < '0' || *p->at > '9' || (*p->at == '0' && p->end - p->at > 1 && p->at[1] >= '0' && p->at[1] <= '9'))
        return bad(p, "a shape or offset of the header is not a whole number");
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*p->at - '0'), &v))
            return bad(p, "a number of the header does not fit 64 bits");
    *out = v;
    return true;
}

static bool numbers(parser *p, uint64_t *out, uint32_t cap, uint32_t *n)
{
    *n = 0;
    if (!take(p, '['))
        return false;
    if (next_is(p, ']')) {
        p->at++;
        return true;
    }
    for (;;) {
        if (*n == cap)
            return bad(p, "a list of the header is longer than it may be: a tensor has at most 8 dimensions and two offsets");
        if (!number(p, &out[*n]))
            return false;
        ++*n;
        if (next_is(p, ']')) {
            p->at++;
            return true;
        }
        if (!take(p, ','))
            return false;
    }
}

static bool dtype(parser *p, const char *tensor, qn_st_dtype *out)
{
    char word[32];
    size_t n;
    if (!string(p, word, sizeof word, &n))
        return false;
    for (int i = 0; i < QN_ST__COUNT; i++)
        if (strcmp(word, dtypes[i].name) == 0) {
            *out = (qn_st_dtype)i;
            return true;
        }
    return bad_tensor(p, tensor, QN_EUNSUPPORTED, "its dtype %s is unknown to this build", word);
}

/* Is the range what dtype and shape say, and inside the data? */
static bool place(parser *p, qn_st_tensor *t, const uint64_t range[2])
{
    uint64_t bytes = dtypes[t->dtype].size;
    for (uint32_t i = 0; i < t->n_dims; i++)
        if (__builtin_mul_overflow(bytes, t->dims[i], &bytes))
            return bad_tensor(p, t->name, QN_EFORMAT, "%s", "the product of its shape does not fit 64 bits");
    if (range[0] > range[1] || range[1] > p->n_data)
        return bad_tensor(p, t->name, QN_EFORMAT, "%s", "its data_offsets lie outside the file; the file is damaged or not complete");
    if (range[1] - range[0] != bytes)
        return bad_tensor(p, t->name, QN_EFORMAT, "%s", "its data_offsets do not span what its dtype and shape need");
    t->data = p->data + range[0];
    t->bytes = (size_t)bytes;
    return true;
}

static bool tensor(parser *p, const char *name, size_t n)
{
    qn_st_tensor t = {.name = name};
    uint64_t range[2] = {0, 0};
    unsigned have = 0;
    uint32_t count;
    for (int i = 0; i < QN_ST_MAX_DIMS; i++)
        t.dims[i] = 1;
    if (!take(p, '{'))
        return false;
    for (int field = 0; field < 3; field++) {
        char key[16];
        size_t n_key;
        unsigned bit;
        if ((field && !take(p, ',')) || !string(p, key, sizeof key, &n_key) || !take(p, ':'))
            return false;
        if (strcmp(key, "dtype") == 0) {
            bit = 1;
            if (!dtype(p, name, &t.dtype))
                return false;
        } else if (strcmp(key, "shape") == 0) {
            bit = 2;
            if (!numbers(p, t.dims, QN_ST_MAX_DIMS, &t.n_dims))
                return false;
        } else if (strcmp(key, "data_offsets") == 0) {
            bit = 4;
            if (!numbers(p, range, 2, &count))
                return false;
            if (count != 2)
                return bad(p, "data_offsets must be two numbers");
        } else {
            return bad(p, "a tensor has dtype, shape and data_offsets; this key is none of them");
        }
        if (have & bit)
            return bad(p, "a key of a tensor is there twice");
        have |= bit;
    }
    if (!take(p, '}') || !place(p, &t, range))
        return false;
    if (p->s->n == MAX_TENSORS)
        return bad(p, "a file has at most 1048576 tensors");
    if (!qn__grow((void **)&p->s->tensors, &p->s->cap, p->s->n + 1, sizeof t) ||
        !(t.name = qn__arena_strndup(&p->s->names, name, n)))
        return no_memory(p);
    p->s->tensors[p->s->n++] = t;
    return true;
}

/* Strings to strings: of no use to us. */
static bool metadata(parser *p)
{
    if (!take(p, '{'))
        return false;
    if (next_is(p, '}')) {
        p->at++;
        return true;
    }
    do
        if (!string(p, NULL, 0, NULL) || !take(p, ':') || !string(p, NULL, 0, NULL))
            return false;
    while (next_is(p, ',') && p->at++);
    return take(p, '}');
}

static bool header(parser *p)
{
    bool seen = false;
    if (!take(p, '{'))
        return false;
    if (next_is(p, '}')) {
        p->at++;
    } else {
        do {
            char name[QN_ST_MAX_NAME + 1];
            size_t n;
            if (!string(p, name, sizeof name, &n) || !take(p, ':'))
                return false;
            if (strcmp(name, "__metadata__") == 0) {
                if (seen)
                    return bad(p, "__metadata__ is there twice");
                seen = true;
                if (!metadata(p))
                    return false;
            } else if (!tensor(p, name, n)) {
                return false;
            }
        } while (next_is(p, ',') && p->at++);
        if (!take(p, '}'))
            return false;
    }
    blanks(p);
    return p->at == p->end || bad(p, "something follows the header's JSON");
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const qn_st_tensor *const *)a)->name, (*(const qn_st_tensor *const *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    const qn_st_tensor *x = *(const qn_st_tensor *const *)a, *y = *(const qn_st_tensor *const *)b;
    return x->data != y->data ? (x->data > y->data) - (x->data < y->data) : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* No name twice; the data tiled without hole or overlap. */
static bool check_all(parser *p)
{
    qn_st *s = p->s;
    s->by_name = qn__calloc(s->n ? s->n : 1, sizeof *s->by_name);
    if (!s->by_name)
        return no_memory(p);
    for (size_t i = 0; i < s->n; i++)
        s->by_name[i] = &s->tensors[i];
    const unsigned char *at = p->data;
    qsort(s->by_name, s->n, sizeof *s->by_name, by_place);
    for (size_t i = 0; i < s->n; i++) {
        if (s->by_name[i]->data != at)
            return bad_tensor(p, s->by_name[i]->name, QN_EFORMAT, "its data %s", s->by_name[i]->data < at ? "overlaps another tensor's" : "leaves a hole behind the tensor before it");
        at += s->by_name[i]->bytes;
    }
    if (at != p->data + p->n_data) {
        p->status = qn__fail(p->err, QN_EFORMAT, s->name, "%zu bytes at its end belong to no tensor", (size_t)(p->data + p->n_data - at));
        return false;
    }
    qsort(s->by_name, s->n, sizeof *s->by_name, by_name);
    for (size_t i = 1; i < s->n; i++)
        if (strcmp(s->by_name[i - 1]->name, s->by_name[i]->name) == 0)
            return bad_tensor(p, s->by_name[i]->name, QN_EFORMAT, "%s", "the name is there twice");
    return true;
}

static qn_status open_bytes(qn_st *s, const unsigned char *data, size_t size, qn_err *err)
{
    uint64_t n = 0;
    if (size < 8)
        return qn__fail(err, QN_EFORMAT, s->name, "is no safetensors file: it has only %zu bytes", size);
    for (int i = 0; i < 8; i++)
        n |= (uint64_t)data[i] << (8 * i);
    if (n > MAX_HEADER || n > size - 8)
        return qn__fail(err, QN_EFORMAT, s->name, "is no safetensors file, or not complete: its header should have %llu bytes, but %zu follow (and %d are the most)", (unsigned long long)n, size - 8, MAX_HEADER);
    const char *text = (const char *)data + 8;
    parser p = {.s = s, .base = text, .at = text, .end = text + n, .data = data + 8 + n, .n_data = size - 8 - (size_t)n, .err = err};
    return header(&p) && check_all(&p) ? QN_OK : p.status;
}

static qn_status make(const char *name, qn_st **out, qn_err *err)
{
    qn_st *s = qn__calloc(1, sizeof *s);
    if (!s || !(s->name = qn__strndup(name, strlen(name)))) {
        qn_free(s);
        return qn__fail_mem(err, name);
    }
    qn__arena_init(&s->names, 0);
    *out = s;
    return QN_OK;
}

qn_status qn__st_open_memory(const void *data, size_t size, const char *name, qn_st **out, qn_err *err)
{
    qn_st *s;
    qn_status st = make(name, &s, err);
    if (st == QN_OK && (st = open_bytes(s, data, size, err)) != QN_OK)
        qn__st_close(s);
    if (st == QN_OK)
        *out = s;
    return st;
}

qn_status qn__st_open(const char *path, qn_st **out, qn_err *err)
{
    qn_st *s;
    qn_status st = make(path, &s, err);
    if (st != QN_OK)
        return st;
    st = qn__map_open(path, &s->map, err);
    if (st == QN_OK)
        st = open_bytes(s, s->map.data, s->map.size, err);
    if (st == QN_OK)
        *out = s;
    else
        qn__st_close(s);
    return st;
}

void qn__st_close(qn_st *s)
{
    if (!s)
        return;
    qn__map_close(&s->map);
    qn__arena_free(&s->names);
    qn_free(s->tensors);
    qn_free(s->by_name);
    qn_free(s->name);
    qn_free(s);
}

const char *qn__st_name(const qn_st *s)
{
    return s->name;
}

size_t qn__st_n_tensors(const qn_st *s)
{
    return s->n;
}

const qn_st_tensor *qn__st_tensor(const qn_st *s, size_t i)
{
    return &s->tensors[i];
}

const qn_st_tensor *qn__st_find(const qn_st *s, const char *name)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = strcmp(name, s->by_name[mid]->name);
        if (c == 0)
            return s->by_name[mid];
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

void qn__st_drop(const qn_st *s, const unsigned char *p, size_t n)
{
    if (s->map.data)
        qn__map_done(p, n);
}
