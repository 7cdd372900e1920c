#include <stdarg.h>
#include <stdio.h>

#include "config/config_priv.h"

/* The start of a line, unless enough lines have been told. */
static bool begin(struct config_loader *l, const char *file)
{
    l->errors_count++;
    if (l->errors_count == CONFIG_ERRORS_MAX + 1)
        buf_addf(l->errors, "%s: more than %d errors; the others are not shown\n", file,
                 CONFIG_ERRORS_MAX);
    if (l->errors_count > CONFIG_ERRORS_MAX)
        return false;
    buf_add(l->errors, slice_of(file));
    buf_add(l->errors, SLICE(":"));
    return true;
}

static void add_place(struct config_loader *l, unsigned line, unsigned column)
{
    buf_addf(l->errors, "%u:%u: ", line, column);
}

/* Bytes of the UTF-8 character at `s`, which libyaml has found valid; cut-off ones count as what is
 * left. */
static size_t character_bytes(struct slice s)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    return n < s.n ? n : s.n;
}

/* C0, DEL and C1: what a terminal obeys. */
static bool is_control(struct slice s)
{
    unsigned char c = (unsigned char)s.p[0];

    return c < 0x20 || c == 0x7f || (c == 0xc2 && s.n > 1 && (unsigned char)s.p[1] < 0xa0);
}

/* Copy to `to` (with a NUL) what fits and is fit to be seen; how many bytes. */
static size_t make_visible(char *to, size_t bytes, struct slice s)
{
    static const char dots[] = "...";
    size_t at = 0;

    while (s.n > 0) {
        size_t n = character_bytes(s);

        if (at + n + sizeof(dots) > bytes) {
            memcpy(to + at, dots, sizeof(dots));
            return at + sizeof(dots) - 1;
        }
        if (is_control(s)) {
            to[at++] = '?';
        } else {
            memcpy(to + at, s.p, n);
            at += n;
        }
        s = slice_from(s, n);
    }
    to[at] = '\0';
    return at;
}

struct config_quote config__quote(struct slice s)
{
    struct config_quote q;
    size_t n;

    q.text[0] = '\'';
    n = 1 + make_visible(q.text + 1, sizeof(q.text) - 2, s);
    q.text[n] = '\'';
    q.text[n + 1] = '\0';
    return q;
}

static void add_key(struct config_loader *l, struct slice key, bool is_first)
{
    char visible[CONFIG_QUOTE_BYTES];

    make_visible(visible, sizeof(visible), key);
    buf_addf(l->errors, "%s%s", is_first ? "" : ".", visible);
}

/* "sites[2].origin.servers[0]"; false when `n` is the whole file. */
static bool add_path(struct config_loader *l, const struct config_node *n)
{
    const struct config_node *way[CONFIG_DEPTH_MAX + 1];
    size_t steps = 0;

    for (; n->parent != NULL; n = n->parent)
        way[steps++] = n;
    for (size_t i = steps; i-- > 0;) {
        if (way[i]->key.p != NULL)
            add_key(l, way[i]->key, i + 1 == steps);
        else
            buf_addf(l->errors, "[%zu]", way[i]->index);
    }
    return steps > 0;
}

static void add_text(struct config_loader *l, const char *format, va_list ap)
{
    char text[1024];

    vsnprintf(text, sizeof(text), format, ap);
    buf_add(l->errors, slice_of(text));
    buf_add_char(l->errors, '\n');
}

static void tell(struct config_loader *l, const struct config_node *n, bool at_key,
                 const char *format, va_list ap)
{
    if (!begin(l, n->file))
        return;
    add_place(l, at_key ? n->key_line : n->line, at_key ? n->key_column : n->column);
    if (add_path(l, n))
        buf_add(l->errors, SLICE(": "));
    add_text(l, format, ap);
}

void config__error(struct config_loader *l, const struct config_node *n, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    tell(l, n, false, format, ap);
    va_end(ap);
}

void config__warn(struct config_loader *l, const struct config_node *n, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    buf_addf(l->errors, "%s:", n->file);
    add_place(l, n->line, n->column);
    if (add_path(l, n))
        buf_add(l->errors, SLICE(": "));
    buf_add(l->errors, SLICE("warning: "));
    add_text(l, format, ap);
    va_end(ap);
}

void config__key_error(struct config_loader *l, const struct config_node *n, const char *format,
                       ...)
{
    va_list ap;

    va_start(ap, format);
    tell(l, n, true, format, ap);
    va_end(ap);
}

void config__missing_error(struct config_loader *l, const struct config_node *n, const char *name,
                           const char *why)
{
    if (!begin(l, n->file))
        return;
    add_place(l, n->line, n->column);
    add_key(l, slice_of(name), !add_path(l, n));
    buf_addf(l->errors, ": is missing; %s\n", why);
}

void config__text_error(struct config_loader *l, const char *file, unsigned line, unsigned column,
                        const char *format, ...)
{
    va_list ap;

    if (!begin(l, file))
        return;
    add_place(l, line, column);
    va_start(ap, format);
    add_text(l, format, ap);
    va_end(ap);
}

void config__file_error(struct config_loader *l, const char *file, const char *why)
{
    if (begin(l, file))
        buf_addf(l->errors, " %s\n", why);
}
