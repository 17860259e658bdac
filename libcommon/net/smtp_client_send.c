/* smtp_client_send.c - one mail transaction: envelope (pipelined when offered), content, a verdict
 * per recipient.
 *
 * Owns nothing beyond the call. Called by smtp-bree and mx through smtp_client.h. What can fail:
 * the connection (then verdicts already given stay) and the content (bare CR or LF). Suspends while
 * writing, reading and in `pull`.
 */
#include "net/smtp_client_internal.h"

#define BLOCK_MAX ((size_t)64 << 10)
#define AFTER_BREAK_MS 2000 /* how long to look for a last word after a broken write */
#define REPLY_DATA_OK 354

struct sending {
    struct smtp_client *c;
    struct smtp_client_mail *mail;
    struct arena *in;
    struct deadline until;
    struct fault *why;
    size_t open; /* recipients without a verdict: RCPT said yes */
};

static int read_reply(struct sending *s, struct smtp_reply *out)
{
    return client_read_reply(s->c, s->c->command_ms, s->until, s->in, out, s->why);
}

/* The verdict on all that have none yet. */
static void judge_rest(struct sending *s, struct smtp_reply r)
{
    for (size_t i = 0; i < s->mail->rcpt_count; i++) {
        struct smtp_client_rcpt *rcpt = &s->mail->rcpts[i];

        if (rcpt->reply.code != 0)
            continue;
        rcpt->reply = r;
        rcpt->accepted = r.code >= 200 && r.code < 300;
    }
    s->open = 0;
}

/* ---- verdicts without asking
 * ------------------------------------------------------------------------------------------ */

static bool needs_utf8(const struct smtp_client_mail *m, bool *valid)
{
    struct smtp_path path = {0};
    bool utf8 = m->smtputf8;

    *valid = m->from.n == 0 || smtp_path_parse(m->from, true, &path);
    utf8 = utf8 || (m->from.n > 0 && path.utf8);
    for (size_t i = 0; i < m->rcpt_count; i++)
        utf8 = utf8 || !slice_is_ascii(m->rcpts[i].address);
    return utf8;
}

/* True: every recipient has its verdict. */
static bool judge_alone(struct sending *s)
{
    struct smtp_client_mail *m = s->mail;
    unsigned ext = s->c->extensions;
    struct smtp_path path;
    bool from_is_valid, utf8 = needs_utf8(m, &from_is_valid);
    size_t left = 0;

    m->data_sent = false;
    for (size_t i = 0; i < m->rcpt_count; i++) {
        m->rcpts[i].accepted = false;
        m->rcpts[i].reply = smtp_path_parse(m->rcpts[i].address, true, &path)
                                ? SMTP_OK
                                : SMTP_REPLY(553, "5.1.3", "Recipient address is not valid");
        left += m->rcpts[i].reply.code == 0;
    }
    s->open = left;
    if (!from_is_valid)
        judge_rest(s, SMTP_REPLY(553, "5.1.7", "Sender address is not valid"));
    else if (utf8 && !(ext & SMTP_EXT_SMTPUTF8))
        judge_rest(s,
                   SMTP_REPLY(550, "5.6.7", "SMTPUTF8 is needed, and not offered by the remote"));
    else if (m->requiretls && !(ext & SMTP_EXT_REQUIRETLS))
        judge_rest(
            s, SMTP_REPLY(550, "5.7.30", "REQUIRETLS is needed, and not offered by the remote"));
    else if (s->c->size_limit > 0 && m->size > s->c->size_limit)
        judge_rest(s, SMTP_REPLY(552, "5.3.4", "Larger than the remote accepts"));
    return s->open == 0;
}

/* ---- commands
 * ------------------------------------------------------------------------------------------------------------
 */

static void format_mail(const struct sending *s, struct buf *out)
{
    const struct smtp_client_mail *m = s->mail;
    unsigned ext = s->c->extensions;
    bool ignored;

    (void)buf_printf(out, "MAIL FROM:<%.*s>", SLICE(m->from));
    if (m->size > 0 && (ext & SMTP_EXT_SIZE))
        (void)buf_printf(out, " SIZE=%llu", (unsigned long long)m->size);
    if (m->eight_bit && (ext & SMTP_EXT_8BITMIME))
        (void)buf_append(out, LIT(" BODY=8BITMIME"));
    if (needs_utf8(m, &ignored))
        (void)buf_append(out, LIT(" SMTPUTF8"));
    if (m->requiretls)
        (void)buf_append(out, LIT(" REQUIRETLS"));
    if (m->ret != SMTP_RET_NONE && (ext & SMTP_EXT_DSN))
        (void)buf_append_cstr(out, m->ret == SMTP_RET_FULL ? " RET=FULL" : " RET=HDRS");
    if (m->envid.n > 0 && (ext & SMTP_EXT_DSN))
        (void)buf_printf(out, " ENVID=%.*s", SLICE(smtp_xtext_encode(m->envid, s->in)));
    (void)buf_append(out, LIT("\r\n"));
}

