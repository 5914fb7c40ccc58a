package issuers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"codexgateway.dev/services/edge/internal/issuers"
)

func TestRulesAreReadFromTextOrAFile(t *testing.T) {
	t.Parallel()
	const text = ` [{"issuer":"https://accounts.google.com","audience":"a","tenant":"acme","require":{"email_verified":true,"email":"x@acme.example"}}] `
	file := filepath.Join(t.TempDir(), "issuers.json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{text, file} {
		rules, err := issuers.Parse(in)
		if err != nil || len(rules) != 1 || rules[0].Tenant != "acme" || len(rules[0].Scopes) != 2 {
			t.Errorf("%q: %+v, %v", in, rules, err)
		}
	}
	if rules, err := issuers.Parse(" "); len(rules) != 0 || err != nil {
		t.Errorf("nothing: %v, %v", rules, err)
	}
}

func TestWrongRulesAreNamedAllAtOnce(t *testing.T) {
	t.Parallel()
	rule := func(change string) string {
		return `{"issuer":"https://is.example","audience":"a","tenant":"acme","require":{"x":"y"}` + change + `}`
	}
	bad := []string{
		`{"issuer":"http://is.example","audience":"a","tenant":"acme","require":{"x":"y"}}`,
		`{"issuer":"https://is.example?x","audience":"a","tenant":"acme","require":{"x":"y"}}`,
		`{"issuer":"https://is.example","tenant":"acme","require":{"x":"y"}}`,
		`{"issuer":"https://is.example","audience":"a"}`,
		`{"issuer":"https://is.example","audience":"a","tenant_claim":"org"}`,
		`{"issuer":"https://is.example","audience":"a","tenant":"acme"}`,
		`{"issuer":"https://is.example","audience":"a","tenant":"../acme","any_subject":true}`,
		rule(`,"scopes":["jobs:*"]`),
		rule(`,"rate_limit":-1`),
		rule(`,"tenant_claim":"org","tenants":{"a":"b"}`),
		`{"issuer":"https://is.example","audience":"a","tenant":"acme","require":{"x":[]}}`,
	}
	_, err := issuers.Parse("[" + strings.Join(append(bad, rule("")), ",") + "]")
	if err == nil {
		t.Fatal("taken")
	}
	if got := strings.Count(err.Error(), "rule "); got != len(bad) {
		t.Errorf("%d problems, want %d:\n%v", got, len(bad), err)
	}
	for _, text := range []string{"{}", "[", "[] x", `[{"issuers":"x"}]`, `[` + rule(`,"require":{"x":{}}`) + `]`, "/no/such/file"} {
		if _, err := issuers.Parse(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"issuer":"https://is.example","audience":"a","tenant":"acme","require":{"x":["y",true,1]}}`)
	f.Add(`{"issuer":"https://is.example","audience":"a","tenant_claim":"org","tenants":{"a":"b"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := issuers.Parse("[" + text + "]")
		if err != nil {
			return
		}
		for _, r := range rules {
			if !strings.HasPrefix(r.Issuer, "http") || r.Audience == "" || r.Tenant == "" && len(r.Tenants) == 0 || len(r.Scopes) == 0 {
				t.Errorf("%+v is taken", r)
			}
		}
	})
}
