// Command emulators runs a command with the official emulators of Pub/Sub and
// Firestore beside it, so that many test binaries share one pair:
//
//	go run ./test/emulators go test ./...
//
// The command finds them in PUBSUB_EMULATOR_HOST and FIRESTORE_EMULATOR_HOST.
// Where the emulators are not installed it says so and runs the command without.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"codexgateway.dev/pkg/gcp/gcptest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "emulators:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run returns the exit code of the command.
func run(ctx context.Context, args []string) (code int, err error) {
	if len(args) == 0 {
		return 2, errors.New("usage: emulators COMMAND [ARGUMENT…]")
	}
	env := os.Environ()
	for _, kind := range []gcptest.Kind{gcptest.PubSub, gcptest.Firestore} {
		if os.Getenv(kind.Env()) != "" {
			continue
		}
		e, err := gcptest.StartEmulator(ctx, kind, "")
		if errors.Is(err, gcptest.ErrNoEmulators) {
			fmt.Fprintln(os.Stderr, "NOT RUN on Google Cloud:", err)
			break
		}
		if err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, e.Stop()) }()
		env = append(env, kind.Env()+"="+e.Addr)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // G702: running what it is told is what it is for
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}
