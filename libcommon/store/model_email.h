/* model_email.h - the outbound queue: one document per message, its bytes in a blob, claimed with a
 * lease.
 *
 * Owns nothing. Used by smtp (enqueue), smtp-bree (claim, finish), api and web (lists). Suspends
 * where marked.
 *
 * A document is due while `next_attempt_at` is set and past. Claiming moves it to the end of the
 * lease, so a runner that dies leaves mail that becomes due again by itself. Every later write of
 * the runner names its lease and changes nothing once another runner has claimed the document
 * (FAULT_CONFLICT): it must stop sending then.
 */
#pragma once

#include "store/store.h"

#define EMAIL_RECIPIENTS_MAX 1000
#define EMAIL_DELIVERIES_MAX 128

enum email_recipient_state { RECIPIENT_WAITING, RECIPIENT_ACCEPTED, RECIPIENT_FAILED };

struct email_recipient {
    struct slice address;             /* case kept */
    enum email_recipient_state state; /* "waiting" "accepted" "failed" in documents */
    struct slice notify; /* RFC 3461: "NEVER" or "SUCCESS,FAILURE,DELAY"; empty: not given */
    struct slice orcpt;  /* RFC 3461 as given, empty: none */
    int64_t attempts;
    int64_t code;                /* of the last reply; 0: none yet */
    struct slice status;         /* enhanced code, "5.1.1" */
    struct slice response;       /* last reply or our own reason */
    struct slice mx;             /* host that answered */
    bool delay_sent, final_sent; /* DSNs sent for it */
    int64_t updated_at;
};

struct email_doc {
    char id[25], alias[25], domain[25], user[25]; /* alias may be empty */
    struct slice status; /* pending queued sent partially_sent deferred bounced rejected */
    bool is_locked;
    struct slice locked_by;
    int64_t locked_at;
    struct slice lease;      /* of the current claim */
    int64_t next_attempt_at; /* 0: nothing left to do */
    int64_t attempts;
    int64_t priority;
    struct slice from; /* envelope.from; empty: null sender */
    struct email_recipient *recipients;
    size_t recipient_count;          /* envelope.to[] is written from them */
    struct slice dsn_id, dsn_return; /* ENVID; "HDRS" or "FULL" */
    bool require_tls;                /* requireTLS, RFC 8689 */
    bool is_8bit, is_smtputf8;       /* how it came in */
    struct slice blob;               /* id; empty once redacted */
    struct slice message;            /* of email_claim: the blob's bytes, where they came along; else read the blob */
    int64_t size_bytes;
    struct slice message_id; /* messageId, without angle brackets */
    struct slice subject;    /* decoded */
    struct slice headers;    /* JSON object name -> decoded text, as text */
    int64_t date;            /* of the Date field; not sent before it */
    bool is_bounce, is_dsn, is_redacted;
    struct slice *accepted, *hard_bounces, *soft_bounces;
    size_t accepted_count, hard_bounce_count, soft_bounce_count;
    struct slice deliveries,
        rejected_errors; /* JSON arrays (deliveries, rejectedErrors), as text */
    int64_t created_at, updated_at;
};

int email_parse(const json_t *doc, struct arena *in, struct email_doc *out,
                struct fault *why) MUST_CHECK;
json_t *email_format(const struct email_doc *email);

/* Message and document, durable with one fsync where the engine can; ends *message. Fills id,
 * dates, blob; status "queued" and next_attempt_at (now, or `date` when that is later) where empty.
 * Publishing the event `queue` is the caller's. */
int email_enqueue(struct store *st, struct email_doc *email, struct store_blob **message,
                  struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;

/* The one that has been due for longest, now leased to `worker` for lease_ms. FAULT_NOT_FOUND:
 * nothing is due. */
int email_claim(struct store *st, struct slice worker, uint64_t lease_ms, struct arena *in,
                struct deadline until, struct email_doc *out,
                struct fault *why) MUST_CHECK SUSPENDS;
/* What `worker` had claimed is due now. Only for a name that nobody alive has or had: a runner that
 * starts again takes back what it was sending when it died. Not more than EMAIL_TAKEN_BACK_MAX times
 * in a row: a message that kills its runner then waits for the end of its lease. */
#define EMAIL_TAKEN_BACK_MAX 3
int email_take_back(struct store *st, struct slice worker, struct deadline until, uint64_t *count,
                    struct fault *why) MUST_CHECK SUSPENDS;
/* When the next one becomes due (wall ms); 0: none waits. */
int email_next_due(struct store *st, struct deadline until, int64_t *out,
                   struct fault *why) MUST_CHECK SUSPENDS;
int email_renew(struct store *st, const struct email_doc *email, uint64_t lease_ms,
                struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* Writes what one attempt changed: recipients, accepted, bounces lists, rejectedErrors, status,
 * attempts, and the lease's end: unlocked, due at email->next_attempt_at (0: never again).
 * `delivery` (may be NULL) is one more entry of deliveries. */
int email_finish(struct store *st, const struct email_doc *email, const json_t *delivery,
                 struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* The same in the middle of an attempt: keeps the lease. After each recipient's reply, so that
 * nothing is sent twice. */
int email_save_progress(struct store *st, const struct email_doc *email, const json_t *delivery,
                        struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
int email_find(struct store *st, struct slice id, struct arena *in, struct deadline until,
               struct email_doc *out, struct fault *why) MUST_CHECK SUSPENDS;

/* Due at once again, whatever its back-off said. FAULT_NOT_FOUND: not waiting. */
int email_retry_now(struct store *st, struct slice id, struct deadline until,
                    struct fault *why) MUST_CHECK SUSPENDS;
/* Open recipients become failed, status rejected or partially_sent. FAULT_CONFLICT: a runner has it
 * now, or it is final. */
int email_cancel(struct store *st, struct slice id, struct deadline until,
                 struct fault *why) MUST_CHECK SUSPENDS;

/* Lists: newest first unless page->sort says otherwise; empty slices do not restrict. */
struct email_scope {
    struct slice domain, alias, user, status;
};
int email_list(struct store *st, const struct email_scope *scope, const struct store_page *page,
               struct arena *in, struct deadline until, struct email_doc **out, size_t *count,
               struct fault *why) MUST_CHECK SUSPENDS;
