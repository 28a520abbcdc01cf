# An image that holds the server and nothing else: no shell, no libc, no package manager.
#
#     docker build --build-arg VERSION="$(git describe --tags --always --dirty)" -t latchkey .
FROM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download && go mod verify
COPY . .
ARG VERSION
RUN make build VERSION="$VERSION"
RUN mkdir -p /image/etc/ssl/certs /empty && \
    cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ && \
    echo 'latchkey:x:65532:65532::/:/' >/image/etc/passwd && \
    cp bin/latchkey /image/

FROM scratch
# The roots of the public certificate authorities, which Azure SQL needs, a user, and the program.
COPY --from=build /image /
# Volumes take their owner from it. What is written there without a volume is gone with the container.
COPY --from=build --chown=65532:65532 /empty /data
USER 65532:65532
ENV LATCHKEY_ENV=production LATCHKEY_ADDR=:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s CMD ["/latchkey", "healthcheck"]
ENTRYPOINT ["/latchkey"]
