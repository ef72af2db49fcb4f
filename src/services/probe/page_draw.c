/* page_draw.c - see page.h: the drawings.
 *
 * A drawing is as wide as the page, whatever that is, and its words keep their size: across, everything is placed in per cent, down,
 * in pixels. What per cent cannot say (a curve) lies in a drawing of its own inside, which is stretched.
 *
 *   figure [ caption | svg (for the eye; a title and a sentence for everyone else) | the numbers, folded: a table ]
 *
 * Without HTML there is only the table, with a bar of block characters where that says more. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "services/probe/page.h"

enum { LINE = 34, BAR = 12, LABEL = 34, BINS = 24, CURVE_POINTS = 600, SERIES = 8, BLOCKS = 24, MARK_ROWS = 40, MOST = 200 };

/* ---- pieces ---- */

static bool drawn(const qn_page *p)
{
    return p->form == QN_PAGE_HTML;
}

static void text_at(qn_page *p, double x, double y, const char *anchor, const char *class, const char *text)
{
    qn__buf_printf(&p->out, "<text x=\"%.3f%%\" y=\"%.1f\" text-anchor=\"%s\"%s%s%s>", x, y, anchor, *class ? " class=\"" : "", class,
                   *class ? "\"" : "");
    qn__page_put(p, text, strlen(text));
    qn__buf_puts(&p->out, "</text>");
}

static void rect_at(qn_page *p, double x, double y, double w, double h, const char *class, const char *tip)
{
    qn__buf_printf(&p->out, "<rect x=\"%.3f%%\" y=\"%.1f\" width=\"%.3f%%\" height=\"%.1f\" class=\"%s\">", x, y, fmax(w, 0.15), h, class);
    if (tip) {
        qn__buf_puts(&p->out, "<title>");
        qn__page_put(p, tip, strlen(tip));
        qn__buf_puts(&p->out, "</title>");
    }
    qn__buf_puts(&p->out, "</rect>\n");
}

