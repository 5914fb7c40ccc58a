package settings_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"codexgateway.dev/services/standalone/internal/settings"
)

// machine is a home directory and an environment.
type machine struct {
	t    *testing.T
	home string
	env  map[string]string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	home := t.TempDir()
	return &machine{t: t, home: home, env: map[string]string{"HOME": home}}
}

func (m *machine) file(name, content string) string {
	m.t.Helper()
	path := filepath.Join(m.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

func (m *machine) lookup(name string) (string, bool) {
	v, ok := m.env[name]
	return v, ok
}

func TestFlagsComeBeforeTheEnvironmentBeforeTheFile(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	check := func(flags settings.Flags, wantURL, wantKey string) {
		t.Helper()
		got, err := settings.Resolve(flags, m.lookup)
		if err != nil || got.URL != wantURL || got.Key.Reveal() != wantKey {
			t.Errorf("Resolve = %q, %q, %v; want %q, %q", got.URL, got.Key.Reveal(), err, wantURL, wantKey)
		}
	}
	m.file(".local/share/codexgw/admin.key", "local\n")
	check(settings.Flags{}, settings.DefaultURL, "local")

	m.file(".config/codexgw/config.json", `{"url":"https://file.example","key_file":"`+m.file("file.key", "file")+`"}`)
	check(settings.Flags{}, "https://file.example", "file")

	m.env[settings.EnvURL] = "https://env.example"
	m.env[settings.EnvKeyFile] = m.file("env.key", "envfile\n")
	check(settings.Flags{}, "https://env.example", "envfile")
	m.env[settings.EnvKey] = "env"
	check(settings.Flags{}, "https://env.example", "env")

	check(settings.Flags{URL: "https://flag.example", KeyFile: m.file("flag.key", " flag \n")}, "https://flag.example", "flag")
}

func TestTheLocalKeyStaysOnThisMachine(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.file(".local/share/codexgw/admin.key", "local")
	for _, local := range []string{"http://localhost:1", "http://127.0.0.1:9000", "http://[::1]:8080"} {
		if got, err := settings.Resolve(settings.Flags{URL: local}, m.lookup); err != nil || got.Key.Reveal() != "local" {
			t.Errorf("%s: %v", local, err)
		}
	}
	for _, remote := range []string{"https://gw.example", "http://127.0.0.1.example:8080", "http://10.0.0.1", "://"} {
		got, err := settings.Resolve(settings.Flags{URL: remote}, m.lookup)
		if !errors.Is(err, settings.ErrNoKey) || !got.Key.Empty() {
			t.Errorf("%s: %v, want ErrNoKey", remote, err)
		}
	}
}

func TestNoGatewayWasStarted(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	if _, err := settings.Resolve(settings.Flags{}, m.lookup); !errors.Is(err, settings.ErrNoKey) {
		t.Errorf("err = %v, want ErrNoKey", err)
	}
	if _, err := settings.Resolve(settings.Flags{}, func(string) (string, bool) { return "", false }); !errors.Is(err, settings.ErrNoKey) {
		t.Errorf("without a home: %v, want ErrNoKey", err)
	}
}

func TestWrongFilesAreRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for name, content := range map[string]string{"empty": "", "two lines": "a\nb", "binary": "\x00\x01"} {
		if _, err := settings.ReadKey(m.file("k", content)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	m.file(".config/codexgw/config.json", `{"url":"x","api_key":"secret"}`)
	if _, err := settings.Resolve(settings.Flags{}, m.lookup); err == nil || errors.Is(err, settings.ErrNoKey) {
		t.Errorf("unknown setting: %v", err)
	}
}

func TestDirectoriesFollowXDG(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for _, tc := range []struct{ xdg, own, want string }{
		{"", "", filepath.Join(m.home, ".local/share/codexgw")},
		{"/xdg", "", "/xdg/codexgw"},
		{"relative", "", filepath.Join(m.home, ".local/share/codexgw")},
		{"/xdg", "/own", "/own"},
	} {
		m.env["XDG_DATA_HOME"], m.env[settings.EnvDataDir] = tc.xdg, tc.own
		if got, err := settings.DataDir(m.lookup); err != nil || got != tc.want {
			t.Errorf("DataDir with %q, %q = %q, %v; want %q", tc.xdg, tc.own, got, err, tc.want)
		}
	}
}
