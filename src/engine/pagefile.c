/* pagefile.c - see pagefile.h. */
#include "engine/pagefile.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* Of the layout of a page and of the bits of every operation: raise it when either changes. */
enum { PAGE_VERSION = 1, FILE_VERSION = 1 };
/* Offsets in the head. */
enum {
    AT_MAGIC = 0, AT_VERSION = 8, AT_PAGE_TOKENS = 12, AT_MODEL = 16, AT_BUILD = 32, AT_KV = 40, AT_LEVEL = 44, AT_VARIANT = 48,
    AT_FIRST = 52, AT_N = 56, AT_STATES = 60, AT_PAGE_BYTES = 64, AT_STATE_BYTES = 72, AT_TOKENS_SUM = 80, AT_LABEL = 88,
    AT_PAGES = 152, PAGE_ENTRY = 32, AT_SUM = QN_PAGEFILE_HEAD - 8
};
_Static_assert(AT_PAGES + QN_RUN * PAGE_ENTRY <= AT_SUM, "the head holds the pages' entries");

static const char magic[8] = {'Q', 'U', 'E', 'R', 'N', 'K', 'V', '\n'};
static const uint64_t PAGE_MAX = (uint64_t)1 << 32, STATE_MAX = (uint64_t)1 << 34;

uint64_t qn__run_sum(const void *p, size_t n)
{
    return XXH3_64bits(p, n);
}

static void put(unsigned char *p, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}
static uint64_t get(const unsigned char *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}
static void put_name(unsigned char *p, qn_name n)
{
    put(p, n.lo, 8);
    put(p + 8, n.hi, 8);
}
static qn_name get_name(const unsigned char *p)
{
    return (qn_name){.lo = get(p, 8), .hi = get(p + 8, 8)};
}

uint64_t qn__root_build(void)
{
    static const char build[] = QN_VERSION " " __VERSION__; /* another compiler may compute other bits */
    return qn__run_sum(build, sizeof build) + PAGE_VERSION;
}

static void put_root(unsigned char *head, const qn_root *r)
{
    put_name(head + AT_MODEL, r->model);
    put(head + AT_BUILD, r->build, 8);
    put(head + AT_KV, r->kv, 4);
    put(head + AT_LEVEL, r->level, 4);
    put(head + AT_VARIANT, r->variant, 4);
    put(head + AT_PAGE_BYTES, r->page_bytes, 8);
    put(head + AT_STATE_BYTES, r->state_bytes, 8);
}

qn_name qn__root_name(const qn_root *r)
{
    unsigned char head[AT_TOKENS_SUM] = {0};
    put(head + AT_PAGE_TOKENS, QN_PAGE_TOKENS, 4);
    put_root(head, r);
    XXH128_hash_t h = XXH3_128bits(head, sizeof head);
    return (qn_name){.lo = h.low64, .hi = h.high64};
}

/* ---- where things are ---- */

uint64_t qn__run_tokens_at(const qn_page_run *r)
{
    (void)r;
    return QN_PAGEFILE_HEAD;
}

uint64_t qn__run_page_at(const qn_page_run *r, uint32_t i)
{
    return QN_PAGEFILE_HEAD + (uint64_t)(r->first + r->n) * QN_PAGE_TOKENS * sizeof(int32_t) + i * r->root.page_bytes;
}

uint64_t qn__run_state_at(const qn_page_run *r, uint32_t i)
{
    uint64_t at = qn__run_page_at(r, r->n);
    for (uint32_t k = 0; k < i; k++)
        at += r->page[k].has_state ? r->root.state_bytes : 0;
    return at;
}

uint64_t qn__run_bytes(const qn_page_run *r)
{
    return qn__run_state_at(r, r->n);
}

/* ---- the head ---- */

void qn__run_write(const qn_page_run *r, unsigned char head[QN_PAGEFILE_HEAD])
{
    uint32_t states = 0;
    memset(head, 0, QN_PAGEFILE_HEAD);
    memcpy(head + AT_MAGIC, magic, sizeof magic);
    put(head + AT_VERSION, FILE_VERSION, 4);
    put(head + AT_PAGE_TOKENS, QN_PAGE_TOKENS, 4);
    put_root(head, &r->root);
    put(head + AT_FIRST, r->first, 4);
    put(head + AT_N, r->n, 4);
    put(head + AT_TOKENS_SUM, r->tokens_sum, 8);
    memcpy(head + AT_LABEL, r->root.label, sizeof r->root.label);
    for (uint32_t i = 0; i < r->n; i++) {
        unsigned char *p = head + AT_PAGES + i * PAGE_ENTRY;
        put_name(p, r->page[i].name);
        put(p + 16, r->page[i].sum, 8);
        put(p + 24, r->page[i].state_sum, 8);
        states |= (uint32_t)r->page[i].has_state << i;
    }
    put(head + AT_STATES, states, 4);
    put(head + AT_SUM, qn__run_sum(head, AT_SUM), 8);
}

