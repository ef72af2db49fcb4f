/* grammar_trie.c - the vocabulary as a tree of bytes. Made once per tokenizer; read-only. */
#include <stdlib.h>

#include "text/grammar_int.h"

/* A token's bytes in the middle of a text, behind what out holds. Control tokens have none. */
static bool token_bytes(const qn_tokenizer *t, int32_t id, qn_buf *out)
{
    qn_token_attr a = qn__token_attr(t, id);
    if (a == QN_TOKEN_CONTROL || a == QN_TOKEN_UNKNOWN || a == QN_TOKEN_UNUSED)
        return true;
    qn_detok d;
    qn__detok_init(&d, t, true);
    d.at_start = false;
    qn__detok_put(&d, id, out);
    qn__detok_flush(&d, out);
    return !out->failed;
}

typedef struct key { /* for sorting: the first bytes, big-endian, then the rest */
    uint64_t head;
    const uint8_t *p;
    uint32_t n;
    int32_t id;
} key;

static int by_bytes(const void *a, const void *b)
{
    const key *x = a, *y = b;
    if (x->head != y->head)
        return x->head < y->head ? -1 : 1;
    uint32_t n = x->n < y->n ? x->n : y->n;
    int r = memcmp(x->p, y->p, n);
    return r ? r : x->n != y->n ? (x->n > y->n) - (x->n < y->n) : (x->id > y->id) - (x->id < y->id);
}

static void trie_free(void *p)
{
    qn_token_trie *x = p;
    if (!x)
        return;
    qn_free(x->byte);
    qn_free(x->depth);
    qn_free(x->skip);
    qn_free(x->token);
    qn_free(x->same);
    qn_free(x->plain);
    qn_free(x->order);
    qn_free(x->from);
    qn_free(x->ends);
    qn_free(x->at);
    qn_free(x->text);
    qn_free(x);
}

static bool put_node(qn_token_trie *x, size_t cap[4], uint8_t byte, uint16_t depth)
{
    if (!qn__grow((void **)&x->byte, &cap[0], x->n + 1, 1) || !qn__grow((void **)&x->depth, &cap[1], x->n + 1, sizeof *x->depth) ||
        !qn__grow((void **)&x->skip, &cap[2], x->n + 1, sizeof *x->skip) ||
        !qn__grow((void **)&x->token, &cap[3], x->n + 1, sizeof *x->token))
        return false;
    x->byte[x->n] = byte;
    x->depth[x->n] = depth;
    x->skip[x->n] = -1;
    x->token[x->n++] = -1;
    return true;
}

/* keys ascend: each shares a beginning with the one before it. path: the nodes of the one before. */
static bool fill(qn_token_trie *x, const key *keys, size_t n, int32_t *path)
{
    size_t cap[4] = {0}, n_path = 0;
    const key *last = NULL;
    for (size_t i = 0; i < n; i++) {
        const key *k = &keys[i];
        size_t common = 0;
        while (last && common < last->n && common < k->n && last->p[common] == k->p[common])
            common++;
        if (last && common == k->n && k->n == last->n) { /* the same bytes */
            int32_t *at = &x->token[path[n_path - 1]];
            while (*at >= 0)
                at = &x->same[*at];
            *at = k->id;
            continue;
        }
        while (n_path > common)
            x->skip[path[--n_path]] = (int32_t)x->n;
        for (; n_path < k->n; n_path++) {
            if (!put_node(x, cap, k->p[n_path], (uint16_t)(n_path + 1)))
                return false;
            path[n_path] = (int32_t)x->n - 1;
        }
        x->token[path[n_path - 1]] = k->id;
        last = k;
    }
    while (n_path)
        x->skip[path[--n_path]] = (int32_t)x->n;
    return true;
}

bool qn__trie_plain_byte(uint8_t b)
{
    return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') || b == ' ' || b == '_' || b == '.' || b == '-';
}

/* What lets a walk take a whole subtree at once. */
static bool summarise(qn_token_trie *x)
{
    uint32_t n = 0;
    x->plain = qn__alloc(x->n);
    x->order = qn__alloc((size_t)x->n_vocab * sizeof *x->order);
    x->from = qn__alloc((x->n + 1) * sizeof *x->from);
    if (!x->plain || !x->order || !x->from)
        return false;
    for (size_t i = 0; i < x->n; i++) {
        x->from[i] = n;
        for (int32_t id = x->token[i]; id >= 0; id = x->same[id])
            x->order[n++] = id;
    }
    x->from[x->n] = n;
    for (size_t i = x->n; i-- > 0;) {
        x->plain[i] = 1;
        for (int32_t k = (int32_t)i + 1; k < x->skip[i] && x->plain[i]; k = x->skip[k])
            x->plain[i] = x->plain[k] && qn__trie_plain_byte(x->byte[k]);
    }
    return true;
}

static bool build(qn_token_trie *x, const qn_tokenizer *t)
{
    int32_t n = x->n_vocab;
    qn_buf text = {0};
    key *keys = qn__alloc((size_t)n * sizeof *keys);
    size_t n_keys = 0, cap_ends = 0, longest = 0;
    int32_t *path = NULL;
    x->at = qn__alloc(((size_t)n + 1) * sizeof *x->at);
    x->same = qn__alloc((size_t)n * sizeof *x->same);
    bool ok = keys && x->at && x->same;
    for (int32_t id = 0; ok && id < n; id++) {
        x->at[id] = (uint32_t)text.n;
        x->same[id] = -1;
        ok = token_bytes(t, id, &text) && text.n < INT32_MAX;
        if (ok && qn__token_ends(t, id)) {
            ok = qn__grow((void **)&x->ends, &cap_ends, x->n_ends + 1, sizeof *x->ends);
            if (ok)
                x->ends[x->n_ends++] = id;
        }
    }
    if (ok) {
        x->at[n] = (uint32_t)text.n;
        qn__buf_putc(&text, 0);
        x->text = (uint8_t *)qn__buf_take(&text, NULL);
        ok = x->text != NULL;
    }
    for (int32_t id = 0; ok && id < n; id++) {
        key k = {.p = x->text + x->at[id], .n = x->at[id + 1] - x->at[id], .id = id};
        if (!k.n || k.n > UINT16_MAX - 8 || qn__token_ends(t, id))
            continue;
        for (uint32_t i = 0; i < 8; i++)
            k.head = k.head << 8 | (i < k.n ? k.p[i] : 0);
        longest = k.n > longest ? k.n : longest;
        keys[n_keys++] = k;
    }
    x->max_depth = (uint16_t)longest;
    path = ok ? qn__alloc((longest + 1) * sizeof *path) : NULL;
    ok = ok && path;
    if (ok) {
        if (n_keys > 1)
            qsort(keys, n_keys, sizeof *keys, by_bytes);
        ok = fill(x, keys, n_keys, path) && summarise(x);
    }
    qn_free(keys);
    qn_free(path);
    qn__buf_free(&text);
    return ok;
}

static void *make(const qn_tokenizer *t)
{
    qn_token_trie *x = qn__calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->n_vocab = qn__tokenizer_info(t)->n_vocab;
    if (!build(x, t)) {
        trie_free(x);
        return NULL;
    }
    return x;
}

qn_status qn__token_trie(const qn_tokenizer *t, const qn_token_trie **out, qn_err *err)
{
    const qn_token_trie *x = qn__tokenizer_keep(t, make, trie_free);
    if (!x)
        return qn__fail_mem(err, "grammar");
    *out = x;
    return QN_OK;
}
