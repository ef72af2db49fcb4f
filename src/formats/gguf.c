/* gguf.c - the GGUF handle: opening a file, a split or memory, looking names up, error places. See gguf.h; the header's
 * rules are in gguf_parse.c, splits in gguf_split.c, typed reads in gguf_get.c, writing in gguf_write.c. */
#include "formats/gguf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "formats/gguf_impl.h"

/* ---- errors ---- */

qn_status qn__gguf_fail(const char *file, const char *what, qn_slice item, size_t at, qn_err *err, qn_status code,
                        const char *fmt, ...)
{
    char sentence[sizeof err->what], where[sizeof err->where], place[112] = "";
    va_list ap;
    if (!err)
        return code;
    va_start(ap, fmt);
    (void)vsnprintf(sentence, sizeof sentence, fmt, ap);
    va_end(ap);
    size_t n = 0;
    const int item_max = 60;
    if (what)
        n = (size_t)snprintf(place, sizeof place, ": %s %.*s%s", what, item.n < (size_t)item_max ? (int)item.n : item_max,
                             item.p ? item.p : "", item.n > (size_t)item_max ? "..." : "");
    if (at != SIZE_MAX)
        n += (size_t)snprintf(place + n, sizeof place - n, "%s byte %zu", what ? "," : ":", at);
    /* A path that does not fit loses its beginning: its end and the place tell more. */
    size_t room = sizeof where - 1 - n, len = strlen(file);
    if (len <= room)
        (void)snprintf(where, sizeof where, "%s%s", file, place);
    else
        (void)snprintf(where, sizeof where, "...%s%s", file + (len - (room - 3)), place);
    return qn__fail(err, code, where, "%s", sentence);
}

/* Starts-with against a literal. */
static bool begins(const unsigned char *p, size_t n, const char *magic, size_t m)
{
    return n >= m && memcmp(p, magic, m) == 0;
}

const char *qn__gguf_sniff(const unsigned char *p, size_t n)
{
#define IS(lit) begins(p, n, lit, sizeof(lit) - 1)
    if (IS("PK\x03\x04"))
        return "is a zip archive (perhaps a PyTorch checkpoint)";
    if (IS("FUGG"))
        return "is a big-endian GGUF file";
    if (IS("lmgg") || IS("tjgg") || IS("fmgg") || IS("algg"))
        return "is a model in a GGML format older than GGUF; convert it";
    if (IS("\x1f\x8b"))
        return "is gzip-compressed; decompress it first";
    if (IS("\x28\xb5\x2f\xfd"))
        return "is zstd-compressed; decompress it first";
    if (IS("\x80\x02") || IS("\x80\x03") || IS("\x80\x04"))
        return "is a Python pickle (a PyTorch checkpoint)";
    if (IS("\x7f" "ELF"))
        return "is a program";
    if (IS("version https://git-lfs"))
        return "is a Git LFS pointer: the model itself was not downloaded (git lfs pull)";
    if (IS("<!DOCTYPE") || IS("<!doctype") || IS("<html") || IS("<HTML"))
        return "is a web page (a download that went wrong?)";
    if (n > 9 && p[8] == '{' && qn__ld64(p) < ((uint64_t)1 << 32))
        return "is a safetensors file; convert it to GGUF";
#undef IS
    size_t look = n < 256 ? n : 256, zeros = 0, text = 0;
    for (size_t i = 0; i < look; i++) {
        zeros += p[i] == 0;
        text += p[i] == '\n' || p[i] == '\r' || p[i] == '\t' || p[i] >= 0x20;
    }
    if (zeros == look)
        return "begins with zeros (a download that did not finish?)";
    if (text == look && (qn__utf8_valid((const char *)p, look) || n > look))
        return "is a text file";
    return "does not begin with the letters GGUF";
}

/* ---- the index ---- */

/* Sift v[i] down in the heap v[0..n). */
static void sift(uint32_t *v, size_t i, size_t n, bool (*less)(const void *, uint32_t, uint32_t), const void *ctx)
{
    uint32_t x = v[i];
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && less(ctx, v[c], v[c + 1]))
            c++;
        if (!less(ctx, x, v[c]))
            break;
        v[i] = v[c];
    }
    v[i] = x;
}

void qn__gguf_sort(uint32_t *v, size_t n, bool (*less)(const void *ctx, uint32_t a, uint32_t b), const void *ctx)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(v, i, n, less, ctx);
    for (size_t end = n; end-- > 1;) {
        uint32_t top = v[0];
        v[0] = v[end];
        v[end] = top;
        sift(v, 0, end, less, ctx);
    }
}

