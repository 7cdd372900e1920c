/* See model.h.  No speed, no sharing, no cleverness: each function is a paragraph of an RFC. */
#include "model.h"

#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { TEXT_MAX = 2048, DIRECTIVES_MAX = 64, MEMBERS_MAX = 64 };

static const long long second_ms = 1000;

/*
 * RFC 9111 section 1.2.2: "If a cache receives a delta-seconds value greater than the greatest
 * integer it can represent, or if any of its subsequent calculations overflows, the cache MUST
 * consider the value to be 2147483648 (2^31) or the greatest positive integer it can conveniently
 * represent."
 */
static const long long most_s = 2147483648LL;

static long long at_most(long long v, long long most)
{
    return v > most ? most : v;
}

/* ---- messages ---- */

static bool same_name(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0; /* RFC 9110 section 5.1: "Field names are case-insensitive" */
}

/* The value of the n-th line of that name; NULL when there are not so many. */
static const char *line_of(const struct model_message *m, const char *name, size_t n)
{
    for (size_t i = 0; i < m->count; i++)
        if (same_name(m->field[i].name, name) && n-- == 0)
            return m->field[i].value;
    return NULL;
}

static bool has(const struct model_message *m, const char *name)
{
    return line_of(m, name, 0) != NULL;
}

/*
 * RFC 9110 section 5.3: "A recipient MAY combine multiple field lines within a field section that
 * have the same field name into one field line ... by appending each subsequent field line value to
 * the initial field line value in order, separated by a comma (",") and optional whitespace".
 */
static bool combined(const struct model_message *m, const char *name, char *out)
{
    const char *line;

    *out = '\0';
    for (size_t n = 0; (line = line_of(m, name, n)) != NULL; n++) {
        if (n > 0)
            strcat(out, ", ");
        strcat(out, line);
    }
    return has(m, name);
}

static bool is_ows(char c)
{
    return c == ' ' || c == '\t';
}

static void trim(char *s)
{
    size_t n = strlen(s), skip = strspn(s, " \t");

    while (n > skip && is_ows(s[n - 1]))
        s[--n] = '\0';
    memmove(s, s + skip, n - skip + 1);
}

/* RFC 9110 section 5.6.2: tchar. */
static bool is_token(const char *s)
{
    if (*s == '\0')
        return false;
    for (; *s != '\0'; s++)
        if (!isalnum((unsigned char)*s) && strchr("!#$%&'*+-.^_`|~", *s) == NULL)
            return false;
    return true;
}

/*
 * Take the next member off a list (RFC 9110 section 5.6.1): "a recipient MUST parse and ignore a
 * reasonable number of empty list elements"; commas in quoted strings (section 5.6.4) are none.
 * False at the end.  *open: a quote is not closed.
 */
static bool next_member(const char **rest, char *out, bool *open)
{
    for (;;) {
        bool quoted = false;
        size_t n = 0;

        if (**rest == '\0')
            return false;
        for (; **rest != '\0' && (quoted || **rest != ','); (*rest)++) {
            out[n++] = **rest;
            if (**rest == '"') {
                quoted = !quoted;
            } else if (**rest == '\\' && quoted && (*rest)[1] != '\0') {
                (*rest)++;
                out[n++] = **rest;
            }
        }
        out[n] = '\0';
        if (**rest == ',')
            (*rest)++;
        if (quoted)
            *open = true;
        trim(out);
        if (*out != '\0')
            return true;
    }
}

/* ---- dates: RFC 9110 section 5.6.7 ---- */

#define MONTHS "(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
#define DAYS   "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
#define TIME   "([0-9][0-9]):([0-9][0-9]):([0-9][0-9])"

/* "A recipient that parses a timestamp value in an HTTP field MUST accept all three HTTP-date
 * formats." */
static const char *const imf_fixdate =
    "^" DAYS ", ([0-9][0-9]) " MONTHS " ([0-9][0-9][0-9][0-9]) " TIME " GMT$";
static const char *const rfc850_date =
    "^(Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday), "
    "([0-9][0-9])-" MONTHS "-([0-9][0-9]) " TIME " GMT$";
static const char *const asctime_date =
    "^" DAYS " " MONTHS " ([0-9][0-9]| [0-9]) " TIME " ([0-9][0-9][0-9][0-9])$";

static bool fits(const char *pattern, const char *text, char part[][16])
{
    static struct {
        const char *pattern;
        regex_t made;
    } known[3];
    regmatch_t m[9];
    size_t i = 0;

    while (i < 3 && known[i].pattern != pattern && known[i].pattern != NULL)
        i++;
    if (known[i].pattern == NULL) {
        known[i].pattern = pattern;
        if (regcomp(&known[i].made, pattern, REG_EXTENDED | REG_ICASE) != 0)
            abort();
    }
    if (regexec(&known[i].made, text, 9, m, 0) != 0)
        return false;
    for (size_t k = 1; k < 9 && m[k].rm_so >= 0; k++)
        snprintf(part[k], 16, "%.*s", (int)(m[k].rm_eo - m[k].rm_so), text + m[k].rm_so);
    return true;
}

static int month_of(const char *name)
{
    static const char *const names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

    for (int i = 0; i < 12; i++)
        if (strcasecmp(name, names[i]) == 0)
            return i;
    abort();
}

