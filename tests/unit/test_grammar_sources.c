/* test_grammar_sources.c - what grammars are written in: regular expressions against PCRE2 on random texts, GBNF, JSON Schema
 * (what is accepted, refused, unsupported and where), hostile descriptions, and every allocation failing once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/file.h"
#include "grammar_vocab.h"

static const qn_json_style compact = {.compact = true}, spaced = {.any_space = true};

static bool accepts(const qn_grammar *g, const char *text, size_t n)
{
    qn_matcher *m = NULL;
    assert_int_equal(qn__matcher_open(g, &m, NULL), QN_OK);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++)
        ok = qn__matcher_accept_bytes(m, text + i, 1);
    ok = ok && qn__matcher_may_end(m);
    qn__matcher_close(m);
    return ok;
}

typedef enum kind { REGEX, GBNF, SCHEMA, SPACED } kind;

static qn_status open_kind(kind k, const char *text, const qn_tokenizer *t, qn_grammar **g, qn_err *err)
{
    qn_ir *ir = NULL;
    qn_status st = qn__ir_open(t, &ir, err);
    json_t *j = NULL;
    if (st)
        return st;
    if (k == REGEX)
        qn__ir_root(ir, qn__ir_regex(ir, text, strlen(text), "regex", err));
    else if (k == GBNF)
        (void)qn__ir_gbnf(ir, text, strlen(text), err);
    else {
        j = json_loads(text, JSON_DECODE_ANY, NULL);
        assert_non_null(j);
        qn__ir_root(ir, qn__ir_schema(ir, j, k == SPACED ? &spaced : &compact, "#", err));
        json_decref(j);
    }
    st = qn__ir_check(ir, err);
    if (!st)
        st = qn__grammar_compile(ir, t, g, err);
    qn__ir_close(ir);
    return st;
}

static qn_grammar *open_ok(kind k, const char *text, const qn_tokenizer *t)
{
    qn_grammar *g = NULL;
    qn_err err = {0};
    if (open_kind(k, text, t, &g, &err))
        fail_msg("%s\n%s: %s", text, err.where, err.what);
    return g;
}

static void fails(kind k, const char *text, qn_status code, const char *part)
{
    qn_grammar *g = NULL;
    qn_err err = {0};
    qn_status st = open_kind(k, text, NULL, &g, &err);
    if (st != code)
        fail_msg("%.200s: %d instead of %d: %s: %s", text, (int)st, (int)code, err.where, err.what);
    if (!strstr(err.what, part) && !strstr(err.where, part))
        fail_msg("%.200s: expected '%s' in '%s: %s'", text, part, err.where, err.what);
}

/* valid and invalid: texts, ended by NULL */
static void judges(kind k, const char *text, const char *const *valid, const char *const *invalid)
{
    qn_grammar *g = open_ok(k, text, NULL);
    for (; *valid; valid++)
        if (!accepts(g, *valid, strlen(*valid)))
            fail_msg("%s\nnot accepted: %s", text, *valid);
    for (; *invalid; invalid++)
        if (accepts(g, *invalid, strlen(*invalid)))
            fail_msg("%s\nnot refused: %s", text, *invalid);
    qn__grammar_drop(g);
}
#define L(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* ---- regular expressions ---- */

