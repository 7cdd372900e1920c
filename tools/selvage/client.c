#include "client.h"

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "text.h"

enum { POLL_MS = 1000, NODE_ERROR_BYTES = 800, FIELD_BYTES = 64 };

struct call {
    CURL *easy; /* owned */
    struct client_answer *answer;
    int64_t started_ms;
    bool is_retry, is_done, is_too_long;
    char curl_error[CURL_ERROR_SIZE];
};

struct round {
    const struct cli *cli;
    const struct client_request *request;
    CURLM *multi;              /* owned */
    struct curl_slist *fields; /* owned */
    struct call *calls;        /* owned, one per node */
};

static size_t on_body(char *p, size_t size, size_t n, void *user)
{
    struct call *call = user;

    buf_add(&call->answer->body, (struct slice){p, size * n});
    call->is_too_long = call->answer->body.failed;
    return call->is_too_long ? 0 : size * n;
}

static bool add_field(struct round *r, const char *name, const char *value)
{
    size_t bytes = strlen(name) + strlen(value) + sizeof(": ");
    char *line = malloc(bytes);
    struct curl_slist *more;

    if (line == NULL)
        return false;
    snprintf(line, bytes, "%s: %s", name, value);
    more = curl_slist_append(r->fields, line);
    free(line);
    if (more == NULL)
        return false;
    r->fields = more;
    return true;
}

static bool make_fields(struct round *r)
{
    char bearer[CLI_TOKEN_BYTES_MAX + FIELD_BYTES];

    if (r->cli->token != NULL) {
        snprintf(bearer, sizeof(bearer), "Bearer %s", r->cli->token);
        if (!add_field(r, "Authorization", bearer))
            return false;
    }
    if (r->request->data.p != NULL)
        return add_field(r, "Content-Type", r->request->data_type) && add_field(r, "Expect", "");
    return r->request->body == NULL || add_field(r, "Content-Type", "application/json");
}

static bool set_up(struct round *r, struct call *call)
{
    const struct cli *cli = r->cli;
    CURL *c = call->easy;
    struct buf url;
    bool ok;

    buf_init(&url, CLIENT_ANSWER_BYTES_MAX);
    buf_addf(&url, "%s%s", call->answer->node, r->request->path);
    buf_add_char(&url, '\0');
    ok = !url.failed && curl_easy_setopt(c, CURLOPT_URL, url.p) == CURLE_OK; /* copies it */
    buf_release(&url);
    ok = ok && curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
         curl_easy_setopt(c, CURLOPT_NOPROXY, "*") == CURLE_OK &&
         curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
         curl_easy_setopt(c, CURLOPT_USERAGENT, "selvage/" SELVAGE_VERSION) == CURLE_OK &&
         curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
         curl_easy_setopt(c, CURLOPT_HTTPHEADER, r->fields) == CURLE_OK &&
         curl_easy_setopt(c, CURLOPT_ERRORBUFFER, call->curl_error) == CURLE_OK &&
         curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, cli->timeout_ms) == CURLE_OK &&
         curl_easy_setopt(c, CURLOPT_PRIVATE, call) == CURLE_OK &&
         curl_easy_setopt(c, CURLOPT_WRITEDATA, call) == CURLE_OK &&
         curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
    if (cli->ca != NULL)
        ok = ok && curl_easy_setopt(c, CURLOPT_CAINFO, cli->ca) == CURLE_OK;
    if (r->request->data.p != NULL)
        ok = ok &&
             curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->request->data.n) ==
                 CURLE_OK &&
             curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->request->data.p) == CURLE_OK;
    else if (r->request->body != NULL)
        ok = ok && curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->request->body) == CURLE_OK;
    return ok;
}

/* Half-built rounds too. */
static void round_release(struct round *r)
{
    for (size_t i = 0; r->calls != NULL && i < r->cli->nodes_count; i++)
        if (r->calls[i].easy != NULL) {
            curl_multi_remove_handle(r->multi,
                                     r->calls[i].easy); /* one that is not in it is no error */
            curl_easy_cleanup(r->calls[i].easy);
        }
    free(r->calls);
    curl_multi_cleanup(r->multi);
    curl_slist_free_all(r->fields);
}

