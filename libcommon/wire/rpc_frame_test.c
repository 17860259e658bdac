/* rpc_frame_test.c - text and piece frames of the RPC, good and bad. */
#include "base/test.h"
#include "wire/rpc_frame.h"

TEST(rpc_frame, takes_only_its_five_forms)
{
    static const struct {
        const char *in;
        int kind;
    } row[] = {
        {"{\"id\":7,\"do\":\"messages.fetch\",\"session\":\"ab\",\"args\":{\"a\":1},\"ttl_ms\":"
         "5000,\"bin\":[3,0]}",
         RPC_REQUEST},
        {"{\"id\":7,\"do\":\"x\",\"args\":{},\"op\":\"000102030405060708090a0b0c0d0e0f\"}",
         RPC_REQUEST},
        {"{\"id\":4294967295,\"ok\":{}}", RPC_OK},
        {"{\"id\":1,\"fault\":{\"code\":\"not_found\",\"text\":\"gone\"}}", RPC_FAULT},
        {"{\"id\":1,\"credit\":262144}", RPC_CREDIT},
        {"{\"id\":1,\"cancel\":true}", RPC_CANCEL},
        {"{\"id\":0,\"ok\":{}}", -1},
        {"{\"id\":4294967296,\"ok\":{}}", -1},
        {"{\"ok\":{}}", -1},
        {"{\"id\":1}", -1},
        {"{\"id\":1,\"ok\":3}", -1},
        {"{\"id\":1,\"credit\":-1}", -1},
        {"{\"id\":1,\"do\":\"x\"}", -1},
        {"{\"id\":1,\"do\":\"x y\",\"args\":{}}", -1},
        {"{\"id\":1,\"do\":\"x\",\"args\":{},\"op\":\"00\"}", -1},
        {"{\"id\":1,\"do\":\"x\",\"args\":{},\"bin\":[-1]}", -1},
        {"{\"id\":1,\"do\":\"x\",\"args\":{},\"bin\":{}}", -1},
        {"{\"id\":1,\"do\":\"x\",\"args\":{},\"ttl_ms\":-4}", -1},
        {"[]", -1},
        {"", -1},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct rpc_text text;
        struct fault why;
        int r = rpc_text_parse(slice_of(row[i].in), t->arena, &text, &why);
        CHECK_ROW(i, (r < 0 ? -1 : (int)text.kind) == row[i].kind);
        if (r < 0)
            CHECK_ROW(i, why.code == FAULT_PROTOCOL);
        else
            rpc_text_release(&text);
    }
}

TEST(rpc_frame, a_request_comes_back_as_it_was_written)
{
    AUTO(buf_free) struct buf out = BUF_INIT(RPC_TEXT_BYTES_MAX);
    AUTO(json_release) json_t *args = json_object();
    static const unsigned char op[RPC_OP_BYTES] = {1, 2, 0xfe};
    const uint64_t sizes[] = {0, 123456789012};
    const struct rpc_request_head head = {
        .id = 9,
        .action = "messages.append",
        .session = LIT("00ff"),
        .op = op,
        .args = args,
        .ttl_ms = 77,
        .piece_bytes = sizes,
        .piece_count = 2,
        .more = true,
    };
    struct rpc_text text;
    struct fault why;

    json_set_slice(args, "path", LIT("a \"b\"\n"));
    REQUIRE(rpc_text_format_request(&head, &out) == 0);
    REQUIRE_OK(rpc_text_parse(buf_slice(&out), t->arena, &text, &why), &why);
    CHECK_INT(RPC_REQUEST, text.kind);
    CHECK_INT(9, text.id);
    CHECK_SLICE(LIT("messages.append"), text.action);
    CHECK_SLICE(LIT("00ff"), text.session);
    CHECK(text.has_op && memcmp(text.op, op, sizeof(op)) == 0);
    CHECK_INT(77, text.ttl_ms);
    CHECK_INT(2, text.piece_count);
    CHECK_INT(123456789012, text.piece_bytes[1]);
    CHECK(text.more);
    CHECK_SLICE(LIT("a \"b\"\n"), json_get_slice(text.body, "path"));
    rpc_text_release(&text);
}

TEST(rpc_frame, a_fault_keeps_code_and_text)
{
    AUTO(buf_free) struct buf out = BUF_INIT(RPC_TEXT_BYTES_MAX);
    struct rpc_text text;
    struct fault why;

    REQUIRE(rpc_text_format_fault(3, FAULT_QUOTA, "over \"quota\"", &out) == 0);
    REQUIRE_OK(rpc_text_parse(buf_slice(&out), t->arena, &text, &why), &why);
    CHECK_INT(FAULT_QUOTA, text.fault.code);
    CHECK_STR("over \"quota\"", text.fault.text);
    rpc_text_release(&text);
}

TEST(rpc_frame, piece_headers_are_checked)
{
    static const struct {
        struct slice in;
        bool good;
    } row[] = {
        {LIT("\0\0\0\1\0\2\0\0abc"), true},
        {LIT("\0\0\0\1\0\2\0\1"), true},
        {LIT("\0\0\0\1\0\2\0\3x"), true},
        {LIT("\0\0\0\1\0\2\0\2x"), false}, /* the end of all, but not of the piece */
        {LIT("\0\0\0\1\0\2\0\4x"), false},
        {LIT("\0\0\0\0\0\2\0\1x"), false}, /* id 0 */
        {LIT("\0\0\0\1\0\2\0"), false},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct rpc_piece_frame f;
        CHECK_ROW(i, rpc_piece_parse(row[i].in, &f) == row[i].good);
    }
}
