/* audit.c - the run: find out how a prompt is counted and what fits, then ask what audit_plan.c wants next until it wants nothing.
 * Kinds that want the same length share texts. Of each text one question is asked first and alone: behind it the text lies in the
 * subject's cache, and the others cost hardly more than themselves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "services/ledger/ledger.h"
#include "services/probe/audit.h"
#include "services/probe/machine.h"
#include "services/probe/open.h"

enum { MIN_LENGTH = 256, REMOTE_LENGTH = 8192, DEPTHS = 5, SAMPLES = 2, MAX_TOKENS = 128, MOST_AT_ONCE = 8, AGAIN = 8, TRIES = 8, MOST_IN_TEXT = 2 * QN_AUDIT_KINDS * (QN_AUDIT_DEPTHS + 1) };

typedef struct run {
    const qn_audit_options *o;
    qn_subject *subject;
    qn_ledger *ledger;
    int64_t id;
    qn_audit_plan plan;
    qn_audit_log log;
    uint32_t kinds;
    int fillers[QN_AUDIT_FILLERS], n_fillers;
    int32_t max_tokens, overhead[2]; /* of a document, of a talk */
    bool chat, tools, exact, no_talk, talk_too_large;
    double per_token;                /* bytes, when the subject's tokens cannot be counted */
} run;

static const char *const STOP[] = {"\n"};

/* ---- counting ---- */

static int64_t count(void *arg, const char *text, size_t n)
{
    run *r = arg;
    int64_t tokens = r->exact ? r->subject->count(r->subject, text, n) : -1;
    return tokens >= 0 ? tokens : (int64_t)((double)n / r->per_token + 0.999);
}

static qn_counter counter(run *r, bool talk)
{
    return (qn_counter){count, r, r->overhead[talk]};
}

/* ---- options ---- */

static qn_status words(const char *list, const char *const *names, size_t n, const char *what, uint32_t *bits, qn_err *err)
{
    *bits = 0;
    for (const char *p = list; p && *p;) {
        size_t k = strcspn(p, ","), i = 0;
        while (i < n && (strlen(names[i]) != k || memcmp(names[i], p, k) != 0))
            i++;
        if (i == n)
            return qn__fail(err, QN_EINVAL, what, "there is no %.*s; the first of them is %s", (int)(k < 40 ? k : 40), p, names[0]);
        *bits |= 1u << i;
        p += k + (p[k] == ',');
    }
    if (*bits == 0)
        *bits = (1u << n) - 1;
    return QN_OK;
}

static qn_status read_options(run *r, qn_err *err)
{
    const qn_audit_options *o = r->o;
    uint32_t fillers;
    qn_status st = words(o->kinds, qn__audit_kinds, QN_AUDIT_KINDS, "kinds", &r->kinds, err);
    if (!st)
        st = words(o->fillers, qn__audit_fillers, QN_AUDIT_FILLERS, "fillers", &fillers, err);
    if (st)
        return st;
    for (int i = 0; i < QN_AUDIT_FILLERS; i++)
        if (fillers >> i & 1)
            r->fillers[r->n_fillers++] = i;
    if (o->depths < 0 || o->depths == 1 || o->depths > QN_AUDIT_DEPTHS || o->samples < 0 || o->samples > 1000 || o->max_tokens < 0 || o->min_length < 0 ||
        o->max_length < 0 || o->min_length > 1 << 24 || o->max_length > 1 << 24 || o->max_tokens > 1 << 20)
        return qn__fail(err, QN_EINVAL, "audit", "depths (2 to %d), samples, lengths or tokens are out of range", QN_AUDIT_DEPTHS);
    r->plan.depths = o->depths ? o->depths : DEPTHS;
    r->plan.samples = o->samples ? o->samples : SAMPLES;
    r->max_tokens = o->max_tokens ? o->max_tokens : MAX_TOKENS;
    r->chat = r->subject->chats;
    int32_t room = r->subject->n_ctx > 0 ? r->subject->n_ctx - r->max_tokens : 0, least = o->min_length ? o->min_length : MIN_LENGTH;
    r->plan.max_length = o->max_length ? o->max_length : room ? room : REMOTE_LENGTH;
    if (room && r->plan.max_length > room)
        return qn__fail(err, QN_ECONTEXT, "audit", "prompts of %d tokens and answers of %d do not fit the context of %d", r->plan.max_length,
                        r->max_tokens, r->subject->n_ctx);
    if (r->plan.max_length < least)
        return qn__fail(err, QN_EINVAL, "audit", "the longest text (%d tokens) is shorter than the shortest (%d)", r->plan.max_length, least);
    return QN_OK;
}

