/* smtp_server.c - the life of an SMTP connection: accept, greet, park, wake for a line, say
 * good-bye.
 *
 * Owns      struct smtp_server and every struct smtp_conn on its list.
 * Called by listeners (accept) and services (new, drain). What can fail: the peer; then the
 * connection ends. Suspends in handlers, while writing, and in drain.
 */
#include "net/smtp_server_internal.h"

#include <assert.h>

#include "base/secret.h"
#include "rt/fiber.h"

#define IDLE_MS 180000u
#define DATA_MS 1800000u
#define FLUSH_MS 5000
#define EARLY_TALK_MAX SMTP_LINE_MAX

struct smtp_server *smtp_server_new(const struct smtp_server_options *options)
{
    struct smtp_server *server = calloc(1, sizeof(*server));

    if (server == NULL)
        abort();
    server->o = *options;
    if (server->o.errors_max == 0)
        server->o.errors_max = 20;
    if (server->o.unknown_max == 0)
        server->o.unknown_max = 10;
    if (server->o.contents_max == 0)
        server->o.contents_max = 256;
    if (server->o.idle_ms == 0)
        server->o.idle_ms = IDLE_MS;
    if (server->o.data_ms == 0)
        server->o.data_ms = DATA_MS;
    if (server->o.bare_grace_ms == 0)
        server->o.bare_grace_ms = 5000;
    if (server->o.software == NULL)
        server->o.software = "ESMTP";
    fiber_event_init(&server->emptied);
    return server;
}

void smtp_server_free(struct smtp_server **server)
{
    if (*server == NULL)
        return;
    assert((*server)->first == NULL);
    free(*server);
    *server = NULL;
}

void *smtp_server_arg(const struct smtp_server *server)
{
    return server->o.arg;
}

void smtp_server_get_stats(const struct smtp_server *server, struct smtp_server_stats *out)
{
    *out = server->stats;
}

bool smtp_server_is_closing(const struct smtp_server *server)
{
    return server->closing;
}

/* ---- replies
 * --------------------------------------------------------------------------------------------------
 */

struct deadline conn_idle_deadline(struct smtp_conn *c)
{
    return deadline_in_ms(conn_server(c)->o.idle_ms);
}

void conn_write(struct smtp_conn *c, struct slice bytes)
{
    struct fault why;

    if (stream_write(c->s.stream, bytes, conn_idle_deadline(c), &why) < 0)
        c->bye = true;
}

static void write_reply(struct smtp_conn *c, const struct smtp_reply *r)
{
    AUTO(buf_free) struct buf line = BUF_INIT(1024);

    smtp_format_reply(r, c->s.helo.n > 0, &line);
    conn_write(c, buf_slice(&line));
    if (r->code == 421)
        c->bye = true;
}

void conn_reply(struct smtp_conn *c, struct smtp_reply r, struct smtp_reply usual)
{
    if (r.code == 0)
        r = usual;
    c->errors += r.code >= 500;
    c->soft_errors += r.code >= 400 && r.code < 500;
    if (c->errors > conn_server(c)->o.errors_max || c->soft_errors > SOFT_ERRORS_MAX) {
        conn_server(c)->stats.too_many_errors++;
        r = SMTP_REPLY(421, "4.7.0", "Too many errors");
    }
    write_reply(c, &r);
}

void conn_say(struct smtp_conn *c, int code, const char *enhanced, const char *text)
{
    conn_reply(c, (struct smtp_reply){code, enhanced, slice_of(text)}, SMTP_OK);
}

/* ---- ends
 * ------------------------------------------------------------------------------------------------------
 */

void conn_reset_mail(struct smtp_conn *c)
{
    const struct smtp_handlers *h = conn_server(c)->o.handlers;

    if (c->in_mail && h->reset)
        h->reset(&c->s);
    if (c->content_counted)
        conn_server(c)->stats.contents--;
    c->content_counted = false;
    c->in_mail = c->content_open = c->content_lost = false;
    c->lines = (struct smtp_line_check){0};
    c->refused = SMTP_OK;
    c->received = 0;
    c->s.mail = (struct smtp_mail){0};
    c->s.rcpts = NULL;
    c->s.rcpt_count = 0;
    arena_free(&c->s.mail_arena);
}

static void conn_end(struct smtp_conn *c)
{
    struct smtp_server *server = conn_server(c);
    struct fault why;

    conn_reset_mail(c);
    (void)!stream_flush(c->s.stream, deadline_in_ms(FLUSH_MS), &why);
    if (c->told && server->o.handlers->closed)
        server->o.handlers->closed(&c->s);
    stream_close(&c->s.stream);
    arena_free(&c->s.arena);
    if (c->prev)
        c->prev->next = c->next;
    else
        server->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    free(c);
    if (--server->stats.open == 0)
        fiber_event_broadcast(&server->emptied);
}

/* ---- between commands
 * -------------------------------------------------------------------------------------------- */

static void conn_wake(struct stream *stream, enum stream_wake because, void *arg) SUSPENDS;

static bool line_is_there(const struct smtp_conn *c)
{
    struct slice in = stream_buffered(c->s.stream);

    return in.n >= SMTP_LINE_MAX || slice_find_char(in, '\n') >= 0;
}