static void line_at(qn_page *p, double x1, double y1, double x2, double y2, const char *class)
{
    qn__buf_printf(&p->out, "<line x1=\"%.3f%%\" y1=\"%.1f\" x2=\"%.3f%%\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class);
}

static void begin(qn_page *p, const char *title, const char *says, double height)
{
    const int id = ++p->drawings;
    qn__buf_printf(&p->out, "<figure><figcaption id=\"d%d\">", id);
    qn__page_put(p, title, strlen(title));
    qn__buf_printf(&p->out, "</figcaption>\n<svg role=\"img\" aria-labelledby=\"d%d\" aria-describedby=\"e%d\" width=\"100%%\" height=\"%.0f\"><desc id=\"e%d\">",
                   id, id, height, id);
    qn__page_put(p, says, strlen(says));
    qn__buf_puts(&p->out, " The table beneath has the numbers.</desc>\n");
}

/* Ends the drawing; its numbers come, as the only thing where nothing is drawn. */
static void numbers(qn_page *p, const char *title, const qn_page_column *columns, size_t n)
{
    if (drawn(p))
        qn__buf_puts(&p->out, "<details><summary>The numbers</summary>\n");
    qn__page_table(p, drawn(p) ? NULL : title, columns, n);
}

static void end(qn_page *p)
{
    qn__page_table_end(p);
    if (drawn(p))
        qn__buf_puts(&p->out, "</details></figure>\n");
}

static void end_svg(qn_page *p)
{
    qn__buf_puts(&p->out, "</svg>\n");
}

typedef struct shown {
    char s[LABEL * 4 + 8];
} shown;

/* A label's first characters. */
static shown clip(const char *text)
{
    shown c;
    size_t at = 0, n = strlen(text), chars = 0;
    int32_t cp;
    while (at < n && chars < LABEL) {
        at += qn__utf8_decode(text + at, n - at, &cp);
        chars++;
    }
    (void)snprintf(c.s, sizeof c.s, "%.*s%s", (int)at, text, at < n ? "\xe2\x80\xa6" : "");
    return c;
}

/* `share` of the widest bar, in eighths of a block. */
static shown blocks(double from, double share)
{
    static const char *const eighths[] = {"", "\xe2\x96\x8f", "\xe2\x96\x8e", "\xe2\x96\x8d", "\xe2\x96\x8c", "\xe2\x96\x8b", "\xe2\x96\x8a", "\xe2\x96\x89"};
    shown b = {""};
    size_t n = 0;
    const double f = isfinite(from) ? fmin(fmax(from, 0), 1) : 0, s = isfinite(share) ? fmin(fmax(share, 0), 1 - f) : 0;
    const int skip = (int)(f * BLOCKS + 0.5), units = (int)(s * BLOCKS * 8 + 0.5);
    for (int i = 0; i < skip; i++)
        b.s[n++] = ' ';
    for (int i = 0; i < units / 8; i++, n += 3)
        memcpy(b.s + n, "\xe2\x96\x88", 3);
    (void)snprintf(b.s + n, sizeof b.s - n, "%s", units == 0 && s > 0 ? eighths[1] : eighths[units % 8]);
    return b;
}

static void legend_begin(qn_page *p)
{
    qn__buf_puts(&p->out, "<ul class=\"legend\">");
}

static void legend_item(qn_page *p, size_t series, const char *text, const char *value)
{
    qn__buf_printf(&p->out, "<li><i class=\"c%zu\"></i>", series % SERIES);
    qn__page_put(p, text, strlen(text));
    if (*value)
        qn__buf_puts(&p->out, ": ");
    qn__page_put(p, value, strlen(value));
    qn__buf_puts(&p->out, "</li>");
}

static void legend_end(qn_page *p)
{
    qn__buf_puts(&p->out, "</ul>\n");
}

/* ---- heat map: a table whose cells are coloured, so that it is its own numbers ---- */

/* From orange (0) over pale to blue (1), which also differ in print without colours. */
static void heat_colour(double v, int rgb[3])
{
    static const double low[3] = {200, 74, 10}, mid[3] = {250, 236, 200}, high[3] = {24, 92, 170};
    const double t = fmin(fmax(v, 0), 1);
    for (int i = 0; i < 3; i++)
        rgb[i] = (int)(t < 0.5 ? low[i] + (mid[i] - low[i]) * 2 * t : mid[i] + (high[i] - mid[i]) * (2 * t - 1));
}

/* Of the two, black or white, the one that is read better: by WCAG's relative luminance both have at least 4.5 to 1. */
static bool wants_white(const int rgb[3])
{
    static const double weight[3] = {0.2126, 0.7152, 0.0722};
    double l = 0;
    for (int i = 0; i < 3; i++) {
        const double v = rgb[i] / 255.0;
        l += weight[i] * (v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
    }
    return (l + 0.05) * (l + 0.05) < 1.05 * 0.05;
}

static void heat_cell(qn_page *p, const qn_page_heat *h, size_t i)
{
    int c[3];
    const double v = h->v[i];
    if (!isfinite(v)) {
        qn__buf_puts(&p->out, "<td class=\"none\">\xe2\x80\x93</td>");
        return;
    }
    heat_colour(v, c);
    qn__buf_printf(&p->out, "<td style=\"background:#%02x%02x%02x;color:%s\">", (unsigned)c[0], (unsigned)c[1], (unsigned)c[2], wants_white(c) ? "#fff" : "#000");
    char words[16];
    (void)snprintf(words, sizeof words, "%.0f %%", 100 * v);
    const char *text = h->words && h->words[i] ? h->words[i] : words;
    qn__page_put(p, text, strlen(text));
    qn__buf_puts(&p->out, "</td>");
}

static void html_heat(qn_page *p, const qn_page_heat *h)
{
    qn__buf_printf(&p->out, "<figure><figcaption id=\"d%d\">", ++p->drawings);
    qn__page_put(p, h->title, strlen(h->title));
    qn__buf_printf(&p->out, "</figcaption><div class=\"wide\"><table class=\"heat\" aria-labelledby=\"d%d\"><thead><tr><th scope=\"col\">", p->drawings);
    qn__page_put(p, h->row_name, strlen(h->row_name));
    qn__buf_puts(&p->out, " \\ ");
    qn__page_put(p, h->column_name, strlen(h->column_name));
    qn__buf_puts(&p->out, "</th>");
    for (size_t j = 0; j < h->columns; j++) {
        qn__buf_puts(&p->out, "<th scope=\"col\">");
        qn__page_put(p, h->column_labels[j], strlen(h->column_labels[j]));
        qn__buf_puts(&p->out, "</th>");
    }
    qn__buf_puts(&p->out, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < h->rows; i++) {
        qn__buf_puts(&p->out, "<tr><th scope=\"row\">");
        qn__page_put(p, h->row_labels[i], strlen(h->row_labels[i]));
        qn__buf_puts(&p->out, "</th>");
        for (size_t j = 0; j < h->columns; j++)
            heat_cell(p, h, i * h->columns + j);
        qn__buf_puts(&p->out, "</tr>\n");
    }
    qn__buf_puts(&p->out, "</tbody></table></div></figure>\n");
}

void qn__page_heat(qn_page *p, const qn_page_heat *h)
{
    qn_page_column columns[QN_PAGE_COLUMNS];
    const size_t n = h->columns < QN_PAGE_COLUMNS - 1 ? h->columns : QN_PAGE_COLUMNS - 1;
    char corner[96];
    if (qn__page_hushed(p) || h->rows == 0 || h->columns == 0)
        return;
    if (drawn(p)) {
        html_heat(p, h);
        return;
    }
    (void)snprintf(corner, sizeof corner, "%s / %s", h->row_name, h->column_name);
    columns[0] = (qn_page_column){corner, true};
    for (size_t j = 0; j < n; j++)
        columns[j + 1] = (qn_page_column){h->column_labels[j], true};
    qn__page_table(p, h->title, columns, n + 1);
    for (size_t i = 0; i < h->rows; i++) {
        qn__page_cell(p, "%s", h->row_labels[i]);
        for (size_t j = 0; j < n; j++) {
            const size_t at = i * h->columns + j;
            if (!isfinite(h->v[at]))
                qn__page_cell(p, "-");
            else if (h->words && h->words[at])
                qn__page_cell(p, "%s", h->words[at]);
            else
                qn__page_cell(p, "%.0f %%", 100 * h->v[at]);
        }
    }
    qn__page_table_end(p);
}

/* ---- bars ---- */

static bool has_interval(const qn_page_bar *b)
{
    return isfinite(b->low) && isfinite(b->high) && (b->low != 0 || b->high != 0);
}

static double top_of(const qn_page_bar *b, size_t n, double top)
{
    double most = top;
    for (size_t i = 0; i < n && top <= 0; i++) {
        most = isfinite(b[i].v) ? fmax(most, b[i].v) : most;
        most = has_interval(&b[i]) ? fmax(most, b[i].high) : most;
    }
    return most > 0 ? most : 1;
}

static shown bar_words(const qn_page_bar *b, const char *unit)
{
    shown w = {"not measured"};
    if (b->words)
        w = clip(b->words);
    else if (isfinite(b->v))
        (void)snprintf(w.s, sizeof w.s, "%s%s%.40s", qn__page_number(QN_UNIT_PLAIN, b->v).s, *unit ? " " : "", unit);
    return w;
}

static void draw_bars(qn_page *p, const char *title, const char *unit, double top, const qn_page_bar *b, size_t n)
{
    static const char *const tones[] = {"plain", "good", "warn", "bad", "soft"};
    char says[160];
    (void)snprintf(says, sizeof says, "%zu bars; the right end is %s %s.", n, qn__page_number(QN_UNIT_PLAIN, top).s, unit);
    begin(p, title, says, (double)n * LINE + 4);
    for (size_t i = 0; i < n; i++) {
        const double y = (double)i * LINE, v = isfinite(b[i].v) ? fmin(fmax(b[i].v / top, 0), 1) : 0;
        text_at(p, 0, y + 12, "start", "", clip(b[i].label).s);
        text_at(p, 100, y + 12, "end", "s", bar_words(&b[i], unit).s);
        rect_at(p, 0, y + 17, 100, BAR, "bed", NULL);
        if (isfinite(b[i].v) && b[i].v > 0)
            rect_at(p, 0, y + 17, 100 * v, BAR, tones[b[i].tone], NULL);
        if (has_interval(&b[i])) {
            const double low = 100 * fmin(fmax(b[i].low / top, 0), 1), high = 100 * fmin(fmax(b[i].high / top, 0), 1), mid = y + 17 + BAR / 2.0;
            line_at(p, low, mid, high, mid, "whisker");
            line_at(p, low, mid - 4, low, mid + 4, "whisker");
            line_at(p, high, mid - 4, high, mid + 4, "whisker");
        }
    }
    end_svg(p);
}

void qn__page_bars(qn_page *p, const char *title, const char *unit, double top, const qn_page_bar *b, size_t n)
{
    static const qn_page_column all[] = {{"", false}, {"value", true}, {"from", true}, {"to", true}, {"", false}};
    bool intervals = false;
    if (n == 0 || qn__page_hushed(p))
        return;
    n = n < MOST ? n : MOST;
    top = top_of(b, n, top);
    for (size_t i = 0; i < n; i++)
        intervals = intervals || has_interval(&b[i]);
    if (drawn(p))
        draw_bars(p, title, unit, top, b, n);
    qn_page_column c[4] = {all[0], all[1]};
    size_t n_c = 2;
    if (intervals) {
        c[n_c++] = all[2];
        c[n_c++] = all[3];
    }
    if (!drawn(p) && !intervals)
        c[n_c++] = all[4];
    numbers(p, title, c, n_c);
    for (size_t i = 0; i < n; i++) {
        qn__page_cell(p, "%s", b[i].label);
        qn__page_cell(p, "%s", bar_words(&b[i], unit).s);
        if (intervals && has_interval(&b[i])) {
            qn__page_cell(p, "%s", qn__page_number(QN_UNIT_PLAIN, b[i].low).s);
            qn__page_cell(p, "%s", qn__page_number(QN_UNIT_PLAIN, b[i].high).s);
        } else if (intervals) {
            qn__page_cell(p, "-");
            qn__page_cell(p, "-");
        }
        if (!drawn(p) && !intervals)
            qn__page_cell(p, "%s", blocks(0, b[i].v / top).s);
    }
    end(p);
}

/* ---- histogram ---- */

/*   count[0 .. n-1]: equal steps from low to high; of values that spread over more than a power of ten, equal factors */
typedef struct bins {
    double low, high;
    bool log;
    size_t n, most, count[BINS];
} bins;

/* Where v lies between low and high, 0..1; and back. */
static double place(const bins *h, double v)
{
    if (!(h->high > h->low))
        return 0;
    const double at = h->log ? log(v / h->low) / log(h->high / h->low) : (v - h->low) / (h->high - h->low);
    return fmin(fmax(at, 0), 1);
}

static double edge(const bins *h, size_t i)
{
    const double at = (double)i / (double)h->n;
    return h->log ? h->low * pow(h->high / h->low, at) : h->low + at * (h->high - h->low);
}

static void fill_bins(bins *h, const double *v, size_t n)
{
    *h = (bins){.low = INFINITY, .high = -INFINITY};
    for (size_t i = 0; i < n; i++) {
        h->low = isfinite(v[i]) ? fmin(h->low, v[i]) : h->low;
        h->high = isfinite(v[i]) ? fmax(h->high, v[i]) : h->high;
    }
    if (!(h->high >= h->low))
        h->low = h->high = 0;
    h->log = h->low > 0 && h->high > 10 * h->low;
    h->n = h->high > h->low ? BINS : 1;
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i])) {
            const size_t k = (size_t)(place(h, v[i]) * (double)h->n);
            h->count[k < h->n ? k : h->n - 1]++;
        }
    for (size_t i = 0; i < h->n; i++)
        h->most = h->count[i] > h->most ? h->count[i] : h->most;
}

