/* convert.h - a Hugging Face checkpoint folder -> a GGUF file: the body of qn_convert. */
#ifndef QN_MODEL_CONVERT_H
#define QN_MODEL_CONVERT_H

#include "quern.h"

/* As qn_convert in quern.h. */
qn_status qn__convert(const qn_convert_options *o, qn_convert_result *result, qn_err *err);
/* The i-th architecture name (as config.json has it) that can be converted, NULL past the end. */
const char *qn__convert_name(size_t i);

#endif
