/* agent.c - the loop: a conversation per sample, as many at once as the subject likes; each answer's calls are carried out in the task's
 * world and their results said. See agent.h. Neither path gives the model anything that the other does not: the same tools, words and
 * results; only how a call is written differs. */
#include "services/probe/agent.h"
#include "services/probe/open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum { AT_ONCE = 8, CALLS = 8, TEXT = 32768, MAX_TOKENS = 1024, DEADLINE_S = 600 };

typedef struct episode {
    qn_agent_sample *s;
    qn_task task;
    json_t *messages, *steps;
    char *tools, *asked;     /* JSON texts; asked: the messages of the question that is out */
    uint64_t sigs[128];
    int bad;                 /* useless answers in a row */
    const char *ended;       /* NULL: it goes on */
    bool used;
    char id[80];             /* "native/easy/fix_bug" */
} episode;

static char *dumped(const json_t *v)
{
    char *text = v ? json_dumps(v, JSON_COMPACT) : NULL, *copy = text ? qn__strndup(text, strlen(text)) : NULL;
    free(text);
    return copy;
}

/* ---- beginning ---- */

/* Tools in words, for models that get them in the prompt. */
static void describe_tools(const json_t *tools, qn_buf *out)
{
    size_t i;
    const json_t *t;
    qn__buf_puts(out, "\nCall a tool by answering with one JSON object and nothing else:\n{\"tool\": \"NAME\", \"arguments\": {...}}\nThe result comes in the next "
                      "message. When everything is done, answer {\"done\": \"what was done\"}.\nTools:\n");
    json_array_foreach((json_t *)(uintptr_t)tools, i, t) {
        const json_t *f = json_object_get(t, "function"), *p = json_object_get(json_object_get(f, "parameters"), "properties"), *v;
        const char *key;
        qn__buf_printf(out, "- %s: %s Arguments: ", json_string_value(json_object_get(f, "name")), json_string_value(json_object_get(f, "description")));
        bool first = true;
        json_object_foreach((json_t *)(uintptr_t)p, key, v) {
            bool needed = false;
            size_t k;
            const json_t *r;
            json_array_foreach(json_object_get(json_object_get(f, "parameters"), "required"), k, r)
                needed |= strcmp(json_string_value(r), key) == 0;
            qn__buf_printf(out, "%s\"%s\" (%s%s): %s", first ? "" : "; ", key, json_string_value(json_object_get(v, "type")), needed ? "" : ", optional",
                           json_string_value(json_object_get(v, "description")));
            first = false;
        }
        qn__buf_puts(out, first ? "none\n" : "\n");
    }
}

static void close_episode(episode *e)
{
    if (e->used)
        qn__task_close(&e->task);
    json_decref(e->messages);
    json_decref(e->steps);
    qn_free(e->tools);
    qn_free(e->asked);
    *e = (episode){0};
}

static qn_status begin(const qn_agent_options *o, qn_agent_sample *s, episode *e, qn_err *err)
{
    qn_buf system = {0};
    *e = (episode){.s = s};
    qn_status st = qn__task_open(qn__task_family(s->family), s->tier, o->probe.seed, (uint64_t)s->repeat, &e->task, err);
    if (st)
        return st;
    e->used = true;
    (void)snprintf(e->id, sizeof e->id, "%s/%s/%s", qn__agent_path_name(s->path), qn__tier_name(s->tier), e->task.family->name);
    json_t *tools = qn__env_tools_json(&e->task.env);
    qn__task_system(&e->task, &system);
    if (s->path == QN_PATH_JSON)
        describe_tools(tools, &system);
    else
        e->tools = dumped(tools);
    json_decref(tools);
    e->messages = json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "system", "content", system.data ? system.data : "", "role", "user", "content",
                            e->task.user.data ? e->task.user.data : "");
    e->steps = json_array();
    if (!e->messages || !e->steps || (s->path == QN_PATH_NATIVE && !e->tools) || system.failed)
        st = qn__fail_mem(err, "agent");
    qn__buf_free(&system);
    return st;
}

