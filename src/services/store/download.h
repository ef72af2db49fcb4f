/* download.h - a file from a public address, into memory: nothing of it is on disk until whoever asked has looked at it.
 *
 * Only https; http to this machine's own loopback, for tests and mirrors. Redirections lead to https only. The size is bounded by the
 * caller, waiting by time without a byte. Refuses everything else; what was received of a transfer that failed is dropped. */
#ifndef QN_SERVICES_STORE_DOWNLOAD_H
#define QN_SERVICES_STORE_DOWNLOAD_H

#include "base/str.h"

typedef struct qn_download_options {
    size_t limit; /* bytes */
    bool (*progress)(void *arg, uint64_t done, uint64_t total); /* total 0: not said. False ends it. NULL: none */
    void *arg;
} qn_download_options;

/* Appends to out. Errors: QN_EINVAL (the address), QN_EIO (what and what to do), QN_ELIMIT, QN_ECANCELLED, QN_ENOMEM. */
qn_status qn__download(const char *url, const qn_download_options *o, qn_buf *out, qn_err *err);

#endif
