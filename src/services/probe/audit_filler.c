/* audit_filler.c - text that stands around what is asked for: code in six languages, logs, prose. Every line occurs once, so that no
 * model can skip what it has read already, and none has five digits in a row: those are what is asked for. */
#include <stdio.h>
#include <string.h>

#include "services/probe/audit.h"

const char *const qn__audit_fillers[QN_AUDIT_FILLERS] = {"python", "c", "go", "javascript", "rust", "java", "log", "prose"};
enum { PYTHON, C, GO, JAVASCRIPT, RUST, JAVA, LOG, PROSE };

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t qn__roll(qn_dice *d)
{
    uint64_t z = d->s += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

qn_dice qn__dice(uint64_t seed, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    qn_dice x = {seed};
    const uint64_t parts[] = {a, b, c, d};
    for (size_t i = 0; i < 4; i++)
        x.s = qn__roll(&x) ^ (parts[i] + 1) * 0xd1342543de82ef95u;
    return x;
}

#define N(a) ((uint32_t)(sizeof(a) / sizeof *(a)))
static const char *const nouns[] = {"anchor", "basket", "bridge", "bucket", "cable",  "candle", "canvas", "carpet", "castle", "cellar",
                                    "column", "copper", "corner", "garden", "harbor", "kettle", "ladder", "lantern", "market", "meadow",
                                    "mirror", "needle", "orchard", "packet", "pebble", "pencil", "pillow", "planet", "pocket", "record",
                                    "river",  "saddle", "signal", "socket", "station", "tunnel", "valley", "wallet", "window", "winter"};
static const char *const verbs[] = {"apply", "build", "carry", "check", "clean", "count", "draw", "fetch", "fill", "find", "fold", "guard",
                                    "join", "lift", "load", "mark", "merge", "move", "open", "pack", "parse", "print", "pull", "push",
                                    "read", "reset", "rotate", "scan", "send", "shift", "sort", "split", "store", "trim", "turn", "wrap"};
static const char *const adjectives[] = {"amber", "ancient", "broken", "bright", "clever", "cold", "copper", "crooked", "dark", "dusty",
                                         "early", "empty", "gentle", "golden", "green", "heavy", "hollow", "late", "little", "loud",
                                         "narrow", "old", "pale", "quiet", "red", "rough", "round", "silver", "slow", "small",
                                         "smooth", "soft", "steep", "tall", "thin", "warm", "wet", "white", "wide", "young"};
static const char *const onsets[] = {"b", "br", "d", "f", "g", "gr", "h", "k", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "z"};
static const char *const vowels[] = {"a", "e", "i", "o", "u", "ai", "ea"};
static const char *const codas[] = {"", "l", "n", "r", "s", "m", "nd", "rk"};

const char *qn__audit_noun(qn_dice *d)
{
    return nouns[qn__pick(d, N(nouns))];
}

void qn__audit_word(qn_dice *d, char out[16])
{
    (void)snprintf(out, 16, "%s%s%s%s%s", onsets[qn__pick(d, N(onsets))], vowels[qn__pick(d, N(vowels))], onsets[qn__pick(d, N(onsets))],
                   vowels[qn__pick(d, N(vowels))], codas[1 + qn__pick(d, N(codas) - 1)]);
}

void qn__audit_name(qn_dice *d, char out[16])
{
    qn__audit_word(d, out);
    out[0] = (char)(out[0] - 'a' + 'A');
}

void qn__audit_ident(qn_dice *d, char out[32])
{
    (void)snprintf(out, 32, "%s_%s", verbs[qn__pick(d, N(verbs))], nouns[qn__pick(d, N(nouns))]);
}

/* What a unit is made of: identifiers in the manner of the language, small numbers. */
typedef struct parts {
    char f[40], a[40], b[40], k[40];
    uint32_t n[4];
} parts;

static void camel(char *s)
{
    char *to = s;
    for (const char *p = s; *p; p++) {
        if (*p == '_' && p[1] >= 'a' && p[1] <= 'z')
            *to++ = (char)(*++p - 'a' + 'A');
        else if (*p != '_')
            *to++ = *p;
    }
    *to = 0;
}

static void noun_name(qn_dice *d, char *out, size_t n)
{
    (void)snprintf(out, n, "%s_%s%u", adjectives[qn__pick(d, N(adjectives))], nouns[qn__pick(d, N(nouns))], qn__pick(d, 100));
}

static parts draw(qn_dice *d, int kind)
{
    parts p;
    (void)snprintf(p.f, sizeof p.f, "%s_%s%u", verbs[qn__pick(d, N(verbs))], nouns[qn__pick(d, N(nouns))], qn__pick(d, 100));
    noun_name(d, p.a, sizeof p.a);
    noun_name(d, p.b, sizeof p.b);
    noun_name(d, p.k, sizeof p.k);
    for (size_t i = 0; i < 4; i++)
        p.n[i] = 2 + qn__pick(d, 97);
    if (kind == GO || kind == JAVASCRIPT || kind == JAVA) {
        camel(p.f);
        camel(p.a);
        camel(p.b);
        camel(p.k);
    }
    return p;
}

static void put_code(qn_buf *b, int kind, const parts *p, uint32_t shape)
{
    const char *f = p->f, *a = p->a, *c = p->b, *k = p->k;
    const uint32_t *n = p->n;
    switch (kind * 3 + (int)shape) {
    case PYTHON * 3: qn__buf_printf(b, "def %s(%s, %s):\n    %s = %s * %u + %u\n    return %s - %s\n", f, a, c, k, a, n[0], n[1], k, c); break;
    case PYTHON * 3 + 1: qn__buf_printf(b, "def %s(%s):\n    %s = [x + %u for x in %s if x > %u]\n    return sum(%s)\n", f, a, c, n[0], a, n[1], c); break;
    case PYTHON * 3 + 2: qn__buf_printf(b, "%s = {\"%s\": %u, \"%s\": %u}\n", k, a, n[0], c, n[1]); break;
    case C * 3: qn__buf_printf(b, "static int %s(int %s, int %s)\n{   int %s = %s * %u + %u;\n    return %s - %s; }\n", f, a, c, k, a, n[0], n[1], k, c); break;
    case C * 3 + 1: qn__buf_printf(b, "static void %s(int *%s)\n{   if (*%s > %u) *%s -= %u; }\n", f, a, a, n[0], a, n[1]); break;
    case C * 3 + 2: qn__buf_printf(b, "struct %s { int %s[%u]; char %s[%u]; };\n", k, a, n[0], c, n[1]); break;
    case GO * 3: qn__buf_printf(b, "func %s(%s, %s int) int {\n\t%s := %s*%u + %u\n\treturn %s - %s } // %s\n", f, a, c, k, a, n[0], n[1], k, c, f); break;
    case GO * 3 + 1: qn__buf_printf(b, "func %s(%s []int) (%s int) {\n\tfor _, v := range %s { %s += v %% %u }\n\treturn %s / %u } // %s\n", f, a, c, a, c, n[0], c, n[1], f); break;
    case GO * 3 + 2: qn__buf_printf(b, "var %s = map[string]int{\"%s\": %u, \"%s\": %u}\n", k, a, n[0], c, n[1]); break;
    case JAVASCRIPT * 3: qn__buf_printf(b, "function %s(%s, %s) {\n  const %s = %s * %u + %u;\n  return %s - %s; }\n", f, a, c, k, a, n[0], n[1], k, c); break;
    case JAVASCRIPT * 3 + 1: qn__buf_printf(b, "const %s = (%s) => %s.filter((v) => v > %u).map((v) => v - %u);\n", f, a, a, n[0], n[1]); break;
    case JAVASCRIPT * 3 + 2: qn__buf_printf(b, "export const %s = { %s: %u, %s: \"%s-%u\" };\n", k, a, n[0], c, f, n[1]); break;
    case RUST * 3: qn__buf_printf(b, "fn %s(%s: i64, %s: i64) -> i64 {\n    let %s = %s * %u + %u;\n    %s - %s }\n", f, a, c, k, a, n[0], n[1], k, c); break;
    case RUST * 3 + 1: qn__buf_printf(b, "fn %s(%s: &[i64]) -> i64 {\n    %s.iter().filter(|v| **v > %u).map(|v| v * %u).sum() }\n", f, a, a, n[0], n[1]); break;
    case RUST * 3 + 2: qn__buf_printf(b, "struct %s { %s: [u8; %u], %s: u32 } // %u\n", k, a, n[0], c, n[1]); break;
    case JAVA * 3: qn__buf_printf(b, "    static int %s(int %s, int %s) {\n        int %s = %s * %u + %u;\n        return %s - %s; }\n", f, a, c, k, a, n[0], n[1], k, c); break;
    case JAVA * 3 + 1: qn__buf_printf(b, "    static void %s(List<Integer> %s) {\n        %s.removeIf(v -> v %% %u == %u); }\n", f, a, a, n[0], n[1] % n[0]); break;
    default: qn__buf_printf(b, "    private final Map<String, Integer> %s = Map.of(\"%s\", %u, \"%s\", %u);\n", k, a, n[0], c, n[1]); break;
    }
}

static void put_log(qn_buf *b, qn_dice *d, const parts *p)
{
    static const char *const levels[] = {"INFO", "INFO", "INFO", "DEBUG", "WARN"};
    qn__buf_printf(b, "2024-%02u-%02u %02u:%02u:%02u.%03u %s ", 1 + qn__pick(d, 12), 1 + qn__pick(d, 28), qn__pick(d, 24), qn__pick(d, 60),
                   qn__pick(d, 60), qn__pick(d, 1000), levels[qn__pick(d, N(levels))]);
    char line[160];
    switch (qn__pick(d, 5)) {
    case 0: (void)snprintf(line, sizeof line, "%s: %s took %u ms, %u rows", p->f, p->a, p->n[0], p->n[1]); break;
    case 1: (void)snprintf(line, sizeof line, "%s: retry of %s after %u ms, attempt %u", p->f, p->a, p->n[0], p->n[1]); break;
    case 2: (void)snprintf(line, sizeof line, "%s: %s has %u of %u slots", p->f, p->a, p->n[0], p->n[0] + p->n[1]); break;
    case 3: (void)snprintf(line, sizeof line, "%s: flushed %s, %u pages, %u left", p->f, p->a, p->n[0], p->n[1]); break;
    default: (void)snprintf(line, sizeof line, "%s: client of %s gone after %u s, code %u", p->f, p->a, p->n[0], p->n[1]); break;
    }
    qn__buf_printf(b, "%s\n", line);
}

static void put_prose(qn_buf *b, qn_dice *d)
{
    char who[16];
    const char *a1 = adjectives[qn__pick(d, N(adjectives))], *a2 = adjectives[qn__pick(d, N(adjectives))];
    const char *n1 = nouns[qn__pick(d, N(nouns))], *n2 = nouns[qn__pick(d, N(nouns))], *v = verbs[qn__pick(d, N(verbs))];
    uint32_t n = 2 + qn__pick(d, 97);
    qn__audit_name(d, who);
    switch (qn__pick(d, 8)) {
    case 0: qn__buf_printf(b, "The %s %s near the %s was %s, and %s stayed there for %u days.\n", a1, n1, n2, a2, who, n); break;
    case 1: qn__buf_printf(b, "%s wanted to %s the %s before the %s %s was sold for %u coins.\n", who, v, n1, a1, n2, n); break;
    case 2: qn__buf_printf(b, "Nobody in %s saw the %s %s behind the %s.\n", who, a1, n1, n2); break;
    case 3: qn__buf_printf(b, "It took %s %u minutes to %s the %s %s.\n", who, n, v, a1, n1); break;
    case 4: qn__buf_printf(b, "There were %u %ss in the %s, said %s, and all of them were %s.\n", n, n1, n2, who, a1); break;
    case 5: qn__buf_printf(b, "A %s %s and a %s %s stood by the road to %s.\n", a1, n1, a2, n2, who); break;
    case 6: qn__buf_printf(b, "When the %s came, %s would %s every %s %s.\n", n1, who, v, a1, n2); break;
    default: qn__buf_printf(b, "%s bought a %s %s from the %s for %u coins.\n", who, a1, n1, n2, n); break;
    }
}

/* ---- no line twice ---- */

static bool seen_slot(const qn_filler *f, uint64_t h, size_t *at)
{
    size_t mask = f->cap_seen - 1;
    for (size_t i = (size_t)h & mask;; i = (i + 1) & mask) {
        *at = i;
        if (f->seen[i] == h)
            return true;
        if (f->seen[i] == 0)
            return false;
    }
}

static bool room(qn_filler *f)
{
    if (f->cap_seen && f->n_seen * 2 < f->cap_seen)
        return true;
    size_t cap = f->cap_seen ? f->cap_seen * 2 : 256, at;
    qn_filler bigger = {.cap_seen = cap, .seen = qn__calloc(cap, sizeof *bigger.seen)};
    if (!bigger.seen)
        return false;
    for (size_t i = 0; i < f->cap_seen; i++)
        if (f->seen[i] && !seen_slot(&bigger, f->seen[i], &at))
            bigger.seen[at] = f->seen[i];
    qn_free(f->seen);
    f->seen = bigger.seen;
    f->cap_seen = cap;
    return true;
}

/* Lines of [p, p+n), each with its newline: are all of them new? keep: from now on they are not. */
static bool lines_new(qn_filler *f, const char *p, size_t n, bool keep)
{
    for (const char *end = p + n; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        const char *from = p;
        while (*from == ' ' || *from == '\t')
            from++;
        uint64_t h = qn__hash(from, (size_t)(nl - from)) | 1;
        size_t at;
        if (!room(f))
            return f->failed = true, false;
        if (seen_slot(f, h, &at) && !keep)
            return false;
        if (keep && f->seen[at] == 0) {
            f->seen[at] = h;
            f->n_seen++;
        }
        p = nl + 1;
    }
    return true;
}

void qn__filler_open(qn_filler *f, int kind, qn_dice dice)
{
    *f = (qn_filler){.kind = kind, .dice = dice};
}

void qn__filler_close(qn_filler *f)
{
    qn_free(f->seen);
    qn_free(f->ends);
    qn__buf_free(&f->text);
    *f = (qn_filler){0};
}

bool qn__filler_need(qn_filler *f, size_t n)
{
    while (f->n < n && !f->failed && !f->text.failed) {
        size_t before = f->text.n;
        parts p = draw(&f->dice, f->kind);
        if (f->kind == PROSE)
            put_prose(&f->text, &f->dice);
        else if (f->kind == LOG)
            put_log(&f->text, &f->dice, &p);
        else
            put_code(&f->text, f->kind, &p, qn__pick(&f->dice, 3));
        if (f->text.failed || !qn__grow((void **)&f->ends, &f->cap, f->n + 1, sizeof *f->ends)) {
            f->failed = true;
        } else if (lines_new(f, f->text.data + before, f->text.n - before, false)) {
            if (!lines_new(f, f->text.data + before, f->text.n - before, true))
                return false;
            f->ends[f->n++] = f->text.n;
        } else {
            f->text.n = before; /* said already */
        }
    }
    return !f->failed && !f->text.failed;
}
