/* dkim_sign.c - see dkim.h: a DKIM-Signature field for a message, relaxed/relaxed.
 *
 * Owns      struct dkim_signer.
 * Called by smtp-bree (outbound) and mx (forwards). FAULT_INVALID: no From; FAULT_IO: the key does not sign. Does not suspend.
 */
#include "mail/dkim_internal.h"

#include "base/encode.h"

struct dkim_signer {
    struct dkim_sign_options options;
    struct dkim_body body;
};

/* RFC 6376 5.4.1, plus what list software and clients act on */
static const char *const signed_names[] = {
    "From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "MIME-Version", "Content-Type",
    "Content-Transfer-Encoding", "Content-ID", "Content-Description", "Resent-Date", "Resent-From", "Resent-Sender", "Resent-To",
    "Resent-Cc", "Resent-Message-ID", "In-Reply-To", "References", "List-Id", "List-Help", "List-Unsubscribe",
    "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner", "List-Archive",
};

struct dkim_signer *dkim_signer_new(const struct dkim_sign_options *options)
{
    struct dkim_signer *s = calloc(1, sizeof(*s));

    if (s == NULL)
        abort();
    s->options = *options;
    dkim_body_init(&s->body, true, UINT64_MAX);
    return s;
}

void dkim_signer_body(struct dkim_signer *s, struct slice bytes)
{
    dkim_body_add(&s->body, bytes);
}

void dkim_signer_free(struct dkim_signer **s)
{
    if (*s == NULL)
        return;
    dkim_body_free(&(*s)->body);
    free(*s);
    *s = NULL;
}

size_t dkim_append_named(const struct dkim_field *fields, size_t count, struct slice name, struct buf *names, struct buf *data)
{
    size_t found = 0;

    for (size_t i = count; i-- > 0;) {
        if (!slice_equal_nocase(fields[i].name, name))
            continue;
        (void)buf_printf(names, "%s%.*s", names->n > 0 ? ":" : "", SLICE(name));
        dkim_field_append(data, fields[i].raw, true, false);
        found++;
    }
    return found;
}

int dkim_sign_data(const struct dkim_key *k, struct slice data, struct arena *a, struct slice *out, struct fault *why)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool rsa = k->algorithm == DKIM_RSA_SHA256;
    unsigned char digest[32];
    size_t n = (size_t)EVP_PKEY_get_size(k->pkey);
    unsigned char *signature = arena_alloc(a, n);
    bool ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, rsa ? EVP_sha256() : NULL, NULL, k->pkey) == 1;

    /* RFC 8463 3: Ed25519 signs the SHA-256 of the data */
    if (ok && !rsa) {
        (void)EVP_Digest(data.p, data.n, digest, NULL, EVP_sha256(), NULL);
        data = slice_make(digest, sizeof(digest));
    }
    ok = ok && EVP_DigestSign(ctx, signature, &n, (const unsigned char *)data.p, data.n) == 1;
    EVP_MD_CTX_free(ctx);
    if (!ok)
        return fault_set(why, FAULT_IO, "the DKIM key does not sign");
    *out = slice_make(signature, n);
    return 0;
}

void dkim_append_folded(struct buf *out, struct slice base64)
{
    while (base64.n > 0) {
        struct slice part = slice_head(base64, 72);

        (void)buf_append_cstr(out, "\r\n ");
        (void)buf_append(out, part);
        base64 = slice_tail(base64, part.n);
    }
}

void dkim_append_names_folded(struct buf *out, struct slice names)
{
    size_t line = 3;
    struct slice one;

    for (bool first = true; slice_cut(&names, ':', &one); first = false) {
        if (!first)
            (void)buf_append_char(out, ':');
        if (line + one.n > 70) {
            (void)buf_append_cstr(out, "\r\n ");
            line = 1;
        }
        (void)buf_append(out, one);
        line += one.n + 1;
    }
}

size_t dkim_sign_fields(const struct dkim_field *fields, size_t count, struct buf *names, struct buf *data)
{
    size_t from = 0;

    for (size_t i = 0; i < COUNT(signed_names); i++) {
        size_t found = dkim_append_named(fields, count, slice_of(signed_names[i]), names, data);

        if (i == 0)
            from = found;
    }
    return from;
}

int dkim_signer_finish(struct dkim_signer *s, struct slice header, struct arena *a, struct slice *field, struct fault *why)
{
    AUTO(buf_free) struct buf names = BUF_INIT(65536);
    AUTO(buf_free) struct buf data = BUF_INIT(BUF_MAX_DEFAULT);
    AUTO(buf_free) struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
    unsigned char digest[32];
    struct dkim_field *fields;
    struct slice signature;
    size_t count = dkim_fields(a, header, &fields), from = dkim_sign_fields(fields, count, &names, &data);

    (void)buf_append_cstr(&names, ":From");                /* over-signed: there must be no further one */
    if (from == 0)
        return fault_set(why, FAULT_INVALID, "a message without From cannot be signed");
    dkim_body_end(&s->body, digest);
    (void)buf_printf(&out, "DKIM-Signature: v=1; a=%s; c=relaxed/relaxed; d=%.*s;\r\n s=%.*s; t=%lld; bh=%.*s;\r\n h=",
                     s->options.key->algorithm == DKIM_RSA_SHA256 ? "rsa-sha256" : "ed25519-sha256", SLICE(s->options.domain),
                     SLICE(s->options.selector), (long long)(s->options.now_ms / 1000),
                     SLICE(base64_encode(a, slice_make(digest, sizeof(digest)))));
    dkim_append_names_folded(&out, buf_slice(&names));
    (void)buf_append_cstr(&out, ";\r\n b=");
    dkim_field_append(&data, buf_slice(&out), true, true);
    if (out.overflowed || data.overflowed || names.overflowed)
        return fault_set(why, FAULT_LIMIT, "header too large to sign");
    if (dkim_sign_data(s->options.key, buf_slice(&data), a, &signature, why) < 0)
        return -1;
    dkim_append_folded(&out, base64_encode(a, signature));
    (void)buf_append_cstr(&out, "\r\n");
    *field = arena_copy(a, buf_slice(&out));
    return 0;
}
