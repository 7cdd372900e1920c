/* The fleet's certificates: a CA of its own, and one certificate for each node. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/file.h"
#include "cli.h"

enum {
    CA_DAYS = 3650,
    NODE_DAYS = 365,
    NODE_DAYS_MAX = 3650,
    EARLIER_S = 3600, /* valid from an hour ago: clocks differ */
    NAME_BYTES_MAX = 64,
    NAMES_MAX = 64, /* hosts, sites */
    PATH_BYTES = 4096,
    SERIAL_BYTES = 16,
    DIGITS_BYTES = 2 * SERIAL_BYTES + 1,
    NAMES_BYTES = (2 * NAMES_MAX + 2) * 300,
    KEY_BYTES_MAX = 65536,
};

#define CA_FILE "fleet-ca.pem"
#define CA_KEY  "fleet-ca.key"

struct node {
    const char *name, *region;
    const char *host[NAMES_MAX], *site[NAMES_MAX];
    size_t hosts, sites;
    long days;
};

struct issuer { /* owned; zeros: none */
    X509 *certificate;
    EVP_PKEY *key;
};

/* ---- certificates ---- */

static int crypto_failed(const char *what)
{
    const char *why = ERR_reason_error_string(ERR_peek_error());

    fprintf(stderr, "selvage pki: cannot make %s: %s\n", what, why == NULL ? "out of memory" : why);
    ERR_clear_error();
    return CLI_FAILED;
}

static bool add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;
    bool ok;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ok = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

/* Random, so that no two have one, whoever counts; its first digit is 4 to 7: positive, and as many
 * digits as bytes. */
static bool set_serial(X509 *x)
{
    unsigned char bytes[SERIAL_BYTES];
    BIGNUM *n = NULL;
    bool ok = RAND_bytes(bytes, sizeof(bytes)) == 1;

    bytes[0] = (unsigned char)((bytes[0] & 0x3f) | 0x40);
    if (ok)
        n = BN_bin2bn(bytes, sizeof(bytes), NULL);
    ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    BN_free(n);
    return ok;
}

static bool set_subject(X509 *x, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(x);

    return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1,
                                      -1, 0) == 1;
}

/* A certificate with a new key, not signed yet; false leaves what is there to the caller. */
static bool begin(struct issuer *out, const char *name, long days)
{
    out->key = EVP_EC_gen("P-256");
    out->certificate = X509_new();
    return out->key != NULL && out->certificate != NULL &&
           X509_set_version(out->certificate, X509_VERSION_3) == 1 &&
           set_serial(out->certificate) && set_subject(out->certificate, name) &&
           X509_gmtime_adj(X509_getm_notBefore(out->certificate), -EARLIER_S) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(out->certificate), (int)days, 0, NULL) != NULL &&
           X509_set_pubkey(out->certificate, out->key) == 1;
}

static void issuer_free(struct issuer *i)
{
    X509_free(i->certificate);
    EVP_PKEY_free(i->key);
}

static bool finish_ca(struct issuer *ca)
{
    X509 *x = ca->certificate;

    return X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 &&
           add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(x, x, NID_subject_key_identifier, "hash") &&
           X509_sign(x, ca->key, EVP_sha256()) > 0;
}

