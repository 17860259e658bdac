/* model_log.c - see model_log.h. */
#include "store/models.h"

#include "store/model.h"

static const struct model_row rows[] = {
    ROW(TEXT, struct log_doc, level, "level"),
    ROW(TEXT, struct log_doc, event, "event"),
    ROW(TEXT, struct log_doc, message, "message"),
    ROW(TEXT, struct log_doc, domain, "domain"),
    ROW(TEXT, struct log_doc, alias, "alias"),
    ROW(TEXT, struct log_doc, user, "user"),
    ROW(TEXT, struct log_doc, email, "email"),
    ROW(TEXT, struct log_doc, session, "session"),
    ROW(TEXT, struct log_doc, msg, "msg"),
    ROW(TEXT, struct log_doc, mail_from, "mail_from"),
    ROW(TEXT, struct log_doc, rcpt_to, "rcpt_to"),
    ROW(TEXT, struct log_doc, message_id, "message_id"),
    ROW(TEXT, struct log_doc, client_ip, "client_ip"),
    ROW(TEXT, struct log_doc, client_host, "client_host"),
    ROW(TEXT, struct log_doc, mark, "mark"),
    ROW(TEXT, struct log_doc, target, "target"),
    ROW(TEXT, struct log_doc, mx, "mx"),
    ROW(TEXT, struct log_doc, response, "response"),
    ROW(INT, struct log_doc, code, "code"),
    ROW(JSON, struct log_doc, meta, "meta"),
};

void log_doc_add(struct store *st, const struct log_doc *log)
{
    json_t *doc = model_format(rows, COUNT(rows), log);

    (void)json_set_slice(doc, "created_at", slice_of(date_format_iso(clock_wall_ms()).s));
    (void)store_log(st, doc);
}
