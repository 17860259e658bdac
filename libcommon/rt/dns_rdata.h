/* dns_rdata.h - one resource record's data to a struct dns_record. Bytes come from strangers.
 *
 * Owns nothing; texts are made in the arena. Does not suspend.
 */
#pragma once

#include "rt/dns.h"

#define DNS_TXT_MAX 8192                       /* bytes of one TXT record, joined */

/* False when `rdata` is not well-formed for the type; *out is then undefined. */
bool dns_rdata_parse(enum dns_type type, struct slice rdata, struct arena *in, struct dns_record *out) MUST_CHECK;
