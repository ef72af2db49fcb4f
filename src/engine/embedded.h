/* embedded.h - the model linked into the library: models/seedling-q8_0.gguf, a demonstration and a test fixture. */
#ifndef QN_ENGINE_EMBEDDED_H
#define QN_ENGINE_EMBEDDED_H

#include "quern.h"

/* The GGUF file's bytes, 64-byte aligned, for the life of the process. */
const unsigned char *qn__embedded_model(size_t *size);

#endif