static void draw_histogram(qn_page *p, const char *title, qn_page_unit unit, const bins *h, size_t n, const qn_page_mark *marks, size_t n_marks)
{
    const double tall = 120, over = 16 * (double)(n_marks < 6 ? n_marks : 6), wide = 100 / (double)h->n;
    char says[200], tip[120];
    (void)snprintf(says, sizeof says, "%zu values from %s to %s; the highest bar has %zu.", n, qn__page_number(unit, h->low).s,
                   qn__page_number(unit, h->high).s, h->most);
    begin(p, title, says, over + tall + 24);
    for (size_t i = 0; i < h->n; i++) {
        const double high = fmax(1.5, tall * (double)h->count[i] / (double)(h->most ? h->most : 1));
        (void)snprintf(tip, sizeof tip, "%s to %s: %zu", qn__page_number(unit, edge(h, i)).s, qn__page_number(unit, edge(h, i + 1)).s, h->count[i]);
        if (h->count[i])
            rect_at(p, wide * (double)i, over + tall - high, wide - 0.3, high, "c0", tip);
    }
    line_at(p, 0, over + tall, 100, over + tall, "axis");
    text_at(p, 0, over + tall + 16, "start", "s", qn__page_number(unit, h->low).s);
    if (h->n > 1) {
        text_at(p, 50, over + tall + 16, "middle", "s", qn__page_number(unit, edge(h, h->n / 2)).s);
        text_at(p, 100, over + tall + 16, "end", "s", qn__page_number(unit, h->high).s);
    }
    for (size_t i = 0; i < n_marks && i < 6; i++) {
        const double x = 100 * place(h, marks[i].at), y = 16 * (double)i;
        qn_buf t = {0};
        if (!isfinite(marks[i].at))
            continue;
        qn__buf_printf(&t, x > 60 ? "%s %s \xe2\x95\xae" : "\xe2\x95\xad %s %s", clip(marks[i].label).s, qn__page_number(unit, marks[i].at).s);
        line_at(p, x, y + 12, x, over + tall, "mark");
        text_at(p, x, y + 12, x > 60 ? "end" : "start", "", t.data ? t.data : "");
        qn__buf_free(&t);
    }
    end_svg(p);
}