static bool is_moment(int year, int month, int day, int hour, int minute, int second,
                      long long *out_s)
{
    struct tm t = {
        .tm_year = year - 1900, .tm_mon = month, .tm_mday = day, .tm_hour = hour, .tm_min = minute};
    struct tm check = t;
    time_t at = timegm(&check);

    /* timegm() makes the 2nd of March out of the 30th of February */
    if (day < 1 || check.tm_mday != day || check.tm_mon != month || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    *out_s = (long long)at + second;
    return true;
}

bool model_date(const char *text, long long now_s, long long *out_s)
{
    char p[9][16];

    if (fits(imf_fixdate, text, p))
        return is_moment(atoi(p[4]), month_of(p[3]), atoi(p[2]), atoi(p[5]), atoi(p[6]), atoi(p[7]),
                         out_s);
    if (fits(asctime_date, text, p))
        return is_moment(atoi(p[7]), month_of(p[2]), atoi(p[3]), atoi(p[4]), atoi(p[5]), atoi(p[6]),
                         out_s);
    if (!fits(rfc850_date, text, p))
        return false;
    /*
     * "Recipients of a timestamp value in rfc850-date format, which uses a two-digit year, MUST
     * interpret a timestamp that appears to be more than 50 years in the future as representing the
     * most recent year in the past that had the same last two digits."
     */
    for (int century = 99; century >= 0; century--) {
        time_t now = (time_t)now_s;
        struct tm limit;
        int year = century * 100 + atoi(p[4]);

        gmtime_r(&now, &limit);
        limit.tm_year += 50;
        if (is_moment(year, month_of(p[3]), atoi(p[2]), atoi(p[5]), atoi(p[6]), atoi(p[7]),
                      out_s) &&
            *out_s <= (long long)timegm(&limit))
            return true;
        if (year < limit.tm_year + 1900 - 100)
            return false; /* no such day in either century */
    }
    return false;
}

/* The first line of a field that is to have one (RFC 9110 section 5.6.7); false when it is none. */
static bool date_of(const struct model_message *m, const char *name, long long now_s,
                    long long *out_s)
{
    const char *line = line_of(m, name, 0);

    return line != NULL && model_date(line, now_s, out_s);
}

/* ---- directives: RFC 9111 section 5.2 ---- */

enum argument { NO_ARGUMENT, TOKEN, QUOTED, BROKEN };

struct directive {
    char name[TEXT_MAX];
    enum argument kind;
    char argument[TEXT_MAX];
};

struct policy {
    bool is_there, is_targeted, is_broken;
    struct directive directive[DIRECTIVES_MAX];
    size_t count;
};

static void clear(struct policy *p)
{
    p->is_there = p->is_targeted = p->is_broken =
        false; /* the directives are many bytes, and counted */
    p->count = 0;
}

/*
 * "cache-directive = token [ "=" ( token / quoted-string ) ]", and: "Cache directives are
 * identified by a token, to be compared case-insensitively, and have an optional argument that can
 * use both token and quoted-string syntax. For the directives defined below that define arguments,
 * recipients ought to accept both forms, even if a specific form is required for generation."
 */
static void read_directive(const char *member, struct directive *out)
{
    const char *equals = strchr(member, '=');
    size_t n = equals == NULL ? strlen(member) : (size_t)(equals - member);

    memcpy(out->name, member, n);
    out->name[n] = '\0';
    trim(out->name);
    for (char *p = out->name; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    *out->argument = '\0';
    if (equals == NULL) {
        out->kind = NO_ARGUMENT;
        return;
    }
    strcpy(out->argument, equals + 1);
    if (n > 0 && is_ows(member[n - 1]))
        out->kind = BROKEN; /* the grammar has no space there */
    else if (is_token(out->argument))
        out->kind = TOKEN;
    else if (*out->argument == '"' && strlen(out->argument) >= 2 &&
             strchr(out->argument + 1, '"') == out->argument + strlen(out->argument) - 1) {
        out->kind = QUOTED;
        out->argument[strlen(out->argument) - 1] = '\0';
        memmove(out->argument, out->argument + 1, strlen(out->argument));
    } else {
        out->kind = BROKEN;
    }
}

static void read_cache_control(const struct model_message *m, struct policy *out)
{
    const char *line;

    clear(out);
    for (size_t n = 0; (line = line_of(m, "Cache-Control", n)) != NULL && !out->is_broken; n++) {
        char member[TEXT_MAX];

        out->is_there = true;
        while (next_member(&line, member, &out->is_broken))
            if (!out->is_broken && out->count < DIRECTIVES_MAX)
                read_directive(member, &out->directive[out->count++]);
    }
}

static const struct directive *find(const struct policy *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->directive[i].name, name) == 0)
            return &p->directive[i];
    return NULL;
}

enum { ABSENT = -1, INVALID = -2 };

/*
 * Section 1.2.2: "delta-seconds = 1*DIGIT".  Section 4.2.1: "When there is more than one value
 * present for a given directive (e.g., two Expires header field lines or multiple Cache-Control:
 * max-age directives), either the first occurrence should be used or the response should be
 * considered stale" (here: the first), and "Caches are encouraged to consider responses that have
 * invalid freshness information (e.g., a max-age directive with a non-integer value) to be stale."
 */
static long long seconds(const struct policy *p, const char *name)
{
    const struct directive *d = find(p, name);
    long long v = 0;

    if (d == NULL)
        return ABSENT;
    if ((d->kind != TOKEN && d->kind != QUOTED) || *d->argument == '\0')
        return INVALID;
    for (const char *s = d->argument; *s != '\0'; s++) {
        if (*s < '0' || *s > '9')
            return INVALID;
        v = at_most(v * 10 + (*s - '0'), most_s);
    }
    return v;
}

/*
 * Section 5.2.2.4: "The qualified form of the no-cache response directive, with an argument that
 * lists one or more field names, indicates that a cache MUST NOT use the response to satisfy a
 * subsequent request, subject to the following restriction: ... those header fields ... excluded".
 * Section 5.2.2.7 has the same of private.  True for the unqualified form.  A list that cannot be
 * read, and two lists, are taken for it.
 */
static bool unqualified(const struct policy *p, const char *name)
{
    size_t lists = 0;

    for (size_t i = 0; i < p->count; i++) {
        const struct directive *d = &p->directive[i];

        if (strcmp(d->name, name) != 0)
            continue;
        if ((d->kind != TOKEN && d->kind != QUOTED) || *d->argument == '\0')
            return true;
        lists++;
    }
    return lists > 1;
}

/* ---- targeted fields: RFC 9213 ---- */

/* A strict reader of RFC 9651 dictionaries; what it finds becomes directives. */
struct sf {
    const char *at;
    bool bad;
};

static bool sf_eat(struct sf *s, char c)
{
    if (*s->at != c)
        return false;
    s->at++;
    return true;
}

/* Section 4.2.3.3: "key = ( lcalpha / "*" ) *( lcalpha / DIGIT / "_" / "-" / "." / "*" )". */
static void sf_key(struct sf *s, char *out)
{
    if (!islower((unsigned char)*s->at) && *s->at != '*')
        s->bad = true;
    while (!s->bad && *s->at != '\0' &&
           (islower((unsigned char)*s->at) || isdigit((unsigned char)*s->at) ||
            strchr("_-.*", *s->at) != NULL))
        *out++ = *s->at++;
    *out = '\0';
}

enum sf_type { SF_INTEGER, SF_DECIMAL, SF_STRING, SF_TOKEN, SF_TRUE, SF_FALSE, SF_OTHER };

/* Section 4.2.4. */
static enum sf_type sf_number(struct sf *s, char *out)
{
    size_t whole = 0, fraction = 0;

    if (*s->at == '-')
        *out++ = *s->at++;
    for (; isdigit((unsigned char)*s->at); whole++)
        *out++ = *s->at++;
    *out = '\0';
    if (*s->at != '.') {
        s->bad |= whole == 0 || whole > 15;
        return SF_INTEGER;
    }
    for (s->at++; isdigit((unsigned char)*s->at); fraction++)
        s->at++;
    s->bad |= whole == 0 || whole > 12 || fraction == 0 || fraction > 3;
    return SF_DECIMAL;
}

/* Section 4.2.5. */
static enum sf_type sf_string(struct sf *s, char *out)
{
    for (s->at++; *s->at != '"'; s->at++) {
        if (*s->at < 0x20 || *s->at > 0x7e) { /* the end as well */
            s->bad = true;
            return SF_STRING;
        }
        *out++ = *s->at;
        if (*s->at == '\\') {
            s->at++;
            if (*s->at != '"' && *s->at != '\\') {
                s->bad = true;
                return SF_STRING;
            }
            *out++ = *s->at;
        }
    }
    *out = '\0';
    s->at++;
    return SF_STRING;
}

/* Section 4.2.3.1, as far as the cases here go: no dates, byte sequences and display strings. */
static enum sf_type sf_item(struct sf *s, char *out)
{
    *out = '\0';
    if (*s->at == '-' || isdigit((unsigned char)*s->at))
        return sf_number(s, out);
    if (*s->at == '"')
        return sf_string(s, out);
    if (*s->at == '?' && (s->at[1] == '0' || s->at[1] == '1')) {
        s->at += 2;
        return s->at[-1] == '1' ? SF_TRUE : SF_FALSE;
    }
    if (!isalpha((unsigned char)*s->at) && *s->at != '*') {
        s->bad = true;
        return SF_OTHER;
    }
    while (*s->at != '\0' &&
           (isalnum((unsigned char)*s->at) || strchr("!#$%&'*+-.^_`|~:/", *s->at) != NULL))
        *out++ = *s->at++;
    *out = '\0';
    return SF_TOKEN;
}