static void regex_like_pcre2(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "a*b", "(a|b)*abb", "a{2,4}b?", "(ab|a)(bc|c)?", "[^a]b+", "(a?){3}b", "a+?b*?", "[a-c]{1,3}(?:x|y)*", "\\d+-\\w", "a|b|", "()",
        "(a*)*b", "((a|b)(c|a)){2,}", "[\\d\\-x]+", "a{0}b", "[^\\w]a", "\\x61\\u0062", "(a|ab)(c|bcd)(d*)", "a{3,}", "[b-a]?", "\\.\\*",
        "(a(b(c)?)?)?", "x{13,14}", "(ab){13,20}c", "\xC3\xA9+[\xC3\xA0-\xC3\xBF]", "\\s\\S"};
    uint64_t seed = 5;
    size_t asked = 0, yes = 0;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char whole[256];
        int code;
        PCRE2_SIZE at;
        qn_grammar *g = NULL;
        qn_err err = {0};
        (void)snprintf(whole, sizeof whole, "^(?:%s)\\z", patterns[i]);
        pcre2_code *p = pcre2_compile((PCRE2_SPTR)whole, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_ALT_BSUX, &code, &at, NULL);
        qn_status st = open_kind(REGEX, patterns[i], NULL, &g, &err);
        assert_int_equal(p == NULL, st != QN_OK); /* [b-a] is wrong for both */
        if (st)
            continue;
        pcre2_match_data *m = pcre2_match_data_create_from_pattern(p, NULL);
        for (int k = 0; k < 4000; k++) {
            static const char *const alphabet[] = {"a", "b", "c", "d", "x", "y", "a", "b", "-", "1", ".", "*", " ", "\xC3\xA9", "\xC3\xB1"};
            char text[128] = "";
            uint32_t n = vocab_random(&seed) % (k % 10 ? 8 : 44);
            uint32_t letters = k % 3 ? 15 : 3;
            for (uint32_t c = 0; c < n; c++)
                strcat(text, alphabet[vocab_random(&seed) % letters]);
            if (k % 40 == 0) {
                text[0] = 0;
                for (uint32_t c = 0; c < n % 17; c++)
                    strcat(text, i % 2 ? "ab" : "x");
            }
            bool want = pcre2_match(p, (PCRE2_SPTR)text, strlen(text), 0, 0, m, NULL) >= 0, got = accepts(g, text, strlen(text));
            asked++;
            yes += want;
            if (want != got)
                fail_msg("/%s/ on '%s': PCRE2 says %d", patterns[i], text, want);
        }
        pcre2_match_data_free(m);
        pcre2_code_free(p);
        qn__grammar_drop(g);
    }
    assert_true(yes > asked / 100);
    print_message("figure: regular expressions: %zu texts judged as PCRE2 does, %zu of them match\n", asked, yes);
}

static void regex_refused(void **state)
{
    (void)state;
    fails(REGEX, "a(?=b)", QN_EUNSUPPORTED, "look-around");
    fails(REGEX, "(a)\\1", QN_EUNSUPPORTED, "back-references");
    fails(REGEX, "\\bfoo", QN_EUNSUPPORTED, "word borders");
    fails(REGEX, "(^a)", QN_EUNSUPPORTED, "anchor");
    fails(REGEX, "a)", QN_EFORMAT, "closes nothing");
    fails(REGEX, "(a", QN_EFORMAT, "not closed");
    fails(REGEX, "[a", QN_EFORMAT, "not closed");
    fails(REGEX, "*a", QN_EFORMAT, "nothing to repeat");
    fails(REGEX, "a{3,2}", QN_EFORMAT, "at least");
    fails(REGEX, "a\\", QN_EFORMAT, "backslash");
    fails(REGEX, "\\p{Greek}", QN_EUNSUPPORTED, "categories");
    fails(REGEX, "(a|b)*a[ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab][ab]", QN_ELIMIT, "states");
    fails(REGEX, "((((((a?){999}){999}){999}){999}){999}){999}", QN_ELIMIT, "");
    fails(REGEX, "(((x{999}y){999}z?){999}){999}a{2000000}", QN_ELIMIT, "million");
    char deep[2001];
    memset(deep, '(', 2000);
    deep[2000] = 0;
    fails(REGEX, deep, QN_ELIMIT, "deep");
}

/* ---- GBNF ---- */

static void gbnf(void **state)
{
    (void)state;
    judges(GBNF,
           "# arithmetic\nroot ::= expr \"=\" [0-9]+ \"\\n\"\nexpr ::= term ([-+*/] term)*  # left recursion is not needed\n"
           "term ::= [a-z]{1,3} |\n  number\n  | \"(\" expr \")\"\nnumber ::= [0-9]+",
           L("a=1\n", "(a+12)*abc=42\n", "((1))=0\n"), L("abcd=1\n", "a=\n", "a+=1\n", "(a=1\n"));
    judges(GBNF, "root ::= \"\\u00e9\" [^\\x41\\]]? .? (\"a\" | \"b\"){2}", L("\xC3\xA9xyab", "\xC3\xA9" "bb", "\xC3\xA9" "cbb"), L("\xC3\xA9" "]]ab", "\xC3\xA9" "a"));
    judges(GBNF, "root ::= \"x\" root | \".\"", L(".", "xxx."), L("xxx"));
    fails(GBNF, "root ::= root \"x\" | \"y\"", QN_EFORMAT, "left recursion");
    fails(GBNF, "a ::= \"x\"", QN_EFORMAT, "no rule named root");
    fails(GBNF, "root ::= missing", QN_EFORMAT, "missing");
    fails(GBNF, "root ::= \"a", QN_EFORMAT, "line 1");
    fails(GBNF, "root ::= \"a\"\nroot ::= \"b\"", QN_EFORMAT, "twice");
    fails(GBNF, "root ::= \"a\"\n\n) x", QN_EFORMAT, "line 3");
    fails(GBNF, "root ::= (\"a\"", QN_EFORMAT, "not closed");
    fails(GBNF, "root ::= [z-a]", QN_EFORMAT, "backwards");
}

