/* smtp_server_data.c - message content: DATA with its dots, BDAT with its counts (RFC 5321 4.1.1.4,
 * RFC 3030).
 *
 * Owns one block buffer while content comes in. Called by the command table. Content is handed to
 * the service in blocks; what breaks a rule is read to its end, refused there, and never ends the
 * data. Suspends while reading and in handlers.
 */
#include "net/smtp_server_internal.h"

#define BLOCK_MAX ((size_t)64 << 10)

static const struct smtp_handlers *handlers(struct smtp_conn *c)
{
    return conn_server(c)->o.handlers;
}

static void refuse_content(struct smtp_conn *c, struct smtp_reply r)
{
    if (c->refused.code == 0)
        c->refused = r;
}

static void refuse_bare(struct smtp_conn *c)
{
    if (c->refused.code != 554)
        conn_server(c)->stats.refused_bare++;
    c->refused = SMTP_REPLY(554, "5.6.0",
                            "Bare CR or LF in the message; lines end in CRLF (RFC 5321 2.3.8)");
}

static void take_content(struct smtp_conn *c, struct slice bytes)
{
    struct smtp_reply r;

    c->received += bytes.n;
    if (c->received > conn_server(c)->o.message_bytes_max)
        refuse_content(c, SMTP_REPLY(552, "5.3.4", "Size exceeded"));
    if (c->refused.code != 0 || bytes.n == 0 || handlers(c)->data_chunk == NULL)
        return;
    r = handlers(c)->data_chunk(&c->s, bytes);
    if (r.code >= 400)
        refuse_content(c, r);
}

/* Somebody who goes on long after the limit does not read replies either. */
static bool is_flood(const struct smtp_conn *c)
{
    return c->received > 2 * c->s.server->o.message_bytes_max + BLOCK_MAX;
}

/* All content is here: the verdict, and the end of the transaction. */
static void finish_content(struct smtp_conn *c)
{
    struct smtp_reply r = c->refused;

    if (r.code == 0)
        r = handlers(c)->data_end(&c->s);
    if (r.code < 400)
        conn_server(c)->stats.messages++;
    conn_reply(c, r, SMTP_REPLY(250, "2.0.0", "Ok"));
    conn_reset_mail(c);
}

/* May content come now? Asks the service once per message. */
static struct smtp_reply begin_content(struct smtp_conn *c)
{
    struct smtp_reply r = SMTP_OK;

    if (!c->in_mail || c->content_lost)
        return SMTP_REPLY(503, "5.5.1", "MAIL first");
    if (c->s.rcpt_count == 0)
        return SMTP_REPLY(503, "5.5.1", "No valid recipients");
    if (c->content_open)
        return SMTP_OK;
    if (conn_server(c)->stats.contents >= conn_server(c)->o.contents_max)
        return SMTP_REPLY(451, "4.3.2", "Too busy, try again later");
    if (handlers(c)->data_begin)
        r = handlers(c)->data_begin(&c->s);
    if (r.code < 400 && !c->content_counted) {
        c->content_counted = true;
        conn_server(c)->stats.contents++;
    }
    return r;
}

/* ---- DATA
 * ------------------------------------------------------------------------------------------------------------
 */

/* Decodes what is buffered into `block` and takes it off the stream; then nothing borrowed is left
 * when handlers wait. */
static enum smtp_dot decode_buffered(struct smtp_conn *c, struct smtp_dot_decoder *dot,
                                     struct buf *block)
{
    struct slice whole = slice_head(stream_buffered(c->s.stream), BLOCK_MAX), rest = whole, piece;
    enum smtp_dot r;

    buf_reset(block);
    while ((r = smtp_dot_decode(dot, &rest, &piece)) == SMTP_DOT_PIECE)
        (void)buf_append(block, piece);
    stream_consume(c->s.stream, whole.n - rest.n);
    return r;
}

/* Waits for input. <0: the connection is over, and the peer was told what can be told. */
static int wait_for_content(struct smtp_conn *c, bool bare, struct deadline all)
{
    struct deadline until = deadline_earlier(all, conn_idle_deadline(c));
    struct fault why = {0};

    if (bare) /* the peer may believe that it has sent an end: do not let it wait for minutes */
        until = deadline_earlier(all, deadline_in_ms(conn_server(c)->o.bare_grace_ms));
    if (stream_buffered(c->s.stream).n > 0 || stream_fill(c->s.stream, BLOCK_MAX, until, &why) == 0)
        return 0;
    if (bare && why.code != FAULT_CLOSED)
        conn_reply(c, c->refused, SMTP_OK);
    else if (why.code == FAULT_TIMEOUT)
        conn_say(c, 421, "4.4.2", "Timeout, closing connection");
    c->bye = true;
    return -1;
}