/* ---- asking ---- */

static qn_question question(const run *r, const char *asked, const char *id)
{
    qn_question q = {.id = id, .max_tokens = r->max_tokens, .seed = r->o->probe.seed};
    if (r->chat) {
        q.messages_json = asked;
    } else {
        q.prompt = asked;
        q.stop = STOP;
        q.n_stop = 1;
    }
    return q;
}

static bool keep_on(void *arg)
{
    run *r = arg;
    size_t expected = 0; /* a guess: each kind at ten lengths */
    for (int k = 0; k < QN_AUDIT_KINDS; k++)
        expected += r->plan.shortest[k] > 0 ? (size_t)(r->plan.samples * (4 * r->plan.depths + 10 * (r->plan.depths + 1))) : 0;
    expected = expected > r->log.n ? expected : r->log.n + 1;
    return !r->o->probe.progress || r->o->probe.progress(r->o->probe.arg, "asking", r->log.n, expected);
}

static qn_status cancelled(qn_err *err)
{
    return qn__probe_cancelled("audit", err);
}

/* Tokens of one prompt, as the subject counts them; -1: it does not say. */
static qn_status measure(run *r, const char *asked, int32_t *tokens, qn_err *err)
{
    qn_question q = question(r, asked, "measure");
    qn_answer a = {0};
    q.max_tokens = 1;
    bool on = r->subject->ask(r->subject, &q, 1, &a);
    qn_status st = a.err.code;
    if (!on)
        st = cancelled(err);
    else if (st && err)
        *err = a.err;
    *tokens = a.prompt_tokens > 0 ? a.prompt_tokens : -1;
    qn__answer_free(&a);
    return st;
}

/* ---- beginning: what a prompt costs besides its text, how a talk is told, what fits ---- */

static qn_status measure_plain(run *r, qn_err *err)
{
    qn_filler f;
    qn__filler_open(&f, r->fillers[0], qn__dice(r->o->probe.seed, 0, 0, 0, 5));
    qn_buf b = {0};
    int32_t tokens = -1;
    qn_status st = qn__filler_need(&f, 30) ? QN_OK : qn__fail_mem(err, "audit");
    r->exact = r->subject->count && r->subject->count(r->subject, "a b", 3) > 0;
    size_t n = r->exact ? 1 : 30;
    for (int k = 0; k < (r->exact ? 1 : r->n_fillers) && !st; k++) { /* texts of all fillers in one, to learn bytes per token */
        qn__filler_close(&f);
        qn__filler_open(&f, r->fillers[k], qn__dice(r->o->probe.seed, (uint64_t)k, 0, 0, 5));
        if (!qn__filler_need(&f, n))
            st = qn__fail_mem(err, "audit");
        else
            qn__buf_put(&b, f.text.data, f.ends[n - 1]);
    }
    qn__buf_puts(&b, "Say: ready.");
    char *asked = NULL;
    if (!st && b.failed)
        st = qn__fail_mem(err, "audit");
    if (!st && r->chat) {
        json_t *m = json_pack("[{s:s, s:s%}]", "role", "user", "content", b.data, b.n);
        char *dumped = m ? json_dumps(m, JSON_COMPACT) : NULL;
        asked = dumped ? qn__strndup(dumped, strlen(dumped)) : NULL;
        free(dumped);
        json_decref(m);
    } else if (!st) {
        asked = qn__strndup(b.data, b.n);
    }
    if (!st)
        st = asked ? measure(r, asked, &tokens, err) : qn__fail_mem(err, "audit");
    if (!st && tokens > 0 && r->exact) {
        int64_t own = count(r, b.data, b.n);
        r->overhead[0] = (int32_t)(tokens > own ? tokens - own : 0);
    } else if (!st && tokens > 0) {
        r->per_token = (double)b.n / tokens;
    }
    qn_free(asked);
    qn__buf_free(&b);
    qn__filler_close(&f);
    return st;
}

