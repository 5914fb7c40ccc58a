// Command codexgw runs the gateway on one machine and is the command line
// client of any gateway.
package main

import (
	"context"
	"os"

	"codexgateway.dev/pkg/boot/cloud"
	"codexgateway.dev/services/standalone/internal/cli"
	"codexgateway.dev/services/standalone/internal/doctor"
)

func main() {
	os.Exit(cli.Main(context.Background(), cli.Process{
		Args:      os.Args[1:],
		Stdin:     os.Stdin,
		Stdout:    os.Stdout,
		Stderr:    os.Stderr,
		LookupEnv: os.LookupEnv,
		Checks:    doctor.Sandbox,
		Bootstrap: cloud.Bootstrap,
	}))
}
