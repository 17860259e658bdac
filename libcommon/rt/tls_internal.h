/* tls_internal.h - from the policies of tls.h to one connection's SSL, for stream_tls.c. */
#pragma once

#include <openssl/ssl.h>
#include "rt/tls.h"

/* A new SSL with policy and certificate set. Reloads changed certificate files first. */
SSL *tls_server_session(struct tls_server *server, struct fault *why);
SSL *tls_client_session(struct tls_client *client, const struct tls_client_options *options,
                        struct fault *why);
/* Is a handshake with this server's key more work than the loop should do itself (RSA)? */
bool tls_server_is_heavy(const struct tls_server *server);
/* Takes the newest text off OpenSSL's error queue and empties it. Borrowed, static. */
const char *tls_error_text(void);