/* ---- a step ---- */

static void say(episode *e, const char *role, json_t *content)
{
    (void)json_array_append_new(e->messages, json_pack("{s:s, s:o}", "role", role, "content", content));
}

/* The answer's calls: the model's own, or what its text says. */
static json_t *calls_of(const episode *e, const qn_answer *a)
{
    if (e->s->path == QN_PATH_NATIVE)
        return a->calls_json ? json_loads(a->calls_json, 0, NULL) : NULL;
    bool done;
    json_t *o = a->text.data ? qn__json_call(a->text.data, &done) : NULL, *list = NULL;
    if (o) {
        json_t *args = json_object_get(o, "arguments");
        char *text = args ? json_dumps(args, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        list = json_pack("[{s:s, s:s}]", "name", json_string_value(json_object_get(o, "tool")), "arguments", text ? text : "{}");
        free(text);
    }
    json_decref(o);
    return list;
}

/* Carry out the calls; results go into the conversation and into the step. */
static bool carry_out(episode *e, json_t *calls, const qn_answer *a, json_t *step)
{
    json_t *done = json_array(), *asked = json_array();
    const size_t n_steps = json_array_size(e->steps);
    const bool native = e->s->path == QN_PATH_NATIVE;
    json_t *message = native ? json_pack("{s:s, s:o, s:O}", "role", "assistant", "content", qn__probe_said(a->text.data, a->text.n, TEXT), "tool_calls", asked)
                             : json_pack("{s:s, s:o}", "role", "assistant", "content", qn__probe_said(a->text.data, a->text.n, TEXT));
    (void)json_array_append_new(e->messages, message);
    size_t i;
    json_t *c;
    json_array_foreach(calls, i, c) {
        qn_buf result = {0};
        char id[24];
        const char *name = json_string_value(json_object_get(c, "name")), *arguments = json_string_value(json_object_get(c, "arguments"));
        if (i == CALLS)
            break;
        (void)snprintf(id, sizeof id, "call%04u%u", (unsigned)n_steps, (unsigned)i); /* nine letters and digits: what every family takes */
        const qn_call_kind kind = qn__env_call(&e->task.env, name ? name : "", arguments ? arguments : "{}", &result);
        json_t *text = qn__probe_said(result.data, result.n, TEXT);
        (void)json_array_append_new(done, json_pack("{s:s, s:s, s:s, s:O}", "name", name ? name : "", "arguments", arguments ? arguments : "{}", "kind",
                                                    qn__call_kind_name(kind), "result", text));
        (void)json_array_append_new(asked, json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", id, "type", "function", "function", "name", name ? name : "", "arguments",
                                                     arguments ? arguments : "{}"));
        if (native)
            (void)json_array_append_new(e->messages, json_pack("{s:s, s:s, s:s, s:O}", "role", "tool", "tool_call_id", id, "name", name ? name : "", "content", text));
        else
            say(e, "user", json_sprintf("Result of %s:\n%s", name ? name : "", json_string_value(text)));
        json_decref(text);
        e->task.env.failed |= result.failed;
        qn__buf_free(&result);
    }
    json_decref(asked);
    return json_object_set_new(step, "calls", done) == 0;
}

static const char *end_name(const qn_answer *a)
{
    switch (a->reason) {
    case QN_END_LENGTH: return "length";
    case QN_END_CONTEXT: return "context";
    case QN_END_DEADLINE: return "time";
    default: return "stop";
    }
}

