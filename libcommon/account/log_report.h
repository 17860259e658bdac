/* log_report.h - what happened to the mail of a user's domains, as a compressed CSV for a spreadsheet.
 *
 * Owns      nothing; the result goes into the caller's buffer.
 * Used by   api (GET /v1/logs/download), web.
 * Threads   the loop thread; suspends for the store, and compresses a page of entries between.
 *
 * Administrators of a domain see all its entries, other members those of their own aliases (not catch-all and patterns).
 * Logs hold envelopes, verdicts and replies, never contents: columns for From, To and Subject stay empty.
 */
#pragma once

#include "base/buf.h"
#include "store/models.h"

#define LOG_REPORT_ROWS_MAX  100000u           /* newest; the rest is left out */
#define LOG_REPORT_BYTES_MAX ((size_t)32 << 20)

struct log_report_query {
    struct slice q;                            /* address, domain, IP, date (M/D, M/D/YY with / - .), or words of a reply; empty: everything */
    const struct slice *domains;               /* only these names; count 0: all */
    size_t domain_count;
    int64_t code;                              /* only replies with it; 0: all */
};

/* Appends gzip to `out` (made with LOG_REPORT_BYTES_MAX). FAULT_NOT_FOUND: no domain with anything this user may see.
 * *domain_id (25 bytes): one of those domains.                                                                    */
int log_report_write(struct store *st, struct slice user_id, const struct log_report_query *query, struct deadline until, struct buf *out,
                     size_t *rows, char *domain_id, struct fault *why) MUST_CHECK SUSPENDS;
/* Whether log_report_write would find a domain; cheap. */
int log_report_check(struct store *st, struct slice user_id, const struct log_report_query *query, struct deadline until, struct fault *why) MUST_CHECK SUSPENDS;
/* A cell: quoted where it has to be; what a spreadsheet would take for a formula gets an apostrophe. For tests. */
void log_report_cell(struct buf *out, struct slice text);
/* "11/24", "11-24-26": the day's first and last millisecond, UTC. False: not a date. */
bool log_report_day(struct slice text, int64_t now_ms, int64_t *from_ms, int64_t *to_ms);
