/* vary.c - see vary.h. A prompt is cut into lines, each prose or not; what may move or change is looked for in prose only. */
#include "services/eval/vary.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { MOST = 12 }; /* neighbours that change places */

typedef struct line {
    qn_slice s; /* with its end */
    bool code;
} line;

typedef struct prompt {
    line *v;
    size_t n, cap;
} prompt;

static uint64_t mix(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool cut(qn_slice text, prompt *p)
{
    char in = 0; /* inside of a fence of this mark, */
    size_t wide = 0; /* this wide */
    p->n = 0;
    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        const size_t n = end ? (size_t)(end - text.p) + 1 : text.n;
        size_t k = 0;
        while (k < n && text.p[k] == text.p[0] && (text.p[0] == '`' || text.p[0] == '~'))
            k++;
        const bool mark = k >= 3 && (!in || (text.p[0] == in && k >= wide));
        if (!qn__grow((void **)&p->v, &p->cap, p->n + 1, sizeof *p->v))
            return false;
        p->v[p->n++] = (line){{text.p, n}, mark || in || *text.p == '\t' || (n > 4 && memcmp(text.p, "    ", 4) == 0)};
        if (mark) {
            in = in ? 0 : text.p[0];
            wide = k;
        }
        text.p += n;
        text.n -= n;
    }
    return true;
}

static bool blank(const line *l)
{
    for (size_t i = 0; i < l->s.n; i++)
        if (!strchr(" \t\r\n", l->s.p[i]))
            return false;
    return true;
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= '0' && c <= '9');
}

/* ---- white space ---- */

static bool vary_space(const prompt *p, uint64_t *state, qn_buf *out)
{
    const uint64_t how = mix(state) % 7 + 1; /* any of three, one at least */
    const bool between = how & 1;
    bool doubled = false;
    if (how & 2)
        qn__buf_putc(out, '\n');
    for (size_t i = 0; i < p->n; i++) {
        qn__buf_put(out, p->v[i].s.p, p->v[i].s.n);
        if (between && !p->v[i].code && blank(&p->v[i])) {
            qn__buf_putc(out, '\n');
            doubled = true;
        }
    }
    if ((how & 4) || (!doubled && !(how & 2)))
        qn__buf_puts(out, "\n\n");
    return true;
}

/* ---- synonyms ---- */

static const char *const SYNONYMS[][3] = {
    {"Write a", "Create a", "Produce a"}, {"Implement", "Write", "Code"},      {"Explain", "Describe", "Say"},
    {"Fix", "Repair", "Correct"},         {"Answer with", "Reply with", "Respond with"},
    {"Give", "Provide", "State"},         {"and nothing else", "and no other text", "without anything else"},
    {"Do not", "Don't", "Never"},         {"Make sure that", "Ensure that", "Take care that"},
    {"Remove", "Eliminate", "Get rid of"}, {"Complete", "Finish", "Fill in"},  {"For example", "For instance", "As an example"},
    {"exactly", "precisely", "exactly"},  {"Keep", "Preserve", "Retain"},      {"Change", "Modify", "Edit"},
    {"whole", "complete", "entire"},      {"the following", "this", "the following"},
    {"What does", "Tell me what does", "So what does"},
};

/* Length of `word` where it begins at i in s, as a whole and in either case of its first letter; 0: not there. */
static size_t found(qn_slice s, size_t i, const char *word)
{
    const size_t n = strlen(word);
    if (i + n > s.n || memcmp(s.p + i + 1, word + 1, n - 1) != 0 || (s.p[i] | 32) != (word[0] | 32))
        return 0;
    return (i == 0 || !letter(s.p[i - 1])) && (i + n == s.n || !letter(s.p[i + n])) ? n : 0;
}

