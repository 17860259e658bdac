/* dkim_verify.c - see dkim.h: the signatures of a message and what became of each.
 *
 * Owns      struct dkim_verifier with a running body hash per signature.
 * Called by mx. Never fails: what cannot be verified is a verdict. Does not suspend.
 */
#include "mail/dkim_internal.h"

#include <openssl/x509.h>

#include "base/encode.h"

struct signature {
    struct dkim_verdict verdict;
    bool decided;
    struct dkim_tags tags;
    struct slice field;                        /* raw DKIM-Signature field */
    struct slice key_name, names, hash, signature;
    bool relaxed_header;
    bool partial;                              /* l= was given */
    uint64_t limit;
    bool body_running;
    struct dkim_body body;
    unsigned char digest[32];
    EVP_PKEY *key;
};

struct dkim_verifier {
    struct arena *arena;
    struct slice header;
    struct dkim_field *fields;
    size_t field_count;
    struct signature signatures[DKIM_SIGNATURES_MAX];
    size_t count;
};

const char *dkim_result_name(enum dkim_result r)
{
    static const char *const name[] = { "pass", "fail", "policy", "neutral", "temperror", "permerror" };

    return name[r];
}

static void decide(struct signature *s, enum dkim_result result, const char *reason)
{
    if (s->decided)
        return;
    s->decided = true;
    s->verdict.result = result;
    s->verdict.reason = reason;
}

/* ---- the signature's own field ------------------------------------------------------------------ */

bool dkim_parse_canon(struct slice c, bool *relaxed_header, bool *relaxed_body)
{
    struct slice first;

    *relaxed_header = *relaxed_body = false;
    if (c.n == 0)
        return true;
    if (!slice_cut(&c, '/', &first))
        return false;
    *relaxed_header = slice_equal_nocase(first, LIT("relaxed"));
    *relaxed_body = slice_equal_nocase(c, LIT("relaxed"));
    return (*relaxed_header || slice_equal_nocase(first, LIT("simple"))) &&
           (c.n == 0 || *relaxed_body || slice_equal_nocase(c, LIT("simple")));
}

static bool names_have_from(struct slice names)
{
    struct slice one;

    while (slice_cut(&names, ':', &one))
        if (slice_equal_nocase(slice_trim(one), LIT("From")))
            return true;
    return false;
}

/* i= must be at d= or below it (3.5). */
static bool identity_fits(struct slice identity, struct slice domain)
{
    ptrdiff_t at = slice_rfind_char(identity, '@');
    struct slice host = at >= 0 ? slice_tail(identity, (size_t)at + 1) : SLICE_NONE;

    return slice_equal_nocase(host, domain) ||
           (host.n > domain.n && slice_has_suffix_nocase(host, domain) && host.p[host.n - domain.n - 1] == '.');
}

static void check_times(struct signature *s, int64_t now_ms)
{
    struct slice x = dkim_tag(&s->tags, "x");
    uint64_t expires;

    if (x.n == 0)
        return;
    if (!slice_to_u64(x, UINT64_MAX / 1000 - 1, &expires))
        decide(s, DKIM_PERMERROR, "bad expiry");
    else if ((int64_t)expires * 1000 < now_ms)
        decide(s, DKIM_FAIL, "signature has expired");
}

static void check_required(struct dkim_verifier *v, struct signature *s)
{
    static const char *const required[] = { "v", "a", "b", "bh", "d", "h", "s" };

    for (size_t i = 0; i < COUNT(required); i++)
        if (dkim_tag(&s->tags, required[i]).n == 0)
            decide(s, DKIM_PERMERROR, "a required tag is missing");
    if (!slice_equal(dkim_tag(&s->tags, "v"), LIT("1")))
        decide(s, DKIM_PERMERROR, "unknown version");
    if (!slice_equal_nocase(s->verdict.algorithm, LIT("rsa-sha256")) && !slice_equal_nocase(s->verdict.algorithm, LIT("ed25519-sha256")))
        decide(s, DKIM_PERMERROR, "unknown or outdated algorithm");        /* RFC 8301 3.1: rsa-sha1 is refused */
    if (!names_have_from(s->names))
        decide(s, DKIM_PERMERROR, "From is not signed");
    if (!dkim_base64(v->arena, dkim_tag(&s->tags, "bh"), &s->hash) || s->hash.n != 32 ||
        !dkim_base64(v->arena, dkim_tag(&s->tags, "b"), &s->signature))
        decide(s, DKIM_PERMERROR, "bad base64");
    if (!identity_fits(s->verdict.identity, s->verdict.domain))
        decide(s, DKIM_PERMERROR, "identity is outside the domain");
}

