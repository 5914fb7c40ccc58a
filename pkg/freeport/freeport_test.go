package freeport_test

import (
	"net"
	"strconv"
	"testing"

	"codexgateway.dev/pkg/freeport"
)

func TestAnAddressIsFreeAndGivenOnce(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 100 {
		addr := freeport.Addr()
		if seen[addr] {
			t.Fatalf("%s was given twice", addr)
		}
		seen[addr] = true
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		_, text, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		if port, err := strconv.Atoi(text); err != nil || port < 10_000 || port >= 32_000 {
			t.Errorf("port %s can be somebody's by chance", text)
		}
	}
}
