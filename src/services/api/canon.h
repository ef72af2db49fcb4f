/* canon.h - one form for what clients send in many: so that the same conversation is the same prompt, and its pages are found.
 *
 *   content        a string; several text parts stand one under another; absent for nothing
 *   roles          developer is system; the first system texts are one message
 *   calls          id, function.name, function.arguments; a tool's message has its function's name
 *   reasoning      reasoning_content, whatever it was called
 *   dropped        cache_control, annotations, the billing header that Claude Code puts before the first system text (it changes
 *                  from request to request) and every other field
 *
 * Refuses parts that are no text (images, audio), with their way. */
#ifndef QN_SERVICES_API_CANON_H
#define QN_SERVICES_API_CANON_H

#include "services/api/json.h"

/* How far a conversation is bent until the template takes it. */
typedef enum api_bend {
    API_AS_IS,
    API_LATE_SYSTEM_IS_USER, /* system texts behind the first place, and users in a row, become one user's text */
    API_NO_SYSTEM,           /* the first one, too */
    API_BENDS
} api_bend;

/* A new array. */
qn_status api_canon_messages(json_t *messages, json_t **out, qn_err *err);
/* A new array, bent; messages are canonical. */
json_t *api_canon_bend(const json_t *messages, api_bend how);
/* Tools as the template sees them: without those that are deferred, without what is not the function's. A new array, or NULL
 * when none is left (or no memory). */
json_t *api_canon_tools(const json_t *tools);

#endif
