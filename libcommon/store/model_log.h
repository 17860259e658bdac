/* model_log.h - what happened to mail, for its owners: envelope, verdicts, replies; never contents.
 * Owns nothing; never suspends.
 */
#pragma once

#include "store/store.h"

struct log_doc {
    struct slice level;   /* "info" "warn" "error" */
    struct slice event;   /* "mx.delivered", "smtp.queued", "smtp-bree.bounced" ... */
    struct slice message; /* one line for people */
    struct slice domain, alias, user, email; /* ids; empty: none */
    struct slice session, msg;               /* as in the daemons' own log lines */
    struct slice mail_from, rcpt_to, message_id, client_ip, client_host;
    struct slice mark;         /* first 16 digits of what recognises the message in one mailbox (mx); empty: none */
    struct slice target;       /* where a forward led */
    struct slice mx, response; /* the remote's answer */
    int64_t code;
    struct slice meta; /* JSON object, text: verdicts (spf, dkim, dmarc, arc), tls, sizes */
};

/* Into the log of the store, without waiting (store_log). */
void log_doc_add(struct store *st, const struct log_doc *log);
