/* gguf_split.c - a model in several files: NAME-00001-of-0000N.gguf ... NAME-0000N-of-0000N.gguf.
 *
 * Each part is a GGUF file whose metadata hold split.count (N), split.no (from 0) and split.tensors.count (of all parts).
 * Any part opens the whole; the first part's metadata are the model's. Refuses parts that are missing, renamed, of
 * another split, or that do not add up. */
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "formats/gguf_impl.h"

enum { SUFFIX = 6 + 4 + 5 + 5 }; /* -KKKKK -of- NNNNN .gguf */

static bool five_digits(const char *p, uint32_t *v)
{
    *v = 0;
    for (int i = 0; i < 5; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        *v = *v * 10 + (uint32_t)(p[i] - '0');
    }
    return true;
}

bool qn__gguf_split_name(const char *path, uint32_t *no, uint32_t *count)
{
    size_t n = strlen(path);
    if (n < SUFFIX)
        return false;
    const char *s = path + n - SUFFIX;
    uint32_t a, b;
    if (s[0] != '-' || !five_digits(s + 1, &a) || memcmp(s + 6, "-of-", 4) != 0 || !five_digits(s + 10, &b) ||
        memcmp(s + 15, ".gguf", 5) != 0 || a < 1 || a > b)
        return false;
    *no = a;
    *count = b;
    return true;
}

/* A split.* number of a part. */
static qn_status number(const qn__gguf_part *p, const char *key, int64_t *out, qn_err *err)
{
    const qn_gguf_kv *kv = qn__gguf_part_kv(p, key, strlen(key));
    if (!kv || !qn__gguf_kv_int(kv, out) || *out < 0)
        return qn__gguf_fail(p->name, "key", (qn_slice){key, strlen(key)}, SIZE_MAX, err, QN_EFORMAT,
                             kv ? "must be a number that is not negative" : "is missing from this part of a split model");
    return QN_OK;
}

/* Part k (from 0) of `count` must say so itself. */
static qn_status check_part(const qn__gguf_part *p, uint32_t k, uint32_t count, qn_err *err)
{
    int64_t n, no;
    qn_status s = number(p, "split.count", &n, err);
    if (s == QN_OK)
        s = number(p, "split.no", &no, err);
    if (s != QN_OK)
        return s;
    if (n != count || no != k)
        return qn__gguf_fail(p->name, NULL, (qn_slice){0}, SIZE_MAX, err, QN_EFORMAT,
                             "says inside that it is part %lld of %lld, but its name says part %u of %u; was it renamed?",
                             (long long)no + 1, (long long)n, k + 1, count);
    return QN_OK;
}

static qn_status open_part(const char *given, uint32_t k, uint32_t count, qn__gguf_part *p, qn_err *err)
{
    size_t stem = strlen(given) - SUFFIX, bytes = stem + SUFFIX + 12; /* room for any two u32 */
    p->name = qn__alloc(bytes);
    if (!p->name)
        return qn__fail_mem(err, given);
    memcpy(p->name, given, stem);
    (void)snprintf(p->name + stem, bytes - stem, "-%05u-of-%05u.gguf", k + 1, count);
    qn_err why = {0};
    qn_status s = qn__map_open(p->name, &p->map, &why);
    if (s != QN_OK)
        return qn__fail(err, s, p->name, "part %u of %u of a split model: %s", k + 1, count, why.what);
    p->data = p->map.data;
    p->size = p->map.size;
    return qn__gguf_part_parse(p, err);
}

qn_status qn__gguf_open_split(qn_gguf *g, qn_err *err)
{
    uint32_t no, count;
    int64_t said, tensors, sum = 0;
    qn_status s = number(&g->parts[0], "split.count", &said, err);
    if (s != QN_OK)
        return s;
    if (said > QN_GGUF_MAX_PARTS)
        return qn__gguf_fail(g->name, NULL, (qn_slice){0}, SIZE_MAX, err, QN_EFORMAT, "claims to be split into %lld parts",
                             (long long)said);
    if (!qn__gguf_split_name(g->name, &no, &count) || count != said)
        return qn__gguf_fail(g->name, NULL, (qn_slice){0}, SIZE_MAX, err, QN_EFORMAT,
                             "is one of %lld parts of a split model, but its name does not end in -00001-of-%05lld.gguf or "
                             "the like; give the parts the names they were published under", (long long)said, (long long)said);
    s = check_part(&g->parts[0], no - 1, count, err);
    /* Parts are opened one at a time and memory grows with them: a claim of 65535 parts costs nothing. */
    qn__gguf_part given = g->parts[0];
    size_t cap = 1;
    g->parts[0] = (qn__gguf_part){0};
    g->n_parts = 0;
    for (uint32_t k = 0; k < count && s == QN_OK; k++) {
        if (!qn__grow((void **)&g->parts, &cap, k + 1, sizeof *g->parts)) {
            s = qn__fail_mem(err, g->name);
            break;
        }
        qn__gguf_part *p = &g->parts[k];
        g->n_parts = k + 1;
        *p = (qn__gguf_part){0};
        if (k == no - 1) {
            *p = given;
            given = (qn__gguf_part){0};
            sum += (int64_t)p->n_tensors;
            continue;
        }
        s = open_part(g->name, k, count, p, err);
        if (s == QN_OK)
            s = check_part(p, k, count, err);
        sum += (int64_t)p->n_tensors;
    }
    qn__gguf_part_free(&given);
    if (s == QN_OK)
        s = number(&g->parts[0], "split.tensors.count", &tensors, err);
    if (s == QN_OK && tensors != sum)
        s = qn__gguf_fail(g->name, NULL, (qn_slice){0}, SIZE_MAX, err, QN_EFORMAT,
                          "the parts hold %lld tensors together, but the first says %lld; a part is damaged or of another model",
                          (long long)sum, (long long)tensors);
    return s;
}