static void sf_parameters(struct sf *s)
{
    char ignored[TEXT_MAX];

    while (!s->bad && sf_eat(s, ';')) {
        while (sf_eat(s, ' '))
            continue;
        sf_key(s, ignored);
        if (!s->bad && sf_eat(s, '='))
            sf_item(s, ignored);
    }
}

static enum sf_type sf_value(struct sf *s, char *out)
{
    char ignored[TEXT_MAX];

    if (!sf_eat(s, '('))
        return sf_item(s, out);
    *out = '\0';
    while (!s->bad) {
        while (sf_eat(s, ' '))
            continue;
        if (sf_eat(s, ')'))
            return SF_OTHER;
        sf_item(s, ignored);
        sf_parameters(s);
        if (*s->at != ' ' && *s->at != ')')
            s->bad = true;
    }
    return SF_OTHER;
}

/*
 * RFC 9213 section 2.1: "Unknown or incorrect parameters ... Implementations MUST NOT" coerce
 * types.  So a number of another type is invalid; a flag of another type counts where it restricts
 * and not where it allows.
 */
static void sf_directive(const char *key, enum sf_type type, const char *text,
                         struct directive *out)
{
    static const char *const numbers[] = {"max-age", "s-maxage", "stale-while-revalidate",
                                          "stale-if-error"};
    static const char *const loosen[] = {"public", "must-understand", "immutable"};
    bool is_list = strcmp(key, "no-cache") == 0 || strcmp(key, "private") == 0;

    strcpy(out->name, key);
    *out->argument = '\0';
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (strcmp(key, numbers[i]) == 0) {
            out->kind = type == SF_INTEGER && *text != '-'       ? TOKEN
                        : type == SF_INTEGER && atoll(text) == 0 ? TOKEN
                                                                 : BROKEN;
            strcpy(out->argument, *text == '-' ? "0" : text);
            return;
        }
    for (size_t i = 0; i < sizeof(loosen) / sizeof(*loosen); i++)
        if (strcmp(key, loosen[i]) == 0 && type != SF_TRUE)
            *out->name = '\0';
    if (is_list && (type == SF_STRING || type == SF_TOKEN) && *text != '\0') {
        out->kind = QUOTED;
        strcpy(out->argument, text);
        return;
    }
    out->kind = NO_ARGUMENT;
    if (type == SF_FALSE)
        *out->name = '\0'; /* it says that it is not there */
}

/*
 * RFC 9651 section 4.2: "When parsing a List or Dictionary Structured Field, ... field lines ...
 * are combined"; section 4.2.2: "If dictionary already contains a key this_key ..., overwrite its
 * value with member"; "If parsing fails, the entire field value MUST be ignored".
 */
static bool read_targeted(const struct model_message *m, const char *name, struct policy *out)
{
    char text[TEXT_MAX];
    struct sf s = {.at = text};

    clear(out);
    if (name == NULL || !combined(m, name, text))
        return false;
    while (sf_eat(&s, ' '))
        continue;
    if (*s.at == '\0')
        return false; /* RFC 9213 section 2.2: "if the targeted field is ... empty" it is ignored */
    for (;;) {
        char key[TEXT_MAX], value[TEXT_MAX] = "";
        enum sf_type type = SF_TRUE;
        size_t i = 0;

        sf_key(&s, key);
        if (!s.bad && sf_eat(&s, '='))
            type = sf_value(&s, value);
        sf_parameters(&s);
        if (s.bad)
            return false;
        while (i < out->count && strcmp(out->directive[i].name, key) != 0)
            i++;
        if (i == DIRECTIVES_MAX)
            return false;
        if (i == out->count)
            out->count++;
        sf_directive(key, type, value, &out->directive[i]);
        while (is_ows(*s.at))
            s.at++;
        if (*s.at == '\0')
            break;
        if (!sf_eat(&s, ','))
            return false;
        while (is_ows(*s.at))
            s.at++;
        if (*s.at == '\0')
            return false; /* section 4.2.2: "there is a trailing comma; fail parsing" */
    }
    out->is_there = out->is_targeted = true;
    return true;
}

/*
 * RFC 9213 section 2.2: "If a targeted field ... is present, valid and not empty, ... it determines
 * the caching policy for the response, ignoring the Cache-Control and Expires header fields".
 */
static void policy_of(const struct model_message *response, const struct model_rules *rules,
                      struct policy *out)
{
    /* section 2: "a target list ... is an ordered list of targeted field names"; "the first in the
     * target list" is used */
    if (!read_targeted(response, rules->targeted[0], out) &&
        !read_targeted(response, rules->targeted[1], out))
        read_cache_control(response, out);
}

/* ---- age: RFC 9111 sections 4.2.3 and 5.1 ---- */

/*
 * Section 5.1: "a cache encountering a message with a list-based Age field value SHOULD use the
 * first member of the field value, discarding subsequent members. If the field value (after
 * discarding additional members, as per above) is invalid (e.g., it contains something other than a
 * non-negative integer), a cache SHOULD ignore the field."
 */
static long long age_value_s(const struct model_message *response)
{
    const char *line = line_of(response, "Age", 0);
    char text[TEXT_MAX];
    long long v = 0;

    if (line == NULL)
        return 0;
    strcpy(text, line);
    text[strcspn(text, ",")] = '\0';
    trim(text);
    if (*text == '\0')
        return 0;
    for (const char *s = text; *s != '\0'; s++) {
        if (*s < '0' || *s > '9')
            return 0;
        v = at_most(v * 10 + (*s - '0'), most_s);
    }
    return v;
}

/*
 * Section 4.2.3: "response_delay = response_time - request_time; corrected_age_value = age_value +
 * response_delay;
 * ... resident_time = now - response_time; current_age = corrected_initial_age + resident_time". Of
 * the two estimates the corrected_age_value is used: Date and our clock may differ.
 */
long long model_age_ms(const struct model_stored *s, long long now_ms)
{
    long long delay_ms = s->response_ms - s->request_ms, resident_ms = now_ms - s->response_ms;
    long long initial_ms = at_most(
        age_value_s(&s->response) * second_ms + (delay_ms > 0 ? delay_ms : 0), most_s * second_ms);

    return initial_ms + (resident_ms > 0 ? resident_ms : 0);
}

/* ---- lifetime: RFC 9111 section 4.2.1 ---- */

/* RFC 9110 section 15.1: "Responses with status codes that are defined as heuristically cacheable
 * (e.g., 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, and 501 in this specification)";
 * 206 is not stored here. */
static bool is_heuristically_cacheable(int status)
{
    static const int codes[] = {200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501};

    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
        if (codes[i] == status)
            return true;
    return false;
}

/* Those whose caching this cache has thought about. */
static bool is_understood(int status)
{
    return is_heuristically_cacheable(status) || status == 302 || status == 303 || status == 307;
}

