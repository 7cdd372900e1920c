# One image for selvage-edge, selvage-shield and selvage.
#
#   make image                        # or: docker build -t selvage .
#   docker run -d --name edge --stop-timeout 45 -p 443:443 -p 80:80 -v selvage:/var/lib/selvage \
#       -v "$PWD/sites.yaml:/etc/selvage/sites.yaml:ro" -v "$PWD/tls:/etc/selvage/tls:ro" selvage
#   docker exec edge selvage status
#
# A shield, with a folder of shield.yaml, sites.yaml and what they name:
#
#   docker run -d --name shield --stop-timeout 45 -p 8443:8443 -v selvage:/var/lib/selvage \
#       -v "$PWD/shield:/etc/selvage:ro" selvage selvage-shield
#
# It does not run as root: private keys must be readable for the user 10001, tokens.yaml must be his.
# Docker lets that user bind ports 80 and 443; where another engine does not, add
# --sysctl net.ipv4.ip_unprivileged_port_start=0.  A configuration of your own that listens neither on
# port 80 nor, as a shield, on 8443 wants SELVAGE_HEALTH.
ARG BASE=debian:12-slim

FROM ${BASE} AS build
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends make
WORKDIR /src
COPY tools/deps.sh tools/
RUN tools/deps.sh build
COPY . .
RUN make -j"$(nproc)" B=/build all && strip /build/selvage-edge /build/selvage-shield /build/selvage
# The packages of the libraries that they are linked with, by their names in dpkg's database.
RUN ldd /build/selvage-edge /build/selvage-shield /build/selvage | awk '$2 == "=>" {print $1}' | sort -u | \
        while read -r so; do dpkg -S "*/$so" || exit 1; done | sed 's/:.*//' | grep -v -- -dev | sort -u \
        >/build/packages && cat /build/packages

FROM ${BASE}
COPY --from=build /build/packages /usr/share/doc/selvage/
# curl is for the health check alone.
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates curl $(cat /usr/share/doc/selvage/packages) \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/selvage --shell /usr/sbin/nologin selvage \
    && install -d -o selvage -g selvage -m 700 /var/lib/selvage \
    && install -d /etc/selvage
COPY --from=build /build/selvage-edge /build/selvage-shield /usr/local/sbin/
COPY --from=build /build/selvage /usr/local/bin/
COPY conf/container.yaml /etc/selvage/edge.yaml
COPY LICENSE /usr/share/doc/selvage/
USER selvage
VOLUME /var/lib/selvage
EXPOSE 443 80 8443
STOPSIGNAL SIGTERM
# 200 ok; 503 while it drains, hangs or has not caught up with the fleet's purges.
ENV SELVAGE_HEALTH="http://127.0.0.1/.well-known/selvage/health https://127.0.0.1:8443/.well-known/selvage/health"
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["sh", "-c", "for u in $SELVAGE_HEALTH; do curl -fsSk -m 2 -o /dev/null \"$u\" && exit; done; exit 1"]
CMD ["selvage-edge"]
