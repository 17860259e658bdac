/* environment_test.c - {{NAME}}, back-ticks, the original's names. */
#include "base/environment.h"
#include "base/test.h"

struct pair { const char *name, *value; };

static const struct pair *here;

static const char *lookup(const char *name)
{
    for (const struct pair *p = here; p->name != NULL; p++)
        if (strcmp(p->name, name) == 0)
            return p->value;
    return NULL;
}

TEST(environment, replaces_names)
{
    static const struct pair vars[] = {
        { "DOMAIN", "example.org" }, { "A", "mx.{{DOMAIN}}" }, { "B", "https://{{{A}}}/{{ DOMAIN }}" }, { "C", "`{{DOMAIN}}, x`" },
        { "D", "{{NONE}}-" }, { "E", "{{E}}x" }, { "F", "{{DOMAIN}" }, { "G", "a{b}{{}}c" }, { "H", "" }, { "I", "`" }, { NULL, NULL },
    };
    static const struct { const char *name, *want; } row[] = {
        { "DOMAIN", "example.org" }, { "A", "mx.example.org" }, { "B", "https://mx.example.org/example.org" }, { "C", "example.org, x" },
        { "D", "-" }, { "E", "xxxxxxxxx" }, { "F", "{{DOMAIN}" }, { "G", "a{b}{{}}c" }, { "H", "" }, { "I", "`" },
    };

    here = vars;
    for (size_t i = 0; i < COUNT(row); i++)
        CHECK_ROW_STR(i, row[i].want, environment_get_from(lookup, row[i].name));
    CHECK(environment_get_from(lookup, "NONE") == NULL);
}

TEST(environment, makes_the_store_uri)
{
    static const struct { struct pair vars[6]; const char *want; } row[] = {
        { { { "MONGO_HOST", "127.0.0.1" } }, "mongodb://127.0.0.1:27017/forwardemail_production" },
        { { { "MONGO_HOST", "db" }, { "MONGO_PORT", "1" }, { "MONGO_NAME", "n" } }, "mongodb://db:1/n" },
        { { { "MONGO_HOST", "db" }, { "NODE_ENV", "test" }, { "MONGO_USER", "u" }, { "MONGO_PASS", "p@:/ %" } },
          "mongodb://u:p%40%3A%2F%20%25@db:27017/forwardemail_test?authSource=admin" },
        { { { "MONGO_URI", "mongodb://x/{{Y}}" }, { "Y", "y" }, { "MONGO_HOST", "db" } }, "mongodb://x/y" },
        { { { "STORE_URI", "embedded:/x" }, { "MONGO_HOST", "db" } }, "embedded:/x" },
        { { { "MONGO_PORT", "1" } }, NULL },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        const char *got;

        here = row[i].vars;
        got = environment_get_from(lookup, "STORE_URI");
        CHECK_ROW(i, (got == NULL) == (row[i].want == NULL));
        if (got != NULL && row[i].want != NULL)
            CHECK_ROW_STR(i, row[i].want, got);
    }
}

TEST(environment, storage_is_a_path)
{
    static const struct { struct pair vars[2]; const char *want; } row[] = {
        { { { "SQLITE_STORAGE_PATH", "sqlite_storage" } }, "/mnt/sqlite_storage" },
        { { { "SQLITE_STORAGE_PATH", "/srv/mail" } }, "/srv/mail" },
        { { { "SQLITE_STORAGE_PATH", "./mail" } }, "./mail" },
    };

    for (size_t i = 0; i < COUNT(row); i++) {
        here = row[i].vars;
        CHECK_ROW_STR(i, row[i].want, environment_get_from(lookup, "SQLITE_STORAGE_PATH"));
    }
}
