/* audit_tasks.c - what is planted and asked for, one function a kind, and how an answer is judged.
 *
 * A group is a handful of facts of one form, one at each depth, each asked for once: to each the others are distractors. One more is
 * made and left out; of it the text says nothing, and "not there" is right. Numbers that are asked for have five digits; those of kind
 * k are k modulo 8, so that groups made apart never share one. */
#include <stdio.h>
#include <string.h>

#include "services/probe/audit.h"

const char *const qn__audit_kinds[QN_AUDIT_KINDS] = {"plain", "needle", "several", "last-write", "variable", "caller", "tool-result", "instruction"};
const char *const qn__outcomes[QN_OUTCOMES] = {"right", "distractor", "wrong", "abstained", "silent", "cut"};
enum { MOST_VALUES = 3 * (QN_AUDIT_DEPTHS + 1), NUMBER = 8 };

typedef struct making {
    qn_group *g;
    qn_arena *arena;
    qn_dice dice;
    qn_audit_kind kind;
    int filler, depths;
    const char *numbers[MOST_VALUES];
    char words[4 * (QN_AUDIT_DEPTHS + 1)][32];
    int n_numbers, n_words;
    bool failed;
} making;

/* ---- what is unique in a group ---- */

static const char *keep(making *m, const char *s)
{
    const char *c = qn__arena_strndup(m->arena, s, strlen(s));
    m->failed |= c == NULL;
    return c ? c : "";
}

static const char *number(making *m)
{
    char to[NUMBER];
    bool taken = true;
    while (taken) {
        (void)snprintf(to, NUMBER, "%u", 10000 + 8 * qn__pick(&m->dice, 11249) + (uint32_t)m->kind);
        taken = false;
        for (int i = 0; i < m->n_numbers; i++)
            taken |= strcmp(m->numbers[i], to) == 0;
    }
    return m->numbers[m->n_numbers++] = keep(m, to);
}

typedef enum form { NAME, WORD, IDENT } form;

static const char *word(making *m, form f)
{
    char *to = m->words[m->n_words];
    bool taken = true;
    while (taken) {
        if (f == NAME)
            qn__audit_name(&m->dice, to);
        else if (f == WORD)
            qn__audit_word(&m->dice, to);
        else
            qn__audit_ident(&m->dice, to);
        taken = false;
        for (int i = 0; i < m->n_words; i++)
            taken |= strcmp(m->words[i], to) == 0;
    }
    m->n_words++;
    return keep(m, to);
}

/* ---- planting ---- */

static const char *format(making *m, const char *fmt, ...) QN_PRINTF(2, 3);
static const char *format(making *m, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    return keep(m, line);
}

static void plant(making *m, int slot, double at, const char *text)
{
    qn_group *g = m->g;
    at = at < 0 ? 0 : at > 1 ? 1 : at;
    g->pieces[g->n_pieces] = (qn_piece){at, g->n_pieces, (int)m->kind, slot, text};
    g->n_pieces++;
}

static double place(const making *m, int slot)
{
    return m->depths > 1 ? (double)slot / (m->depths - 1) : 0.5;
}

/* Near a depth, not exactly at it: groups of one text must not stand in one heap. */
static double near(making *m, int slot)
{
    return place(m, slot) + ((double)qn__pick(&m->dice, 1001) - 500) / 500 * 0.03;
}

/* A sentence as it stands in a file of that kind. */
static const char *remark(making *m, const char *sentence)
{
    static const char *const marks[QN_AUDIT_FILLERS] = {"# ", "// ", "// ", "// ", "// ", "    // ", "", ""};
    return format(m, "%s%s\n", marks[m->filler], sentence);
}

static const char *assign(making *m, const char *to, const char *from)
{
    static const char *const forms[QN_AUDIT_FILLERS] = {"", "static int ", "var ", "let ", "let ", "    static int ", "", ""};
    return format(m, "%s%s = %s%s\n", forms[m->filler], to, from, m->filler >= 1 && m->filler <= 5 && m->filler != 2 ? ";" : "");
}

static const char *calling(making *m, const char *name, const char *callee)
{
    static const char *const forms[QN_AUDIT_FILLERS] = {
        "def %s(x):\n    return %s(x + 1)\n", "int %s(int x)\n{   return %s(x + 1); }\n", "func %s(x int) int {\n\treturn %s(x + 1) }\n",
        "function %s(x) {\n  return %s(x + 1); }\n", "fn %s(x: i64) -> i64 {\n    %s(x + 1) }\n", "    int %s(int x) {\n        return %s(x + 1); }\n",
        "def %s(x):\n    return %s(x + 1)\n", "def %s(x):\n    return %s(x + 1)\n"};
    char text[200];
    const char *f = forms[m->filler], *first = strstr(f, "%s"), *second = strstr(first + 2, "%s");
    (void)snprintf(text, sizeof text, "%.*s%s%.*s%s%s", (int)(first - f), f, name, (int)(second - first - 2), first + 2, callee, second + 2);
    return keep(m, text);
}

