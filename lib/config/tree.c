#include <yaml.h>

#include "config/config_priv.h"

struct builder {
    struct config_loader *loader;
    const char *file;
    struct config_node *root;
    struct config_node *open; /* innermost list or block that is not closed yet; NULL outside */
    struct slice key; /* of `open`, when it is a block and its key has been read; else p == NULL */
    unsigned key_line, key_column;
    size_t nodes, depth;
    bool is_done;
};

static unsigned line_of(const yaml_mark_t *m)
{
    return (unsigned)m->line + 1;
}

static unsigned column_of(const yaml_mark_t *m)
{
    return (unsigned)m->column + 1;
}

static bool refuse(struct builder *b, const yaml_mark_t *at, const char *why)
{
    config__text_error(b->loader, b->file, line_of(at), column_of(at), "%s", why);
    return false;
}

static bool no_memory(struct builder *b)
{
    b->loader->is_out_of_memory = true;
    return false;
}

static void append(struct builder *b, struct config_node *n)
{
    struct config_node *parent = b->open;

    n->parent = parent;
    if (parent == NULL) {
        b->root = n;
        return;
    }
    n->index = parent->count++;
    n->key = b->key;
    n->key_line = b->key_line;
    n->key_column = b->key_column;
    b->key = (struct slice){0};
    if (parent->last == NULL)
        parent->first = n;
    else
        parent->last->next = n;
    parent->last = n;
}

static bool wants_key(const struct builder *b)
{
    return b->open != NULL && b->open->type == CONFIG_NODE_BLOCK && b->key.p == NULL;
}

static struct config_node *add(struct builder *b, enum config_node_type type, const yaml_mark_t *at)
{
    struct config_node *n;

    if (++b->nodes > CONFIG_NODES_MAX) {
        refuse(b, at, "the file holds too many values; divide it");
        return NULL;
    }
    n = arena_zalloc(&b->loader->scratch, sizeof(*n));
    if (n == NULL) {
        no_memory(b);
        return NULL;
    }
    n->type = type;
    n->file = b->file;
    n->line = line_of(at);
    n->column = column_of(at);
    append(b, n);
    return n;
}

static bool on_scalar(struct builder *b, const yaml_event_t *e)
{
    struct slice text = {(const char *)e->data.scalar.value, e->data.scalar.length};
    struct config_node *n;

    if (memchr(text.p, '\0', text.n) != NULL)
        return refuse(b, &e->start_mark, "the value holds a NUL byte");
    text = arena_dup(&b->loader->scratch, text);
    if (text.p == NULL)
        return no_memory(b);
    if (wants_key(b)) {
        b->key = text;
        b->key_line = line_of(&e->start_mark);
        b->key_column = column_of(&e->start_mark);
        return true;
    }
    n = add(b, CONFIG_NODE_TEXT, &e->start_mark);
    if (n == NULL)
        return false;
    n->text = text;
    n->is_plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return true;
}

static bool on_open(struct builder *b, enum config_node_type type, const yaml_event_t *e)
{
    struct config_node *n;

    if (wants_key(b))
        return refuse(b, &e->start_mark, "a key must be one word");
    if (b->depth == CONFIG_DEPTH_MAX)
        return refuse(b, &e->start_mark, "lists and blocks inside each other too deeply");
    n = add(b, type, &e->start_mark);
    if (n == NULL)
        return false;
    b->open = n;
    b->depth++;
    return true;
}

static void on_close(struct builder *b)
{
    b->open = b->open->parent;
    b->depth--;
}

/* An anchor lets a file of one page stand for millions of values, and a value come from a line that
 * no message could name. */
static bool has_anchor_or_tag(struct builder *b, const yaml_event_t *e)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;

    switch (e->type) {
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor != NULL)
        refuse(b, &e->start_mark, "anchors (&name) are not supported; write the value out");
    else if (tag != NULL)
        refuse(b, &e->start_mark, "tags (!name) are not supported; write the value alone");
    return anchor != NULL || tag != NULL;
}

static bool on_event(struct builder *b, const yaml_event_t *e)
{
    if (has_anchor_or_tag(b, e))
        return false;
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(b, e);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(b, CONFIG_NODE_LIST, e);
    case YAML_MAPPING_START_EVENT:
        return on_open(b, CONFIG_NODE_BLOCK, e);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        on_close(b);
        return true;
    case YAML_ALIAS_EVENT:
        return refuse(b, &e->start_mark, "aliases (*name) are not supported; write the value out");
    case YAML_DOCUMENT_START_EVENT:
        return b->root == NULL || refuse(b, &e->start_mark, "a second document begins; one a file");
    case YAML_STREAM_END_EVENT:
        b->is_done = true;
        return true;
    default:
        return true;
    }
}

/* Of bytes that are no text libyaml tells the offset alone. */
static void tell_offset(struct builder *b, struct slice text, size_t offset, const char *why)
{
    unsigned line = 1, column = 1;

    for (size_t i = 0; i < offset && i < text.n; i++, column++)
        if (text.p[i] == '\n') {
            line++;
            column = 0;
        }
    config__text_error(b->loader, b->file, line, column, "not valid YAML: %s", why);
}

static void tell_problem(struct builder *b, const yaml_parser_t *p, struct slice text)
{
    const char *why = p->problem == NULL ? "unknown reason" : p->problem;

    if (p->error == YAML_MEMORY_ERROR)
        no_memory(b);
    else if (p->error == YAML_READER_ERROR)
        tell_offset(b, text, p->problem_offset, why);
    else
        config__text_error(b->loader, b->file, line_of(&p->problem_mark),
                           column_of(&p->problem_mark), "not valid YAML: %s%s%s", why,
                           p->context == NULL ? "" : " ", p->context == NULL ? "" : p->context);
}

struct config_node *config__tree_parse(struct config_loader *l, const char *file, struct slice text)
{
    struct builder b = {.loader = l, .file = file};
    yaml_parser_t parser;
    bool ok = true;

    if (yaml_parser_initialize(&parser) == 0) {
        l->is_out_of_memory = true;
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.n);
    while (ok && !b.is_done) {
        yaml_event_t event;

        if (yaml_parser_parse(&parser, &event) == 0) {
            tell_problem(&b, &parser, text);
            ok = false;
            break;
        }
        ok = on_event(&b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (ok && (b.root == NULL || b.root->type != CONFIG_NODE_BLOCK)) {
        config__text_error(l, file, 1, 1,
                           "the file is empty or no block of keys; write 'key: value' lines");
        ok = false;
    }
    return ok ? b.root : NULL;
}
