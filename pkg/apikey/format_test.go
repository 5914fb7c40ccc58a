package apikey_test

import (
	"fmt"
	"strings"
	"testing"

	"codexgateway.dev/pkg/apikey"
)

// sample is a key whose parts are known.
const sample = "cgw_live_0123456789ab_0123456789abcdefghjkmnpqrstvwxyzb810f9c1"

func TestAKeyIsTakenApart(t *testing.T) {
	t.Parallel()
	parts, ok := apikey.Parse(sample)
	if !ok || parts.Name() != "0123456789ab" || parts.KeyID() != "key_0123456789ab" || !apikey.IsID(parts.KeyID()) {
		t.Errorf("%q %q %t", parts.Name(), parts.KeyID(), ok)
	}
}

func TestWhatOnlyLooksLikeAKeyIsRefused(t *testing.T) {
	t.Parallel()
	body, sum := sample[:len(sample)-8], sample[len(sample)-8:]
	for name, s := range map[string]string{
		"empty":                    "",
		"the prefix":               "cgw_",
		"another prefix":           "xgw" + sample[3:],
		"a typing error":           strings.Replace(sample, "0123", "0124", 1),
		"a typing error of the id": strings.Replace(sample, "ab_", "ac_", 1),
		"another environment":      strings.Replace(sample, "live", "test", 1),
		"a wrong checksum":         body + "00000000",
		"a checksum in capitals":   body + strings.ToUpper(sum),
		"no checksum":              body,
		"something after it":       sample + "0",
		"something before it":      " " + sample,
		"one character less":       sample[1:],
		"in capitals":              strings.ToUpper(sample),
		"very long":                "cgw_" + strings.Repeat("a", 1<<20),
	} {
		if _, ok := apikey.Parse(s); ok {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestMadeKeysAreKeys(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		key, err := apikey.Make("live")
		if err != nil {
			t.Fatal(err)
		}
		parts, ok := apikey.Parse(key.Reveal())
		if !ok || seen[parts.Name()] || !strings.HasPrefix(key.Reveal(), "cgw_live_"+parts.Name()+"_") {
			t.Fatalf("%s %t", parts.Name(), ok)
		}
		seen[parts.Name()] = true
	}
	for _, env := range []string{"", "Live", "a_b", "a-b", strings.Repeat("a", 17), "é"} {
		if _, err := apikey.Make(env); err == nil || apikey.ValidEnv(env) {
			t.Errorf("environment %q is taken", env)
		}
	}
}

func TestAParsedKeyIsNotPrinted(t *testing.T) {
	t.Parallel()
	parts, _ := apikey.Parse(sample)
	within := struct{ P apikey.Parts }{parts}
	for _, s := range []string{
		fmt.Sprint(parts), fmt.Sprintf("%v %+v %#v %s %q %d", parts, parts, parts, parts, parts, parts), fmt.Sprintf("%+v", within),
	} {
		if strings.Contains(s, "0123456789abcdefgh") {
			t.Errorf("printed: %s", s)
		}
	}
}

func TestIDsOfKeys(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"key_0123456789ab": true, "key_0123456789a": false, "key_0123456789abc": false, "key_0123456789aI": false,
		"job_0123456789ab": false, "key_": false, "": false, "key_../../../x": false, "admin": false,
	} {
		if apikey.IsID(s) != want {
			t.Errorf("IsID(%q) is %t", s, !want)
		}
	}
}

// FuzzParse: what is taken is a key in the one form it has, and what is not
// costs nothing but a look.
func FuzzParse(f *testing.F) {
	for _, s := range []string{sample, "", "cgw_", sample[:40], "cgw__" + sample[9:], strings.ToUpper(sample), "cgw_a_0123456789ab_"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parts, ok := apikey.Parse(s)
		if !ok {
			return
		}
		if !apikey.IsID(parts.KeyID()) || !strings.Contains(s, "_"+parts.Name()+"_") || len(s) > 78 || strings.ContainsAny(s, " \n\x00") {
			t.Errorf("%q is taken as %s", s, parts.KeyID())
		}
	})
}