void qn__page_histogram(qn_page *p, const char *title, qn_page_unit unit, const double *v, size_t n, const qn_page_mark *marks, size_t n_marks)
{
    static const qn_page_column columns[] = {{"from", true}, {"to", true}, {"how many", true}, {"", false}};
    bins h;
    if (n == 0 || qn__page_hushed(p))
        return;
    fill_bins(&h, v, n);
    if (drawn(p))
        draw_histogram(p, title, unit, &h, n, marks, n_marks);
    numbers(p, title, columns, drawn(p) ? 3 : 4);
    for (size_t i = 0; i < h.n; i++) {
        if (!h.count[i])
            continue;
        qn__page_cell(p, "%s", qn__page_number(unit, edge(&h, i)).s);
        qn__page_cell(p, "%s", qn__page_number(unit, edge(&h, i + 1)).s);
        qn__page_cell(p, "%zu", h.count[i]);
        if (!drawn(p))
            qn__page_cell(p, "%s", blocks(0, (double)h.count[i] / (double)h.most).s);
    }
    end(p);
}

/* ---- a line over time, with marks ---- */

/* What values lie between, and how high each lies (0 top, 1 bottom). */
typedef struct scale {
    double low, high;
    bool log;
} scale;

static double height_of(const scale *s, double y)
{
    if (!isfinite(y) || (s->log && y <= 0))
        return 1;
    const double v = s->log ? log(y) : y, low = s->log ? log(s->low) : s->low, high = s->log ? log(s->high) : s->high;
    return 1 - (v - low) / (high > low ? high - low : 1);
}

