/* log_report_test.c - cells that spreadsheets read as text, and days. */
#include "account/log_report.h"

#include "base/test.h"

TEST(log_report, cells)
{
    static const struct { const char *in, *want; } rows[] = {
        { "plain", "\"plain\"" }, { "a,b\r\nc", "\"a,b\r\nc\"" }, { "say \"no\"", "\"say \"\"no\"\"\"" }, { "\"", "\"\"\"\"" },
        { "=1+1", "\"'=1+1\"" }, { "@home", "\"'@home\"" }, { "-1", "\"'-1\"" }, { "+49", "\"'+49\"" },
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        AUTO(buf_free) struct buf out = BUF_INIT(1000);

        log_report_cell(&out, slice_of(rows[i].in));
        CHECK_ROW_STR(i, rows[i].want, arena_cstr(t->arena, buf_slice(&out)));
    }
}

TEST(log_report, days)
{
    static const struct { const char *text, *want; } rows[] = {
        { "11/24", "2026-11-24T00:00:00.000Z" }, { "1-2-25", "2025-01-02T00:00:00.000Z" }, { "3.4.2024", "2024-03-04T00:00:00.000Z" },
        { "13/1", "" }, { "example.com", "" }, { "1", "" }, { "1/2/3/4", "" }, { "2/30", "" }, { "10.0.0.1", "" },
    };
    int64_t now, from, to;

    REQUIRE(date_parse_iso(LIT("2026-11-24T12:00:00.000Z"), &now));
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool ok = log_report_day(slice_of(rows[i].text), now, &from, &to);

        CHECK_ROW_STR(i, rows[i].want, ok ? date_format_iso(from).s : "");
        if (ok)
            CHECK(to - from == 86399999);
    }
}