static enum err round_start(struct round *r, struct client_answer *answers)
{
    r->multi = curl_multi_init();
    r->calls = calloc(r->cli->nodes_count, sizeof(*r->calls));
    if (r->multi == NULL || r->calls == NULL || !make_fields(r))
        return ERR_NOMEM;
    for (size_t i = 0; i < r->cli->nodes_count; i++) {
        struct call *call = &r->calls[i];

        call->answer = &answers[i];
        call->started_ms = clock_mono_ms();
        call->easy = curl_easy_init();
        if (call->easy == NULL || !set_up(r, call) ||
            curl_multi_add_handle(r->multi, call->easy) != CURLM_OK)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

/* Did the connection end before the whole answer had come?  Then nobody knows whether the node
 * acted. */
static bool is_cut(CURLcode code)
{
    return code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
           code == CURLE_PARTIAL_FILE;
}

static bool start_retry(struct round *r, struct call *call)
{
    int64_t left_ms = r->cli->timeout_ms - (clock_mono_ms() - call->started_ms);

    if (call->is_retry || left_ms <= 0)
        return false;
    call->is_retry = true;
    buf_release(&call->answer->body);
    buf_init(&call->answer->body, r->request->answer_bytes_max);
    return curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, (long)left_ms) == CURLE_OK &&
           curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
           curl_multi_add_handle(r->multi, call->easy) == CURLM_OK;
}

/* "text" as the node's `error`, or nothing when the body is not such a JSON object. */
static void node_sentence(const struct buf *body, char *out, size_t out_bytes)
{
    json_t *root = json_loadb(body->p == NULL ? "" : body->p, body->n, 0, NULL);
    const char *text = json_string_value(json_object_get(root, "error"));
    struct buf safe;

    out[0] = '\0';
    buf_init(&safe, TEXT_SAFE_BYTES(CLIENT_ANSWER_BYTES_MAX));
    if (text != NULL)
        text_add_safe(&safe, slice_of(text), TEXT_ONE_LINE);
    if (!safe.failed && safe.n > 0)
        snprintf(out, out_bytes, "%.*s", (int)safe.n, safe.p);
    buf_release(&safe);
    json_decref(root);
}

static void say_unauthorised(const struct cli *cli, struct client_answer *a)
{
    if (cli->token == NULL)
        snprintf(a->error, sizeof(a->error),
                 "the node wants a token and none was given; put one into --token-file FILE, "
                 "SELVAGE_TOKEN or `token:` of the configuration file");
    else
        snprintf(a->error, sizeof(a->error),
                 "the node refused the token from %.200s; it must be one of those in its tokens "
                 "file",
                 cli->token_source);
}

static void say_status(const struct cli *cli, struct client_answer *a, long status)
{
    char sentence[NODE_ERROR_BYTES];

    node_sentence(&a->body, sentence, sizeof(sentence));
    if (status == 401)
        say_unauthorised(cli, a);
    else if (status == 404 && sentence[0] == '\0')
        snprintf(a->error, sizeof(a->error),
                 "HTTP 404; is this the admin address of selvage-edge, and of this version?");
    else if (sentence[0] == '\0')
        snprintf(a->error, sizeof(a->error), "HTTP %ld without an explanation", status);
    else
        snprintf(a->error, sizeof(a->error), "%s (HTTP %ld)", sentence, status);
}

static void say_curl(const struct round *r, struct call *call, CURLcode code)
{
    struct client_answer *a = call->answer;
    size_t bytes = sizeof(a->error);
    long os = 0;

    curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &os);
    if (call->is_too_long)
        snprintf(a->error, bytes, "the answer is longer than %zu MiB; ask for less",
                 r->request->answer_bytes_max >> 20);
    else if (code == CURLE_COULDNT_CONNECT && os == ECONNREFUSED)
        snprintf(a->error, bytes, "connection refused; is selvage-edge running there?");
    else if (code == CURLE_COULDNT_CONNECT)
        snprintf(a->error, bytes, "cannot connect: %s; is the address right?",
                 os == 0 ? call->curl_error : strerror((int)os));
    else if (code == CURLE_COULDNT_RESOLVE_HOST)
        snprintf(a->error, bytes, "its name is not known; is the address right?");
    else if (code == CURLE_OPERATION_TIMEDOUT)
        snprintf(a->error, bytes, "no answer within %ld s; --timeout waits longer",
                 r->cli->timeout_ms / 1000);
    else if (is_cut(code))
        snprintf(a->error, bytes, "the connection ended without an answer%s; see the node's log",
                 call->is_retry ? ", twice" : "");
    else if (code == CURLE_PEER_FAILED_VERIFICATION)
        snprintf(a->error, bytes,
                 "its certificate is not trusted (%s); name the CA with `ca:` in the "
                 "configuration file",
                 call->curl_error);
    else
        snprintf(a->error, bytes, "%s",
                 call->curl_error[0] == '\0' ? curl_easy_strerror(code) : call->curl_error);
}

