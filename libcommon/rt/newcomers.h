/* newcomers.h - how many connections of one address have not yet shown who they are.
 *
 * Owns      one small counter for each address that has any; IPv6 addresses count by their /64, a host has that many.
 * Used by   listener.c, which counts, and stream.c, which ends the count with the connection.
 * Threads   the loop thread only; never suspends.
 */
#pragma once

#include <stdbool.h>

struct newcomers;
struct newcomers_place;      /* a connection's place in the count */

/* `exempt`: addresses that are never counted, NULL-terminated; or NULL. Borrowed. */
struct newcomers *newcomers_new(const char *const *exempt);
void newcomers_free(struct newcomers **n);                 /* when every place was left */
/* Counts one more of `ip`; how many there are now, 0 when it is exempt. *out is the connection's, or NULL. */
unsigned newcomers_enter(struct newcomers *n, const char *ip, struct newcomers_place **out);
void newcomers_leave(struct newcomers_place **place);      /* closer; harmless on NULL */
