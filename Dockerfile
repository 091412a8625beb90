# One static binary in an empty image. Needs BuildKit, which every engine has from 18.09 on; written for the subset that
# engine 20.10 understands (no here-documents, no COPY --link, no syntax line), so that it builds wherever a user is.
#
#   docker build -t regionwatch .
#   docker build --platform linux/arm64 -t regionwatch .      compiled here, by a cross compiler: nothing is emulated
#   docker build --secret id=ca,src=bundle.pem -t regionwatch .      behind a proxy with its own certificate authority
ARG RUST_IMAGE=rust:1.95-slim-bookworm

FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS build
ARG TARGETARCH
WORKDIR /src
# What differs between the architectures: the target's name, and where it is not this machine's, its linker.
COPY docker/compile docker/compile
RUN docker/compile prepare "$TARGETARCH"

# The dependencies, in a layer of their own that only a change of a Cargo.toml or Cargo.lock makes anew. The targets that
# need files from outside the context (tests, benches, examples) are not part of the image's package. Of the
# workspace's other members cargo wants the manifests alone.
COPY Cargo.toml Cargo.lock ./
COPY examples/webhook_receiver/Cargo.toml examples/webhook_receiver/
COPY fuzz/Cargo.toml fuzz/
COPY testkit/Cargo.toml testkit/
COPY testkit/macros/Cargo.toml testkit/macros/
RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    sed -i '/^\[\[\(test\|bench\|example\)\]\]$/,/^$/d' Cargo.toml \
    && mkdir src && echo '//! Stands for the program.' > src/lib.rs && cp src/lib.rs src/main.rs \
    && echo 'fn main() {}' >> src/main.rs \
    && docker/compile build "$TARGETARCH" \
    && rm -r src

COPY src src
# Only REVISION and SOURCE_DATE_EPOCH differ between two builds of the same sources, and each is given by who builds.
ARG REVISION=unknown
ARG SOURCE_DATE_EPOCH=0
RUN find src -exec touch {} + \
    && REGIONWATCH_REVISION="$REVISION" docker/compile build "$TARGETARCH" \
    && docker/compile take "$TARGETARCH" regionwatch /regionwatch \
    && touch --date="@$SOURCE_DATE_EPOCH" /regionwatch

# The example of a program behind the failover webhook, for compose.yaml: docker build --target webhook-receiver .
FROM build AS build-webhook-receiver
COPY examples/webhook_receiver examples/webhook_receiver
# With the revision, so that the library is as it was.
ARG REVISION=unknown
RUN REGIONWATCH_REVISION="$REVISION" docker/compile build "$TARGETARCH" --package webhook-receiver \
    && docker/compile take "$TARGETARCH" webhook_receiver /webhook-receiver

FROM scratch AS webhook-receiver
COPY --from=build-webhook-receiver /webhook-receiver /webhook-receiver
USER 65532:65532
EXPOSE 9099
ENTRYPOINT ["/webhook-receiver"]

# The last one is what docker build makes when nothing else is asked for.
FROM scratch
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="regionwatch" \
      org.opencontainers.image.description="Cross-region latency sidecar: measures the network with kernel timestamps, exports it to Prometheus, ranks failover targets" \
      org.opencontainers.image.source="https://github.com/regionwatch/regionwatch" \
      org.opencontainers.image.documentation="https://github.com/regionwatch/regionwatch#readme" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /regionwatch /regionwatch
# One thread does nearly all, so one arena is enough, and it need not grow by more than it needs: 0.3 MB less in memory.
ENV MALLOC_ARENA_MAX=1 MALLOC_TOP_PAD_=65536
USER 65532:65532
EXPOSE 9877
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["/regionwatch", "healthcheck"]
ENTRYPOINT ["/regionwatch"]
CMD ["run"]
