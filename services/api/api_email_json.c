/* api_email_json.c - how a message of the queue looks to its owner; its bytes streamed as a JSON string when they are many.
 *
 * Owns      the blob's reader while it answers. Suspends for store and client.
 */
#include "api_email.h"

#define MESSAGE_INLINE_MAX ((size_t)256 << 10)
#define ESCAPED_BYTES      ((size_t)400 << 10)   /* of one piece: at most six bytes for one */

/* ---- the object -------------------------------------------------------------------------------------------------- */

static void copy_or(json_t *to, const json_t *from, const char *key, json_t *otherwise)
{
    json_t *v = json_object_get(from, key);

    if (v == NULL || json_is_null(v))
        (void)json_object_set_new(to, key, otherwise);
    else {
        (void)json_object_set(to, key, v);
        json_decref(otherwise);
    }
}

static void copy_id(json_t *to, const json_t *from, const char *key)
{
    if (json_get_slice(from, key).n > 0)
        (void)json_object_set(to, key, json_object_get(from, key));
}

static json_t *envelope_of(const json_t *document)
{
    const json_t *stored = json_object_get(document, "envelope");
    json_t *envelope = json_object();

    copy_or(envelope, stored, "from", json_string(""));
    copy_or(envelope, stored, "to", json_array());
    return envelope;
}

/* ---- what became of each recipient ---------------------------------------------------------------------------------- */

struct outcomes { json_t *accepted, *errors, *hard, *soft; };

static json_t *error_of(const json_t *recipient)
{
    struct slice response = json_get_slice(recipient, "response");
    json_t *e = json_object();

    (void)json_set_slice(e, "recipient", json_get_slice(recipient, "address"));
    (void)json_set_int(e, "responseCode", json_get_int(recipient, "code", 0));
    (void)json_set_slice(e, "response", response);
    (void)json_set_slice(e, "message", response);
    if (json_get_slice(recipient, "status").n > 0)
        (void)json_object_set(e, "enhancedCode", json_object_get(recipient, "status"));
    if (json_get_slice(recipient, "mx").n > 0)
        (void)json_object_set(e, "mx", json_object_get(recipient, "mx"));
    copy_or(e, recipient, "updated_at", json_null());
    return e;
}

/* Failed for good: a hard bounce; still waiting after a refusal: a soft one. */
static struct outcomes outcomes_of(const json_t *document)
{
    struct outcomes all = { json_array(), json_array(), json_array(), json_array() };
    json_t *recipient;
    size_t i;

    json_array_foreach(json_object_get(document, "recipients"), i, recipient) {
        struct slice state = json_get_slice(recipient, "state");
        json_t *address = json_object_get(recipient, "address");
        bool failed = slice_equal(state, LIT("failed"));

        if (slice_equal(state, LIT("accepted")))
            (void)json_array_append(all.accepted, address);
        else if (failed || json_get_int(recipient, "code", 0) >= 400) {
            (void)json_array_append(failed ? all.hard : all.soft, address);
            (void)json_array_append_new(all.errors, error_of(recipient));
        }
    }
    return all;
}

static void add_outcomes(json_t *o, const json_t *document, bool in_list)
{
    struct outcomes all = outcomes_of(document);

    (void)json_object_set_new(o, "hard_bounces", all.hard);
    (void)json_object_set_new(o, "soft_bounces", all.soft);
    if (in_list) {
        json_decref(all.accepted);
        json_decref(all.errors);
        return;
    }
    copy_or(o, document, "headers", json_object());
    (void)json_object_set_new(o, "accepted", all.accepted);
    (void)json_object_set_new(o, "rejectedErrors", all.errors);
}

json_t *email_json(struct api_call *c, const json_t *document, bool in_list)
{
    static const char *const ids[] = { "alias", "domain", "user" }, *const flags[] = { "is_redacted", "is_bounce", "is_locked" };
    struct slice id = json_get_slice(document, "_id");
    json_t *o = json_object();

    (void)json_object_set_new(o, "object", json_string("email"));
    (void)json_set_slice(o, "id", id);
    copy_or(o, document, "status", json_string("queued"));
    for (size_t i = 0; i < COUNT(ids); i++)
        copy_id(o, document, ids[i]);
    for (size_t i = 0; i < COUNT(flags); i++)
        copy_or(o, document, flags[i], json_false());
    (void)json_object_set_new(o, "envelope", envelope_of(document));
    copy_or(o, document, "messageId", json_string(""));
    copy_or(o, document, "date", json_null());
    copy_or(o, document, "subject", json_string(""));
    add_outcomes(o, document, in_list);
    (void)json_set_slice(o, "link", arena_printf(c->arena, "%s/my-account/emails/%.*s", c->api->config->web_url, SLICE(id)));
    copy_or(o, document, "created_at", json_null());
    copy_or(o, document, "updated_at", json_null());
    return o;
}

/* ---- bytes as a JSON string (RFC 8259 7) ------------------------------------------------------------------------------ */

struct escaper {
    struct buf in, out;                        /* `in` begins with a character whose end has not come yet */
};

static size_t sequence_bytes(unsigned char lead)
{
    return lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
}

