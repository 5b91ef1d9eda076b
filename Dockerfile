# syntax=docker/dockerfile:1
# Keybound in an image without a shell:  docker build --tag keybound .
# To the last number: another compiler would not find its functions in the profile.
FROM rust:1.95.0-bookworm AS build
WORKDIR /keybound
COPY Cargo.toml Cargo.lock config.example.yaml ./
COPY benches benches
COPY src src
# Whole each time: cargo takes a source for old that is older than what was once built of another.
RUN --mount=type=cache,sharing=locked,target=/usr/local/cargo/registry \
    benches/profile/build \
    && install --mode=0555 target/keybound /usr/local/bin/keybound

# The C library that the build linked with, libgcc, the authorities of the web, and nothing to run but this.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Keybound" \
      org.opencontainers.image.description="A TLS-terminating reverse proxy that makes stolen access tokens worthless" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
COPY LICENSE /usr/share/doc/keybound/LICENSE
COPY --from=build /usr/local/bin/keybound /usr/local/bin/keybound
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
WORKDIR /etc/keybound
EXPOSE 8443/tcp 9090/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 CMD ["/usr/local/bin/keybound", "health"]
ENTRYPOINT ["/usr/local/bin/keybound"]
CMD ["serve", "--config", "/etc/keybound/keybound.yaml"]
