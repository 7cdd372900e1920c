/*
 * limits: every ceiling and fixed time of the program, once, with its unit and reason.
 *
 * What an operator may change is a configuration key whose default stands here.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define KIB 1024ull
#define MIB (1024ull * KIB)
#define GIB (1024ull * MIB)

/* Store.  16 pages less the 16 bytes of an LMDB overflow header: 65,536 would cost a 17th page. */
#define LIMIT_CHUNK_VALUE_BYTES   65520u
#define LIMIT_CHUNK_BYTES         65512u /* payload beside the 8-byte checksum */
#define LIMIT_INLINE_BODY_BYTES   1024u  /* smaller bodies live in the record itself */
#define LIMIT_RECORD_BYTES        (128u * 1024u) /* head, tags, key and inline body of one object */
#define LIMIT_STORE_COMMIT_BYTES  (16u * 1024u * 1024u)
#define LIMIT_STORE_COMMIT_MS     100
#define LIMIT_STORE_FREED_PAGES   4096 /* of deletions in one transaction */
#define LIMIT_STORE_USE_PERCENT   85   /* of the map; a full map cannot even delete */
#define LIMIT_VARIANTS            64   /* of one key, side by side */
#define LIMIT_VARY_LISTS          4    /* of one key */

/* Bodies on their way. */
#define LIMIT_FILL_BYTES          (64ull * MIB) /* of a node, waiting for the store's writer */
#define LIMIT_UNBACKED_BYTES      (1ull * MIB)  /* window of a fill that is not stored */
#define LIMIT_SLOW_READER_MS      10000 /* a reader that far behind for so long is cut */
#define LIMIT_PULLED_BYTES        (8ull * MIB)
#define LIMIT_PUSH_BYTES          65536u /* one piece handed to the connection */

/* Requests. */
#define LIMIT_HEAD_BYTES          16384u
#define LIMIT_FIELDS              100
#define LIMIT_FIELDS_HPACK        256 /* before cookie crumbs are joined */
#define LIMIT_TARGET_BYTES        8192u
#define LIMIT_REQUEST_BODY_BYTES  (1ull * MIB)  /* default of max_request_body */
#define LIMIT_REQUEST_BODY_CEILING (64ull * MIB) /* what a site may ask for */
#define LIMIT_OPEN_BODY_BYTES     (4ull * MIB)  /* unfinished uploads of a connection, at least */
#define LIMIT_OPEN_BODY_WORKER    16            /* times that for a worker */
#define LIMIT_STREAMS             100
#define LIMIT_EARLY_DEATHS        100 /* in LIMIT_EARLY_DEATHS_MS: rapid reset */
#define LIMIT_EARLY_DEATHS_MS     10000
#define LIMIT_PROGRESS_BYTES      1024u /* a second, averaged over LIMIT_PROGRESS_MS, both ways */
#define LIMIT_PROGRESS_MS         10000
#define LIMIT_IDLE_MS             60000
#define LIMIT_STREAM_IDLE_MS      3600000
#define LIMIT_HANDSHAKE_MS        10000
#define LIMIT_DRAIN_MS            30000

/* What malloc keeps of what was freed: looked at so often, and given back when it is so much. */
#define LIMIT_MEMORY_LOOK_MS      60000
#define LIMIT_MEMORY_KEPT_BYTES   (64ull * MIB)

/* Tunnels (WebSocket). */
#define LIMIT_TUNNEL_BYTES        65536u /* on their way through one, in each direction */
#define LIMIT_TUNNEL_READ_BYTES   (256 * 1024) /* of the kernel for a client, and so of one read: less, and a fast one is slow */
#define LIMIT_TUNNELS             10000 /* of a process; also a quarter of its descriptors, since each has two */
#define LIMIT_TUNNELS_SITE        1024 /* default of a site's `tunnels` */
#define LIMIT_TUNNEL_CLOSE_MS     5000 /* for the two ends to answer a Close frame */

