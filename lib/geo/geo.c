#include "geo/geo.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <maxminddb.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/metrics.h"

enum {
    COPY_BYTES = 1 << 20,
    PROBE_RECORDS = 1000, /* looked at, in the order of addresses */
    PROBE_NODES = 1 << 20,
    BITS_MAX = 128,
};

/* Which file, and which content of it. */
struct identity {
    dev_t device;
    ino_t inode;
    off_t bytes;
    struct timespec changed;
};

struct geo {
    uint64_t serial;
    size_t count;
    MMDB_s db[GEO_FILES_MAX];
    struct identity file[GEO_FILES_MAX]; /* of which it is a copy */

    /* Under `open_lock`. */
    unsigned refs;
    struct geo *next, *prev;
};

/* What is open: a reload that brings the same files takes what is there, since connections and
 * requests may keep old configurations alive for hours. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct geo *open_ones;

/* ---- one record ---- */

static bool get_text(MMDB_entry_s *e, const char *const *path, struct slice *out)
{
    MMDB_entry_data_s d;

    if (MMDB_aget_value(e, &d, path) != MMDB_SUCCESS || !d.has_data ||
        d.type != MMDB_DATA_TYPE_UTF8_STRING)
        return false;
    *out = (struct slice){d.utf8_string, d.data_size};
    return true;
}

/* Of flat databases these are floats, of nested ones doubles. */
static bool get_number(MMDB_entry_s *e, const char *const *path, double most, double *out)
{
    MMDB_entry_data_s d;
    double v;

    if (MMDB_aget_value(e, &d, path) != MMDB_SUCCESS || !d.has_data)
        return false;
    if (d.type == MMDB_DATA_TYPE_DOUBLE)
        v = d.double_value;
    else if (d.type == MMDB_DATA_TYPE_FLOAT)
        v = (double)d.float_value;
    else
        return false;
    if (!isfinite(v) || fabs(v) > most)
        return false;
    *out = v;
    return true;
}

static bool get_point(MMDB_entry_s *e, const char *const *latitude, const char *const *longitude,
                      struct geo_place *out)
{
    return get_number(e, latitude, 90, &out->latitude) &&
           get_number(e, longitude, 180, &out->longitude);
}

static void read_place(MMDB_entry_s *e, struct geo_place *out)
{
    static const char *const country[] = {"country", "iso_code", NULL};
    static const char *const flat_country[] = {"country_code", NULL};
    static const char *const latitude[] = {"location", "latitude", NULL};
    static const char *const longitude[] = {"location", "longitude", NULL};
    static const char *const flat_latitude[] = {"latitude", NULL};
    static const char *const flat_longitude[] = {"longitude", NULL};
    struct slice code;

    if (get_text(e, country, &code) || get_text(e, flat_country, &code))
        out->country = site_country_find(code);
    out->has_point =
        get_point(e, latitude, longitude, out) || get_point(e, flat_latitude, flat_longitude, out);
}

static bool is_known(const struct geo_place *p)
{
    return p->country != NULL || p->has_point;
}

/* ---- looking up ---- */

static void find_in(const MMDB_s *db, const struct sockaddr *address, struct geo_place *out)
{
    int error;
    MMDB_lookup_result_s r;

    *out = (struct geo_place){0};
    if (address->sa_family == AF_INET6 && db->metadata.ip_version == 4)
        return;
    r = MMDB_lookup_sockaddr(db, address, &error);
    if (error == MMDB_SUCCESS && r.found_entry)
        read_place(&r.entry, out);
    else if (error != MMDB_SUCCESS)
        metrics_add(METRIC_GEO_ERRORS, 1);
}

