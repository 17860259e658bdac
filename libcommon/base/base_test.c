/* base_test.c - slices, buffers, arenas, maps, encodings, dates, JSON limits, settings. */
#include "base/config.h"
#include "base/encode.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/secret.h"
#include "base/test.h"
#include "base/time.h"

TEST(slice, cuts_and_finds)
{
    struct slice rest = LIT("a,,b"), one;

    CHECK(slice_cut(&rest, ',', &one) && slice_equal(one, LIT("a")));
    CHECK(slice_cut(&rest, ',', &one) && one.n == 0);
    CHECK(slice_cut(&rest, ',', &one) && slice_equal(one, LIT("b")));
    CHECK(!slice_cut(&rest, ',', &one));
    CHECK_INT(2, slice_find_nocase(LIT("xxAbC"), LIT("aBc")));
    CHECK_INT(-1, slice_find(LIT("abc"), LIT("abcd")));
    CHECK_SLICE(LIT("x y"), slice_trim(LIT(" \tx y\r\n")));
    CHECK_SLICE(LIT(""), slice_tail(LIT("ab"), 5));
    CHECK(slice_has_suffix_nocase(LIT("mail.EXAMPLE"), LIT(".example")));
}

TEST(slice, numbers_are_strict)
{
    static const struct { const char *in; bool ok; uint64_t want; } row[] = {
        { "0", true, 0 }, { "18446744073709551615", true, UINT64_MAX }, { "18446744073709551616", false, 0 },
        { "", false, 0 }, { "+1", false, 0 }, { "1 ", false, 0 }, { "00012", true, 12 },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        uint64_t v = 0;
        bool ok = slice_to_u64(slice_of(row[i].in), UINT64_MAX, &v);

        CHECK_ROW(i, ok == row[i].ok && v == row[i].want);
    }
}

