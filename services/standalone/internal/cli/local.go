package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/services/standalone/internal/doctor"
	"codexgateway.dev/services/standalone/internal/settings"
	"codexgateway.dev/services/standalone/internal/up"
	"codexgateway.dev/services/worker/codexversion"
)

// localFlags are the flags of the commands that concern this machine.
type localFlags struct {
	addr, data, codex string
}

func (f *localFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.addr, "addr", "", "the address to listen on (CODEXGW_ADDR, PORT; default 127.0.0.1:8080)")
	fl.StringVar(&f.data, "data", "", "the `DIR` that holds everything (CODEXGW_DATA_DIR; default ~/.local/share/codexgw)")
	fl.StringVar(&f.codex, "codex", "", "the Codex CLI's `PATH` (CODEXGW_CODEX; default .codex-cli here or above, then PATH)")
}

// codexPath is the flag, or else the variable.
func (a *app) codexPath(flag string) string {
	if flag != "" {
		return flag
	}
	return a.env("CODEXGW_CODEX")
}

func (a *app) upCommand() *cobra.Command {
	var (
		f    localFlags
		mock bool
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a gateway on this machine",
		Long: `Run the whole gateway in this process, with its data in one directory.

When it serves, it prints one line on standard output:
  ready {"url":…,"key_file":…}
The model key comes from OPENAI_API_KEY or DIR/secrets/openai-api-key; with
--mock-model none is needed. SIGTERM and Ctrl-C drain it: running jobs are
handed back and go on at the next start.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			code, err := up.Run(cmd.Context(), up.Config{
				Addr: f.addr, DataDir: f.data, Codex: a.codexPath(f.codex), MockModel: mock,
				LookupEnv: a.LookupEnv, Stdout: a.Stdout, Stderr: a.Stderr, Assemble: a.Assemble,
			})
			a.code = code
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&mock, "mock-model", false, "answer with the built-in scripted model instead of a real one")
	return cmd
}

func (a *app) doctorCommand() *cobra.Command {
	var (
		f      localFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check whether the gateway can work on this machine",
		Long:  "Check Codex, the sandbox, git, the data directory, the model key and the port, and say what to do. Exits 1 when anything is wrong.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks := a.checks(cmd.Context(), &f)
			report := doctor.Run(cmd.Context(), checks, func(r doctor.Result) {
				if !asJSON {
					_ = r.Write(a.Stdout) // a reader that left is told by the exit code
				}
			})
			if !report.OK {
				a.code = exitFailed
			}
			if asJSON {
				return report.WriteJSON(a.Stdout)
			}
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// checks are those of doctor, on the machine as up would find it.
func (a *app) checks(ctx context.Context, f *localFlags) []doctor.Check {
	env := doctor.Environment{LookupEnv: a.LookupEnv, Codex: a.codexPath(f.codex)}
	var wrong error
	if env.Addr, wrong = up.Addr(ctx, f.addr, a.LookupEnv); wrong != nil {
		env.Addr = settings.DefaultAddr
	}
	var err error
	if env.DataDir, err = up.DataDir(f.data, "", a.LookupEnv); err != nil {
		wrong = errors.Join(wrong, err)
	}
	env.ModelKey = func(ctx context.Context) (string, error) { return up.ModelKey(ctx, a.LookupEnv, env.DataDir) }
	checks := append([]doctor.Check{{Name: "settings", Run: func(context.Context) (detail, fix string, err error) {
		if s, ok := errors.AsType[*up.SettingError](wrong); ok {
			fix = s.Fix
		}
		return "", fix, wrong
	}}}, doctor.Basic(env)...)
	if a.Checks != nil {
		checks = append(checks, a.Checks(env)...)
	}
	return checks
}

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and that of Codex the gateway is built for",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			build := chassis.Build()
			if asJSON {
				raw, err := json.Marshal(struct {
					chassis.BuildInfo
					Codex string `json:"codex"`
				}{build, codexversion.Pinned()})
				if err != nil {
					return fmt.Errorf("encode the version: %w", err)
				}
				return a.printRaw(raw)
			}
			commit := ""
			if build.Commit != "" {
				commit = " (" + build.Commit + ")"
			}
			_, err := fmt.Fprintf(a.Stdout, "codexgw %s%s\ncodex   %s\n%s\n", build.Version, commit, codexversion.Pinned(), build.Go)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