static bool is_mapped(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_V4MAPPED(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

void geo_find(const struct geo *g, const struct sockaddr *address, struct geo_place *out)
{
    struct sockaddr_in ip4 = {.sin_family = AF_INET};

    *out = (struct geo_place){0};
    if (is_mapped(address)) { /* not every database has the alias */
        memcpy(&ip4.sin_addr,
               ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr + 12, 4);
        address = (const struct sockaddr *)&ip4;
    }
    if (address->sa_family == AF_INET || address->sa_family == AF_INET6)
        for (size_t i = 0; i < g->count && !is_known(out); i++)
            find_in(&g->db[i], address, out);
    metrics_add(METRIC_GEO_LOOKUPS, 1);
    if (!is_known(out))
        metrics_add(METRIC_GEO_UNKNOWN, 1);
}

uint64_t geo_serial(const struct geo *g)
{
    return g->serial;
}

/* ---- opening ---- */

/* For reading; a pipe would be waited for for ever.  -1: errno says why. */
static int open_file(const char *file)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    return fd;
}

static struct identity identity_of(const struct stat *st)
{
    return (struct identity){st->st_dev, st->st_ino, st->st_size, st->st_ctim};
}

static bool is_same(const struct identity *a, const struct identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

/* A sealed copy in memory; -1: errno says why. */
static int copy_file(const char *file, struct identity *out)
{
    int from = open_file(file), to = -1, saved;
    char *room = malloc(COPY_BYTES);
    struct stat st = {0};
    ssize_t n = -1;
    off_t all = 0;

    /* as it was before: what is written while it is read makes it another one */
    if (from >= 0 && fstat(from, &st) == 0)
        *out = identity_of(&st);
    if (from >= 0 && room != NULL)
        to = memfd_create("geo", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    while (to >= 0 && all <= LIMIT_GEO_FILE_BYTES && (n = read(from, room, COPY_BYTES)) > 0) {
        for (ssize_t at = 0, w; at < n; at += w)
            if ((w = write(to, room + at, (size_t)(n - at))) < 0) {
                n = -1;
                break;
            }
        if (n < 0)
            break;
        all += n;
    }
    if (n > 0)
        errno = EFBIG;
    if (n == 0 &&
        fcntl(to, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
        n = -1;
    saved = errno;
    if (n != 0 && to >= 0) {
        close(to);
        to = -1;
    }
    if (from >= 0)
        close(from);
    free(room);
    errno = saved;
    return to;
}

struct probe {
    const MMDB_s *db;
    unsigned nodes, records;
    bool has_place, is_damaged;
};

static void probe_side(struct probe *p, uint64_t record, uint8_t type, MMDB_entry_s entry,
                       uint32_t *stack, unsigned *depth)
{
    struct geo_place place = {0};
    MMDB_entry_data_s whole;

    switch (type) {
    case MMDB_RECORD_TYPE_SEARCH_NODE:
        if (*depth < BITS_MAX)
            stack[(*depth)++] = (uint32_t)record;
        else
            p->is_damaged = true; /* deeper than an address is long */
        break;
    case MMDB_RECORD_TYPE_DATA:
        p->records++;
        if (MMDB_aget_value(&entry, &whole, (const char *const[]){NULL}) != MMDB_SUCCESS) {
            p->is_damaged = true;
            break;
        }
        read_place(&entry, &place);
        p->has_place = p->has_place || is_known(&place);
        break;
    case MMDB_RECORD_TYPE_EMPTY:
        break;
    default:
        p->is_damaged = true;
        break;
    }
}

/* Walk the tree until a record holds a place: "it opened" is no proof of that, nor is its name. */
static void probe(struct probe *p)
{
    uint32_t stack[BITS_MAX + 2] = {0};
    unsigned depth = 1;

    while (depth > 0 && !p->has_place && !p->is_damaged && p->nodes < PROBE_NODES &&
           p->records < PROBE_RECORDS) {
        MMDB_search_node_s n;

        p->nodes++;
        if (MMDB_read_node(p->db, stack[--depth], &n) != MMDB_SUCCESS) {
            p->is_damaged = true;
            return;
        }
        probe_side(p, n.right_record, n.right_record_type, n.right_record_entry, stack, &depth);
        probe_side(p, n.left_record, n.left_record_type, n.left_record_entry, stack, &depth);
    }
}

static enum err open_one(struct geo *g, const char *file, struct buf *why)
{
    MMDB_s *db = &g->db[g->count];
    struct probe p = {.db = db};
    char path[64];
    int fd = copy_file(file, &g->file[g->count]), rc;

    if (fd < 0) {
        buf_addf(why, "%s: cannot be read: %s", file, strerror(errno));
        return ERR_INVALID;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    rc = MMDB_open(path, MMDB_MODE_MMAP, db);
    close(fd);
    if (rc != MMDB_SUCCESS) {
        buf_addf(why, "%s: is no MaxMind DB file, or damaged: %s", file, MMDB_strerror(rc));
        return rc == MMDB_OUT_OF_MEMORY_ERROR ? ERR_NOMEM : ERR_INVALID;
    }
    g->count++;
    probe(&p);
    if (p.is_damaged)
        buf_addf(why, "%s: is damaged: its tree or a record cannot be read", file);
    else if (!p.has_place)
        buf_addf(why,
                 "%s: knows no places: its records hold neither a country nor a latitude (its type "
                 "is %.64s)",
                 file, db->metadata.database_type == NULL ? "?" : db->metadata.database_type);
    return p.is_damaged || !p.has_place ? ERR_INVALID : ERR_OK;
}

/* Under the lock: what was opened of these very files, as they are now.  NULL: nothing. */
static struct geo *find_open(const char *const *files, size_t count)
{
    struct identity now[GEO_FILES_MAX];
    struct stat st;

    for (size_t i = 0; i < count; i++) {
        if (stat(files[i], &st) != 0)
            return NULL;
        now[i] = identity_of(&st);
    }
    for (struct geo *g = open_ones; g != NULL; g = g->next) {
        bool same = g->count == count;

        for (size_t i = 0; same && i < count; i++)
            same = is_same(&now[i], &g->file[i]);
        if (same)
            return g;
    }
    return NULL;
}

static struct geo *take_open(const char *const *files, size_t count)
{
    struct geo *g;

    pthread_mutex_lock(&open_lock);
    g = find_open(files, count);
    if (g != NULL)
        g->refs++;
    pthread_mutex_unlock(&open_lock);
    return g;
}

static void release(struct geo *g)
{
    for (size_t i = 0; i < g->count; i++)
        MMDB_close(&g->db[i]);
    free(g);
}

enum err geo_open(const char *const *files, size_t count, struct geo **out, struct buf *why)
{
    static _Atomic uint64_t last;
    struct geo *g;
    enum err e = ERR_OK;

    if (count > GEO_FILES_MAX)
        count = GEO_FILES_MAX;
    *out = take_open(files, count);
    if (*out != NULL)
        return ERR_OK;
    g = calloc(1, sizeof(*g));
    if (g == NULL)
        return ERR_NOMEM;
    g->refs = 1;
    g->serial = 1 + atomic_fetch_add_explicit(&last, 1, memory_order_relaxed);
    for (size_t i = 0; e == ERR_OK && i < count; i++)
        e = open_one(g, files[i], why);
    if (e != ERR_OK) {
        release(g);
        return e;
    }
    pthread_mutex_lock(&open_lock);
    LIST_PUSH(open_ones, g);
    pthread_mutex_unlock(&open_lock);
    *out = g;
    return ERR_OK;
}

void geo_close(struct geo *g)
{
    bool is_last;

    if (g == NULL)
        return;
    pthread_mutex_lock(&open_lock);
    is_last = --g->refs == 0;
    if (is_last)
        LIST_REMOVE(open_ones, g);
    pthread_mutex_unlock(&open_lock);
    if (is_last)
        release(g);
}
