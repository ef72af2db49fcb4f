/* page.c - see page.h: escaping, words, tables, and which report becomes which page. */
#include "services/probe/page.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "services/probe/page_style.h"

enum { TEXT_WIDTH = 96, MOST_CODE = 65536 };
static const size_t MOST_PAGE = (size_t)64 << 20;
static const char *const TONES[] = {"", "good", "warn", "bad", "soft"};

static const struct {
    const char *kind;
    qn_status (*make)(qn_page *p, const json_t *report, qn_err *err);
} KINDS[] = {
    {"eval", qn__page_of_eval},
    {"inspect", qn__page_of_inspect},
    {"compare", qn__page_of_compare},
    {"audit", qn__page_of_audit},
    {"agent", qn__page_of_agent},
};

/* ---- escaping ---- */

/* Controls, characters that turn the direction of what stands around them, and bytes that are no text become U+FFFD. */
static bool spoils(int32_t cp)
{
    return cp < 0 || (cp < 32 && cp != '\n' && cp != '\t') || (cp >= 0x7f && cp < 0xa0) || (cp >= 0x202a && cp <= 0x202e) ||
           (cp >= 0x2066 && cp <= 0x2069) || cp == 0xfeff || (cp & 0xfffe) == 0xfffe;
}

static bool is_word(const char *text, size_t n, size_t at)
{
    unsigned char c = at < n ? (unsigned char)text[at] : 0;
    return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void put_html(qn_buf *b, char c)
{
    switch (c) {
    case '&': qn__buf_puts(b, "&amp;"); break;
    case '<': qn__buf_puts(b, "&lt;"); break;
    case '>': qn__buf_puts(b, "&gt;"); break;
    case '"': qn__buf_puts(b, "&quot;"); break;
    case '\'': qn__buf_puts(b, "&#39;"); break;
    default: qn__buf_putc(b, c);
    }
}

/* A character that could begin a mark of Markdown at i of text[n]. */
static bool marks(const char *text, size_t n, size_t i)
{
    char c = text[i];
    if (c == '_')
        return i == 0 || !is_word(text, n, i - 1) || !is_word(text, n, i + 1);
    if (i == 0 && strchr("-+#=:", c))
        return true;
    if ((c == '.' || c == ')') && i > 0 && strspn(text, "0123456789") == i && (i + 1 == n || text[i + 1] == ' '))
        return true;
    if (c == ':' && i + 2 < n && text[i + 1] == '/' && text[i + 2] == '/') /* no link of its own */
        return true;
    return c != 0 && strchr("\\`*[]<>|~&$", c) != NULL;
}

void qn__page_put(qn_page *p, const char *text, size_t n)
{
    qn_buf *b = &p->out;
    for (size_t i = 0; i < n;) {
        int32_t cp;
        size_t used = qn__utf8_decode(text + i, n - i, &cp);
        if (spoils(cp))
            qn__buf_puts(b, "\xef\xbf\xbd");
        else if (used > 1)
            qn__buf_put(b, text + i, used);
        else if (p->form == QN_PAGE_HTML)
            put_html(b, text[i]);
        else if (cp == '\n' || cp == '\t')
            qn__buf_putc(b, ' ');
        else {
            if (p->form == QN_PAGE_MARKDOWN && marks(text, n, i))
                qn__buf_putc(b, '\\');
            qn__buf_putc(b, text[i]);
        }
        i += used;
    }
}

bool qn__page_hushed(const qn_page *p)
{
    return p->form == QN_PAGE_TEXT && p->folded > 0;
}

/* printf's text, which the caller frees. */
static QN_PRINTF(1, 0) qn_buf format(const char *fmt, va_list ap)
{
    qn_buf b = {0};
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n >= 0 && qn__grow((void **)&b.data, &b.cap, (size_t)n + 1, 1)) {
        (void)vsnprintf(b.data, (size_t)n + 1, fmt, ap);
        b.n = (size_t)n;
    } else {
        b.failed = true;
    }
    return b;
}

static void put_taken(qn_page *p, qn_buf *b)
{
    if (b->failed)
        p->out.failed = true;
    else
        qn__page_put(p, b->data, b->n);
    qn__buf_free(b);
}

