/* arc_fuzz.c - any header as a chain: checked with keys that may fit, and sealed; a chain we sealed on nothing verifies. */
#include <assert.h>

#include "mail/arc.h"

static struct dkim_key *key;
static struct slice record;

static void make_key(void)
{
    static struct arena *keep;
    struct fault why;
    struct slice pem;

    if (key)
        return;
    keep = arena_new(0);
    if (dkim_key_generate(keep, DKIM_ED25519_SHA256, 0, &pem, &why) < 0 || dkim_key_parse(pem, &key, &why) < 0 || dkim_key_record(key, keep, &record, &why) < 0)
        abort();
}

static struct arc_verdict verify(struct arena *a, struct slice header)
{
    AUTO(arc_verifier_free) struct arc_verifier *v = arc_verifier_new(a, header);

    for (size_t i = 0; i < arc_verifier_count(v); i++)
        arc_verifier_key(v, i, DKIM_KEY_FOUND, record);
    arc_verifier_body(v, LIT("body\r\n"));
    return *arc_verifier_finish(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(arc_sealer_free) struct arc_sealer *s = NULL;
    struct slice header = slice_make(data, size), fields = SLICE_NONE;
    struct arc_seal_options options = { .domain = LIT("d.test"), .selector = LIT("s"), .authserv_id = LIT("mx.test") };
    struct arc_verdict before;
    struct fault why;

    make_key();
    before = verify(a, header);
    assert(before.result <= ARC_TEMPERROR);
    options.key = key;
    options.chain = before.result;
    s = arc_sealer_new(&options);
    arc_sealer_body(s, LIT("body\r\n"));
    if (arc_sealer_finish(s, header, a, &fields, &why) == 0 && fields.n && before.result != ARC_FAIL && data[0] != ' ' && data[0] != '\t')   /* else it continues our last field */
        assert(verify(a, arena_concat(a, (struct slice[]){ fields, header }, 2)).result == ARC_PASS);
    return 0;
}
