# The filtering proxy of deploy/compose.proxy.yaml; `make proxy` builds this. BASE: an image of Debian or Ubuntu.
ARG BASE=debian:stable-slim
FROM ${BASE}
LABEL org.opencontainers.image.title="dockmend-proxy" \
      org.opencontainers.image.description="Passes to a Docker Engine only what dockmend needs to heal by labels" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN command -v haproxy >/dev/null || { apt-get update \
 && apt-get install --yes --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*; }
COPY deploy/haproxy.cfg /etc/haproxy/dockmend.cfg
# It needs root for the engine's socket, and no capability; under another user it must still be able to read this.
RUN chmod 644 /etc/haproxy/dockmend.cfg && haproxy -c -f /etc/haproxy/dockmend.cfg
ENTRYPOINT ["haproxy", "-db", "-f", "/etc/haproxy/dockmend.cfg"]