static bool finish_node(struct issuer *node, const struct issuer *ca, const char *names)
{
    X509 *x = node->certificate, *by = ca->certificate;

    return X509_set_issuer_name(x, X509_get_subject_name(by)) == 1 &&
           add_extension(x, by, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(x, by, NID_key_usage, "critical,digitalSignature") &&
           add_extension(x, by, NID_ext_key_usage, "clientAuth,serverAuth") &&
           add_extension(x, by, NID_subject_key_identifier, "hash") &&
           add_extension(x, by, NID_authority_key_identifier, "keyid") &&
           add_extension(x, by, NID_subject_alt_name, names) &&
           X509_sign(x, ca->key, EVP_sha256()) > 0;
}

/* ---- files ---- */

static bool path_of(const char *dir, const char *file, char out[PATH_BYTES])
{
    if (snprintf(out, PATH_BYTES, "%s/%s", dir, file) < PATH_BYTES)
        return true;
    fprintf(stderr, "selvage pki: %s: the path is too long\n", dir);
    return false;
}

static bool tell_file(const char *path, const char *what)
{
    fprintf(stderr, "selvage pki: %s: %s: %s\n", path, what, strerror(errno));
    return false;
}

/* The certificate, the key, or one behind the other; NULL is left out. */
static bool write_pem(const char *path, X509 *x, EVP_PKEY *key)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *p;
    long bytes;
    bool ok;

    ok = b != NULL && (x == NULL || PEM_write_bio_X509(b, x) == 1) &&
         (key == NULL || PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1);
    if (!ok) {
        crypto_failed(path);
    } else {
        bytes = BIO_get_mem_data(b, &p);
        ok = file_write_atomic(path, (struct slice){p, (size_t)bytes}) == ERR_OK ||
             tell_file(path, "cannot be written");
        if (key != NULL)
            OPENSSL_cleanse(p, (size_t)bytes);
    }
    BIO_free(b);
    return ok;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static int no_password(char *buf, int bytes, int is_writing, void *user)
{
    (void)buf;
    (void)bytes;
    (void)is_writing;
    (void)user;
    return -1;
}

static BIO *open_pem(const char *path)
{
    BIO *b = BIO_new_file(path, "r");

    if (b == NULL)
        fprintf(stderr, "selvage pki: %s cannot be read: %s; `selvage pki init` makes it, once\n",
                path, strerror(errno));
    return b;
}

static bool read_ca(const char *dir, struct issuer *out)
{
    char path[PATH_BYTES], key[PATH_BYTES];
    BIO *b;

    if (!path_of(dir, CA_FILE, path) || !path_of(dir, CA_KEY, key) || (b = open_pem(path)) == NULL)
        return false;
    out->certificate = PEM_read_bio_X509(b, NULL, NULL, NULL);
    BIO_free(b);
    if ((b = open_pem(key)) == NULL)
        return false;
    out->key = PEM_read_bio_PrivateKey(b, NULL, no_password, NULL);
    BIO_free(b);
    if (out->certificate != NULL && out->key != NULL &&
        X509_check_private_key(out->certificate, out->key) == 1 &&
        X509_check_ca(out->certificate) == 1)
        return true;
    ERR_clear_error();
    fprintf(stderr, "selvage pki: %s and %s are no CA's certificate with its key\n", path, key);
    return false;
}

/* ---- what was made ---- */

static void tell_json(const char *path, const char *serial, const char *until)
{
    json_t *o = json_pack("{s:s,s:s,s:s}", "file", path, "serial", serial, "until", until);

    if (o != NULL) /* a path that is not UTF-8 has no form in JSON */
        json_dumpf(o, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(o);
}

static void tell(const struct cli *cli, const char *path, const struct issuer *made,
                 const char *also)
{
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(made->certificate), NULL);
    char *hex = n == NULL ? NULL : BN_bn2hex(n), until[32] = "";
    struct tm tm;

    for (char *p = hex; p != NULL && *p != '\0'; p++)
        *p = *p >= 'A' && *p <= 'F' ? (char)(*p | 0x20) : *p;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(made->certificate), &tm) == 1)
        strftime(until, sizeof(until), "%Y-%m-%d", &tm);
    if (cli->json)
        tell_json(path, hex == NULL ? "" : hex, until);
    else
        printf("%s: valid until %s, serial number %s\n%s", path, until, hex == NULL ? "" : hex,
               also);
    OPENSSL_free(hex);
    BN_free(n);
}

