/* mx_trace_test.c - fields of others that are taken out. */
#include "base/test.h"
#include "mx_trace.h"

TEST(mx_trace, strips_only_what_claims_to_be_ours)
{
    static const struct { const char *in, *out; } row[] = {
        {"A: 1\r\n\r\n", "A: 1\r\n\r\n"},
        {"A: 1", "A: 1\r\n\r\n"},
        {"Return-Path: <x>\r\nA: 1\r\n\r\n", "A: 1\r\n\r\n"},
        {"Authentication-Results: mx.example; spf=pass\r\n x\r\nA: 1\r\n\r\n", "A: 1\r\n\r\n"},
        {"authentication-results: (c) MX.example 1; spf=pass\r\nA: 1\r\n\r\n", "A: 1\r\n\r\n"},
        {"Authentication-Results:\r\n mx.example; none\r\nA: 1\r\n\r\n", "A: 1\r\n\r\n"},
        {"Authentication-Results: other.example; spf=pass\r\n\r\n", "Authentication-Results: other.example; spf=pass\r\n\r\n"},
    };

    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_STR(i, row[i].out, mx_trace_strip(t->arena, slice_of(row[i].in), LIT("mx.example")));
}