static bool vary_words(const prompt *p, uint64_t *state, qn_buf *out)
{
    enum { N = sizeof SYNONYMS / sizeof *SYNONYMS };
    const char *with[N];
    bool changed = false, quoted = false;
    for (size_t k = 0; k < N; k++)
        with[k] = SYNONYMS[k][1 + mix(state) % 2];
    for (size_t i = 0; i < p->n; i++) {
        const qn_slice s = p->v[i].s;
        if (p->v[i].code || blank(&p->v[i]))
            quoted = false; /* a back-quote reaches no further than its paragraph */
        for (size_t at = 0; at < s.n;) {
            size_t n = 0, k = 0;
            quoted = s.p[at] == '`' ? !quoted : quoted;
            if (!p->v[i].code && !quoted)
                for (k = 0; k < N && !(n = found(s, at, SYNONYMS[k][0])); k++) {}
            if (!n) {
                qn__buf_putc(out, s.p[at++]);
                continue;
            }
            const char first = with[k][0];
            qn__buf_putc(out, (char)((s.p[at] & 32) ? first | 32 : first & ~32));
            qn__buf_puts(out, with[k] + 1);
            changed = changed || strcmp(with[k], SYNONYMS[k][0]) != 0;
            at += n;
        }
    }
    return changed;
}

/* ---- order ---- */

/* Does it speak of something said elsewhere? Then its place matters. */
static bool refers(qn_slice s)
{
    static const char *const words[] = {"it", "its", "this", "that", "these", "those", "they", "them", "their", "then", "above", "below", "following",
                                        "same", "former", "latter", "first", "last", "next", "previous", "otherwise", "else", "so", "but",
                                        "also", "however", "again", "finally", "instead", "such"};
    bool quoted = false;
    for (size_t i = 0; i < s.n; i++) {
        quoted = s.p[i] == '`' ? !quoted : quoted;
        for (size_t k = 0; !quoted && k < sizeof words / sizeof *words; k++)
            if (found(s, i, words[k]))
                return !(strcmp(words[k], "else") == 0 && i >= 8 && memcmp(s.p + i - 8, "nothing ", 8) == 0);
    }
    return false;
}

/* A requirement of its own: an imperative that refers to nothing else and does not introduce what follows. */
static bool stands_alone(qn_slice s)
{
    static const char *const verbs[] = {"Use", "Do not", "Keep", "Return", "Name", "Include", "Avoid", "Give", "Say", "Handle", "Answer",
                                        "Leave", "Treat", "Write", "Explain", "Mention", "Assume", "Only", "No", "Never", "Always"};
    while (s.n > 0 && strchr(" \t\r\n", s.p[s.n - 1]))
        s.n--;
    if (s.n == 0 || s.p[s.n - 1] != '.' || refers(s))
        return false;
    for (size_t k = 0; k < sizeof verbs / sizeof *verbs; k++)
        if (found(s, 0, verbs[k]) && s.p[0] == verbs[k][0])
            return true;
    return false;
}

