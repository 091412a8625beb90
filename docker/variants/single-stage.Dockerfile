# The compiler's image, with everything in it.
ARG RUST_IMAGE=rust:1.95-slim-bookworm
FROM ${RUST_IMAGE}
WORKDIR /src
COPY . .
RUN cargo build --locked --release
USER 65532:65532
EXPOSE 9877
ENTRYPOINT ["/src/target/release/regionwatch"]
CMD ["run"]
