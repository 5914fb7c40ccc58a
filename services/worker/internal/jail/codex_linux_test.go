package jail_test

import (
	"bufio"
	"encoding/json"
	"io"
	"testing"
	"time"

	"codexgateway.dev/services/worker/internal/jail"
)

const initialize = `{"method":"initialize","id":1,"params":{"clientInfo":{"name":"gw","title":"GW","version":"0.1"},"capabilities":{"experimentalApi":true}}}` + "\n"

// startCodex starts an app-server and returns once it is initialised.
func startCodex(tb testing.TB, l *jail.Launcher, s jail.Spec) (p *jail.Process, codexHome string) {
	tb.Helper()
	s.Args = []string{"app-server"}
	p, err := l.Start(tb.Context(), s)
	if err != nil {
		tb.Fatal(err)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, p.Stderr)
	}()
	tb.Cleanup(func() {
		p.Kill()
		<-p.Done()
		<-drained
		_, _, _ = p.Stdin.Close(), p.Stdout.Close(), p.Stderr.Close()
	})
	if _, err := io.WriteString(p.Stdin, initialize); err != nil {
		tb.Fatal(err)
	}
	raw, err := bufio.NewReader(p.Stdout).ReadBytes('\n')
	if err != nil {
		tb.Fatal(err)
	}
	var answer struct {
		Result struct {
			CodexHome string `json:"codexHome"` //nolint:tagliatelle // Codex's name
		} `json:"result"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		tb.Fatalf("%v in %s", err, raw)
	}
	return p, answer.Result.CodexHome
}

func TestCodexAnswersInTheJail(t *testing.T) {
	t.Parallel()
	l := launcher(t, jail.Config{})
	p, home := startCodex(t, l, dirs(t, l))
	if home != jail.HomeDir {
		t.Errorf("codexHome %q", home)
	}
	if err := p.Stop(t.Context(), 30*time.Second); err != nil {
		t.Fatal(err)
	}
	if st := p.State(); st != (jail.ExitState{Started: true}) {
		t.Errorf("State() = %+v, want a clean exit", st)
	}
}

func TestCodexSandboxNests(t *testing.T) {
	t.Parallel()
	l := launcher(t, jail.Config{})
	s := dirs(t, l)
	s.Args = []string{"sandbox", "--", "/bin/true"}
	p, err := l.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(p.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	_, _, _ = p.Stdin.Close(), p.Stdout.Close(), p.Stderr.Close()
	if st := p.State(); st != (jail.ExitState{Started: true}) {
		t.Errorf("State() = %+v: %s", st, raw)
	}
}

// BenchmarkStart compares the life of a trivial program and the start of Codex
// in the two modes; the difference is the price of the jail.
func BenchmarkStart(b *testing.B) {
	for _, mode := range []jail.Mode{jail.ProcessGroup, jail.Namespace} {
		b.Run("true/"+mode.String(), func(b *testing.B) {
			l := launcher(b, jail.Config{Mode: mode})
			s := dirs(b, l)
			for b.Loop() {
				if _, stderr, st := run(b, l, s, "exit 0"); st.Code != 0 {
					b.Fatalf("%+v %s", st, stderr)
				}
			}
		})
		b.Run("initialize/"+mode.String(), func(b *testing.B) {
			l := launcher(b, jail.Config{Mode: mode})
			s := dirs(b, l)
			startCodex(b, l, s) // creates the databases of CODEX_HOME
			for b.Loop() {
				p, _ := startCodex(b, l, s)
				b.StopTimer()
				p.Kill()
				<-p.Done()
				b.StartTimer()
			}
		})
	}
}
