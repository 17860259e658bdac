/* idn_test.c - names in and out of A-labels. */
#include "base/test.h"
#include "mail/idn.h"

TEST(idn, gives_a_labels)
{
    static const struct {
        const char *in, *out;             /* out NULL: refused */
    } row[] = {
        {"Example.ORG", "example.org"},
        {"[192.0.2.1]", "[192.0.2.1]"},
        {"b\xc3\xbc" "cher.example", "xn--bcher-kva.example"},
        {"B\xc3\x9c" "CHER.example", "xn--bcher-kva.example"},
        {"stra\xc3\x9f" "e.example", "xn--strae-oqa.example"},
        {"a\xff.example", NULL},
        {"\xe2\x80\xae.example", NULL},
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        struct slice out;
        bool ok = idn_to_ascii(t->arena, slice_of(row[i].in), &out);

        CHECK_ROW(i, ok == (row[i].out != NULL));
        if (ok && row[i].out)
            CHECK_ROW_STR(i, row[i].out, out);
    }
}
