/* pretok.c - see pretok.h. Owns the compiled patterns; refuses rule sets that it does not know by name. */
#include "text/pretok.h"

#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/err.h"
#include "base/mem.h"
#include "text/pretok_tables.h"

struct qn_pretok {
    qn_pretok_info info;
    pcre2_general_context *memory;
    int n_stages;
    struct stage {
        pcre2_code *code;
        bool jit;
        bool threes;
    } stages[MAX_STAGES];
};

static void *pcre_alloc(size_t n, void *arg)
{
    (void)arg;
    return qn__alloc(n);
}

static void pcre_free(void *p, void *arg)
{
    (void)arg;
    qn_free(p);
}

static const struct named *find_rules(qn_slice name)
{
    if (!name.n)
        return &named[0];
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (strlen(named[i].name) == name.n && !memcmp(named[i].name, name.p, name.n))
            return &named[i];
    return NULL;
}

static qn_status compile(const qn_pretok *p, struct stage *s, const char *pattern, pcre2_compile_context *cc,
                         qn_err *err)
{
    s->threes = pattern[0] == THREES[0];
    int code = 0;
    size_t at = 0;
    s->code = pcre2_compile((PCRE2_SPTR)(pattern + s->threes), PCRE2_ZERO_TERMINATED,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &code, &at, cc);
    if (!s->code) {
        if (code == PCRE2_ERROR_HEAP_FAILED)
            return qn__fail_mem(err, "pre-tokenizer");
        return qn__fail(err, QN_EUNSUPPORTED, "pre-tokenizer",
                        "This build's PCRE2 does not take the pattern of stage %d (error %d at %zu).",
                        (int)(s - p->stages), code, at);
    }
    s->jit = pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE) == 0; /* without it the interpreter serves */
    return QN_OK;
}

qn_status qn__pretok_open(qn_slice name, qn_pretok **out, qn_err *err)
{
    const struct named *found = find_rules(name);
    if (!found)
        return qn__fail(
            err, QN_EUNSUPPORTED, "tokenizer.ggml.pre",
            "The pre-tokenizer \"%.*s\" is unknown to this build; its text could not be cut as the model expects.",
            name.n > 64 ? 64 : (int)name.n, name.p);
    qn_status st = QN_OK;
    pcre2_compile_context *cc = NULL;
    qn_pretok *p = qn__calloc(1, sizeof *p);
    if (!p)
        return qn__fail_mem(err, "pre-tokenizer");
    p->info = (qn_pretok_info){.whole_words = found->flags & WHOLE,
                               .add_bos = found->flags & BOS,
                               .add_sep = found->flags & SEP,
                               .raw_utf8 = found->flags & RAW};
    p->memory = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    if (p->memory)
        cc = pcre2_compile_context_create(p->memory);
    if (!cc) {
        st = qn__fail_mem(err, "pre-tokenizer");
        goto out;
    }
    while (p->n_stages < MAX_STAGES && found->rules->stage[p->n_stages]) {
        st = compile(p, &p->stages[p->n_stages], found->rules->stage[p->n_stages], cc, err);
        if (st)
            goto out;
        p->n_stages++;
    }
    *out = p;
    p = NULL;
out:
    pcre2_compile_context_free(cc);
    qn__pretok_close(p);
    return st;
}

void qn__pretok_close(qn_pretok *p)
{
    if (!p)
        return;
    for (int i = 0; i < MAX_STAGES; i++)
        pcre2_code_free(p->stages[i].code);
    pcre2_general_context_free(p->memory);
    qn_free(p);
}

const qn_pretok_info *qn__pretok_info(const qn_pretok *p)
{
    return &p->info;
}

void qn__pretok_run_free(qn_pretok_run *r)
{
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->context);
    pcre2_jit_stack_free(r->stack);
    *r = (qn_pretok_run){0};
}