static void read_and_do(struct smtp_conn *c)
{
    struct slice line;
    struct fault why = {0};

    if (stream_read_line(c->s.stream, SMTP_LINE_MAX, conn_idle_deadline(c), &line, &why) == 0) {
        conn_command(c, line);
    } else if (why.code == FAULT_PROTOCOL) { /* RFC 5321 2.3.8: a bare CR or LF ends no line */
        conn_server(c)->stats.refused_bare++;
        conn_say(c, 500, "5.5.2", "Bare CR or LF in a command; lines end in CRLF");
        c->bye = true;
    } else {
        if (why.code == FAULT_LIMIT)
            conn_say(c, 500, "5.5.2", "Line too long");
        c->bye = true;
    }
}

/* All whole lines that are there, then park: replies of a pipelined group leave together. */
static void conn_serve(struct smtp_conn *c)
{
    while (!c->bye && line_is_there(c))
        read_and_do(c);
    if (!c->bye && conn_server(c)->closing)
        conn_say(c, 421, "4.3.2", "Server shutting down");
    if (c->bye)
        conn_end(c);
    else
        stream_park(c->s.stream, stream_ready_line, conn_wake, c, SMTP_LINE_MAX,
                    conn_idle_deadline(c));
}

static void conn_wake(struct stream *stream, enum stream_wake because, void *arg)
{
    struct smtp_conn *c = arg;

    (void)stream;
    if (because == STREAM_WAKE_TIMEOUT)
        conn_say(c, 421, "4.4.2", "Timeout, closing connection");
    else if (because == STREAM_WAKE_CLOSED)
        c->bye = true;
    conn_serve(c);
}

/* ---- the beginning
 * ------------------------------------------------------------------------------------------------
 */

static bool any_input(struct slice buffered, void *arg)
{
    (void)arg;
    return buffered.n > 0;
}

static void send_early_talker_away(struct smtp_conn *c)
{
    struct slice argument, in = stream_buffered(c->s.stream);
    bool http = smtp_parse_verb(in, &argument) == SMTP_HTTP;

    conn_server(c)->stats.early_talkers++;
    stream_consume(c->s.stream, in.n);
    if (http)
        conn_say(c, 421, "4.7.0", "HTTP requests not allowed");
    else
        conn_say(c, 421, "4.7.0", "You talk too soon");
    conn_end(c);
}

static void conn_greet(struct smtp_conn *c)
{
    const struct smtp_server_options *o = &conn_server(c)->o;
    struct slice text = arena_printf(c->s.arena, "%s %s", o->hostname, o->software);

    conn_reply(c, (struct smtp_reply){220, "", text}, SMTP_OK);
    conn_serve(c);
}

static void greeting_wake(struct stream *stream, enum stream_wake because, void *arg)
{
    struct smtp_conn *c = arg;

    (void)stream;
    if (because == STREAM_WAKE_INPUT) {
        send_early_talker_away(c);
    } else if (because == STREAM_WAKE_CLOSED) {
        conn_end(c);
    } else if (conn_server(c)->closing) {
        conn_say(c, 421, "4.3.2", "Server shutting down");
        conn_end(c);
    } else {
        conn_greet(c);
    }
}

static struct smtp_conn *conn_new(struct smtp_server *server, struct stream *stream)
{
    struct smtp_conn *c = calloc(1, sizeof(*c));
    struct object_id id = object_id_new();

    if (c == NULL)
        abort();
    memcpy(c->s.id, id.s, sizeof(c->s.id));
    c->s.server = server;
    c->s.stream = stream;
    c->s.arena = arena_new(512);
    c->s.tls = stream_is_tls(stream);
    c->s.arrived_ms = clock_wall_ms();
    c->next = server->first;
    if (c->next)
        c->next->prev = c;
    server->first = c;
    server->stats.connections++;
    server->stats.open++;
    return c;
}

void smtp_server_accept(struct stream *stream, void *arg)
{
    struct smtp_server *server = arg;
    struct smtp_conn *c = conn_new(server, stream);
    struct smtp_reply r = SMTP_OK;

    if (server->closing)
        r = SMTP_REPLY(421, "4.3.2", "Server shutting down");
    else if (server->o.handlers->connect) {
        c->told = true;
        r = server->o.handlers->connect(&c->s);
    }
    if (r.code >= 400) {
        conn_reply(c, r, SMTP_OK);
        conn_end(c);
    } else if (stream_buffered(stream).n > 0) {
        send_early_talker_away(c);
    } else if (server->o.greeting_delay_ms > 0) {
        stream_park(stream, any_input, greeting_wake, c, EARLY_TALK_MAX,
                    deadline_in_ms(server->o.greeting_delay_ms));
    } else {
        conn_greet(c);
    }
}

/* ---- drain
 * ----------------------------------------------------------------------------------------------------------
 */

static void wait_until_empty(struct smtp_server *server, struct deadline until)
{
    struct fault why;

    while (server->stats.open > 0 && !deadline_is_past(until))
        if (fiber_event_wait(&server->emptied, until, &why) < 0 && why.code == FAULT_CANCELED)
            return;
}

void smtp_server_drain(struct smtp_server *server, struct deadline until)
{
    server->closing = true;
    for (struct smtp_conn *c = server->first; c; c = c->next)
        stream_kick(c->s.stream);
    wait_until_empty(server, until);
    for (struct smtp_conn *c = server->first; c; c = c->next)
        stream_shutdown(c->s.stream);
    wait_until_empty(server, deadline_in_ms(FLUSH_MS));
}
