package apikey_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/embedded/envsecret"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/secret"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a store of keys whose clock, peppers and documents are the test's.
type world struct {
	*apikey.Store

	t    *testing.T
	docs *overtaken

	now    time.Time
	pepper string
	told   []string
}

// overtaken is a driver before each of whose commits something may happen.
type overtaken struct {
	docstore.Driver

	before func()
}

func (o *overtaken) Commit(ctx context.Context, writes []docstore.Write) ([]docstore.Version, error) {
	if before := o.before; before != nil {
		o.before = nil
		before()
	}
	return o.Driver.Commit(ctx, writes)
}

// Publish implements bus.Driver.
func (w *world) Publish(_ context.Context, _ string, ev events.Event) error {
	w.told = append(w.told, ev.Type()+" "+ev.Subject())
	return nil
}

func (*world) Receive(context.Context, string, bus.ReceiveOptions, bus.Handler) error { return nil }
func (*world) Ping(context.Context) error                                             { return nil }
func (*world) Close() error                                                           { return nil }

const pepperA, pepperB = "pepper-a-0123456789abcdef0123456789", "pepper-b-0123456789abcdef0123456789"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: began, pepper: pepperA}
	schema := docstore.Schema{apikey.Schema()}
	w.docs = &overtaken{Driver: memstore.New(schema)}
	docs, err := docstore.New(w.docs, schema, docstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lookup := func(name string) (string, bool) {
		return w.pepper, name == "CODEXGW_SECRET_KEY_PEPPER"
	}
	secrets := secret.New(envsecret.New(envsecret.Options{LookupEnv: lookup}), secret.Options{TTL: time.Nanosecond})
	b := bus.New(w, bus.Options{Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		if err := errors.Join(docs.Close(), secrets.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	})
	w.Store = &apikey.Store{
		Docs: docs, Bus: b, Secrets: secrets, Now: w.clock, Logger: slog.New(slog.DiscardHandler), Source: "/codexgw/test", Env: "test",
	}
	return w
}

func (w *world) clock() time.Time { return w.now }

// create makes a key of the tenant acme.
func (w *world) create(change ...func(*apikey.New)) (*apikey.Record, string) {
	w.t.Helper()
	n := apikey.New{Tenant: "acme", Name: "ci", Scopes: apikey.DefaultScopes(), CreatedBy: "admin"}
	for _, c := range change {
		c(&n)
	}
	r, key, err := w.Create(w.t.Context(), n, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return r, key.Reveal()
}

func (w *world) rotate(keyID string, overlap time.Duration) string {
	w.t.Helper()
	_, key, err := w.Rotate(w.t.Context(), "acme", keyID, overlap, anyone, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return key.Reveal()
}

func anyone(*apikey.Record) error { return nil }

// verify shows a key.
func (w *world) verify(key string) (apikey.Verified, error) {
	w.t.Helper()
	parts, ok := apikey.Parse(key)
	if !ok {
		w.t.Fatal("not a key")
	}
	return w.Verify(w.t.Context(), parts)
}

func (w *world) valid(what, key string, number int, until time.Time) {
	w.t.Helper()
	v, err := w.verify(key)
	if err != nil || v.Secret != number || !v.Until.Equal(until) {
		w.t.Errorf("%s: secret %d until %s, %v; want %d until %s", what, v.Secret, v.Until, err, number, until)
	}
}

func (w *world) invalid(what, key, why string) {
	w.t.Helper()
	_, err := w.verify(key)
	if why == "" && !errors.Is(err, apikey.ErrUnknown) || why != "" && (errs.CodeOf(err) != errs.Unauthenticated || !strings.Contains(err.Error(), why)) {
		w.t.Errorf("%s: %v, want %q", what, err, why)
	}
}

func TestAKeyIsValidUntilItExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	end := began.Add(time.Hour)
	r, key := w.create(func(n *apikey.New) { n.ExpiresAt, n.RateLimit = end, 7 })
	w.valid("at first", key, 1, end)
	v, err := w.verify(key)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, v.Record); diff != "" {
		t.Errorf("stored (-made +read):\n%s", diff)
	}
	w.now = end
	w.invalid("at its end", key, "expired")
	_, other := w.create()
	w.valid("without an end", other, 1, time.Time{})
}

func TestAWrongSecretIsLikeAnUnknownKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, mine := w.create()
	_, yours := w.create()
	parts, _ := apikey.Parse(mine)
	w.invalid("another's secret under my id", remake(t, strings.Replace(yours, yours[9:21], parts.Name(), 1)), "")
	w.invalid("my key of another environment", remake(t, strings.Replace(mine, "cgw_test_", "cgw_live_", 1)), "")
	stranger, err := apikey.Make("test")
	if err != nil {
		t.Fatal(err)
	}
	w.invalid("a key of nobody", stranger.Reveal(), "")
}

func TestNothingOfTheSecretIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, key := w.create()
	doc, err := w.Docs.Get(t.Context(), docstore.Key{Collection: apikey.Collection, ID: r.ID})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{key, key[22:54], pepperA} {
		if strings.Contains(string(doc.Data), part) {
			t.Error("the document holds a part of the secret")
		}
	}
	var stored map[string]any
	if err := json.Unmarshal(doc.Data, &stored); err != nil || stored["secret"] == nil {
		t.Fatal(err, stored)
	}
}

func TestRotationOverlaps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, first := w.create()
	second := w.rotate(r.ID, time.Hour)
	w.valid("the old one", first, 1, began.Add(time.Hour))
	w.valid("the new one", second, 2, time.Time{})
	w.now = began.Add(time.Hour)
	w.invalid("the old one after the overlap", first, "rotated")
	w.valid("the new one after the overlap", second, 2, time.Time{})
	third := w.rotate(r.ID, 0)
	w.invalid("without overlap", second, "")
	w.valid("the third", third, 3, time.Time{})
	if want := []string{events.TypeKeyRotatedV1 + " " + r.ID, events.TypeKeyRotatedV1 + " " + r.ID}; !cmp.Equal(want, w.told) {
		t.Errorf("told %v", w.told)
	}
}

// A rotation whose answer was lost is made again: who still uses the secret
// before both must not be cut off by the repetition.
func TestARepeatedRotationKeepsTheSecretInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, inUse := w.create()
	w.rotate(r.ID, time.Hour)
	w.now = w.now.Add(time.Minute)
	w.rotate(r.ID, time.Hour)
	w.valid("the one in use", inUse, 1, began.Add(time.Hour))
	for range 3 {
		w.rotate(r.ID, time.Hour)
	}
	w.invalid("the one before five", inUse, "")
}

func TestAnOverlapDoesNotOutliveTheKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	end := began.Add(time.Minute)
	r, first := w.create(func(n *apikey.New) { n.ExpiresAt = end })
	w.rotate(r.ID, time.Hour)
	w.valid("the old one", first, 1, end)
}

func TestARevokedKeyIsOverForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, first := w.create()
	second := w.rotate(r.ID, time.Hour)
	revoked, err := w.Revoke(t.Context(), "acme", r.ID, nil)
	if err != nil || revoked.Status(w.now) != apikey.Revoked {
		t.Fatalf("%+v, %v", revoked, err)
	}
	w.invalid("the old one", first, "revoked")
	w.invalid("the new one", second, "revoked")
	if _, _, err := w.Rotate(t.Context(), "acme", r.ID, 0, anyone, nil); errs.CodeOf(err) != errs.Conflict {
		t.Errorf("rotate: %v", err)
	}
	w.now = w.now.Add(time.Hour)
	again, err := w.Revoke(t.Context(), "acme", r.ID, nil)
	if err != nil || !again.RevokedAt.Equal(revoked.RevokedAt) {
		t.Errorf("again: %v, %v", again, err)
	}
	if want := events.TypeKeyRevokedV1 + " " + r.ID; len(w.told) != 3 || w.told[1] != want || w.told[2] != want {
		t.Errorf("told %v", w.told)
	}
}

func TestAKeyOfAnotherTenantIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, key := w.create()
	for _, keyID := range []string{r.ID, "key_zzzzzzzzzzzz", "key_", "", "admin", "../x", "__x__", strings.Repeat("k", 1000)} {
		_, errRotate := func() (any, error) { r, _, err := w.Rotate(t.Context(), "other", keyID, 0, anyone, nil); return r, err }()
		_, errRevoke := w.Revoke(t.Context(), "other", keyID, nil)
		for _, err := range []error{errRotate, errRevoke} {
			if errs.CodeOf(err) != errs.NotFound || errs.From(err).Message() != "There is no such key." {
				t.Errorf("%.20s: %v", keyID, err)
			}
		}
	}
	w.valid("after all that", key, 1, time.Time{})
	keys, _, err := w.List(t.Context(), "other", 0, "")
	if err != nil || len(keys) != 0 {
		t.Errorf("the other tenant has %v, %v", keys, err)
	}
}

func TestListIsPagedNewestFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for range 5 {
		w.now = w.now.Add(time.Second)
		r, _ := w.create()
		want = append([]string{r.ID}, want...)
	}
	var got []string
	cursor := ""
	for {
		keys, next, err := w.List(t.Context(), "acme", 2, cursor)
		if err != nil || len(keys) > 2 {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, r := range keys {
			got = append(got, r.ID)
		}
		if cursor = next; next == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, _, err := w.List(t.Context(), "acme", 2, "nonsense"); errs.From(err).Field != "/cursor" {
		t.Errorf("%v", err)
	}
}

func TestPeppersAreRotated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, old := w.create()
	w.pepper = pepperB + "\n" + pepperA + "\n"
	w.valid("under the pepper before", old, 1, time.Time{})
	_, fresh := w.create()
	next := w.rotate(r.ID, time.Hour)
	w.pepper = pepperB
	w.invalid("its pepper is gone", old, "")
	w.valid("made under the new one", fresh, 1, time.Time{})
	w.valid("rotated under the new one", next, 2, time.Time{})
}

func TestWithoutAPepperNothingIsMadeAndNothingDecided(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, key := w.create()
	for name, pepper := range map[string]string{"missing": "", "too short": "salt", "one of two too short": pepperA + "\nsalt", "blank": "\n\n", "too many": strings.Repeat(pepperA+"\n", 9)} {
		w.pepper = pepper
		if _, err := w.verify(key); !errors.Is(err, apikey.ErrNoPepper) {
			t.Errorf("%s: verify: %v", name, err)
		}
		_, _, err := w.Create(t.Context(), apikey.New{Tenant: "acme"}, nil)
		if errs.CodeOf(err) != errs.Overloaded || !strings.Contains(errs.From(err).Message(), "openssl") {
			t.Errorf("%s: create: %v", name, err)
		}
		if _, _, err = w.Rotate(t.Context(), "acme", r.ID, 0, anyone, nil); errs.CodeOf(err) != errs.Overloaded {
			t.Errorf("%s: rotate: %v", name, err)
		}
	}
	if _, err := w.Revoke(t.Context(), "acme", r.ID, nil); err != nil {
		t.Errorf("revoke needs none: %v", err)
	}
}

// The note of a use and a revocation at the same moment: the note must not bring
// the key back.
func TestANoteOfAUseNeverUndoesARevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, key := w.create()
	w.docs.before = func() {
		if _, err := w.Revoke(t.Context(), "acme", r.ID, nil); err != nil {
			t.Error(err)
		}
	}
	if err := w.Used(t.Context(), r.ID, w.now); !errors.Is(err, docstore.ErrConflict) {
		t.Errorf("%v, want the note lost", err)
	}
	w.invalid("revoked meanwhile", key, "revoked")
}

// And the other way round: a revocation is never lost to a note.
func TestARevocationOvertakenByANoteIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, key := w.create()
	w.docs.before = func() {
		if err := w.Used(t.Context(), r.ID, w.now); err != nil {
			t.Error(err)
		}
	}
	revoked, err := w.Revoke(t.Context(), "acme", r.ID, nil)
	if err != nil || !revoked.LastUsedAt.Equal(w.now) {
		t.Errorf("%+v, %v", revoked, err)
	}
	w.invalid("revoked", key, "revoked")
}

func TestAUseIsNotedOnceInAWhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, _ := w.create()
	for _, step := range []struct {
		after time.Duration
		noted time.Duration
	}{{0, 0}, {apikey.UseEvery - time.Second, 0}, {apikey.UseEvery, apikey.UseEvery}, {apikey.UseEvery + time.Second, apikey.UseEvery}} {
		if err := w.Used(t.Context(), r.ID, began.Add(step.after)); err != nil {
			t.Fatal(err)
		}
		got, err := w.Get(t.Context(), r.ID)
		if err != nil || !got.LastUsedAt.Equal(began.Add(step.noted)) {
			t.Errorf("after %s: %s, %v", step.after, got.LastUsedAt, err)
		}
	}
}

func TestNamesOfTenants(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"acme": true, "Acme-1.eu_west": true, "0": true, "": false, "-a": false, ".": false, "..": false, "a b": false, "a/b": false,
		"é": false, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false, "a\n": false, "a=1": false,
	} {
		if apikey.ValidTenant(s) != want {
			t.Errorf("%q is %t", s, !want)
		}
	}
}
