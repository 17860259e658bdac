/* arc_seal.c - see arc.h: one more ARC set on a message that is forwarded (RFC 8617 5.1).
 *
 * Owns      struct arc_sealer with a running body hash. Called by mx. FAULT_IO: the key does not sign; FAULT_LIMIT. Does not suspend.
 */
#include "mail/arc_internal.h"

#include "base/encode.h"

#define SEAL_MAX ((size_t)4 << 20)

struct arc_sealer {
    struct arc_seal_options options;
    struct dkim_body body;
};

struct arc_sealer *arc_sealer_new(const struct arc_seal_options *options)
{
    struct arc_sealer *s = calloc(1, sizeof(*s));

    if (s == NULL)
        abort();
    s->options = *options;
    dkim_body_init(&s->body, true, UINT64_MAX);
    return s;
}

void arc_sealer_body(struct arc_sealer *s, struct slice bytes)
{
    dkim_body_add(&s->body, bytes);
}

void arc_sealer_free(struct arc_sealer **s)
{
    if (*s == NULL)
        return;
    dkim_body_free(&(*s)->body);
    free(*s);
    *s = NULL;
}

static const char *algorithm_name(const struct arc_sealer *s)
{
    return dkim_key_algorithm(s->options.key) == DKIM_RSA_SHA256 ? "rsa-sha256" : "ed25519-sha256";
}

/* `field` ends in "b="; `data` is what is signed, without it. Appends the signature. */
static int sign_field(struct arc_sealer *s, struct arena *a, struct buf *data, struct buf *field, struct fault *why)
{
    struct slice signature;

    dkim_field_append(data, buf_slice(field), true, true);
    if (data->overflowed || field->overflowed)
        return fault_set(why, FAULT_LIMIT, "header too large to seal");
    if (dkim_sign_data(s->options.key, buf_slice(data), a, &signature, why) < 0)
        return -1;
    dkim_append_folded(field, base64_encode(a, signature));
    return 0;
}

static int make_signature(struct arc_sealer *s, unsigned instance, const struct dkim_field *fields, size_t count, struct arena *a,
                          struct slice *out, struct fault *why)
{
    AUTO(buf_free) struct buf names = BUF_INIT(65536);
    AUTO(buf_free) struct buf data = BUF_INIT(SEAL_MAX);
    AUTO(buf_free) struct buf field = BUF_INIT(SEAL_MAX);
    unsigned char digest[32];

    if (dkim_sign_fields(fields, count, &names, &data) == 0)
        return fault_set(why, FAULT_INVALID, "a message without From cannot be sealed");
    (void)dkim_append_named(fields, count, LIT("DKIM-Signature"), &names, &data);
    dkim_body_end(&s->body, digest);
    (void)buf_printf(&field, "ARC-Message-Signature: i=%u; a=%s; c=relaxed/relaxed; d=%.*s;\r\n s=%.*s; t=%lld; bh=%.*s;\r\n h=", instance,
                     algorithm_name(s), SLICE(s->options.domain), SLICE(s->options.selector), (long long)(s->options.now_ms / 1000),
                     SLICE(base64_encode(a, slice_make(digest, sizeof(digest)))));
    dkim_append_names_folded(&field, buf_slice(&names));
    (void)buf_append_cstr(&field, ";\r\n b=");
    if (names.overflowed)
        return fault_set(why, FAULT_LIMIT, "header too large to seal");
    if (sign_field(s, a, &data, &field, why) < 0)
        return -1;
    *out = arena_copy(a, buf_slice(&field));
    return 0;
}

/* 5.1.1: all sets in order; of a chain that failed, only the new one. */
static int make_seal(struct arc_sealer *s, struct arc_chain *chain, unsigned instance, const char *cv, struct arena *a, struct slice *out, struct fault *why)
{
    AUTO(buf_free) struct buf data = BUF_INIT(SEAL_MAX);
    AUTO(buf_free) struct buf field = BUF_INIT(SEAL_MAX);
    bool alone = s->options.chain == ARC_FAIL;

    for (unsigned i = alone ? instance : 1; i <= instance; i++) {
        dkim_field_append(&data, chain->sets[i].results, true, false);
        dkim_field_append(&data, chain->sets[i].signature, true, false);
        if (i < instance)
            dkim_field_append(&data, chain->sets[i].seal, true, false);
    }
    (void)buf_printf(&field, "ARC-Seal: i=%u; a=%s; cv=%s; d=%.*s; s=%.*s;\r\n t=%lld; b=", instance, algorithm_name(s), cv,
                     SLICE(s->options.domain), SLICE(s->options.selector), (long long)(s->options.now_ms / 1000));
    if (sign_field(s, a, &data, &field, why) < 0)
        return -1;
    *out = arena_copy(a, buf_slice(&field));
    return 0;
}

/* A chain whose newest seal says cv=fail is closed for good (5.1.2). */
static bool is_closed(struct arena *a, const struct arc_chain *chain)
{
    struct slice seal = chain->count ? chain->sets[chain->count].seal : SLICE_NONE;
    struct dkim_tags tags;

    if (!seal.p)
        return chain->count > 0;
    return !dkim_tags_parse(a, slice_tail(seal, (size_t)slice_find_char(seal, ':') + 1), &tags) ||
           slice_equal_nocase(dkim_tag(&tags, "cv"), LIT("fail"));
}

int arc_sealer_finish(struct arc_sealer *s, struct slice header, struct arena *a, struct slice *fields, struct fault *why)
{
    struct arc_chain *chain = ARENA_NEW(a, struct arc_chain);
    struct dkim_field *list;
    size_t count = dkim_fields(a, header, &list);
    struct arc_set *ours;
    struct slice value;
    unsigned instance;
    const char *cv;

    *fields = LIT("");
    arc_chain_read(list, count, chain);
    if (s->options.chain == ARC_TEMPERROR || chain->count == ARC_SETS_MAX || is_closed(a, chain))
        return 0;
    instance = chain->count + 1;
    cv = instance == 1 ? "none" : s->options.chain == ARC_PASS ? "pass" : "fail";
    ours = &chain->sets[instance];
    value = authres_format_value(a, s->options.authserv_id, s->options.results, s->options.result_count);
    ours->results = arena_printf(a, "ARC-Authentication-Results: i=%u; %.*s", instance, SLICE(value));
    if (make_signature(s, instance, list, count, a, &ours->signature, why) < 0 || make_seal(s, chain, instance, cv, a, &ours->seal, why) < 0)
        return -1;
    *fields = arena_printf(a, "%.*s\r\n%.*s\r\n%.*s\r\n", SLICE(ours->seal), SLICE(ours->signature), SLICE(ours->results));
    return 0;
}