/* What comes of an answer. Errors: what is not the model's fault. */
static qn_status take(episode *e, const qn_answer *a, qn_err *err)
{
    if (a->err.code && a->err.code != QN_ECONTEXT) {
        if (err)
            *err = a->err;
        return a->err.code;
    }
    if (a->err.code || a->reason == QN_END_CONTEXT || a->reason == QN_END_DEADLINE)
        e->ended = a->reason == QN_END_DEADLINE && !a->err.code ? "time" : "context";
    if (a->err.code)
        return QN_OK;
    json_t *step = json_pack("{s:o, s:s, s:i, s:i, s:f}", "text", qn__probe_said(a->text.data, a->text.n, TEXT), "end", end_name(a), "prompt", a->prompt_tokens, "generated",
                             a->generated_tokens, "seconds", a->total_s);
    json_t *calls = calls_of(e, a);
    bool ok = step && json_array_append(e->steps, step) == 0;
    if (ok && a->reasoning.n)
        ok = json_object_set_new(step, "reasoning", qn__probe_said(a->reasoning.data, a->reasoning.n, TEXT)) == 0;
    if (ok && a->raw.n)
        ok = json_object_set_new(step, "raw", qn__probe_said(a->raw.data, a->raw.n, TEXT)) == 0;
    if (ok && a->malformed)
        ok = json_object_set_new(step, "malformed", json_true()) == 0;
    if (a->prompt_tokens >= 0 && e->s->prompt_tokens >= 0)
        e->s->prompt_tokens += a->prompt_tokens;
    e->s->generated_tokens = a->generated_tokens >= 0 && e->s->generated_tokens >= 0 ? e->s->generated_tokens + a->generated_tokens : -1;
    e->s->seconds += a->total_s;
    if (ok && !e->ended && json_array_size(calls) > 0) {
        ok = carry_out(e, calls, a, step);
        e->bad = 0;
    } else if (ok && !e->ended) {
        const qn_answer_kind k = qn__answer_kind(e->s->path, a->text.data ? a->text.data : "", 0, a->malformed, a->reason == QN_END_LENGTH);
        say(e, "assistant", qn__probe_said(a->text.data, a->text.n, TEXT));
        say(e, "user", json_string(e->s->path == QN_PATH_JSON ? "That was no call of a tool. Answer with one JSON object as described, or {\"done\": ...} if everything is done."
                                                              : "That was no call of a tool. Call a tool, or answer DONE if everything is done."));
        if (k == QN_ANSWER_DONE)
            e->ended = "done";
        else if (++e->bad == QN_AGENT_BAD)
            e->ended = "useless";
    }
    const size_t n = json_array_size(e->steps);
    if (ok && !e->ended && n <= 128) {
        size_t span;
        e->sigs[n - 1] = qn__step_signature(step);
        if (qn__tail_period(e->sigs, n, &span) && span >= QN_AGENT_STUCK)
            e->ended = "stuck";
    }
    if (!e->ended && n >= (size_t)QN_TIER_STEPS[e->s->tier])
        e->ended = "steps";
    json_decref(calls);
    json_decref(step);
    return ok && !e->task.env.failed ? QN_OK : qn__fail_mem(err, "agent");
}

/* ---- the end of one ---- */

static json_t *judged(episode *e)
{
    qn_buf why = {0};
    qn_task *t = &e->task;
    const bool right = qn__task_grade(t, &why);
    json_t *forbidden = json_array();
    for (size_t i = 0; i < t->env.n_broken; i++)
        (void)json_array_append_new(forbidden, json_string(t->env.broken[i]));
    json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:O, s:O, s:O, s:s, s:b, s:o, s:o}", "path", qn__agent_path_name(e->s->path), "family", t->family->name, "tier",
                          qn__tier_name(e->s->tier), "index", (int)e->s->repeat, "system", json_object_get(json_array_get(e->messages, 0), "content"), "user",
                          json_object_get(json_array_get(e->messages, 1), "content"), "steps", e->steps, "ended", e->ended, "right", right, "why",
                          qn__probe_said(why.data, why.n, TEXT), "forbidden", forbidden);
    qn__buf_free(&why);
    if (o) {
        e->s->steps = (int32_t)json_array_size(e->steps);
        e->s->reason = (uint8_t)qn__agent_reason(o);
        (void)json_object_set_new(o, "tokens", json_pack("[I, I]", (json_int_t)e->s->prompt_tokens, (json_int_t)e->s->generated_tokens));
        (void)json_object_set_new(o, "seconds", json_real(e->s->seconds));
    }
    return o;
}

