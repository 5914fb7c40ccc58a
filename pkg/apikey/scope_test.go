package apikey_test

import (
	"slices"
	"testing"

	"codexgateway.dev/pkg/apikey"
)

func TestTheDefaultsAreAllScopesButMakingKeys(t *testing.T) {
	t.Parallel()
	for _, s := range apikey.AllScopes() {
		if !s.Valid() {
			t.Errorf("%s is not valid", s)
		}
		if got, want := slices.Contains(apikey.DefaultScopes(), s), s != apikey.KeysAdmin && s != apikey.AuditRead; got != want {
			t.Errorf("%s is a default: %t, want %t", s, got, want)
		}
	}
	for _, s := range []apikey.Scope{"", "jobs", "jobs:*", "JOBS:READ"} {
		if s.Valid() {
			t.Errorf("%q is valid", s)
		}
	}
}