static void signature_begin(struct dkim_verifier *v, struct signature *s, struct slice raw, int64_t now_ms)
{
    struct slice l;
    bool relaxed_body = false;

    *s = (struct signature){ .field = raw, .limit = UINT64_MAX };
    if (!dkim_tags_parse(v->arena, slice_tail(raw, (size_t)slice_find_char(raw, ':') + 1), &s->tags))
        decide(s, DKIM_PERMERROR, "not a tag list");
    s->verdict.domain = dkim_tag(&s->tags, "d");
    s->verdict.selector = dkim_tag(&s->tags, "s");
    s->verdict.algorithm = dkim_tag(&s->tags, "a");
    s->verdict.identity = dkim_tag(&s->tags, "i");
    if (s->verdict.identity.n == 0)
        s->verdict.identity = arena_printf(v->arena, "@%.*s", SLICE(s->verdict.domain));
    s->verdict.signature_head = slice_head(dkim_tag(&s->tags, "b"), 8);
    s->names = dkim_tag(&s->tags, "h");
    check_required(v, s);
    if (!dkim_parse_canon(dkim_tag(&s->tags, "c"), &s->relaxed_header, &relaxed_body))
        decide(s, DKIM_PERMERROR, "unknown canonicalization");
    l = dkim_tag(&s->tags, "l");
    s->partial = l.n > 0;
    if (s->partial && !slice_to_u64(l, UINT64_MAX - 1, &s->limit))
        decide(s, DKIM_PERMERROR, "bad body length");
    check_times(s, now_ms);
    if (s->decided)
        return;
    s->key_name = arena_printf(v->arena, "%.*s._domainkey.%.*s", SLICE(s->verdict.selector), SLICE(s->verdict.domain));
    dkim_body_init(&s->body, relaxed_body, s->limit);
    s->body_running = true;
}

struct dkim_verifier *dkim_verifier_new(struct arena *a, struct slice header, int64_t now_ms)
{
    struct dkim_verifier *v = ARENA_NEW(a, struct dkim_verifier);

    v->arena = a;
    v->header = header;
    v->field_count = dkim_fields(a, header, &v->fields);
    for (size_t i = 0; i < v->field_count && v->count < DKIM_SIGNATURES_MAX; i++)
        if (slice_equal_nocase(v->fields[i].name, LIT("DKIM-Signature")))
            signature_begin(v, &v->signatures[v->count++], v->fields[i].raw, now_ms);
    return v;
}

size_t dkim_verifier_count(const struct dkim_verifier *v)
{
    return v->count;
}

struct slice dkim_verifier_key_name(const struct dkim_verifier *v, size_t i)
{
    return v->signatures[i].decided ? SLICE_NONE : v->signatures[i].key_name;
}

const struct dkim_verdict *dkim_verifier_verdict(const struct dkim_verifier *v, size_t i)
{
    return &v->signatures[i].verdict;
}

void dkim_verifier_body(struct dkim_verifier *v, struct slice bytes)
{
    for (size_t i = 0; i < v->count; i++)
        if (v->signatures[i].body_running)
            dkim_body_add(&v->signatures[i].body, bytes);
}

void dkim_verifier_free(struct dkim_verifier **v)
{
    for (size_t i = 0; *v != NULL && i < (*v)->count; i++) {
        dkim_body_free(&(*v)->signatures[i].body);
        EVP_PKEY_free((*v)->signatures[i].key);
        (*v)->signatures[i].key = NULL;
    }
    *v = NULL;                                 /* its memory is the arena's */
}

/* ---- the key record (3.6.1) ------------------------------------------------------------------------ */

bool dkim_list_has(struct slice list, char separator, struct slice word)
{
    struct slice one;

    while (slice_cut(&list, separator, &one))
        if (slice_equal_nocase(slice_trim(one), word))
            return true;
    return false;
}