static void format_notify(unsigned bits, struct buf *out)
{
    static const char *const name[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
    const char *before = " NOTIFY=";

    for (unsigned i = 0; i < COUNT(name); i++) {
        if (!(bits & (1U << i)))
            continue;
        (void)buf_printf(out, "%s%s", before, name[i]);
        before = ",";
    }
}

static void format_rcpt(const struct sending *s, const struct smtp_client_rcpt *rcpt,
                        struct buf *out)
{
    ptrdiff_t semicolon = slice_find_char(rcpt->orcpt, ';');

    (void)buf_printf(out, "RCPT TO:<%.*s>", SLICE(rcpt->address));
    if (s->c->extensions & SMTP_EXT_DSN) {
        format_notify(rcpt->notify, out);
        if (semicolon > 0)
            (void)buf_printf(
                out, " ORCPT=%.*s;%.*s", (int)semicolon, rcpt->orcpt.p,
                SLICE(smtp_xtext_encode(slice_tail(rcpt->orcpt, (size_t)semicolon + 1), s->in)));
    }
    (void)buf_append(out, LIT("\r\n"));
}

/* Gathers commands; without PIPELINING each leaves at once and its reply is read before the next
 * (RFC 2920). */
static int send_line(struct sending *s, struct buf *lines)
{
    int r = client_write(s->c, buf_slice(lines), s->c->command_ms, s->until, s->why);

    buf_reset(lines);
    return r;
}

/* What the reply to RCPT number i means. */
static void note_rcpt(struct sending *s, size_t i, struct smtp_reply r)
{
    if (r.code >= 200 && r.code < 300)
        return;
    s->mail->rcpts[i].reply = r;
    s->open--;
}

/* A 421: the remote is leaving; nobody is served any more. True when so. */
static bool left(struct sending *s, struct smtp_reply r)
{
    if (r.code != 421)
        return false;
    judge_rest(s, r);
    return true;
}

static int read_reset(struct sending *s, bool was_sent)
{
    struct smtp_reply r;

    if (!was_sent)
        return 0;
    s->c->needs_reset = false;
    return read_reply(s, &r);
}

/* All at once. *data is DATA's reply; code 0 when the remote left before. */
static int envelope_pipelined(struct sending *s, struct smtp_reply *data)
{
    AUTO(buf_free) struct buf out = BUF_INIT(1 << 20);
    struct smtp_client_mail *m = s->mail;
    bool reset = s->c->needs_reset;
    struct smtp_reply mail, r;

    if (reset)
        (void)buf_append(&out, LIT("RSET\r\n"));
    format_mail(s, &out);
    for (size_t i = 0; i < m->rcpt_count; i++)
        if (m->rcpts[i].reply.code == 0)
            format_rcpt(s, &m->rcpts[i], &out);
    (void)buf_append(&out, LIT("DATA\r\n"));
    if (send_line(s, &out) < 0 || read_reset(s, reset) < 0 || read_reply(s, &mail) < 0)
        return -1;
    if (left(s, mail))
        return 0;
    for (size_t i = 0; i < m->rcpt_count; i++) {
        if (m->rcpts[i].reply.code != 0)
            continue;
        if (read_reply(s, &r) < 0)
            return -1;
        if (left(s, r))
            return 0;
        note_rcpt(s, i, mail.code < 300 ? r : mail);
    }
    return read_reply(s, data);
}

static int ask(struct sending *s, struct buf *out, struct smtp_reply *r)
{
    return send_line(s, out) < 0 ? -1 : read_reply(s, r);
}

/* One by one. Sends no DATA when nobody is left. */
static int envelope_stepwise(struct sending *s, struct smtp_reply *data)
{
    AUTO(buf_free) struct buf out = BUF_INIT(1 << 20);
    struct smtp_client_mail *m = s->mail;
    struct smtp_reply r;

    if (s->c->needs_reset) {
        (void)buf_append(&out, LIT("RSET\r\n"));
        if (send_line(s, &out) < 0 || read_reset(s, true) < 0)
            return -1;
    }
    format_mail(s, &out);
    if (ask(s, &out, &r) < 0)
        return -1;
    if (r.code >= 300) {
        judge_rest(s, r);
        return 0;
    }
    for (size_t i = 0; i < m->rcpt_count; i++) {
        if (m->rcpts[i].reply.code != 0)
            continue;
        format_rcpt(s, &m->rcpts[i], &out);
        if (ask(s, &out, &r) < 0)
            return -1;
        if (left(s, r))
            return 0;
        note_rcpt(s, i, r);
    }
    if (s->open == 0)
        return 0;
    (void)buf_append(&out, LIT("DATA\r\n"));
    return ask(s, &out, data);
}

/* ---- content
 * ----------------------------------------------------------------------------------------------------------------
 */

static int write_piece(struct sending *s, struct smtp_dot_encoder *dot, struct slice piece,
                       struct buf *out)
{
    while (piece.n > 0) {
        struct slice block = slice_head(piece, BLOCK_MAX);

        buf_reset(out);
        if (smtp_dot_encode(dot, block, out) < 0)
            return fault_set(s->why, FAULT_INVALID, "the message holds a bare CR or LF");
        if (client_write(s->c, buf_slice(out), s->c->data_block_ms, s->until, s->why) < 0)
            return -1;
        piece = slice_tail(piece, block.n);
    }
    return 0;
}

static int write_content(struct sending *s)
{
    AUTO(buf_free) struct buf out = BUF_INIT(2 * BLOCK_MAX + 16);
    struct smtp_dot_encoder dot = {0};
    struct slice piece;
    int r;

    while ((r = s->mail->pull(s->mail->arg, &piece, s->why)) > 0)
        if (write_piece(s, &dot, piece, &out) < 0)
            return -1;
    if (r < 0)
        return -1;
    buf_reset(&out);
    if (smtp_dot_finish(&dot, &out) < 0)
        return fault_set(s->why, FAULT_INVALID, "the message ends in a bare CR");
    if (client_write(s->c, buf_slice(&out), s->c->data_block_ms, s->until, s->why) < 0)
        return -1;
    return stream_flush(s->c->stream,
                        deadline_earlier(s->until, deadline_in_ms(s->c->data_block_ms)), s->why);
}

/* The write broke: a remote that gave up in the middle (552, 421) may have said so before closing.
 */
static int last_word(struct sending *s)
{
    struct smtp_reply r;
    struct fault ignored;

    if (s->why->code != FAULT_CLOSED && s->why->code != FAULT_IO)
        return -1;
    if (client_read_reply(s->c, AFTER_BREAK_MS, s->until, s->in, &r, &ignored) < 0 || r.code < 400)
        return -1;
    judge_rest(s, r);
    s->c->usable = false;
    return 0;
}

static int send_content(struct sending *s)
{
    struct smtp_reply r;

    s->c->in_content = true;
    if (write_content(s) < 0) {
        s->c->usable = false;
        return last_word(s);
    }
    s->c->in_content = false;
    s->mail->data_sent = true;
    if (client_read_reply(s->c, s->c->data_end_ms, s->until, s->in, &r, s->why) < 0)
        return -1;
    judge_rest(s, r);
    return 0;
}

/* Nobody is left, yet DATA was said in advance and taken: end it empty. No recipient, so nothing is
 * delivered. */
static int send_nothing(struct sending *s)
{
    AUTO(buf_free) struct buf out = BUF_INIT(16);
    struct smtp_reply r;

    (void)buf_append(&out, LIT(".\r\n"));
    return ask(s, &out, &r);
}

int smtp_client_send(struct smtp_client *c, struct smtp_client_mail *mail, struct arena *in,
                     struct deadline until, struct fault *why)
{
    struct sending s = {c, mail, in, until, why, 0};
    struct smtp_reply data = SMTP_OK;
    bool pipelined = (c->extensions & SMTP_EXT_PIPELINING) != 0;

    if (judge_alone(&s))
        return 0;
    if ((pipelined ? envelope_pipelined(&s, &data) : envelope_stepwise(&s, &data)) < 0)
        return -1;
    c->needs_reset = true;
    if (data.code == REPLY_DATA_OK && s.open == 0)
        return send_nothing(&s);
    if (data.code == REPLY_DATA_OK) {
        c->needs_reset = false;
        return send_content(&s);
    }
    if (s.open > 0)
        judge_rest(&s, data.code >= 400 ? data
                                        : SMTP_REPLY(451, "4.5.0", "The remote did not take DATA"));
    return 0;
}
