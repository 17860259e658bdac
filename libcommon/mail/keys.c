/* keys.c - see keys.h. Argon2id and XChaCha20-Poly1305 from libsodium.
 *
 * Owns nothing. Called on cpu-pool threads. Fails with FAULT_DENIED or FAULT_CORRUPT; does not suspend.
 */
#include "mail/keys.h"

#include <sodium.h>

#include "base/encode.h"
#include "base/json.h"
#include "base/time.h"

/* RFC 9106's second choice scaled to a small VPS: 19 MiB, two passes, one lane */
#define KDF_MEM_KIB     19456
#define KDF_PASSES      2
#define KDF_MEM_KIB_MAX 262144
#define KDF_PASSES_MAX  16

#define NONCE_BYTES   crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define WRAPPED_BYTES (DATA_KEY_BYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES)

struct wrap_fields {
    struct slice id, scope, expires_at;
    unsigned char salt[crypto_pwhash_SALTBYTES];
    unsigned char nonce[NONCE_BYTES];
    unsigned char wrapped[WRAPPED_BYTES];
    uint64_t mem_kib, passes;
};

/* Everything that must not be exchangeable, length-prefixed so that fields cannot run into one another. */
static struct slice wrap_associated_data(struct arena *a, struct slice alias_id, const struct wrap_fields *f)
{
    return arena_printf(a, "wrap1 %zu:%.*s %zu:%.*s %zu:%.*s %zu:%.*s argon2id %llu %llu", alias_id.n,
                        SLICE(alias_id), f->id.n, SLICE(f->id), f->scope.n, SLICE(f->scope),
                        f->expires_at.n, SLICE(f->expires_at), (unsigned long long)f->mem_kib,
                        (unsigned long long)f->passes);
}

static int wrap_derive(struct slice password, const struct wrap_fields *f, unsigned char key[32],
                       struct fault *why)
{
    if (crypto_pwhash(key, 32, password.p, password.n, f->salt, f->passes, (size_t)f->mem_kib * 1024,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return fault_set(why, FAULT_UNAVAILABLE, "no memory for the password hash");
    return 0;
}

static void set_base64(struct arena *a, json_t *object, const char *key, const void *p, size_t n)
{
    json_set_slice(object, key, base64_encode(a, slice_make(p, n)));
}

static json_t *wrap_format(struct arena *a, const struct wrap_fields *f, struct slice description)
{
    json_t *wrap = json_object(), *kdf = json_object();

    json_set_slice(wrap, "id", f->id);
    json_set_slice(wrap, "scope", f->scope);
    json_set_slice(wrap, "description", description);
    json_set_slice(wrap, "created_at", slice_of(date_format_iso(clock_wall_ms()).s));
    json_set_slice(wrap, "expires_at", f->expires_at);
    json_set_slice(kdf, "alg", LIT("argon2id"));
    json_set_int(kdf, "mem_kib", (int64_t)f->mem_kib);
    json_set_int(kdf, "passes", (int64_t)f->passes);
    json_object_set_new(wrap, "kdf", kdf);
    set_base64(a, wrap, "salt", f->salt, sizeof(f->salt));
    set_base64(a, wrap, "nonce", f->nonce, sizeof(f->nonce));
    set_base64(a, wrap, "wrapped", f->wrapped, sizeof(f->wrapped));
    return wrap;
}

int keys_wrap_make(struct slice alias_id, const struct secret *data_key, struct slice password,
                   const struct keys_wrap_options *options, json_t **out, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    struct object_id id = object_id_new();
    struct wrap_fields f = { .mem_kib = KDF_MEM_KIB, .passes = KDF_PASSES };
    struct slice plain = secret_slice(data_key), ad;
    unsigned char key[32];

    if (password.n == 0 || password.n > PASSWORD_MAX_BYTES)
        return fault_set(why, FAULT_INVALID, "a password has 1 to %d bytes", PASSWORD_MAX_BYTES);
    if (plain.n != DATA_KEY_BYTES)
        return fault_set(why, FAULT_INVALID, "a data key has %d bytes", DATA_KEY_BYTES);
    f.id = slice_of(id.s);
    f.scope = slice_of(options->scope);
    if (options->expires_ms != 0)
        f.expires_at = arena_copy(a, slice_of(date_format_iso(options->expires_ms).s));
    random_bytes(f.salt, sizeof(f.salt));
    random_bytes(f.nonce, sizeof(f.nonce));
    if (wrap_derive(password, &f, key, why) < 0)
        return -1;
    ad = wrap_associated_data(a, alias_id, &f);
    crypto_aead_xchacha20poly1305_ietf_encrypt(f.wrapped, NULL, (const unsigned char *)plain.p, plain.n,
                                               (const unsigned char *)ad.p, ad.n, NULL, f.nonce, key);
    memory_wipe(key, sizeof(key));
    *out = wrap_format(a, &f, options->description);
    return 0;
}

static bool get_base64(struct arena *a, const json_t *object, const char *key, void *out, size_t n)
{
    struct slice raw;

    if (!base64_decode(a, json_get_slice(object, key), &raw) || raw.n != n)
        return false;
    memcpy(out, raw.p, n);
    return true;
}

static int wrap_parse(struct arena *a, const json_t *wrap, struct wrap_fields *f, struct fault *why)
{
    const json_t *kdf = json_object_get(wrap, "kdf");
    int64_t mem_kib = json_get_int(kdf, "mem_kib", 0), passes = json_get_int(kdf, "passes", 0);

    f->id = json_get_slice(wrap, "id");
    f->scope = json_get_slice(wrap, "scope");
    f->expires_at = json_get_slice(wrap, "expires_at");
    if (f->id.n == 0 || f->scope.n == 0 || !slice_equal(json_get_slice(kdf, "alg"), LIT("argon2id")))
        return fault_set(why, FAULT_CORRUPT, "password slot lacks id, scope or algorithm");
    /* parameters come from a document: bounded before memory is spent on them */
    if (mem_kib < 8 || mem_kib > KDF_MEM_KIB_MAX || passes < 1 || passes > KDF_PASSES_MAX)
        return fault_set(why, FAULT_CORRUPT, "password slot has hash parameters out of range");
    f->mem_kib = (uint64_t)mem_kib;
    f->passes = (uint64_t)passes;
    if (!get_base64(a, wrap, "salt", f->salt, sizeof(f->salt)) ||
        !get_base64(a, wrap, "nonce", f->nonce, sizeof(f->nonce)) ||
        !get_base64(a, wrap, "wrapped", f->wrapped, sizeof(f->wrapped)))
        return fault_set(why, FAULT_CORRUPT, "password slot is damaged");
    return 0;
}

static int wrap_unseal(struct arena *a, struct slice alias_id, const struct wrap_fields *f,
                       struct slice password, struct secret **data_key, struct fault *why)
{
    unsigned char key[32], plain[DATA_KEY_BYTES];
    struct slice ad = wrap_associated_data(a, alias_id, f);
    int bad;

    if (wrap_derive(password, f, key, why) < 0)
        return -1;
    bad = crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, f->wrapped, sizeof(f->wrapped),
                                                     (const unsigned char *)ad.p, ad.n, f->nonce, key);
    memory_wipe(key, sizeof(key));
    if (bad)
        return fault_set(why, FAULT_DENIED, "wrong password");
    *data_key = secret_new(slice_make(plain, sizeof(plain)));
    memory_wipe(plain, sizeof(plain));
    return 0;
}

int keys_wrap_open(struct slice alias_id, const json_t *wrap, struct slice password, int64_t now_ms,
                   struct secret **data_key, struct fault *why)
{
    AUTO(arena_free) struct arena *a = arena_new(0);
    AUTO(secret_unref) struct secret *opened = NULL;
    struct wrap_fields f;
    int64_t expires;

