/* json.h - jansson behind our limits, and short getters.
 *
 * Values are jansson's (json_decref). A parsed text nests at most JSON_MAX_DEPTH levels, checked before
 * jansson sees it (it recurses on the fiber's stack). Never suspends.
 */
#pragma once

#include <jansson.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"

#define JSON_MAX_DEPTH 64

/* Owned by the caller. FAULT_INVALID with the position on bad JSON, duplicate keys, depth or size over `max_bytes`. */
int json_parse(struct slice text, size_t max_bytes, json_t **out, struct fault *why) MUST_CHECK;
int json_format(const json_t *value, struct buf *out);          /* compact; <0 when the buf is full */
void json_release(json_t **value);                              /* closer */

struct slice json_get_slice(const json_t *object, const char *key);             /* SLICE_NONE when absent or not a string */
int64_t json_get_int(const json_t *object, const char *key, int64_t otherwise);
bool json_get_bool(const json_t *object, const char *key, bool otherwise);
json_t *json_slice(struct slice s);                                             /* new string; invalid UTF-8 replaced by '?' */
int json_set_slice(json_t *object, const char *key, struct slice s);
int json_set_int(json_t *object, const char *key, int64_t v);
int json_set_bool(json_t *object, const char *key, bool v);
