package secrettest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"codexgateway.dev/pkg/secret"
)

// carrier holds a value in every way a struct can.
type carrier struct {
	Exported   secret.Value
	unexported secret.Value
	Pointer    *secret.Value
	Map        map[string]secret.Value
	Slice      []secret.Value
	Any        any
	inner      struct{ deep secret.Value }
}

// CheckRedacted fails when a printer, a logger or an encoder shows the value,
// by itself or inside structs, maps, slices and errors.
func CheckRedacted(t *testing.T, v secret.Value) {
	t.Helper()
	plain := v.Reveal()
	if len(plain) < 4 {
		t.Fatalf("a secret of %d bytes proves nothing", len(plain))
	}
	c := carrier{
		Exported: v, unexported: v, Pointer: &v,
		Map: map[string]secret.Value{"k": v}, Slice: []secret.Value{v}, Any: v,
	}
	c.inner.deep = v
	for _, x := range []any{v, &v, c, &c, []any{c}, map[string]any{"c": c}, c.inner, fmt.Errorf("wrapped %v: %w", v, errors.New("x"))} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t", "%p", "%10.3s"} {
			check(t, fmt.Sprintf("fmt %s of %T", verb, x), plain, fmt.Sprintf(verb, x))
		}
		check(t, fmt.Sprintf("fmt.Sprint of %T", x), plain, fmt.Sprint(x))
		data, err := json.Marshal(x)
		if err != nil {
			t.Errorf("json.Marshal(%T): %v", x, err)
		}
		check(t, fmt.Sprintf("json of %T", x), plain, string(data))
		for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
			"slog JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(handler(&b)).Info("message", slog.Any("key", x), slog.Group("group", slog.Any("key", x)))
			check(t, fmt.Sprintf("%s of %T", name, x), plain, b.String())
		}
	}
}

// check looks for the secret as it is, in hex and as JSON would write it.
func check(t *testing.T, how, plain, out string) {
	t.Helper()
	quoted, err := json.Marshal(plain)
	if err != nil {
		t.Fatalf("json: %v", err)
	}
	for _, form := range []string{plain, fmt.Sprintf("%x", plain), fmt.Sprintf("%X", plain), strings.Trim(string(quoted), `"`)} {
		if strings.Contains(out, form) {
			t.Errorf("%s shows the secret", how) // and the message does not
		}
	}
}
