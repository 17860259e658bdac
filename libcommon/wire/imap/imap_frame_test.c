/* imap_frame_test.c - where commands end, whatever the network did to them. */
#include "base/test.h"
#include "wire/imap/imap_frame.h"

static const struct imap_limits small = { 64, 16, 100 };

TEST(imap_frame, finds_the_end_of_a_command)
{
    static const struct { const char *in; size_t granted; enum imap_frame_status want; size_t bytes; } row[] = {
        { "", 0, IMAP_FRAME_MORE, 0 },
        { "a NOOP", 0, IMAP_FRAME_MORE, 0 },
        { "a NOOP\r", 0, IMAP_FRAME_MORE, 0 },
        { "a NOOP\r\n", 0, IMAP_FRAME_COMPLETE, 8 },
        { "a NOOP\nb NOOP\r\n", 0, IMAP_FRAME_COMPLETE, 7 },
        { "a LOGIN {2+}\r\nme x\r\nb", 0, IMAP_FRAME_COMPLETE, 20 },
        { "a LOGIN {2+}\r\nm", 0, IMAP_FRAME_MORE, 0 },
        { "a LOGIN {2+}\r\nme {3-}\r\na\n", 0, IMAP_FRAME_MORE, 0 },
        { "a LOGIN {2+}\r\nme {3-}\r\na\nb\r\n", 0, IMAP_FRAME_COMPLETE, 28 },
        { "a LOGIN {2}\r\n", 0, IMAP_FRAME_CONTINUE, 13 },
        { "a LOGIN {2}\r\n", 13, IMAP_FRAME_MORE, 0 },
        { "a LOGIN {2}\r\nme {1}\r\n", 13, IMAP_FRAME_CONTINUE, 21 },
        { "a LOGIN {2}\r\nme {1}\r\nx\r\n", 21, IMAP_FRAME_COMPLETE, 24 },
        { "a LOGIN {0}\r\n\r\n", 13, IMAP_FRAME_COMPLETE, 15 },
        { "a LOGIN {17}\r\n", 0, IMAP_FRAME_LITERAL_TOO_BIG, 14 },
        { "a LOGIN {17+}\r\n", 0, IMAP_FRAME_LITERAL_TOO_BIG, 15 },
        { "a LOGIN {99999999999999999999}\r\n", 0, IMAP_FRAME_COMPLETE, 32 },
        { "a APPEND x {5000000}\r\n", 0, IMAP_FRAME_APPEND, 22 },
        { "a append {1+}\r\nx (\\Seen) {9+}\r\n12", 0, IMAP_FRAME_APPEND, 31 },
        { "a APPEND {1}\r\n", 0, IMAP_FRAME_CONTINUE, 14 },
        { "a APPEND x UTF8 (~{5}\r\n", 0, IMAP_FRAME_APPEND, 23 },
        { "a SEARCH SUBJECT \"{5}\"\r\n", 0, IMAP_FRAME_COMPLETE, 24 },
        { "a {}\r\n", 0, IMAP_FRAME_COMPLETE, 6 },
        { "a 01234567890123456789012345678901234567890123456789012345678901234", 0, IMAP_FRAME_LINE_TOO_LONG, 0 },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct imap_frame f = imap_frame_scan(slice_of(row[i].in), row[i].granted, &small);
        CHECK_ROW(i, f.status == row[i].want);
        CHECK_ROW(i, f.bytes == row[i].bytes);
    }
}

TEST(imap_frame, does_not_care_where_the_network_cut)
{
    const struct slice in = LIT("a1 LOGIN {4+}\r\njane {3+}\r\np\nw\r\nb");

    for (size_t cut = 0; cut <= in.n; cut++) {
        struct imap_frame f = imap_frame_scan(slice_head(in, cut), 0, &small);
        CHECK_ROW(cut, f.status == (cut < in.n - 1 ? IMAP_FRAME_MORE : IMAP_FRAME_COMPLETE));
        CHECK_ROW(cut, f.status == IMAP_FRAME_MORE || f.bytes == in.n - 1);
    }
}