static qn_audit_recipe recipe(const run *r, uint32_t kinds, int32_t length, int32_t batch)
{
    qn_dice d = qn__dice(r->o->probe.seed, (uint64_t)length, (kinds & QN_AUDIT_TALK) != 0, 0, 6);
    return (qn_audit_recipe){.seed = r->o->probe.seed, .length = length, .batch = batch, .kinds = kinds, .depths = r->plan.depths, .only = -1, .chat = r->chat,
                             .tools = r->tools, .filler = r->fillers[(qn__pick(&d, (uint32_t)r->n_fillers) + (uint32_t)batch) % (uint32_t)r->n_fillers]};
}

/* The shortest text of `kinds`: from the shortest length on, a quarter longer each time. */
static qn_status shortest(run *r, uint32_t kinds, qn_audit_text **t, int32_t *length, qn_err *err)
{
    qn_counter c = counter(r, (kinds & QN_AUDIT_TALK) != 0);
    qn_status st = QN_ELIMIT;
    for (*length = MIN_LENGTH; st == QN_ELIMIT && *length <= 1 << 16; *length += *length / 4) {
        qn_audit_recipe at = recipe(r, kinds, *length, 1000);
        if (!(st = qn__audit_text_make(&at, &c, t, err)))
            break;
    }
    return st;
}

static qn_status measure_talk(run *r, qn_err *err)
{
    qn_audit_text *t = NULL;
    char *asked = NULL;
    int64_t own = 0;
    int32_t length, tokens = -1;
    r->overhead[1] = r->overhead[0];
    if (!(r->kinds & QN_AUDIT_TALK))
        return QN_OK;
    for (int how = 1; how >= 0; how--) { /* in the tool's own role, else told by the user */
        r->tools = how;
        qn_counter c = counter(r, true);
        qn_status st = shortest(r, 1u << QN_AUDIT_TOOL, &t, &length, err);
        if (!st)
            st = qn__audit_ask(t, &c, 0, false, &asked, &own, err);
        if (st) {
            qn__audit_text_close(t);
            return st;
        }
        st = measure(r, asked, &tokens, err);
        qn_free(asked);
        qn__audit_text_close(t);
        asked = NULL;
        t = NULL;
        if (st == QN_ECANCELLED || st == QN_ENOMEM)
            return st;
        if (st == QN_ECONTEXT) { /* even the shortest; what its messages cost stays unknown */
            r->talk_too_large = true;
            return QN_OK;
        }
        if (!st && (tokens < 0 || tokens + 8 >= own || !r->exact)) { /* fewer: the template left something out */
            r->overhead[1] = tokens > own && r->exact ? (int32_t)(tokens - own) : r->overhead[0];
            return QN_OK;
        }
    }
    r->no_talk = true;
    return QN_OK;
}

/* Where a kind begins: the shortest length, doubled until a text of it alone fits, at last the longest. */
static qn_status find_shortest(run *r, qn_err *err)
{
    bool any = false;
    const int batches = r->plan.samples < 2 ? 4 * r->plan.samples : TRIES, tries = batches > r->n_fillers ? batches : r->n_fillers;
    for (int k = 0; k < QN_AUDIT_KINDS; k++) {
        bool talk = (1u << k & QN_AUDIT_TALK) != 0;
        r->plan.shortest[k] = !(r->kinds >> k & 1) ? QN_AUDIT_UNWANTED : talk && r->no_talk ? QN_AUDIT_NO_TALK : QN_AUDIT_TOO_LARGE;
        if (r->plan.shortest[k] != QN_AUDIT_TOO_LARGE || (talk && r->talk_too_large))
            continue;
        qn_status st = QN_ELIMIT;
        int32_t length = r->o->min_length ? r->o->min_length : MIN_LENGTH;
        const int32_t most = r->plan.max_length;
        for (; st == QN_ELIMIT && length <= most; length = length < most && length > most / 2 ? most : 2 * length) {
            qn_audit_text *t = NULL;
            qn_counter c = counter(r, talk);
            st = QN_OK;
            for (int i = 0; i < tries && !st; i++) { /* each filler spells what is planted in its own way */
                qn_audit_recipe at = recipe(r, 1u << k, length, i);
                if (!(st = qn__audit_text_make(&at, &c, &t, err)))
                    qn__audit_text_close(t);
            }
            if (!st)
                break;
        }
        if (st && st != QN_ELIMIT)
            return st;
        r->plan.shortest[k] = st ? QN_AUDIT_TOO_LARGE : length;
        any |= !st;
    }
    if (!any)
        return qn__fail(err, QN_EINVAL, "audit", "nothing that was asked for fits prompts of %d tokens", r->plan.max_length);
    return QN_OK;
}

