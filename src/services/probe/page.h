/* page.h - a report as a page to read: described once, written in one of three forms.
 *
 *   HTML      one file that opens anywhere, offline: styles and drawings (SVG) inside, no script, nothing fetched; readable on a
 *             phone and in print, in light and dark; every drawing has its numbers as a table beneath it
 *   Markdown  for a forge or a note: drawings become small tables
 *   text      for a terminal: likewise; what is folded away in HTML is left out
 *
 * All text is taken as text: whatever a model, a file or a server put into it is escaped here and nowhere else, so a page's author
 * writes plain printf. Nothing fails until qn__page_take: a page that ran out of memory or of its bound (64 MiB) gives no page.
 *
 *   qn__page_begin, then sections with any of the pieces in any order; qn_report_page ends and takes it.
 *
 * Colours are never the only sign of anything. NaN as a number means "not measured" everywhere. */
#ifndef QN_SERVICES_PROBE_PAGE_H
#define QN_SERVICES_PROBE_PAGE_H

#include <jansson.h>

#include "base/str.h"

enum { QN_PAGE_COLUMNS = 24 };

typedef enum qn_tone { QN_TONE_PLAIN, QN_TONE_GOOD, QN_TONE_WARN, QN_TONE_BAD, QN_TONE_SOFT } qn_tone;

typedef struct qn_page_column {
    const char *name; /* lives until qn__page_table_end */
    bool number;      /* to the right */
} qn_page_column;

typedef struct qn_page {
    qn_buf out;
    qn_page_form form;
    int drawings;  /* so far: their ids */
    int folded;    /* open folds */
    bool begun, in_section, in_table;
    const char *caption;
    qn_page_column columns[QN_PAGE_COLUMNS];
    size_t n_columns, n_cells;
    qn_buf cells;  /* of the table being made: tone, text, NUL; again and again */
} qn_page;

/* ---- words and tables (page.c) ---- */

/* The page's title, and a first paragraph under it. */
void qn__page_begin(qn_page *p, const char *title, const char *lead, ...) QN_PRINTF(3, 4);
void qn__page_end(qn_page *p);
/* Begins one and ends the one before. */
void qn__page_section(qn_page *p, const char *title, ...) QN_PRINTF(2, 3);
void qn__page_text(qn_page *p, const char *fmt, ...) QN_PRINTF(2, 3);
/* A paragraph in small print: what a figure leaves out, where it comes from. */
void qn__page_note(qn_page *p, const char *fmt, ...) QN_PRINTF(2, 3);
/* A word in a box, coloured by its tone, and what it means. */
void qn__page_verdict(qn_page *p, qn_tone tone, const char *word, const char *fmt, ...) QN_PRINTF(4, 5);
/* Names and values: _begin, _fact ..., _end. */
void qn__page_facts(qn_page *p);
void qn__page_fact(qn_page *p, const char *name, const char *fmt, ...) QN_PRINTF(3, 4);
void qn__page_facts_end(qn_page *p);
/* _table, then cells from left to right and row after row, then _end. caption may be NULL. n <= QN_PAGE_COLUMNS. */
void qn__page_table(qn_page *p, const char *caption, const qn_page_column *columns, size_t n);
void qn__page_cell(qn_page *p, const char *fmt, ...) QN_PRINTF(2, 3);
void qn__page_cell_as(qn_page *p, qn_tone tone, const char *fmt, ...) QN_PRINTF(3, 4);
void qn__page_table_end(qn_page *p);
/* Folded away until asked for (transcripts); in text left out. May hold anything but sections; may be nested. */
void qn__page_fold(qn_page *p, const char *title, ...) QN_PRINTF(2, 3);
void qn__page_fold_end(qn_page *p);
/* Text as it stands: code, transcripts. Any bytes. */
void qn__page_code(qn_page *p, const char *text, size_t n);

/* ---- drawings (page_draw.c); each is followed by its numbers ---- */

/* A value of 0..1 for every row and column, from bad to good; NaN: not measured. words: what stands in the cells ("7/8"), or NULL:
 * per cent. Both [rows * columns], row after row. */
typedef struct qn_page_heat {
    const char *title, *row_name, *column_name;
    size_t rows, columns;
    const char *const *row_labels, *const *column_labels;
    const double *v;
    const char *const *words;
} qn_page_heat;
void qn__page_heat(qn_page *p, const qn_page_heat *h);

