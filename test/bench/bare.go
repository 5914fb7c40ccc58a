package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gin-gonic/gin"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
)

// startBare starts this program anew as the handler that the edge is compared with.
func (b *bench) startBare(ctx context.Context) (*gateway, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(b.dir, "bare")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	p, err := b.launch(ctx, nil, self, "-bare", dir)
	if err != nil {
		return nil, err
	}
	return greeted(ctx, p)
}

// bareCall is what the bare handler reads of a call.
type bareCall struct {
	ID     json.RawMessage `json:"id" binding:"required"`
	Method string          `json:"method" binding:"required"`
}

// serveBare is the least that a JSON endpoint in gin does for the same answer:
// the body bound to a struct, the answer from one. Nobody is asked for a key and
// nothing is counted, logged or bounded.
func serveBare(ctx context.Context, dir string, out io.Writer) error {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.POST("/jsonrpc", func(c *gin.Context) {
		var in bareCall
		if err := c.ShouldBindJSON(&in); err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		c.JSON(http.StatusOK, gin.H{"jsonrpc": "2.0", "id": in.ID, "result": apiv1.Pong{
			Status: "ok", Version: "bench", Time: time.Now().UTC().Format(eventlog.TimeFormat),
		}})
	})
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	end := endpoint{URL: "http://" + ln.Addr().String(), KeyFile: filepath.Join(dir, "none.key")}
	if err := os.WriteFile(end.KeyFile, []byte("none"), 0o600); err != nil {
		return err
	}
	srv := &http.Server{Handler: engine, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	if err := (&edgeProcess{out: out}).reply("ready ", end); err != nil {
		return err
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	err = srv.Close()
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
