#include "http/date.h"

/* Years are those of the proleptic Gregorian calendar, in which year 0 is a leap year. */
enum { DAY_S = 86400, YEAR_MAX = 9999, YEARS_AHEAD_MAX = 50 };

/* 1970-01-01 counted in days since 0000-01-01. */
#define EPOCH_DAYS INT64_C(719528)

static const char *const month_name[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const day_name[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const long_day_name[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                            "Thursday", "Friday", "Saturday"};

struct moment {
    int year, month, day; /* the month counts from 0, the day from 1 */
    int hour, minute, second;
};

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month] + (month == 1 && is_leap(year));
}

/* Days from 0000-01-01 to the first of that year; not for years before 0. */
static int64_t days_before_year(int64_t year)
{
    return 365 * year + (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
}

static int64_t seconds_of(const struct moment *m)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t days = days_before_year(m->year) - EPOCH_DAYS + before[m->month] +
                   (m->month > 1 && is_leap(m->year)) + m->day - 1;

    return days * DAY_S + m->hour * 3600 + m->minute * 60 + m->second;
}

static int year_of_day(int64_t days)
{
    int64_t year = days / 366;

    /* 366 is a little too much for most years, so the guess is never late */
    while (days_before_year(year + 1) <= days)
        year++;
    return (int)year;
}

/* ---- parsing: each step takes its bytes off the front of *s, or says no ---- */

static bool take_char(struct slice *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = slice_from(*s, 1);
    return true;
}

static bool take_number(struct slice *s, size_t digits, int *out)
{
    int v = 0;

    if (s->n < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        unsigned digit = (unsigned char)s->p[i] - (unsigned)'0';

        if (digit > 9)
            return false;
        v = v * 10 + (int)digit;
    }
    *s = slice_from(*s, digits);
    *out = v;
    return true;
}

/* Do three bytes begin alike?  Of a letter only the other case has the same other bits. */
static bool begins_alike(const char *p, const char *letters)
{
    return (p[0] | 0x20) == (letters[0] | 0x20) && (p[1] | 0x20) == (letters[1] | 0x20) &&
           (p[2] | 0x20) == (letters[2] | 0x20);
}

static bool take_name(struct slice *s, const char *const *name, int count, int *out)
{
    for (int i = 0; i < count && s->n >= 3; i++) {
        struct slice want;

        if (!begins_alike(s->p, name[i]))
            continue;
        want = slice_of(name[i]);
        if (slice_eq_nocase(slice_head(*s, want.n), want)) {
            *s = slice_from(*s, want.n);
            *out = i;
            return true;
        }
    }
    return false;
}

static bool take_month(struct slice *s, int *out)
{
    return take_name(s, month_name, 12, out);
}

static bool take_time(struct slice *s, struct moment *out)
{
    return take_number(s, 2, &out->hour) && take_char(s, ':') && take_number(s, 2, &out->minute) &&
           take_char(s, ':') && take_number(s, 2, &out->second);
}