#define PUT(p, fmt)                                                                                                                      \
    do {                                                                                                                                 \
        va_list ap_;                                                                                                                     \
        va_start(ap_, fmt);                                                                                                              \
        qn_buf text_ = format(fmt, ap_);                                                                                                 \
        va_end(ap_);                                                                                                                     \
        put_taken(p, &text_);                                                                                                            \
    } while (0)

/* ---- words ---- */

/* Break the line that begins at `from` between words, every line after the first `indent` further in. */
static void wrap(qn_page *p, size_t from, int indent)
{
    qn_buf b = {0};
    size_t column = 0;
    if (p->form != QN_PAGE_TEXT || p->out.failed || p->out.n <= from)
        return;
    qn__buf_put(&b, p->out.data + from, p->out.n - from);
    p->out.n = from;
    for (size_t i = 0; i < b.n && !b.failed;) {
        size_t end = i, width = 0;
        while (end < b.n && b.data[end] != ' ')
            width += ((unsigned char)b.data[end++] & 0xc0) != 0x80;
        if (column && column + 1 + width > TEXT_WIDTH) {
            qn__buf_printf(&p->out, "\n%*s", indent, "");
            column = (size_t)indent;
        } else if (i > 0) {
            qn__buf_putc(&p->out, ' ');
            column++;
        }
        qn__buf_put(&p->out, b.data + i, end - i);
        column += width;
        i = end + 1;
    }
    p->out.failed = p->out.failed || b.failed;
    qn__buf_free(&b);
}

static void paragraph(qn_page *p, const char *class, qn_buf *text)
{
    if (qn__page_hushed(p)) {
        qn__buf_free(text);
        return;
    }
    if (p->form == QN_PAGE_HTML)
        qn__buf_printf(&p->out, *class ? "<p class=\"%s\">" : "<p>", class);
    size_t from = p->out.n;
    put_taken(p, text);
    wrap(p, from, 0);
    qn__buf_puts(&p->out, p->form == QN_PAGE_HTML ? "</p>\n" : "\n\n");
}

void qn__page_begin(qn_page *p, const char *title, const char *lead, ...)
{
    const size_t n = strlen(title);
    p->out.limit = MOST_PAGE;
    p->begun = true;
    if (p->form == QN_PAGE_HTML) {
        qn__buf_puts(&p->out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
                              "content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n"
                              "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
                              "img-src data:\">\n<meta name=\"generator\" content=\"quern " QN_VERSION "\">\n"
                              "<link rel=\"icon\" href=\"data:,\">\n<title>");
        qn__page_put(p, title, n);
        qn__buf_puts(&p->out, "</title>\n<style>");
        qn__buf_puts(&p->out, qn__page_style);
        qn__buf_puts(&p->out, "</style>\n</head>\n<body>\n<main>\n<h1>");
        qn__page_put(p, title, n);
        qn__buf_puts(&p->out, "</h1>\n");
    } else {
        if (p->form == QN_PAGE_MARKDOWN)
            qn__buf_puts(&p->out, "# ");
        qn__page_put(p, title, n);
        qn__buf_puts(&p->out, "\n\n");
    }
    va_list ap;
    va_start(ap, lead);
    qn_buf text = format(lead, ap);
    va_end(ap);
    paragraph(p, "lead", &text);
}

static void end_section(qn_page *p)
{
    if (p->in_section && p->form == QN_PAGE_HTML)
        qn__buf_puts(&p->out, "</section>\n");
    p->in_section = false;
}

void qn__page_end(qn_page *p)
{
    while (p->folded > 0)
        qn__page_fold_end(p);
    end_section(p);
    if (p->form == QN_PAGE_HTML)
        qn__buf_puts(&p->out, "</main>\n<footer>quern " QN_VERSION "</footer>\n</body>\n</html>\n");
}

void qn__page_section(qn_page *p, const char *title, ...)
{
    end_section(p);
    p->in_section = true;
    qn__buf_puts(&p->out, p->form == QN_PAGE_HTML ? "<section>\n<h2>" : p->form == QN_PAGE_MARKDOWN ? "## " : "-- ");
    PUT(p, title);
    qn__buf_puts(&p->out, p->form == QN_PAGE_HTML ? "</h2>\n" : p->form == QN_PAGE_MARKDOWN ? "\n\n" : " --\n\n");
}

void qn__page_text(qn_page *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    qn_buf text = format(fmt, ap);
    va_end(ap);
    paragraph(p, "", &text);
}