/*
 * The operator's words are never against the origin's on who may have it: not with Set-Cookie
 * without public, nor with Authorization.
 */
static bool operator_may_speak(const struct model_stored *s, const struct policy *p)
{
    return (!has(&s->response, "Set-Cookie") || find(p, "public") != NULL) &&
           !has(&s->request, "Authorization");
}

static bool is_explicit(const struct model_stored *s, const struct policy *p)
{
    return find(p, "s-maxage") != NULL || find(p, "max-age") != NULL ||
           (!p->is_targeted && has(&s->response, "Expires"));
}

static long long unshortened_s(const struct model_stored *s, const struct policy *p,
                               bool *by_operator)
{
    const struct model_rules *r = &s->rules;
    long long now_s = s->response_ms / second_ms, date_s = now_s, at_s, negative_s = MODEL_UNSET;
    int status = s->response.status;

    /*
     * RFC 9110 section 6.6.1: "A recipient with a clock that receives a response message without a
     * Date header field MUST record the time it was received".
     */
    date_of(&s->response, "Date", now_s, &date_s);
    *by_operator = true;
    if (r->ttl_s != MODEL_UNSET && operator_may_speak(s, p))
        return r->ttl_s;
    *by_operator = false;
    /* "If the cache is shared and the s-maxage response directive is present, use its value, or" */
    if (find(p, "s-maxage") != NULL)
        return seconds(p, "s-maxage") >= 0 ? seconds(p, "s-maxage") : 0;
    /* "If the max-age response directive is present, use its value, or" */
    if (find(p, "max-age") != NULL)
        return seconds(p, "max-age") >= 0 ? seconds(p, "max-age") : 0;
    /* "If the Expires response header field is present, use its value minus the value of the Date
     * response header field (using the time the message was received if it is not present), or" */
    if (!p->is_targeted && has(&s->response, "Expires")) {
        /* section 5.3: "A cache recipient MUST interpret invalid date formats, especially the value
         * "0", as representing a time in the past (i.e., "already expired")." */
        if (!date_of(&s->response, "Expires", now_s, &at_s) || at_s < date_s)
            return 0;
        return at_most(at_s - date_s, most_s);
    }
    *by_operator = true;
    if (status == 404)
        negative_s = r->negative_404_s;
    else if (status >= 500 && status <= 599)
        negative_s = r->negative_5xx_s;
    if (negative_s != MODEL_UNSET && operator_may_speak(s, p))
        return negative_s;
    if (r->default_ttl_s != MODEL_UNSET && operator_may_speak(s, p) &&
        is_heuristically_cacheable(status))
        return r->default_ttl_s;
    *by_operator = false;
    /*
     * "Otherwise, no explicit expiration time is present in the response. A heuristic freshness
     * lifetime might be applicable; see Section 4.2.2": "A cache MUST NOT use heuristics to
     * determine freshness when an explicit expiration time is present in the stored response.
     * Because of the requirements in Section 3, heuristics can only be used on responses without
     * explicit freshness whose status codes are defined as heuristically cacheable and on responses
     * without explicit freshness that have been marked as explicitly cacheable (e.g., with a public
     * response directive)."  "If the response has a Last-Modified header field, caches are
     * encouraged to use a heuristic expiration value that is no more than some fraction of the
     * interval since that time. A typical setting of this fraction might be 10%."  Here: at most a
     * day.
     */
    if (!is_heuristically_cacheable(status) && find(p, "public") == NULL)
        return 0;
    if (!date_of(&s->response, "Last-Modified", now_s, &at_s) || at_s > date_s)
        return 0;
    return at_most((date_s - at_s) / 10, 24 * 60 * 60);
}

/* "Lifetimes over 60 s are shortened by 0-5 %, keyed by URL and node": what is left of them when
 * they come, so that not all ends at once. */
static long long lifetime_s(const struct model_stored *s, const struct policy *p, bool *by_operator)
{
    long long v = unshortened_s(s, p, by_operator);
    long long left_s = v - model_age_ms(s, s->response_ms) / second_ms;

    return left_s > 60 ? v - left_s * s->rules.jitter_permille / 1000 : v;
}

long long model_lifetime_s(const struct model_stored *s)
{
    struct policy p;
    bool by_operator;

    policy_of(&s->response, &s->rules, &p);
    return lifetime_s(s, &p, &by_operator);
}

/* ---- stale: RFC 9111 section 4.2.4, RFC 5861 ---- */

/*
 * "A cache MUST NOT generate a stale response if it is prohibited by an explicit in-protocol
 * directive (e.g., by a no-cache response directive, a must-revalidate response directive, or an
 * applicable s-maxage or proxy-revalidate response directive; see Section 5.2.2)."  An origin that
 * sends stale windows beside s-maxage has asked for them by name.
 */
static bool forbids_stale(const struct policy *p)
{
    bool named = seconds(p, "stale-while-revalidate") > 0 || seconds(p, "stale-if-error") > 0;

    return find(p, "must-revalidate") != NULL || find(p, "proxy-revalidate") != NULL ||
           unqualified(p, "no-cache") || (find(p, "s-maxage") != NULL && !named);
}

/* RFC 5861 section 3: "indicates that caches MAY serve the response in which it appears after it
 * becomes stale, up to the indicated number of seconds."  The operator's rule stands in its place.
 */
static long long swr_window_s(const struct model_rules *rules, const struct policy *p)
{
    long long s = seconds(p, "stale-while-revalidate");

    if (forbids_stale(p))
        return 0;
    if (rules->swr_s != MODEL_UNSET)
        return rules->swr_s;
    return s > 0 ? s : 0;
}

/*
 * RFC 5861 section 4: "indicates that when an error is encountered, a cached stale response MAY be
 * used to satisfy the request, regardless of other freshness information", in requests and
 * responses, "the number of seconds that the cached response can be served after it becomes stale".
 * An origin that cannot be reached has not said no: a day.
 */
static long long sie_window_s(const struct model_rules *rules, const struct policy *p,
                              const struct policy *request, bool is_failure)
{
    long long s = seconds(p, "stale-if-error"), theirs = seconds(request, "stale-if-error");

    s = s > 0 ? s : 0;
    if (rules->sie_s != MODEL_UNSET)
        s = rules->sie_s;
    else if (is_failure && s < 24 * 60 * 60)
        s = 24 * 60 * 60;
    return theirs > s ? theirs : s;
}

/* Without a clock that can be trusted nobody knows an age. */
static bool is_clock_back(const struct model_stored *s, long long now_ms)
{
    return now_ms < s->response_ms - 5 * second_ms;
}

/* ---- Vary: RFC 9111 section 4.1 ---- */

static bool vary_has_star(const struct model_message *response)
{
    char all[TEXT_MAX], member[TEXT_MAX];
    const char *rest = all;
    bool ignored = false;

    combined(response, "Vary", all);
    while (next_member(&rest, member, &ignored)) {
        if (strcmp(member, "*") == 0 || !is_token(member))
            return true; /* what is no name cannot be compared */
        if (same_name(member, "X-Forwarded-For") || same_name(member, "X-Request-Id"))
            return true; /* the origin was told what this cache says, not what clients present */
    }
    return false;
}

