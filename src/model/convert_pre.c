/* convert_pre.c - which rule set of tokenizer.ggml.pre a byte-level tokenizer.json cuts text by: told from its pre_tokenizer's
 * patterns. Guessing would tokenize wrongly without a sign, so that an unknown pattern is refused and shown. */
#include <stdio.h>
#include <string.h>

#include "model/convert_int.h"

#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SYMBOLS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define SLASH " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"
#define TAIL "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(tail) "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" tail "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" tail
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define LLAMA3 CONTRACTION "|" WORD "|\\p{N}{1,3}|" SYMBOLS "|" TAIL
#define QWEN2 CONTRACTION "|" WORD "|\\p{N}|" SYMBOLS "|" TAIL
#define GPT4O CASED(CONTRACTION "?") "|\\p{N}{1,3}|" SLASH "|" TAIL
#define CJK_V3 "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+"
#define V3                                                                                                             \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" TAIL

/* The stages one after another: "D" digits one by one, "P" gpt-2's own pattern (a ByteLevel that cuts), a pattern otherwise.
 * Of rows with the same stages the first whose architecture and ignore_merges fit is taken. */
static const struct known {
    const char *stage[4];
    const char *arch; /* NULL: any; a beginning */
    int whole;        /* ignore_merges; -1: either */
    const char *name;
} known[] = {
    {{"P"}, NULL, -1, "gpt-2"},
    {{GPT2}, NULL, -1, "gpt-2"},
    {{"D", "P"}, "starcoder", -1, "starcoder"},
    {{"D", "P"}, "cohere", -1, "command-r"},
    {{"D", "P"}, "granite", -1, "refact"},
    {{"D", "P"}, NULL, -1, "smollm"},
    {{LLAMA3}, NULL, 1, "llama-bpe"},
    {{LLAMA3}, "glm4", -1, "glm4"},
    {{LLAMA3}, NULL, 0, "dbrx"},
    {{QWEN2}, NULL, -1, "qwen2"},
    {{CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" TAIL}, NULL, -1, "qwen35"},
    {{GPT4O}, "minimax", -1, "minimax-m2"},
    {{GPT4O}, NULL, -1, "gpt-4o"},
    {{CASED("") "|\\p{N}|" SLASH "|" TAIL}, NULL, -1, "tekken"},
    {{"\\d{1,3}(?=(?:\\d{3})*\\b)", GPT4O}, "cohere2moe", -1, "cohere2moe"},
    {{"\\d{1,3}(?=(?:\\d{3})*\\b)", GPT4O}, NULL, -1, "tiny_aya"},
    {{"\\p{N}{1,3}", CJK_V3, V3}, NULL, -1, "deepseek-v3"},
    {{CONTRACTION "|" WORD "|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" TAIL}, NULL, -1, "seed-coder"},
};

/* Stages that DeepSeek's first tokenizers have before their last, beginnings suffice: nobody else has them. */
static const char *const coder[] = {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[\xE4\xB8\x80-", "D"};
static const char *const llm[] = {"[\r\n]", "\\s?[A-Za-z\xC2\xB5", "\\s?[!-/:-~", "\\s+$", "[\xE4\xB8\x80-", "D"};

enum { MAX_STAGES = 8 };

typedef struct stages {
    const char *s[MAX_STAGES];
    size_t n;
    bool odd; /* something that no table row can mean */
} stages;

static void push(stages *st, const char *s)
{
    if (st->n == MAX_STAGES || !s)
        st->odd = true;
    else
        st->s[st->n++] = s;
}

static void collect(stages *st, json_t *j, int depth)
{
    const char *type = json_string_value(json_object_get(j, "type"));
    json_t *list = json_object_get(j, "pretokenizers"), *pattern = json_object_get(j, "pattern");
    if (!type || depth > 4) {
        st->odd |= j && !json_is_null(j);
    } else if (strcmp(type, "Sequence") == 0) {
        for (size_t i = 0; i < json_array_size(list); i++)
            collect(st, json_array_get(list, i), depth + 1);
    } else if (strcmp(type, "Split") == 0) {
        const char *regex = json_string_value(json_object_get(pattern, "Regex"));
        push(st, regex ? regex : json_string_value(json_object_get(pattern, "String")));
    } else if (strcmp(type, "Digits") == 0) {
        push(st, json_is_true(json_object_get(j, "individual_digits")) ? "D" : NULL);
    } else if (strcmp(type, "ByteLevel") == 0) {
        st->odd |= json_is_true(json_object_get(j, "add_prefix_space"));
        if (!json_is_false(json_object_get(j, "use_regex")))
            push(st, "P");
    } else {
        st->odd = true;
    }
}

/* The same pattern, written in one of the ways in which people write it. */
static bool same(const char *pattern, const char *table)
{
    static const struct {
        const char *theirs, *ours;
    } ways[] = {
        {"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])", CONTRACTION},
        {"\\p{N}{1}|", "\\p{N}|"},
    };
    while (*pattern || *table) {
        size_t i = 0;
        for (; i < sizeof ways / sizeof *ways; i++) {
            size_t n = strlen(ways[i].theirs), m = strlen(ways[i].ours);
            if (strncmp(pattern, ways[i].theirs, n) == 0 && strncmp(table, ways[i].ours, m) == 0) {
                pattern += n;
                table += m;
                break;
            }
        }
        if (i < sizeof ways / sizeof *ways)
            continue;
        if (*pattern != *table)
            return false;
        pattern++;
        table++;
    }
    return true;
}

static bool fits(const stages *st, const struct known *k, const char *arch, bool whole)
{
    size_t n = 0;
    while (n < 4 && k->stage[n])
        n++;
    if (n != st->n || (k->arch && strncmp(arch, k->arch, strlen(k->arch)) != 0) || (k->whole >= 0 && k->whole != whole))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!same(st->s[i], k->stage[i]))
            return false;
    return true;
}

static bool begins(const stages *st, const char *const *with, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (i >= st->n || strncmp(st->s[i], with[i], strlen(with[i])) != 0)
            return false;
    return st->n == n;
}

const char *qn__cv_pre(qn__cv *c)
{
    json_t *pre = json_object_get(c->tokenizer, "pre_tokenizer"), *whole = json_object_get(json_object_get(c->tokenizer, "model"), "ignore_merges");
    stages st = {0};
    char shown[330] = "";
    size_t at = 0;
    collect(&st, pre, 0);
    if (st.n > 1 && strcmp(st.s[st.n - 1], "P") == 0 && strcmp(st.s[0], "D") != 0)
        st.odd = true;
    for (size_t i = 0; !st.odd && i < sizeof known / sizeof *known; i++)
        if (fits(&st, &known[i], c->family->arch, json_is_true(whole)))
            return known[i].name;
    if (!st.odd && begins(&st, coder, 5))
        return "deepseek-coder";
    if (!st.odd && begins(&st, llm, 6))
        return "deepseek-llm";
    for (size_t i = 0; i < st.n && at < sizeof shown; i++)
        at += (size_t)snprintf(shown + at, sizeof shown - at, "%s%s", i ? "  then  " : "", st.s[i]);
    (void)qn__cv_fail(c, QN_EUNSUPPORTED, "tokenizer.json: pre_tokenizer", "its way to cut text is unknown to this build (%.300s); name the rule set with --pre NAME if you know it", st.n ? shown : "no pattern");
    return NULL;
}
