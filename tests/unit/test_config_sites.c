/* Unit tests of config_load_sites(): what a sites file means, and what is told about wrong ones. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/limits.h"
#include "config/config.h"

#define ORIGIN "origin: {servers: [http://192.0.2.1]}"
#define SITE   "sites:\n- name: www\n  hosts: [a.example]\n  " ORIGIN "\n"

enum { ERRORS_BYTES_MAX = 1 << 20 };

static char dir[64];

static int enter_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/config-test-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : chdir(dir);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static int leave_dir(void **state)
{
    (void)state;
    if (chdir("/") != 0)
        return -1;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void write_file(const char *name, const char *text)
{
    assert_int_equal(file_write_atomic(name, slice_of(text)), ERR_OK);
}

static struct config *load(const char *text)
{
    struct config *c = NULL;
    struct buf errors;
    enum err e;

    write_file("s.yaml", text);
    buf_init(&errors, ERRORS_BYTES_MAX);
    e = config_load_sites("s.yaml", &c, &errors);
    if (e != ERR_OK)
        fail_msg("%.*s", (int)errors.n, errors.p);
    buf_release(&errors);
    return c;
}

static void assert_errors(const char *text, const char *want)
{
    struct config *c = NULL;
    struct buf errors;

    write_file("s.yaml", text);
    buf_init(&errors, ERRORS_BYTES_MAX);
    assert_int_equal(config_load_sites("s.yaml", &c, &errors), ERR_INVALID);
    assert_null(c);
    buf_add_char(&errors, '\0');
    assert_string_equal(errors.p, want);
    buf_release(&errors);
}

static void test_a_site_has_the_documented_defaults(void **state)
{
    struct config *c = load(SITE);
    const struct config_site *s = c->sites;
    const struct config_origin *o = &s->origin;

    (void)state;
    assert_int_equal(c->sites_count, 1);
    assert_string_equal(s->name, "www");
    assert_int_not_equal(s->id, 0);
    assert_int_equal(s->hosts.count, 1);
    assert_int_equal(s->rules_count, 0);
    assert_int_equal(s->query_keep, CONFIG_QUERY_KEEP_ALL);
    assert_false(s->query_drop_tracking);
    assert_int_equal(s->query_drop_names.count, 0);
    assert_int_equal(s->negative_404_s, CONFIG_UNSET);
    assert_int_equal(s->negative_5xx_s, CONFIG_UNSET);
    assert_int_equal(s->client_reload, CONFIG_RELOAD_LIMIT);
    assert_int_equal(s->set_cookie, CONFIG_SET_COOKIE_SAFE);
    assert_int_equal(s->max_request_body, LIMIT_REQUEST_BODY_BYTES);
    assert_int_equal(s->hsts_s, 0);
    assert_false(s->log_full);
    assert_false(s->strict_fields);
    assert_int_equal(s->fields_also.count, 0);
    assert_false(s->underscores);
    assert_int_equal(o->servers.count, 1);
    assert_null(o->host_header);
    assert_null(o->sni);
    assert_null(o->ca);
    assert_true(o->verify);
    assert_false(o->allow_local);
    assert_int_equal(o->connections, 64);
    assert_int_equal(o->queue, 64);
    assert_int_equal(o->connect_ms, 3000);
    assert_int_equal(o->first_byte_ms, 30000);
    assert_int_equal(o->idle_ms, 30000);
    config_unref(c);
}

static void test_files_may_do_without_an_origin(void **state)
{
    struct config *c =
        load("sites:\n"
             "- name: www\n"
             "  hosts: [a.example]\n"
             "  files: yes\n"
             "  files_lifetime: {hashed: 30d, others: 5m, names: [\"/assets/*\"]}\n");

    (void)state;
    assert_true(c->sites[0].files);
    assert_int_equal(c->sites[0].origin.servers.count, 0);
    assert_int_equal(c->sites[0].files_hashed_s, 30 * 86400);
    assert_int_equal(c->sites[0].files_others_s, 300);
    assert_string_equal(c->sites[0].files_names.item[0], "/assets/*");
    config_unref(c);
    c = load(SITE);
    assert_false(c->sites[0].files);
    assert_int_equal(c->sites[0].files_hashed_s, 31536000);
    assert_int_equal(c->sites[0].files_others_s, 0);
    config_unref(c);
}

static void test_everything_of_a_site_arrives(void **state)
{
    struct config *c;
    const struct config_site *s;

    (void)state;
    write_file("ca.pem", "x");
    c = load("sites:\n"
             "- name: www\n"
             "  hosts: [WWW.example.com, \"*.Cdn.example.com\", \"[2001:DB8::1]\"]\n"
             "  origin:\n"
             "    servers: [\"https://localhost:8443\", \"http://[::1]:80\"]\n"
             "    host_header: o.example:8080\n"
             "    sni: sni.example\n"
             "    ca: ca.pem\n"
             "    verify: no\n"
             "    allow_local: yes\n"
             "    connections: 1\n"
             "    queue: 0\n"
             "    connect_timeout: 1500ms\n"
             "    first_byte_timeout: 1m\n"
             "    idle_timeout: 1h\n"
             "  query: {keep: none, drop: [sid, \"x_*\"]}\n"
             "  negative_ttl: {404: 10s, 5xx: 0}\n"
             "  client_reload: ignore\n"
             "  set_cookie: rfc\n"
             "  max_request_body: 64MiB\n"
             "  hsts: 1y\n"
             "  log: full\n"
             "  request_fields: strict\n"
             "  request_fields_also: [X-App, X-Tenant]\n"
             "  underscores: allow\n");
    s = c->sites;
    assert_string_equal(s->hosts.item[0], "www.example.com");
    assert_string_equal(s->hosts.item[1], "*.cdn.example.com");
    assert_string_equal(s->hosts.item[2], "[2001:db8::1]");
    assert_string_equal(s->origin.servers.item[1], "http://[::1]:80");
    assert_string_equal(s->origin.host_header, "o.example:8080");
    assert_string_equal(s->origin.sni, "sni.example");
    assert_string_equal(s->origin.ca, "ca.pem");
    assert_false(s->origin.verify);
    assert_true(s->origin.allow_local);
    assert_int_equal(s->origin.connections, 1);
    assert_int_equal(s->origin.queue, 0);
    assert_int_equal(s->origin.connect_ms, 1500);
    assert_int_equal(s->origin.first_byte_ms, 60000);
    assert_int_equal(s->origin.idle_ms, 3600000);
    assert_int_equal(s->query_keep, CONFIG_QUERY_KEEP_NONE);
    assert_false(s->query_drop_tracking);
    assert_int_equal(s->query_drop_names.count, 2);
    assert_string_equal(s->query_drop_names.item[1], "x_*");
    assert_int_equal(s->negative_404_s, 10);
    assert_int_equal(s->negative_5xx_s, 0);
    assert_int_equal(s->client_reload, CONFIG_RELOAD_IGNORE);
    assert_int_equal(s->set_cookie, CONFIG_SET_COOKIE_RFC);
    assert_int_equal(s->max_request_body, 64 * MIB);
    assert_int_equal(s->hsts_s, 31536000);
    assert_true(s->log_full);
    assert_true(s->strict_fields);
    assert_string_equal(s->fields_also.item[1], "x-tenant");
    assert_true(s->underscores);
    config_unref(c);
}

static void test_rules_keep_their_order_and_their_lines(void **state)
{
    struct config *c = load(SITE "  rules:\n"
                                 "  - {path: \"/api/*\", cache: off, stream: yes}\n"
                                 "  # a comment\n"
                                 "  - path: \"/a\"\n"
                                 "    methods: [GET, POST]\n"
                                 "    types: [Text/HTML]\n"
                                 "    ttl: 2s\n"
                                 "    default_ttl: 1m\n"
                                 "    stale_while_revalidate: 1h\n"
                                 "    stale_if_error: 1d\n"
                                 "  - {cache: on, bypass_cookies: [sid], websocket: yes}\n"
                                 "  tunnels: 7\n  tunnel_idle: 5m\n");
    const struct config_rule *r = c->sites[0].rules;

    (void)state;
    assert_int_equal(c->sites[0].rules_count, 3);
    assert_int_equal(r[0].line, 6);
    assert_string_equal(r[0].path, "/api/*");
    assert_int_equal(r[0].cache, CONFIG_OFF);
    assert_true(r[0].stream);
    assert_false(r[0].websocket);
    assert_true(r[2].websocket);
    assert_int_equal(c->sites[0].tunnels, 7);
    assert_int_equal(c->sites[0].tunnel_idle_ms, 300000);
    assert_int_equal(r[0].ttl_s, CONFIG_UNSET);
    assert_int_equal(r[0].default_ttl_s, CONFIG_UNSET);
    assert_int_equal(r[0].stale_while_revalidate_s, CONFIG_UNSET);
    assert_int_equal(r[0].stale_if_error_s, CONFIG_UNSET);
    assert_int_equal(r[1].line, 8);
    assert_int_equal(r[1].cache, CONFIG_SWITCH_UNSET);
    assert_int_equal(r[1].methods.count, 2);
    assert_string_equal(r[1].methods.item[1], "POST");
    assert_string_equal(r[1].types.item[0], "text/html");
    assert_int_equal(r[1].ttl_s, 2);
    assert_int_equal(r[1].default_ttl_s, 60);
    assert_int_equal(r[1].stale_while_revalidate_s, 3600);
    assert_int_equal(r[1].stale_if_error_s, 86400);
    assert_int_equal(r[2].line, 15);
    assert_string_equal(r[2].path, "*");
    assert_int_equal(r[2].cache, CONFIG_ON);
    assert_int_equal(r[2].bypass_cookies.count, 1);
    config_unref(c);
}

static void test_tracking_is_a_word_alone_and_in_a_list(void **state)
{
    struct config *c = load(SITE "  query: {drop: tracking}\n");

    (void)state;
    assert_true(c->sites[0].query_drop_tracking);
    assert_int_equal(c->sites[0].query_drop_names.count, 0);
    config_unref(c);
    c = load(SITE "  query: {keep: [q, \"p_*\"], sort: yes}\n"
                  "  deception_guard: no\n"
                  "  rules: [{path: /v, slice: 1MiB, range: whole}, {}]\n");
    assert_int_equal(c->sites[0].query_keep, CONFIG_QUERY_KEEP_ALL);
    assert_int_equal(c->sites[0].query_keep_names.count, 2);
    assert_string_equal(c->sites[0].query_keep_names.item[1], "p_*");
    assert_true(c->sites[0].query_sort);
    assert_false(c->sites[0].deception_guard);
    assert_int_equal(c->sites[0].rules[0].slice_bytes, 1048576);
    assert_true(c->sites[0].rules[0].range_whole);
    assert_int_equal(c->sites[0].rules[1].slice_bytes, 0);
    assert_false(c->sites[0].rules[1].range_whole);
    config_unref(c);
    c = load(SITE "  query: {drop: [a, tracking, b]}\n");
    assert_true(c->sites[0].query_drop_tracking);
    assert_int_equal(c->sites[0].query_drop_names.count, 2);
    assert_string_equal(c->sites[0].query_drop_names.item[1], "b");
    config_unref(c);
}

static void test_yes_and_no_are_words_only_where_they_are_meant(void **state)
{
    static const struct {
        const char *word;
        bool want;
    } said[] = {{"yes", true}, {"true", true},   {"on", true},
                {"no", false}, {"false", false}, {"off", false}};
    struct config *c;
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        snprintf(text, sizeof(text),
                 "sites: [{name: no, hosts: [off], origin: {servers: [http://yes], verify: %s}}]\n",
                 said[i].word);
        c = load(text);
        assert_string_equal(c->sites[0].name, "no");
        assert_string_equal(c->sites[0].hosts.item[0], "off");
        assert_int_equal(c->sites[0].origin.verify, said[i].want);
        config_unref(c);
    }
}

static void test_a_site_keeps_its_number_wherever_it_stands(void **state)
{
    struct config *c = load("sites:\n- {name: a, hosts: [a.example], " ORIGIN "}\n"
                            "- {name: b, hosts: [b.example], " ORIGIN "}\n");
    uint32_t a = c->sites[0].id, b = c->sites[1].id;

    (void)state;
    assert_int_not_equal(a, b);
    config_unref(c);
    c = load("sites:\n- {name: b, hosts: [c.example], " ORIGIN "}\n");
    assert_int_equal(c->sites[0].id, b);
    config_unref(c);
}

static void test_each_mistake_is_told_with_its_place(void **state)
{
    static const struct {
        const char *text, *want;
    } wrong[] = {
        {"sites: {}\n", "s.yaml:1:8: sites: expected a list: '- ' lines with blocks of keys\n"},
        {"sites: []\n", "s.yaml:1:8: sites: is empty; write at least one site\n"},
        {"site: []\n", "s.yaml:1:1: site: unknown key; did you mean 'sites'?\n"},
        {"sites: [{}]\n",
         "s.yaml:1:9: sites[0].name: is missing; write a short name; metrics, logs and tokens use "
         "it\n"
         "s.yaml:1:9: sites[0].hosts: is missing; write the names it answers to, such as "
         "[www.example.com, \"*.cdn.example.com\"]\n"
         "s.yaml:1:9: sites[0].origin: is missing; write where it comes from, such as origin: "
         "{servers: [https://10.0.0.5:8443]}\n"},
        {"sites:\n- name: a b\n  hosts: [x.example]\n  " ORIGIN "\n",
         "s.yaml:2:9: sites[0].name: 'a b' is no name; write up to 64 letters, digits, '-', '_' "
         "and '.'\n"},
        {"sites:\n- {name: a, hosts: [a.example], " ORIGIN "}\n"
         "- {name: a, hosts: [b.example], " ORIGIN "}\n",
         "s.yaml:3:10: sites[1].name: 'a' is the name of the site in line 2 too\n"},
        {"sites:\n- {name: a, hosts: [a.example, A.Example], " ORIGIN "}\n"
         "- {name: b, hosts: [\"*.x.example\", a.example], " ORIGIN "}\n",
         "s.yaml:2:32: sites[0].hosts[1]: 'a.example' is a host of the site in line 2 too\n"
         "s.yaml:3:36: sites[1].hosts[1]: 'a.example' is a host of the site in line 2 too\n"},
        {"sites:\n- {name: a, hosts: [\"http://a.example/\", \"a.example:80\", \"*\", "
         "\"a..example\", \"b\\u00fccher.example\"], " ORIGIN "}\n",
         "s.yaml:2:21: sites[0].hosts[0]: 'http://a.example/' is no host name; write it without "
         "scheme and path, such as www.example.com\n"
         "s.yaml:2:42: sites[0].hosts[1]: 'a.example:80' is no host name; write it without a "
         "port\n"
         "s.yaml:2:58: sites[0].hosts[2]: '*' would be every host; write the names, or "
         "\"*.example.com\"\n"
         "s.yaml:2:63: sites[0].hosts[3]: 'a..example' is no host name; write it as "
         "www.example.com or \"*.example.com\"\n"
         "s.yaml:2:77: sites[0].hosts[4]: 'b\xc3\xbc"
         "cher.example' is no host name; write it as DNS has it, with xn--\n"},
        {"sites:\n- name: a\n  hosts: [a.example]\n  origin: {servers: [10.0.0.5, "
         "\"https://a.example/x\", \"http://u@a.example\", \"http://a.example:0\"]}\n",
         "s.yaml:4:22: sites[0].origin.servers[0]: '10.0.0.5' does not begin with http:// or "
         "https://; write it as https://10.0.0.5:8443\n"
         "s.yaml:4:32: sites[0].origin.servers[1]: 'https://a.example/x' has a path; write "
         "scheme, host and port alone, such as https://10.0.0.5:8443\n"
         "s.yaml:4:55: sites[0].origin.servers[2]: 'http://u@a.example' names a user; write it as "
         "https://10.0.0.5:8443\n"
         "s.yaml:4:77: sites[0].origin.servers[3]: 'http://a.example:0' is no server; write it "
         "as https://10.0.0.5:8443\n"},
        {"sites:\n- name: a\n  hosts: [a.example]\n  origin: {servers: [\"http://127.0.0.1\", "
         "\"http://[fe80::1]\", \"http://10.0.0.1\"]}\n",
         "s.yaml:4:22: sites[0].origin.servers[0]: 'http://127.0.0.1' is this machine or its "
         "link; write allow_local: yes if that is meant\n"
         "s.yaml:4:42: sites[0].origin.servers[1]: 'http://[fe80::1]' is this machine or its "
         "link; write allow_local: yes if that is meant\n"},
        {"sites:\n- name: a\n  hosts: [a.example]\n  origin: {servers: [http://o.example], ca: "
         "none.pem, sni: \"a b\", host_header: \"/\"}\n",
         "s.yaml:4:60: sites[0].origin.sni: 'a b' is no host name; write it as www.example.com\n"
         "s.yaml:4:80: sites[0].origin.host_header: '/' is no host name; write it as "
         "www.example.com or www.example.com:8080\n"
         "s.yaml:4:45: sites[0].origin.ca: 'none.pem' cannot be read: No such file or "
         "directory\n"},
        {"sites:\n- name: a\n  hosts: [a.example]\n  origin: {servers: [http://o.example], ca: "
         "., health: {path: up}, weights: [1, 0], balance: most}\n",
         "s.yaml:4:63: sites[0].origin.health.path: 'up' is no path; write it as /up\n"
         "s.yaml:4:81: sites[0].origin.weights[1]: '0' is no weight; at least 1, at most 100\n"
         "s.yaml:4:94: sites[0].origin.balance: 'most' is not known here; write least or hash\n"
         "s.yaml:4:77: sites[0].origin.weights: has 2 entries for 1 servers\n"
         "s.yaml:4:45: sites[0].origin.ca: '.' is a folder; name a PEM file\n"},
        {"sites:\n- name: a\n  hosts: [a.example]\n  origin: {servers: [http://o.example], "
         "health: {every: 1s}}\n",
         "s.yaml:4:49: sites[0].origin.health.path: is missing; write what to ask for, such as "
         "/up: a "
         "status of 2xx or 3xx means up\n"},
        {SITE "  max_request_body: 65MiB\n",
         "s.yaml:5:21: sites[0].max_request_body: '65MiB' is too large; at most 64MiB\n"},
        {SITE "  hsts: 1500ms\n",
         "s.yaml:5:9: sites[0].hsts: '1500ms' is not a whole number of seconds\n"},
        {SITE "  query: {drop: all}\n", "s.yaml:5:17: sites[0].query.drop: 'all' is not known "
                                        "here; write tracking, or a list of names\n"},
        {SITE "  query: {drop: [a, \"b=c\"]}\n",
         "s.yaml:5:21: sites[0].query.drop[1]: 'b=c' is no name; write it as sessionid or "
         "\"session_*\"\n"},
        {SITE "  query: {keep: some}\n", "s.yaml:5:17: sites[0].query.keep: 'some' is not known "
                                         "here; write all, none, or a list of names\n"},
        {SITE "  query: {keep: [\"a&b\"]}\n",
         "s.yaml:5:18: sites[0].query.keep[0]: 'a&b' is no name; write it as sessionid or "
         "\"session_*\"\n"},
        {SITE "  rules: [{slice: 1KiB}]\n",
         "s.yaml:5:19: sites[0].rules[0].slice: '1KiB' is too small; at least 64KiB\n"},
        {SITE "  rules: [{range: some}]\n", "s.yaml:5:19: sites[0].rules[0].range: 'some' is not "
                                            "known here; write pass or whole\n"},
        {SITE "  negative_ttl: {500: 1s}\n",
         "s.yaml:5:18: sites[0].negative_ttl.500: unknown key; known here are 404, 5xx\n"},
        {SITE "  client_reload: yes\n", "s.yaml:5:18: sites[0].client_reload: 'yes' is not known "
                                        "here; write limit or honour or ignore\n"},
        {SITE "  rules: [{cache: maybe}]\n", "s.yaml:5:19: sites[0].rules[0].cache: 'maybe' is "
                                             "not known here; write on or off\n"},
        {SITE "  rules: [{stream: 1}]\n", "s.yaml:5:20: sites[0].rules[0].stream: '1' is not "
                                          "known here; write yes or no\n"},
        {SITE "  rules: [{path: api}]\n",
         "s.yaml:5:18: sites[0].rules[0].path: 'api' would never match; paths begin with '/' (or "
         "write \"*\")\n"},
        {SITE "  rules: [{methods: [get, \"G T\"]}]\n",
         "s.yaml:5:22: sites[0].rules[0].methods[0]: 'get' would never match; methods are "
         "written in capitals, as in GET\n"
         "s.yaml:5:27: sites[0].rules[0].methods[1]: 'G T' is no method; write it as GET\n"},
        {SITE "  rules: [{types: [html]}]\n",
         "s.yaml:5:20: sites[0].rules[0].types[0]: 'html' is no content type; write it as "
         "text/html or \"image/*\", without parameters\n"},
        {SITE "  rules: [{bypass_cookies: []}]\n",
         "s.yaml:5:28: sites[0].rules[0].bypass_cookies: is empty; write names of cookies, such "
         "as [sessionid]: a request that has one is passed; default: none\n"},
        {SITE "  rules: [{cache: off, ttl: 1s}]\n",
         "s.yaml:5:29: sites[0].rules[0].ttl: has no effect beside cache: off; remove one of "
         "them\n"},
        {SITE "  rules:\n  - {path: \"*\", ttl: 1s}\n  - {path: /a, ttl: 2s}\n",
         "s.yaml:7:5: sites[0].rules[1]: is never reached: the rule in line 6 matches "
         "everything; move it to the end\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_errors(wrong[i].text, wrong[i].want);
}

static void test_a_rule_for_some_methods_or_types_ends_no_list(void **state)
{
    struct config *c = load(SITE "  rules: [{methods: [POST]}, {types: [text/html]}, {ttl: 1s}]\n");

    (void)state;
    assert_int_equal(c->sites[0].rules_count, 3);
    config_unref(c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, enter_dir, leave_dir)
    const struct CMUnitTest tests[] = {
        TEST(test_a_site_has_the_documented_defaults),
        TEST(test_files_may_do_without_an_origin),
        TEST(test_everything_of_a_site_arrives),
        TEST(test_rules_keep_their_order_and_their_lines),
        TEST(test_tracking_is_a_word_alone_and_in_a_list),
        TEST(test_yes_and_no_are_words_only_where_they_are_meant),
        TEST(test_a_site_keeps_its_number_wherever_it_stands),
        TEST(test_each_mistake_is_told_with_its_place),
        TEST(test_a_rule_for_some_methods_or_types_ends_no_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
