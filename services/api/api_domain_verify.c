/* api_domain_verify.c - GET .../verify-records and .../verify-smtp: what DNS says of a domain, asked anew.
 *
 * Owns nothing. A DNS that does not answer is 408, and nothing is written. Suspends for DNS and store.
 */
#include "api_domains.h"

#include "account/domain_check.h"

#define DNS_MS 20000

static struct domain_expect expect(const struct api_call *c)
{
    const struct api_config *config = c->api->config;
    const char **mx = ARENA_ARRAY(c->arena, const char *, 2);

    mx[0] = config->mx_host;
    return (struct domain_expect){
        .exchanges = config->exchanges != NULL && config->exchanges[0] != NULL ? config->exchanges : mx,
        .web_host = config->web_host, .txt_prefix = config->txt_prefix, .ask = dns_query_fresh,
    };
}

static struct deadline dns_until(const struct api_call *c)
{
    return deadline_earlier(c->until, deadline_in_ms(DNS_MS));
}

static int refuse_dns(struct api_call *c, struct fault *why)
{
    if (why->code != FAULT_UNAVAILABLE && why->code != FAULT_TIMEOUT)
        return -1;
    why->code = FAULT_NONE;
    return api_refuse(c, 408, "DNS_RETRY");
}

int api_domain_verify_records(struct api_call *c, struct fault *why)
{
    struct domain_expect e = expect(c);
    struct domain_record_check found;
    struct slice warnings;

    if (domain_check_records(&c->domain, &e, c->arena, dns_until(c), &found, why) < 0)
        return refuse_dns(c, why);
    if (domain_check_store_records(c->api->store, &c->domain, &found, c->arena, c->until, why) < 0)
        return -1;
    directory_forget(c->api->directory);
    if (found.problems.count > 0)
        return api_refuse_text(c, 400, "INVALID_RECORDS", domain_sentences_join(c->arena, &found.problems));
    warnings = domain_sentences_join(c->arena, &found.warnings);
    return api_reply_text(c, arena_printf(c->arena, "%s%s%.*s", api_phrase("DOMAIN_RECORDS_VERIFIED"), warnings.n > 0 ? " " : "", SLICE(warnings)));
}

int api_domain_verify_smtp(struct api_call *c, struct fault *why)
{
    struct domain_expect e = expect(c);
    struct domain_smtp_check found;

    if (domain_check_smtp(&c->domain, &e, c->arena, dns_until(c), &found, why) < 0)
        return refuse_dns(c, why);
    if (domain_check_store_smtp(c->api->store, &c->domain, &found, c->arena, c->until, why) < 0)
        return -1;
    directory_forget(c->api->directory);
    if (found.problems.count > 0)
        return api_refuse_text(c, 400, "INVALID_SMTP_RECORDS", domain_sentences_join(c->arena, &found.problems));
    return api_reply_text(c, slice_of(api_phrase("EMAIL_SMTP_IS_VERIFIED")));
}
