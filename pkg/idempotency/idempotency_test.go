package idempotency_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/idempotency"
)

// use is one call that carries a key.
type use struct {
	tenant, key, params string
	at                  time.Time
}

var (
	noon  = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)          //nolint:gochecknoglobals // a constant
	first = use{tenant: "acme", key: "bc", params: "p", at: noon} //nolint:gochecknoglobals // a constant
)

func open(t *testing.T) (*idempotency.Store, *docstore.Store) {
	t.Helper()
	schema := docstore.Schema{idempotency.Schema()}
	docs, err := docstore.New(memstore.New(schema), schema, docstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return idempotency.NewStore(docs), docs
}

// claim uses a key for a job and commits the claim, or says whose it is.
func claim(t *testing.T, s *idempotency.Store, docs *docstore.Store, u use, jobID string) (earlier string, err error) {
	t.Helper()
	earlier, w, err := s.Check(t.Context(), u.tenant, u.key, u.params, jobID, u.at)
	if earlier != "" || err != nil {
		return earlier, err
	}
	_, err = docs.Commit(t.Context(), []docstore.Write{w})
	return "", err
}

func TestAKeyThatWasUsed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*use)
		// earlier is the job that the second use is told of.
		earlier string
		code    errs.Code
	}{
		"again":                       {func(*use) {}, "job_1", ""},
		"a day later":                 {func(u *use) { u.at = noon.Add(24 * time.Hour) }, "job_1", ""},
		"by a clock ten minutes fast": {func(u *use) { u.at = noon.Add(24*time.Hour + 10*time.Minute - 1) }, "job_1", ""},
		"when its time is over":       {func(u *use) { u.at = noon.Add(idempotency.Keep) }, "", ""},
		"with other parameters":       {func(u *use) { u.params = "q" }, "", errs.IdempotencyMismatch},
		"other parameters, but its time is over": {func(u *use) {
			u.params, u.at = "q", noon.Add(idempotency.Keep)
		}, "", ""},
		"by another tenant":                   {func(u *use) { u.tenant = "other" }, "", ""},
		"where tenant and key run together":   {func(u *use) { u.tenant, u.key = "acmeb", "c" }, "", ""},
		"where the key has a border in it":    {func(u *use) { u.tenant, u.key = "ac", "me:bc" }, "", ""},
		"another key":                         {func(u *use) { u.key = "BC" }, "", ""},
		"another key, as long as may be":      {func(u *use) { u.key = strings.Repeat("k", idempotency.MaxKey) }, "", ""},
		"another key, longer than is allowed": {func(u *use) { u.key = strings.Repeat("k", idempotency.MaxKey+1) }, "", errs.InvalidParams},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, docs := open(t)
			if earlier, err := claim(t, s, docs, first, "job_1"); earlier != "" || err != nil {
				t.Fatalf("the first use: %q, %v", earlier, err)
			}
			second := first
			tc.change(&second)
			earlier, err := claim(t, s, docs, second, "job_2")
			if earlier != tc.earlier || errs.CodeOf(err) != tc.code && err != nil || (err == nil) != (tc.code == "") {
				t.Fatalf("%q, %v; want %q, %q", earlier, err, tc.earlier, tc.code)
			}
			if tc.earlier != "" || tc.code != "" {
				return
			}
			if earlier, err := claim(t, s, docs, second, "job_3"); earlier != "job_2" || err != nil {
				t.Errorf("the second use made a claim of its own: %q, %v", earlier, err)
			}
		})
	}
}

// Two that use a key at once both find it free. One of them has the effect.
func TestOneOfTwoRacersClaims(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"a key never used": false, "a key whose time is over": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, docs := open(t)
			u := first
			if before {
				if _, err := claim(t, s, docs, u, "job_0"); err != nil {
					t.Fatal(err)
				}
				u.at = u.at.Add(idempotency.Keep)
			}
			var writes [2]docstore.Write
			for i, jobID := range []string{"job_1", "job_2"} {
				earlier, w, err := s.Check(t.Context(), u.tenant, u.key, u.params, jobID, u.at)
				if earlier != "" || err != nil {
					t.Fatalf("%q, %v", earlier, err)
				}
				writes[i] = w
			}
			if _, err := docs.Commit(t.Context(), writes[:1]); err != nil {
				t.Fatal(err)
			}
			if _, err := docs.Commit(t.Context(), writes[1:]); !errors.Is(err, docstore.ErrConflict) {
				t.Errorf("the second: %v, want a conflict", err)
			}
			if earlier, err := claim(t, s, docs, u, "job_3"); earlier != "job_1" || err != nil {
				t.Errorf("%q, %v; want job_1", earlier, err)
			}
		})
	}
}

func TestHashTellsParametersApart(t *testing.T) {
	t.Parallel()
	type params struct {
		Prompt string
		Meta   map[string]string
	}
	hash := func(p params) string {
		h, err := idempotency.Hash(p)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	one := hash(params{"p", map[string]string{"a": "1", "b": "2"}})
	if again := hash(params{"p", map[string]string{"b": "2", "a": "1"}}); again != one {
		t.Errorf("the same parameters: %s and %s", one, again)
	}
	if other := hash(params{"p", map[string]string{"a": "2", "b": "1"}}); other == one {
		t.Error("other parameters have the same hash")
	}
	if _, err := idempotency.Hash(func() {}); err == nil {
		t.Error("what is not JSON has a hash")
	}
}
