/* ollama.h - what the files of Ollama's protocol share. */
#ifndef QN_SERVICES_API_OLLAMA_H
#define QN_SERVICES_API_OLLAMA_H

#include "services/api/routes.h"

/* Unix time as it writes it: "2026-01-02T03:04:05.000000Z", quoted. */
void api_ollama_put_time(qn_buf *out, int64_t when);

#endif
