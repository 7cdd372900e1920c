# One image for selvage-edge and selvage.
#
#   docker build -t selvage .
#   docker run -d --name edge --stop-timeout 35 -p 443:443 -p 80:80 -v selvage:/var/lib/selvage \
#       -v "$PWD/sites.yaml:/etc/selvage/sites.yaml:ro" -v "$PWD/tls:/etc/selvage/tls:ro" selvage
#   docker exec edge selvage status
#
# It does not run as root: the private keys in tls must be readable for the user 10001.  Docker lets
# that user bind ports 80 and 443; where another engine does not, add
# --sysctl net.ipv4.ip_unprivileged_port_start=0.  With a configuration of your own at
# /etc/selvage/edge.yaml that does not listen on 80, set SELVAGE_HEALTH.

FROM debian:12-slim AS build
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        gcc libc6-dev make libh2o-evloop-dev liblmdb-dev libssl-dev libcurl4-openssl-dev \
        libyaml-dev libxxhash-dev libjansson-dev uthash-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make -j"$(nproc)" B=/build /build/selvage-edge /build/selvage \
    && strip /build/selvage-edge /build/selvage

FROM debian:12-slim
# curl is for the health check alone.
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates curl libh2o-evloop0.13 liblmdb0 libssl3 libcurl4 libyaml-0-2 libxxhash0 \
        libjansson4 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/selvage --shell /usr/sbin/nologin selvage \
    && install -d -o selvage -g selvage -m 700 /var/lib/selvage \
    && install -d /etc/selvage
COPY --from=build /build/selvage-edge /usr/local/sbin/
COPY --from=build /build/selvage /usr/local/bin/
COPY conf/container.yaml /etc/selvage/edge.yaml
COPY LICENSE /usr/share/doc/selvage/
ENV SELVAGE_HEALTH=http://127.0.0.1/.well-known/selvage/health
USER selvage
VOLUME /var/lib/selvage
EXPOSE 443 80
STOPSIGNAL SIGTERM
# 200 ok; 503 while it drains or hangs.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["sh", "-c", "exec curl -fsSk -m 2 -o /dev/null \"$SELVAGE_HEALTH\""]
ENTRYPOINT ["/usr/local/sbin/selvage-edge"]
CMD ["--config", "/etc/selvage/edge.yaml"]
