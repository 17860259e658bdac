/* login.h - who may use a mailbox: address and password to alias, wrap and data key; slow for guessers, quick for the known.
 *
 * Owns      a cache in process memory (keyed hash of the password -> data key, some minutes) and counters of failures.
 * Used by   imap, pop3, smtp, caldav, carddav, api.
 * Threads   the loop thread; suspends (store, Redis, Argon2id on the cpu pool, one at a time per process).
 *
 * Unknown names, wrong passwords and switched-off aliases cost the same time and give the same fault. Failures are counted
 * per client address (IPv6: per /64), in Redis when there is one, else here: from the third on the answer comes later and
 * later, after LOGIN_FAILURES_MAX distinct wrong passwords in an hour the address is refused. The owner elsewhere is not locked out.
 */
#pragma once

#include "base/arena.h"
#include "base/fault.h"
#include "base/secret.h"
#include "base/slice.h"
#include "base/time.h"

#define LOGIN_FAILURES_MAX 10
#define LOGIN_CACHE_MAX    4096

struct login;                          /* opaque */
struct redis;
struct store;

struct login_options {
    struct store *store;
    struct redis *redis;               /* NULL: counters stay in this process */
    const char *protocol;              /* "imap", "smtp", ...: which scopes may enter */
    uint64_t cache_ms;                 /* 0: 5 minutes */
    bool exempt_loopback;              /* for tests and benchmarks: 127.0.0.0/8 is never slowed */
};

struct login_result {
    char alias_id[25], domain_id[25], user_id[25];   /* is_catchall: no alias; the user is the domain's first admin */
    struct slice address;              /* name@domain, lower case, without +tag; lives in `in` */
    struct slice name, domain;         /* its halves; is_catchall: the name may be "*" */
    struct slice wrap_id;
    struct secret *data_key;           /* the caller's: secret_unref. is_catchall: NULL, it opens no mailbox */
    uint64_t quota_bytes;              /* 0: none */
    bool has_imap, has_smtp;
    bool is_catchall;                  /* a catch-all password: may send as any address of the domain, and nothing else */
};

struct login *login_new(const struct login_options *options);
void login_free(struct login **l);

/* FAULT_DENIED: say "authentication failed", nothing else. FAULT_LIMIT: this address has failed too often. FAULT_UNAVAILABLE: store away.
 * Delays for guessers happen inside.                                                                              */
int login_check(struct login *l, struct slice username, struct slice password, const char *peer_ip, struct deadline until,
                struct arena *in, struct login_result *out, struct fault *why) MUST_CHECK SUSPENDS;
/* The same for who only wants to send: beside the passwords of the alias, the catch-all passwords of the domain (`tokens` of
 * its document) are right too, with any name of the domain or "*" as user name. Look at out->is_catchall.         */
int login_check_sender(struct login *l, struct slice username, struct slice password, const char *peer_ip, struct deadline until,
                       struct arena *in, struct login_result *out, struct fault *why) MUST_CHECK SUSPENDS;
/* Events alias:<id> and domain:<id>: drop what is cached for it. */
void login_forget(struct login *l, struct slice id);