/* ---- one text: its questions, judged and kept ---- */

typedef struct asking {
    size_t fact;
    char control, item[64];
    char *asked;
    qn_fact f;
    int64_t counted;
    json_t *tail;
} asking;

static json_t *strings(const char *const *v, int n)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++)
        (void)json_array_append_new(a, json_string(v[i]));
    return a;
}

static json_t *text_of(const qn_buf *b)
{
    json_t *v = b->n && memchr(b->data, 0, b->n) ? NULL : json_stringn(b->data ? b->data : "", b->n);
    if (v)
        return v;
    qn_buf safe = {0}; /* bytes that are no UTF-8, or that are no text */
    for (size_t i = 0; i < b->n; i++)
        qn__buf_putc(&safe, (unsigned char)b->data[i] < 0x80 && b->data[i] ? b->data[i] : '?');
    v = json_stringn(safe.data ? safe.data : "", safe.n);
    qn__buf_free(&safe);
    return v;
}

static bool add(run *r, const qn_audit_sample *s)
{
    if (!qn__grow((void **)&r->log.v, &r->log.cap, r->log.n + 1, sizeof *r->log.v))
        return false;
    r->log.v[r->log.n++] = *s;
    return true;
}

static qn_status settle(run *r, const qn_audit_text *t, const qn_audit_recipe *at, asking *k, qn_answer *a, qn_err *err)
{
    if (a->err.code) {
        if (err)
            *err = a->err;
        return a->err.code;
    }
    const qn_fact *f = &k->f;
    bool cut = a->reason == QN_END_LENGTH;
    qn_audit_sample s = {.kind = f->kind, .slot = f->slot, .filler = at->filler, .control = k->control, .length = at->length, .batch = at->batch,
                         .prompt = a->prompt_tokens, .cached = a->cached_tokens, .generated = a->generated_tokens, .seconds = a->total_s};
    s.outcome = qn__audit_judge(f->wanted, f->n_wanted, f->others, f->n_others, k->control == 'a', a->text.data ? a->text.data : "", a->text.n, cut);
    char hash[20];
    (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)qn__audit_text_hash(t));
    json_t *data = json_pack("{s:s, s:i, s:i, s:i, s:s, s:s, s:i, s:s, s:O, s:o, s:o, s:o, s:o, s:b, s:i, s:i, s:i, s:f, s:I, s:i}", "kind",
                             qn__audit_kinds[f->kind], "length", at->length, "batch", at->batch, "slot", f->slot, "control",
                             k->control == 'a' ? "absent" : k->control == 'g' ? "guess" : "", "filler", qn__audit_fillers[at->filler], "kinds",
                             (int)at->kinds, "text", hash, "behind", k->tail, "wanted", strings(f->wanted, f->n_wanted), "others",
                             strings(f->others, f->n_others), "answer", text_of(&a->text), "reasoning", text_of(&a->reasoning), "cut", (int)cut,
                             "prompt_tokens", a->prompt_tokens, "cached_tokens", a->cached_tokens, "generated_tokens", a->generated_tokens,
                             "seconds", a->total_s, "units", (json_int_t)qn__audit_text_units(t), "again", at->again);
    qn_status st = data ? qn__ledger_put(r->ledger, r->id, k->item, 0, qn__outcomes[s.outcome], s.outcome == QN_RIGHT, data, err)
                        : qn__fail_mem(err, "audit");
    json_decref(data);
    if (!st && !add(r, &s))
        st = qn__fail_mem(err, "audit");
    return st;
}