static int run_init(struct cli *cli, const char *dir)
{
    char path[PATH_BYTES], key[PATH_BYTES], name[sizeof("Selvage fleet ") + 8];
    struct issuer ca = {0};
    unsigned char tag[4];
    int status = CLI_FAILED;

    if (!path_of(dir, CA_FILE, path) || !path_of(dir, CA_KEY, key))
        return CLI_FAILED;
    if (exists(path) || exists(key)) {
        fprintf(stderr,
                "selvage pki: %s is there: a fleet has one CA, and whatever it has signed is lost "
                "with it; move it away to begin anew\n",
                exists(path) ? path : key);
        return CLI_FAILED;
    }
    if (file_make_dir(dir) != ERR_OK) {
        tell_file(dir, "cannot be made");
        return CLI_FAILED;
    }
    /* told apart by people, and by OpenSSL, which finds issuers by their names */
    if (RAND_bytes(tag, sizeof(tag)) != 1)
        return crypto_failed("random numbers");
    snprintf(name, sizeof(name), "Selvage fleet %02x%02x%02x%02x", tag[0], tag[1], tag[2], tag[3]);
    if (!begin(&ca, name, CA_DAYS) || !finish_ca(&ca)) {
        status = crypto_failed("the CA");
    } else if (write_pem(key, NULL, ca.key) && write_pem(path, ca.certificate, NULL)) {
        status = chmod(path, 0644) == 0 || tell_file(path, "cannot be made readable") ? CLI_DONE
                                                                                      : CLI_FAILED;
        tell(cli, path, &ca,
             "Give it to every node as peer.ca.  " CA_KEY
             " beside it signs nodes: keep it off them, and safe.\n");
    }
    issuer_free(&ca);
    return status;
}

/* subjectAltName, as OpenSSL writes it; every part has been checked for its letters. */
static void print_names(const struct node *n, char *out, size_t room)
{
    size_t at = 0;
    struct in6_addr address;

    for (size_t i = 0; i < n->hosts; i++)
        at += (size_t)snprintf(out + at, room - at, "%s%s:%s", i == 0 ? "" : ",",
                               inet_pton(AF_INET, n->host[i], &address) == 1 ||
                                       inet_pton(AF_INET6, n->host[i], &address) == 1
                                   ? "IP"
                                   : "DNS",
                               n->host[i]);
    if (n->region != NULL)
        at += (size_t)snprintf(out + at, room - at, ",URI:urn:selvage:region:%s", n->region);
    for (size_t i = 0; i < n->sites; i++)
        at += (size_t)snprintf(out + at, room - at, ",URI:urn:selvage:site:%s", n->site[i]);
}

static int run_node(struct cli *cli, const char *dir, const struct node *n)
{
    char file[NAME_BYTES_MAX + sizeof(".pem")], path[PATH_BYTES], *names = NULL;
    struct issuer ca = {0}, made = {0};
    int status = CLI_FAILED;

    snprintf(file, sizeof(file), "%s.pem", n->name);
    if (path_of(dir, file, path) && read_ca(dir, &ca)) {
        names = malloc(NAMES_BYTES);
        if (names != NULL)
            print_names(n, names, NAMES_BYTES);
        if (names == NULL || !begin(&made, n->name, n->days) || !finish_node(&made, &ca, names)) {
            status = crypto_failed("the certificate");
        } else if (write_pem(path, made.certificate, made.key)) {
            tell(cli, path, &made,
                 "Certificate and key: put it on that node as peer.certificate.\n");
            status = CLI_DONE;
        }
    }
    free(names);
    issuer_free(&made);
    issuer_free(&ca);
    return status;
}

/* ---- the command line ---- */

/* Of nodes, regions and sites, as the configuration has them; and of host names. */
static bool is_word(const char *s, const char *more, size_t most)
{
    size_t n = strlen(s);

    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
              (s[i] >= '0' && s[i] <= '9') || strchr(more, s[i]) != NULL))
            return false;
    return n > 0 && n <= most && s[0] != '.' && s[0] != '-';
}

static bool take_host(const char *text, struct node *n)
{
    struct in6_addr address;
    bool is_host = is_word(text, ".-", 253) || inet_pton(AF_INET6, text, &address) == 1;

    if (is_host && n->hosts < NAMES_MAX)
        n->host[n->hosts++] = text;
    else
        is_host = false;
    return is_host;
}

static bool take_site(const char *text, struct node *n)
{
    bool ok = is_word(text, ".-_", NAME_BYTES_MAX) && n->sites < NAMES_MAX;

    if (ok)
        n->site[n->sites++] = text;
    return ok;
}

enum { OPTION_DIR = 300, OPTION_HOST, OPTION_REGION, OPTION_SITE, OPTION_DAYS };

