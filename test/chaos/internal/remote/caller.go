package remote

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"net"
	"net/http"

	"codexgateway.dev/test/chaos/internal/wire"
)

// Host is the way to a store host. It is safe for concurrent use.
type Host struct {
	http *http.Client
}

// At returns the way to the host at a socket. It connects when it is used.
func At(socket string) *Host {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Host{http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 64}}}
}

// Close lets go of idle connections.
func (h *Host) Close() { h.http.CloseIdleConnections() }

// Ping asks whether the host serves.
func (h *Host) Ping(ctx context.Context) error {
	var out wire.Reply
	if err := h.call(ctx, wire.PathPing, wire.Reply{}, &out); err != nil {
		return err
	}
	return out.Err.Err()
}

// SetFaults changes what the host does wrong.
func (h *Host) SetFaults(ctx context.Context, f wire.Faults) error {
	var out wire.Reply
	return h.call(ctx, wire.PathFaults, f, &out)
}

// send posts a value; the caller reads the answer and closes it.
func (h *Host) send(ctx context.Context, path string, in any) (io.ReadCloser, error) {
	var body bytes.Buffer
	if err := gob.NewEncoder(&body).Encode(in); err != nil {
		return nil, fmt.Errorf("remote: encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://host"+path, bytes.NewReader(body.Bytes()))
	if err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	resp, err := h.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("remote: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("remote: %s answered %s", path, resp.Status)
	}
	return resp.Body, nil
}

// call posts a value and decodes the answer. Its error means that there was none.
func (h *Host) call(ctx context.Context, path string, in, out any) error {
	body, err := h.send(ctx, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := gob.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("remote: decode: %w", err)
	}
	_, _ = io.Copy(io.Discard, body) // so that the connection can be used again
	return nil
}
