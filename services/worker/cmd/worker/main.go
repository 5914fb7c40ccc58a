// Command worker is the service that runs jobs, on Google Cloud.
package main

import (
	"context"
	"os"

	"codexgateway.dev/pkg/boot"
	"codexgateway.dev/pkg/boot/cloud"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/services/worker"
)

func main() {
	os.Exit(boot.Main(context.Background(), cloud.Process{Name: "worker", Args: os.Args[1:], Open: cloud.Open}, build))
}

func build(_ context.Context, rt *chassis.Runtime, cfg worker.Config, p *boot.Parts) (chassis.Service, error) {
	return worker.New(cfg, worker.Deps{
		Jobs: p.Jobs, Bus: p.Bus, Secrets: p.Secrets, Logger: rt.Log, Now: p.Now, Version: rt.Build.Version,
	})
}
