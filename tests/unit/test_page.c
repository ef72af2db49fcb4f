/* test_page.c - pages: hostile text stays text in every form, what is begun is ended, drawings carry their numbers, nothing is fetched,
 * NaN is never printed. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "services/probe/page.h"

static const char HOSTILE[] = "</title></style></svg><script>alert(1)</script>\"onload='x' &amp; | `code` **bold** [l](javascript:x) "
                              "<img src=http://x/y> \xe2\x80\xae" "evil \x1b[2J \xff\xc0\n# head";

static void draw_all(qn_page *p)
{
    static const double grid[6] = {0, 0.25, 0.5, 0.75, 1, NAN};
    static const char *const rows[2] = {HOSTILE, "b"}, *const columns[3] = {"1K", HOSTILE, "3K"}, *const words[6] = {"0/4", HOSTILE, "2/4", "3/4", "4/4", NULL};
    double v[500];
    qn_page_bar bars[3] = {{.label = HOSTILE, .v = 0.5, .low = 0.4, .high = 0.6}, {.label = "b", .v = NAN}, {.label = "c", .v = 1, .words = HOSTILE}};
    const qn_page_mark marks[] = {{0.03, "p99"}, {0.01, HOSTILE}}, at[] = {{3, "page fault"}, {100, HOSTILE}, {499, "page fault"}};
    const qn_page_span spans[] = {{HOSTILE, 0, 0.5}, {"b", 0.5, NAN}, {"c", 0.5, 2}};
    const qn_page_part parts[] = {{HOSTILE, 1e9}, {"KV", 0}, {"c", NAN}, {"d", 5e8}};
    for (int i = 0; i < 500; i++)
        v[i] = 0.01 + 0.0001 * (i % 7) + (i % 100 == 3 ? 0.2 : 0);
    qn__page_section(p, "%s", HOSTILE);
    qn__page_heat(p, &(qn_page_heat){.title = HOSTILE, .row_name = HOSTILE, .column_name = HOSTILE, .rows = 2, .columns = 3, .row_labels = rows,
                                     .column_labels = columns, .v = grid, .words = words});
    qn__page_bars(p, HOSTILE, "tok/s", 0, bars, 3);
    qn__page_section(p, "Drawings");
    qn__page_histogram(p, HOSTILE, QN_UNIT_SECONDS, v, 500, marks, 2);
    qn__page_line(p, &(qn_page_line){.title = HOSTILE, .x_name = HOSTILE, .y_unit = QN_UNIT_SECONDS, .log_y = true, .y = v, .n = 500, .marks = at, .n_marks = 3});
    qn__page_line(p, &(qn_page_line){.title = "plain", .x_name = "token", .y = v, .n = 5});
    qn__page_line(p, &(qn_page_line){.title = "one", .x_name = "token", .y = v, .n = 1});
    qn__page_waterfall(p, HOSTILE, 0, spans, 3);
    qn__page_memory(p, HOSTILE, 64e9, parts, 4);
}

static char *whole(qn_page_form form, size_t *n)
{
    static const qn_page_column columns[] = {{HOSTILE, false}, {"n", true}};
    qn_page p = {.form = form};
    qn__page_begin(&p, HOSTILE, "%s", HOSTILE);
    qn__page_verdict(&p, QN_TONE_BAD, HOSTILE, "%s", HOSTILE);
    qn__page_text(&p, "%s", HOSTILE);
    qn__page_facts(&p);
    qn__page_fact(&p, HOSTILE, "%s", HOSTILE);
    qn__page_facts_end(&p);
    draw_all(&p);
    qn__page_table(&p, HOSTILE, columns, 2);
    for (int i = 0; i < 4; i++)
        qn__page_cell_as(&p, i ? QN_TONE_PLAIN : QN_TONE_WARN, "%s", HOSTILE);
    qn__page_table_end(&p);
    qn__page_fold(&p, "%s", HOSTILE);
    qn__page_code(&p, HOSTILE, sizeof HOSTILE - 1);
    qn__page_code(&p, "a\n````\n</pre>\0b", 16);
    qn__page_fold_end(&p);
    qn__page_end(&p);
    char *text = qn__buf_take(&p.out, n);
    qn__buf_free(&p.cells);
    assert_non_null(text);
    assert_int_equal(strlen(text), *n);
    assert_true(qn__utf8_valid(text, *n));
    return text;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

/* Tags that must be ended, in order: a stack of at most 64. False where one is left open or ends what was not begun. */
static bool balanced(const char *html)
{
    static const char *const ends_itself[] = {"!doctype", "meta", "link", NULL};
    char stack[64][16];
    int depth = 0;
    for (const char *at = html; (at = strchr(at, '<')); at++) {
        char name[16] = "";
        const bool closes = at[1] == '/';
        const char *from = at + 1 + closes, *close = strchr(at, '>');
        size_t n = strcspn(from, " >/\n");
        if (!close || n >= sizeof name)
            return false;
        memcpy(name, from, n);
        name[n] = 0;
        bool single = close[-1] == '/';
        for (int i = 0; ends_itself[i]; i++)
            single = single || strcmp(name, ends_itself[i]) == 0;
        if (closes && (depth == 0 || strcmp(stack[--depth], name) != 0))
            return false;
        if (!closes && !single) {
            if (depth == 64)
                return false;
            memcpy(stack[depth++], name, sizeof name);
        }
    }
    return depth == 0;
}

