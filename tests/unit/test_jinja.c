/* test_jinja.c - the interpreter, case by case; and hostile templates: every one ends within its limits, with a
 * sentence.
 *
 * What is expected was checked against Jinja2's and Python's documentation and behaviour. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "text/jinja.h"

static const char vars_json[] =
    "{\"s\":\"Hello, "
    "W\u00f6rld!\",\"l\":[3,1,2],\"d\":{\"b\":1,\"a\":[1,2,{\"x\":null}]},\"n\":null,\"t\":true,\"f\":false,"
    "\"i\":42,\"x\":1.5,\"users\":[{\"name\":\"bob\",\"age\":30},{\"name\":\"Alice\",\"age\":25},{\"name\":\"carl\","
    "\"age\":30}],"
    "\"tree\":[{\"v\":1,\"c\":[{\"v\":2,\"c\":[]}]},{\"v\":3,\"c\":[]}],\"html\":\"<a>&\",\"big\":1e20,\"small\":1e-7,"
    "\"words\":\"the quick  brown\\tfox\",\"lines\":\"a\\nb\\r\\n\\nc\"}";

static const int64_t now = 1767355200; /* 2026-01-02 12:00 UTC */

/* Render; on failure *out is NULL. The output is copied so that callers free one thing. */
static qn_status render(const char *text, size_t len, const qn_jinja_limits *lim, const json_t *vars, char **out,
                        size_t *n, qn_err *err)
{
    qn_jinja *t = NULL;
    *out = NULL;
    qn_status s = qn__jinja_parse(text, len, lim, &t, err);
    if (s != QN_OK)
        return s;
    s = qn__jinja_render(t, vars, now, out, n, err);
    qn__jinja_free(t);
    return s;
}

typedef struct expect {
    const char *in, *out; /* out NULL: an error */
} expect;

static int check(const expect *e, size_t count)
{
    json_t *vars = json_loads(vars_json, 0, NULL);
    int bad = 0;
    assert_non_null(vars);
    for (size_t i = 0; i < count; i++) {
        char *got;
        size_t n = 0;
        qn_err err = {0};
        qn_status s = render(e[i].in, strlen(e[i].in), NULL, vars, &got, &n, &err);
        bool ok =
            e[i].out ? s == QN_OK && strcmp(got, e[i].out) == 0 && n == strlen(e[i].out) : s != QN_OK && err.what[0];
        if (!ok) {
            printf("%s\n  wanted: %s\n  got:    %s%s\n", e[i].in, e[i].out ? e[i].out : "(error)",
                   got ? got : "error: ", got ? "" : err.what);
            bad++;
        }
        qn_free(got);
    }
    json_decref(vars);
    return bad;
}
#define CHECK(table) assert_int_equal(check(table, sizeof table / sizeof *table), 0)

static void whitespace(void **state)
{
    (void)state;
    static const expect e[] = {
        {"a\n", "a"},
        {"a\n\n", "a\n"},
        {"a\r\nb\rc", "a\nb\nc"},
        {"a\n  {% if t %}\n  b\n  {% endif %}\nc", "a\n  b\nc"},
        {"a\n  {%+ if t %}\n  b\n  {%- endif %}\nc", "a\n    bc"},
        {"a  {%- if t -%}  b  {%- endif -%}  c", "abc"},
        {"x {% if t %} y {% endif %} z", "x  y  z"},
        {"{% if t +%}\nx{% endif %}", "\nx"},
        {"   {{ i }}\n   {{- i }}", "   4242"},
        {"  {# c #}\nx{# d -#}  y{#- e #} z", "xy z"},
        {"  {% raw %}\n {{ x }} {% if %}{% endraw %}\ny", "\n {{ x }} {% if %}y"},
        {"a {%- raw -%}  b  {%- endraw -%} c", "abc"},
        {"{{ '}}' }}{{ \"%}\" }}{{ {'a': {}} }}", "}}%}{'a': {}}"},
    };
    CHECK(e);
}

