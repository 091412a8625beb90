# A dynamic binary on a small distribution.
ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release

FROM ${BASE_IMAGE}
COPY --from=build /src/target/release/regionwatch /usr/local/bin/regionwatch
USER 65532:65532
EXPOSE 9877
ENTRYPOINT ["/usr/local/bin/regionwatch"]
CMD ["run"]