static void test_html(void **state)
{
    (void)state;
    size_t n;
    char *t = whole(QN_PAGE_HTML, &n);
    assert_true(balanced(t));
    assert_null(strstr(t, "<script"));
    assert_null(strstr(t, "<img"));
    assert_null(strstr(t, "onload='")); /* quotes are escaped, so that no attribute ends early */
    assert_null(strstr(t, "nan"));
    assert_null(strstr(t, "\xe2\x80\xae")); /* turns the direction of what follows */
    assert_null(strchr(t, 0x1b));
    assert_int_equal(count(t, "<figure"), 8);
    assert_int_equal(count(t, "<svg role=\"img\" aria-labelledby"), 7); /* and the heat map, which is a table */
    assert_int_equal(count(t, "The numbers"), 7);
    assert_int_equal(count(t, "<circle"), 3);
    assert_int_equal(count(t, "class=\"none\""), 1); /* the cell that was not measured */
    free(t);
}

static void test_markdown(void **state)
{
    (void)state;
    size_t n;
    char *t = whole(QN_PAGE_MARKDOWN, &n);
    char *fence = strstr(t, "`````\n"); /* longer than what is inside */
    assert_non_null(fence);
    assert_null(strchr(t, 0x1b));
    /* outside of code no mark of a hostile text is bare: each '<' and '|' of it has its backslash */
    char *code = strstr(t, "```");
    assert_non_null(code);
    for (char *at = t; (at = strstr(at, "](")) && at < code; at++)
        assert_int_equal(at[-1], '\\');
    for (char *at = t; at < code; at++)
        if (*at == '<' || *at == '`')
            assert_true(at > t && at[-1] == '\\');
    char *head = strstr(t, "\n# head");
    assert_true(!head || head > code);
    assert_null(strstr(t, "nan"));
    free(t);
}

static void test_text(void **state)
{
    (void)state;
    size_t n;
    char *t = whole(QN_PAGE_TEXT, &n);
    assert_null(strchr(t, 0x1b));
    assert_null(strstr(t, "nan"));
    assert_null(strstr(t, "````")); /* what is folded is left out */
    assert_non_null(strstr(t, "\xe2\x96\x88"));
    free(t);
}

