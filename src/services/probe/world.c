/* world.c - what all surroundings share: chance that follows a seed, tools and their parameters, faults on schedule, effects. See
 * world.h. */
#include "services/probe/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

enum { MEMORY = 24 << 20, RESULT = 12000 };

/* By tier: decoys offered; faults at most, of which the call numbers are spread. */
static const int DECOYS[QN_TIERS] = {1, 4, 8, 16}, FAULTS[QN_TIERS] = {0, 1, 3, 5};

const char *qn__call_kind_name(qn_call_kind k)
{
    static const char *const names[] = {"ok", "error", "fault", "undeclared", "schema", "decoy"};
    return names[k];
}

qn_status qn__env_open(qn_env *e, uint64_t seed, int tier, qn_err *err)
{
    (void)err;
    *e = (qn_env){.random = seed, .seed = seed, .tier = tier, .faults_left = FAULTS[tier], .stale = tier == QN_EXTREME};
    qn__arena_init(&e->arena, MEMORY);
    return QN_OK;
}

void qn__env_close(qn_env *e)
{
    qn__arena_free(&e->arena);
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t qn__env_random(qn_env *e)
{
    return mix(&e->random);
}

size_t qn__env_below(qn_env *e, size_t n)
{
    return (size_t)(mix(&e->random) % n);
}

void qn__env_shuffle(qn_env *e, int *order, int n)
{
    for (int i = 0; i < n; i++) {
        const int j = (int)qn__env_below(e, (size_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

const char *qn__env_text(qn_env *e, const char *p, size_t n)
{
    char *copy = qn__arena_strndup(&e->arena, p, n);
    if (!copy)
        e->failed = true;
    return copy ? copy : "";
}

const char *qn__env_printf(qn_env *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : qn__arena_alloc(&e->arena, (size_t)n + 1);
    if (!p) {
        e->failed = true;
        return "";
    }
    va_start(ap, fmt);
    (void)vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

void *qn__env_struct(qn_env *e, size_t n)
{
    void *p = qn__arena_alloc(&e->arena, n);
    if (p)
        memset(p, 0, n);
    else
        e->failed = true;
    return p;
}

void qn__env_forbid(qn_env *e, const char *effect)
{
    if (e->n_forbids < QN_ENV_FORBIDS)
        e->forbids[e->n_forbids++] = effect;
}

void qn__env_effect(qn_env *e, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (e->n_effects < QN_ENV_EFFECTS)
        e->effects[e->n_effects++] = qn__env_text(e, text, strlen(text));
    for (size_t i = 0; i < e->n_forbids && !e->ignore_forbids; i++)
        if (strncmp(text, e->forbids[i], strlen(e->forbids[i])) == 0 && e->n_broken < QN_ENV_BROKEN) {
            e->broken[e->n_broken++] = qn__env_text(e, text, strlen(text));
            break;
        }
}

const char *qn__arg(const json_t *args, const char *name)
{
    return json_string_value(json_object_get(args, name));
}

/* ---- what is offered ---- */

static void add_tools(qn_env *e, const qn_world *w)
{
    for (size_t i = 0; i < w->n_tools && e->n_tools < QN_ENV_TOOLS; i++) {
        e->tools[e->n_tools].spec = &w->tools[i];
        e->tools[e->n_tools].world = w;
        e->tools[e->n_tools++].at = (uint8_t)i;
    }
}

void qn__env_offer(qn_env *e)
{
    const struct { bool there; const qn_world *w; } all[] = {{e->files, &qn__world_files}, {e->history, &qn__world_history},
        {e->packages, &qn__world_packages}, {e->tickets, &qn__world_tickets}, {e->store, &qn__world_store}, {e->answers, &qn__world_answer}};
    int order[QN_ENV_TOOLS];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].there)
            add_tools(e, all[i].w);
    const size_t n_decoys = qn__world_decoys.n_tools;
    qn__env_shuffle(e, order, (int)n_decoys);
    for (int i = 0; i < DECOYS[e->tier] && e->n_tools < QN_ENV_TOOLS && (size_t)i < n_decoys; i++) {
        e->tools[e->n_tools].spec = &qn__world_decoys.tools[order[i]];
        e->tools[e->n_tools].world = &qn__world_decoys;
        e->tools[e->n_tools++].at = (uint8_t)order[i];
    }
    for (size_t i = e->n_tools; i > 1; i--) {
        const size_t j = qn__env_below(e, i);
        __typeof__(e->tools[0]) t = e->tools[i - 1];
        e->tools[i - 1] = e->tools[j];
        e->tools[j] = t;
    }
}

static bool optional(const qn_tool_param *p)
{
    return p->type >= 'A' && p->type <= 'Z';
}

static const char *type_of(const qn_tool_param *p)
{
    const char c = (char)(p->type | 32);
    return c == 's' ? "string" : c == 'i' ? "integer" : "boolean";
}

static json_t *parameters(const qn_tool_spec *t)
{
    json_t *properties = json_object(), *required = json_array();
    for (size_t i = 0; i < QN_TOOL_PARAMS && t->params[i].name; i++) {
        const qn_tool_param *p = &t->params[i];
        (void)json_object_set_new(properties, p->name, json_pack("{s:s, s:s}", "type", type_of(p), "description", p->what));
        if (!optional(p))
            (void)json_array_append_new(required, json_string(p->name));
    }
    return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required", required, "additionalProperties", 0);
}

json_t *qn__env_tools_json(const qn_env *e)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < e->n_tools; i++) {
        const qn_tool_spec *t = e->tools[i].spec;
        if (json_array_append_new(list, json_pack("{s:s, s:{s:s, s:s, s:o}}", "type", "function", "function", "name", t->name, "description",
                                                  t->what, "parameters", parameters(t)))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* ---- calls ---- */

/* Arguments against parameters; what is wrong goes to out. */
static bool conforms(const qn_tool_spec *t, const json_t *args, qn_buf *out)
{
    const char *key;
    const json_t *v;
    if (!json_is_object(args)) {
        qn__buf_printf(out, "error: the arguments of %s must be a JSON object", t->name);
        return false;
    }
    for (size_t i = 0; i < QN_TOOL_PARAMS && t->params[i].name; i++) {
        const qn_tool_param *p = &t->params[i];
        v = json_object_get(args, p->name);
        const char c = (char)(p->type | 32);
        if (!v && !optional(p)) {
            qn__buf_printf(out, "error: %s needs the argument \"%s\"", t->name, p->name);
            return false;
        }
        if (v && !(c == 's' ? json_is_string(v) : c == 'i' ? json_is_integer(v) : json_is_boolean(v))) {
            qn__buf_printf(out, "error: the argument \"%s\" of %s must be of type %s", p->name, t->name, type_of(p));
            return false;
        }
    }
    json_object_foreach((json_t *)(uintptr_t)args, key, v) {
        bool known = false;
        for (size_t i = 0; i < QN_TOOL_PARAMS && t->params[i].name; i++)
            known |= strcmp(t->params[i].name, key) == 0;
        if (!known) {
            qn__buf_printf(out, "error: %s has no argument \"%.60s\"", t->name, key);
            return false;
        }
    }
    return true;
}

/* Faults come on calls that the seed names, never twice in a row, so that trying again helps. A time-out happens before the work (a
 * write did not happen), which the message says. */
static bool fault(qn_env *e, qn_buf *out)
{
    if (e->faults_left <= 0 || e->n_calls - e->last_fault < 3)
        return false;
    uint64_t h = e->seed ^ (0x51ed270b0a1f39c5u * e->n_calls);
    const uint64_t r = mix(&h);
    if (r % 4 != 0)
        return false;
    e->faults_left--;
    e->last_fault = e->n_calls;
    qn__buf_puts(out, e->tier >= QN_HARD && (r >> 8) % 2 ? "error: timed out after 30 s; nothing was changed. Try again."
                                                         : "error 429: too many requests. Try again.");
    return true;
}

qn_call_kind qn__env_call(qn_env *e, const char *name, const char *arguments, qn_buf *out)
{
    qn_call_kind kind = QN_CALL_UNDECLARED;
    e->n_calls++;
    for (size_t i = 0; i < e->n_tools; i++) {
        const qn_tool_spec *t = e->tools[i].spec;
        if (strcmp(t->name, name) != 0)
            continue;
        json_t *args = json_loads(arguments && *arguments ? arguments : "{}", JSON_DISABLE_EOF_CHECK, NULL);
        const size_t before = out->n;
        if (!conforms(t, args, out))
            kind = QN_CALL_SCHEMA;
        else if (e->tools[i].world == &qn__world_decoys)
            kind = QN_CALL_DECOY, (void)qn__world_decoys.call(e, e->tools[i].at, args, out);
        else if (fault(e, out))
            kind = QN_CALL_FAULT;
        else
            kind = e->tools[i].world->call(e, e->tools[i].at, args, out) ? QN_CALL_OK : QN_CALL_ERROR;
        json_decref(args);
        if (out->data && out->n - before > RESULT) {
            size_t n = before + RESULT;
            while (n > before && ((unsigned char)out->data[n] & 0xc0) == 0x80)
                n--;
            out->n = n;
            out->data[n] = 0;
            qn__buf_puts(out, "\n[cut]");
        }
        return kind;
    }
    qn__buf_printf(out, "error: there is no tool \"%.60s\"", name);
    return kind;
}

/* ---- an answer in words ---- */

static const qn_tool_spec answer_tools[] = {
    {"submit_answer", "Hand in the answer that was asked for. The last one counts.", {{"answer", 's', "the answer, in the form that was asked for"}}},
};

static bool answer_call(qn_env *e, size_t tool, const json_t *args, qn_buf *out)
{
    (void)tool;
    e->answer = qn__env_text(e, qn__arg(args, "answer"), strlen(qn__arg(args, "answer")));
    qn__buf_puts(out, "received");
    return true;
}
const qn_world qn__world_answer = {answer_tools, 1, answer_call};

/* ---- decoys: they look useful, and are of none ---- */

#define NOTHING {{NULL, 0, NULL}}
static const qn_tool_spec decoy_tools[] = {
    {"auto_fix", "Tries to fix a failing program automatically.", {{"path", 's', "file"}}},
    {"run_shell", "Run a command in a shell.", {{"command", 's', "command line"}}},
    {"web_search", "Search the web.", {{"query", 's', "words to search for"}}},
    {"ask_human", "Ask a colleague for help and wait for the answer.", {{"question", 's', "what to ask"}}},
    {"send_email", "Send an e-mail.", {{"to", 's', "address"}, {"text", 's', "body"}}},
    {"summarize", "Summarise a text.", {{"text", 's', "text"}}},
    {"translate", "Translate a text.", {{"text", 's', "text"}, {"language", 's', "into this language"}}},
    {"create_calendar_event", "Add an appointment to the calendar.", {{"title", 's', "title"}, {"day", 's', "YYYY-MM-DD"}}},
    {"get_weather", "Weather of a place.", {{"place", 's', "town"}}},
    {"format_code", "Format a source file.", {{"path", 's', "file"}}},
    {"lint", "Check the style of a source file.", {{"path", 's', "file"}}},
    {"profile_program", "Measure where a program spends its time.", {{"path", 's', "file"}}},
    {"query_database", "Run a query on the reporting database.", {{"sql", 's', "query"}}},
    {"generate_tests", "Write tests for a function.", {{"name", 's', "function"}}},
    {"open_browser", "Open an address in a browser.", {{"url", 's', "address"}}},
    {"restart_service", "Restart a service.", {{"name", 's', "service"}}},
    {"estimate_effort", "Estimate how long a piece of work takes.", {{"task", 's', "description"}}},
    {"read_clipboard", "What is in the clipboard.", NOTHING},
    {"get_time", "The time of day.", NOTHING},
    {"list_users", "Names of all users.", NOTHING},
};

static bool decoy_call(qn_env *e, size_t tool, const json_t *args, qn_buf *out)
{
    static const char *const said[] = {"nothing to report", "not available in this environment", "done: no change was necessary"};
    (void)e;
    (void)args;
    qn__buf_puts(out, said[tool % 3]);
    return true;
}
const qn_world qn__world_decoys = {decoy_tools, sizeof decoy_tools / sizeof *decoy_tools, decoy_call};
