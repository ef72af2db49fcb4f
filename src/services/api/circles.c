/* circles.c - the loop guard of requests: off unless asked for. "x-quern-loop": "report" (or true) tells of a loop, "stop" also ends the
 * answer that is in one. See text/loop.h for what counts as a loop.
 *
 *   in the conversation   known before the answer: header X-Quern-Loop
 *   in the answer         known as it comes: `loop` beside finish_reason; and, if asked, the end of it
 *
 * Both count in the metric quern_loops_total. "perturb": where the output's tokens have become a cycle, the engine makes the model leave
 * it (qn_request_options.break_loops); `loop` then says how often. What is spoken of as an object, {"action": WORD}, means the same. */
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "services/api/ask_int.h"
#include "services/api/serve.h"

void api_read_loop(api_ask *a, const api_at *body)
{
    const api_at f = api_field(body, "x-quern-loop");
    const char *word = json_string_value(json_is_object(f.j) ? json_object_get(f.j, "action") : f.j);
    if (!f.j || json_is_null(f.j))
        return;
    if (json_is_false(f.j) || (word && strcmp(word, "off") == 0))
        a->loop = QN_LOOPS_OFF;
    else if (json_is_true(f.j) || (word && strcmp(word, "report") == 0))
        a->loop = QN_LOOPS_REPORT;
    else if (word && strcmp(word, "stop") == 0)
        a->loop = QN_LOOPS_STOP;
    else if (word && strcmp(word, "perturb") == 0)
        a->loop = QN_LOOPS_PERTURB;
    else
        api_refuse(&f, "must be \"off\", \"report\", \"stop\" or \"perturb\", or {\"action\":...} with one of them");
}

qn_status api_loop_look(api_ask *a, qn_err *err)
{
    qn_loop l = {0};
    if (a->loop == QN_LOOPS_OFF || a->mode != API_CHAT)
        return QN_OK;
    qn_status st = qn__loop_conversation(a->canon ? a->canon : a->messages, &l, err);
    if (!st && l.kind != QN_LOOP_NONE) {
        char text[96];
        (void)snprintf(text, sizeof text, "%s; period=%u; count=%u%s", qn__loop_name(l.kind), l.period, l.count, l.near ? "; near" : "");
        http_set_header(a->x, "X-Quern-Loop", text);
        atomic_fetch_add(&a->server->totals.loops, 1);
    }
    return st;
}

qn_status api_loop_open(api_choice *c, qn_err *err)
{
    return c->ask->loop == QN_LOOPS_OFF ? QN_OK : qn__loop_open(NULL, &c->watch, err);
}

bool api_loop_see(api_choice *c, const qn_event *ev)
{
    if (!c->watch || c->loop.kind != QN_LOOP_NONE)
        return false;
    qn__loop_text(c->watch, ev->text, ev->n_text);
    /* One by one: where loops are left at once, some tokens later there is none. */
    for (size_t i = 0; i < ev->n_tokens && c->loop.kind == QN_LOOP_NONE; i++) {
        qn__loop_tokens(c->watch, &ev->tokens[i], 1);
        c->loop = qn__loop_now(c->watch);
    }
    if (c->loop.kind == QN_LOOP_NONE)
        return false;
    atomic_fetch_add(&c->ask->server->totals.loops, 1);
    c->stopped = c->ask->loop == QN_LOOPS_STOP;
    return c->stopped;
}

void api_put_loop(const api_choice *c, qn_buf *out)
{
    if (c && c->loop.kind != QN_LOOP_NONE)
        qn__buf_printf(out, ",\"loop\":{\"kind\":\"%s\",\"period\":%u,\"count\":%u,\"near\":%s,\"stopped\":%s}", qn__loop_name(c->loop.kind),
                       c->loop.period, c->loop.count, c->loop.near ? "true" : "false", c->stopped ? "true" : "false");
    if (c && c->loop.kind != QN_LOOP_NONE && c->ask->loop == QN_LOOPS_PERTURB) {
        out->n--; /* the brace */
        qn__buf_printf(out, ",\"perturbed\":%d}", (int)c->timings.broken_loops);
    }
}