/* ---- JSON Schema ---- */

static void schema_objects(void **state)
{
    (void)state;
    const char *s = "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":\"integer\"},\"na\":{\"type\":\"null\"}},"
                    "\"required\":[\"name\"],\"additionalProperties\":false}";
    judges(SCHEMA, s, L("{\"name\":\"x\"}", "{\"age\":3,\"name\":\"\"}", "{\"na\":null,\"name\":\"\\n\",\"age\":-1}"),
           L("{}", "{\"name\":1}", "{\"name\":\"x\",\"b\":1}", "{\"name\":\"x\",\"name\":\"y\"}", "{\"name\":\"x\",}", "[]", "{\"age\":3}"));
    judges(SPACED, s, L("{\"name\": \"x\", \"age\": 3}", "{\n  \"name\": \"x\",\n  \"age\": 3\n}", "{\"name\":\"x\"}"), L("{\"name\"  :\"x\"}", "{ }"));
    judges(SCHEMA, "{\"properties\":{\"a\":{\"const\":1}},\"patternProperties\":{\"^x\":{\"type\":\"boolean\"}},\"additionalProperties\":{\"type\":\"string\"}}",
           L("{}", "{\"a\":1,\"xy\":true,\"b\":\"c\"}", "{\"b\":\"c\",\"a\":1}", "3", "[]"), L("{\"a\":2}", "{\"xy\":1}", "{\"b\":1}", "{\"a\":\"a\"}"));
    judges(SCHEMA, "{\"type\":\"object\",\"minProperties\":1,\"maxProperties\":2,\"propertyNames\":{\"pattern\":\"^[a-c]$\"}}",
           L("{\"a\":1}", "{\"a\":[],\"b\":2}"), L("{}", "{\"d\":1}", "{\"a\":1,\"b\":1,\"c\":1}"));
    char big[8192] = "{\"type\":\"object\",\"required\":[\"k0\",\"k69\"],\"additionalProperties\":false,\"properties\":{";
    for (int i = 0; i < 70; i++)
        (void)snprintf(big + strlen(big), 64, "%s\"k%d\":{\"type\":\"integer\"}", i ? "," : "", i);
    strcat(big, "}}");
    judges(SCHEMA, big, L("{\"k0\":1,\"k69\":1}", "{\"k0\":1,\"k5\":2,\"k68\":0,\"k69\":1}"), L("{\"k69\":1}", "{\"k0\":1}", "{\"k0\":1,\"k69\":1,\"x\":1}"));
}