void qn__page_note(qn_page *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    qn_buf text = format(fmt, ap);
    va_end(ap);
    paragraph(p, "note", &text);
}

void qn__page_verdict(qn_page *p, qn_tone tone, const char *word, const char *fmt, ...)
{
    static const char *const before[] = {"<p class=\"verdict %s\"><strong>", "**", "["};
    static const char *const between[] = {"</strong><span>", "** ", "] "};
    static const char *const after[] = {"</span></p>\n", "\n\n", "\n\n"};
    if (qn__page_hushed(p))
        return;
    if (p->form == QN_PAGE_HTML)
        qn__buf_printf(&p->out, "<p class=\"verdict %s\"><strong>", TONES[tone]);
    else
        qn__buf_puts(&p->out, before[p->form]);
    size_t from = p->out.n;
    qn__page_put(p, word, strlen(word));
    qn__buf_puts(&p->out, between[p->form]);
    PUT(p, fmt);
    wrap(p, from, 0);
    qn__buf_puts(&p->out, after[p->form]);
}

/* ---- facts: in text a column of names, which is 26 wide ---- */

enum { NAMES = 26 };

void qn__page_facts(qn_page *p)
{
    if (p->form == QN_PAGE_HTML)
        qn__buf_puts(&p->out, "<dl>\n");
}

void qn__page_fact(qn_page *p, const char *name, const char *fmt, ...)
{
    static const char *const before[] = {"<dt>", "- ", "  "};
    if (qn__page_hushed(p))
        return;
    qn__buf_puts(&p->out, before[p->form]);
    size_t from = p->out.n;
    qn__page_put(p, name, strlen(name));
    if (p->form == QN_PAGE_TEXT)
        qn__buf_printf(&p->out, "%*s", (int)(p->out.n - from < NAMES ? NAMES - (p->out.n - from) : 1), "");
    qn__buf_puts(&p->out, p->form == QN_PAGE_HTML ? "</dt><dd>" : p->form == QN_PAGE_MARKDOWN ? ": " : "");
    from = p->out.n;
    PUT(p, fmt);
    wrap(p, from, NAMES + 2);
    qn__buf_puts(&p->out, p->form == QN_PAGE_HTML ? "</dd>\n" : "\n");
}

void qn__page_facts_end(qn_page *p)
{
    if (!qn__page_hushed(p))
        qn__buf_puts(&p->out, p->form == QN_PAGE_HTML ? "</dl>\n" : "\n");
}

/* ---- tables ---- */

void qn__page_table(qn_page *p, const char *caption, const qn_page_column *columns, size_t n)
{
    p->n_columns = n < QN_PAGE_COLUMNS ? n : QN_PAGE_COLUMNS;
    memcpy(p->columns, columns, p->n_columns * sizeof *columns);
    p->caption = caption;
    p->n_cells = 0;
    p->cells.n = 0;
    p->cells.limit = MOST_PAGE;
    p->in_table = true;
}

static void cell(qn_page *p, qn_tone tone, qn_buf *text)
{
    if (p->in_table) {
        qn__buf_putc(&p->cells, (char)('0' + (int)tone));
        qn__buf_put(&p->cells, text->data ? text->data : "", text->n);
        qn__buf_putc(&p->cells, 0);
        p->n_cells++;
    }
    p->out.failed = p->out.failed || text->failed || p->cells.failed;
    qn__buf_free(text);
}

void qn__page_cell(qn_page *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    qn_buf text = format(fmt, ap);
    va_end(ap);
    cell(p, QN_TONE_PLAIN, &text);
}

void qn__page_cell_as(qn_page *p, qn_tone tone, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    qn_buf text = format(fmt, ap);
    va_end(ap);
    cell(p, tone, &text);
}