static scale scale_of(const qn_page_line *l)
{
    scale s = {.low = INFINITY, .high = -INFINITY, .log = l->log_y};
    for (size_t i = 0; i < l->n; i++)
        if (isfinite(l->y[i]) && (!s.log || l->y[i] > 0)) {
            s.low = fmin(s.low, l->y[i]);
            s.high = fmax(s.high, l->y[i]);
        }
    if (!(s.high >= s.low))
        return (scale){.low = 0, .high = 1};
    if (!s.log)
        s.low = fmin(0, s.low);
    else
        s.low /= 1.25, s.high *= 1.25;
    if (s.high <= s.low)
        s.high = s.low + 1;
    return s;
}

static double x_of(const qn_page_line *l, size_t i)
{
    return l->x ? l->x[i] : (double)i;
}

static double across(const qn_page_line *l, size_t i)
{
    const double first = x_of(l, 0), wide = x_of(l, l->n - 1) - first;
    return wide > 0 ? (x_of(l, i) - first) / wide : 0.5;
}

/* Of many points, the lowest and the highest of each stretch: a spike is never thinned away. */
static void draw_curve(qn_page *p, const qn_page_line *l, const scale *s)
{
    const size_t stretch = l->n > 2 * CURVE_POINTS ? (l->n + CURVE_POINTS - 1) / CURVE_POINTS : 1;
    for (size_t i = 0; i < l->n; i += stretch) {
        size_t low = i, high = i;
        for (size_t j = i; j < l->n && j < i + stretch; j++) {
            low = l->y[j] < l->y[low] ? j : low;
            high = l->y[j] > l->y[high] ? j : high;
        }
        const size_t a = low < high ? low : high, b = low < high ? high : low;
        qn__buf_printf(&p->out, "%.2f,%.2f ", 1000 * across(l, a), 100 * height_of(s, l->y[a]));
        if (b != a)
            qn__buf_printf(&p->out, "%.2f,%.2f ", 1000 * across(l, b), 100 * height_of(s, l->y[b]));
    }
}