static void expressions(void **state)
{
    (void)state;
    static const expect e[] = {
        {"{{ 2 + 3 * 4 }} {{ (2 + 3) * 4 }} {{ 2 ** 3 ** 2 }} {{ -2 ** 2 }}", "14 20 64 4"},
        {"{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 1 / 4 }} {{ -7.5 % 2 }}", "3 -4 2 -2 0.25 0.5"},
        {"{{ 'a' ~ 1 ~ none ~ true ~ 1.5 ~ [1] }}", "a1NoneTrue1.5[1]"},
        {"{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 1 == 1.0 == true }}", "True False True"},
        {"{{ 'a' in 'abc' }} {{ 5 not in l }} {{ 'b' in d }} {{ not 1 == 2 }}", "True True True True"},
        {"{{ 0 or 'x' }} {{ 1 and 2 }} {{ '' or none }}", "x 2 None"},
        {"{{ 'a' if f else 'b' if f else 'c' }}[{{ 'a' if f }}]", "c[]"},
        {"{{ s[7:12] }} {{ s[::-1] }} {{ s[-1] }} {{ l[1:] }} {{ l[::-2] }} {{ (1,) }} {{ () }}",
         "W\u00f6rld !dlr\u00f6W ,olleH ! [1, 2] [2, 3] (1,) ()"},
        {"{{ d.a[2]['x'] }} {{ d['a'].0 }} {{ d.zzz is defined }} [{{ d.zzz }}]", "None 1 False []"},
        {"{{ [1, 'a', \"b'c\", 'd\"e', none, true, 1.0, 'x\\n'] }}",
         "[1, 'a', \"b'c\", 'd\"e', None, True, 1.0, 'x\\n']"},
        {"{{ {'a': 1, 'b': {'c': [1]}} }} {{ {1: 'a', 1.0: 'b'} }}", "{'a': 1, 'b': {'c': [1]}} {1: 'b'}"},
        {"{{ big }} {{ small }} {{ 1e16 }} {{ 1e15 }} {{ 0.1 + 0.2 }} {{ 1 / 3 }} {{ 5e-324 }}",
         "1e+20 1e-07 1e+16 1000000000000000.0 0.30000000000000004 0.3333333333333333 5e-324"},
        {"{{ '\\u65e5\\x41\\101\\q\\t' }}", "\u65e5AA\\q\t"},
        {"{{ '%s-%05.1f|%-4d|%x' % ('a', 2.25, 7, 255) }} {{ '%(k)s' % {'k': 1} }} {{ '5%%' % () }}",
         "a-002.2|7   |ff 1 5%"},
        {"{{ '{:>4}|{:,}|{a[b][0]}'.format(1, 12345, a={'b': [2]}) }}", "   1|12,345|2"},
        {"{{ 1_000 }} {{ 0x1f }} {{ 1.5e3 }}", "1000 31 1500.0"},
        {"{{ 9223372036854775807 + 1 }}", NULL},
        {"{{ 12345678901234567890 }}", NULL},
        {"{{ 1 // 0 }}", NULL},
        {"{{ 'a' + 1 }}", NULL},
        {"{{ 1 < 'a' }}", NULL},
    };
    CHECK(e);
}

static void undefined(void **state)
{
    (void)state;
    static const expect e[] = {
        {"[{{ q }}] {{ q is defined }} {{ q == r }} {{ q|default('z') }} {{ ''|default('z') }} {{ ''|default('z', "
         "true) }}",
         "[] False True z  z"},
        {"{% for a in q %}x{% else %}none{% endfor %} {{ q|length }} {{ 1 in q }} {{ not q }}", "none 0 False True"},
        {"{{ q.a }}", NULL},
        {"{{ q + 1 }}", NULL},
        {"{{ q() }}", NULL},
        {"{{ q < 1 }}", NULL},
        {"{{ [q]|tojson }}", NULL},
        {"[{{ n.a }}] {{ n.a is defined }}", "[] False"},
        {"{{ n.a.b }}", NULL},
        {"{{ l.append is defined }}[{{ s.__class__ }}]", "False[]"},
        {"{{ l.extend([1]) }}", NULL},
        {"{{ d.update({}) }}", NULL},
        {"{{ s.__class__.__mro__ }}", NULL},
    };
    CHECK(e);
}