static void schema_values(void **state)
{
    (void)state;
    judges(SCHEMA, "{\"type\":\"array\",\"items\":{\"type\":[\"integer\",\"null\"]},\"minItems\":2,\"maxItems\":3}", L("[1,null]", "[1,2,3]"), L("[1]", "[1,2,3,4]", "[1,\"\"]"));
    judges(SCHEMA, "{\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"number\"}],\"items\":false,\"type\":\"array\"}", L("[]", "[\"a\"]", "[\"a\",1.5e3]"), L("[1]", "[\"a\",1,2]"));
    judges(SCHEMA, "{\"type\":\"array\",\"contains\":{\"const\":5},\"items\":{\"type\":\"integer\"}}", L("[5]", "[1,5,2]", "[5,5]"), L("[]", "[1]", "[5,\"\"]"));
    judges(SCHEMA, "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", L("\"ab\"", "\"\\n\xC3\xA9z\"", "\"\\ud83d\\ude00a\""), L("\"a\"", "\"abcd\""));
    judges(SCHEMA, "{\"type\":\"string\",\"pattern\":\"^[a-z]+$\",\"maxLength\":4}", L("\"a\"", "\"abcd\""), L("\"\"", "\"abcde\"", "\"A\""));
    judges(SCHEMA, "{\"type\":\"string\",\"pattern\":\"b\\\"|^x\"}", L("\"ab\\\"c\"", "\"xx\""), L("\"ab\"", "\"a\""));
    judges(SCHEMA, "{\"type\":\"string\",\"format\":\"date-time\"}", L("\"2024-02-29T23:59:59Z\"", "\"1999-12-31T00:00:00.5+01:00\""), L("\"2023-02-29T00:00:00Z\"", "\"2024-13-01T00:00:00Z\"", "\"2024-01-01\""));
    judges(SCHEMA, "{\"type\":\"integer\",\"minimum\":-5,\"exclusiveMaximum\":120}", L("-5", "0", "119", "99"), L("-6", "120", "1000", "1.5", "01"));
    judges(SCHEMA, "{\"type\":\"number\",\"exclusiveMinimum\":0.25,\"maximum\":10}", L("0.26", "0.2501", "10", "10.0", "9.99", "1"), L("0.25", "0", "10.1", "-1", "0.2500", "11", "1e0"));
    judges(SCHEMA, "{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":10}", L("14", "700"), L("7", "15", "-14"));
    judges(SCHEMA, "{\"type\":\"number\",\"multipleOf\":0.01}", L("1", "1.25", "-0.5"), L("1.255"));
    judges(SCHEMA, "{\"enum\":[1,\"a\",{\"x\":[true,null],\"y\":2.5}],\"type\":[\"string\",\"object\"]}", L("\"a\"", "{\"x\":[true,null],\"y\":2.5}", "{\"y\":2.5,\"x\":[true,null]}"), L("1", "\"b\"", "{}"));
    judges(SCHEMA, "{\"type\":\"string\",\"maxLength\":524288}", L("\"\"", "\"abc\""), L("1"));
    judges(SCHEMA, "{\"type\":\"string\",\"pattern\":\"^[\\\\s\\\\S]{0,300}$\"}", L("\"\"", "\"abc\\n\""), L("1"));
    judges(SCHEMA, "true", L("1", "{\"a\":[]}"), L("", "x"));
}

static void schema_combined(void **state)
{
    (void)state;
    judges(SCHEMA, "{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":1}]}", L("5", "\"a\""), L("\"ab\"", "null"));
    judges(SCHEMA, "{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}}},{\"properties\":{\"a\":{\"minimum\":3}},\"required\":[\"a\"]}],\"type\":\"object\"}", L("{\"a\":3}"), L("{\"a\":2}", "{}"));
    judges(SCHEMA, "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"}},\"required\":[\"k\"]},{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"b\"},\"n\":{\"type\":\"integer\"}},\"required\":[\"k\",\"n\"]}]}",
           L("{\"k\":\"a\"}", "{\"k\":\"b\",\"n\":1}"), L("{\"k\":\"b\"}", "{\"k\":\"c\"}"));
    judges(SCHEMA, "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t\"}}},\"required\":[\"v\"],\"additionalProperties\":false}}}",
           L("{\"v\":1}", "{\"v\":1,\"kids\":[{\"v\":2,\"kids\":[]},{\"v\":3}]}"), L("{\"v\":1,\"kids\":[{}]}"));
    fails(SCHEMA, "{\"type\":\"object\",\"properties\":{\"a\":{\"not\":{\"uniqueItems\":true}}}}", QN_EUNSUPPORTED, "#/properties/a/not");
    fails(SCHEMA, "{\"oneOf\":[{\"type\":\"integer\"},{\"multipleOf\":2}]}", QN_EUNSUPPORTED, "multipleOf");
    fails(SCHEMA, "{\"type\":\"array\",\"uniqueItems\":true}", QN_EUNSUPPORTED, "uniqueItems");
    fails(SCHEMA, "{\"$ref\":\"#/$defs/x\"}", QN_EFORMAT, "names nothing");
    fails(SCHEMA, "{\"type\":\"strin\"}", QN_EFORMAT, "#/type");
    fails(SCHEMA, "{\"type\":\"integer\",\"minLenght\":2}", QN_EUNSUPPORTED, "minLenght");
    fails(SCHEMA, "{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":false}}", QN_EFORMAT, "nothing can match");
    fails(SCHEMA, "{\"type\":\"string\",\"pattern\":\"a(?=b)\"}", QN_EUNSUPPORTED, "#/pattern");
    judges(SCHEMA, "{\"type\":\"array\",\"uniqueItems\":true,\"x-quern-ignore\":[\"uniqueItems\"],\"items\":{\"type\":\"integer\"}}", L("[1,1]"), L("[\"\"]"));
    judges(SCHEMA, "{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}],\"x-quern-ignore\":[\"oneOf\"]}", L("1", "2.5"), L());
}