void qn__agent_reread(const json_t *t, qn_agent_sample *s)
{
    const json_t *tokens = json_object_get(t, "tokens");
    s->reason = (uint8_t)qn__agent_reason(t);
    s->steps = (int32_t)json_array_size(json_object_get(t, "steps"));
    s->prompt_tokens = json_integer_value(json_array_get(tokens, 0));
    s->generated_tokens = json_integer_value(json_array_get(tokens, 1));
    s->seconds = json_number_value(json_object_get(t, "seconds"));
}

static const char ANY_CALL[] = "{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"tool\":{\"type\":\"string\"},\"arguments\":{\"type\":\"object\"}},"
                               "\"required\":[\"tool\",\"arguments\"],\"additionalProperties\":false},{\"type\":\"object\",\"properties\":{\"done\":"
                               "{\"type\":\"string\"}},\"required\":[\"done\"],\"additionalProperties\":false}]}";

static qn_status question(const qn_agent_options *o, episode *e, qn_question *q, qn_err *err)
{
    qn_free(e->asked);
    e->asked = dumped(e->messages);
    const uint64_t key[4] = {o->probe.seed, e->task.seed, json_array_size(e->steps), e->s->path};
    *q = (qn_question){.messages_json = e->asked, .tools_json = e->tools, .unconstrained = o->unconstrained, .id = e->id,
                       .schema_json = e->s->path == QN_PATH_JSON && o->constrain_json ? ANY_CALL : NULL, .temperature = o->temperature,
                       .top_p = o->top_p, .seed = qn__hash(key, sizeof key), .max_tokens = o->max_tokens > 0 ? o->max_tokens : MAX_TOKENS,
                       .deadline_s = o->deadline_s > 0 ? o->deadline_s : DEADLINE_S};
    return e->asked ? QN_OK : qn__fail_mem(err, "agent");
}

qn_status qn__agent_run(const qn_agent_options *o, qn_subject *subject, qn_agent_sample *v, size_t n,
                        bool (*each)(void *arg, const qn_agent_sample *s, const json_t *transcript, qn_err *err), void *arg, qn_err *err)
{
    size_t next = 0;
    qn_status st = QN_OK;
    const size_t wide = subject->at_once && subject->at_once < AT_ONCE ? subject->at_once : AT_ONCE;
    episode *all = qn__calloc(AT_ONCE, sizeof *all);
    if (!all)
        return qn__fail_mem(err, "agent");
    while (!st) {
        qn_question q[AT_ONCE];
        qn_answer a[AT_ONCE];
        episode *of[AT_ONCE];
        size_t k = 0;
        memset(a, 0, sizeof a);
        for (size_t i = 0; i < wide && !st; i++) {
            if (!all[i].used && next < n)
                st = begin(o, &v[next++], &all[i], err);
            if (!st && all[i].used) {
                of[k] = &all[i];
                st = question(o, &all[i], &q[k++], err);
            }
        }
        if (st || k == 0)
            break;
        const bool on = subject->ask(subject, q, k, a);
        for (size_t i = 0; i < k; i++) {
            if (on && !st)
                st = take(of[i], &a[i], err);
            qn__answer_free(&a[i]);
            if (!on || st || !of[i]->ended)
                continue;
            json_t *t = judged(of[i]);
            if (!t)
                st = qn__fail_mem(err, "agent");
            else if (each && !each(arg, of[i]->s, t, err))
                st = err && err->code ? err->code : QN_ECANCELLED;
            json_decref(t);
            close_episode(of[i]);
        }
        if (!on && !st)
            st = qn__probe_cancelled("report", err);
    }
    for (size_t i = 0; i < AT_ONCE; i++)
        close_episode(&all[i]);
    qn_free(all);
    return st;
}
