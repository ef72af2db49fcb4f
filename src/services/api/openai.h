/* openai.h - what the writers of OpenAI's forms share. */
#ifndef QN_SERVICES_API_OPENAI_H
#define QN_SERVICES_API_OPENAI_H

#include "services/api/routes.h"

/* `{"id":"PREFIX-...","object":"OBJECT","created":...,"model":"..."`, left open. */
void api_openai_begin(api_ask *a, const char *prefix, const char *object, qn_buf *out);
/* `,"usage":{...},"timings":{...}` */
void api_openai_usage(const api_ask *a, qn_buf *out);
/* "stop", "length", "tool_calls" */
const char *api_openai_finish(api_finish f);
/* n, logprobs aside: model, max_tokens, stream, stream_options, sampling, stop. */
void api_openai_read(api_ask *a, const api_at *body);

#endif