struct split {
    const qn_pretok *p;
    qn_pretok_run *run;
    const char *text;
    bool (*piece)(void *arg, size_t at, size_t n);
    void *arg;
    qn_err *err;
};

/* The first match in [at, end) from `from`: 1 found, 0 none, negative failed. */
static int match(struct split *s, const struct stage *g, size_t at, size_t from, size_t end)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)(s->text + at);
    pcre2_match_data *data = s->run->match;
    for (;;) {
        int rc = g->jit ? pcre2_jit_match(g->code, subject, end - at, from - at, 0, data, s->run->context)
                        : pcre2_match(g->code, subject, end - at, from - at, PCRE2_NO_UTF_CHECK, data, s->run->context);
        if (rc >= 0)
            return 1;
        if (rc == PCRE2_ERROR_NOMATCH)
            return 0;
        /* The machine stack's 32 KiB did not do: once more with a larger one. */
        if (rc != PCRE2_ERROR_JIT_STACKLIMIT || s->run->stack)
            return rc;
        s->run->stack = pcre2_jit_stack_create((size_t)32 << 10, (size_t)64 << 20, s->p->memory);
        if (!s->run->stack)
            return PCRE2_ERROR_NOMEMORY;
        pcre2_jit_stack_assign(s->run->context, NULL, s->run->stack);
    }
}

static qn_status cut(struct split *s, int stage, size_t at, size_t end);

/* [at, end) in threes of characters counted from its end. */
static qn_status cut_threes(struct split *s, int stage, size_t at, size_t end)
{
    size_t chars = 0;
    for (size_t i = at; i < end; i++)
        chars += (s->text[i] & 0xC0) != 0x80;
    while (at < end) {
        size_t take = chars % 3 ? chars % 3 : 3, to = at;
        chars -= take;
        for (; take && to < end; take--)
            do
                to++;
            while (to < end && (s->text[to] & 0xC0) == 0x80);
        qn_status st = cut(s, stage, at, to);
        if (st)
            return st;
        at = to;
    }
    return QN_OK;
}

static qn_status cut(struct split *s, int stage, size_t at, size_t end)
{
    if (at == end)
        return QN_OK;
    if (stage == s->p->n_stages)
        return s->piece(s->arg, at, end - at) ? QN_OK : qn__fail_mem(s->err, "tokenize");
    const struct stage *g = &s->p->stages[stage];
    qn_status st = QN_OK;
    for (size_t from = at; from < end && !st;) {
        int found = match(s, g, at, from, end);
        if (found == PCRE2_ERROR_NOMEMORY || found == PCRE2_ERROR_HEAPLIMIT)
            return qn__fail_mem(s->err, "tokenize");
        if (found < 0)
            return qn__fail(s->err, QN_ELIMIT, "tokenize",
                            "The pre-tokenizer's pattern gave up at byte %zu (PCRE2 error %d).", from, found);
        if (!found)
            return cut(s, stage + 1, from, end);
        const PCRE2_SIZE *o = pcre2_get_ovector_pointer(s->run->match);
        size_t b = at + o[0], e = at + o[1];
        if (e <= b || b < from) /* no pattern of ours matches nothing; never stand still */
            return cut(s, stage + 1, from, end);
        st = cut(s, stage + 1, from, b);
        if (!st)
            st = g->threes ? cut_threes(s, stage + 1, b, e) : cut(s, stage + 1, b, e);
        from = e;
    }
    return st;
}

qn_status qn__pretok_split(const qn_pretok *p, qn_pretok_run *r, const char *text, size_t n,
                           bool (*piece)(void *arg, size_t at, size_t n), void *arg, qn_err *err)
{
    if (!r->match) {
        r->match = pcre2_match_data_create(1, p->memory);
        r->context = pcre2_match_context_create(p->memory);
        if (!r->match || !r->context)
            return qn__fail_mem(err, "tokenize");
    }
    struct split s = {p, r, text, piece, arg, err};
    return cut(&s, 0, 0, n);
}