typedef struct qn_page_bar {
    const char *label;
    double v, low, high; /* low, high: an interval around v; both 0 (or NaN): none */
    const char *words;   /* instead of the number; NULL: %.3g and the unit */
    qn_tone tone;
} qn_page_bar;
/* top: the value at the right end, which every bar is measured against (1 for rates); 0: the largest. unit: "tok/s", "" */
void qn__page_bars(qn_page *p, const char *title, const char *unit, double top, const qn_page_bar *b, size_t n);

/* at: a place on the axis; the same label is the same colour. */
typedef struct qn_page_mark {
    double at;
    const char *label;
} qn_page_mark;
typedef enum qn_page_unit { QN_UNIT_PLAIN, QN_UNIT_SECONDS, QN_UNIT_BYTES, QN_UNIT_PERCENT } qn_page_unit; /* PERCENT: of 0..1 */
/* How often v[n] lies where. marks: values of note (p50, p99), as lines. Values over more than a power of ten get a logarithmic axis. */
void qn__page_histogram(qn_page *p, const char *title, qn_page_unit unit, const double *v, size_t n, const qn_page_mark *marks,
                        size_t n_marks);
/* y[n] over x[n] (NULL: 0, 1, 2, ...), x ascending. A mark's `at` is an index. log_y: powers of ten, y > 0. In text only a row of blocks:
 * what is marked belongs into a table of its own. */
typedef struct qn_page_line {
    const char *title, *x_name;
    qn_page_unit x_unit, y_unit;
    bool log_y;
    const double *x, *y;
    size_t n;
    const qn_page_mark *marks;
    size_t n_marks;
} qn_page_line;
void qn__page_line(qn_page *p, const qn_page_line *l);

/* What came after what: from `start` for `length` seconds. */
typedef struct qn_page_span {
    const char *label;
    double start, length;
} qn_page_span;
/* end: the right end of the axis, so that two waterfalls may share one; 0: where the last span ends. */
void qn__page_waterfall(qn_page *p, const char *title, double end, const qn_page_span *s, size_t n);

typedef struct qn_page_part {
    const char *label;
    double bytes;
} qn_page_part;
/* What memory is taken by, as one bar; and that bar against `total` bytes of the machine (0: not known). */
void qn__page_memory(qn_page *p, const char *title, double total, const qn_page_part *parts, size_t n);

/* ---- numbers as words: qn__page_bytes(x).s inside an argument list; NaN: "not known" ---- */

typedef struct qn_word {
    char s[40];
} qn_word;
qn_word qn__page_seconds(double s); /* 12.3 µs, 4.56 ms, 2 min 3 s */
qn_word qn__page_bytes(double n);   /* 512 B, 1.5 MiB */
qn_word qn__page_count(double n);   /* 1 234 567 (narrow spaces) */
qn_word qn__page_percent(double share); /* of 0..1: 97.5 % */
qn_word qn__page_number(qn_page_unit unit, double v);

/* ---- reading reports, which may have been written by anyone: what is missing or of another type is "" or NaN ---- */

/* path: members with dots between: "machine.cpu". */
const json_t *qn__page_at(const json_t *o, const char *path);
const char *qn__page_str(const json_t *o, const char *path);
double qn__page_num(const json_t *o, const char *path); /* of booleans 0 and 1 */

/* What qn__machine_json says, as facts; NULL: nothing. */
void qn__page_machine(qn_page *p, const json_t *machine);

/* ---- one kind of report each, in KIND_page.c; registered in page.c ---- */

qn_status qn__page_of_inspect(qn_page *p, const json_t *report, qn_err *err);
qn_status qn__page_of_eval(qn_page *p, const json_t *report, qn_err *err);
qn_status qn__page_of_audit(qn_page *p, const json_t *report, qn_err *err);
qn_status qn__page_of_agent(qn_page *p, const json_t *report, qn_err *err);
qn_status qn__page_of_compare(qn_page *p, const json_t *report, qn_err *err);

/* ---- shared by page.c and page_draw.c ---- */

/* Text, escaped as the form wants it. */
void qn__page_put(qn_page *p, const char *text, size_t n);
/* Is what comes now folded away and left out? Then nothing may be put. */
bool qn__page_hushed(const qn_page *p);

#endif