/* "combining multiple header fields of the same name"; "normalizing both header field values in a
 * way that is known to have identical semantics, according to the header field's specification
 * (e.g., reordering field values when order is not significant; case-normalization, where values
 * are defined to be case-insensitive)": whitespace around a list's commas. */
static void normal(const char *in, char *out)
{
    size_t n = 0;
    bool quoted = false;

    for (; *in != '\0'; in++) {
        if (*in == ',' && !quoted) {
            while (n > 0 && is_ows(out[n - 1]))
                n--;
            out[n++] = ',';
            while (is_ows(in[1]))
                in++;
            continue;
        }
        out[n++] = *in;
        if (*in == '"')
            quoted = !quoted;
        else if (*in == '\\' && quoted && in[1] != '\0')
            out[n++] = *++in;
    }
    out[n] = '\0';
}

/* Languages are compared as a set: their case and their order among each other say nothing (RFC
 * 9110 section 12.5.4). */
static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void language_set(const char *value, char *out)
{
    char member[MEMBERS_MAX][128], text[TEXT_MAX];
    size_t count = 0;
    bool ignored = false;

    while (next_member(&value, text, &ignored) && count < MEMBERS_MAX) {
        char *q = strchr(text, ';'), *put = member[count];
        double weight = 1;

        if (q != NULL) {
            *q++ = '\0';
            while (*q != '\0' && *q != '=')
                q++;
            weight = *q == '=' ? atof(q + 1) : 1;
        }
        for (const char *p = text; *p != '\0'; p++)
            if (!is_ows(*p))
                *put++ = (char)tolower((unsigned char)*p);
        sprintf(put, ";%d", (int)(weight * 1000 + 0.5));
        count++;
    }
    qsort(member, count, sizeof(*member), by_text);
    *out = '\0';
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(member[i], member[i - 1]) != 0) {
            strcat(out, member[i]);
            strcat(out, ",");
        }
}

/*
 * "When a cache receives a request that can be satisfied by a stored response and that stored
 * response contains a Vary header field ..., the cache MUST NOT use that stored response without
 * revalidation unless all the presented request header fields nominated by that Vary field value
 * match those fields in the original request".  "If (after any normalization that might take place)
 * a header field is absent from a request, it can only match another request if it is also absent
 * there."  "A stored response with a Vary header field value containing a member "*" always fails
 * to match."
 */
bool model_vary_matches(const struct model_stored *s, const struct model_message *request)
{
    char all[TEXT_MAX], member[TEXT_MAX];
    const char *rest = all;
    bool ignored = false;

    if (vary_has_star(&s->response))
        return false;
    combined(&s->response, "Vary", all);
    while (next_member(&rest, member, &ignored)) {
        char ours[TEXT_MAX], theirs[TEXT_MAX], a[TEXT_MAX], b[TEXT_MAX];
        bool was_there = combined(&s->request, member, ours),
             is_there = combined(request, member, theirs);

        if (was_there != is_there)
            return false;
        if (same_name(member, "Accept-Language")) {
            language_set(ours, a);
            language_set(theirs, b);
        } else {
            normal(ours, a);
            normal(theirs, b);
        }
        if (strcmp(a, b) != 0)
            return false;
    }
    return true;
}

/* ---- conditions: RFC 9111 section 4.3.2, RFC 9110 sections 8.8.3 and 13 ---- */

/* entity-tag = [ weak ] opaque-tag; weak = %s"W/"; opaque-tag = DQUOTE *etagc DQUOTE.  Where the
 * opaque-tag begins; NULL: it is none. */
static const char *opaque_tag(const char *tag)
{
    size_t n;

    if (strncmp(tag, "W/\"", 3) == 0)
        tag += 2;
    n = strlen(tag);
    if (n < 2 || *tag != '"' || tag[n - 1] != '"')
        return NULL;
    for (size_t i = 1; i < n - 1; i++)
        if ((unsigned char)tag[i] <= ' ' || tag[i] == '"' || tag[i] == 0x7f)
            return NULL;
    return tag;
}

/* RFC 9110 section 8.8.3.2: "Weak comparison: two entity tags are equivalent if their opaque-tags
 * match character-by-character, regardless of either or both being tagged as weak."  What is no
 * entity tag equals itself alone. */
static bool weakly_equal(const char *a, const char *b)
{
    const char *x = opaque_tag(a), *y = opaque_tag(b);

    return strcmp(x == NULL ? a : x, y == NULL ? b : y) == 0;
}

/* Members of a list of entity tags: no backslash escapes there. */
static bool tag_listed(const char *line, const char *tag)
{
    while (*line != '\0') {
        char member[TEXT_MAX];
        bool quoted = false;
        size_t n = 0;

        for (; *line != '\0' && (quoted || *line != ','); line++) {
            quoted ^= *line == '"';
            member[n++] = *line;
        }
        member[n] = '\0';
        if (*line == ',')
            line++;
        trim(member);
        if (*member != '\0' && weakly_equal(member, tag))
            return true;
    }
    return false;
}

enum model_condition model_evaluate(const struct model_stored *s,
                                    const struct model_message *request, long long now_s)
{
    const char *etag = line_of(&s->response, "ETag", 0), *line;
    long long since_s, at_s;

    /* "If the field value is "*", or if the field value is a list of entity tags and at least one
     * of them matches the entity tag of the selected stored response, a cache recipient SHOULD
     * generate a 304 (Not Modified) response" */
    if (has(request, "If-None-Match")) {
        for (size_t n = 0; (line = line_of(request, "If-None-Match", n)) != NULL; n++)
            if (strcmp(line, "*") == 0 || (etag != NULL && *etag != '\0' &&
                                           (strcmp(line, etag) == 0 || tag_listed(line, etag))))
                return MODEL_NOT_MODIFIED;
        return MODEL_MODIFIED;
    }
    /* "If an If-None-Match header field is not present, a request containing an If-Modified-Since
     * header field ..." RFC 9110 section 13.1.3: "A recipient MUST ignore the If-Modified-Since
     * header field if the received field value is not a valid HTTP-date, the field value has more
     * than one member". */
    if (line_of(request, "If-Modified-Since", 1) != NULL ||
        !date_of(request, "If-Modified-Since", now_s, &since_s))
        return MODEL_NO_CONDITION;
    /* "1) the selected stored response has a Last-Modified field value that is earlier than or
     * equal to the conditional timestamp;" */
    if (has(&s->response, "Last-Modified"))
        return date_of(&s->response, "Last-Modified", now_s, &at_s) && at_s <= since_s
                   ? MODEL_NOT_MODIFIED
                   : MODEL_MODIFIED;
    /* "2) no Last-Modified field is present in the selected stored response, but it has a Date
     * field value that is earlier than or equal to the conditional timestamp; or, 3) neither
     * Last-Modified nor Date is present in the selected stored response, but the cache recorded it
     * as having been received at a time earlier than or equal to the conditional timestamp." */
    if (!date_of(&s->response, "Date", now_s, &at_s))
        at_s = s->response_ms / second_ms;
    return at_s <= since_s ? MODEL_NOT_MODIFIED : MODEL_MODIFIED;
}

static bool has_validator(const struct model_message *response)
{
    return has(response, "ETag") || has(response, "Last-Modified");
}

/* ---- a request: RFC 9111 section 4 ---- */

