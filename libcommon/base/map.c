/* map.c - see map.h. Open addressing with linear probing; a removed entry leaves a tombstone.
 *
 * Owns the table and copies of the keys. Called everywhere. Cannot fail. Does not suspend.
 */
#include "base/map.h"

#define SLOTS_LEAST 16

struct slot {
    char *key;                 /* NULL: never used; TOMBSTONE: removed */
    size_t key_n;
    uint64_t hash;
    void *value;
};

struct map {
    struct slot *slots;
    size_t slot_count, count, used;    /* used: with tombstones */
};

static char tombstone;
#define TOMBSTONE (&tombstone)

struct map *map_new(void)
{
    struct map *m = calloc(1, sizeof(*m));

    if (m == NULL)
        abort();
    return m;
}

static bool slot_is_live(const struct slot *s)
{
    return s->key != NULL && s->key != TOMBSTONE;
}

void map_free(struct map **m)
{
    if (*m == NULL)
        return;
    for (size_t i = 0; i < (*m)->slot_count; i++)
        if (slot_is_live(&(*m)->slots[i]))
            free((*m)->slots[i].key);
    free((*m)->slots);
    free(*m);
    *m = NULL;
}

size_t map_count(const struct map *m)
{
    return m->count;
}

static struct slot *map_slot(const struct map *m, struct slice key, uint64_t hash)
{
    size_t mask = m->slot_count - 1;

    if (m->slot_count == 0)
        return NULL;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct slot *s = &m->slots[i];

        if (s->key == NULL)
            return NULL;
        if (slot_is_live(s) && s->hash == hash && slice_equal(slice_make(s->key, s->key_n), key))
            return s;
    }
}

static void map_place(struct map *m, const struct slot *entry)
{
    size_t mask = m->slot_count - 1, i = entry->hash & mask;

    while (slot_is_live(&m->slots[i]))
        i = (i + 1) & mask;
    if (m->slots[i].key == NULL)
        m->used++;
    m->slots[i] = *entry;
}

static void map_resize(struct map *m)
{
    struct slot *old = m->slots;
    size_t old_count = m->slot_count;

    m->slot_count = SLOTS_LEAST;
    while (m->slot_count < (m->count + 1) * 2)
        m->slot_count *= 2;
    m->slots = calloc(m->slot_count, sizeof(*m->slots));
    if (m->slots == NULL)
        abort();
    m->used = 0;
    for (size_t i = 0; i < old_count; i++)
        if (slot_is_live(&old[i]))
            map_place(m, &old[i]);
    free(old);
}

void *map_find(const struct map *m, struct slice key)
{
    const struct slot *s = map_slot(m, key, slice_hash(key));

    return s != NULL ? s->value : NULL;
}

void *map_set(struct map *m, struct slice key, void *value)
{
    struct slot entry = { .key_n = key.n, .hash = slice_hash(key), .value = value };
    struct slot *s = map_slot(m, key, entry.hash);

    if (s != NULL) {
        void *was = s->value;

        s->value = value;
        return was;
    }
    if ((m->used + 1) * 4 > m->slot_count * 3)
        map_resize(m);
    entry.key = malloc(key.n + 1);
    if (entry.key == NULL)
        abort();
    if (key.n > 0)
        memcpy(entry.key, key.p, key.n);
    map_place(m, &entry);
    m->count++;
    return NULL;
}

void *map_remove(struct map *m, struct slice key)
{
    struct slot *s = map_slot(m, key, slice_hash(key));
    void *was;

    if (s == NULL)
        return NULL;
    was = s->value;
    free(s->key);
    *s = (struct slot){ .key = TOMBSTONE };
    m->count--;
    return was;
}

int map_next(const struct map *m, size_t *cursor, struct slice *key, void **value)
{
    while (*cursor < m->slot_count) {
        const struct slot *s = &m->slots[(*cursor)++];

        if (!slot_is_live(s))
            continue;
        if (key != NULL)
            *key = slice_make(s->key, s->key_n);
        if (value != NULL)
            *value = s->value;
        return 1;
    }
    return 0;
}