TEST(slice, utf8)
{
    static const struct { const char *in; bool ok; } row[] = {
        { "plain", true }, { "\xc3\xa9", true }, { "\xed\x95\x9c", true }, { "\xf0\x9f\x98\x80", true },
        { "\xc0\x80", false }, { "\xed\xa0\x80", false }, { "\xf4\x90\x80\x80", false }, { "\xc3", false }, { "\x80", false },
        { "sixteen ascii bytes and \xc3\xa9 then more of them", true }, { "1234567\xc3\xa9", true }, { "12345678\xc3", false },
        { "1234567\xff" "12345678", false },
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW(i, slice_is_utf8(slice_of(row[i].in)) == row[i].ok);
}

TEST(buf, stops_at_its_maximum_and_stays_usable)
{
    AUTO(buf_free) struct buf b = BUF_INIT(5);

    CHECK_INT(0, buf_append(&b, LIT("abc")));
    CHECK_INT(-1, buf_append(&b, LIT("def")));
    CHECK(b.overflowed);
    CHECK_SLICE(LIT("abc"), buf_slice(&b));
    CHECK_INT(0, buf_append_u64(&b, 42));
    buf_consume(&b, 1);
    CHECK_SLICE(LIT("bc42"), buf_slice(&b));
}

TEST(buf, packs_and_unpacks)
{
    static const uint64_t v[] = { 0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX };
    AUTO(buf_free) struct buf b = BUF_INIT(BUF_MAX_DEFAULT);
    struct slice in, bytes;
    uint64_t u;
    int64_t s;

    for (size_t i = 0; i < COUNT(v); i++)
        (void)buf_put_varint(&b, v[i]);
    (void)buf_put_svarint(&b, -5);
    (void)buf_put_svarint(&b, INT64_MIN);
    (void)buf_put_bytes(&b, LIT("xyz"));
    in = buf_slice(&b);
    for (size_t i = 0; i < COUNT(v); i++)
        CHECK_ROW(i, unpack_varint(&in, &u) && u == v[i]);
    CHECK(unpack_svarint(&in, &s) && s == -5);
    CHECK(unpack_svarint(&in, &s) && s == INT64_MIN);
    CHECK(unpack_bytes(&in, &bytes) && slice_equal(bytes, LIT("xyz")) && in.n == 0);
    in = LIT("\x05" "ab");
    CHECK(!unpack_bytes(&in, &bytes) && in.n == 3);
    in = LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f");
    CHECK(!unpack_varint(&in, &u));
}

TEST(arena, copies_outlive_growth)
{
    struct slice first = arena_copy(t->arena, LIT("first"));

    for (int i = 0; i < 1000; i++)
        (void)arena_alloc(t->arena, 1000);
    CHECK_SLICE(LIT("first"), first);
    CHECK_STR("7-x", arena_printf(t->arena, "%d-%s", 7, "x"));
    CHECK_STR("abc", arena_lower(t->arena, LIT("aBC")));
}

TEST(map, sets_finds_removes_many)
{
    AUTO(map_free) struct map *m = map_new();
    size_t cursor = 0, seen = 0;
    char key[24];

    for (intptr_t i = 1; i <= 5000; i++) {
        (void)snprintf(key, sizeof(key), "k%ld", (long)i);
        CHECK(map_set(m, slice_of(key), (void *)i) == NULL);
    }
    for (intptr_t i = 1; i <= 5000; i += 2) {
        (void)snprintf(key, sizeof(key), "k%ld", (long)i);
        CHECK(map_remove(m, slice_of(key)) == (void *)i);
    }
    CHECK_INT(2500, map_count(m));
    CHECK(map_find(m, LIT("k1")) == NULL && map_find(m, LIT("k2")) == (void *)2);
    while (map_next(m, &cursor, NULL, NULL) == 1)
        seen++;
    CHECK_INT(2500, seen);
}

TEST(encode, round_trips_and_refusals)
{
    struct slice out;
    char raw[2];

    CHECK_STR("00ff", hex_encode(t->arena, slice_make("\0\xff", 2)));
    CHECK(hex_decode(LIT("00FF"), raw, 2) && (unsigned char)raw[1] == 0xff);
    CHECK(!hex_decode(LIT("0g00"), raw, 2) && !hex_decode(LIT("00"), raw, 2));
    CHECK_STR("YWI=", base64_encode(t->arena, LIT("ab")));
    CHECK(base64_decode(t->arena, LIT("YWI="), &out) && slice_equal(out, LIT("ab")));
    CHECK(!base64_decode(t->arena, LIT("YWI"), &out) && !base64_decode(t->arena, LIT("Y W I="), &out));
    CHECK(base64url_decode(t->arena, LIT("_-8"), &out) && out.n == 2);
}

TEST(arena, forgets_a_large_request)
{
    AUTO(arena_free) struct arena *a = arena_new(256);

    (void)arena_alloc(a, 1 << 20);
    arena_reset(a);
    CHECK_INT(0, arena_used_bytes(a));
    CHECK_STR("again", arena_copy(a, LIT("again")));
}

TEST(secret, digests)
{
    unsigned char out[32];

    sha256(LIT("abc"), out);           /* FIPS 180-4 */
    CHECK_STR("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
              hex_encode(t->arena, slice_make(out, sizeof(out))));
    hmac_sha256(LIT("Jefe"), LIT("what do ya want for nothing?"), out);        /* RFC 4231 4.3 */
    CHECK_STR("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
              hex_encode(t->arena, slice_make(out, sizeof(out))));
}

TEST(time, dates)
{
    int64_t ms;

    CHECK_STR("2023-11-14T22:13:20.007Z", slice_of(date_format_iso(1700000000007).s));
    CHECK_STR("Tue, 14 Nov 2023 22:13:20 +0000", slice_of(date_format_rfc5322(1700000000007).s));
    CHECK(date_parse_iso(LIT("2023-11-14T22:13:20.007Z"), &ms) && ms == 1700000000007);
    CHECK(date_parse_iso(LIT("2023-11-14T22:13:20Z"), &ms) && ms == 1700000000000);
    CHECK(date_parse_iso(LIT("2024-02-29T00:00:00Z"), &ms) && !date_parse_iso(LIT("2023-02-29T00:00:00Z"), &ms));
    CHECK(!date_parse_iso(LIT("2023-06-31T00:00:00Z"), &ms) && !date_parse_iso(LIT("2023-06-00T00:00:00Z"), &ms));
    CHECK(!date_parse_iso(LIT("2023-11-14 22:13:20Z"), &ms) && !date_parse_iso(LIT("2023-13-14T22:13:20Z"), &ms));
}

TEST(json, refuses_depth_duplicates_and_size)
{
    AUTO(buf_free) struct buf deep = BUF_INIT(BUF_MAX_DEFAULT);
    AUTO(json_release) json_t *v = NULL;
    struct fault why;

    for (int i = 0; i < JSON_MAX_DEPTH + 1; i++)
        (void)buf_append_char(&deep, '[');
    CHECK_FAULT(FAULT_INVALID, json_parse(buf_slice(&deep), 1000, &v, &why), &why);
    CHECK_FAULT(FAULT_INVALID, json_parse(LIT("{\"a\":1,\"a\":2}"), 1000, &v, &why), &why);
    CHECK_FAULT(FAULT_INVALID, json_parse(LIT("[1,2,3]"), 3, &v, &why), &why);
    REQUIRE_OK(json_parse(LIT("{\"s\":\"[[[{\\\"\",\"n\":7,\"b\":true}"), 1000, &v, &why), &why);
    CHECK_STR("[[[{\"", json_get_slice(v, "s"));
    CHECK_INT(7, json_get_int(v, "n", 0));
    CHECK(json_get_bool(v, "b", false) && json_get_slice(v, "none").n == 0);
}

struct sample { const char *text, *required; struct secret *key; uint16_t port; int64_t n; uint64_t ms, bytes; bool on; const char **list; };

static const struct config_var sample_vars[] = {
    VAR_STRING(struct sample, text, "TEXT", "x", "a text"),
    VAR_SECRET(struct sample, key, "KEY", "", "a secret"),
    VAR_PORT(struct sample, port, "PORT", "2525", "a port"),
    VAR_INT(struct sample, n, "N", "3", "1", "10", "a number"),
    VAR_MS(struct sample, ms, "MS", "30m", "1m", "24h", "a time"),
    VAR_BYTES(struct sample, bytes, "BYTES", "50mb", "1kb", "1gb", "a size"),
    VAR_BOOL(struct sample, on, "ON", "false", "a switch"),
    VAR_LIST(struct sample, list, "LIST", "", "a list"),
    VAR_STRING(struct sample, required, "REQUIRED", NULL, "must be set"),
};

static const char *good(const char *name)
{
    static const char *const set[][2] = { { "KEY", "s3cret" }, { "LIST", "a, b,,c" }, { "ON", "yes" }, { "REQUIRED", "r" }, { "N", "10" } };

    for (size_t i = 0; i < COUNT(set); i++)
        if (strcmp(set[i][0], name) == 0)
            return set[i][1];
    return NULL;
}

static const char *bad(const char *name)
{
    static const char *const set[][2] = { { "PORT", "70000" }, { "N", "11" }, { "MS", "5x" }, { "ON", "maybe" } };

    for (size_t i = 0; i < COUNT(set); i++)
        if (strcmp(set[i][0], name) == 0)
            return set[i][1];
    return NULL;
}

TEST(config, reads_defaults_and_values)
{
    AUTO(buf_free) struct buf errors = BUF_INIT(4096);
    struct sample c = { 0 };

    CHECK_INT(0, config_read(sample_vars, COUNT(sample_vars), &c, good, &errors));
    CHECK(c.port == 2525 && c.n == 10 && c.ms == 1800000 && c.bytes == 50u << 20 && c.on);
    CHECK(strcmp(c.list[2], "c") == 0 && c.list[3] == NULL);
    CHECK_STR("s3cret", secret_slice(c.key));
    secret_unref(&c.key);
    for (size_t i = 0; c.list[i] != NULL; i++)
        free((void *)(uintptr_t)c.list[i]);
    free(c.list);
    free((void *)(uintptr_t)c.text);
    free((void *)(uintptr_t)c.required);
}

TEST(config, names_every_mistake)
{
    AUTO(buf_free) struct buf errors = BUF_INIT(4096);
    struct sample c = { 0 };

    CHECK_INT(5, config_read(sample_vars, COUNT(sample_vars), &c, bad, &errors));
    CHECK(slice_find(buf_slice(&errors), LIT("N: 11 is out of range, allowed is 1 to 10")) >= 0);
    CHECK(slice_find(buf_slice(&errors), LIT("REQUIRED: is required")) >= 0);
    for (size_t i = 0; c.list != NULL && c.list[i] != NULL; i++)
        free((void *)(uintptr_t)c.list[i]);
    free(c.list);
    free((void *)(uintptr_t)c.text);
    free((void *)(uintptr_t)c.required);
}

static void keep_line(struct slice line, void *arg)
{
    (void)buf_append(arg, line);
}

TEST(log, escapes_what_peers_send)
{
    AUTO(buf_free) struct buf lines = BUF_INIT(4096);
    AUTO(json_release) json_t *v = NULL;
    struct fault why;

    log_capture(keep_line, &lines);
    log_event(LOG_INFO, "t.x", F_SLICE("from", LIT("a\"b\n{\x01\xff")), F_INT("n", -3), F_BOOL("ok", true));
    log_capture(NULL, NULL);
    REQUIRE_OK(json_parse(slice_trim(buf_slice(&lines)), 4096, &v, &why), &why);
    CHECK_INT(-3, json_get_int(v, "n", 0));
    CHECK_STR("t.x", json_get_slice(v, "event"));
}

TEST(log, keeps_a_line_whole_however_long)
{
    AUTO(buf_free) struct buf lines = BUF_INIT(65536);
    AUTO(json_release) json_t *v = NULL;
    char bad[512];
    struct slice s = slice_make(bad, sizeof(bad));
    struct fault why;

    memset(bad, 0x01, sizeof(bad));
    log_capture(keep_line, &lines);
    log_event(LOG_INFO, "t.x", F_SLICE("a", s), F_SLICE("b", s), F_SLICE("c", s), F_SLICE("d", s), F_SLICE("e", s),
              F_SLICE("f", s), F_INT("last", 1));
    log_capture(NULL, NULL);
    REQUIRE(lines.n > 0 && lines.p[lines.n - 1] == '\n');
    REQUIRE_OK(json_parse(buf_slice(&lines), 65536, &v, &why), &why);
    CHECK_INT(1, json_get_int(v, "last", 0));
}

TEST(secret, many_come_and_go)
{
    enum { MANY = 1500 };
    struct secret *s[MANY], *large = secret_random(SECRET_MAX_BYTES);

    for (uint32_t i = 0; i < MANY; i++)
        s[i] = secret_new(slice_make(&i, sizeof(i)));
    for (uint32_t i = 0; i < MANY; i++)
        CHECK_SLICE(slice_make(&i, sizeof(i)), secret_slice(s[i]));
    CHECK_INT(SECRET_MAX_BYTES, secret_slice(large).n);
    for (uint32_t i = 0; i < MANY; i++)
        secret_unref(&s[i]);
    secret_unref(&large);
    CHECK(s[0] == NULL && large == NULL);
}

TEST(secret, equal_and_ids)
{
    AUTO(secret_unref) struct secret *small = secret_new(LIT("0123456789abcdef0123456789abcdef"));
    AUTO(secret_unref) struct secret *large = secret_random(500);
    struct object_id id = object_id_new();

    CHECK(secret_equal(secret_slice(small), LIT("0123456789abcdef0123456789abcdef")));
    CHECK(!secret_equal(LIT("a"), LIT("ab")));
    CHECK_INT(500, secret_slice(large).n);
    CHECK(object_id_is_valid(slice_of(id.s)) && !object_id_is_valid(LIT("65A000000000000000000001")));
}