/* Negation, conditions, dependencies, counted and unique items. */
static void schema_logic(void **state)
{
    (void)state;
    judges(SCHEMA, "{\"not\":{\"type\":[\"integer\",\"string\"]}}",
           L("1.5", "-0.25", "null", "{\"a\":\"b\"}", "[1]", "true"), L("1", "\"a\"", "1.0", "0.0", "-7"));
    judges(SCHEMA, "{\"type\":\"string\",\"not\":{\"enum\":[\"a\",\"bc\",5]}}",
           L("\"\"", "\"b\"", "\"bcd\"", "\"ab\""), L("\"a\"", "\"bc\""));
    judges(SCHEMA, "{\"type\":\"string\",\"minLength\":1,\"not\":{\"pattern\":\"^x\"},\"pattern\":\"z$\"}",
           L("\"z\"", "\"ayz\""), L("\"xz\"", "\"y\"", "\"\""));
    judges(SCHEMA, "{\"not\":{\"const\":5}}",
           L("4", "6", "5.5", "\"5\"", "null", "[5]", "{}"), L("5", "5.0"));
    judges(SCHEMA, "{\"type\":\"integer\",\"not\":{\"enum\":[0,3]}}",
           L("1", "2", "-1", "4"), L("0", "3"));
    judges(SCHEMA, "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"not\":{\"const\":[1,2]}}",
           L("[]", "[1]", "[1,3]", "[2,2]", "[1,2,3]"), L("[1,2]"));
    judges(SCHEMA, "{\"not\":{\"const\":{}}}",
           L("{\"a\":1}", "[]", "\"\""), L("{}"));
    judges(SCHEMA, "{\"not\":{\"required\":[\"a\",\"b\"]},\"type\":\"object\"}",
           L("{}", "{\"a\":1}", "{\"b\":1}", "{\"c\":1}"), L("{\"a\":1,\"b\":2}"));
    judges(SCHEMA, "{\"not\":{\"properties\":{\"a\":{\"type\":\"integer\"}}},\"type\":\"object\"}",
           L("{\"a\":\"x\"}", "{\"a\":1.5}", "{\"b\":1,\"a\":null}"), L("{}", "{\"a\":1}", "{\"b\":1}"));
    judges(SCHEMA, "{\"not\":{\"not\":{\"type\":\"string\",\"maxLength\":2}}}",
           L("\"ab\""), L("\"abc\"", "1"));
    judges(SCHEMA, "{\"not\":{\"anyOf\":[{\"type\":\"string\"},{\"minimum\":3}]}}",
           L("2", "-1.5"), L("3", "\"\"", "null", "[]"));
    judges(SCHEMA, "{\"not\":{\"allOf\":[{\"minimum\":2},{\"maximum\":4}]},\"type\":\"integer\"}",
           L("1", "5"), L("2", "3", "4"));
    judges(SCHEMA, "{\"type\":\"array\",\"not\":{\"items\":{\"type\":\"string\"}}}",
           L("[1]", "[\"a\",null]"), L("[]", "[\"a\"]"));
    judges(SCHEMA, "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"not\":{\"contains\":{\"const\":1}}}",
           L("[]", "[2,3]"), L("[1]", "[2,1]"));
    judges(SCHEMA, "{\"type\":\"array\",\"not\":{\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}}",
           L("[\"a\"]", "[1,2]", "[1,2,3]"), L("[]", "[1]", "[1,\"a\"]"));
    judges(SCHEMA, "{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}",
           L("1", "-3", "2.5", "\"a\""), L("2", "3", "1.5"));
    judges(SCHEMA, "{\"not\":{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]},\"type\":\"number\"}",
           L("2", "3", "1.5"), L("1", "2.5"));
    judges(SCHEMA, "{\"type\":\"object\",\"properties\":{\"kind\":{\"enum\":[\"a\",\"b\",\"c\"]},\"n\":{}},\"required\":[\"kind\"],\"additionalProperties\":false,\"if\":{\"properties\":{\"kind\":{\"const\":\"a\"}}},\"then\":{\"required\":[\"n\"],\"properties\":{\"n\":{\"type\":\"integer\"}}},\"else\":{\"properties\":{\"n\":{\"type\":\"string\"}}}}",
           L("{\"kind\":\"a\",\"n\":1}", "{\"kind\":\"b\"}", "{\"kind\":\"c\",\"n\":\"x\"}", "{\"n\":\"x\",\"kind\":\"c\"}"), L("{\"kind\":\"a\"}", "{\"kind\":\"a\",\"n\":\"x\"}", "{\"kind\":\"b\",\"n\":1}", "{}"));
    judges(SCHEMA, "{\"type\":\"integer\",\"if\":{\"minimum\":10},\"then\":{\"multipleOf\":5}}",
           L("1", "9", "10", "15"), L("11", "12"));
    judges(SCHEMA, "{\"type\":\"integer\",\"if\":{\"minimum\":10},\"else\":{\"multipleOf\":3}}",
           L("0", "9", "10", "11"), L("1", "2"));
    judges(SCHEMA, "{\"if\":true,\"then\":{\"type\":\"integer\"},\"else\":{\"type\":\"string\"}}",
           L("1"), L("\"a\""));
    judges(SCHEMA, "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"additionalProperties\":false,\"dependentRequired\":{\"a\":[\"b\"],\"b\":[\"c\"]}}",
           L("{}", "{\"c\":1}", "{\"b\":1,\"c\":2}", "{\"c\":1,\"a\":2,\"b\":3}"), L("{\"a\":1}", "{\"a\":1,\"b\":2}", "{\"b\":1}"));
    judges(SCHEMA, "{\"type\":\"object\",\"dependentSchemas\":{\"a\":{\"properties\":{\"b\":{\"type\":\"integer\"}},\"required\":[\"b\"]}}}",
           L("{}", "{\"b\":\"x\"}", "{\"a\":1,\"b\":2}"), L("{\"a\":1}", "{\"a\":1,\"b\":\"x\"}"));
    judges(SCHEMA, "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"enum\":[\"a\",\"b\",1,1.0,null]},\"minItems\":1}",
           L("[\"a\"]", "[\"b\",\"a\",1,null]"), L("[]", "[\"a\",\"a\"]", "[1,1]", "[\"c\"]", "[\"a\",\"b\",1,null,\"a\"]"));
    judges(SCHEMA, "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"boolean\"},\"maxItems\":2}",
           L("[]", "[true,false]"), L("[true,true]"));
    judges(SCHEMA, "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"contains\":{\"minimum\":5},\"minContains\":2,\"maxContains\":3}",
           L("[5,6]", "[1,5,2,6,7]", "[9,9,9,0]"), L("[]", "[5]", "[5,6,7,8]", "[1,2,3]"));
    judges(SCHEMA, "{\"type\":\"array\",\"contains\":{\"type\":\"string\"},\"minItems\":2,\"maxItems\":3}",
           L("[\"a\",1]", "[1,2,\"a\"]"), L("[\"a\"]", "[1,2]", "[\"a\",1,2,3]"));
    judges(SCHEMA, "{\"type\":\"array\",\"contains\":{\"type\":\"string\"},\"maxContains\":1,\"minContains\":0,\"maxItems\":2}",
           L("[]", "[\"a\"]", "[1,2]", "[1,\"a\"]"), L("[\"a\",\"b\"]", "[1,2,3]"));
    judges(SCHEMA, "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},{\"type\":\"string\"}],\"contains\":{\"const\":\"x\"},\"items\":{\"type\":\"string\"}}",
           L("[1,\"x\"]", "[1,\"y\",\"x\"]"), L("[1]", "[1,\"y\"]", "[\"x\"]", "[]"));
    judges(SCHEMA, "{\"type\":\"object\",\"propertyNames\":{\"not\":{\"enum\":[\"a\"]}}}",
           L("{}", "{\"b\":1}", "{\"aa\":1}"), L("{\"a\":1}"));
    judges(SCHEMA, "{\"type\":\"object\",\"propertyNames\":{\"anyOf\":[{\"const\":\"a\"},{\"pattern\":\"^x\"}]}}",
           L("{}", "{\"a\":1,\"xy\":2}"), L("{\"b\":1}"));
    judges(SCHEMA, "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"t\":{\"$ref\":\"#/$defs/t\"}},\"not\":{\"required\":[\"v\",\"t\"]},\"additionalProperties\":false}}}",
           L("{}", "{\"v\":1}", "{\"t\":{\"t\":{\"v\":1}}}"), L("{\"v\":1,\"t\":{}}", "{\"t\":{\"v\":1,\"t\":{}}}"));
    fails(SCHEMA, "{\"not\":{\"type\":\"object\",\"additionalProperties\":false}}", QN_EUNSUPPORTED, "#/not/additionalProperties");
    fails(SCHEMA, "{\"not\":{\"pattern\":\"a\",\"x-quern-ignore\":[\"pattern\"]}}", QN_EUNSUPPORTED, "x-quern-ignore");
    fails(SCHEMA, "{\"not\":{\"minLenght\":1}}", QN_EUNSUPPORTED, "minLenght");
    fails(SCHEMA, "{\"not\":{\"const\":{\"a\":1}}}", QN_EUNSUPPORTED, "#/not/const");
    fails(SCHEMA, "{\"not\":{}}", QN_EFORMAT, "nothing can match");
    fails(SCHEMA, "{\"not\":{\"$ref\":\"#\"}}", QN_EFORMAT, "nothing can match");
    judges(SCHEMA, "{\"type\":\"object\",\"properties\":{\"a\":{\"not\":{\"$ref\":\"#\"}}}}", L("{}", "{\"a\":1}", "{\"a\":{\"a\":{}}}"), L("{\"a\":{}}", "{\"a\":{\"a\":1}}"));
    fails(SCHEMA, "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"contains\":{\"type\":\"string\"},\"minContains\":100,\"maxItems\":1000}", QN_EUNSUPPORTED, "contains");
    /* a discriminator with 40 cases */
    size_t cap = 20000;
    char *s = malloc(cap), *p = s;
    assert_non_null(s);
    p += sprintf(p, "{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":39}},\"required\":[\"k\"],\"allOf\":[");
    for (int i = 0; i < 40; i++)
        p += sprintf(p, "%s{\"if\":{\"properties\":{\"k\":{\"const\":%d}}},\"then\":{\"required\":[\"a%d\"]}}", i ? "," : "", i, i);
    (void)sprintf(p, "]}");
    judges(SCHEMA, s, L("{\"k\":3,\"a3\":1}", "{\"a39\":0,\"k\":39}"), L("{\"k\":3}", "{\"k\":3,\"a4\":1}"));
    free(s);
}

