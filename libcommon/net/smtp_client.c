/* smtp_client.c - opens an SMTP connection: greeting, EHLO, TLS by policy, AUTH; and reads replies.
 *
 * Owns      struct smtp_client with its stream.
 * Called by smtp-bree, mx, health checks. What can fail: the network, the remote's refusal, an
 * unmet TLS policy. Suspends while connecting, writing and reading.
 */
#include "net/smtp_client_internal.h"

#include "base/encode.h"
#include "base/secret.h"

#define REPLY_TEXT_MAX 4096
#define CONNECT_MS 30000u /* defaults; RFC 5321 4.5.3.2 */
#define COMMAND_MS 120000u
#define DATA_BLOCK_MS 180000u
#define DATA_END_MS 600000u

static uint64_t or_default(uint64_t ms, uint64_t otherwise)
{
    return ms ? ms : otherwise;
}

/* ---- replies
 * -------------------------------------------------------------------------------------------------------
 */

/* A line without its end, borrowed until the next read. Replies are read leniently: a missing CR
 * changes no meaning here. */
static int read_line(struct smtp_client *c, struct deadline until, struct slice *line,
                     struct fault *why)
{
    for (;;) {
        struct slice in = stream_buffered(c->stream);
        ptrdiff_t lf = slice_find_char(in, '\n');

        if (lf >= 0) {
            *line = slice_head(in, (size_t)lf);
            if (line->n > 0 && line->p[line->n - 1] == '\r')
                line->n--;
            return (int)lf + 1;
        }
        if (stream_fill(c->stream, SMTP_REPLY_LINE_MAX, until, why) < 0)
            return -1;
    }
}

/* All lines of a reply into `raw`, each ended by LF, without their codes. Returns the code. */
static int read_lines(struct smtp_client *c, struct deadline until, struct buf *raw,
                      struct fault *why)
{
    bool more = true;
    int code = 0;

    for (int lines = 0; more; lines++) {
        struct slice line, text;
        int taken = read_line(c, until, &line, why);

        if (taken < 0)
            return -1;
        if (lines >= SMTP_REPLY_LINES_MAX || !smtp_parse_reply_line(line, &code, &more, &text))
            return fault_set(why, FAULT_PROTOCOL, "not an SMTP reply: %.*s",
                             SLICE(slice_head(line, 80)));
        if (buf_append(raw, text) == 0)
            (void)buf_append_char(raw, '\n');
        stream_consume(c->stream, (size_t)taken);
    }
    if (code == 421)
        c->usable = false;
    return code;
}

static struct slice join_lines(struct arena *in, int code, struct slice raw, const char **enhanced)
{
    AUTO(buf_free) struct buf text = BUF_INIT(REPLY_TEXT_MAX);
    struct slice line;

    *enhanced = "";
    while (slice_cut(&raw, '\n', &line)) {
        struct slice status = smtp_cut_enhanced(code, &line);

        if (status.n > 0 && **enhanced == '\0')
            *enhanced = arena_cstr(in, status);
        if (text.n > 0 && line.n > 0)
            (void)buf_append_char(&text, ' ');
        (void)buf_append(&text, line);
    }
    return arena_copy(in, buf_slice(&text));
}

static int read_reply_raw(struct smtp_client *c, struct deadline until, struct arena *in,
                          struct buf *raw, struct smtp_reply *out, struct fault *why)
{
    int code = read_lines(c, until, raw, why);

    if (code < 0) {
        c->usable = false;
        return -1;
    }
    out->code = code;
    out->text = join_lines(in, code, buf_slice(raw), &out->enhanced);
    return 0;
}

int client_read_reply(struct smtp_client *c, uint64_t ms, struct deadline until, struct arena *in,
                      struct smtp_reply *out, struct fault *why)
{
    AUTO(buf_free) struct buf raw = BUF_INIT(REPLY_TEXT_MAX);

    return read_reply_raw(c, deadline_earlier(until, deadline_in_ms(ms)), in, &raw, out, why);
}

int client_write(struct smtp_client *c, struct slice bytes, uint64_t ms, struct deadline until,
                 struct fault *why)
{
    int r = stream_write(c->stream, bytes, deadline_earlier(until, deadline_in_ms(ms)), why);

    if (r < 0)
        c->usable = false;
    return r;
}

/* ---- opening
 * ---------------------------------------------------------------------------------------------------------
 */

struct opening {
    struct smtp_client *c;
    const struct smtp_client_options *o;
    struct arena *in;
    struct deadline until;
    struct smtp_reply *refusal;
    struct fault *why;
};