static void html_table(qn_page *p)
{
    qn_buf *b = &p->out;
    const char *c = p->cells.data;
    qn__buf_puts(b, "<div class=\"wide\"><table>");
    if (p->caption) {
        qn__buf_puts(b, "<caption>");
        qn__page_put(p, p->caption, strlen(p->caption));
        qn__buf_puts(b, "</caption>");
    }
    qn__buf_puts(b, "\n<thead><tr>");
    for (size_t i = 0; i < p->n_columns; i++) {
        qn__buf_puts(b, p->columns[i].number ? "<th scope=\"col\" class=\"n\">" : "<th scope=\"col\">");
        qn__page_put(p, p->columns[i].name, strlen(p->columns[i].name));
        qn__buf_puts(b, "</th>");
    }
    qn__buf_puts(b, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < p->n_cells; i++) {
        const size_t at = i % p->n_columns, n = strlen(c + 1);
        const char *number = p->columns[at].number ? "n" : "", *tone = TONES[c[0] - '0'];
        if (at == 0)
            qn__buf_puts(b, "<tr>");
        if (*number || *tone)
            qn__buf_printf(b, "<td class=\"%s%s%s\">", number, *number && *tone ? " " : "", tone);
        else
            qn__buf_puts(b, "<td>");
        qn__page_put(p, c + 1, n);
        qn__buf_puts(b, at + 1 == p->n_columns || i + 1 == p->n_cells ? "</td></tr>\n" : "</td>");
        c += n + 2;
    }
    qn__buf_puts(b, "</tbody></table></div>\n");
}

static void markdown_table(qn_page *p)
{
    qn_buf *b = &p->out;
    const char *c = p->cells.data;
    if (p->caption) {
        qn__buf_puts(b, "**");
        qn__page_put(p, p->caption, strlen(p->caption));
        qn__buf_puts(b, "**\n\n");
    }
    for (size_t i = 0; i < p->n_columns; i++) {
        qn__buf_puts(b, "| ");
        qn__page_put(p, p->columns[i].name, strlen(p->columns[i].name));
        qn__buf_putc(b, ' ');
    }
    qn__buf_puts(b, "|\n");
    for (size_t i = 0; i < p->n_columns; i++)
        qn__buf_puts(b, p->columns[i].number ? "|---:" : "|---");
    qn__buf_puts(b, "|\n");
    for (size_t i = 0; i < p->n_cells; i++) {
        const size_t n = strlen(c + 1);
        qn__buf_puts(b, "| ");
        qn__page_put(p, c + 1, n);
        qn__buf_puts(b, (i + 1) % p->n_columns == 0 || i + 1 == p->n_cells ? " |\n" : " ");
        c += n + 2;
    }
    qn__buf_putc(b, '\n');
}