static void escape_byte(struct buf *out, unsigned char c)
{
    if (c == '"' || c == '\\')
        (void)buf_printf(out, "\\%c", c);
    else if (c == '\r')
        (void)buf_append(out, LIT("\\r"));
    else if (c == '\n')
        (void)buf_append(out, LIT("\\n"));
    else
        (void)buf_printf(out, "\\u%04x", c);
}

/* Takes what is whole out of `in`; `last`: a rest that is not whole is damaged. */
static void escape(struct escaper *e, bool last)
{
    struct slice s = buf_slice(&e->in);
    size_t i = 0, from = 0;

    while (i < s.n) {
        unsigned char c = (unsigned char)s.p[i];
        size_t n = sequence_bytes(c);
        bool good;

        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
            i++;
            continue;
        }
        if (n > s.n - i && !last)
            break;
        good = c >= 0x80 && n <= s.n - i && slice_is_utf8(slice_sub(s, i, n));
        if (good) {
            i += n;
            continue;
        }
        (void)buf_append(&e->out, slice_sub(s, from, i - from));
        if (c < 0x80)
            escape_byte(&e->out, c);
        else
            (void)buf_append(&e->out, LIT("\xef\xbf\xbd"));
        from = ++i;
    }
    (void)buf_append(&e->out, slice_sub(s, from, i - from));
    buf_consume(&e->in, i);
}

static int send_piece(struct api_call *c, struct escaper *e, struct slice piece, struct fault *why)
{
    while (piece.n > 0) {
        struct slice part = slice_head(piece, (size_t)60 << 10);

        (void)buf_append(&e->in, part);
        escape(e, false);
        piece = slice_tail(piece, part.n);
        if (http_reply_write(c->rq, buf_slice(&e->out), why) < 0)
            return -1;
        buf_reset(&e->out);
    }
    return 0;
}

static int send_message(struct api_call *c, struct store_reader *reader, struct escaper *e, struct fault *why)
{
    struct slice piece;

    for (;;) {
        if (store_blob_read(reader, deadline_in_ms(c->api->config->timeout_ms), &piece, why) < 0)
            return -1;
        if (piece.n == 0)
            break;
        if (send_piece(c, e, piece, why) < 0)
            return -1;
    }
    escape(e, true);
    (void)buf_append(&e->out, LIT("\"}"));
    return http_reply_write(c->rq, buf_slice(&e->out), why);
}

/* The object without its last brace, the message, the brace. */
static int stream(struct api_call *c, json_t *o, struct store_reader *reader, struct fault *why)
{
    struct escaper e = { .in = BUF_INIT((size_t)64 << 10), .out = BUF_INIT(ESCAPED_BYTES) };
    AUTO(buf_free) struct buf head = BUF_INIT((size_t)8 << 20);
    int r;

    if (json_format(o, &head) < 0)
        return fault_set(why, FAULT_LIMIT, "a document too large");
    buf_truncate(&head, head.n - 1);
    (void)buf_append(&head, LIT(",\"message\":\""));
    c->status = 200;
    api_reply_headers(c);
    r = http_reply_begin(c->rq, 200, LIT("application/json; charset=utf-8"), UINT64_MAX, why);
    if (r == 0 && (r = http_reply_write(c->rq, buf_slice(&head), why)) == 0)
        r = send_message(c, reader, &e, why);
    if (r == 0)
        r = http_reply_end(c->rq, why);
    else
        http_close_after(c->rq);               /* cut off: the client sees that it is not whole */
    buf_free(&e.in);
    buf_free(&e.out);
    return r;
}

/* ---- the answer ------------------------------------------------------------------------------------------------------------- */

static int read_small(struct api_call *c, struct store_reader *reader, json_t *o, struct fault *why)
{
    AUTO(buf_free) struct buf all = BUF_INIT(MESSAGE_INLINE_MAX);
    struct slice piece;

    for (;;) {
        if (store_blob_read(reader, c->until, &piece, why) < 0)
            return -1;
        if (piece.n == 0)
            break;
        if (buf_append(&all, piece) < 0)
            return fault_set(why, FAULT_CORRUPT, "a blob longer than it says");
    }
    return json_set_slice(o, "message", buf_slice(&all));
}

int email_reply(struct api_call *c, const json_t *document, struct fault *why)
{
    AUTO(json_release) json_t *o = email_json(c, document, false);
    AUTO(store_blob_close) struct store_reader *reader = NULL;
    struct slice blob = json_get_slice(document, "blob");
    struct slice etag;
    uint64_t bytes = 0;
    json_t *mine;

    if (blob.n > 0 && store_blob_open(c->api->store, blob, c->until, &reader, &bytes, why) < 0) {
        if (why->code != FAULT_NOT_FOUND)
            return -1;
        why->code = FAULT_NONE;                /* redacted meanwhile */
    }
    if (reader != NULL && bytes > MESSAGE_INLINE_MAX) {
        etag = arena_printf(c->arena, "\"%.*s-%.*s\"", SLICE(blob), SLICE(json_get_slice(document, "updated_at")));
        return api_reply_unchanged(c, etag) ? 0 : stream(c, o, reader, why);
    }
    if (reader != NULL && read_small(c, reader, o, why) < 0)
        return -1;
    mine = o;
    o = NULL;
    return api_reply_json(c, mine);
}