/*
 * Section 5.2.1: "Caches MUST ... the following directives; ... a request's directives are
 * advisory".  What this cache makes of a wish to reload is the site's client_reload.
 */
static bool client_takes(const struct model_rules *rules, const struct model_stored *s,
                         const struct policy *p, const struct policy *rq, bool pragma,
                         long long now_ms)
{
    long long age_ms = model_age_ms(s, now_ms), left_ms = model_lifetime_s(s) * second_ms - age_ms;
    long long max_age_s = seconds(rq, "max-age"), min_fresh_s = seconds(rq, "min-fresh");
    /* section 5.2.1.4: "The no-cache request directive indicates that the client prefers a stored
     * response not be used to satisfy the request without successful validation on the origin
     * server." */
    bool no_cache = find(rq, "no-cache") != NULL || pragma;
    bool reload = no_cache || max_age_s == 0 || max_age_s == INVALID;

    /* RFC 8246 section 2: "Clients SHOULD NOT issue a conditional request during the response's
     * freshness lifetime (e.g., upon a reload) unless explicitly overridden by the user" */
    if (find(p, "immutable") != NULL && left_ms > 0 && !no_cache)
        reload = false;
    if (reload && rules->client_reload == MODEL_RELOAD_HONOUR)
        return false;
    if (reload && rules->client_reload == MODEL_RELOAD_LIMIT &&
        now_ms - s->response_ms >= second_ms)
        return false;
    /* section 5.2.1.1: "the client prefers a response whose age is less than or equal to the
     * specified number of seconds" */
    if (!reload && max_age_s > 0 && age_ms > max_age_s * second_ms)
        return false;
    /* section 5.2.1.3: "the client prefers a response whose freshness lifetime is no less than its
     * current age plus the specified time in seconds" */
    return min_fresh_s <= 0 || left_ms >= min_fresh_s * second_ms;
}

/* Section 5.2.1.2: "the client will accept a response that has exceeded its freshness lifetime. If
 * a value is present, then the client is willing to accept a response that has exceeded its
 * freshness lifetime by no more than the specified number of seconds. If no value is assigned to
 * max-stale, then the client will accept a stale response of any age." */
static bool max_stale_takes(const struct policy *rq, long long stale_ms)
{
    const struct directive *d = find(rq, "max-stale");

    if (d == NULL)
        return false;
    return d->kind == NO_ARGUMENT ||
           (seconds(rq, "max-stale") >= 0 && stale_ms <= seconds(rq, "max-stale") * second_ms);
}

static enum model_use use_stored(const struct model_rules *rules, const struct model_stored *s,
                                 const struct policy *rq, bool pragma, bool may_serve_swr,
                                 unsigned hits, long long now_ms)
{
    struct policy p;
    long long left_ms = model_lifetime_s(s) * second_ms - model_age_ms(s, now_ms);
    bool back = is_clock_back(s, now_ms), takes;
    enum model_use ask = has_validator(&s->response) ? MODEL_VALIDATE : MODEL_FETCH;

    policy_of(&s->response, rules, &p);
    /* "the stored response does not contain the no-cache directive (Section 5.2.2.4), unless it is
     * successfully validated (Section 4.3), and" */
    if (unqualified(&p, "no-cache"))
        return ask;
    takes = client_takes(rules, s, &p, rq, pragma, now_ms);
    if (!takes)
        return ask;
    /* "the stored response is one of the following: * fresh (see Section 4.2), or"; section 4.2:
     * "response_is_fresh = (freshness_lifetime > current_age)" */
    if (left_ms > 0 && !back) {
        long long all_ms = model_lifetime_s(s) * second_ms - model_age_ms(s, s->response_ms);

        /* "a fresh object asked for in the last tenth of its lifetime, with at least 8 hits since
         * it was stored, is validated once in the background" */
        return has_validator(&s->response) && hits >= 8 && left_ms * 10 <= all_ms
                   ? MODEL_ANSWER_REFRESH
                   : MODEL_ANSWER;
    }
    /* "* allowed to be served stale (see Section 4.2.4), or" */
    if (!back && !forbids_stale(&p)) {
        if (max_stale_takes(rq, -left_ms))
            return MODEL_ANSWER;
        if (may_serve_swr && swr_window_s(rules, &p) > 0 &&
            -left_ms <= swr_window_s(rules, &p) * second_ms && seconds(rq, "min-fresh") <= 0)
            return MODEL_ANSWER_REFRESH;
    }
    /* "* successfully validated (see Section 4.3)." */
    return ask;
}

enum model_use model_use(const struct model_rules *rules, const struct model_stored *s,
                         const struct model_message *request, bool may_serve_swr, unsigned hits,
                         long long now_ms)
{
    struct policy rq;
    enum model_use use;
    bool pragma = false;
    const char *line;

    /* "the request method associated with the stored response allows it to be used for the
     * presented request, and"; "A cache MUST write through requests with methods that are unsafe"
     */
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0)
        return MODEL_PASS;
    /* RFC 9110 section 13.2.1: "A server MUST ignore ... A cache or intermediary that is not the
     * origin server ... MUST NOT evaluate" If-Match and If-Unmodified-Since; RFC 9111
     * section 4.3.2: they "are not applicable to a cache". */
    read_cache_control(request, &rq);
    /* section 5.2.1.7, below: what is passed is no stored response either */
    if (rules->cache_off || has(request, "If-Match") || has(request, "If-Unmodified-Since"))
        return find(&rq, "only-if-cached") != NULL ? MODEL_REFUSE : MODEL_PASS;
    /* section 5.4: "When the Cache-Control header field is not present in a request, caches MUST
     * consider the no-cache request pragma-directive as having the same effect as if
     * "Cache-Control: no-cache" were present" */
    for (size_t n = 0; (line = line_of(request, "Pragma", n)) != NULL; n++)
        pragma |= strcasecmp(line, "no-cache") == 0 && !rq.is_there;
    /* "the presented target URI and that of the stored response match, and ... request header
     * fields nominated by the stored response (if any) match those presented" */
    if (s->present && model_vary_matches(s, request))
        use = use_stored(rules, s, &rq, pragma, may_serve_swr, hits, now_ms);
    else
        use = has(request, "Range") ? MODEL_RANGE_PASS : MODEL_FETCH;
    /* section 5.2.1.7: "The only-if-cached request directive indicates that the client only wishes
     * to obtain a stored response. Caches that honor this request directive SHOULD, upon receiving
     * it, respond with either a stored response consistent with the other constraints of the
     * request or a 504 (Gateway Timeout) status code." */
    if (find(&rq, "only-if-cached") != NULL && use != MODEL_ANSWER && use != MODEL_ANSWER_REFRESH)
        return MODEL_REFUSE;
    return use;
}

/* ---- storing: RFC 9111 section 3 ---- */

static bool is_marked_as_shared(const struct policy *p)
{
    return find(p, "public") != NULL || seconds(p, "s-maxage") >= 0;
}

