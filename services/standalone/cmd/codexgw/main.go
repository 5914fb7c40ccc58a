// Command codexgw runs the gateway on one machine and is the command line
// client of any gateway.
package main

import (
	"context"
	"os"

	"codexgateway.dev/services/standalone/internal/cli"
)

func main() {
	// JAIL HOOK: worker.JailMain() belongs here, before anything else. A jail's
	// first stage is this program started anew, and must not parse arguments.

	os.Exit(cli.Main(context.Background(), cli.Process{
		Args:      os.Args[1:],
		Stdin:     os.Stdin,
		Stdout:    os.Stdout,
		Stderr:    os.Stderr,
		LookupEnv: os.LookupEnv,
	}))
}
