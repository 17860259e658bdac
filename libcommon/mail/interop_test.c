/* interop_test.c - DKIM and ARC against dkimpy, both ways (tests/mail/interop.py). Left out where python3-dkim is not installed. */
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"
#include "mail/arc.h"
#include "wire/rfc5322.h"

#define PYTHON "/usr/bin/python3"
#define NOW    1700000000000

struct stage { char folder[64]; struct dkim_key *key[2]; struct slice record[2]; };

static const char *const selectors[2] = { "rsa", "ed" };

static const char *const bodies[] = {
    "", "\r\n\r\n\r\n", "one line\r\n", "no end", "a  b\t c \r\n \r\n\r\ntail\r\n\r\n", "dot\r\n.\r\n..\r\n", "caf\xC3\xA9 \xFF\r\n",
};

static const char fields[] =
    "From: Joe  SixPack <joe@a.test>\r\nTo: Suzie Q <suzie@b.test>,\r\n\tBob <bob@b.test>\r\nSubject:  Is dinner\r\n  ready?  \r\n"
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\nMessage-ID: <1@a.test>\r\nMIME-Version: 1.0\r\nX-Other: 1\r\nX-Other: 2\r\n";

static void write_file(const struct stage *s, const char *name, struct slice text)
{
    char path[400];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", s->folder, name);
    f = fopen(path, "wb");
    if (f == NULL || fwrite(text.p, 1, text.n, f) != text.n || fclose(f) != 0)
        abort();
}

static struct slice read_file(struct arena *a, const struct stage *s, const char *name)
{
    char *text = arena_alloc(a, 65536), path[400];
    size_t n = 0;
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", s->folder, name);
    f = fopen(path, "rb");
    if (f != NULL) {
        n = fread(text, 1, 65536, f);
        (void)fclose(f);
    }
    return slice_make(text, n);
}

static void clear(struct stage *s)
{
    DIR *d = opendir(s->folder);

    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        if (e->d_name[0] != '.')
            (void)unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        (void)closedir(d);
    (void)rmdir(s->folder);
    dkim_key_free(&s->key[0]);
    dkim_key_free(&s->key[1]);
}

static void make_keys(struct test *t, struct stage *s)
{
    struct fault why;
    struct slice pem;

    for (size_t i = 0; i < 2; i++) {
        REQUIRE_OK(dkim_key_generate(t->arena, i == 0 ? DKIM_RSA_SHA256 : DKIM_ED25519_SHA256, 2048, &pem, &why), &why);
        REQUIRE_OK(dkim_key_parse(pem, &s->key[i], &why), &why);
        REQUIRE_OK(dkim_key_record(s->key[i], t->arena, &s->record[i], &why), &why);
        if (i == 0)
            write_file(s, "rsa.pem", pem);
    }
    write_file(s, "keys", arena_printf(t->arena, "rsa._domainkey.a.test %.*s\ned._domainkey.a.test %.*s\n", SLICE(s->record[0]), SLICE(s->record[1])));
}

/* Written as they go out: fields, blank line, body. */
static void write_message(struct test *t, const struct stage *s, const char *kind, size_t n, struct slice header, struct slice body)
{
    struct slice name = arena_printf(t->arena, "%s-%zu.eml", kind, n);

    write_file(s, name.p, arena_concat(t->arena, (struct slice[]){ header, LIT("\r\n"), body }, 3));
}

static void write_signed(struct test *t, const struct stage *s, size_t key, size_t n, struct slice body)
{
    struct dkim_sign_options options = { .key = s->key[key], .domain = LIT("a.test"), .selector = slice_of(selectors[key]), .now_ms = NOW };
    AUTO(dkim_signer_free) struct dkim_signer *signer = dkim_signer_new(&options);
    struct slice field = SLICE_NONE;
    struct fault why;

    dkim_signer_body(signer, body);
    REQUIRE_OK(dkim_signer_finish(signer, slice_of(fields), t->arena, &field, &why), &why);
    write_message(t, s, key == 0 ? "our-dkim-rsa" : "our-dkim-ed", n, arena_concat(t->arena, (struct slice[]){ field, slice_of(fields) }, 2), body);
}