static void strings(void **state)
{
    (void)state;
    static const expect e[] = {
        {"{{ ' a '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xyab'.lstrip('yx') }}|{{ 'ab\\n'.rstrip('\\n') }}",
         "a|a|ab|ab"},
        {"{{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ words.split() }} {{ ' a b '.split(none, 1) }}",
         "['a', 'b,c'] ['a,b', 'c'] ['the', 'quick', 'brown', 'fox'] ['a', 'b ']"},
        {"{{ lines.splitlines() }} {{ 'a-b-c'.rpartition('-') }}", "['a', 'b', '', 'c'] ('a-b', '-', 'c')"},
        {"{{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.endswith('bc') }} {{ 'abc'.startswith('b', 1) }}",
         "True True True"},
        {"{{ 'abcabc'.find('c', 3) }} {{ 'abcabc'.rfind('b') }} {{ 'abc'.find('z') }} {{ 'aaa'.count('a') }}",
         "5 4 -1 3"},
        {"{{ 'abc'.replace('', '-') }} {{ 'aaa'.replace('a', 'b', 2) }}", "-a-b-c- bba"},
        {"{{ s.upper() }} {{ s|title }} {{ 'stra\u00dfe'|upper }} {{ '\u0391\u03a3'.lower() }} {{ 'aB c'.swapcase() }}",
         "HELLO, W\u00d6RLD! Hello, W\u00f6rld! STRASSE \u03b1\u03c2 Ab C"},
        {"{{ 'ab'.center(5, '*') }} {{ '-4'.zfill(4) }} {{ 'a'.ljust(3) }}| {{ ','.join(['x', 'y']) }}",
         "**ab* -004 a  | x,y"},
        {"{{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ 'Ab'.istitle() }} {{ ''.isalpha() }} {{ 'AB'.isupper() }}",
         "True True True False True"},
        {"{{ '\u65e5\u672c'|length }} {{ '\u65e5\u672c'[1] }} {{ '\u65e5\u672c'.find('\u672c') }}", "2 \u672c 1"},
        {"{{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('bc') }} {{ 'a\\tb'.expandtabs(4) }}", "bc a a   b"},
        {"{{ ['\\x00\\x7f\u200b\u65e5'] }}", "['\\x00\\x7f\\u200b\u65e5']"},
        {"{{ 'abc'.index('z') }}", NULL},
        {"{{ 'abc'.split('') }}", NULL},
        {"{{ ','.join([1]) }}", NULL},
    };
    CHECK(e);
}

static void filters(void **state)
{
    (void)state;
    static const expect e[] = {
        {"{{ users|map(attribute='name')|join(', ') }} {{ users|sum(attribute='age') }}", "bob, Alice, carl 85"},
        {"{{ users|selectattr('age', 'equalto', 30)|map(attribute='name')|list }}", "['bob', 'carl']"},
        {"{{ users|rejectattr('age', 'gt', 26)|list|length }} {{ l|select('odd')|list }} {{ n|selectattr('x')|list }}",
         "1 [3, 1] []"},
        {"{{ users|sort(attribute='age,name')|map(attribute='name')|list }}", "['Alice', 'bob', 'carl']"},
        {"{{ l|sort }} {{ l|sort(reverse=true) }} {{ ['b', 'A']|sort }} {{ l|min }} {{ l|max }} {{ l|sum }}",
         "[1, 2, 3] [3, 2, 1] ['A', 'b'] 1 3 6"},
        {"{{ d|dictsort }} {{ {'x': 2, 'y': 1}|dictsort(by='value') }}",
         "[('a', [1, 2, {'x': None}]), ('b', 1)] [('y', 1), ('x', 2)]"},
        {"{% for k, g in users|groupby('age') %}{{ k }}:{{ g|map(attribute='name')|join('+') }};{% endfor %}",
         "25:Alice;30:bob+carl;"},
        {"{{ l|batch(2, '-')|list }} {{ range(7)|slice(3)|list }}", "[[3, 1], [2, '-']] [[0, 1, 2], [3, 4], [5, 6]]"},
        {"{{ [1, 'a', 1, 'A']|unique|list }} {{ l|first }} {{ l|last }} {{ 'abc'|reverse }}", "[1, 'a'] 3 2 cba"},
        {"{{ d|tojson }} {{ d|tojson(sort_keys=true, separators=(',', ':')) }}",
         "{\"b\": 1, \"a\": [1, 2, {\"x\": null}]} {\"a\":[1,2,{\"x\":null}],\"b\":1}"},
        {"{{ {'a': [1], 'e': []}|tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ],\n  \"e\": []\n}"},
        {"{{ [1.0, 1e20, 1e-5, true, '\u00e9\\n\"']|tojson }} {{ '\u00e9\U0001f642'|tojson(ensure_ascii=true) }}",
         "[1.0, 1e+20, 1e-05, true, \"\u00e9\\n\\\"\"] \"\\u00e9\\ud83d\\ude42\""},
        {"{{ html }} {{ html|e }} {{ (html|safe) + html }} {{ html|e|e }}",
         "<a>& &lt;a&gt;&amp; <a>&&lt;a&gt;&amp; &lt;a&gt;&amp;"},
        {"{{ '3.7'|int }} {{ 'x'|int(5) }} {{ 'ff'|int(0, 16) }} {{ '3.5'|float }} {{ none|int }}", "3 5 255 3.5 0"},
        {"{{ 2.5|round }} {{ 2.567|round(2) }} {{ 2.1|round(0, 'ceil') }} {{ -5|abs }}", "2.0 2.57 3.0 5"},
        {"{{ 'a\\nb\\n\\nc'|indent(2) }}|{{ 'a'|indent(2, true) }}", "a\n  b\n\n  c|  a"},
        {"{{ words|truncate(10) }} {{ words|wordcount }} {{ ' x '|trim }} {{ 'a b&'|urlencode }}",
         "the... 4 x a%20b%26"},
        {"{{ {'a': 1, 'b': none}|xmlattr }} {{ '%s!'|format('x') }} {{ 5|string ~ 1 }}", " a=\"1\" x! 51"},
        {"{{ l|nope }}", NULL},
        {"{{ users|map(attribute='name')|length }}", NULL},
        {"{{ users|map(attribute='name')|tojson }}", NULL},
    };
    CHECK(e);
}