static const char *read_root(const unsigned char *head, qn_root *r)
{
    *r = (qn_root){.model = get_name(head + AT_MODEL), .build = get(head + AT_BUILD, 8), .kv = (uint32_t)get(head + AT_KV, 4),
                   .level = (uint32_t)get(head + AT_LEVEL, 4), .variant = (uint32_t)get(head + AT_VARIANT, 4),
                   .page_bytes = get(head + AT_PAGE_BYTES, 8), .state_bytes = get(head + AT_STATE_BYTES, 8)};
    memcpy(r->label, head + AT_LABEL, sizeof r->label);
    for (size_t i = 0; i < sizeof r->label; i++) /* it ends on a terminal */
        if (r->label[i] && (unsigned char)r->label[i] < 0x20)
            return "its label is not a text";
    r->label[sizeof r->label - 1] = 0;
    if (r->page_bytes == 0 || r->page_bytes % 64 != 0 || r->page_bytes > PAGE_MAX || r->state_bytes > STATE_MAX)
        return "its pages have an impossible size";
    return NULL;
}

const char *qn__run_read(const unsigned char head[QN_PAGEFILE_HEAD], uint64_t size, qn_page_run *out)
{
    if (memcmp(head + AT_MAGIC, magic, sizeof magic) != 0)
        return "it is not a file of pages";
    if (get(head + AT_VERSION, 4) != FILE_VERSION || get(head + AT_PAGE_TOKENS, 4) != QN_PAGE_TOKENS)
        return "it is of another version";
    if (get(head + AT_SUM, 8) != qn__run_sum(head, AT_SUM))
        return "its head is damaged";
    uint64_t first = get(head + AT_FIRST, 4), n = get(head + AT_N, 4), states = get(head + AT_STATES, 4);
    *out = (qn_page_run){.first = (uint32_t)first, .n = (uint32_t)n, .tokens_sum = get(head + AT_TOKENS_SUM, 8)};
    const char *bad = read_root(head, &out->root);
    if (bad)
        return bad;
    if (n == 0 || n > QN_RUN || first > QN_PAGEFILE_DEEP || states >> n || (states && !out->root.state_bytes))
        return "it has an impossible number of pages";
    for (uint32_t i = 0; i < n; i++) {
        const unsigned char *p = head + AT_PAGES + i * PAGE_ENTRY;
        out->page[i] = (qn_run_page){.name = get_name(p), .sum = get(p + 16, 8), .state_sum = get(p + 24, 8),
                                     .has_state = states >> i & 1};
    }
    return size == qn__run_bytes(out) ? NULL : "it has not the size that its head says";
}

/* ---- names ---- */

void qn__name_text(qn_name n, char out[33])
{
    (void)snprintf(out, 33, "%016llx%016llx", (unsigned long long)n.hi, (unsigned long long)n.lo);
}

static bool hex(const char *p, int n, uint64_t *out)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++) {
        const char *digits = "0123456789abcdef", *d = p[i] ? strchr(digits, p[i]) : NULL;
        if (!d)
            return false;
        v = v << 4 | (uint64_t)(d - digits);
    }
    *out = v;
    return true;
}

bool qn__name_parse(const char *text, qn_name *out)
{
    qn_name n;
    if (strlen(text) != 32 || !hex(text, 16, &n.hi) || !hex(text + 16, 16, &n.lo))
        return false;
    *out = n;
    return true;
}

void qn__run_file_name(qn_name last, uint32_t first, char out[QN_PAGEFILE_NAME])
{
    char text[33];
    qn__name_text(last, text);
    (void)snprintf(out, QN_PAGEFILE_NAME, "%s-%05x.kv", text, (unsigned)first);
}

bool qn__run_parse_name(const char *file, qn_name *last, uint32_t *first)
{
    qn_name n;
    uint64_t f;
    if (strlen(file) != 41 || !hex(file, 16, &n.hi) || !hex(file + 16, 16, &n.lo) || file[32] != '-' || !hex(file + 33, 5, &f) ||
        strcmp(file + 38, ".kv") != 0)
        return false;
    *last = n;
    *first = (uint32_t)f;
    return true;
}
