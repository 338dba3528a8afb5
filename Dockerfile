# Makes the image from these sources with nothing but docker:
#
#     docker build -t berth .
#
# `make dist` makes the same image without docker, for `docker load`; both get
# their files from build/dist, and a test compares the results.
ARG GO_IMAGE=golang:1.26
FROM ${GO_IMAGE} AS build
ARG VERSION=dev
# The profile by which the program is optimised, or off.
ARG PGO=build/berth.pgo
COPY . /src
WORKDIR /src
RUN go run ./build/dist -version "$VERSION" -pgo "$PGO" -tree /tree

FROM scratch
COPY --from=build /tree/ /
LABEL org.opencontainers.image.title="Berth" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /
VOLUME /var/lib/registry
EXPOSE 5000
STOPSIGNAL SIGTERM
# While it takes over a large directory it isn't ready: nothing is wrong then.
HEALTHCHECK --interval=10s --timeout=10s --start-period=5m --retries=3 CMD ["/bin/berth", "health"]
ENTRYPOINT ["/entrypoint.sh"]
CMD ["/etc/docker/registry/config.yml"]
