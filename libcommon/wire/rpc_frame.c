/* rpc_frame.c - the frames of the RPC between daemons: see rpc_frame.h and proto/README.md.
 *
 * Owns nothing beyond the json_t of a parsed text. Called by libcommon/rpc. Fails only on malformed
 * peer bytes and full buffers. Never suspends.
 */
#include "wire/rpc_frame.h"

#include "base/encode.h"

static const char hex_digits[] = "0123456789abcdef";

/* ---- binary frames ---- */

static uint16_t get_u16(const char *p)
{
    return (uint16_t)((unsigned char)p[0] << 8 | (unsigned char)p[1]);
}

static void put_u16(char *p, uint16_t v)
{
    p[0] = (char)(v >> 8);
    p[1] = (char)(v & 0xff);
}

bool rpc_piece_parse(struct slice frame, struct rpc_piece_frame *out)
{
    uint16_t flags;

    if (frame.n < RPC_HEADER_BYTES || frame.n > RPC_HEADER_BYTES + RPC_FRAME_BYTES_MAX)
        return false;
    flags = get_u16(frame.p + 6);
    if (flags & ~(RPC_PIECE_END | RPC_ALL_END) || flags == RPC_ALL_END)
        return false;
    out->id = (uint32_t)get_u16(frame.p) << 16 | get_u16(frame.p + 2);
    out->piece = get_u16(frame.p + 4);
    out->flags = flags;
    out->bytes = slice_tail(frame, RPC_HEADER_BYTES);
    return out->id != 0;
}

void rpc_piece_format_header(uint32_t id, uint16_t piece, uint16_t flags,
                             char out[RPC_HEADER_BYTES])
{
    put_u16(out, (uint16_t)(id >> 16));
    put_u16(out + 2, (uint16_t)(id & 0xffff));
    put_u16(out + 4, piece);
    put_u16(out + 6, flags);
}

/* ---- parsing text frames ---- */

static int parse_pieces(const json_t *root, struct arena *in, struct rpc_text *out,
                        struct fault *why)
{
    const json_t *bin = json_object_get(root, "bin");
    size_t count = json_array_size(bin);

    out->more = json_get_bool(root, "more", false);
    if (bin == NULL)
        return 0;
    if (!json_is_array(bin) || count > RPC_PIECES_MAX)
        return fault_set(why, FAULT_PROTOCOL, "rpc: bad bin");
    out->piece_bytes = ARENA_ARRAY(in, uint64_t, count + 1);
    out->piece_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *n = json_array_get(bin, i);
        if (!json_is_integer(n) || json_integer_value(n) < 0)
            return fault_set(why, FAULT_PROTOCOL, "rpc: bad length in bin");
        out->piece_bytes[i] = (uint64_t)json_integer_value(n);
    }
    return 0;
}

static bool is_word(struct slice s, size_t max)
{
    if (s.n == 0 || s.n > max)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_alnum(s.p[i]) && s.p[i] != '.' && s.p[i] != '_')
            return false;
    return true;
}

static int parse_request(const json_t *root, struct rpc_text *out, struct fault *why)
{
    struct slice op = json_get_slice(root, "op");
    int64_t ttl = json_get_int(root, "ttl_ms", 0);

    out->kind = RPC_REQUEST;
    out->action = json_get_slice(root, "do");
    out->session = json_get_slice(root, "session");
    if (!is_word(out->action, RPC_ACTION_BYTES_MAX))
        return fault_set(why, FAULT_PROTOCOL, "rpc: bad action");
    if (out->session.n > RPC_SESSION_BYTES || ttl < 0)
        return fault_set(why, FAULT_PROTOCOL, "rpc: bad session or ttl_ms");
    out->ttl_ms = (uint64_t)ttl < RPC_TTL_MS_MAX ? (uint64_t)ttl : RPC_TTL_MS_MAX;
    out->has_op = op.p != NULL;
    if (out->has_op && !hex_decode(op, out->op, sizeof(out->op)))
        return fault_set(why, FAULT_PROTOCOL, "rpc: bad op");
    out->body = json_object_get(root, "args");
    if (!json_is_object(out->body))
        return fault_set(why, FAULT_PROTOCOL, "rpc: no args");
    return 0;
}

static int parse_fault(const json_t *fault, struct rpc_text *out, struct fault *why)
{
    char code[32];

    out->kind = RPC_FAULT;
    if (!slice_copy_cstr(json_get_slice(fault, "code"), code, sizeof(code)))
        return fault_set(why, FAULT_PROTOCOL, "rpc: bad fault");
    out->fault.code = fault_code_parse(code);
    if (out->fault.code == FAULT_NONE)
        out->fault.code = FAULT_IO;
    if (!slice_copy_cstr(slice_head(json_get_slice(fault, "text"), RPC_FAULT_TEXT_MAX),
                         out->fault.text, sizeof(out->fault.text)))
        out->fault.text[0] = '\0';
    return 0;
}

static int parse_body(const json_t *root, struct rpc_text *out, struct fault *why)
{
    const json_t *fault = json_object_get(root, "fault");

    out->body = json_object_get(root, "ok");
    if (json_is_object(out->body)) {
        out->kind = RPC_OK;
        return 0;
    }
    if (json_is_object(fault))
        return parse_fault(fault, out, why);
    if (json_get_int(root, "credit", 0) > 0) {
        out->kind = RPC_CREDIT;
        out->credit = (uint64_t)json_get_int(root, "credit", 0);
        return 0;
    }
    if (json_get_bool(root, "cancel", false)) {
        out->kind = RPC_CANCEL;
        return 0;
    }
    return fault_set(why, FAULT_PROTOCOL, "rpc: neither request, answer, credit nor cancel");
}

