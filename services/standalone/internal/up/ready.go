package up

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/services/standalone/internal/settings"
)

const (
	// readyEvery is how often a starting gateway is asked whether it is ready.
	readyEvery = 25 * time.Millisecond
	// askTimeout bounds one such question.
	askTimeout = 5 * time.Second
)

// announced is the gateway with its greeting.
type announced struct {
	chassis.Service
	greeting greeting
	log      *slog.Logger
}

// Run runs the gateway and greets once it answers.
func (a *announced) Run(ctx context.Context) error {
	asking, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if !awaitReady(asking, a.greeting.parts.URL) {
			return
		}
		if err := a.greeting.print(); err != nil {
			a.log.LogAttrs(asking, slog.LevelWarn, "greeting not printed", slog.String("error", err.Error()))
		}
	}()
	err := a.Service.Run(ctx)
	stop()
	<-done
	return err
}

// awaitReady asks GET /ready until it is 200; false when ctx ends before.
func awaitReady(ctx context.Context, url string) bool {
	transport := &http.Transport{DisableKeepAlives: true} // no proxy: it is this process
	ticker := time.NewTicker(readyEvery)
	defer ticker.Stop()
	for {
		if isReady(ctx, transport, url) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}

func isReady(ctx context.Context, transport *http.Transport, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/ready", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// greeting says that the gateway is ready and how to use it.
type greeting struct {
	parts          Parts
	stdout, stderr io.Writer
	// showKey prints the key itself: the first time only.
	showKey bool
	// isDefault is true when the other commands find the gateway by themselves.
	isDefault bool
}

// print writes the ready line for programs to stdout and the rest for people to
// stderr.
func (g *greeting) print() error {
	keyFile := settings.AdminKeyFile(g.parts.DataDir)
	line, err := json.Marshal(struct {
		URL     string `json:"url"`
		KeyFile string `json:"key_file"`
	}{g.parts.URL, keyFile})
	if err != nil {
		return fmt.Errorf("encode the ready line: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nCodex Gateway is ready at %s\n  data       %s\n", g.parts.URL, g.parts.DataDir)
	if g.parts.MockModel {
		b.WriteString("  model      the built-in mock: answers are scripted, no model is called\n")
	}
	if g.showKey {
		fmt.Fprintf(&b, "  admin key  %s\n             shown this once; it is kept in %s\n", g.parts.AdminKey.Reveal(), keyFile)
	}
	if !g.isDefault {
		fmt.Fprintf(&b, "  settings   export CODEXGW_URL=%s CODEXGW_KEY_FILE=%s\n", g.parts.URL, quote(keyFile))
	}
	b.WriteString("  try it     codexgw submit --watch 'say hello'\n")
	fmt.Fprintf(&b, "  or         curl -s %s/jsonrpc -H \"X-API-Key: $(cat %s)\" -H 'Content-Type: application/json' \\\n"+
		"             -d '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"conversation.prompt\",\"params\":{\"prompt\":\"say hello\",\"wait\":60}}'\n\n",
		g.parts.URL, quote(keyFile))
	if _, err := io.WriteString(g.stderr, b.String()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(g.stdout, "ready %s\n", line)
	return err
}

// quote makes a path one word of a shell command.
func quote(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@", r)
	}
	if strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
