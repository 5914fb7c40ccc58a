package issuers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"codexgateway.dev/pkg/apikey"
)

// maxRules bounds the configuration.
const maxRules = 100

// Rule lets identities of one issuer in, as one tenant or as one of several.
type Rule struct {
	// Issuer is the iss of the tokens, an https URL below which
	// /.well-known/openid-configuration leads to the keys.
	Issuer string `json:"issuer"`
	// Audience is the aud of the tokens: the only one they may have.
	Audience string `json:"audience"`
	// Tenant is whose the identities are; or TenantClaim names the claim that
	// says so, and Tenants the tenant for each value of it that is let in.
	Tenant      string            `json:"tenant,omitempty"`
	TenantClaim string            `json:"tenant_claim,omitempty"`
	Tenants     map[string]string `json:"tenants,omitempty"`
	// Require are claims that must have the value, or one of a list of values.
	Require map[string]Values `json:"require,omitempty"`
	// AnySubject says that everybody to whom the issuer gives a token for the
	// audience is meant, which most issuers do for everybody who asks.
	AnySubject bool `json:"any_subject,omitempty"`
	// Scopes are what they may do; none: jobs:read and jobs:write.
	Scopes []apikey.Scope `json:"scopes,omitempty"`
	// RateLimit is how many calls a minute each of them may make; 0: the default.
	RateLimit int `json:"rate_limit,omitempty"`
}

// Values are what a claim may be: strings, booleans or numbers. In JSON it is
// one of them or a list.
type Values []any

// UnmarshalJSON implements json.Unmarshaler.
func (v *Values) UnmarshalJSON(data []byte) error {
	var one any
	if err := json.Unmarshal(data, &one); err != nil {
		return err
	}
	list, ok := one.([]any)
	if !ok {
		list = []any{one}
	}
	for _, x := range list {
		switch x.(type) {
		case string, bool, float64:
		default:
			return errors.New("a required claim is a string, a boolean, a number or a list of them")
		}
	}
	*v = list
	return nil
}

// Parse reads rules: a JSON list of them, or the path of a file that holds one.
// Empty text is no rule. The error names everything wrong with them.
func Parse(text string) ([]Rule, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	if !strings.HasPrefix(text, "[") {
		data, err := os.ReadFile(text)
		if err != nil {
			return nil, fmt.Errorf("neither a JSON list nor a file that can be read: %w", err)
		}
		text = string(data)
	}
	var rules []Rule
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&rules); err != nil {
		return nil, fmt.Errorf("not a JSON list of rules: %w", err)
	}
	if d.More() {
		return nil, errors.New("there is something after the list")
	}
	if len(rules) > maxRules {
		return nil, fmt.Errorf("%d rules, at most %d", len(rules), maxRules)
	}
	var problems []error
	for i := range rules {
		for _, p := range rules[i].problems() {
			problems = append(problems, fmt.Errorf("rule %d: %s", i+1, p))
		}
		if len(rules[i].Scopes) == 0 {
			rules[i].Scopes = []apikey.Scope{apikey.JobsRead, apikey.JobsWrite}
		}
	}
	return rules, errors.Join(problems...)
}

// problems is everything wrong with the rule.
func (r *Rule) problems() []string {
	var out []string
	bad := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !issuerURL(r.Issuer) {
		bad("issuer must be an https URL without query (http on loopback)")
	}
	if r.Audience == "" {
		bad("audience is required")
	}
	switch {
	case r.Tenant != "" && (r.TenantClaim != "" || len(r.Tenants) > 0):
		bad("give tenant, or tenant_claim and tenants, not both")
	case r.Tenant == "" && (r.TenantClaim == "" || len(r.Tenants) == 0):
		bad("give tenant, or tenant_claim and tenants")
	case r.Tenant != "" && len(r.Require) == 0 && !r.AnySubject:
		bad("require names no claim: whoever gets a token of the issuer would be let in; say any_subject if that is meant")
	}
	for _, t := range r.tenants() {
		if !apikey.ValidTenant(t) {
			bad("tenant %q must be 1 to %d letters, digits and . _ -, beginning with a letter or digit", t, apikey.MaxTenant)
		}
	}
	for claim, values := range r.Require {
		if len(values) == 0 {
			bad("require %q has no value", claim)
		}
	}
	for _, s := range r.Scopes {
		if !s.Valid() {
			bad("there is no scope %q", s)
		}
	}
	if r.RateLimit < 0 {
		bad("rate_limit must not be negative")
	}
	return out
}

// tenants are all that the rule names, in order.
func (r *Rule) tenants() []string {
	var out []string
	if r.Tenant != "" {
		out = append(out, r.Tenant)
	}
	for _, t := range r.Tenants {
		out = append(out, t)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// issuerURL reports whether s may be an issuer.
func issuerURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && secureURL(u) && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// secureURL reports whether what comes from the URL comes from its host: over
// TLS, or from this machine.
func secureURL(u *url.URL) bool {
	if u.Hostname() == "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	return u.Scheme == "https" || u.Scheme == "http" && local
}

// tenantOf is the tenant of an identity by its claims; false: the rule does not
// let it in.
func (r *Rule) tenantOf(claims map[string]any) (string, bool) {
	for claim, values := range r.Require {
		if got, ok := claims[claim]; !ok || !scalar(got) || !slices.Contains(values, got) {
			return "", false
		}
	}
	if r.Tenant != "" {
		return r.Tenant, true
	}
	value, ok := claims[r.TenantClaim].(string)
	if !ok {
		return "", false
	}
	tenant, ok := r.Tenants[value]
	return tenant, ok
}

// scalar reports whether a claim can be compared.
func scalar(v any) bool {
	switch v.(type) {
	case string, bool, float64:
		return true
	default:
		return false
	}
}
