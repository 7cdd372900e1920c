/* Requests that a guard has answered: request.c never hears of them. */
#include <netinet/in.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "server/accesslog.h"
#include "server/guards.h"

void conn_know_address(struct conn *c)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};

    if (c->address_bytes > 0)
        return;
    if (c->sock != NULL)
        (void)h2o_socket_getpeername(c->sock, (void *)&sa);
    c->address_bytes = (uint8_t)accesslog_address((void *)&sa, c->address);
    c->network_bytes = (uint8_t)accesslog_network((void *)&sa, c->network);
}

void guard_log_refusal(struct conn *c, struct accesslog_line *line)
{
    char *room;

    metrics_add(METRIC_REQUESTS_REFUSED, 1);
    if (!log_has_access())
        return;
    room = log_stream_begin(c->worker->access, ACCESSLOG_BYTES);
    if (room == NULL)
        return;
    conn_know_address(c);
    line->wall_ms = clock_now().wall_ms;
    line->client = (struct slice){c->network, c->network_bytes};
    line->site = line->id = SLICE("-");
    line->verdict = "refused";
    line->first_us = -1;
    log_stream_end(c->worker->access, accesslog_format(line, room));
}