struct names {
    const uint64_t *hash;
    qn_slice (*name)(const void *ctx, size_t i);
    const void *ctx;
};

static int name_order(const struct names *s, uint32_t a, uint32_t b)
{
    if (s->hash[a] != s->hash[b])
        return s->hash[a] < s->hash[b] ? -1 : 1;
    qn_slice x = s->name(s->ctx, a), y = s->name(s->ctx, b);
    if (x.n != y.n)
        return x.n < y.n ? -1 : 1;
    return memcmp(x.p, y.p, x.n);
}

/* By hash, then name, then place in the file. */
static bool name_less(const void *ctx, uint32_t a, uint32_t b)
{
    int c = name_order(ctx, a, b);
    return c ? c < 0 : a < b;
}

bool qn__gguf_index_build(qn__gguf_index_entry **out, size_t n, qn_slice (*name)(const void *ctx, size_t i), const void *ctx,
                          size_t *duplicate)
{
    uint64_t *hash = qn__calloc(n, sizeof *hash);
    uint32_t *order = qn__calloc(n, sizeof *order);
    qn__gguf_index_entry *index = qn__calloc(n, sizeof *index);
    bool ok = hash && order && index;
    if (ok) {
        struct names s = {hash, name, ctx};
        for (size_t i = 0; i < n; i++) {
            qn_slice x = name(ctx, i);
            hash[i] = qn__hash(x.p, x.n);
            order[i] = (uint32_t)i;
        }
        qn__gguf_sort(order, n, name_less, &s);
        *duplicate = n;
        for (size_t i = 0; i < n; i++) {
            index[i] = (qn__gguf_index_entry){hash[order[i]], order[i]};
            if (i && name_order(&s, order[i - 1], order[i]) == 0)
                *duplicate = order[i];
        }
        *out = index;
        index = NULL;
    }
    qn_free(hash);
    qn_free(order);
    qn_free(index);
    return ok;
}

size_t qn__gguf_index_find(const qn__gguf_index_entry *index, size_t n, qn_slice (*name)(const void *ctx, size_t i),
                           const void *ctx, qn_slice want)
{
    uint64_t h = qn__hash(want.p, want.n);
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (index[mid].hash < h)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < n && index[lo].hash == h; lo++)
        if (qn__slice_eq(name(ctx, index[lo].i), want))
            return index[lo].i;
    return n;
}

/* ---- the handle ---- */

static qn_slice tensor_name(const void *ctx, size_t i)
{
    return ((const qn_gguf_tensor *)ctx)[i].name;
}

/* All parts are parsed: gather their tensors and index them. */
static qn_status gather(qn_gguf *g, qn_err *err)
{
    size_t n = 0, twice;
    for (uint32_t k = 0; k < g->n_parts; k++) {
        n += g->parts[k].n_tensors; /* each <= QN_GGUF_MAX_COUNT, fewer than 2^16 parts */
        g->file_bytes += g->parts[k].size;
    }
    if (n > UINT32_MAX / 2)
        return qn__gguf_fail(g->name, NULL, (qn_slice){0}, SIZE_MAX, err, QN_EFORMAT, "has %zu tensors, too many", n);
    if (g->n_parts == 1) {
        g->tensors = g->parts[0].tensors;
        g->parts[0].tensors = NULL;
    } else {
        g->tensors = qn__calloc(n, sizeof *g->tensors);
        if (!g->tensors)
            return qn__fail_mem(err, g->name);
        size_t at = 0;
        for (uint32_t k = 0; k < g->n_parts; k++) {
            qn__gguf_part *p = &g->parts[k];
            for (size_t i = 0; i < p->n_tensors; i++) {
                g->tensors[at] = p->tensors[i];
                g->tensors[at++].part = k;
            }
            qn_free(p->tensors);
            p->tensors = NULL;
        }
    }
    g->n_tensors = n;
    if (!qn__gguf_index_build(&g->tensor_index, n, tensor_name, g->tensors, &twice))
        return qn__fail_mem(err, g->name);
    if (twice < n) {
        const qn_gguf_tensor *t = &g->tensors[twice];
        const qn__gguf_part *p = &g->parts[t->part];
        return qn__gguf_fail(p->name, "tensor", t->name, (size_t)((const unsigned char *)t->name.p - p->data), err, QN_EFORMAT,
                             "the tensor stands twice in the %s", g->n_parts > 1 ? "model" : "file");
    }
    return QN_OK;
}