static void receive_data(struct smtp_conn *c)
{
    AUTO(buf_free) struct buf block = BUF_INIT(BLOCK_MAX + 16);
    struct deadline all = deadline_in_ms(conn_server(c)->o.data_ms);
    struct smtp_dot_decoder dot = {0};
    enum smtp_dot r = SMTP_DOT_MORE;

    while (r != SMTP_DOT_END) {
        if (wait_for_content(c, dot.bare, all) < 0)
            return;
        r = decode_buffered(c, &dot, &block);
        if (dot.bare)
            refuse_bare(c);
        take_content(c, buf_slice(&block));
        if (is_flood(c)) {
            conn_reply(c, c->refused, SMTP_OK);
            c->bye = true;
            return;
        }
    }
    finish_content(c);
}

void conn_cmd_data(struct smtp_conn *c, struct slice argument)
{
    struct smtp_reply r;
    struct fault why;

    if (argument.n > 0) {
        conn_say(c, 501, "5.5.4", "DATA takes no argument");
        return;
    }
    r = c->content_open ? SMTP_REPLY(503, "5.5.1", "BDAT was begun") : begin_content(c);
    if (r.code >= 400) {
        conn_reply(c, r, SMTP_OK);
        return;
    }
    c->content_open = true;
    conn_say(c, 354, "", "End data with <CR><LF>.<CR><LF>");
    if (c->bye || stream_flush(c->s.stream, conn_idle_deadline(c), &why) < 0)
        c->bye = true;
    else
        receive_data(c);
}

/* ---- BDAT
 * -------------------------------------------------------------------------------------------------------------
 */

/* Reads exactly n bytes. With `keep` off they are thrown away. */
static int receive_chunk(struct smtp_conn *c, uint64_t n, bool keep)
{
    struct deadline all = deadline_in_ms(conn_server(c)->o.data_ms);
    struct fault why = {0};
    struct slice piece;

    while (n > 0) {
        struct deadline until = deadline_earlier(all, conn_idle_deadline(c));
        size_t most = n < BLOCK_MAX ? (size_t)n : BLOCK_MAX;

        if (stream_read_some(c->s.stream, most, until, &piece, &why) < 0 || piece.n == 0) {
            if (why.code == FAULT_TIMEOUT)
                conn_say(c, 421, "4.4.2", "Timeout, closing connection");
            c->bye = true;
            return -1;
        }
        n -= piece.n;
        if (keep && smtp_line_check(&c->lines, piece) < 0)
            refuse_bare(c);
        if (keep)
            take_content(c, piece);
    }
    return 0;
}

static void lose_content(struct smtp_conn *c, struct smtp_reply r)
{
    conn_reply(c, r, SMTP_OK);
    c->content_open = false;
    c->content_lost = c->in_mail;
}

static void chunk_is_here(struct smtp_conn *c, uint64_t n, bool last)
{
    if (last && !smtp_line_check_is_clean(&c->lines))
        refuse_bare(c);
    if (last) {
        finish_content(c);
    } else if (c->refused.code != 0) {
        lose_content(c, c->refused);
    } else {
        struct slice text =
            arena_printf(c->s.mail_arena, "%llu octets received", (unsigned long long)n);

        conn_reply(c, (struct smtp_reply){250, "2.0.0", text}, SMTP_OK);
    }
}

void conn_cmd_bdat(struct smtp_conn *c, struct slice argument)
{
    uint64_t n;
    bool last;
    struct smtp_reply r;

    if (smtp_parse_bdat(argument, &n, &last) < 0 ||
        !(conn_server(c)->o.extensions & SMTP_EXT_CHUNKING)) {
        conn_say(c, 501, "5.5.4", "Syntax: BDAT size [LAST]");
        c->bye = true; /* what follows may be content: none of it is a command */
        return;
    }
    r = begin_content(c);
    if (n > conn_server(c)->o.message_bytes_max) {
        conn_say(c, 552, "5.3.4", "Size exceeded");
        c->bye = true;
        return;
    }
    c->content_open = r.code < 400;
    if (receive_chunk(c, n, r.code < 400) < 0)
        return;
    if (r.code >= 400)
        lose_content(c, r);
    else
        chunk_is_here(c, n, last);
}
