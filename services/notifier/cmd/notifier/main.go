// Command notifier is the service that tells the outside, on Google Cloud.
package main

import (
	"context"
	"os"

	"codexgateway.dev/pkg/boot"
	"codexgateway.dev/pkg/boot/cloud"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/services/notifier"
)

func main() {
	os.Exit(boot.Main(context.Background(), cloud.Process{Name: "notifier", Args: os.Args[1:], Open: cloud.Open}, build))
}

func build(_ context.Context, rt *chassis.Runtime, cfg notifier.Config, p *boot.Parts) (chassis.Service, error) {
	return notifier.New(cfg, notifier.Deps{Bus: p.Bus, Logger: rt.Log})
}
