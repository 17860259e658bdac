/* encode.c - see encode.h; libsodium does the work.
 *
 * Owns nothing. Called everywhere. Decoders return false on bad input. Does not suspend.
 */
#include "base/encode.h"

#include <sodium.h>

struct slice hex_encode(struct arena *a, struct slice in)
{
    char *out = arena_alloc(a, in.n * 2 + 1);

    (void)sodium_bin2hex(out, in.n * 2 + 1, (const unsigned char *)in.p, in.n);
    return slice_make(out, in.n * 2);
}

bool hex_decode(struct slice in, void *out, size_t n)
{
    const char *end;
    size_t got;

    if (in.n != 2 * n)
        return false;
    return sodium_hex2bin(out, n, in.p, in.n, NULL, &got, &end) == 0 && got == n && end == in.p + in.n;
}

static struct slice encode(struct arena *a, struct slice in, int variant)
{
    size_t room = sodium_base64_encoded_len(in.n, variant);
    char *out = arena_alloc(a, room);

    (void)sodium_bin2base64(out, room, (const unsigned char *)in.p, in.n, variant);
    return slice_make(out, room - 1);
}

static bool decode(struct arena *a, struct slice in, int variant, struct slice *out)
{
    size_t room = in.n / 4 * 3 + 3, n;
    unsigned char *bytes = arena_alloc(a, room);
    const char *end;

    if (in.n == 0) {
        *out = slice_make(bytes, 0);
        return true;
    }
    if (sodium_base642bin(bytes, room, in.p, in.n, NULL, &n, &end, variant) != 0 || end != in.p + in.n)
        return false;
    *out = slice_make(bytes, n);
    return true;
}

struct slice base64_encode(struct arena *a, struct slice in)
{
    return encode(a, in, sodium_base64_VARIANT_ORIGINAL);
}

struct slice base64url_encode(struct arena *a, struct slice in)
{
    return encode(a, in, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool base64_decode(struct arena *a, struct slice in, struct slice *out)
{
    return decode(a, in, sodium_base64_VARIANT_ORIGINAL, out);
}

bool base64url_decode(struct arena *a, struct slice in, struct slice *out)
{
    while (in.n > 0 && in.p[in.n - 1] == '=')
        in.n--;
    return decode(a, in, sodium_base64_VARIANT_URLSAFE_NO_PADDING, out);
}
