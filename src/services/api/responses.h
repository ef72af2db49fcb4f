/* responses.h - what the reader and the writer of OpenAI's responses share. */
#ifndef QN_SERVICES_API_RESPONSES_H
#define QN_SERVICES_API_RESPONSES_H

#include "services/api/routes.h"

void api_responses_read(api_ask *a, const api_at *body);

#endif
