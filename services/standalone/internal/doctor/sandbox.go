package doctor

import (
	"context"
	"errors"
	"sync"

	"codexgateway.dev/services/worker"
)

// sandboxChecks are the worker's checks that [Basic] does not make, under the
// names of a report.
var sandboxChecks = []struct{ check, name string }{ //nolint:gochecknoglobals // a table
	{"codex_version", "codex version"},
	{"jail", "jail"},
	{"codex_sandbox", "sandbox"},
	{"sandbox_denials", "sandbox denials"},
}

// Sandbox tries for real whether a job's commands run, and only where they may.
// The worker makes the same checks before its first job.
func Sandbox(e Environment) []Check {
	var once sync.Once
	results := map[string]worker.CheckResult{}
	checks := make([]Check, len(sandboxChecks))
	for i, c := range sandboxChecks {
		checks[i] = Check{Name: c.name, Run: func(ctx context.Context) (detail, fix string, err error) {
			once.Do(func() {
				for _, r := range worker.Check(ctx, e.Codex, "", []string{e.DataDir}) {
					results[r.Name] = r
				}
			})
			r := results[c.check]
			if r.OK {
				return r.Detail, "", nil
			}
			return "", r.Fix, errors.New(r.Detail)
		}}
	}
	return checks
}
