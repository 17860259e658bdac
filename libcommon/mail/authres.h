/* authres.h - the Authentication-Results field (RFC 8601): writing ours, removing those that pretend to be ours.
 *
 * Owns nothing; results live in the arena. Used by mx (and arc.c for ARC-Authentication-Results). Never fails, never suspends.
 */
#pragma once

#include "base/arena.h"

#define AUTHRES_PROPERTIES_MAX 5

struct authres_property {
    const char *type, *name;           /* "smtp" "mailfrom", "header" "d" */
    struct slice value;                /* quoted where it has to be; characters that may not stand in a header are dropped */
};

struct authres_result {
    const char *method;                /* "spf" "dkim" "dmarc" "arc" "iprev" */
    const char *result;                /* "pass" */
    struct slice reason;               /* becomes a comment; may be empty */
    struct authres_property properties[AUTHRES_PROPERTIES_MAX];
    size_t property_count;             /* those with an empty value are left out */
};

/* "authserv-id;\r\n\tspf=pass ...", no final line end: the value of either field. With no results: "authserv-id; none". */
struct slice authres_format_value(struct arena *a, struct slice authserv_id, const struct authres_result *results, size_t count);
/* "Authentication-Results: ...\r\n" */
struct slice authres_format(struct arena *a, struct slice authserv_id, const struct authres_result *results, size_t count);

/* Whether a field value claims to come from `authserv_id`; a value that can not be read counts as such (5). */
bool authres_is_from(struct slice value, struct slice authserv_id);
/* `header` without Authentication-Results fields that claim to be ours; itself when there are none. */
struct slice authres_strip(struct arena *a, struct slice header, struct slice authserv_id);