static void tests_and_globals(void **state)
{
    (void)state;
    static const expect e[] = {
        {"{{ i is integer }} {{ x is float }} {{ t is boolean }} {{ t is integer }} {{ t is number }}",
         "True True True False True"},
        {"{{ d is mapping }} {{ l is sequence }} {{ s is iterable }} {{ i is iterable }} {{ n is none }}",
         "True True True False True"},
        {"{{ 3 is odd }} {{ 9 is divisibleby 3 }} {{ 1 is in [1] }} {{ 1 is not in [1] }} {{ 2 is gt 1 }}",
         "True True True False True"},
        {"{{ 'upper' is filter }} {{ 'x' is filter }} {{ range is callable }} {{ n is sameas none }}",
         "True False True True"},
        {"{{ range(5)|list }} {{ range(10, 0, -4)|list }} {{ range(3) }} {{ 3 in range(5) }}",
         "[0, 1, 2, 3, 4] [10, 6, 2] range(0, 3) True"},
        {"{{ dict(a=1, b=2) }} {{ dict([('a', 1)]) }} {{ dict(**{'k': 1}) }}", "{'a': 1, 'b': 2} {'a': 1} {'k': 1}"},
        {"{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}", "aba"},
        {"{% set j = joiner(';') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}", "3;1;2"},
        {"{{ strftime_now('%d %b %Y %H:%M') }} {{ strftime_now('%-d|%f|%z|%%') }}", "02 Jan 2026 12:00 2|000000||%"},
        {"{{ range(100001) }}", NULL},
    };
    CHECK(e);
}

static void statements(void **state)
{
    (void)state;
    static const expect e[] = {
        {"{% for x in l %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ x }} {% endfor %}",
         "1TrueFalse3 2FalseFalse1 3FalseTrue2 "},
        {"{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }},{{ loop.previtem }},{{ loop.nextitem "
         "}};{% endfor %}",
         "1/2:3,,2;2/2:2,3,;"},
        {"{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}{% for a in [] %}{% else %}none{% "
         "endfor %}",
         "123none"},
        {"{% for k, v in d.items() %}{{ k }}{% endfor %}{% for k in d %}{{ k }}{% endfor %}", "baba"},
        {"{% for x in range(9) %}{% if x == 3 %}{% continue %}{% elif x > 5 %}{% break %}{% endif %}{{ x }}{% endfor "
         "%}",
         "01245"},
        {"{% for x in tree recursive %}{{ x.v }}@{{ loop.depth }}{% if x.c %}({{ loop(x.c) }}){% endif %} {% endfor %}",
         "1@1(2@2 ) 3@1 "},
        {"{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{{ loop.cycle('a', 'b') }}{{ loop.revindex0 }} {% endfor %}",
         "Truea2 Falseb1 Truea0 "},
        {"{% set a = 1 %}{% for x in l %}{% set a = a + x %}{{ a }} {% endfor %}{{ a }}", "4 2 3 1"},
        {"{% set ns = namespace(a=0) %}{% for x in l %}{% set ns.a = ns.a + x %}{% endfor %}{{ ns.a }}", "6"},
        {"{% set ns = namespace(done=false) %}{% for x in l if not ns.done %}{{ x }}{% set ns.done = true %}{% endfor "
         "%}",
         "3"},
        {"{% set ns = namespace(q=[]) %}{% for x in [7, 8, 9] %}{% set _ = ns.q.append(x + 1) %}{% endfor %}{{ ns.q }}{{ ns.q.pop(0) }}"
         "{{ ns.q.pop() }}{{ ns.q }}{{ ns.q.append(ns.q.pop()) }}{{ ns.q|length }}",
         "[8, 9, 10]810[9]None1"},
        {"{% set q = ['a', 'b', 'c'] %}{% set p = q %}{{ q.pop(1).upper() }}{{ q.pop(-1) }}{{ q }}{{ p }}", "Bc['a']['a', 'b', 'c']"},
        {"{% set a, (b, c) = 1, (2, 3) %}{{ a }}{{ b }}{{ c }}{% set z | upper %}hi{% endset %}{{ z }}", "123HI"},
        {"{% macro m(a, b=2, c=a) %}{{ a }}-{{ b }}-{{ c }} {% endmacro %}{{ m(1) }}{{ m(b=5, a=4) }}{{ m(*[7, 8], "
         "c=9) }}",
         "1-2-1 4-5-4 7-8-9 "},
        {"{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=4) }}", "(2,){'x': 4}"},
        {"{% macro m(xs) %}{% for x in xs %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(y) m(l) %}<{{ y }}>{% "
         "endcall %}",
         "<3><1><2>"},
        {"{% macro m(k) %}{{ k }}{% if k > 0 %}{{ m(k - 1) }}{% endif %}{% endmacro %}{{ m(3) }}", "3210"},
        {"{% filter upper %}a{{ s[0] }}{% endfilter %}{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}[{{ a }}]",
         "AH3[]"},
        {"{% generation %}x{{ i }}{% endgeneration %}{% block q %}y{% endblock %}{% print 1, 2 %}", "x42y12"},
        {"{% set g = l|map('string') %}{{ g|list }}{{ g|list }}", "['3', '1', '2'][]"},
        {"{% set a = 'x' %}{% for k in l %}{% set a = a ~ k %}{% set b = a ~ 'y' %}{% set c = a ~ 'z' %}{{ b }}{{ c }} "
         "{% endfor %}",
         "x3yx3z x1yx1z x2yx2z "},
        {"{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", NULL},
        {"{% set q.x = 1 %}", NULL},
        {"{% for a, b in [[1]] %}{% endfor %}", NULL},
        {"{% for x in 5 %}{% endfor %}", NULL},
        {"{% break %}", NULL},
        {"{% include 'x' %}", NULL},
        {"{% if t %}", NULL},
        {"{{ s", NULL},
        {"{# c", NULL},
        {"{{ 'a }}", NULL},
        {"{% nope %}", NULL},
        {"{{ a b }}", NULL},
        {"{% if t %}{% endfor %}", NULL},
    };
    CHECK(e);
    static const expect planted[] = {{"{{ 1 + 1 }}", "3"}};
    printf("(the next mismatch is planted)\n");
    assert_int_equal(check(planted, 1), 1);
}