/* The next of the list, together as many as the subject likes. */
static qn_status ask_some(run *r, const qn_audit_text *t, const qn_audit_recipe *at, asking *k, size_t n, qn_err *err)
{
    qn_question q[MOST_AT_ONCE] = {{0}};
    qn_answer a[MOST_AT_ONCE];
    memset(a, 0, sizeof a);
    for (size_t i = 0; i < n; i++)
        q[i] = question(r, k[i].asked, k[i].item);
    bool on = r->subject->ask(r->subject, q, n, a);
    qn_status st = QN_OK;
    for (size_t i = 0; i < n; i++) {
        bool unasked = !on && (a[i].err.code == QN_ECANCELLED || (!a[i].err.code && !a[i].text.n));
        if (!st && !unasked)
            st = settle(r, t, at, &k[i], &a[i], err);
        qn__answer_free(&a[i]);
    }
    if (!st && (!on || !keep_on(r)))
        st = cancelled(err);
    return st;
}

static qn_status list_question(run *r, qn_audit_text *t, const qn_audit_recipe *at, size_t fact, char control, asking *k, size_t *n, qn_err *err)
{
    const qn_fact *f = qn__audit_text_fact(t, fact);
    asking *x = &k[*n];
    qn_counter c = counter(r, (at->kinds & QN_AUDIT_TALK) != 0);
    bool there = false;
    *x = (asking){.fact = fact, .control = control, .f = *f};
    (void)snprintf(x->item, sizeof x->item, "%s/%07d/%03d/%d%.1s", qn__audit_kinds[f->kind], at->length, at->batch, f->slot, control ? &control : "");
    qn_status st = qn__ledger_has(r->ledger, r->id, x->item, 0, &there, err);
    if (st || there)
        return st;
    st = qn__audit_ask(t, &c, fact, control == 'g', &x->asked, &x->counted, err);
    if (!st) {
        x->tail = json_string(qn__audit_tail(t));
        ++*n;
    }
    return st;
}

/* Every question of a text: the fact left out; at the shortest length also without the text; planted facts. These come last, so that a
 * kind whose planted facts are all in the ledger has the others there, too, wherever a run was ended. */
static qn_status ask_text(run *r, qn_audit_text *t, const qn_audit_recipe *at, qn_err *err)
{
    asking *k = qn__calloc(MOST_IN_TEXT, sizeof *k);
    size_t n = 0;
    qn_status st = k ? QN_OK : qn__fail_mem(err, "audit");
    for (int pass = 0; pass < 3 && !st; pass++)
        for (size_t i = 0; i < qn__audit_text_facts(t) && !st; i++) {
            const qn_fact *f = qn__audit_text_fact(t, i);
            bool absent = f->slot == at->depths, first = r->plan.shortest[f->kind] == at->length && at->batch < 2 * r->plan.samples;
            if (absent == (pass == 0) && (pass != 1 || first))
                st = list_question(r, t, at, i, "ag"[pass], k, &n, err);
        }
    size_t most = r->subject->at_once < MOST_AT_ONCE ? r->subject->at_once ? r->subject->at_once : 1 : MOST_AT_ONCE;
    for (size_t i = 0; i < n && !st;) {
        size_t now = 1;
        while (i > 0 && now < most && i + now < n && k[i + now].control == k[i].control)
            now++;
        st = ask_some(r, t, at, k + i, now, err);
        i += now;
    }
    for (size_t i = 0; i < n; i++) {
        qn_free(k[i].asked);
        json_decref(k[i].tail);
    }
    qn_free(k);
    return st;
}

