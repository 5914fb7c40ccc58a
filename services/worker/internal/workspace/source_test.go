package workspace

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"codexgateway.dev/pkg/errs"
)

var everything = Policy{AllowFile: true, SSHKey: "/key", SSHKnownHosts: "/hosts"}

func TestCheckRepoAccepts(t *testing.T) {
	t.Parallel()
	for _, r := range []Repo{
		{URL: "https://github.com/o/r"},
		{URL: "https://github.com/o/r.git", Ref: "main", Subdir: "a/b"},
		{URL: "https://git.example:8443/r", Ref: "v1.0"},
		{URL: "https://[2606:4700::1111]/r"},
		{URL: "ssh://git@github.com/o/r.git"},
		{URL: "ssh://github.com:2222/o/r.git"},
		{URL: "git@github.com:o/r.git"},
		{URL: "git@github.com:~user/r.git", Ref: strings.Repeat("a", 40)},
		{URL: "file:///srv/git/r.git"},
		{URL: "https://h.example/r", Ref: "refs/pull/12/head"},
		{URL: "https://h.example/r", Ref: "user@topic/ü"},
	} {
		if err := CheckRepo(r, everything); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestCheckRepoRefuses(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Repo{
		"empty":             {},
		"option":            {URL: "--upload-pack=touch /tmp/x"},
		"ext":               {URL: "ext::sh -c touch% /tmp/x"},
		"fd":                {URL: "fd::7"},
		"helper with https": {URL: "https::https://h.example/r"},
		"http":              {URL: "http://h.example/r"},
		"git":               {URL: "git://h.example/r"},
		"ftp":               {URL: "ftp://h.example/r"},
		"upper case":        {URL: "HTTPS+x://h.example/r"},
		"newline":           {URL: "https://h.example/r\n--x"},
		"space":             {URL: "https://h.example/a b"},
		"nul":               {URL: "https://h.example/a\x00b"},
		"backslash":         {URL: `https://h.example\@evil.example/r`},
		"password":          {URL: "https://user:pass@h.example/r"},
		"user":              {URL: "https://token@h.example/r"},
		"empty user":        {URL: "https://@h.example/r"},
		"query":             {URL: "https://h.example/r?x=1"},
		"fragment":          {URL: "https://h.example/r#x"},
		"no path":           {URL: "https://h.example"},
		"no host":           {URL: "https:///r"},
		"bad host":          {URL: "https://-h.example/r"},
		"bad port":          {URL: "https://h.example:99999/r"},
		"local path":        {URL: "/srv/git/r.git"},
		"relative path":     {URL: "../r"},
		"host only":         {URL: "h.example:r"},
		"scp option":        {URL: "git@-oProxyCommand=x:r"},
		"scp user option":   {URL: "-oProxyCommand=x@h:r"},
		"scp path option":   {URL: "git@h.example:-x"},
		"scp path shell":    {URL: "git@h.example:r';touch${IFS}x'"},
		"ssh host option":   {URL: "ssh://-oProxyCommand=x/r"},
		"ssh user option":   {URL: "ssh://-l@h.example/r"},
		"ssh password":      {URL: "ssh://git:pw@h.example/r"},
		"file with host":    {URL: "file://h.example/r"},
		"long":              {URL: "https://h.example/" + strings.Repeat("a", 3000)},
		"ref option":        {URL: "https://h.example/r", Ref: "--upload-pack=x"},
		"ref refspec":       {URL: "https://h.example/r", Ref: "a:b"},
		"ref force":         {URL: "https://h.example/r", Ref: "a^b"},
		"ref dots":          {URL: "https://h.example/r", Ref: "a..b"},
		"ref reflog":        {URL: "https://h.example/r", Ref: "a@{1}"},
		"ref glob":          {URL: "https://h.example/r", Ref: "refs/heads/*"},
		"ref newline":       {URL: "https://h.example/r", Ref: "a\nb"},
		"ref traversal":     {URL: "https://h.example/r", Ref: "../../config"},
		"subdir":            {URL: "https://h.example/r", Subdir: "../x"},
	} {
		if err := CheckRepo(r, everything); errs.CodeOf(err) != errs.RepoRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, url := range []string{"ssh://git@h.example/r", "git@h.example:r", "file:///r"} {
		if err := CheckRepo(Repo{URL: url}, Policy{}); errs.CodeOf(err) != errs.RepoRefused {
			t.Errorf("%s without permission: %v", url, err)
		}
	}
}

// No part of a URL may reach a shell or an option parser.
func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"https://h.example/r", "git@h.example:o/r.git", "ssh://git@h:22/r", "file:///r", "ext::x", "-x", "https://a@b/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		src, err := parseSource(raw, &everything)
		if err != nil {
			if errs.CodeOf(err) != errs.RepoRefused {
				t.Fatalf("code of %v", err)
			}
			return
		}
		if strings.HasPrefix(src.url, "-") || strings.ContainsAny(src.url, " \t\r\n\x00") || strings.Contains(src.url, "::") && src.scheme == "ssh" {
			t.Fatalf("accepted %q as %q", raw, src.url)
		}
		if src.scheme == "file" {
			return
		}
		env := src.environment(&everything, []netip.Addr{netip.MustParseAddr("192.0.2.1")})
		if !slices.Contains(env, "GIT_ALLOW_PROTOCOL="+src.scheme) {
			t.Fatalf("environment %q", env)
		}
		for _, part := range []string{src.host, src.user, src.port} {
			if strings.HasPrefix(part, "-") || strings.ContainsAny(part, " '\"`$;&|<>()") {
				t.Fatalf("accepted %q with part %q", raw, part)
			}
		}
	})
}

func TestPublicAddresses(t *testing.T) {
	t.Parallel()
	for a, want := range map[string]bool{
		"1.1.1.1": true, "93.184.216.34": true, "2606:4700::1111": true, "172.32.0.1": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false,
		"100.64.0.1": false, "0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false, "198.18.0.1": false,
		"::1": false, "::": false, "::ffff:10.0.0.1": false, "fd00::1": false, "fe80::1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001:db8::1": false, "ff02::1": false, "fd20:ce::254": false,
	} {
		if got := public(netip.MustParseAddr(a)); got != want {
			t.Errorf("public(%s) = %v", a, got)
		}
	}
}