static bool take_gmt_and_end(struct slice *s)
{
    return take_char(s, ' ') && slice_eq_nocase(*s, SLICE("GMT"));
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static bool parse_imf(struct slice s, struct moment *out)
{
    int weekday;

    return take_name(&s, day_name, 7, &weekday) && take_char(&s, ',') && take_char(&s, ' ') &&
           take_number(&s, 2, &out->day) && take_char(&s, ' ') && take_month(&s, &out->month) &&
           take_char(&s, ' ') && take_number(&s, 4, &out->year) && take_char(&s, ' ') &&
           take_time(&s, out) && take_gmt_and_end(&s);
}

/* Sunday, 06-Nov-94 08:49:37 GMT; the year as it stands, 0 to 99 */
static bool parse_rfc850(struct slice s, struct moment *out)
{
    int weekday;

    return take_name(&s, long_day_name, 7, &weekday) && take_char(&s, ',') && take_char(&s, ' ') &&
           take_number(&s, 2, &out->day) && take_char(&s, '-') && take_month(&s, &out->month) &&
           take_char(&s, '-') && take_number(&s, 2, &out->year) && take_char(&s, ' ') &&
           take_time(&s, out) && take_gmt_and_end(&s);
}

/* Sun Nov  6 08:49:37 1994 */
static bool parse_asctime(struct slice s, struct moment *out)
{
    int weekday;

    return take_name(&s, day_name, 7, &weekday) && take_char(&s, ' ') &&
           take_month(&s, &out->month) && take_char(&s, ' ') &&
           take_number(&s, take_char(&s, ' ') ? 1 : 2, &out->day) && take_char(&s, ' ') &&
           take_time(&s, out) && take_char(&s, ' ') && take_number(&s, 4, &out->year) && s.n == 0;
}

/*
 * The last year with these two digits in which the moment is at most 50 years ahead (RFC 9110
 * section 5.6.7).
 */
static void add_century(struct moment *m, int64_t now_s)
{
    int64_t now_days = now_s < 0 ? EPOCH_DAYS : now_s / DAY_S + EPOCH_DAYS;
    int last_year = YEARS_AHEAD_MAX +
                    (now_days >= days_before_year(YEAR_MAX) ? YEAR_MAX : year_of_day(now_days));

    m->year = last_year - (last_year - m->year) % 100;
    if (m->year == last_year) {
        struct moment back = *m;

        back.year -= YEARS_AHEAD_MAX;
        if (seconds_of(&back) > now_s)
            m->year -= 100;
    }
}

static bool is_valid(const struct moment *m)
{
    /* 60 is a leap second, which the epoch's count has no place for: it is the next minute's 0 */
    return m->day >= 1 && m->day <= days_in_month(m->year, m->month) && m->hour <= 23 &&
           m->minute <= 59 && m->second <= 60;
}

bool http_date_parse(struct slice s, int64_t now_s, int64_t *out_s)
{
    struct moment m;

    /* nobody sends the other two any more; no text is of two forms */
    if (!parse_imf(s, &m) && !parse_asctime(s, &m)) {
        if (!parse_rfc850(s, &m))
            return false;
        add_century(&m, now_s);
    }
    if (!is_valid(&m))
        return false;
    *out_s = seconds_of(&m);
    return true;
}

/* ---- formatting ---- */

static char *put(char *at, const char *text, size_t bytes)
{
    memcpy(at, text, bytes);
    return at + bytes;
}

static char *put_number(char *at, int v, size_t digits)
{
    for (size_t i = digits; i > 0; i--, v /= 10)
        at[i - 1] = (char)('0' + v % 10);
    return at + digits;
}

static char *put_time(char *at, int second_of_day)
{
    at = put_number(at, second_of_day / 3600, 2);
    at = put(at, ":", 1);
    at = put_number(at, second_of_day / 60 % 60, 2);
    at = put(at, ":", 1);
    return put_number(at, second_of_day % 60, 2);
}

void http_date_format(int64_t at_s, char out[HTTP_DATE_BYTES])
{
    int64_t first_s = -EPOCH_DAYS * DAY_S;
    int64_t last_s = (days_before_year(YEAR_MAX + 1) - EPOCH_DAYS) * DAY_S - 1;
    int64_t since_s = (at_s < first_s ? first_s : at_s > last_s ? last_s : at_s) - first_s;
    int64_t days = since_s / DAY_S;
    int year = year_of_day(days), month = 0, day = (int)(days - days_before_year(year));
    char *at = out;

    while (day >= days_in_month(year, month))
        day -= days_in_month(year, month++);
    at = put(at, day_name[(days + 6) % 7], 3); /* 0000-01-01 was a Saturday */
    at = put(at, ", ", 2);
    at = put_number(at, day + 1, 2);
    at = put(at, " ", 1);
    at = put(at, month_name[month], 3);
    at = put(at, " ", 1);
    at = put_number(at, year, 4);
    at = put(at, " ", 1);
    at = put_time(at, (int)(since_s % DAY_S));
    put(at, " GMT", 4);
}
