/* api_email.h - what the files of /v1/emails share: an uploaded body, a message to be sent, how one looks.
 *
 * Owns      struct email_body and struct email_draft hold a spool and readers: email_body_free, email_draft_free.
 * Used by   api_email*.c only. Loop thread; suspends where marked.
 */
#pragma once

#include "api.h"
#include "mail/compose.h"
#include "mail/outbound.h"
#include "net/spool.h"

#define EMAIL_BODY_BYTES_MAX ((size_t)51 << 20)
#define EMAIL_FILES_MAX      51                /* one `attachment`, fifty `attachments` */
#define EMAIL_FIELDS_MAX     1000
#define EMAIL_RECIPIENTS_ASKED_MAX 1000        /* looked at; config->recipients_max are allowed */

struct email_file {
    struct slice filename, type;
    uint64_t offset, bytes;                    /* in the spool */
};

struct email_body {
    struct spool *spool;                       /* NULL: no multipart */
    struct email_file files[EMAIL_FILES_MAX];
    size_t file_count;
};

/* Reads the body in whichever form into c->body and `out`. 0, 1: refused and answered, <0: fault. */
int email_body_read(struct api_call *c, struct email_body *out, struct fault *why) MUST_CHECK SUSPENDS;
void email_body_free(struct email_body **b);   /* closer; the struct is the arena's */

struct email_content;                          /* of one attachment, read piece by piece (api_email_parts.c) */

struct email_draft {
    struct compose compose;
    bool is_raw, is_given_id;                  /* the client chose the Message-ID */
    struct slice header;                       /* as composed or given, edited by outbound_header_prepare later */
    struct slice raw;                          /* is_raw: what is behind the header, line ends as they came */
    struct slice from;                         /* address */
    struct email_recipient *recipients;
    size_t recipient_count;
    struct slice dsn_id, dsn_return;
    bool require_tls, is_8bit;
    struct email_content *contents;            /* to be freed */
    size_t content_count;
    const char *refusal;                       /* of a part, found while it is read */
};

/* From c->body and the files: 0, 1: refused and answered, <0: fault. */
int email_draft_read(struct api_call *c, const struct email_body *body, struct email_draft *out, struct fault *why) MUST_CHECK SUSPENDS;
int email_raw_read(struct api_call *c, const json_t *raw, struct email_draft *out, struct fault *why) MUST_CHECK SUSPENDS;
void email_draft_free(struct email_draft *d);  /* closer */
/* Everything behind the header, with CRLF only. */
int email_draft_write(struct email_draft *d, compose_sink sink, void *arg, struct fault *why) MUST_CHECK SUSPENDS;

/* ---- addresses (api_email_address.c) ---------------------------------------------------------------------------------- */

struct email_addresses {
    struct slice text;                         /* for a header field */
    struct slice *address;                     /* domain in A-labels */
    size_t count;
};
/* A string, {name,address} or an array of both. False: one of them is no address, or there are too many. */
bool email_addresses_read(struct arena *a, const json_t *value, struct email_addresses *out) MUST_CHECK;
bool email_addresses_parse(struct arena *a, struct slice list, struct email_addresses *out) MUST_CHECK;
/* Adds them to the envelope, each once; false: too many. */
bool email_recipients_add(struct arena *a, struct email_draft *d, const struct email_addresses *list) MUST_CHECK;

/* ---- attachments (api_email_parts.c) ------------------------------------------------------------------------------------ */

/* Fills compose.attachments, .alternatives, .ical. NULL, or the key of what is wrong. */
const char *email_parts_read(struct api_call *c, const struct email_body *body, struct email_draft *d) MUST_CHECK;
void email_contents_free(struct email_draft *d);
/* Text in one of the encodings utf-8, hex, base64 to bytes; false: it is not. */
bool email_text_decode(struct arena *a, struct slice text, struct slice encoding, struct slice *out) MUST_CHECK;

/* ---- answers (api_email_json.c) ------------------------------------------------------------------------------------------- */

json_t *email_json(struct api_call *c, const json_t *document, bool in_list);
/* 200 with the object and its `message`, which is streamed when it is large. */
int email_reply(struct api_call *c, const json_t *document, struct fault *why) MUST_CHECK SUSPENDS;
int email_send(struct api_call *c, struct fault *why) SUSPENDS;                           /* POST (api_email_send.c) */
