/* download.c - see download.h. */
#include "services/store/download.h"

#include <curl/curl.h>
#include <string.h>

#include "base/err.h"

enum { CONNECT_S = 30, SILENT_S = 60, REDIRECTIONS = 5 };

typedef struct transfer {
    const qn_download_options *o;
    const char *url;
    qn_buf *out;
    size_t from; /* what was in out before */
    uint64_t total;
    bool large, cancelled;
} transfer;

/* CONNECT and transfer alike are asked by curl about once a second, and whenever something happens. */
static int on_progress(void *arg, curl_off_t total, curl_off_t done, curl_off_t up_total, curl_off_t up)
{
    transfer *t = arg;
    (void)up_total;
    (void)up;
    t->total = total > 0 ? (uint64_t)total : 0;
    t->cancelled = t->o->progress && !t->o->progress(t->o->arg, done > 0 ? (uint64_t)done : 0, t->total);
    return t->cancelled;
}

static size_t receive(char *p, size_t size, size_t n, void *arg)
{
    transfer *t = arg;
    t->large = n > t->o->limit || t->out->n - t->from > t->o->limit - n;
    if (t->large || size != 1)
        return 0;
    qn__buf_put(t->out, p, n);
    return t->out->failed ? 0 : n;
}

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

static bool loopback(const char *url)
{
    return begins(url, "http://127.0.0.1:") || begins(url, "http://[::1]:");
}

static void set(CURL *c, transfer *t, char *why)
{
    (void)curl_easy_setopt(c, CURLOPT_URL, t->url);
    (void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, loopback(t->url) ? "http" : "https");
    (void)curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https");
    (void)curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    (void)curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTIONS);
    if (loopback(t->url))
        (void)curl_easy_setopt(c, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(c, CURLOPT_USERAGENT, "quern/" QN_VERSION);
    (void)curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)t->o->limit);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    (void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    (void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    (void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)SILENT_S);
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
}

static qn_status say(const transfer *t, CURLcode rc, long status, const char *why, qn_err *err)
{
    const unsigned long long got = t->out->n - t->from, all = t->total;
    if (t->cancelled)
        return qn__fail(err, QN_ECANCELLED, t->url, "was ended; nothing of it was kept");
    if (t->out->failed)
        return qn__fail_mem(err, t->url);
    if (t->large || rc == CURLE_FILESIZE_EXCEEDED)
        return qn__fail(err, QN_ELIMIT, t->url, "is larger than %zu bytes, which nothing published there is; nothing of it was kept", t->o->limit);
    if ((rc == CURLE_UNSUPPORTED_PROTOCOL || rc == CURLE_URL_MALFORMAT) && status >= 300 && status <= 399)
        return qn__fail(err, QN_EIO, t->url, "leads to an address that is not https; that is not followed, and nothing was kept");
    switch (rc) {
    case CURLE_OK:
        if (status == 404 || status == 410)
            return qn__fail(err, QN_EIO, t->url, "is no longer there (status %ld); get the file in another way and name its path", status);
        return qn__fail(err, QN_EIO, t->url, "was answered with status %ld; try again later", status);
    case CURLE_COULDNT_RESOLVE_PROXY: case CURLE_COULDNT_RESOLVE_HOST: case CURLE_COULDNT_CONNECT:
        return qn__fail(err, QN_EIO, t->url, "cannot be reached (%s): is there a network? A file that was got elsewhere can be named by its path", why);
    case CURLE_TOO_MANY_REDIRECTS:
        return qn__fail(err, QN_EIO, t->url, "leads from one address to the next, more than %d times; nothing was kept", REDIRECTIONS);
    case CURLE_OPERATION_TIMEDOUT:
        return qn__fail(err, QN_EIO, t->url, "went silent after %llu bytes; nothing of it was kept: try again", got);
    case CURLE_PARTIAL_FILE: case CURLE_RECV_ERROR: case CURLE_GOT_NOTHING:
        return all ? qn__fail(err, QN_EIO, t->url, "was cut after %llu of %llu bytes; nothing of it was kept: try again", got, all)
                   : qn__fail(err, QN_EIO, t->url, "was cut after %llu bytes; nothing of it was kept: try again", got);
    default:
        return qn__fail(err, QN_EIO, t->url, "cannot be got: %s", why);
    }
}

qn_status qn__download(const char *url, const qn_download_options *o, qn_buf *out, qn_err *err)
{
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    transfer t = {.o = o, .url = url, .out = out, .from = out->n};
    if (!begins(url, "https://") && !loopback(url))
        return qn__fail(err, QN_EINVAL, url, "is not an address with https");
    CURL *c = curl_easy_init();
    if (!c)
        return qn__fail_mem(err, url);
    set(c, &t, why);
    const CURLcode rc = curl_easy_perform(c);
    (void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    if (rc == CURLE_OK && status >= 200 && status <= 299 && !out->failed)
        return QN_OK;
    const qn_status st = say(&t, rc, status, *why ? why : curl_easy_strerror(rc), err);
    out->n = t.from;
    return st;
}
