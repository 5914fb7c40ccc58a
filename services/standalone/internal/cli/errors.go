package cli

import (
	"errors"
	"fmt"
	"strings"

	"codexgateway.dev/pkg/client"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/standalone/internal/gitpatch"
	"codexgateway.dev/services/standalone/internal/termsafe"
	"codexgateway.dev/services/standalone/internal/up"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	// exitInterrupted is what shells expect of a program that SIGINT ended.
	exitInterrupted = 130
)

// usageError is a mistake in how the command was called.
type usageError struct {
	problem, todo string
}

func (e *usageError) Error() string { return e.problem }

func usagef(format string, args ...any) *usageError {
	return &usageError{problem: fmt.Sprintf(format, args...)}
}

// hint adds what to do about it.
func (e *usageError) hint(format string, args ...any) error {
	e.todo = fmt.Sprintf(format, args...)
	return e
}

// hintedError is a failure with what to do about it.
type hintedError struct {
	error
	todo string
}

func (e *hintedError) Unwrap() error { return e.error }

// errJobFailed makes the exit code 1 without another word: the view has said it.
var errJobFailed = errors.New("the job did not complete")

// unreached adds to an unreachable gateway which one it was.
func (a *app) unreached(err error, c *client.Client) error {
	if !errors.Is(err, client.ErrUnreachable) {
		return err
	}
	return &hintedError{
		error: fmt.Errorf("%s: %w", c.URL(), err),
		todo:  "Is it running? Start one here with 'codexgw up', or name another with --url or CODEXGW_URL.",
	}
}

// fail prints an error and returns its exit code.
func (a *app) fail(err error) int {
	var (
		usage   *usageError
		setting *up.SettingError
		hinted  *hintedError
		answer  *client.Error
	)
	switch {
	case errors.Is(err, errJobFailed):
		return exitFailed
	case errors.Is(err, errInterrupted):
		a.complain("interrupted", "")
		return exitInterrupted
	case errors.As(err, &usage):
		a.complain(usage.problem, usage.todo)
		return exitUsage
	case errors.As(err, &setting):
		a.complain(setting.Problem, setting.Fix)
		return exitUsage
	case errors.As(err, &hinted):
		a.complain(hinted.Error(), hinted.todo)
		if errors.Is(err, client.ErrUnreachable) {
			return exitUnreachable
		}
		return exitFailed
	case errors.As(err, &answer):
		a.complain(answer.Error(), advice(answer))
		if answer.Code == errs.InvalidParams {
			return exitUsage
		}
		return exitFailed
	case errors.Is(err, gitpatch.ErrNoWorkTree):
		a.complain(err.Error(), "Change to the repository the patch is for.")
		return exitUsage
	default:
		a.complain(err.Error(), "")
		return exitFailed
	}
}

// advice is what to do about an answer of the gateway.
func advice(e *client.Error) string {
	switch e.Code { //nolint:exhaustive // these two read differently from here than from the API
	case errs.Unauthenticated:
		return "Give a key of this gateway with --key-file FILE or CODEXGW_API_KEY."
	case errs.InvalidParams:
		return ""
	}
	return errs.Lookup(e.Code).Help
}

// complain writes to standard error. What others wrote is in it.
func (a *app) complain(problem, todo string) {
	_, _ = fmt.Fprintln(a.Stderr, "codexgw: "+termsafe.Line(problem))
	for line := range strings.SplitSeq(todo, "\n") {
		if line != "" {
			_, _ = fmt.Fprintln(a.Stderr, "  "+termsafe.Line(line))
		}
	}
}

// note writes a remark to standard error.
func (a *app) note(format string, args ...any) {
	_, _ = fmt.Fprintln(a.Stderr, termsafe.Line(fmt.Sprintf(format, args...)))
}