/* Which of the labels so far this one is, in order of their appearance. */
static size_t series_of(const qn_page_mark *marks, size_t i)
{
    size_t series = 0;
    for (size_t j = 0; j <= i; j++) {
        size_t k = 0;
        while (k < j && strcmp(marks[k].label, marks[j].label) != 0)
            k++;
        if (strcmp(marks[j].label, marks[i].label) == 0 && k == j)
            return series;
        series += k == j;
    }
    return series;
}

static void draw_line(qn_page *p, const qn_page_line *l, size_t n_marks)
{
    const double tall = 150;
    const scale s = scale_of(l);
    char says[240], tip[160];
    (void)snprintf(says, sizeof says, "A line of %zu points between %s and %s, with %zu marks.", l->n, qn__page_number(l->y_unit, s.low).s,
                   qn__page_number(l->y_unit, s.high).s, n_marks);
    begin(p, l->title, says, tall + 40);
    for (int i = 0; i <= 2; i++) {
        const double at = i / 2.0, v = s.log ? exp(log(s.high) + at * (log(s.low) - log(s.high))) : s.high + at * (s.low - s.high);
        line_at(p, 0, 14 + at * tall, 100, 14 + at * tall, "axis");
        text_at(p, 0, 11 + at * tall, "start", "s", qn__page_number(l->y_unit, v).s);
    }
    qn__buf_printf(&p->out, "<svg x=\"0\" y=\"14\" width=\"100%%\" height=\"%.0f\" viewBox=\"0 0 1000 100\" preserveAspectRatio=\"none\"><polyline "
                            "class=\"curve\" vector-effect=\"non-scaling-stroke\" points=\"", tall);
    draw_curve(p, l, &s);
    qn__buf_puts(&p->out, "\"/></svg>\n");
    for (size_t i = 0; i < n_marks; i++) {
        const size_t at = (size_t)l->marks[i].at;
        (void)snprintf(tip, sizeof tip, "%.80s: %s", l->marks[i].label, qn__page_number(l->y_unit, l->y[at]).s);
        qn__buf_printf(&p->out, "<circle cx=\"%.3f%%\" cy=\"%.1f\" r=\"4\" class=\"c%zu\"><title>", 100 * across(l, at), 14 + tall * height_of(&s, l->y[at]),
                       (series_of(l->marks, i) + 1) % SERIES);
        qn__page_put(p, tip, strlen(tip));
        qn__buf_puts(&p->out, "</title></circle>\n");
    }
    text_at(p, 0, tall + 32, "start", "s", qn__page_number(l->x_unit, x_of(l, 0)).s);
    text_at(p, 50, tall + 32, "middle", "s", l->x_name);
    text_at(p, 100, tall + 32, "end", "s", qn__page_number(l->x_unit, x_of(l, l->n - 1)).s);
    end_svg(p);
    if (n_marks == 0)
        return;
    legend_begin(p);
    for (size_t i = 0, next = 0; i < n_marks; i++)
        if (series_of(l->marks, i) == next) {
            size_t n = 0;
            for (size_t j = i; j < n_marks; j++)
                n += strcmp(l->marks[j].label, l->marks[i].label) == 0;
            char times[24];
            (void)snprintf(times, sizeof times, "%zu", n);
            legend_item(p, ++next, l->marks[i].label, times);
        }
    legend_end(p);
}

