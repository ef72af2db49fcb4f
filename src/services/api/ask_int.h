/* ask_int.h - what ask.c, answer.c, forms.c and render.c share. See ask.h. */
#ifndef QN_SERVICES_API_ASK_INT_H
#define QN_SERVICES_API_ASK_INT_H

#include "services/api/ask.h"

/* answer.c: the sink of a choice's job */
void api__answer_event(void *choice, const qn_event *ev);
void api__ask_free(void *ask);

/* render.c: a->messages to a->rendered */
qn_status api_render(api_ask *a, qn_err *err);
/* The conversation with these messages behind it. */
qn_status api_render_with(api_ask *a, json_t *messages, char **text, size_t *n, qn_err *err);

/* forms.c: what output must look like, and how it is taken apart */
qn_status api_forms_open(api_ask *a, qn_err *err);
void api_forms_close(api_ask *a);
const qn_grammar *api_forms_grammar(const api_ask *a);
qn_status api_parts_open(api_choice *c, qn_err *err);
void api_parts_close(api_choice *c);
/* Something else that takes text apart as answers of the ask are. */
qn_status api_forms_reply(const api_ask *a, qn_reply **out, qn_err *err);
/* The next bytes of output, or its end: calls api__answer_part. */
qn_status api_parts_put(api_choice *c, const char *text, size_t n, qn_err *err);
qn_status api_parts_end(api_choice *c, qn_err *err);
void api__answer_part(void *choice, const qn_part *p);

/* circles.c: the conversation is looked at; a choice is watched; true: it goes in circles and is to end */
qn_status api_loop_look(api_ask *a, qn_err *err);
qn_status api_loop_open(api_choice *c, qn_err *err);
bool api_loop_see(api_choice *c, const qn_event *ev);

/* sessions.c: who asks, and for which conversation; 0: not said */
uint64_t api_client_of(const api_ask *a);
uint64_t api_session_of(const api_ask *a);

#endif
