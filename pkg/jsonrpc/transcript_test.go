package jsonrpc_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/pkg/jsonrpc/jsonrpctest"
)

var update = flag.Bool("update", false, "rewrite the answers of the transcripts")

// specMux is the table that the transcripts call.
func specMux() *jsonrpc.Mux {
	m := jsonrpc.NewMux()
	jsonrpctest.Register(m)
	return m
}

func TestTranscripts(t *testing.T) {
	t.Parallel()
	mux := specMux()
	serve := func(t *testing.T, frame []byte) []byte {
		t.Helper()
		return mux.Serve(t.Context(), frame, jsonrpc.Options{}).Body
	}
	if !*update {
		jsonrpctest.Run(t, serve)
		return
	}
	files, err := filepath.Glob(filepath.Join(jsonrpctest.Dir, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		script, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, jsonrpctest.Replay(t, script, serve), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