/* False: the mistake has been printed. */
static bool take_option(const struct cli *cli, int option, const char **dir, struct node *n)
{
    switch (option) {
    case OPTION_DIR:
        *dir = optarg;
        return true;
    case OPTION_HOST:
        if (take_host(optarg, n))
            return true;
        cli_wrong(cli, "--host %s: neither a host name nor an address, or the 65th", optarg);
        return false;
    case OPTION_SITE:
        if (take_site(optarg, n))
            return true;
        cli_wrong(cli, "--site %s: no name of a site, or the 65th", optarg);
        return false;
    case OPTION_REGION:
        n->region = optarg;
        if (is_word(optarg, ".-_", NAME_BYTES_MAX))
            return true;
        cli_wrong(cli, "--region %s: no name of a region", optarg);
        return false;
    case OPTION_DAYS:
        return cli_number(cli, "--days", optarg, 1, NODE_DAYS_MAX, &n->days);
    default:
        return false;
    }
}

static int run_pki(struct cli *cli, int argc, char **argv)
{
    static const struct option longs[] = {{"dir", required_argument, NULL, OPTION_DIR},
                                          {"host", required_argument, NULL, OPTION_HOST},
                                          {"region", required_argument, NULL, OPTION_REGION},
                                          {"site", required_argument, NULL, OPTION_SITE},
                                          {"days", required_argument, NULL, OPTION_DAYS},
                                          {0}};
    const char *what = NULL, *dir = ".";
    struct node n = {.days = NODE_DAYS};
    bool has_node_option = false;
    int c;

    while ((c = cli_next(cli, argc, argv, "", longs)) != CLI_END) {
        if (c == CLI_WRONG)
            return CLI_USAGE;
        has_node_option = has_node_option || (c != CLI_OPERAND && c != OPTION_DIR);
        if (c != CLI_OPERAND) {
            if (!take_option(cli, c, &dir, &n))
                return CLI_USAGE;
        } else if (what == NULL) {
            what = optarg;
        } else if (n.name == NULL) {
            n.name = optarg;
        } else {
            return cli_wrong(cli, "`%s`: one node at a time", optarg);
        }
    }
    if (what != NULL && strcmp(what, "init") == 0)
        return n.name != NULL || has_node_option ? cli_wrong(cli, "init takes --dir alone")
                                                 : run_init(cli, dir);
    if (what == NULL || strcmp(what, "node") != 0)
        return cli_wrong(cli, "write `init` or `node NAME`");
    if (n.name == NULL || !is_word(n.name, ".-_", NAME_BYTES_MAX))
        return cli_wrong(cli, "node: write a name of letters, digits, '.', '-' and '_'");
    if (strcmp(n.name, "fleet-ca") == 0)
        return cli_wrong(cli, "node: fleet-ca is the name of the CA's own file");
    if (n.hosts == 0 && !take_host(n.name, &n))
        return cli_wrong(cli, "node: %s is no host name; write --host", n.name);
    return run_node(cli, dir, &n);
}

const struct cli_command cmd_pki = {
    .name = "pki",
    .summary = "make the fleet's CA, and certificates for its nodes",
    .synopsis = "pki init [--dir DIR]\n"
                "       selvage [option ...] pki node NAME [--dir DIR] [--host HOST ...] "
                "[--region REGION]\n"
                "                                     [--site SITE ...] [--days N]",
    .help = "Nodes of a fleet know each other by certificates of its own CA.  Asks no node.\n"
            "\n"
            "  init           makes DIR/" CA_FILE " for every node, and DIR/" CA_KEY ",\n"
            "                 which signs and stays with you.  Never replaces them.\n"
            "  node NAME      makes DIR/NAME.pem, certificate and key, for peer.certificate;\n"
            "                 one that is there is replaced, and stays valid until it ends or\n"
            "                 is revoked in peers.yaml\n"
            "  --dir DIR      where the files are; default: here\n"
            "  --host HOST    name or address by which other nodes reach it; repeat it for more;\n"
            "                 default: NAME\n"
            "  --region NAME  the region it stands in\n"
            "  --site SITE    a site that it may ask shields for; repeat it; default: all\n"
            "  --days N       how long it is valid; default 365\n",
    .run = run_pki,
};