static void errors_say_where(void **state)
{
    (void)state;
    json_t *vars = json_object();
    char *got;
    size_t n;
    qn_err err = {0};
    static const char raise[] = "a\nb{{ raise_exception('roles: ' ~ [1]) }}";
    assert_int_equal(render(raise, strlen(raise), NULL, vars, &got, &n, &err), QN_ERAISED);
    assert_string_equal(err.what, "roles: [1]");
    assert_string_equal(err.where, "template line 2");
    static const char type[] = "\n\n{{ 'a' + [] }}";
    assert_int_equal(render(type, strlen(type), NULL, vars, &got, &n, &err), QN_EFORMAT);
    assert_string_equal(err.what, "can only concatenate str (not \"list\") to str");
    assert_string_equal(err.where, "template line 3");
    static const char syntax[] = "\n{% if %}";
    assert_int_equal(render(syntax, strlen(syntax), NULL, vars, &got, &n, &err), QN_EFORMAT);
    assert_string_equal(err.where, "template line 2");
    json_decref(vars);
}

/* ---- hostile templates ---------------------------------------------------------------------------------------------
 */

static const qn_jinja_limits small = {.steps = 300000, .depth = 60, .memory = (size_t)4 << 20};

/* Must end in QN_ELIMIT (or, for deep brackets, any error) with a sentence. */
static void ends(const char *text, size_t len, const qn_jinja_limits *lim)
{
    json_t *vars = json_loads(vars_json, 0, NULL);
    char *got;
    size_t n;
    qn_err err = {0};
    qn_status s = render(text, len, lim, vars, &got, &n, &err);
    if (s == QN_OK || !err.what[0])
        printf("%.100s: %s\n", text, qn_status_name(s));
    assert_int_not_equal(s, QN_OK);
    assert_true(err.what[0]);
    json_decref(vars);
}

