/* mongo_internal.h - shared by store_mongo*.c, the module for MongoDB-compatible servers. All calls
 * block; pool threads only.
 */
#pragma once

/* the library's headers use macros our warnings do not like */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#pragma GCC diagnostic ignored "-Wconversion"
#include <mongoc/mongoc.h>
#pragma GCC diagnostic pop
#include "store/store_driver.h"

struct mongo {
    mongoc_client_pool_t *pool;
    char *database;
};

/* store_mongo_bson.c: values. In keys of data a leading '$' and every '.' become U+FF04 and U+FF0E,
 * and back. */
bool mongo_append(bson_t *to, const char *key, const json_t *value);
bool mongo_append_members(bson_t *to, const json_t *object); /* of a document */
void mongo_append_text(bson_t *to, const char *key, struct slice text);
json_t *mongo_to_json(const bson_t *doc); /* owned by the caller */
json_t *mongo_iter_to_json(const bson_iter_t *at);

/* store_mongo_query.c. `element`: of an update with store_set_element, whose array must match
 * too. */
void mongo_filter(const struct store_filter *f, const struct store_update *element, bson_t *out);
void mongo_sort(const struct store_sort *s, bson_t *out);
/* `id`: what an upsert that inserts gets (NULL: the filter says it). */
void mongo_update(const struct store_update *u, const char *id, bson_t *out);
bool mongo_filter_has_id(const struct store_filter *f);

/* store_mongo_blob.c */
int mongo_blob_put(struct mongo *m, mongoc_client_t *client, const struct store_blob_part *part,
                   struct fault *why) MUST_CHECK;
int mongo_blob_remove(struct mongo *m, mongoc_client_t *client, const char *id,
                      struct fault *why) MUST_CHECK;
int mongo_blob_read(struct mongo *m, mongoc_client_t *client, struct store_read *r) MUST_CHECK;
int mongo_blob_sweep(struct mongo *m, mongoc_client_t *client, struct fault *why) MUST_CHECK;

/* store_mongo_write.c */
void mongo_write(void *engine, struct store_group *group);
uint64_t mongo_reply_number(const bson_t *reply, const char *key); /* 0: not there */

/* store_mongo.c */
/* One document with an _id. When the connection is lost it is offered again: found there then, it is ours from the time before. */
int mongo_insert(mongoc_collection_t *c, const bson_t *doc, struct fault *why);
int mongo_fault(const bson_error_t *error, struct fault *why);
mongoc_collection_t *mongo_collection(struct mongo *m, mongoc_client_t *client, const char *name);
void mongo_collection_close(mongoc_collection_t **c); /* closer */
