package workspace

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

func TestArchiveRestoresEverythingButGit(t *testing.T) {
	t.Parallel()
	_, url := origin(t)
	w := prepare(t, &Repo{URL: url}, local)
	shell(t, w.Dir, `echo x >new; rm readme.md; ln -s /etc/passwd out; ln -s nowhere broken; mkdir -p empty closed; echo y >closed/y
		chmod 0555 closed; chmod 0600 new; mkfifo pipe; mkdir sub; git init -q sub; echo z >sub/z; printf 'gitdir: x' >empty/.git`)
	var a, b bytes.Buffer
	for _, buf := range []*bytes.Buffer{&a, &b} {
		if err := w.Archive(t.Context(), buf); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two archives of the same directory differ")
	}
	other := prepare(t, &Repo{URL: url}, local)
	write(t, other.Dir, map[string]string{"leftover/x": "x"})
	if err := other.Restore(t.Context(), &a); err != nil {
		t.Fatal(err)
	}
	want := tree(t, w.Dir)
	delete(want, "pipe")
	delete(want, "empty/.git")
	if diff := cmp.Diff(want, tree(t, other.Dir)); diff != "" {
		t.Error(diff)
	}
	for name, mode := range map[string]os.FileMode{"closed": 0o555 | os.ModeDir, "new": 0o600, "empty": 0o755 | os.ModeDir} {
		if st, err := os.Stat(filepath.Join(other.Dir, name)); err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
	d1, err := w.Diff(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d2, err := other.Diff(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(d2.Patch, []byte("b/new")) || !strings.HasPrefix(string(d1.Patch), string(d2.Patch)[:20]) {
		t.Errorf("the restored workspace has another diff:\n%s\n%s", d1.Patch, d2.Patch)
	}
}

func TestArchiveBounds(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Policy{"bytes": {MaxBytes: 1000}, "files": {MaxFiles: 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			big := prepare(t, nil, Policy{})
			write(t, big.Dir, map[string]string{"a": strings.Repeat("a", 600), "b": strings.Repeat("b", 600), "c": ""})
			bounded := prepare(t, nil, p)
			write(t, bounded.Dir, map[string]string{"a": strings.Repeat("a", 600), "b": strings.Repeat("b", 600), "c": ""})
			if err := bounded.Archive(t.Context(), io.Discard); !errors.Is(err, ErrArchiveTooLarge) {
				t.Errorf("Archive: %v", err)
			}
			var buf bytes.Buffer
			if err := big.Archive(t.Context(), &buf); err != nil {
				t.Fatal(err)
			}
			if err := bounded.Restore(t.Context(), &buf); !errors.Is(err, ErrArchiveTooLarge) {
				t.Errorf("Restore: %v", err)
			}
		})
	}
	w := prepare(t, nil, Policy{})
	write(t, w.Dir, map[string]string{"a": "a"})
	if err := w.Archive(cancelled(t), io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// pack makes an archive of any entries.
func pack(tb testing.TB, entries ...tar.Header) []byte {
	tb.Helper()
	return zip(tb, pile(tb, entries...))
}

// pile is the tar in it.
func pile(tb testing.TB, entries ...tar.Header) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := range entries {
		h := &entries[i]
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, 4
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte("evil")); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

var hostileArchives = map[string][]tar.Header{
	"parent":                   {{Name: "../evil"}},
	"deep parent":              {{Name: "a/../../evil"}},
	"absolute":                 {{Name: "/evil"}},
	"dot":                      {{Name: "."}},
	"git":                      {{Name: ".git/config"}},
	"nested git":               {{Name: "a/.GIT/config"}},
	"through a link":           {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "l/evil"}},
	"through an absolute link": {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, {Name: "l/evil"}},
	"over a link":              {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../evil"}, {Name: "l"}},
	"link to git":              {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".git"}, {Name: "l/hooks/evil"}},
	"through an inner link":    {{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "l", Typeflag: tar.TypeSymlink, Linkname: "d"}, {Name: "l/x"}},
	"hard link":                {{Name: "h", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
	"device":                   {{Name: "d", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
	"pipe":                     {{Name: "p", Typeflag: tar.TypeFifo}},
	"twice":                    {{Name: "a"}, {Name: "a"}},
	"file as directory":        {{Name: "a"}, {Name: "a/b"}},
	"chmod through a link":     {{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "l/", Typeflag: tar.TypeDir, Mode: 0o777}},
}

func TestRestoreRefusesHostileArchives(t *testing.T) {
	t.Parallel()
	for name, entries := range hostileArchives {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := prepare(t, nil, Policy{})
			before, err := os.Stat(filepath.Dir(w.Dir))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Restore(t.Context(), bytes.NewReader(pack(t, entries...))); !errors.Is(err, ErrArchiveInvalid) {
				t.Errorf("error %v", err)
			}
			checkNothingOutside(t, w)
			if after, err := os.Stat(filepath.Dir(w.Dir)); err != nil || after.Mode() != before.Mode() {
				t.Errorf("the parent's mode changed: %v, %v", after.Mode(), err)
			}
		})
	}
}

func TestRestoreRefusesDamagedArchives(t *testing.T) {
	t.Parallel()
	whole := pack(t, tar.Header{Name: "a"}, tar.Header{Name: "b"})
	for name, raw := range map[string][]byte{"not zstd": []byte("hello"), "cut": whole[:len(whole)/2], "not tar": zip(t, []byte(strings.Repeat("x", 2000)))} {
		w := prepare(t, nil, Policy{})
		if err := w.Restore(t.Context(), bytes.NewReader(raw)); !errors.Is(err, ErrArchiveInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func zip(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = z.Close() }()
	return z.EncodeAll(raw, nil)
}

func checkNothingOutside(t *testing.T, w *Workspace) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(w.Dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "work" && e.Name() != "state" {
			t.Errorf("%s appeared outside the workspace", e.Name())
		}
	}
}

// The tar is fuzzed and not the zstd around it, which has a checksum.
func FuzzRestore(f *testing.F) {
	for _, entries := range hostileArchives {
		f.Add(pile(f, entries...))
	}
	f.Add(pile(f, tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "d/f"}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "d"}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := prepare(t, nil, Policy{MaxBytes: 1 << 20, MaxFiles: 100})
		err := w.Restore(t.Context(), bytes.NewReader(zip(t, raw)))
		checkNothingOutside(t, w)
		config, rerr := os.ReadFile(filepath.Join(w.Dir, ".git", "config"))
		if rerr != nil || string(config) != repoConfig {
			t.Errorf(".git changed: %v %q", rerr, config)
		}
		if err != nil {
			return
		}
		// What was accepted is what Archive would write: it goes round.
		var buf bytes.Buffer
		if err := w.Archive(t.Context(), &buf); err != nil {
			t.Fatal(err)
		}
		again := prepare(t, nil, Policy{MaxBytes: 1 << 20, MaxFiles: 100})
		if err := again.Restore(t.Context(), &buf); err != nil {
			t.Errorf("cannot restore what was archived: %v", err)
		}
		if diff := cmp.Diff(tree(t, w.Dir), tree(t, again.Dir)); diff != "" {
			t.Error(diff)
		}
	})
}