/* Stretches of the line as block characters: the highest value of each. */
static void spark(const qn_page_line *l, qn_buf *b)
{
    enum { WIDE = 64 };
    static const char *const tall[] = {"\xe2\x96\x81", "\xe2\x96\x82", "\xe2\x96\x83", "\xe2\x96\x84", "\xe2\x96\x85", "\xe2\x96\x86", "\xe2\x96\x87", "\xe2\x96\x88"};
    const scale s = scale_of(l);
    const size_t wide = l->n < WIDE ? l->n : WIDE;
    for (size_t i = 0; i < wide; i++) {
        double most = -INFINITY;
        for (size_t j = i * l->n / wide; j < (i + 1) * l->n / wide; j++)
            most = fmax(most, l->y[j]);
        const int level = (int)(7.999 * (1 - height_of(&s, most)));
        qn__buf_puts(b, tall[level < 0 ? 0 : level > 7 ? 7 : level]);
    }
}

void qn__page_line(qn_page *p, const qn_page_line *l)
{
    const qn_page_column columns[] = {{l->x_name, true}, {"value", true}, {"", false}};
    size_t n_marks = l->n_marks < MOST ? l->n_marks : MOST;
    if (l->n == 0 || qn__page_hushed(p))
        return;
    for (size_t i = 0; i < n_marks; i++)
        if (!(l->marks[i].at >= 0 && l->marks[i].at < (double)l->n))
            n_marks = i;
    if (drawn(p)) {
        draw_line(p, l, n_marks);
    } else {
        qn_buf b = {0};
        spark(l, &b);
        qn__page_text(p, "%s: %s", l->title, b.data ? b.data : "");
        qn__buf_free(&b);
        if (p->form == QN_PAGE_TEXT)
            return;
    }
    numbers(p, n_marks ? "Marked" : "Along it", columns, 3);
    const size_t rows = n_marks ? (n_marks < MARK_ROWS ? n_marks : MARK_ROWS) : l->n < 9 ? l->n : 9;
    for (size_t i = 0; i < rows; i++) {
        const size_t at = n_marks ? (size_t)l->marks[i].at : rows > 1 ? i * (l->n - 1) / (rows - 1) : 0;
        qn__page_cell(p, "%s", qn__page_number(l->x_unit, x_of(l, at)).s);
        qn__page_cell(p, "%s", qn__page_number(l->y_unit, l->y[at]).s);
        qn__page_cell(p, "%s", n_marks ? l->marks[i].label : "");
    }
    end(p);
    if (l->n_marks > rows && n_marks)
        qn__page_note(p, "%zu more are marked.", l->n_marks - rows);
}

/* ---- waterfall ---- */