static void schema_hostile(void **state)
{
    (void)state;
    size_t cap = 4000000;
    char *s = malloc(cap), *p = s;
    assert_non_null(s);
    /* a chain of 10,000 references */
    p += sprintf(p, "{\"$ref\":\"#/$defs/a0\",\"$defs\":{");
    for (int i = 0; i < 10000; i++)
        p += sprintf(p, "\"a%d\":{\"$ref\":\"#/$defs/a%d\"},", i, i + 1);
    p += sprintf(p, "\"a10000\":{}}}");
    fails(SCHEMA, s, QN_ELIMIT, "deep");
    fails(SCHEMA, "{\"$ref\":\"#\"}", QN_EFORMAT, "nothing can match");
    fails(SCHEMA, "{\"allOf\":[{\"$ref\":\"#\"}],\"anyOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}", QN_EFORMAT, "nothing can match");
    /* a product of 2^40 alternatives */
    p = s + sprintf(s, "{\"allOf\":[");
    for (int i = 0; i < 40; i++)
        p += sprintf(p, "%s{\"anyOf\":[{\"required\":[\"a%d\"]},{\"required\":[\"b%d\"]}]}", i ? "," : "", i, i);
    (void)sprintf(p, "]}");
    fails(SCHEMA, s, QN_ELIMIT, "");
    /* a megabyte of properties, and one of values */
    double start = qn__now();
    p = s + sprintf(s, "{\"properties\":{");
    for (int i = 0; p - s < 1000000; i++)
        p += sprintf(p, "%s\"property%d\":{\"type\":\"string\",\"minLength\":%d}", i ? "," : "", i, i);
    (void)sprintf(p, "}}");
    fails(SCHEMA, s, QN_ELIMIT, "");
    p = s + sprintf(s, "{\"enum\":[");
    for (int i = 0; p - s < 1000000; i++)
        p += sprintf(p, "%s\"value number %d\"", i ? "," : "", i);
    (void)sprintf(p, "]}");
    qn_grammar *g = NULL;
    qn_err err = {0};
    qn_status st = open_kind(SCHEMA, s, NULL, &g, &err);
    assert_true(st == QN_OK || st == QN_ELIMIT);
    qn__grammar_drop(g);
    print_message("figure: schemas of a megabyte: %.2f s for two\n", qn__now() - start);
    free(s);
}

