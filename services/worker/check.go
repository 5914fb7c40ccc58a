package worker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/worker/internal/jail"
	"codexgateway.dev/services/worker/internal/probe"
)

// CheckResult is the outcome of one check of the machine.
type CheckResult = probe.Result

// Check tries whether jobs can run safely on this machine: the Codex CLI and
// its version, the jail, the sandbox and what it must deny, git, disk space. It
// changes nothing. A worker makes the same checks before its first job.
func Check(ctx context.Context, codex, dataDir string, hide []string) []CheckResult {
	return probe.Run(ctx, probe.Config{
		Codex: codex, DataDir: dataDir, Jail: jail.Config{Mode: strongest(), Hide: hide},
	})
}

// strongest is the best mode this system has.
func strongest() jail.Mode {
	if runtime.GOOS == "linux" {
		return jail.Namespace
	}
	return jail.ProcessGroup
}

// check decides whether to take jobs here, and how they are held together. A
// machine whose sandbox does not work is refused unless told otherwise.
func (s *Service) check(ctx context.Context) (jail.Mode, error) {
	mode := strongest()
	if err := os.MkdirAll(s.cfg.DataDir, 0o711); err != nil { //nolint:gosec // G301: the jail's user passes through to its slot
		return mode, fmt.Errorf("worker: CODEXGW_WORKER_DIR: %w", err)
	}
	var broken []string
	var missing *errs.Error
	for _, r := range Check(ctx, s.cfg.Codex, s.cfg.DataDir, s.Hide) {
		if r.OK {
			continue
		}
		attrs := []slog.Attr{slog.String("check", r.Name), slog.String("found", r.Detail), slog.String("fix", r.Fix)}
		s.Logger.LogAttrs(ctx, slog.LevelWarn, "check failed", attrs...)
		switch r.Name {
		case probe.Disk:
			// Jobs fail with workspace_full when it comes to that.
		case probe.CodexBinary, probe.CodexVersion:
			missing = errs.Newf(errs.CodexMissing, "%s. %s", r.Detail, r.Fix)
		case probe.Jail:
			mode = jail.ProcessGroup
			fallthrough
		default:
			broken = append(broken, fmt.Sprintf("%s: %s. %s", r.Name, r.Detail, r.Fix))
		}
	}
	switch {
	case missing != nil:
		return mode, missing
	case len(broken) > 0 && !s.cfg.AllowUnsandboxed:
		return mode, errs.Newf(errs.SandboxUnavailable, "Jobs cannot run safely on this machine: %s", strings.Join(broken, " "))
	case len(broken) > 0:
		s.Logger.WarnContext(ctx, "jobs run although the sandbox does not work: CODEXGW_ALLOW_UNSANDBOXED is set")
	}
	return mode, nil
}