static void test_wraps(void **state)
{
    (void)state;
    qn_page p = {.form = QN_PAGE_TEXT};
    qn__page_begin(&p, "t", "%s", "");
    for (int i = 0; i < 3; i++)
        qn__page_text(&p, "%0*d %0*d %0*d %0*d", 40, i, 40, i, 40, i, 120, i);
    size_t column = 0;
    for (size_t i = 0; i < p.out.n; i++) {
        column = p.out.data[i] == '\n' ? 0 : column + 1;
        assert_true(column <= 120);
    }
    assert_non_null(strstr(p.out.data, "0 00"));
    qn__buf_free(&p.out);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(qn__page_seconds(0.00123).s, "1.23 ms");
    assert_string_equal(qn__page_seconds(4.2e-8).s, "42.0 ns");
    assert_string_equal(qn__page_seconds(125).s, "2 min 5 s");
    assert_string_equal(qn__page_seconds(NAN).s, "not known");
    assert_string_equal(qn__page_bytes(512).s, "512 B");
    assert_string_equal(qn__page_bytes(1536).s, "1.50 KiB");
    assert_string_equal(qn__page_bytes(3.0 * (1 << 30)).s, "3.00 GiB");
    assert_string_equal(qn__page_count(1234567).s, "1\xe2\x80\xaf" "234\xe2\x80\xaf" "567");
    assert_string_equal(qn__page_count(-1234).s, "-1234");
    assert_string_equal(qn__page_percent(0.975).s, "97.5 %");
    assert_string_equal(qn__page_percent(1).s, "100 %");
}

/* The dispatch, and reports that lie about what they are. */
static void test_reports(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "[]", "{\"kind\":1}", "{\"kind\":\"nothing\"}", "{"};
    static const char *const odd[] = {"{\"kind\":\"eval\"}", "{\"kind\":\"eval\",\"suite\":[],\"outcomes\":3,\"pass@1\":\"x\",\"machine\":\"y\"}",
                                      "{\"kind\":\"eval\",\"suite\":\"a\\u0000b\",\"outcomes\":{\"<b>\":1e400}}"};
    qn_err err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *page = NULL;
        assert_int_not_equal(qn_report_page(bad[i], QN_PAGE_HTML, &page, NULL, &err), QN_OK);
        assert_null(page);
    }
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        for (int form = QN_PAGE_HTML; form <= QN_PAGE_TEXT; form++) {
            char *page = NULL;
            const qn_status st = qn_report_page(odd[i], (qn_page_form)form, &page, NULL, &err);
            assert_true(st == QN_OK || st == QN_EFORMAT);
            assert_true((st == QN_OK) == (page != NULL));
            assert_true(!page || form != QN_PAGE_HTML || balanced(page));
            qn_free(page);
        }
}

static void test_eval(void **state)
{
    (void)state;
    static const char report[] = "{\"kind\":\"eval\",\"suite\":\"HumanEval\",\"model\":\"m<b>\",\"problems\":4,\"samples\":4,\"passed\":3,\"chat\":true,"
                                 "\"pass@1\":{\"value\":0.75,\"interval95\":[0.3,0.95]},\"outcomes\":{\"passed\":3,\"wrong\":1}}";
    char *page = NULL;
    size_t n = 0;
    assert_int_equal(qn_report_page(report, QN_PAGE_HTML, &page, &n, NULL), QN_OK);
    assert_int_equal(strlen(page), n);
    assert_true(balanced(page));
    assert_non_null(strstr(page, "75.0 %"));
    assert_non_null(strstr(page, "m&lt;b&gt;"));
    qn_free(page);
}

/* Memory that ends anywhere gives no page, and no harm. */
static void test_memory(void **state)
{
    (void)state;
    static const char report[] = "{\"kind\":\"eval\",\"suite\":\"HumanEval\",\"outcomes\":{\"passed\":3,\"wrong\":1}}";
    bool failed = false, made = false;
    for (uint64_t i = 1; i < 400 && !made; i++) {
        char *page = NULL;
        qn__alloc_fail_at(i);
        const qn_status st = qn_report_page(report, QN_PAGE_HTML, &page, NULL, NULL);
        failed = failed || st != QN_OK;
        made = st == QN_OK && i > 100;
        qn_free(page);
    }
    qn__alloc_fail_at(0);
    assert_true(failed && made);
}

/* The checker of tags must find what is wrong. */
static void test_planted(void **state)
{
    (void)state;
    assert_true(balanced("<p><b>x</b><line x=\"1\"/></p>"));
    assert_false(balanced("<p><b>x</p></b>"));
    assert_false(balanced("<p>"));
    assert_false(balanced("</p>"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_planted), cmocka_unit_test(test_html),  cmocka_unit_test(test_markdown), cmocka_unit_test(test_text),
        cmocka_unit_test(test_wraps),   cmocka_unit_test(test_words), cmocka_unit_test(test_reports),  cmocka_unit_test(test_eval),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
