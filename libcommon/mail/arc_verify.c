/* arc_verify.c - see arc.h: the newest message signature and every seal of a chain (RFC 8617 5.2).
 *
 * Owns      struct arc_verifier with a running body hash. Called by mx. Never fails: trouble is a verdict. Does not suspend.
 */
#include "mail/arc_internal.h"

struct signed_field {                  /* an ARC-Seal, or the newest ARC-Message-Signature */
    struct dkim_tags tags;
    struct slice key_name, signature;
    unsigned instance;
    bool is_seal;
    EVP_PKEY *key;
};

struct arc_verifier {
    struct arena *arena;
    struct dkim_field *fields;
    size_t field_count;
    struct arc_chain chain;
    struct signed_field *signatures;   /* [0] the message signature, then the seals, newest first */
    size_t count;
    bool relaxed_header;
    struct slice hash;
    struct dkim_body body;
    bool body_running, decided;
    struct arc_verdict verdict;
};

static void decide(struct arc_verifier *v, enum arc_result result, const char *reason)
{
    if (v->decided)
        return;
    v->decided = true;
    v->verdict.result = result;
    v->verdict.reason = reason;
}

static bool algorithm_is_known(struct slice a)
{
    return slice_equal_nocase(a, LIT("rsa-sha256")) || slice_equal_nocase(a, LIT("ed25519-sha256"));
}

static bool read_signature(struct arc_verifier *v, struct slice raw, unsigned instance, bool is_seal)
{
    struct signed_field *s = &v->signatures[v->count];
    struct slice d, selector;

    s->instance = instance;
    s->is_seal = is_seal;
    if (!dkim_tags_parse(v->arena, slice_tail(raw, (size_t)slice_find_char(raw, ':') + 1), &s->tags))
        return false;
    d = dkim_tag(&s->tags, "d");
    selector = dkim_tag(&s->tags, "s");
    if (d.n == 0 || selector.n == 0 || !algorithm_is_known(dkim_tag(&s->tags, "a")) ||
        !dkim_base64(v->arena, dkim_tag(&s->tags, "b"), &s->signature))
        return false;
    s->key_name = arena_printf(v->arena, "%.*s._domainkey.%.*s", SLICE(selector), SLICE(d));
    v->count++;
    return true;
}

static bool names_are_allowed(struct slice names)
{
    struct slice one;
    bool from = false;

    while (slice_cut(&names, ':', &one)) {
        one = slice_trim(one);
        from = from || slice_equal_nocase(one, LIT("From"));
        if (slice_equal_nocase(one, LIT("ARC-Seal")))                        /* 4.1.2 */
            return false;
    }
    return from;
}

/* The newest ARC-Message-Signature: like a DKIM signature, without l= (its bytes would be anybody's). */
static void begin_message_signature(struct arc_verifier *v)
{
    const struct dkim_tags *tags = &v->signatures[0].tags;
    bool relaxed_body;

    if (!read_signature(v, v->chain.sets[v->chain.count].signature, v->chain.count, false))
        decide(v, ARC_FAIL, "the message signature can not be read");
    else if (!dkim_parse_canon(dkim_tag(tags, "c"), &v->relaxed_header, &relaxed_body) || !names_are_allowed(dkim_tag(tags, "h")) ||
             dkim_tag(tags, "l").n > 0 || !dkim_base64(v->arena, dkim_tag(tags, "bh"), &v->hash) || v->hash.n != 32)
        decide(v, ARC_FAIL, "the message signature is not acceptable");
    v->verdict.domain = dkim_tag(tags, "d");
    if (v->decided)
        return;
    dkim_body_init(&v->body, relaxed_body, UINT64_MAX);
    v->body_running = true;
}

/* 5.2 step 3: cv=none in the first, cv=pass in all others. */
static void begin_seal(struct arc_verifier *v, unsigned instance)
{
    struct slice cv;
    size_t at = v->count;

    if (!read_signature(v, v->chain.sets[instance].seal, instance, true)) {
        decide(v, ARC_FAIL, "a seal can not be read");
        return;
    }
    cv = dkim_tag(&v->signatures[at].tags, "cv");
    if (instance == v->chain.count)
        v->verdict.seal_domain = dkim_tag(&v->signatures[at].tags, "d");
    if (!slice_equal_nocase(cv, instance == 1 ? LIT("none") : LIT("pass")) || dkim_tag(&v->signatures[at].tags, "h").n > 0)
        decide(v, ARC_FAIL, "the chain was closed as failed");
}