static size_t wide(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void text_row(qn_page *p, size_t i, const char *text, const size_t *widths)
{
    const int pad = (int)(widths[i] - wide(text));
    const bool number = p->columns[i].number, last = i + 1 == p->n_columns;
    qn__buf_puts(&p->out, "  ");
    if (number)
        qn__buf_printf(&p->out, "%*s", pad, "");
    qn__page_put(p, text, strlen(text));
    if (!number && !last)
        qn__buf_printf(&p->out, "%*s", pad, "");
    if (last)
        qn__buf_putc(&p->out, '\n');
}

static void text_table(qn_page *p)
{
    size_t widths[QN_PAGE_COLUMNS] = {0};
    const char *c = p->cells.data;
    for (size_t i = 0; i < p->n_columns; i++)
        widths[i] = wide(p->columns[i].name);
    for (size_t i = 0; i < p->n_cells; i++) {
        const size_t w = wide(c + 1), at = i % p->n_columns;
        widths[at] = w > widths[at] ? w : widths[at];
        c += strlen(c) + 1;
    }
    if (p->caption) {
        qn__page_put(p, p->caption, strlen(p->caption));
        qn__buf_putc(&p->out, '\n');
    }
    for (size_t i = 0; i < p->n_columns; i++)
        text_row(p, i, p->columns[i].name, widths);
    c = p->cells.data;
    for (size_t i = 0; i < p->n_cells; i++) {
        text_row(p, i % p->n_columns, c + 1, widths);
        c += strlen(c) + 1;
    }
    if (p->n_cells % p->n_columns)
        qn__buf_putc(&p->out, '\n');
    qn__buf_putc(&p->out, '\n');
}

void qn__page_table_end(qn_page *p)
{
    p->in_table = false;
    if (p->n_columns == 0 || p->cells.failed || qn__page_hushed(p))
        return;
    if (p->form == QN_PAGE_HTML)
        html_table(p);
    else if (p->form == QN_PAGE_MARKDOWN)
        markdown_table(p);
    else
        text_table(p);
}

/* ---- folds and code ---- */

void qn__page_fold(qn_page *p, const char *title, ...)
{
    p->folded++;
    if (p->form == QN_PAGE_TEXT)
        return;
    qn__buf_puts(&p->out, p->form == QN_PAGE_HTML ? "<details><summary>" : "#### ");
    PUT(p, title);
    qn__buf_puts(&p->out, p->form == QN_PAGE_HTML ? "</summary>\n" : "\n\n");
}

void qn__page_fold_end(qn_page *p)
{
    if (p->folded > 0)
        p->folded--;
    if (p->form == QN_PAGE_HTML)
        qn__buf_puts(&p->out, "</details>\n");
}

/* A fence longer than any run of backticks within. */
static size_t fence(const char *text, size_t n)
{
    size_t run = 0, most = 2;
    for (size_t i = 0; i < n; i++) {
        run = text[i] == '`' ? run + 1 : 0;
        most = run > most ? run : most;
    }
    return most + 1;
}

void qn__page_code(qn_page *p, const char *text, size_t n)
{
    const size_t shown = n < MOST_CODE ? n : MOST_CODE, ticks = fence(text, shown);
    const qn_page_form form = p->form;
    if (qn__page_hushed(p))
        return;
    if (form == QN_PAGE_HTML)
        qn__buf_puts(&p->out, "<pre>");
    for (size_t i = 0; form == QN_PAGE_MARKDOWN && i <= ticks; i++)
        qn__buf_putc(&p->out, i == ticks ? '\n' : '`');
    for (size_t i = 0, end; i < shown; i = end + 1) { /* line by line: only HTML escapes, the others keep their marks */
        const char *nl = memchr(text + i, '\n', shown - i);
        end = nl ? (size_t)(nl - text) : shown;
        p->form = form == QN_PAGE_HTML ? QN_PAGE_HTML : QN_PAGE_TEXT;
        if (form == QN_PAGE_TEXT)
            qn__buf_puts(&p->out, "    ");
        qn__page_put(p, text + i, end - i);
        p->form = form;
        if (nl || form != QN_PAGE_HTML)
            qn__buf_putc(&p->out, '\n');
    }
    if (form == QN_PAGE_HTML)
        qn__buf_puts(&p->out, "</pre>\n");
    for (size_t i = 0; form == QN_PAGE_MARKDOWN && i <= ticks; i++)
        qn__buf_putc(&p->out, i == ticks ? '\n' : '`');
    if (form != QN_PAGE_HTML)
        qn__buf_putc(&p->out, '\n');
    if (shown < n)
        qn__page_note(p, "%zu more bytes are left out.", n - shown);
}

/* ---- numbers ---- */

static qn_word scaled(double v, const char *const *units, size_t n, double step, double from)
{
    qn_word w;
    size_t i = 0;
    for (v /= from; i + 1 < n && fabs(v) >= step * 0.9995; i++)
        v /= step;
    (void)snprintf(w.s, sizeof w.s, fabs(v) >= 100 ? "%.0f %s" : fabs(v) >= 10 ? "%.1f %s" : "%.2f %s", v, units[i]);
    return w;
}

qn_word qn__page_seconds(double s)
{
    static const char *const units[] = {"ns", "\xc2\xb5s", "ms", "s"};
    qn_word w = {"not known"};
    if (!isfinite(s))
        return w;
    if (s == 0)
        (void)snprintf(w.s, sizeof w.s, "0 s");
    else if (fabs(s) >= 120)
        (void)snprintf(w.s, sizeof w.s, "%.0f min %.0f s", floor(s / 60), s - 60 * floor(s / 60));
    else
        w = scaled(s, units, 4, 1000, 1e-9);
    return w;
}

qn_word qn__page_bytes(double n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    qn_word w = {"not known"};
    if (isfinite(n) && fabs(n) < 1024)
        (void)snprintf(w.s, sizeof w.s, "%.0f B", n);
    else if (isfinite(n))
        w = scaled(n, units, 5, 1024, 1);
    return w;
}

qn_word qn__page_count(double n)
{
    qn_word w = {"not known"};
    char digits[32];
    if (!isfinite(n) || fabs(n) > 1e15)
        return w;
    const int len = snprintf(digits, sizeof digits, "%.0f", fabs(n));
    qn_buf b = {0};
    if (n < 0)
        qn__buf_putc(&b, '-');
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0 && len > 4)
            qn__buf_puts(&b, "\xe2\x80\xaf");
        qn__buf_putc(&b, digits[i]);
    }
    (void)snprintf(w.s, sizeof w.s, "%s", b.data ? b.data : "");
    qn__buf_free(&b);
    return w;
}

