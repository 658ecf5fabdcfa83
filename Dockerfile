# The binary on a small Debian; `docker build -t tidegate .`, then `docker run tidegate run --origin http://...`.

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The toolchain and its wasm targets change less often than the source.
COPY rust-toolchain.toml ./
COPY setup ./setup
RUN setup/prepare build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --bin tidegate && cp target/dist/tidegate /usr/local/bin/tidegate

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin tidegate
COPY --from=build /usr/local/bin/tidegate /usr/local/bin/tidegate
COPY tidegate.toml tidegate.fly.toml /etc/tidegate/
USER tidegate
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
ENTRYPOINT ["tidegate"]
CMD ["run", "-c", "/etc/tidegate/tidegate.toml"]
