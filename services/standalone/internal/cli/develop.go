package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/mockmodel"
	"codexgateway.dev/pkg/platform"
)

// BootstrapFunc creates topics, subscriptions and the bucket of the platform that
// the environment names. Without RealProject it refuses anything but emulators.
type BootstrapFunc func(ctx context.Context, lookup func(string) (string, bool), opt platform.BootstrapOptions) error

func (a *app) bootstrapCommand() *cobra.Command {
	var opt platform.BootstrapOptions
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Create what the separate services need on emulators",
		Long: `Create the topics, subscriptions, dead letters and the bucket of
CODEXGW_PLATFORM=gcp, where they are not there yet. It may run again at any
time: after an emulator was restarted, too, because the Pub/Sub emulator keeps
nothing.

The environment is that of the services: GOOGLE_CLOUD_PROJECT, CODEXGW_BUCKET
and the *_EMULATOR_HOST variables. A real project is set up by Terraform, and
refused here without --real-project.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.Bootstrap == nil {
				return errors.New("this program was built without the cloud platform")
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			opt.Logger = chassis.NewLogger(a.Stderr, chassis.LogConfig{Format: "text"})
			err := a.Bootstrap(ctx, a.LookupEnv, opt)
			if wrong, ok := errors.AsType[*chassis.ConfigError](err); ok {
				return usagef("%s", errors.Join(wrong.Problems...)).hint("Set the variables of the services, see docs/reference/config.md.")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&opt.RealProject, "real-project", false, "create them in a project of Google Cloud too")
	cmd.Flags().BoolVar(&opt.Lanes, "lanes", false, "a subscription of job commands for each lane instead of one for all")
	return cmd
}

// mockStop bounds the end of the mock model's answers.
const mockStop = 5 * time.Second

func (a *app) mockModelCommand() *cobra.Command {
	addr := "127.0.0.1:8090"
	cmd := &cobra.Command{
		Use:   "mock-model",
		Short: "Serve the built-in scripted model alone, for development",
		Long: `Serve the scripted model that "codexgw up --mock-model" has inside, for services
that run apart. When it serves, it prints one line on standard output:
  ready {"url":…}
The url is what CODEXGW_MODEL_BASE_URL is set to. It takes any model key and
calls nobody.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			model, err := mockmodel.Start(context.WithoutCancel(ctx), mockmodel.Options{Addr: addr})
			if err != nil {
				return &hintedError{err, "Choose another address with --addr HOST:PORT."}
			}
			_, err = fmt.Fprintf(a.Stdout, "ready {\"url\":%q}\n", model.BaseURL())
			if err == nil {
				<-ctx.Done()
			}
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), mockStop)
			defer cancel()
			return errors.Join(err, model.Stop(closing))
		},
	}
	cmd.Flags().StringVar(&addr, "addr", addr, "the address to listen on")
	return cmd
}
