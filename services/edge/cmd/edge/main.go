// Command edge is the service that clients talk to, on Google Cloud.
package main

import (
	"context"
	"os"

	"codexgateway.dev/pkg/boot"
	"codexgateway.dev/pkg/boot/cloud"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/services/edge"
)

func main() {
	os.Exit(boot.Main(context.Background(), cloud.Process{Name: "edge", Args: os.Args[1:], Open: cloud.Open, OwnListener: true}, build))
}

func build(_ context.Context, rt *chassis.Runtime, cfg edge.Config, p *boot.Parts) (chassis.Service, error) {
	return edge.New(cfg, edge.Deps{
		Jobs: p.Jobs, Docs: p.Docs, Bus: p.Bus, Secrets: p.Secrets, Blobs: p.Blobs, BlobHandler: p.BlobHandler, Listener: p.Listener,
		Health: rt.Health, Logger: rt.Log, Now: p.Now, Version: rt.Build.Version,
	})
}
