/* imap_config.h - the settings of fe-imap; rows and defaults stand in main.c. Constant after start. */
#pragma once

#include "base/config.h"

struct imap_config {
    uint16_t port, starttls_port;
    const char *key_path, *cert_path;          /* IMAP_SSL_*; when empty: web_* */
    const char *web_key_path, *web_cert_path;
    bool insecure_auth;
    const char *sqlite_host, *ca_path;
    bool sqlite_tls;
    uint16_t sqlite_port;
    struct secret *api_secrets;                /* comma separated; the first is sent */
    const char *store_uri, *store_key_file;
    const char *redis_host;                    /* empty: none */
    uint16_t redis_port;
    struct secret *redis_password;
    int64_t connections_max, alias_connections_max, newcomers_max;
    const char **newcomers_exempt;
    uint64_t login_ms, quiet_ms, idle_ms, keepalive_ms, poll_ms, login_cache_ms;
    bool login_exempt_loopback;
    uint64_t append_max;
};
