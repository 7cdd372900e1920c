#include "cache/failure.h"

#include "base/check.h"

static const struct failure_words words[] = {
    [RESPONSE_CAME] = {"unusable", "origin-unusable", "The origin's answer cannot be used.\n", 502},
    [RESPONSE_UNREACHABLE] = {"connect-refused", "origin-refused",
                              "The origin refuses connections.\n", 503},
    [RESPONSE_CONNECT_TIMED_OUT] = {"connect-timeout", "origin-connect-timeout",
                                    "No connection to the origin could be had in time.\n", 504},
    [RESPONSE_UNRESOLVED] = {"resolve-failed", "origin-unresolved",
                             "The origin's name has no address.\n", 503},
    [RESPONSE_TLS] = {"tls-failed", "origin-tls",
                      "No trusted connection to the origin could be had.\n", 502},
    [RESPONSE_CLOSED] = {"closed", "origin-closed",
                         "The origin ended the connection without an answer.\n", 503},
    [RESPONSE_GARBAGE] = {"garbage", "origin-garbage", "The origin's answer is no HTTP.\n", 502},
    [RESPONSE_BROKEN] = {"truncated", "origin-truncated", "The origin's answer broke off.\n", 502},
    [RESPONSE_TIMED_OUT] = {"timeout", "origin-timeout", "The origin did not answer in time.\n",
                            504},
    [RESPONSE_OVERLOADED] = {"overloaded", "origin-overloaded",
                             "Too many requests for this origin now.\n", 503},
    [RESPONSE_DOWN] = {"down", "origin-down", "The origin is down, as its probes say.\n", 503},
    /* nobody is told: the range is asked for alone */
    [RESPONSE_TOO_MUCH] = {"too-much", "origin-too-much",
                           "The object is too large to be fetched for a range.\n", 502},
    [RESPONSE_BREAKER] =
        {"breaker-open", "breaker-open",
         "This origin has failed every time of late; it is left alone for some seconds.\n", 503},
};

const struct failure_words *failure_words(enum response_failure f)
{
    CHECK((unsigned)f < RESPONSE_FAILURES);
    return &words[f];
}

enum response_failure failure_of_mark(struct slice mark)
{
    for (unsigned i = RESPONSE_CAME + 1; i < RESPONSE_FAILURES; i++)
        if (slice_eq(mark, slice_of(words[i].mark)))
            return (enum response_failure)i;
    return RESPONSE_BROKEN;
}