static qn_status make_and_ask(run *r, const qn_audit_recipe *at, qn_err *err)
{
    qn_counter c = counter(r, (at->kinds & QN_AUDIT_TALK) != 0);
    qn_audit_text *t = NULL;
    qn_status st = qn__audit_text_make(at, &c, &t, err);
    if (!st)
        st = ask_text(r, t, at, err);
    qn__audit_text_close(t);
    return st;
}

/* Texts of all these kinds; when they do not fit one, of half of them each. What a single kind plants is longer in some texts than in
 * others: where the length holds it just about, other facts are taken. */
static qn_status ask_kinds(run *r, uint32_t kinds, int32_t length, int32_t batch, qn_err *err)
{
    qn_audit_recipe at = recipe(r, kinds, length, batch);
    qn_status st = QN_OK;
    if (kinds == QN_AUDIT_ALONE) { /* first the filler alone: each of the others begins as it does, up to what is planted */
        for (at.only = at.depths; at.only >= 0 && !st; at.only--)
            st = make_and_ask(r, &at, err);
        return st;
    }
    st = make_and_ask(r, &at, err);
    if (st == QN_ELIMIT && (kinds & (kinds - 1))) {
        uint32_t half = 0;
        int n = __builtin_popcount(kinds) / 2;
        for (int k = 0; k < QN_AUDIT_KINDS && n; k++)
            if (kinds >> k & 1) {
                half |= 1u << k;
                n--;
            }
        st = ask_kinds(r, half, length, batch, err);
        return st ? st : ask_kinds(r, kinds & ~half, length, batch, err);
    }
    while (st == QN_ELIMIT && at.again++ < AGAIN)
        st = make_and_ask(r, &at, err);
    return st;
}

static qn_status work(run *r, qn_err *err)
{
    for (;;) {
        int32_t length[QN_AUDIT_KINDS], batch[QN_AUDIT_KINDS], least = 0, first = 0;
        bool open[QN_AUDIT_KINDS], any = false;
        for (int k = 0; k < QN_AUDIT_KINDS; k++) {
            open[k] = qn__audit_next(&r->plan, &r->log, k, &length[k], &batch[k]) == QN_AUDIT_OPEN;
            if (open[k] && (!any || length[k] < least || (length[k] == least && batch[k] < first))) {
                least = length[k];
                first = batch[k];
            }
            any |= open[k];
        }
        if (!any)
            return QN_OK;
        uint32_t now = 0;
        for (int k = 0; k < QN_AUDIT_KINDS; k++)
            if (open[k] && length[k] == least && batch[k] == first)
                now |= 1u << k;
        const uint32_t parts[3] = {now & QN_AUDIT_ALONE, now & ~(uint32_t)(QN_AUDIT_TALK | QN_AUDIT_ALONE), now & QN_AUDIT_TALK};
        for (int i = 0; i < 3; i++) {
            qn_status st = parts[i] ? ask_kinds(r, parts[i], least, first, err) : QN_OK;
            if (st)
                return st;
        }
    }
}

/* ---- the ledger ---- */

static json_t *key_of(const run *r)
{
    json_t *fillers = json_array();
    for (int i = 0; i < r->n_fillers; i++)
        (void)json_array_append_new(fillers, json_string(qn__audit_fillers[r->fillers[i]]));
    json_t *shortest_of = json_object();
    for (int k = 0; k < QN_AUDIT_KINDS; k++)
        (void)json_object_set_new(shortest_of, qn__audit_kinds[k], json_integer(r->plan.shortest[k]));
    return json_pack("{s:s, s:s, s:b, s:b, s:I, s:i, s:i, s:i, s:i, s:o, s:o, s:b, s:[i, i], s:f}", "model", r->subject->name, "fingerprint",
                     r->subject->fingerprint, "chat", (int)r->chat, "tools", (int)r->tools, "seed", (json_int_t)r->o->probe.seed, "depths",
                     r->plan.depths, "samples", r->plan.samples, "max_length", r->plan.max_length, "max_tokens", r->max_tokens, "fillers",
                     fillers, "shortest", shortest_of, "exact", (int)r->exact, "overhead", r->overhead[0], r->overhead[1], "bytes_per_token",
                     r->exact ? 0 : r->per_token);
}