    if (password.n == 0 || password.n > PASSWORD_MAX_BYTES)
        return fault_set(why, FAULT_DENIED, "wrong password");
    if (wrap_parse(a, wrap, &f, why) < 0 || wrap_unseal(a, alias_id, &f, password, &opened, why) < 0)
        return -1;
    /* after the AEAD, so that the expiry is known to be the one that was set */
    if (f.expires_at.n != 0 && (!date_parse_iso(f.expires_at, &expires) || expires <= now_ms))
        return fault_set(why, FAULT_DENIED, "password has expired");
    *data_key = opened;
    opened = NULL;
    return 0;
}

bool keys_wrap_allows(const json_t *wrap, const char *protocol)
{
    struct slice scopes = json_get_slice(wrap, "scope"), one;

    while (slice_cut(&scopes, ' ', &one))
        if (slice_equal(one, LIT("all")) || slice_equal(one, slice_of(protocol)))
            return true;
    return false;
}

void keys_wrap_pretend(struct slice password)
{
    struct wrap_fields f = { .mem_kib = KDF_MEM_KIB, .passes = KDF_PASSES };
    unsigned char key[32];

    (void)wrap_derive(slice_head(password, PASSWORD_MAX_BYTES), &f, key, NULL);
    memory_wipe(key, sizeof(key));
}

struct secret *keys_data_key_new(void)
{
    return secret_random(DATA_KEY_BYTES);
}

struct slice keys_public_text(struct arena *a, const struct secret *data_key)
{
    AUTO(sealing_pair_wipe) struct sealing_pair pair;

    derive_sealing_pair(secret_slice(data_key), &pair);
    return base64_encode(a, slice_make(pair.public_key, sizeof(pair.public_key)));
}

struct slice keys_wrap_ids(struct arena *a, const json_t *wraps)
{
    AUTO(buf_free) struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
    AUTO(json_release) json_t *ids = json_array();
    json_t *wrap;
    size_t i;

    json_array_foreach(wraps, i, wrap)
        json_array_append_new(ids, json_slice(json_get_slice(wrap, "id")));
    (void)json_format(ids, &text);
    return arena_copy(a, buf_slice(&text));
}

static struct secret *random_text(const char *alphabet, size_t n, size_t group)
{
    size_t letters = strlen(alphabet), at = 0;
    char text[64];
    struct secret *s;

    for (size_t i = 0; i < n; i++) {
        if (group != 0 && i != 0 && i % group == 0)
            text[at++] = '-';
        text[at++] = alphabet[random_below(letters)];
    }
    s = secret_new(slice_make(text, at));
    memory_wipe(text, sizeof(text));
    return s;
}

struct secret *keys_password_random(void)
{
    return random_text("abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", 24, 0);
}

struct secret *keys_recovery_code_random(void)
{
    return random_text("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", 32, 4);
}
