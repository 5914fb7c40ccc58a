package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/worker/internal/codex"
)

func TestHowARunEndsIsHowTheJobEnds(t *testing.T) {
	t.Parallel()
	crashed := errs.New(errs.CodexCrashed, "")
	for name, tc := range map[string]struct {
		cause, err error
		state      job.State
		code       errs.Code
	}{
		"completed":                       {nil, nil, job.Completed, ""},
		"cancel":                          {errCancelled, errCancelled, job.Cancelled, ""},
		"cancel and a crash with it":      {errCancelled, crashed, job.Cancelled, ""},
		"deadline":                        {errDeadline, nil, job.TimedOut, ""},
		"stall":                           {errStalled, errStalled, job.Failed, errs.Stalled},
		"crash":                           {nil, crashed, job.Failed, errs.CodexCrashed},
		"an internal error leaks nothing": {nil, errors.New("password is swordfish"), job.Failed, errs.InternalJob},
		"a request error is internal too": {nil, errs.New(errs.Overloaded, "x"), job.Failed, errs.InternalJob},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := judge(tc.cause, tc.err)
			var code errs.Code
			if got.err != nil {
				code = errs.Code(got.err.Code)
				if strings.Contains(got.err.Message, "swordfish") {
					t.Errorf("leaks: %q", got.err.Message)
				}
			}
			if got.state != tc.state || code != tc.code {
				t.Errorf("%s %s, want %s %s", got.state, code, tc.state, tc.code)
			}
		})
	}
}

func TestMergeDeltasKeepsEveryByteAndEveryBoundary(t *testing.T) {
	t.Parallel()
	params := make([]json.RawMessage, 0, 1000)
	var want strings.Builder
	for i := range 1000 {
		text := fmt.Sprintf("%d \u00e9\n", i)
		want.WriteString(text)
		raw, err := json.Marshal(map[string]any{"itemId": "a", "delta": text})
		if err != nil {
			t.Fatal(err)
		}
		params = append(params, raw)
	}
	merged := MergeDeltas(params)
	var got struct {
		ItemID string `json:"itemId"` //nolint:tagliatelle // Codex's own name
		Delta  string `json:"delta"`
	}
	if len(merged) != 1 {
		t.Fatalf("%d parts", len(merged))
	}
	if err := json.Unmarshal(merged[0], &got); err != nil {
		t.Fatal(err)
	}
	if got.ItemID != "a" || got.Delta != want.String() {
		t.Error("text was lost or changed")
	}
	// Two summaries of one item must not run into each other.
	apart := []json.RawMessage{
		json.RawMessage(`{"itemId":"a","delta":"x","summaryIndex":0}`), json.RawMessage(`{"itemId":"a","delta":"y","summaryIndex":0}`),
		json.RawMessage(`{"itemId":"a","delta":"z","summaryIndex":1}`),
	}
	var texts []string
	for _, m := range MergeDeltas(apart) {
		texts = append(texts, string(m))
	}
	if diff := cmp.Diff([]string{`{"itemId":"a","delta":"xy","summaryIndex":0}`, `{"itemId":"a","delta":"z","summaryIndex":1}`}, texts); diff != "" {
		t.Error(diff)
	}
}

func TestInstructionsComeFromTheRepositoryAndNowhereElse(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		lay    func(dir string) error
		subdir string
		want   string
	}{
		"none":             {func(string) error { return nil }, ".", ""},
		"at the top":       {func(d string) error { return os.WriteFile(filepath.Join(d, "AGENTS.md"), []byte("top"), 0o600) }, ".", "top"},
		"a link out of it": {func(d string) error { return os.Symlink(outside, filepath.Join(d, "AGENTS.md")) }, ".", ""},
		"a directory":      {func(d string) error { return os.Mkdir(filepath.Join(d, "AGENTS.md"), 0o700) }, ".", ""},
		"bounded": {func(d string) error {
			return os.WriteFile(filepath.Join(d, "AGENTS.md"), make([]byte, 2*maxInstructions), 0o600)
		}, ".", strings.Repeat("\x00", maxInstructions)},
		"the subdir's comes first": {func(d string) error {
			return errors.Join(os.Mkdir(filepath.Join(d, "sub"), 0o700),
				os.WriteFile(filepath.Join(d, "sub", "AGENTS.md"), []byte("sub"), 0o600),
				os.WriteFile(filepath.Join(d, "AGENTS.md"), []byte("top"), 0o600))
		}, "sub", "sub"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := tc.lay(dir); err != nil {
				t.Fatal(err)
			}
			got, err := readInstructions(dir, tc.subdir)
			if err != nil || got != tc.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestTurnErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		end  codex.Result
		want errs.Code
	}{
		"completed":           {codex.Result{Status: codex.StatusCompleted}, ""},
		"failed with a code":  {codex.Result{Status: codex.StatusFailed, Failure: errs.New(errs.ModelUnavailable, "")}, errs.ModelUnavailable},
		"failed without":      {codex.Result{Status: codex.StatusFailed}, errs.TurnFailed},
		"interrupted by none": {codex.Result{Status: codex.StatusInterrupted}, errs.TurnFailed},
		"an unknown end":      {codex.Result{Status: "abducted"}, errs.CodexProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := turnError(tc.end)
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if got := errs.CodeOf(err); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}