static int index_of(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n && name; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

static int32_t int_at(const json_t *o, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(o, key));
    return v < -2 || v > INT32_MAX ? -1 : (int32_t)v;
}

/* A sample of the ledger, judged again. */
static bool again(void *arg, const char *item, int seq, const char *outcome, const json_t *d)
{
    run *r = arg;
    (void)item;
    (void)seq;
    (void)outcome;
    const char *control = json_string_value(json_object_get(d, "control")), *wanted[QN_AUDIT_WANTED], *others[3 * (QN_AUDIT_DEPTHS + 1)];
    const json_t *w = json_object_get(d, "wanted"), *x = json_object_get(d, "others"), *answer = json_object_get(d, "answer");
    int n_wanted = 0, n_others = 0, kind = index_of(qn__audit_kinds, QN_AUDIT_KINDS, json_string_value(json_object_get(d, "kind")));
    int filler = index_of(qn__audit_fillers, QN_AUDIT_FILLERS, json_string_value(json_object_get(d, "filler")));
    for (size_t i = 0; i < json_array_size(w) && n_wanted < QN_AUDIT_WANTED; i++)
        if (json_string_value(json_array_get(w, i)))
            wanted[n_wanted++] = json_string_value(json_array_get(w, i));
    for (size_t i = 0; i < json_array_size(x) && n_others < (int)(sizeof others / sizeof *others); i++)
        if (json_string_value(json_array_get(x, i)))
            others[n_others++] = json_string_value(json_array_get(x, i));
    if (kind < 0 || filler < 0 || int_at(d, "length") <= 0 || int_at(d, "slot") < 0 || int_at(d, "slot") > QN_AUDIT_DEPTHS)
        return true;
    qn_audit_sample s = {.kind = kind, .filler = filler, .slot = int_at(d, "slot"), .control = control && *control ? *control : 0, .length = int_at(d, "length"),
                         .batch = int_at(d, "batch"), .prompt = int_at(d, "prompt_tokens"), .cached = int_at(d, "cached_tokens"),
                         .generated = int_at(d, "generated_tokens"), .seconds = json_number_value(json_object_get(d, "seconds"))};
    s.outcome = qn__audit_judge(wanted, n_wanted, others, n_others, s.control == 'a', json_string_value(answer) ? json_string_value(answer) : "",
                                json_string_length(answer), json_is_true(json_object_get(d, "cut")));
    return add(r, &s);
}

static qn_status begin(run *r, json_t *key, qn_err *err)
{
    int64_t before = 0;
    char *text = json_dumps(key, JSON_COMPACT | JSON_SORT_KEYS), *machine = qn__machine_text(r->o->probe.endpoint ? NULL : &r->o->probe.engine);
    const qn_run_info info = {.kind = "audit", .key = text, .model = r->subject->name, .fingerprint = r->subject->fingerprint, .machine = machine};
    qn_status st = text && machine ? qn__ledger_begin(r->ledger, &info, !r->o->probe.fresh, &r->id, &before, err) : qn__fail_mem(err, "audit");
    free(text);
    qn_free(machine);
    if (!st && before > 0)
        st = qn__ledger_read(r->ledger, r->id, again, r, err);
    return st;
}

static json_t *whole_report(const run *r, const json_t *key, json_t *machine)
{
    json_t *o = json_object(), *part = qn__audit_report(&r->plan, &r->log);
    static const char *const same[] = {"model", "fingerprint", "chat", "tools", "seed", "depths", "samples", "max_length", "fillers", "exact", "overhead",
                                       "bytes_per_token"};
    if (!o || !part) {
        json_decref(o);
        json_decref(part);
        json_decref(machine);
        return NULL;
    }
    (void)json_object_set_new(o, "machine", machine);
    (void)json_object_set_new(o, "kind", json_string("audit"));
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        (void)json_object_set(o, same[i], json_object_get(key, same[i]));
    (void)json_object_update(o, part);
    json_decref(part);
    (void)json_object_set_new(o, "run", json_integer(r->id));
    (void)json_object_set_new(o, "ledger", json_string(qn__ledger_path(r->ledger)));
    return o;
}

