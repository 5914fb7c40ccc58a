//go:build unix

package jail_test

import (
	"bufio"
	"testing"
	"time"

	"codexgateway.dev/services/worker/internal/jail"
)

func TestProcessGroupEndsItsGroup(t *testing.T) {
	t.Parallel()
	l := launcher(t, jail.Config{Mode: jail.ProcessGroup})
	for name, end := range map[string]func(*jail.Process){
		"kill": func(p *jail.Process) { p.Kill() },
		"exit": func(p *jail.Process) { _ = p.Stdin.Close() },
		"stop": func(p *jail.Process) { _ = p.Stop(t.Context(), time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mark := mark()
			s := dirs(t, l)
			p := start(t, l, s, `sleep `+mark+` & sleep `+mark+` & echo "$PWD"; cat`)
			if got := line(t, bufio.NewReader(p.Stdout)); got != p.Paths.Workspace || got != s.Workspace {
				t.Errorf("works in %q, want %q", got, s.Workspace)
			}
			eventually(t, "both sleeps", func() bool { return alive(t, mark) == 2 })
			end(p)
			<-p.Done()
			if n := alive(t, mark); n != 0 {
				t.Errorf("%d processes survived", n)
			}
		})
	}
}
