/* audit_solver.h - answers an audit's question from what is asked alone, by rule: that it can is the proof that a task can be solved;
 * that it says "not there" of what was left out, the proof that nothing else gives it away. Beside it, a tokenizer of few rules. */
#ifndef QN_TESTS_AUDIT_SOLVER_H
#define QN_TESTS_AUDIT_SOLVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Up to four letters or digits, or one other character, with the blank before it; a line's end. */
static inline int64_t few_rules(const char *p, size_t n)
{
    int64_t tokens = 0;
    for (size_t i = 0; i < n; tokens++) {
        i += p[i] == ' ' && i + 1 < n;
        size_t k = 0;
        while (k < 4 && i + k < n && ((p[i + k] | 32) >= 'a' ? (p[i + k] | 32) <= 'z' : p[i + k] >= '0' && p[i + k] <= '9'))
            k++;
        i += k ? k : 1;
    }
    return tokens;
}

/* Everything that is said in a chat, or the prompt; freed with free. */
static inline char *said(const char *asked, bool chat)
{
    json_t *list = chat ? json_loads(asked, 0, NULL) : NULL;
    if (!list)
        return strdup(asked);
    size_t n = 1, i;
    const json_t *m;
    json_array_foreach(list, i, m)
        n += json_string_length(json_object_get(m, "content")) + 1;
    char *all = calloc(1, n);
    json_array_foreach(list, i, m) {
        strcat(all, json_string_value(json_object_get(m, "content")));
        strcat(all, "\n");
    }
    json_decref(list);
    return all;
}

static inline const char *last_of(const char *text, const char *what)
{
    const char *found = NULL;
    for (const char *p = text; (p = strstr(p, what)); p++)
        found = p;
    return found;
}

static inline bool take_word(const char *p, const char *ends, char out[64])
{
    size_t n = strcspn(p, ends);
    if (n == 0 || n > 63)
        return false;
    memcpy(out, p, n);
    out[n] = 0;
    return true;
}

/* Of every `before`X`between`: the words behind; the last, or all of them with commas. */
static inline bool after(const char *text, size_t n, const char *pattern, bool all, char *out, size_t cap)
{
    size_t k = strlen(pattern);
    out[0] = 0;
    for (const char *p = text; (p = strstr(p, pattern)) && p < text + n; p += k) {
        char w[64];
        if (!take_word(p + k, ". \n;", w))
            continue;
        size_t have = all ? strlen(out) : 0;
        snprintf(out + have, cap - have, "%s%s", have ? ", " : "", w);
    }
    return out[0] != 0;
}

static inline bool follow(const char *text, size_t n, const char *name, char *out, size_t cap)
{
    char at[64];
    snprintf(at, sizeof at, "%s", name);
    for (int step = 0; step < 8; step++) {
        char pattern[80], next[64];
        bool found = false;
        snprintf(pattern, sizeof pattern, "%s = ", at);
        for (const char *p = text; !found && (p = strstr(p, pattern)) && p < text + n; p++)
            found = (p == text || p[-1] == ' ' || p[-1] == '\n') && take_word(p + strlen(pattern), "; \n", next);
        if (!found)
            return false;
        if (strspn(next, "0123456789") == strlen(next))
            return snprintf(out, cap, "%s", next), true;
        snprintf(at, sizeof at, "%s", next);
    }
    return false;
}

/* list: "a, b, c?" */
static inline bool find_caller(const char *text, size_t n, const char *callee, const char *list, char *out, size_t cap)
{
    char call[80];
    snprintf(call, sizeof call, "%s(x + 1)", callee);
    for (;;) {
        char name[64], open[80];
        if (!take_word(list, ",?", name))
            return false;
        snprintf(open, sizeof open, " %s(", name);
        for (const char *p = text; (p = strstr(p, open)) && p < text + n; p++) {
            const char *c = strstr(p, "(x + 1)"), *end = c;
            while (c && c > p && c[-1] != ' ')
                c--;
            if (end && c > p && strncmp(c, call, strlen(call)) == 0)
                return snprintf(out, cap, "%s", name), true;
        }
        list += strlen(name);
        if (*list != ',')
            return false;
        list += 2;
    }
}

static inline void solve(const char *asked, bool chat, char *out, size_t cap)
{
    char *text = said(asked, chat), a[64], pattern[160];
    const char *q;
    bool ok = false;
    if ((q = last_of(text, "What is the access code for ")) && take_word(q + 28, "?", a)) {
        snprintf(pattern, sizeof pattern, "The access code for %s is ", a);
        ok = after(text, (size_t)(q - text), pattern, false, out, cap);
    } else if ((q = last_of(text, "Which three numbers do the parcels for ")) && take_word(q + 39, " ", a)) {
        snprintf(pattern, sizeof pattern, "A parcel for %s has the number ", a);
        ok = after(text, (size_t)(q - text), pattern, true, out, cap);
    } else if (strstr(text, " was set several times.") && (q = last_of(text, "The limit of ")) && take_word(q + 13, " ", a)) {
        snprintf(pattern, sizeof pattern, "The limit of %s was set to ", a);
        ok = after(text, (size_t)(q - text), pattern, false, out, cap);
    } else if ((q = last_of(text, "Which number does ")) && take_word(q + 18, " ", a)) {
        ok = follow(text, (size_t)(q - text), a, out, cap);
    } else if ((q = last_of(text, "Which of these functions calls ")) && take_word(q + 31, ":", a)) {
        ok = find_caller(text, (size_t)(q - text), a, q + 33 + strlen(a), out, cap);
    } else if ((q = last_of(text, "Which build number did the tool give for ")) && take_word(q + 41, "?", a)) {
        snprintf(pattern, sizeof pattern, "built %s: build number ", a);
        ok = after(text, (size_t)(q - text), pattern, false, out, cap);
    } else if ((q = last_of(text, "the rule that I gave for answers about ")) && take_word(q + 39, ";", a)) {
        snprintf(pattern, sizeof pattern, "whenever I ask about %s, end your answer with the word ", a);
        ok = after(text, (size_t)(q - text), pattern, false, out, cap);
    }
    if (!ok)
        snprintf(out, cap, "not there");
    free(text);
}

#endif
