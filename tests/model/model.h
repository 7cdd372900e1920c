/*
 * model: what a shared cache must do, slowly and to the letter.
 *
 * Written from the text of RFC 9111, 9110, 5861, 9213 and 8246, section by section, each rule under
 * the sentence that it follows, and from the choices of this project where those leave one.  It
 * includes nothing of the engine and is compiled without its folders, so that the two can only
 * agree because both are right.  It keeps messages as text and works out everything anew each time
 * it is asked.
 *
 * Names of fields may have any case.  Times are milliseconds since the epoch; durations are named
 * _s or _ms.
 */
#ifndef TESTS_MODEL_H
#define TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>

enum { MODEL_FIELDS_MAX = 48 };

struct model_field {
    const char *name, *value; /* without surrounding whitespace */
};

struct model_message {
    const char *method; /* of a request */
    int status;         /* of a response */
    struct model_field field[MODEL_FIELDS_MAX];
    size_t count;
};

#define MODEL_UNSET (-1LL)

enum model_reload { MODEL_RELOAD_LIMIT, MODEL_RELOAD_HONOUR, MODEL_RELOAD_IGNORE };

/* What the operator says of a site, and in the rule that fits. */
struct model_rules {
    bool set_cookie_rfc;
    enum model_reload client_reload;
    long long ttl_s, default_ttl_s, swr_s, sie_s; /* MODEL_UNSET */
    long long negative_404_s, negative_5xx_s;     /* MODEL_UNSET */
    bool cache_off;
    const char *targeted[2]; /* names of targeted fields, first the one that stands above */
    unsigned jitter_permille;
};

/* A response that is stored, with the request that brought it. */
struct model_stored {
    bool present;
    struct model_message request, response;
    long long request_ms, response_ms; /* sent; its head received */
    struct model_rules rules;          /* in force when it came */
};

/* ---- pieces that are of interest alone ---- */

bool model_date(const char *text, long long now_s, long long *out_s);
bool model_vary_matches(const struct model_stored *s, const struct model_message *request);

enum model_condition { MODEL_NO_CONDITION, MODEL_NOT_MODIFIED, MODEL_MODIFIED };
enum model_condition model_evaluate(const struct model_stored *s,
                                    const struct model_message *request, long long now_s);

long long model_age_ms(const struct model_stored *s, long long now_ms);
long long model_lifetime_s(const struct model_stored *s);

/* ---- a request comes ---- */

enum model_use {
    MODEL_PASS,           /* through, without a look at what is stored */
    MODEL_ANSWER,         /* from what is stored */
    MODEL_ANSWER_REFRESH, /* the same, stale; and validate in the background */
    MODEL_VALIDATE,       /* ask about what is stored, conditionally */
    MODEL_FETCH,          /* ask */
    MODEL_RANGE_PASS,     /* ask for a part of what is not stored */
    MODEL_REFUSE,         /* 504 */
};

/* `s` may be absent, or not match: the model looks itself. */
enum model_use model_use(const struct model_rules *rules, const struct model_stored *s,
                         const struct model_message *request, bool may_serve_swr, unsigned hits,
                         long long now_ms);

/* ---- a response comes, or none ---- */

enum model_failure { MODEL_CAME, MODEL_UNREACHABLE, MODEL_TIMED_OUT, MODEL_OVERLOADED, MODEL_GARBAGE };

enum model_outcome {
    MODEL_STORE,   /* relay and store */
    MODEL_FRESHEN, /* update what is stored, and answer from it */
    MODEL_RELAY,   /* relay and forget */
    MODEL_STALE,   /* answer with what is stored, though stale */
    MODEL_REPEAT,  /* ask again without conditions */
    MODEL_FAIL,    /* fail_status */
};

struct model_case {
    const struct model_rules *rules;
    const struct model_message *request, *response; /* no response after a failure */
    const struct model_stored *stored;              /* that was looked at for this request */
    enum model_use use;                             /* what was done about the request */
    enum model_failure failure;
    bool alone;           /* nobody else waits for it */
    long long body_bytes; /* of what is stored */
    long long request_ms, response_ms;
};

struct model_verdict {
    enum model_outcome outcome;
    int fail_status;
    bool may_share;    /* with others that waited */
    bool drops_stored; /* what is stored is a thing of the past */
};

struct model_verdict model_judge(const struct model_case *c);

/* The stored response as a 304 changes it (RFC 9111 sections 3.2 and 4.3.4); texts are borrowed
 * from both. */
void model_freshen(const struct model_stored *old, const struct model_message *update,
                   bool takes_cookies, struct model_message *out);

#endif