static int parse_root(struct arena *in, struct rpc_text *out, struct fault *why)
{
    int64_t id;
    int r;

    if (!json_is_object(out->root))
        return fault_set(why, FAULT_PROTOCOL, "rpc: not an object");
    id = json_get_int(out->root, "id", 0);
    if (id < 1 || id > UINT32_MAX)
        return fault_set(why, FAULT_PROTOCOL, "rpc: bad id");
    out->id = (uint32_t)id;
    r = json_object_get(out->root, "do") != NULL ? parse_request(out->root, out, why)
                                                 : parse_body(out->root, out, why);
    if (r < 0)
        return r;
    return parse_pieces(out->root, in, out, why);
}

int rpc_text_parse(struct slice frame, struct arena *in, struct rpc_text *out, struct fault *why)
{
    struct rpc_text text = {0};

    if (json_parse(frame, RPC_TEXT_BYTES_MAX, &text.root, why) < 0)
        return fault_set(why, FAULT_PROTOCOL, "rpc: text frame is no JSON");
    if (parse_root(in, &text, why) < 0) {
        json_release(&text.root);
        return -1;
    }
    *out = text;
    return 0;
}

void rpc_text_release(struct rpc_text *text)
{
    json_release(&text->root);
    text->body = NULL;
}

/* ---- writing text frames ---- */

static int append_json(const json_t *value, struct buf *out)
{
    if (value == NULL)
        return buf_append(out, LIT("{}"));
    return json_format(value, out);
}

static void append_pieces(const uint64_t *piece_bytes, size_t count, bool more, struct buf *out)
{
    if (count > 0) {
        (void)buf_append(out, LIT(",\"bin\":["));
        for (size_t i = 0; i < count; i++) {
            if (i > 0)
                (void)buf_append_char(out, ',');
            (void)buf_append_u64(out, piece_bytes[i]);
        }
        (void)buf_append_char(out, ']');
    }
    if (more)
        (void)buf_append(out, LIT(",\"more\":true"));
}

static void append_op(const unsigned char *op, struct buf *out)
{
    char text[2 * RPC_OP_BYTES];

    for (size_t i = 0; i < RPC_OP_BYTES; i++) {
        text[2 * i] = hex_digits[op[i] >> 4];
        text[2 * i + 1] = hex_digits[op[i] & 15];
    }
    (void)buf_append(out, LIT(",\"op\":\""));
    (void)buf_append(out, slice_make(text, sizeof(text)));
    (void)buf_append_char(out, '"');
}

int rpc_text_format_request(const struct rpc_request_head *head, struct buf *out)
{
    if (head->piece_count > RPC_PIECES_MAX)
        return -1;
    (void)buf_append(out, LIT("{\"id\":"));
    (void)buf_append_u64(out, head->id);
    (void)buf_append(out, LIT(",\"do\":\""));
    (void)buf_append_cstr(out, head->action);
    if (head->session.n > 0) {
        (void)buf_append(out, LIT("\",\"session\":\""));
        (void)buf_append(out, head->session);
    }
    (void)buf_append(out, LIT("\",\"args\":"));
    if (append_json(head->args, out) < 0)
        return -1;
    if (head->op != NULL)
        append_op(head->op, out);
    if (head->ttl_ms > 0) {
        (void)buf_append(out, LIT(",\"ttl_ms\":"));
        (void)buf_append_u64(out, head->ttl_ms);
    }
    append_pieces(head->piece_bytes, head->piece_count, head->more, out);
    return buf_append_char(out, '}') < 0 || out->overflowed ? -1 : 0;
}

int rpc_text_format_ok(uint32_t id, const json_t *ok, const uint64_t *piece_bytes,
                       size_t piece_count, bool more, struct buf *out)
{
    (void)buf_append(out, LIT("{\"id\":"));
    (void)buf_append_u64(out, id);
    (void)buf_append(out, LIT(",\"ok\":"));
    if (append_json(ok, out) < 0)
        return -1;
    append_pieces(piece_bytes, piece_count, more, out);
    return buf_append_char(out, '}') < 0 || out->overflowed ? -1 : 0;
}

int rpc_text_format_fault(uint32_t id, enum fault_code code, const char *text, struct buf *out)
{
    AUTO(json_release) json_t *root = json_object();
    json_t *fault = json_object();

    (void)json_set_int(root, "id", id);
    (void)json_object_set_new(root, "fault", fault);
    (void)json_set_slice(fault, "code", slice_of(fault_code_name(code)));
    (void)json_set_slice(fault, "text", slice_of(text));
    return json_format(root, out);
}

int rpc_text_format_credit(uint32_t id, uint64_t bytes, struct buf *out)
{
    return buf_printf(out, "{\"id\":%u,\"credit\":%llu}", id, (unsigned long long)bytes);
}

int rpc_text_format_cancel(uint32_t id, struct buf *out)
{
    return buf_printf(out, "{\"id\":%u,\"cancel\":true}", id);
}
