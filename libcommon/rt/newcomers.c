/* newcomers.c - see newcomers.h.
 *
 * Owns a map from address to its place, which all its connections share. Nothing can fail. Never suspends.
 */
#include "rt/newcomers.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

struct newcomers {
    const char *const *exempt;
    struct map *places; /* address -> struct newcomers_place */
};

struct newcomers_place {
    struct newcomers *owner;
    unsigned count;
    char address[INET6_ADDRSTRLEN];
};

struct newcomers *newcomers_new(const char *const *exempt)
{
    struct newcomers *n = calloc(1, sizeof(*n));

    if (n == NULL)
        abort();
    n->exempt = exempt;
    n->places = map_new();
    return n;
}

void newcomers_free(struct newcomers **np)
{
    struct newcomers *n = *np;

    if (n == NULL)
        return;
    *np = NULL;
    map_free(&n->places);
    free(n);
}

static bool is_exempt(const struct newcomers *n, const char *ip)
{
    for (const char *const *e = n->exempt; e != NULL && *e != NULL; e++)
        if (strcmp(*e, ip) == 0)
            return true;
    return false;
}

static void network_of(const char *ip, char out[INET6_ADDRSTRLEN])
{
    unsigned char v6[16];

    if (inet_pton(AF_INET6, ip, v6) == 1) {
        memset(v6 + 8, 0, 8);
        if (inet_ntop(AF_INET6, v6, out, INET6_ADDRSTRLEN) != NULL)
            return;
    }
    (void)snprintf(out, INET6_ADDRSTRLEN, "%s", ip);
}

unsigned newcomers_enter(struct newcomers *n, const char *ip, struct newcomers_place **out)
{
    struct newcomers_place *place;
    char address[INET6_ADDRSTRLEN];

    *out = NULL;
    if (is_exempt(n, ip))
        return 0;
    network_of(ip, address);
    place = map_find(n->places, slice_of(address));
    if (place == NULL) {
        place = calloc(1, sizeof(*place));
        if (place == NULL)
            abort();
        place->owner = n;
        memcpy(place->address, address, sizeof(address));
        (void)map_set(n->places, slice_of(address), place);
    }
    *out = place;
    return ++place->count;
}

void newcomers_leave(struct newcomers_place **at)
{
    struct newcomers_place *place = *at;

    *at = NULL;
    if (place == NULL || --place->count > 0)
        return;
    (void)map_remove(place->owner->places, slice_of(place->address));
    free(place);
}