static void bombs(void **state)
{
    (void)state;
    static const char *const t[] = {
        "{{ range(1000000000) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{{ [1] * 1000000000 * 1000000000 }}",
        "{% set ns = namespace(q=[]) %}{% for i in range(99999) %}{% set _ = ns.q.append(i) %}{% endfor %}",
        "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s.replace('', ns.s) %}{% endfor %}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(5000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s|tojson }}",
        "{% set ns = namespace(s=1, r=1) %}{% for i in range(5000) %}{% set ns.s = [ns.s] %}{% set ns.r = [ns.r] %}{% "
        "endfor %}"
        "{{ ns.s == ns.r }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(64) %}{% set ns.s = {'a': ns.s, 'b': ns.s} %}{% endfor %}{{ "
        "ns.s|tojson }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%.1000000000f' % 1.0 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ 'a'.center(1000000000) }}",
        "{{ 'a'|indent(1000000000, true) }}",
        "{{ [[1]]|tojson(indent=1000000000) }}",
        "{{ 'x'|center(1000000000) }}",
        "{{ '\\t'.expandtabs(1000000000) }}",
        "{% for i in range(99999) %}{{ l|map('string')|join('-' * 1000) }}{% endfor %}",
        "{% set s = 'a' * 200000 %}{% for i in range(99999) %}{% set x = s|length %}{% endfor %}",
        "{% set s = 'a' * 100000 %}{{ s.rfind('a' * 50000 ~ 'b') }}{{ s.rfind('b' ~ 'a' * 50000) }}"
        "{{ s.rfind('a' * 50000 ~ 'b' ~ 'a' * 10) }}",
        "{% set s = 'a' * 1000000 %}{{ s.strip('b' * 100000 ~ 'a') }}",
        "{{ range(99999)|map('string')|unique|list|length }}",
        "{% set x = range(99999)|list %}{% for i in x %}{% if -1 in x %}{% endif %}{% endfor %}",
        "{{ range(100000)|slice(2000000000)|list }}",
        "{{ range(9)|batch(2000000000, 0)|list }}",
        "{{ 9|round(400)|string * 1000000000 }}",
        "{{ 2 ** 100000 }}",
        "{{ ([0.1] * 250000)|tojson }}",
        "{{ strftime_now('%c' * 300000) }}",
        "{{ l.x.y }}",
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        ends(t[i], strlen(t[i]), &small);
    /* With the default limits too: these are the ones that could hang. */
    for (size_t i = 0; i < 16; i++)
        ends(t[i], strlen(t[i]), NULL);
}

static void nesting(void **state)
{
    (void)state;
    static const char *const open[] = {"((((((((", "[[[[[[[[", "{1:{1:{1:",    "not not not ",    "- - - - - ",
                                       "a[a[a[a[", "f(f(f(f(", "1 if 1 else ", "a.b(c|d(e is f(", "[(-[(-"};
    qn_buf b = {0};
    for (size_t k = 0; k < sizeof open / sizeof *open; k++) {
        qn__buf_puts(&b, "{{ ");
        for (int i = 0; i < 25000; i++)
            qn__buf_puts(&b, open[k]);
        qn__buf_puts(&b, " 1 }}");
        ends(b.data, b.n, NULL);
        b.n = 0;
    }
    static const char *const blocks[] = {
        "{% if t %}",         "{% for x in l %}", "{% macro m() %}", "{% call m() %}",
        "{% filter upper %}", "{% set x %}",      "{% with %}",      "{% if 0 %}{% else %}{% if 1 %}"};
    for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) {
        for (int i = 0; i < 100000; i++)
            qn__buf_puts(&b, blocks[k]);
        ends(b.data, b.n, NULL);
        b.n = 0;
    }
    qn__buf_free(&b);
}

/* Long but flat: chains that must not cost depth. */
static void flat(void **state)
{
    (void)state;
    static const struct {
        const char *begin, *more, *end, *want;
    } t[] = {{"{{ 1", " + 1", " }}", "20001"},
             {"{{ 'a'", "|trim", " }}", "a"},
             {"{{ 'a'", ".strip()", " }}", "a"},
             {"{{ ''", " ~ ''", " ~ 'x' }}", "x"},
             {"{{ 1", " and 1", " }}", "1"},
             {"{{ 1", " == 1", " }}", "True"},
             {"{% if f %}", "{% elif f %}", "{% else %}e{% endif %}", "e"},
             {"", "{% if t %}{% endif %}", "x", "x"},
             {"{{ [", "1,", "]|length }}", "20000"}};
    json_t *vars = json_loads(vars_json, 0, NULL);
    for (size_t k = 0; k < sizeof t / sizeof *t; k++) {
        qn_buf b = {0};
        qn__buf_puts(&b, t[k].begin);
        for (int i = 0; i < 20000; i++)
            qn__buf_puts(&b, t[k].more);
        qn__buf_puts(&b, t[k].end);
        char *got;
        size_t n;
        qn_err err = {0};
        if (render(b.data, b.n, NULL, vars, &got, &n, &err) != QN_OK)
            fail_msg("%s...: %s", t[k].begin, err.what);
        assert_string_equal(got, t[k].want);
        qn_free(got);
        qn__buf_free(&b);
    }
    json_decref(vars);
}

