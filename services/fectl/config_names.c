/* config_names.c - see config_names.h. Called once per run. Does not suspend. */
#include "config_names.h"

#define NAME_LETTERS_MAX 64

const char *const config_host_names[] = {
    "DOMAIN", "IMAGE", "IMAGE_TAG", "MONGO_IMAGE", "REDIS_IMAGE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "COMPOSE_FILE", "DOCKER_SOCKET",
    "MONGO_HOST", "MONGO_PORT", "MONGO_NAME", "MONGO_USER", "MONGO_PASS", "MONGO_URI", "NODE_ENV",
    "MX_METRICS_PORT", "SMTP_METRICS_PORT", "SMTP_BREE_METRICS_PORT", "IMAP_METRICS_PORT", "SQLITE_METRICS_PORT", "API_METRICS_PORT",
    NULL,
};

/* NAME* stands for every name that begins so; only where no name of ours does */
static const char *const original[] = {
    "ALLOWLIST", "API_HOST", "API_PROTOCOL", "API_REDIS_*", "API_RESTRICTED_SYMBOL", "APPLE_ID*", "APP_COLOR", "APP_NAME", "AUTH_*", "AWS_*", "AXE_*", "BACKUP_BUCKET", "BREE_*", "CACHE_RESPONSES",
    "CALDAV_*", "CARDDAV_*", "CERTBOT_WELL_KNOWN_*", "CHANGE_EMAIL_*", "CUSTOMER_SUPPORT_*", "DENYLIST", "EMAIL", "EMAILS_MONGO_*", "EMAIL_ALERTS_*",
    "EMAIL_DEFAULT_*", "EMAIL_FRIENDLY_FROM", "EMAIL_RETENTION", "EMAIL_SECURITY", "ENABLE_MONITOR_SERVER", "ERROR_HANDLER_BASE_URL", "FORWARD_EMAIL_ALIAS_*", "GITHUB_OCTOKIT_TOKEN", "GPG_SECURITY_*",
    "HELPER_ENCRYPTION_KEY_LEGACY", "HISTORY_*", "HTTP_PORT", "HTTP_PROTOCOL", "I18N_*", "IGNORED_SELF_TEST_DOMAINS", "IMAP_HOST",
    "IMAP_REDIS_*", "INBOX_ZERO", "JOURNALS_MONGO_*", "LANCEDB_PATH", "LOGS_HOST", "LOGS_MONGO_*", "LOG_RETENTION", "MAIL_*",
    "MANDARIN_*", "MICROSOFT_BING_API_KEY", "MX1_HOST", "MX2_HOST", "OLLAMA_*", "PAYPAL_*", "POP3_*", "PREVIEW_EMAIL", "PROXY_PORT",
    "PROXY_SSL_*", "RATELIMIT_ALLOWLIST", "REDIS_TLS", "REDIS_USERNAME", "REMOVED_EMAIL_DOMAIN", "RESET_TOKEN_TIMEOUT_MS", "SELF_HOSTED",
    "SEND_EMAIL", "SMTP_EXCHANGE_DOMAINS", "SMTP_MAX_THREADS", "SMTP_MIN_THREADS", "SMTP_PISCINA_ENABLED", "SMTP_TLS_MAX_VERSION",
    "SMTP_TLS_MIN_VERSION", "SMTP_TRANSPORT_*", "SQLITE_FTS5_ENABLED", "SQLITE_RCLONE_ENABLED", "SQLITE_TMPDIR", "STRIPE_*",
    "SUPPORT_REQUEST_MAX_LENGTH", "TRANSPORT_DEBUG", "TRUTH_SOURCES", "TTI_*", "TURNSTILE_*", "TWILIO_*", "TXT_ENCRYPTION_KEY",
    "TXT_RECORD_PREFIX", "VANITY_DOMAINS", "VERIFICATION_PIN_*", "WEBHOOK_SIGNATURE_KEY", "WEBSITE_URL", "WEB_PORT", "WEB_PROTOCOL",
    "WEB_REDIS_*", "WEB_SSL_CA_PATH", "WEB_URL", "DKIM_PRIVATE_KEY_VALUE",
};

bool config_is_original_name(struct slice name)
{
    for (size_t i = 0; i < COUNT(original); i++) {
        struct slice one = slice_of(original[i]);

        if (slice_has_suffix(one, LIT("*")) ? slice_has_prefix(name, slice_head(one, one.n - 1)) : slice_equal(name, one))
            return true;
    }
    return false;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned config_name_distance(struct slice a, struct slice b)
{
    unsigned row[3][NAME_LETTERS_MAX + 1];       /* the last two and this one */

    if (a.n > NAME_LETTERS_MAX || b.n > NAME_LETTERS_MAX)
        return NAME_LETTERS_MAX;
    for (size_t j = 0; j <= b.n; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];

        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            now[j] = least(before[j - 1] + (a.p[i - 1] != b.p[j - 1]), least(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
                now[j] = least(now[j], earlier[j - 2] + 1);
        }
    }
    return row[a.n % 3][b.n];
}
