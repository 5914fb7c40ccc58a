# One image for each service, built from this directory:
#
#   docker build --target service --build-arg SERVICE=edge -t codexgw-edge .
#   docker build --target worker -t codexgw-worker .
#   docker build --target program --build-arg SERVICE=codexgw -t codexgw-codexgw .
#
# SERVICE is edge, notifier or reconciler; codexgw is the command line, with the
# bootstrap of emulators and the mock model. The images are static programs on
# distroless, run as an unprivileged user and need no writable root file system.
# Only the worker has more: the pinned Codex CLI and git.

ARG GO_IMAGE=golang:1.26
ARG STATIC_IMAGE=gcr.io/distroless/static-debian12:nonroot
ARG NODE_IMAGE=node:20-bookworm-slim
ARG DEBIAN_IMAGE=debian:12-slim

# All programs at once: they share nearly everything, and every image uses this stage.
FROM ${GO_IMAGE} AS build
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
WORKDIR /src
COPY . .
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
	go build -trimpath -tags disable_grpc_modules \
		-ldflags "-s -w -X codexgateway.dev/pkg/chassis.version=$VERSION" -o /out/ \
		./services/edge/cmd/edge ./services/worker/cmd/worker ./services/notifier/cmd/notifier \
		./services/reconciler/cmd/reconciler ./services/standalone/cmd/codexgw

FROM ${STATIC_IMAGE} AS program
ARG SERVICE
COPY --from=build /out/${SERVICE} /service
USER 65532:65532
ENTRYPOINT ["/service"]

FROM program AS service
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["/service", "-healthcheck"]

FROM ${NODE_IMAGE} AS codex
COPY services/worker/codexversion/version /version
RUN npm install --prefix /codex --no-audit --no-fund --no-save --package-lock=false --loglevel=error "@openai/codex@$(cat /version)" \
	&& mv /codex/node_modules/@openai/codex-*/vendor/* /opt/codex \
	&& test -x /opt/codex/bin/codex

FROM ${DEBIAN_IMAGE} AS worker
RUN apt-get update -qq \
	&& apt-get install -y -qq --no-install-recommends git ca-certificates openssh-client \
	&& rm -rf /var/lib/apt/lists/* \
	&& useradd --uid 65532 --user-group --home-dir /home/worker --no-create-home worker \
	&& install -d -o worker -g worker -m 0711 /var/lib/codexgw
COPY --from=codex /opt/codex /opt/codex
COPY --from=build /out/worker /service
# The slots of running jobs: a volume or a memory file system, never /tmp.
ENV CODEXGW_WORKER_DIR=/var/lib/codexgw/slots CODEXGW_CODEX=/opt/codex
USER 65532:65532
ENTRYPOINT ["/service"]
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s CMD ["/service", "-healthcheck"]