qn_status qn__audit(const qn_audit_options *o, qn_subject *subject, qn_ledger *ledger, json_t **out, qn_err *err)
{
    run r = {.o = o, .subject = subject, .ledger = ledger, .per_token = 3.3};
    bool (*before)(void *) = subject->keep_on;
    void *before_arg = subject->arg;
    subject->keep_on = keep_on;
    subject->arg = &r;
    json_t *key = NULL, *report = NULL;
    qn_status st;
    if ((st = read_options(&r, err)) || (st = measure_plain(&r, err)) || (st = measure_talk(&r, err)) || (st = find_shortest(&r, err)))
        goto out;
    if (!(key = key_of(&r))) {
        st = qn__fail_mem(err, "audit");
        goto out;
    }
    if ((st = begin(&r, key, err)))
        goto out;
    if (!(st = work(&r, err)) && !(report = whole_report(&r, key, qn__machine_json(o->probe.endpoint ? NULL : &o->probe.engine))))
        st = qn__fail_mem(err, "audit");
    if (!st)
        st = qn__ledger_finish(ledger, r.id, report, err);
    if (st)
        qn__ledger_leave(ledger, r.id);
    else
        *out = json_incref(report);
out:
    json_decref(report);
    json_decref(key);
    qn_free(r.log.v);
    subject->keep_on = before;
    subject->arg = before_arg;
    return st;
}

/* ---- judging again ---- */

static qn_status rescore(const qn_audit_options *o, json_t **out, qn_err *err)
{
    run r = {.o = o, .id = o->rescore};
    json_t *about = NULL;
    qn_status st = qn__ledger_open(o->probe.ledger, &r.ledger, err);
    if (!st)
        st = qn__ledger_run(r.ledger, o->rescore, &about, err);
    const json_t *key = json_object_get(about, "key");
    if (!st && strcmp(json_string_value(json_object_get(about, "kind")), "audit") != 0)
        st = qn__fail(err, QN_EINVAL, qn__ledger_path(r.ledger), "run %lld is no audit", (long long)o->rescore);
    if (!st) {
        r.plan = (qn_audit_plan){.max_length = int_at(key, "max_length"), .depths = int_at(key, "depths"), .samples = int_at(key, "samples")};
        for (int k = 0; k < QN_AUDIT_KINDS; k++)
            r.plan.shortest[k] = int_at(json_object_get(key, "shortest"), qn__audit_kinds[k]);
        if (r.plan.depths < 2 || r.plan.depths > QN_AUDIT_DEPTHS || r.plan.samples < 1 || r.plan.max_length < 1)
            st = qn__fail(err, QN_EFORMAT, qn__ledger_path(r.ledger), "run %lld cannot be read", (long long)o->rescore);
    }
    if (!st)
        st = qn__ledger_read(r.ledger, o->rescore, again, &r, err);
    if (!st && !(*out = whole_report(&r, key, json_incref(json_object_get(about, "machine")))))
        st = qn__fail_mem(err, "audit");
    json_decref(about);
    qn_free(r.log.v);
    qn__ledger_close(r.ledger);
    return st;
}

void qn_audit_options_init(qn_audit_options *o)
{
    *o = (qn_audit_options){0};
    qn_probe_options_init(&o->probe);
}

qn_status qn_audit(const qn_audit_options *o, char **report_json, qn_err *err)
{
    qn_subject *s = NULL;
    qn_ledger *l = NULL;
    json_t *report = NULL;
    qn_status st;
    if (o->rescore) {
        st = rescore(o, &report, err);
    } else {
        qn_probe_options p = o->probe;
        if (p.engine.n_ctx == 0 && o->max_length > 0 && o->max_length <= 1 << 24)
            p.engine.n_ctx = o->max_length + (o->max_tokens > 0 && o->max_tokens <= 1 << 20 ? o->max_tokens : MAX_TOKENS);
        st = qn__probe_open(&p, &s, &l, err);
        if (!st)
            st = qn__audit(o, s, l, &report, err);
    }
    if (!st)
        st = qn__probe_text(report, report_json, err);
    json_decref(report);
    qn__probe_close(s, l);
    return st;
}