static void want(qn_fact *f, const char *value)
{
    f->wanted[f->n_wanted++] = value;
}

static void make_needle(making *m, qn_fact *f)
{
    const char *who = word(m, NAME), *n = number(m);
    want(f, n);
    f->ask = format(m, "What is the access code for %s? Answer with the number alone", who);
    if (f->slot < m->depths)
        plant(m, f->slot, near(m, f->slot), remark(m, format(m, "The access code for %s is %s.", who, n)));
}

static void make_several(making *m, qn_fact *f)
{
    const char *who = word(m, NAME);
    double at = near(m, f->slot);
    for (int i = 0; i < 3; i++) {
        const char *n = number(m);
        want(f, n);
        if (f->slot < m->depths)
            plant(m, f->slot, at + (i - 1) * 0.03, remark(m, format(m, "A parcel for %s has the number %s.", who, n)));
    }
    f->ask = format(m, "Which three numbers do the parcels for %s have? Answer with the three numbers alone", who);
}

static void make_last(making *m, qn_fact *f)
{
    const char *what = word(m, WORD);
    double at = near(m, f->slot), back[2] = {at * qn__pick(&m->dice, 100) / 100, at * qn__pick(&m->dice, 100) / 100};
    bool swap = back[0] > back[1];
    for (int i = 0; i < 3; i++) {
        const char *n = number(m);
        if (i == 2)
            want(f, n);
        if (f->slot < m->depths)
            plant(m, f->slot, i == 2 ? at : back[swap ? !i : i], remark(m, format(m, "The limit of %s was set to %s.", what, n)));
    }
    f->ask = format(m, "The limit of %s was set several times. What is it in the end? Answer with the number alone", what);
}

static void make_variable(making *m, qn_fact *f)
{
    const char *a = word(m, IDENT), *b = word(m, IDENT), *c = word(m, IDENT), *n = number(m);
    double at = near(m, f->slot < m->depths ? f->slot : m->depths / 2);
    want(f, n);
    if (f->slot < m->depths)
        plant(m, f->slot, at - 0.04, assign(m, a, n));
    plant(m, f->slot, at - 0.02, assign(m, b, a)); /* of the one left out the names are there, the number is not */
    plant(m, f->slot, at, assign(m, c, b));
    f->ask = format(m, "Which number does %s hold after all these assignments? Answer with the number alone", c);
}

/* Functions f0.., each calling its own; of the one left out the callee is called by none of them. */
static void make_callers(making *m)
{
    const char *names[QN_AUDIT_DEPTHS], *listed[QN_AUDIT_DEPTHS], *callees[QN_AUDIT_DEPTHS + 1];
    char list[512] = "";
    for (int i = 0; i <= m->depths; i++) {
        callees[i] = word(m, IDENT);
        if (i < m->depths)
            names[i] = word(m, IDENT);
    }
    for (int i = 0; i < m->depths; i++)
        listed[i] = names[i];
    for (int i = m->depths - 1; i > 0; i--) { /* the order of the list tells nothing */
        int j = (int)qn__pick(&m->dice, (uint32_t)i + 1);
        const char *swap = listed[i];
        listed[i] = listed[j];
        listed[j] = swap;
    }
    for (int i = 0; i < m->depths; i++) {
        size_t n = strlen(list);
        (void)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", listed[i]);
    }
    for (int i = 0; i <= m->depths; i++) {
        qn_fact *f = &m->g->facts[i];
        f->ask = format(m, "Which of these functions calls %s: %s? Answer with its name alone", callees[i], list);
        if (i < m->depths) {
            want(f, names[i]);
            plant(m, i, near(m, i), calling(m, names[i], callees[i]));
        }
    }
}

/* In a talk the slot is the turn: what at says is not used. */
static void make_tool(making *m, qn_fact *f)
{
    const char *what = word(m, IDENT), *n = number(m);
    want(f, n);
    f->ask = format(m, "Which build number did the tool give for %s? Answer with the number alone", what);
    if (f->slot < m->depths)
        plant(m, f->slot, place(m, f->slot), format(m, "built %s: build number %s\n", what, n));
}

static void make_rule(making *m, qn_fact *f)
{
    const char *town = word(m, NAME), *w = word(m, WORD);
    want(f, w);
    f->ask = format(m, "Is %s a nice name for a town? Answer yes or no, and keep to the rule that I gave for answers about %s", town, town);
    if (f->slot < m->depths)
        plant(m, f->slot, place(m, f->slot),
              format(m, "From now on, whenever I ask about %s, end your answer with the word %s. ", town, w));
}