/* Sends a line; the reply goes to *refusal, cleared again by the caller when it was a yes. */
static int command(struct opening *op, struct slice line, struct buf *raw)
{
    struct smtp_client *c = op->c;
    struct deadline until = deadline_earlier(op->until, deadline_in_ms(c->command_ms));

    if (client_write(c, line, c->command_ms, op->until, op->why) < 0)
        return -1;
    return read_reply_raw(c, until, op->in, raw, op->refusal, op->why);
}

static int refused(struct opening *op, const char *what)
{
    return fault_set(op->why, FAULT_DENIED, "%s refused: %d %.*s", what, op->refusal->code,
                     SLICE(slice_head(op->refusal->text, 160)));
}

static void note_extension(struct smtp_client *c, struct slice line)
{
    static const struct {
        const char *keyword;
        unsigned bit;
    } row[] = {
        {"PIPELINING", SMTP_EXT_PIPELINING},
        {"8BITMIME", SMTP_EXT_8BITMIME},
        {"SMTPUTF8", SMTP_EXT_SMTPUTF8},
        {"SIZE", SMTP_EXT_SIZE},
        {"DSN", SMTP_EXT_DSN},
        {"STARTTLS", SMTP_EXT_STARTTLS},
        {"REQUIRETLS", SMTP_EXT_REQUIRETLS},
        {"CHUNKING", SMTP_EXT_CHUNKING},
        {"AUTH", SMTP_EXT_AUTH},
        {"ENHANCEDSTATUSCODES", SMTP_EXT_ENHANCED},
        {"BINARYMIME", SMTP_EXT_BINARYMIME},
    };
    struct slice keyword = SLICE_NONE;

    (void)slice_cut(&line, ' ', &keyword);
    for (size_t i = 0; i < COUNT(row); i++)
        if (slice_equal_nocase(keyword, slice_of(row[i].keyword)))
            c->extensions |= row[i].bit;
    if (slice_equal_nocase(keyword, LIT("SIZE")) &&
        !slice_to_u64(slice_trim(line), UINT64_MAX >> 1, &c->size_limit))
        c->size_limit = 0;
}

static int say_hello(struct opening *op)
{
    AUTO(buf_free) struct buf raw = BUF_INIT(16384);
    struct smtp_client *c = op->c;
    struct slice rest, line;

    c->extensions = 0;
    c->size_limit = 0;
    if (command(op, arena_printf(op->in, "EHLO %s\r\n", c->helo), &raw) < 0)
        return -1;
    if (op->refusal->code >= 500) {
        if (command(op, arena_printf(op->in, "HELO %s\r\n", c->helo), &raw) < 0)
            return -1;
        return op->refusal->code == 250 ? 0 : refused(op, "HELO");
    }
    if (op->refusal->code != 250)
        return refused(op, "EHLO");
    rest = buf_slice(&raw);
    (void)slice_cut(&rest, '\n', &line); /* the remote's name */
    while (slice_cut(&rest, '\n', &line))
        note_extension(c, line);
    return 0;
}

static int start_tls(struct opening *op)
{
    const struct smtp_client_options *o = op->o;
    struct tls_client_options tls = {
        .verify = o->policy == SMTP_TLS_PKIX   ? TLS_VERIFY_PKIX
                  : o->policy == SMTP_TLS_DANE ? TLS_VERIFY_DANE
                                               : TLS_VERIFY_NONE,
        .server_name = o->server_name,
        .tlsa = o->tlsa,
        .tlsa_count = o->tlsa_count,
        .min_version = o->tls_min_version,
    };
    struct deadline until = deadline_earlier(op->until, deadline_in_ms(op->c->command_ms));

    if (stream_start_tls_client(op->c->stream, o->tls, &tls, until, op->why) == 0)
        return 0;
    if (op->why->code == FAULT_DENIED)
        op->why->code = FAULT_PROTOCOL; /* the certificate; DENIED is for what the remote says */
    return fault_prefix(op->why, "TLS");
}

/* RFC 3207: what the remote said before the handshake is forgotten, by the stream and here. */
static int upgrade(struct opening *op)
{
    AUTO(buf_free) struct buf raw = BUF_INIT(REPLY_TEXT_MAX);
    bool must = op->o->policy > SMTP_TLS_OPPORTUNISTIC;

    if (op->o->policy == SMTP_TLS_NONE || op->o->implicit_tls)
        return 0;
    if (!(op->c->extensions & SMTP_EXT_STARTTLS))
        return must ? fault_set(op->why, FAULT_PROTOCOL, "TLS is required, STARTTLS is not offered")
                    : 0;
    if (command(op, LIT("STARTTLS\r\n"), &raw) < 0)
        return -1;
    if (op->refusal->code != 220)
        return must ? fault_set(op->why, FAULT_PROTOCOL,
                                "TLS is required, STARTTLS was refused: %d", op->refusal->code)
                    : 0;
    return start_tls(op) < 0 ? -1 : say_hello(op);
}

