// Command reconciler is the service that repairs, on Google Cloud.
package main

import (
	"context"
	"os"

	"codexgateway.dev/pkg/boot"
	"codexgateway.dev/pkg/boot/cloud"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/gcp"
	"codexgateway.dev/services/reconciler"
)

type config struct {
	Reconciler reconciler.Config
	Cloud      gcp.Config
	Run        gcp.Run
}

func main() {
	os.Exit(boot.Main(context.Background(), cloud.Process{Name: "reconciler", Args: os.Args[1:], Open: cloud.Open}, build))
}

func build(ctx context.Context, rt *chassis.Runtime, cfg config, p *boot.Parts) (chassis.Service, error) {
	deps := reconciler.Deps{Jobs: p.Jobs, Docs: p.Docs, Bus: p.Bus, Logger: rt.Log, Now: p.Now}
	if cfg.Reconciler.ExecutionJob != "" || cfg.Reconciler.Pool != "" {
		run, err := gcp.OpenRun(ctx, cfg.Cloud, cfg.Run)
		if err != nil {
			return nil, err
		}
		deps.Executions, deps.Pool = run.Job(cfg.Reconciler.ExecutionJob, "CODEXGW_JOB_ID"), run.Pool(cfg.Reconciler.Pool)
	}
	s, err := reconciler.New(cfg.Reconciler, deps)
	if err == nil {
		p.Mux.HandleFunc("POST /tick", s.Tick)
	}
	return s, err
}
