package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"

	"codexgateway.dev/pkg/client"
	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/standalone/internal/settings"
)

// port checks that up could listen, or that the one who does is a gateway.
func (e *Environment) port(ctx context.Context) (detail, fix string, err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", e.Addr)
	if err == nil {
		return e.Addr + " is free", "", l.Close()
	}
	if e.healthy(ctx) {
		return e.Addr + " is in use by a gateway", "", nil
	}
	return e.Addr, "Stop the other program, or choose another port with --addr, such as --addr 127.0.0.1:8081.", err
}

func (e *Environment) healthy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Addr+"/health", http.NoBody)
	if err != nil {
		return false
	}
	transport := &http.Transport{DisableKeepAlives: true} // no proxy: the question is about this machine
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var body struct {
		Status string `json:"status"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, 4096)).Decode(&body)
	return err == nil && resp.StatusCode == http.StatusOK && body.Status == "healthy"
}

// gateway checks that a running gateway takes the local key.
func (e *Environment) gateway(ctx context.Context) (detail, fix string, err error) {
	if !e.healthy(ctx) {
		return "not running", "", nil
	}
	keyFile := settings.AdminKeyFile(e.DataDir)
	key, err := settings.ReadKey(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "running, with its data elsewhere", "", nil
	}
	if err != nil {
		return "running", "See who may read " + keyFile + ".", err
	}
	if err := ping(ctx, e.Addr, key); err != nil {
		return "running", "Is it another gateway's data directory? Stop the gateway and start it again, or pass its --data.", err
	}
	return "running and takes the key in " + keyFile, "", nil
}

func ping(ctx context.Context, addr string, key secret.Value) error {
	transport := &http.Transport{DisableKeepAlives: true}
	c, err := client.New(client.Options{
		URL: "http://" + addr, Key: key, UserAgent: "codexgw-doctor", Timeout: 5 * time.Second,
		HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		return err
	}
	_, err = c.Ping(ctx)
	return err
}