static void finish(struct round *r, struct call *call, CURLcode code)
{
    struct client_answer *a = call->answer;
    long status = 0;

    call->is_done = true;
    a->ms = clock_mono_ms() - call->started_ms;
    if (code != CURLE_OK) {
        say_curl(r, call, code);
        return;
    }
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    a->status = status;
    a->ok = status == 200;
    if (!a->ok)
        say_status(r->cli, a, status);
}

static void take_results(struct round *r)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(r->multi, &left)) != NULL) {
        CURL *easy = m->easy_handle;
        CURLcode code = m->data.result; /* `m` does not outlive the removal */
        char *user = NULL;
        struct call *call;

        CHECK(m->msg == CURLMSG_DONE);
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &user);
        call = (struct call *)(void *)user;
        curl_multi_remove_handle(r->multi, easy);
        if (!is_cut(code) || call->is_too_long || !start_retry(r, call))
            finish(r, call, code);
    }
}

static bool all_done(const struct round *r)
{
    for (size_t i = 0; i < r->cli->nodes_count; i++)
        if (!r->calls[i].is_done)
            return false;
    return true;
}

static void run(struct round *r)
{
    int running;

    while (!all_done(r)) {
        CURLMcode m = curl_multi_perform(r->multi, &running);

        take_results(r);
        if (m == CURLM_OK && !all_done(r))
            m = curl_multi_poll(r->multi, NULL, 0, POLL_MS, NULL);
        if (m == CURLM_OK)
            continue;
        for (size_t i = 0; i < r->cli->nodes_count; i++)
            if (!r->calls[i].is_done) {
                snprintf(r->calls[i].curl_error, CURL_ERROR_SIZE, "%s", curl_multi_strerror(m));
                finish(r, &r->calls[i], CURLE_FAILED_INIT);
            }
    }
}

enum err client_ask(const struct cli *cli, const struct client_request *request,
                    struct client_answer **out_answers)
{
    struct round r = {.cli = cli, .request = request};
    struct client_answer *answers;
    enum err e;

    CHECK(cli->nodes_count > 0);
    answers = calloc(cli->nodes_count, sizeof(*answers));
    if (answers == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < cli->nodes_count; i++) {
        answers[i].node = cli->nodes[i];
        buf_init(&answers[i].body, request->answer_bytes_max);
    }
    e = round_start(&r, answers);
    if (e == ERR_OK)
        run(&r);
    round_release(&r);
    if (e != ERR_OK) {
        client_free(cli, answers);
        return e;
    }
    *out_answers = answers;
    return ERR_OK;
}

void client_free(const struct cli *cli, struct client_answer *answers)
{
    if (answers == NULL)
        return;
    for (size_t i = 0; i < cli->nodes_count; i++)
        buf_release(&answers[i].body);
    free(answers);
}

void client_add_query(struct buf *b, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            c == '-' || c == '.' || c == '_' || c == '~')
            buf_add_char(b, s.p[i]);
        else
            buf_addf(b, "%%%02X", c);
    }
}