/* May others have it at all? */
static bool is_for_everyone(const struct model_rules *rules, const struct model_stored *s,
                            const struct policy *p)
{
    bool must_understand = find(p, "must-understand") != NULL;

    /* A field that cannot be read to its end may have said no. */
    if (p->is_broken)
        return false;
    /* "if the response status code is 206 or 304, or the must-understand cache directive (see
     * Section 5.2.2.3) is present: the cache understands the response status code;" */
    if (must_understand && !is_understood(s->response.status))
        return false;
    /* "the no-store cache directive is not present in the response (see Section 5.2.2.5);" and
     * section 5.2.2.3: "When a cache that implements the must-understand directive receives a
     * response that includes it, the cache SHOULD ignore the no-store directive if it understands
     * and implements the caching requirements of the response status code." */
    if (find(p, "no-store") != NULL && !must_understand)
        return false;
    /* "if the cache is shared: the private response directive is either not present or allows a
     * shared cache to store a modified response; see Section 5.2.2.7);"  This cache takes no
     * response apart. */
    if (find(p, "private") != NULL)
        return false;
    /* "if the cache is shared: the Authorization header field is not present in the request (see
     * Section 11.6.2 of [HTTP]) or a response directive is present that explicitly allows shared
     * caching (see Section 3.5);": "must-revalidate, public, and s-maxage" */
    if (has(&s->request, "Authorization") && !is_marked_as_shared(p) &&
        find(p, "must-revalidate") == NULL)
        return false;
    /* set_cookie: safe: a session that leaks costs more than a miss. */
    return !has(&s->response, "Set-Cookie") || rules->set_cookie_rfc || is_marked_as_shared(p) ||
           p->is_targeted;
}

static bool is_worth_storing(const struct model_case *c, const struct model_stored *s,
                             const struct policy *p, const struct policy *rq)
{
    bool by_operator;
    long long lifetime = lifetime_s(s, p, &by_operator), modified_s;
    long long sie_s = forbids_stale(p)                   ? 0
                      : c->rules->sie_s != MODEL_UNSET   ? c->rules->sie_s
                      : seconds(p, "stale-if-error") > 0 ? seconds(p, "stale-if-error")
                                                         : 0;

    /* "the request method is understood by the cache;" */
    if (strcmp(c->request->method, "GET") != 0)
        return false;
    /* Section 3.3: "A cache MUST NOT store incomplete or partial-content responses if it does not
     * support the Range and Content-Range header fields": not as a whole. */
    if (s->response.status == 206)
        return false;
    if (vary_has_star(&s->response))
        return false;
    /* Section 5.2.1.5: "The no-store request directive indicates that a cache MUST NOT store any
     * part of either this request or any response to it."  A stranger's field is no way around the
     * cache for others. */
    if (find(rq, "no-store") != NULL && c->alone)
        return false;
    if (has(c->request, "Cookie") && !is_explicit(s, p) && !by_operator)
        return false;
    if (lifetime > 0)
        return true;
    /* "the response contains at least one of the following: a public response directive; ...; an
     * Expires header field; a max-age response directive; if the cache is shared: an s-maxage
     * response directive; a cache extension that allows it to be cached; or a status code that is
     * defined as heuristically cacheable" */
    if (!is_explicit(s, p) && !unqualified(p, "no-cache") &&
        !is_heuristically_cacheable(s->response.status))
        return false;
    /* "in normal operation, some caches will not store a response that has neither a cache
     * validator nor an explicit expiration time, as such responses are not usually useful to
     * store." */
    return has(&s->response, "ETag") ||
           date_of(&s->response, "Last-Modified", s->response_ms / second_ms, &modified_s) ||
           swr_window_s(c->rules, p) > 0 || sie_s > 0;
}

/* ---- a response, or none ---- */

static bool is_error(int status)
{
    return status == 500 || status == 502 || status == 503 || status == 504;
}

/* Section 4.2.4: "A cache MUST NOT generate a stale response unless it is disconnected or doing so
 * is explicitly permitted by the client or origin server (e.g., by the max-stale request directive
 * in Section 5.2.1, extension directives such as those defined in [RFC5861], or configuration in
 * accordance with an out-of-band contract)." */
static bool stands_in(const struct model_case *c, const struct policy *rq)
{
    const struct model_stored *s = c->stored;
    struct policy p;
    long long left_ms, window_s;

    if (!s->present)
        return false;
    policy_of(&s->response, c->rules, &p);
    if (forbids_stale(&p))
        return false;
    window_s = sie_window_s(c->rules, &p, rq, c->failure != MODEL_CAME);
    left_ms = model_lifetime_s(s) * second_ms - model_age_ms(s, c->response_ms);
    return window_s > 0 && (left_ms >= 0 || -left_ms <= window_s * second_ms);
}

static struct model_verdict judge_failure(const struct model_case *c, const struct policy *rq)
{
    struct model_verdict v = {.outcome = MODEL_STALE, .may_share = true};

    if (stands_in(c, rq))
        return v;
    v.outcome = MODEL_FAIL;
    /* section 5.2.2.2: "if a cache is disconnected, ... the cache MUST generate an error response
     * rather than reuse the stale response. The generated response SHOULD have status code 504
     * (Gateway Timeout)" */
    /* RFC 9110 section 15.6: 502 "received an invalid response from an inbound server", 503
     * "currently unable to handle the request", 504 "did not receive a timely response from an
     * upstream server" */
    if (c->stored->present || c->failure == MODEL_TIMED_OUT)
        v.fail_status = 504;
    else
        v.fail_status = c->failure == MODEL_GARBAGE ? 502 : 503;
    return v;
}

/*
 * Section 4.3.4: "If the new response contains one or more strong validators ..., then each of
 * those strong validators identifies a selected representation for update. ... If none of the
 * initial set contains at least one of the same strong validators, then the cache MUST NOT use the
 * new response to update any stored responses."  Tags are compared weakly: a server may send either
 * form for what it would send.  RFC 9110 section 8.8.1: Last-Modified is the other validator, and
 * the weaker one.  A 304 without any is about the one that was asked about.
 */
static bool speaks_of(const struct model_stored *s, const struct model_message *update)
{
    const char *ours = line_of(&s->response, "ETag", 0), *theirs = line_of(update, "ETag", 0);
    const char *modified = line_of(update, "Last-Modified", 0);

    if (ours != NULL && theirs != NULL)
        return weakly_equal(ours, theirs);
    if (modified != NULL && has(&s->response, "Last-Modified"))
        return strcmp(line_of(&s->response, "Last-Modified", 0), modified) == 0;
    return theirs == NULL;
}

static bool is_listed_in_request(const struct model_message *request, const char *tag)
{
    const char *line;

    for (size_t n = 0; tag != NULL && (line = line_of(request, "If-None-Match", n)) != NULL; n++)
        if (tag_listed(line, tag))
            return true;
    return false;
}

static bool stays(const char *name, bool takes_cookies)
{
    return same_name(name, "Content-Length") || same_name(name, "Content-Encoding") ||
           same_name(name, "Content-Range") || same_name(name, "Transfer-Encoding") ||
           (same_name(name, "Set-Cookie") && !takes_cookies);
}

/*
 * Section 3.2: "caches MUST add each header field in the provided response to the stored response,
 * replacing field values that are already present, with the following exceptions: Header fields
 * excluded from storage in Section 3.1, Header fields that the cache's stored response depends
 * upon, as described below, ..., and The Content-Length header field."  Age is worked out anew
 * (section 5.1), so the stored one is no field of the stored response.  RFC 9110 section 6.6.1: "A
 * recipient with a clock that receives a response message without a Date header field MUST record
 * the time it was received and append a corresponding Date header field to the message's header
 * section if it is cached": so the Date of before is replaced in any case.
 */
