/*
 * Any bytes at all are a configuration whose values are within their limits, or are refused with
 * lines that each name a place and hold nothing a terminal would obey; and the same both times.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/log.h"
#include "config/config_priv.h"

enum { ERRORS_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void check_text(const char *s)
{
    CHECK(s != NULL);
    CHECK(s[0] != '\0');
}

static void check_texts(const struct config_strings *s)
{
    for (size_t i = 0; i < s->count; i++)
        check_text(s->item[i]);
}

static void check_site(const struct config_site *s)
{
    check_text(s->name);
    CHECK(s->id != 0);
    CHECK(s->hosts.count > 0);
    CHECK(s->origin.servers.count > 0);
    CHECK(s->origin.connections > 0);
    CHECK(s->max_request_body <= LIMIT_REQUEST_BODY_CEILING);
    CHECK(s->negative_404_s >= CONFIG_UNSET && s->negative_5xx_s >= CONFIG_UNSET);
    check_texts(&s->hosts);
    check_texts(&s->origin.servers);
    check_texts(&s->query_drop_names);
    for (size_t i = 0; i < s->rules_count; i++) {
        check_text(s->rules[i].path);
        check_texts(&s->rules[i].methods);
        check_texts(&s->rules[i].types);
        check_texts(&s->rules[i].bypass_cookies);
        CHECK(s->rules[i].ttl_s >= CONFIG_UNSET);
        CHECK(s->rules[i].line > 0);
    }
}

static void check_config(const struct config *c)
{
    CHECK(c->listen_count > 0);
    for (size_t i = 0; i < c->listen_count; i++)
        check_text(c->listen[i].address);
    check_text(c->admin_listen);
    check_text(c->store_directory);
    check_text(c->node);
    CHECK(c->store_size >= 16 * MIB);
    CHECK(c->log_level >= LOG_LEVEL_ERROR && c->log_level <= LOG_LEVEL_DEBUG);
    CHECK(c->sites_count > 0 || c->sites_file != NULL);
    for (size_t i = 0; i < c->sites_count; i++)
        check_site(&c->sites[i]);
}

static void check_errors(struct slice s)
{
    CHECK(s.n > 0 && s.p[s.n - 1] == '\n');
    while (s.n > 0) {
        size_t end = slice_index(s, '\n');

        CHECK(slice_starts_with(s, SLICE("-:")));
        for (size_t i = 0; i < end; i++)
            CHECK((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f);
        s = slice_from(s, end + 1);
    }
}

static enum err load(struct slice text, struct buf *errors)
{
    struct config *c = NULL;
    enum err e;

    buf_init(errors, ERRORS_BYTES_MAX);
    e = config__load_text(text, &c, errors);
    CHECK(e == ERR_OK || e == ERR_INVALID);
    if (e == ERR_OK)
        check_config(c);
    else
        check_errors(buf_slice(errors));
    CHECK((e == ERR_OK) == (errors->n == 0));
    config_unref(c);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct slice text = {bytes == 0 ? "" : (const char *)data, bytes};
    struct buf first, second;

    CHECK(load(text, &first) == load(text, &second));
    CHECK(slice_eq(buf_slice(&first), buf_slice(&second)));
    buf_release(&first);
    buf_release(&second);
    return 0;
}
