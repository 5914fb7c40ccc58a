package methods

import (
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
)

// schemes are the names of URL schemes people may mean.
var schemes = []string{"https", "http", "ssh", "git", "file", "ftp"}

// maxRepoURL bounds repo.url and repo.subdir.
const maxRepoURL = 2048

// Parts of repository addresses. None may begin with "-": git and ssh would
// take it for an option.
var (
	hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
	userName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	portForm = regexp.MustCompile(`^[0-9]{0,5}$`)
)

// checkRepo checks the form of a repository. Whether its host may be reached is
// decided where it is dialled.
func checkRepo(r *apiv1.Repo, allowFile bool) error {
	if r == nil {
		return nil
	}
	if bad := wrongRepoURL(r.URL, allowFile); bad != "" {
		return errs.Param("/repo/url", bad)
	}
	if bad := wrongRef(r.Ref); bad != "" {
		return errs.Param("/repo/ref", bad)
	}
	if bad := wrongSubdir(r.Subdir); bad != "" {
		return errs.Param("/repo/subdir", bad)
	}
	return nil
}

const repoForms = "A repository must be an https or ssh URL or user@host:path."

func wrongRepoURL(s string, allowFile bool) string {
	switch {
	case s == "":
		return "A URL is required."
	case len(s) > maxRepoURL:
		return "The URL is too long."
	case hasControl(s) || strings.ContainsAny(s, " \\\""):
		return "The URL has characters that are not allowed."
	case strings.HasPrefix(s, "-"), strings.Contains(s, "::"):
		return repoForms
	case !strings.Contains(s, "://"):
		return wrongSCP(s)
	}
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#") {
		return repoForms
	}
	// A path may hide control characters behind percent signs, and git hands
	// them on to credential helpers line by line.
	if hasControl(u.Path) || u.Path == "" || u.Path == "/" {
		return "The URL's path is missing or has characters that are not allowed."
	}
	switch u.Scheme {
	case "https":
		if u.User != nil {
			return "Credentials in the URL are not allowed."
		}
		return wrongHost(u)
	case "ssh":
		if _, hasPassword := u.User.Password(); hasPassword {
			return "Credentials in the URL are not allowed."
		}
		if u.User != nil && !userName.MatchString(u.User.Username()) {
			return repoForms
		}
		return wrongHost(u)
	case "file":
		if !allowFile {
			return "File repositories are not allowed here."
		}
		if u.Host != "" || !path.IsAbs(u.Path) || path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") {
			return "A file repository must be file:// and a clean absolute path."
		}
		return ""
	default:
		return repoForms
	}
}

func wrongHost(u *url.URL) string {
	if !hostName.MatchString(u.Hostname()) || !portForm.MatchString(u.Port()) {
		return "The URL's host is not valid."
	}
	return ""
}

// wrongSCP checks [user@]host:path.
func wrongSCP(s string) string {
	address, repoPath, ok := strings.Cut(s, ":")
	if !ok {
		return repoForms
	}
	user, host, hasUser := strings.Cut(address, "@")
	if !hasUser {
		user, host = "git", address
	}
	if !hasUser && slices.Contains(schemes, strings.ToLower(host)) {
		return repoForms // a URL with a typing error, not a host of that name
	}
	if !userName.MatchString(user) || !hostName.MatchString(host) || repoPath == "" || strings.HasPrefix(repoPath, "-") {
		return repoForms
	}
	return ""
}

// wrongRef checks a branch, tag or commit: what git check-ref-format forbids
// and what git would take for an option or a range.
func wrongRef(ref string) string {
	if bad := name(ref); bad != "" {
		return bad
	}
	if strings.HasPrefix(ref, "-") || strings.HasPrefix(ref, "/") || strings.HasSuffix(ref, "/") ||
		strings.HasSuffix(ref, ".") || strings.HasSuffix(ref, ".lock") ||
		strings.Contains(ref, "..") || strings.Contains(ref, "//") || strings.Contains(ref, "@{") ||
		strings.ContainsAny(ref, " ~^:?*[\\") {
		return "This is no name of a branch, tag or commit."
	}
	return ""
}

// wrongSubdir checks a directory inside the repository.
func wrongSubdir(dir string) string {
	switch {
	case dir == "":
		return ""
	case len(dir) > maxRepoURL || hasControl(dir) || strings.Contains(dir, "\\"):
		return "The path is too long or has characters that are not allowed."
	case strings.HasPrefix(dir, "-") || !filepath.IsLocal(dir) || path.Clean(dir) != strings.TrimSuffix(dir, "/"):
		return "The path must be relative, clean and inside the repository."
	default:
		return ""
	}
}