/* Text built piece by piece must not cost the square of its length. */
static void growing_text(void **state)
{
    (void)state;
    static const char t[] =
        "{% set ns = namespace(s='') %}{% for i in range(20000) %}{% set ns.s = ns.s + 'hundred bytes, "
        "give or take, of some message that a template might add at each turn of its loop .......' %}"
        "{% endfor %}{{ ns.s|length }}";
    json_t *vars = json_object();
    char *got;
    size_t n;
    qn_err err = {0};
    qn_jinja_limits lim = {.memory = (size_t)32 << 20};
    assert_int_equal(render(t, strlen(t), &lim, vars, &got, &n, &err), QN_OK);
    assert_string_equal(got, "2060000");
    qn_free(got);
    json_decref(vars);
}

/* A template of ours that uses much of the language; also the seed of the mutations. */
static const char seed_template[] =
    "{%- set ns = namespace(n=0, first=true) -%}\n"
    "{%- macro show(m, deep=false) -%}\n"
    "  <|{{ m.name|default('anon', true) }}|>{% if deep %}{{ m|tojson(indent=2) }}{% endif %}\n"
    "{%- endmacro %}\n"
    "{% macro wrap(a) %}[{{ caller(a) }}]{% endmacro %}\n"
    "{% for u in users if u.age > 20 recursive %}\n"
    "  {% set ns.n = ns.n + u.age %}\n"
    "  {{- loop.index ~ ':' ~ show(u, deep=loop.last) }}{% if not loop.last %}, {% endif %}\n"
    "  {% for k, v in u|dictsort %}{{ k[:2] }}={{ '%s' % v }}{{ loop.cycle('a', 'b') }}{% endfor %}\n"
    "  {% if ns.n is divisibleby 7 %}{% break %}{% elif u.name.startswith(('b', 'c')) %}{% continue %}{% endif %}\n"
    "{% else %}none{% endfor %}\n"
    "{# a comment -#}\n"
    "{% set parts %}{% filter upper %}{{ words.split()|map('capitalize')|join('-') }}{% endfilter %}{% endset %}\n"
    "{{ parts.replace('-', '+')[::-1] }} {{ l|sort|first }} {{ (d.a[0] + 1) * 2 // 3 ** 2 }} {{ [1, (2,), {'k': none}] "
    "}}\n"
    "{% call(x) wrap(users[0]) %}{{ x }}{% endcall %}{% with q = 1 %}{{ q }}{% endwith %}{% raw %}{{ raw }}{% endraw "
    "%}\n"
    "{% generation %}{{ strftime_now('%d %b') }}{% endgeneration %}{{ '{:>5}'.format(i) }}{{ s|indent(2)|truncate(9) "
    "}}\n"
    "{{ raise_exception('no users') if not users else '' }}";

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || c == '_';
}

/* Put one value in another's place: most results are templates that still parse. */
static void swap_word(qn_buf *b, uint64_t *rng)
{
    static const char *const words[] = {"s",     "l",         "d",     "n",    "t",       "i",        "x",
                                        "users", "u",         "words", "big",  "q",       "loop",     "ns",
                                        "show",  "range(99)", "'abc'", "[]",   "{}",      "(1, 2)",   "-1",
                                        "none",  "upper",     "list",  "join", "length",  "tojson",   "split",
                                        "items", "map",       "first", "sort", "replace", "dictsort", "namespace()"};
    size_t at = random_next(rng) % b->n, end;
    while (at < b->n && !is_word(b->data[at]))
        at++;
    while (at > 0 && is_word(b->data[at - 1]))
        at--;
    for (end = at; end < b->n && is_word(b->data[end]);)
        end++;
    const char *put = words[random_next(rng) % (sizeof words / sizeof *words)];
    size_t n = strlen(put), old = b->n;
    qn__buf_put(b, put, n); /* room */
    memmove(b->data + at + n, b->data + end, old - end);
    memcpy(b->data + at, put, n);
    b->n = old - (end - at) + n;
}