qn_word qn__page_percent(double share)
{
    qn_word w = {"not known"};
    if (isfinite(share))
        (void)snprintf(w.s, sizeof w.s, share == 0 || share == 1 ? "%.0f %%" : "%.1f %%", 100 * share);
    return w;
}

qn_word qn__page_number(qn_page_unit unit, double v)
{
    qn_word w = {"not known"};
    switch (unit) {
    case QN_UNIT_SECONDS: return qn__page_seconds(v);
    case QN_UNIT_BYTES: return qn__page_bytes(v);
    case QN_UNIT_PERCENT: return qn__page_percent(v);
    case QN_UNIT_PLAIN: break;
    }
    if (isfinite(v) && v == floor(v) && fabs(v) < 1e15)
        return qn__page_count(v);
    if (isfinite(v))
        (void)snprintf(w.s, sizeof w.s, fabs(v) >= 100 ? "%.0f" : fabs(v) >= 10 ? "%.1f" : "%.3g", v);
    return w;
}

/* ---- reading ---- */

const json_t *qn__page_at(const json_t *o, const char *path)
{
    char name[64];
    while (o && *path) {
        const size_t n = strcspn(path, ".");
        if (n >= sizeof name)
            return NULL;
        memcpy(name, path, n);
        name[n] = 0;
        o = json_object_get(o, name);
        path += n + (path[n] == '.');
    }
    return o;
}

const char *qn__page_str(const json_t *o, const char *path)
{
    const char *s = json_string_value(qn__page_at(o, path));
    return s ? s : "";
}

double qn__page_num(const json_t *o, const char *path)
{
    const json_t *v = qn__page_at(o, path);
    return json_is_number(v) ? json_number_value(v) : json_is_boolean(v) ? json_is_true(v) : (double)NAN;
}

void qn__page_machine(qn_page *p, const json_t *m)
{
    if (!m)
        return;
    qn__page_fact(p, "Machine", "%s, %s processors, %s", qn__page_str(m, "processor"), qn__page_count(qn__page_num(m, "cpus")).s,
                  qn__page_bytes(qn__page_num(m, "memory")).s);
    qn__page_fact(p, "Build", "quern %s, %s%s%s", qn__page_str(m, "build"), qn__page_str(m, "system"), json_object_get(m, "level") ? ", level " : "",
                  qn__page_str(m, "level"));
    if (json_object_get(m, "threads"))
        qn__page_fact(p, "Threads", "%s", qn__page_count(qn__page_num(m, "threads")).s);
}

/* ---- which page ---- */

qn_status qn_report_page(const char *report_json, qn_page_form form, char **page, size_t *n, qn_err *err)
{
    json_error_t e;
    qn_page p = {.form = form};
    size_t len = 0;
    char *made = NULL;
    json_t *r = json_loads(report_json, JSON_ALLOW_NUL, &e);
    const char *kind = qn__page_str(r, "kind");
    size_t i = 0;
    qn_status st = QN_OK;
    while (i < sizeof KINDS / sizeof *KINDS && strcmp(KINDS[i].kind, kind) != 0)
        i++;
    if (form != QN_PAGE_HTML && form != QN_PAGE_MARKDOWN && form != QN_PAGE_TEXT)
        st = qn__fail(err, QN_EINVAL, "page", "%d is no form of a page", (int)form);
    else if (!r)
        st = qn__fail(err, QN_EFORMAT, "report", "is no JSON: %s (line %d)", e.text, e.line);
    else if (i == sizeof KINDS / sizeof *KINDS)
        st = qn__fail(err, QN_EUNSUPPORTED, "report", *kind ? "reports of kind \"%s\" have no page" : "has no \"kind\"%s: give what a probe wrote with --json", kind);
    else if (!(st = KINDS[i].make(&p, r, err))) {
        qn__page_end(&p);
        made = qn__buf_take(&p.out, &len);
        st = made ? QN_OK : qn__fail(err, QN_ELIMIT, "page", "is larger than 64 MiB, or memory is full");
    }
    if (!st) {
        *page = made;
        if (n)
            *n = len;
    }
    qn__buf_free(&p.out);
    qn__buf_free(&p.cells);
    json_decref(r);
    return st;
}
