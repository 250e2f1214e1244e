# The one command, alone. It needs nothing but this repository: docker build --tag portcullis .
ARG RUST=1.95.0
FROM rust:${RUST}-bookworm AS build
ARG RUST
# The toolchain that is there, and not the one with all components that rust-toolchain.toml is for.
ENV RUSTUP_TOOLCHAIN=${RUST} CARGO_TERM_COLOR=never
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --package portcullis-cli \
    && image/rootfs target/dist/portcullis /rootfs

FROM scratch
COPY --from=build /rootfs /
USER 65532:65532
ENTRYPOINT ["/portcullis"]
LABEL org.opencontainers.image.title="portcullis" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/portcullis/portcullis"
