package wire_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"testing"

	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/test/chaos/internal/wire"
)

// cross takes an error over the wire.
func cross(t *testing.T, err error) error {
	t.Helper()
	var buf bytes.Buffer
	if err := gob.NewEncoder(&buf).Encode(wire.Reply{Err: wire.FromError(err)}); err != nil {
		t.Fatal(err)
	}
	var out wire.Reply
	if err := gob.NewDecoder(&buf).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out.Err.Err()
}

func TestErrorsOfThePortsCrossTheWire(t *testing.T) {
	t.Parallel()
	all := []error{
		docstore.ErrNotFound, docstore.ErrUnavailable, docstore.ErrTooLarge, docstore.ErrInvalid, docstore.ErrFull,
		bus.ErrUnknownTopic, bus.ErrTooLarge, bus.ErrFull, bus.ErrInvalid, bus.ErrClosed, bus.ErrUnavailable,
	}
	for i, want := range all {
		got := cross(t, fmt.Errorf("driver: %w", want))
		for k, other := range all {
			if errors.Is(got, other) != (i == k) {
				t.Errorf("%v over the wire is %v: %t", want, other, errors.Is(got, other))
			}
		}
	}
	if err := cross(t, nil); err != nil {
		t.Errorf("no error became %v", err)
	}
	if err := cross(t, errors.New("of no port")); err == nil || errors.Is(err, docstore.ErrUnavailable) {
		t.Errorf("an error of no port became %v", err)
	}
}

func TestAConflictNamesItsWrite(t *testing.T) {
	t.Parallel()
	want := &docstore.ConflictError{Key: docstore.Key{Collection: "c", ID: "i"}, Index: 3}
	got := cross(t, fmt.Errorf("driver: %w", want))
	var conflict *docstore.ConflictError
	if !errors.As(got, &conflict) || *conflict != *want || !errors.Is(got, docstore.ErrConflict) {
		t.Errorf("got %v", got)
	}
}