struct arc_verifier *arc_verifier_new(struct arena *a, struct slice header)
{
    struct arc_verifier *v = ARENA_NEW(a, struct arc_verifier);

    v->arena = a;
    v->verdict.reason = "";
    v->field_count = dkim_fields(a, header, &v->fields);
    arc_chain_read(v->fields, v->field_count, &v->chain);
    v->verdict.sets = v->chain.count;
    if (v->chain.broken)
        decide(v, ARC_FAIL, "the sets of the chain are incomplete");
    else if (v->chain.count == 0)
        decide(v, ARC_NONE, "no chain");
    if (v->decided)
        return v;
    v->signatures = ARENA_ARRAY(a, struct signed_field, v->chain.count + 1);
    begin_message_signature(v);
    for (unsigned i = v->chain.count; i > 0 && !v->decided; i--)
        begin_seal(v, i);
    return v;
}

size_t arc_verifier_count(const struct arc_verifier *v)
{
    return v->decided ? 0 : v->count;
}

struct slice arc_verifier_key_name(const struct arc_verifier *v, size_t i)
{
    return v->signatures[i].key_name;
}

void arc_verifier_key(struct arc_verifier *v, size_t i, enum dkim_key_status status, struct slice record)
{
    struct signed_field *s = &v->signatures[i];
    bool ed25519 = slice_has_prefix_nocase(dkim_tag(&s->tags, "a"), LIT("ed25519"));
    struct dkim_tags tags;
    struct slice raw, k;

    if (s->key != NULL || v->decided)
        return;
    if (status == DKIM_KEY_UNKNOWN) {
        decide(v, ARC_TEMPERROR, "a key could not be asked for");
        return;
    }
    if (status == DKIM_KEY_FOUND && dkim_tags_parse(v->arena, record, &tags) && dkim_base64(v->arena, dkim_tag(&tags, "p"), &raw)) {
        k = dkim_tag(&tags, "k");
        if (slice_equal_nocase(k.n == 0 ? LIT("rsa") : k, ed25519 ? LIT("ed25519") : LIT("rsa")))
            s->key = dkim_load_public(raw, ed25519);
    }
    if (s->key == NULL || (!ed25519 && EVP_PKEY_get_bits(s->key) < DKIM_RSA_BITS_MIN))
        decide(v, ARC_FAIL, "a key is missing or too short");
}

void arc_verifier_body(struct arc_verifier *v, struct slice bytes)
{
    if (v->body_running)
        dkim_body_add(&v->body, bytes);
}

static bool signature_verifies(struct arc_verifier *v, const struct signed_field *s)
{
    AUTO(buf_free) struct buf data = BUF_INIT(BUF_MAX_DEFAULT);
    struct slice raw = v->chain.sets[s->instance].signature;
    int r;

    if (s->is_seal)
        r = arc_seal_data(v->arena, &v->chain, 1, s->instance, &data);
    else
        r = dkim_signed_data(v->arena, v->fields, v->field_count, dkim_tag(&s->tags, "h"), raw, v->relaxed_header, &data);
    return r == 0 && dkim_signature_is_right(s->key, s->signature, buf_slice(&data));
}

const struct arc_verdict *arc_verifier_finish(struct arc_verifier *v)
{
    unsigned char digest[32];

    if (v->body_running)
        dkim_body_end(&v->body, digest);
    for (size_t i = 0; i < v->count && !v->decided; i++) {
        struct signed_field *s = &v->signatures[i];

        if (s->key == NULL)
            decide(v, ARC_TEMPERROR, "a key could not be asked for");
        else if (!s->is_seal && memcmp(digest, v->hash.p, 32) != 0)
            decide(v, ARC_FAIL, "body hash did not verify");
        else if (!signature_verifies(v, s))
            decide(v, ARC_FAIL, s->is_seal ? "a seal did not verify" : "the message signature did not verify");
    }
    decide(v, ARC_PASS, "");
    return &v->verdict;
}

void arc_verifier_free(struct arc_verifier **v)
{
    if (*v == NULL)
        return;
    dkim_body_free(&(*v)->body);
    for (size_t i = 0; i < (*v)->count; i++) {
        EVP_PKEY_free((*v)->signatures[i].key);
        (*v)->signatures[i].key = NULL;
    }
    *v = NULL;                                 /* its memory is the arena's */
}