/* One change: a flipped bit, a piece cut out, a piece doubled, a token put in. */
static void mutate(qn_buf *b, uint64_t *rng)
{
    static const char *const tokens[] = {"{{",
                                         "}}",
                                         "{%",
                                         "%}",
                                         "{#",
                                         "#}",
                                         "{%-",
                                         "-}}",
                                         "(",
                                         ")",
                                         "[",
                                         "]",
                                         "{",
                                         "}",
                                         "|",
                                         ".",
                                         ":",
                                         "~",
                                         "**",
                                         "//",
                                         "%",
                                         " is ",
                                         " not ",
                                         " in ",
                                         " if ",
                                         " else ",
                                         "'",
                                         "\"",
                                         "\\",
                                         "99999",
                                         "1e999",
                                         "range(9999)",
                                         "* 9999",
                                         "|list",
                                         "|tojson",
                                         "|length",
                                         "loop",
                                         "caller()",
                                         "varargs",
                                         "{% for x in l %}",
                                         "{% endfor %}",
                                         "{% macro show(a) %}",
                                         "{% endmacro %}",
                                         "{% set users = ",
                                         "|map('upper')",
                                         "|join",
                                         "|replace('', 'x' * 9)",
                                         "show(u)",
                                         "[::-1]",
                                         "\xff",
                                         "\xe6\x97"};
    size_t at = b->n ? random_next(rng) % b->n : 0, n = b->n ? random_next(rng) % 24 : 0;
    n = n > b->n - at ? b->n - at : n;
    if (b->n && random_next(rng) % 2) {
        swap_word(b, rng);
        return;
    }
    char piece[32];
    memcpy(piece, b->data + at, n);
    const char *put = piece;
    switch (random_next(rng) % 5) {
    case 0:
        if (b->n)
            b->data[at] = (char)(b->data[at] ^ (1 << random_next(rng) % 8));
        return;
    case 1:
        memmove(b->data + at, b->data + at + n, b->n - at - n);
        b->n -= n;
        return;
    case 2:
        at = b->n ? random_next(rng) % b->n : 0; /* the piece goes elsewhere */
        break;
    default:
        put = tokens[random_next(rng) % (sizeof tokens / sizeof *tokens)];
        n = strlen(put);
        break;
    }
    size_t old = b->n;
    qn__buf_put(b, put, n); /* room */
    memmove(b->data + at + n, b->data + at, old - at);
    memcpy(b->data + at, put, n);
}

static void mutations(void **state)
{
    (void)state;
    json_t *vars = json_loads(vars_json, 0, NULL);
    uint64_t rng = 20260102;
    qn_buf b = {0};
    int rendered = 0, refused = 0;
    for (int i = 0; i < 10000; i++) {
        b.n = 0;
        qn__buf_put(&b, seed_template, sizeof seed_template - 1);
        for (uint64_t k = 1 + random_next(&rng) % 3; k; k--)
            mutate(&b, &rng);
        char *exact = qn__strndup(b.data, b.n), *got; /* so that a sanitizer sees one byte too many */
        size_t n = 0;
        qn_err err = {0};
        assert_non_null(exact);
        qn_status s = render(exact, b.n, &small, vars, &got, &n, &err);
        assert_true(s == QN_OK ? got[n] == 0 : err.what[0] && err.code == s);
        assert_true(s == QN_OK || s == QN_EFORMAT || s == QN_ELIMIT || s == QN_ERAISED);
        rendered += s == QN_OK;
        refused += s != QN_OK;
        qn_free(got);
        qn_free(exact);
    }
    printf("figure: template mutations 10000: %d rendered, %d refused\n", rendered, refused);
    assert_true(rendered > 100 && refused > 100);
    qn__buf_free(&b);
    json_decref(vars);
}

static void allocation_failures(void **state)
{
    (void)state;
    json_t *vars = json_loads(vars_json, 0, NULL);
    char *got;
    size_t n;
    qn_err err = {0};
    int failures = 0;
    qn_status s = QN_ENOMEM;
    for (uint64_t at = 1; s != QN_OK; at++) {
        memset(&err, 0, sizeof err);
        qn__alloc_fail_at(at);
        s = render(seed_template, sizeof seed_template - 1, NULL, vars, &got, &n, &err);
        qn__alloc_fail_at(0);
        if (s != QN_OK) {
            if (s != QN_ENOMEM)
                fail_msg("%s: %s", err.where, err.what);
            assert_true(err.what[0]);
            failures++;
        }
    }
    assert_true(failures > 5);
    assert_non_null(strstr(got, "YRAM") ? got : strstr(got, "XOF"));
    qn_free(got);
    json_decref(vars);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whitespace), cmocka_unit_test(expressions),
                                       cmocka_unit_test(undefined),  cmocka_unit_test(strings),
                                       cmocka_unit_test(filters),    cmocka_unit_test(tests_and_globals),
                                       cmocka_unit_test(statements), cmocka_unit_test(errors_say_where),
                                       cmocka_unit_test(bombs),      cmocka_unit_test(nesting),
                                       cmocka_unit_test(flat),       cmocka_unit_test(growing_text),
                                       cmocka_unit_test(mutations),  cmocka_unit_test(allocation_failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