/* v[n] in an order that is not this one; false: there is no other. */
static bool shuffle(qn_slice *v, size_t n, uint64_t *state)
{
    if (n < 2)
        return false;
    const size_t by = 1 + (size_t)(mix(state) % (n - 1));
    qn_slice copy[MOST];
    memcpy(copy, v, n * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = copy[(i + by) % n];
    return true;
}

/* The sentences of a paragraph's line; those that stand alone and next to each other change places. */
static bool vary_sentences(qn_slice s, uint64_t *state, qn_buf *out)
{
    bool changed = false, quoted = false;
    qn_slice run[MOST];
    size_t n = 0, from = 0;
    for (size_t i = 0; i <= s.n; i++) {
        const bool end = i == s.n;
        quoted = !end && s.p[i] == '`' ? !quoted : quoted;
        if (!end && !(!quoted && i > from && s.p[i] == ' ' && strchr(".!?", s.p[i - 1]) && i + 1 < s.n && s.p[i + 1] >= 'A' && s.p[i + 1] <= 'Z'))
            continue;
        size_t to = i;
        while (end && to > from && strchr(" \t\r\n", s.p[to - 1]))
            to--;
        const qn_slice one = {s.p + from, to - from};
        const bool alone = stands_alone(one) && n < MOST;
        if (alone)
            run[n++] = one;
        if (end || !alone) { /* what was gathered, in its new order, then this one */
            changed = shuffle(run, n, state) || changed;
            for (size_t k = 0; k < n; k++) {
                qn__buf_put(out, run[k].p, run[k].n);
                if (k + 1 < n || !alone)
                    qn__buf_putc(out, ' ');
            }
            n = 0;
            if (!alone)
                qn__buf_put(out, one.p, one.n);
            if (end)
                qn__buf_put(out, s.p + to, s.n - to);
            else
                qn__buf_putc(out, ' ');
        }
        from = end ? i : i + 1;
    }
    return changed;
}

static bool bullet(const line *l)
{
    return !l->code && l->s.n > 2 && l->s.p[0] == '-' && l->s.p[1] == ' ';
}

static bool vary_order(const prompt *p, uint64_t *state, qn_buf *out)
{
    bool changed = false;
    for (size_t i = 0; i < p->n;) {
        qn_slice list[MOST];
        size_t n = 0;
        /* Every line of the list ends with an end of line and none goes on in the next, so that lines can change places. */
        while (i + n < p->n && n < MOST && bullet(&p->v[i + n]) && !refers(p->v[i + n].s) && p->v[i + n].s.p[p->v[i + n].s.n - 1] == '\n') {
            list[n] = p->v[i + n].s;
            n++;
        }
        const bool whole = i + n == p->n || bullet(&p->v[i + n]) || blank(&p->v[i + n]);
        if (n >= 2 && whole) {
            changed = shuffle(list, n, state) || changed;
            for (size_t k = 0; k < n; k++)
                qn__buf_put(out, list[k].p, list[k].n);
            i += n;
        } else if (p->v[i].code || blank(&p->v[i]) || bullet(&p->v[i])) {
            qn__buf_put(out, p->v[i].s.p, p->v[i].s.n);
            i++;
        } else {
            changed = vary_sentences(p->v[i].s, state, out) || changed;
            i++;
        }
    }
    return changed;
}

/* ---- together ---- */

static bool once(unsigned what, qn_slice text, uint64_t *state, qn_buf *out)
{
    prompt p = {0};
    bool changed = false;
    if (!cut(text, &p))
        out->failed = true;
    else
        changed = what == QN_VARY_SPACE ? vary_space(&p, state, out) : what == QN_VARY_SYNONYMS ? vary_words(&p, state, out) : vary_order(&p, state, out);
    qn_free(p.v);
    return changed;
}

/* Runs go through the kinds: words and order, then white space, then all, and again with other choices. */
unsigned qn__vary(const char *text, uint64_t seed, int run, qn_buf *out)
{
    static const unsigned kinds[3] = {QN_VARY_SYNONYMS | QN_VARY_ORDER, QN_VARY_SPACE, QN_VARY_SYNONYMS | QN_VARY_ORDER | QN_VARY_SPACE};
    static const unsigned order[3] = {QN_VARY_ORDER, QN_VARY_SYNONYMS, QN_VARY_SPACE};
    if (run <= 0) {
        qn__buf_puts(out, text);
        return 0;
    }
    uint64_t state = seed * 0x9e3779b97f4a7c15u + (uint64_t)run * 0xd1342543de82ef95u + qn__hash(text, strlen(text));
    unsigned wanted = kinds[(run - 1) % 3], done = 0;
    qn_buf now = {0};
    qn__buf_puts(&now, text);
    for (int i = 0; i < 3; i++) {
        if (!(wanted & order[i]) && !(order[i] == QN_VARY_SPACE && !done))
            continue;
        qn_buf next = {0};
        if (once(order[i], (qn_slice){now.data ? now.data : "", now.n}, &state, &next))
            done |= order[i];
        next.failed = next.failed || now.failed;
        qn__buf_free(&now);
        now = next;
    }
    if (now.failed)
        done = 0;
    qn__buf_put(out, now.data ? now.data : "", now.n);
    out->failed = out->failed || now.failed;
    qn__buf_free(&now);
    return done;
}

void qn__vary_names(unsigned what, char out[48])
{
    (void)snprintf(out, 48, "%s%s%s%s%s", what & QN_VARY_SPACE ? "white space" : "", (what & QN_VARY_SPACE) && (what & 6) ? ", " : "",
                   what & QN_VARY_SYNONYMS ? "synonyms" : "", (what & QN_VARY_SYNONYMS) && (what & QN_VARY_ORDER) ? ", " : "",
                   what & QN_VARY_ORDER ? "order" : "");
    if (!what)
        (void)snprintf(out, 48, "as written");
}
