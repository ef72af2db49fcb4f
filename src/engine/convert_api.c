/* convert_api.c - the public names of the conversion. */
#include "model/convert.h"

void qn_convert_options_init(qn_convert_options *o)
{
    *o = (qn_convert_options){.type = QN_CONVERT_AUTO};
}

qn_status qn_convert(const qn_convert_options *o, qn_convert_result *result, qn_err *err)
{
    return qn__convert(o, result, err);
}

const char *qn_convert_architecture(size_t i)
{
    return qn__convert_name(i);
}