/* Upstream. */
#define LIMIT_RESPONSE_HEAD_BYTES 65536u
#define LIMIT_RESPONSE_FIELDS     256
#define LIMIT_CONNECT_ORIGIN_MS   3000
#define LIMIT_CONNECT_SHIELD_MS   1000
#define LIMIT_CONNECTING          64 /* of a node, to one server, at once: a handshake is work for both ends */
#define LIMIT_FIRST_BYTE_MS       30000 /* 35 s from an edge to a shield */
#define LIMIT_BODY_IDLE_MS        30000
#define LIMIT_UPSTREAM_LIFE_MS    300000
#define LIMIT_UPSTREAM_IDLE_MS    30000
#define LIMIT_RETRY_PERCENT       10 /* of a target's requests in 10 s */
#define LIMIT_CONNECTIONS         64 /* default of origin.connections */
#define LIMIT_QUEUE               64 /* default of origin.queue */
#define LIMIT_HEALTH_MS           1000 /* between two probes; default of origin.health.every */
#define LIMIT_PROBE_ORIGIN_MS     2000 /* for a probe's connection, and for its head; of a shield LIMIT_HEALTH_MS */
#define LIMIT_HEALTH_DOWN         3 /* probes in a row that failed */
#define LIMIT_HEALTH_UP           2 /* that succeeded */
#define LIMIT_SLOW_START_MS       30000
#define LIMIT_BREAKER_FAILURES    10 /* in a row: the origin is left alone */
#define LIMIT_BREAKER_WINDOW_MS   10000 /* a longer time between two begins anew */
#define LIMIT_BREAKER_OPEN_MS     5000 /* then one request tries */
#define LIMIT_SERVERS             16 /* of an origin */
#define LIMIT_HOPS                64 /* of one request: shields of all groups, and the origin */

/* Towards a shield, which itself waits LIMIT_FIRST_BYTE_MS for the origin. */
#define LIMIT_SHIELD_FIRST_BYTE_MS 35000
#define LIMIT_SHIELD_MARGIN_MS     5000 /* what a site gives its origin is given to the shield, and this */
#define LIMIT_SHIELD_CONNECTIONS  1024 /* default of upstream.connections: an event stream holds one for hours */
#define LIMIT_SHIELD_QUEUE        1024 /* who waits for one of them, for the time of a first byte at most */
#define LIMIT_DIRECT_PART         4 /* going direct, an edge takes this part of origin.connections */

/* Caching. */
#define LIMIT_TAGS                1024
#define LIMIT_TAGS_BYTES          32768u
#define LIMIT_TAG_BYTES           256u
#define LIMIT_HIT_FOR_MISS_SLOTS  65536u /* a worker */
#define LIMIT_HIT_FOR_MISS_MS     10000
#define LIMIT_RANGE_WHOLE_BYTES   (8ull * MIB) /* with range: whole: more is not fetched for a range */
#define LIMIT_STALE_IF_ERROR_S    86400 /* connection failures, time-outs; default of stale_if_error */
#define LIMIT_HEURISTIC_S         86400
#define LIMIT_AHEAD_HITS          8    /* since it was stored: then it is worth being validated before it is stale */
#define LIMIT_AHEAD_PART          10   /* in the last tenth of what was left to it when it came */
#define LIMIT_JITTER_FROM_S       60   /* longer lifetimes are shortened, by up to */
#define LIMIT_JITTER_PERMILLE     50
#define LIMIT_CLIENTS_304_S       60   /* so long after a 304 for one client's copy the origin is asked for the whole */
#define LIMIT_CLIENT_RELOAD_MS    1000 /* one validation per object and second */

/* Purges. */
#define LIMIT_JOURNAL_RECORDS     1000000
#define LIMIT_PURGE_SCOPES        1000000 /* then everything is purged, and the table starts anew */
#define LIMIT_FENCE_WAIT_MS       200 /* of a shield that has not heard yet of what an edge knows */
#define LIMIT_LAG_WAIT_MS         1000 /* of a request at a node that has just begun, and is catching up */
#define LIMIT_JOURNAL_GRACE_MS    60000 /* default of journal.grace */
#define LIMIT_JOURNAL_HEARTBEAT_MS 1000
#define LIMIT_CTL_MAP_BYTES       (1ull * GIB)

/* Releases. */
#define LIMIT_FILES_BYTES         (10ull * GIB) /* default of store.files */
#define LIMIT_FILES_HASHED_S      (365 * 86400) /* default of files_lifetime.hashed */
#define LIMIT_FILES_USE_PERCENT   90 /* of the map, for contents: switching must go on when it is full */
#define LIMIT_RELEASE_FILES       100000u /* its manifest is held in memory */
#define LIMIT_RELEASE_FILE_BYTES  GIB
#define LIMIT_RELEASE_PATH_BYTES  1024u
#define LIMIT_MANIFEST_BYTES      (16ull * MIB)
#define LIMIT_RELEASES            1000 /* of a site */
#define LIMIT_LOOSE_MS            86400000 /* contents that no release has come to use are removed after that */

/* Geo. */
#define LIMIT_GEO_FILE_BYTES      (1 << 30) /* each is held in memory; the largest free one has 71 MB */
#define LIMIT_GEO_REDIRECT_BYTES  MIB /* default of geo_redirect.min_size: less is gone before a handshake */

#endif