/* A handle with one part whose name is set; bytes still missing. */
static qn_gguf *handle(const char *name)
{
    qn_gguf *g = qn__calloc(1, sizeof *g);
    if (!g)
        return NULL;
    g->name = qn__strndup(name, strlen(name));
    g->parts = qn__calloc(1, sizeof *g->parts);
    if (g->parts) {
        g->n_parts = 1;
        g->parts[0].name = qn__strndup(name, strlen(name));
    }
    if (!g->name || !g->parts || !g->parts[0].name) {
        qn__gguf_close(g);
        return NULL;
    }
    return g;
}

static bool is_split(const qn__gguf_part *p)
{
    int64_t n;
    const qn_gguf_kv *kv = qn__gguf_part_kv(p, "split.count", strlen("split.count"));
    return kv && !(qn__gguf_kv_int(kv, &n) && (n == 0 || n == 1));
}

qn_status qn__gguf_open(const char *path, qn_gguf **out, qn_err *err)
{
    qn_gguf *g = handle(path);
    if (!g)
        return qn__fail_mem(err, path);
    qn__gguf_part *p = &g->parts[0];
    qn_status s = qn__map_open(path, &p->map, err);
    if (s == QN_OK) {
        p->data = p->map.data;
        p->size = p->map.size;
        s = qn__gguf_part_parse(p, err);
    }
    if (s == QN_OK && is_split(p))
        s = qn__gguf_open_split(g, err);
    if (s == QN_OK)
        s = gather(g, err);
    if (s == QN_OK)
        *out = g;
    else
        qn__gguf_close(g);
    return s;
}

void qn__gguf_done(const qn_gguf *g, const unsigned char *p, size_t n)
{
    for (uint32_t i = 0; i < g->n_parts; i++) {
        const qn_map *m = &g->parts[i].map;
        if (m->data && p >= m->data && p < m->data + m->size)
            qn__map_done(p, n);
    }
}

qn_status qn__gguf_open_memory(const void *data, size_t size, const char *name, qn_gguf **out, qn_err *err)
{
    qn_gguf *g = handle(name);
    if (!g)
        return qn__fail_mem(err, name);
    g->parts[0].data = data;
    g->parts[0].size = size;
    qn_status s = qn__gguf_part_parse(&g->parts[0], err);
    if (s == QN_OK && is_split(&g->parts[0]))
        s = qn__gguf_fail(name, NULL, (qn_slice){0}, SIZE_MAX, err, QN_EUNSUPPORTED,
                          "is one part of a split model; open it as a file, beside its other parts");
    if (s == QN_OK)
        s = gather(g, err);
    if (s == QN_OK)
        *out = g;
    else
        qn__gguf_close(g);
    return s;
}

void qn__gguf_close(qn_gguf *g)
{
    if (!g)
        return;
    for (uint32_t k = 0; k < g->n_parts; k++)
        qn__gguf_part_free(&g->parts[k]);
    qn_free(g->parts);
    qn_free(g->tensors);
    qn_free(g->tensor_index);
    qn_free(g->name);
    qn_free(g);
}

const char *qn__gguf_name(const qn_gguf *g)
{
    return g->name;
}

uint32_t qn__gguf_version(const qn_gguf *g)
{
    return g->parts[0].version;
}

uint32_t qn__gguf_alignment(const qn_gguf *g)
{
    return g->parts[0].alignment;
}

uint64_t qn__gguf_file_bytes(const qn_gguf *g)
{
    return g->file_bytes;
}

uint32_t qn__gguf_parts(const qn_gguf *g)
{
    return g->n_parts;
}

const char *qn__gguf_part_name(const qn_gguf *g, uint32_t part)
{
    return g->parts[part].name;
}

size_t qn__gguf_n_tensors(const qn_gguf *g)
{
    return g->n_tensors;
}

const qn_gguf_tensor *qn__gguf_tensor(const qn_gguf *g, size_t i)
{
    return i < g->n_tensors ? &g->tensors[i] : NULL;
}

const qn_gguf_tensor *qn__gguf_find(const qn_gguf *g, const char *name)
{
    size_t i = qn__gguf_index_find(g->tensor_index, g->n_tensors, tensor_name, g->tensors, (qn_slice){name, strlen(name)});
    return i < g->n_tensors ? &g->tensors[i] : NULL;
}

size_t qn__gguf_n_kv(const qn_gguf *g)
{
    return g->parts[0].n_kv;
}

const qn_gguf_kv *qn__gguf_kv_at(const qn_gguf *g, size_t i)
{
    return i < g->parts[0].n_kv ? &g->parts[0].kv[i] : NULL;
}

const qn_gguf_kv *qn__gguf_kv(const qn_gguf *g, const char *key)
{
    return qn__gguf_part_kv(&g->parts[0], key, strlen(key));
}
