/* map.h - hash map from bytes to a pointer.
 *
 * Owns copies of the keys, never the values. Keyed hash, so peers cannot choose collisions. Never
 * suspends. Do not insert while iterating; removing the current item is allowed.
 */
#pragma once

#include "base/slice.h"

struct map;

struct map *map_new(void);
void map_free(struct map **m);                                   /* values are not touched */
size_t map_count(const struct map *m);
void *map_find(const struct map *m, struct slice key);           /* NULL when absent */
void *map_set(struct map *m, struct slice key, void *value);     /* returns what was there, or NULL */
void *map_remove(struct map *m, struct slice key);               /* returns what was there, or NULL */
/* *cursor starts at 0. 1 item, 0 end. The key is borrowed until the map changes. */
int map_next(const struct map *m, size_t *cursor, struct slice *key, void **value);
