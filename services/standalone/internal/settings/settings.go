package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"codexgateway.dev/pkg/secret"
)

// DefaultAddr is where codexgw up listens, DefaultURL where the other commands
// look for it.
const (
	DefaultAddr = "127.0.0.1:8080"
	DefaultURL  = "http://" + DefaultAddr
)

// The environment.
const (
	EnvURL     = "CODEXGW_URL"
	EnvKey     = "CODEXGW_API_KEY"
	EnvKeyFile = "CODEXGW_KEY_FILE"
	EnvDataDir = "CODEXGW_DATA_DIR"
)

// ErrNoKey means that no API key was found.
var ErrNoKey = errors.New("no API key")

// Lookup reads the environment.
type Lookup func(name string) (value string, ok bool)

// get is a variable's value; set to nothing counts as not set.
func (l Lookup) get(name string) string {
	v, _ := l(name)
	return v
}

// DataDir is where the gateway of this machine keeps its data unless told
// otherwise: CODEXGW_DATA_DIR, or codexgw below the XDG data directory.
func DataDir(env Lookup) (string, error) {
	if dir := env.get(EnvDataDir); dir != "" {
		return dir, nil
	}
	return below(env, "XDG_DATA_HOME", ".local", "share")
}

// ConfigFile is the configuration file's path.
func ConfigFile(env Lookup) (string, error) {
	dir, err := below(env, "XDG_CONFIG_HOME", ".config")
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "config.json"), nil
}

// below is codexgw's own directory in an XDG base directory. A relative value
// of the variable is ignored, as its specification asks.
func below(env Lookup, variable string, fallback ...string) (string, error) {
	if dir := env.get(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "codexgw"), nil
	}
	home := env.get("HOME")
	if home == "" {
		return "", fmt.Errorf("neither HOME nor %s is set", variable)
	}
	return filepath.Join(append(append([]string{home}, fallback...), "codexgw")...), nil
}

// AdminKeyFile is the file of a data directory that holds the admin key.
func AdminKeyFile(dataDir string) string { return filepath.Join(dataDir, "admin.key") }

// Flags are the flags that choose a gateway; empty means not given.
type Flags struct {
	URL, KeyFile string
}

// Gateway is a gateway to call.
type Gateway struct {
	URL string
	Key secret.Value
}

// file is the configuration file.
type file struct {
	URL     string `json:"url"`
	KeyFile string `json:"key_file"`
}

// Resolve finds the gateway. Without any setting it is the local one with the
// key that codexgw up left. The error wraps ErrNoKey when there is a URL but no key.
func Resolve(flags Flags, env Lookup) (Gateway, error) {
	cfg, err := readFile(env)
	if err != nil {
		return Gateway{}, err
	}
	out := Gateway{URL: first(flags.URL, env.get(EnvURL), cfg.URL, DefaultURL)}
	if flags.KeyFile == "" {
		if key := env.get(EnvKey); key != "" {
			out.Key = secret.NewValue(strings.TrimSpace(key))
			return out, nil
		}
	}
	if path := first(flags.KeyFile, env.get(EnvKeyFile), cfg.KeyFile); path != "" {
		out.Key, err = ReadKey(path)
		return out, err
	}
	if !loopback(out.URL) {
		return out, fmt.Errorf("%w for %s", ErrNoKey, out.URL)
	}
	dir, err := DataDir(env)
	if err != nil {
		return out, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	out.Key, err = ReadKey(AdminKeyFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return out, fmt.Errorf("%w: no gateway was started with its data in %s", ErrNoKey, dir)
	}
	return out, err
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// maxKeyFile bounds what is read of a file that should hold one key.
const maxKeyFile = 4 << 10

// ReadKey reads a key file: one line.
func ReadKey(path string) (secret.Value, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return secret.Value{}, fmt.Errorf("read the key: %w", err)
	}
	key := string(bytes.TrimSpace(raw))
	if key == "" || len(key) > maxKeyFile || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return secret.Value{}, fmt.Errorf("%s does not hold an API key", path)
	}
	return secret.NewValue(key), nil
}

// readFile reads the configuration file; none is fine.
func readFile(env Lookup) (file, error) {
	var out file
	path, err := ConfigFile(env)
	if err != nil {
		return out, nil //nolint:nilerr // without a home there is no file
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("read the configuration: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&out); err != nil {
		return out, fmt.Errorf(`%s is wrong: %w; it may hold {"url": …, "key_file": …}`, path, err)
	}
	return out, nil
}

// loopback reports whether a URL is of this machine.
func loopback(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err == nil && ip.IsLoopback()
}
