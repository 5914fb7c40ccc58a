package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const version = "0.169.0"

func main() {
	sigs := make(chan os.Signal, 1)
	signal.Notify(sigs, syscall.SIGTERM)
	os.Exit(run(context.Background(), &process{
		name:   calledBy(),
		args:   os.Args[1:],
		home:   os.Getenv("CODEX_HOME"),
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
		term:   sigs,
	}))
}

// calledBy is the name the program was called by and, where that is a symlink,
// the name of what it leads to.
func calledBy() string {
	name := filepath.Base(os.Args[0])
	if exe, err := os.Executable(); err == nil {
		name += " " + filepath.Base(exe)
	}
	return name
}

// process is everything fakecodex takes from outside.
type process struct {
	name           string
	args           []string
	home           string
	stdin          io.Reader
	stdout, stderr io.Writer
	term           <-chan os.Signal
}

// named reports whether the binary is called by a name with the trait in it.
func (p *process) named(trait string) bool { return strings.Contains(p.name, trait) }

// run is the program; the result is its exit status.
func run(ctx context.Context, p *process) int {
	command := ""
	if len(p.args) > 0 {
		command = p.args[0]
	}
	switch command {
	case "--version", "-V":
		v := version
		if p.named("old-version") {
			v = "0.100.0"
		}
		fmt.Fprintf(p.stdout, "codex-cli %s\n", v)
		return 0
	case "sandbox":
		if p.named("no-sandbox") {
			fmt.Fprintln(p.stderr, "bwrap: No permissions to create a new namespace, likely because the kernel does not allow non-privileged user namespaces.")
			return 1
		}
		return 0
	case "app-server":
		return newServer(p).serve(ctx)
	}
	fmt.Fprintf(p.stderr, "fakecodex: unknown command %q\n", command)
	return 2
}