void model_freshen(const struct model_stored *old, const struct model_message *update,
                   bool takes_cookies, struct model_message *out)
{
    *out = (struct model_message){.status = old->response.status};
    for (size_t i = 0; i < old->response.count; i++) {
        struct model_field f = old->response.field[i];

        if (!same_name(f.name, "Age") && !same_name(f.name, "Date") &&
            (stays(f.name, takes_cookies) || !has(update, f.name)))
            out->field[out->count++] = f;
    }
    for (size_t i = 0; i < update->count; i++)
        if (!stays(update->field[i].name, takes_cookies))
            out->field[out->count++] = update->field[i];
}

static bool is_past(const struct model_case *c)
{
    const struct model_stored *s = c->stored;
    struct policy p;

    policy_of(&s->response, c->rules, &p);
    return unqualified(&p, "no-cache") ||
           model_lifetime_s(s) * second_ms <= model_age_ms(s, c->response_ms) ||
           is_clock_back(s, c->response_ms);
}

static bool vary_names(const struct model_message *response, const char *name)
{
    char all[TEXT_MAX], member[TEXT_MAX];
    const char *rest = all;
    bool ignored = false;

    combined(response, "Vary", all);
    while (next_member(&rest, member, &ignored))
        if (same_name(member, name))
            return true;
    return false;
}

static bool vary_covers(const struct model_message *a, const struct model_message *b)
{
    char all[TEXT_MAX], member[TEXT_MAX];
    const char *rest = all;
    bool ignored = false;

    combined(b, "Vary", all);
    while (next_member(&rest, member, &ignored))
        if (!vary_names(a, member))
            return false;
    return true;
}

static bool same_vary(const struct model_message *a, const struct model_message *b)
{
    return vary_covers(a, b) && vary_covers(b, a);
}

/* What is stored, brought up to date, judged as if it had come so. */
static struct model_verdict judge_update(const struct model_case *c)
{
    struct model_verdict v = {.outcome = MODEL_FRESHEN};
    struct model_stored s = {.present = true,
                             .request = *c->request,
                             .request_ms = c->request_ms,
                             .response_ms = c->response_ms,
                             .rules = *c->rules};
    struct policy p;

    model_freshen(c->stored, c->response, c->rules->set_cookie_rfc, &s.response);
    policy_of(&s.response, c->rules, &p);
    /* section 4.1 goes by the Vary that is stored now; under which requests it was stored is
     * settled, so it goes */
    v.may_share = is_for_everyone(c->rules, &s, &p) && !vary_has_star(&s.response) &&
                  same_vary(&c->stored->response, &s.response);
    v.drops_stored = !v.may_share;
    return v;
}

static struct model_verdict judge_304(const struct model_case *c)
{
    struct model_verdict v = {.outcome = MODEL_RELAY};

    if (c->use != MODEL_VALIDATE)
        return v;
    /* section 4.3.3: "A 304 (Not Modified) response status code indicates that the stored response
     * can be updated and reused" */
    if (!speaks_of(c->stored, c->response)) {
        /* section 4.3.2: the union of both lists was asked about; a tag of the client's alone is
         * news for it alone, and says that what is stored is not what the origin has */
        if (!is_listed_in_request(c->request, line_of(c->response, "ETag", 0)))
            v.outcome = MODEL_REPEAT;
        else
            v.drops_stored = is_past(c);
        return v;
    }
    return judge_update(c);
}

static bool is_same_or_absent(const struct model_case *c, const char *name)
{
    const char *theirs = line_of(c->response, name, 0),
               *ours = line_of(&c->stored->response, name, 0);

    if (theirs == NULL)
        return true;
    return ours != NULL &&
           (same_name(name, "ETag") ? weakly_equal(ours, theirs) : strcmp(ours, theirs) == 0);
}

/*
 * Section 4.3.5: "For each of the stored responses that could have been selected, if the stored
 * response and HEAD response have matching values for any received validator fields (ETag and
 * Last-Modified) and, if the HEAD response has a Content-Length header field, the value of
 * Content-Length matches that of the stored response, the cache SHOULD update the stored response
 * as described below; otherwise, the cache SHOULD consider the stored response to be stale."  What
 * is not what the origin has is not kept.
 */
static struct model_verdict judge_head(const struct model_case *c)
{
    struct model_verdict v = {.outcome = MODEL_RELAY, .drops_stored = true};
    const char *length = line_of(c->response, "Content-Length", 0);

    if (!is_same_or_absent(c, "ETag") || !is_same_or_absent(c, "Last-Modified") ||
        (length != NULL && atoll(length) != c->body_bytes))
        return v;
    return judge_update(c);
}

/*
 * Section 4.3.3: "A full response (i.e., one containing content) indicates that none of the stored
 * responses nominated in the conditional request are suitable."  So what is stored is outdated,
 * stored or not, unless the answer is about the one who asked (401, 403 ...), or what is stored is
 * still fresh.
 */
static bool outdates(const struct model_case *c)
{
    if (!c->stored->present || c->response->status >= 500 || !is_understood(c->response->status))
        return false;
    if (strcmp(c->request->method, "GET") != 0 && c->use != MODEL_VALIDATE)
        return false;
    return is_past(c);
}

struct model_verdict model_judge(const struct model_case *c)
{
    struct model_verdict v = {.outcome = MODEL_RELAY};
    struct model_stored s;
    struct policy p, rq;

    read_cache_control(c->request, &rq);
    if (c->failure != MODEL_CAME)
        return judge_failure(c, &rq);
    if (c->response->status == 304)
        return judge_304(c);
    /* RFC 9110 section 14.2: "A server MAY ignore the Range header field": then all of it came */
    if (c->use == MODEL_PASS || (c->use == MODEL_RANGE_PASS && c->response->status != 200))
        return v;
    if (strcmp(c->request->method, "HEAD") == 0 && c->response->status == 200 &&
        c->stored->present && c->stored->response.status == 200)
        return judge_head(c);
    /* "if a cache receives a 5xx (Server Error) response while attempting to validate a response,
     * it can either forward this response to the requesting client or act as if the server failed
     * to respond." */
    if (is_error(c->response->status) && stands_in(c, &rq)) {
        v.outcome = MODEL_STALE;
        v.may_share = true;
        return v;
    }
    s = (struct model_stored){.present = true,
                              .request = *c->request,
                              .response = *c->response,
                              .request_ms = c->request_ms,
                              .response_ms = c->response_ms,
                              .rules = *c->rules};
    policy_of(c->response, c->rules, &p);
    if (!is_for_everyone(c->rules, &s, &p)) {
        v.drops_stored = outdates(c);
        return v;
    }
    if (!is_worth_storing(c, &s, &p, &rq)) {
        v.may_share = is_error(c->response->status); /* an origin in trouble is asked once */
        v.drops_stored = outdates(c);
        return v;
    }
    v.outcome = MODEL_STORE;
    /* section 4: "a cache can use a response that is stored or storable to satisfy multiple
     * requests, provided that such a response is allowed to satisfy the requests in question" */
    v.may_share = model_lifetime_s(&s) * second_ms > model_age_ms(&s, c->response_ms) &&
                  !unqualified(&p, "no-cache");
    return v;
}
