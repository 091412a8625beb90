# A dynamic binary on a C library and certificates alone. The base is distroless/cc-debian12, which no common registry has
# by a short name: give its full one with --build-arg BASE_IMAGE=...
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG BASE_IMAGE=distroless/cc-debian12
FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release

FROM ${BASE_IMAGE}
COPY --from=build /src/target/release/regionwatch /regionwatch
USER 65532:65532
EXPOSE 9877
ENTRYPOINT ["/regionwatch"]
CMD ["run"]