static int authenticate(struct opening *op)
{
    AUTO(buf_wipe) struct buf plain = BUF_INIT(4096);
    AUTO(buf_wipe) struct buf line = BUF_INIT(8192);
    AUTO(buf_free) struct buf raw = BUF_INIT(REPLY_TEXT_MAX);
    AUTO(arena_free) struct arena *a = NULL;
    struct slice text;
    int r;

    if (op->o->auth_user.n == 0)
        return 0;
    if (!stream_is_tls(op->c->stream))
        return fault_set(op->why, FAULT_PROTOCOL, "no password without TLS");
    a = arena_new(0);
    (void)buf_append_char(&plain, '\0');
    (void)buf_append(&plain, op->o->auth_user);
    (void)buf_append_char(&plain, '\0');
    (void)buf_append(&plain, secret_slice(op->o->auth_password));
    text = base64_encode(a, buf_slice(&plain));
    (void)buf_printf(&line, "AUTH PLAIN %.*s\r\n", SLICE(text));
    memory_wipe((void *)(uintptr_t)text.p, text.n);
    r = command(op, buf_slice(&line), &raw);
    if (r < 0)
        return r;
    return op->refusal->code == 235 ? 0 : refused(op, "AUTH");
}

static int greet(struct opening *op)
{
    uint64_t ms = or_default(op->o->greeting_ms, COMMAND_MS);

    if (op->o->implicit_tls && start_tls(op) < 0)
        return -1;
    if (client_read_reply(op->c, ms, op->until, op->in, op->refusal, op->why) < 0)
        return -1;
    return op->refusal->code == 220 ? 0 : refused(op, "connection");
}

static int open_steps(struct opening *op)
{
    if (greet(op) < 0 || say_hello(op) < 0 || upgrade(op) < 0 || authenticate(op) < 0)
        return -1;
    return 0;
}

int smtp_client_open(const struct smtp_client_options *o, struct deadline until, struct arena *in,
                     struct smtp_client **out, struct smtp_reply *refusal, struct fault *why)
{
    struct deadline connect =
        deadline_earlier(until, deadline_in_ms(or_default(o->connect_ms, CONNECT_MS)));
    struct smtp_client *c;
    struct opening op = {NULL, o, in, until, refusal, why};

    *refusal = SMTP_OK;
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        abort();
    c->usable = true;
    c->command_ms = or_default(o->command_ms, COMMAND_MS);
    c->data_block_ms = or_default(o->data_block_ms, DATA_BLOCK_MS);
    c->data_end_ms = or_default(o->data_end_ms, DATA_END_MS);
    op.c = c;
    if (!slice_copy_cstr(slice_of(o->helo), c->helo, sizeof(c->helo)) ||
        !smtp_hello_is_valid(slice_of(c->helo))) {
        smtp_client_close(&c);
        return fault_set(why, FAULT_INVALID, "our own name is not usable in EHLO");
    }
    if (stream_connect(o->ip, o->port, o->local_ip, connect, &c->stream, why) < 0 ||
        open_steps(&op) < 0) {
        if (why->code != FAULT_DENIED && refusal->code < 400)
            *refusal = SMTP_OK; /* the last thing said was no refusal */
        c->usable = c->stream != NULL && c->usable && why->code == FAULT_DENIED;
        smtp_client_close(&c);
        return -1;
    }
    *refusal = SMTP_OK;
    *out = c;
    return 0;
}

void smtp_client_close(struct smtp_client **client)
{
    struct smtp_client *c = *client;
    struct fault why;

    if (c == NULL)
        return;
    if (c->stream && c->usable && !c->in_content)
        (void)!stream_write_now(c->stream, LIT("QUIT\r\n"), SMTP_LINE_MAX, &why);
    if (c->stream)
        stream_close(&c->stream);
    free(c);
    *client = NULL;
}

/* ---- looking
 * ----------------------------------------------------------------------------------------------------------
 */

unsigned smtp_client_extensions(const struct smtp_client *c)
{
    return c->extensions;
}

uint64_t smtp_client_size_limit(const struct smtp_client *c)
{
    return c->size_limit;
}

bool smtp_client_is_tls(const struct smtp_client *c)
{
    return stream_is_tls(c->stream);
}

const char *smtp_client_tls_version(const struct smtp_client *c)
{
    return stream_tls_version(c->stream);
}

const char *smtp_client_tls_cipher(const struct smtp_client *c)
{
    return stream_tls_cipher(c->stream);
}

/* Input between transactions is a 421 on its way out. */
bool smtp_client_is_usable(const struct smtp_client *c)
{
    return c->usable && stream_buffered(c->stream).n == 0;
}
