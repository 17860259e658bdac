/* secret.c - see secret.h. A slab of locked pages, cut into equal slots.
 *
 * Owns the slab, for the life of the process. Called from any thread. A full slab aborts (SLOTS is far above what the caps on
 * sessions allow) rather than put a key into pageable memory. Does not suspend.
 */
#include "base/secret.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"

#define SLOT_SMALL    64                       /* data keys */
#define SLABS_MAX     64
#define SLOTS_PER_SLAB 512

struct secret {
    atomic_uint refs;
    uint32_t n;
    bool large;                                /* bytes are on the sodium heap of guarded pages */
    struct secret *next_free;
    unsigned char *bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct secret *free_slots;
static unsigned slab_count;
static bool lock_failed;

/* Between two pages that nobody may touch: an overrun from elsewhere faults instead of reading keys. */
static unsigned char *slab_map(size_t bytes)
{
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *all = mmap(NULL, bytes + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (all == MAP_FAILED || mprotect(all + guard, bytes, PROT_READ | PROT_WRITE) < 0)
        abort();
    return all + guard;
}

static void slab_add(void)
{
    size_t bytes = (size_t)SLOT_SMALL * SLOTS_PER_SLAB;
    unsigned char *pages = slab_map(bytes);
    struct secret *slots = calloc(SLOTS_PER_SLAB, sizeof(*slots));

    assert(slab_count < SLABS_MAX);
    if (slots == NULL)
        abort();
    if (mlock(pages, bytes) < 0)
        lock_failed = true;
    (void)madvise(pages, bytes, MADV_DONTDUMP);
    for (size_t i = 0; i < SLOTS_PER_SLAB; i++) {
        slots[i].bytes = pages + i * SLOT_SMALL;
        slots[i].next_free = free_slots;
        free_slots = &slots[i];
    }
    slab_count++;
}

int secret_init(void)
{
    bool failed;

    if (sodium_init() < 0)
        abort();
    pthread_mutex_lock(&lock);
    if (slab_count == 0)
        slab_add();
    failed = lock_failed;
    pthread_mutex_unlock(&lock);
    if (failed)
        log_event(LOG_WARN, "secret.unlocked",
                  F_STR("why", "pages with keys could not be locked in memory (RLIMIT_MEMLOCK): they may be swapped out"));
    return failed ? -1 : 0;
}

static struct secret *slot_take(void)
{
    struct secret *s;

    pthread_mutex_lock(&lock);
    if (free_slots == NULL)
        slab_add();
    s = free_slots;
    free_slots = s->next_free;
    pthread_mutex_unlock(&lock);
    return s;
}

static struct secret *large_new(void)
{
    struct secret *s = calloc(1, sizeof(*s));

    if (s == NULL || sodium_init() < 0)
        abort();
    s->bytes = sodium_malloc(SECRET_MAX_BYTES);
    if (s->bytes == NULL)
        abort();
    s->large = true;
    return s;
}

struct secret *secret_new(struct slice bytes)
{
    struct secret *s;

    if (bytes.n > SECRET_MAX_BYTES)
        abort();
    s = bytes.n <= SLOT_SMALL ? slot_take() : large_new();
    if (bytes.n > 0)
        memcpy(s->bytes, bytes.p, bytes.n);
    s->n = (uint32_t)bytes.n;
    atomic_store(&s->refs, 1);
    return s;
}

struct secret *secret_random(size_t n)
{
    unsigned char bytes[SECRET_MAX_BYTES];
    struct secret *s;

    if (n > sizeof(bytes))
        abort();
    random_bytes(bytes, n);
    s = secret_new(slice_make(bytes, n));
    memory_wipe(bytes, n);
    return s;
}

struct secret *secret_ref(struct secret *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void secret_unref(struct secret **s)
{
    struct secret *it = *s;

    *s = NULL;
    if (it == NULL || atomic_fetch_sub(&it->refs, 1) != 1)
        return;
    if (it->large) {
        sodium_free(it->bytes);        /* wipes */
        free(it);
        return;
    }
    memory_wipe(it->bytes, SLOT_SMALL);
    pthread_mutex_lock(&lock);
    it->next_free = free_slots;
    free_slots = it;
    pthread_mutex_unlock(&lock);
}

struct slice secret_slice(const struct secret *s)
{
    return s == NULL ? SLICE_NONE : slice_make(s->bytes, s->n);
}

bool secret_equal(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || sodium_memcmp(a.p, b.p, a.n) == 0);
}

void memory_wipe(void *p, size_t n)
{
    sodium_memzero(p, n);
}

void random_bytes(void *out, size_t n)
{
    randombytes_buf(out, n);
}

uint64_t random_u64(void)
{
    uint64_t v;

    random_bytes(&v, sizeof(v));
    return v;
}

uint64_t random_below(uint64_t bound)
{
    uint64_t limit = bound == 0 ? 0 : UINT64_MAX - UINT64_MAX % bound, v;

    if (bound == 0)
        return 0;
    do
        v = random_u64();
    while (v >= limit);
    return v % bound;
}

struct object_id object_id_new(void)
{
    unsigned char raw[12];
    uint32_t s = (uint32_t)(clock_wall_ms() / 1000);
    struct object_id id;

    for (int i = 0; i < 4; i++)
        raw[i] = (unsigned char)(s >> (24 - 8 * i));
    random_bytes(raw + 4, 8);
    (void)sodium_bin2hex(id.s, sizeof(id.s), raw, sizeof(raw));
    return id;
}

bool object_id_is_valid(struct slice s)
{
    if (s.n != 24)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!ascii_is_digit(s.p[i]) && !(s.p[i] >= 'a' && s.p[i] <= 'f'))
            return false;
    return true;
}

void sha256(struct slice in, unsigned char out[32])
{
    crypto_hash_sha256(out, (const unsigned char *)in.p, in.n);
}

void hmac_sha256(struct slice key, struct slice in, unsigned char out[32])
{
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, (const unsigned char *)key.p, key.n);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)in.p, in.n);
    crypto_auth_hmacsha256_final(&state, out);
    memory_wipe(&state, sizeof(state));
}
