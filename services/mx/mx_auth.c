/* mx_auth.c - see mx_auth.h. Body hashes run while the content comes in: nothing is read twice.
 *
 * Owns      nothing beyond the verifier. DNS trouble is a verdict (temperror). Suspends for DNS
 * only.
 */
#include "mx_auth.h"

#include "mail/authres.h"
#include "mail/dkim.h"
#include "mail/idn.h"
#include "mail/spf.h"

#define AUTH_MS 20000

void mx_auth_begin(struct mx_mail *m)
{
    struct slice header = buf_slice(&m->header);

    if (!m->mx->config->verify_dns || m->target_count == 0)
        return;
    m->dkim = dkim_verifier_new(m->arena, slice_head(header, header.n - 2), clock_wall_ms());
}

void mx_auth_body(struct mx_mail *m, struct slice bytes)
{
    if (m->dkim && bytes.n > 0)
        dkim_verifier_body(m->dkim, bytes);
}

void mx_auth_end(struct mx_mail *m)
{
    dkim_verifier_free(&m->dkim);
}

/* ---- keys
 * ------------------------------------------------------------------------------------------------------------
 */

static bool looks_like_key(struct slice record)
{
    return slice_has_prefix_nocase(record, LIT("v=DKIM1")) || slice_find(record, LIT("p=")) >= 0;
}

static void fetch_key(struct mx_mail *m, size_t i, struct slice name, struct deadline until)
{
    struct dns_answer answer;
    struct fault why;

    if (dns_query(name, DNS_TXT, m->arena, until, &answer, &why) < 0) {
        dkim_verifier_key(m->dkim, i, why.code == FAULT_INVALID ? DKIM_KEY_NONE : DKIM_KEY_UNKNOWN,
                          SLICE_NONE);
        return;
    }
    for (size_t k = 0; k < answer.count; k++)
        if (answer.records[k].type == DNS_TXT && looks_like_key(answer.records[k].text)) {
            dkim_verifier_key(m->dkim, i, DKIM_KEY_FOUND, answer.records[k].text);
            return;
        }
    dkim_verifier_key(m->dkim, i, DKIM_KEY_NONE, SLICE_NONE);
}

static void fetch_keys(struct mx_mail *m, struct deadline until)
{
    for (size_t i = 0; i < dkim_verifier_count(m->dkim); i++) {
        struct slice name = dkim_verifier_key_name(m->dkim, i);

        if (name.n > 0)
            fetch_key(m, i, name, until);
    }
}

/* ---- results
 * ---------------------------------------------------------------------------------------------------------
 */

static struct authres_result dkim_result(const struct dkim_verdict *v)
{
    return (struct authres_result){
        .method = "dkim",
        .result = dkim_result_name(v->result),
        .reason = slice_of(v->reason),
        .properties = {{"header", "d", v->domain},
                       {"header", "i", v->identity},
                       {"header", "s", v->selector},
                       {"header", "a", v->algorithm},
                       {"header", "b", v->signature_head}},
        .property_count = 5,
    };
}

static struct authres_result spf_result(struct mx_mail *m, struct deadline until)
{
    struct slice from = m->s->mail.from.address, domain;
    struct spf_request request = {
        .ip = stream_peer(m->s->stream)->ip,
        .helo = m->s->helo,
        .sender = from,
        .receiver = slice_of(m->mx->config->host),
        .until = until,
    };
    struct spf_verdict verdict;
    bool mailfrom = from.n > 0;

    if (m->s->mail.from.utf8 && idn_to_ascii(m->arena, m->s->mail.from.domain, &domain))
        request.sender =
            arena_printf(m->arena, "%.*s@%.*s", SLICE(m->s->mail.from.local), SLICE(domain));
    spf_check(&request, m->arena, &verdict);
    return (struct authres_result){
        .method = "spf",
        .result = spf_result_name(verdict.result),
        .reason = slice_of(verdict.reason),
        .properties = {{"smtp", mailfrom ? "mailfrom" : "helo",
                        mailfrom ? m->s->mail.from.domain : m->s->helo}},
        .property_count = 1,
    };
}

void mx_auth_check(struct mx_mail *m)
{
    struct authres_result results[DKIM_SIGNATURES_MAX + 2];
    struct deadline until = deadline_earlier(m->until, deadline_in_ms(AUTH_MS));
    size_t count = 0;

    if (!m->mx->config->verify_dns)
        return;
    results[count++] = spf_result(m, until);
    if (m->dkim) {
        fetch_keys(m, until);
        dkim_verifier_finish(m->dkim);
        for (size_t i = 0; i < dkim_verifier_count(m->dkim); i++)
            results[count++] = dkim_result(dkim_verifier_verdict(m->dkim, i));
    }
    if (count == 1)
        results[count++] = (struct authres_result){.method = "dkim", .result = "none"};
    m->authres = authres_format(m->arena, slice_of(m->mx->config->host), results, count);
}
