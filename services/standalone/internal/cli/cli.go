package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/client"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/standalone/internal/doctor"
	"codexgateway.dev/services/standalone/internal/settings"
	"codexgateway.dev/services/standalone/internal/up"
)

// Process is what the command line runs in.
type Process struct {
	// Args are the arguments after the program's name.
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	LookupEnv      func(string) (string, bool)
	// Dir is where codexgw apply works; empty: the working directory.
	Dir string
	// Terminal tells whether w is a terminal and how wide it is; nil: the real thing.
	Terminal func(w io.Writer) (width func() int, ok bool)
	// HTTPClient carries the calls; nil: one of its own.
	HTTPClient *http.Client
	// Assemble composes the gateway for codexgw up; nil: up.Assemble.
	Assemble up.AssembleFunc
	// Bootstrap creates what the services need on the cloud platform; nil: this
	// program cannot.
	Bootstrap BootstrapFunc
	// Checks are added to those of codexgw doctor, after the basic ones.
	Checks func(doctor.Environment) []doctor.Check
}

// app is one invocation.
type app struct {
	Process
	flags settings.Flags
	// code is the exit code of a command that ended without an error.
	code int
}

// Main runs one command and returns the process's exit code.
func Main(ctx context.Context, p Process) int {
	if p.Terminal == nil {
		p.Terminal = terminal
	}
	a := &app{Process: p}
	root := a.root() //nolint:contextcheck // commands get ctx from ExecuteContext
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		return a.fail(err)
	}
	return a.code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "codexgw",
		Short: "Run the Codex CLI as a service, and use it",
		Long: `codexgw runs a gateway on this machine and is the client of any gateway.

Settings come from flags, then the environment, then the file
~/.config/codexgw/config.json ({"url": …, "key_file": …}). Without any, the
commands use the gateway that "codexgw up" started on this machine.

  CODEXGW_URL        the gateway, such as https://gateway.example.com
  CODEXGW_API_KEY    the API key
  CODEXGW_KEY_FILE   a file that holds the API key
  CODEXGW_DATA_DIR   where "codexgw up" keeps its data

Exit codes: 0 ok, 1 the job or the command failed, 2 wrong usage,
3 the gateway cannot be reached.`,
		Example: `  codexgw up --mock-model
  codexgw submit --watch 'explain what this repository does' --repo https://github.com/golang/example
  codexgw apply job_…`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%s", err).hint("Run '%s --help' for the flags.", cmd.CommandPath())
	})
	root.PersistentFlags().StringVar(&a.flags.URL, "url", "", "the gateway's URL (CODEXGW_URL; default "+settings.DefaultURL+")")
	root.PersistentFlags().StringVar(&a.flags.KeyFile, "key-file", "", "a file that holds the API key (CODEXGW_KEY_FILE)")
	root.AddCommand(a.upCommand(), a.submitCommand(), a.watchCommand(), a.getCommand(), a.listCommand(), a.cancelCommand(),
		a.diffCommand(), a.applyCommand(), a.artifactsCommand(), a.keysCommand(), a.bootstrapCommand(), a.mockModelCommand(), a.doctorCommand(), a.versionCommand())
	return root
}

// noCommand refuses what is no command.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := usagef("there is no command %q", args[0])
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		return e.hint("Did you mean 'codexgw %s'?", like[0])
	}
	return e.hint("Run 'codexgw --help' for the commands.")
}

// oneArg wants exactly one argument.
func oneArg(what, example string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 1 && args[0] != "":
			return nil
		case len(args) <= 1:
			return usagef("%s is missing", what).hint("Such as: %s %s", cmd.CommandPath(), example)
		default:
			return usagef("one %s is wanted, not %d arguments", what, len(args)).hint("Put it in quotes, such as: %s %s", cmd.CommandPath(), example)
		}
	}
}

// noArgs wants no argument.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("%s takes no argument, but got %q", cmd.CommandPath(), args[0]).hint("Run '%s --help'.", cmd.CommandPath())
}

// errInterrupted is the cause of a client command that a signal ended.
var errInterrupted = errors.New("interrupted")

// calling runs a command that calls a gateway: it ends at the first signal.
func (a *app) calling(run func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		gw, noKey := settings.Resolve(a.flags, a.LookupEnv)
		if noKey != nil && !errors.Is(noKey, settings.ErrNoKey) {
			return usagef("%s", noKey)
		}
		c, err := client.New(client.Options{
			URL: gw.URL, Key: gw.Key, HTTPClient: a.HTTPClient, UserAgent: "codexgw/" + chassis.Build().Version,
		})
		if err != nil {
			return usagef("%s", err).hint("Give the gateway's URL with --url or CODEXGW_URL, such as %s.", settings.DefaultURL)
		}
		defer c.Close()
		ctx, cancel := context.WithCancelCause(cmd.Context())
		defer cancel(nil)
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
		done := make(chan struct{})
		go func() {
			defer close(done)
			select {
			case <-signals:
				signal.Stop(signals) // a second one ends the process
				cancel(errInterrupted)
			case <-ctx.Done():
			}
		}()
		err = run(ctx, c, args)
		cancel(nil)
		<-done
		signal.Stop(signals)
		if noKey != nil && errors.Is(err, &client.Error{Code: errs.Unauthenticated}) {
			// Only now: without a gateway, that is what to say, not that a key is missing.
			return usagef("%s", noKey).hint("Start a gateway here with 'codexgw up', or give the key of another with --key-file FILE or CODEXGW_API_KEY.")
		}
		return a.unreached(err, c)
	}
}
