/* domain_name.c - see domain_name.h. Owns nothing; refuses what is no name. Never suspends. */
#include "account/domain_name.h"

#include <arpa/inet.h>

#include "mail/address.h"
#include "mail/idn.h"

static bool label_is_good(struct slice label)
{
    if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++)
        if (!ascii_is_alnum(label.p[i]) && label.p[i] != '-')
            return false;
    return true;
}

static bool is_numeric(struct slice label)
{
    for (size_t i = 0; i < label.n; i++)
        if (!ascii_is_digit(label.p[i]))
            return false;
    return true;
}

static bool labels_are_good(struct slice name)
{
    struct slice rest = name, label = SLICE_NONE;
    size_t count = 0;

    if (name.n > 253 || slice_has_suffix(name, LIT(".")))
        return false;
    while (slice_cut(&rest, '.', &label)) {
        if (!label_is_good(label))
            return false;
        count++;
    }
    return count >= 2 && !is_numeric(label);
}

bool domain_name_read(struct arena *a, struct slice in, struct slice *out)
{
    struct slice name = slice_trim(in), ascii;

    if (slice_has_suffix(name, LIT(".")))
        name = slice_head(name, name.n - 1);
    if (name.n == 0 || name.n > 1024 || slice_find_char(name, '\0') >= 0 || !idn_to_ascii(a, name, &ascii) || !labels_are_good(ascii))
        return false;
    *out = ascii;
    return true;
}

static bool is_ip(struct arena *a, struct slice in)
{
    unsigned char raw[16];
    const char *text = arena_cstr(a, in);

    return inet_pton(AF_INET, text, raw) == 1 || inet_pton(AF_INET6, text, raw) == 1;
}

bool domain_list_entry_read(struct arena *a, struct slice in, struct slice *out)
{
    struct slice entry = arena_lower(a, slice_trim(in)), domain;
    struct address address;

    if (entry.n == 0 || entry.n > 320 || slice_find_char(entry, '\0') >= 0)
        return false;
    if (is_ip(a, entry)) {
        *out = entry;
        return true;
    }
    if (slice_find_char(entry, '@') < 0)
        return domain_name_read(a, entry, out);
    if (!address_parse(a, entry, &address) || !domain_name_read(a, address.domain, &domain))
        return false;
    *out = arena_printf(a, "%.*s@%.*s", SLICE(address.local), SLICE(domain));
    return true;
}
