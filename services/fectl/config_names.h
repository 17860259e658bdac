/* config_names.h - which names may stand in an .env, besides those the daemons tell themselves (--help-config).
 *
 * Owns tables. Used by cmd_config.c. Does not suspend.
 */
#pragma once

#include "base/slice.h"

/* Read by Compose and scripts on the host; NULL-terminated. */
extern const char *const config_host_names[];
/* Names of the original that nothing here reads: a migrated file may keep them. */
bool config_is_original_name(struct slice name);
/* Single letters added, left out, replaced or exchanged between the two (optimal string alignment); more than 64 letters count as far apart. */
unsigned config_name_distance(struct slice a, struct slice b);
