/* Decoding with a mixture of experts reads the experts that the router chose and no others: which pages of the file the
 * system holds is compared, after a few tokens, with what was chosen.
 *
 * The page cache of the file is emptied first and read-ahead is switched off for the map, so that a page is there only if
 * something touched it. Where the system does not tell, or does not empty, the test says so and is skipped. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/decoder.h"
#include "model/device.h"

#define OK(x)                                                                                                          \
    do {                                                                                                               \
        qn_err err = {0};                                                                                              \
        if ((x) != QN_OK)                                                                                              \
            fail_msg("%s: %s: %s", #x, err.where, err.what);                                                           \
    } while (0)

enum { EXPERTS = 32, FF = 512, TOKENS = 4, MAX_LAYERS = 8 };

/* ---- a model with experts of many pages: the tiny one's rest, and larger experts of noise ---- */

static bool is(qn_slice s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static bool contains(qn_slice s, const char *text)
{
    char name[96];
    (void)snprintf(name, sizeof name, "%.*s", (int)s.n, s.p);
    return strstr(name, text) != NULL;
}

static void put_keys(qn_gguf *g, qn_gguf_writer *w)
{
    for (size_t i = 0; i < qn__gguf_n_kv(g); i++) {
        const qn_gguf_kv *kv = qn__gguf_kv_at(g, i);
        if (is(kv->key, "qwen3moe.expert_count"))
            qn__gguf_put_int(w, "qwen3moe.expert_count", QN_GGUF_U32, EXPERTS);
        else if (is(kv->key, "qwen3moe.expert_feed_forward_length"))
            qn__gguf_put_int(w, "qwen3moe.expert_feed_forward_length", QN_GGUF_U32, FF);
        else
            qn__gguf_put_kv(w, kv);
    }
}

static bool resized(const qn_gguf_tensor *t, uint64_t dims[3])
{
    memcpy(dims, t->dims, 3 * sizeof *dims);
    if (contains(t->name, "ffn_gate_inp"))
        dims[1] = EXPERTS;
    else if (contains(t->name, "_exps"))
        dims[contains(t->name, "down") ? 0 : 1] = FF, dims[2] = EXPERTS;
    else
        return false;
    return true;
}

static void put_noise(qn_gguf_writer *w, const qn_gguf_tensor *t, const uint64_t dims[3])
{
    static unsigned char piece[1 << 16];
    static uint32_t x = 1;
    size_t bytes = (size_t)(dims[0] * dims[1] * dims[2]) * (t->type == QN_F32 ? 4 : 2);
    while (bytes > 0) {
        size_t n = bytes < sizeof piece ? bytes : sizeof piece;
        for (size_t i = 0; i < n; i += t->type == QN_F32 ? 4 : 2) {
            x = x * 1664525u + 1013904223u;
            float f = ((float)(x >> 9) / (float)(1 << 22) - 1) * 0.5f;
            uint16_t half = (uint16_t)((x >> 31) << 15 | 0x2800 | (x >> 16 & 0x3FF)); /* +-0.03 .. 0.06 */
            if (t->type == QN_F32)
                memcpy(piece + i, &f, 4);
            else
                memcpy(piece + i, &half, 2);
        }
        OK(qn__gguf_write(w, piece, n, &err));
        bytes -= n;
    }
}

static void write_model(const char *path)
{
    qn_gguf *g = NULL;
    qn_gguf_writer *w = NULL;
    uint64_t dims[3];
    OK(qn__gguf_open("tests/data/models/qwen3moe.gguf", &g, &err));
    OK(qn__gguf_create(path, &w, &err));
    put_keys(g, w);
    for (size_t i = 0; i < qn__gguf_n_tensors(g); i++) {
        const qn_gguf_tensor *t = qn__gguf_tensor(g, i);
        char *name = qn__strndup(t->name.p, t->name.n);
        qn__gguf_put_tensor(w, name, t->type, t->n_dims, resized(t, dims) ? dims : t->dims);
        qn_free(name);
    }
    OK(qn__gguf_begin_data(w, &err));
    for (size_t i = 0; i < qn__gguf_n_tensors(g); i++) {
        const qn_gguf_tensor *t = qn__gguf_tensor(g, i);
        if (resized(t, dims))
            put_noise(w, t, dims);
        else
            OK(qn__gguf_write(w, t->data, t->bytes, &err));
    }
    OK(qn__gguf_commit(w, &err));
    qn__gguf_close(g);
}

/* ---- pages ---- */

static size_t page;

/* The whole pages within [p, p + n). */
static bool inside(const unsigned char *p, size_t n, unsigned char **first, size_t *pages)
{
    uintptr_t a = ((uintptr_t)p + page - 1) / page * page, b = ((uintptr_t)p + n) / page * page;
    *first = (unsigned char *)a;
    *pages = b > a ? (b - a) / page : 0;
    return *pages > 0;
}

/* How many of them the system holds; -1: it does not say. */
static long resident(const unsigned char *p, size_t n, size_t *of)
{
    static unsigned char state[1 << 16];
    unsigned char *first;
    if (!inside(p, n, &first, of))
        return 0;
    if (*of > sizeof state || mincore(first, *of * page, state) != 0)
        return -1;
    long here = 0;
    for (size_t i = 0; i < *of; i++)
        here += state[i] & 1;
    return here;
}

/* Forget every page of the file. */
static bool drop(const qn_gguf *g, const char *path)
{
    const qn_gguf_tensor *a = qn__gguf_tensor(g, 0), *z = qn__gguf_tensor(g, qn__gguf_n_tensors(g) - 1);
    unsigned char *first;
    size_t n;
    if (!inside(a->data, (size_t)(z->data + z->bytes - a->data), &first, &n) || madvise(first, n * page, MADV_RANDOM) != 0 ||
        madvise(first, n * page, MADV_DONTNEED) != 0)
        return false;
    int fd = open(path, O_RDONLY);
    bool ok = fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0;
    if (fd >= 0)
        (void)close(fd);
    return ok && resident(a->data, (size_t)(z->data + z->bytes - a->data), &n) == 0;
}

/* ---- decoding ---- */

typedef struct chosen {
    const qn_gguf_tensor *tensors[MAX_LAYERS * 3];
    bool of[MAX_LAYERS * 3][EXPERTS];
    size_t n;
} chosen;

static void see(void *arg, const qn_seen *s)
{
    chosen *c = arg;
    size_t i = 0;
    if (!s->routing)
        return;
    while (i < c->n && c->tensors[i] != s->w->tensor)
        i++;
    assert_true(i < MAX_LAYERS * 3);
    if (i == c->n)
        c->tensors[c->n++] = s->w->tensor;
    for (int k = 0; k < s->routing->n_segments; k++)
        c->of[i][s->routing->experts[k]] = true;
}

static void decode(const qn_decoder *d, chosen *c)
{
    const qn_context_options o = {.level = qn__cpu_best(), .n_threads = 2, .max_rows = 1, .max_out = 1, .n_ctx = 64, .kv = QN__KV_F16};
    const qn_observer observer = {see, c};
    qn_context *x = NULL;
    OK(qn__context_open(d, &o, &x, &err));
    qn__context_observe(x, &observer);
    unsigned char *pages[1] = {qn__alloc_aligned(qn__decoder_page_bytes(d, QN__KV_F16))}, *const *table = pages;
    float *logits = qn__alloc((size_t)qn__decoder_info(d)->n_vocab * sizeof *logits);
    for (int i = 0; i < TOKENS; i++) {
        const qn_row row = {.token = 17 * i + 3, .pos = i, .out = 0};
        const qn_step step = {.rows = &row, .n_rows = 1, .pages = &table, .n_seqs = 1, .logits = logits};
        OK(qn__context_step(x, &step, &err));
    }
    qn__context_close(x);
    qn__free_aligned(pages[0]);
    qn_free(logits);
}

/* Pages of experts that are there and should not be (or should and are not), and figures. */
static size_t compare(const chosen *c, size_t *bytes, size_t *all, size_t *experts)
{
    size_t wrong = 0, of;
    *bytes = *all = *experts = 0;
    for (size_t i = 0; i < c->n; i++) {
        size_t each = c->tensors[i]->bytes / EXPERTS;
        for (size_t e = 0; e < EXPERTS; e++) {
            long here = resident(c->tensors[i]->data + e * each, each, &of);
            assert_true(here >= 0 && of > 8);
            wrong += c->of[i][e] ? of - (size_t)here : (size_t)here;
            *experts += c->of[i][e];
            *bytes += (size_t)here * page;
        }
        *all += c->tensors[i]->bytes;
    }
    return wrong;
}

static bool try_in(const char *folder)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/quern-experts-XXXXXX", folder);
    int fd = mkstemp(path);
    if (fd < 0)
        return false;
    (void)close(fd);
    qn_gguf *g = NULL;
    qn_decoder *d = NULL;
    static chosen c;
    c = (chosen){0};
    write_model(path);
    OK(qn__gguf_open(path, &g, &err));
    OK(qn__decoder_open(g, &d, &err));
    bool tells = drop(g, path);
    if (tells) {
        size_t bytes, all, experts;
        decode(d, &c);
        assert_true(c.n >= 3);
        size_t wrong = compare(&c, &bytes, &all, &experts);
        printf("figure: %d tokens decoded: %zu of %zu expert matrices chosen, %.1f of %.1f MiB of them read; %zu pages wrong\n",
               TOKENS, experts, c.n * EXPERTS, (double)bytes / 0x1p20, (double)all / 0x1p20, wrong);
        assert_int_equal(wrong, 0);
        assert_true(experts < c.n * EXPERTS / 2);
        for (size_t e = 0; e < EXPERTS; e++) /* planted: one page that nobody chose */
            if (!c.of[0][e]) {
                size_t each = c.tensors[0]->bytes / EXPERTS;
                (void)*(const volatile unsigned char *)(c.tensors[0]->data + e * each + each / 2);
                break;
            }
        assert_true(compare(&c, &bytes, &all, &experts) > 0);
    }
    qn__decoder_close(d);
    qn__gguf_close(g);
    assert_int_equal(unlink(path), 0);
    return tells;
}

static void only_the_chosen(void **state)
{
    (void)state;
    page = (size_t)sysconf(_SC_PAGESIZE);
    const char *folder = getenv("TMPDIR");
    if (!try_in(folder ? folder : "/tmp") && !try_in("build")) { /* a file system in memory cannot forget */
        printf("skipped: this system does not tell which pages of a file it holds\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_the_chosen)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
