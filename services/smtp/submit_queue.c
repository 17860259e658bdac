/* submit_queue.c - see submit_queue.h. The document is what fe-smtp-bree claims and the admin pages
 * show.
 *
 * Owns      the blob being written. Called by submit_session.c at the end of DATA.
 * What can fail: the store, the spool. Suspends for both.
 */
#include "submit_queue.h"

#include "mail/outbound.h"

#define CHECKED_FOR_MS 1000

/* ---- the document
 * ----------------------------------------------------------------------------------------------------
 */

static struct slice notify_text(struct arena *a, unsigned bits)
{
    static const char *const name[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
    struct slice text = SLICE_NONE;

    for (unsigned i = 0; i < COUNT(name); i++)
        if (bits & (1U << i))
            text = arena_printf(a, "%.*s%s%s", SLICE(text), text.n ? "," : "", name[i]);
    return text;
}

static void take_recipients(struct submit_mail *m, struct email_doc *doc)
{
    const struct smtp_session *s = m->s;

    doc->recipients = ARENA_ARRAY(m->arena, struct email_recipient, s->rcpt_count);
    doc->recipient_count = s->rcpt_count;
    for (unsigned i = 0; i < s->rcpt_count; i++)
        doc->recipients[i] = (struct email_recipient){
            .address = s->rcpts[i].to.address,
            .notify = notify_text(m->arena, s->rcpts[i].notify),
            .orcpt = s->rcpts[i].orcpt,
        };
}

static void fill_document(struct submit_mail *m, const struct outbound_header *h,
                          struct email_doc *doc)
{
    const struct login_result *who = &m->conn->who;
    const struct smtp_mail *mail = &m->s->mail;

    memset(doc, 0, sizeof(*doc));
    memcpy(doc->alias, who->alias_id, sizeof(doc->alias));
    memcpy(doc->domain, who->domain_id, sizeof(doc->domain));
    memcpy(doc->user, who->user_id, sizeof(doc->user));
    doc->from = mail->from.address;
    take_recipients(m, doc);
    doc->dsn_id = mail->envid;
    if (mail->ret != SMTP_RET_NONE)
        doc->dsn_return = mail->ret == SMTP_RET_FULL ? LIT("FULL") : LIT("HDRS");
    doc->require_tls = mail->requiretls;
    doc->is_8bit = mail->body == SMTP_BODY_8BITMIME;
    doc->is_smtputf8 = mail->smtputf8;
    outbound_fill(m->arena, h, spool_size_bytes(m->spool), doc);
}

/* ---- writing
 * ------------------------------------------------------------------------------------------------------------
 */

/* The account as it is now, or was a second ago where events would have told more: it may have been
 * switched off while the connection was open. */
static int check_account(struct submit_mail *m, struct deadline until, struct fault *why)
{
    struct submit_conn *conn = m->conn;
    const struct login_result *who = &conn->who;
    struct store *st = conn->submit->store;
    struct domain_doc domain = {0};
    struct alias_doc alias = {0};
    int r;

    if (conn->hears && conn->checked_ms != 0 && clock_now_ms() - conn->checked_ms < CHECKED_FOR_MS)
        return 0;
    if (who->is_catchall)
        r = domain_find(st, slice_of(who->domain_id), m->arena, until, &domain, why);
    else
        r = alias_find(st, slice_of(who->alias_id), m->arena, until, &alias, why);
    if (r < 0) {
        if (why->code == FAULT_NOT_FOUND)
            why->code = FAULT_DENIED;
        return -1;
    }
    if (who->is_catchall && !domain_has_token(&domain, who->wrap_id))
        return fault_set(why, FAULT_DENIED, "the password was taken back");
    if (!who->is_catchall && !alias.is_enabled)
        return fault_set(why, FAULT_DENIED, "the alias is switched off");
    conn->checked_ms = clock_now_ms();
    return 0;
}

static int write_message(struct submit_mail *m, struct slice header, struct store_blob *blob,
                         struct fault *why)
{
    AUTO(spool_reader_free) struct spool_reader *body = spool_reader_new(m->spool, 0);
    struct slice piece;
    int r;

    if (store_blob_write(blob, header, why) < 0)
        return -1;
    while ((r = spool_reader_next(body, &piece, why)) > 0)
        if (store_blob_write(blob, piece, why) < 0)
            return -1;
    return r;
}

/* Messages that one commit made durable are announced together. Lost: the runner looks by itself, a little later. */
static void announce_now(struct timer *t)
{
    struct submit *submit = t->arg;
    char text[80];
    struct fault ignored;

    (void)snprintf(text, sizeof(text), "{\"id\":\"%s\",\"count\":%u}", submit->announced_id, submit->announced);
    submit->announced = 0;
    (void)redis_publish(submit->redis, LIT("queue"), slice_of(text), &ignored);
}

static void announce(struct submit *submit, const char *id)
{
    if (submit->redis == NULL)
        return;
    (void)snprintf(submit->announced_id, sizeof(submit->announced_id), "%s", id);
    if (submit->announced++ > 0)
        return;
    timer_init(&submit->announce, announce_now, submit);
    timer_start(&submit->announce, deadline_in_ms(0));
}

int submit_queue_put(struct submit_mail *m, const struct outbound_header *header,
                     struct deadline until, struct slice *id, struct fault *why)
{
    struct submit *submit = m->conn->submit;
    AUTO(store_blob_abort) struct store_blob *blob = NULL;
    struct email_doc doc;

    if (check_account(m, until, why) < 0)
        return -1;
    fill_document(m, header, &doc);
    blob = store_blob_new(submit->store);
    if (write_message(m, header->text, blob, why) < 0 ||
        email_enqueue(submit->store, &doc, &blob, until, why) < 0)
        return -1;
    *id = arena_copy(m->arena, slice_of(doc.id));
    announce(submit, doc.id);
    return 0;
}