/* Everything of the form that a fact does not want: other facts' values, overwritten ones. The left-out value stands nowhere. */
static void gather_others(making *m)
{
    qn_group *g = m->g;
    for (int i = 0; i <= m->depths; i++) {
        qn_fact *f = &g->facts[i];
        const char **list = qn__arena_alloc(m->arena, (MOST_VALUES + 1) * sizeof *list);
        if (!list) {
            m->failed = true;
            return;
        }
        for (int k = 0; k < m->n_numbers; k++) {
            bool own = false;
            for (int j = 0; j < f->n_wanted; j++)
                own |= m->numbers[k] == f->wanted[j];
            if (!own)
                list[f->n_others++] = m->numbers[k];
        }
        for (int k = 0; k <= m->depths && m->n_numbers == 0; k++)
            for (int j = 0; k != i && j < g->facts[k].n_wanted; j++)
                list[f->n_others++] = g->facts[k].wanted[j];
        f->others = list;
    }
}

bool qn__group_make(qn_group *g, qn_arena *arena, qn_audit_kind kind, int filler, int depths, qn_dice dice)
{
    static void (*const make[QN_AUDIT_KINDS])(making *, qn_fact *) = {make_needle,   make_needle, make_several, make_last,
                                                                       make_variable, NULL,        make_tool,    make_rule};
    making m = {.g = g, .arena = arena, .dice = dice, .kind = kind, .filler = filler, .depths = depths};
    *g = (qn_group){.cap = 3 * (depths + 1)};
    g->pieces = qn__arena_alloc(arena, (size_t)g->cap * sizeof *g->pieces);
    if (!g->pieces)
        return false;
    for (int i = 0; i <= depths; i++)
        g->facts[i] = (qn_fact){.kind = (int)kind, .slot = i};
    if (kind == QN_AUDIT_CALLER)
        make_callers(&m);
    else
        for (int i = 0; i <= depths && !m.failed; i++)
            make[kind](&m, &g->facts[i]);
    gather_others(&m);
    return !m.failed;
}

double qn__audit_chance(qn_audit_kind kind, int depths)
{
    return kind == QN_AUDIT_CALLER ? 1.0 / depths : 0;
}

/* ---- judging ---- */

static bool in_word(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* w stands in p[0..n) as a word of its own, whatever its case. A value that begins or ends with other than a word's character does not
 * occur. */
static bool has_word(const char *p, size_t n, const char *w)
{
    size_t k = strlen(w);
    for (size_t i = 0; k && i + k <= n; i++) {
        size_t j = 0;
        while (j < k && lower(p[i + j]) == lower(w[j]))
            j++;
        if (j == k && (i == 0 || !in_word((unsigned char)p[i - 1])) && (i + k == n || !in_word((unsigned char)p[i + k])))
            return true;
    }
    return false;
}

static bool is_number(const char *w)
{
    return strspn(w, "0123456789") == 5 && w[5] == 0;
}

/* Some run of five digits that is none of the wanted. */
static bool has_other_number(const char *p, size_t n, const char *const *wanted, int n_wanted)
{
    for (size_t i = 0; i < n;) {
        size_t k = 0;
        while (i + k < n && p[i + k] >= '0' && p[i + k] <= '9')
            k++;
        bool known = k != 5;
        for (int j = 0; j < n_wanted && !known; j++)
            known = memcmp(p + i, wanted[j], 5) == 0;
        if (!known)
            return true;
        i += k ? k : 1;
    }
    return false;
}

static bool has_phrase(const char *p, size_t n, const char *phrase)
{
    size_t k = strlen(phrase);
    for (size_t i = 0; i + k <= n; i++) {
        size_t j = 0;
        while (j < k && lower(p[i + j]) == (unsigned char)phrase[j])
            j++;
        if (j == k)
            return true;
    }
    return false;
}

qn_outcome qn__audit_judge(const char *const *wanted, int n_wanted, const char *const *others, int n_others, bool absent, const char *answer,
                           size_t n, bool cut)
{
    size_t blanks = 0;
    while (blanks < n && (unsigned char)answer[blanks] <= ' ')
        blanks++;
    if (blanks == n)
        return cut ? QN_CUT : QN_SILENT;
    int found = 0, distractors = 0;
    for (int i = 0; i < n_wanted; i++)
        found += has_word(answer, n, wanted[i]);
    for (int i = 0; i < n_others; i++)
        distractors += has_word(answer, n, others[i]);
    bool other = distractors > 0 || (n_wanted > 0 && is_number(wanted[0]) && has_other_number(answer, n, wanted, n_wanted));
    /* Who repeats the question has not answered it. */
    bool abstains = has_phrase(answer, n, "not there"), repeats = has_phrase(answer, n, "it, answer: not there") || has_phrase(answer, n, "none, answer: not there");
    if (absent)
        return found == 0 && !other && abstains && !repeats ? QN_RIGHT : distractors ? QN_DISTRACTOR : cut ? QN_CUT : QN_WRONG;
    if (n_wanted > 0 && found == n_wanted && !other && !abstains)
        return QN_RIGHT;
    if (distractors)
        return QN_DISTRACTOR;
    if (abstains && found == 0 && !other)
        return QN_ABSTAINED;
    return cut ? QN_CUT : QN_WRONG;
}