static void write_sealed(struct test *t, const struct stage *s, size_t n, struct slice body)
{
    struct slice header = slice_of(fields), set = SLICE_NONE;
    struct fault why;

    for (int hop = 0; hop < 3; hop++) {
        struct arc_seal_options options = { .key = s->key[0], .domain = LIT("a.test"), .selector = LIT("rsa"), .authserv_id = LIT("mx.a.test"),
                                            .now_ms = NOW, .chain = hop == 0 ? ARC_NONE : ARC_PASS };
        AUTO(arc_sealer_free) struct arc_sealer *sealer = arc_sealer_new(&options);

        arc_sealer_body(sealer, body);
        REQUIRE_OK(arc_sealer_finish(sealer, header, t->arena, &set, &why), &why);
        header = arena_concat(t->arena, (struct slice[]){ set, header }, 2);
    }
    write_message(t, s, "our-arc", n, header, body);
}

static void read_verdicts(struct test *t, FILE *f)
{
    size_t ok = 0;
    char line[512];

    while (fgets(line, sizeof(line), f)) {
        struct slice text = slice_trim(slice_of(line));

        if (slice_has_suffix(text, LIT(" ok")))
            ok++;
        else
            test_fail(t, __FILE__, __LINE__, "dkimpy says: %.*s", SLICE(text));
    }
    CHECK_INT(3 * COUNT(bodies), ok);
}

static void run_python(struct test *t, const struct stage *s)
{
    char command[512];
    FILE *f;

    (void)snprintf(command, sizeof(command), PYTHON " " FE_SOURCE_DIR "/tests/mail/interop.py %s 2>&1", s->folder);
    f = popen(command, "r");
    REQUIRE(f != NULL);
    read_verdicts(t, f);
    CHECK_INT(0, pclose(f));
}

static void verify_theirs(struct test *t, const struct stage *s, const char *name)
{
    struct slice m = read_file(t->arena, s, name);
    size_t head = rfc5322_header_length(m);
    struct slice header = slice_head(m, head - 2), body = slice_tail(m, head);

    if (strstr(name, "arc")) {
        AUTO(arc_verifier_free) struct arc_verifier *v = arc_verifier_new(t->arena, header);
        const struct arc_verdict *verdict;

        for (size_t i = 0; i < arc_verifier_count(v); i++)
            arc_verifier_key(v, i, DKIM_KEY_FOUND, s->record[0]);
        arc_verifier_body(v, body);
        verdict = arc_verifier_finish(v);
        if (verdict->result != ARC_PASS || verdict->sets != 2)
            test_fail(t, __FILE__, __LINE__, "%s: %s %s", name, arc_result_name(verdict->result), verdict->reason);
        return;
    }
    AUTO(dkim_verifier_free) struct dkim_verifier *v = dkim_verifier_new(t->arena, header, NOW);

    REQUIRE(dkim_verifier_count(v) == 1);
    dkim_verifier_key(v, 0, DKIM_KEY_FOUND, s->record[0]);
    dkim_verifier_body(v, body);
    dkim_verifier_finish(v);
    if (dkim_verifier_verdict(v, 0)->result != DKIM_PASS)
        test_fail(t, __FILE__, __LINE__, "%s: %s", name, dkim_verifier_verdict(v, 0)->reason);
}

TEST(interop, dkimpy_and_we_believe_each_other)
{
    struct stage s = { .folder = "/tmp/fe-interop-XXXXXX" };
    size_t theirs = 0;
    DIR *d;

    if (system(PYTHON " -c 'import dkim, nacl' 2>/dev/null") != 0)
        return;
    REQUIRE(mkdtemp(s.folder) != NULL);
    make_keys(t, &s);
    for (size_t i = 0; i < COUNT(bodies); i++) {
        write_message(t, &s, "plain", i, slice_of(fields), slice_of(bodies[i]));
        write_signed(t, &s, 0, i, slice_of(bodies[i]));
        write_signed(t, &s, 1, i, slice_of(bodies[i]));
        write_sealed(t, &s, i, slice_of(bodies[i]));
    }
    run_python(t, &s);
    d = opendir(s.folder);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        if (strncmp(e->d_name, "their-", 6) == 0) {
            verify_theirs(t, &s, e->d_name);
            theirs++;
        }
    if (d)
        (void)closedir(d);
    CHECK_INT(5 * COUNT(bodies), theirs);
    clear(&s);
}
