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
    header = slice_head(header, header.n - 2);
    m->dkim = dkim_verifier_new(m->arena, header, clock_wall_ms());
    m->arc = arc_verifier_new(m->arena, header);
}

void mx_auth_body(struct mx_mail *m, struct slice bytes)
{
    if (m->dkim && bytes.n > 0)
        dkim_verifier_body(m->dkim, bytes);
    if (m->arc && bytes.n > 0)
        arc_verifier_body(m->arc, bytes);
}

void mx_auth_end(struct mx_mail *m)
{
    dkim_verifier_free(&m->dkim);
    arc_verifier_free(&m->arc);
}

/* ---- keys
 * ------------------------------------------------------------------------------------------------------------
 */

static bool looks_like_key(struct slice record)
{
    return slice_has_prefix_nocase(record, LIT("v=DKIM1")) || slice_find(record, LIT("p=")) >= 0;
}

/* The key record at `name`, and how the look-up went. */
static enum dkim_key_status fetch_key(struct mx_mail *m, struct slice name, struct deadline until,
                                      struct slice *record)
{
    struct dns_answer answer;
    struct fault why;

    *record = SLICE_NONE;
    if (dns_query(name, DNS_TXT, m->arena, until, &answer, &why) < 0)
        return why.code == FAULT_INVALID ? DKIM_KEY_NONE : DKIM_KEY_UNKNOWN;
    for (size_t k = 0; k < answer.count; k++)
        if (answer.records[k].type == DNS_TXT && looks_like_key(answer.records[k].text)) {
            *record = answer.records[k].text;
            return DKIM_KEY_FOUND;
        }
    return DKIM_KEY_NONE;
}

static void fetch_dkim_keys(struct mx_mail *m, struct deadline until)
{
    for (size_t i = 0; i < dkim_verifier_count(m->dkim); i++) {
        struct slice record, name = dkim_verifier_key_name(m->dkim, i);

        if (name.n > 0) {
            enum dkim_key_status status = fetch_key(m, name, until, &record);

            dkim_verifier_key(m->dkim, i, status, record);
        }
    }
}

static void fetch_arc_keys(struct mx_mail *m, struct deadline until)
{
    for (size_t i = 0; i < arc_verifier_count(m->arc); i++) {
        struct slice record;
        enum dkim_key_status status =
            fetch_key(m, arc_verifier_key_name(m->arc, i), until, &record);

        arc_verifier_key(m->arc, i, status, record);
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

static size_t add_dkim(struct mx_mail *m, struct deadline until, struct authres_result *out)
{
    size_t count = dkim_verifier_count(m->dkim);

    fetch_dkim_keys(m, until);
    dkim_verifier_finish(m->dkim);
    for (size_t i = 0; i < count; i++)
        out[i] = dkim_result(dkim_verifier_verdict(m->dkim, i));
    if (count == 0)
        out[count++] = (struct authres_result){.method = "dkim", .result = "none"};
    return count;
}

static size_t add_arc(struct mx_mail *m, struct deadline until, struct authres_result *out)
{
    const struct arc_verdict *v;

    fetch_arc_keys(m, until);
    v = arc_verifier_finish(m->arc);
    m->arc_result = v->result;
    if (v->result == ARC_NONE)
        return 0;
    *out = (struct authres_result){
        .method = "arc",
        .result = arc_result_name(v->result),
        .reason = slice_of(v->reason),
        .properties = {{"header", "d", v->domain}},
        .property_count = 1,
    };
    return 1;
}

void mx_auth_check(struct mx_mail *m)
{
    struct deadline until = deadline_earlier(m->until, deadline_in_ms(AUTH_MS));

    if (!m->mx->config->verify_dns)
        return;
    m->results = ARENA_ARRAY(m->arena, struct authres_result, DKIM_SIGNATURES_MAX + 3);
    m->results[m->result_count++] = spf_result(m, until);
    if (m->dkim) {
        m->result_count += add_dkim(m, until, m->results + m->result_count);
        m->result_count += add_arc(m, until, m->results + m->result_count);
    }
    m->authres =
        authres_format(m->arena, slice_of(m->mx->config->host), m->results, m->result_count);
}