static const char nested[] =
    "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\",\"pattern\":\"^[a-f0-9]{4}$\"},\"when\":{\"format\":\"date\",\"type\":\"string\"},"
    "\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":20},\"maxItems\":15},\"n\":{\"type\":\"number\",\"minimum\":-1,\"maximum\":99.5},"
    "\"more\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]},\"any\":{}},\"required\":[\"id\",\"n\"],\"patternProperties\":{\"^x[0-9]$\":{\"enum\":[1,\"two\"]}},\"additionalProperties\":false}";

static void masks(void **state)
{
    (void)state;
    vocab v = vocab_open();
    const struct {
        kind k;
        const char *text;
    } all[] = {{SPACED, nested}, {SCHEMA, nested}, {REGEX, "(ab|aab)*(xyz|foo){13,15}\\d{2,3}\xC3\xA9?"}, {GBNF, "root ::= <tool_call> x* <|sep|>\nx ::= \"[\" x \"]\" | \"a\" x? | \"name\""}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        qn_grammar *g = open_ok(all[i].k, all[i].text, v.t);
        int ends = 0;
        for (int r = 0; r < 25; r++) {
            qn_buf text = {0};
            bool ended;
            int bad = vocab_walk(g, (uint64_t)r * 31 + i, 40, true, &text, &ended);
            if (bad)
                fail_msg("grammar %zu, round %d: %d after %s", i, r, bad, text.data ? text.data : "");
            ends += ended;
            qn__buf_free(&text);
        }
        if (!ends)
            fail_msg("grammar %zu never came to an end", i);
        qn__grammar_drop(g);
    }
    vocab_close(&v);
}

