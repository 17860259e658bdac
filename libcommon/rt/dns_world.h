/* dns_world.h - for tests: a real knotd on a free loopback port with a plain and a signed zone.
 *
 * Owns one knotd and its folder per test program, ended at exit. Used by dns_test.c. Blocks until the zones are loaded.
 */
#pragma once

#include "base/macros.h"

struct dns_world {
    char server[32];               /* "127.0.0.1@port" */
    char dead[32];                 /* the same, where nobody listens */
    char anchor[96];               /* file: the true key of signed.example */
    char wrong_anchor[96];         /* file: a key that signed.example does not have */
};

/* NULL, after saying why, when there is no knotd on this machine or it does not start. */
const struct dns_world *dns_world_get(void);
