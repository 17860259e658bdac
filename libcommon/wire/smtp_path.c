/* smtp_path.c - envelope addresses (RFC 5321 4.1.2, 4.1.3, RFC 6531 3.3) and xtext (RFC 3461 4).
 *
 * Owns nothing; results live in the input or the caller's arena. Called by wire/smtp.c and whoever
 * checks an address. Never suspends.
 */
#include <arpa/inet.h>

#include "wire/smtp.h"

static bool is_atext(unsigned char c, bool allow_utf8)
{
    if (c >= 0x80)
        return allow_utf8;
    return ascii_is_alnum((char)c) || (c != 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Dot-string: atoms with single dots between. Quoted strings are not supported (they never are
 * addresses here). */
static bool local_is_valid(struct slice local, bool allow_utf8)
{
    bool dot = true;

    if (local.n == 0 || local.n > SMTP_LOCAL_MAX)
        return false;
    for (size_t i = 0; i < local.n; i++) {
        if (local.p[i] == '.' && dot)
            return false;
        dot = local.p[i] == '.';
        if (!dot && !is_atext((unsigned char)local.p[i], allow_utf8))
            return false;
    }
    return !dot;
}

static bool label_is_valid(struct slice label, bool allow_utf8)
{
    if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++) {
        unsigned char c = (unsigned char)label.p[i];

        if (c >= 0x80 ? !allow_utf8 : !ascii_is_alnum((char)c) && c != '-' && c != '_')
            return false;
    }
    return true;
}

static bool literal_is_valid(struct slice domain)
{
    unsigned char raw[16];
    char text[INET6_ADDRSTRLEN];
    struct slice in = slice_sub(domain, 1, domain.n - 2);

    if (domain.n < 3 || domain.p[domain.n - 1] != ']')
        return false;
    if (slice_has_prefix_nocase(in, LIT("IPv6:")))
        return slice_copy_cstr(slice_tail(in, 5), text, sizeof(text)) &&
               inet_pton(AF_INET6, text, raw) == 1;
    return slice_copy_cstr(in, text, sizeof(text)) && inet_pton(AF_INET, text, raw) == 1;
}

static bool domain_is_valid(struct slice domain, bool allow_utf8)
{
    struct slice rest = domain, label;

    if (domain.n == 0 || domain.n > SMTP_DOMAIN_MAX || domain.p[domain.n - 1] == '.')
        return false;
    if (domain.p[0] == '[')
        return literal_is_valid(domain);
    while (slice_cut(&rest, '.', &label))
        if (!label_is_valid(label, allow_utf8))
            return false;
    return true;
}

bool smtp_path_parse(struct slice address, bool allow_utf8, struct smtp_path *out)
{
    ptrdiff_t at = slice_rfind_char(address, '@');
    struct smtp_path path;

    if (at < 0)
        return false;
    path.address = address;
    path.local = slice_head(address, (size_t)at);
    path.domain = slice_tail(address, (size_t)at + 1);
    path.utf8 = !slice_is_ascii(address);
    if (path.utf8 && (!allow_utf8 || !slice_is_utf8(address)))
        return false;
    if (!local_is_valid(path.local, path.utf8) || !domain_is_valid(path.domain, path.utf8))
        return false;
    *out = path;
    return true;
}

/* ---- xtext
 * ---------------------------------------------------------------------------------------------------------
 */

static int hex_upper(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool smtp_xtext_decode(struct slice in, struct arena *a, struct slice *out)
{
    char *text = arena_alloc(a, in.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < in.n; i++) {
        int c = (unsigned char)in.p[i];

        if (c < 33 || c > 126 || c == '=')
            return false;
        if (c == '+') {
            int high = i + 1 < in.n ? hex_upper(in.p[i + 1]) : -1;
            int low = i + 2 < in.n ? hex_upper(in.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = high << 4 | low;
            i += 2;
        }
        if (c < ' ' || c == 0x7f) /* it will stand in headers and logs */
            return false;
        text[n++] = (char)c;
    }
    *out = slice_make(text, n);
    return true;
}

struct slice smtp_xtext_encode(struct slice in, struct arena *a)
{
    static const char digits[] = "0123456789ABCDEF";
    char *text = arena_alloc(a, in.n * 3 + 1);
    size_t n = 0;

    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];

        if (c < 33 || c > 126 || c == '=' || c == '+') {
            text[n++] = '+';
            text[n++] = digits[c >> 4];
            text[n++] = digits[c & 15];
        } else {
            text[n++] = (char)c;
        }
    }
    return slice_make(text, n);
}