static const char logic[] =
    "{\"type\":\"object\",\"properties\":{\"k\":{\"enum\":[\"a\",\"b\"]},\"s\":{\"type\":\"string\",\"not\":{\"enum\":[\"x\"]}},\"l\":{\"type\":\"array\","
    "\"items\":{\"type\":\"integer\"},\"contains\":{\"minimum\":3},\"maxContains\":1},\"u\":{\"uniqueItems\":true,\"type\":\"array\",\"items\":{\"enum\":[1,2]}},"
    "\"o\":{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}},\"required\":[\"k\"],\"additionalProperties\":false,\"dependentRequired\":{\"s\":[\"l\"]},"
    "\"if\":{\"properties\":{\"k\":{\"const\":\"a\"}}},\"then\":{\"required\":[\"s\"]},\"else\":{\"not\":{\"required\":[\"s\"]}},"
    "\"propertyNames\":{\"anyOf\":[{\"maxLength\":1},{\"not\":{\"pattern\":\"z\"}}]}}";

static void allocations(void **state)
{
    (void)state;
    static const struct {
        kind k;
        const char *text;
    } all[] = {{SCHEMA, nested}, {SCHEMA, logic}, {REGEX, "(a|b)*[^c]{20}\\d"}, {GBNF, "root ::= \"a\" x{3}\nx ::= [a-c] | \"(\" x \")\""}};
    size_t failed = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        uint64_t step = 1;
        for (uint64_t n = 1;; n += step) {
            qn_grammar *g = NULL;
            qn_err err = {0};
            uint64_t before = qn__alloc_count();
            qn__alloc_fail_at(n);
            qn_status st = open_kind(all[i].k, all[i].text, NULL, &g, &err);
            qn__alloc_fail_at(0);
            bool done = qn__alloc_count() - before < n;
            qn__grammar_drop(g);
            if (done)
                break;
            if (st)
                assert_int_equal(st, QN_ENOMEM);
            failed += st != QN_OK;
            step = n > 300 ? 7 : 1;
        }
    }
    assert_true(failed > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regex_like_pcre2), cmocka_unit_test(regex_refused), cmocka_unit_test(gbnf),   cmocka_unit_test(schema_objects),
        cmocka_unit_test(schema_values),    cmocka_unit_test(schema_combined), cmocka_unit_test(schema_logic), cmocka_unit_test(schema_hostile), cmocka_unit_test(masks),
        cmocka_unit_test(allocations),
    };
    return cmocka_run_group_tests_name("grammar_sources", tests, NULL, NULL);
}
