package up

import (
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/standalone/internal/settings"
)

const (
	// keyAlphabet has 32 letters, so that a byte's low bits choose evenly.
	keyAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	keyIDLen    = 12
	// keySecretLen is 160 random bits.
	keySecretLen = 32
)

// newKey makes an API key: cgw_local_<id>_<secret><crc32>. The checksum, eight
// hexadecimal digits over all that comes before, lets a secret scanner tell a
// key from a look-alike.
func newKey() (secret.Value, error) {
	raw := make([]byte, keyIDLen+keySecretLen)
	if _, err := rand.Read(raw); err != nil {
		return secret.Value{}, fmt.Errorf("make the admin key: %w", err)
	}
	for i, b := range raw {
		raw[i] = keyAlphabet[b&31]
	}
	key := "cgw_local_" + string(raw[:keyIDLen]) + "_" + string(raw[keyIDLen:])
	return secret.NewValue(fmt.Sprintf("%s%08x", key, crc32.ChecksumIEEE([]byte(key)))), nil
}

// adminKey reads the admin key, or makes it. created is true when it is new.
func adminKey(path string, warn io.Writer) (key secret.Value, created bool, err error) {
	key, err = settings.ReadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = newKey(); err != nil {
			return secret.Value{}, false, err
		}
		if err := writeKey(path, key); err != nil {
			return secret.Value{}, false, fmt.Errorf("write the admin key: %w", err)
		}
		return key, true, nil
	}
	if err != nil {
		return secret.Value{}, false, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return secret.Value{}, false, fmt.Errorf("read the admin key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o600); err != nil {
			return secret.Value{}, false, fmt.Errorf("others can read the admin key: %w", err)
		}
		_, _ = fmt.Fprintf(warn, "codexgw: other users could read %s (mode %o); it is 0600 now\n", path, info.Mode().Perm())
	}
	return key, false, nil
}

// writeKey writes the key whole or not at all, and never over another.
func writeKey(path string, key secret.Value) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".admin.key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	if _, err := io.WriteString(f, key.Reveal()+"\n"); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
