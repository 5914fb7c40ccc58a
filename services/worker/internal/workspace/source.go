package workspace

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"codexgateway.dev/pkg/errs"
)

// source is a vetted repository URL.
type source struct {
	// scheme is https, ssh or file, and the one protocol git may use.
	scheme string
	// url is what git is given.
	url  string
	host string
	port string
	user string
}

var (
	hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
	userName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)
	// helper is git's form for running any program as a transport.
	helper = regexp.MustCompile(`^[A-Za-z0-9+.-]*::`)
	// scpLike is user@host:path, which has no "//" after the colon.
	scpLike = regexp.MustCompile(`^([^@/:]+)@([^@/:\[\]]+):([^:].*)$`)
	// safePath holds nothing a shell on the other end of ssh, or git's own
	// quoting of the path for it, could take for more than a name.
	safePath = regexp.MustCompile(`^[A-Za-z0-9_./~+@%:,=-]+$`)
	commitID = regexp.MustCompile(`^(?:[0-9a-f]{40}|[0-9a-f]{64})$`)
	// badRef are the characters git check-ref-format refuses, and none else.
	badRef = regexp.MustCompile(`[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)`)
)

// CheckRepo says whether the form of a repository is acceptable, without any
// network; an *errs.Error of code repo_refused otherwise.
func CheckRepo(r Repo, p Policy) error {
	if _, err := parseSource(r.URL, &p); err != nil {
		return err
	}
	if err := checkRef(r.Ref); err != nil {
		return err
	}
	_, err := checkSubdir(r.Subdir)
	return err
}

func refused(why string) error { return errs.New(errs.RepoRefused, why) }

// parseSource vets a URL.
func parseSource(raw string, p *Policy) (source, error) {
	switch {
	case raw == "" || len(raw) > 2048:
		return source{}, refused("The repository URL is empty or longer than 2048 characters.")
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r == 0xfffd }):
		return source{}, refused("The repository URL contains white space, control characters or a backslash.")
	case strings.HasPrefix(raw, "-"):
		return source{}, refused("The repository URL begins with a dash.")
	case helper.MatchString(raw):
		return source{}, refused("Remote helpers (transport::address) are not allowed in the repository URL.")
	}
	if !strings.Contains(raw, "://") {
		m := scpLike.FindStringSubmatch(raw)
		if m == nil || strings.Contains(raw, "::") { // as the edge does, whatever git makes of a later one
			return source{}, refused("The repository URL must be https://…, ssh://… or user@host:path.")
		}
		return ssh(source{scheme: "ssh", url: raw, user: m[1], host: m[2], port: "22"}, m[3], p)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return source{}, refused("The repository URL cannot be parsed.")
	}
	if _, has := u.User.Password(); has || (u.User != nil && u.Scheme != "ssh") {
		return source{}, refused("The repository URL contains credentials; remove them.")
	}
	if u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || u.ForceQuery || strings.Contains(raw, "#") {
		return source{}, refused("The repository URL has a query or a fragment.")
	}
	s := source{scheme: u.Scheme, url: raw, host: u.Hostname(), port: u.Port()}
	switch u.Scheme {
	case "https":
		return https(s, u)
	case "ssh":
		if s.port == "" {
			s.port = "22"
		}
		s.user = "git"
		if u.User != nil {
			s.user = u.User.Username()
		} else {
			s.url = "ssh://git@" + strings.TrimPrefix(raw, "ssh://")
		}
		return ssh(s, u.Path, p)
	case "file":
		if !p.AllowFile {
			return source{}, refused("file:// repositories are not allowed on this worker.")
		}
		if u.Host != "" || !path.IsAbs(u.Path) {
			return source{}, refused("A file:// URL needs an absolute path and no host.")
		}
		return s, nil
	}
	return source{}, refused("The repository URL must be https://…, ssh://… or user@host:path.")
}

func https(s source, u *url.URL) (source, error) {
	if err := checkHost(s); err != nil {
		return source{}, err
	}
	if u.Path == "" || u.Path == "/" {
		return source{}, refused("The repository URL has no path.")
	}
	if s.port == "" {
		s.port = "443"
	}
	return s, nil
}

func ssh(s source, path string, p *Policy) (source, error) {
	if p.SSHKey == "" || p.SSHKnownHosts == "" {
		return source{}, refused("ssh repositories are not set up on this worker; use an https URL.")
	}
	if err := checkHost(s); err != nil {
		return source{}, err
	}
	if !userName.MatchString(s.user) {
		return source{}, refused("The user in the ssh URL is not a plain name.")
	}
	if !safePath.MatchString(path) || strings.HasPrefix(path, "-") {
		return source{}, refused("The path in the ssh URL has characters that are not allowed.")
	}
	return s, nil
}

// checkHost refuses what is no plain name or address, and ports that are none.
func checkHost(s source) error {
	if _, err := netip.ParseAddr(s.host); err != nil && !hostName.MatchString(s.host) {
		return refused("The repository URL has no valid host.")
	}
	if s.port != "" {
		if n, err := strconv.ParseUint(s.port, 10, 16); err != nil || n == 0 {
			return refused("The repository URL has no valid port.")
		}
	}
	return nil
}

// checkRef vets a ref as git does, plus a leading dash.
func checkRef(ref string) error {
	if ref == "" {
		return nil
	}
	if len(ref) > 512 || badRef.MatchString(ref) || strings.HasPrefix(ref, "-") || strings.HasPrefix(ref, "/") ||
		strings.HasPrefix(ref, ".") || strings.HasSuffix(ref, "/") || strings.HasSuffix(ref, ".") || ref == "@" {
		return refused("repo.ref is not a valid branch, tag or commit id.")
	}
	return nil
}

// checkSubdir cleans a subdirectory and refuses one outside the repository.
func checkSubdir(dir string) (string, error) {
	if dir == "" {
		return ".", nil
	}
	clean := path.Clean(dir)
	if len(dir) > 1024 || !filepath.IsLocal(filepath.FromSlash(clean)) || strings.ContainsAny(dir, "\x00\\") ||
		slices.ContainsFunc(strings.Split(clean, "/"), isGit) {
		return "", refused("repo.subdir must be a directory inside the repository.")
	}
	return clean, nil
}

// isGit reports whether a file system anywhere could take name for .git.
func isGit(name string) bool {
	return strings.EqualFold(name, ".git") || strings.EqualFold(name, "git~1")
}

// lookup is the system's resolver.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// resolve returns the addresses of the source's host when the worker may reach
// all of them. One refused address refuses the host, so that nobody can mix.
func (s source) resolve(ctx context.Context, p *Policy) ([]netip.Addr, error) {
	if s.scheme == "file" {
		return nil, nil
	}
	var addrs []netip.Addr
	if a, err := netip.ParseAddr(s.host); err == nil {
		addrs = []netip.Addr{a}
	} else if addrs, err = p.Lookup(ctx, s.host); err != nil {
		return nil, errs.Wrap(errs.RepoUnreachable, "The repository's host name cannot be resolved.", err)
	}
	if len(addrs) == 0 {
		return nil, errs.Wrap(errs.RepoUnreachable, "The repository's host name has no address.", errors.New("no address"))
	}
	for i, a := range addrs {
		addrs[i] = a.Unmap().WithZone("")
		if !public(addrs[i]) && !slices.ContainsFunc(p.AllowAddrs, func(n netip.Prefix) bool { return n.Contains(addrs[i]) }) {
			return nil, refused("The repository's host has a private address, which this worker does not reach.")
		}
	}
	return addrs, nil
}