EVP_PKEY *dkim_load_public(struct slice raw, bool ed25519)
{
    const unsigned char *p = (const unsigned char *)raw.p;
    EVP_PKEY *key;

    if (ed25519)
        return raw.n == 32 ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, p, 32) : NULL;
    key = d2i_PUBKEY(NULL, &p, (long)raw.n);
    if (key == NULL) {                         /* some publish the bare RSAPublicKey, as 3.6.1 words it */
        p = (const unsigned char *)raw.p;
        key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, (long)raw.n);
    }
    if (key != NULL && EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

static void key_take(struct dkim_verifier *v, struct signature *s, const struct dkim_tags *tags)
{
    bool ed25519 = slice_has_prefix_nocase(s->verdict.algorithm, LIT("ed25519"));
    struct slice k = dkim_tag(tags, "k"), h = dkim_tag(tags, "h"), service = dkim_tag(tags, "s"), raw;

    s->verdict.testing = dkim_list_has(dkim_tag(tags, "t"), ':', LIT("y"));
    if (dkim_tag(tags, "p").n == 0) {
        decide(s, DKIM_PERMERROR, "key was revoked");
        return;
    }
    if (!slice_equal_nocase(k.n == 0 ? LIT("rsa") : k, ed25519 ? LIT("ed25519") : LIT("rsa")) ||
        (h.n > 0 && !dkim_list_has(h, ':', LIT("sha256"))) ||
        (service.n > 0 && !dkim_list_has(service, ':', LIT("*")) && !dkim_list_has(service, ':', LIT("email")))) {
        decide(s, DKIM_PERMERROR, "key is not for this use");
        return;
    }
    if (dkim_list_has(dkim_tag(tags, "t"), ':', LIT("s")) &&
        !slice_equal_nocase(slice_tail(s->verdict.identity, (size_t)slice_rfind_char(s->verdict.identity, '@') + 1), s->verdict.domain)) {
        decide(s, DKIM_PERMERROR, "key does not allow subdomains");
        return;
    }
    s->key = dkim_base64(v->arena, dkim_tag(tags, "p"), &raw) ? dkim_load_public(raw, ed25519) : NULL;
    if (s->key == NULL) {
        decide(s, DKIM_PERMERROR, "key cannot be read");
        return;
    }
    s->verdict.key_bits = (unsigned)EVP_PKEY_get_bits(s->key);
    if (!ed25519 && s->verdict.key_bits < DKIM_RSA_BITS_MIN)
        decide(s, DKIM_POLICY, "key is too short");
}

void dkim_verifier_key(struct dkim_verifier *v, size_t i, enum dkim_key_status status, struct slice record)
{
    struct signature *s = &v->signatures[i];
    struct dkim_tags tags;

    if (s->decided || s->key != NULL)
        return;
    if (status == DKIM_KEY_UNKNOWN)
        decide(s, DKIM_TEMPERROR, "key could not be asked for");
    else if (status == DKIM_KEY_NONE)
        decide(s, DKIM_PERMERROR, "no key for signature");
    else if (!dkim_tags_parse(v->arena, record, &tags) ||
             (dkim_tag(&tags, "v").n > 0 && !slice_equal(dkim_tag(&tags, "v"), LIT("DKIM1"))))
        decide(s, DKIM_PERMERROR, "not a key record");
    else
        key_take(v, s, &tags);
}

/* ---- the end ------------------------------------------------------------------------------------------ */

int dkim_signed_data(struct arena *a, const struct dkim_field *fields, size_t count, struct slice names, struct slice signature_field,
                     bool relaxed, struct buf *out)
{
    bool *used = ARENA_ARRAY(a, bool, count + 1);
    struct slice one;
    size_t n = 0;

    while (slice_cut(&names, ':', &one)) {
        if (++n > DKIM_HEADER_NAMES_MAX)
            return -1;
        one = slice_trim(one);
        for (size_t i = count; i-- > 0;) {
            if (used[i] || !slice_equal_nocase(fields[i].name, one))
                continue;
            used[i] = true;
            dkim_field_append(out, fields[i].raw, relaxed, false);
            break;
        }
    }
    dkim_field_append(out, dkim_without_b(a, signature_field), relaxed, true);
    return out->overflowed ? -1 : 0;
}

bool dkim_signature_is_right(EVP_PKEY *key, struct slice signature, struct slice data)
{
    bool ed25519 = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char digest[32];
    bool ok;

    if (ed25519) {                             /* RFC 8463 3 */
        (void)EVP_Digest(data.p, data.n, digest, NULL, EVP_sha256(), NULL);
        data = slice_make(digest, sizeof(digest));
    }
    ok = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, ed25519 ? NULL : EVP_sha256(), NULL, key) == 1 &&
         EVP_DigestVerify(ctx, (const unsigned char *)signature.p, signature.n, (const unsigned char *)data.p, data.n) == 1;
    EVP_MD_CTX_free(ctx);
    return ok;
}

static void signature_end(struct dkim_verifier *v, struct signature *s)
{
    AUTO(buf_free) struct buf data = BUF_INIT(BUF_MAX_DEFAULT);

    if (s->body_running)
        dkim_body_end(&s->body, s->digest);
    if (s->decided)
        return;
    if (s->key == NULL)
        decide(s, DKIM_TEMPERROR, "key could not be asked for");
    else if (memcmp(s->digest, s->hash.p, 32) != 0)
        decide(s, DKIM_FAIL, "body hash did not verify");
    else if (s->partial && s->body.bytes < s->limit)
        decide(s, DKIM_PERMERROR, "body is shorter than signed");
    else if (dkim_signed_data(v->arena, v->fields, v->field_count, s->names, s->field, s->relaxed_header, &data) < 0)
        decide(s, DKIM_PERMERROR, "too much is signed");
    else if (!dkim_signature_is_right(s->key, s->signature, buf_slice(&data)))
        decide(s, DKIM_FAIL, "signature did not verify");
    else if (s->partial && s->body.bytes > s->limit)       /* anybody may have added the rest (8.2) */
        decide(s, DKIM_POLICY, "body is only signed in part");
    else
        decide(s, DKIM_PASS, "");
}

void dkim_verifier_finish(struct dkim_verifier *v)
{
    for (size_t i = 0; i < v->count; i++)
        signature_end(v, &v->signatures[i]);
}
