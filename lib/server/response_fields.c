/* From an answer of the cache to the head that libh2o sends. */
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "http/cache_status.h"
#include "http/date.h"
#include "server/kin.h"
#include "server/region.h"
#include "server/request.h"

enum { DIFFERS_BYTES_MAX = 128 };

/* Text of `n` bytes that lives as long as the request. */
static struct slice pool_dup(h2o_req_t *req, const char *p, size_t n)
{
    char *copy = h2o_mem_alloc_pool(&req->pool, n);

    memcpy(copy, p, n);
    return (struct slice){copy, n};
}

const char *response_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } known[] = {
        {200, "OK"},
        {101, "Switching Protocols"},
        {102, "Processing"},
        {103, "Early Hints"},
        {304, "Not Modified"},
        {206, "Partial Content"},
        {404, "Not Found"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {300, "Multiple Choices"},
        {303, "See Other"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {407, "Proxy Authentication Required"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {425, "Too Early"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {508, "Loop Detected"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].status == status)
            return known[i].reason;
    return status < 400 ? "OK" : "Error";
}

void response_field_add(h2o_req_t *req, struct slice name, struct slice value)
{
    h2o_add_header_by_str(&req->pool, &req->res.headers, name.p, name.n, 1, NULL, value.p, value.n);
}

/* libh2o writes these itself, or they are made anew here. */
static bool is_made_anew(const struct server_request *r, struct slice name)
{
    switch (name.n) {
    case 3:
        return slice_eq(name, SLICE("age"));
    case 4:
        return slice_eq(name, SLICE("date"));
    case 9:
        return server_role(r->worker->server)->strips_tags && slice_eq(name, SLICE("cache-tag"));
    case 10:
        return slice_eq(name, SLICE("connection")) || slice_eq(name, SLICE("keep-alive"));
    case 12:
        return slice_eq(name, SLICE("x-request-id"));
    case 13:
        return server_role(r->worker->server)->strips_tags &&
               slice_eq(name, SLICE("surrogate-key"));
    case 14:
        return slice_eq(name, SLICE("content-length"));
    case 17:
        return slice_eq(name, SLICE("transfer-encoding"));
    case 25:
        return r->conn->kind == CONN_TLS && r->site->hsts_s > 0 &&
               slice_eq(name, SLICE("strict-transport-security"));
    default:
        return false;
    }
}

/*
 * libh2o writes values as they are, so a line break in one would be a field of
 * its author's making. The upstream's parser lets none through; this is the
 * last place to look, and cheap.
 */
static bool is_sound(struct slice value)
{
    if (!slice_has_below(value, '\r' + 1))
        return true; /* as nearly always */
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];

        if (c <= '\r' && (c == '\r' || c == '\n' || c == '\0'))
            return false;
    }
    return true;
}

/* A number behind `prefix`, without the cost of a format. */
static struct slice pool_number(h2o_req_t *req, struct slice prefix, uint64_t v)
{
    enum { DIGITS_MAX = 20 };
    char digits[DIGITS_MAX];
    size_t at = DIGITS_MAX, n;
    char *p;

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    n = DIGITS_MAX - at;
    p = h2o_mem_alloc_pool(&req->pool, prefix.n + n);
    memcpy(p, prefix.p, prefix.n);
    memcpy(p + prefix.n, digits + at, n);
    return (struct slice){p, prefix.n + n};
}

static void add_hsts(struct server_request *r)
{
    if (r->conn->kind != CONN_TLS || r->site == NULL || r->site->hsts_s == 0)
        return;
    response_field_add(r->req, SLICE("strict-transport-security"),
                       pool_number(r->req, SLICE("max-age="), r->site->hsts_s));
}

void response_fields_local(struct server_request *r)
{
    add_hsts(r);
    response_field_add(r->req, SLICE("x-request-id"), (struct slice){r->id, sizeof(r->id)});
}

void response_fields_switch(struct server_request *r, const struct http_fields *fields)
{
    h2o_req_t *req = r->req;
    struct http_fields own = {0};

    for (size_t i = 0; i < fields->count; i++) {
        const struct http_field *f = &fields->item[i];

        if (!is_made_anew(r, f->name) && is_sound(f->value) &&
            !slice_starts_with(f->name, SLICE("selvage-")) &&
            http_fields_add(&own, &r->arena, LIMIT_RESPONSE_FIELDS, f->name, f->value) != ERR_OK)
            break; /* what has no room has none in the client's head either */
    }
    http_fields_remove_hop_by_hop(&own);
    req->res.status = 101;
    req->res.reason = response_reason(101);
    req->res.content_length = SIZE_MAX;
    req->res.headers.size = 0;
    response_field_add(req, SLICE("upgrade"), SLICE("websocket")); /* libh2o says Connection */
    for (size_t i = 0; i < own.count; i++)
        response_field_add(req, own.item[i].name, own.item[i].value);
    response_field_add(req, SLICE("via"), r->worker->request->via);
    response_field_add(req, SLICE("x-request-id"), (struct slice){r->id, sizeof(r->id)});
}

/* Content-Length; SIZE_MAX: none. */
static size_t length_of(const struct server_request *r, const struct cache_answer *a)
{
    if (a->status == 204 || a->status == 304)
        return SIZE_MAX;
    if (a->body_bytes != CACHE_BYTES_UNKNOWN)
        return (size_t)a->body_bytes;
    return a->has_body || r->is_head ? SIZE_MAX : 0;
}

/* To a peer: in what it differs from this node, which Via names after its version. */
static void add_differs(struct server_request *r)
{
    struct slice via = r->worker->request->via;
    struct buf text;

    buf_init(&text, DIFFERS_BYTES_MAX);
    kin_print(r->differs, slice_from(via, slice_index(via, ' ') + 1), &text);
    if (!text.failed)
        response_field_add(r->req, SLICE("selvage-differs"), pool_dup(r->req, text.p, text.n));
    buf_release(&text);
}

/* A line of the text is a line of the field. */
static void add_explanation(struct server_request *r)
{
    struct slice rest = r->explanation;

    while (rest.n > 0) {
        size_t end = slice_index(rest, '\n');
        struct slice line = slice_trim(slice_head(rest, end)); /* no value begins with spaces */

        if (line.n > 0 && is_sound(line))
            response_field_add(r->req, SLICE("selvage-explain"), line);
        rest = slice_from(rest, end + 1);
    }
}

void response_fields_set(struct server_request *r, const struct cache_answer *a)
{
    h2o_req_t *req = r->req;
    char status[CACHE_STATUS_BYTES];

    CHECK(a->status >= 200 && a->status <= 999);
    req->res.status = a->status;
    req->res.reason = response_reason(a->status);
    req->res.content_length = length_of(r, a);
    for (size_t i = 0; i < a->fields->count; i++) {
        const struct http_field *f = &a->fields->item[i];

        if (!is_made_anew(r, f->name) && is_sound(f->value))
            response_field_add(req, f->name, f->value);
    }
    if (a->age_s >= 0)
        response_field_add(req, SLICE("age"), pool_number(req, SLICE(""), (uint64_t)a->age_s));
    response_field_add(req, SLICE("via"), r->worker->request->via);
    if (a->has_status)
        response_field_add(req, SLICE("cache-status"),
                           pool_dup(req, status, cache_status_format(&a->cache_status, status)));
    if (a->peer_error != NULL && !server_role(r->worker->server)->faces_public)
        response_field_add(req, SLICE("selvage-error"), slice_of(a->peer_error));
    if (r->differs != 0)
        add_differs(r);
    if (a->checked.p != NULL && r->is_peer)
        response_field_add(req, SLICE("selvage-checked"),
                           pool_dup(req, a->checked.p, a->checked.n));
    region_answer_fields(r, a);
    add_explanation(r);
    response_fields_local(r);
}
