/* config.c - see config.h.
 *
 * Owns the strings it hands out, for the life of the process. Called once at start. Mistakes are lines in `errors`. Does not suspend.
 */
#include "base/config.h"


struct unit { const char *name; uint64_t factor; };

static const struct unit ms_units[] = {
    { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { "d", 86400000 }, { "", 1 },
};
static const struct unit byte_units[] = {
    { "kb", 1ull << 10 }, { "mb", 1ull << 20 }, { "gb", 1ull << 30 }, { "tb", 1ull << 40 },
    { "k", 1ull << 10 }, { "m", 1ull << 20 }, { "g", 1ull << 30 }, { "b", 1 }, { "", 1 },
};

static bool parse_quantity(struct slice text, const struct unit *units, size_t count, uint64_t *out)
{
    size_t digits = 0;
    uint64_t v;

    while (digits < text.n && ascii_is_digit(text.p[digits]))
        digits++;
    if (!slice_to_u64(slice_head(text, digits), UINT64_MAX, &v))
        return false;
    for (size_t i = 0; i < count; i++)
        if (slice_equal_nocase(slice_tail(text, digits), slice_of(units[i].name)))
            return !__builtin_mul_overflow(v, units[i].factor, out);
    return false;
}

static bool parse_int(struct slice text, int64_t *out)
{
    bool negative = text.n > 0 && text.p[0] == '-';
    uint64_t v;

    if (!slice_to_u64(negative ? slice_tail(text, 1) : text, INT64_MAX, &v))
        return false;
    *out = negative ? -(int64_t)v : (int64_t)v;
    return true;
}

/* A number that orders like the value; false when `text` is not of the type. */
static bool parse_number(enum config_type type, struct slice text, int64_t *out)
{
    uint64_t v = 0;
    bool ok;

    if (type == CONFIG_INT)
        return parse_int(text, out);
    if (type == CONFIG_PORT)
        ok = slice_to_u64(text, 65535, &v);
    else if (type == CONFIG_MS)
        ok = parse_quantity(text, ms_units, COUNT(ms_units), &v);
    else
        ok = parse_quantity(text, byte_units, COUNT(byte_units), &v);
    *out = (int64_t)v;
    return ok && v <= INT64_MAX;
}

static bool parse_bool(struct slice text, bool *out)
{
    static const char *const yes[] = { "true", "1", "yes", "on" }, *const no[] = { "false", "0", "no", "off", "" };

    for (size_t i = 0; i < COUNT(yes); i++)
        if (slice_equal_nocase(text, slice_of(yes[i])))
            return *out = true, true;
    for (size_t i = 0; i < COUNT(no); i++)
        if (slice_equal_nocase(text, slice_of(no[i])))
            return *out = false, true;
    return false;
}

static char *keep(struct slice s)
{
    char *p = strndup(s.p != NULL ? s.p : "", s.n);

    if (p == NULL)
        abort();
    return p;
}

static const char **parse_list(struct slice text)
{
    struct slice rest = text, one;
    size_t n = 0, at = 0;
    const char **list;

    while (slice_cut(&rest, ',', &one))
        n++;
    list = calloc(n + 1, sizeof(*list));
    if (list == NULL)
        abort();
    while (slice_cut(&text, ',', &one))
        if (slice_trim(one).n > 0)
            list[at++] = keep(slice_trim(one));
    return list;
}

static const char *type_text(enum config_type type)
{
    switch (type) {
    case CONFIG_PORT:  return "a port, 0 to 65535";
    case CONFIG_INT:   return "a whole number";
    case CONFIG_MS:    return "a time such as 500ms, 30s, 5m, 2h, 5d";
    case CONFIG_BYTES: return "a size such as 4096, 64kb, 50mb, 1gb";
    case CONFIG_BOOL:  return "true or false";
    default:           return "text";
    }
}

static void store_number(const struct config_var *v, void *at, int64_t n)
{
    if (v->type == CONFIG_PORT)
        *(uint16_t *)at = (uint16_t)n;
    else if (v->type == CONFIG_INT)
        *(int64_t *)at = n;
    else
        *(uint64_t *)at = (uint64_t)n;
}

static bool in_range(const struct config_var *v, int64_t n)
{
    int64_t limit;

    if (v->least != NULL && parse_number(v->type, slice_of(v->least), &limit) && n < limit)
        return false;
    if (v->most != NULL && parse_number(v->type, slice_of(v->most), &limit) && n > limit)
        return false;
    return true;
}

static int read_number(const struct config_var *v, struct slice text, void *at, struct buf *errors)
{
    int64_t n;

    if (!parse_number(v->type, text, &n)) {
        (void)buf_printf(errors, "%s: \"%.*s\" is not %s\n", v->name, (int)(text.n < 60 ? text.n : 60), text.p,
                         type_text(v->type));
        return 1;
    }
    if (!in_range(v, n)) {
        (void)buf_printf(errors, "%s: %.*s is out of range, allowed is %s to %s\n", v->name, SLICE(text),
                         v->least != NULL ? v->least : "any", v->most != NULL ? v->most : "any");
        return 1;
    }
    store_number(v, at, n);
    return 0;
}

static int read_one(const struct config_var *v, struct slice text, void *at, struct buf *errors)
{
    switch (v->type) {
    case CONFIG_STRING:
        *(const char **)at = keep(text);
        return 0;
    case CONFIG_SECRET:
        if (text.n > SECRET_MAX_BYTES) {
            (void)buf_printf(errors, "%s: longer than %d bytes\n", v->name, SECRET_MAX_BYTES);
            return 1;
        }
        *(struct secret **)at = text.n > 0 ? secret_new(text) : NULL;
        return 0;
    case CONFIG_LIST:
        *(const char ***)at = parse_list(text);
        return 0;
    case CONFIG_BOOL:
        if (parse_bool(text, at))
            return 0;
        (void)buf_printf(errors, "%s: \"%.*s\" is not true or false\n", v->name,
                         (int)(text.n < 60 ? text.n : 60), text.p);
        return 1;
    default:
        return read_number(v, text, at, errors);
    }
}

int config_read(const struct config_var *vars, size_t count, void *config,
                const char *(*getter)(const char *name), struct buf *errors)
{
    int mistakes = 0;

    for (size_t i = 0; i < count; i++) {
        const struct config_var *v = &vars[i];
        const char *text = getter(v->name);

        if ((text == NULL || text[0] == '\0') && v->initial == NULL) {
            (void)buf_printf(errors, "%s: is required and not set (%s)\n", v->name, v->help);
            mistakes++;
            continue;
        }
        if (text == NULL || (text[0] == '\0' && v->type != CONFIG_STRING && v->type != CONFIG_SECRET &&
                             v->type != CONFIG_LIST))
            text = v->initial;
        mistakes += read_one(v, slice_trim(slice_of(text)), (char *)config + v->offset, errors);
    }
    return mistakes;
}

void config_print_help(const struct config_var *vars, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct config_var *v = &vars[i];
        const char *shown = v->initial == NULL ? "required" : v->type == CONFIG_SECRET && v->initial[0] ? "***" : v->initial;

        (void)buf_printf(out, "%s\n    %s\n    default: %s", v->name, v->help, shown[0] != '\0' ? shown : "(empty)");
        if (v->least != NULL || v->most != NULL)
            (void)buf_printf(out, ", from %s to %s", v->least != NULL ? v->least : "any",
                             v->most != NULL ? v->most : "any");
        (void)buf_append_cstr(out, "\n\n");
    }
}
