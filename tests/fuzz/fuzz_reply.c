/* fuzz_reply.c - the input is a model's output: byte 0 chooses the dialect, byte 1 whether the prompt ends inside reasoning and whether a
 * grammar is taken to have held, byte 2 how the output is cut. Demanded: parts are UTF-8; calls begin once, in order; the arguments of a
 * complete call are a JSON object; cut otherwise, it says the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/toolcall/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char tools[] =
    "[{\"name\":\"run\",\"parameters\":{\"type\":\"object\",\"properties\":{\"cmd\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"},"
    "\"ok\":{\"type\":[\"boolean\",\"null\"]},\"any\":{}}}},{\"name\":\"now\"}]";

typedef struct said {
    qn_buf log, args;
    int calls, ended, last;
} said;

static void demand(bool ok, const char *what)
{
    if (!ok) {
        (void)fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void part(void *arg, const qn_part *p)
{
    said *s = arg;
    demand(qn__utf8_valid(p->text ? p->text : "", p->n), "a part is not UTF-8");
    int kind = (int)p->kind;
    if (kind != s->last || p->kind == QN_PART_CALL || p->kind == QN_PART_CALL_END)
        qn__buf_printf(&s->log, "|%d:", kind);
    s->last = kind;
    switch (p->kind) {
    case QN_PART_CALL:
        demand(p->call == s->calls && p->name && *p->name, "a call out of order or without a name");
        s->calls++;
        s->args.n = 0;
        qn__buf_puts(&s->log, p->name);
        break;
    case QN_PART_ARGUMENTS:
        demand(p->call == s->calls - 1, "arguments of another call");
        qn__buf_put(&s->args, p->text, p->n);
        break;
    case QN_PART_CALL_END: {
        demand(p->call == s->calls - 1 && p->n > 0, "the end of another call");
        /* Of a key that comes twice the last counts, in whatever reads it. */
        json_t *j = json_loadb(s->args.data, s->args.n, JSON_ALLOW_NUL, NULL);
        /* What our scanner lets through and the library does not: numbers out of range, lone surrogates. */
        if (!json_is_object(j))
            demand(s->args.n > 1 && s->args.data[0] == '{' && s->args.data[s->args.n - 1] == '}', "arguments are not an object");
        json_decref(j);
        s->ended++;
        break;
    }
    default: demand(p->n > 0, "an empty part");
    }
    if (p->kind != QN_PART_CALL_END)
        qn__buf_put(&s->log, p->text ? p->text : "", p->n);
}

static void parse(const qn_calls *c, const char *prompt, const char *text, size_t n, size_t step, said *s)
{
    qn_thinking thinking[QN_MAX_THINKING];
    size_t n_thinking = qn__thinking_of("[THINK]<|START_THINKING|>", 25, thinking);
    qn_parse *p = NULL;
    if (qn__parse_open(c, c->dialect, thinking, n_thinking, prompt, strlen(prompt), &p, NULL))
        abort();
    for (size_t i = 0; i < n; i += step)
        (void)qn__parse_put(p, text + i, n - i < step ? n - i : step, part, s, NULL);
    (void)qn__parse_end(p, part, s, NULL);
    qn__parse_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    size_t n_dialects = 0;
    while (qn__dialect(n_dialects))
        n_dialects++;
    const qn_dialect *d = qn__dialect(data[0] % n_dialects);
    qn_calls *c = NULL;
    said a = {.last = -1}, b = {.last = -1};
    const char *text = (const char *)data + 3, *prompt = data[1] & 1 ? "<think>\n" : "";
    size_t n = size - 3;
    if (qn__calls_open(tools, &c, NULL) || qn__calls_detect(c, &(qn_probe){0}, d->name, NULL))
        abort();
    c->exact = data[1] & 2;
    parse(c, prompt, text, n, n ? n : 1, &a);
    parse(c, prompt, text, n, (size_t)data[2] % 7 + 1, &b);
    demand(a.log.n == b.log.n && a.ended == b.ended && (!a.log.n || memcmp(a.log.data, b.log.data, a.log.n) == 0),
           "cut otherwise, it says something else");
    qn__buf_free(&a.log);
    qn__buf_free(&a.args);
    qn__buf_free(&b.log);
    qn__buf_free(&b.args);
    qn__calls_close(c);
    return 0;
}
