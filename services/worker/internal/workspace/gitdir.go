package workspace

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // G505: git's object names are SHA-1
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// object is one loose git object.
type object struct {
	id   string
	data []byte // compressed, as it lies in the file
}

// emptyRepo are the two objects of an empty repository, the same in every
// workspace: the author and the time are fixed. They are made at the first use,
// because two compressors cost a start 5 ms and 2.5 MB.
var emptyRepo = sync.OnceValue(func() (o struct{ tree, commit object }) {
	o.tree = newObject("tree", "")
	o.commit = newObject("commit", "tree "+o.tree.id+"\n"+
		"author Codex Gateway <gateway@codexgateway.dev> 946684800 +0000\n"+
		"committer Codex Gateway <gateway@codexgateway.dev> 946684800 +0000\n\n"+
		"Empty workspace\n")
	return o
})

func newObject(kind, content string) object {
	raw := kind + " " + strconv.Itoa(len(content)) + "\x00" + content
	sum := sha1.Sum([]byte(raw)) //nolint:gosec // G401: git's object names are SHA-1
	var buf bytes.Buffer
	z, _ := zlib.NewWriterLevel(&buf, zlib.BestSpeed) // a valid level
	_, _ = z.Write([]byte(raw))                       // a bytes.Buffer does not fail
	_ = z.Close()
	return object{id: hex.EncodeToString(sum[:]), data: buf.Bytes()}
}

// write stores the object unless it is there.
func (o object) write(gitDir string) (err error) {
	dir := filepath.Join(gitDir, "objects", o.id[:2])
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // G301: as git makes them
		return err
	}
	name := filepath.Join(dir, o.id[2:])
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444) //nolint:gosec // G302, G304: as git makes them
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(o.data)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(name) // half an object would be taken for a whole one
	}
	return err
}

// repoConfig is the configuration of both repositories.
const repoConfig = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"

// plainAttributes, in info/attributes, wins over every .gitattributes file: no
// line end conversion, no encoding, no keyword, no filter, no diff driver.
const plainAttributes = "* -text -ident !eol !working-tree-encoding !filter !diff !merge !crlf\n"

// writeGitDir makes an empty git directory in dir, as git init does without a
// template.
func writeGitDir(dir string) error {
	for _, d := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags", "info"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil { //nolint:gosec // G301: as git makes them
			return err
		}
	}
	return writeFiles(dir, map[string]string{
		"config":          repoConfig,
		"HEAD":            "ref: refs/heads/main\n",
		"info/attributes": plainAttributes,
	})
}

// writeHead makes branch point at commit and HEAD at branch, or HEAD at the
// commit when there is no branch.
func writeHead(dir, branch, commit string) error {
	if branch == "" {
		return writeFiles(dir, map[string]string{"HEAD": commit + "\n"})
	}
	ref := filepath.Join("refs", "heads", filepath.FromSlash(branch))
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, ref)), 0o755); err != nil { //nolint:gosec // G301: as git makes them
		return err
	}
	return writeFiles(dir, map[string]string{
		ref:    commit + "\n",
		"HEAD": "ref: refs/heads/" + branch + "\n",
	})
}

func writeFiles(dir string, files map[string]string) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil { //nolint:gosec // G306: as git makes them
			return err
		}
	}
	return nil
}

// writeOwnConfig writes the configuration that every git process of the worker
// uses in place of the system's and the user's.
func (w *Workspace) writeOwnConfig() error {
	return writeFiles(w.state, map[string]string{"gitconfig": fmt.Sprintf(`[core]
	hooksPath = /dev/null
	fsmonitor = false
	untrackedCache = false
	attributesFile = /dev/null
	excludesFile = /dev/null
	symlinks = true
	bigFileThreshold = 16m
[init]
	templateDir =
[credential]
	helper =
[http]
	followRedirects = false
	lowSpeedLimit = 1000
	lowSpeedTime = 30
	proxy =
	sslCAInfo = %s
[fetch]
	recurseSubmodules = false
	unpackLimit = 1
	writeCommitGraph = false
[submodule]
	recurse = false
[gc]
	auto = 0
[maintenance]
	auto = false
[pack]
	threads = 2
[diff]
	external =
	noprefix = false
	mnemonicPrefix = false
[safe]
	directory = *
`, quote(w.policy.CAFile))})
}

// quote writes a value into a git configuration file.
func quote(s string) string {
	if s == "" {
		return ""
	}
	return strconv.Quote(s)
}