void qn__page_waterfall(qn_page *p, const char *title, double right, const qn_page_span *s, size_t n)
{
    static const qn_page_column columns[] = {{"", false}, {"from", true}, {"took", true}, {"", false}};
    if (n == 0 || qn__page_hushed(p))
        return;
    n = n < MOST ? n : MOST;
    for (size_t i = 0; i < n && right <= 0; i++)
        right = i + 1 == n ? s[i].start + s[i].length : right;
    for (size_t i = 0; i < n; i++)
        right = isfinite(s[i].length) ? fmax(right, s[i].start + s[i].length) : right;
    right = right > 0 ? right : 1;
    if (drawn(p)) {
        char says[120];
        (void)snprintf(says, sizeof says, "%zu steps, one after another, over %s.", n, qn__page_seconds(right).s);
        begin(p, title, says, (double)n * LINE + 22);
        for (size_t i = 0; i < n; i++) {
            const double y = (double)i * LINE;
            char class[8];
            (void)snprintf(class, sizeof class, "c%zu", i % SERIES);
            text_at(p, 0, y + 12, "start", "", clip(s[i].label).s);
            text_at(p, 100, y + 12, "end", "s", qn__page_seconds(s[i].length).s);
            rect_at(p, 0, y + 17, 100, BAR, "bed", NULL);
            if (isfinite(s[i].length))
                rect_at(p, fmin(99.8, 100 * s[i].start / right), y + 17, 100 * s[i].length / right, BAR, class, NULL);
        }
        text_at(p, 0, (double)n * LINE + 16, "start", "s", "0");
        text_at(p, 100, (double)n * LINE + 16, "end", "s", qn__page_seconds(right).s);
        end_svg(p);
    }
    numbers(p, title, columns, drawn(p) ? 3 : 4);
    for (size_t i = 0; i < n; i++) {
        qn__page_cell(p, "%s", s[i].label);
        qn__page_cell(p, "%s", qn__page_seconds(s[i].start).s);
        qn__page_cell(p, "%s", qn__page_seconds(s[i].length).s);
        if (!drawn(p))
            qn__page_cell(p, "%s", blocks(s[i].start / right, s[i].length / right).s);
    }
    end(p);
}

/* ---- memory ---- */

static void stacked(qn_page *p, double y, double high, double whole, const qn_page_part *parts, size_t n)
{
    double at = 0;
    rect_at(p, 0, y, 100, high, "bed", NULL);
    for (size_t i = 0; i < n; i++) {
        char class[8], tip[200];
        if (!(parts[i].bytes > 0))
            continue;
        (void)snprintf(class, sizeof class, "c%zu", i % SERIES);
        (void)snprintf(tip, sizeof tip, "%.120s: %s", parts[i].label, qn__page_bytes(parts[i].bytes).s);
        rect_at(p, fmin(99.8, 100 * at / whole), y, 100 * parts[i].bytes / whole, high, class, tip);
        at += parts[i].bytes;
    }
}

void qn__page_memory(qn_page *p, const char *title, double total, const qn_page_part *parts, size_t n)
{
    static const qn_page_column columns[] = {{"", false}, {"bytes", true}, {"of all", true}, {"", false}};
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += parts[i].bytes > 0 ? parts[i].bytes : 0;
    if (sum <= 0 || qn__page_hushed(p))
        return;
    if (drawn(p)) {
        const bool machine = total > 0 && isfinite(total);
        char says[160];
        (void)snprintf(says, sizeof says, "%s in %zu parts.", qn__page_bytes(sum).s, n);
        begin(p, title, says, machine ? 92 : 46);
        text_at(p, 0, 12, "start", "", "Made of");
        text_at(p, 100, 12, "end", "s", qn__page_bytes(sum).s);
        stacked(p, 18, 22, sum, parts, n);
        if (machine) {
            text_at(p, 0, 60, "start", "", "Of the machine's memory");
            text_at(p, 100, 60, "end", "s", qn__page_bytes(total).s);
            stacked(p, 66, 22, fmax(total, sum), parts, n);
        }
        end_svg(p);
        legend_begin(p);
        for (size_t i = 0; i < n; i++)
            legend_item(p, i, parts[i].label, qn__page_bytes(parts[i].bytes).s);
        legend_end(p);
    }
    numbers(p, title, columns, drawn(p) ? 3 : 4);
    for (size_t i = 0; i < n; i++) {
        qn__page_cell(p, "%s", parts[i].label);
        qn__page_cell(p, "%s", qn__page_bytes(parts[i].bytes).s);
        qn__page_cell(p, "%s", qn__page_percent(parts[i].bytes / sum).s);
        if (!drawn(p))
            qn__page_cell(p, "%s", blocks(0, parts[i].bytes / sum).s);
    }
    if (total > 0 && isfinite(total)) {
        qn__page_cell(p, "the machine has");
        qn__page_cell(p, "%s", qn__page_bytes(total).s);
        qn__page_cell(p, "%s", "");
        if (!drawn(p))
            qn__page_cell(p, " ");
    }
    end(p);
}
